//! The bits of RFLAGS (SDM vol. 1, 3.4.3).

/// Carry.
pub const CF: u64 = 1 << 0;
/// Always set.
pub const RESERVED_ONE: u64 = 1 << 1;
/// Parity of the low byte of the result.
pub const PF: u64 = 1 << 2;
/// Carry out of bit 3.
pub const AF: u64 = 1 << 4;
/// Zero.
pub const ZF: u64 = 1 << 6;
/// Sign.
pub const SF: u64 = 1 << 7;
/// Trap: single step.
pub const TF: u64 = 1 << 8;
/// Interrupts enabled.
pub const IF: u64 = 1 << 9;
/// Direction of string instructions.
pub const DF: u64 = 1 << 10;
/// Overflow.
pub const OF: u64 = 1 << 11;
/// I/O privilege level, two bits.
pub const IOPL: u64 = 3 << 12;
/// Nested task.
pub const NT: u64 = 1 << 14;
/// Resume: instruction breakpoints are ignored for one instruction.
pub const RF: u64 = 1 << 16;
/// Virtual-8086 mode.
pub const VM: u64 = 1 << 17;
/// Alignment check, and the override of SMAP.
pub const AC: u64 = 1 << 18;
/// Virtual interrupt flag.
pub const VIF: u64 = 1 << 19;
/// Virtual interrupt pending.
pub const VIP: u64 = 1 << 20;
/// CPUID is there if this can be changed.
pub const ID: u64 = 1 << 21;

/// The six arithmetic flags.
pub const STATUS: u64 = CF | PF | AF | ZF | SF | OF;
/// Every bit that exists.
pub const ALL: u64 = STATUS | RESERVED_ONE | TF | IF | DF | IOPL | NT | RF | VM | AC | VIF | VIP | ID;
