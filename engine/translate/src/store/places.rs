//! Which guest instruction a place in a block belongs to, for all blocks in one list of bytes.
//!
//! A *place* is a host offset in the block and the guest offset in the page of the instruction that begins there. Host offsets
//! ascend, by less than a hundred bytes mostly, and guest offsets by the length of an instruction: so a place is the two
//! differences to the one before, a byte each. Where that does not do, it is `ESCAPE` and both offsets.

/// Not a difference of host offsets.
const ESCAPE: u8 = u8::MAX;

/// The places of all blocks.
#[derive(Default)]
pub(super) struct Places(Vec<u8>);

impl Places {
    /// Where the next block's places will begin.
    pub fn next(&self) -> u32 {
        self.0.len() as u32
    }

    /// Adds a place to the last block's; `before` is the one before, zeros for the first.
    fn push(&mut self, before: (u16, u16), place: (u16, u16)) {
        let host = place.0.wrapping_sub(before.0);
        let guest = place.1.wrapping_sub(before.1) as i16;
        match (u8::try_from(host), i8::try_from(guest)) {
            (Ok(host), Ok(guest)) if host != ESCAPE => self.0.extend([host, guest as u8]),
            _ => {
                self.0.push(ESCAPE);
                self.0.extend(place.0.to_le_bytes());
                self.0.extend(place.1.to_le_bytes());
            }
        }
    }

    /// Adds the places of the next block.
    pub fn add(&mut self, places: impl IntoIterator<Item = (u16, u16)>) {
        let mut before = (0, 0);
        for place in places {
            self.push(before, place);
            before = place;
        }
    }

    /// The places of the block whose bytes are `[from, to)`.
    pub fn of(&self, from: u32, to: u32) -> impl Iterator<Item = (u16, u16)> {
        let mut bytes = self.0[from as usize..to as usize].iter().copied();
        let mut place = (0u16, 0u16);
        std::iter::from_fn(move || {
            let host = bytes.next()?;
            if host == ESCAPE {
                let mut word = || Some(u16::from_le_bytes([bytes.next()?, bytes.next()?]));
                place = (word()?, word()?);
            } else {
                let guest = i16::from(bytes.next()? as i8);
                place = (place.0.wrapping_add(u16::from(host)), place.1.wrapping_add_signed(guest));
            }
            Some(place)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_added_is_found() {
        let mut places = Places::default();
        let first = [(0, 4000), (12, 4000), (12, 4003), (266, 4010), (521, 4025), (5000, 4020), (65535, 0)];
        let second = [(0, 0), (254, 127), (508, 255), (763, 127), (764, 0)];
        let mut starts = vec![];
        for list in [&first[..], &[], &second] {
            starts.push(places.next());
            places.add(list.iter().copied());
        }
        starts.push(places.next());
        let of = |n: usize| places.of(starts[n], starts[n + 1]).collect::<Vec<_>>();
        assert_eq!((&of(0)[..], of(1).len(), &of(2)[..]), (&first[..], 0, &second[..]));
        assert!(places.next() < 45);
    }
}
