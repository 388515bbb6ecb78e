//! The flags register.

use crate::harness::Outcome;
use crate::hw::cpu::flags::{AC, AF, CF, DF, ID, NT, OF, PF, SF, STATUS, ZF};

family!("integer": pushf_popf, lahf_sahf, carry_and_direction, narrow_popf);

/// Every flag a program may change comes back as it was put, reserved ones as they must be.
fn pushf_popf() -> Outcome {
    for bit in [CF, PF, AF, ZF, SF, DF, OF, NT, AC, ID] {
        check_eq!(exec!("nop", 0, 0, 0, bit).flags, bit | 2, "flags after popf of {bit:#x}");
    }
    // Reserved bits, VM, RF, VIF and VIP do not stick (and TF is left out, as it would trap).
    let reserved = 1 << 3 | 1 << 5 | 1 << 15 | 1 << 16 | 1 << 22 | 1 << 31;
    check_eq!(exec!("nop", 0, 0, 0, reserved).flags, 2, "flags after popf of reserved bits");
    Ok(())
}

fn lahf_sahf() -> Outcome {
    need!(LAHF);
    let got = exec!("lahf", 0, 0, 0, STATUS);
    check_eq!(got.rax, 0xd700, "ah after lahf");
    let got = exec!("sahf", 0xff00, 0, 0, OF);
    check_eq!(got.flags & STATUS, STATUS, "flags after sahf of FF");
    let got = exec!("sahf", 0, 0, 0, STATUS);
    check_eq!(got.flags & (STATUS | 2), OF | 2, "flags after sahf of 00");
    Ok(())
}

fn carry_and_direction() -> Outcome {
    check_eq!(exec!("stc", 0, 0, 0, 0).flags & STATUS, CF, "stc");
    check_eq!(exec!("clc", 0, 0, 0, STATUS).flags & STATUS, STATUS & !CF, "clc");
    check_eq!(exec!("cmc", 0, 0, 0, STATUS).flags & STATUS, STATUS & !CF, "cmc of one");
    check_eq!(exec!("cmc", 0, 0, 0, 0).flags & STATUS, CF, "cmc of zero");
    check_eq!(exec!("std", 0, 0, 0, 0).flags & DF, DF, "std");
    check_eq!(exec!("cld", 0, 0, 0, DF).flags & DF, 0, "cld");
    Ok(())
}

/// A 16-bit POPF leaves the upper flags alone.
fn narrow_popf() -> Outcome {
    let got = exec!("push 0; popfw; lea rsp, [rsp + 6]", 0, 0, 0, ID | AC | STATUS);
    check_eq!(got.flags, ID | AC | 2, "flags after a 16-bit popf of zero");
    Ok(())
}
