//! What two whole CPU states differ in.

use std::fmt::Debug;

use x86::flags::{ALL, RESERVED_ONE, RF, STATUS};
use x86::{CpuState, Events, Shadow};

use crate::difference::{Difference, GPR_NAMES};

/// The differences, without arithmetic flags, RF, x87 pointers and the shadow of STI.
pub(super) fn differences(expected: &CpuState, found: &CpuState) -> Vec<Difference> {
    let mut list = vec![];
    for (n, name) in GPR_NAMES.iter().enumerate() {
        differ(&mut list, name, &expected.gpr[n], &found.gpr[n]);
    }
    differ(&mut list, "rip", &expected.rip, &found.rip);
    // RF is set between two iterations of a string instruction by who stops there for each.
    let flags = |state: &CpuState| state.rflags & !(STATUS | RF);
    differ(&mut list, "rflags", &flags(expected), &flags(found));
    differ(&mut list, "segments", &expected.segments, &found.segments);
    differ(&mut list, "ldtr", &expected.ldtr, &found.ldtr);
    differ(&mut list, "tr", &expected.tr, &found.tr);
    differ(&mut list, "gdtr", &expected.gdtr, &found.gdtr);
    differ(&mut list, "idtr", &expected.idtr, &found.idtr);
    let control = |state: &CpuState| [state.cr0, state.cr2, state.cr3, state.cr4, state.xcr0];
    differ(&mut list, "cr0, cr2, cr3, cr4, xcr0", &control(expected), &control(found));
    let debug = |state: &CpuState| (state.dr, state.dr6, state.dr7);
    differ(&mut list, "debug registers", &debug(expected), &debug(found));
    differ(&mut list, "msrs", &expected.msrs, &found.msrs);
    let events = |state: &CpuState| match state.events.shadow {
        Shadow::Sti => Events { shadow: Shadow::None, ..state.events },
        _ => state.events,
    };
    differ(&mut list, "events", &events(expected), &events(found));
    let x87 = |state: &CpuState| {
        let legacy = &state.fpu.legacy;
        (legacy.fcw, legacy.fsw, legacy.ftw, legacy.mxcsr, legacy.st.map(|st| st & (u128::MAX >> 48)))
    };
    differ(&mut list, "fcw, fsw, ftw, mxcsr, st", &x87(expected), &x87(found));
    differ(&mut list, "xmm", &expected.fpu.legacy.xmm, &found.fpu.legacy.xmm);
    differ(&mut list, "ymm_high", &expected.fpu.ymm_high, &found.fpu.ymm_high);
    list
}

/// Are the differences nothing but arithmetic flags, in RFLAGS or as PUSHF has put them into a general
/// register?
pub(super) fn only_flags(expected: &CpuState, found: &CpuState) -> bool {
    let mut same = found.clone();
    let is_image = |value: u64| value & !ALL == 0 && value & RESERVED_ONE != 0;
    for (register, expected) in same.gpr.iter_mut().zip(expected.gpr) {
        if (*register ^ expected) & !STATUS == 0 && is_image(expected) {
            *register = expected;
        }
    }
    differences(expected, &same).is_empty()
}

fn differ<T: PartialEq + Debug>(list: &mut Vec<Difference>, what: &str, expected: &T, found: &T) {
    if expected != found {
        let (expected, found) = (format!("{expected:#x?}"), format!("{found:#x?}"));
        let flat = |text: String| text.split_whitespace().collect::<Vec<_>>().join(" ");
        list.push(Difference { what: what.to_owned(), expected: flat(expected), found: flat(found) });
    }
}
