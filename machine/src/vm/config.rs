//! What a virtual machine is made of, as data.

use std::path::PathBuf;
use std::sync::Arc;

use engine::CpuLevel;
use serde::{Deserialize, Serialize};

use crate::board::Sink;
use crate::load::{KernelKind, Module, Request};
use crate::pci::Plug;

/// A machine's description: what a command line, an API and a snapshot share.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct VmConfig {
    /// Bytes of RAM: a multiple of 4096.
    pub memory: u64,
    /// vCPUs.
    pub vcpus: u32,
    /// The CPU model.
    pub cpu: CpuLevel,
    /// Where the kernel's file is. Whoever builds the machine reads it.
    pub kernel: Option<PathBuf>,
    /// The kernel's format; `None` to find out.
    pub kernel_kind: Option<KernelKind>,
    /// Where the initial RAM disk's file is. Whoever builds the machine reads it.
    pub initrd: Option<PathBuf>,
    /// The kernel's command line.
    pub command_line: String,
    /// Does a reset by the guest start it anew? If not, it ends the machine.
    pub reboot: bool,
}

impl Default for VmConfig {
    fn default() -> Self {
        Self {
            memory: 512 << 20,
            vcpus: 1,
            cpu: CpuLevel::Host,
            kernel: None,
            kernel_kind: None,
            initrd: None,
            command_line: String::new(),
            reboot: false,
        }
    }
}

/// The files of a machine, read. A machine that starts anew at a reset keeps them, for it loads them again; others let
/// them go once they are loaded.
#[derive(Clone, Debug, Default)]
pub struct Images {
    /// The kernel.
    pub kernel: Arc<[u8]>,
    /// The initial RAM disk.
    pub initrd: Option<Arc<[u8]>>,
    /// Modules of a multiboot or PVH kernel, each with its line of text.
    pub modules: Vec<(Arc<[u8]>, String)>,
}

impl Images {
    /// Calls `with` with the request to a loader.
    pub(super) fn request<R>(&self, config: &VmConfig, with: impl FnOnce(&Request<'_>) -> R) -> R {
        let modules: Vec<_> = self.modules.iter().map(|(bytes, text)| Module { bytes, text }).collect();
        with(&Request {
            kernel: &self.kernel,
            kind: config.kernel_kind,
            initrd: self.initrd.as_deref(),
            modules: &modules,
            command_line: &config.command_line,
            memory: config.memory,
        })
    }
}

/// What a machine is connected to.
#[derive(Default)]
pub struct Wires {
    /// Where the output of COM1 to COM4 goes. Each is written by a thread of its own.
    pub consoles: [Option<Sink>; 4],
    /// What is on the PCI bus, from device 1 on.
    pub functions: Vec<Plug>,
    /// The time of day when the machine starts, in nanoseconds since 1970.
    pub unix_nanoseconds: i64,
}
