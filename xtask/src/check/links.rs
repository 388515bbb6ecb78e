//! Relative links in the pages lead to files that exist.

use crate::finding::Finding;
use crate::tree::Tree;

pub fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = vec![];
    for page in tree.pages() {
        for (number, line) in page.lines() {
            for link in targets(line) {
                let path = link.split(['#', '?']).next().unwrap_or_default();
                if path.is_empty() || link.contains("://") || link.starts_with("mailto:") {
                    continue;
                }
                if !Tree::resolve(&page.path, path).is_some_and(|path| tree.has(&path)) {
                    let message = format!("the link to `{link}` leads nowhere");
                    findings.push(Finding::new(&page.path, number, message));
                }
            }
        }
    }
    findings
}

/// The targets of the links in a line: what stands in the parentheses of `[text](target)`.
fn targets(line: &str) -> impl Iterator<Item = &str> {
    line.match_indices("](").filter_map(|(at, _)| {
        let target = &line[at + 2..];
        target.find(')').map(|end| target[..end].trim())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dead_links_are_found_where_they_stand() {
        let page =
            "[a](b.md#x) and [out](https://example.org/x)\n[dead](c.md) [up](../README.md) [here](#there)";
        let tree = Tree::of_texts(&[("docs/a.md", page), ("docs/b.md", ""), ("README.md", "")]);
        assert_eq!(check(&tree), [Finding::new("docs/a.md", 2, "the link to `c.md` leads nowhere")]);
    }
}
