//! The memory model: total store order.

use core::arch::asm;
use core::sync::atomic::{AtomicU64, Ordering};

use crate::harness::Outcome;
use crate::hw::cpu::rdtsc;
use crate::hw::{pages, time};
use crate::smp;
use crate::tests::memory::{load, store};

family!("smp": message_passing, store_buffering_with_fence, no_torn_words, time_stamps);

/// Where the words under test are: X, and Y on another line.
static AT: AtomicU64 = AtomicU64::new(0);
static BAD: AtomicU64 = AtomicU64::new(0);
static ROUND: [AtomicU64; 2] = [const { AtomicU64::new(0) }; 2];

/// Few enough that a host with fewer CPUs than we are given gets through in a second or so.
const ROUNDS: u64 = 200;

fn at() -> u64 {
    AT.load(Ordering::Relaxed)
}

fn reset() {
    AT.store(pages::frame(), Ordering::Relaxed);
    BAD.store(0, Ordering::Relaxed);
    ROUND[0].store(0, Ordering::Relaxed);
    ROUND[1].store(0, Ordering::Relaxed);
}

/// Both CPUs meet before round `round`; false if the other one does not come.
fn meet(side: usize, round: u64) -> bool {
    ROUND[side].store(round, Ordering::SeqCst);
    time::patiently(|| ROUND[1 - side].load(Ordering::SeqCst) >= round)
}

/// Data, then a flag, by plain stores: who sees the flag sees the data.
fn message_passing() -> Outcome {
    smp::online()?;
    reset();
    smp::begin(1, |_| {
        for round in 1..=ROUNDS * 100 {
            store(at(), round);
            store(at() + 512, round);
        }
    });
    let start = rdtsc();
    loop {
        let flag = load::<u64>(at() + 512);
        let data = load::<u64>(at());
        check!(data >= flag, "data {data} under flag {flag}");
        if flag == ROUNDS * 100 || rdtsc() - start > 60_000 * time::ticks_per_ms() {
            break;
        }
    }
    smp::end(1)?;
    check_eq!(load::<u64>(at() + 512), ROUNDS * 100, "flag at the end");
    Ok(())
}

/// Each stores its own word, fences, and loads the other's: both cannot see nothing.
fn store_buffering_with_fence() -> Outcome {
    static SEEN: AtomicU64 = AtomicU64::new(0);
    smp::online()?;
    reset();
    fn exchange(own: u64, other: u64) -> u64 {
        let seen: u64;
        // SAFETY: words of the test.
        unsafe {
            asm!("mov qword ptr [{}], 1", "mfence", "mov {}, [{}]", in(reg) own, out(reg) seen, in(reg) other)
        };
        seen
    }
    smp::begin(1, |_| {
        for round in 1..=ROUNDS {
            if !meet(1, 2 * round - 1) {
                return;
            }
            SEEN.store(exchange(at() + 512, at()), Ordering::SeqCst);
            if !meet(1, 2 * round) {
                return;
            }
        }
    });
    for round in 1..=ROUNDS {
        store(at(), 0u64);
        store(at() + 512, 0u64);
        check!(meet(0, 2 * round - 1), "CPU 1 does not come to round {round}");
        let seen = exchange(at(), at() + 512);
        check!(meet(0, 2 * round), "CPU 1 does not end round {round}");
        check!(seen | SEEN.load(Ordering::SeqCst) != 0, "neither sees the other's store in round {round}");
    }
    smp::end(1)
}

/// An aligned word is written and read in one piece.
fn no_torn_words() -> Outcome {
    smp::online()?;
    reset();
    smp::begin(1, |_| {
        for round in 0..ROUNDS * 50 {
            store(at(), if round % 2 == 0 { u64::MAX } else { 0 });
        }
        BAD.store(1, Ordering::Release);
    });
    let start = rdtsc();
    while BAD.load(Ordering::Acquire) == 0 && rdtsc() - start < 60_000 * time::ticks_per_ms() {
        let value = load::<u64>(at());
        check!(value == 0 || value == u64::MAX, "half a word: {value:#x}");
    }
    smp::end(1)
}

/// A time stamp taken after another CPU's is not before it.
fn time_stamps() -> Outcome {
    smp::online()?;
    reset();
    smp::begin(1, |_| {
        for round in 1..=ROUNDS {
            if !time::patiently(|| ROUND[0].load(Ordering::Acquire) == round) {
                return;
            }
            if rdtsc() < load::<u64>(at()) {
                BAD.fetch_add(1, Ordering::Relaxed);
            }
            store(at() + 512, rdtsc());
            ROUND[1].store(round, Ordering::Release);
        }
    });
    for round in 1..=ROUNDS {
        store(at(), rdtsc());
        ROUND[0].store(round, Ordering::Release);
        check!(
            time::patiently(|| ROUND[1].load(Ordering::Acquire) == round),
            "CPU 1 is not there in round {round}"
        );
        let (theirs, ours) = (load::<u64>(at() + 512), rdtsc());
        check!(ours >= theirs, "{} ticks back in round {round}", theirs - ours);
    }
    smp::end(1)?;
    check_eq!(BAD.load(Ordering::Relaxed), 0, "rounds in which CPU 1 was behind");
    Ok(())
}
