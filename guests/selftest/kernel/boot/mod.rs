//! From the loader's hand-over to [`crate::kernel_main`].

mod entry;
mod info;
mod multiboot;
mod start_info;
mod structure;

pub use info::{BootInfo, Protocol, Range};

use crate::sync::Racy;

static INFO: Racy<Option<BootInfo>> = Racy::new(None);

/// Keeps the information for the tests.
pub fn keep(info: BootInfo) -> &'static BootInfo {
    // SAFETY: called once, before any test.
    unsafe { (*INFO.get()).insert(info) }
}

/// What the loader said.
pub fn info() -> Option<&'static BootInfo> {
    // SAFETY: written once, before any test.
    unsafe { (*INFO.get()).as_ref() }
}
