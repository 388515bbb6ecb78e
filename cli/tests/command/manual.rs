//! Help, completions and manual pages.

use std::fs;

use crate::support::User;

#[test]
fn help_names_the_exit_statuses() {
    let help = User::new().run(["run", "--help"]).succeeds();
    for words in ["200  the guest's kernel panicked", "202  --timeout ran out", "Ctrl-] leaves", "Examples:"]
    {
        assert!(help.contains(words), "{words}");
    }
}

#[test]
fn version() {
    assert_eq!(
        User::new().run(["--version"]).succeeds(),
        concat!("ringfence ", env!("CARGO_PKG_VERSION"), "\n")
    );
}

#[test]
fn completions_know_the_options() {
    let user = User::new();
    for shell in ["bash", "zsh", "fish"] {
        let text = user.run(["completions", shell]).succeeds();
        assert!(text.contains("console-log") && text.contains("boot-timeout"), "{shell}");
    }
}

#[test]
fn manual_pages() {
    let user = User::new();
    assert!(user.run(["man"]).succeeds().contains(".TH ringfence 1"));
    let directory = user.home().join("man/man1");
    assert!(user.run(["man", directory.to_str().unwrap()]).succeeds().is_empty());
    let page = fs::read_to_string(directory.join("ringfence-run.1")).unwrap();
    assert!(page.contains("console"), "{page}");
}
