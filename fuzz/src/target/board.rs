//! The whole board: a saved state of any content, then whatever a vCPU can ask of it.

use std::sync::Arc;

use base::{GuestPhys, VirtualClock};
use engine::{Attention, Board, Width};
use machine::board::{BoardState, CpuPort, Equipment, Mainboard};

use super::Target;
use crate::source::Source;

/// The target.
pub const TARGET: Target =
    Target { name: "board", about: "saved boards, and then ports, MMIO and MSRs", longest: 4096, run, seeds };

/// Bytes of an input that say what the vCPU does.
const SCRIPT: usize = 512;

fn run(input: &[u8]) {
    let mut source = Source::new(input);
    let script = Source::new(source.take(SCRIPT));
    let board = Arc::new(board());
    // A machine that refuses its state is not run.
    if let Ok(state) = postcard::from_bytes::<BoardState>(source.rest()) {
        if board.restore(&state).is_err() {
            return;
        }
        let saved = board.save();
        board.restore(&saved).expect("a board accepts what it saved");
        assert_eq!(board.save(), saved, "restoring changes nothing");
    }
    exercise(&board, script);
    board.restore(&board.save()).expect("a board accepts what it saved");
}

fn board() -> Mainboard {
    let clock = Arc::new(VirtualClock::default());
    clock.pause();
    clock.set(0);
    Mainboard::new(Equipment {
        attention: vec![Arc::new(Attention::default()), Arc::new(Attention::default())],
        clock,
        unix_nanoseconds: 1_700_000_000_000_000_000,
        memory: 64 << 20,
        consoles: [None, None, None, None],
    })
}

fn exercise(board: &Arc<Mainboard>, mut script: Source<'_>) {
    let cpus = [0, 1].map(|cpu| CpuPort::new(Arc::clone(board), cpu));
    while !script.is_empty() {
        let cpu = &cpus[script.below(2)];
        let width = script.pick(&[Width::Byte, Width::Word, Width::Dword, Width::Qword]);
        let port_width = if width == Width::Qword { Width::Byte } else { width };
        match script.below(9) {
            0 => drop(cpu.port_in(port(&mut script), port_width)),
            1 | 2 => cpu.port_out(port(&mut script), port_width, script.dword()),
            3 => drop(cpu.mmio_read(address(&mut script), width)),
            4 => cpu.mmio_write(address(&mut script), width, script.qword()),
            5 => drop(cpu.msr_read(msr(&mut script))),
            6 => drop(cpu.msr_write(msr(&mut script), script.qword() >> script.pick(&[0, 32, 48, 56]))),
            7 => drop((cpu.interrupt_waits(), cpu.take_interrupt(), cpu.task_priority())),
            _ => {
                let step = u64::from(script.word()) << script.pick(&[0, 8, 16, 24, 40]);
                board.clock().set(board.clock().now().saturating_add(step));
            }
        }
        let _ = board.control().take();
    }
}

/// A port that something is at, or any.
fn port(script: &mut Source<'_>) -> u16 {
    let first = script.pick(&[
        0x20, 0xa0, 0x4d0, 0x40, 0x61, 0x60, 0x70, 0x92, 0x3f8, 0x2f8, 0x600, 0x608, 0xcf8, 0xcfc, 0x80, 0xe9,
    ]);
    if script.once_in(16) { script.word() } else { first + u16::from(script.byte() & 7) }
}

fn address(script: &mut Source<'_>) -> GuestPhys {
    match script.below(4) {
        0 => GuestPhys(script.qword()),
        1 => GuestPhys(0xfec0_0000 + u64::from(script.byte())),
        _ => GuestPhys(0xfee0_0000 + u64::from(script.word() & 0xfff)),
    }
}

fn msr(script: &mut Source<'_>) -> u32 {
    match script.below(4) {
        0 => 0x1b,
        1 => 0x6e0,
        2 => script.dword(),
        _ => 0x800 + u32::from(script.byte()),
    }
}

fn seeds() -> Vec<Vec<u8>> {
    let script: Vec<u8> = (0..SCRIPT as u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 20) as u8).collect();
    let state = postcard::to_stdvec(&board().save()).expect("a state can be encoded");
    vec![[&script[..], &state].concat()]
}
