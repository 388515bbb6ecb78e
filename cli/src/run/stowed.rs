//! The images of a machine that may boot again: out of memory meanwhile, in a file without a name. Nobody else can change or
//! shorten that, and what a pipe gave is there, too.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use machine::Images;

/// Images that were put away.
pub enum Stowed {
    /// In a file: kernel, initial RAM disk and modules one after the other, of so many bytes each.
    File { file: File, kernel: usize, initrd: Option<usize>, modules: Vec<(usize, String)> },
    /// There is no room for such a file.
    Memory(Images),
}

impl Stowed {
    /// Puts images away.
    pub fn new(images: &Images) -> Self {
        Self::write(images).unwrap_or_else(|error| {
            tracing::debug!(%error, "the images stay in memory");
            Self::Memory(images.clone())
        })
    }

    fn write(images: &Images) -> io::Result<Self> {
        let Images { kernel, initrd, modules } = images;
        let mut file = tempfile::tempfile()?;
        let files = modules.iter().map(|(bytes, _)| bytes);
        for bytes in [kernel].into_iter().chain(initrd).chain(files) {
            file.write_all(bytes)?;
        }
        let modules = modules.iter().map(|(bytes, text)| (bytes.len(), text.clone())).collect();
        Ok(Self::File {
            file,
            kernel: kernel.len(),
            initrd: initrd.as_ref().map(|initrd| initrd.len()),
            modules,
        })
    }

    /// The images again.
    ///
    /// # Errors
    /// The host's, in words.
    pub fn images(&self) -> Result<Images, String> {
        let (file, kernel, initrd, modules) = match self {
            Self::Memory(images) => return Ok(images.clone()),
            Self::File { file, kernel, initrd, modules } => (file, *kernel, *initrd, modules),
        };
        let mut at = 0;
        let mut read = |len: usize| -> Result<Arc<[u8]>, String> {
            let mut bytes = vec![0; len];
            let given = file.read_exact_at(&mut bytes, at);
            given.map_err(|error| format!("cannot read the images that were put away: {error}"))?;
            at += len as u64;
            Ok(bytes.into())
        };
        Ok(Images {
            kernel: read(kernel)?,
            initrd: initrd.map(&mut read).transpose()?,
            modules: modules
                .iter()
                .map(|(len, text)| Ok((read(*len)?, text.clone())))
                .collect::<Result<_, String>>()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_put_away_comes_back() {
        let module = |bytes: &[u8], text: &str| (Arc::from(bytes), text.to_owned());
        let some = Images {
            kernel: Arc::from(&b"kernel"[..]),
            initrd: Some(Arc::from(&b"initrd"[..])),
            modules: vec![module(b"one", "first"), module(b"", "empty"), module(b"two", "")],
        };
        let few = Images { kernel: Arc::from(&b"k"[..]), ..Images::default() };
        for images in [some, few] {
            let stowed = Stowed::new(&images);
            assert!(matches!(stowed, Stowed::File { .. }));
            for stowed in [stowed, Stowed::Memory(images.clone())] {
                let again = stowed.images().unwrap();
                assert_eq!((&again.kernel, &again.initrd), (&images.kernel, &images.initrd));
                assert_eq!(again.modules, images.modules);
            }
        }
    }
}
