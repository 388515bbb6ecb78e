//! Every form of every instruction here that can do with registers and immediates, with random operands,
//! against the host's CPU; and again with its register-or-memory operand in memory.

use fastrand::Rng;
use iced_x86::{Code, Instruction, Mnemonic, OpCodeOperandKind, OpKind, Register};
use x86::flags::{AF, CF, DF, OF, PF, SF, STATUS, ZF};

use super::compat::{self, CompatPage};
use super::form::{encode, forms, instruction, memory_operand, number};
use super::native::{Page, Registers};
use super::{Bench, DATA};

/// Random cases a form.
const CASES: usize = 600;

fn random_registers(rng: &mut Rng) -> Registers {
    let mut gpr = [0; 16];
    gpr.iter_mut().for_each(|register| *register = number(rng));
    gpr[4] = super::STACK;
    Registers { gpr, flags: rng.u64(..) & (STATUS | DF) | 2 }
}

/// Loads the registers; every other time the flags become others, in their lazy form.
fn load(rng: &mut Rng, bench: &mut Bench, registers: &mut Registers) {
    bench.cpu.gpr[..16].copy_from_slice(&registers.gpr);
    bench.cpu.state.rflags = registers.flags;
    bench.cpu.status.set_bits(registers.flags);
    if rng.bool() {
        bench.cpu.status.set_arithmetic::<u32>(number(rng), rng.u64(..));
        registers.flags = bench.cpu.rflags();
    }
}

fn unload(bench: &Bench) -> Registers {
    let mut gpr = [0; 16];
    gpr.copy_from_slice(&bench.cpu.gpr[..16]);
    Registers { gpr, flags: bench.cpu.rflags() & (STATUS | DF) | 2 }
}

/// Flags that the manual leaves undefined for this instruction with these operands.
fn undefined(instruction: &Instruction, before: &Registers) -> u64 {
    use iced_x86::RflagsBits as R;
    let bits = instruction.rflags_undefined();
    let mut undefined = 0;
    for (bit, flag) in [(R::CF, CF), (R::PF, PF), (R::AF, AF), (R::ZF, ZF), (R::SF, SF), (R::OF, OF)] {
        undefined |= if bits & bit != 0 { flag } else { 0 };
    }
    // A shift by no less than the operand's width leaves CF undefined too, and a 16-bit double shift
    // all of them.
    let last = instruction.op_count().saturating_sub(1);
    let count = if last == 0 {
        0
    } else if instruction.op_kind(last) == OpKind::Register {
        before.gpr[1] & 0x1f
    } else {
        u64::from(instruction.immediate8() & 0x1f)
    };
    let width = 8 * instruction.op_register(0).size() as u64;
    match instruction.mnemonic() {
        Mnemonic::Shl | Mnemonic::Shr if width < 32 && count >= width => undefined | CF,
        Mnemonic::Shld | Mnemonic::Shrd if width < 32 && count > width => STATUS,
        _ => undefined,
    }
}

/// Is the result itself undefined?
fn unpredictable(instruction: &Instruction, before: &Registers) -> bool {
    match instruction.mnemonic() {
        Mnemonic::Shld | Mnemonic::Shrd => undefined(instruction, before) == STATUS,
        Mnemonic::Bswap => instruction.op_register(0).size() == 2,
        _ => false,
    }
}

fn describe(instruction: &Instruction) -> String {
    format!("{instruction} ({:?})", instruction.code())
}

/// Runs random cases of all forms in code of `bits` here and by `host`; fails if they differ.
fn compare(bits: u32, seed: u64, mut host: impl FnMut(&[u8], &mut Registers)) {
    let mut rng = Rng::with_seed(seed);
    let mut bench = Bench::new(bits as u8);
    let mask = u64::MAX >> (64 - bits);
    let mut compared = 0;
    let forms = forms(bits);
    for &code in &forms {
        for _ in 0..CASES {
            let instruction = instruction(&mut rng, bits, code, None);
            let Some(bytes) = encode(&instruction, bits) else { continue };
            let mut before = random_registers(&mut rng);
            before.gpr.iter_mut().for_each(|register| *register &= mask);
            load(&mut rng, &mut bench, &mut before);
            let Ok(()) = bench.run(&bytes) else {
                assert!(may_divide(code), "{}", describe(&instruction));
                continue;
            };
            let ours = unload(&bench);
            let mut theirs = before;
            host(&bytes, &mut theirs);
            theirs.flags &= STATUS | DF | 2;
            if unpredictable(&instruction, &before) {
                continue;
            }
            let undefined = undefined(&instruction, &before);
            assert!(
                ours.gpr == theirs.gpr && (ours.flags ^ theirs.flags) & !undefined == 0,
                "{}\nbefore {before:x?}\nours   {ours:x?}\ntheirs {theirs:x?}",
                describe(&instruction)
            );
            compared += 1;
        }
    }
    let enough = forms.len() > 180 && compared > forms.len() * CASES / 3;
    assert!(enough, "{} forms, {compared} cases", forms.len());
}

/// A division error would be a signal on the host, so that it is not asked; there are other tests for it.
fn may_divide(code: Code) -> bool {
    matches!(code.mnemonic(), Mnemonic::Div | Mnemonic::Idiv | Mnemonic::Aam)
}

#[test]
fn registers_come_out_as_on_the_host() {
    let mut page = Page::new();
    compare(64, 0x1a2b_3c4d, |bytes, registers| {
        page.set(bytes);
        page.run(registers);
    });
}

#[test]
fn registers_come_out_as_on_the_host_in_32_bit_code() {
    if !compat::possible() {
        println!("the host's kernel has no segment for 32-bit code: nothing to compare with");
        return;
    }
    let mut page = CompatPage::new();
    compare(32, 0x2b3c_4d5e, |bytes, registers| page.run(bytes, registers));
}

/// The register that stands for memory on the host: R11 to R13 have no other part to play.
const PRIVATE: u32 = 11;

#[test]
fn memory_operands_come_out_as_registers_do_on_the_host() {
    let mut rng = Rng::with_seed(0x5e6f_7a8b);
    let mut bench = Bench::new(64);
    let mut page = Page::new();
    let mut forms = forms(64);
    // With a bit number in a register memory is addressed differently; `bit` has tests for it.
    forms.retain(|&code| {
        memory_operand(code).is_some()
            && !(matches!(code.mnemonic(), Mnemonic::Bt | Mnemonic::Bts | Mnemonic::Btr | Mnemonic::Btc)
                && code.op_code().op_kind(1) != OpCodeOperandKind::imm8)
    });
    let mut compared = 0;
    for &code in &forms {
        let operand = memory_operand(code).unwrap();
        for _ in 0..CASES / 2 {
            let in_register = instruction(&mut rng, 64, code, Some(PRIVATE));
            let mut in_memory = in_register;
            in_memory.set_op_kind(operand, OpKind::Memory);
            in_memory.set_memory_base(Register::None);
            in_memory.set_memory_displ_size(4);
            // Across a page boundary now and then.
            let at = if rng.bool() { DATA } else { DATA + 0xffd };
            in_memory.set_memory_displacement64(at);
            let (Some(native), Some(bytes)) = (encode(&in_register, 64), encode(&in_memory, 64)) else {
                continue;
            };
            let mut before = random_registers(&mut rng);
            if unpredictable(&in_register, &before) {
                continue;
            }
            load(&mut rng, &mut bench, &mut before);
            bench.put(at, before.gpr[PRIVATE as usize]);
            let Ok(()) = bench.run(&bytes) else {
                assert!(may_divide(code), "{}", describe(&in_memory));
                assert_eq!(bench.peek::<u64>(at), before.gpr[PRIVATE as usize]);
                continue;
            };
            let mut ours = unload(&bench);
            let memory = bench.peek::<u64>(at);
            page.set(&native);
            let mut theirs = before;
            page.run(&mut theirs);
            theirs.flags &= STATUS | DF | 2;
            let bits = 8 * in_register.op_register(operand).size() as u32;
            let mask = u64::MAX >> (64 - bits);
            // A 32-bit register loses its upper half where memory is left alone.
            assert_eq!(memory & !mask, before.gpr[PRIVATE as usize] & !mask, "{}", describe(&in_memory));
            let undefined = undefined(&in_register, &before);
            ours.gpr[PRIVATE as usize] = memory & mask;
            theirs.gpr[PRIVATE as usize] &= mask;
            assert!(
                ours.gpr == theirs.gpr && (ours.flags ^ theirs.flags) & !undefined == 0,
                "{}\nbefore {before:x?}\nours   {ours:x?}\ntheirs {theirs:x?}",
                describe(&in_memory)
            );
            compared += 1;
        }
    }
    assert!(
        forms.len() > 150 && compared > forms.len() * CASES / 6,
        "{} forms, {compared} cases",
        forms.len()
    );
}
