//! The whole program on this machine: it finds nothing wrong, and finds the same twice.

use std::process::{Command, Output};

fn workout(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_ringfence-workout"))
        .args(arguments)
        .output()
        .expect("the workout starts")
}

#[test]
fn a_correct_machine_passes_and_repeats_itself() {
    let first = workout(&["all", "--stream", "1"]);
    let report = String::from_utf8(first.stdout).expect("the report is text");
    let wrong: Vec<&str> = report.lines().filter(|line| line.contains("FAIL")).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(first.status.success());
    for family in
        ["fork", "signal", "mmap", "pipe", "threads", "float", "compute", "selfmod", "time", "stress"]
    {
        assert!(
            report.lines().filter(|line| line.starts_with(&format!("{family}: "))).count() > 5,
            "{family}"
        );
    }
    let second = String::from_utf8(workout(&["all", "--stream", "1"]).stdout).expect("the report is text");
    let differences: Vec<_> = report.lines().zip(second.lines()).filter(|(one, two)| one != two).collect();
    assert!(differences.is_empty() && report.len() == second.len(), "{differences:#?}");
}

#[test]
fn what_is_not_understood_is_said() {
    let output = workout(&["dance"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("no family dance"));
    assert!(output.stdout.is_empty());
}
