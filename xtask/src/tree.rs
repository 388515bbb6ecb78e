//! The files of the project, read once: what git knows, and what it would if it were asked to add everything.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

/// The project's files.
pub struct Tree {
    root: PathBuf,
    files: Vec<File>,
    /// Every folder that holds a file, relative to the root.
    folders: BTreeSet<String>,
}

/// A file.
pub struct File {
    /// Relative to the root, with slashes.
    pub path: String,
    /// Its text; `None` if it is not UTF-8.
    pub text: Option<String>,
}

impl File {
    /// Its lines with their numbers, from 1.
    pub fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        (1..).zip(self.text.as_deref().unwrap_or_default().lines())
    }

    /// Is it Rust?
    pub fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }

    /// Is it a page of text?
    pub fn is_page(&self) -> bool {
        self.path.ends_with(".md")
    }

    /// Does it hold tests only?
    pub fn is_test(&self) -> bool {
        let name = self.path.rsplit('/').next().unwrap_or_default();
        name == "tests.rs" || name.ends_with("_tests.rs") || self.path.split('/').any(|part| part == "tests")
    }
}

impl Tree {
    /// Reads the tree this program was built in.
    pub fn read() -> Result<Self> {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        let root = here.parent().context("xtask lies in the workspace's root")?;
        let output = Command::new("git")
            .current_dir(root)
            .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
            .output()
            .context("cannot run git, which names the project's files; install it")?;
        if !output.status.success() {
            bail!("git does not name the project's files: {}", String::from_utf8_lossy(&output.stderr));
        }
        let names = String::from_utf8(output.stdout).context("a file name is not UTF-8")?;
        let mut names: Vec<_> = names.split_terminator('\0').collect();
        names.sort_unstable();
        names.dedup();
        let mut files = Vec::with_capacity(names.len());
        for name in names {
            // What was removed and is still in the index is no file.
            if let Ok(bytes) = std::fs::read(root.join(name)) {
                files.push(File { path: name.to_owned(), text: String::from_utf8(bytes).ok() });
            }
        }
        Ok(Self::of(root.to_owned(), files))
    }

    fn of(root: PathBuf, files: Vec<File>) -> Self {
        let parents = files.iter().flat_map(|file| Path::new(&file.path).ancestors().skip(1));
        let folders = parents.map(|folder| folder.to_string_lossy().into_owned()).collect();
        Self { root, files, folders }
    }

    /// A tree of these texts, for the tests of the checks.
    #[cfg(test)]
    pub fn of_texts(files: &[(&str, &str)]) -> Self {
        let file =
            |(path, text): &(&str, &str)| File { path: (*path).to_owned(), text: Some((*text).to_owned()) };
        Self::of(PathBuf::new(), files.iter().map(file).collect())
    }

    /// The root folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// All files.
    pub fn files(&self) -> impl Iterator<Item = &File> {
        self.files.iter()
    }

    /// The Rust files.
    pub fn rust(&self) -> impl Iterator<Item = &File> {
        self.files().filter(|file| file.is_rust())
    }

    /// The pages of text.
    pub fn pages(&self) -> impl Iterator<Item = &File> {
        self.files().filter(|file| file.is_page())
    }

    /// Is there such a file or folder? The path is relative to the root.
    pub fn has(&self, path: &str) -> bool {
        let path = path.trim_end_matches('/');
        self.folders.contains(path) || self.files.iter().any(|file| file.path == path)
    }

    /// Resolves `link` from the folder of `page`; `None` where it leaves the tree.
    pub fn resolve(page: &str, link: &str) -> Option<String> {
        let mut parts: Vec<&str> = match link.starts_with('/') {
            true => vec![],
            false => page.rsplit_once('/').map(|(folder, _)| folder.split('/').collect()).unwrap_or_default(),
        };
        for part in link.split('/') {
            match part {
                "" | "." => {}
                ".." => {
                    parts.pop()?;
                }
                part => parts.push(part),
            }
        }
        Some(parts.join("/"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_resolve_from_the_page_they_stand_on() {
        assert_eq!(Tree::resolve("docs/a.md", "b.md").as_deref(), Some("docs/b.md"));
        assert_eq!(Tree::resolve("docs/a.md", "../README.md").as_deref(), Some("README.md"));
        assert_eq!(Tree::resolve("README.md", "docs/").as_deref(), Some("docs"));
        assert_eq!(Tree::resolve("docs/a.md", "../../etc/passwd"), None);
    }

    #[test]
    fn folders_of_files_are_there() {
        let tree = Tree::of_texts(&[("a/b/c.rs", "")]);
        assert!(["a", "a/b/", "a/b/c.rs"].iter().all(|path| tree.has(path)));
        assert!(!tree.has("a/c.rs"));
    }

    #[test]
    fn the_tree_has_its_own_files() {
        let tree = Tree::read().unwrap();
        assert!(tree.has("xtask/src/tree.rs") && tree.has("base/src") && !tree.has("target"));
    }
}
