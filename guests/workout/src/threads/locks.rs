//! The library's locks, which stand on futexes.

use std::collections::VecDeque;
use std::sync::{Barrier, Condvar, Mutex, RwLock, mpsc};
use std::thread;

use super::THREADS;
use crate::Scale;
use crate::generate::Generator;
use crate::report::Report;

pub fn run(report: &mut Report, scale: &Scale) {
    let rounds = 5000 * u64::from(scale.rounds);
    let count = Mutex::new(0_u64);
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                (0..rounds).for_each(|_| *count.lock().unwrap_or_else(|lock| lock.into_inner()) += 1)
            });
        }
    });
    let count = count.into_inner().unwrap_or_default();
    report.check("counted under a lock", count == rounds * THREADS as u64);

    queue(report, rounds);
    pairs(report, rounds);

    let barrier = Barrier::new(THREADS);
    let phases = Mutex::new(vec![0; THREADS]);
    let in_step = thread::scope(|scope| {
        let run = |me: usize| {
            let mut in_step = true;
            for phase in 1..=100 {
                if let Ok(mut phases) = phases.lock() {
                    phases[me] = phase;
                }
                barrier.wait();
                in_step &= phases.lock().is_ok_and(|phases| phases.iter().all(|other| *other == phase));
                barrier.wait();
            }
            in_step
        };
        let threads: Vec<_> = (0..THREADS).map(|me| scope.spawn(move || run(me))).collect();
        threads.into_iter().all(|thread| thread.join().unwrap_or(false))
    });
    report.check("in step by a barrier", in_step);

    let mut chain = 0;
    for _ in 0..100 * scale.rounds {
        chain = thread::spawn(move || chain + 1).join().unwrap_or(u32::MAX);
    }
    report.check("one thread after the other", chain == 100 * scale.rounds);
}

/// Producers and consumers around a short queue: everything arrives once.
fn queue(report: &mut Report, items: u64) {
    let (queue, room, work) = (Mutex::new((VecDeque::new(), 2)), Condvar::new(), Condvar::new());
    let produce = |seed: u64| {
        let mut generator = Generator::new(seed);
        for _ in 0..items {
            let Ok(guard) = queue.lock() else { return };
            if let Ok(mut guard) = room.wait_while(guard, |(queue, _)| queue.len() >= 8) {
                guard.0.push_back(generator.next());
                work.notify_one();
            }
        }
        if let Ok(mut guard) = queue.lock() {
            guard.1 -= 1;
        }
        work.notify_all();
    };
    let consume = || {
        let mut sum = 0_u64;
        loop {
            let Ok(guard) = queue.lock() else { return sum };
            let Ok(mut guard) =
                work.wait_while(guard, |(queue, producers)| queue.is_empty() && *producers > 0)
            else {
                return sum;
            };
            let Some(item) = guard.0.pop_front() else { return sum };
            sum = sum.wrapping_add(item);
            room.notify_one();
        }
    };
    let sum = thread::scope(|scope| {
        scope.spawn(|| produce(1));
        scope.spawn(|| produce(2));
        let consumers = [scope.spawn(consume), scope.spawn(consume)];
        consumers.into_iter().fold(0_u64, |sum, consumer| sum.wrapping_add(consumer.join().unwrap_or(0)))
    });
    report.value("through a queue", format_args!("{sum:016x}"));
}

/// Writers keep two numbers alike; readers never see them differ. A channel collects what they saw.
fn pairs(report: &mut Report, rounds: u64) {
    let pair = RwLock::new((0_u64, 0_u64));
    let (sender, receiver) = mpsc::channel();
    thread::scope(|scope| {
        for _ in 0..2 {
            let (sender, pair) = (sender.clone(), &pair);
            scope.spawn(move || {
                let alike = (0..rounds).all(|_| pair.read().is_ok_and(|pair| pair.0 == pair.1));
                let _ = sender.send(alike);
            });
        }
        scope.spawn(|| {
            for _ in 0..rounds {
                if let Ok(mut pair) = pair.write() {
                    pair.0 += 1;
                    pair.1 += 1;
                }
            }
        });
    });
    drop(sender);
    let seen: Vec<bool> = receiver.iter().collect();
    report.expect("pairs seen alike", seen, vec![true, true]);
    report.check("pairs written", pair.into_inner().is_ok_and(|pair| pair == (rounds, rounds)));
}
