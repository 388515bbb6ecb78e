//! The command line's words.

use super::Text;

/// The words, blank separated.
pub struct Words(pub Text);

impl Words {
    /// True if `word` is among them.
    pub fn has(&self, word: &str) -> bool {
        self.words().any(|each| each == word)
    }

    /// The value of the first `key=value`.
    pub fn value(&self, key: &str) -> Option<&str> {
        self.values(key).next()
    }

    /// True if no `test=` prefix is given, or one that `name` starts with.
    pub fn selects(&self, name: &str) -> bool {
        self.values("test").next().is_none() || self.values("test").any(|prefix| name.starts_with(prefix))
    }

    fn words(&self) -> impl Iterator<Item = &str> {
        self.0.as_str().split_ascii_whitespace()
    }

    fn values(&self, key: &str) -> impl Iterator<Item = &str> {
        self.words().filter_map(move |word| word.strip_prefix(key)?.strip_prefix('='))
    }
}
