//! Pulling, end to end, from a mirror of our own on the loopback interface: real
//! apt, real packages, and faults at will.

use std::fs;
use std::thread;

use crate::support::mirror::Mirror;
use crate::support::packages::{BUSYBOX, bzimage, debian};
use crate::support::{Downloads, agent};
use ringfence_images::{Error, Initramfs, Recipe, Silent, Store};

fn recipe(name: &str) -> &'static Recipe {
    Recipe::of(name).unwrap()
}

#[test]
fn an_image_is_made_from_packages() {
    let mirror = Mirror::of(&debian());
    let store = mirror.store();
    let mut downloads = Downloads::default();
    let image = store.ensure(recipe("debian"), &agent(0), &mut downloads).unwrap();

    // The metapackage leads to the kernel of the day; here there is only an unsigned one.
    let expected = ["linux-image-6.1.0-9-cloud-amd64-unsigned 1.0", "busybox-static 1.0", "base-files 1.0"];
    assert_eq!(downloads.0, expected);
    assert!(image.kernel == bzimage());
    let root = Initramfs::read(image.initrd.as_deref().unwrap()).unwrap();
    assert_eq!(root.get("init").unwrap(), agent(0));
    assert_eq!(root.get("bin/busybox").unwrap(), BUSYBOX);
    assert_eq!(root.get("etc/os-release").unwrap(), b"ID=debian\n");
    assert_eq!(root.get("lib/modules/ringfence/05-virtio_blk.ko").unwrap(), b"\x7fELF");

    // The store tells the same.
    let read = store.get("debian").unwrap();
    assert_eq!(read.manifest, image.manifest);
    assert!(read.kernel == image.kernel && read.initrd == image.initrd);
    store.verify("debian").unwrap();
    let names: Vec<_> = store.list().unwrap().into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["debian"]);
}

#[test]
fn nothing_is_fetched_twice() {
    let mirror = Mirror::of(&debian());
    let store = mirror.store();
    store.pull(recipe("debian"), &agent(0), &mut Silent).unwrap();
    assert_eq!(mirror.server.debs_asked_for().len(), 3);
    store.pull(recipe("debian"), &agent(0), &mut Silent).unwrap();
    store.pull(recipe("debian"), &agent(1), &mut Silent).unwrap();
    assert_eq!(mirror.server.debs_asked_for(), []);
}

#[test]
fn another_agent_needs_no_network() {
    let mirror = Mirror::of(&debian());
    let store = mirror.store();
    let old = store.pull(recipe("debian"), &agent(0), &mut Silent).unwrap();
    mirror.server.with(|state| state.files.clear());

    let new = store.ensure(recipe("debian"), &agent(1), &mut Silent).unwrap();
    let root = Initramfs::read(new.initrd.as_deref().unwrap()).unwrap();
    assert_eq!(root.get("init").unwrap(), agent(1));
    assert_eq!(new.manifest.kernel, old.manifest.kernel);
    // The former RAM disk is garbage, and gone.
    let gone = old.manifest.initrd.unwrap().digest.hex();
    assert!(!store.root().join("blobs/sha256").join(gone).exists());
    store.verify("debian").unwrap();
}

#[test]
fn damage_is_told_and_mended() {
    let mirror = Mirror::of(&debian());
    let store = mirror.store();
    let image = store.pull(recipe("debian"), &agent(0), &mut Silent).unwrap();
    mirror.server.debs_asked_for();

    let kernel = store.root().join("blobs/sha256").join(image.manifest.kernel.digest.hex());
    let mut bytes = fs::read(&kernel).unwrap();
    bytes[1000] ^= 1;
    fs::write(&kernel, bytes).unwrap();
    let told = [
        store.get("debian").unwrap_err(),
        store.verify("debian").unwrap_err(),
        store.ensure(recipe("debian"), &agent(0), &mut Silent).unwrap_err(),
    ];
    for error in told {
        assert!(error.to_string().contains("run `ringfence image pull debian` again"), "{error}");
    }
    store.pull(recipe("debian"), &agent(0), &mut Silent).unwrap();
    store.verify("debian").unwrap();
    assert_eq!(mirror.server.debs_asked_for(), [], "the kernel is in a package that is here");

    // A package that is damaged is fetched anew, and only that.
    let deb = store.root().join("blobs/sha256").join(image.manifest.packages[1].deb.digest.hex());
    fs::write(&deb, "not a package").unwrap();
    assert!(matches!(store.verify("debian"), Err(Error::Damaged { .. })));
    store.pull(recipe("debian"), &agent(0), &mut Silent).unwrap();
    store.verify("debian").unwrap();
    assert_eq!(mirror.server.debs_asked_for(), [("/busybox-static_1.0_amd64.deb".to_owned(), 0)]);
}

#[test]
fn a_broken_download_is_resumed() {
    let mirror = Mirror::of(&debian());
    let store = mirror.store();
    mirror.server.with(|state| state.broken_after = Some(70_000));
    let failed = store.pull(recipe("memtest86+"), b"", &mut Silent).unwrap_err();
    assert!(matches!(failed, Error::NoNetwork { .. } | Error::Apt { .. }), "{failed:?}");
    assert!(matches!(store.get("memtest86+"), Err(Error::NotPulled { .. })));

    mirror.server.with(|state| state.broken_after = None);
    mirror.server.debs_asked_for();
    let image = store.pull(recipe("memtest86+"), b"", &mut Silent).unwrap();
    assert!(image.kernel == bzimage());
    assert_eq!(mirror.server.debs_asked_for(), [("/memtest86_1.0_amd64.deb".to_owned(), 70_000)]);
}

#[test]
fn a_download_that_lies_is_refused_and_forgotten() {
    let mirror = Mirror::of(&debian());
    let store = mirror.store();
    let path = "/memtest86_1.0_amd64.deb";
    let good = mirror.server.with(|state| state.files[path].clone());
    let mut bad = good.clone();
    bad[5000] ^= 1;
    mirror.server.with(|state| state.files.insert(path.to_owned(), bad));
    let error = store.pull(recipe("memtest86+"), b"", &mut Silent).unwrap_err();
    assert!(matches!(error, Error::WrongDownload { .. }), "{error:?}");

    mirror.server.with(|state| state.files.insert(path.to_owned(), good));
    store.pull(recipe("memtest86+"), b"", &mut Silent).unwrap();
}

#[test]
fn at_once_and_still_once() {
    let mirror = Mirror::of(&debian());
    let stores: Vec<Store> = (0..4).map(|_| mirror.store()).collect();
    thread::scope(|scope| {
        for (index, store) in stores.iter().enumerate() {
            scope.spawn(move || {
                // Two kinds of image, two agents: all want busybox or the kernel.
                let name = ["debian", "memtest86+"][index % 2];
                let image = store.ensure(recipe(name), &agent(0), &mut Silent).unwrap();
                assert!(image.kernel == bzimage());
            });
        }
    });
    let mut asked = mirror.server.debs_asked_for();
    let all = asked.len();
    asked.sort();
    asked.dedup();
    assert_eq!((all, asked.len()), (4, 4), "{asked:?}");
    stores[0].verify("debian").unwrap();
    stores[0].verify("memtest86+").unwrap();
}

#[test]
fn removing_frees_what_nothing_else_needs() {
    let mirror = Mirror::of(&debian());
    let store = mirror.store();
    store.pull(recipe("debian"), &agent(0), &mut Silent).unwrap();
    store.pull(recipe("memtest86+"), b"", &mut Silent).unwrap();
    assert!(store.remove("debian").unwrap() > 200_000);
    assert!(matches!(store.get("debian"), Err(Error::NotPulled { .. })));
    assert!(matches!(store.remove("debian"), Err(Error::NotPulled { .. })));
    store.verify("memtest86+").unwrap();
    store.remove("memtest86+").unwrap();
    assert_eq!(fs::read_dir(store.root().join("blobs/sha256")).unwrap().count(), 0);
}

#[test]
fn a_manifest_from_elsewhere_is_an_error_and_keeps_its_blobs() {
    let mirror = Mirror::of(&debian());
    let store = mirror.store();
    store.pull(recipe("memtest86+"), b"", &mut Silent).unwrap();
    let manifest = store.root().join("images/memtest86+.json");
    let text = fs::read_to_string(&manifest).unwrap();
    fs::write(&manifest, text.replace("\"schema\": 1", "\"schema\": 2")).unwrap();
    let error = store.get("memtest86+").unwrap_err().to_string();
    assert!(error.contains("another version of Ringfence"), "{error}");
    assert!(store.list().unwrap()[0].1.is_err());

    store.pull(recipe("debian"), &agent(0), &mut Silent).unwrap();
    store.remove("debian").unwrap();
    fs::write(&manifest, text).unwrap();
    store.verify("memtest86+").unwrap();
    for bad in ["{}", "", "[", "\u{0}"] {
        fs::write(&manifest, bad).unwrap();
        assert!(matches!(store.get("memtest86+"), Err(Error::Damaged { .. })), "{bad}");
    }
    store.pull(recipe("memtest86+"), b"", &mut Silent).unwrap();
    store.verify("memtest86+").unwrap();
}

#[test]
fn errors_say_what_is_missing() {
    let mirror = Mirror::of(&[]);
    let store = mirror.store();
    let error = store.pull(recipe("debian"), &agent(0), &mut Silent).unwrap_err();
    let Error::PackageNotFound { package, arch } = &error else { panic!("{error:?}") };
    assert_eq!((package.as_str(), arch.as_str()), ("linux-image-cloud-amd64", "amd64"));

    // A metapackage whose kernel is not there.
    let meta = Mirror::of(&debian()[..1]);
    let error = meta.store().pull(recipe("debian"), &agent(0), &mut Silent).unwrap_err();
    assert!(matches!(error, Error::PackageNotFound { .. }), "{error:?}");

    // Nobody listens there; a port that was free a moment ago might be another test's by now.
    let mut gone = Mirror::of(&[]);
    gone.server.port = 1;
    let error = gone.store().pull(recipe("debian"), &agent(0), &mut Silent).unwrap_err();
    assert!(matches!(error, Error::NoNetwork { .. }), "{error:?}");

    let error = store.pull(recipe("debian"), b"#!/bin/sh", &mut Silent).unwrap_err();
    assert!(matches!(error, Error::NotAnAgent { .. }), "{error:?}");
}
