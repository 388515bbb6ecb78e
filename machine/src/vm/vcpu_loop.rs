//! The loop of one vCPU's thread.

use engine::{Budget, Exit, Signals, Vcpu};
use x86::Activity;

use super::life::{Ending, Next};
use super::{Seat, Vm};
use crate::board::lock;
use crate::chip::Request;

impl Vm {
    /// Runs vCPU number `index` until the machine ends.
    pub(super) fn run_vcpu(&self, index: usize) {
        /// A panic here is a bug of ours; the other threads must not wait for this one forever.
        struct Alarm<'a>(&'a Vm);
        impl Drop for Alarm<'_> {
            fn drop(&mut self) {
                if std::thread::panicking() {
                    self.0.end(Ending::Stopped);
                }
            }
        }
        let _alarm = Alarm(self);
        let seat = &self.seats[index];
        while self.life.look() == Next::Go {
            let mut vcpu = lock(&seat.vcpu);
            let ending = self.run_until_told(index, seat, &mut **vcpu);
            *lock(&seat.statistics) = vcpu.statistics();
            drop(vcpu);
            if let Some(ending) = ending {
                self.end(ending);
            }
        }
    }

    /// Records the end and tells all vCPUs.
    fn end(&self, ending: Ending) {
        self.life.ends_by(ending);
        self.kick();
    }

    /// Runs until STOP is raised (`None`) or there is a reason to end.
    fn run_until_told(&self, index: usize, seat: &Seat, vcpu: &mut dyn Vcpu) -> Option<Ending> {
        let mut waits = vcpu.state().events.activity == Activity::WaitForSipi;
        loop {
            if waits {
                // Nothing but INIT, a start-up IPI and the machine itself reaches it now.
                seat.attention.take(Signals::all() - Signals::MACHINE);
                seat.attention.sleep(None);
            } else {
                match vcpu.run(Budget::Unlimited) {
                    Ok(Exit::Halted) => {
                        *lock(&seat.statistics) = vcpu.statistics();
                        seat.attention.sleep(None);
                    }
                    Ok(Exit::Signalled | Exit::Budget) => {}
                    Ok(Exit::Shutdown(text)) => return Some(Ending::TripleFault(text)),
                    Ok(Exit::BadFetch(at)) => return Some(Ending::BadFetch(at)),
                    Err(error) => return Some(Ending::EngineFailed(error)),
                }
            }
            let signals = seat.attention.take(Signals::MACHINE);
            if signals.contains(Signals::INIT) {
                if index == 0 {
                    // INIT takes the bootstrap processor to the firmware, which would reset the machine.
                    return Some(Ending::Request(Request::Reset));
                }
                let mut state = vcpu.state();
                state.init(false);
                vcpu.set_state(&state);
                self.board.interrupts.with_apic(index, |apic, _| apic.init());
                waits = true;
            }
            if signals.contains(Signals::SIPI) {
                let page = self.board.interrupts.with_apic(index, |apic, _| apic.take_start_up());
                // A processor that runs already ignores it (SDM vol. 3, 9.4.4.1).
                if let (Some(page), true) = (page, waits) {
                    let mut state = vcpu.state();
                    state.start_up(page);
                    vcpu.set_state(&state);
                    waits = false;
                }
            }
            if signals.contains(Signals::STOP) {
                return self.board.control().take().map(Ending::Request);
            }
        }
    }
}
