//! The image store and the recipes that fill it.
//!
//! An *image* is what `ringfence run NAME` boots: a kernel, perhaps an initial
//! RAM disk, and the kernel's default command line. Images are made from the
//! distribution's own, unmodified packages, which the host's apt fetches by
//! name and checks against the distribution's signatures; nothing is hosted by
//! us. What is fetched or made lies in a content-addressed [`Store`] under the
//! user's cache directory.
//!
//! ```text
//!   Recipe ──► apt: resolve and fetch ──► deb: unpack ──► initramfs: compose
//!                     │                                          │
//!                     └────────► Store: blobs + manifest ◄───────┘ ──► Image
//! ```
//!
//! Where to start reading: [`recipe`] is the table of images, `pull` walks the
//! picture above from left to right, [`store`] says what lies on the disk;
//! [`build`] installs whole systems.
//!
//! Nothing in this crate prints. What takes time is reported to a [`Progress`].

pub mod apt;
mod ar;
mod blobs;
pub mod build;
pub mod busybox;
pub mod cpio;
pub mod deb;
mod digest;
mod disk;
mod error;
pub mod exec;
pub mod gpt;
mod image;
pub mod initramfs;
pub mod installed;
mod kept;
mod kernel;
mod lock;
mod manifest;
mod modules;
mod progress;
mod pull;
pub mod recipe;
mod rootfs;
pub mod seed;
pub mod store;

pub use apt::Arch;
pub use blobs::Blob;
pub use build::{Build, Installation, Installer};
pub use digest::Digest;
pub use disk::Disk;
pub use error::{Error, Result};
pub use image::Image;
pub use initramfs::Initramfs;
pub use kept::Kept;
pub use manifest::{Built, Kind, Manifest, Package, Userspace};
pub use progress::{Amount, Progress, Silent};
pub use recipe::{RECIPES, Recipe};
pub use seed::Seed;
pub use store::Store;
