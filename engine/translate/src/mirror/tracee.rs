//! A process of ours that has nothing of us in it: what a mirror lives in.
//!
//! It is made by `vfork` and by executing a program of a few bytes, so that no memory, descriptor, signal handler or thread-local of
//! ours is left in it, and runs under `ptrace` from its first instruction. It can do nothing on its own: whatever
//! it executes as a system call stops it instead (`PTRACE_SYSEMU`), every signal comes to us, and it dies with the
//! thread that traces it. The system calls that shape its memory are ours: we put registers and a list of calls in front
//! of it, and it goes through the list ([`GADGET`]).

#![allow(unsafe_code)] // ptrace and its kin

use std::ffi::{CStr, c_void};
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsRawFd, RawFd};

use x86::Fpu;

pub(crate) use libc::user_regs_struct as Registers;

/// Goes through R13 system calls of 64 bytes each at R12: number and six arguments. Stops with INT3 after the last, or after one
/// that failed, with its result in RAX.
///
/// ```text
///   next: mov rax, [r12]; mov rdi, [r12+8]; mov rsi, [r12+16]; mov rdx, [r12+24]
///         mov r10, [r12+32]; mov r8, [r12+40]; mov r9, [r12+48]; syscall
///         test rax, rax; js out; add r12, 64; dec r13; jnz next
///   out:  int3
/// ```
pub(crate) const GADGET: [u8; 53] = [
    0x49, 0x8b, 0x04, 0x24, 0x49, 0x8b, 0x7c, 0x24, 0x08, 0x49, 0x8b, 0x74, 0x24, 0x10, 0x49, 0x8b, 0x54,
    0x24, 0x18, 0x4d, 0x8b, 0x54, 0x24, 0x20, 0x4d, 0x8b, 0x44, 0x24, 0x28, 0x4d, 0x8b, 0x4c, 0x24, 0x30,
    0x0f, 0x05, 0x48, 0x85, 0xc0, 0x78, 0x09, 0x49, 0x83, 0xc4, 0x40, 0x49, 0xff, 0xcd, 0x75, 0xce, 0xcc,
    0xcc, 0xcc,
];
/// Where in the gadget a single system call is, whose registers are loaded already.
const SINGLE: u64 = 34;

/// A signal that the kernel sends for an exception without an address, or for INT3.
const SI_KERNEL: i32 = 0x80;

/// A system call for the tracee.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub(crate) struct Call {
    number: u64,
    arguments: [u64; 6],
}

impl Call {
    pub fn new(number: i64, arguments: [u64; 6]) -> Self {
        Self { number: number as u64, arguments }
    }
}

/// Why the tracee stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// INT3.
    Trap,
    /// It has executed one instruction.
    Stepped,
    /// Somebody wants it to stop ([`Kick`]).
    Kicked,
    /// A fault: the signal, and for SIGSEGV the address if it was that of a page.
    Fault { signal: i32, address: Option<u64> },
    /// It executed a system call, which it never should.
    SystemCall,
}

/// How to execute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pace {
    /// Until something happens.
    Freely,
    /// One instruction.
    Step,
}

/// The process.
pub(crate) struct Tracee {
    pid: i32,
    /// The thread that traces it: no other can.
    tracer: i32,
    /// Its registers at the first stop, from which segment selectors are taken.
    first: Registers,
}

/// What the child needs to know.
struct Start<'a> {
    program: RawFd,
    files: &'a [RawFd],
}

/// Words of 16 bytes for the stack that the child starts on.
const START_STACK: usize = 4096;

/// The child, in our memory: becomes the program.
extern "C" fn begin(start: *mut c_void) -> libc::c_int {
    let (empty, argv) = (c"".as_ptr(), [c"ringfence-mirror".as_ptr(), std::ptr::null()]);
    // SAFETY: system calls only, on values that the parent, which waits, holds.
    unsafe {
        let start = &*start.cast::<Start<'_>>();
        libc::ptrace(libc::PTRACE_TRACEME, 0, 0, 0);
        for &file in start.files {
            libc::fcntl(file, libc::F_SETFD, 0);
        }
        let none = argv.as_ptr().add(1);
        libc::syscall(libc::SYS_execveat, start.program, empty, argv.as_ptr(), none, libc::AT_EMPTY_PATH);
        libc::_exit(1)
    }
}

impl Tracee {
    /// A process whose memory is one page of code at `at`, apart from a stack and what the kernel puts there. It has `files` open
    /// under the numbers that they have here, and standard streams.
    ///
    /// # Errors
    /// When the host allows no process, no tracing or no execution of a file without a name.
    pub fn new(at: u64, files: &[RawFd]) -> io::Result<Self> {
        let program = program(at)?;
        let start = Start { program: program.as_raw_fd(), files };
        let mut stack = vec![0u128; START_STACK];
        // SAFETY: the child has a stack of its own in our memory, and we wait until it has left that (CLONE_VFORK): nothing is
        // copied, however much memory we have, and nothing is written by two. It has no exit signal.
        let pid = unsafe {
            libc::clone(
                begin,
                stack.as_mut_ptr_range().end.cast(),
                libc::CLONE_VM | libc::CLONE_VFORK,
                (&raw const start).cast_mut().cast(),
            )
        };
        if pid < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: gettid takes nothing.
        let tracer = unsafe { libc::gettid() };
        // SAFETY: a zeroed register set is a valid one.
        let mut tracee = Self { pid, tracer, first: unsafe { std::mem::zeroed() } };
        if tracee.wait()? != Stop::Trap {
            return Err(io::Error::other("the process of a mirror does not start"));
        }
        let options = libc::PTRACE_O_EXITKILL | libc::PTRACE_O_TRACESYSGOOD;
        tracee.request(libc::PTRACE_SETOPTIONS, 0, options as u64)?;
        tracee.first = tracee.registers()?;
        Ok(tracee)
    }

    /// May this thread use it?
    pub fn is_ours(&self) -> bool {
        // SAFETY: gettid takes nothing.
        self.tracer == unsafe { libc::gettid() }
    }

    /// What makes it stop from another thread.
    pub fn kick(&self) -> Kick {
        Kick(self.pid)
    }

    /// For how long it has been executing, in nanoseconds.
    pub fn busy(&self) -> u64 {
        // The CPU-time clock of a process, as pthread_getcpuclockid(3) makes them.
        let clock = !self.pid << 3 | 2;
        let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: fills in the value.
        unsafe { libc::clock_gettime(clock, &raw mut time) };
        time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
    }

    /// The registers it was made with.
    pub fn first(&self) -> Registers {
        self.first
    }

    /// Makes one system call, by the gadget at `gadget`.
    pub fn call(&self, gadget: u64, number: i64, arguments: [u64; 6]) -> io::Result<u64> {
        let [rdi, rsi, rdx, r10, r8, r9] = arguments;
        let registers = Registers {
            rip: gadget + SINGLE,
            rax: number as u64,
            r13: 1,
            rdi,
            rsi,
            rdx,
            r10,
            r8,
            r9,
            ..self.first
        };
        self.finish(registers)
    }

    /// Makes the `count` system calls that it finds at `list`.
    pub fn calls(&self, gadget: u64, list: u64, count: usize) -> io::Result<()> {
        let registers = Registers { rip: gadget, r12: list, r13: count as u64, ..self.first };
        self.finish(registers).map(|_| ())
    }

    fn finish(&self, registers: Registers) -> io::Result<u64> {
        self.set_registers(&Registers { orig_rax: u64::MAX, ..registers })?;
        loop {
            self.request(libc::PTRACE_CONT, 0, 0)?;
            match self.wait()? {
                Stop::Trap => break,
                Stop::Kicked => {}
                stop => return Err(io::Error::other(format!("a mirror's system call ended in {stop:?}"))),
            }
        }
        let result = self.registers()?.rax as i64;
        if result < 0 { Err(io::Error::from_raw_os_error(-result as i32)) } else { Ok(result as u64) }
    }

    /// Executes from where it stopped, until it stops again.
    pub fn run(&self, pace: Pace) -> io::Result<Stop> {
        const PTRACE_SYSEMU: u32 = 31;
        const PTRACE_SYSEMU_SINGLESTEP: u32 = 32;
        let request = if pace == Pace::Step { PTRACE_SYSEMU_SINGLESTEP } else { PTRACE_SYSEMU };
        self.request(request, 0, 0)?;
        let stop = self.wait()?;
        let stepped = pace == Pace::Step && stop == Stop::Trap && self.signal()?.si_code != SI_KERNEL;
        Ok(if stepped { Stop::Stepped } else { stop })
    }

    /// Its registers.
    pub fn registers(&self) -> io::Result<Registers> {
        // SAFETY: zeroes are valid; the kernel fills it in.
        let mut registers: Registers = unsafe { std::mem::zeroed() };
        self.request(libc::PTRACE_GETREGS, 0, (&raw mut registers) as u64)?;
        Ok(registers)
    }

    /// Sets them.
    pub fn set_registers(&self, registers: &Registers) -> io::Result<()> {
        self.request(libc::PTRACE_SETREGS, 0, std::ptr::from_ref(registers) as u64)
    }

    /// Reads its x87, SSE and AVX state.
    pub fn fpu(&self, fpu: &mut Fpu) -> io::Result<()> {
        let mut area = Area::default();
        let len = area.transfer(self, libc::PTRACE_GETREGSET)?;
        // A component that XSAVE left out is in its initial state (SDM vol. 1, 13.6).
        let present = area.word(512);
        let mut now = Fpu::default();
        if present & 1 != 0 {
            now.legacy.fcw = area.word(0) as u16;
            now.legacy.fsw = (area.word(0) >> 16) as u16;
            now.legacy.ftw = (area.word(0) >> 32) as u8;
            for (n, st) in now.legacy.st.iter_mut().enumerate() {
                *st = area.wide(32 + 16 * n) & ((1 << 80) - 1);
            }
        }
        if present & 6 != 0 {
            now.legacy.mxcsr = area.word(24) as u32;
        }
        for n in 0..16 {
            if present & 2 != 0 {
                now.legacy.xmm[n] = area.wide(160 + 16 * n);
            }
            if present & 4 != 0 && len >= size_of::<Fpu>() {
                now.ymm_high[n] = area.wide(576 + 16 * n);
            }
        }
        now.legacy.mxcsr_mask = fpu.legacy.mxcsr_mask;
        now.legacy.reserved2 = fpu.legacy.reserved2;
        now.xstate_bv = fpu.xstate_bv;
        *fpu = now;
        Ok(())
    }

    /// Sets it; `wide` says that the guest has AVX.
    pub fn set_fpu(&self, fpu: &Fpu, wide: bool) -> io::Result<()> {
        let mut area = Area::default();
        area.transfer(self, libc::PTRACE_GETREGSET)?;
        // SAFETY: `Fpu` is plain data, 832 bytes of it.
        let image = unsafe { std::slice::from_raw_parts((&raw const *fpu).cast::<u8>(), size_of::<Fpu>()) };
        // Bytes 464 on belong to the kernel, from 512 on is the header.
        area.bytes[..416].copy_from_slice(&image[..416]);
        area.bytes[28..32].copy_from_slice(&0xffffu32.to_le_bytes());
        area.bytes[512..520].copy_from_slice(&(if wide { 7u64 } else { 3 }).to_le_bytes());
        area.bytes[520..576].fill(0);
        if wide {
            area.bytes[576..832].copy_from_slice(&image[576..832]);
        }
        area.transfer(self, libc::PTRACE_SETREGSET).map(|_| ())
    }

    fn request(&self, request: u32, address: u64, data: u64) -> io::Result<()> {
        // SAFETY: pointers among the arguments come from the callers above, which own what they point to.
        if unsafe { libc::ptrace(request, self.pid, address as *mut c_void, data as *mut c_void) } < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(())
    }

    /// What the signal it stopped with says.
    fn signal(&self) -> io::Result<libc::siginfo_t> {
        // SAFETY: zeroes are valid; the kernel fills it in.
        let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
        self.request(libc::PTRACE_GETSIGINFO, 0, (&raw mut info) as u64)?;
        Ok(info)
    }

    fn wait(&self) -> io::Result<Stop> {
        let mut status = 0;
        loop {
            // SAFETY: waits for our own child.
            let got = unsafe { libc::waitpid(self.pid, &raw mut status, libc::__WALL) };
            if got == self.pid {
                break;
            }
            let error = io::Error::last_os_error();
            if error.kind() != io::ErrorKind::Interrupted {
                return Err(error);
            }
        }
        if !libc::WIFSTOPPED(status) {
            return Err(io::Error::other("the process of a mirror is gone"));
        }
        const SYSTEM_CALL: i32 = libc::SIGTRAP | 0x80;
        Ok(match libc::WSTOPSIG(status) {
            libc::SIGTRAP => Stop::Trap,
            libc::SIGSTOP => Stop::Kicked,
            SYSTEM_CALL => Stop::SystemCall,
            signal => {
                let info = self.signal()?;
                let paged = signal == libc::SIGSEGV && info.si_code > 0 && info.si_code != SI_KERNEL;
                // SAFETY: a SIGSEGV of the kernel's has an address.
                Stop::Fault { signal, address: paged.then(|| unsafe { info.si_addr() } as u64) }
            }
        })
    }
}

impl Drop for Tracee {
    fn drop(&mut self) {
        // SAFETY: our own child, which nobody else waits for. A thread that does not trace it can kill it all the same.
        unsafe {
            libc::kill(self.pid, libc::SIGKILL);
            let mut status = 0;
            while libc::waitpid(self.pid, &raw mut status, libc::__WALL) == self.pid && !dead(status) {}
        }
    }
}

fn dead(status: i32) -> bool {
    libc::WIFEXITED(status) || libc::WIFSIGNALED(status)
}

/// Makes a tracee stop, from any thread.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kick(pub i32);

impl Kick {
    pub fn kick(self) {
        // SAFETY: a signal to a child of ours that has not been waited for, or to nobody.
        unsafe { libc::syscall(libc::SYS_tgkill, self.0, self.0, libc::SIGSTOP) };
    }
}

/// Room for the host's whole XSAVE area, in the standard format.
#[repr(C, align(64))]
struct Area {
    bytes: [u8; 16384],
}

impl Default for Area {
    fn default() -> Self {
        Self { bytes: [0; 16384] }
    }
}

impl Area {
    /// Gives how many bytes the host has of it.
    fn transfer(&mut self, tracee: &Tracee, request: u32) -> io::Result<usize> {
        const NT_X86_XSTATE: u64 = 0x202;
        let mut vector = libc::iovec { iov_base: self.bytes.as_mut_ptr().cast(), iov_len: self.bytes.len() };
        if request == libc::PTRACE_SETREGSET {
            vector.iov_len = host_area();
        }
        tracee.request(request, NT_X86_XSTATE, (&raw mut vector) as u64)?;
        Ok(vector.iov_len)
    }

    fn word(&self, at: usize) -> u64 {
        u64::from_le_bytes(std::array::from_fn(|n| self.bytes[at + n]))
    }

    fn wide(&self, at: usize) -> u128 {
        u128::from(self.word(at)) | u128::from(self.word(at + 8)) << 64
    }
}

/// Bytes of the host's XSAVE area.
fn host_area() -> usize {
    (std::arch::x86_64::__cpuid_count(0xd, 0).ebx as usize).min(16384)
}

/// A program that is the gadget at `at`: an ELF header, one program header, the code (System V ABI, chapter 4).
fn program(at: u64) -> io::Result<File> {
    const HEADERS: usize = 64 + 56;
    let mut bytes = Vec::with_capacity(HEADERS + GADGET.len());
    let half =
        |bytes: &mut Vec<u8>, values: &[u16]| values.iter().for_each(|v| bytes.extend(v.to_le_bytes()));
    let word =
        |bytes: &mut Vec<u8>, values: &[u32]| values.iter().for_each(|v| bytes.extend(v.to_le_bytes()));
    let long =
        |bytes: &mut Vec<u8>, values: &[u64]| values.iter().for_each(|v| bytes.extend(v.to_le_bytes()));
    let size = (HEADERS + GADGET.len()) as u64;
    bytes.extend([0x7f, b'E', b'L', b'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    half(&mut bytes, &[2, 62]);
    word(&mut bytes, &[1]);
    long(&mut bytes, &[gadget_of_program(at), 64, 0]);
    word(&mut bytes, &[0]);
    half(&mut bytes, &[64, 56, 1, 0, 0, 0]);
    word(&mut bytes, &[1, 5]);
    long(&mut bytes, &[0, at, at, size, size, 4096]);
    bytes.extend(GADGET);
    let mut file = crate::memory::anonymous_file(PROGRAM, 0)?;
    file.write_all(&bytes)?;
    Ok(file)
}

const PROGRAM: &CStr = c"ringfence-mirror";

/// Where the gadget of a program at `at` is.
pub(crate) fn gadget_of_program(at: u64) -> u64 {
    at + 64 + 56
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: u64 = 0x3000_0000_0000;

    #[test]
    fn it_does_what_it_is_told_and_nothing_else() {
        let tracee = Tracee::new(AT, &[]).unwrap();
        let gadget = gadget_of_program(AT);
        let protection = (libc::PROT_READ | libc::PROT_WRITE) as u64;
        let flags = (libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED) as u64;
        let map = [0x1000_0000, 0x1000, protection, flags, u64::MAX, 0];
        assert_eq!(tracee.call(gadget, libc::SYS_mmap, map).unwrap(), 0x1000_0000);
        let error = tracee.call(gadget, libc::SYS_close, [99, 0, 0, 0, 0, 0]).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EBADF));
        // A system call of its own does not happen.
        let registers = Registers {
            rip: gadget + SINGLE,
            rax: libc::SYS_exit as u64,
            orig_rax: u64::MAX,
            ..tracee.first()
        };
        tracee.set_registers(&registers).unwrap();
        assert_eq!(tracee.run(Pace::Freely).unwrap(), Stop::SystemCall);
    }

    #[test]
    fn faults_say_where() {
        let tracee = Tracee::new(AT, &[]).unwrap();
        let gadget = gadget_of_program(AT);
        for (r12, address) in [(0x123_4567, Some(0x123_4567)), (0x8000_0000_0000_0000, None)] {
            let registers = Registers { rip: gadget, r12, orig_rax: u64::MAX, ..tracee.first() };
            tracee.set_registers(&registers).unwrap();
            assert_eq!(tracee.run(Pace::Freely).unwrap(), Stop::Fault { signal: libc::SIGSEGV, address });
            assert_eq!(tracee.registers().unwrap().rip, gadget);
        }
    }

    #[test]
    fn the_vector_state_goes_in_and_comes_out() {
        let wide = std::arch::is_x86_feature_detected!("avx");
        let tracee = Tracee::new(AT, &[]).unwrap();
        let mut fpu = Fpu::default();
        fpu.legacy.xmm = std::array::from_fn(|n| 0x1234_5678 << n);
        fpu.legacy.st[3] = 0x3fff_8000_0000_0000_0000;
        (fpu.legacy.ftw, fpu.legacy.fsw, fpu.legacy.mxcsr) = (8, 0x1800, 0x9fc0);
        if wide {
            fpu.ymm_high = std::array::from_fn(|n| 99 + n as u128);
        }
        tracee.set_fpu(&fpu, wide).unwrap();
        let mut back = Fpu::default();
        tracee.fpu(&mut back).unwrap();
        assert_eq!(back, fpu);
    }

    #[test]
    fn a_kick_stops_it() {
        let tracee = Tracee::new(AT, &[]).unwrap();
        let kick = tracee.kick();
        kick.kick();
        let gadget = gadget_of_program(AT);
        let registers = Registers { rip: gadget, orig_rax: u64::MAX, ..tracee.first() };
        tracee.set_registers(&registers).unwrap();
        assert_eq!(tracee.run(Pace::Freely).unwrap(), Stop::Kicked);
    }
}
