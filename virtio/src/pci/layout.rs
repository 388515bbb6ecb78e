//! Where the registers are, and the capabilities that say so (4.1.4).
//!
//! All lie in BAR 0, each group in a page of its own:
//!
//! ```text
//!   0000  common configuration     2000  device configuration     4000  MSI-X table
//!   1000  interrupt status         3000  notifications            5000  MSI-X pending bits
//! ```

use machine::pci::{Bar, ConfigSpace, Identity, MSIX_CAPABILITY, MSIX_CONTROL_WRITABLE, Msix};

use crate::device::DeviceId;

/// The BAR.
pub(super) const BAR: u8 = 0;
const BAR_LEN: u32 = 0x8000;
const PAGE: u64 = 0x1000;

/// Bytes from one queue's notification register to the next one's.
pub(super) const NOTIFY_STEP: u64 = 4;

const VENDOR_SPECIFIC: u8 = 9;
const MSIX_TABLE: u32 = 0x4000;
const MSIX_PENDING: u32 = 0x5000;
/// Where in the capability for accesses through configuration space the window's description is, and where its data.
const WINDOW_DATA: u8 = 16;

/// A group of registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Group {
    Common,
    InterruptStatus,
    Device,
    Notify,
    MsixTable,
    MsixPending,
}

/// The group of an offset in the BAR, and the offset in the group.
pub(super) fn group(offset: u64) -> Option<(Group, u64)> {
    let group = match offset / PAGE {
        0 => Group::Common,
        1 => Group::InterruptStatus,
        2 => Group::Device,
        3 => Group::Notify,
        4 => Group::MsixTable,
        5 => Group::MsixPending,
        _ => return None,
    };
    Some((group, offset % PAGE))
}

/// Where in configuration space the capabilities are that the transport looks at.
#[derive(Clone, Copy, Debug)]
pub(super) struct Places {
    pub msix: u8,
    /// The window through configuration space.
    pub window: u8,
}

impl Places {
    /// Is a register among the window's data?
    pub fn is_window_data(self, register: u8) -> bool {
        (self.window + WINDOW_DATA..self.window + WINDOW_DATA + 4).contains(&register)
    }
}

/// The configuration space of a device.
pub(super) fn config_space(id: DeviceId, queues: u16, msix: &Msix) -> (ConfigSpace, Places) {
    const VENDOR: u16 = 0x1af4;
    let mut config = ConfigSpace::new(Identity {
        vendor: VENDOR,
        device: 0x1040 + id as u16,
        class: id.class(),
        revision: 1, // not a transitional device
        subsystem: (VENDOR, 0x1100),
        pin: 1,
    })
    .with_bar(BAR.into(), Bar::Memory { len: BAR_LEN });
    let notify = u32::from(queues) * NOTIFY_STEP as u32;
    for (kind, offset, len, more) in [
        (1, 0x0000, PAGE as u32, &[][..]),
        (2, 0x3000, notify, &(NOTIFY_STEP as u32).to_le_bytes()[..]),
        (3, 0x1000, 1, &[]),
        (4, 0x2000, PAGE as u32, &[]),
    ] {
        config.add_capability(VENDOR_SPECIFIC, &capability(kind, offset, len, more), &[]);
    }
    // The window: the guest says which bytes of the BAR it wants, and reads or writes them here (4.1.4.9).
    let mut writable = [0; WINDOW_DATA as usize + 2];
    writable[2] = 0xff; // BAR
    writable[6..].fill(0xff); // offset, length, data
    let window = config.add_capability(VENDOR_SPECIFIC, &capability(5, 0, 0, &[0; 4]), &writable);
    let [low, high] = MSIX_CONTROL_WRITABLE.to_le_bytes();
    let msix_body = msix.capability(BAR, MSIX_TABLE, MSIX_PENDING);
    let msix = config.add_capability(MSIX_CAPABILITY, &msix_body, &[low, high]);
    (config, Places { msix, window })
}

/// `struct virtio_pci_cap` after its first two bytes.
fn capability(kind: u8, offset: u32, len: u32, more: &[u8]) -> Vec<u8> {
    let mut body = vec![16 + more.len() as u8, kind, BAR, 0, 0, 0];
    body.extend(offset.to_le_bytes());
    body.extend(len.to_le_bytes());
    body.extend(more);
    body
}
