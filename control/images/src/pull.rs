//! From a recipe to an image in the store.
//!
//! What is fetched is named by the digests in the distribution's signed package
//! lists, so whether it is here already is a look into the store. What is ours
//! may change with every build of Ringfence; then only the initial RAM disk is
//! made again, from packages in the store and without a network.

use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::apt::{Apt, Candidate};
use crate::manifest::SCHEMA;
use crate::progress::Amount;
use crate::{
    Blob, Digest, Error, Image, Initramfs, Manifest, Package, Progress, Recipe, Result, Store, deb, kernel,
    modules, rootfs,
};

/// A recipe, and what of it is ours.
struct Plan<'a> {
    recipe: &'a Recipe,
    ours: Initramfs,
    digest: Digest,
}

impl<'a> Plan<'a> {
    fn new(recipe: &'a Recipe, agent: &[u8]) -> Result<Self> {
        let ours = rootfs::ours(recipe.userspace, agent)?;
        let digest = Digest::of(&[format!("{recipe:?}").as_bytes(), &ours.newc()].concat());
        Ok(Self { recipe, ours, digest })
    }
}

impl Store {
    /// The image of `recipe`, ready to boot: from the store if it is there,
    /// pulled if not. `agent` is the static x86-64 ELF executable that becomes
    /// `/init`; recipes without [`crate::Userspace::Agent`] ignore it. If only the
    /// agent differs from the image's, that is put in and nothing is fetched.
    ///
    /// An image that is damaged is an error; [`Store::pull`] mends it.
    pub fn ensure(&self, recipe: &Recipe, agent: &[u8], progress: &mut dyn Progress) -> Result<Image> {
        let plan = Plan::new(recipe, agent)?;
        if let Some(image) = self.current(&plan)? {
            return Ok(image);
        }
        let _lock = self.lock_pull()?;
        // Another process may have made it while this one waited.
        if let Some(image) = self.current(&plan)? {
            return Ok(image);
        }
        match self.manifest(recipe.name) {
            Ok(old) => match self.make(&plan, old.packages, Some(old.kernel), progress) {
                Err(Error::Damaged { .. } | Error::NotInPackage { .. }) => {}
                made => return made,
            },
            Err(Error::NotPulled { .. }) => {}
            Err(e) => return Err(e),
        }
        self.fetch_and_make(&plan, progress)
    }

    /// Makes the image of `recipe` from the packages that the distribution has
    /// now, and mends what is damaged. Only packages that are not in the store
    /// are fetched. `agent` is as for [`Store::ensure`].
    pub fn pull(&self, recipe: &Recipe, agent: &[u8], progress: &mut dyn Progress) -> Result<Image> {
        let plan = Plan::new(recipe, agent)?;
        let began = now();
        let _lock = self.lock_pull()?;
        // Another process may have pulled it while this one waited.
        if let Ok(Some(image)) = self.current(&plan)
            && image.manifest.created > began
        {
            return Ok(image);
        }
        self.fetch_and_make(&plan, progress)
    }

    /// The image in the store, if what is ours of it is of this version.
    fn current(&self, plan: &Plan<'_>) -> Result<Option<Image>> {
        let _lock = self.lock_shared()?;
        match self.manifest(plan.recipe.name) {
            Ok(manifest) if manifest.ours == plan.digest => self.load(manifest).map(Some),
            Ok(_) | Err(Error::NotPulled { .. }) => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// The caller holds `pull.lock`.
    fn fetch_and_make(&self, plan: &Plan<'_>, progress: &mut dyn Progress) -> Result<Image> {
        let (apt, candidates) = self.resolve(plan.recipe, progress)?;
        let mut packages = Vec::new();
        for candidate in candidates {
            self.fetch(&apt, &candidate, progress)?;
            packages.push(candidate.into());
        }
        self.make(plan, packages, None, progress)
    }

    /// The packages of `recipe`, the kernel's first, and the apt that offers them.
    fn resolve(&self, recipe: &Recipe, progress: &mut dyn Progress) -> Result<(Apt, Vec<Candidate>)> {
        let root = self.root().join("apt");
        let mut apt = Apt::new(&root.join(recipe.arch.name()), recipe.arch)?;
        if let Some(sources) = &self.sources {
            apt = apt.with_sources(sources);
        }
        let lacking = match candidates(recipe, &mut apt, progress) {
            Ok(candidates) => return Ok((apt, candidates)),
            Err(e @ Error::PackageNotFound { .. }) if self.fallback => e,
            Err(e) => return Err(e),
        };
        tracing::info!("turning to Debian 12: {lacking}");
        let root = root.join(format!("debian-12-{}", recipe.arch.name()));
        let Some(mut apt) = Apt::new(&root, recipe.arch)?.with_debian_12()? else {
            return Err(lacking);
        };
        let candidates = candidates(recipe, &mut apt, progress)?;
        Ok((apt, candidates))
    }

    pub(crate) fn fetch(&self, apt: &Apt, package: &Candidate, progress: &mut dyn Progress) -> Result<()> {
        if self.blobs.holds(&package.deb) {
            return Ok(());
        }
        let dir = self.downloads();
        fs::create_dir_all(&dir).map_err(|e| Error::io("create", &dir, e))?;
        let file = dir.join(package.deb.digest.hex());
        apt.download(package, &file, progress)?;
        match self.blobs.adopt(&file, &package.deb)? {
            true => Ok(()),
            false => Err(Error::WrongDownload { package: package.name.clone() }),
        }
    }

    /// Makes the image from packages in the store, the kernel's first; `kernel`
    /// is the kernel if that is in the store, too. The caller holds `pull.lock`.
    fn make(
        &self,
        plan: &Plan<'_>,
        packages: Vec<Package>,
        kernel: Option<Blob>,
        progress: &mut dyn Progress,
    ) -> Result<Image> {
        let recipe = plan.recipe;
        progress.start(&format!("assembling {}", recipe.name), Amount::Unknown);
        let kernel = match kernel.filter(|kernel| self.blobs.holds(kernel)) {
            Some(kernel) => kernel,
            None => self.blobs.put(&self.kernel(recipe, &packages)?)?,
        };
        let initrd = match recipe.userspace_packages().is_empty() {
            true => None,
            false => Some(self.blobs.put(&self.initrd(plan, &packages)?)?),
        };
        let manifest = Manifest {
            schema: SCHEMA,
            name: recipe.name.to_owned(),
            description: recipe.description.to_owned(),
            kind: recipe.kind,
            userspace: recipe.userspace,
            kernel,
            initrd,
            command_line: recipe.command_line.to_owned(),
            packages,
            disk: None,
            built: None,
            ours: plan.digest,
            created: now(),
        };
        self.commit(&manifest)?;
        let image = self.load(manifest)?;
        progress.finish();
        Ok(image)
    }

    fn kernel(&self, recipe: &Recipe, packages: &[Package]) -> Result<Vec<u8>> {
        let package = packages.first().ok_or_else(|| not_in(recipe.kernel_package, "kernel"))?;
        let file = self.file(recipe, package, "kernel", |path| path.starts_with(recipe.kernel_path))?;
        let bytes = match file.bytes.starts_with(&[0x1f, 0x8b]) {
            true => deb::gunzip(&file.bytes).map_err(|source| broken(package, source))?,
            false => file.bytes,
        };
        kernel::check(recipe.kind, &bytes, &format!("{} of {}", file.path, package.name))?;
        Ok(bytes)
    }

    fn initrd(&self, plan: &Plan<'_>, packages: &[Package]) -> Result<Vec<u8>> {
        // In merged-/usr releases packages have their files below usr/.
        let take = |name: &'static str, what: &'static str, paths: [&'static str; 2]| {
            let package = packages.iter().find(|package| package.name == name);
            let package = package.ok_or_else(|| not_in(name, what))?;
            self.file(plan.recipe, package, what, |path| paths.contains(&path))
        };
        let busybox = take("busybox-static", "busybox", ["bin/busybox", "usr/bin/busybox"])?;
        let release = take("base-files", "os-release", ["usr/lib/os-release", "etc/os-release"])?;
        let mut root = plan.ours.clone();
        rootfs::add_theirs(&mut root, "busybox-static", busybox.bytes, release.bytes)?;
        self.add_modules(&mut root, plan.recipe, packages)?;
        Ok(root.newc())
    }

    fn add_modules(&self, root: &mut Initramfs, recipe: &Recipe, packages: &[Package]) -> Result<()> {
        let Some(package) = packages.first().filter(|_| !recipe.modules.is_empty()) else { return Ok(()) };
        let bytes = self.blobs.read(&package.deb, recipe.name)?;
        let wanted = |path: &str| modules::wanted(path, recipe.modules);
        let added =
            deb::find_all(&bytes[..], wanted).and_then(|files| modules::add(root, files, recipe.modules));
        added.map_err(|source| broken(package, source))
    }

    fn file(
        &self,
        recipe: &Recipe,
        package: &Package,
        what: &'static str,
        wanted: impl Fn(&str) -> bool,
    ) -> Result<deb::File> {
        let bytes = self.blobs.read(&package.deb, recipe.name)?;
        let found = deb::find(&bytes[..], wanted).map_err(|source| broken(package, source))?;
        found.ok_or_else(|| not_in(&package.name, what))
    }
}

/// The packages of `recipe` that `apt` offers, the kernel's first.
fn candidates(recipe: &Recipe, apt: &mut Apt, progress: &mut dyn Progress) -> Result<Vec<Candidate>> {
    apt.update(progress)?;
    let kernel = match recipe.is_meta() {
        true => apt.require_kernel(recipe.kernel_package)?,
        false => apt.require(recipe.kernel_package)?,
    };
    let mut all = vec![kernel];
    for package in recipe.userspace_packages() {
        all.push(apt.require(package)?);
    }
    Ok(all)
}

fn not_in(package: &str, file: &'static str) -> Error {
    Error::NotInPackage { package: package.to_owned(), file }
}

fn broken(package: &Package, source: deb::Error) -> Error {
    Error::Package { package: package.name.clone(), source }
}

/// Seconds since 1970; a clock set before that counts as that.
pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs())
}
