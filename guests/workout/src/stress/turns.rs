//! Threads that hand something on by a lock and a condition: futexes, and the scheduler between CPUs.

use std::io;
use std::sync::{Condvar, Mutex, PoisonError};
use std::thread;

use super::{Bell, Verdict};

const THREADS: u64 = 3;

/// What is handed on, and two counters that are always alike where the lock is free.
#[derive(Default)]
struct Table {
    turn: u64,
    one: u64,
    other: u64,
}

pub fn run(bell: &Bell) -> io::Result<Verdict> {
    let (table, changed) = (Mutex::new(Table::default()), Condvar::new());
    let take_turns = |me: u64| {
        let mut verdict = Verdict::default();
        while !bell.rang() || verdict.looks == 0 {
            let table = table.lock().unwrap_or_else(PoisonError::into_inner);
            let waits = |table: &mut Table| table.turn % THREADS != me && !bell.rang();
            let mut table = changed.wait_while(table, waits).unwrap_or_else(PoisonError::into_inner);
            table.one += 1;
            verdict.look(table.one == table.other + 1);
            table.other += 1;
            table.turn += 1;
            drop(table);
            changed.notify_all();
        }
        changed.notify_all();
        verdict
    };
    Ok(thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS).map(|me| scope.spawn(move || take_turns(me))).collect();
        let seen = threads.into_iter().map(|thread| thread.join().unwrap_or(Verdict { looks: 0, wrong: 1 }));
        seen.fold(Verdict::default(), Verdict::and)
    }))
}
