//! Paths that the front pages name in backticks exist in the tree.

use crate::finding::Finding;
use crate::tree::Tree;

/// The pages that a newcomer steers by.
const PAGES: [&str; 3] = ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md"];

pub fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = vec![];
    for page in tree.pages().filter(|page| PAGES.contains(&&*page.path) || page.path.starts_with("docs/")) {
        let mut fenced = false;
        for (number, line) in page.lines() {
            if line.trim_start().starts_with("```") {
                fenced = !fenced;
            }
            if fenced {
                continue;
            }
            for word in code_spans(line).filter(|word| names_a_path(word, tree)) {
                if !tree.has(word) {
                    let message = format!("`{word}` is named here and does not exist");
                    findings.push(Finding::new(&page.path, number, message));
                }
            }
        }
    }
    findings
}

/// What stands between backticks in a line.
fn code_spans(line: &str) -> impl Iterator<Item = &str> {
    line.split('`').skip(1).step_by(2)
}

/// Is it a path of ours rather than a command, a device or an expression? One that begins with a folder of the root, or the
/// name of a file with an extension we use.
fn names_a_path(word: &str, tree: &Tree) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-".contains(c);
    if word.is_empty() || word.starts_with('/') || !word.chars().all(plain) {
        return false;
    }
    match word.split_once('/') {
        Some((first, _)) => tree.has(first),
        None => {
            [".md", ".rs", ".toml", ".sh"].iter().any(|end| word.ends_with(end) && word.len() > end.len())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_paths_are_looked_for() {
        let page = "`base/src/lib.rs` `base/` `base/gone` `/dev/kvm` `cargo xtask` `gone.md`\n```\n`base/no`\n```\n`a/b`";
        let tree =
            Tree::of_texts(&[("README.md", page), ("base/src/lib.rs", ""), ("other.md", "`base/gone`")]);
        let found: Vec<_> = check(&tree).into_iter().map(|finding| (finding.line, finding.message)).collect();
        let gone = |path| (1, format!("`{path}` is named here and does not exist"));
        assert_eq!(found, [gone("base/gone"), gone("gone.md")]);
    }
}
