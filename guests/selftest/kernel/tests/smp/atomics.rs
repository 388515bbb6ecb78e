//! Locked operations by all CPUs at once.

use core::arch::asm;
use core::sync::atomic::{AtomicU64, Ordering};

use crate::harness::Outcome;
use crate::hw::pages;
use crate::smp;
use crate::sync::Racy;
use crate::tests::memory::{load, store};

family!("smp": lock_inc, lock_xadd_gives_tickets, lock_cmpxchg, lock_bts, xchg_spinlock, cmpxchg16b_pairs, lock_across_lines, lock_across_pages);

const ROUNDS: u64 = 5000;

static COUNTER: AtomicU64 = AtomicU64::new(0);
static BAD: AtomicU64 = AtomicU64::new(0);
/// Where the words under test are.
static WORDS: AtomicU64 = AtomicU64::new(0);

fn reset() -> u64 {
    COUNTER.store(0, Ordering::Relaxed);
    BAD.store(0, Ordering::Relaxed);
    let words = pages::frame();
    WORDS.store(words, Ordering::Relaxed);
    words
}

fn words() -> u64 {
    WORDS.load(Ordering::Relaxed)
}

fn lock_inc() -> Outcome {
    let at = reset();
    let count = smp::all(|_| {
        for _ in 0..ROUNDS {
            // SAFETY: a word of the test.
            unsafe { asm!("lock inc qword ptr [{}]", in(reg) words()) };
        }
    })?;
    check_eq!(load::<u64>(at), ROUNDS * count as u64, "counter");
    Ok(())
}

/// Each ticket is drawn once: their sum is known.
fn lock_xadd_gives_tickets() -> Outcome {
    reset();
    let count = smp::all(|_| {
        let mut sum = 0;
        for _ in 0..ROUNDS {
            let mut ticket = 1u64;
            // SAFETY: as above.
            unsafe { asm!("lock xadd [{}], {}", in(reg) words(), inout(reg) ticket) };
            sum += ticket;
        }
        COUNTER.fetch_add(sum, Ordering::Relaxed);
    })?;
    let tickets = ROUNDS * count as u64;
    check_eq!(COUNTER.load(Ordering::Relaxed), tickets * (tickets - 1) / 2, "sum of tickets");
    Ok(())
}

fn lock_cmpxchg() -> Outcome {
    let at = reset();
    let count = smp::all(|_| {
        for _ in 0..ROUNDS {
            // SAFETY: as above.
            unsafe {
                asm!("2: mov rax, [{0}]", "lea {1}, [rax + 3]", "lock cmpxchg [{0}], {1}", "jne 2b",
                     in(reg) words(), out(reg) _, out("rax") _);
            }
        }
    })?;
    check_eq!(load::<u64>(at), ROUNDS * 3 * count as u64, "counter");
    Ok(())
}

/// Each of 4096 bits is found clear by exactly one CPU.
fn lock_bts() -> Outcome {
    reset();
    smp::all(|_| {
        let mut won = 0u64;
        for bit in 0..4096u64 {
            let old: u8;
            // SAFETY: as above; 4096 bits are 512 bytes.
            unsafe { asm!("lock bts [{}], {}", "setc {}", in(reg) words(), in(reg) bit, out(reg_byte) old) };
            won += u64::from(old == 0);
        }
        COUNTER.fetch_add(won, Ordering::Relaxed);
    })?;
    check_eq!(COUNTER.load(Ordering::Relaxed), 4096, "bits won");
    Ok(())
}

/// XCHG needs no LOCK; what it guards is an ordinary counter.
fn xchg_spinlock() -> Outcome {
    static GUARDED: Racy<u64> = Racy::new(0);
    reset();
    // SAFETY: nobody else yet.
    unsafe { GUARDED.get().write(0) };
    let count = smp::all(|_| {
        for _ in 0..500 {
            // SAFETY: the lock word of the test; the counter under the lock.
            unsafe {
                asm!("2: mov eax, 1", "xchg [{0}], eax", "test eax, eax", "jz 3f", "pause", "jmp 2b", "3:", in(reg) words(), out("eax") _);
                let counter = GUARDED.get();
                counter.write_volatile(counter.read_volatile() + 1);
                asm!("mov dword ptr [{}], 0", in(reg) words());
            }
        }
    })?;
    // SAFETY: all are done.
    check_eq!(unsafe { GUARDED.get().read() }, 500 * count as u64, "guarded counter");
    Ok(())
}

/// Two words that are only ever changed together stay equal.
fn cmpxchg16b_pairs() -> Outcome {
    need!(CX16);
    let at = reset();
    let count = smp::all(|_| {
        for _ in 0..500 {
            let (low, high): (u64, u64);
            // SAFETY: 16 aligned bytes of the test; RBX is put back.
            unsafe {
                asm!(
                    "mov {save}, rbx",
                    "xor eax, eax", "xor edx, edx", "xor ebx, ebx", "xor ecx, ecx",
                    "lock cmpxchg16b [{at}]",
                    "2: lea rbx, [rax + 1]", "lea rcx, [rdx + 1]", "lock cmpxchg16b [{at}]", "jne 2b",
                    "mov rbx, {save}",
                    save = out(reg) _, at = in(reg) words(), out("rax") low, out("rdx") high, out("rcx") _,
                );
            }
            if low != high {
                BAD.fetch_add(1, Ordering::Relaxed);
            }
        }
    })?;
    check_eq!(BAD.load(Ordering::Relaxed), 0, "torn pairs");
    check_eq!(load::<u64>(at), 500 * count as u64, "low word");
    check_eq!(load::<u64>(at + 8), 500 * count as u64, "high word");
    Ok(())
}

/// Fails unless additions by all CPUs to a word at `at` all count.
fn lock_add(at: u64) -> Outcome {
    WORDS.store(at, Ordering::Relaxed);
    store(at, 0xffff_0000u64);
    let count = smp::all(|_| {
        for _ in 0..2000 {
            // SAFETY: as above.
            unsafe { asm!("lock add qword ptr [{}], 0x10001", in(reg) words()) };
        }
    })?;
    check_eq!(load::<u64>(at), 0xffff_0000u64 + 0x10001 * 2000 * count as u64, "counter");
    Ok(())
}

/// Atomic even across two cache lines.
fn lock_across_lines() -> Outcome {
    lock_add(reset() + 60)
}

/// And across two pages, whose frames are not neighbours.
fn lock_across_pages() -> Outcome {
    let last = reset();
    pages::map_new(pages::HIGH, pages::W);
    pages::map(pages::HIGH + 4096, last, pages::W);
    lock_add(pages::HIGH + 4092)
}
