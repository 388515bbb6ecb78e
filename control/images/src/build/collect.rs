//! Finds out which packages a system is made of, and fetches them.

use std::fs;

use super::sources::Sources;
use super::{ARCH, BASE, Build, KERNEL, WHERE_THERE_IS};
use crate::apt::{Apt, Candidate, KEYS};
use crate::{Error, Package, Progress, Result, Store};

/// The packages of a system, all of them in the store.
#[derive(Debug)]
pub(super) struct Collected {
    /// Where they come from.
    pub sources: Sources,
    /// How the host gets there.
    pub proxies: Vec<(String, String)>,
    /// What was asked for.
    pub requested: Vec<String>,
    /// What has to be there before a package manager can run, sorted by name.
    pub essential: Vec<Package>,
    /// The others, sorted by name.
    pub rest: Vec<Package>,
    /// The kernel's package, one of those.
    pub kernel: Package,
    /// What the installer's own RAM disk is made of; none of those.
    pub busybox: Package,
}

impl Store {
    /// The packages of `build`. The caller holds `pull.lock`.
    pub(super) fn collect_packages(&self, build: &Build, progress: &mut dyn Progress) -> Result<Collected> {
        if fs::metadata(KEYS).is_err() {
            return Err(Error::NoKeys { path: KEYS.into() });
        }
        let mut host = Apt::new(&self.root().join("apt").join(ARCH.name()), ARCH)?;
        if let Some(list) = &self.sources {
            host = host.with_sources(list);
        }
        host.update(progress)?;
        let sources = Sources::new(&host.targets()?, build.suite.as_deref());
        let root = self.root().join("apt").join(format!("{}-{}", sources.suite, ARCH.name()));
        let apt = Apt::new(&root, ARCH)?;
        let list = root.join("sources.list");
        fs::write(&list, sources.list()).map_err(|e| Error::io("write", &list, e))?;
        let mut apt = apt.with_sources(&list).called(&sources.suite);
        apt.update(progress)?;

        let mut there_is = Vec::new();
        for name in WHERE_THERE_IS {
            if apt.candidate(name)?.is_some() {
                there_is.push(*name);
            }
        }
        let mut first = vec!["?essential", "e2fsprogs"];
        // Otherwise the essential packages come with a program that merges /usr, and with all of perl.
        first.extend(there_is.iter().filter(|name| **name == "usr-is-merged"));
        let essential = apt.closure(&first)?;
        let kernel = apt.require_kernel(KERNEL)?;
        let mut requested: Vec<_> = BASE.iter().chain(&there_is).map(|name| (*name).to_owned()).collect();
        for name in &build.packages {
            if !requested.contains(name) {
                requested.push(name.clone());
            }
        }
        let mut wanted = vec!["?essential"];
        wanted.extend(requested.iter().map(String::as_str));
        let all = apt.closure(&wanted)?;
        // Alternatives that are essential on their own may give way to what was asked for.
        let essential: Vec<_> = essential.into_iter().filter(|package| all.contains(package)).collect();
        self.fetch_all(&apt, &wanted, &all, progress)?;
        let busybox = apt.require("busybox-static")?;
        self.fetch(&apt, &busybox, progress)?;
        let (essential, rest): (Vec<_>, Vec<_>) =
            all.into_iter().partition(|package| essential.contains(package));
        let packages = |all: Vec<Candidate>| all.into_iter().map(Package::from).collect();
        Ok(Collected {
            proxies: host.proxies()?,
            sources,
            requested,
            essential: packages(essential),
            rest: packages(rest),
            kernel: kernel.into(),
            busybox: busybox.into(),
        })
    }

    /// Fetches what apt wants to install for `wanted`, which is `all`, as far as it is not in the store.
    fn fetch_all(
        &self,
        apt: &Apt,
        wanted: &[&str],
        all: &[Candidate],
        progress: &mut dyn Progress,
    ) -> Result<()> {
        let (here, missing): (Vec<_>, Vec<_>) =
            all.iter().partition(|package| self.blobs.holds(&package.deb));
        if missing.is_empty() {
            return Ok(());
        }
        for package in here {
            let (blob, archive) = (self.blobs.path(&package.deb.digest), apt.archive(package));
            // If this cannot be, it is only fetched again.
            let _ = fs::hard_link(blob, archive);
        }
        apt.download_closure(wanted, progress, missing.iter().map(|package| package.deb.size).sum())?;
        for package in missing {
            if !self.blobs.adopt(&apt.archive(package), &package.deb)? {
                return Err(Error::WrongDownload { package: package.name.clone() });
            }
        }
        apt.clean()
    }
}

impl From<Candidate> for Package {
    fn from(Candidate { name, version, arch, deb, .. }: Candidate) -> Self {
        Self { name, version, arch, deb }
    }
}
