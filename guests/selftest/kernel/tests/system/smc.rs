//! Code that changes itself: the CPU sees its own stores, at once.

use crate::harness::Outcome;
use crate::hw::cpu;
use crate::hw::pages::{self, HIGH, W};
use crate::tests::memory::{load, store};

family!("smc":
    next_instruction, loop_body, rewritten_function, by_alias, by_string_move, by_vector_store, by_push, by_locked_exchange,
    across_pages, data_beside_code, remapped_page, own_instruction, called_and_rewritten_often, by_fxsave,
);

/// A fresh page of code at HIGH.
fn page(code: &[u8]) -> u64 {
    let physical = pages::map_new(HIGH, W);
    // SAFETY: shorter than a page.
    unsafe { (physical as *mut u8).copy_from(code.as_ptr(), code.len()) };
    physical
}

/// Calls HIGH with RCX, RDX, RSI, RDI.
fn call(rdx: u64, rsi: u64, rdi: u64) -> u64 {
    exec!("call rcx", 0, HIGH, rdx, 0; rsi, rdi).rax
}

/// The store's own successor, in the bytes that have long been fetched.
fn next_instruction() -> Outcome {
    page(snippet!(64, smc_next: "mov byte ptr [rip + 2f + 1], 7" "2: mov eax, 1" "ret"));
    check_eq!(call(0, 0, 0), 7, "first call");
    // The immediate of the store itself.
    store(HIGH + 6, 9u8);
    check_eq!(call(0, 0, 0), 9, "second call");
    Ok(())
}

/// A loop that counts up an immediate of its own.
fn loop_body() -> Outcome {
    page(snippet!(64, smc_loop:
        "xor eax, eax"
        "mov ecx, 10"
        "2: add eax, 1"
        "inc byte ptr [rip + 2b + 2]"
        "dec ecx"
        "jnz 2b"
        "ret"));
    // 1 + 2 + … + 10.
    check_eq!(call(0, 0, 0), 55, "sum");
    Ok(())
}

fn rewritten_function() -> Outcome {
    page(snippet!(64, smc_function: "mov eax, 1" "ret"));
    check_eq!(call(0, 0, 0), 1, "before");
    store(HIGH, 0x90c3_c0ffu32);
    check_eq!(call(0, 0, 0) & 0xff, 1, "after: INC EAX of zero");
    store(HIGH, 0x90c3_d8f7u32);
    check_eq!(call(0, 0, 0), 0, "after: NEG EAX of zero");
    Ok(())
}

/// Through another mapping of the same frame, with a serializing instruction in between.
fn by_alias() -> Outcome {
    let physical = page(snippet!(64, smc_alias: "mov eax, 1" "ret"));
    check_eq!(call(0, 0, 0), 1, "before");
    store(physical + 1, 2u8);
    crate::hw::cpuid::leaf(0, 0);
    check_eq!(call(0, 0, 0), 2, "after a store to the frame's other address");
    pages::map(HIGH + 0x10_0000, physical, W);
    store(HIGH + 0x10_0001, 3u8);
    crate::hw::cpuid::leaf(0, 0);
    check_eq!(call(0, 0, 0), 3, "after a store through a third mapping");
    Ok(())
}

fn by_string_move() -> Outcome {
    page(snippet!(64, smc_string: "mov rcx, 6" "rep movsb" "2: mov eax, 1" "ret"));
    let source = pages::frame();
    store(source, 0x12_34b8u64);
    // Over the MOV EAX that follows: 7 bytes of MOV RCX, 2 of REP MOVSB.
    store(source + 5, 0xc3u8);
    check_eq!(call(0, source, HIGH + 9), 0x1234, "result");
    exec!("rep stosb", 0x90, 6, 0, 0; 0, HIGH + 9);
    store(HIGH + 15, 0xc3u8);
    exec!("rep stosb", 0x90, 9, 0, 0; 0, HIGH);
    check_eq!(call(0, 0, 0), 0, "result of NOPs");
    Ok(())
}

fn by_vector_store() -> Outcome {
    page(
        snippet!(64, smc_vector: "movdqu xmm0, [rdx]" "movdqu [rdi], xmm0" "2: mov eax, 1" "ret" ".skip 16, 0x90"),
    );
    let source = pages::frame();
    store(source, 0x9090_c300_0056_78b8u64);
    store(source + 8, 0x9090_9090_9090_9090u64);
    check_eq!(call(source, 0, HIGH + 8), 0x5678, "result");
    Ok(())
}

/// The stack lies on the code's page.
fn by_push() -> Outcome {
    page(
        snippet!(64, smc_push: "mov r8, rsp" "lea rsp, [rip + 2f + 8]" "push rdx" "mov rsp, r8" "2: mov eax, 1" "nop" "nop" "ret" "nop"),
    );
    // MOV EAX, 9ABh; NOP; NOP; RET, pushed right over what was there.
    check_eq!(call(0xc390_9000_0009_abb8, 0, 0), 0x9ab, "result");
    Ok(())
}

fn by_locked_exchange() -> Outcome {
    page(
        snippet!(64, smc_locked: "mov al, 1" "xchg [rip + 2f + 1], dl" "2: mov al, 5" "lock inc byte ptr [rip + 3f + 1]" "3: mov cl, 5" "add al, cl" "movzx eax, al" "ret"),
    );
    check_eq!(call(9, 0, 0), 9 + 6, "result");
    Ok(())
}

/// An instruction on two pages, changed on either.
fn across_pages() -> Outcome {
    pages::map_new(HIGH, W);
    pages::map_new(HIGH + 0x1000, W);
    let at = HIGH + 0xffd;
    store(at, 0x1122_33b8u32);
    store(at + 4, 0xc344u16);
    let run = || exec!("call rcx", 0, at, 0, 0).rax;
    check_eq!(run(), 0x4411_2233, "before");
    store(HIGH + 0x1000, 0x99u8);
    check_eq!(run(), 0x4499_2233, "after a change on the second page");
    store(HIGH + 0xffe, 0x77u8);
    check_eq!(run(), 0x4499_2277, "after a change on the first page");
    Ok(())
}

/// Stores to the page that miss the code change nothing, however many.
fn data_beside_code() -> Outcome {
    page(
        snippet!(64, smc_beside: "xor eax, eax" "mov ecx, 2000" "2: inc eax" "mov [rip + 3f], eax" "dec ecx" "jnz 2b" "ret" ".balign 8" "3: .quad 0"),
    );
    check_eq!(call(0, 0, 0), 2000, "rounds");
    Ok(())
}

/// The same address, another frame.
fn remapped_page() -> Outcome {
    let code = snippet!(64, smc_remapped: "mov eax, 1" "ret");
    let first = page(code);
    let second = page(code);
    store(second + 1, 2u8);
    for round in 0..6 {
        let (frame, want) = if round % 2 == 0 { (first, 1) } else { (second, 2) };
        pages::map(HIGH, frame, W);
        check_eq!(call(0, 0, 0), want, "result in round {round}");
    }
    Ok(())
}

/// A store over itself takes effect the next time.
fn own_instruction() -> Outcome {
    page(
        snippet!(64, smc_own: "xor eax, eax" "mov ecx, 2" "2: inc eax" "3: mov byte ptr [rip + 3b], 0xc3" "dec ecx" "jnz 2b" "ret"),
    );
    // Twice through INC; the second time the store has become RET.
    check_eq!(call(0, 0, 0), 2, "rounds");
    check_eq!(load::<u8>(HIGH + 9), 0xc3, "byte written");
    Ok(())
}

fn called_and_rewritten_often() -> Outcome {
    page(snippet!(64, smc_often: "mov eax, 1" "ret"));
    for round in 0..500u32 {
        store(HIGH + 1, round);
        check_eq!(call(0, 0, 0), round, "result");
    }
    cpu::invlpg(HIGH);
    Ok(())
}

/// The CPU's own large stores count as well.
fn by_fxsave() -> Outcome {
    page(
        snippet!(64, smc_fxsave: "fxsave64 [rip + 2f]" "jmp 3f" ".balign 16" "2: .skip 512, 0x90" "3: mov eax, 5" "ret"),
    );
    check_eq!(call(0, 0, 0), 5, "result");
    check_eq!(load::<u16>(HIGH + 16), 0x37f, "control word saved");
    Ok(())
}
