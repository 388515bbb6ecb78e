//! From the loader's hand-over to [`crate::kernel_main`].

mod entry;
mod info;
mod multiboot;
mod start_info;

pub use info::{BootInfo, Protocol};
