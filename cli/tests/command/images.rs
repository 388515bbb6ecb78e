//! `ringfence image` with an empty store.

use crate::support::User;

#[test]
fn the_list_for_people_and_for_scripts() {
    let user = User::new();
    let text = user.run(["image", "list"]).succeeds();
    assert!(text.lines().any(|line| line.starts_with("debian-686-pae") && line.contains(" - ")), "{text}");
    let json: serde_json::Value =
        serde_json::from_str(&user.run(["image", "ls", "--json"]).succeeds()).unwrap();
    let all = json.as_array().unwrap();
    let debian = all.iter().find(|image| image["name"] == "debian").unwrap();
    assert_eq!((&debian["pulled"], &debian["userspace"]), (&false.into(), &"agent".into()));
    assert!(all.iter().any(|image| image["userspace"] == "none"));
}

#[test]
fn nothing_to_verify() {
    let user = User::new();
    let outcome = user.run(["image", "verify"]);
    assert!(outcome.stderr.contains("no images here yet"), "{outcome:?}");
    outcome.succeeds();
}

#[test]
fn the_store_is_where_the_cache_is() {
    let user = User::new();
    let cache = user.home().join("elsewhere");
    assert!(user.command(["image", "list"]).env("XDG_CACHE_HOME", &cache).status().unwrap().success());
    assert!(cache.join("ringfence/images").is_dir());
    assert!(!user.home().join(".cache").exists());
}
