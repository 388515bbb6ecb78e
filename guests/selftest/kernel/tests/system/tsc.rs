//! The time-stamp counter.

use crate::harness::Outcome;
use crate::hw::cpu::{self, msr, rdtsc};
use crate::hw::time;

family!("tsc": monotonic, runs_while_halted, rdtscp, rdpid);

fn monotonic() -> Outcome {
    let mut last = rdtsc();
    for _ in 0..10_000 {
        let now = rdtsc();
        check!(now >= last, "it went from {last:#x} to {now:#x}");
        last = now;
    }
    let before = rdtsc();
    time::wait(1);
    check!(rdtsc() > before, "it stands still at {before:#x}");
    Ok(())
}

/// HLT does not stop it.
fn runs_while_halted() -> Outcome {
    use crate::hw::pic;
    let before = rdtsc();
    pic::start();
    crate::trap::handle(pic::BASE, |_| pic::acknowledge());
    // 10 ms by the 8254.
    pic::one_shot(11_932);
    pic::unmask(1);
    exec!("sti; hlt; cli", 0, 0, 0, 0);
    let ms = (rdtsc() - before) / time::ticks_per_ms();
    check!(ms >= 7, "10 ms of HLT are {ms} ms of the counter");
    Ok(())
}

fn rdtscp() -> Outcome {
    need!(RDTSCP);
    cpu::wrmsr(msr::TSC_AUX, 0x1234_5678);
    let before = rdtsc();
    let got = exec!("rdtscp; shl rdx, 32; or rax, rdx", u64::MAX, u64::MAX, u64::MAX, 0);
    check_eq!(got.rcx, 0x1234_5678, "TSC_AUX in RCX");
    check!(got.rax >= before, "it went from {before:#x} to {:#x}", got.rax);
    cpu::wrmsr(msr::TSC_AUX, 0);
    Ok(())
}

fn rdpid() -> Outcome {
    need!(RDPID);
    cpu::wrmsr(msr::TSC_AUX, 0x77);
    check_eq!(exec!("rdpid rax", u64::MAX, 0, 0, 0).rax, 0x77, "RDPID");
    cpu::wrmsr(msr::TSC_AUX, 0);
    Ok(())
}
