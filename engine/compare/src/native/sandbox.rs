//! What the child may ask of the kernel: next to nothing.
//!
//! A case's own code, which lies below 4 GiB, may ask nothing: SIGSYS says that it tried (SYSCALL, or INT
//! 80h, which has another architecture). The harness around it may wait on futexes, return from signals and
//! exit.

#![allow(unsafe_code)] // prctl

/// AUDIT_ARCH_X86_64.
const ARCH: u32 = 0xc000_003e;
/// Offsets in `struct seccomp_data`.
const NUMBER_AT: u32 = 0;
const ARCH_AT: u32 = 4;
const RIP_HIGH_AT: u32 = 12;

const LOAD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
const EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;

/// Closes the sandbox for good.
pub(super) fn close() -> Result<(), libc::c_int> {
    let step = |code, jt, jf, k| libc::sock_filter { code, jt, jf, k };
    let mut filter = [
        step(LOAD, 0, 0, ARCH_AT),
        step(EQUAL, 0, 7, ARCH),
        step(LOAD, 0, 0, RIP_HIGH_AT),
        step(EQUAL, 5, 0, 0),
        step(LOAD, 0, 0, NUMBER_AT),
        step(EQUAL, 4, 0, libc::SYS_futex as u32),
        step(EQUAL, 3, 0, libc::SYS_rt_sigreturn as u32),
        step(EQUAL, 2, 0, libc::SYS_exit_group as u32),
        step(RETURN, 0, 0, libc::SECCOMP_RET_KILL_PROCESS),
        step(RETURN, 0, 0, libc::SECCOMP_RET_TRAP),
        step(RETURN, 0, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_mut_ptr() };
    // SAFETY: plain numbers, and a filter that outlives the call.
    let refused = unsafe {
        libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0
            || libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program) < 0
    };
    if refused { Err(super::views::errno()) } else { Ok(()) }
}
