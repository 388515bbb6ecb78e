//! Code that is written over, and code that writes over itself.

use std::io;

use super::code::{Code, constant};
use crate::Scale;
use crate::mmap::PAGE;
use crate::report::Report;

pub fn run(report: &mut Report, scale: &Scale) -> io::Result<()> {
    let code = Code::new()?;
    let rounds = 1000 * scale.rounds;
    // In a page, and with the constant across the border of two.
    for (name, offset) in [("rewritten", 64), ("rewritten across pages", PAGE - 3)] {
        let right = (0..rounds).all(|round| {
            let value = round.wrapping_mul(0x9e37_79b1);
            code.put(offset, &constant(value));
            code.run(offset) == Ok(u64::from(value))
        });
        report.check(name, right);
    }
    // Only the byte behind the border.
    code.put(PAGE - 3, &constant(0));
    let right = (0..=255_u8).all(|byte| {
        code.put(PAGE, &[byte]);
        code.run(PAGE - 3) == Ok(u64::from(byte) << 16)
    });
    report.check("one byte of the second page", right);

    // mov [rip + 1], edi; mov eax, 0; ret: the store is to the next instruction's operand.
    let ahead = [&[0x89, 0x3d, 1, 0, 0, 0][..], &constant(0)].concat();
    for (name, offset) in [("next instruction", 0), ("next instruction across pages", PAGE - 8)] {
        code.put(offset, &ahead);
        let right = (1..=u64::from(rounds)).all(|value| code.call(offset, value, 0) == value);
        report.check(name, right);
    }

    // A repeated move onto the instructions behind it: mov ecx, 6; rep movsb; (six bytes that are moved here)
    let mover = [&[0xb9, 6, 0, 0, 0, 0xf3, 0xa4][..], &constant(0)].concat();
    code.put(0, &mover);
    let right = (0..rounds).all(|round| {
        let source = constant(!round);
        code.call(0, code.at(7) as u64, source.as_ptr() as u64) == u64::from(!round)
    });
    report.check("moved over itself", right);
    loops(report, &code, rounds);
    Ok(())
}

/// A loop that turns its own INC into a DEC half way.
fn loops(report: &mut Report, code: &Code, rounds: u32) {
    #[rustfmt::skip]
    let body = [
        0x31, 0xc0,                      //  0: xor eax, eax
        0xb9, 10, 0, 0, 0,               //  2: mov ecx, 10
        0xff, 0xc0,                      //  7: inc eax
        0x83, 0xf9, 5,                   //  9: cmp ecx, 5
        0x75, 7,                         // 12: jne 21
        0xc6, 0x05, 0xf3, 0xff, 0xff, 0xff, 0xc8, // 14: mov byte [rip - 13], 0xc8: the byte at 8, so 7 becomes dec eax
        0xff, 0xc9,                      // 21: dec ecx
        0x75, 0xee,                      // 23: jnz 7
        0xc3,                            // 25: ret
    ];
    let right = (0..rounds).all(|_| {
        code.put(0, &body);
        let first = code.run(0);
        // Left as it is, it counts down from the start.
        let second = code.run(0);
        (first, second) == (Ok(2), Ok(u64::from(-10_i32.cast_unsigned().cast_signed() as u32)))
    });
    report.check("a loop that changes its body", right);
}
