//! A compiler for random programs, whose results are known from an interpreter of five lines an operation.

use std::io;

use super::code::Code;
use crate::Scale;
use crate::digest::Digest;
use crate::generate::Generator;
use crate::report::Report;

/// What can be done to RAX.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operation {
    Load(u64),
    Add(u32),
    Subtract(u32),
    Xor(u32),
    And(u32),
    Or(u32),
    Multiply(u32),
    Rotate(u8),
    Invert,
    Negate,
    SwapBytes,
    /// RAX plus RAX, by way of RCX.
    Double,
    /// Leaves out the next operation unless AL has one of these bits.
    SkipUnless(u8),
}

pub fn run(report: &mut Report, scale: &Scale) -> io::Result<()> {
    let code = Code::new()?;
    let mut generator = Generator::new(88);
    let (mut digest, mut right) = (Digest::new(), true);
    for _ in 0..400 * scale.rounds {
        let program = program(&mut generator);
        // Each over the one before, at an offset that moves about.
        let offset = generator.below(4096);
        code.put(offset, &compile(&program));
        let found = code.run(offset);
        right &= found == Ok(interpret(&program));
        digest.number(found.unwrap_or(0));
    }
    report.value("random programs", digest);
    report.check("compiled as interpreted", right);
    Ok(())
}

fn program(generator: &mut Generator) -> Vec<Operation> {
    let length = 1 + generator.below(200);
    let mut program = vec![Operation::Load(generator.next())];
    program.extend((0..length).map(|_| {
        let number = generator.next() as u32;
        match generator.below(12) {
            0 => Operation::Add(number),
            1 => Operation::Subtract(number),
            2 => Operation::Xor(number),
            3 => Operation::And(number | 0xffff),
            4 => Operation::Or(number & 0xffff),
            5 => Operation::Multiply(number | 1),
            6 => Operation::Rotate(number as u8 % 64),
            7 => Operation::Invert,
            8 => Operation::Negate,
            9 => Operation::SwapBytes,
            10 => Operation::Double,
            _ => Operation::SkipUnless(number as u8),
        }
    }));
    program
}

fn interpret(program: &[Operation]) -> u64 {
    let mut value = 0_u64;
    let mut operations = program.iter();
    while let Some(operation) = operations.next() {
        // The processor extends 32-bit operands by their sign.
        let extend = |number: u32| i64::from(number.cast_signed()).cast_unsigned();
        value = match *operation {
            Operation::Load(number) => number,
            Operation::Add(number) => value.wrapping_add(extend(number)),
            Operation::Subtract(number) => value.wrapping_sub(extend(number)),
            Operation::Xor(number) => value ^ extend(number),
            Operation::And(number) => value & extend(number),
            Operation::Or(number) => value | extend(number),
            Operation::Multiply(number) => value.wrapping_mul(extend(number)),
            Operation::Rotate(count) => value.rotate_left(u32::from(count)),
            Operation::Invert => !value,
            Operation::Negate => value.wrapping_neg(),
            Operation::SwapBytes => value.swap_bytes(),
            Operation::Double => value.wrapping_add(value),
            Operation::SkipUnless(bits) => {
                if value as u8 & bits == 0 {
                    operations.next();
                }
                value
            }
        }
    }
    value
}

fn compile(program: &[Operation]) -> Vec<u8> {
    let mut code = Vec::new();
    let mut operations = program.iter();
    while let Some(operation) = operations.next() {
        if let Operation::SkipUnless(bits) = *operation {
            // test al, bits; jz over the next. A skip that is skipped takes its test with it only.
            let next = operations.clone().next().map(encode).unwrap_or_default();
            code.extend([0xa8, bits, 0x74, next.len() as u8]);
        } else {
            code.extend(encode(operation));
        }
    }
    code.push(0xc3);
    code
}

/// The instructions of one operation; of a skip, those that a skip before it has to jump over.
fn encode(operation: &Operation) -> Vec<u8> {
    let with = |opcode: &[u8], number: u32| [opcode, &number.to_le_bytes()].concat();
    match *operation {
        Operation::Load(number) => [&[0x48, 0xb8][..], &number.to_le_bytes()].concat(),
        Operation::Add(number) => with(&[0x48, 0x05], number),
        Operation::Subtract(number) => with(&[0x48, 0x2d], number),
        Operation::Xor(number) => with(&[0x48, 0x35], number),
        Operation::And(number) => with(&[0x48, 0x25], number),
        Operation::Or(number) => with(&[0x48, 0x0d], number),
        Operation::Multiply(number) => with(&[0x48, 0x69, 0xc0], number),
        Operation::Rotate(count) => vec![0x48, 0xc1, 0xc0, count],
        Operation::Invert => vec![0x48, 0xf7, 0xd0],
        Operation::Negate => vec![0x48, 0xf7, 0xd8],
        Operation::SwapBytes => vec![0x48, 0x0f, 0xc8],
        // mov rcx, rax; add rax, rcx
        Operation::Double => vec![0x48, 0x89, 0xc1, 0x48, 0x01, 0xc8],
        Operation::SkipUnless(bits) => vec![0xa8, bits, 0x74, 0],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interpreter_does_what_the_operations_say() {
        let program = [
            Operation::Load(0x10),
            Operation::SkipUnless(0x01),
            Operation::Invert,
            Operation::SkipUnless(0x10),
            Operation::Add(u32::MAX),
            Operation::Double,
            Operation::SwapBytes,
        ];
        assert_eq!(interpret(&program), 0x1e00_0000_0000_0000);
    }

    #[test]
    fn a_skip_jumps_over_one_operation() {
        let code = compile(&[Operation::SkipUnless(4), Operation::Invert]);
        assert_eq!(code, [0xa8, 4, 0x74, 3, 0x48, 0xf7, 0xd0, 0xc3]);
    }
}
