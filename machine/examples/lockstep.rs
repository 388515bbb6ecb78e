//! Boots a kernel on the translator and the interpreter at once and ends where they part: for developers of
//! engines. The console goes to standard output.
//!
//! ```text
//! cargo run --release -p ringfence-machine --example lockstep -- KERNEL [INITRD|-] [COMMAND LINE] [EVERY]
//! ```
//!
//! EVERY is the number of instructions between two comparisons. Both engines show the CPU model `x86-64-v2`:
//! it has no RDRAND, which nobody can replay.

use std::io::Write;
use std::sync::Arc;

use compare::lockstep::Lockstep;
use engine::CpuLevel;
use interpret::Interpreter;
use ringfence_machine::{Images, Vm, VmConfig, Wires};
use translate::Translator;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let kernel = arguments.next().ok_or("usage: lockstep KERNEL [INITRD|-] [COMMAND LINE] [EVERY]")?;
    let initrd = arguments.next().filter(|path| path != "-");
    let command_line = arguments.next().unwrap_or_else(|| "console=ttyS0 panic=-1".into());
    let every = arguments.next().map_or(Ok(1000), |every| every.parse())?;
    let images = Images {
        kernel: std::fs::read(kernel)?.into(),
        initrd: initrd.map(std::fs::read).transpose()?.map(Arc::from),
        modules: Vec::new(),
    };
    let wires = Wires {
        consoles: [Some(Box::new(std::io::stdout()) as Box<dyn Write + Send>), None, None, None],
        unix_nanoseconds: 0,
        ..Wires::default()
    };
    let config = VmConfig { command_line, cpu: CpuLevel::V2, ..VmConfig::default() };
    let engine = Lockstep::new(Box::new(Translator), Box::new(Interpreter), every);
    let vm = Vm::new(config, images, wires, &engine)?;
    let outcome = vm.run()?;
    eprintln!("\nended: {outcome:?}; {:.3} s of virtual time", vm.time() as f64 / 1e9);
    eprintln!("{:?}", vm.statistics());
    Ok(())
}
