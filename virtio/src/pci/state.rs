//! A device on the PCI bus at rest. The machine stands: nothing is with the back-end, and no reset is under way.

use base::{Record, RestoreError, Saved};
use machine::pci::ConfigSpace;
use serde::{Deserialize, Serialize};

use super::common::{CommonState, Status};
use super::interrupts::InterruptsState;
use super::{VirtioPci, invalid, lock};
use crate::queue::{Queue, QueueState};

/// The whole of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VirtioState {
    config: <ConfigSpace as Saved>::State,
    common: CommonState,
    interrupts: InterruptsState,
    /// How far each queue has come, if the driver uses the device.
    queues: Option<Vec<QueueState>>,
    broken: bool,
    device: Record,
}

/// By reference, because whoever is on a bus is shared and locks itself.
impl Saved for &VirtioPci {
    type State = VirtioState;
    const KIND: &'static str = "virtio-pci";
    const VERSION: u16 = 1;

    fn save(&self) -> VirtioState {
        let config = lock(&self.config).save();
        let registers = lock(&self.registers);
        let work = self.shared.lock();
        VirtioState {
            config,
            common: registers.common.state.clone(),
            interrupts: self.interrupts.state(),
            queues: work.rings.as_ref().map(|rings| rings.queues().iter().map(Queue::state).collect()),
            broken: self.shared.is_broken(),
            device: work.device.save(),
        }
    }

    fn restore(&mut self, state: VirtioState) -> Result<(), RestoreError> {
        let VirtioState { config, common, interrupts, queues, broken, device } = state;
        let mut registers = lock(&self.registers);
        if !registers.common.fits(&common) {
            return Err(invalid("its registers are another device's"));
        }
        let ready = common.status.contains(Status::DRIVER_OK);
        if queues.is_some() && !ready || queues.is_none() && ready && !broken {
            return Err(invalid("its queues and its status do not fit"));
        }
        if queues.as_ref().is_some_and(|queues| queues.len() != common.queues.len()) {
            return Err(invalid("it has another number of queues"));
        }
        let mut fresh = registers.common.clone();
        fresh.state = common;
        let rings = match &queues {
            Some(states) => {
                let mut rings = self.rings(&fresh).map_err(|mistake| invalid(&mistake.to_string()))?;
                (0..).zip(states).for_each(|(number, state)| rings.queue(number).resume(state));
                Some(rings)
            }
            None => None,
        };
        let mut work = self.shared.lock();
        work.device.restore(&device)?;
        let mut space = lock(&self.config);
        space.restore(config)?;
        self.interrupts.restore(interrupts)?;
        self.obey(&space);
        work.master = space.is_master();
        registers.common = fresh;
        work.rings = rings;
        self.shared.set_broken(broken);
        Ok(())
    }
}
