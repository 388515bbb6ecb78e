//! Locked instructions of all kinds under contention.

#![allow(unsafe_code)] // CMPXCHG16B

use std::arch::asm;
use std::arch::is_x86_feature_detected;
use std::cell::UnsafeCell;
use std::sync::atomic::{AtomicBool, AtomicI8, AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering::SeqCst};
use std::thread;

use super::THREADS;
use crate::Scale;
use crate::report::Report;

pub fn run(report: &mut Report, scale: &Scale) {
    let rounds = 10_000 * scale.rounds;
    let (byte, word, double, quad) =
        (AtomicU8::new(0), AtomicU16::new(0), AtomicU32::new(0), AtomicU64::new(0));
    let (flips, bits, least) = (AtomicU64::new(0), AtomicU32::new(0), AtomicI8::new(100));
    let wide = Wide(UnsafeCell::new([0; 2]));
    let has_wide = is_x86_feature_detected!("cmpxchg16b");
    thread::scope(|scope| {
        for me in 0..THREADS as u32 {
            let (byte, word, double, quad, wide) = (&byte, &word, &double, &quad, &wide);
            let (flips, bits, least) = (&flips, &bits, &least);
            scope.spawn(move || {
                for round in 0..rounds {
                    byte.fetch_add(3, SeqCst);
                    word.fetch_sub(5, SeqCst);
                    double.fetch_add(7, SeqCst);
                    // A compare-and-exchange loop.
                    let _ =
                        quad.fetch_update(SeqCst, SeqCst, |old| Some(old.wrapping_mul(3).wrapping_add(1)));
                    // What is flipped twice by each is as before.
                    flips.fetch_xor(u64::from(round / 2) << me, SeqCst);
                    bits.fetch_or(1 << ((round + me) % 32), SeqCst);
                    least.fetch_min(-(me as i8) - (round % 7) as i8, SeqCst);
                    if has_wide {
                        wide.add();
                    }
                }
            });
        }
    });
    let all = rounds * THREADS as u32;
    report.check("8 bits", byte.into_inner() == (all.wrapping_mul(3)) as u8);
    report.check("16 bits", word.into_inner() == (0_u32.wrapping_sub(all.wrapping_mul(5))) as u16);
    report.check("32 bits", double.into_inner() == all.wrapping_mul(7));
    let mut alone = 0_u64;
    (0..all).for_each(|_| alone = alone.wrapping_mul(3).wrapping_add(1));
    report.check("64 bits", quad.into_inner() == alone);
    report.expect("flipped back", flips.into_inner(), 0);
    report.expect("bits set", bits.into_inner(), u32::MAX);
    report.expect("least", least.into_inner(), -9);
    let right = [u64::from(all), u64::MAX - u64::from(all) + 1];
    report.check("128 bits, where there are such", !has_wide || wide.0.into_inner() == right);
    flags(report, scale);
}

/// A spin lock and a flag that is taken once a round.
fn flags(report: &mut Report, scale: &Scale) {
    let (lock, taken) = (AtomicBool::new(false), AtomicU32::new(0));
    let rounds = 2000 * scale.rounds;
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                for _ in 0..rounds {
                    while lock.swap(true, SeqCst) {
                        thread::yield_now();
                    }
                    taken.store(taken.load(SeqCst) + 1, SeqCst);
                    lock.store(false, SeqCst);
                }
            });
        }
    });
    report.check("under a spin lock", taken.into_inner() == rounds * THREADS as u32);
}

/// Two words that change together.
#[repr(align(16))]
struct Wide(UnsafeCell<[u64; 2]>);

// SAFETY: shared access is by CMPXCHG16B only.
unsafe impl Sync for Wide {}

impl Wide {
    /// Adds 1 to one half and subtracts 1 from the other.
    fn add(&self) {
        let (mut low, mut high) = (0_u64, 0_u64);
        loop {
            let done: u8;
            // SAFETY: the address is aligned to 16 bytes, and the instruction is there, or this is not
            // called. RBX is the compiler's, so it is swapped in and out.
            unsafe {
                asm!(
                    "xchg rbx, {new}",
                    "lock cmpxchg16b xmmword ptr [{at}]",
                    "xchg rbx, {new}",
                    "sete {done}",
                    at = in(reg) self.0.get(),
                    new = inout(reg) low.wrapping_add(1) => _,
                    done = out(reg_byte) done,
                    inout("rax") low,
                    inout("rdx") high,
                    in("rcx") high.wrapping_sub(1),
                );
            }
            if done != 0 {
                return;
            }
        }
    }
}
