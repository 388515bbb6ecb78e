//! A shared directory as the command line says it: `DIR[:TAG][,readonly]`.

use std::path::PathBuf;
use std::str::FromStr;

/// Bytes of a tag (virtio 1.2, 5.11.4).
const MOST_TAG: usize = 36;

/// A shared directory as the command line says it. A comma within the directory's name is written twice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spec {
    /// The directory.
    pub path: PathBuf,
    /// The name by which guests mount it.
    pub tag: String,
    /// Guests may not change anything.
    pub read_only: bool,
}

/// What is wrong with it, and how it is written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SpecError {
    /// No directory.
    #[error("name the directory first: DIR[:TAG][,readonly]")]
    NoPath,
    /// A tag that cannot be.
    #[error("a tag is 1 to 36 letters, digits, `-`, `_` and `.`, and begins with no `.`; {0:?} is not")]
    Tag(String),
    /// The directory has no name that could be the tag.
    #[error("{0:?} does not say what the guest shall call it: write DIR:TAG")]
    NoTag(String),
    /// An option there is none of.
    #[error("there is no option {0:?}; there is readonly (a comma in the directory's name is written twice)")]
    Unknown(String),
    /// An option twice.
    #[error("readonly is said twice")]
    Twice,
}

impl Spec {
    /// Can this be a tag? Nothing in it means anything to a shell, a path or a kernel's command line.
    pub fn is_tag(text: &str) -> bool {
        let letter = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        (1..=MOST_TAG).contains(&text.len()) && text.bytes().all(letter) && !text.starts_with('.')
    }
}

impl FromStr for Spec {
    type Err = SpecError;

    fn from_str(text: &str) -> Result<Self, SpecError> {
        let mut parts = crate::text::split(text).into_iter();
        let first = parts.next().unwrap_or_default();
        let mut read_only = false;
        for part in parts {
            if part != "readonly" {
                return Err(SpecError::Unknown(part));
            }
            if std::mem::replace(&mut read_only, true) {
                return Err(SpecError::Twice);
            }
        }
        // What follows the last colon is a tag, unless it is more of a path.
        let (path, tag) = match first.rsplit_once(':') {
            Some((path, tag)) if !tag.contains('/') => (path, Some(tag)),
            _ => (&*first, None),
        };
        if path.is_empty() {
            return Err(SpecError::NoPath);
        }
        let path = PathBuf::from(path);
        let tag = match tag {
            Some(tag) if Self::is_tag(tag) => tag.to_owned(),
            Some(tag) => return Err(SpecError::Tag(tag.to_owned())),
            None => {
                let name = path.file_name().and_then(|name| name.to_str()).filter(|name| Self::is_tag(name));
                name.ok_or_else(|| SpecError::NoTag(first.clone()))?.to_owned()
            }
        };
        Ok(Self { path, tag, read_only })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_what_is_meant() {
        let spec =
            |path: &str, tag: &str, read_only| Ok(Spec { path: path.into(), tag: tag.to_owned(), read_only });
        assert_eq!(".:src".parse(), spec(".", "src", false));
        assert_eq!("/data/me/src/".parse(), spec("/data/me/src/", "src", false));
        assert_eq!("/a:b/c,readonly".parse(), spec("/a:b/c", "c", true));
        assert_eq!("/a,,b:c:d".parse(), spec("/a,b:c", "d", false));
        for (text, error) in [
            ("", SpecError::NoPath),
            (":tag", SpecError::NoPath),
            (".", SpecError::NoTag(".".to_owned())),
            ("..", SpecError::NoTag("..".to_owned())),
            ("/", SpecError::NoTag("/".to_owned())),
            ("/my files", SpecError::NoTag("/my files".to_owned())),
            ("/a:", SpecError::Tag(String::new())),
            ("/a:b c", SpecError::Tag("b c".to_owned())),
            ("/a:..", SpecError::Tag("..".to_owned())),
            ("/a,ro", SpecError::Unknown("ro".to_owned())),
            ("/a,readonly,readonly", SpecError::Twice),
        ] {
            assert_eq!(text.parse::<Spec>(), Err(error), "{text}");
        }
        assert!(format!("/a:{}", "x".repeat(36)).parse::<Spec>().is_ok());
        assert!(format!("/a:{}", "x".repeat(37)).parse::<Spec>().is_err());
    }
}
