//! No path of one machine: what is checked in means the same everywhere.

use crate::finding::Finding;
use crate::tree::Tree;

/// Folders that only a certain machine has, in two halves each, so that this file names none.
const FOLDERS: [(&str, &str); 5] =
    [("/wo", "rk/"), ("/ro", "ot/."), ("/home", "/"), ("/Use", "rs/"), ("/mnt", "/c/")];

pub fn check(tree: &Tree) -> Vec<Finding> {
    let folders = FOLDERS.map(|(head, tail)| format!("{head}{tail}"));
    let mut findings = vec![];
    for file in tree.files() {
        for (number, line) in file.lines() {
            for folder in folders.iter().filter(|folder| begins_a_path(line, folder)) {
                let message = format!("`{folder}…` is a path of one machine");
                findings.push(Finding::new(&file.path, number, message));
            }
        }
    }
    findings
}

/// Does an absolute path in the line begin so? `a/home/b` is a relative one.
fn begins_a_path(line: &str, folder: &str) -> bool {
    line.match_indices(folder).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        !before.is_some_and(|c| c.is_alphanumeric() || "._-~}".contains(c))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absolute_paths_are_found_and_relative_ones_are_not() {
        let [work, _, home, ..] = FOLDERS.map(|(head, tail)| format!("{head}{tail}"));
        let text = format!("open(\"{home}me/x\")\n$HOME{home}x\nguests{work}src\n{work}x");
        let found: Vec<_> = check(&Tree::of_texts(&[("a.rs", &text)])).iter().map(|f| f.line).collect();
        assert_eq!(found, [1, 4]);
    }
}
