//! Making a disk larger or smaller.

use std::sync::Arc;

use super::create::check_size;
use super::io::{Engine, Inline, block_on};
use super::{Error, Image, Result, Source};

/// Makes the disk of an image `size` bytes large; the new part is zero. What lies beyond a smaller size is lost, so that
/// needs `shrink`. Gives the old size.
///
/// # Errors
/// What is wrong with the size, the image or the host.
pub fn resize(source: &Source, size: u64, shrink: bool) -> Result<u64> {
    check_size(size)?;
    let engine: Arc<dyn Engine> = Arc::new(Inline);
    let mut image = Image::open_to_grow(source, &engine, size)?;
    let old = image.size();
    let doing = || Error::io(format!("resizing {}", source.path.display()));
    if size < old && !shrink {
        block_on(&*engine, image.close()).map_err(doing())?;
        return Err(Error::Shrinks { path: source.path.clone(), from: old, to: size });
    }
    // A longer image behind it would show in the new part.
    let zero = image.is_backed();
    block_on(&*engine, image.resize(size, zero)).map_err(doing())?;
    block_on(&*engine, image.close()).map_err(doing())?;
    Ok(old)
}
