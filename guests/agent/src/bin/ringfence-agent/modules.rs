//! The drivers of the machine's devices, where the kernel has them as modules.

use std::ffi::CStr;
use std::fs::{self, File};
use std::path::Path;

use nix::errno::Errno;
use nix::kmod::{ModuleInitFlags, finit_module};

use crate::console;

/// The modules, by names that sort in the order of loading.
const MODULES: &str = "/lib/modules/ringfence";
const DEVICES: &str = "/sys/bus/pci/devices";
/// The vendor of virtio devices.
const VIRTIO: &str = "0x1af4";
const NO_PARAMETERS: &CStr = c"";

/// Loads them, if the machine has a device for them; what fails is said and passed over.
pub fn load() {
    if !has_devices() {
        return;
    }
    let Ok(entries) = fs::read_dir(MODULES) else { return };
    let mut paths: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    for path in paths {
        match insert(&path) {
            Ok(()) | Err(Errno::EEXIST) => {}
            Err(error) => console::say(&format!("cannot load {}: {error}", path.display())),
        }
    }
}

fn has_devices() -> bool {
    let Ok(devices) = fs::read_dir(DEVICES) else { return false };
    let vendor = |path: &Path| fs::read_to_string(path.join("vendor")).unwrap_or_default();
    devices.flatten().any(|device| vendor(&device.path()).trim() == VIRTIO)
}

fn insert(path: &Path) -> Result<(), Errno> {
    let file = File::open(path).map_err(|error| Errno::from_raw(error.raw_os_error().unwrap_or(0)))?;
    finit_module(&file, NO_PARAMETERS, ModuleInitFlags::empty())
}
