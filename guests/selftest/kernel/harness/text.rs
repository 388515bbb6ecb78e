//! Text without an allocator.

use core::fmt;

/// Up to 255 bytes of text; what does not fit is cut.
#[derive(Clone, Copy)]
pub struct Text {
    bytes: [u8; Self::CAPACITY],
    length: usize,
}

impl Text {
    const CAPACITY: usize = 255;

    /// No text.
    pub const fn new() -> Self {
        Self { bytes: [0; Self::CAPACITY], length: 0 }
    }

    /// Appends a byte (what is not ASCII becomes `?`); false if there is no room.
    pub fn push(&mut self, byte: u8) -> bool {
        if self.length == Self::CAPACITY {
            return false;
        }
        self.bytes[self.length] = if byte.is_ascii() { byte } else { b'?' };
        self.length += 1;
        true
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        // ASCII only, by `push`.
        core::str::from_utf8(&self.bytes[..self.length]).unwrap_or("")
    }
}

impl fmt::Write for Text {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            self.push(byte);
        }
        Ok(())
    }
}

/// Formats into a [`Text`].
macro_rules! text {
    ($($argument:tt)*) => {{
        use core::fmt::Write as _;
        let mut text = $crate::harness::Text::new();
        let _ = write!(text, $($argument)*);
        text
    }};
}
