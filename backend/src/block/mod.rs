//! Disks: images in files, and what serves requests from them.
//!
//! ```text
//!  device front ── virtio::back::Block ──►  Disk           one a disk: requests in, completions out, a bell
//!                                            │ thread
//!                                           Worker ── Limit   each request is a task; limits hold it back
//!                                            │
//!                                           Image           raw or qcow2, with the images it is backed by
//!                                            │               (formats: the library `imago`)
//!                                           HostFile        one a file: locked, bounded, its kind checked
//!                                            │
//!                                           Engine          io_uring, or a pool of threads, or at once
//! ```
//!
//! Formats know nothing of how bytes are moved, engines nothing of formats; so every format runs on every engine.
//!
//! # What is trusted
//!
//! The command line, and nothing else. The *format* of an image comes from the command line; what an image's
//! content looks like has no say, because a guest writes that content. A qcow2 image is a claim: its header
//! passes [`qcow2::Header::read`] before the library sees it; the image behind it must lie below its own directory
//! and its format must be named ([`reach`]); a file never grows beyond what the disk can need ([`HostFile`]).
//!
//! # What survives
//!
//! A flush that was acknowledged is on the host's disk, data and tables. A process that dies at any point leaves a
//! qcow2 image whose tables are right, save for clusters counted as used that are not: counts reach the
//! file before the entries that need them. While an image is open for writing its dirty bit is up, so whoever opens
//! it next counts again ([`qcow2::rebuild`]), and nothing stays lost; the same makes good what a failure of the host's power
//! does to the order of writes.

mod chain;
mod convert;
mod create;
mod disk;
mod error;
mod file;
mod format;
mod image;
mod info;
pub mod io;
mod layer;
mod limit;
mod look;
pub mod qcow2;
mod reach;
mod resize;
mod source;
mod spec;
mod worker;

pub use convert::convert;
pub use create::{Create, create};
pub use disk::{Disk, Options};
pub use error::Error;
pub use file::{Access, HostFile};
pub use format::Format;
pub use image::Image;
pub use info::{Info, info};
pub use layer::Layer;
pub use limit::{Limit, Limits};
pub use look::Look;
pub use resize::resize;
pub use source::{Backing, Source};
pub use spec::{Spec, SpecError};

/// The result of what can fail here.
pub type Result<T> = std::result::Result<T, Error>;

/// The unit in which disks are measured, in bytes.
pub const SECTOR: u64 = 512;
