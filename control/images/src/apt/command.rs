//! Runs one of apt's programs in a private root.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::{Arch, explain};
use crate::{Error, Result};

/// The longest line of apt's that is looked at, in bytes.
const MAX_LINE: u64 = 1 << 16;

/// How much of what apt complains about is kept, in bytes.
const MAX_COMPLAINT: u64 = 1 << 14;

/// Our configuration for `arch`, read after the host's own (apt.conf(5)).
///
/// Directories are given as options instead: an option's value is taken as it
/// is, while a file has no way to quote a quote.
pub(super) fn config(arch: Arch) -> String {
    let arch = arch.name();
    format!(
        r#"// Written by Ringfence; see the module `apt` of its crate `ringfence-images`.
APT::Architecture "{arch}";
#clear APT::Architectures;
APT::Architectures {{ "{arch}"; }};
// The host's hooks act on the host.
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
// Only package lists: no translations, contents or icons. This is apt's own
// definition of that target (apt-pkg/init.cc).
#clear Acquire::IndexTargets;
Acquire::IndexTargets::deb::Packages {{
  MetaKey "$(COMPONENT)/binary-$(ARCHITECTURE)/Packages";
  flatMetaKey "Packages";
  ShortDescription "Packages";
  Description "$(RELEASE)/$(COMPONENT) $(ARCHITECTURE) Packages";
  flatDescription "$(RELEASE) Packages";
  Optional "false";
}};
#clear Acquire::Languages;
Acquire::Languages {{ "none"; }};
Acquire::GzipIndexes "true";
Acquire::AllowInsecureRepositories "false";
Acquire::Retries "3";
// A mirror on this host is not behind the host's proxy.
Acquire::http::Proxy::127.0.0.1 "DIRECT";
Acquire::http::Timeout "10";
Acquire::https::Timeout "10";
APT::Get::AllowUnauthenticated "false";
APT::Sandbox::User "root";
// The store has a lock of its own.
Debug::NoLocking "true";
"#
    )
}

/// A program of apt's, about to run.
#[derive(Debug)]
pub(super) struct Tool {
    program: &'static str,
    shown: String,
    root: PathBuf,
    command: Command,
}

/// How a run ended.
#[derive(Debug)]
pub(super) struct Finished {
    /// Whether the program said so.
    pub success: bool,
    shown: String,
    root: PathBuf,
    stderr: String,
}

impl Tool {
    /// `program` asked to do `verb`, with its root in `root`, and with the sources
    /// in that file instead of the host's.
    pub(super) fn new(program: &'static str, verb: &str, root: &Path, sources: Option<&Path>) -> Self {
        let mut command = Command::new(program);
        command.env("LC_ALL", "C.UTF-8").stdin(Stdio::null());
        // Status lines on standard output, and nothing else there.
        command.args(["-qq", "-o", "APT::Status-Fd=1"]).arg("-c").arg(root.join("apt.conf"));
        // A copy of half of pkgcache, which saves time only when the status changes.
        command.args(["-o", "Dir::Cache::srcpkgcache="]);
        let mut option = |key: &str, path: &Path| {
            let mut option = OsStr::new(key).to_owned();
            option.push("=");
            option.push(path);
            command.arg("-o").arg(option);
        };
        for (key, path) in [
            ("Dir::State", "state"),
            ("Dir::State::lists", "lists"),
            ("Dir::State::status", "status"),
            ("Dir::Cache", "cache"),
            ("Dir::Cache::archives", "cache/archives"),
            // Hosts made from container images switch this off.
            ("Dir::Cache::pkgcache", "cache/pkgcache.bin"),
            ("Dir::Log", "state"),
        ] {
            option(key, &root.join(path));
        }
        if let Some(list) = sources {
            option("Dir::Etc::sourcelist", list);
            option("Dir::Etc::sourceparts", Path::new("/dev/null"));
        }
        command.arg(verb);
        Self { program, shown: format!("{program} {verb}"), root: root.to_owned(), command }
    }

    pub(super) fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.command.arg(arg);
        self
    }

    pub(super) fn args<'a>(self, args: impl IntoIterator<Item = &'a str>) -> Self {
        args.into_iter().fold(self, Self::arg)
    }

    /// Runs to the end; each line of standard output goes to `each`.
    pub(super) fn run(mut self, each: &mut dyn FnMut(&str)) -> Result<Finished> {
        let io = |e| Error::io("run apt in", &self.root, e);
        // A file, not a pipe: nobody has to read two streams at once.
        let mut stderr = tempfile::tempfile_in(&self.root).map_err(io)?;
        self.command.stdout(Stdio::piped()).stderr(stderr.try_clone().map_err(io)?);
        let mut child = self.command.spawn().map_err(|e| match e.kind() {
            io::ErrorKind::NotFound => Error::NoApt { program: self.program.into() },
            _ => io(e),
        })?;
        if let Some(stdout) = child.stdout.take() {
            lines(BufReader::new(stdout), each).map_err(io)?;
        }
        let success = child.wait().map_err(io)?.success();
        let stderr = tail(&mut stderr).map_err(io)?;
        Ok(Finished { success, shown: self.shown, root: self.root, stderr })
    }
}

impl Finished {
    /// Whether the program's complaints contain `text`.
    pub(super) fn says(&self, text: &str) -> bool {
        self.stderr.contains(text)
    }

    /// The package that apt knows no such name for, if that is its complaint.
    pub(super) fn lacks(&self) -> Option<String> {
        self.stderr.lines().find_map(|line| {
            let name = line.strip_prefix("E: Unable to locate package ").or_else(|| {
                line.strip_prefix("E: Package '")?.strip_suffix("' has no installation candidate")
            });
            name.map(|name| name.trim().to_owned())
        })
    }

    /// What went wrong, unless all went well.
    pub(super) fn check(self) -> Result<()> {
        if self.success { Ok(()) } else { Err(explain(&self.shown, &self.root, &self.stderr)) }
    }

    /// What went wrong, even if the program calls it a success: for `update`
    /// a network that is down is only a warning.
    pub(super) fn complaint(self) -> Option<Error> {
        let fine = self.success && !self.says("Failed to fetch");
        (!fine).then(|| explain(&self.shown, &self.root, &self.stderr))
    }
}

fn lines(mut from: impl BufRead, each: &mut dyn FnMut(&str)) -> io::Result<()> {
    let mut line = Vec::new();
    loop {
        line.clear();
        if from.by_ref().take(MAX_LINE).read_until(b'\n', &mut line)? == 0 {
            return Ok(());
        }
        each(String::from_utf8_lossy(&line).trim_end_matches('\n'));
    }
}

fn tail(file: &mut File) -> io::Result<String> {
    let length = file.seek(SeekFrom::End(0))?;
    file.seek(SeekFrom::Start(length.saturating_sub(MAX_COMPLAINT)))?;
    let mut bytes = Vec::new();
    file.take(MAX_COMPLAINT).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_cut_at_newlines_and_at_the_limit() {
        let mut input = b"one\n\ntwo \xff\n".to_vec();
        input.extend(vec![b'x'; MAX_LINE as usize + 5]);
        let mut seen = Vec::new();
        lines(&input[..], &mut |line| seen.push(line.to_owned())).unwrap();
        assert_eq!(seen[..3], ["one", "", "two \u{fffd}"]);
        assert_eq!(seen[3].len(), MAX_LINE as usize);
        assert_eq!(seen[4], "xxxxx");
    }

    #[test]
    fn a_missing_program_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let tool = Tool::new("/nonexistent/apt-get", "update", dir.path(), None);
        assert!(matches!(tool.run(&mut |_| {}), Err(Error::NoApt { .. })));
    }
}
