//! The child process: set-up, and the loop that runs cases.

#![allow(unsafe_code)] // fork, and raw system calls where there is no thread-local storage

use std::arch::asm;
use std::ptr;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::end::{End, Stop};
use crate::layout::{CODE, CODE_BYTES, CODE_FILL, EXIT, IMAGE_BYTES};
use crate::start::Start;

use super::mailbox::{Mailbox, Region, SLOTS, wait};
use super::signals::{self, PRESENT};
use super::views::Views;
use super::{NativeError, last_error, sandbox, stub};

/// A running child; killed when dropped.
#[derive(Debug)]
pub(super) struct Child {
    pid: libc::pid_t,
    dead: bool,
}

impl Child {
    /// Forks a child that serves the mailbox, and waits until it is ready.
    pub fn spawn(mailbox: &Mailbox) -> Result<Self, NativeError> {
        let ready = &mailbox.control().ready;
        ready.store(0, Ordering::SeqCst);
        // SAFETY: the child calls only what is safe after a fork, and never returns.
        let pid = unsafe { libc::fork() };
        match pid {
            -1 => return Err(last_error("a process")),
            0 => main(mailbox.region()),
            _ => {}
        }
        let mut child = Self { pid, dead: false };
        // The same word as a futex's: `wait` wants it unsigned.
        // SAFETY: i32 and u32 atomics are alike.
        let word = unsafe { AtomicU32::from_ptr(ready.as_ptr().cast()) };
        while ready.load(Ordering::Acquire) == 0 {
            wait(word, 0, Some(100));
            if child.is_dead() {
                return Err(NativeError::Unsupported("a host that lets it live through its set-up"));
            }
        }
        match ready.load(Ordering::Acquire) {
            1 => Ok(child),
            error => Err(NativeError::Host {
                what: "memory at fixed addresses, signal handling or a seccomp filter",
                source: std::io::Error::from_raw_os_error(-error),
            }),
        }
    }

    /// Has it died?
    pub fn is_dead(&mut self) -> bool {
        let mut status = 0;
        // SAFETY: our own child; `status` outlives the call.
        self.dead |= unsafe { libc::waitpid(self.pid, &raw mut status, libc::WNOHANG) } == self.pid;
        self.dead
    }
}

#[cfg(test)]
impl Child {
    pub fn kill(&self) {
        // SAFETY: our own child.
        unsafe { libc::kill(self.pid, libc::SIGKILL) };
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if !self.dead {
            let mut status = 0;
            // SAFETY: our own child, not yet waited for.
            unsafe {
                libc::kill(self.pid, libc::SIGKILL);
                libc::waitpid(self.pid, &raw mut status, 0);
            }
        }
    }
}

/// The child from fork to death.
fn main(region: *mut Region) -> ! {
    // SAFETY: the mailbox is mapped as long as the child lives.
    let control = unsafe { &(*region).control };
    // SAFETY: as above; nobody writes it any more.
    let background = unsafe { &(*region).background };
    let views = match set_up(background) {
        Ok(views) => views,
        Err(error) => {
            control.ready.store(-error, Ordering::Release);
            exit(1)
        }
    };
    control.ready.store(1, Ordering::Release);
    // SAFETY: i32 and u32 atomics are alike.
    futex(unsafe { AtomicU32::from_ptr(control.ready.as_ptr().cast()) }, libc::FUTEX_WAKE, 1);
    let mut done = control.finished.load(Ordering::Acquire);
    loop {
        let submitted = control.submitted.load(Ordering::Acquire);
        if submitted == done {
            futex(&control.submitted, libc::FUTEX_WAIT, done);
            continue;
        }
        // SAFETY: the slot is ours between its submission and its end.
        unsafe {
            let slot = (&raw mut (*region).slots).cast::<super::mailbox::Slot>().add(done as usize % SLOTS);
            run(&views, background, &(*slot).start, &raw mut (*slot).end);
        }
        done = done.wrapping_add(1);
        control.finished.store(done, Ordering::Release);
        if done == control.submitted.load(Ordering::Acquire) || (done as usize).is_multiple_of(SLOTS / 2) {
            futex(&control.finished, libc::FUTEX_WAKE, 1);
        }
    }
}

fn set_up(background: &[u8; IMAGE_BYTES]) -> Result<Views, libc::c_int> {
    let none = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: plain numbers, and a structure that outlives the call.
    unsafe {
        libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
        libc::setrlimit(libc::RLIMIT_CORE, &raw const none);
    }
    stub::prepare();
    let views = Views::map()?;
    // SAFETY: the image part of the mapping.
    unsafe { ptr::copy_nonoverlapping(background.as_ptr(), views.image(), IMAGE_BYTES) };
    signals::install()?;
    sandbox::close()?;
    Ok(views)
}

/// Runs one case.
unsafe fn run(views: &Views, background: &[u8; IMAGE_BYTES], start: &Start, end: *mut End) {
    let context = stub::context();
    // SAFETY: the child's only thread; offsets and lengths are cut to what is mapped.
    unsafe {
        let image = std::slice::from_raw_parts_mut(views.image(), IMAGE_BYTES);
        for patch in start.patches() {
            let at = usize::from(patch.at).min(IMAGE_BYTES);
            let len = usize::from(patch.len).min(patch.bytes.len()).min(IMAGE_BYTES - at);
            ptr::copy_nonoverlapping(patch.bytes.as_ptr(), image.as_mut_ptr().add(at), len);
        }
        let code = start.code();
        let at = (start.code_at as usize).min(CODE_BYTES);
        let len = code.len().min(CODE_BYTES - at);
        ptr::copy_nonoverlapping(code.as_ptr(), views.code().add(at), len);
        ptr::copy_nonoverlapping(code.as_ptr(), views.laid_out().add(at), len);

        (*context).fpu = start.fpu;
        (*context).gpr = start.gpr;
        (*context).frame =
            [CODE + u64::from(start.code_at), stub::USER_CS, start.rflags, start.gpr[4], stub::USER_SS];
        set_bases(start.fs_base, start.gs_base);
        (*end).stop = Stop::EXIT;
        let present = &raw mut PRESENT;
        (*present).ticks = 0;
        (&raw mut (*present).end).write_volatile(end);
        stub::enter();
        (&raw mut (*present).end).write_volatile(ptr::null_mut());

        let end = &mut *end;
        if end.stop == Stop::EXIT {
            end.fpu = (*context).fpu;
            end.gpr = (*context).gpr;
            end.rflags = (*context).rflags;
            (end.rip, end.vector, end.error, end.cr2) = (EXIT, 0, 0, 0);
        }
        (end.fs_base, end.gs_base) = bases();
        end.forget_changes();
        let put = |to: *mut u8, at: usize, was: u64| to.add(at).cast::<u64>().write_unaligned(was);
        let (to, code) = (views.image(), views.code());
        let now = std::slice::from_raw_parts(to, IMAGE_BYTES);
        end.record_changes(0, now, background, |at, was| put(to, at, was));
        let now = std::slice::from_raw_parts(code, CODE_BYTES);
        let then = std::slice::from_raw_parts(views.laid_out(), CODE_BYTES);
        end.record_changes((IMAGE_BYTES / 8) as u32, now, then, |at, was| put(code, at, was));
        ptr::write_bytes(code.add(at), CODE_FILL, len);
        ptr::write_bytes(views.laid_out().add(at), CODE_FILL, len);
    }
}

fn set_bases(fs: u64, gs: u64) {
    // SAFETY: `check_host` found FSGSBASE; nothing here uses thread-local storage.
    unsafe { asm!("wrfsbase {}", "wrgsbase {}", in(reg) fs, in(reg) gs, options(nomem, nostack)) };
}

fn bases() -> (u64, u64) {
    let (fs, gs): (u64, u64);
    // SAFETY: `check_host` found FSGSBASE.
    unsafe { asm!("rdfsbase {}", "rdgsbase {}", out(reg) fs, out(reg) gs, options(nomem, nostack)) };
    (fs, gs)
}

/// A futex operation without errno.
fn futex(word: &AtomicU32, operation: libc::c_int, value: u32) {
    // SAFETY: the word outlives the call; no time limit.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") libc::SYS_futex => _,
            in("rdi") word.as_ptr(),
            in("rsi") operation,
            in("rdx") value,
            in("r10") 0,
            out("rcx") _,
            out("r11") _,
            options(nostack),
        );
    }
}

/// Ends the process without touching thread-local storage.
pub(super) fn exit(status: libc::c_int) -> ! {
    // SAFETY: does not return.
    unsafe { asm!("syscall", in("rax") libc::SYS_exit_group, in("rdi") status, options(noreturn, nostack)) }
}
