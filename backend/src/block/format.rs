//! The format of an image. It is said, never guessed: what a file's first bytes look like is for its guest to choose.

use std::fmt;
use std::str::FromStr;

/// The format of an image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// Sector after sector, as on a real disk.
    #[default]
    Raw,
    /// QEMU's copy-on-write format, version 2 or 3.
    Qcow2,
}

impl Format {
    /// As the command line and qcow2 headers call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Qcow2 => "qcow2",
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Format {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        match name {
            "raw" => Ok(Self::Raw),
            "qcow2" => Ok(Self::Qcow2),
            _ => Err(format!("there are the formats raw and qcow2, not {name:?}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written() {
        for format in [Format::Raw, Format::Qcow2] {
            assert_eq!(format.to_string().parse(), Ok(format));
        }
        for other in ["", "RAW", "vmdk", "qcow", "raw "] {
            assert!(other.parse::<Format>().is_err(), "{other}");
        }
    }
}
