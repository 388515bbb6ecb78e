//! Delivery of exceptions and interrupts (SDM vol. 3, chapter 6): what happens when delivery itself faults.
//!
//! A fault during delivery is delivered in its place, or together with the first makes a double fault
//! (table 6-5); a fault during the delivery of a double fault shuts the CPU down:
//!
//! ```text
//!                      second
//!  first            benign   contributory   page fault
//!  benign             2nd        2nd           2nd
//!  contributory       2nd        #DF           2nd
//!  page fault         2nd        #DF           #DF
//!  double fault       2nd      shutdown      shutdown
//! ```
//!
//! [`Cpu::enter`] (in `gate`) changes no register until nothing can fault any more, so each attempt starts
//! from the interrupted state. Every round makes the situation graver, so the loop is short.

use x86::control::debug;
use x86::{Activity, Exception, Shadow, Vector};

use crate::cpu::Cpu;
use crate::raised::Raised;
use crate::system::gate::{Cause, Entry};

/// Something that takes the CPU elsewhere.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Event {
    /// A fault of the present instruction, or a trap after it.
    Exception(Exception),
    /// An interrupt from the board.
    Interrupt(u8),
    /// A non-maskable interrupt.
    Nmi,
}

/// What a second fault makes of an event being delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Second,
    DoubleFault,
    Shutdown,
}

/// How often a delivery may fault. A chain of benign faults (an alignment check and a page fault by turns, say) need
/// never become a double fault; a real CPU then hangs, deaf to interrupts, and ours shuts down.
const MOST_FAULTS: u32 = 16;

impl Cpu {
    /// Delivers an event. Faults on the way become double faults as the manual's table says.
    ///
    /// # Errors
    /// A triple fault, in words.
    pub fn deliver(&mut self, event: Event) -> Result<(), String> {
        self.state.events.activity = Activity::Running;
        self.state.events.shadow = Shadow::None;
        self.debug_hits = 0;
        let (rip, mut event, mut history) = (self.rip, event, String::new());
        tracing::trace!(target: "ringfence::event", "{} at {rip:#x}, rsp {:#x}", name(event), self.gpr[4]);
        for _ in 0..MOST_FAULTS {
            self.record(event);
            let Err(Raised(())) = self.enter(&entry(event, rip)) else { return Ok(()) };
            let second = self.raised;
            if second.vector == Vector::PageFault {
                self.state.cr2 = second.payload;
            }
            history = format!("{history}{}, whose delivery raised ", name(event));
            event = Event::Exception(match outcome(event, second.vector) {
                Outcome::Second => second,
                Outcome::DoubleFault => {
                    history = format!("{history}{}: ", name(Event::Exception(second)));
                    Exception::with_code(Vector::DoubleFault, 0)
                }
                Outcome::Shutdown => {
                    let last = name(Event::Exception(second));
                    let cs = self.state.segments[1].selector;
                    return Err(format!("triple fault at {cs:#x}:{rip:#x}: {history}{last}"));
                }
            });
        }
        Err(format!("endless faults at {:#x}:{rip:#x}: {history}and so on", self.state.segments[1].selector))
    }

    /// Leaves in CR2, DR6 and DR7 what an exception reports there, and counts it.
    fn record(&mut self, event: Event) {
        let Event::Exception(exception) = event else { return };
        self.statistics.exceptions += 1;
        match exception.vector {
            Vector::PageFault => self.state.cr2 = exception.payload,
            Vector::Debug => {
                self.state.dr6 = self.state.dr6 & !0xf | exception.payload | debug::DR6_FIXED;
                self.state.dr7 &= !debug::DR7_GD;
            }
            _ => {}
        }
    }
}

/// What goes through the gate for an event at `rip`.
fn entry(event: Event, rip: u64) -> Entry {
    let plain = Entry { vector: 0, error_code: None, cause: Cause::Hardware, rip, resume: false };
    match event {
        Event::Interrupt(vector) => Entry { vector, ..plain },
        Event::Nmi => Entry { vector: Vector::Nmi as u8, ..plain },
        Event::Exception(exception) => Entry {
            vector: exception.vector as u8,
            error_code: exception.vector.has_error_code().then_some(exception.error_code),
            // Faults come back to their instruction with its breakpoint disarmed; #DB leaves that to its
            // handler (SDM vol. 3, 18.3.1.1).
            resume: exception.vector != Vector::Debug,
            ..plain
        },
    }
}

fn outcome(first: Event, second: Vector) -> Outcome {
    let Event::Exception(Exception { vector: first, .. }) = first else { return Outcome::Second };
    let page_fault = second == Vector::PageFault;
    match first {
        Vector::DoubleFault if page_fault || second.is_contributory() => Outcome::Shutdown,
        Vector::PageFault if page_fault || second.is_contributory() => Outcome::DoubleFault,
        _ if first.is_contributory() && second.is_contributory() => Outcome::DoubleFault,
        _ => Outcome::Second,
    }
}

fn name(event: Event) -> String {
    match event {
        Event::Interrupt(vector) => format!("interrupt {vector:#x}"),
        Event::Nmi => "an NMI".to_owned(),
        Event::Exception(Exception { vector: Vector::PageFault, error_code, payload }) => {
            format!("PageFault({error_code:#x}) at {payload:#x}")
        }
        Event::Exception(Exception { vector, error_code, .. }) => format!("{vector:?}({error_code:#x})"),
    }
}
