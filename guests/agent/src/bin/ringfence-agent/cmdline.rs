//! The kernel command line: which device is the channel.

use std::fs;
use std::path::{Path, PathBuf};

const CHANNEL: &str = "ringfence.channel=";
const DEFAULT_CHANNEL: &str = "ttyS1";

/// The channel's device node, by `/proc/cmdline`.
pub fn channel() -> PathBuf {
    channel_in(&fs::read_to_string("/proc/cmdline").unwrap_or_default())
}

/// As for the kernel's own parameters, the last one counts.
fn channel_in(cmdline: &str) -> PathBuf {
    let name = cmdline.split_ascii_whitespace().filter_map(|word| word.strip_prefix(CHANNEL)).next_back();
    Path::new("/dev").join(name.unwrap_or(DEFAULT_CHANNEL))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_channel_is_a_parameter_with_a_default() {
        assert_eq!(channel_in("console=ttyS0 quiet\n"), Path::new("/dev/ttyS1"));
        assert_eq!(channel_in("console=ttyS0 ringfence.channel=vport0p1\n"), Path::new("/dev/vport0p1"));
        assert_eq!(channel_in("ringfence.channel=hvc0 ringfence.channel=hvc1"), Path::new("/dev/hvc1"));
        assert_eq!(channel_in("ringfence.channel=/dev/ttyS2"), Path::new("/dev/ttyS2"));
    }
}
