//! Memory-mapped registers.

use std::sync::Arc;

use base::GuestPhys;
use engine::Width;

/// Something that answers at guest-physical addresses.
pub trait MmioDevice: Send + Sync {
    /// A load at `offset` from the start of the claim; bits beyond `width` are ignored.
    fn read(&self, offset: u64, width: Width) -> u64;
    /// A store; `value` has no bits beyond `width`.
    fn write(&self, offset: u64, width: Width, value: u64);
}

struct Claim {
    start: u64,
    len: u64,
    device: Arc<dyn MmioDevice>,
}

/// The table of claims. Devices take every width.
#[derive(Default)]
pub struct MmioBus {
    /// By rising start.
    claims: Vec<Claim>,
}

impl MmioBus {
    /// Gives `len` bytes from `start` to a device.
    ///
    /// # Panics
    /// If a byte is already claimed: the board's plan is wrong.
    pub fn claim(&mut self, start: GuestPhys, len: u64, device: Arc<dyn MmioDevice>) {
        let at = self.claims.partition_point(|claim| claim.start < start.0);
        let before = at.checked_sub(1).and_then(|before| self.claims.get(before));
        assert!(before.is_none_or(|claim| claim.start + claim.len <= start.0), "{start} claimed twice");
        assert!(self.claims.get(at).is_none_or(|next| start.0 + len <= next.start), "{start} claimed twice");
        self.claims.insert(at, Claim { start: start.0, len, device });
    }

    fn claim_at(&self, at: u64) -> Option<(&Claim, u64)> {
        let index = self.claims.partition_point(|claim| claim.start <= at).checked_sub(1)?;
        let claim = &self.claims[index];
        let offset = at - claim.start;
        (offset < claim.len).then_some((claim, offset))
    }

    /// A load; `None` if no device is there at all, so that a further bus may be asked.
    pub fn read(&self, at: GuestPhys, width: Width) -> Option<u64> {
        let last = at.plus(width.bytes() - 1);
        let first = self.claim_at(at.0);
        if let Some((claim, offset)) = first
            && offset + width.bytes() <= claim.len
        {
            return Some(claim.device.read(offset, width) & width.ones());
        }
        if first.is_none() && self.claim_at(last.0).is_none() {
            return None;
        }
        Some((0..width.bytes()).rev().fold(0, |value, index| {
            let byte = self
                .claim_at(at.plus(index).0)
                .map_or(0xff, |(claim, offset)| claim.device.read(offset, Width::Byte) & 0xff);
            value << 8 | byte
        }))
    }

    /// A store; false if no device is there at all.
    pub fn write(&self, at: GuestPhys, width: Width, value: u64) -> bool {
        let last = at.plus(width.bytes() - 1);
        let first = self.claim_at(at.0);
        if let Some((claim, offset)) = first
            && offset + width.bytes() <= claim.len
        {
            claim.device.write(offset, width, value & width.ones());
            return true;
        }
        if first.is_none() && self.claim_at(last.0).is_none() {
            return false;
        }
        for index in 0..width.bytes() {
            if let Some((claim, offset)) = self.claim_at(at.plus(index).0) {
                claim.device.write(offset, Width::Byte, value >> (8 * index) & 0xff);
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    #[derive(Default)]
    struct Probe(Mutex<Vec<(u64, Width, u64)>>);

    impl MmioDevice for Probe {
        fn read(&self, offset: u64, _: Width) -> u64 {
            0x40 + offset
        }
        fn write(&self, offset: u64, width: Width, value: u64) {
            self.0.lock().unwrap().push((offset, width, value));
        }
    }

    #[test]
    fn claims_are_found_and_edges_are_split() {
        let probe = Arc::new(Probe::default());
        let mut bus = MmioBus::default();
        bus.claim(GuestPhys(0x2000), 0x10, probe.clone());
        bus.claim(GuestPhys(0x1000), 0x10, probe.clone());
        assert_eq!(bus.read(GuestPhys(0x1008), Width::Qword), Some(0x48));
        assert_eq!(bus.read(GuestPhys(0x100e), Width::Dword), Some(0xffff_4f4e));
        assert_eq!(bus.read(GuestPhys(0x1ffe), Width::Dword), Some(0x4140_ffff));
        assert_eq!(bus.read(GuestPhys(0x1800), Width::Dword), None);
        assert_eq!(bus.read(GuestPhys(u64::MAX), Width::Qword), None, "the address wraps, nothing breaks");
        assert!(bus.write(GuestPhys(0x2004), Width::Dword, 7));
        assert!(bus.write(GuestPhys(0x200f), Width::Word, 0xbbaa));
        assert!(!bus.write(GuestPhys(0x3000), Width::Word, 0));
        assert_eq!(*probe.0.lock().unwrap(), [(4, Width::Dword, 7), (15, Width::Byte, 0xaa)]);
    }
}
