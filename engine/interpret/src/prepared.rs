//! Instructions decoded once and executed often: what an engine on top keeps where its own code meets an instruction that is
//! the reference CPU's.

use engine::Exit;
use x86::Shadow;

use crate::decode::{Decoded, decode};
use crate::op::{Op, Repeat};
use crate::run::shut_down;
use crate::system::Event;
use crate::tier::Tier;

/// A decoded instruction of 64-bit code, wherever it stands.
#[derive(Clone, Copy, Debug)]
pub struct Prepared(Op);

impl Prepared {
    /// iced's [`Code`](iced_x86::Code) of it, as a number.
    pub fn code(&self) -> u16 {
        self.0.code
    }

    /// Bytes.
    pub fn bytes(&self) -> u8 {
        self.0.len
    }

    /// Does it branch, or change modes, maps or interrupts?
    pub fn ends_block(&self) -> bool {
        self.0.ends_block
    }
}

impl Tier {
    /// Decodes the instruction that `code` starts with. `None` if it is not whole, or repeats itself: those execute in
    /// pieces.
    pub fn prepare(&self, code: &[u8]) -> Option<Prepared> {
        match decode(&self.cpu.model, code, 0, 64) {
            Decoded::Op(op) if op.repeat == Repeat::None => Some(Prepared(op)),
            _ => None,
        }
    }

    /// Executes the instruction, which stands at RIP, where nothing asks for more care: [`Facts::plain_64`](crate::Facts)
    /// holds and no event is due. True if the next instruction follows and what the control registers amount to has not
    /// changed, but for what [`Tier::facts`] gives.
    ///
    /// # Errors
    /// The guest's CPU has shut down.
    pub fn execute(&mut self, prepared: &Prepared) -> Result<bool, Exit> {
        let (cpu, op) = (&mut self.cpu, &prepared.0);
        let next = cpu.rip.wrapping_add(u64::from(op.len));
        cpu.state.rflags &= !x86::flags::RF;
        cpu.set_next(next);
        cpu.leave = false;
        if (op.exec)(cpu, op).is_err() {
            let delivered = cpu.deliver(Event::Exception(cpu.raised));
            return delivered.map(|()| false).map_err(|reason| shut_down(cpu, reason));
        }
        cpu.statistics.instructions += 1;
        cpu.rip = cpu.next();
        Ok(!cpu.leave && cpu.rip == next && cpu.state.events.shadow == Shadow::None)
    }
}
