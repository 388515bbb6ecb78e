//! Descriptors: LAR, LSL, VERR, VERW, task and local table registers.

use crate::harness::Outcome;
use crate::hw::cpu::flags::ZF;
use crate::hw::gdt::{self, CODE32, CODE64, DATA, SCRATCH, TSS, USER_DATA};
use crate::hw::pages;
use crate::tests::memory::load;
use crate::tests::user::User;

family!("privilege": lar, lsl, verr_verw, str_and_busy, ltr_faults, lldt, local_table, sgdt_sidt, null_data_segments);

fn lar() -> Outcome {
    let got = exec!("lar eax, ecx", 0, DATA, 0, 0);
    check_eq!(got.flags & ZF, ZF, "ZF for data");
    // Bits 16 to 19 are undefined.
    check_eq!(got.rax & !0xf_0000, 0x00c0_9300, "access rights of data");
    let got = exec!("lar eax, ecx", 0, CODE64, 0, 0);
    check_eq!(got.rax & !0xf_0000, 0x00a0_9b00, "access rights of 64-bit code");
    check_eq!(exec!("lar eax, ecx", 0, TSS, 0, 0).rax & 0xff00, 0x8b00, "access rights of a busy TSS");
    for bad in [0u16, 0xfff8, SCRATCH] {
        let got = exec!("lar eax, ecx", 0x77, bad, 0, ZF);
        check_eq!(got.flags & ZF, 0, "ZF for selector {bad:#x}");
        check_eq!(got.rax, 0x77, "EAX for selector {bad:#x}");
    }
    // An interrupt gate has no place in the table, and requested privilege counts.
    gdt::set(SCRATCH, 0x8e << 40);
    check_eq!(exec!("lar eax, ecx", 0, SCRATCH, 0, ZF).flags & ZF, 0, "ZF for an interrupt gate");
    check_eq!(exec!("lar eax, ecx", 0, DATA | 3, 0, ZF).flags & ZF, 0, "ZF for requested privilege 3");
    Ok(())
}

fn lsl() -> Outcome {
    check_eq!(exec!("lsl eax, ecx", 0, DATA, 0, 0).rax, 0xffff_ffffu64, "limit in pages");
    gdt::set(SCRATCH, gdt::system(0x93, 0x1000, 0x1_2345));
    let got = exec!("lsl eax, ecx", 0, SCRATCH, 0, 0);
    check_eq!(got.rax, 0x1_2345, "limit in bytes");
    check_eq!(got.flags & ZF, ZF, "ZF");
    let limit = core::mem::size_of::<gdt::Tss>() as u64 - 1;
    check_eq!(exec!("lsl eax, ecx", 0, TSS, 0, 0).rax, limit, "limit of the TSS");
    // A call gate has rights but no limit.
    gdt::set(SCRATCH, 0x8c << 40);
    check_eq!(exec!("lsl eax, ecx", 0, SCRATCH, 0, ZF).flags & ZF, 0, "ZF for a call gate");
    check_eq!(exec!("lar eax, ecx", 0, SCRATCH, 0, 0).flags & ZF, ZF, "ZF of LAR for a call gate");
    Ok(())
}

fn verr_verw() -> Outcome {
    check_eq!(exec!("verr cx", 0, DATA, 0, 0).flags & ZF, ZF, "verr of data");
    check_eq!(exec!("verw cx", 0, DATA, 0, 0).flags & ZF, ZF, "verw of data");
    check_eq!(exec!("verr cx", 0, CODE64, 0, 0).flags & ZF, ZF, "verr of readable code");
    check_eq!(exec!("verw cx", 0, CODE64, 0, ZF).flags & ZF, 0, "verw of code");
    check_eq!(exec!("verr cx", 0, TSS, 0, ZF).flags & ZF, 0, "verr of a TSS");
    check_eq!(exec!("verr cx", 0, 0, 0, ZF).flags & ZF, 0, "verr of null");
    gdt::set(SCRATCH, gdt::system(0x91, 0, 0xfff));
    check_eq!(exec!("verw cx", 0, SCRATCH, 0, ZF).flags & ZF, 0, "verw of read-only data");
    let mut user = User::code64(snippet!(64, verr_ring3: "verr cx" "pushfq" "pop rax" "int3"));
    user.rcx = (DATA | 3).into();
    check_eq!(user.run().rax & ZF, 0, "verr of ring 0's data in ring 3");
    user.rcx = USER_DATA.into();
    check_eq!(user.run().rax & ZF, ZF, "verr of ring 3's data in ring 3");
    Ok(())
}

/// LTR marks the descriptor busy and refuses a busy one.
fn str_and_busy() -> Outcome {
    check_eq!(exec!("str eax", u64::MAX, 0, 0, 0).rax, TSS, "STR");
    check_eq!(gdt::get(TSS) >> 40 & 0xf, 0xb, "type of the loaded TSS");
    expect!(GP(TSS), exec!("ltr cx", 0, TSS, 0, 0));
    gdt::set_task_descriptor(SCRATCH, gdt::tss(0) as u64, 0x67);
    exec!("ltr cx", 0, SCRATCH, 0, 0);
    check_eq!(gdt::get(SCRATCH) >> 40 & 0xf, 0xb, "type after LTR");
    check_eq!(exec!("str eax", 0, 0, 0, 0).rax, SCRATCH, "STR after LTR");
    Ok(())
}

fn ltr_faults() -> Outcome {
    expect!(GP(DATA), exec!("ltr cx", 0, DATA, 0, 0));
    expect!(GP(0xfff8), exec!("ltr cx", 0, 0xfff8, 0, 0));
    gdt::set_task_descriptor(SCRATCH, gdt::tss(0) as u64, 0x67);
    gdt::set(SCRATCH, gdt::get(SCRATCH) & !(1 << 47));
    expect!(NP(SCRATCH), exec!("ltr cx", 0, SCRATCH, 0, 0));
    wrong_in_tcg!("loads a null selector");
    expect!(GP(0), exec!("ltr cx", 0, 0, 0, 0));
    Ok(())
}

fn lldt() -> Outcome {
    check_eq!(exec!("sldt eax", u64::MAX, 0, 0, 0).rax, 0, "SLDT");
    expect!(GP(DATA), exec!("lldt cx", 0, DATA, 0, 0));
    expect!(GP(CODE32 | 4), exec!("mov fs, ecx", 0, CODE32 | 4, 0, 0));
    Ok(())
}

/// Selectors with bit 2 go to the local table.
fn local_table() -> Outcome {
    let table = pages::frame();
    crate::tests::memory::store(table + 8, gdt::get(DATA) & !(1 << 40));
    gdt::set(SCRATCH, gdt::system(0x82, table, 0xf));
    gdt::set(SCRATCH + 8, table >> 32);
    exec!("lldt cx", 0, SCRATCH, 0, 0);
    let got = exec!("mov fs, ecx; mov eax, fs; xor ecx, ecx; mov fs, ecx", 0, 0xc, 0, 0);
    check_eq!(got.rax, 0xc, "FS");
    check_eq!(load::<u64>(table + 8) >> 40 & 1, 1, "accessed bit");
    expect!(GP(0x14), exec!("mov fs, ecx", 0, 0x14, 0, 0));
    exec!("lldt cx", 0, 0, 0, 0);
    expect!(GP(0xc), exec!("mov fs, ecx", 0, 0xc, 0, 0));
    Ok(())
}

/// Ten bytes in 64-bit mode, whatever the operand size.
fn sgdt_sidt() -> Outcome {
    let at = pages::frame();
    exec!("sgdt [rdx]; sidt [rdx + 16]", 0, 0, at, 0);
    check!(load::<gdt::Pointer>(at) == gdt::pointer(), "SGDT");
    check!(load::<gdt::Pointer>(at + 16) == crate::trap::pointer(), "SIDT");
    check_eq!(load::<u16>(at + 10), 0, "bytes behind");
    Ok(())
}

/// In 64-bit mode a null segment does not keep from memory.
fn null_data_segments() -> Outcome {
    let at = pages::frame();
    let got = exec!(
        "xor ecx, ecx; mov ds, ecx; mov es, ecx; mov byte ptr [rdx], 5; mov al, es:[rdx]; mov ecx, 0x18; mov ds, ecx; mov es, ecx",
        0,
        0,
        at,
        0
    );
    check_eq!(got.rax, 5, "byte");
    Ok(())
}
