//! The kernel command line: which device is the channel where it is not to be looked for, and what the network is.

use std::fs;
use std::path::{Path, PathBuf};

use ringfence_agent::Network;

const CHANNEL: &str = "ringfence.channel=";

/// The channel's device node, if `/proc/cmdline` says which.
pub fn channel() -> Option<PathBuf> {
    channel_in(&fs::read_to_string("/proc/cmdline").unwrap_or_default())
}

/// The network that the host describes, by `/proc/cmdline`; what is no network is passed over.
pub fn network() -> Option<Network> {
    network_in(&fs::read_to_string("/proc/cmdline").unwrap_or_default())
}

/// As for the kernel's own parameters, the last one counts.
fn last<'a>(cmdline: &'a str, word: &str) -> Option<&'a str> {
    cmdline.split_ascii_whitespace().filter_map(|found| found.strip_prefix(word)).next_back()
}

fn network_in(cmdline: &str) -> Option<Network> {
    last(cmdline, Network::WORD)?.parse().ok()
}

fn channel_in(cmdline: &str) -> Option<PathBuf> {
    last(cmdline, CHANNEL).map(|device| Path::new("/dev").join(device))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_channel_is_a_parameter() {
        let channel = |cmdline| channel_in(cmdline).map(|path| path.to_string_lossy().into_owned());
        assert_eq!(channel("console=ttyS0 quiet\n"), None);
        assert_eq!(channel("console=ttyS0 ringfence.channel=vport0p1\n").unwrap(), "/dev/vport0p1");
        assert_eq!(channel("ringfence.channel=hvc0 ringfence.channel=hvc1").unwrap(), "/dev/hvc1");
        assert_eq!(channel("ringfence.channel=/dev/ttyS2").unwrap(), "/dev/ttyS2");
    }

    #[test]
    fn the_network_is_a_parameter_without_one() {
        let text = "eth0,10.0.2.15/24,10.0.2.2,10.0.2.3";
        assert_eq!(network_in(&format!("panic=-1 ringfence.net={text}\n")).unwrap().to_string(), text);
        assert_eq!(network_in("panic=-1 ringfence.net=eth0"), None);
        assert_eq!(network_in("panic=-1"), None);
    }
}
