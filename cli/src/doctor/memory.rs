//! The host's memory.

use std::fs;

use nix::sys::memfd::{MFdFlags, memfd_create};

use super::finding::{Finding, Status};
use crate::args::show_size;

/// A guest of the default size, and some for us.
const COMFORT: u64 = 1 << 30;

/// How much there is.
pub fn ram() -> Finding {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let (total, free) = (field(&text, "MemTotal"), field(&text, "MemAvailable"));
    let found = format!("{} of {} available", show_size(free), show_size(total));
    let finding = Finding::good(
        "memory",
        "Memory",
        found,
        "A guest takes what it touches, up to `--memory` (512M unless said).",
    );
    match free < COMFORT {
        true => finding.but(Status::Limited, "give guests less (--memory 256M), or stop other programs"),
        false => finding,
    }
}

/// Huge pages.
pub fn huge_pages() -> Finding {
    let transparent = fs::read_to_string("/sys/kernel/mm/transparent_hugepage/enabled").unwrap_or_default();
    let reserved = number(&fs::read_to_string("/proc/meminfo").unwrap_or_default(), "HugePages_Total");
    judge_huge_pages(chosen(&transparent), reserved)
}

fn judge_huge_pages(transparent: Option<&str>, reserved: u64) -> Finding {
    let mode = transparent.unwrap_or("absent");
    let finding = |meaning| {
        let found = format!("transparent: {mode}; reserved: {reserved}");
        Finding::good("huge-pages", "Huge pages", found, meaning)
    };
    match transparent {
        Some("always" | "madvise") => {
            finding("Guest memory gets huge pages by itself, which makes it faster to reach.")
        }
        Some(_) => finding("Guest memory lies in small pages, which are slower to reach.")
            .but(Status::Limited, "echo madvise | sudo tee /sys/kernel/mm/transparent_hugepage/enabled"),
        None => finding("Guest memory lies in small pages, which are slower to reach.").but(
            Status::Missing,
            "the kernel has none, or hides them (a sandbox); nothing can be done from here",
        ),
    }
}

/// Memory that two processes can share.
pub fn memfd() -> Finding {
    let (id, name) = ("memfd", "memfd");
    match memfd_create(c"ringfence-doctor", MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING) {
        Ok(_) => Finding::good(id, name, "works", "Guest memory can be shared with driver processes."),
        Err(error) => {
            Finding::good(id, name, error.desc(), "Guest memory cannot be shared with driver processes.")
                .but(Status::Missing, "let the sandbox's seccomp filter pass memfd_create(2)")
        }
    }
}

/// The word in brackets.
fn chosen(text: &str) -> Option<&str> {
    Some(text.split_once('[')?.1.split_once(']')?.0)
}

/// A field of proc_meminfo(5) in bytes.
fn field(text: &str, name: &str) -> u64 {
    number(text, name).saturating_mul(1024)
}

fn number(text: &str, name: &str) -> u64 {
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    value.and_then(|value| value.split_ascii_whitespace().next()?.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn huge_pages_by_mode() {
        let status = |mode| judge_huge_pages(mode, 0).status;
        assert_eq!(status(chosen("always [madvise] never\n")), Status::Good);
        assert_eq!(status(chosen("[always] madvise never\n")), Status::Good);
        assert_eq!(status(chosen("always madvise [never]\n")), Status::Limited);
        assert_eq!(status(chosen("")), Status::Missing);
    }

    #[test]
    fn fields() {
        let text = "MemTotal:  8 kB\nHugePages_Total:       3\n";
        assert_eq!(
            (field(text, "MemTotal"), number(text, "HugePages_Total"), number(text, "Mem")),
            (8192, 3, 0)
        );
    }

    #[test]
    fn a_memfd_can_be_had_where_tests_run() {
        assert_eq!(memfd().status, Status::Good);
    }
}
