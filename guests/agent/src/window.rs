//! How much input may be under way to a command.

/// The bytes of standard input that may be under way in one session: sent, but not yet reported taken.
pub const STDIN_WINDOW: usize = 8192;

/// The sessions that the agent runs side by side. With [`STDIN_WINDOW`] bytes each, an agent that does not
/// get to run at all still leaves the kernel's receive buffer (640 KiB, `TTYB_DEFAULT_MEM_LIMIT` in
/// `tty_buffer.c`; 64 KiB in older ones) with nothing to drop.
pub const MAX_SESSIONS: usize = 8;

/// The host's count of the room that a session's input has. Starts with [`STDIN_WINDOW`] bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Window {
    room: usize,
}

impl Window {
    /// The window of a new session.
    pub const fn new() -> Self {
        Self { room: STDIN_WINDOW }
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

    /// Counts what a [`crate::Reply::StdinTaken`] reports. Room never exceeds the window, whatever the guest
    /// claims.
    pub fn taken(&mut self, bytes: u32) {
        let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
        self.room = self.room.saturating_add(bytes).min(STDIN_WINDOW);
    }
}

impl Default for Window {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_goes_with_what_is_sent_and_comes_back_with_what_is_taken() {
        let mut window = Window::new();
        window.sent(STDIN_WINDOW - 1);
        assert_eq!(window.room(), 1);
        window.taken(99);
        assert_eq!(window.room(), 100);
    }

    #[test]
    fn a_lying_guest_gains_no_room() {
        let mut window = Window::new();
        window.sent(1);
        window.taken(u32::MAX);
        assert_eq!(window.room(), STDIN_WINDOW);
    }
}
