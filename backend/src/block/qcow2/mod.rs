//! The qcow2 format, as far as it is ours: what the library does not check or do.
//!
//! The library (`imago`) keeps the tables, allocates and copies on write. Before it sees an image, [`Header::read`] has
//! accepted its header, and [`vet`] its counts if it is to be written; while it writes one,
//! [`Upkeep`] puts the writes of its tables in order ([`Order`]) and the header's dirty bit up ([`set_dirty`]); when the next one finds it up, [`rebuild`] counts again. The format is QEMU's `docs/interop/qcow2.txt`; names are from there.

mod header;
mod order;
mod rebuild;
mod refused;
mod upkeep;
mod vet;

pub use header::{BackingName, Header, set_dirty};
pub use order::Order;
pub use rebuild::{Counted, rebuild};
pub use refused::Refused;
pub use upkeep::Upkeep;
pub use vet::vet;

/// A table of big-endian numbers, `bytes` long. What lies beyond the end of the file is zero.
fn read_table(file: &std::fs::File, at: u64, bytes: u64) -> std::io::Result<Vec<u64>> {
    use std::os::unix::fs::FileExt;
    let mut raw = vec![0; bytes as usize];
    let mut done = 0;
    while done < raw.len() {
        match file.read_at(&mut raw[done..], at + done as u64) {
            Ok(0) => break,
            Ok(count) => done += count,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    let number = |bytes: &[u8]| bytes.iter().fold(0, |value, byte| value << 8 | u64::from(*byte));
    Ok(raw.chunks_exact(8).map(number).collect())
}
