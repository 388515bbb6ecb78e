//! A machine in the background: nobody talks with it here, others come by the control socket.

use agent::{Reply, SessionId};

use super::talk::{Actions, Talk};

/// Nobody.
#[derive(Debug)]
pub struct IdleTalk {
    awaits_agent: bool,
    started: bool,
}

impl IdleTalk {
    /// With a guest that is up when its agent is, or one of which nothing is known.
    pub fn new(awaits_agent: bool) -> Self {
        Self { awaits_agent, started: !awaits_agent }
    }
}

impl Talk for IdleTalk {
    fn console(&mut self, _: &[u8], _: &mut Actions) {}

    fn console_is_output(&self) -> bool {
        false
    }

    fn agent(&mut self, reply: Option<Reply>, _: &mut Actions) {
        self.started |= reply.is_some();
    }

    fn input(&mut self, _: &[u8], _: &mut Actions) {}

    fn end_input(&mut self, _: &mut Actions) {}

    fn wants_input(&self) -> bool {
        false
    }

    fn has_started(&self) -> bool {
        self.started
    }

    fn restart(&mut self, _: SessionId) {
        self.started = !self.awaits_agent;
    }

    fn leave(&mut self, _: &mut Actions) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_up_when_the_agent_is() {
        let mut actions = Actions::default();
        let mut talk = IdleTalk::new(true);
        assert!(!talk.has_started());
        talk.agent(Some(Reply::Hello { version: agent::VERSION }), &mut actions);
        assert!(talk.has_started());
        talk.restart(SessionId(2));
        assert!(!talk.has_started() && actions.requests.is_empty());
        assert!(IdleTalk::new(false).has_started());
    }
}
