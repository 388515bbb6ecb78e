//! Packages by name, through the host's apt, without touching the host.
//!
//! apt is the only downloader here: it knows the host's sources, mirrors and
//! proxies, and it checks every byte against the distribution's signatures. It
//! runs with a private root (lists, caches, an empty status file), so it needs
//! no privilege and changes nothing outside the store:
//!
//! - The host's configuration is read (sources, keys, proxies, pins), then ours
//!   over it: hooks are cleared, since they would run commands that belong to
//!   the host; of all the indexes only `Packages` is fetched; insecure
//!   repositories stay refused.
//! - Each architecture has its own root and is that root's only architecture, so
//!   i386 packages need no `dpkg --add-architecture` and no unwanted lists.
//! - As root apt would drop to the user `_apt`, who cannot enter a private cache
//!   directory; so it is told not to. Unprivileged use is the better use.
//! - A package is fetched by `apt-helper download-file` from the address and with
//!   the digest that `apt-get download --print-uris` tells: `apt-get download`
//!   itself always begins from zero (apt 2.6), the helper resumes.
//!
//! `apt-get update` fails if any source does, and a host often has a third-party
//! source that is stale. So its failure is kept, and told only if a package is
//! not found afterwards.
//!
//! What the host's sources do not offer at all can come from Debian 12 (see
//! `debian`), with Debian's keys from the host.

mod answer;
mod command;
mod debian;
mod failure;
mod status;
mod target;

use std::fs;
use std::path::{Path, PathBuf};

use crate::progress::{Amount, Progress};
use crate::{Error, Result};
pub use answer::Candidate;
use command::Tool;
pub(crate) use debian::KEYS;
use failure::explain;
pub use target::Target;

/// How much of what apt tells about packages is looked at, in bytes.
const MAX_STANZAS: usize = 64 << 20;

/// A Debian architecture that images are made from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arch {
    /// 64-bit x86.
    Amd64,
    /// 32-bit x86.
    I386,
}

impl Arch {
    /// Debian's name for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Amd64 => "amd64",
            Self::I386 => "i386",
        }
    }
}

/// apt with a root of its own for one architecture.
#[derive(Debug)]
pub struct Apt {
    arch: Arch,
    root: PathBuf,
    sources: Option<PathBuf>,
    /// What people call the sources.
    label: String,
    /// Why the last update failed, in part or as a whole.
    stale: Option<Error>,
}

impl Apt {
    /// apt for `arch` with its root in the directory `root`, which is created,
    /// and the host's sources.
    pub fn new(root: &Path, arch: Arch) -> Result<Self> {
        for dir in ["lists/partial", "cache/archives/partial", "state"] {
            let dir = root.join(dir);
            fs::create_dir_all(&dir).map_err(|e| Error::io("create", &dir, e))?;
        }
        for (name, content) in [("status", String::new()), ("apt.conf", command::config(arch))] {
            let path = root.join(name);
            fs::write(&path, content).map_err(|e| Error::io("write", &path, e))?;
        }
        Ok(Self { arch, root: root.to_owned(), sources: None, label: String::new(), stale: None })
    }

    /// Uses the sources in the file `list` (sources.list(5)) instead of the host's.
    pub fn with_sources(self, list: &Path) -> Self {
        Self { sources: Some(list.to_owned()), ..self }
    }

    /// Uses Debian 12 itself instead of the host's sources; `None` if the host does
    /// not have Debian's keys. A root that was used with other sources must not be
    /// used with these.
    pub fn with_debian_12(self) -> Result<Option<Self>> {
        let sources = debian::sources(&self.root)?;
        Ok(sources.map(|list| self.with_sources(&list).called("Debian 12")))
    }

    /// What people are to call the sources.
    pub(crate) fn called(self, name: &str) -> Self {
        Self { label: format!("{name}, "), ..self }
    }

    /// Brings the package lists up to date, as far as the sources let it.
    pub fn update(&mut self, progress: &mut dyn Progress) -> Result<()> {
        progress.start(&format!("package lists ({}{})", self.label, self.arch.name()), Amount::Percent);
        let mut status = status::Reader::new(100);
        // Without a network each further try is only a longer wait; what fails here may not matter.
        let tool = self.tool("apt-get", "update").args(["-o", "Acquire::Retries=1"]);
        let done = tool.run(&mut |line| {
            if let Some(done) = status.position(line) {
                progress.advance(done);
            }
        })?;
        progress.finish();
        self.stale = match done.complaint() {
            Some(full @ Error::DiskFull { .. }) => return Err(full),
            complaint => complaint,
        };
        if let Some(why) = &self.stale {
            tracing::info!("going on with the package lists there are: {why}");
        }
        Ok(())
    }

    /// What apt would install for `package`, if there is such a package.
    pub fn candidate(&self, package: &str) -> Result<Option<Candidate>> {
        answer::check_package(package)?;
        let mut lines = Vec::new();
        let mut room = 1usize << 20;
        let tool = self.tool("apt-cache", "show").args(["--no-all-versions", package]);
        let done = tool.run(&mut |line| {
            room = room.saturating_sub(line.len() + 1);
            if room > 0 {
                lines.push(line.to_owned());
            }
        })?;
        if !done.success && done.says("No packages found") {
            return Ok(None);
        }
        done.check()?;
        // A name that others depend on, but which nothing has, is no error to apt.
        if lines.iter().all(String::is_empty) {
            return Ok(None);
        }
        Candidate::parse(&lines).map(Some)
    }

    /// As [`Apt::candidate`], or the error that tells why there is none.
    pub fn require(&mut self, package: &str) -> Result<Candidate> {
        match self.candidate(package)? {
            Some(candidate) => Ok(candidate),
            None => Err(self.not_found(package)),
        }
    }

    /// The kernel that the metapackage `package` stands for. It depends on the
    /// package of the current version, in Debian signed; where there is no
    /// signed one, on the same with `-unsigned`.
    pub fn require_kernel(&mut self, package: &str) -> Result<Candidate> {
        let meta = self.require(package)?;
        for name in meta.depends.iter().filter(|name| answer::is_kernel(name)) {
            for name in [name.clone(), format!("{name}-unsigned")] {
                if let Some(kernel) = self.candidate(&name)? {
                    return Ok(kernel);
                }
            }
        }
        Err(self.not_found(&format!("{package}'s kernel")))
    }

    /// Downloads a package to the file `to`; what is there already is resumed.
    pub fn download(&self, package: &Candidate, to: &Path, progress: &mut dyn Progress) -> Result<()> {
        let size = package.deb.size;
        let wanted = format!("{}={}", package.name, package.version);
        let mut uri = None;
        let ask = self.tool("apt-get", "download").args(["--print-uris", &wanted]);
        ask.run(&mut |line| uri = uri.take().or_else(|| answer::uri(line)))?.check()?;
        let uri = uri.ok_or_else(|| Error::AptAnswer {
            command: "apt-get download --print-uris".to_owned(),
            detail: format!("no address for {wanted}"),
        })?;

        progress.start(&format!("{} {}", package.name, package.version), Amount::Bytes(size));
        let mut status = status::Reader::new(size);
        let hash = format!("SHA256:{}", package.deb.digest.hex());
        let fetch = self.tool("/usr/lib/apt/apt-helper", "download-file");
        let fetch = fetch.arg(&uri).arg(to).arg(hash);
        let done = fetch.run(&mut |line| {
            if let Some(done) = status.position(line) {
                progress.advance(done);
            }
        })?;
        if done.says("Hash Sum mismatch") {
            return Err(Error::WrongDownload { package: package.name.clone() });
        }
        done.check()?;
        progress.finish();
        Ok(())
    }

    /// The mirrors, suites and components that the sources name and whose release files are here.
    pub fn targets(&self) -> Result<Vec<Target>> {
        let mut targets = Vec::new();
        let tool = self.tool("apt-get", "indextargets").args(["--format", target::FORMAT]);
        tool.run(&mut |line| targets.extend(Target::parse(line)))?.check()?;
        targets.sort();
        targets.dedup();
        Ok(targets)
    }

    /// Everything that an empty system would get with `packages`: names, or patterns as `?essential`
    /// (apt-patterns(7)). Without what is only recommended. Sorted by name.
    pub fn closure(&mut self, packages: &[&str]) -> Result<Vec<Candidate>> {
        for package in packages.iter().filter(|package| !package.starts_with('?')) {
            answer::check_package(package)?;
        }
        let mut wanted = Vec::new();
        let ask = self.tool("apt-get", "install").args(["--simulate", "--no-install-recommends"]);
        let done =
            ask.args(packages.iter().copied()).run(&mut |line| wanted.extend(answer::installed(line)))?;
        if let Some(missing) = done.lacks() {
            return Err(self.not_found(&missing));
        }
        done.check()?;
        let mut stanzas = vec![Vec::new()];
        let tool = self.tool("apt-cache", "show").args(["--no-all-versions"]);
        let mut room = MAX_STANZAS;
        let done = tool.args(wanted.iter().map(String::as_str)).run(&mut |line| {
            room = room.saturating_sub(line.len() + 1);
            match stanzas.last_mut() {
                Some(stanza) if !line.is_empty() && room > 0 => stanza.push(line.to_owned()),
                _ => stanzas.push(Vec::new()),
            }
        })?;
        done.check()?;
        stanzas.retain(|stanza| !stanza.is_empty());
        let mut all = stanzas.iter().map(|stanza| Candidate::parse(stanza)).collect::<Result<Vec<_>>>()?;
        all.sort_by(|a, b| a.name.cmp(&b.name));
        all.dedup_by(|a, b| a.name == b.name);
        match all.len() == wanted.len() {
            true => Ok(all),
            false => Err(Error::AptAnswer {
                command: "apt-cache show".to_owned(),
                detail: format!("{} packages instead of {}", all.len(), wanted.len()),
            }),
        }
    }

    /// Downloads what [`Apt::closure`] told for the same `packages`; files that are there already are not
    /// fetched again. [`Apt::archive`] tells where they are.
    pub fn download_closure(&self, packages: &[&str], progress: &mut dyn Progress, size: u64) -> Result<()> {
        progress.start("packages", Amount::Bytes(size));
        let mut status = status::Reader::new(size);
        let tool = self.tool("apt-get", "install");
        let tool = tool.args(["--download-only", "--no-install-recommends", "--yes"]);
        let done = tool.args(packages.iter().copied()).run(&mut |line| {
            if let Some(done) = status.position(line) {
                progress.advance(done);
            }
        })?;
        done.check()?;
        progress.finish();
        Ok(())
    }

    /// Removes all that was downloaded and not taken.
    pub fn clean(&self) -> Result<()> {
        self.tool("apt-get", "clean").run(&mut |_| {})?.check()
    }

    /// The proxies through which apt reaches servers: `http` or `https`, and an address.
    pub fn proxies(&self) -> Result<Vec<(String, String)>> {
        let mut proxies = Vec::new();
        self.tool("apt-config", "dump").run(&mut |line| proxies.extend(answer::proxy(line)))?.check()?;
        // The environment counts where the configuration says nothing.
        for scheme in ["http", "https"] {
            let said = proxies.iter().any(|(known, _)| known == scheme);
            let variable = std::env::var(format!("{scheme}_proxy")).ok();
            if let Some(address) = variable.filter(|address| !said && !address.is_empty()) {
                proxies.push((scheme.to_owned(), address));
            }
        }
        Ok(proxies)
    }

    /// Where apt keeps `package` after it was downloaded.
    pub fn archive(&self, package: &Candidate) -> PathBuf {
        let version = package.version.replace(':', "%3a");
        self.root.join(format!("cache/archives/{}_{version}_{}.deb", package.name, package.arch))
    }

    fn not_found(&mut self, package: &str) -> Error {
        match self.stale.take() {
            Some(network @ Error::NoNetwork { .. }) => network,
            _ => {
                let (package, arch) = (package.to_owned(), self.arch.name().to_owned());
                Error::PackageNotFound { package, arch }
            }
        }
    }

    fn tool(&self, program: &'static str, verb: &str) -> Tool {
        Tool::new(program, verb, &self.root, self.sources.as_deref())
    }
}
