//! What is measured: the workloads that the benchmark program lists.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde::Serialize;

/// A workload, as `bench list` tells of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Workload {
    /// Its name.
    pub name: String,
    /// What it asks for: `compute`, `simd`, `v3`, `memory`, `kernel`, `programs`.
    pub class: String,
    /// What it does.
    pub about: String,
}

/// All that a benchmark program has.
pub fn list(bench: &Path) -> Result<Vec<Workload>> {
    let output = Command::new(bench).arg("list").output().with_context(|| bench.display().to_string())?;
    if !output.status.success() {
        bail!("`bench list` ended with {}", output.status);
    }
    parse(&String::from_utf8_lossy(&output.stdout)).context("`bench list` is not as known")
}

fn parse(list: &str) -> Option<Vec<Workload>> {
    let line = |line: &str| {
        let (name, rest) = line.split_once(' ')?;
        let (class, about) = rest.trim_start().split_once(' ')?;
        let [name, class, about] = [name, class, about.trim()].map(str::to_owned);
        Some(Workload { name, class, about })
    };
    list.lines().map(line).collect()
}

/// Those whose names or classes are among `wanted`, in the list's order; all if that is empty.
pub fn choose(all: &[Workload], wanted: &[String]) -> Result<Vec<Workload>> {
    for word in wanted {
        if !all.iter().any(|workload| workload.name == *word || workload.class == *word) {
            let known: Vec<_> = all.iter().map(|workload| &*workload.name).collect();
            bail!("there is no workload or class `{word}`; there are {}", known.join(", "));
        }
    }
    let chosen = |workload: &&Workload| {
        wanted.is_empty() || wanted.iter().any(|word| workload.name == *word || workload.class == *word)
    };
    Ok(all.iter().filter(chosen).cloned().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: &str = "sort         compute   256 Ki integers\nfork         kernel    20 processes\n";

    #[test]
    fn a_list_is_read() {
        let all = parse(LIST).unwrap();
        assert_eq!((&*all[0].name, &*all[0].class, &*all[0].about), ("sort", "compute", "256 Ki integers"));
        assert_eq!(parse("sort\n"), None);
    }

    #[test]
    fn workloads_are_chosen_by_name_and_class() {
        let all = parse(LIST).unwrap();
        let names = |wanted: &[&str]| -> Result<Vec<String>> {
            let wanted: Vec<_> = wanted.iter().map(|word| word.to_string()).collect();
            Ok(choose(&all, &wanted)?.into_iter().map(|workload| workload.name).collect())
        };
        assert_eq!(names(&[]).unwrap(), ["sort", "fork"]);
        assert_eq!(names(&["kernel", "sort"]).unwrap(), ["sort", "fork"]);
        assert_eq!(names(&["fork"]).unwrap(), ["fork"]);
        assert!(names(&["dance"]).is_err());
    }
}
