//! What cannot be is told before anything starts, with the status 2 and a way out.

use std::fs;

use crate::support::User;

/// A Linux bzImage's header and nothing behind it.
fn truncated_bzimage() -> Vec<u8> {
    let mut bytes = vec![0; 4096];
    bytes[0x1f1] = 4; // setup_sects
    bytes[0x200..0x202].copy_from_slice(&[0xeb, 0x66]); // the header's end
    bytes[0x1fe..0x200].copy_from_slice(&[0x55, 0xaa]);
    bytes[0x202..0x206].copy_from_slice(b"HdrS");
    bytes[0x206..0x208].copy_from_slice(&0x020f_u16.to_le_bytes());
    bytes[0x211] = 1; // LOADED_HIGH
    bytes[0x1f4..0x1f8].copy_from_slice(&0x10_0000_u32.to_le_bytes()); // syssize
    bytes
}

#[test]
fn the_command_line() {
    let user = User::new();
    for (args, words) in [
        (&["frobnicate"][..], "unrecognized subcommand 'frobnicate'"),
        (&["run", "--memory", "lots"], "write a whole number and K, M, G or T"),
        (&["run", "--timeout", "0"], "longer than nothing"),
        (&["run", "--timeout", "soon"], "write seconds"),
        (&["run", "--cpu", "x86-64-v9"], "[possible values: x86-64-v1, x86-64-v2, "),
        (&["run", "--engine", "steam"], "[possible values: auto, "),
        (&["run", "--vcpus", "many"], "invalid value 'many'"),
        (&["run", "--json"], "--stats"),
        (&["run", "debian", "uname"], "unexpected argument 'uname'"),
        (&["run", "-q", "-v"], "cannot be used with"),
        (&["completions", "tcl"], "possible values: bash"),
    ] {
        user.run(args).fails(2, words);
    }
}

#[test]
fn sizes_and_numbers() {
    let user = User::new();
    for (args, words) in [
        (&["run", "selftest", "--vcpus", "0"][..], "0 is not"),
        (&["run", "selftest", "--vcpus", "9999"], "9999 is not"),
        (&["run", "selftest", "--memory", "64K"], "at least 1M"),
        (&["run", "selftest", "--memory", "67108865"], "multiple of 4K"),
        (&["run", "selftest", "--memory", "4000T"], "more than this host has"),
        (&["run", "selftest", "--memory", "1M"], "selftest: the kernel wants"),
    ] {
        let outcome = user.run(args);
        assert!(outcome.stderr.contains("\nhint: "), "{outcome:?}");
        outcome.fails(2, words);
    }
}

#[test]
fn kernels_that_are_none() {
    let user = User::new();
    let file = |name: &str, bytes: &[u8]| {
        let path = user.home().join(name);
        fs::write(&path, bytes).unwrap();
        path.into_os_string().into_string().unwrap()
    };
    let script = file("script", b"#!/bin/sh\n");
    let gzip = file("vmlinux.gz", b"\x1f\x8b\x08");
    let empty = file("empty", b"");
    let truncated = file("bzImage", &truncated_bzimage());
    let large = file("large", &vec![0; 3 << 20]);
    for (args, words) in [
        (
            &["run", "--kernel", &script][..],
            "script: this is not a kernel that can be started: it seems to be a script",
        ),
        (&["run", "--kernel", &gzip], "gzip-compressed"),
        (&["run", "--kernel", &empty], "an empty file"),
        (&["run", "--kernel", &truncated], "bzImage: the kernel file is truncated"),
        (&["run", "--kernel", "/nonexistent/vmlinuz"], "cannot read the kernel /nonexistent/vmlinuz"),
        (&["run", "--kernel", "/"], "cannot read the kernel /"),
        (&["run", "--memory", "2M", "--kernel", "/dev/zero"], "larger than the guest's memory (2 MiB)"),
        (
            &["run", "--memory", "2M", "--kernel", &script, "--initrd", &large],
            "large (3 MiB) is larger than the guest's memory",
        ),
        (&["run", "--kernel", &script, "--", "true"], "a kernel alone has nothing to run a command with"),
        (
            &["run", "selftest", "--console-log", "/nonexistent/log"],
            "cannot write the console log /nonexistent/log",
        ),
        (&["run", "selftest", "--tty"], "standard input is none"),
    ] {
        user.run(args).fails(2, words);
    }
}

#[test]
fn images_that_do_not_exist() {
    let user = User::new();
    user.run(["run", "debain"]).fails(2, "there is no image `debain`; there are: debian, ");
    user.run(["image", "pull", "debian", "debain"]).fails(2, "there is no image `debain`");
    user.run(["image", "rm", "debian"]).fails(1, "image `debian` is not here yet");
    user.run(["image", "verify", "../etc"]).fails(2, "cannot be an image's name");
    let path = user.home().join("vmlinuz");
    fs::write(&path, "x").unwrap();
    user.run(["run", path.to_str().unwrap()])
        .fails(2, &format!("hint: to boot a kernel file: ringfence run --kernel {}", path.display()));
}
