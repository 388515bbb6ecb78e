//! What two ends of the same case differ in, by the rules of what may differ.

use x86::flags::STATUS;
use x86::{Legacy, Vector, page_fault};

use crate::case::Case;
use crate::end::{End, Stop};
use crate::open;

/// The first address that Linux counts as the kernel's: it reports every fault there as a protection
/// violation, so as not to tell what is mapped (arch/x86/mm/fault.c, `set_signal_archinfo`).
const TASK_SIZE_MAX: u64 = (1 << 47) - 4096;
/// The bits of a linear address.
const LINEAR: u64 = (1 << 48) - 1;
/// FSW: an unmasked exception is pending.
const FSW_ES: u16 = 1 << 7;

/// Something that differs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// What.
    pub what: String,
    /// What the host's CPU, or the first engine, says.
    pub expected: String,
    /// What the engine under test says.
    pub found: String,
}

/// What a comparison came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// No difference.
    Agree,
    /// These differences.
    Differ(Vec<Difference>),
    /// Nothing can be said.
    Void(&'static str),
}

/// When the x87 pointers (FOP, FIP, FDP) count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum X87Pointers {
    /// Always.
    Always,
    /// While an exception is pending: AMD's CPUs do not tell them otherwise (APM vol. 2, 11.4.4).
    WhilePending,
    /// Never: the engine does not keep them.
    Never,
}

/// How ends are compared.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// When the x87 pointers count.
    pub x87_pointers: X87Pointers,
}

struct List(Vec<Difference>);

impl List {
    fn hex(&mut self, what: impl FnOnce() -> String, expected: u64, found: u64) {
        if expected != found {
            self.0.push(Difference {
                what: what(),
                expected: format!("{expected:#x}"),
                found: format!("{found:#x}"),
            });
        }
    }

    fn wide(&mut self, what: &str, expected: &[u128], found: &[u128]) {
        if expected == found {
            return;
        }
        for (n, (expected, found)) in expected.iter().zip(found).enumerate() {
            if expected != found {
                self.0.push(Difference {
                    what: format!("{what}{n}"),
                    expected: format!("{expected:#034x}"),
                    found: format!("{found:#034x}"),
                });
            }
        }
    }
}

/// Names of the general registers by number.
pub const GPR_NAMES: [&str; 16] = [
    "rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r13", "r14",
    "r15",
];

/// Compares the end of a case on an engine with the expected one.
pub fn compare(case: &Case, expected: &End, found: &End, rules: Rules) -> Verdict {
    match (expected.stop, found.stop) {
        (Stop::SYSTEM_CALL, _) => return Verdict::Void("made a system call"),
        (Stop::BROKEN, _) => return Verdict::Void("killed the native child"),
        (_, Stop::ENDLESS) => return Verdict::Void("did not end within the budget"),
        _ => {}
    }
    let mut list = List(vec![]);
    if expected.stop != found.stop {
        list.0.push(Difference {
            what: "stop".to_owned(),
            expected: describe(expected),
            found: describe(found),
        });
    }
    if expected.stop == Stop::ENDLESS {
        return verdict(list);
    }
    list.hex(|| "rip".to_owned(), expected.rip, found.rip);
    if (expected.stop, expected.vector) != (found.stop, found.vector) {
        list.0.push(Difference {
            what: "exception".to_owned(),
            expected: describe(expected),
            found: describe(found),
        });
    } else {
        let hidden = if expected.vector == Vector::PageFault as u32 && expected.cr2 >= TASK_SIZE_MAX {
            page_fault::PRESENT
        } else {
            0
        };
        list.hex(
            || "error code".to_owned(),
            u64::from(expected.error | hidden),
            u64::from(found.error | hidden),
        );
        list.hex(|| "fault address".to_owned(), expected.cr2, found.cr2);
    }
    for (n, name) in GPR_NAMES.iter().enumerate() {
        list.hex(|| (*name).to_owned(), expected.gpr[n], found.gpr[n]);
    }
    let undefined = case.undefined_at(expected.rip) & STATUS;
    list.hex(|| "rflags".to_owned(), expected.rflags & !undefined, found.rflags & !undefined);
    list.hex(|| "fs base".to_owned(), expected.fs_base, found.fs_base);
    list.hex(|| "gs base".to_owned(), expected.gs_base, found.gs_base);
    floating_point(&mut list, &expected.fpu.legacy, &found.fpu.legacy, rules);
    list.wide("xmm", &expected.fpu.legacy.xmm, &found.fpu.legacy.xmm);
    list.wide("ymm_high", &expected.fpu.ymm_high, &found.fpu.ymm_high);
    memory(&mut list, expected, found);
    if list.0.is_empty() {
        return Verdict::Agree;
    }
    open::question(case, expected, found, &list.0).map_or_else(|| verdict(list), Verdict::Void)
}

fn verdict(list: List) -> Verdict {
    if list.0.is_empty() { Verdict::Agree } else { Verdict::Differ(list.0) }
}

fn floating_point(list: &mut List, expected: &Legacy, found: &Legacy, rules: Rules) {
    list.hex(|| "fcw".to_owned(), expected.fcw.into(), found.fcw.into());
    list.hex(|| "fsw".to_owned(), expected.fsw.into(), found.fsw.into());
    list.hex(|| "ftw".to_owned(), expected.ftw.into(), found.ftw.into());
    list.hex(|| "mxcsr".to_owned(), expected.mxcsr.into(), found.mxcsr.into());
    let counts = match rules.x87_pointers {
        X87Pointers::Always => true,
        X87Pointers::WhilePending => expected.fsw & FSW_ES != 0,
        X87Pointers::Never => false,
    };
    if counts {
        list.hex(|| "fop".to_owned(), expected.fop.into(), found.fop.into());
        // CPUs keep as many bits as they have of linear addresses.
        list.hex(|| "fip".to_owned(), expected.fip & LINEAR, found.fip & LINEAR);
        list.hex(|| "fdp".to_owned(), expected.fdp & LINEAR, found.fdp & LINEAR);
    }
    list.wide("st", &expected.st, &found.st);
}

fn memory(list: &mut List, expected: &End, found: &End) {
    if expected.hash == found.hash && expected.changed == found.changed {
        return;
    }
    let value = |end: &End, word: u32| end.changes().iter().find(|c| c.word == word).map(|c| c.value);
    let mut words: Vec<u32> = expected.changes().iter().chain(found.changes()).map(|c| c.word).collect();
    words.sort_unstable();
    words.dedup();
    let before = list.0.len();
    for word in words {
        let (expected, found) = (value(expected, word), value(found, word));
        if expected != found {
            let tell = |value: Option<u64>| value.map_or("background".to_owned(), |v| format!("{v:#018x}"));
            list.0.push(Difference {
                what: format!("memory at {:#x}", crate::layout::address(word as usize * 8)),
                expected: tell(expected),
                found: tell(found),
            });
        }
    }
    if list.0.len() == before {
        list.hex(|| "words of memory changed".to_owned(), expected.changed.into(), found.changed.into());
        list.hex(|| "hash of memory".to_owned(), expected.hash, found.hash);
    }
}

/// How a case ended, in words.
pub fn describe(end: &End) -> String {
    match end.stop {
        Stop::EXCEPTION => format!("exception {} at {:#x}", end.vector, end.rip),
        stop => stop.name().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::start::Start;

    fn case() -> Case {
        Case { seed: 0, index: 0, start: Start::default(), steps: vec![], undefined: x86::flags::AF }
    }

    const RULES: Rules = Rules { x87_pointers: X87Pointers::WhilePending };

    fn end() -> End {
        End { rip: crate::layout::EXIT, ..End::default() }
    }

    #[test]
    fn undefined_flags_may_differ_and_others_may_not() {
        let found = End { rflags: x86::flags::AF, ..end() };
        assert_eq!(compare(&case(), &end(), &found, RULES), Verdict::Agree);
        let found = End { rflags: x86::flags::CF, ..end() };
        assert!(
            matches!(compare(&case(), &end(), &found, RULES), Verdict::Differ(list) if list[0].what == "rflags")
        );
    }

    #[test]
    fn every_register_counts() {
        let changes: [fn(&mut End); 8] = [
            |end| end.gpr[11] = 1,
            |end| end.fpu.legacy.xmm[2] = 1,
            |end| end.fpu.ymm_high[2] = 1,
            |end| end.fpu.legacy.st[2] = 1,
            |end| end.fpu.legacy.mxcsr = 0,
            |end| end.fs_base = 1,
            |end| end.hash = 1,
            |end| end.stop = Stop::BROKEN,
        ];
        for change in changes {
            let mut found = end();
            change(&mut found);
            assert!(matches!(compare(&case(), &end(), &found, RULES), Verdict::Differ(_)));
        }
    }

    #[test]
    fn a_fault_in_the_kernels_half_tells_nothing_of_presence() {
        let fault = |error, cr2| End {
            stop: Stop::EXCEPTION,
            vector: 14,
            error,
            cr2,
            rip: crate::layout::EXIT,
            ..End::default()
        };
        let kernel = 0xffff_8000_0000_0000;
        assert_eq!(compare(&case(), &fault(5, kernel), &fault(4, kernel), RULES), Verdict::Agree);
        assert_ne!(compare(&case(), &fault(5, 0x1000), &fault(4, 0x1000), RULES), Verdict::Agree);
        assert_ne!(compare(&case(), &fault(6, kernel), &fault(4, kernel), RULES), Verdict::Agree);
    }
}
