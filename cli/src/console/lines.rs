//! Lines out of a stream of bytes, however it is cut.

/// A longer line is cut: no guest makes us hold more.
const LONGEST: usize = 4096;

/// Collects lines.
#[derive(Debug, Default)]
pub struct Lines {
    line: Vec<u8>,
}

impl Lines {
    /// Takes bytes in and calls `each` with every line that is complete, without its end. Bytes that are no UTF-8
    /// are replaced.
    pub fn push(&mut self, bytes: &[u8], mut each: impl FnMut(&str)) {
        for piece in bytes.split_inclusive(|&byte| byte == b'\n') {
            let (content, ended) = match piece.strip_suffix(b"\n") {
                Some(content) => (content, true),
                None => (piece, false),
            };
            let room = LONGEST - self.line.len();
            self.line.extend_from_slice(&content[..content.len().min(room)]);
            if ended {
                let line = self.line.strip_suffix(b"\r").unwrap_or(&self.line);
                each(&String::from_utf8_lossy(line));
                self.line.clear();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(pieces: &[&[u8]]) -> Vec<String> {
        let (mut lines, mut all) = (Lines::default(), Vec::new());
        for piece in pieces {
            lines.push(piece, |line| all.push(line.to_owned()));
        }
        all
    }

    #[test]
    fn however_they_are_cut() {
        let expected = ["one", "", "three \u{fffd}"];
        assert_eq!(lines(&[b"one\r\n\nthree \xff\nrest"]), expected);
        assert_eq!(lines(&[b"on", b"e\r", b"\n", b"\n", b"thr", b"ee \xff\n", b"re", b"st"]), expected);
    }

    #[test]
    fn an_endless_line_is_cut() {
        let endless = vec![b'x'; 10_000];
        assert_eq!(lines(&[&endless, &endless, b"\nnext\n"]), [&"x".repeat(LONGEST)[..], "next"]);
    }
}
