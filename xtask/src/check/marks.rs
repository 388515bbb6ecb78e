//! Nothing is left unfinished: no notes to oneself, no holes, no tests that do not run.

use crate::finding::Finding;
use crate::tree::Tree;

/// The marks, in two halves each, so that this file has none.
const MARKS: [(&str, &str); 7] = [
    ("TO", "DO"),
    ("FIX", "ME"),
    ("XX", "X:"),
    ("todo", "!("),
    ("unimplemented", "!("),
    ("#[ign", "ore"),
    ("dbg", "!("),
];

pub fn check(tree: &Tree) -> Vec<Finding> {
    let marks = MARKS.map(|(head, tail)| format!("{head}{tail}"));
    let mut findings = vec![];
    for file in tree.files() {
        for (number, line) in file.lines() {
            for mark in marks.iter().filter(|mark| stands_alone(line, mark)) {
                findings.push(Finding::new(
                    &file.path,
                    number,
                    format!("`{mark}`: finish it, or take it out"),
                ));
            }
        }
    }
    findings
}

/// Does the mark stand in the line, and not as a part of a longer word?
fn stands_alone(line: &str, mark: &str) -> bool {
    line.match_indices(mark).any(|(at, _)| {
        let word = |c: char| c.is_alphanumeric() || c == '_';
        let before = line[..at].chars().next_back().is_some_and(word);
        let after = line[at + mark.len()..].chars().next().is_some_and(word);
        let open = |edge: Option<char>| edge.is_some_and(|c| !word(c));
        (!before || open(mark.chars().next())) && (!after || open(mark.chars().next_back()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_found_as_words_only() {
        let mark = format!("// {}{}: later", "TO", "DO");
        let hole = format!("fn f() {{ {}{}) }}", "todo", "!(");
        let skipped = format!("    {}{}]", "#[ign", "ore");
        let text = format!("{mark}\n{hole}\nAUTO{}\nlet mastodon = 1;\n{skipped}", "TODOS");
        let found: Vec<_> = check(&Tree::of_texts(&[("a.rs", &text)])).iter().map(|f| f.line).collect();
        assert_eq!(found, [1, 2, 5]);
    }
}
