//! Without a way to fetch images the kernel inside Ringfence boots, or is offered.

use crate::support::{Outcome, User};

/// A user whose `PATH` leads nowhere: there is no apt.
fn run_without_apt(user: &User, args: &[&str]) -> Outcome {
    Outcome::of(user.command(args).env("PATH", user.home()).output().expect("ringfence starts"))
}

#[test]
fn run_boots_what_is_inside_and_says_so() {
    let user = User::new();
    let outcome = run_without_apt(&user, &["run", "--append", "test=integer.add", "--timeout", "300"]);
    assert!(outcome.stderr.contains("note: cannot find `apt-get`"), "{outcome:?}");
    assert!(outcome.stderr.contains("note: booting the kernel inside Ringfence instead"), "{outcome:?}");
    let console = outcome.succeeds();
    assert!(selftest::Report::parse(&console).is_success(), "{console}");
    let logs = std::fs::read_dir(user.home().join(".local/state/ringfence/console")).unwrap();
    let logs: Vec<_> = logs.map(|log| std::fs::read_to_string(log.unwrap().path()).unwrap()).collect();
    assert_eq!(logs, [console], "the console log holds the same");
}

#[test]
fn an_image_or_a_command_that_was_asked_for_is_not_replaced() {
    let user = User::new();
    for args in [&["run", "debian"][..], &["run", "--", "true"]] {
        let outcome = run_without_apt(&user, args);
        assert!(outcome.stderr.contains("hint: `ringfence run selftest`"), "{outcome:?}");
        assert_eq!((outcome.status, &outcome.stdout[..]), (Some(205), ""));
    }
    let outcome = run_without_apt(&user, &["image", "pull", "debian"]);
    assert_eq!(outcome.status, Some(1), "{outcome:?}");
}

#[test]
fn the_self_tests_other_endings() {
    let user = User::new();
    for (append, limit, status, words) in [
        ("exit=3", "300", 7, ""),
        ("crash=triple", "300", 201, "error: triple fault"),
        (
            "crash=hang",
            "2",
            202,
            "error: the time-out of 2s ran out; the machine was stopped\nhint: the console log is /",
        ),
        ("test=nosuch", "300", 206, "error: the self-test found faults"),
    ] {
        let outcome = user.run(["run", "selftest", "--timeout", limit, "--append", append]);
        assert_eq!(outcome.status, Some(status), "{append}: {outcome:?}");
        assert!(outcome.stderr.contains(words), "{append}: {outcome:?}");
    }
}

#[test]
fn statistics() {
    let user = User::new();
    let outcome =
        user.run(["run", "selftest", "--append", "exit=0", "--engine", "interpret", "--stats", "--json"]);
    let stats: serde_json::Value = serde_json::from_str(&outcome.stderr).unwrap();
    assert_eq!(outcome.status, Some(1), "exit=0 is 2*0+1");
    assert_eq!(stats["engine"], "interpret");
    assert!(stats["vcpus"][0]["instructions"].as_u64().unwrap() > 1000, "{stats}");
}
