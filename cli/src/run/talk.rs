//! What differs between the ways to talk with a guest.
//!
//! The [driver](super::driver) has the loop; a [`Talk`] says what each event means. It does nothing by itself but
//! ask for it in [`Actions`], so that it can be tested without a machine.

use std::collections::VecDeque;

use agent::{Reply, Request, SessionId};

use super::ending::Ending;
use crate::output::{Chunk, Stream};

/// What a [`Talk`] wants done.
#[derive(Debug, Default)]
pub struct Actions {
    /// To be written to our outputs, in this order.
    pub output: VecDeque<Chunk>,
    /// To be sent to the guest's first serial port.
    pub com1: Vec<u8>,
    /// To be said to its agent.
    pub requests: VecDeque<Request>,
    /// The run is over; the first one counts.
    pub ending: Option<Ending>,
}

impl Actions {
    /// Writes to one of our outputs.
    pub fn write(&mut self, stream: Stream, bytes: impl Into<Vec<u8>>) {
        let bytes = bytes.into();
        if !bytes.is_empty() {
            self.output.push_back(Chunk { stream, bytes });
        }
    }

    /// Ends the run, if nothing has before.
    pub fn end(&mut self, ending: Ending) {
        self.ending.get_or_insert(ending);
    }
}

/// A way to talk with a guest.
pub trait Talk {
    /// The console (COM1) wrote.
    fn console(&mut self, bytes: &[u8], actions: &mut Actions);

    /// Must the console wait while our output is stuck? Otherwise it is taken all the same.
    fn console_is_output(&self) -> bool;

    /// The agent said this; `None` where it never will say anything any more.
    fn agent(&mut self, _reply: Option<Reply>, _actions: &mut Actions) {}

    /// There is this input.
    fn input(&mut self, bytes: &[u8], actions: &mut Actions);

    /// There is no more.
    fn end_input(&mut self, actions: &mut Actions);

    /// Should input be read now?
    fn wants_input(&self) -> bool;

    /// Is the guest as far as it was to get?
    fn has_started(&self) -> bool;

    /// Sends the command in the guest this signal. False if there is none, or no way.
    fn signal(&mut self, _signal: u8, _actions: &mut Actions) -> bool {
        false
    }

    /// The window has another size.
    fn resized(&mut self, _actions: &mut Actions) {}

    /// The guest starts anew; what is to be run in it goes by this number.
    fn restart(&mut self, _id: SessionId) {}

    /// The run is over: asks the guest to go off by itself. False if that is not worth waiting for.
    fn leave(&mut self, actions: &mut Actions) -> bool;
}
