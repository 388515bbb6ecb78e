//! What an image that is open for writing needs besides the library: its dirty bit, and its tables in order.

use std::fs::File;
use std::io;
use std::sync::Arc;

use super::{Header, Order, set_dirty};

/// The care for one image, from before the library opens it until it is closed. Dropped without
/// [`Upkeep::end`] it leaves the dirty bit up.
#[derive(Debug)]
pub struct Upkeep {
    file: File,
    order: Arc<Order>,
}

impl Upkeep {
    /// For an image with this header, whose counts are right.
    ///
    /// # Errors
    /// The host's.
    pub fn new(file: &File, header: &Header) -> io::Result<Self> {
        Ok(Self { file: file.try_clone()?, order: Arc::new(Order::new(file, header)?) })
    }

    /// What is to hold back writes of its tables.
    pub fn order(&self) -> Arc<Order> {
        Arc::clone(&self.order)
    }

    /// It is written from now on.
    ///
    /// # Errors
    /// The host's.
    pub fn begin(&self) -> io::Result<()> {
        set_dirty(&self.file, true)
    }

    /// The library has flushed its tables.
    ///
    /// # Errors
    /// The host's.
    pub fn flushed(&self) -> io::Result<()> {
        self.order.settle(&self.file)
    }

    /// All is flushed and durable, and nothing is written any more.
    ///
    /// # Errors
    /// The host's.
    pub fn end(self) -> io::Result<()> {
        set_dirty(&self.file, false)
    }
}
