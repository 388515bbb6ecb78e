//! Page faults: the error code's bits and CR2.
//!
//! Bit 0 the page was present, 1 a write, 2 from ring 3, 3 a reserved bit, 4 a fetch.

use crate::harness::Outcome;
use crate::hw::cpu::{self, cr0_bits, cr4_bits, msr};
use crate::hw::cpuid;
use crate::hw::pages::{self, HIGH, LARGE, NX, P, PS, U, W};
use crate::tests::memory::{load, store};

family!("paging":
    not_present, not_present_upper_levels, read_only, write_protect_off, read_only_upper_levels, no_execute,
    no_execute_upper_levels, fetch_error_bit, reserved_address_bits, reserved_large_page_bits, reserved_size_bit,
    reserved_nx, cr2_is_exact, smep, smap, read_modify_write_is_a_write,
    read_modify_write_of_absent_page,
);

/// Calls `address` as a function.
fn call(address: u64) -> u64 {
    exec!("call rcx", 0, address, 0, 0).rax
}

fn not_present() -> Outcome {
    check_eq!(expect!(PF(0), load::<u8>(HIGH + 0x123)).cr2, HIGH + 0x123, "CR2 of a read");
    check_eq!(expect!(PF(2), store(HIGH + 0x456, 0u8)).cr2, HIGH + 0x456, "CR2 of a write");
    let trap = expect!(PF(fetch_bit()), call(HIGH + 0x789));
    check_eq!(trap.cr2, HIGH + 0x789, "CR2 of a fetch");
    check_eq!(trap.rip, HIGH + 0x789, "RIP of a fetch");
    Ok(())
}

/// A fetch is marked only if NX or SMEP is on.
fn fetch_bit() -> u64 {
    if cpu::rdmsr(msr::EFER) & 0x800 != 0 { 0x10 } else { 0 }
}

/// Other bits of an absent entry do not matter, at no level.
fn not_present_upper_levels() -> Outcome {
    pages::map_new(HIGH, W);
    for level in 1..=4 {
        let entry = pages::entry(HIGH, level);
        let value = pages::get(entry);
        pages::set(entry, !P);
        cpu::invlpg(HIGH);
        let result = crate::trap::catch(|| load::<u8>(HIGH));
        pages::set(entry, value);
        cpu::invlpg(HIGH);
        match result {
            Err(trap) => check!(trap.is(14, 0), "level {level}: {trap}"),
            Ok(_) => check!(false, "level {level}: no fault"),
        }
        load::<u8>(HIGH);
    }
    Ok(())
}

fn read_only() -> Outcome {
    let physical = pages::map_new(HIGH, 0);
    store(physical, 5u8);
    check_eq!(load::<u8>(HIGH), 5, "byte read");
    expect!(PF(3), store(HIGH, 6u8));
    check_eq!(load::<u8>(physical), 5, "byte after the fault");
    Ok(())
}

/// Without CR0.WP the supervisor writes where it likes.
fn write_protect_off() -> Outcome {
    let physical = pages::map_new(HIGH, 0);
    cpu::set_cr0(cpu::cr0() & !cr0_bits::WP);
    store(HIGH, 6u8);
    cpu::set_cr0(cpu::cr0() | cr0_bits::WP);
    check_eq!(load::<u8>(physical), 6, "byte after the write");
    expect!(PF(3), store(HIGH, 7u8));
    Ok(())
}

/// W must be set at all levels.
fn read_only_upper_levels() -> Outcome {
    pages::map_new(HIGH, W);
    for level in 2..=4 {
        let entry = pages::entry(HIGH, level);
        pages::set(entry, pages::get(entry) & !W);
        cpu::invlpg(HIGH);
        expect!(PF(3), store(HIGH, 1u8));
        pages::set(entry, pages::get(entry) | W);
        cpu::invlpg(HIGH);
        store(HIGH, 1u8);
    }
    Ok(())
}

/// A reading half that would succeed does not hide that the whole is a write.
fn read_modify_write_is_a_write() -> Outcome {
    pages::map_new(HIGH, 0);
    expect!(PF(3), exec!("inc qword ptr [rdx]", 0, 0, HIGH, 0));
    expect!(PF(3), exec!("xchg [rdx], rax", 0, 0, HIGH, 0));
    expect!(PF(3), exec!("shl qword ptr [rdx], cl", 0, 1, HIGH, 0));
    // CMP and BT only read.
    expect!(PF(0), exec!("cmp [rdx], rax", 0, 0, HIGH + 0x1000, 0));
    expect!(PF(0), exec!("bt qword ptr [rdx], 3", 0, 0, HIGH + 0x1000, 0));
    Ok(())
}

/// On an absent page the first access of the two is already reported as a write.
fn read_modify_write_of_absent_page() -> Outcome {
    wrong_in_tcg!("reports the read");
    expect!(PF(2), exec!("add [rdx], rax", 0, 0, HIGH, 0));
    expect!(PF(2), exec!("bts qword ptr [rdx], 3", 0, 0, HIGH, 0));
    expect!(PF(2), exec!("shl qword ptr [rdx], 1", 0, 0, HIGH, 0));
    expect!(PF(2), exec!("lock inc qword ptr [rdx]", 0, 0, HIGH, 0));
    Ok(())
}

fn no_execute() -> Outcome {
    need!(NX);
    let physical = pages::map_new(HIGH, W);
    store(physical, 0xc3u8);
    call(HIGH);
    pages::map(HIGH, physical, W | NX);
    check_eq!(load::<u8>(HIGH), 0xc3, "byte read");
    let trap = expect!(PF(0x11), call(HIGH));
    check_eq!(trap.cr2, HIGH, "CR2");
    Ok(())
}

fn no_execute_upper_levels() -> Outcome {
    need!(NX);
    let physical = pages::map_new(HIGH, W);
    store(physical, 0xc3u8);
    for level in 2..=4 {
        let entry = pages::entry(HIGH, level);
        pages::set(entry, pages::get(entry) | NX);
        cpu::invlpg(HIGH);
        expect!(PF(0x11), call(HIGH));
        pages::set(entry, pages::get(entry) & !NX);
        cpu::invlpg(HIGH);
        call(HIGH);
    }
    Ok(())
}

/// With EFER.NXE (and SMEP) off, a fetch looks like a read.
fn fetch_error_bit() -> Outcome {
    cpu::wrmsr(msr::EFER, cpu::rdmsr(msr::EFER) & !0x800);
    pages::flush();
    expect!(PF(0), call(HIGH));
    Ok(())
}

/// The error code of a fault by a reserved bit, with `others`. A page with a reserved bit is
/// present, so bit 0 is set as well; QEMU 7.2 leaves it out.
fn reserved(others: u64) -> u64 {
    others | 8 | u64::from(!cpuid::is_tcg())
}

/// Address bits beyond the physical width must be zero, at every level.
fn reserved_address_bits() -> Outcome {
    let bits = cpuid::physical_bits();
    if bits >= 52 {
        absent!("all 52 physical address bits are in use");
    }
    pages::map_new(HIGH, W);
    for level in 1..=4 {
        let entry = pages::entry(HIGH, level);
        let value = pages::get(entry);
        for bit in [bits, 51] {
            pages::set(entry, value | 1 << bit);
            cpu::invlpg(HIGH);
            let trap = crate::trap::catch(|| load::<u8>(HIGH));
            pages::set(entry, value);
            cpu::invlpg(HIGH);
            match trap {
                Err(trap) => check!(trap.is(14, reserved(0)), "level {level} bit {bit}: {trap}"),
                Ok(_) => check!(false, "level {level} bit {bit}: no fault"),
            }
        }
    }
    Ok(())
}

/// In a large page's entry, the address bits below its size (but PAT, bit 12).
fn reserved_large_page_bits() -> Outcome {
    let entry = pages::entry(HIGH, 2);
    for bit in 13..21 {
        pages::set(entry, LARGE | PS | W | P | 1 << bit);
        cpu::invlpg(HIGH);
        expect!(PF(reserved(0)), load::<u8>(HIGH));
        expect!(PF(reserved(2)), store(HIGH, 0u8));
    }
    pages::set(entry, LARGE | PS | W | P | 1 << 12);
    cpu::invlpg(HIGH);
    load::<u8>(HIGH);
    if cpuid::PDPE1GB.is_offered() {
        pages::set(pages::entry(HIGH, 3), PS | W | P | 1 << 21);
        cpu::invlpg(HIGH);
        expect!(PF(reserved(0)), load::<u8>(HIGH));
    }
    Ok(())
}

/// Bit 7 is reserved in the PML4, and in the PDPT where there are no 1 GiB pages.
fn reserved_size_bit() -> Outcome {
    pages::map_new(HIGH, W);
    let entry = pages::entry(HIGH, 4);
    pages::set(entry, pages::get(entry) | PS);
    cpu::invlpg(HIGH);
    expect!(PF(reserved(0)), load::<u8>(HIGH));
    pages::set(entry, pages::get(entry) & !PS);
    if !cpuid::PDPE1GB.is_offered() {
        let entry = pages::entry(HIGH, 3);
        pages::set(entry, pages::get(entry) | PS);
        cpu::invlpg(HIGH);
        expect!(PF(reserved(0)), load::<u8>(HIGH));
    }
    Ok(())
}

/// With EFER.NXE off, bit 63 is a reserved bit.
fn reserved_nx() -> Outcome {
    pages::map_new(HIGH, W | NX);
    cpu::wrmsr(msr::EFER, cpu::rdmsr(msr::EFER) & !0x800);
    pages::flush();
    expect!(PF(reserved(0)), load::<u8>(HIGH));
    Ok(())
}

/// CR2 is the address itself, not its page; a fault by a string or a push too.
fn cr2_is_exact() -> Outcome {
    for offset in [0u64, 1, 0x7ff, 0xfff] {
        check_eq!(expect!(PF, load::<u8>(HIGH + offset)).cr2, HIGH + offset, "CR2 of a byte");
    }
    check_eq!(
        expect!(PF, exec!("mov r8, rsp; mov rsp, rdx; push rax; mov rsp, r8", 0, 0, HIGH + 0x100, 0)).cr2,
        HIGH + 0xf8,
        "CR2 of a push"
    );
    check_eq!(
        expect!(PF, exec!("mov r8, rsp; mov rsp, rdx; push rax; mov rsp, r8", 0, 0, HIGH + 0x100, 0)).rsp,
        HIGH + 0x100,
        "RSP of a push"
    );
    check_eq!(
        expect!(PF, exec!("mov r8, rsp; mov rsp, rdx; pop rax; mov rsp, r8", 0, 0, HIGH + 0x100, 0)).cr2,
        HIGH + 0x100,
        "CR2 of a pop"
    );
    cpu::set_cr2(0x1234_5678_9abc_def0);
    check_eq!(cpu::cr2(), 0x1234_5678_9abc_def0u64, "CR2 written");
    Ok(())
}

fn smep() -> Outcome {
    need!(SMEP);
    let physical = pages::map_new(HIGH, W | U);
    store(physical, 0xc3u8);
    call(HIGH);
    cpu::set_cr4(cpu::cr4() | cr4_bits::SMEP);
    expect!(PF(0x11), call(HIGH));
    check_eq!(load::<u8>(HIGH), 0xc3, "byte read");
    // A supervisor page at one level is enough to make it one.
    let entry = pages::entry(HIGH, 3);
    pages::set(entry, pages::get(entry) & !U);
    pages::flush();
    call(HIGH);
    Ok(())
}

fn smap() -> Outcome {
    need!(SMAP);
    expect!(UD(0), exec!(".byte 0x0f, 0x01, 0xcb; ud2", 0, 0, 0, 0));
    pages::map_new(HIGH, W | U);
    cpu::set_cr4(cpu::cr4() | cr4_bits::SMAP);
    expect!(PF(1), load::<u8>(HIGH));
    expect!(PF(3), store(HIGH, 1u8));
    let got = exec!("stac; mov al, [rdx]; inc al; mov [rdx], al; mov al, [rdx]; clac", 0, 0, HIGH, 0);
    check_eq!(got.rax, 1, "byte under STAC");
    expect!(PF(1), exec!("clac; mov al, [rdx]", 0, 0, HIGH, cpu::flags::AC));
    check_eq!(exec!("stac", 0, 0, 0, 0).flags & cpu::flags::AC, cpu::flags::AC, "AC after STAC");
    Ok(())
}
