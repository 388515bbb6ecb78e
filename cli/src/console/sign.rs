//! Lines on the console that tell how it goes with the guest.

use images::exec;

/// What a line says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sign {
    /// The kernel panicked, for this reason.
    Panic(String),
    /// User space runs, in guests without the agent.
    Reached,
    /// The command has ended with this status, in guests without the agent.
    Status(u8),
}

impl Sign {
    /// What `line` says, if anything.
    pub fn of(line: &str) -> Option<Self> {
        let text = without_timestamp(line.trim_end());
        // Linux: kernel/panic.c. GNU Mach: kern/debug.c, with a place in the source. The BSDs: "panic: ".
        let mach = |text: &str| text.contains(".c:").then(|| text.to_owned());
        if let Some(reason) = text.strip_prefix("Kernel panic - not syncing") {
            return Some(Self::Panic(reason.trim_start_matches(':').trim().to_owned()));
        }
        if let Some(reason) = text.strip_prefix("panic: ") {
            return Some(Self::Panic(reason.to_owned()));
        }
        if let Some(reason) = text.strip_prefix("panic ").and_then(mach) {
            return Some(Self::Panic(reason));
        }
        if text == exec::REACHED {
            return Some(Self::Reached);
        }
        exec::status(text).map(Self::Status)
    }
}

/// A line of printk without its `[    1.234567] ` or, with CONFIG_PRINTK_CALLER, `[    1.234567][    T1] `.
fn without_timestamp(line: &str) -> &str {
    let mut rest = line;
    while let Some((inside, behind)) = rest.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        let number = inside.trim_start_matches([' ', 'T', 'C']);
        if number.is_empty() || !number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
            break;
        }
        rest = behind.trim_start_matches(' ');
    }
    rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn panics() {
        let vfs = "VFS: Unable to mount root fs on unknown-block(0,0)";
        for line in [
            format!("[    0.712345] Kernel panic - not syncing: {vfs}"),
            format!("[    0.712345][    T1] Kernel panic - not syncing: {vfs}\r"),
            format!("Kernel panic - not syncing: {vfs}"),
            format!("panic: {vfs}"),
        ] {
            assert_eq!(Sign::of(&line), Some(Sign::Panic(vfs.to_owned())), "{line}");
        }
    }

    #[test]
    fn other_kernels_panics() {
        let reason = "../kern/bootstrap.c:181: bootstrap_create: No bootstrap code loaded with the kernel!";
        assert_eq!(Sign::of(&format!("panic {reason}")), Some(Sign::Panic(reason.to_owned())));
        assert_eq!(
            Sign::of("panic: ffs_alloc: bad size"),
            Some(Sign::Panic("ffs_alloc: bad size".to_owned()))
        );
    }

    #[test]
    fn what_only_speaks_of_panics() {
        for line in [
            "[    0.0] Command line: panic=-1",
            "---[ end Kernel panic - not syncing: x ]---",
            "panic mode",
            "echo Kernel panic - not syncing",
            "[x] Kernel panic - not syncing",
            "",
        ] {
            assert_eq!(Sign::of(line), None, "{line}");
        }
    }

    #[test]
    fn guests_without_the_agent() {
        assert_eq!(Sign::of("ringfence: userspace reached\r"), Some(Sign::Reached));
        assert_eq!(Sign::of("ringfence: status 7"), Some(Sign::Status(7)));
        assert_eq!(Sign::of("ringfence: status x"), None);
    }
}
