//! The 65536 ports.

use std::sync::Arc;

use engine::Width;

/// Something that answers at ports.
pub trait PortDevice: Send + Sync {
    /// IN at `offset` from the start of the claim; the result's bits beyond `width` are ignored.
    fn read(&self, offset: u16, width: Width) -> u32;
    /// OUT; `value` has no bits beyond `width`.
    fn write(&self, offset: u16, width: Width, value: u32);
}

struct Claim {
    start: u16,
    len: u16,
    widest: Width,
    device: Arc<dyn PortDevice>,
}

/// The table of claims.
pub struct PortBus {
    claims: Vec<Claim>,
    /// For each port the number of its claim plus one.
    owner: Box<[u8]>,
}

impl Default for PortBus {
    fn default() -> Self {
        Self { claims: Vec::new(), owner: vec![0; 0x1_0000].into() }
    }
}

impl PortBus {
    /// Gives `len` ports from `start` to a device that takes accesses up to `widest` in one piece.
    ///
    /// # Panics
    /// If a port is already claimed, or there are too many claims: the board's plan is wrong.
    pub fn claim(&mut self, start: u16, len: u16, widest: Width, device: Arc<dyn PortDevice>) {
        let number = u8::try_from(self.claims.len() + 1).expect("at most 255 claims on the port bus");
        for owner in &mut self.owner[usize::from(start)..usize::from(start) + usize::from(len)] {
            assert_eq!(*owner, 0, "port {start:#x} claimed twice");
            *owner = number;
        }
        self.claims.push(Claim { start, len, widest, device });
    }

    /// The claim that takes this access in one piece.
    fn whole(&self, port: u16, width: Width) -> Option<(&Claim, u16)> {
        let claim = self.claim_at(port)?;
        let offset = port - claim.start;
        let fits = u64::from(offset) + width.bytes() <= u64::from(claim.len);
        (fits && width.bytes() <= claim.widest.bytes()).then_some((claim, offset))
    }

    fn claim_at(&self, port: u16) -> Option<&Claim> {
        let number = usize::from(self.owner[usize::from(port)]);
        self.claims.get(number.wrapping_sub(1))
    }

    /// Does some device answer at a port that this access reaches? If not, a further bus may be asked.
    pub fn is_claimed(&self, port: u16, width: Width) -> bool {
        (0..width.bytes() as u16).any(|n| self.owner[usize::from(port.wrapping_add(n))] != 0)
    }

    /// IN.
    pub fn read(&self, port: u16, width: Width) -> u32 {
        if let Some((claim, offset)) = self.whole(port, width) {
            return claim.device.read(offset, width) & width.ones() as u32;
        }
        (0..width.bytes() as u16).rev().fold(0, |value, index| {
            let at = port.wrapping_add(index);
            let byte = self
                .claim_at(at)
                .map_or(0xff, |claim| claim.device.read(at - claim.start, Width::Byte) & 0xff);
            value << 8 | byte
        })
    }

    /// OUT.
    pub fn write(&self, port: u16, width: Width, value: u32) {
        if let Some((claim, offset)) = self.whole(port, width) {
            return claim.device.write(offset, width, value & width.ones() as u32);
        }
        for index in 0..width.bytes() as u16 {
            let at = port.wrapping_add(index);
            if let Some(claim) = self.claim_at(at) {
                claim.device.write(at - claim.start, Width::Byte, value >> (8 * index) & 0xff);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    /// Remembers what was written and answers with its mark and the offset.
    struct Probe(u32, Mutex<Vec<(u16, Width, u32)>>);

    impl PortDevice for Probe {
        fn read(&self, offset: u16, _: Width) -> u32 {
            self.0 + u32::from(offset)
        }
        fn write(&self, offset: u16, width: Width, value: u32) {
            self.1.lock().unwrap().push((offset, width, value));
        }
    }

    fn bus() -> (PortBus, Arc<Probe>, Arc<Probe>) {
        let narrow = Arc::new(Probe(0x10, Mutex::default()));
        let wide = Arc::new(Probe(0x20, Mutex::default()));
        let mut bus = PortBus::default();
        bus.claim(0x60, 2, Width::Byte, narrow.clone());
        bus.claim(0x62, 4, Width::Dword, wide.clone());
        (bus, narrow, wide)
    }

    #[test]
    fn a_wide_access_to_a_narrow_device_is_split() {
        let (bus, narrow, wide) = bus();
        assert_eq!(bus.read(0x60, Width::Dword), 0x2120_1110);
        bus.write(0x61, Width::Word, 0xbbaa);
        assert_eq!(*narrow.1.lock().unwrap(), [(1, Width::Byte, 0xaa)]);
        assert_eq!(*wide.1.lock().unwrap(), [(0, Width::Byte, 0xbb)]);
    }

    #[test]
    fn a_wide_device_gets_what_fits_in_one_piece() {
        let (bus, _, wide) = bus();
        bus.write(0x62, Width::Dword, 0x1234_5678);
        bus.write(0x65, Width::Word, 0xddcc);
        assert_eq!(*wide.1.lock().unwrap(), [(0, Width::Dword, 0x1234_5678), (3, Width::Byte, 0xcc)]);
    }

    #[test]
    fn nobody_answers_with_ones_and_the_space_wraps() {
        let (mut bus, narrow, _) = bus();
        assert_eq!(bus.read(0x64, Width::Byte), 0x22);
        assert_eq!(bus.read(0x65, Width::Dword), 0xffff_ff23);
        assert_eq!(bus.read(0x80, Width::Word), 0xffff);
        assert!(bus.is_claimed(0x5f, Width::Word) && !bus.is_claimed(0x5e, Width::Word));
        bus.claim(0, 1, Width::Byte, narrow);
        assert_eq!(bus.read(0xffff, Width::Word), 0x10ff);
    }
}
