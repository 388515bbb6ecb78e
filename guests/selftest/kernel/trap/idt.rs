//! The interrupt descriptor table.

use core::arch::asm;

use super::vector;
use crate::hw::gdt::{CODE64, Pointer};
use crate::hw::lapic::SPURIOUS;
use crate::sync::Racy;

/// A 16-byte gate.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Gate(pub u64, pub u64);

impl Gate {
    /// An interrupt gate (type 14) to `target` in segment `selector`, with interrupt stack
    /// `ist` (0 for none) and privilege level `dpl`.
    pub const fn new(target: u64, selector: u16, ist: u64, dpl: u64) -> Self {
        let low = target & 0xffff
            | (selector as u64) << 16
            | ist << 32
            | (0x8e | dpl << 5) << 40
            | (target >> 16 & 0xffff) << 48;
        Self(low, target >> 32)
    }
}

#[repr(C, align(16))]
struct Table([Gate; 256]);

static IDT: Racy<Table> = Racy::new(Table([Gate(0, 0); 256]));

unsafe extern "C" {
    static trap_stubs: [[u8; 16]; 256];
}

/// The gate our stub for `vector` is reached by.
///
/// Double faults, NMIs, debug exceptions and spurious interrupts have stacks of their own, since each may interrupt
/// the handler of another.
pub fn gate(number: u8) -> Gate {
    let ist = match number {
        vector::DF => 2,
        vector::NMI => 3,
        vector::DB => 4,
        0..32 => 1,
        SPURIOUS => 6,
        _ => 5,
    };
    let dpl = if matches!(number, vector::BP | vector::OF) || number >= 0x80 { 3 } else { 0 };
    let stub = &raw const trap_stubs as u64 + u64::from(number) * 16;
    Gate::new(stub, CODE64, ist, dpl)
}

/// Replaces the gate of `vector`.
pub fn set_gate(vector: u8, gate: Gate) {
    // SAFETY: in bounds; the CPU reads a gate only when it takes the vector.
    unsafe { IDT.get().cast::<Gate>().add(vector.into()).write_volatile(gate) }
}

/// Points every gate to its stub.
pub fn fill() {
    for number in 0..=255 {
        set_gate(number, gate(number));
    }
}

/// The pointer to load with LIDT.
pub fn pointer() -> Pointer {
    Pointer { limit: 4095, base: IDT.get() as u64 }
}

/// Loads the table.
pub fn load() {
    let pointer = pointer();
    // SAFETY: the table is filled, and static.
    unsafe { asm!("lidt [{}]", in(reg) &raw const pointer) }
}
