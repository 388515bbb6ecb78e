//! Two engines run one VM side by side, and their states are compared as they go.
//!
//! [`Lockstep`] is an engine itself, so a machine that does not know of it can boot under it:
//!
//! ```text
//!            run(): slices of N instructions
//!   machine ───────────► leader ── Recorder ──► the machine's board      its own memory: the machine's
//!                          │           │
//!                       state ==?     log of every answer
//!                          │           ▼
//!                        follower ◄─ Replayer                            its own memory: a copy
//! ```
//!
//! The follower gets the board's answers from the log, so time and devices are the same for both. Interrupts
//! are let through between two slices only, at a point where the CPU takes them at once, so that both take
//! them at the same instruction. The price is that they come a slice late.
//!
//! What may differ: the arithmetic flags (some are undefined, and PUSHF carries them into registers), RF, the x87
//! pointers, and whether the shadow of STI outlasts a slice. Memory is not compared: what differs there shows
//! in a register sooner or later.
//!
//! One vCPU, and nothing but the vCPU may write guest memory while it runs: a device with DMA would
//! write to the leader's alone.

mod log;
mod state;

use std::sync::Arc;

use base::{GuestMemory, GuestPhys};
use engine::{Attention, Board, Budget, CpuModel, Engine, EngineError, Exit, Signals, Statistics, Vcpu};
use x86::{CpuState, Shadow, flags};

use crate::difference::Difference;

use log::{Recorder, Replayer};

/// Bytes of memory copied at once.
const CHUNK: usize = 1 << 20;
/// How many single steps the follower may be behind: the reference CPU counts each iteration of a string instruction, others
/// count the instruction. Megabytes are copied by one.
const MOST_CATCHING_UP: u64 = 1 << 24;
/// How far the follower is kept behind at first. The leader counts more in one case: where it stores a few elements one by one
/// because their page holds code, and in the follower's view of it does not.
const MARGIN: u64 = 16;

/// Two engines as one.
pub struct Lockstep {
    leader: Box<dyn Engine>,
    follower: Box<dyn Engine>,
    every: u64,
}

impl Lockstep {
    /// Runs `leader` and `follower` and compares them after each `every` instructions. Of two that count instructions
    /// differently, the one that counts more is the follower: it may be behind, and steps on.
    pub fn new(leader: Box<dyn Engine>, follower: Box<dyn Engine>, every: u64) -> Self {
        Self { leader, follower, every: every.max(1) }
    }
}

impl Engine for Lockstep {
    fn name(&self) -> &'static str {
        "lockstep"
    }

    fn vcpu(
        &self,
        index: u32,
        model: &CpuModel,
        memory: &Arc<GuestMemory>,
        attention: &Arc<Attention>,
        board: &Arc<dyn Board>,
    ) -> Result<Box<dyn Vcpu>, EngineError> {
        if model.vcpus > 1 {
            let reason = "two engines cannot agree on the order of several vCPUs; use one".to_owned();
            return Err(EngineError::Unsupported { engine: "lockstep", reason });
        }
        let copy = GuestMemory::new(memory.size()).map_err(|error| EngineError::Host {
            what: "memory for the second engine",
            source: std::io::Error::other(error),
        })?;
        let copy = Arc::new(copy);
        let recorder = Arc::new(Recorder::new(Arc::clone(board)));
        let replayer = Arc::new(Replayer::default());
        let bell = Arc::new(Attention::default());
        let leading: Arc<dyn Board> = Arc::clone(&recorder) as _;
        let following: Arc<dyn Board> = Arc::clone(&replayer) as _;
        let leader_vcpu = self.leader.vcpu(index, model, memory, attention, &leading)?;
        recorder.take(); // what it asked while it was made is its own affair
        Ok(Box::new(Pair {
            leader: leader_vcpu,
            follower: self.follower.vcpu(index, model, &copy, &bell, &following)?,
            memory: Arc::clone(memory),
            copy,
            attention: Arc::clone(attention),
            bell,
            recorder,
            replayer,
            every: self.every,
            names: [self.leader.name(), self.follower.name()],
            fresh: true,
            slices: 0,
        }))
    }
}

struct Pair {
    leader: Box<dyn Vcpu>,
    follower: Box<dyn Vcpu>,
    memory: Arc<GuestMemory>,
    copy: Arc<GuestMemory>,
    attention: Arc<Attention>,
    bell: Arc<Attention>,
    recorder: Arc<Recorder>,
    replayer: Arc<Replayer>,
    every: u64,
    names: [&'static str; 2],
    /// The follower has yet to be given the leader's memory and state.
    fresh: bool,
    slices: u64,
}

impl Pair {
    /// Gives the follower the leader's memory and state.
    fn begin(&mut self) -> Result<(), EngineError> {
        let failed = |error| EngineError::Host {
            what: "a copy of guest memory",
            source: std::io::Error::other(error),
        };
        let mut chunk = vec![0; CHUNK];
        for (start, len) in self.memory.ranges() {
            let mut at = 0;
            while at < len {
                let piece = &mut chunk[..(len - at).min(CHUNK as u64) as usize];
                let from = GuestPhys(start.0 + at);
                self.memory.read(from, piece).map_err(failed)?;
                self.copy.write(from, piece).map_err(failed)?;
                at += piece.len() as u64;
            }
        }
        self.follower.set_state(&self.leader.state());
        self.fresh = false;
        Ok(())
    }

    /// One slice of both. An exit other than [`Exit::Budget`] ends the run.
    fn slice(&mut self, most: u64) -> Result<Exit, EngineError> {
        let before = self.leader.state();
        let takes = before.rflags & flags::IF != 0 && before.events.shadow == Shadow::None;
        let open = takes && self.recorder.board_waits();
        if open {
            self.attention.raise(Signals::INTERRUPT);
        }
        let count = if open { 1 } else { most.min(self.every) };
        self.recorder.open(open);
        let exit = self.leader.run(Budget::Instructions(count))?;
        self.recorder.open(false);
        if exit == Exit::Signalled {
            self.fresh = true; // how far the leader came is not known
            return Ok(exit);
        }
        let (calls, vector) = self.recorder.take();
        self.replayer.load(calls, vector);
        if vector.is_some() {
            self.bell.raise(Signals::INTERRUPT);
        }
        let at_once = if count > MARGIN { count - MARGIN } else { 1 };
        let mut other = self.follower.run(Budget::Instructions(at_once))?;
        self.slices += 1;
        let differences = self.catch_up(count - at_once, &mut other)?;
        let complaint = self.replayer.complaint();
        let same_exit = std::mem::discriminant(&exit) == std::mem::discriminant(&other);
        if differences.is_empty() && complaint.is_none() && (same_exit || other == Exit::Budget) {
            // An interrupt that was announced while none is let through is not announced again.
            let wakes = self.leader.state().rflags & flags::IF != 0 && self.recorder.board_waits();
            return Ok(if exit == Exit::Halted && wakes { Exit::Budget } else { exit });
        }
        Ok(Exit::Shutdown(self.report(&before, &[exit, other], &differences, complaint)))
    }

    /// Compares, and lets the follower step on while it may merely be behind: by `left` instructions, or more if it counts
    /// more. Gives what the two differ in where they are nearest to each other; nothing if they agree in the end.
    fn catch_up(&mut self, mut left: u64, other: &mut Exit) -> Result<Vec<Difference>, EngineError> {
        let goal = self.leader.state();
        let mut nearest: Option<Vec<Difference>> = None;
        for _ in 0..MOST_CATCHING_UP {
            // Before its time it must be at the goal to the bit: a loop's counter may look like flags.
            let now = match left {
                0 => self.settle(&goal),
                _ => state::differences(&goal, &self.follower.state()),
            };
            // What it has yet to ask the board is also what it has yet to do: a loop that polls a device comes back to one state.
            if now.is_empty() && self.replayer.complaint().is_none() {
                return Ok(now);
            }
            if nearest.as_ref().is_none_or(|nearest| now.len() < nearest.len()) {
                nearest = Some(now);
            }
            if *other != Exit::Budget || self.replayer.is_lost() {
                break;
            }
            *other = self.follower.run(Budget::Instructions(1))?;
            left = left.saturating_sub(1);
        }
        Ok(nearest.unwrap_or_default())
    }

    /// The differences between the follower's state and the goal. If they are about arithmetic flags that
    /// PUSHF has carried into registers, the follower takes over the goal and there are none.
    fn settle(&mut self, goal: &CpuState) -> Vec<Difference> {
        let found = self.follower.state();
        let differences = state::differences(goal, &found);
        if !differences.is_empty() && state::only_flags(goal, &found) {
            self.follower.set_state(goal);
            return vec![];
        }
        differences
    }

    fn report(
        &self,
        before: &CpuState,
        exits: &[Exit; 2],
        differences: &[Difference],
        complaint: Option<String>,
    ) -> String {
        let [leader, follower] = self.names;
        let mut text = format!(
            "{leader} and {follower} part in slice {} of {} instructions, which began at {:#x}: {:?}, {:?}",
            self.slices, self.every, before.rip, exits[0], exits[1]
        );
        if let Some(line) = complaint {
            text.push_str(&format!("\n  {follower} {line}"));
        }
        for Difference { what, expected, found } in differences {
            text.push_str(&format!("\n  {what}: {leader} {expected}, {follower} {found}"));
        }
        text
    }
}

impl Vcpu for Pair {
    fn run(&mut self, budget: Budget) -> Result<Exit, EngineError> {
        if self.fresh {
            self.begin()?;
        }
        let mut left = match budget {
            Budget::Unlimited => u64::MAX,
            Budget::Instructions(count) => count,
        };
        while left > 0 {
            let exit = self.slice(left)?;
            if exit != Exit::Budget {
                return Ok(exit);
            }
            left -= left.min(self.every);
        }
        Ok(Exit::Budget)
    }

    fn state(&self) -> CpuState {
        self.leader.state()
    }

    fn set_state(&mut self, state: &CpuState) {
        self.leader.set_state(state);
        self.fresh = true;
    }

    fn statistics(&self) -> Statistics {
        self.leader.statistics()
    }

    fn details(&self) -> Vec<(String, u64)> {
        let mut details = self.leader.details();
        details.push(("slices compared".to_owned(), self.slices));
        details
    }
}

#[cfg(test)]
mod tests;
