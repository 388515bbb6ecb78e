//! How much memory the host could give.

use std::fs;

/// The host's memory and swap space in bytes, if it tells.
pub fn total() -> Option<u64> {
    total_in(&fs::read_to_string("/proc/meminfo").ok()?)
}

/// Of proc_meminfo(5).
fn total_in(text: &str) -> Option<u64> {
    let field = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        line.trim().strip_suffix(" kB")?.parse::<u64>().ok()?.checked_mul(1024)
    };
    Some(field("MemTotal")?.saturating_add(field("SwapTotal").unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_and_swap() {
        assert_eq!(
            total_in("MemTotal:       24684452 kB\nMemFree: 1 kB\nSwapTotal: 4 kB\n"),
            Some(24_684_456 * 1024)
        );
        assert_eq!(total_in("MemTotal: 8 kB\n"), Some(8192));
        assert_eq!(total_in("MemTotal: lots\n"), None);
        assert!(total().is_some_and(|bytes| bytes > 1 << 20));
    }
}
