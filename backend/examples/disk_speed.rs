//! How fast a disk is read in sequence, without a guest: requests of 1 MiB, eight at a time and one at a time, of an image that
//! is in the host's page cache. So it is the way from the front to the file that is measured, and no medium.
//!
//! ```text
//! cargo run --release -p ringfence-backend --example disk_speed -- [DIRECTORY]
//! ```
//!
//! Images are raw, qcow2 written in sequence (clusters in order) and qcow2 written at random in pieces of 64 KiB (each
//! cluster somewhere else); by io_uring and by threads. Of seven passes the median counts.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use backend::block::{Create, Disk, Format, Options, Source, create};
use base::{Buffer, GuestMemory, GuestPhys};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use virtio::back::{Block, Completion, Op, Request, SECTOR};

const SIZE: u64 = 192 << 20;
const CLUSTER: u64 = 64 << 10;
const REQUEST: u64 = 1 << 20;
/// Requests at a time, at most.
const MOST: u64 = 8;
const PASSES: usize = 7;

type Failed = Box<dyn std::error::Error>;

fn main() -> Result<(), Failed> {
    let parent = std::env::args().nth(1).map_or_else(std::env::temp_dir, Into::into);
    let folder = tempfile::tempdir_in(parent)?;
    let memory = Arc::new(GuestMemory::new(MOST * REQUEST)?);
    let random = {
        let mut clusters: Vec<u64> = (0..SIZE / CLUSTER).collect();
        fastrand::Rng::with_seed(1).shuffle(&mut clusters);
        clusters
    };
    let sequential: Vec<u64> = (0..SIZE / CLUSTER).collect();
    for (name, format, order) in [
        ("raw", Format::Raw, &sequential),
        ("qcow2, in order", Format::Qcow2, &sequential),
        ("qcow2, scattered", Format::Qcow2, &random),
    ] {
        let path = folder.path().join(name);
        create(&Create { path: path.clone(), format, size: Some(SIZE), backing: None })?;
        for threads in [false, true] {
            let mut disk = open(&path, format, threads)?;
            if !threads {
                // One at a time, so that clusters are where the order puts them.
                for cluster in order {
                    run(&mut disk, &memory, Op::Write, CLUSTER, 1, std::iter::once(cluster * CLUSTER))?;
                }
            }
            for depth in [MOST, 1] {
                let mut speeds = Vec::new();
                for _ in 0..PASSES {
                    let began = Instant::now();
                    let places = (0..SIZE / REQUEST).map(|request| request * REQUEST);
                    run(&mut disk, &memory, Op::Read, REQUEST, depth, places)?;
                    speeds.push((SIZE >> 20) as f64 / began.elapsed().as_secs_f64());
                }
                speeds.sort_by(f64::total_cmp);
                println!("{name:<17} {:<9} {depth} {:>6.0} MiB/s", disk.engine(), speeds[PASSES / 2]);
            }
        }
    }
    Ok(())
}

fn open(path: &Path, format: Format, threads: bool) -> Result<Disk, Failed> {
    Ok(Disk::open(&Source::new(path, format), &Options { threads, ..Options::default() })?)
}

/// Does requests of so many bytes at all these places, `depth` at a time.
fn run(
    disk: &mut Disk,
    memory: &Arc<GuestMemory>,
    op: Op,
    bytes: u64,
    depth: u64,
    mut places: impl Iterator<Item = u64>,
) -> Result<(), Failed> {
    let mut done: Vec<Completion> = (0..depth).map(|tag| Completion { tag, result: Ok(()) }).collect();
    let mut under_way = 0;
    loop {
        for Completion { tag, result } in done.drain(..) {
            result?;
            let Some(at) = places.next() else { continue };
            let mut data = Buffer::new(memory);
            data.push(GuestPhys(tag * REQUEST), bytes)?;
            let request = Request { tag, op, sector: at / SECTOR, sectors: bytes / SECTOR, data };
            disk.submit(request).map_err(|_| "the disk takes no more")?;
            under_way += 1;
        }
        if under_way == 0 {
            return Ok(());
        }
        disk.start();
        poll(&mut [PollFd::new(disk.wake(), PollFlags::POLLIN)], PollTimeout::NONE)?;
        disk.complete(&mut done);
        under_way -= done.len();
    }
}
