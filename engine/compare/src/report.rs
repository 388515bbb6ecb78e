//! A difference, told so that a person can act on it and the machine can make it again.

use std::fmt;

use iced_x86::{Formatter, Mnemonic, NasmFormatter};
use x86::Fpu;

use crate::case::Case;
use crate::difference::{Difference, GPR_NAMES, describe};
use crate::end::End;

/// Differences that are told one by one.
const MOST_LINES: usize = 24;

/// One difference.
#[derive(Clone, Debug)]
pub struct Report {
    /// The case, shrunk.
    pub case: Case,
    /// How it ended where it is right.
    pub expected: End,
    /// How it ended on the engine under test.
    pub found: End,
    /// What differs.
    pub differences: Vec<Difference>,
    /// What the engine says to a case it broke down on.
    pub complaint: String,
    /// The two, as they are called.
    pub names: [String; 2],
}

impl Report {
    /// The instructions that matter, each once: reports with the same ones are likely about the same thing.
    pub fn mnemonics(&self) -> Vec<Mnemonic> {
        let mut all: Vec<Mnemonic> = self
            .case
            .steps
            .iter()
            .rev()
            .skip(1)
            .filter(|step| !self.case.is_dropped(step))
            .map(|step| step.mnemonic)
            .collect();
        all.sort_unstable();
        all.dedup();
        all
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [expected, found] = &self.names;
        writeln!(f, "--seed {} --index {}", self.case.seed, self.case.index)?;
        writeln!(f, "  {expected}: {}; {found}: {}", describe(&self.expected), describe(&self.found))?;
        if !self.complaint.is_empty() {
            writeln!(f, "  {found} says: {}", self.complaint)?;
        }
        let mut nasm = NasmFormatter::new();
        for step in self.case.steps.iter().filter(|step| !self.case.is_dropped(step)) {
            let mut text = String::new();
            nasm.format(&self.case.instruction(step), &mut text);
            let from = usize::from(step.at);
            let bytes = &self.case.start.code()[from..from + usize::from(step.len)];
            let hex = bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" ");
            writeln!(f, "    {:x}  {hex:<30} {text}", self.case.start.rip() + u64::from(step.at))?;
        }
        write_start(f, &self.case)?;
        for difference in self.differences.iter().take(MOST_LINES) {
            writeln!(
                f,
                "  {}: {expected} {}, {found} {}",
                difference.what, difference.expected, difference.found
            )?;
        }
        match self.differences.len().checked_sub(MOST_LINES) {
            None | Some(0) => Ok(()),
            Some(more) => writeln!(f, "  and {more} more"),
        }
    }
}

/// The start, without what is zero or as after reset: shrinking has zeroed what does not matter.
fn write_start(f: &mut fmt::Formatter<'_>, case: &Case) -> fmt::Result {
    let start = &case.start;
    write!(f, "  from rflags={:#x}", start.rflags)?;
    for (name, value) in GPR_NAMES.iter().zip(start.gpr).filter(|(_, value)| *value != 0) {
        write!(f, " {name}={value:#x}")?;
    }
    for (name, value) in [("fs", start.fs_base), ("gs", start.gs_base)] {
        if value != 0 {
            write!(f, " {name}={value:#x}")?;
        }
    }
    writeln!(f)?;
    let (fpu, fresh) = (&start.fpu, Fpu::default());
    if *fpu != fresh {
        let x87 = &fpu.legacy;
        writeln!(
            f,
            "       fcw={:#x} fsw={:#x} ftw={:#x} mxcsr={:#x}",
            x87.fcw, x87.fsw, x87.ftw, x87.mxcsr
        )?;
    }
    for (name, registers) in
        [("st", &fpu.legacy.st[..]), ("xmm", &fpu.legacy.xmm[..]), ("ymm_high", &fpu.ymm_high[..])]
    {
        for (n, value) in registers.iter().enumerate().filter(|(_, value)| **value != 0) {
            writeln!(f, "       {name}{n}={value:#034x}")?;
        }
    }
    for patch in start.patches() {
        let at = crate::layout::address(usize::from(patch.at));
        writeln!(f, "       [{at:#x}]={:02x?}", &patch.bytes[..usize::from(patch.len)])?;
    }
    Ok(())
}
