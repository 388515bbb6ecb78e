//! The other CPUs: brought up by INIT and start-up interrupts, then halted until called.
//!
//! A call puts a function into the CPU's mailbox and sends it an interrupt; the CPU runs the
//! function with interrupts off, empties the mailbox and halts again. They share the boot
//! CPU's page tables, GDT and IDT, and have a TSS and stacks of their own.

mod start;

use core::arch::asm;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};

use crate::acpi;
use crate::harness::{Failure, absent, wrong};
use crate::hw::gdt::CPUS;
use crate::hw::{cpu, gdt, lapic, pages, time};
use crate::trap;

pub use start::restart;

/// The vector that wakes a CPU to look into its mailbox.
pub const WAKE: u8 = 0xf8;

/// What a call runs.
pub type Call = fn(usize);

static MAILBOX: [AtomicUsize; CPUS] = [const { AtomicUsize::new(0) }; CPUS];
static APIC_ID: [AtomicU32; CPUS] = [const { AtomicU32::new(0) }; CPUS];
static ONLINE: AtomicU32 = AtomicU32::new(0);
static LOST: AtomicBool = AtomicBool::new(false);

/// How many CPUs the MADT lists, as far as there is room for them.
pub fn listed() -> usize {
    acpi().map_or(1, |acpi| acpi.cpus().len()).min(CPUS)
}

/// Starts the others if that has not happened; how many CPUs run, this one counted.
///
/// The numbers of CPUs are in the order in which they came up, this one being 0.
pub fn online() -> Result<usize, Failure> {
    if listed() < 2 {
        return Err(absent(format_args!("the MADT lists one CPU")));
    }
    if LOST.load(Ordering::Relaxed) {
        return Err(wrong(format_args!("a CPU was lost in an earlier test")));
    }
    APIC_ID[0].store(lapic::id(), Ordering::Relaxed);
    // The baseline has cleared the handler.
    trap::handle(WAKE, |_| lapic::acknowledge());
    if ONLINE.load(Ordering::Relaxed) == 0 {
        start::start_all()?;
    }
    // A test that failed may have left calls under way.
    for cpu in 1..listed() {
        end(cpu)?;
    }
    Ok(listed())
}

/// The APIC ID of CPU `cpu`.
pub fn apic_id(cpu: usize) -> u32 {
    APIC_ID[cpu].load(Ordering::Relaxed)
}

/// Has CPU `cpu` run `call`, without waiting for it.
pub fn begin(cpu: usize, call: Call) {
    MAILBOX[cpu].store(call as usize, Ordering::Release);
    lapic::send(apic_id(cpu), WAKE.into());
}

/// Waits until CPU `cpu` is done.
pub fn end(cpu: usize) -> Result<(), Failure> {
    if time::patiently(|| MAILBOX[cpu].load(Ordering::Acquire) == 0) {
        return Ok(());
    }
    LOST.store(true, Ordering::Relaxed);
    Err(wrong(format_args!("CPU {cpu} does not come back")))
}

/// Has all CPUs run `call`, this one too, and waits for all.
pub fn all(call: Call) -> Result<usize, Failure> {
    let count = online()?;
    for cpu in 1..count {
        begin(cpu, call);
    }
    call(0);
    for cpu in 1..count {
        end(cpu)?;
    }
    Ok(count)
}

/// Where another CPU's life begins, on its own stack.
#[unsafe(no_mangle)]
extern "C" fn smp_main(cpu: usize) -> ! {
    if cpu >= CPUS {
        cpu::halt_forever();
    }
    gdt::load_registers(cpu);
    trap::load();
    lapic::start();
    APIC_ID[cpu].store(lapic::id(), Ordering::Relaxed);
    MAILBOX[cpu].store(0, Ordering::Relaxed);
    ONLINE.fetch_add(1, Ordering::Release);
    loop {
        let call = MAILBOX[cpu].load(Ordering::Acquire);
        if call != 0 {
            // SAFETY: only `begin` stores there.
            let function: Call = unsafe { core::mem::transmute(call) };
            // What an earlier test mapped may be gone.
            pages::flush();
            function(cpu);
            MAILBOX[cpu].store(0, Ordering::Release);
            continue;
        }
        // SAFETY: the shadow of STI closes the gap between looking and halting.
        unsafe { asm!("sti", "hlt", "cli") }
    }
}
