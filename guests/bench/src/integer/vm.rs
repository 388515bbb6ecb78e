//! An interpreter of bytecode with registers, after the manner of Lua's: a loop around one indirect jump.

use std::io;

use crate::digest::Digest;
use crate::workload::Round;

/// An instruction: what to do, with up to three operands.
#[derive(Debug, Clone, Copy)]
struct Code {
    op: Op,
    a: u8,
    b: u8,
    c: u8,
}

/// `a`, `b`, `c` are registers, `n` is `b` as a small number; jumps go to `b` and `c` as a 16-bit place.
#[derive(Debug, Clone, Copy)]
enum Op {
    /// a = n
    Load,
    /// a = b
    Move,
    /// a = b + c
    Add,
    /// a = b − c
    Subtract,
    /// a = b · c
    Multiply,
    /// a = b & c
    And,
    /// a = b >> c as a number
    Shift,
    /// a = table[b]
    Get,
    /// table[a] = b
    Set,
    /// Goes on at `bc`.
    Jump,
    /// Goes on at `bc` if a = 0
    JumpZero,
    /// Goes on after the next instruction if a < b
    SkipLess,
    /// Ends; the result is a.
    End,
}

struct Program {
    code: Vec<Code>,
}

impl Program {
    fn new() -> Self {
        Self { code: vec![] }
    }

    fn put(&mut self, op: Op, a: u8, b: u8, c: u8) -> usize {
        self.code.push(Code { op, a, b, c });
        self.code.len() - 1
    }

    fn jump(&mut self, op: Op, a: u8, to: usize) -> usize {
        let [b, c] = (to as u16).to_be_bytes();
        self.put(op, a, b, c)
    }

    /// A jump that was put down before its destination was known goes here.
    fn land(&mut self, jump: usize) {
        let [b, c] = (self.code.len() as u16).to_be_bytes();
        (self.code[jump].b, self.code[jump].c) = (b, c);
    }

    #[inline(never)]
    fn run(&self, r: &mut [i64; 256], table: &mut [i64]) -> i64 {
        let mut at = 0;
        loop {
            let Code { op, a, b, c } = self.code[at];
            let (x, y) = (usize::from(a), usize::from(b));
            let to = || usize::from(u16::from_be_bytes([b, c]));
            let z = usize::from(c);
            at += 1;
            match op {
                Op::Load => r[x] = i64::from(b),
                Op::Move => r[x] = r[y],
                Op::Add => r[x] = r[y].wrapping_add(r[z]),
                Op::Subtract => r[x] = r[y].wrapping_sub(r[z]),
                Op::Multiply => r[x] = r[y].wrapping_mul(r[z]),
                Op::And => r[x] = r[y] & r[z],
                Op::Shift => r[x] = r[y] >> (c & 63),
                Op::Get => r[x] = table[r[y] as usize % table.len()],
                Op::Set => {
                    let place = r[x] as usize % table.len();
                    table[place] = r[y];
                }
                Op::Jump => at = to(),
                Op::JumpZero if r[x] == 0 => at = to(),
                Op::JumpZero => {}
                Op::SkipLess => at += usize::from(r[x] < r[y]),
                Op::End => return r[x],
            }
        }
    }
}

/// The sum of the lengths of the Collatz sequences of 1 to `r[0]`.
fn collatz() -> Program {
    let [limit, i, n, steps, one, three, odd] = [0, 1, 2, 3, 4, 5, 6];
    let mut p = Program::new();
    p.put(Op::Load, steps, 0, 0);
    p.put(Op::Load, one, 1, 0);
    p.put(Op::Load, three, 3, 0);
    p.put(Op::Load, i, 0, 0);
    let next = p.put(Op::SkipLess, i, limit, 0);
    let done = p.jump(Op::Jump, 0, 0);
    p.put(Op::Add, i, i, one);
    p.put(Op::Move, n, i, 0);
    let walk = p.put(Op::SkipLess, one, n, 0);
    p.jump(Op::Jump, 0, next);
    p.put(Op::Add, steps, steps, one);
    p.put(Op::And, odd, n, one);
    let even = p.jump(Op::JumpZero, odd, 0);
    p.put(Op::Multiply, n, n, three);
    p.put(Op::Add, n, n, one);
    p.jump(Op::Jump, 0, walk);
    p.land(even);
    p.put(Op::Shift, n, n, 1);
    p.jump(Op::Jump, 0, walk);
    p.land(done);
    p.put(Op::End, steps, 0, 0);
    p
}

/// The number of primes below `r[0]`, by a sieve in the table.
fn sieve() -> Program {
    let [limit, i, j, one, mark, count] = [0, 1, 2, 3, 4, 5];
    let mut p = Program::new();
    p.put(Op::Load, one, 1, 0);
    p.put(Op::Load, count, 0, 0);
    p.put(Op::Load, i, 2, 0);
    let next = p.put(Op::SkipLess, i, limit, 0);
    let done = p.jump(Op::Jump, 0, 0);
    p.put(Op::Get, mark, i, 0);
    let prime = p.jump(Op::JumpZero, mark, 0);
    p.put(Op::Add, i, i, one);
    p.jump(Op::Jump, 0, next);
    p.land(prime);
    p.put(Op::Add, count, count, one);
    p.put(Op::Add, j, i, i);
    let strike = p.put(Op::SkipLess, j, limit, 0);
    let all = p.jump(Op::Jump, 0, 0);
    p.put(Op::Set, j, one, 0);
    p.put(Op::Add, j, j, i);
    p.jump(Op::Jump, 0, strike);
    p.land(all);
    p.put(Op::Add, i, i, one);
    p.jump(Op::Jump, 0, next);
    p.land(done);
    // The number as a difference of two, for the sake of it.
    p.put(Op::Subtract, count, count, one);
    p.put(Op::Add, count, count, one);
    p.put(Op::End, count, 0, 0);
    p
}

fn run(program: &Program, argument: i64, table: &mut [i64]) -> i64 {
    let mut registers = [0; 256];
    registers[0] = argument;
    table.fill(0);
    program.run(&mut registers, table)
}

pub fn start() -> io::Result<Round> {
    let (collatz, sieve) = (collatz(), sieve());
    let mut table = vec![0; 10_000];
    Ok(Box::new(move || {
        let mut digest = Digest::default();
        digest.add(run(&collatz, 2000, &mut table) as u64);
        digest.add(run(&sieve, 10_000, &mut table) as u64);
        Ok(digest.value())
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_programs_compute_what_they_should() {
        let mut table = vec![0; 1000];
        assert_eq!(run(&sieve(), 1000, &mut table), 168);
        let steps = |mut n: u64| {
            let mut steps = 0;
            while n > 1 {
                n = if n.is_multiple_of(2) { n / 2 } else { 3 * n + 1 };
                steps += 1;
            }
            steps
        };
        assert_eq!(run(&collatz(), 30, &mut table), (1..=30).map(steps).sum::<i64>());
    }
}
