//! The descriptor table and the task-state segments.
//!
//! The order serves SYSCALL/SYSRET (user code32, data, code64 in a row) and
//! SYSENTER/SYSEXIT (the same behind kernel code64 and data).

use core::arch::asm;
use core::mem::size_of;

use super::super::sync::Racy;

pub const CODE32: u16 = 0x08;
pub const CODE64: u16 = 0x10;
pub const DATA: u16 = 0x18;
pub const USER_CODE32: u16 = 0x20 | 3;
pub const USER_DATA: u16 = 0x28 | 3;
pub const USER_CODE64: u16 = 0x30 | 3;
// 40h and 48h are 16-bit code and data, for assembly.
/// The first of eight slots for a test's own descriptors.
pub const SCRATCH: u16 = 0x50;
/// The task-state segment of CPU 0; 16 bytes a CPU.
pub const TSS: u16 = 0x90;

/// The most CPUs that are brought up.
pub const CPUS: usize = 16;
const ENTRIES: usize = TSS as usize / 8 + CPUS * 2;

/// What the descriptors are, bit by bit: see the Intel manual, volume 3, section 3.4.5.
const INITIAL: [u64; TSS as usize / 8] = [
    0,
    0x00cf_9b00_0000_ffff, // 08 code, 32 bit
    0x00af_9b00_0000_ffff, // 10 code, 64 bit
    0x00cf_9300_0000_ffff, // 18 data
    0x00cf_fb00_0000_ffff, // 20 user code, 32 bit
    0x00cf_f300_0000_ffff, // 28 user data
    0x00af_fb00_0000_ffff, // 30 user code, 64 bit
    0x00cf_f300_0000_ffff, // 38 user data again, for SYSEXIT to 64 bit
    0x0000_9b00_0000_ffff, // 40 code, 16 bit, 64 KiB at 0
    0x0000_9300_0000_ffff, // 48 data, 16 bit, 64 KiB at 0
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    0, // 50 to 88 scratch
];

/// The 64-bit task-state segment.
#[repr(C, packed(4))]
#[derive(Clone, Copy)]
pub struct Tss {
    reserved0: u32,
    /// Stack pointers for rings 0 to 2.
    pub rsp: [u64; 3],
    reserved1: u64,
    /// Interrupt stacks 1 to 7.
    pub ist: [u64; 7],
    reserved2: u64,
    reserved3: u16,
    /// Offset of the I/O permission map; beyond the limit there is none.
    pub io_map: u16,
    /// The map of the first ports, and the byte of ones that must follow it.
    pub io_bits: [u8; 132],
}

const EMPTY_TSS: Tss = Tss {
    reserved0: 0,
    rsp: [0; 3],
    reserved1: 0,
    ist: [0; 7],
    reserved2: 0,
    reserved3: 0,
    io_map: size_of::<Tss>() as u16,
    io_bits: [0xff; 132],
};

/// Interrupt stacks of each CPU.
pub const STACKS: usize = 6;
/// Bytes of each interrupt stack.
pub const STACK_SIZE: usize = 8192;

#[repr(C, align(16))]
struct Stacks([[[u8; STACK_SIZE]; STACKS]; CPUS]);

#[repr(C, align(16))]
struct Table([u64; ENTRIES]);

static GDT: Racy<Table> = Racy::new(Table([0; ENTRIES]));
static TSSES: Racy<[Tss; CPUS]> = Racy::new([EMPTY_TSS; CPUS]);
static INTERRUPT_STACKS: Racy<Stacks> = Racy::new(Stacks([[[0; STACK_SIZE]; STACKS]; CPUS]));

/// A descriptor-table register: limit and base.
#[repr(C, packed)]
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Pointer {
    /// Bytes less one.
    pub limit: u16,
    /// Linear address.
    pub base: u64,
}

/// Entry `selector` of the table.
pub fn entry(selector: u16) -> *mut u64 {
    GDT.get().cast::<u64>().wrapping_add(usize::from(selector >> 3))
}

/// Replaces the descriptor at `selector`.
pub fn set(selector: u16, descriptor: u64) {
    // SAFETY: in bounds by the selectors above; the CPU reads the table only on demand.
    unsafe { entry(selector).write_volatile(descriptor) }
}

/// The descriptor at `selector`.
pub fn get(selector: u16) -> u64 {
    // SAFETY: as for `set`.
    unsafe { entry(selector).read_volatile() }
}

/// CPU `cpu`'s task-state segment.
pub fn tss(cpu: usize) -> *mut Tss {
    TSSES.get().cast::<Tss>().wrapping_add(cpu)
}

/// Which CPU's interrupt stack `address` lies on.
pub fn cpu_of_stack(address: u64) -> usize {
    let offset = address.wrapping_sub(INTERRUPT_STACKS.get() as u64);
    match offset as usize / (STACK_SIZE * STACKS) {
        cpu @ 0..CPUS => cpu,
        // Another stack: that of a test on CPU 0.
        _ => 0,
    }
}

/// The pointer to load with LGDT.
pub fn pointer() -> Pointer {
    Pointer { limit: (ENTRIES * 8 - 1) as u16, base: GDT.get() as u64 }
}

/// Fills the table and loads it on CPU 0.
pub fn load() {
    for (index, &descriptor) in INITIAL.iter().enumerate() {
        set(index as u16 * 8, descriptor);
    }
    load_registers(0);
}

/// Loads the filled table, all segment registers and the task register of CPU `cpu`.
pub fn load_registers(cpu: usize) {
    let task = tss(cpu);
    // SAFETY: this CPU's own segment and stacks.
    unsafe {
        task.write(EMPTY_TSS);
        let stacks = INTERRUPT_STACKS.get() as u64 + (cpu * STACKS * STACK_SIZE) as u64;
        for ist in 0..STACKS {
            (*task).ist[ist] = stacks + ((ist + 1) * STACK_SIZE) as u64;
        }
        // Ring 0's stack for interrupts without an IST: shared with the first one.
        (*task).rsp[0] = (*task).ist[5];
    }
    set_task_descriptor(TSS + cpu as u16 * 16, task as u64, size_of::<Tss>() as u64 - 1);
    let pointer = pointer();
    // SAFETY: the new table holds the same flat segments as the boot table.
    unsafe {
        asm!(
            "lgdt [{pointer}]",
            "push {code}",
            "lea {scratch}, [rip + 2f]",
            "push {scratch}",
            "retfq",
            "2:",
            "mov ds, {data:e}",
            "mov es, {data:e}",
            "mov ss, {data:e}",
            "mov fs, {null:e}",
            "mov gs, {null:e}",
            "lldt {null:x}",
            "ltr {task:x}",
            pointer = in(reg) &raw const pointer,
            code = in(reg) u64::from(CODE64),
            data = in(reg) u32::from(DATA),
            null = in(reg) 0,
            task = in(reg) u32::from(TSS) + cpu as u32 * 16,
            scratch = out(reg) _,
        );
    }
}

/// Writes a 16-byte descriptor of an available 64-bit TSS.
pub fn set_task_descriptor(selector: u16, base: u64, limit: u64) {
    set(selector, system(0x89, base, limit));
    set(selector + 8, base >> 32);
}

/// The low half of a system or code descriptor with access byte `access`, byte granular.
pub const fn system(access: u64, base: u64, limit: u64) -> u64 {
    limit & 0xffff
        | (base & 0xff_ffff) << 16
        | access << 40
        | (limit >> 16 & 0xf) << 48
        | (base >> 24 & 0xff) << 56
}
