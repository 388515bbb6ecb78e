//! What there is to know about a running machine.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::Name;

/// Where a machine is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// Its user space has not been heard of yet. Guests of which nothing is expected are never here.
    Booting,
    /// It runs.
    Running,
    /// It stands until it is resumed.
    Paused,
    /// It was asked to go off and has not yet.
    Stopping,
}

impl State {
    /// Its word, as in JSON.
    pub fn word(self) -> &'static str {
        match self {
            Self::Booting => "booting",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Stopping => "stopping",
        }
    }
}

/// What kind of device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DeviceKind {
    /// A disk.
    Disk,
    /// A network interface.
    Net,
    /// Something else.
    Other,
}

/// A device on the machine's bus.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Device {
    /// What `detach` calls it.
    pub id: String,
    /// What kind.
    pub kind: DeviceKind,
    /// What stands behind it, as the user wrote it.
    pub backing: String,
    /// Its place on the PCI bus, as in `00:03.0`.
    pub address: String,
}

/// What there is to know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Facts {
    /// Its name.
    pub name: Name,
    /// The process that it is.
    pub pid: u32,
    /// The image or kernel it runs.
    pub image: String,
    /// Where it is in its life.
    pub state: State,
    /// The engine that executes its instructions.
    pub engine: String,
    /// Its vCPUs.
    pub vcpus: u32,
    /// Its memory in bytes.
    pub memory: u64,
    /// Bytes that the guest has given back by its balloon, if it has one.
    pub balloon: Option<u64>,
    /// When it was started, in seconds since 1970.
    pub started: u64,
    /// Seconds since then.
    pub uptime: u64,
    /// How often the guest has started anew.
    pub reboots: u64,
    /// Can commands be run in it, now or when it is up?
    pub has_agent: bool,
    /// Does it run in the background?
    pub detached: bool,
    /// Where its console's log is.
    pub console_log: Option<PathBuf>,
    /// Its devices, in the order of their places on the bus.
    pub devices: Vec<Device>,
}
