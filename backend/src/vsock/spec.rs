//! A machine's sockets as the command line says them: `PATH[,cid=N]`.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::str::FromStr;

/// The guest's address unless another is said.
const CID: u32 = 3;
/// A guest's addresses: 0 to 2 and the last are others' (virtio 1.2, 5.10.4).
const CIDS: RangeInclusive<u32> = 3..=u32::MAX - 1;

/// A machine's sockets as the command line says them. A comma within the path is written twice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spec {
    /// Where the host connects.
    pub path: PathBuf,
    /// The guest's address: 3 or above.
    pub cid: u32,
}

/// What is wrong with it, and how it is written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SpecError {
    /// No path.
    #[error("name the socket first: PATH[,cid=N]")]
    NoPath,
    /// An option there is none of.
    #[error("there is no option {0:?}; there is cid=N (a comma in the path is written twice)")]
    Unknown(String),
    /// An option twice.
    #[error("cid= is said twice")]
    Twice,
    /// An address that no guest has.
    #[error("a guest's address is a number from 3 to 4294967294; {0:?} is not")]
    Cid(String),
}

impl FromStr for Spec {
    type Err = SpecError;

    fn from_str(text: &str) -> Result<Self, SpecError> {
        let mut parts = crate::text::split(text).into_iter();
        let path = parts.next().filter(|path| !path.is_empty()).ok_or(SpecError::NoPath)?;
        let mut cid = None;
        for part in parts {
            let value = part.strip_prefix("cid=").ok_or_else(|| SpecError::Unknown(part.clone()))?;
            let number = value.parse().ok().filter(|cid| CIDS.contains(cid));
            let number = number.ok_or_else(|| SpecError::Cid(value.to_owned()))?;
            if cid.replace(number).is_some() {
                return Err(SpecError::Twice);
            }
        }
        Ok(Self { path: path.into(), cid: cid.unwrap_or(CID) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_what_is_meant() {
        let spec = |path: &str, cid| Ok(Spec { path: path.into(), cid });
        assert_eq!("/run/v.sock".parse(), spec("/run/v.sock", 3));
        assert_eq!("a,,b,cid=77".parse(), spec("a,b", 77));
        for (text, error) in [
            ("", SpecError::NoPath),
            (",cid=4", SpecError::NoPath),
            ("a,cid=2", SpecError::Cid("2".to_owned())),
            ("a,cid=4294967295", SpecError::Cid("4294967295".to_owned())),
            ("a,cid=4,cid=5", SpecError::Twice),
            ("a,ro", SpecError::Unknown("ro".to_owned())),
        ] {
            assert_eq!(text.parse::<Spec>(), Err(error), "{text}");
        }
    }
}
