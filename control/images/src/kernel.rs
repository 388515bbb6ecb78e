//! Whether a file is a kernel of the kind it should be. A package that changed
//! its ways is thus told when it is pulled, not when it is booted.

use crate::{Error, Kind, Result};

/// Refuses `bytes`, which come from `what`, if they are no kernel of `kind`.
pub(crate) fn check(kind: Kind, bytes: &[u8], what: &str) -> Result<()> {
    let (good, expected) = match kind {
        Kind::Linux => (is_bzimage(bytes), "a Linux bzImage"),
        Kind::Multiboot => (is_multiboot(bytes), "a multiboot kernel"),
    };
    if good { Ok(()) } else { Err(Error::NotAKernel { what: what.to_owned(), expected }) }
}

/// The boot sector's signature and the magic of the setup header
/// (Documentation/arch/x86/boot.rst).
fn is_bzimage(bytes: &[u8]) -> bool {
    bytes.get(0x1fe..0x200) == Some(&[0x55, 0xaa]) && bytes.get(0x202..0x206) == Some(b"HdrS")
}

/// Magic, flags and checksum, aligned, within the first 8 KiB (Multiboot
/// Specification 0.6.96, section 3.1).
fn is_multiboot(bytes: &[u8]) -> bool {
    let head = &bytes[..bytes.len().min(8192)];
    let word = |at: usize| {
        let bytes = head.get(at..at + 4)?.try_into().ok()?;
        Some(u32::from_le_bytes(bytes))
    };
    (0..head.len()).step_by(4).any(|at| match (word(at), word(at + 4), word(at + 8)) {
        (Some(magic @ 0x1bad_b002), Some(flags), Some(sum)) => {
            magic.wrapping_add(flags).wrapping_add(sum) == 0
        }
        _ => false,
    })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// The least that passes as a bzImage.
    pub(crate) fn bzimage() -> Vec<u8> {
        let mut bytes = vec![0; 0x400];
        bytes[0x1fe..0x200].copy_from_slice(&[0x55, 0xaa]);
        bytes[0x202..0x206].copy_from_slice(b"HdrS");
        bytes
    }

    #[test]
    fn bzimages() {
        assert!(check(Kind::Linux, &bzimage(), "x").is_ok());
        assert!(check(Kind::Linux, &bzimage()[..0x205], "x").is_err());
        assert!(check(Kind::Linux, b"", "x").is_err());
        let message = check(Kind::Linux, b"\x7fELF", "boot/x").unwrap_err().to_string();
        assert_eq!(message, "boot/x is not a Linux bzImage");
    }

    #[test]
    fn multiboot_headers() {
        let header = |at: usize, sum: u32| {
            let mut bytes = vec![0; at];
            for word in [0x1bad_b002, 3, sum] {
                bytes.extend(u32::to_le_bytes(word));
            }
            bytes
        };
        let good = 0xe452_4ffb;
        for at in [0, 4, 0x1004, 8192 - 12] {
            assert!(check(Kind::Multiboot, &header(at, good), "x").is_ok(), "{at}");
        }
        for (at, sum) in [(2, good), (4, good + 1), (8192 - 8, good)] {
            assert!(check(Kind::Multiboot, &header(at, sum), "x").is_err(), "{at}");
        }
    }
}
