//! Which pair of queues a received frame belongs to: the one by which the driver last sent to that flow (5.1.6.5.5.1),
//! so that the frames of a connection come to one CPU, in their order.

use base::Buffer;

/// Flows remembered.
const FLOWS: usize = 256;

/// The pair by flow.
#[derive(Debug)]
pub(super) struct Steering {
    pairs: Box<[u8; FLOWS]>,
}

impl Steering {
    /// All flows belong to the first pair.
    pub fn new() -> Self {
        Self { pairs: Box::new([0; FLOWS]) }
    }

    /// The driver sends a frame by a pair.
    pub fn sent(&mut self, frame: &Buffer, pair: u16) {
        self.pairs[flow(frame)] = pair as u8;
    }

    /// The pair to which a received frame belongs, of so many.
    pub fn pair(&self, frame: &Buffer, active: u16) -> u16 {
        u16::from(self.pairs[flow(frame)]) % active.max(1)
    }
}

/// A number for the flow of a frame, the same in both directions; what is no TCP or UDP has one by its addresses.
fn flow(frame: &Buffer) -> usize {
    let mut bytes = [0; 14 + 60 + 4];
    let len = frame.read(0, &mut bytes);
    let bytes = &bytes[..len];
    let xor = |at: usize, len: usize, step: usize| {
        let ends = bytes.get(at..at + len).zip(bytes.get(at + step..at + step + len));
        let (one, other) = ends.unwrap_or((&[], &[]));
        one.iter().zip(other).fold(0u32, |sum, (a, b)| sum.rotate_left(5) ^ u32::from(a ^ b))
    };
    let ports = |protocol: Option<&u8>, at: usize| match protocol {
        Some(6 | 17) => xor(at, 2, 2),
        _ => 0,
    };
    let mixed = match bytes.get(12..14) {
        Some([8, 0]) => {
            let header = usize::from(bytes.get(14).map_or(0, |byte| byte & 15)) * 4;
            // Of a fragment only the first has ports.
            let whole = bytes.get(20..22).is_some_and(|field| field[0] & 0x3f == 0 && field[1] == 0);
            xor(26, 4, 4) ^ if whole { ports(bytes.get(23), 14 + header).rotate_left(16) } else { 0 }
        }
        Some([0x86, 0xdd]) => xor(22, 16, 16) ^ ports(bytes.get(20), 54).rotate_left(16),
        _ => xor(0, 6, 6),
    };
    (mixed.wrapping_mul(0x9e37_79b1) >> 24) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::{GuestMemory, GuestPhys};
    use proptest::prelude::*;
    use std::sync::Arc;

    fn buffer(bytes: &[u8]) -> Buffer {
        let memory = Arc::new(GuestMemory::new(1 << 20).unwrap());
        let mut buffer = Buffer::new(&memory);
        buffer.push(GuestPhys(0x1000), bytes.len() as u64).unwrap();
        buffer.write(0, bytes);
        buffer
    }

    fn tcp(from: ([u8; 4], u16), to: ([u8; 4], u16)) -> Vec<u8> {
        let mut frame = vec![0; 54];
        frame[12] = 8;
        frame[14] = 0x45;
        frame[23] = 6;
        frame[26..30].copy_from_slice(&from.0);
        frame[30..34].copy_from_slice(&to.0);
        frame[34..36].copy_from_slice(&from.1.to_be_bytes());
        frame[36..38].copy_from_slice(&to.1.to_be_bytes());
        frame
    }

    proptest! {
        #[test]
        fn answers_come_to_the_pair_that_asked(one: ([u8; 4], u16), other: ([u8; 4], u16), pair in 0u16..4) {
            let mut steering = Steering::new();
            steering.sent(&buffer(&tcp(one, other)), pair);
            prop_assert_eq!(steering.pair(&buffer(&tcp(other, one)), 4), pair);
            prop_assert!(steering.pair(&buffer(&tcp(other, one)), 2) < 2);
        }

        #[test]
        fn any_frame_has_a_flow(bytes in prop::collection::vec(any::<u8>(), 1..90)) {
            prop_assert!(flow(&buffer(&bytes)) < FLOWS);
        }
    }

    #[test]
    fn flows_are_spread() {
        let flows: std::collections::BTreeSet<usize> = (40_000..40_200)
            .map(|port| flow(&buffer(&tcp(([10, 0, 2, 15], port), ([192, 0, 2, 1], 80)))))
            .collect();
        assert!(flows.len() > 80, "{}", flows.len());
    }
}
