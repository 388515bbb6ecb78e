//! The programs that run inside our guests, carried in ours: static x86-64 Linux executables, built from this
//! workspace by this crate's build script.
//!
//! They are packages of their own and not dependencies of this one, because Cargo builds a dependency for the
//! same target, with the same flags and profile as its user, and these need others: the C library linked in
//! (a guest has none), aborting panics, optimised for size (but for the one whose speed is measured).

/// The guest agent, to be `/init` in an initial RAM file system. It speaks the protocol of `ringfence-agent`.
pub static AGENT: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/ringfence-agent"));

/// The benchmark program, which measures how fast a machine does what programs do.
pub static BENCH: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/ringfence-bench"));

/// The workout: exercises a kernel and prints a report that is the same on any correct machine.
pub static WORKOUT: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/ringfence-workout"));

#[cfg(test)]
mod tests {
    use super::*;

    /// Offsets and values of the ELF64 header and program headers (`elf.h`).
    fn interpreter(program: &[u8]) -> Option<&[u8]> {
        const PT_INTERP: u32 = 3;
        let word = |at: usize| u64::from_le_bytes(program[at..at + 8].try_into().unwrap()) as usize;
        let half = |at: usize| usize::from(u16::from_le_bytes([program[at], program[at + 1]]));
        let (table, size, count) = (word(32), half(54), half(56));
        let header = |index: usize| table + index * size;
        (0..count)
            .map(header)
            .find(|at| program[*at..*at + 4] == PT_INTERP.to_le_bytes())
            .map(|at| &program[word(at + 8)..word(at + 8) + word(at + 32)])
    }

    #[test]
    fn the_programs_need_nothing_of_the_guest() {
        for program in [AGENT, BENCH, WORKOUT] {
            assert_eq!(program[..4], *b"\x7fELF");
            assert_eq!(program[18..20], [62, 0], "EM_X86_64");
            assert_eq!(interpreter(program), None);
        }
    }

    #[test]
    fn the_check_above_sees_an_interpreter_where_there_is_one() {
        let this_test = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        assert!(interpreter(&this_test).is_some_and(|path| path.contains(&b'/')));
    }
}
