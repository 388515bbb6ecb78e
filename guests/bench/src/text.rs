//! Text with the statistics of prose, made up.

use crate::random::Random;

/// Syllables that words are made of.
const SYLLABLES: [&str; 24] = [
    "ba", "con", "de", "el", "for", "gra", "hin", "is", "jo", "kel", "lo", "men", "no", "or", "pre", "qui",
    "ran", "sta", "ti", "un", "ver", "wo", "ya", "zi",
];

/// About `size` bytes of words between spaces, with a full stop and a new line here and there. Some words are frequent
/// and most are rare, as in any language.
pub fn prose(size: usize, seed: u64) -> String {
    let mut random = Random::new(seed);
    let words: Vec<String> = (0..4000)
        .map(|_| (0..1 + random.below(4)).map(|_| SYLLABLES[random.below(SYLLABLES.len())]).collect())
        .collect();
    let mut text = String::with_capacity(size + 32);
    while text.len() < size {
        // The product of two is small more often than not.
        let rank = random.below(words.len()) * random.below(words.len()) / words.len();
        text += &words[rank];
        text += if random.below(12) == 0 { ".\n" } else { " " };
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn some_words_are_frequent_and_most_are_rare() {
        let text = prose(100_000, 1);
        let mut counts = BTreeMap::<&str, usize>::new();
        for word in text.split_whitespace() {
            *counts.entry(word).or_default() += 1;
        }
        let most = counts.values().max().unwrap();
        let rare = counts.values().filter(|count| **count < 10).count();
        assert!(*most > 100 && rare * 2 > counts.len(), "{most} {rare} of {}", counts.len());
    }
}
