//! Names of machines.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A text that no machine can have as its name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` cannot be a machine's name: use 1 to {most} letters, digits, `-`, `_` and `.`, and begin with a letter or digit",
    most = Name::LONGEST
)]
pub struct BadName(pub String);

/// A machine's name. It names files, too, so it is never a path.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Name(String);

const MANNERS: [&str; 32] = [
    "able", "bold", "brave", "brisk", "calm", "clear", "cosy", "deft", "eager", "fair", "fleet", "fond",
    "free", "glad", "good", "grand", "keen", "kind", "lively", "merry", "mild", "neat", "nimble", "plain",
    "proud", "quick", "quiet", "sound", "spry", "steady", "warm", "wise",
];
const BIRDS: [&str; 32] = [
    "auk", "bunting", "crane", "curlew", "dipper", "dove", "dunlin", "eider", "finch", "gannet", "grebe",
    "heron", "hobby", "ibis", "jay", "kestrel", "kite", "lapwing", "lark", "linnet", "martin", "merlin",
    "osprey", "pipit", "plover", "robin", "serin", "siskin", "snipe", "swift", "tern", "wren",
];

impl Name {
    /// Characters that a name can have.
    pub const LONGEST: usize = 40;

    /// A readable name by chance.
    pub fn by_chance() -> Self {
        let any = |words: &[&'static str; 32]| words[fastrand::usize(..words.len())];
        Self(format!("{}-{}", any(&MANNERS), any(&BIRDS)))
    }

    /// This name with a number behind it.
    pub fn numbered(&self, number: u32) -> Self {
        let suffix = format!("-{number}");
        let stem = &self.0[..self.0.len().min(Self::LONGEST - suffix.len())];
        Self(format!("{stem}{suffix}"))
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Name {
    type Err = BadName;

    fn from_str(text: &str) -> Result<Self, BadName> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        let begins = text.as_bytes().first().is_some_and(u8::is_ascii_alphanumeric);
        match begins && text.len() <= Self::LONGEST && text.bytes().all(allowed) {
            true => Ok(Self(text.to_owned())),
            false => Err(BadName(text.to_owned())),
        }
    }
}

impl TryFrom<String> for Name {
    type Error = BadName;

    fn try_from(text: String) -> Result<Self, BadName> {
        text.parse()
    }
}

impl From<Name> for String {
    fn from(name: Name) -> Self {
        name.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_names() {
        for bad in ["", ".", "..", ".x", "-x", "a/b", "a b", "a\n", "\u{e9}", &"x".repeat(Name::LONGEST + 1)]
        {
            assert_eq!(bad.parse::<Name>(), Err(BadName(bad.to_owned())));
        }
        assert_eq!("web-1.x_Y".parse::<Name>().unwrap().as_str(), "web-1.x_Y");
        assert!(serde_json::from_str::<Name>("\"../x\"").is_err());
    }

    #[test]
    fn those_by_chance_are_names_and_so_are_numbered_ones() {
        for _ in 0..100 {
            let name = Name::by_chance();
            assert_eq!(name.as_str().parse::<Name>().unwrap(), name);
        }
        let long: Name = "x".repeat(Name::LONGEST).parse().unwrap();
        assert_eq!(long.numbered(12).as_str().len(), Name::LONGEST);
        assert_eq!("a".parse::<Name>().unwrap().numbered(2).as_str(), "a-2");
    }
}
