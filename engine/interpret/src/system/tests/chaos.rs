//! Whatever a guest does ends in a fault of the guest: random system instructions on random state, in every
//! mode, must neither panic nor hang, and the CPU must stay one that could exist.

use x86::control::{cr0, cr4, efer};

use super::*;

/// xorshift64*: the same cases on every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, limit: u64) -> u64 {
        (self.next() >> 16) % limit
    }

    fn chance(&mut self, one_in: u64) -> bool {
        self.below(one_in) == 0
    }

    /// A number that means something: a selector, an address of the tables, a bit, or noise.
    fn value(&mut self) -> u64 {
        match self.below(8) {
            0 => self.below(0xa8),
            1 => GDT + self.below(0xa0),
            2 => DATA + self.below(0x1000),
            3 => 1 << self.below(64),
            4 => [STACK, STACK_0, CODE, TSS, IDT, ABSENT, 0x1000, 0xffff][self.below(8) as usize],
            5 => self.next() >> self.below(64),
            6 => 0xffff_8000_0000_0000 | self.below(1 << 20),
            _ => self.below(16),
        }
    }
}

/// First bytes of instructions of this family; random bytes follow.
const OPCODES: &[&[u8]] = &[
    &[0x0f, 0x00],
    &[0x0f, 0x01],
    &[0x0f, 0x02],
    &[0x0f, 0x03],
    &[0x0f, 0x05],
    &[0x0f, 0x06],
    &[0x0f, 0x07],
    &[0x48, 0x0f, 0x07],
    &[0x0f, 0x20],
    &[0x0f, 0x21],
    &[0x0f, 0x22],
    &[0x0f, 0x23],
    &[0x0f, 0x30],
    &[0x0f, 0x31],
    &[0x0f, 0x32],
    &[0x0f, 0x34],
    &[0x0f, 0x35],
    &[0x0f, 0xa2],
    &[0x0f, 0xa1],
    &[0x0f, 0xb2],
    &[0x0f, 0xb4],
    &[0x66, 0x0f, 0x38, 0x82],
    &[0x8e],
    &[0x8c],
    &[0x1f],
    &[0x17],
    &[0x9a],
    &[0xea],
    &[0xff],
    &[0xca],
    &[0xcb],
    &[0x48, 0xcb],
    &[0xcf],
    &[0x48, 0xcf],
    &[0x66, 0xcf],
    &[0xcc],
    &[0xcd],
    &[0xce],
    &[0xf1],
    &[0xe4],
    &[0xe7],
    &[0xf3, 0x6d],
    &[0xf3, 0x6e],
    &[0xfa],
    &[0xfb],
    &[0x9d],
    &[0x9c],
    &[0x63],
    &[],
];

fn code(random: &mut Random) -> Vec<u8> {
    let mut code = Vec::new();
    while code.len() < 64 {
        if random.chance(4) {
            code.push([0x66, 0x67, 0xf3, 0x48, 0x2e, 0x64][random.below(6) as usize]);
        }
        code.extend_from_slice(OPCODES[random.below(OPCODES.len() as u64) as usize]);
        let tail = random.below(7);
        code.extend((0..tail).map(|_| if random.chance(3) { 0x04 } else { random.next() as u8 }));
    }
    code
}

fn guest(random: &mut Random) -> Guest {
    let cpl = if random.chance(2) { 3 } else { 0 };
    let mut guest = match random.below(3) {
        0 => Guest::real(),
        1 => Guest::protected(cpl),
        _ => Guest::long(cpl),
    };
    // Damage to the tables: bytes of the GDT, the IDT, the TSS and the page tables.
    for _ in 0..random.below(6) {
        let (table, len) =
            [(GDT, 0xa0), (IDT, 0x200), (TSS, 0x80), (0x1000, 0x10), (0x4000, 0x800), (0, 0x400)]
                [random.below(6) as usize];
        let at = table + random.below(len);
        guest.put(at, &[random.next() as u8]);
    }
    for at in (0..64).map(|n| DATA + 8 * n).chain((0..16).map(|n| STACK + 8 * n)) {
        let value = random.value();
        guest.put_u64(at, value);
    }
    let registers: Vec<u64> = (0..16).map(|_| random.value()).collect();
    guest.changed(|state| {
        for (n, value) in registers.into_iter().enumerate() {
            // RSP is mostly kept: a guest without a stack only shuts down.
            if n != 4 || random.chance(8) {
                state.gpr[n] = value;
            }
        }
        state.rflags |= random.next() & (flags::ALL & !(flags::VM | flags::TF));
        if random.chance(8) {
            state.rflags |= flags::TF;
        }
        if random.chance(4) {
            state.cr4 |= random.next() & (cr4::DE | cr4::PGE | cr4::UMIP | cr4::FSGSBASE | cr4::TSD);
        }
        if random.chance(8) {
            state.dr = std::array::from_fn(|_| random.value());
            state.dr7 |= random.next() & 0xffff_23ff;
        }
        state.msrs.star = random.next();
        state.msrs.lstar = HANDLERS;
        state.msrs.sysenter_cs = random.value();
    })
}

/// What no sequence of instructions may break.
fn check(cpu: &Cpu) {
    let state = cpu.export();
    let (pg, pe) = (state.cr0 & cr0::PG != 0, state.cr0 & cr0::PE != 0);
    let (lma, lme) = (state.msrs.efer & efer::LMA != 0, state.msrs.efer & efer::LME != 0);
    assert!(pe || !pg);
    assert_eq!(lma, pg && lme);
    assert!(!lma || state.cr4 & cr4::PAE != 0);
    assert!(state.cr4 & cr4::PCIDE == 0 || lma);
    assert_ne!(state.rflags & flags::RESERVED_ONE, 0);
    assert!(!lma || state.rflags & flags::VM == 0);
    if pe && state.rflags & flags::VM == 0 {
        assert!(cpu.mode.cpl == 0 || state.segments[1].rpl() == cpu.mode.cpl, "{:?}", state.segments);
    }
    assert!(!cpu.mode.is_64() || x86::paging::is_canonical(state.segments[4].base));
}

/// Instructions executed and exceptions delivered.
fn run_case(seed: u64) -> [u64; 2] {
    let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let mut guest = guest(&mut random);
    let at = guest.cpu.state.segments[1].base + guest.cpu.rip;
    let code = code(&mut random);
    guest.put(at, &code);
    for vector in 0..64 {
        // Handlers return to where they came from, or behind, or run on into the next.
        let handler = [&[0x48, 0xcf][..], &[0xcf], &[0x90], &[0x58, 0x48, 0xcf]][random.below(4) as usize];
        guest.put(HANDLERS + 16 * vector, handler);
    }
    for _ in 0..8 {
        let exit = run(&mut guest.cpu, &mut guest.blocks, &mut 40);
        check(&guest.cpu);
        match exit {
            Exit::Budget => {}
            Exit::Halted => {
                // Something else happens: an interrupt, or an NMI.
                *guest.board.interrupt.lock().unwrap() = Some(random.next() as u8);
                guest.attention.raise(engine::Signals::INTERRUPT | engine::Signals::NMI);
            }
            _ => break,
        }
    }
    let statistics = guest.cpu.statistics;
    [statistics.instructions, statistics.exceptions]
}

#[test]
fn random_system_code_never_breaks_the_cpu() {
    let seeds =
        std::env::var("RINGFENCE_CHAOS_SEEDS").ok().and_then(|text| text.parse().ok()).unwrap_or(3000);
    let mut totals = [0; 2];
    for seed in 0..seeds {
        match std::panic::catch_unwind(|| run_case(seed)) {
            Ok(counts) => (0..2).for_each(|n| totals[n] += counts[n]),
            Err(panic) => {
                eprintln!("seed {seed}");
                std::panic::resume_unwind(panic);
            }
        }
    }
    // The cases go somewhere: most are more than one fault long.
    assert!(totals[0] > 10 * seeds && totals[1] > 5 * seeds, "{totals:?} of {seeds}");
}
