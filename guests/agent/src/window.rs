//! How much input and output may be under way to and from a command.

/// The bytes of standard input that may be under way in one session: sent, but not yet reported taken.
pub const STDIN_WINDOW: usize = 8192;

/// The sessions that the agent runs side by side. With [`STDIN_WINDOW`] bytes each, an agent that does not
/// get to run at all still leaves the kernel's receive buffer (640 KiB, `TTYB_DEFAULT_MEM_LIMIT` in
/// `tty_buffer.c`; 64 KiB in older ones) with nothing to drop.
pub const MAX_SESSIONS: usize = 8;

/// The bytes of standard output and standard error that may be under way in one session: sent, but not yet reported
/// taken. A session whose output nobody reads holds up no other.
pub const OUTPUT_WINDOW: usize = 256 << 10;

/// The sender's count of the room that a session's input or output has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Window {
    room: usize,
    size: usize,
}

impl Window {
    /// The window of a new session's input.
    pub const fn input() -> Self {
        Self { room: STDIN_WINDOW, size: STDIN_WINDOW }
    }

    /// The window of a new session's output.
    pub const fn output() -> Self {
        Self { room: OUTPUT_WINDOW, size: OUTPUT_WINDOW }
    }

    /// How many bytes may be sent now.
    pub const fn room(&self) -> usize {
        self.room
    }

    /// Counts `bytes` as sent. More than there is room for is a mistake of the caller's, and leaves no room.
    pub fn sent(&mut self, bytes: usize) {
        debug_assert!(bytes <= self.room, "sent {bytes} bytes into a window of {}", self.room);
        self.room = self.room.saturating_sub(bytes);
    }

    /// Counts what the other side reports as taken. Room never exceeds the window, whatever it claims.
    pub fn taken(&mut self, bytes: u32) {
        let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
        self.room = self.room.saturating_add(bytes).min(self.size);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_goes_with_what_is_sent_and_comes_back_with_what_is_taken() {
        let mut window = Window::input();
        window.sent(STDIN_WINDOW - 1);
        assert_eq!(window.room(), 1);
        window.taken(99);
        assert_eq!(window.room(), 100);
    }

    #[test]
    fn a_lying_guest_gains_no_room() {
        let mut window = Window::input();
        window.sent(1);
        window.taken(u32::MAX);
        assert_eq!(window.room(), STDIN_WINDOW);
    }
}
