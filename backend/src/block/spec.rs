//! A disk as the command line says it: `PATH[,format=raw|qcow2][,readonly][,serial=…][,limit-iops=…][,limit-bw=…]`.

use std::path::PathBuf;
use std::str::FromStr;

use super::{Backing, Format, Limits, Options, Source};
use crate::text::split;

/// What the front shows of a serial number, in bytes.
const SERIAL: usize = 20;

/// A disk as the command line says it. A comma within a value is written twice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spec {
    /// Which image, and how it is opened.
    pub source: Source,
    /// Its serial number; empty for none.
    pub serial: String,
    /// Requests a second, if they are limited.
    pub requests: Option<u64>,
    /// Bytes a second, if they are limited.
    pub bytes: Option<u64>,
}

/// What is wrong with it, and how it is written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SpecError {
    /// No file.
    #[error("name the image's file first: PATH[,format=raw|qcow2][,readonly]…")]
    NoPath,
    /// An option there is none of.
    #[error(
        "there is no option {0:?}; there are format=, readonly, serial=, limit-iops=, limit-bw=, backing= and backing-format= (a comma in a name is written twice)"
    )]
    Unknown(String),
    /// An option twice.
    #[error("{0} is said twice")]
    Twice(&'static str),
    /// An option that stands alone, with a value; or another without.
    #[error("write {0}")]
    Form(&'static str),
    /// A format there is none of.
    #[error("{0}")]
    Format(String),
    /// A serial number that cannot be.
    #[error("a serial number is up to 20 characters of printable ASCII; {0:?} is not")]
    Serial(String),
    /// A limit that cannot be.
    #[error("{0} is a whole number above zero, with K, M or G for powers of 1024; {1:?} is not")]
    Limit(&'static str, String),
    /// A format for an image that is not named.
    #[error("backing-format= is of the image that backing=PATH names; name it, too")]
    NoBacking,
    /// An image behind a raw one.
    #[error("only a qcow2 image has an image behind it; say format=qcow2, too")]
    RawBacked,
}

impl Spec {
    /// What the disk has besides its image.
    pub fn options(&self) -> Options {
        Options {
            serial: self.serial.clone(),
            limits: Limits::new(self.requests, self.bytes),
            threads: false,
        }
    }
}

/// Puts a value where none is yet.
fn once<T>(place: &mut Option<T>, name: &'static str, value: T) -> Result<(), SpecError> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err(SpecError::Twice(name)),
    }
}

fn limit(name: &'static str, text: &str) -> Result<u64, SpecError> {
    let (digits, shift) = match text.char_indices().next_back() {
        Some((at, 'K' | 'k')) => (&text[..at], 10),
        Some((at, 'M' | 'm')) => (&text[..at], 20),
        Some((at, 'G' | 'g')) => (&text[..at], 30),
        _ => (text, 0),
    };
    let all_digits = digits.bytes().all(|byte| byte.is_ascii_digit());
    let number = digits.parse::<u64>().ok().filter(|number| all_digits && *number > 0);
    number
        .and_then(|number| number.checked_mul(1 << shift))
        .ok_or_else(|| SpecError::Limit(name, text.to_owned()))
}

fn serial(text: &str) -> Result<String, SpecError> {
    let good =
        !text.is_empty() && text.len() <= SERIAL && text.bytes().all(|byte| (0x20..0x7f).contains(&byte));
    if good { Ok(text.to_owned()) } else { Err(SpecError::Serial(text.to_owned())) }
}

impl FromStr for Spec {
    type Err = SpecError;

    fn from_str(text: &str) -> Result<Self, SpecError> {
        let mut parts = split(text).into_iter();
        let path = parts.next().filter(|path| !path.is_empty()).ok_or(SpecError::NoPath)?;
        let (mut format, mut read_only, mut number, mut requests, mut bytes) = (None, None, None, None, None);
        let (mut backing, mut backing_format) = (None, None);
        let as_format = |value: &str| value.parse::<Format>().map_err(SpecError::Format);
        for part in parts {
            match part.split_once('=') {
                Some(("format", value)) => once(&mut format, "format", as_format(value)?)?,
                Some(("serial", value)) => once(&mut number, "serial", serial(value)?)?,
                Some(("limit-iops", value)) => {
                    once(&mut requests, "limit-iops", limit("limit-iops", value)?)?;
                }
                Some(("limit-bw", value)) => once(&mut bytes, "limit-bw", limit("limit-bw", value)?)?,
                Some(("backing", "")) => return Err(SpecError::Form("backing=PATH")),
                Some(("backing", value)) => once(&mut backing, "backing", PathBuf::from(value))?,
                Some(("backing-format", value)) => {
                    once(&mut backing_format, "backing-format", as_format(value)?)?;
                }
                Some(("readonly", _)) => return Err(SpecError::Form("readonly alone, without a value")),
                None if part == "readonly" => once(&mut read_only, "readonly", ())?,
                None if part == "format" => return Err(SpecError::Form("format=raw or format=qcow2")),
                None if part == "serial" => return Err(SpecError::Form("serial=TEXT")),
                None if part == "limit-iops" => return Err(SpecError::Form("limit-iops=N")),
                None if part == "limit-bw" => return Err(SpecError::Form("limit-bw=BYTES")),
                None if part == "backing" => return Err(SpecError::Form("backing=PATH")),
                Some(_) | None => return Err(SpecError::Unknown(part)),
            }
        }
        let format = format.unwrap_or_default();
        let backing = match (backing, backing_format) {
            (None, Some(_)) => return Err(SpecError::NoBacking),
            (Some(_), _) if format == Format::Raw => return Err(SpecError::RawBacked),
            (path, format) => path.map(|path| Backing { path, format: format.unwrap_or_default() }),
        };
        let source = Source { path: path.into(), format, read_only: read_only.is_some(), backing };
        Ok(Self { source, serial: number.unwrap_or_default(), requests, bytes })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(text: &str) -> Spec {
        text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn a_path_alone_is_a_raw_disk_that_is_written() {
        let bare = spec("disk.img");
        assert_eq!(bare.source, Source::new("disk.img", Format::Raw));
        assert_eq!((bare.serial.as_str(), bare.requests, bare.bytes), ("", None, None));
        assert_eq!(spec("vm.qcow2").source.format, Format::Raw, "a name says nothing of the format");
    }

    #[test]
    fn everything_at_once() {
        let all = spec(
            "/a/b.qcow2,format=qcow2,readonly,serial=ABC 1,limit-iops=500,limit-bw=10M,backing=/c,backing-format=qcow2",
        );
        let backing = Some(Backing { path: "/c".into(), format: Format::Qcow2 });
        assert_eq!(
            all.source,
            Source { path: "/a/b.qcow2".into(), format: Format::Qcow2, read_only: true, backing }
        );
        assert_eq!((all.serial.as_str(), all.requests, all.bytes), ("ABC 1", Some(500), Some(10 << 20)));
        assert!(all.options().limits.bytes.is_some());
    }

    #[test]
    fn commas_in_names_are_written_twice() {
        assert_eq!(spec("a,,b.img,readonly").source.path, PathBuf::from("a,b.img"));
        assert_eq!(spec("a,,,readonly").source.path, PathBuf::from("a,"));
        assert!(spec("a,,,readonly").source.read_only);
        assert_eq!(spec("k=v").source.path, PathBuf::from("k=v"));
    }

    #[test]
    fn what_is_wrong_is_said() {
        use SpecError::*;
        let unknown = |text: &str| Unknown(text.to_owned());
        for (text, error) in [
            ("", NoPath),
            (",readonly", NoPath),
            ("a,b", unknown("b")),
            ("a,", unknown("")),
            ("a,ro", unknown("ro")),
            ("a,Format=raw", unknown("Format=raw")),
            ("a,readonly=no", Form("readonly alone, without a value")),
            ("a,serial", Form("serial=TEXT")),
            ("a,backing=,format=qcow2", Form("backing=PATH")),
            ("a,readonly,readonly", Twice("readonly")),
            ("a,format=raw,format=qcow2", Twice("format")),
            ("a,format=vmdk", Format("there are the formats raw and qcow2, not \"vmdk\"".to_owned())),
            ("a,serial=", Serial(String::new())),
            ("a,serial=123456789012345678901", Serial("123456789012345678901".to_owned())),
            ("a,serial=ä", Serial("ä".to_owned())),
            ("a,limit-iops=0", Limit("limit-iops", "0".to_owned())),
            ("a,limit-bw=10MB", Limit("limit-bw", "10MB".to_owned())),
            ("a,limit-bw=+1", Limit("limit-bw", "+1".to_owned())),
            ("a,limit-bw=18446744073709551615K", Limit("limit-bw", "18446744073709551615K".to_owned())),
            ("a,format=qcow2,backing-format=raw", NoBacking),
            ("a,backing=b", RawBacked),
        ] {
            assert_eq!(text.parse::<Spec>(), Err(error), "{text}");
        }
    }
}
