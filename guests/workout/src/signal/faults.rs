//! Accesses that are not allowed, and just what is said of each.

#![allow(unsafe_code)] // faults on purpose

use std::arch::asm;
use std::io;
use std::os::fd::AsFd;

use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::unistd::ftruncate;

use crate::mmap::Mapping;
use crate::report::Report;
use crate::trap::{self, Trap};
use nix::sys::mman::ProtFlags;

/// A page.
const PAGE: usize = 4096;

pub fn run(report: &mut Report) -> io::Result<()> {
    let read_write = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
    let pages = Mapping::anonymous(4, read_write)?;
    let base = pages.address();
    pages.protect(1, 1, ProtFlags::PROT_NONE)?;
    pages.protect(2, 1, ProtFlags::PROT_READ)?;
    pages.unmap(3, 1)?;
    let place = |result: Result<(), Trap>| describe(result.err(), base);
    let read = |offset: usize| place(trap::read(base + offset).map(drop));
    // SAFETY: nobody else uses the mapping.
    let write = |offset: usize| place(unsafe { trap::write(base + offset, 1) });
    // SAFETY: none of it is executable.
    let call = |offset: usize| place(unsafe { trap::call(base + offset) }.map(drop));

    report.expect("read", read(8), "no fault".to_owned());
    report.expect(
        "read, no access",
        read(PAGE + 24),
        "signal 11 code 2 at 0x1018 vector 14 error 4".to_owned(),
    );
    report.expect(
        "write, no access",
        write(PAGE + 32),
        "signal 11 code 2 at 0x1020 vector 14 error 6".to_owned(),
    );
    report.expect("read, read-only", read(2 * PAGE), "no fault".to_owned());
    report.expect(
        "write, read-only",
        write(2 * PAGE + 8),
        "signal 11 code 2 at 0x2008 vector 14 error 7".to_owned(),
    );
    report.expect(
        "read, absent",
        read(3 * PAGE + 40),
        "signal 11 code 1 at 0x3028 vector 14 error 4".to_owned(),
    );
    report.expect(
        "write, absent",
        write(3 * PAGE),
        "signal 11 code 1 at 0x3000 vector 14 error 6".to_owned(),
    );
    report.expect("run, not executable", call(16), "signal 11 code 2 at 0x10 vector 14 error 21".to_owned());
    report.expect("run, absent", call(3 * PAGE), "signal 11 code 1 at 0x3000 vector 14 error 20".to_owned());
    // The first byte that cannot be had is the second page's first.
    report.expect("read across", read(PAGE - 3), "signal 11 code 2 at 0x1000 vector 14 error 4".to_owned());
    report.expect(
        "write across",
        write(3 * PAGE - 5),
        "signal 11 code 2 at 0x2ffb vector 14 error 7".to_owned(),
    );

    let elsewhere = |address: usize| describe(trap::read(address).err(), 0);
    report.expect(
        "read, non-canonical",
        elsewhere(1 << 63 | 1 << 40),
        "signal 11 code 128 at 0x0 vector 13 error 0".to_owned(),
    );
    report.expect(
        "read, the kernel's",
        elsewhere(0xffff_8000_0000_0000),
        "signal 11 code 1 at 0xffff800000000000 vector 14 error 5".to_owned(),
    );
    instructions(report);

    let file = memfd_create("workout", MFdFlags::MFD_CLOEXEC)?;
    ftruncate(&file, 100)?;
    let mapped = Mapping::shared(file.as_fd(), 2, read_write)?;
    let found = trap::read(mapped.address() + 200).is_ok();
    report.check("read behind the end of a file, on its last page", found);
    let beyond = describe(trap::read(mapped.address() + PAGE).err(), mapped.address());
    report.expect(
        "read beyond the last page of a file",
        beyond,
        "signal 7 code 2 at 0x1000 vector 14 error 4".to_owned(),
    );
    Ok(())
}

fn describe(trap: Option<Trap>, base: usize) -> String {
    trap.map_or("no fault".to_owned(), |trap| {
        let Trap { signal, code, address, vector, error, .. } = trap;
        format!(
            "signal {signal} code {code} at {:#x} vector {vector} error {error}",
            address.wrapping_sub(base)
        )
    })
}

/// What is said of a fault that is the instruction's own. Addresses are counted from the first instruction.
macro_rules! faulty {
    ($($text:literal),+) => {{
        let mut start = 0_usize;
        let trap = trap::attempt(|| {
            // SAFETY: the instruction faults, and goes on at the label.
            unsafe {
                asm!(
                    "lea r10, [rip + 2f]",
                    "lea {start}, [rip + 3f]",
                    "3:",
                    $($text,)+
                    "2:",
                    start = out(reg) start,
                    out("rax") _,
                    out("rcx") _,
                    out("rdx") _,
                    out("xmm0") _,
                    out("r10") _,
                );
            }
        });
        trap.map_or("no fault".to_owned(), |trap| {
            let Trap { signal, code, address, instruction, vector, error } = trap;
            let address = (address != 0).then(|| address.wrapping_sub(start).to_string());
            let (address, after) = (address.unwrap_or("none".to_owned()), instruction.wrapping_sub(start));
            format!("signal {signal} code {code} at {address} instruction {after} vector {vector} error {error}")
        })
    }};
}

fn instructions(report: &mut Report) {
    report.value("undefined", faulty!("ud2"));
    report.value("privileged", faulty!("hlt"));
    report.value("privileged register", faulty!("mov rax, cr0"));
    report.value("privileged port", faulty!("in al, dx"));
    report.value("model-specific register", faulty!("rdmsr"));
    report.value("interrupts off", faulty!("cli"));
    report.value("undefined software interrupt", faulty!("int 0x42"));
    report.value("breakpoint", faulty!("int3"));
    report.value("misaligned vector", faulty!("movaps xmm0, xmmword ptr [rsp + 1]"));
    report.value("segment that is none", faulty!("mov eax, 0x1234", "mov ds, eax"));
    report.value("invalid prefix", faulty!(".byte 0xf0, 0x90"));
}
