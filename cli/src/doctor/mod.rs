//! `ringfence doctor`: what this host offers, what that means for the user, and what to do about it.
//!
//! A file for each subject. None changes anything on the host. What might hang or crash is tried in a [`probe`], a
//! process of its own.

mod cgroups;
mod cpu;
mod finding;
mod images;
mod kvm;
mod memory;
mod namespaces;
mod network;
mod probe;
mod userfaultfd;

use std::io::{self, Write};

use crate::exit::Exit;
use crate::failure::Failure;

use finding::Finding;

pub use probe::Probe;

/// Examines the host and prints what it finds.
pub fn doctor(json: bool) -> Result<u8, Failure> {
    let findings = examine();
    let cannot = |error: io::Error| match error.kind() {
        // A reader that has seen enough.
        io::ErrorKind::BrokenPipe => Ok(0),
        _ => Err(Failure::new(Exit::Failure, format!("cannot write standard output: {error}"))),
    };
    let written = match json {
        true => {
            let text = serde_json::to_string_pretty(&findings).map_err(|e| Failure::new(Exit::Failure, e))?;
            writeln!(io::stdout().lock(), "{text}")
        }
        false => findings.iter().try_for_each(|finding| write!(anstream::stdout().lock(), "{finding}")),
    };
    written.map_or_else(cannot, |()| Ok(0))
}

fn examine() -> Vec<Finding> {
    vec![
        kvm::finding(),
        cpu::level(),
        cpu::features(),
        memory::ram(),
        memory::huge_pages(),
        memory::memfd(),
        userfaultfd::finding(),
        network::tun(),
        cgroups::finding(),
        namespaces::finding(),
        images::apt(),
        images::store(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_finding_is_complete() {
        let findings = examine();
        let ids: BTreeSet<_> = findings.iter().map(|finding| finding.id).collect();
        assert_eq!(ids.len(), findings.len());
        for finding in findings {
            assert!(!finding.found.is_empty() && finding.meaning.ends_with('.'), "{finding:?}");
            assert!(finding.status == finding::Status::Good || finding.advice.is_some(), "{finding:?}");
        }
    }
}
