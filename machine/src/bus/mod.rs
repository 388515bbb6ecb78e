//! The two address spaces of a PC outside RAM: ports and memory-mapped registers.
//!
//! A bus is a table of claims made when the board is built and never changed, so looking a device up takes
//! no lock; what moves at run time (the windows of PCI functions) stands behind one claim or behind the
//! fallback. Devices are shared by all vCPUs and lock themselves.
//!
//! **Odd accesses.** A device says how wide an access it takes in one piece. A wider one, and one that
//! sticks out of the claim, is carried out as single bytes in ascending order, each at its own address, as
//! the bus controllers of a PC do. So a word written to the last register of one chip reaches the first of
//! its neighbour, and bytes that nobody claims read as all ones.

mod mmio;
mod port;

pub use mmio::{MmioBus, MmioDevice};
pub use port::{PortBus, PortDevice};
