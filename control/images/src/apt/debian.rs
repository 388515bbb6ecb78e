//! Debian 12 itself, for what the host's own sources do not offer.
//!
//! Debian 13 has no kernel for 32-bit machines any more, and other distributions
//! have other names for theirs. Debian 12 has every package of every recipe.

use std::path::{Path, PathBuf};
use std::{fs, io};

use crate::{Error, Result};

/// Debian's public keys, from the package `debian-archive-keyring`, which every
/// Debian has and others offer. Nothing is fetched unless they sign for it.
pub(crate) const KEYS: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// Writes a sources.list(5) of Debian 12 into `dir`; `None` without Debian's keys.
pub(super) fn sources(dir: &Path) -> Result<Option<PathBuf>> {
    match fs::metadata(KEYS) {
        Ok(_) => {}
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(Error::io("read", Path::new(KEYS), e)),
    }
    let list = dir.join("debian-12.list");
    let text = format!(
        "deb [signed-by={KEYS}] http://deb.debian.org/debian bookworm main\n\
         deb [signed-by={KEYS}] http://deb.debian.org/debian-security bookworm-security main\n"
    );
    fs::write(&list, text).map_err(|e| Error::io("write", &list, e))?;
    Ok(Some(list))
}
