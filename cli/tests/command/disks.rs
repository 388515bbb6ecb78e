//! `ringfence disk`.

use std::fs;

use crate::support::User;

#[test]
fn a_disk_from_its_making_to_its_copy() {
    let user = User::new();
    let at = |name: &str| user.home().join(name).to_str().unwrap().to_owned();
    let (raw, qcow2, copy) = (at("a.img"), at("a.qcow2"), at("copy.img"));
    let json = |path: &str, format: &str| -> serde_json::Value {
        let text = user.run(["disk", "info", path, "--format", format, "--json"]).succeeds();
        serde_json::from_str(&text).unwrap()
    };
    assert!(
        user.run(["disk", "create", &raw, "8M"]).succeeds().is_empty(),
        "nothing for scripts to stumble on"
    );
    assert_eq!(fs::metadata(&raw).unwrap().len(), 8 << 20);
    fs::write(&raw, vec![0x5a; 8 << 20]).unwrap();
    let over = ["disk", "create", &qcow2, "--format", "qcow2", "--backing", "a.img"];
    assert!(user.run(over).succeeds().is_empty());
    let info = json(&qcow2, "qcow2");
    assert_eq!(
        (&info["size"], &info["backing"], &info["backing_format"]),
        (&(8 << 20).into(), &"a.img".into(), &"raw".into())
    );
    assert!(
        user.run(["disk", "info", &qcow2, "-f", "qcow2"]).succeeds().contains("\nbacking     a.img (raw)\n")
    );

    user.run(["disk", "resize", &qcow2, "16M", "--format", "qcow2"]).succeeds();
    assert_eq!(json(&qcow2, "qcow2")["size"], 16 << 20);
    let outcome = user.run(["disk", "convert", &qcow2, &copy, "--from", "qcow2"]);
    assert!(outcome.stderr.contains("is a raw disk of 16 MiB"), "{outcome:?}");
    outcome.succeeds();
    let bytes = fs::read(&copy).unwrap();
    assert!(
        bytes[..8 << 20].iter().all(|byte| *byte == 0x5a) && bytes[8 << 20..].iter().all(|byte| *byte == 0)
    );
}

#[test]
fn what_cannot_be_is_said_with_a_way_out() {
    let user = User::new();
    let at = |name: &str| user.home().join(name).to_str().unwrap().to_owned();
    let (raw, qcow2, new) = (at("a.img"), at("a.qcow2"), at("new"));
    user.run(["disk", "create", &raw, "8M"]).succeeds();
    user.run(["disk", "create", &qcow2, "8M", "-f", "qcow2"]).succeeds();
    for (args, words) in [
        (&["create", &raw, "8M"][..], "is there already"),
        (&["create", &new], "required"),
        (&["create", &new, "8X"], "write a whole number and K, M, G or T"),
        (&["create", &new, "100"], "multiple of 512"),
        (&["create", &new, "0"], "it would be empty"),
        (&["create", &new, "8M", "--format", "vmdk"], "[possible values: raw, qcow2]"),
        (&["create", &new, "--backing", "a.img"], "use the format qcow2"),
        (&["create", &new, "-f", "qcow2", "--backing", "absent.img"], "absent.img"),
        (&["create", &new, "-f", "qcow2", "--backing", "/etc/hostname"], "below the image's own directory"),
        (&["info", &new], "cannot open"),
        (&["info", &raw, "--format", "qcow2"], "format=raw"),
        (&["info", "/dev/null"], "a character device"),
        (&["resize", &raw, "4M"], "--shrink"),
        (&["convert", &raw, &qcow2], "is there already"),
        (&["convert", &raw, &new, "--from", "qcow2"], "format=raw"),
    ] {
        user.run([&["disk"], args].concat()).fails(2, words);
    }
    assert!(!user.home().join("new").exists());
    // Not an error, but worth a word.
    let outcome = user.run(["disk", "info", &qcow2]);
    assert!(outcome.stderr.contains("begins like a qcow2 image and is taken as raw"), "{outcome:?}");
    assert!(outcome.succeeds().contains("format      raw"));
}
