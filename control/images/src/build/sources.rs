//! Where an installed system's packages come from, while it is built and ever after: the mirrors that the host uses.
//!
//! Of the host's sources those count that are the distribution's own, since others may need keys and passwords that
//! are none of a guest's business. If another suite is wanted than the host's, its name takes the place of the
//! host's in each of them: `bookworm-security` becomes `trixie-security`.

use std::collections::{BTreeMap, BTreeSet};

use crate::apt::{KEYS, Target};

/// Whose suites are taken.
const ORIGIN: &str = "Debian";

/// The suite where the host has none.
const DEFAULT_SUITE: &str = "bookworm";

/// What a host without sources of Debian's uses.
const DEFAULT_MIRRORS: [(&str, &str); 2] =
    [("http://deb.debian.org/debian", ""), ("http://deb.debian.org/debian-security", "-security")];

/// The sources of one suite.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sources {
    /// The suite's code name.
    pub suite: String,
    /// For each mirror and suite its components.
    lines: BTreeMap<(String, String), BTreeSet<String>>,
}

impl Sources {
    /// The sources of `suite`, or of the host's own, going by the host's `targets`.
    pub(crate) fn new(targets: &[Target], suite: Option<&str>) -> Self {
        let ours = || targets.iter().filter(|target| target.origin == ORIGIN);
        // `bookworm` stands before `bookworm-updates`; of several suites the one that was asked for, or the first.
        let bases: BTreeSet<_> = ours().map(|target| base(&target.codename)).collect();
        let host = suite.filter(|suite| bases.contains(suite)).or_else(|| bases.first().copied());
        let suite = suite.or(host).unwrap_or(DEFAULT_SUITE).to_owned();
        let mut lines = BTreeMap::<_, BTreeSet<_>>::new();
        for target in ours().filter(|target| Some(base(&target.codename)) == host) {
            let codename = format!("{suite}{}", &target.codename[base(&target.codename).len()..]);
            // A guest cannot reach the host's files.
            if target.uri.starts_with("http") {
                lines.entry((target.uri.clone(), codename)).or_default().insert(target.component.clone());
            }
        }
        if lines.is_empty() {
            for (uri, suffix) in DEFAULT_MIRRORS {
                lines.insert((uri.to_owned(), format!("{suite}{suffix}")), ["main".to_owned()].into());
            }
        }
        Self { suite, lines }
    }

    /// As sources.list(5) has it.
    pub(crate) fn list(&self) -> String {
        let line = |((uri, suite), components): (&(String, String), &BTreeSet<String>)| {
            let components: Vec<_> = components.iter().map(String::as_str).collect();
            format!("deb [signed-by={KEYS}] {uri} {suite} {}\n", components.join(" "))
        };
        self.lines.iter().map(line).collect()
    }
}

/// `bookworm` of `bookworm-updates`.
fn base(codename: &str) -> &str {
    codename.split(['-', '/']).next().unwrap_or(codename)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(origin: &str, codename: &str, component: &str, uri: &str) -> Target {
        let [origin, codename, component, uri] = [origin, codename, component, uri].map(str::to_owned);
        Target { origin, codename, component, uri }
    }

    fn host() -> Vec<Target> {
        vec![
            target("Debian", "bookworm", "contrib", "http://m/debian"),
            target("Debian", "bookworm", "main", "http://m/debian"),
            target("Debian", "bookworm-security", "main", "http://m/security"),
            target("Another", "bookworm", "stable", "https://another/debian"),
        ]
    }

    #[test]
    fn the_hosts_own_suite_from_the_hosts_mirrors() {
        let sources = Sources::new(&host(), None);
        assert_eq!(sources.suite, "bookworm");
        assert_eq!(
            sources.list(),
            format!(
                "deb [signed-by={KEYS}] http://m/debian bookworm contrib main\n\
                 deb [signed-by={KEYS}] http://m/security bookworm-security main\n"
            )
        );
        assert_eq!(Sources::new(&host(), Some("bookworm")), sources);
    }

    #[test]
    fn another_suite_takes_the_place_of_the_hosts() {
        let list = Sources::new(&host(), Some("trixie")).list();
        assert!(list.contains("http://m/debian trixie contrib main\n"), "{list}");
        assert!(list.contains("http://m/security trixie-security main\n"), "{list}");
        let mut mixed = host();
        mixed.push(target("Debian", "trixie", "main", "https://n/debian"));
        let trixie = Sources::new(&mixed, Some("trixie"));
        assert_eq!(trixie.list(), format!("deb [signed-by={KEYS}] https://n/debian trixie main\n"));
    }

    #[test]
    fn a_host_without_debian_or_with_files_only() {
        for targets in [vec![], vec![target("Debian", "bookworm", "main", "file:/mirror")]] {
            let sources = Sources::new(&targets, None);
            assert!(sources.list().contains("http://deb.debian.org/debian bookworm main\n"));
        }
    }
}
