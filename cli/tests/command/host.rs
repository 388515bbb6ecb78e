//! `ringfence doctor`.

use crate::support::User;

#[test]
fn the_report_for_people_and_for_scripts() {
    let user = User::new();
    let json: serde_json::Value = serde_json::from_str(&user.run(["doctor", "--json"]).succeeds()).unwrap();
    let findings = json.as_array().unwrap();
    let text = user.run(["doctor"]).succeeds();
    for id in [
        "kvm",
        "cpu-level",
        "cpu-features",
        "huge-pages",
        "memfd",
        "userfaultfd",
        "tun",
        "cgroups",
        "user-namespaces",
        "apt",
    ] {
        let finding = findings.iter().find(|finding| finding["id"] == id).unwrap_or_else(|| panic!("{id}"));
        let status = finding["status"].as_str().unwrap();
        assert!(["good", "limited", "missing"].contains(&status), "{finding}");
        let line = format!("{:<18} {status:<8}", finding["name"].as_str().unwrap());
        assert!(text.contains(&line), "{line:?} is not in {text}");
        assert_eq!(finding["advice"].is_null(), status == "good", "{finding}");
    }
}

#[test]
fn a_host_without_apt() {
    let user = User::new();
    let output = user.command(["doctor", "--json"]).env("PATH", user.home()).output().unwrap();
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let apt = json.as_array().unwrap().iter().find(|finding| finding["id"] == "apt").unwrap().clone();
    assert_eq!(apt["status"], "missing");
}
