//! Boots the installer, and takes what it made.

use std::fs::File;
use std::io::{BufWriter, Write};

use tempfile::NamedTempFile;
use uuid::Uuid;

use super::collect::Collected;
use super::follow::Follow;
use super::settings::{Settings, WORK};
use super::tree::Tree;
use super::{Build, Installation, Installer};
use crate::manifest::{Built, SCHEMA};
use crate::pull::now;
use crate::{
    Amount, Error, Initramfs, Kind, Manifest, Package, Progress, Result, Store, Userspace, deb, disk, gpt,
    installed, modules, rootfs,
};

/// The memory of the machine that installs, in bytes.
const MEMORY: u64 = 1 << 30;

/// What the kernel of an installed system is told: where its root is, and which port is the console.
const COMMAND_LINE: &str = "ro console=ttyS0 panic=-1";

/// Modules of the kernel that the installer loads: those of virtio, and of the file system where it is not built in.
const MODULES: &[&str] = &[
    "virtio_ring",
    "virtio",
    "virtio_pci_modern_dev",
    "virtio_pci_legacy_dev",
    "virtio_pci",
    "virtio_blk",
    "crc16",
    "crc32c_generic",
    "libcrc32c",
    "mbcache",
    "jbd2",
    "ext4",
];

impl Store {
    /// Installs what was collected. The caller holds `pull.lock`.
    pub(super) fn install(
        &self,
        build: &Build,
        collected: &Collected,
        agent: &[u8],
        installer: &mut dyn Installer,
        progress: &mut dyn Progress,
    ) -> Result<Manifest> {
        let root = Uuid::new_v4();
        progress.start("preparing the installation", Amount::Unknown);
        let media = self.media(build, collected, agent, &root.to_string())?;
        let target = self.target(build.size)?;
        let kernel = self.kernel_of(build, &collected.kernel)?;
        let initrd = self.installer(build, collected)?;
        progress.finish();

        progress.start(&format!("installing {}", build.name), Amount::Percent);
        let installation = Installation {
            kernel,
            initrd,
            command_line: format!("console=ttyS0 panic=-1 ringfence.root={root}"),
            target: target.path(),
            media: media.path(),
            memory: MEMORY,
        };
        let failed = |detail| Error::Installation { image: build.name.clone(), detail };
        let mut follow = Follow::new(collected.essential.len() + collected.rest.len(), progress);
        installer.run(installation, &mut |line| follow.line(line)).map_err(failed)?;
        follow.end().map_err(failed)?;
        progress.advance(100);
        progress.finish();

        progress.start(&format!("storing {}", build.name), Amount::Unknown);
        let manifest = self.keep(build, collected, agent, target, &root)?;
        progress.finish();
        Ok(manifest)
    }

    /// The second disk: what the guest unpacks.
    fn media(&self, build: &Build, collected: &Collected, agent: &[u8], root: &str) -> Result<NamedTempFile> {
        let Collected { sources, proxies, requested, essential, rest, .. } = collected;
        let mut file = self.scratch()?;
        let path = file.path().to_owned();
        let io = |e| Error::io("write", &path, e);
        let mut tree = Tree::new(BufWriter::new(file.as_file_mut())).map_err(io)?;
        for package in essential {
            let bytes = self.blobs.read(&package.deb, &build.name)?;
            tree.package(&bytes[..])
                .map_err(|source| Error::Package { package: package.name.clone(), source })?;
        }
        let requested: Vec<_> = requested.iter().map(String::as_str).collect();
        let settings =
            Settings { hostname: &build.name, root, sources, proxies, requested: &requested, agent };
        settings.write(&mut tree).map_err(io)?;
        for (packages, directory) in [(essential, "essential"), (rest, "rest")] {
            for Package { name, arch, deb, .. } in packages {
                let bytes = self.blobs.read(deb, &build.name)?;
                let path = format!("{WORK}/{directory}/{name}_{arch}.deb");
                tree.file(&path, 0o644, deb.size, &bytes[..]).map_err(io)?;
            }
        }
        tree.end().and_then(|mut to| to.flush()).map_err(io)?;
        // A disk consists of whole sectors.
        let length = file.as_file().metadata().map_err(io)?.len();
        file.as_file().set_len(length.next_multiple_of(4096)).map_err(io)?;
        Ok(file)
    }

    /// The first disk: empty, but for its partition table.
    fn target(&self, size: u64) -> Result<NamedTempFile> {
        let mut file = self.scratch()?;
        let path = file.path().to_owned();
        let io = |e| Error::io("write", &path, e);
        file.as_file().set_len(size).map_err(io)?;
        gpt::write(file.as_file_mut(), size, Uuid::new_v4(), Uuid::new_v4()).map_err(io)?;
        Ok(file)
    }

    fn scratch(&self) -> Result<NamedTempFile> {
        let temp = self.temp();
        tempfile::Builder::new()
            .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644))
            .tempfile_in(&temp)
            .map_err(|e| Error::io("write in", &temp, e))
    }

    fn kernel_of(&self, build: &Build, package: &Package) -> Result<Vec<u8>> {
        let bytes = self.blobs.read(&package.deb, &build.name)?;
        let found = deb::find(&bytes[..], |path| path.starts_with("boot/vmlinuz-"));
        let found = found.map_err(|source| Error::Package { package: package.name.clone(), source })?;
        let file =
            found.ok_or_else(|| Error::NotInPackage { package: package.name.clone(), file: "kernel" })?;
        crate::kernel::check(Kind::Linux, &file.bytes, &file.path)?;
        Ok(file.bytes)
    }

    /// The RAM disk of the installer: busybox, modules and a script.
    fn installer(&self, build: &Build, collected: &Collected) -> Result<Vec<u8>> {
        let broken = |package: &Package| {
            let package = package.name.clone();
            |source| Error::Package { package, source }
        };
        let mut root: Initramfs = rootfs::ours(Userspace::Shell, &[])?;
        root.file("init", 0o755, include_bytes!("install.sh").to_vec())?;
        let package = &collected.busybox;
        let bytes = self.blobs.read(&package.deb, &build.name)?;
        let busybox = deb::find(&bytes[..], |path| matches!(path, "bin/busybox" | "usr/bin/busybox"))
            .map_err(broken(package))?
            .ok_or_else(|| Error::NotInPackage { package: package.name.clone(), file: "busybox" })?;
        rootfs::add_theirs(&mut root, &package.name, busybox.bytes, vec![])?;
        let package = &collected.kernel;
        let bytes = self.blobs.read(&package.deb, &build.name)?;
        let files =
            deb::find_all(&bytes[..], |path| modules::wanted(path, MODULES)).map_err(broken(package))?;
        modules::add(&mut root, files, MODULES).map_err(broken(package))?;
        Ok(root.newc())
    }

    /// Takes the installed disk into the store.
    fn keep(
        &self,
        build: &Build,
        collected: &Collected,
        agent: &[u8],
        target: NamedTempFile,
        root: &Uuid,
    ) -> Result<Manifest> {
        let path = target.path();
        let file = File::open(path).map_err(|e| Error::io("read", path, e))?;
        let system = installed::find(file, build.size)
            .map_err(|e| Error::Installation { image: build.name.clone(), detail: e.to_string() })?;
        let disk = disk::measure(path)?;
        self.adopt_disk(target, &disk)?;
        let Collected { sources, essential, rest, kernel, .. } = collected;
        let others = essential.iter().chain(rest).filter(|package| *package != kernel);
        let suite = &sources.suite;
        let manifest = Manifest {
            schema: SCHEMA,
            name: build.name.clone(),
            description: match build.packages.is_empty() {
                true => format!("Debian {suite}, installed on a disk"),
                false => format!("Debian {suite} with {}", build.packages.join(", ")),
            },
            kind: Kind::Linux,
            userspace: Userspace::System,
            kernel: self.blobs.put(&system.kernel)?,
            initrd: Some(self.blobs.put(&system.initrd)?),
            command_line: format!("root=UUID={root} {COMMAND_LINE}"),
            packages: [kernel].into_iter().chain(others).cloned().collect(),
            disk: Some(disk),
            built: Some(Built { suite: suite.clone(), packages: build.packages.clone() }),
            ours: super::ours(agent),
            created: now(),
        };
        self.commit(&manifest)?;
        Ok(manifest)
    }
}
