//! Bytes in JSON, which knows text only.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use data_encoding::BASE64;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Bytes; in JSON a string in base64 (RFC 4648, section 4, padded).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bytes(pub Vec<u8>);

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&BASE64.encode_display(&self.0))
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        BASE64.decode(text.as_bytes()).map(Self).map_err(|error| D::Error::custom(format!("base64: {error}")))
    }
}

/// A word of a command line: in JSON a string, or `{"base64": …}` where it is no UTF-8.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Word {
    /// UTF-8.
    Text(String),
    /// Anything else.
    #[serde(rename_all = "kebab-case")]
    Raw {
        /// The bytes.
        base64: Bytes,
    },
}

impl Word {
    /// The word.
    pub fn into_bytes(self) -> Vec<u8> {
        match self {
            Self::Text(text) => text.into_bytes(),
            Self::Raw { base64 } => base64.0,
        }
    }
}

impl From<&OsStr> for Word {
    fn from(word: &OsStr) -> Self {
        match word.to_str() {
            Some(text) => Self::Text(text.to_owned()),
            None => Self::Raw { base64: Bytes(word.as_bytes().to_vec()) },
        }
    }
}

impl From<Word> for OsString {
    fn from(word: Word) -> Self {
        Self::from_vec(word.into_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn words_are_text_where_they_can_be() {
        let json = |word: &[u8]| serde_json::to_string(&Word::from(OsStr::from_bytes(word))).unwrap();
        assert_eq!(json("caf\u{e9}".as_bytes()), "\"caf\u{e9}\"");
        assert_eq!(json(b"\xff\x00"), r#"{"base64":"/wA="}"#);
        assert!(serde_json::from_str::<Bytes>("\"?\"").is_err());
    }

    proptest! {
        #[test]
        fn what_goes_in_comes_out(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            let json = serde_json::to_string(&Word::from(OsStr::from_bytes(&bytes))).unwrap();
            prop_assert_eq!(serde_json::from_str::<Word>(&json).unwrap().into_bytes(), bytes.clone());
            let json = serde_json::to_string(&Bytes(bytes.clone())).unwrap();
            prop_assert_eq!(serde_json::from_str::<Bytes>(&json).unwrap().0, bytes);
        }
    }
}
