//! Files of Rust hold one noun each, and so are short.

use crate::finding::Finding;
use crate::tree::Tree;

/// The most lines a file may have; one asks oneself at 500.
const MOST: usize = 800;

pub fn check(tree: &Tree) -> Vec<Finding> {
    let long = tree.rust().filter(|file| !file.is_test()).filter_map(|file| {
        let lines = file.lines().count();
        let message = format!("{lines} lines; more than {MOST} are more than one noun: split it");
        (lines > MOST).then(|| Finding::new(&file.path, 0, message))
    });
    long.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_files_are_found_and_tests_are_spared() {
        let long = "x\n".repeat(MOST + 1);
        let fits = "x\n".repeat(MOST);
        let tree =
            Tree::of_texts(&[("a.rs", &long), ("b.rs", &fits), ("tests/c.rs", &long), ("d.md", &long)]);
        let found: Vec<_> = check(&tree).into_iter().map(|finding| finding.path).collect();
        assert_eq!(found, ["a.rs"]);
    }
}
