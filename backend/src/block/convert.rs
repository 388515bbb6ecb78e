//! Copying a disk into an image of its own, of any format.

use std::sync::Arc;

use super::create::{Create, draft, publish};
use super::io::{Engine, Inline, block_on};
use super::{Error, Image, Result, Source};

/// What is copied at once, in bytes.
const PIECE: u64 = 2 << 20;
/// What is left out if it is all zero: a cluster.
const GRAIN: usize = 64 << 10;

/// Copies the disk of `from` into a new image as ordered; `progress` hears how many bytes of the disk are done. What
/// is zero takes no space. The new image appears whole or not at all. Gives the size of the disk.
///
/// # Errors
/// What is wrong with the images or the host.
pub fn convert(from: &Source, to: &Create, progress: &mut dyn FnMut(u64, u64)) -> Result<u64> {
    let engine: Arc<dyn Engine> = Arc::new(Inline);
    let source = Image::open(&from.clone().read_only(), &engine)?;
    let size = source.size();
    let order = Create { size: Some(to.size.unwrap_or(size).max(size)), ..to.clone() };
    let (draft, size) = draft(&order, &engine)?;
    let target = Image::open(&Source::new(draft.path(), to.format), &engine)?;
    let doing = || Error::io(format!("copying {} to {}", from.path.display(), to.path.display()));
    let copied = block_on(&*engine, copy(&source, &target, progress));
    copied.map_err(doing())?;
    block_on(&*engine, target.close()).map_err(doing())?;
    publish(draft, &to.path)?;
    Ok(size)
}

async fn copy(from: &Image, to: &Image, progress: &mut dyn FnMut(u64, u64)) -> std::io::Result<()> {
    let (size, mut at) = (from.size(), 0);
    let mut bytes = vec![0; PIECE as usize];
    while at < size {
        progress(at, size);
        let len = match from.zeroes(at, size - at).await? {
            Ok(zeroes) => {
                at += zeroes.max(1);
                continue;
            }
            // To the end of a grain: then all that follows begins with one.
            Err(data) => (data.max(1) + at).next_multiple_of(GRAIN as u64).min(at + PIECE).min(size) - at,
        };
        let bytes = &mut bytes[..len as usize];
        from.read((&mut *bytes).into(), at).await?;
        // Neighbours that hold data go in one write.
        let mut done = 0;
        for run in bytes.chunks(GRAIN).collect::<Vec<_>>().chunk_by(|a, b| is_zero(a) == is_zero(b)) {
            let start = done;
            done += run.iter().map(|grain| grain.len()).sum::<usize>();
            if !run.first().is_some_and(|grain| is_zero(grain)) {
                to.write((&bytes[start..done]).into(), at + start as u64).await?;
            }
        }
        at += len;
    }
    progress(size, size);
    Ok(())
}

fn is_zero(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| *byte == 0)
}
