//! What is ours in an installed system: a handful of files, each where an administrator would look for it.

use std::io::{self, Write};
use std::net::IpAddr;

use super::sources::Sources;
use super::tree::Tree;

/// The directory of what only the installation needs.
pub(crate) const WORK: &str = "ringfence";

/// Files that are the same in every system: path, mode, text.
const FILES: &[(&str, u32, &str)] = &[
    ("etc/systemd/network/80-dhcp.network", 0o644, include_str!("root/80-dhcp.network")),
    ("etc/systemd/system.conf.d/80-ringfence.conf", 0o644, include_str!("root/80-ringfence.conf")),
    ("etc/systemd/system/ringfence-agent.service", 0o644, include_str!("root/ringfence-agent.service")),
    (
        "etc/systemd/system/ringfence-host-keys.service",
        0o644,
        include_str!("root/ringfence-host-keys.service"),
    ),
    ("etc/systemd/system/ringfence-seed.service", 0o644, include_str!("root/ringfence-seed.service")),
    ("usr/lib/ringfence/seed", 0o755, include_str!("root/seed.sh")),
];

/// The texts of all of them.
pub(super) fn texts() -> String {
    FILES.iter().map(|(_, _, text)| *text).collect()
}

/// What makes this system this one.
#[derive(Debug)]
pub(crate) struct Settings<'a> {
    /// Its host name.
    pub hostname: &'a str,
    /// The UUID of its root file system.
    pub root: &'a str,
    /// Where its packages come from.
    pub sources: &'a Sources,
    /// The proxies that the host's apt uses: `http` or `https`, and an address.
    pub proxies: &'a [(String, String)],
    /// The packages that somebody asked for.
    pub requested: &'a [&'a str],
    /// The guest's agent.
    pub agent: &'a [u8],
}

impl Settings<'_> {
    /// Writes all of it into `tree`.
    pub(crate) fn write(&self, tree: &mut Tree<impl Write>) -> io::Result<()> {
        let Self { hostname, root, sources, proxies, requested, agent } = self;
        let fstab = format!(
            "# <file system> <mount point> <type> <options> <dump> <pass>\nUUID={root} / ext4 errors=remount-ro 0 1\n"
        );
        let hosts = format!("127.0.0.1 localhost\n127.0.1.1 {hostname}\n::1 localhost ip6-localhost\n");
        let texts = [
            ("etc/fstab", fstab),
            ("etc/hostname", format!("{hostname}\n")),
            ("etc/hosts", hosts),
            ("etc/default/locale", "LANG=C.UTF-8\n".to_owned()),
            ("etc/apt/sources.list", sources.list()),
            ("etc/apt/apt.conf.d/80ringfence", conf(proxies)),
            ("ringfence/configure", include_str!("configure.sh").to_owned()),
            ("ringfence/requested", requested.join("\n") + "\n"),
        ];
        for (path, text) in texts {
            tree.file(path, 0o644, text.len() as u64, text.as_bytes())?;
        }
        for (path, mode, text) in FILES {
            tree.file(path, *mode, text.len() as u64, text.as_bytes())?;
        }
        tree.file("usr/lib/ringfence/agent", 0o755, agent.len() as u64, *agent)
    }
}

/// The guest's apt takes its own cue on what to download, and the host's on how.
fn conf(proxies: &[(String, String)]) -> String {
    let mut text = "Acquire::Languages \"none\";\n".to_owned();
    for (scheme, address) in proxies.iter().filter(|(_, address)| is_within_reach(address)) {
        text += &format!("Acquire::{scheme}::Proxy \"{address}\";\n");
    }
    text
}

/// Whether a guest reaches a proxy at this address: one on the host's loopback is not.
fn is_within_reach(address: &str) -> bool {
    let host = address.split_once("://").map_or(address, |(_, rest)| rest);
    let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
    let host = host.split('/').next().unwrap_or(host);
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name).trim_matches(['[', ']']);
    let local = name == "localhost" || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
    !name.is_empty() && !local && !address.contains(['"', ';', '\n'])
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn a_proxy_is_passed_on_where_it_can_be_reached() {
        let proxy = |address: &str| conf(&[("http".to_owned(), address.to_owned())]).contains("Proxy");
        for near in ["http://proxy.example:3128/", "http://user:word@10.1.2.3:8080", "http://[fd00::1]:80"] {
            assert!(proxy(near), "{near}");
        }
        for far in ["http://127.0.0.1:3128", "http://localhost:1/", "http://[::1]:80", "", "DIRECT\";x"] {
            assert!(!proxy(far), "{far}");
        }
    }

    #[test]
    fn scripts_are_scripts() {
        for script in [include_str!("install.sh"), include_str!("configure.sh"), include_str!("root/seed.sh")]
        {
            assert!(Command::new("sh").args(["-n", "-c", script]).status().unwrap().success());
        }
    }

    #[test]
    fn everything_is_where_it_belongs() {
        let settings = Settings {
            hostname: "full",
            root: "0000",
            sources: &Sources::new(&[], None),
            proxies: &[],
            requested: &["fio"],
            agent: b"agent",
        };
        let mut tree = Tree::new(vec![]).unwrap();
        settings.write(&mut tree).unwrap();
        let archive = tree.end().unwrap();
        let mut archive = tar::Archive::new(&archive[..]);
        let paths: Vec<_> =
            archive.entries().unwrap().map(|e| e.unwrap().path().unwrap().display().to_string()).collect();
        for path in ["etc/fstab", "etc/apt/sources.list", "usr/lib/ringfence/agent", "ringfence/configure"] {
            assert!(paths.iter().any(|listed| listed == path), "{path} in {paths:?}");
        }
    }
}
