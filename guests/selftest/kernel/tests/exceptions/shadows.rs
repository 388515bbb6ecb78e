//! Interrupt shadows, with the timer's interrupt already pending.

use crate::harness::Outcome;
use crate::hw::pic;
use crate::trap;

family!("exceptions": sti_shadow, sti_hlt, mov_ss_shadow, popf_has_no_shadow, cli_in_shadow);

/// A pending interrupt is taken after the instruction behind STI, not before it.
fn sti_shadow() -> Outcome {
    let vector = pic::pending_timer()?;
    trap::handle(vector, |frame| {
        frame.rcx = frame.rax;
        pic::acknowledge();
    });
    let got = exec!("sti; inc eax; inc eax; inc eax; cli", 0, 99, 0, 0);
    check_eq!(trap::count(vector), 1, "interrupts");
    check_eq!(got.rcx, 1, "instructions done when it was taken");
    Ok(())
}

/// STI; HLT wakes: the interrupt comes after HLT began, with RIP behind it.
fn sti_hlt() -> Outcome {
    let vector = pic::pending_timer()?;
    trap::handle(vector, |frame| {
        frame.rcx = frame.rip;
        pic::acknowledge();
    });
    let got = exec!("lea rdx, [rip + 2f]; sti; hlt; 2: cli", 0, 0, 0, 0);
    check_eq!(got.rcx, got.rdx, "RIP in the frame");
    Ok(())
}

/// MOV SS holds interrupts back for one instruction as well.
fn mov_ss_shadow() -> Outcome {
    let vector = pic::pending_timer()?;
    trap::handle(vector, |frame| {
        frame.rcx = frame.rax;
        pic::acknowledge();
    });
    // The shadow of STI covers MOV SS, whose own shadow covers the first INC; the second
    // of two shadows in a row need not hold, so STI is taken out by a NOP under IF set late.
    let got = exec!(
        "mov edx, ss; pushfq; or dword ptr [rsp], 0x200; mov ss, edx; popfq; inc eax; inc eax; cli",
        0,
        99,
        0,
        0
    );
    check_eq!(trap::count(vector), 1, "interrupts");
    check_eq!(got.rcx, 0, "instructions done when it was taken");
    Ok(())
}

/// POPF that sets IF lets the interrupt in at once.
fn popf_has_no_shadow() -> Outcome {
    let vector = pic::pending_timer()?;
    trap::handle(vector, |frame| {
        frame.rcx = frame.rax;
        pic::acknowledge();
    });
    let got = exec!("pushfq; or dword ptr [rsp], 0x200; popfq; inc eax; inc eax; cli", 0, 99, 0, 0);
    check_eq!(got.rcx, 0, "instructions done when it was taken");
    Ok(())
}

/// STI; CLI leaves no window.
fn cli_in_shadow() -> Outcome {
    let vector = pic::pending_timer()?;
    trap::handle(vector, |_| pic::acknowledge());
    exec!("sti; cli; nop; nop", 0, 0, 0, 0);
    check_eq!(trap::count(vector), 0, "interrupts between STI and CLI");
    // SAFETY of the machine: let it come now.
    exec!("sti; nop; nop; cli", 0, 0, 0, 0);
    check_eq!(trap::count(vector), 1, "interrupts after STI and NOP");
    Ok(())
}
