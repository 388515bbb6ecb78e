//! The debug consoles of Bochs (port E9h) and SeaBIOS (port 402h): bytes that end up in the log.

/// Collects lines; a line is cut at its bound, so a guest can fill neither memory nor one log entry.
#[derive(Debug, Default)]
pub struct DebugConsole {
    line: Vec<u8>,
}

/// The most bytes of a line.
const MOST: usize = 256;

impl DebugConsole {
    /// What reading the port gives, by which guests know that it is there.
    pub const PRESENT: u8 = 0xe9;

    /// Takes a byte; gives a line when one is complete.
    pub fn write(&mut self, byte: u8) -> Option<String> {
        if byte != b'\n' {
            self.line.push(byte);
        }
        (byte == b'\n' || self.line.len() == MOST).then(|| {
            let text = self.line.escape_ascii().to_string();
            self.line.clear();
            text
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_out_whole_and_bounded() {
        let mut console = DebugConsole::default();
        assert!(b"boot\x1b".iter().all(|&byte| console.write(byte).is_none()));
        assert_eq!(
            console.write(b'\n').as_deref(),
            Some("boot\\x1b"),
            "control characters are shown, not sent"
        );
        let flood: Vec<_> = (0..10_000).filter_map(|_| console.write(b'x')).collect();
        assert_eq!(flood.len(), 10_000 / MOST);
    }
}
