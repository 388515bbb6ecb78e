//! Unsafe code is opted in where it is needed, and each place says why.
//!
//! The compiler denies `unsafe_code` in the whole workspace and clippy wants a SAFETY comment on each block; what
//! is left to see to is that every opt-in has its reason beside it, and that nobody lifts the lints wholesale.

use crate::finding::Finding;
use crate::tree::Tree;

pub fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = vec![];
    for file in tree.rust() {
        let lines: Vec<&str> = file.lines().map(|(_, line)| line).collect();
        for (index, line) in lines.iter().enumerate() {
            if !opts_in(line) {
                continue;
            }
            let beside = |at: Option<&&str>| at.is_some_and(|line| line.trim_start().starts_with("//"));
            let reasoned = line.contains("//")
                || line.contains("reason =")
                || index.checked_sub(1).is_some_and(|before| beside(lines.get(before)))
                || beside(lines.get(index + 1));
            if !reasoned {
                let message =
                    "unsafe code is allowed here without a reason: add it as a comment on this line";
                findings.push(Finding::new(&file.path, index + 1, message));
            }
        }
    }
    for manifest in tree.files().filter(|file| file.path.ends_with("Cargo.toml")) {
        let text = manifest.text.as_deref().unwrap_or_default();
        // A workspace of its own (libFuzzer's) has nobody to inherit from.
        let inherits = text.contains("[lints]\nworkspace = true") || text.contains("[workspace]");
        if text.contains("[package]") && !inherits {
            let message = "the lints of the workspace do not hold here: add `[lints] workspace = true`";
            findings.push(Finding::new(&manifest.path, 0, message));
        }
    }
    findings
}

/// Is it the attribute, not a text about it?
fn opts_in(line: &str) -> bool {
    let line = line.trim_start();
    let attribute = line.starts_with("#[") || line.starts_with("#![");
    attribute && ["allow(unsafe_code", "expect(unsafe_code"].iter().any(|word| line.contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_opt_in_wants_a_reason() {
        let text = "#![allow(unsafe_code)] // signal frames\n\
                    // SAFETY: reads a constant.\n#[allow(unsafe_code)]\nfn a() {}\n\
                    #[allow(unsafe_code)]\nfn b() {}\n\
                    #[expect(unsafe_code, reason = \"mmap\")]\nfn c() {}\n";
        let found: Vec<_> = check(&Tree::of_texts(&[("a.rs", text)])).iter().map(|f| f.line).collect();
        assert_eq!(found, [5]);
    }

    #[test]
    fn every_package_takes_the_lints() {
        let tree = Tree::of_texts(&[
            ("a/Cargo.toml", "[package]\nname = \"a\"\n\n[lints]\nworkspace = true\n"),
            ("b/Cargo.toml", "[package]\nname = \"b\"\n"),
            ("Cargo.toml", "[workspace]\n"),
        ]);
        let found: Vec<_> = check(&tree).into_iter().map(|finding| finding.path).collect();
        assert_eq!(found, ["b/Cargo.toml"]);
    }
}
