//! Accesses and instructions that lie on two pages.

use crate::harness::Outcome;
use crate::hw::pages::{self, HIGH, NX, P, W};
use crate::hw::{cpu, cpuid};
use crate::tests::memory::{load, store};

family!("paging":
    data_on_two_frames, fault_on_second_page, fault_on_first_page, write_is_all_or_nothing, read_modify_write_crossing,
    instruction_on_two_frames, fetch_fault_on_second_page, sse_crossing, instruction_ends_at_page_end,
);

/// Two pages in a row whose frames are in the opposite order.
fn two_pages() -> (u64, u64) {
    let (low, high) = (pages::frame(), pages::frame());
    pages::map(HIGH, high, W);
    pages::map(HIGH + 0x1000, low, W);
    (high, low)
}

fn data_on_two_frames() -> Outcome {
    let (first, second) = two_pages();
    for size in 1..8u64 {
        store(HIGH + 0x1000 - size, 0x8877_6655_4433_2211u64);
        check_eq!(
            load::<u64>(HIGH + 0x1000 - size),
            0x8877_6655_4433_2211u64,
            "word with {size} bytes on the first page"
        );
        check_eq!(load::<u8>(first + 0x1000 - size), 0x11, "its first byte");
        check_eq!(load::<u8>(second + 7 - size), 0x88, "its last byte");
    }
    Ok(())
}

fn fault_on_second_page() -> Outcome {
    pages::map_new(HIGH, W);
    let trap = expect!(PF(0), load::<u64>(HIGH + 0xffd));
    check_eq!(trap.cr2, HIGH + 0x1000, "CR2 of a read");
    let trap = expect!(PF(2), store(HIGH + 0xfff, 0u16));
    check_eq!(trap.cr2, HIGH + 0x1000, "CR2 of a write");
    Ok(())
}

fn fault_on_first_page() -> Outcome {
    pages::map_new(HIGH + 0x1000, W);
    let trap = expect!(PF(0), load::<u64>(HIGH + 0xffd));
    check_eq!(trap.cr2, HIGH + 0xffd, "CR2");
    Ok(())
}

fn write_is_all_or_nothing() -> Outcome {
    let first = pages::map_new(HIGH, W);
    pages::map_new(HIGH + 0x1000, 0);
    expect!(PF(3), store(HIGH + 0xffc, u64::MAX));
    check_eq!(load::<u32>(first + 0xffc), 0, "bytes on the writable page");
    // The first page read-only, the second writable.
    pages::map_new(HIGH, 0);
    let second = pages::map_new(HIGH + 0x1000, W);
    let trap = expect!(PF(3), store(HIGH + 0xffc, u64::MAX));
    check_eq!(trap.cr2, HIGH + 0xffc, "CR2");
    check_eq!(load::<u32>(second), 0, "bytes on the second page");
    Ok(())
}

fn read_modify_write_crossing() -> Outcome {
    two_pages();
    store(HIGH + 0xffc, 0xffff_ffffu64);
    let got = exec!("lock add qword ptr [rdx], 1; mov rax, [rdx]", 0, 0, HIGH + 0xffc, 0);
    check_eq!(got.rax, 1u64 << 32, "word after a locked addition");
    let got = exec!("xadd [rdx], rcx; mov rax, [rdx]", 0, 5, HIGH + 0xffc, 0);
    check_eq!(got.rax, (1u64 << 32) + 5, "word after xadd");
    Ok(())
}

/// MOV EAX, imm32; RET with its bytes spread over two frames at every split.
fn instruction_on_two_frames() -> Outcome {
    two_pages();
    for split in 1..6u64 {
        let at = HIGH + 0x1000 - split;
        for (offset, byte) in [0xb8u8, 0x44, 0x33, 0x22, 0x11, 0xc3].into_iter().enumerate() {
            store(at + offset as u64, byte);
        }
        check_eq!(
            exec!("call rcx", 0, at, 0, 0).rax,
            0x1122_3344,
            "result with {split} bytes on the first page"
        );
    }
    Ok(())
}

/// CR2 names the missing byte, RIP the instruction.
fn fetch_fault_on_second_page() -> Outcome {
    pages::map_new(HIGH, W);
    let at = HIGH + 0xffe;
    store(at, 0x44b8u16);
    let trap = expect!(PF, exec!("call rcx", 0, at, 0, 0));
    check_eq!(trap.cr2, HIGH + 0x1000, "CR2");
    check_eq!(trap.rip, at, "RIP");
    if cpuid::NX.is_offered() {
        check_eq!(trap.error, 0x10, "error code of an absent page");
        pages::map_new(HIGH + 0x1000, NX);
        let trap = expect!(PF(0x11), exec!("call rcx", 0, at, 0, 0));
        check_eq!(trap.cr2, HIGH + 0x1000, "CR2 of a page that is not executable");
    }
    Ok(())
}

/// An instruction may end with the last byte before an absent page.
fn instruction_ends_at_page_end() -> Outcome {
    pages::map_new(HIGH, W);
    store(HIGH + 0xffa, 0x2233_44b8u32);
    store(HIGH + 0xffe, 0xc311u16);
    check_eq!(exec!("call rcx", 0, HIGH + 0xffa, 0, 0).rax, 0x1122_3344, "result");
    // A NOP at the end of the page is done before the next one is missed.
    store(HIGH + 0xffe, 0x90c0u16);
    store(HIGH + 0xffd, 0xffu8);
    let trap = expect!(PF, exec!("call rcx", 0, HIGH + 0xffd, 0, 0));
    check_eq!(trap.rip, HIGH + 0x1000, "RIP");
    check_eq!(trap.rax, 1, "RAX");
    pages::set(pages::entry(HIGH, 1), pages::get(pages::entry(HIGH, 1)) | P);
    cpu::invlpg(HIGH);
    Ok(())
}

fn sse_crossing() -> Outcome {
    two_pages();
    for index in 0..16u64 {
        store(HIGH + 0xff5 + index, index as u8);
    }
    let got = exec!(
        "movdqu xmm0, [rdx]; movdqu [rdx + 0x100], xmm0; mov rax, [rdx + 0x100]; mov rcx, [rdx + 0x108]",
        0,
        0,
        HIGH + 0xff5,
        0
    );
    check_eq!(got.rax, 0x0706_0504_0302_0100u64, "low half");
    check_eq!(got.rcx, 0x0f0e_0d0c_0b0a_0908u64, "high half");
    pages::set(pages::entry(HIGH + 0x1000, 1), 0);
    cpu::invlpg(HIGH + 0x1000);
    let trap = expect!(PF(2), exec!("movdqu [rdx], xmm0", 0, 0, HIGH + 0xff5, 0));
    check_eq!(trap.cr2, HIGH + 0x1000, "CR2 of a 16-byte store");
    Ok(())
}
