//! Kernels and initial RAM disks that the user names.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use crate::args::show_size;
use crate::failure::Failure;

/// Reads the file at `path`, which is `what`, and must be smaller than the guest's memory. It may be a pipe.
pub fn read(path: &Path, what: &str, memory: u64) -> Result<Vec<u8>, Failure> {
    let cannot =
        |error: std::io::Error| Failure::usage(format!("cannot read {what} {}: {error}", path.display()));
    let file = File::open(path).map_err(cannot)?;
    let known = file.metadata().map_err(cannot)?.len();
    let too_large = |size: &str| {
        let text = format!(
            "{what} {} ({size}) is larger than the guest's memory ({})",
            path.display(),
            show_size(memory)
        );
        Failure::usage(text).hint("give the guest more memory: --memory 2G")
    };
    if known > memory {
        return Err(too_large(&show_size(known)));
    }
    let mut bytes = Vec::new();
    file.take(memory.saturating_add(1)).read_to_end(&mut bytes).map_err(cannot)?;
    match bytes.len() as u64 > memory {
        true => Err(too_large("without an end")),
        false => Ok(bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_that_can_be_and_files_that_cannot() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("initrd");
        std::fs::write(&path, [7; 100]).unwrap();
        assert_eq!(read(&path, "the initrd", 100).unwrap(), [7; 100]);
        let failure = read(&path, "the initrd", 99).unwrap_err();
        assert_eq!(failure.status, 2);
        assert!(failure.message.contains("initrd (100 bytes) is larger than the guest's memory (99 bytes)"));
        let failure = read(Path::new("/dev/zero"), "the kernel", 1 << 20).unwrap_err();
        assert!(failure.message.contains("without an end"));
        let failure = read(directory.path(), "the kernel", 1 << 20).unwrap_err();
        assert!(failure.message.starts_with("cannot read the kernel /"), "{}", failure.message);
    }
}
