//! Bit scans, bit tests, counts and byte swaps.

use super::model::EDGES;
use crate::harness::Outcome;
use crate::hw::cpu::flags::{CF, OF, STATUS, ZF};
use crate::hw::pages;

family!("integer": bsf, bsr, bit_test, bit_test_memory, bswap, popcnt, lzcnt_tzcnt, movbe, bmi1, bmi1_carry, bmi2, adx);

fn bsf() -> Outcome {
    for &value in EDGES {
        let got = exec!("bsf rax, rcx", 0xdead, value, 0, 0);
        let want = if value == 0 { 0xdead } else { u64::from(value.trailing_zeros()) };
        check_eq!(got.rax, want, "bsf of {value:#x}");
        check_eq!(got.flags & ZF, if value == 0 { ZF } else { 0 }, "ZF of bsf of {value:#x}");
    }
    Ok(())
}

fn bsr() -> Outcome {
    for &value in EDGES {
        let got = exec!("bsr rax, rcx", 0xdead, value, 0, 0);
        let want = if value == 0 { 0xdead } else { u64::from(value.ilog2()) };
        check_eq!(got.rax, want, "bsr of {value:#x}");
        check_eq!(got.flags & ZF, if value == 0 { ZF } else { 0 }, "ZF of bsr of {value:#x}");
    }
    Ok(())
}

/// With a register operand the offset wraps at the width.
fn bit_test() -> Outcome {
    for &value in EDGES {
        for bit in [0u64, 1, 15, 16, 31, 32, 63, 64, 100, u64::MAX] {
            let carry = |width: u64| value >> (bit % width) & 1;
            check_eq!(exec!("bt rax, rcx", value, bit, 0, 0).flags & CF, carry(64), "bt {value:#x}, {bit}");
            check_eq!(exec!("bt eax, ecx", value, bit, 0, 0).flags & CF, carry(32), "bt32 {value:#x}, {bit}");
            check_eq!(exec!("bt ax, cx", value, bit, 0, 0).flags & CF, carry(16), "bt16 {value:#x}, {bit}");
            let mask = 1 << (bit % 64);
            check_eq!(exec!("bts rax, rcx", value, bit, 0, 0).rax, value | mask, "bts {value:#x}, {bit}");
            check_eq!(exec!("btr rax, rcx", value, bit, 0, 0).rax, value & !mask, "btr {value:#x}, {bit}");
            check_eq!(exec!("btc rax, rcx", value, bit, 0, 0).rax, value ^ mask, "btc {value:#x}, {bit}");
        }
    }
    let got = exec!("bts eax, 35", 0, 0, 0, 0);
    check_eq!(got.rax, 8, "bts eax, 35");
    Ok(())
}

/// With a memory operand and a register offset, the offset reaches beyond the operand, both ways.
fn bit_test_memory() -> Outcome {
    let middle = pages::frame() + 2048;
    for (bit, byte) in [
        (0i64, 0i64),
        (7, 0),
        (8, 1),
        (63, 7),
        (64, 8),
        (1000, 125),
        (-1, -1),
        (-8, -1),
        (-9, -2),
        (-1000, -125),
    ] {
        let at = (middle as i64 + byte) as *mut u8;
        let mask = 1u8 << bit.rem_euclid(8);
        // SAFETY: inside the frame.
        unsafe { at.write_volatile(!mask) };
        let got = exec!("bts qword ptr [rdx], rcx", 0, bit, middle, STATUS);
        check_eq!(got.flags & CF, 0, "CF of bts with offset {bit}");
        // SAFETY: as above.
        check_eq!(unsafe { at.read_volatile() }, 0xff, "byte after bts with offset {bit}");
        check_eq!(exec!("bt word ptr [rdx], cx", 0, bit, middle, 0).flags & CF, CF, "bt16 with offset {bit}");
        let got = exec!("lock btr dword ptr [rdx], ecx", 0, bit, middle, 0);
        check_eq!(got.flags & CF, CF, "CF of btr with offset {bit}");
        // SAFETY: as above.
        check_eq!(unsafe { at.read_volatile() }, !mask, "byte after btr with offset {bit}");
    }
    // An immediate offset wraps.
    let got = exec!("mov dword ptr [rdx], 4; bt dword ptr [rdx], 34", 0, 0, middle, 0);
    check_eq!(got.flags & CF, CF, "bt with immediate 34");
    Ok(())
}

fn bswap() -> Outcome {
    let value = 0x0123_4567_89ab_cdefu64;
    check_eq!(exec!("bswap rax", value, 0, 0, 0).rax, value.swap_bytes(), "bswap rax");
    check_eq!(exec!("bswap eax", value, 0, 0, 0).rax, 0xefcd_ab89u64, "bswap eax");
    Ok(())
}

fn popcnt() -> Outcome {
    need!(POPCNT);
    for &value in EDGES {
        let mut count = 0;
        for bit in 0..64 {
            count += value >> bit & 1;
        }
        let got = exec!("popcnt rax, rcx", 0, value, 0, STATUS);
        check_eq!(got.rax, count, "popcnt of {value:#x}");
        check_eq!(got.flags & STATUS, if value == 0 { ZF } else { 0 }, "flags of popcnt of {value:#x}");
    }
    Ok(())
}

/// With the feature absent these encodings are BSR and BSF, so they must not be tried.
fn lzcnt_tzcnt() -> Outcome {
    need!(ABM, BMI1);
    for (value, leading, trailing) in [(0u64, 64, 64), (1, 63, 0), (1 << 63, 0, 63), (0xff00, 48, 8)] {
        let got = exec!("lzcnt rax, rcx", 0, value, 0, 0);
        check_eq!(got.rax, leading, "lzcnt of {value:#x}");
        check_eq!(got.flags & CF, u64::from(value == 0), "CF of lzcnt of {value:#x}");
        check_eq!(got.flags & ZF, if leading == 0 { ZF } else { 0 }, "ZF of lzcnt of {value:#x}");
        let got = exec!("tzcnt rax, rcx", 0, value, 0, 0);
        check_eq!(got.rax, trailing, "tzcnt of {value:#x}");
        check_eq!(got.flags & CF, u64::from(value == 0), "CF of tzcnt of {value:#x}");
        check_eq!(got.flags & ZF, if trailing == 0 { ZF } else { 0 }, "ZF of tzcnt of {value:#x}");
    }
    check_eq!(exec!("lzcnt ax, cx", 0, 0, 0, 0).rax, 16, "lzcnt ax of zero");
    check_eq!(exec!("tzcnt eax, ecx", u64::MAX, 0, 0, 0).rax, 32, "tzcnt eax of zero");
    Ok(())
}

fn movbe() -> Outcome {
    need!(MOVBE);
    let at = pages::frame();
    // Bytes EF CD AB 89 67 45 23 01, read from the second one on, most significant first.
    let got = exec!("mov [rdx], rax; movbe eax, [rdx + 1]", 0x0123_4567_89ab_cdefu64, 0, at, 0);
    check_eq!(got.rax, 0xcdab_8967u64, "movbe eax from memory");
    let got = exec!("movbe [rdx], rcx; mov rax, [rdx]", 0, 0x0123_4567_89ab_cdefu64, at, 0);
    check_eq!(got.rax, 0xefcd_ab89_6745_2301u64, "movbe to memory");
    Ok(())
}

fn bmi1() -> Outcome {
    need!(BMI1);
    let got = exec!("andn rax, rcx, rdx", 0, 0xff00, 0xffff, 0);
    check_eq!(got.rax, 0xff, "andn");
    check_eq!(exec!("bextr rax, rcx, rdx", 0, 0xabcd_ef01, 0x0c04, 0).rax, 0xef0, "bextr");
    let got = exec!("blsi rax, rcx", 0, 0b10_1000, 0, 0);
    check_eq!(got.rax, 0b1000, "blsi");
    let got = exec!("blsr rax, rcx", 0, 0b10_1000, 0, 0);
    check_eq!(got.rax, 0b10_0000, "blsr");
    let got = exec!("blsmsk rax, rcx", 0, 0b10_1000, 0, 0);
    check_eq!(got.rax, 0b1111, "blsmsk");
    let got = exec!("blsmsk rax, rcx", 0, 0, 0, 0);
    check_eq!(got.rax, u64::MAX, "blsmsk of zero");
    Ok(())
}

/// BLSI sets the carry if the source is not zero, BLSR and BLSMSK if it is.
fn bmi1_carry() -> Outcome {
    need!(BMI1);
    wrong_in_tcg!("inverts the carry of BLSI and BLSR");
    check_eq!(exec!("blsi rax, rcx", 0, 8, 0, 0).flags & CF, CF, "CF of blsi");
    check_eq!(exec!("blsi rax, rcx", 0, 0, 0, CF).flags & (CF | ZF), ZF, "flags of blsi of zero");
    check_eq!(exec!("blsr rax, rcx", 0, 8, 0, CF).flags & (CF | ZF), ZF, "flags of blsr");
    check_eq!(exec!("blsr rax, rcx", 0, 0, 0, 0).flags & (CF | ZF), CF | ZF, "flags of blsr of zero");
    check_eq!(exec!("blsmsk rax, rcx", 0, 0, 0, ZF).flags & (CF | ZF), CF, "flags of blsmsk of zero");
    Ok(())
}

fn bmi2() -> Outcome {
    need!(BMI2);
    let got = exec!("mulx rax, rcx, rcx", 0, 1u64 << 63, 6, STATUS);
    check_eq!(got.rax, 3, "high half of mulx");
    check_eq!(got.rcx, 0, "low half of mulx");
    check_eq!(got.flags & STATUS, STATUS, "flags after mulx");
    check_eq!(exec!("rorx rax, rcx, 4", 0, 0x1f, 0, 0).rax, 0xf000_0000_0000_0001u64, "rorx");
    check_eq!(exec!("shlx rax, rcx, rdx", 0, 3, 65, 0).rax, 6, "shlx");
    check_eq!(exec!("sarx eax, ecx, edx", 0, 0x8000_0000u64, 31, 0).rax, 0xffff_ffffu64, "sarx");
    check_eq!(exec!("shrx rax, rcx, rdx", 0, 1u64 << 63, 63, 0).rax, 1, "shrx");
    check_eq!(exec!("bzhi rax, rcx, rdx", 0, u64::MAX, 12, 0).rax, 0xfff, "bzhi");
    check_eq!(exec!("pdep rax, rcx, rdx", 0, 0b101, 0xf0f0, 0).rax, 0x50, "pdep");
    check_eq!(exec!("pext rax, rcx, rdx", 0, 0xabcd, 0xf0f0, 0).rax, 0xac, "pext");
    Ok(())
}

/// ADCX and ADOX carry through CF and OF and leave all other flags alone.
fn adx() -> Outcome {
    need!(ADX);
    let got = exec!("adcx rax, rcx", u64::MAX, 0, 0, CF | ZF);
    check_eq!(got.rax, 0, "adcx");
    check_eq!(got.flags & STATUS, CF | ZF, "flags of adcx");
    let got = exec!("adox rax, rcx", u64::MAX, 1, 0, CF);
    check_eq!(got.rax, 0, "adox");
    check_eq!(got.flags & STATUS, CF | OF, "flags of adox");
    Ok(())
}
