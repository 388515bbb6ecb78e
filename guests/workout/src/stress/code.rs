//! Code that one thread writes and another runs, as just-in-time compilers do: over what is there, and in pages that come and
//! go.

#![allow(unsafe_code)] // machine code

use std::io;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::sync::mpsc::sync_channel;
use std::thread;

use nix::sys::mman::ProtFlags;

use super::{Bell, Verdict};
use crate::mmap::{Mapping, PAGE};
use crate::selfmod::{constant, put, serialise};

/// Functions whose constant is written again and again.
const FUNCTIONS: usize = 4;

/// A function that is run while its constant changes gives no less than was announced before.
pub fn rewritten(bell: &Bell) -> io::Result<Verdict> {
    let page = Mapping::anonymous(1, ProtFlags::all())?;
    // Each constant in a word of its own, so that a store of it is one store; two functions in one line.
    let at = |function: usize| page.address() + 3 + 32 * function;
    for function in 0..FUNCTIONS {
        put(&page, at(function) - page.address(), &constant(0));
    }
    let announced = [const { AtomicU32::new(0) }; FUNCTIONS];
    let starts: Vec<usize> = (0..FUNCTIONS).map(at).collect();
    let look = || {
        let mut verdict = Verdict::default();
        while !bell.rang() || verdict.looks == 0 {
            for (announced, &start) in announced.iter().zip(&starts) {
                let before = announced.load(SeqCst);
                serialise();
                verdict.look(call(start) >= before);
            }
        }
        verdict
    };
    thread::scope(|scope| {
        let threads = [(); 2].map(|()| scope.spawn(look));
        let mut round = 0_u32;
        while !bell.rang() && round < u32::MAX {
            round += 1;
            for (announced, &start) in announced.iter().zip(&starts) {
                // SAFETY: the constant of a function of ours, aligned; it is only run.
                unsafe { (*((start + 1) as *const AtomicU32)).store(round, SeqCst) };
                announced.store(round, SeqCst);
            }
            (0..round % 500).for_each(|_| std::hint::spin_loop());
        }
        let seen = threads.into_iter().map(|thread| thread.join().unwrap_or(Verdict { looks: 0, wrong: 1 }));
        Ok(seen.fold(Verdict::default(), Verdict::and))
    })
}

/// One thread makes pages of functions, another runs and unmaps them; the memory soon comes back with other code.
pub fn fresh(bell: &Bell) -> io::Result<Verdict> {
    const FURTHER: usize = PAGE - 16;
    let (sender, receiver) = sync_channel::<(Mapping, u32)>(4);
    thread::scope(|scope| {
        let runner = scope.spawn(move || {
            let mut verdict = Verdict::default();
            while let Ok((page, value)) = receiver.recv() {
                for offset in [0, FURTHER] {
                    verdict.look(call(page.address() + offset) == value);
                }
            }
            verdict
        });
        let mut value = 0_u32;
        let mut make = || -> io::Result<bool> {
            value = value.wrapping_mul(0x0019_660d).wrapping_add(0x3c6e_f35f);
            let page = Mapping::anonymous(1, ProtFlags::PROT_READ | ProtFlags::PROT_WRITE)?;
            for offset in [0, FURTHER] {
                put(&page, offset, &constant(value));
            }
            page.protect(0, 1, ProtFlags::PROT_READ | ProtFlags::PROT_EXEC)?;
            Ok(sender.send((page, value)).is_ok())
        };
        let mut made = make();
        while !bell.rang() && matches!(made, Ok(true)) {
            made = make();
        }
        drop(sender);
        let verdict = runner.join().unwrap_or(Verdict { looks: 0, wrong: 1 });
        made.map(|_| verdict)
    })
}

fn call(address: usize) -> u32 {
    // SAFETY: what this module puts there is a function without arguments.
    let function: extern "C" fn() -> u32 = unsafe { std::mem::transmute(address) };
    function()
}
