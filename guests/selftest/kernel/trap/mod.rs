//! Exceptions and interrupts.
//!
//! Every vector has a stub that saves the whole integer state as a [`Frame`] on one of the
//! interrupt stacks and calls [`dispatch`]. Two things may happen there:
//!
//! - a handler that a test put in place with [`handle`] looks at the frame, changes it as it
//!   likes, and the frame is returned to;
//! - there is none: the innermost [`catch`] ends with the frame as its error. So a test
//!   provokes a fault with `catch(|| …)` and inspects the [`Trap`], and a fault nobody
//!   expected ends the test that the runner runs inside a `catch` of its own.
//!
//! All vectors use interrupt stacks (IST), because `core` is compiled with a red zone below
//! the stack pointer, and because tests break the current stack on purpose.

mod frame;
mod guard;
mod idt;
mod stubs;

pub use frame::{Frame, Trap};
pub use guard::catch;
pub use idt::{Gate, gate, load, pointer, set_gate};

use core::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};

use crate::hw::{cpu, lapic, pic};

/// Exception vectors by their manual's names.
pub mod vector {
    pub const DE: u8 = 0;
    pub const DB: u8 = 1;
    pub const NMI: u8 = 2;
    pub const BP: u8 = 3;
    pub const OF: u8 = 4;
    pub const BR: u8 = 5;
    pub const UD: u8 = 6;
    pub const NM: u8 = 7;
    pub const DF: u8 = 8;
    pub const TS: u8 = 10;
    pub const NP: u8 = 11;
    pub const SS: u8 = 12;
    pub const GP: u8 = 13;
    pub const PF: u8 = 14;
    pub const MF: u8 = 16;
    pub const AC: u8 = 17;
    pub const XM: u8 = 19;
    /// Not the CPU's: our own panic.
    pub const PANIC: u64 = 256;
}

/// What a test puts in place for a vector.
pub type Handler = fn(&mut Frame);

static HANDLERS: [AtomicUsize; 256] = [const { AtomicUsize::new(0) }; 256];
static DRAINING: AtomicBool = AtomicBool::new(false);
static COUNTS: [AtomicU32; 256] = [const { AtomicU32::new(0) }; 256];

/// Sends `vector` to `handler` until the test ends.
pub fn handle(vector: u8, handler: Handler) {
    COUNTS[usize::from(vector)].store(0, Ordering::Relaxed);
    HANDLERS[usize::from(vector)].store(handler as usize, Ordering::Relaxed);
}

/// How often `vector` was taken since its [`handle`].
pub fn count(vector: u8) -> u32 {
    COUNTS[usize::from(vector)].load(Ordering::Relaxed)
}

/// Takes whatever interrupts are still pending and drops them.
pub fn drain() {
    DRAINING.store(true, Ordering::Relaxed);
    cpu::sti();
    for _ in 0..32 {
        core::hint::spin_loop();
    }
    cpu::cli();
    DRAINING.store(false, Ordering::Relaxed);
}

/// Forgets all handlers and loads a fresh IDT.
pub fn reset() {
    for handler in &HANDLERS {
        handler.store(0, Ordering::Relaxed);
    }
    idt::fill();
    idt::load();
}

/// Called by the stubs.
#[unsafe(no_mangle)]
extern "C" fn trap_dispatch(frame: &mut Frame) {
    let vector = frame.vector as usize & 255;
    COUNTS[vector].fetch_add(1, Ordering::Relaxed);
    let handler = HANDLERS[vector].load(Ordering::Relaxed);
    if handler == 0 {
        if vector == usize::from(lapic::SPURIOUS) {
            // An interrupt that vanished before it was taken; it wants no end.
            return;
        }
        if DRAINING.load(Ordering::Relaxed) && vector >= 0x20 {
            lapic::acknowledge();
            pic::acknowledge_slave();
            return;
        }
        guard::escape(frame);
    }
    // SAFETY: only `handle` stores there.
    let handler: Handler = unsafe { core::mem::transmute(handler) };
    handler(frame);
}

#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    say!("selftest: bug in the kernel: {info}");
    let mut frame = Frame::empty();
    frame.vector = vector::PANIC;
    guard::escape(&frame)
}
