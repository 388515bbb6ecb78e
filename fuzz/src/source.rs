//! An input read as a stream of choices. Past its end everything is zero, so that any bytes are a valid input and a
//! shorter one is a simpler one.

/// The rest of an input.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a>(&'a [u8]);

impl<'a> Source<'a> {
    /// All of an input.
    pub fn new(input: &'a [u8]) -> Self {
        Self(input)
    }

    /// Is everything used up?
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The next bytes, as many as there are up to `count`.
    pub fn take(&mut self, count: usize) -> &'a [u8] {
        let (head, tail) = self.0.split_at(count.min(self.0.len()));
        self.0 = tail;
        head
    }

    /// All that is left.
    pub fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.0)
    }

    /// The next byte.
    pub fn byte(&mut self) -> u8 {
        self.number(1) as u8
    }

    /// The next two bytes.
    pub fn word(&mut self) -> u16 {
        self.number(2) as u16
    }

    /// The next four bytes.
    pub fn dword(&mut self) -> u32 {
        self.number(4) as u32
    }

    /// The next eight bytes.
    pub fn qword(&mut self) -> u64 {
        self.number(8)
    }

    /// A choice of one in `count`, which is not zero.
    pub fn below(&mut self, count: usize) -> usize {
        usize::from(self.byte()) % count
    }

    /// One of these.
    pub fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }

    /// True once in `times`; false at the end of the input.
    pub fn once_in(&mut self, times: u8) -> bool {
        self.byte() % times == times - 1
    }

    fn number(&mut self, bytes: usize) -> u64 {
        self.take(bytes).iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn past_the_end_everything_is_zero() {
        let mut source = Source::new(&[1, 2, 3]);
        assert_eq!((source.word(), source.dword(), source.qword()), (0x201, 3, 0));
        assert!(source.is_empty() && !source.once_in(2) && source.rest().is_empty());
    }
}
