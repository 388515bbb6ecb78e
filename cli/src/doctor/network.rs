//! What a guest's network could be connected to.

use std::fs::{self, OpenOptions};
use std::io;

use super::finding::{Finding, Status};

/// CAP_NET_ADMIN (capabilities(7)).
const NET_ADMIN: u32 = 12;

/// The TUN driver.
pub fn tun() -> Finding {
    let opened = OpenOptions::new().read(true).write(true).open("/dev/net/tun").map(|_| ());
    judge(opened, can_administer(&fs::read_to_string("/proc/self/status").unwrap_or_default()))
}

fn judge(opened: io::Result<()>, administer: bool) -> Finding {
    let (id, name) = ("tun", "TUN");
    match (opened, administer) {
        (Ok(()), true) => {
            Finding::good(id, name, "works", "Tap interfaces can be made for guests' networks.")
        }
        (Ok(()), false) => Finding::good(
            id,
            name,
            "there, without the right to make interfaces (CAP_NET_ADMIN)",
            "Only tap interfaces that somebody made for you can be used.",
        )
        .but(Status::Limited, "sudo ip tuntap add mode tap user $USER name tap0"),
        (Err(error), _) => Finding::good(
            id,
            name,
            format!("/dev/net/tun: {error}"),
            "Guests cannot be connected to tap interfaces or bridges.",
        )
        .but(Status::Missing, "sudo modprobe tun; in a container: pass /dev/net/tun in"),
    }
}

fn can_administer(status: &str) -> bool {
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let mask = line.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    mask >> NET_ADMIN & 1 == 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn with_and_without_the_right() {
        assert!(can_administer("CapEff:\t000001ffffffffff\n"));
        assert!(!can_administer("CapEff:\t0000000000000000\n"));
        assert_eq!(judge(Ok(()), true).status, Status::Good);
        assert_eq!(judge(Ok(()), false).status, Status::Limited);
        assert_eq!(judge(Err(io::ErrorKind::NotFound.into()), true).status, Status::Missing);
    }
}
