//! Ways to go wrong on purpose, for tests of the machine around us.

use core::arch::asm;

use crate::hw::cpu;
use crate::hw::gdt::Pointer;

/// Does what `crash=kind` asks for; returns if there is no such kind.
pub fn crash(kind: &str) {
    match kind {
        "triple" => triple_fault(),
        "hang" => cpu::halt_forever(),
        "spin" => spin(),
        _ => say!("selftest: no such crash: {kind}"),
    }
}

/// A fault without an IDT: neither it nor the double fault can be delivered.
fn triple_fault() -> ! {
    say!("selftest: triple fault");
    let nothing = Pointer { limit: 0, base: 0 };
    // SAFETY: the end of this machine is what is asked for.
    unsafe { asm!("lidt [{}]", "ud2", in(reg) &raw const nothing, options(noreturn)) }
}

/// A loop that nothing gets out of.
fn spin() -> ! {
    say!("selftest: spinning");
    cpu::cli();
    loop {
        core::hint::spin_loop();
    }
}
