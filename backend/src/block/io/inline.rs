//! The engine that does everything on the spot: for tools, which have nothing else to do meanwhile.

#![allow(unsafe_code)] // `Engine::start` is unsafe to call; see there

use super::{Engine, Op, Started};

/// Does operations on the caller's thread.
#[derive(Debug, Default)]
pub struct Inline;

impl Engine for Inline {
    fn name(&self) -> &'static str {
        "inline"
    }

    unsafe fn start(&self, op: Op) -> Started {
        // SAFETY: the caller's promise, and it is over when this returns.
        Started::Done(unsafe { op.perform() })
    }

    fn submit(&self) -> bool {
        true
    }

    fn reap(&self) {}

    fn wait(&self) {}
}
