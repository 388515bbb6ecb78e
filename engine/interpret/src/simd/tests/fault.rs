//! Faults of memory operands are precise, and memory that is not selected is not touched.

use iced_x86::{Code, Instruction, MemoryOperand, Register};
use x86::{Exception, Gpr, page_fault};

use super::{ABSENT, DATA, READ_ONLY, cpu};
use crate::simd::host_offers;

fn at(address: u64) -> MemoryOperand {
    MemoryOperand::with_displ(address, 8)
}

fn absent(address: u64, write: bool) -> Result<(), Exception> {
    Err(Exception::page_fault(address, if write { page_fault::WRITE } else { 0 }))
}

/// Loads and stores of 16 unaligned bytes, done here and by a stub.
const LOADS: [Code; 3] = [Code::Movups_xmm_xmmm128, Code::Lddqu_xmm_m128, Code::VEX_Vpaddb_xmm_xmm_xmmm128];

#[test]
fn a_load_across_an_absent_page_changes_nothing() {
    for code in LOADS.into_iter().filter(|code| code.cpuid_features().iter().all(|f| host_offers(*f))) {
        let mut cpu = cpu();
        let before = cpu.state.fpu;
        let instruction = match code.op_code().op_count() {
            2 => Instruction::with2(code, Register::XMM3, at(ABSENT - 8)),
            _ => Instruction::with3(code, Register::XMM3, Register::XMM4, at(ABSENT - 8)),
        };
        assert_eq!(cpu.run(instruction.unwrap()), absent(ABSENT, false), "{code:?}");
        assert_eq!(cpu.state.fpu, before);
    }
}

#[test]
fn a_store_across_an_absent_or_read_only_page_stores_nothing() {
    let stores =
        [(Code::Movups_xmmm128_xmm, Register::XMM3), (Code::VEX_Vmovdqu_ymmm256_ymm, Register::YMM3)];
    for (code, register) in stores {
        if !code.cpuid_features().iter().all(|f| host_offers(*f)) {
            continue;
        }
        let mut cpu = cpu();
        cpu.state.fpu.legacy.xmm[3] = u128::MAX;
        let store = |address| Instruction::with2(code, at(address), register).unwrap();
        assert_eq!(cpu.run(store(ABSENT - 8)), absent(ABSENT, true));
        assert_eq!(cpu.peek(ABSENT - 8), [0; 8]);
        let denied = Exception::page_fault(DATA - 8, page_fault::WRITE | page_fault::PRESENT);
        assert_eq!(cpu.run(store(DATA - 8)), Err(denied));
        assert_eq!(cpu.peek(DATA), [0; 8]);
        cpu.run(store(DATA + 8)).unwrap();
        assert_eq!(cpu.peek(DATA + 8), [0xff; 16]);
    }
}

#[test]
fn legacy_instructions_demand_alignment_and_vex_ones_do_not() {
    let mut cpu = cpu();
    let gp = Err(Exception::gp(0));
    for code in
        [Code::Movaps_xmm_xmmm128, Code::Paddb_xmm_xmmm128, Code::Addps_xmm_xmmm128, Code::Movntdqa_xmm_m128]
    {
        let run = |address| Instruction::with2(code, Register::XMM1, at(address)).unwrap();
        assert_eq!(cpu.run(run(DATA + 8)), gp, "{code:?}");
        assert_eq!(cpu.run(run(DATA + 16)), Ok(()), "{code:?}");
    }
    // Scalars, MMX and the string instructions do not care.
    cpu.run(Instruction::with2(Code::Addsd_xmm_xmmm64, Register::XMM1, at(DATA + 1)).unwrap()).unwrap();
    cpu.run(Instruction::with2(Code::Paddb_mm_mmm64, Register::MM1, at(DATA + 1)).unwrap()).unwrap();
    cpu.run(Instruction::with3(Code::Pcmpistri_xmm_xmmm128_imm8, Register::XMM1, at(DATA + 1), 0).unwrap())
        .unwrap();
    if host_offers(iced_x86::CpuidFeature::AVX) {
        let sum = |address| {
            Instruction::with3(Code::VEX_Vaddps_ymm_ymm_ymmm256, Register::YMM1, Register::YMM1, at(address))
                .unwrap()
        };
        cpu.run(sum(DATA + 1)).unwrap();
        let load =
            |address| Instruction::with2(Code::VEX_Vmovdqa_ymm_ymmm256, Register::YMM1, at(address)).unwrap();
        assert_eq!(cpu.run(load(DATA + 16)), gp);
        cpu.run(load(DATA + 32)).unwrap();
    }
}

#[test]
fn a_masked_store_touches_only_what_is_selected() {
    let mut cpu = cpu();
    cpu.state.fpu.legacy.xmm[1] = u128::from_le_bytes(std::array::from_fn(|n| n as u8 + 1));
    // Bytes 0, 2 and 7 are in the last page that is there; byte 8 is not.
    cpu.state.fpu.legacy.xmm[2] = 0x8000_0000_0080_0080;
    cpu.set(Gpr::Rdi, ABSENT - 8);
    let store = Instruction::with_maskmovdqu(64, Register::XMM1, Register::XMM2, Register::None).unwrap();
    cpu.run(store).unwrap();
    assert_eq!(cpu.peek(ABSENT - 8), [1, 0, 3, 0, 0, 0, 0, 8]);
    cpu.state.fpu.legacy.xmm[2] |= 0x80 << 64 | 0x8000;
    assert_eq!(cpu.run(store), absent(ABSENT, true));
    assert_eq!(cpu.peek(ABSENT - 8), [1, 0, 3, 0, 0, 0, 0, 8], "nothing is stored if something faults");
}

#[test]
fn maskmovq_stores_bytes_of_an_mm_register() {
    let mut cpu = cpu();
    cpu.state.fpu.legacy.st[1] = 0x0807_0605_0403_0201;
    cpu.state.fpu.legacy.st[2] = 0xff00_0000_0000_7f80;
    cpu.set(Gpr::Rdi, DATA);
    cpu.run(Instruction::with_maskmovq(64, Register::MM1, Register::MM2, Register::None).unwrap()).unwrap();
    assert_eq!(cpu.peek(DATA), [1, 0, 0, 0, 0, 0, 0, 8]);
    assert_eq!(cpu.state.fpu.legacy.ftw, 0xff, "MMX makes all tags valid");
}

#[test]
fn masked_moves_of_avx_fault_only_for_selected_elements() {
    if !host_offers(iced_x86::CpuidFeature::AVX) {
        return;
    }
    let mut cpu = cpu();
    cpu.poke(ABSENT - 8, [0xaa; 8]);
    cpu.set_ymm(1, [0x8000_0000_0000_0000 | 0x8000_0000, 0]);
    let (one, two) = (Register::YMM1, Register::YMM2);
    let load = Instruction::with3(Code::VEX_Vmaskmovps_ymm_ymm_m256, two, one, at(ABSENT - 8)).unwrap();
    cpu.run(load).unwrap();
    assert_eq!(cpu.ymm(2), [0xaaaa_aaaa_aaaa_aaaa, 0]);
    let store = Instruction::with3(Code::VEX_Vmaskmovps_m256_ymm_ymm, at(READ_ONLY), one, two).unwrap();
    let denied = Exception::page_fault(READ_ONLY, page_fault::WRITE | page_fault::PRESENT);
    assert_eq!(cpu.run(store), Err(denied));
    cpu.set_ymm(1, [0x8000_0000 << 64, 0]);
    assert_eq!(cpu.run(load), absent(ABSENT, false));
}

#[test]
fn a_gather_that_faults_keeps_what_it_has_and_goes_on_there() {
    if !host_offers(iced_x86::CpuidFeature::AVX2) {
        return;
    }
    let mut cpu = cpu();
    cpu.poke(DATA, 0x1111_1111u32.to_le_bytes());
    cpu.poke(DATA + 4, 0x2222_2222u32.to_le_bytes());
    cpu.set(Gpr::Rbx, DATA);
    // Elements 0 and 1 are there, 2 is not, 3 is not asked for.
    cpu.set_ymm(1, [0x400 << 64 | 1 << 32, u128::MAX]);
    cpu.set_ymm(2, [u128::MAX >> 32, u128::MAX]);
    cpu.set_ymm(3, [u128::MAX, u128::MAX]);
    let memory = MemoryOperand::with_base_index_scale(Register::RBX, Register::XMM1, 4);
    let (target, mask) = (Register::XMM3, Register::XMM2);
    let gather = Instruction::with3(Code::VEX_Vpgatherdd_xmm_vm32x_xmm, target, memory, mask).unwrap();
    assert_eq!(cpu.run(gather), absent(ABSENT, false));
    assert_eq!(cpu.ymm(3)[0], (u128::MAX >> 64 << 64) | 0x2222_2222_1111_1111);
    assert_eq!(cpu.ymm(2)[0], 0xffff_ffff << 64);
    assert_eq!([cpu.ymm(2)[1], cpu.ymm(3)[1]], [u128::MAX; 2], "the upper halves are cleared at the end");
    cpu.set_ymm(1, [0, 0]);
    cpu.run(gather).unwrap();
    assert_eq!(cpu.ymm(3), [u128::MAX << 96 | 0x1111_1111_2222_2222_1111_1111, 0]);
    assert_eq!(cpu.ymm(2), [0, 0]);
}

#[test]
fn a_gather_into_its_index_or_mask_is_undefined() {
    if !host_offers(iced_x86::CpuidFeature::AVX2) {
        return;
    }
    // VPGATHERDD xmm0, [rax+xmm0*4], xmm1; then with mask and target, mask and index alike.
    for bytes in [
        [0xc4, 0xe2, 0x71, 0x90, 0x04, 0x80],
        [0xc4, 0xe2, 0x79, 0x90, 0x04, 0x88],
        [0xc4, 0xe2, 0x71, 0x90, 0x04, 0x88],
    ] {
        assert_eq!(cpu().execute(&bytes), Err(Exception::ud()), "{bytes:02x?}");
    }
    // Without a base, whose address size would be told by nothing but the prefix.
    cpu().execute(&[0xc4, 0xe2, 0x71, 0x90, 0x04, 0x95, 0, 0, 0, 0]).unwrap();
    cpu().execute(&[0x67, 0xc4, 0xe2, 0x71, 0x90, 0x04, 0x95, 0, 0, 0, 0]).unwrap();
}
