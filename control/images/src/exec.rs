//! Commands for guests without our agent ([`Userspace::Shell`](crate::Userspace)).
//!
//! The command travels as one word of the kernel's command line, a shell script
//! in base64. The guest's `/init` prints [`REACHED`], runs the script, prints a
//! line that [`status`] understands, and powers off. All of it, and the kernel's
//! own chatter, is on the console.

use data_encoding::BASE64;

/// The line that `/init` prints when user space runs.
pub const REACHED: &str = "ringfence: userspace reached";

/// What begins the word with the command.
pub const WORD: &str = "ringfence.exec=";

/// The longest command line that Linux takes on x86, in bytes without the NUL
/// (COMMAND_LINE_SIZE in arch/x86/include/asm/setup.h).
pub const MAX_COMMAND_LINE: usize = 2047;

/// A command that does not fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the command is too long for this guest: with it the kernel's command line has {length} \
     bytes, and {MAX_COMMAND_LINE} fit"
)]
pub struct TooLong {
    /// How long the command line would be, in bytes.
    pub length: usize,
}

/// `command_line` with the word that makes the guest run `script` under `sh`.
pub fn command_line(command_line: &str, script: &str) -> Result<String, TooLong> {
    let line = format!("{command_line} {WORD}{}", BASE64.encode(script.as_bytes()));
    let length = line.len();
    if length > MAX_COMMAND_LINE { Err(TooLong { length }) } else { Ok(line) }
}

/// A script that runs the command `argv`, each argument exactly as it is.
pub fn script<'a>(argv: impl IntoIterator<Item = &'a str>) -> String {
    let quoted = argv.into_iter().map(|arg| format!("'{}'", arg.replace('\'', r"'\''")));
    quoted.collect::<Vec<_>>().join(" ")
}

/// The exit status that a line of the console tells, if it does.
pub fn status(line: &str) -> Option<u8> {
    line.trim_end().strip_prefix("ringfence: status ")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::process::Command;

    #[test]
    fn the_word() {
        let line = command_line("console=ttyS0", "exit 7").unwrap();
        assert_eq!(line, "console=ttyS0 ringfence.exec=ZXhpdCA3");
        let longest = "x".repeat((MAX_COMMAND_LINE - 16) / 4 * 3);
        assert!(command_line("", &longest).is_ok());
        assert!(matches!(command_line("x", &(longest + "xxx")), Err(TooLong { length: 2049.. })));
    }

    #[test]
    fn statuses() {
        assert_eq!(status("ringfence: status 7\r\n"), Some(7));
        for line in ["", "ringfence: status", "ringfence: status 256", "x ringfence: status 1"] {
            assert_eq!(status(line), None, "{line}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn arguments_arrive_as_they_are(args in prop::collection::vec("[^\0]*", 1..5)) {
            let printf = ["printf", "%s\\0"].into_iter().chain(args.iter().map(String::as_str));
            let output = Command::new("sh").args(["-c", &script(printf)]).output().unwrap();
            let expected: String = args.iter().map(|arg| format!("{arg}\0")).collect();
            prop_assert_eq!(output.stdout, expected.into_bytes());
        }
    }
}
