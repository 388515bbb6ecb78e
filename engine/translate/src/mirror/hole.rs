//! Where a mirror keeps what is not the guest's: a few MiB in which the guest has nothing mapped.
//!
//! ```text
//!   start          + 8 MiB     + 4 KiB                                          + 12 MiB - 4 KiB
//!   ───┬──────────────┬───────────┬───────────────────────────────────────────────────┬──────┬───
//!      │ code         │ registers │ jumps: targets and host addresses, in two halves  │ list │
//!   ───┴──────────────┴───────────┴───────────────────────────────────────────────────┴──────┴───
//! ```
//!
//! It lies within 2 GiB of the program, so that what the program addresses relative to its code is within reach of the copied code,
//! too. Whether the guest has mapped something there meanwhile is looked up in its page tables before each entry.

use base::{GuestMemory, GuestPhys};
use x86::paging as pte;

/// Bytes of code.
pub(crate) const CODE: usize = 8 << 20;
/// From the start to what GS leads to.
pub(crate) const DATA_AT: usize = CODE;
/// Bytes of that.
pub(crate) const DATA: usize = (JUMPS_AT[1] + APART + JUMPS + 0x1000) & !0xfff;
/// Entries of each half of the jump cache: the first is indexed by the low 16 bits of the target, the second by those from
/// [`SECOND_BITS`] on. What was driven out of the first is in the second.
pub(crate) const SLOTS: usize = 1 << 16;
/// See [`SLOTS`].
pub(crate) const SECOND_BITS: u8 = 7;
const JUMPS: usize = 8 * SLOTS;
/// From a target, negated, to its host address. Not a power of two: caches would put both into the same place.
pub(crate) const APART: usize = JUMPS + 0x340;
/// From GS to the targets of each half.
pub(crate) const JUMPS_AT: [usize; 2] = [0x1000, 0x1000 + 2 * APART];
/// From the start to the list of system calls.
pub(crate) const LIST_AT: usize = BYTES - LIST;
/// Bytes of the list.
pub(crate) const LIST: usize = 0x1000;
/// Bytes of it all.
pub(crate) const BYTES: usize = 12 << 20;

const _: () = assert!(DATA_AT + DATA <= LIST_AT);

/// What one entry of a page directory maps.
const STEP: u64 = 2 << 20;
/// From the program, so that it can grow, and what is within reach of all of it is.
const NEAREST: u64 = 256 << 20;
const FARTHEST: u64 = 1792 << 20;
/// Where user space ends.
const END: u64 = (1 << 47) - STEP;
/// Where no process can have anything.
const FIRST: u64 = STEP;

/// A hole near the program that executes `rip`, or anywhere, in the address space with the root table `cr3`; `None` if no place was
/// found in some tries. `random` gives where to try: a program that errs should not meet it, and none should know where it is.
pub(crate) fn find(
    memory: &GuestMemory,
    cr3: u64,
    rip: Option<u64>,
    mut random: impl FnMut() -> u64,
) -> Option<u64> {
    const TRIES: usize = 64;
    (0..TRIES).find_map(|_| {
        let random = random();
        let steps = random / 2;
        let start = match rip.map(|rip| rip & !(STEP - 1)) {
            None => steps % (END / STEP) * STEP,
            Some(rip) => {
                let far = NEAREST + steps % ((FARTHEST - NEAREST) / STEP) * STEP;
                if random & 1 == 0 { rip.checked_sub(far)? } else { rip + far }
            }
        };
        let fits = start >= FIRST && start + (BYTES as u64) < END;
        (fits && is_free(memory, cr3, start)).then_some(start)
    })
}

/// Has the guest nothing mapped in a hole at `start`?
pub(crate) fn is_free(memory: &GuestMemory, cr3: u64, start: u64) -> bool {
    (start..start + BYTES as u64).step_by(STEP as usize).all(|at| is_absent(memory, cr3, at))
}

/// Is no page mapped in the 2 MiB around a linear address (SDM vol. 3, 4.5)?
fn is_absent(memory: &GuestMemory, cr3: u64, linear: u64) -> bool {
    let mut table = cr3;
    for shift in [39, 30, 21] {
        let entry = table & pte::ADDRESS | (linear >> shift & 511) << 3;
        let Some(at) = memory.ram(GuestPhys(entry)) else { return false };
        let entry: u64 = memory.load(at);
        if entry & pte::PRESENT == 0 {
            return true;
        }
        if entry & pte::LARGE != 0 {
            return false;
        }
        table = entry;
    }
    false
}
