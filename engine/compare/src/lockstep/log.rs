//! What the board was asked and what it answered.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use base::GuestPhys;
use engine::{Board, MsrDenied, Width};

/// A call with its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Call {
    PortIn(u16, Width, u32),
    PortOut(u16, Width, u32),
    MmioRead(GuestPhys, Width, u64),
    MmioWrite(GuestPhys, Width, u64),
    MsrRead(u32, Result<u64, MsrDenied>),
    MsrWrite(u32, u64, Result<(), MsrDenied>),
    Priority(u8),
    SetPriority(u8),
    Tsc(u64),
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The leader's board: the real one, with a log. Interrupts pass only while it is open.
pub(super) struct Recorder {
    board: Arc<dyn Board>,
    open: AtomicBool,
    calls: Mutex<Vec<Call>>,
    vector: Mutex<Option<u8>>,
}

impl Recorder {
    pub fn new(board: Arc<dyn Board>) -> Self {
        Self { board, open: AtomicBool::new(false), calls: Mutex::default(), vector: Mutex::default() }
    }

    /// Lets interrupts through, or not.
    pub fn open(&self, open: bool) {
        self.open.store(open, Ordering::Relaxed);
    }

    /// Does an interrupt wait in the real board?
    pub fn board_waits(&self) -> bool {
        self.board.interrupt_waits()
    }

    /// The log and the interrupt taken, both from then on empty.
    pub fn take(&self) -> (Vec<Call>, Option<u8>) {
        (std::mem::take(&mut *locked(&self.calls)), locked(&self.vector).take())
    }

    fn note(&self, call: Call) {
        locked(&self.calls).push(call);
    }
}

impl Board for Recorder {
    fn port_in(&self, port: u16, width: Width) -> u32 {
        let value = self.board.port_in(port, width);
        self.note(Call::PortIn(port, width, value));
        value
    }

    fn port_out(&self, port: u16, width: Width, value: u32) {
        self.board.port_out(port, width, value);
        self.note(Call::PortOut(port, width, value));
    }

    fn mmio_read(&self, at: GuestPhys, width: Width) -> u64 {
        let value = self.board.mmio_read(at, width);
        self.note(Call::MmioRead(at, width, value));
        value
    }

    fn mmio_write(&self, at: GuestPhys, width: Width, value: u64) {
        self.board.mmio_write(at, width, value);
        self.note(Call::MmioWrite(at, width, value));
    }

    fn msr_read(&self, index: u32) -> Result<u64, MsrDenied> {
        let answer = self.board.msr_read(index);
        self.note(Call::MsrRead(index, answer));
        answer
    }

    fn msr_write(&self, index: u32, value: u64) -> Result<(), MsrDenied> {
        let answer = self.board.msr_write(index, value);
        self.note(Call::MsrWrite(index, value, answer));
        answer
    }

    fn take_interrupt(&self) -> Option<u8> {
        // One in a slice: the second waits for the next.
        if !self.open.swap(false, Ordering::Relaxed) {
            return None;
        }
        let vector = self.board.take_interrupt();
        *locked(&self.vector) = vector;
        vector
    }

    fn interrupt_waits(&self) -> bool {
        self.open.load(Ordering::Relaxed) && self.board.interrupt_waits()
    }

    fn task_priority(&self) -> u8 {
        let priority = self.board.task_priority();
        self.note(Call::Priority(priority));
        priority
    }

    fn set_task_priority(&self, priority: u8) {
        self.board.set_task_priority(priority);
        self.note(Call::SetPriority(priority));
    }

    fn tsc(&self) -> u64 {
        let value = self.board.tsc();
        self.note(Call::Tsc(value));
        value
    }
}

#[derive(Default)]
struct Script {
    calls: VecDeque<Call>,
    vector: Option<u8>,
    complaint: Option<String>,
}

/// The follower's board: gives the answers of the log, and complains if the questions are others.
#[derive(Default)]
pub(super) struct Replayer {
    script: Mutex<Script>,
}

impl Replayer {
    /// What is to be asked in the next slice.
    pub fn load(&self, calls: Vec<Call>, vector: Option<u8>) {
        *locked(&self.script) = Script { calls: calls.into(), vector, complaint: None };
    }

    /// What went otherwise in this slice so far.
    pub fn complaint(&self) -> Option<String> {
        let script = locked(&self.script);
        let unasked = || script.calls.front().map(|call| format!("has not asked the board: {call:x?}"));
        script
            .complaint
            .clone()
            .or_else(unasked)
            .or_else(|| script.vector.map(|vector| format!("has not taken the interrupt {vector:#x}")))
    }

    /// Was anything asked that is not in the log?
    pub fn is_lost(&self) -> bool {
        locked(&self.script).complaint.is_some()
    }

    /// The answer of the next call in the log, if `answer` finds it to be the same question.
    fn answer<T>(&self, question: Call, answer: impl FnOnce(Call) -> Option<T>) -> Option<T> {
        let mut script = locked(&self.script);
        let next = script.calls.pop_front();
        let given = next.and_then(answer);
        if given.is_none() && script.complaint.is_none() {
            script.complaint = Some(format!("asks the board {question:x?}, the other asked {next:x?}"));
        }
        given
    }
}

impl Board for Replayer {
    fn port_in(&self, port: u16, width: Width) -> u32 {
        self.answer(Call::PortIn(port, width, 0), |call| match call {
            Call::PortIn(p, w, value) if (p, w) == (port, width) => Some(value),
            _ => None,
        })
        .unwrap_or(width.ones() as u32)
    }

    fn port_out(&self, port: u16, width: Width, value: u32) {
        let question = Call::PortOut(port, width, value);
        self.answer(question, |call| (call == question).then_some(()));
    }

    fn mmio_read(&self, at: GuestPhys, width: Width) -> u64 {
        self.answer(Call::MmioRead(at, width, 0), |call| match call {
            Call::MmioRead(a, w, value) if (a, w) == (at, width) => Some(value),
            _ => None,
        })
        .unwrap_or(width.ones())
    }

    fn mmio_write(&self, at: GuestPhys, width: Width, value: u64) {
        let question = Call::MmioWrite(at, width, value);
        self.answer(question, |call| (call == question).then_some(()));
    }

    fn msr_read(&self, index: u32) -> Result<u64, MsrDenied> {
        self.answer(Call::MsrRead(index, Ok(0)), |call| match call {
            Call::MsrRead(i, answer) if i == index => Some(answer),
            _ => None,
        })
        .unwrap_or(Err(MsrDenied))
    }

    fn msr_write(&self, index: u32, value: u64) -> Result<(), MsrDenied> {
        self.answer(Call::MsrWrite(index, value, Ok(())), |call| match call {
            Call::MsrWrite(i, v, answer) if (i, v) == (index, value) => Some(answer),
            _ => None,
        })
        .unwrap_or(Err(MsrDenied))
    }

    fn take_interrupt(&self) -> Option<u8> {
        locked(&self.script).vector.take()
    }

    fn interrupt_waits(&self) -> bool {
        locked(&self.script).vector.is_some()
    }

    fn task_priority(&self) -> u8 {
        self.answer(Call::Priority(0), |call| match call {
            Call::Priority(priority) => Some(priority),
            _ => None,
        })
        .unwrap_or(0)
    }

    fn set_task_priority(&self, priority: u8) {
        let question = Call::SetPriority(priority);
        self.answer(question, |call| (call == question).then_some(()));
    }

    fn tsc(&self) -> u64 {
        self.answer(Call::Tsc(0), |call| match call {
            Call::Tsc(value) => Some(value),
            _ => None,
        })
        .unwrap_or(0)
    }
}
