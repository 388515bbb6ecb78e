//! Whatever is done to a raw image, to a qcow2 image and to one over another, they read as a plain array does: also
//! after closing, and after being left open as by a crash.

mod support;

use std::path::Path;
use std::sync::Arc;

use backend::block::io::{Engine, Inline, block_on};
use backend::block::{Format, Image, Source};
use proptest::prelude::*;
use support::*;

const SIZE: u64 = 1 << 20;
const SECTORS: u64 = SIZE / 512;

/// Something that is done to a disk. Places are in sectors.
#[derive(Clone, Debug)]
enum Step {
    Write(u64, u64, u8),
    Zero(u64, u64, bool),
    /// Discards, and writes, since what is discarded may read as anything.
    Discard(u64, u64, u8),
    Flush,
    /// Closes and opens it.
    Close,
    /// Leaves it as it is after a flush, and opens it: what a crash does.
    Leave,
}

fn place() -> impl Strategy<Value = (u64, u64)> {
    // Around cluster edges more often than elsewhere.
    let at = prop_oneof![
        0..SECTORS,
        (0..SECTORS / 128).prop_map(|n| n * 128),
        (1..SECTORS / 8).prop_map(|n| n * 8 - 1)
    ];
    (at, 1..400u64).prop_map(|(at, count)| (at, count.min(SECTORS - at)))
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (place(), 1u8..).prop_map(|((at, count), byte)| Step::Write(at, count, byte)),
        2 => (place(), any::<bool>()).prop_map(|((at, count), unmap)| Step::Zero(at, count, unmap)),
        2 => (place(), 1u8..).prop_map(|((at, count), byte)| Step::Discard(at, count, byte)),
        1 => Just(Step::Flush),
        1 => Just(Step::Close),
        1 => Just(Step::Leave),
    ]
}

fn engine() -> Arc<dyn Engine> {
    Arc::new(Inline)
}

fn bytes(step_byte: u8, count: u64) -> Vec<u8> {
    (0..count).flat_map(|n| [step_byte.wrapping_add(n as u8).max(1); 512]).collect()
}

async fn apply(image: &Image, step: &Step) {
    let done = match step {
        Step::Write(at, count, byte) => image.write((&*bytes(*byte, *count)).into(), at * 512).await,
        Step::Zero(at, count, unmap) => image.zero(at * 512, count * 512, *unmap).await,
        Step::Discard(at, count, byte) => {
            image.discard(at * 512, count * 512).await.unwrap();
            image.write((&*bytes(*byte, *count)).into(), at * 512).await
        }
        Step::Flush | Step::Leave => image.flush().await,
        Step::Close => Ok(()),
    };
    done.unwrap();
}

/// The array, after one step.
fn expect(model: &mut [u8], step: &Step) {
    match step {
        Step::Write(at, count, byte) | Step::Discard(at, count, byte) => {
            model[*at as usize * 512..][..*count as usize * 512].copy_from_slice(&bytes(*byte, *count));
        }
        Step::Zero(at, count, _) => model[*at as usize * 512..][..*count as usize * 512].fill(0),
        Step::Flush | Step::Close | Step::Leave => {}
    }
}

fn run(source: &Source, steps: &[Step], mut model: Vec<u8>) {
    let engine = engine();
    let mut image = Image::open(source, &engine).unwrap();
    let read = |image: &Image| {
        let mut all = vec![0xee; SIZE as usize];
        block_on(&*engine, image.read((&mut *all).into(), 0)).unwrap();
        all
    };
    for step in steps {
        block_on(&*engine, apply(&image, step));
        expect(&mut model, step);
        match step {
            Step::Close => block_on(&*engine, image.close()).unwrap(),
            Step::Leave => drop(image),
            _ => continue,
        }
        image = Image::open(source, &engine).unwrap();
        assert!(read(&image) == model, "after {step:?}");
    }
    assert!(read(&image) == model, "in the end");
    block_on(&*engine, image.close()).unwrap();
    if source.format == Format::Qcow2 {
        check(&source.path);
    }
    same(&source.path, source.format, &model);
}

fn small_clusters(path: &Path) -> Source {
    qemu_img_ok(&[
        "create",
        "-q",
        "-f",
        "qcow2",
        "-o",
        "cluster_size=1k",
        path.to_str().unwrap(),
        &SIZE.to_string(),
    ]);
    Source::new(path, Format::Qcow2)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_image_reads_as_an_array_does(steps in prop::collection::vec(step(), 1..40)) {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let zeroes = vec![0; SIZE as usize];
        run(&make(&at("raw"), Format::Raw, SIZE, None), &steps, zeroes.clone());
        run(&make(&at("qcow2"), Format::Qcow2, SIZE, None), &steps, zeroes.clone());
        run(&small_clusters(&at("small")), &steps, zeroes);
        let below: Vec<u8> = (0..SIZE).map(|n| (n / 4096) as u8).collect();
        std::fs::write(at("below"), &below).unwrap();
        run(&make(&at("over"), Format::Qcow2, SIZE, Some(("below", Format::Raw))), &steps, below.clone());
        prop_assert!(std::fs::read(at("below")).unwrap() == below);
    }
}
