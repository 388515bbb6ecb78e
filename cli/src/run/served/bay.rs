//! The devices of a running machine: which there are, and how they come and go.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use control::{Device, DeviceKind, Problem, ProblemKind};
use machine::Vm;
use machine::pci::{Plug, Slot};

/// The longest that a guest is waited for to let go of a device.
const LONGEST_WAIT: Duration = Duration::from_secs(600);

/// A device that is to be on the bus.
pub struct Fitting {
    /// What the user calls it; unless given, one is found by its kind.
    pub id: Option<&'static str>,
    /// What kind.
    pub kind: DeviceKind,
    /// What stands behind it.
    pub backing: String,
    /// The device.
    pub plug: Plug,
}

#[derive(Debug)]
struct Fitted {
    id: String,
    kind: DeviceKind,
    backing: String,
    slot: Slot,
    /// May it be taken away?
    stays: bool,
}

/// The devices, without the machine that they are in.
#[derive(Debug, Default)]
pub struct Layout(Vec<Fitted>);

impl Layout {
    /// Of a machine that will be built with these, which are on the bus in this order from device 1 on.
    pub fn of(fittings: Vec<Fitting>) -> (Vec<Plug>, Self) {
        let mut layout = Self::default();
        let mut plugs = Vec::new();
        for (device, fitting) in (1..).zip(fittings) {
            let Fitting { id, kind, backing, plug } = fitting;
            layout.add(id, kind, backing, Slot::new(device, 0));
            plugs.push(plug);
        }
        (plugs, layout)
    }

    fn add(&mut self, id: Option<&'static str>, kind: DeviceKind, backing: String, slot: Slot) -> String {
        let stays = id.is_some();
        let id = id.map_or_else(|| self.free_id(kind), str::to_owned);
        self.0.push(Fitted { id: id.clone(), kind, backing, slot, stays });
        id
    }

    /// `disk0`, `disk1` and so on.
    fn free_id(&self, kind: DeviceKind) -> String {
        let stem = match kind {
            DeviceKind::Disk => "disk",
            DeviceKind::Net => "net",
            DeviceKind::Other => "device",
        };
        let mut names = (0..).map(|number| format!("{stem}{number}"));
        names.find(|name| self.0.iter().all(|device| device.id != *name)).unwrap_or_default()
    }
}

/// The devices, in their machine.
pub struct Bay {
    vm: Arc<Vm>,
    layout: Mutex<Layout>,
}

impl Bay {
    /// Of this machine.
    pub fn new(vm: Arc<Vm>, layout: Layout) -> Self {
        Self { vm, layout: Mutex::new(layout) }
    }

    /// The layout, without those that the guest has let go of.
    fn layout(&self) -> MutexGuard<'_, Layout> {
        let mut layout = self.layout.lock().unwrap_or_else(PoisonError::into_inner);
        layout.0.retain(|device| self.vm.is_plugged(device.slot));
        layout
    }

    /// What there is.
    pub fn devices(&self) -> Vec<Device> {
        let device = |fitted: &Fitted| Device {
            id: fitted.id.clone(),
            kind: fitted.kind,
            backing: fitted.backing.clone(),
            address: format!("00:{:02x}.0", fitted.slot.device()),
        };
        self.layout().0.iter().map(device).collect()
    }

    /// Puts a device on the bus. Gives its name.
    pub fn attach(&self, kind: DeviceKind, backing: String, plug: Plug) -> Result<String, Problem> {
        let mut layout = self.layout();
        let slot = self.vm.plug(plug).map_err(|error| {
            Problem::new(ProblemKind::Host, format!("{backing}: the device cannot be attached: {error}"))
        })?;
        Ok(layout.add(None, kind, backing, slot))
    }

    /// Asks the guest to let go of a device, and waits for it.
    pub fn detach(&self, id: &str, wait: Duration) -> Result<(), Problem> {
        let layout = self.layout();
        let Some(device) = layout.0.iter().find(|device| device.id == id) else {
            let ids: Vec<_> = layout.0.iter().map(|device| &*device.id).collect();
            let text = format!("there is no device `{id}`; there are {}", ids.join(", "));
            return Err(Problem::new(ProblemKind::NotFound, text));
        };
        if device.stays {
            let text = format!("`{id}` is part of the machine and cannot be taken away");
            return Err(Problem::new(ProblemKind::Invalid, text));
        }
        let (slot, backing) = (device.slot, device.backing.clone());
        drop(layout);
        if self.vm.unplug(slot, wait.min(LONGEST_WAIT)) {
            return Ok(());
        }
        let seconds = wait.min(LONGEST_WAIT).as_secs_f32();
        let text = format!("the guest keeps `{id}` ({backing}) after {seconds} s");
        let hint = "end its use in the guest (umount, ip link set … down) and try again; a guest without ACPI hot plug \
                    never lets go";
        Err(Problem::new(ProblemKind::TimedOut, text).hint(hint))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fitting(id: Option<&'static str>, kind: DeviceKind) -> Fitting {
        Fitting {
            id,
            kind,
            backing: String::new(),
            plug: Box::new(|_| Err(std::io::ErrorKind::Other.into())),
        }
    }

    #[test]
    fn names_and_places_in_the_order_of_the_bus() {
        let kinds = [DeviceKind::Disk, DeviceKind::Net, DeviceKind::Disk];
        let mut fittings: Vec<_> = kinds.into_iter().map(|kind| fitting(None, kind)).collect();
        fittings.push(fitting(Some("rng"), DeviceKind::Other));
        let (plugs, mut layout) = Layout::of(fittings);
        let found: Vec<_> = layout.0.iter().map(|device| (&*device.id, device.slot.device())).collect();
        assert_eq!(found, [("disk0", 1), ("net0", 2), ("disk1", 3), ("rng", 4)]);
        assert_eq!(plugs.len(), 4);
        layout.0.remove(0);
        assert_eq!(layout.add(None, DeviceKind::Disk, String::new(), Slot::new(1, 0)), "disk0");
    }
}
