//! The embedded guest kernel that checks the machine it runs on.
//!
//! [`KERNEL`] is a small guest kernel of our own, compiled by this crate's build script from
//! `kernel/`. It boots by the same loaders as real kernels (an ELF64 with Xen's PVH note and a
//! multiboot 1 header), prints on COM1 what it sees, then puts the CPU and the board through
//! tests, one line each, and switches the machine off:
//!
//! ```text
//! PASS integer.add
//! SKIP paging.pcid: CPUID offers no pcid
//! FAIL paging.accessed: entry after a read: 0x7, expected 0x27
//! selftest: 1 passed, 1 failed, 1 skipped
//! ```
//!
//! [`Report`] reads those lines back. A test is skipped only where CPUID or ACPI says that the
//! machine lacks what it needs; the exit code is [`SUCCESS`] if nothing failed.
//!
//! # The command line
//!
//! | word | effect |
//! |---|---|
//! | `test=PREFIX` | only tests whose name starts so; may be repeated |
//! | `list` | print the names of the tests and leave |
//! | `trace` | print `RUN name` before each test |
//! | `exit=N` | leave at once through the debug-exit port with code N |
//! | `hostile` | attack the board and its devices, instead of the other tests: see `kernel/tests/hostile` |
//! | `echo` | send serial input back, by interrupts, until a `.` |
//! | `crash=triple` | triple fault |
//! | `crash=hang` | halt with interrupts off |
//! | `crash=spin` | spin with interrupts off |
//!
//! It leaves by writing [`SUCCESS`], [`FAILURE`] or N to the debug-exit port [`DEBUG_EXIT`];
//! where that does nothing, by ACPI power-off; where that does nothing, it halts.
//!
//! # Against QEMU
//!
//! The tests state what the manuals say; QEMU runs them so (its exit code is twice ours plus one:
//! 33 is success):
//!
//! ```text
//! qemu-system-x86_64 -accel tcg -cpu max -smp 4 -kernel kernel.elf -append "trace" \
//!     -serial stdio -display none -no-reboot -device isa-debug-exit,iobase=0xf4,iosize=0x04
//! ```
//!
//! QEMU takes the multiboot header; with the four bytes of its magic zeroed it takes the PVH note.
//! Its interpreter is known to be wrong in some points: segment limits, numeric exceptions, reserved
//! bits and more. The kernel recognizes it (CPUID leaf 40000000h) and skips what would fail there,
//! saying why; `wrong_in_tcg!` in the sources marks each place. What of these ring 3 can see was
//! compared with an AMD EPYC, and they hold in Bochs 2.7, which in turn gets a few others wrong (ADOX,
//! narrow IRET, TF over SYSCALL, going back from x2APIC).

mod report;

pub use report::{Failed, Report, Skipped};

/// The kernel: an ELF64 for x86-64.
pub static KERNEL: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/kernel.elf"));

/// The port of QEMU's `isa-debug-exit` device.
pub const DEBUG_EXIT: u16 = 0xf4;

/// What the kernel writes to [`DEBUG_EXIT`] when tests passed and none failed.
pub const SUCCESS: u8 = 0x10;

/// What the kernel writes to [`DEBUG_EXIT`] when a test failed, or none ran.
pub const FAILURE: u8 = 0x11;

#[cfg(test)]
mod tests {
    use super::KERNEL;

    fn word(at: usize) -> u32 {
        u32::from_le_bytes(KERNEL[at..at + 4].try_into().expect("four bytes"))
    }

    #[test]
    fn kernel_is_an_executable_elf64_for_x86_64() {
        assert_eq!(&KERNEL[..6], b"\x7fELF\x02\x01");
        assert_eq!(u16::from_le_bytes([KERNEL[16], KERNEL[17]]), 2, "ET_EXEC");
        assert_eq!(u16::from_le_bytes([KERNEL[18], KERNEL[19]]), 62, "EM_X86_64");
    }

    #[test]
    fn multiboot_header_is_in_reach_and_agrees_with_the_elf_entry() {
        let at = (0..8192).step_by(4).find(|&at| word(at) == 0x1bad_b002).expect("header in the first 8 KiB");
        let sum = word(at).wrapping_add(word(at + 4)).wrapping_add(word(at + 8));
        assert_eq!(sum, 0);
        let (header, load, entry) = (word(at + 12), word(at + 16), word(at + 28));
        assert_eq!(at as u32, 4096 + header - load, "flat file layout");
        assert_eq!(word(24), entry);
    }

    #[test]
    fn pvh_note_names_the_entry() {
        let note = [4u32, 8, 18].iter().flat_map(|word| word.to_le_bytes()).chain(*b"Xen\0");
        let note: Vec<u8> = note.collect();
        let at = KERNEL.windows(16).position(|window| window == note).expect("note");
        assert_eq!(word(at + 16), word(24));
    }
}
