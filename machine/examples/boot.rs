//! Boots a kernel on the reference CPU, the console on standard input and output: the shortest way from a
//! kernel file to a running machine, for developers of chips and engines.
//!
//! ```text
//! cargo run --release -p ringfence-machine --example boot -- KERNEL [INITRD|-] [COMMAND LINE] [VCPUS]
//! ```

use std::io::{Read, Write};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use interpret::Interpreter;
use ringfence_machine::{Images, Vm, VmConfig, Wires};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let kernel = arguments.next().ok_or("usage: boot KERNEL [INITRD|-] [COMMAND LINE] [VCPUS]")?;
    let initrd = arguments.next().filter(|path| path != "-");
    let command_line = arguments.next().unwrap_or_else(|| "console=ttyS0 panic=-1".into());
    let vcpus = arguments.next().map_or(Ok(1), |count| count.parse())?;
    let images = Images {
        kernel: std::fs::read(kernel)?.into(),
        initrd: initrd.map(std::fs::read).transpose()?.map(Arc::from),
        modules: Vec::new(),
    };
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
    let wires = Wires {
        consoles: [Some(Box::new(std::io::stdout()) as Box<dyn Write + Send>), None, None, None],
        unix_nanoseconds: now.as_nanos() as i64,
        ..Wires::default()
    };
    let config = VmConfig { command_line, vcpus, ..VmConfig::default() };
    let vm = Vm::new(config, images, wires, &Interpreter)?;
    let input = vm.console_input(0).ok_or("no COM1")?;
    std::thread::spawn(move || {
        let mut bytes = [0; 4096];
        while let Ok(count @ 1..) = std::io::stdin().read(&mut bytes) {
            if !input.send_all(&bytes[..count]) {
                break;
            }
        }
    });
    let outcome = vm.run()?;
    eprintln!("\nended: {outcome:?}; {:.3} s of virtual time", vm.time() as f64 / 1e9);
    for (index, statistics) in vm.statistics().iter().enumerate() {
        eprintln!("vCPU {index}: {statistics:?}");
    }
    Ok(())
}
