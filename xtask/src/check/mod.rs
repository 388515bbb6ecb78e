//! `cargo xtask check`: formatting, lints, and the rules of the house, one a file.

mod layering;
mod length;
mod links;
mod machine;
mod marks;
mod named;
mod unsafety;

use anyhow::{Result, bail};

use crate::cargo::cargo;
use crate::finding::Finding;
use crate::step::Run;
use crate::tree::Tree;

/// A rule over the files, and what it is called.
type Rule = (&'static str, fn(&Tree) -> Vec<Finding>);

const RULES: [Rule; 6] = [
    ("links lead somewhere", links::check),
    ("named paths exist", named::check),
    ("nothing is left unfinished", marks::check),
    ("no path of one machine", machine::check),
    ("files are short", length::check),
    ("unsafe code says why", unsafety::check),
];

/// All checks.
pub fn all(run: &mut Run, tree: &Tree) -> Result<()> {
    house(run, tree)?;
    run.command("formatting", cargo(&["fmt", "--all", "--check"]))?;
    // In the profile of everything else: its build scripts and macros then serve both.
    let clippy =
        ["clippy", "--quiet", "--release", "--workspace", "--all-targets", "--", "--deny", "warnings"];
    run.command("lints", cargo(&clippy))
}

/// The rules of the house.
pub fn house(run: &mut Run, tree: &Tree) -> Result<()> {
    run.step("the rules of the house", |_| {
        let mut findings = vec![];
        for (name, rule) in RULES {
            report(name, rule(tree), &mut findings);
        }
        report("layers", layering::check(tree)?, &mut findings);
        match findings.len() {
            0 => Ok(()),
            count => bail!("{count} places break the rules of the house; see above"),
        }
    })
}

fn report(name: &str, mut found: Vec<Finding>, all: &mut Vec<Finding>) {
    found.sort();
    println!("{name}: {}", if found.is_empty() { "yes" } else { "no" });
    for finding in &found {
        println!("  {finding}");
    }
    all.append(&mut found);
}
