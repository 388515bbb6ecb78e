//! Making, resizing, copying and layering images, judged by qemu-img; and what is refused.

mod support;

use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};

use backend::block::{
    Backing, Create, Disk, Error, Format, Layer, Limits, Options, Source, convert, create, info, resize,
};
use support::*;
use virtio::back::{Block, Op};

const SIZE: u64 = 8 << 20;
const FORMATS: [Format; 2] = [Format::Raw, Format::Qcow2];

/// An image in which every other 64 KiB hold data, and what it holds.
fn filled(path: &Path, format: Format) -> (Source, Vec<u8>) {
    let source = make(path, format, SIZE, None);
    let mut rig = Rig::open(&source, &threads(false));
    let mut model = vec![0; SIZE as usize];
    for n in (0..SIZE / 65536).step_by(2) {
        rig.write(n * 128, &[n as u8 + 1; 65536]);
        model[n as usize * 65536..][..65536].fill(n as u8 + 1);
    }
    (source, model)
}

fn order(path: &Path, format: Format) -> Create {
    Create { path: path.to_owned(), format, size: None, backing: None }
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

#[test]
fn new_images_are_as_qemu_wants_them() {
    let folder = tempfile::tempdir().unwrap();
    for format in FORMATS {
        for size in [512, 65536, SIZE, 3 << 40] {
            let path = folder.path().join(format!("{format}-{size}"));
            make(&path, format, size, None);
            let text = qemu_img_ok(&["info", "--output=json", "-f", format.name(), path.to_str().unwrap()]);
            assert!(text.contains(&format!("\"virtual-size\": {size}")), "{text}");
            let known = info(&path, format).unwrap();
            assert_eq!((known.size, known.dirty, known.snapshots), (size, false, 0));
            assert!(known.allocated < 1 << 20, "{format}: {}", known.allocated);
        }
    }
    let chain = folder.path().join("chain");
    make(&chain, Format::Qcow2, SIZE, Some(("qcow2-8388608", Format::Qcow2)));
    let text = qemu_img_ok(&["info", "-f", "qcow2", chain.to_str().unwrap()]);
    assert!(
        text.contains("backing file: qcow2-8388608") && text.contains("backing file format: qcow2"),
        "{text}"
    );
    check(&chain);
    let backing = info(&chain, Format::Qcow2).unwrap().backing.unwrap();
    assert_eq!((&*backing.name, backing.format), ("qcow2-8388608", Format::Qcow2));
}

#[test]
fn an_image_over_another_has_its_size() {
    let folder = tempfile::tempdir().unwrap();
    filled(&folder.path().join("base"), Format::Raw);
    let backing = Some(Backing { path: "base".into(), format: Format::Raw });
    let size = create(&Create { backing, ..order(&folder.path().join("over"), Format::Qcow2) }).unwrap();
    assert_eq!(size, SIZE);
}

#[test]
fn nothing_is_overwritten_and_nothing_left_behind() {
    let folder = tempfile::tempdir().unwrap();
    let there = folder.path().join("there");
    std::fs::write(&there, "precious").unwrap();
    symlink("nowhere", folder.path().join("link")).unwrap();
    let (source, _) = filled(&folder.path().join("source"), Format::Raw);
    for format in FORMATS {
        for name in ["there", "link"] {
            let order = Create { size: Some(SIZE), ..order(&folder.path().join(name), format) };
            assert!(matches!(create(&order), Err(Error::Exists { .. })), "{name}");
            assert!(matches!(convert(&source, &order, &mut |_, _| {}), Err(Error::Exists { .. })), "{name}");
        }
        for (size, backing) in [(0, None), (513, None), ((64 << 40) + 512, None), (512, Some("absent"))] {
            let backing = backing.map(|name| Backing { path: PathBuf::from(name), format: Format::Raw });
            let order = Create { size: Some(size), backing, ..order(&folder.path().join("new"), format) };
            assert!(create(&order).is_err(), "{order:?}");
        }
    }
    // It fails in the middle: the source is not what it is said to be.
    let wrong = Source { format: Format::Qcow2, ..source };
    assert!(convert(&wrong, &order(&folder.path().join("new"), Format::Raw), &mut |_, _| {}).is_err());
    assert_eq!(std::fs::read(&there).unwrap(), b"precious");
    assert_eq!(names(folder.path()), ["link", "source", "there"]);
}

#[test]
fn new_files_have_the_usual_permissions() {
    let folder = tempfile::tempdir().unwrap();
    let (ours, usual) = (folder.path().join("ours"), folder.path().join("usual"));
    make(&ours, Format::Qcow2, SIZE, None);
    std::fs::write(&usual, "").unwrap();
    let mode = |path| std::fs::metadata(path).unwrap().mode();
    assert_eq!(mode(&ours), mode(&usual));
}

#[test]
fn copies_hold_the_same_in_every_format() {
    let folder = tempfile::tempdir().unwrap();
    for from in FORMATS {
        let (source, model) = filled(&folder.path().join(format!("{from}")), from);
        for to in FORMATS {
            let copy = folder.path().join(format!("{from}-to-{to}"));
            let mut heard = Vec::new();
            assert_eq!(convert(&source, &order(&copy, to), &mut |done, _| heard.push(done)).unwrap(), SIZE);
            assert!(
                heard.is_sorted() && heard.first() == Some(&0) && heard.last() == Some(&SIZE),
                "{heard:?}"
            );
            same(&copy, to, &model);
            // Half of it is zero, and takes no space.
            let allocated = info(&copy, to).unwrap().allocated;
            assert!(allocated < SIZE * 3 / 4, "{from} to {to}: {allocated}");
            if to == Format::Qcow2 {
                check(&copy);
            }
        }
    }
}

/// Both ways: qemu-img copies ours, and we copy what it wrote, compressed and over a chain.
#[test]
fn copies_to_and_from_qemu() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let text = |name: &str| at(name).to_str().unwrap().to_owned();
    let (_, model) = filled(&at("ours"), Format::Qcow2);
    qemu_img_ok(&["convert", "-f", "qcow2", "-O", "raw", &text("ours"), &text("theirs.raw")]);
    assert!(std::fs::read(at("theirs.raw")).unwrap() == model);
    qemu_img_ok(&["convert", "-c", "-f", "qcow2", "-O", "qcow2", &text("ours"), &text("theirs")]);
    qemu_img_ok(&["create", "-q", "-f", "qcow2", "-b", "theirs", "-F", "qcow2", &text("front")]);
    for name in ["theirs", "front"] {
        let copy = at(&format!("{name}-copy"));
        convert(&Source::new(at(name), Format::Qcow2), &order(&copy, Format::Raw), &mut |_, _| {}).unwrap();
        assert!(std::fs::read(&copy).unwrap() == model, "{name}");
    }
}

#[test]
fn disks_grow_and_shrink() {
    let folder = tempfile::tempdir().unwrap();
    for format in FORMATS {
        let (source, mut model) = filled(&folder.path().join(format.name()), format);
        assert_eq!(resize(&source, 3 * SIZE, false).unwrap(), SIZE);
        model.resize(3 * SIZE as usize, 0);
        same(&source.path, format, &model);
        let mut rig = Rig::open(&source, &threads(false));
        assert_eq!(rig.disk.facts().sectors, 3 * SIZE / 512);
        rig.write(3 * SIZE / 512 - 2, &[8; 1024]);
        drop(rig);
        let before = std::fs::read(&source.path).unwrap();
        assert!(matches!(resize(&source, SIZE / 2, false), Err(Error::Shrinks { .. })));
        assert!(before == std::fs::read(&source.path).unwrap());
        resize(&source, SIZE / 2, true).unwrap();
        resize(&source, SIZE, false).unwrap();
        model.truncate(SIZE as usize / 2);
        model.resize(SIZE as usize, 0);
        same(&source.path, format, &model);
        if format == Format::Qcow2 {
            check(&source.path);
        }
        assert!(resize(&source, 0, true).is_err() && resize(&source, 700, true).is_err());
    }
}

/// A front image shorter than the one behind it: when it grows, what is behind must not show.
#[test]
fn what_is_behind_does_not_show_in_the_new_part() {
    let folder = tempfile::tempdir().unwrap();
    let (_, mut model) = filled(&folder.path().join("base"), Format::Raw);
    let front = make(&folder.path().join("front"), Format::Qcow2, SIZE / 4, Some(("base", Format::Raw)));
    resize(&front, SIZE, false).unwrap();
    model[SIZE as usize / 4..].fill(0);
    same(&front.path, Format::Qcow2, &model);
    check(&front.path);
}

#[test]
fn a_layer_takes_what_is_written_and_the_image_stays() {
    let folder = tempfile::tempdir().unwrap();
    let stored = folder.path().join("stored");
    let layers = folder.path().join("layers");
    for (format, directory) in FORMATS.into_iter().zip(["a", "b"]) {
        let (directory, path) = (layers.join(directory), stored.join(format.name()));
        std::fs::create_dir_all(&directory).unwrap();
        std::fs::create_dir_all(&stored).unwrap();
        let (_, mut model) = filled(&path, format);
        let before = std::fs::read(&path).unwrap();
        let under = Backing { path: path.clone(), format };

        let mut rig = Rig::over(Layer::Discard(&directory).open(&under, &Options::default()).unwrap());
        let mut other = Rig::over(Layer::Discard(&directory).open(&under, &Options::default()).unwrap());
        rig.write(100, &[0xaa; 4096]);
        rig.flush();
        assert!(rig.read(100, 8) == [0xaa; 4096]);
        assert!(other.read(100, 8) == model[100 * 512..][..4096], "each has its own");
        assert!(names(&directory).is_empty(), "it has no name");
        drop((rig, other));

        let kept = directory.join("kept.qcow2");
        for round in 0u8..3 {
            let mut rig = Rig::over(Layer::Keep(&kept).open(&under, &Options::default()).unwrap());
            assert!(rig.read(0, SIZE / 512) == model);
            rig.write(200 + u64::from(round), &[round + 1; 512]);
            model[(200 + round as usize) * 512..][..512].fill(round + 1);
        }
        check(&kept);
        same(&kept, Format::Qcow2, &model);
        // Over anything else it would be garbage.
        let other = Backing { path: directory.join("other"), format };
        std::fs::copy(&path, &other.path).unwrap();
        let error = Layer::Keep(&kept).open(&other, &Options::default()).unwrap_err();
        assert!(error.to_string().contains("no layer over"), "{error}");
        assert!(before == std::fs::read(&path).unwrap());
    }
}

#[test]
fn limits_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    let source = make(&folder.path().join("a"), Format::Raw, SIZE, None);
    for (limits, sectors, with_threads) in
        [(Limits::new(Some(100), None), 1, false), (Limits::new(None, Some(2 << 20)), 40, true)]
    {
        let options = Options { limits, threads: with_threads, ..Options::default() };
        let mut rig = Rig::open(&source, &options);
        let began = std::time::Instant::now();
        for n in 0..60 {
            let buffer = rig.buffer(n << 16, sectors * 512);
            rig.submit(Op::Read, n, sectors, buffer);
        }
        rig.disk.start();
        let mut left = 60;
        while left > 0 {
            left -= rig.completions().len();
        }
        // A tenth of a second's worth goes at once. How long it may take at most a busy host decides.
        let took = began.elapsed().as_secs_f64();
        assert!((0.4..60.0).contains(&took), "{took} s");
    }
    // Whoever leaves does not wait for what is held back: more than an hour's worth.
    let limits = Limits::new(None, Some(1));
    let mut rig = Rig::open(&source, &Options { limits, ..Options::default() });
    for n in 0..100 {
        let buffer = rig.buffer(n << 16, 512);
        rig.submit(Op::Read, n, 1, buffer);
    }
    rig.disk.start();
    let began = std::time::Instant::now();
    drop(rig);
    assert!(began.elapsed().as_secs() < 60);
}

#[test]
fn the_serial_number_reaches_the_front() {
    let folder = tempfile::tempdir().unwrap();
    let source = make(&folder.path().join("a"), Format::Raw, SIZE, None);
    let options = Options { serial: "R1".to_owned(), ..Options::default() };
    let facts = Disk::open(&source, &options).unwrap().facts();
    assert_eq!((&*facts.serial, facts.sectors, facts.read_only), ("R1", SIZE / 512, false));
}

#[test]
fn one_writer_or_many_readers() {
    let folder = tempfile::tempdir().unwrap();
    for format in FORMATS {
        let (source, _) = filled(&folder.path().join(format.name()), format);
        let read = source.clone().read_only();
        let writer = Disk::open(&source, &Options::default()).unwrap();
        for other in [&source, &read] {
            let error = Disk::open(other, &Options::default()).unwrap_err();
            assert!(matches!(error, Error::InUse { .. }), "{error}");
        }
        assert!(info(&source.path, format).is_ok(), "a look is free");
        drop(writer);
        let readers = [&read, &read].map(|source| Disk::open(source, &Options::default()).unwrap());
        assert!(matches!(resize(&source, 2 * SIZE, false), Err(Error::InUse { .. })));
        drop(readers);
    }
}

#[test]
fn what_is_no_disk() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    std::fs::write(at("tiny"), "x").unwrap();
    std::fs::write(at("text"), "x".repeat(1000)).unwrap();
    nix::unistd::mkfifo(&at("pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let open = |path: &Path, format| Disk::open(&Source::new(path, format), &Options::default()).unwrap_err();
    assert!(matches!(open(&at("absent"), Format::Raw), Error::Open { .. }));
    assert!(matches!(open(&at("tiny"), Format::Raw), Error::TooSmall { len: 1, .. }));
    for format in FORMATS {
        assert!(matches!(open(&at("pipe"), format), Error::NotADisk { what: "a pipe", .. }));
        assert!(matches!(open(Path::new("/dev/null"), format), Error::NotADisk { .. }));
    }
    assert!(open(&at("text"), Format::Qcow2).to_string().contains("format=raw"));
    let backed = Source {
        backing: Some(Backing { path: at("text"), format: Format::Raw }),
        ..Source::new(at("text"), Format::Raw)
    };
    assert!(matches!(Disk::open(&backed, &Options::default()), Err(Error::NoBacking(_))));
}
