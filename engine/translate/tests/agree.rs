//! Small guest programs in 64-bit mode end in the same state on the translator and on the reference CPU.

mod guest;

use std::sync::Arc;

use base::{GuestMemory, GuestPhys};
use engine::{Attention, Board, Budget, CpuLevel, CpuModel, Engine, Exit};
use guest::{ALIAS, CODE, DATA, RAM, page_tables, start};
use iced_x86::code_asm::*;
use x86::control::cr4;
use x86::{CpuState, Gpr, SegmentRegister};

fn run(engine: &dyn Engine, code: &[u8], budget: Budget) -> (CpuState, Vec<u8>, Exit) {
    let memory = Arc::new(GuestMemory::new(RAM).unwrap());
    page_tables(&memory);
    memory.write(GuestPhys(CODE), code).unwrap();
    let attention = Arc::new(Attention::default());
    let board: Arc<dyn Board> = guest::board();
    let model = CpuModel { level: CpuLevel::V2, vcpus: 1 };
    let mut vcpu = engine.vcpu(0, &model, &memory, &attention, &board).unwrap();
    vcpu.set_state(&start());
    let exit = vcpu.run(budget).unwrap();
    let mut data = vec![0; 0x10000];
    memory.read(GuestPhys(DATA), &mut data).unwrap();
    (vcpu.state(), data, exit)
}

/// Assembles, runs on both and compares everything.
fn agree(build: impl FnOnce(&mut CodeAssembler)) -> CpuState {
    let mut assembler = CodeAssembler::new(64).unwrap();
    build(&mut assembler);
    assembler.hlt().unwrap();
    let code = assembler.assemble(CODE).unwrap();
    let want = run(&interpret::Interpreter, &code, Budget::Unlimited);
    let got = run(&ringfence_translate::Translator, &code, Budget::Unlimited);
    compare(&want, &got);
    let counted = run(&ringfence_translate::Translator, &code, Budget::Instructions(1_000_000));
    compare(&want, &counted);
    compare(&want, &run(&ringfence_translate::WithoutExtract, &code, Budget::Unlimited));
    compare(&want, &run(&ringfence_translate::Linked, &code, Budget::Unlimited));
    got.0
}

fn compare(want: &(CpuState, Vec<u8>, Exit), got: &(CpuState, Vec<u8>, Exit)) {
    assert_eq!(want.2, got.2);
    assert_eq!(want.0.gpr.map(|r| format!("{r:x}")), got.0.gpr.map(|r| format!("{r:x}")));
    // The last x87 instruction and operand: the translator does not keep them (see `enter::store_x87`).
    let plain = |state: &CpuState| {
        let mut state = state.clone();
        (state.fpu.legacy.fip, state.fpu.legacy.fdp, state.fpu.legacy.fop) = (0, 0, 0);
        state
    };
    assert_eq!(plain(&want.0), plain(&got.0));
    assert!(want.1 == got.1, "memory differs");
}

#[test]
fn registers_and_flags() {
    let state = agree(|a| {
        a.add(rax, rbx).unwrap();
        a.adc(r13, rax).unwrap();
        a.mov(r14d, esi).unwrap();
        a.imul_3(r15, r13, 77).unwrap();
        a.sub(r9, r15).unwrap();
        a.xchg(r13, r14).unwrap();
        a.shl(r14, 3).unwrap();
        a.lea(rcx, r13 + r14 * 4 + 9).unwrap();
        a.mov(r13w, cx).unwrap();
        a.setc(r15b).unwrap();
        a.stc().unwrap();
    });
    assert_eq!(state.rflags & 1, 1);
}

#[test]
fn loops_calls_and_the_stack() {
    agree(|a| {
        let (mut top, mut function, mut over) = (a.create_label(), a.create_label(), a.create_label());
        a.mov(ecx, 1000).unwrap();
        a.xor(eax, eax).unwrap();
        a.set_label(&mut top).unwrap();
        a.push(rcx).unwrap();
        a.push(r13).unwrap();
        a.call(function).unwrap();
        a.pop(r13).unwrap();
        a.pop(rcx).unwrap();
        a.dec(ecx).unwrap();
        a.jnz(top).unwrap();
        a.jmp(over).unwrap();
        a.set_label(&mut function).unwrap();
        a.push(rbp).unwrap();
        a.mov(rbp, rsp).unwrap();
        a.push(0x1234).unwrap();
        a.add(rax, qword_ptr(rsp)).unwrap();
        a.add(rax, rcx).unwrap();
        a.leave().unwrap();
        a.ret().unwrap();
        a.set_label(&mut over).unwrap();
        a.lea(rdx, qword_ptr(function)).unwrap();
        a.call(rdx).unwrap();
        a.call(rdx).unwrap();
        a.cmp(rax, 5).unwrap();
    });
}

/// Where the tables map a page of the first 8 MiB.
fn entry_of(page: u64) -> u64 {
    0x10_3000 + page / 0x1000 * 8
}

/// Writes code into a page of data, so that it can be called there.
fn plant(a: &mut CodeAssembler, at: u64, code: &[u8]) {
    for (n, chunk) in code.chunks(8).enumerate() {
        let mut bytes = [0x90; 8];
        bytes[..chunk.len()].copy_from_slice(chunk);
        a.mov(rax, u64::from_le_bytes(bytes)).unwrap();
        a.mov(qword_ptr(at + 8 * n as u64), rax).unwrap();
    }
}

fn set_cr4(a: &mut CodeAssembler, bits: u64) {
    a.mov(rdi, cr4).unwrap();
    a.or(rdi, i32::try_from(bits).unwrap()).unwrap();
    a.mov(cr4, rdi).unwrap();
}

#[test]
fn calls_follow_the_map() {
    // All that is not global may be flushed at once instead, by loading CR3.
    for (global, at_once) in [(false, false), (false, true), (true, false)] {
        let state = agree(|a| {
            let mut top = a.create_label();
            if global {
                set_cr4(a, cr4::PGE);
            }
            let function = DATA + 0x1000;
            // mov eax, n; ret
            plant(a, function, &[0xb8, 3, 0, 0, 0, 0xc3]);
            plant(a, DATA + 0x2000, &[0xb8, 5, 0, 0, 0, 0xc3]);
            a.mov(ecx, 40).unwrap();
            a.xor(ebx, ebx).unwrap();
            a.set_label(&mut top).unwrap();
            a.call(function).unwrap();
            a.imul_3(rbx, rbx, 7).unwrap();
            a.add(rbx, rax).unwrap();
            // The other page, from now on: 1000h ^ 3000h is 2000h.
            a.xor(qword_ptr(entry_of(function)), 0x3000).unwrap();
            if at_once {
                a.mov(rdx, cr3).unwrap();
                a.mov(cr3, rdx).unwrap();
            } else {
                a.mov(edx, i32::try_from(function).unwrap()).unwrap();
                a.invlpg(byte_ptr(rdx)).unwrap();
            }
            a.call(function).unwrap();
            a.add(rbx, rax).unwrap();
            a.dec(ecx).unwrap();
            a.jnz(top).unwrap();
        });
        assert_ne!(state.get(Gpr::Rbx), 0);
    }
}

#[test]
fn returns_follow_the_stack_and_the_map() {
    for global in [false, true] {
        agree(|a| {
            let (mut deep, mut out, mut over) = (a.create_label(), a.create_label(), a.create_label());
            let (mut skip, mut function, mut moves) = (a.create_label(), a.create_label(), a.create_label());
            let mut twice = a.create_label();
            if global {
                set_cr4(a, cr4::PGE);
            }
            // Deeper than anything remembers.
            a.mov(ecx, 50).unwrap();
            a.xor(ebx, ebx).unwrap();
            a.call(deep).unwrap();
            a.jmp(over).unwrap();
            a.set_label(&mut deep).unwrap();
            a.dec(ecx).unwrap();
            a.jz(out).unwrap();
            a.call(deep).unwrap();
            a.lea(rbx, qword_ptr(rbx + rbx * 2 + 1)).unwrap();
            a.set_label(&mut out).unwrap();
            a.ret().unwrap();
            a.set_label(&mut over).unwrap();
            // A function that returns elsewhere, and returns without calls.
            a.call(function).unwrap();
            a.add(rbx, 0x1000).unwrap(); // skipped
            a.set_label(&mut skip).unwrap();
            a.lea(rax, qword_ptr(twice)).unwrap();
            a.push(rax).unwrap();
            a.ret().unwrap();
            a.set_label(&mut function).unwrap();
            a.lea(rax, qword_ptr(skip)).unwrap();
            a.mov(qword_ptr(rsp), rax).unwrap();
            a.ret().unwrap();
            a.set_label(&mut twice).unwrap();
            // A caller whose page becomes another while it calls: call [rsi]; add or sub rbx, rdx; ret.
            let caller = DATA + 0x1000;
            plant(a, caller, &[0xff, 0x16, 0x48, 0x01, 0xd3, 0xc3]);
            plant(a, DATA + 0x2000, &[0xff, 0x16, 0x48, 0x29, 0xd3, 0xc3]);
            a.mov(rsi, DATA + 0x4000).unwrap();
            a.lea(rax, qword_ptr(moves)).unwrap();
            a.mov(qword_ptr(rsi), rax).unwrap();
            a.mov(edx, 0x77).unwrap();
            for _ in 0..5 {
                a.call(caller).unwrap();
                a.rol(rbx, 5).unwrap();
            }
            a.hlt().unwrap();
            a.set_label(&mut moves).unwrap();
            a.mov(r8d, i32::try_from(caller).unwrap()).unwrap();
            a.xor(qword_ptr(entry_of(caller)), 0x3000).unwrap();
            a.invlpg(byte_ptr(r8)).unwrap();
            a.ret().unwrap();
        });
    }
}

#[test]
fn memory_in_every_shape() {
    agree(|a| {
        let mut top = a.create_label();
        a.mov(rsi, DATA).unwrap();
        a.mov(r14, DATA + 0x100).unwrap();
        a.xor(r15d, r15d).unwrap();
        a.mov(ecx, 200).unwrap();
        a.set_label(&mut top).unwrap();
        a.mov(qword_ptr(rsi + rcx * 8), rax).unwrap();
        a.add(dword_ptr(r14 + r15 * 4), ecx).unwrap();
        a.mov(r13d, dword_ptr(r14 + r15 * 4)).unwrap();
        a.xor(r13, qword_ptr(rsi + rcx * 8)).unwrap();
        a.add(rax, r13).unwrap();
        a.lock().xadd(qword_ptr(rsi), r13).unwrap();
        a.lock().cmpxchg(qword_ptr(rsi + 8), r14).unwrap();
        a.movzx(edx, byte_ptr(rsi + rcx)).unwrap();
        a.bts(dword_ptr(rsi + 16), 5).unwrap();
        a.mov(r12, rsi).unwrap();
        a.mov(word_ptr(r12 + 0x2001), ax).unwrap(); // never crosses a page, always misaligned
        a.mov(rbx, qword_ptr(r12 + 0xffd)).unwrap(); // always crosses
        a.mov(qword_ptr(r12 + 0x1ffb), rbx).unwrap();
        a.inc(r15).unwrap();
        a.dec(ecx).unwrap();
        a.jnz(top).unwrap();
    });
}

#[test]
fn the_alias_shows_the_same_memory_and_devices_answer() {
    agree(|a| {
        let mut top = a.create_label();
        a.mov(rsi, ALIAS + DATA).unwrap();
        a.mov(rdi, DATA).unwrap();
        a.mov(rbx, 0x80_0000u64).unwrap();
        a.mov(ecx, 50).unwrap();
        a.set_label(&mut top).unwrap();
        a.mov(dword_ptr(rsi + rcx * 4), ecx).unwrap();
        a.add(eax, dword_ptr(rdi + rcx * 4)).unwrap();
        a.add(eax, dword_ptr(rbx + rcx * 4)).unwrap();
        a.dec(ecx).unwrap();
        a.jnz(top).unwrap();
    });
}

#[test]
fn vectors_and_x87() {
    agree(|a| {
        a.mov(rsi, DATA).unwrap();
        a.mov(qword_ptr(rsi), rax).unwrap();
        a.mov(qword_ptr(rsi + 8), rbx).unwrap();
        a.movups(xmm3, xmmword_ptr(rsi)).unwrap();
        a.cvtsi2sd(xmm1, rcx).unwrap();
        a.cvtsi2sd(xmm2, r13).unwrap();
        a.addsd(xmm1, xmm2).unwrap();
        a.mulsd(xmm1, qword_ptr(rsi)).unwrap();
        a.paddd(xmm3, xmm1).unwrap();
        a.movaps(xmmword_ptr(rsi + 32), xmm3).unwrap();
        a.fild(qword_ptr(rsi)).unwrap();
        a.fldpi().unwrap();
        a.fmulp(st1, st0).unwrap();
        a.fstp(qword_ptr(rsi + 64)).unwrap();
        a.fld1().unwrap();
        a.movq(r15, xmm1).unwrap();
    });
}

#[test]
fn code_that_writes_code() {
    agree(|a| {
        let (mut top, mut patched) = (a.create_label(), a.create_label());
        a.mov(ecx, 20).unwrap();
        a.lea(rdi, qword_ptr(patched)).unwrap();
        a.xor(ebx, ebx).unwrap();
        a.set_label(&mut top).unwrap();
        a.mov(byte_ptr(rdi + 1), cl).unwrap();
        a.set_label(&mut patched).unwrap();
        a.mov(al, 0x55).unwrap();
        a.movzx(eax, al).unwrap();
        a.add(ebx, eax).unwrap();
        a.dec(ecx).unwrap();
        a.jnz(top).unwrap();
    });
}

#[test]
fn strings_forwards_and_backwards() {
    agree(|a| {
        a.mov(rdi, DATA + 0x3f8).unwrap();
        a.mov(ecx, 20).unwrap();
        a.rep().stosq().unwrap();
        a.mov(ecx, 300).unwrap();
        a.rep().stosb().unwrap();
        a.mov(rsi, DATA + 0x400).unwrap();
        a.mov(rdi, DATA + 0x1800).unwrap();
        a.mov(ecx, 600).unwrap(); // beyond the page
        a.rep().movsq().unwrap();
        a.mov(ecx, 5).unwrap();
        a.cmp(ecx, 9).unwrap();
        a.rep().movsd().unwrap();
        a.setb(al).unwrap();
        a.lodsq().unwrap();
        a.movsb().unwrap();
        a.stosw().unwrap();
        a.std().unwrap();
        a.mov(rsi, DATA + 0x1900).unwrap();
        a.mov(rdi, DATA + 0x1908).unwrap();
        a.mov(ecx, 40).unwrap();
        a.rep().movsq().unwrap();
        a.cld().unwrap();
        a.xor(ecx, ecx).unwrap();
        a.rep().stosd().unwrap();
        a.stosd().unwrap();
    });
}

#[test]
fn flags_are_pushed_and_popped() {
    agree(|a| {
        a.add(rax, rbx).unwrap();
        a.pushfq().unwrap();
        a.pop(r8).unwrap();
        a.xor(qword_ptr(rsp - 8), 0x8d5).unwrap();
        a.sub(rsp, 8).unwrap();
        a.popfq().unwrap();
        a.pushfq().unwrap();
        a.pop(r10).unwrap();
        a.push(rsp).unwrap();
        a.pop(rsp).unwrap();
        a.bts(qword_ptr(rsp - 0x400), r13).unwrap();
        a.bt(dword_ptr(rsp + 0x40), ecx).unwrap();
    });
}

#[test]
fn system_registers_read_alike() {
    agree(|a| {
        a.mov(ax, ds).unwrap();
        a.mov(r13w, es).unwrap();
        a.mov(r14d, fs).unwrap();
        a.mov(rbx, gs).unwrap();
        a.mov(ecx, ss).unwrap();
        a.mov(rdx, cr3).unwrap();
        a.mov(r15, cr2).unwrap();
        a.add(r15, rdx).unwrap();
        // CR4.FSGSBASE and the bases.
        a.mov(rdi, cr4).unwrap();
        a.or(rdi, 1 << 16).unwrap();
        a.mov(cr4, rdi).unwrap();
        a.mov(r8, 0x1234_5678_9abcu64).unwrap();
        a.stc().unwrap();
        a.wrfsbase(r8).unwrap();
        a.adc(r9, 0).unwrap(); // the flags are as before
        a.mov(r13, DATA - 0x40).unwrap();
        a.wrgsbase(r13).unwrap();
        a.mov(dword_ptr(0x44).gs(), r14d).unwrap();
        a.rdfsbase(r13).unwrap();
        a.rdgsbase(r10d).unwrap();
        a.wrfsbase(r10d).unwrap();
        a.mov(r11, u64::MAX << 47).unwrap();
        a.wrgsbase(r11).unwrap();
        a.rdgsbase(r12).unwrap();
        a.cpuid().unwrap();
        a.add(rax, rbx).unwrap();
    });
}

#[test]
fn selectors_follow_system_calls() {
    let state = agree(|a| {
        let (mut user, mut kernel) = (a.create_label(), a.create_label());
        for (register, low, high) in [(0xc000_0081u32, 0u32, 0x0023_0010u32), (0xc000_0084, 0x200, 0)] {
            a.mov(ecx, register).unwrap();
            a.mov(eax, low).unwrap();
            a.mov(edx, high).unwrap();
            a.wrmsr().unwrap();
        }
        a.lea(rax, qword_ptr(kernel)).unwrap();
        a.mov(rdx, rax).unwrap();
        a.shr(rdx, 32).unwrap();
        a.mov(ecx, 0xc000_0082u32).unwrap();
        a.wrmsr().unwrap();
        // The segments at first are others than those of a system call.
        a.mov(esi, cs).unwrap();
        a.mov(edi, ss).unwrap();
        a.lea(rcx, qword_ptr(user)).unwrap();
        a.mov(r11d, 2u32).unwrap();
        a.sysretq().unwrap();
        a.set_label(&mut user).unwrap();
        a.mov(r8d, cs).unwrap();
        a.mov(r13d, ss).unwrap();
        a.syscall().unwrap();
        a.set_label(&mut kernel).unwrap();
        a.mov(r9d, cs).unwrap();
        a.mov(r14w, ss).unwrap();
    });
    let seen = [Gpr::Rsi, Gpr::Rdi, Gpr::R8, Gpr::R13, Gpr::R9].map(|register| state.get(register));
    assert_eq!(seen, [8, 16, 0x33, 0x2b, 0x10]);
    assert_eq!(state.get(Gpr::R14) as u16, 0x18);
}

#[test]
fn a_base_that_is_no_address_is_refused() {
    let state = agree(|a| {
        a.mov(rdi, cr4).unwrap();
        a.or(rdi, 1 << 16).unwrap();
        a.mov(cr4, rdi).unwrap();
        a.mov(r8, 1u64 << 47).unwrap();
        a.wrfsbase(r8).unwrap();
    });
    assert_eq!(state.segment(SegmentRegister::Fs).base, 0);
}

/// Addresses made to cancel whatever the translator adds to wrong ones: the accesses must fault in the guest, like
/// everywhere, and read nothing of the host's. Vector 13 and 14 have no handler here, so the guest shuts down.
#[test]
fn no_address_leads_out() {
    for upper in (0..=u16::MAX).step_by(257).chain([0x4000, 0x8000, 0xc000, 0x7fff, 0xfc00, 0xf800]) {
        for low in [0x7000_0000_0000u64, 0x10_000c, 0x7f_f000, 0x7f_fffc] {
            let address = u64::from(upper) << 48 | low;
            let mut assembler = CodeAssembler::new(64).unwrap();
            assembler.mov(rsi, address).unwrap();
            assembler.movups(xmm0, xmmword_ptr(rsi)).unwrap();
            assembler.movq(rax, xmm0).unwrap();
            assembler.hlt().unwrap();
            let code = assembler.assemble(CODE).unwrap();
            let want = run(&interpret::Interpreter, &code, Budget::Unlimited);
            let got = run(&ringfence_translate::Translator, &code, Budget::Unlimited);
            assert_eq!((want.0.gpr, want.0.rip), (got.0.gpr, got.0.rip), "{address:#x}");
        }
    }
}

/// Accesses that cross pages, often enough for their sites to be translated anew: of each kind and size, with other
/// pages behind the first in the alias than in the host's memory, and with flags and registers that must survive.
#[test]
fn crossings_are_learnt() {
    agree(|a| {
        let mut top = a.create_label();
        for page in 0..4u64 {
            a.mov(rax, 0x0101_0101_0101_0101u64 * (page + 3)).unwrap();
            a.mov(ptr(DATA + page * 0x1000), rax).unwrap();
            a.mov(ptr(DATA + page * 0x1000 + 8), rax).unwrap();
        }
        // The second page behind the first becomes the fourth.
        a.mov(rax, qword_ptr(entry_of(DATA + 0x3000))).unwrap();
        a.mov(qword_ptr(entry_of(DATA + 0x1000)), rax).unwrap();
        a.invlpg(ptr(DATA + 0x1000)).unwrap();
        a.mov(ecx, 60).unwrap();
        a.xor(ebx, ebx).unwrap();
        a.mov(rsi, DATA + 0xff1).unwrap();
        a.set_label(&mut top).unwrap();
        a.add(rbx, qword_ptr(rsi + 9)).unwrap();
        a.adc(ebx, dword_ptr(rsi + 12)).unwrap();
        a.adc(qword_ptr(rsi + 11), rbx).unwrap();
        a.movups(xmm0, xmmword_ptr(rsi)).unwrap();
        a.paddq(xmm0, xmm0).unwrap();
        a.movups(xmmword_ptr(rsi + 4), xmm0).unwrap();
        a.mov(word_ptr(rsi + 14), cx).unwrap();
        a.lock().xadd(qword_ptr(rsi + 8), rbx).unwrap();
        a.rol(dword_ptr(rsi + 13), 3).unwrap();
        a.push(rbx).unwrap();
        a.fld(tbyte_ptr(rsi + 8)).unwrap();
        a.fstp(tbyte_ptr(rsi + 9)).unwrap();
        a.pop(rdx).unwrap();
        a.xor(rbx, rdx).unwrap();
        a.movsxd(r13, dword_ptr(rsi + 12)).unwrap();
        a.add(rbx, r13).unwrap();
        a.dec(ecx).unwrap();
        a.jnz(top).unwrap();
        a.movups(xmm1, xmmword_ptr(rsi)).unwrap();
        // The stack across a page, too.
        a.mov(rsp, DATA + 0x2004).unwrap();
        a.push(rbx).unwrap();
        a.pop(rdi).unwrap();
    });
}

/// Repeated moves over several pages, from and to odd addresses, onto themselves, and of nothing.
#[test]
fn strings_run_over_pages() {
    agree(|a| {
        a.mov(rdi, DATA + 5).unwrap();
        a.mov(eax, 0x1234_5678).unwrap();
        a.mov(ecx, 3000).unwrap();
        a.rep().stosd().unwrap();
        for (from, to, count) in [(3u64, 0x8007u64, 9001u64), (0, 0x8000, 8192), (1, 8, 5000), (16, 9, 0)] {
            a.mov(rsi, DATA + from).unwrap();
            a.mov(rdi, DATA + to).unwrap();
            a.mov(rcx, count).unwrap();
            a.stc().unwrap();
            a.rep().movsb().unwrap();
            a.adc(r8, rsi).unwrap();
        }
        a.mov(rsi, DATA + 4).unwrap();
        a.mov(rdi, DATA + 0x9003).unwrap();
        a.mov(ecx, 1500).unwrap();
        a.rep().movsq().unwrap();
        a.mov(r9, qword_ptr(DATA + 0x9ffd)).unwrap();
        a.mov(r10, qword_ptr(DATA + 0x8ffe)).unwrap();
    });
}

/// The second access to one operand of 16 bytes uses the lookup of the first: what lies between must not matter.
#[test]
fn one_operand_twice() {
    agree(|a| {
        let mut top = a.create_label();
        a.mov(rdi, DATA).unwrap();
        a.mov(ecx, 700).unwrap();
        a.xor(eax, eax).unwrap();
        a.movups(xmm1, xmmword_ptr(rdi + 0x100)).unwrap();
        a.set_label(&mut top).unwrap();
        a.movdqu(xmm0, xmmword_ptr(rdi + rax)).unwrap();
        a.paddd(xmm0, xmm1).unwrap();
        a.movdqu(xmmword_ptr(rdi + rax), xmm0).unwrap();
        a.movdqu(xmm2, xmmword_ptr(rdi + rax)).unwrap();
        // Another displacement, a register that changes, a flag that must live.
        a.movdqu(xmmword_ptr(rdi + rax + 16), xmm2).unwrap();
        a.pxor(xmm1, xmm2).unwrap();
        a.add(rax, 16).unwrap();
        a.movdqu(xmm3, xmmword_ptr(rdi + rax)).unwrap();
        a.paddq(xmm1, xmm3).unwrap();
        a.movdqu(xmm3, xmmword_ptr(rdi)).unwrap();
        a.movq(rdi, xmm3).unwrap();
        a.mov(rdi, DATA).unwrap();
        a.movdqu(xmmword_ptr(rdi), xmm3).unwrap();
        a.dec(ecx).unwrap();
        a.jnz(top).unwrap();
        a.movq(rdx, xmm1).unwrap();
    });
}
