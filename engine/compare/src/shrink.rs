//! Makes a case that differs as small as it goes: every instruction, register and patch that the difference
//! does not need is dropped. What is left is what matters.

use x86::Fpu;

use crate::CompareError;
use crate::case::Case;

/// Shrinks `case`, which `differs`, as long as it still does.
///
/// # Errors
/// Whatever `differs` fails with.
pub fn shrink(
    mut case: Case,
    differs: &mut dyn FnMut(&Case) -> Result<bool, CompareError>,
) -> Result<Case, CompareError> {
    let mut attempt = |case: &mut Case, change: &dyn Fn(&mut Case)| -> Result<bool, CompareError> {
        let mut smaller = case.clone();
        change(&mut smaller);
        let good = smaller.retaint() && differs(&smaller)?;
        if good {
            *case = smaller;
        }
        Ok(good)
    };
    // The last step is the jump to the end. Instructions only get fewer, so this ends.
    loop {
        let mut progress = false;
        for n in (0..case.steps.len().saturating_sub(1)).rev() {
            if !case.steps[n].companion && !case.is_dropped(&case.steps[n]) {
                progress |= attempt(&mut case, &|case| case.drop_step(n))?;
            }
        }
        if !progress {
            break;
        }
    }
    let fresh = Fpu::default();
    attempt(&mut case, &|case| case.start.fpu = fresh)?;
    attempt(&mut case, &|case| case.start.patch_count = 0)?;
    attempt(&mut case, &|case| case.start.fpu.ymm_high = fresh.ymm_high)?;
    attempt(&mut case, &|case| case.start.fpu.legacy.mxcsr = fresh.legacy.mxcsr)?;
    attempt(&mut case, &|case| case.start.fpu.legacy.fcw = fresh.legacy.fcw)?;
    attempt(&mut case, &|case| case.start.fpu.legacy.fsw = fresh.legacy.fsw)?;
    attempt(&mut case, &|case| case.start.fpu.legacy.ftw = fresh.legacy.ftw)?;
    for n in 0..16 {
        attempt(&mut case, &|case| case.start.gpr[n] = 0)?;
        attempt(&mut case, &|case| case.start.fpu.legacy.xmm[n] = 0)?;
        if n < 8 {
            attempt(&mut case, &|case| case.start.fpu.legacy.st[n] = 0)?;
        }
    }
    attempt(&mut case, &|case| case.start.fs_base = 0)?;
    attempt(&mut case, &|case| case.start.gs_base = 0)?;
    attempt(&mut case, &|case| case.start.rflags &= !x86::flags::STATUS)?;
    attempt(&mut case, &|case| case.start.rflags &= !x86::flags::DF)?;
    Ok(case)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generate::{Catalog, Generator};
    use crate::offer::Offer;

    #[test]
    fn only_what_matters_is_left() {
        let generator = Generator::new(Catalog::new(Offer::of_host(), &[]), 1);
        let mut case = generator.blank();
        let wanted = |case: &Case| {
            let mut left = case.steps.iter().filter(|step| !case.is_dropped(step));
            left.any(|step| step.mnemonic == iced_x86::Mnemonic::Add) && case.start.gpr[3] != 0
        };
        let index = (0..1000).find(|&index| {
            generator.make(index, &mut case);
            wanted(&case)
        });
        assert!(index.is_some());
        let small = shrink(case, &mut |case| Ok(wanted(case))).unwrap();
        let left = small.steps.iter().filter(|step| !small.is_dropped(step)).count();
        assert_eq!(left, 2, "the ADD and the jump to the end");
        assert!(small.start.gpr.iter().filter(|&&value| value != 0).count() == 1);
        assert_eq!(small.start.patch_count, 0);
    }
}
