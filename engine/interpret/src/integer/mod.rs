//! Integer instructions, a file for each family. Where a family's functions differ only in operand width or
//! condition they are generic over it, so that nothing is looked up while the guest runs.

/// The instance of a generic [`Exec`](crate::op::Exec) for a width of 1, 2, 4 or 8 bytes; `None` for other
/// widths. Further generic arguments come before the width.
macro_rules! by_width {
    ($width:expr, $function:ident $(, $with:tt)*) => {
        match $width {
            1 => Some($function::<$($with,)* u8> as $crate::op::Exec),
            2 => Some($function::<$($with,)* u16> as $crate::op::Exec),
            4 => Some($function::<$($with,)* u32> as $crate::op::Exec),
            8 => Some($function::<$($with,)* u64> as $crate::op::Exec),
            _ => None,
        }
    };
}

/// The same for instructions without a byte form.
macro_rules! by_wide_width {
    ($width:expr, $function:ident $(, $with:tt)*) => {
        match $width {
            2 => Some($function::<$($with,)* u16> as $crate::op::Exec),
            4 => Some($function::<$($with,)* u32> as $crate::op::Exec),
            8 => Some($function::<$($with,)* u64> as $crate::op::Exec),
            _ => None,
        }
    };
}

/// The same for instructions that exist with 4 and 8 bytes only.
macro_rules! by_long_width {
    ($width:expr, $function:ident $(, $with:tt)*) => {
        match $width {
            4 => Some($function::<$($with,)* u32> as $crate::op::Exec),
            8 => Some($function::<$($with,)* u64> as $crate::op::Exec),
            _ => None,
        }
    };
}

/// The instance of a function generic over the condition code (0 to 15) and perhaps a width.
macro_rules! by_condition {
    ($code:expr, $function:ident $(, $with:ty)*) => {{
        const TABLE: [$crate::op::Exec; 16] = [
            $function::<0 $(, $with)*>,
            $function::<1 $(, $with)*>,
            $function::<2 $(, $with)*>,
            $function::<3 $(, $with)*>,
            $function::<4 $(, $with)*>,
            $function::<5 $(, $with)*>,
            $function::<6 $(, $with)*>,
            $function::<7 $(, $with)*>,
            $function::<8 $(, $with)*>,
            $function::<9 $(, $with)*>,
            $function::<10 $(, $with)*>,
            $function::<11 $(, $with)*>,
            $function::<12 $(, $with)*>,
            $function::<13 $(, $with)*>,
            $function::<14 $(, $with)*>,
            $function::<15 $(, $with)*>,
        ];
        TABLE.get(usize::from($code)).copied()
    }};
}

mod alu;
mod bit;
mod bmi;
mod bound;
mod branch;
mod condition;
mod convert;
mod count;
mod crc32;
mod decimal;
mod divide;
mod double_shift;
mod exchange;
mod flag;
mod hint;
mod moves;
mod multiply;
mod operand;
mod random;
mod shift;
mod stack;
mod string;
#[cfg(test)]
mod tests;

use iced_x86::Instruction;

use crate::op::{Exec, Op};

/// Chooses what executes an instruction of this family.
pub(crate) fn lower(instruction: &Instruction, op: &mut Op) -> Option<Exec> {
    let families = [
        moves::lower,
        alu::lower,
        branch::lower,
        stack::lower,
        condition::lower,
        shift::lower,
        double_shift::lower,
        multiply::lower,
        divide::lower,
        bit::lower,
        count::lower,
        bmi::lower,
        exchange::lower,
        convert::lower,
        flag::lower,
        string::lower,
        hint::lower,
        crc32::lower,
        random::lower,
        decimal::lower,
        bound::lower,
    ];
    families.iter().find_map(|lower| lower(instruction, op))
}
