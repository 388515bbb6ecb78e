use clap::Parser;
use images::{Blob, Digest, Kind, Manifest};

use super::*;
use crate::args::{Cli, Command};

fn args(line: &[&str]) -> RunArgs {
    let Command::Run(args) = Cli::parse_from(["ringfence", "run"].iter().chain(line)).command else {
        panic!()
    };
    *args
}

fn image(userspace: Userspace) -> Booted {
    let blob = Blob { digest: Digest::of(b"kernel"), size: 6 };
    let manifest = Manifest {
        schema: 1,
        name: "test".to_owned(),
        description: String::new(),
        kind: Kind::Linux,
        userspace,
        kernel: blob,
        initrd: Some(blob),
        command_line: "console=ttyS0".to_owned(),
        packages: vec![],
        disk: None,
        built: None,
        ours: Digest::of(b""),
        created: 0,
    };
    (Image { manifest, kernel: b"kernel".to_vec(), initrd: Some(b"initrd".to_vec()), disk: None }, None)
}

#[test]
fn an_image_with_the_agent() {
    let args = args(&["test", "-m", "64M", "-c", "2", "--cpu", "x86-64-v2", "-a", "debug", "--", "true"]);
    let plan = of_image(&args, image(Userspace::Agent), None, None).unwrap();
    assert_eq!(
        plan.config.command_line, "console=ttyS0 ringfence.net=eth0,10.0.2.15/24,10.0.2.2,10.0.2.3 debug",
        "the user's words come last"
    );
    assert_eq!((plan.config.memory, plan.config.vcpus), (64 << 20, 2));
    assert_eq!(plan.config.cpu, engine::CpuLevel::V2);
    assert_eq!((&*plan.images.kernel, plan.images.initrd.as_deref()), (&b"kernel"[..], Some(&b"initrd"[..])));
    assert_eq!(plan.way, Way::Agent(Wish { argv: vec!["true".into()], tty: false }));
}

#[test]
fn a_kernel_of_ones_own_keeps_the_user_space_and_an_initrd_replaces_it() {
    let plan = of_image(&args(&["test"]), image(Userspace::Shell), Some(b"mine".to_vec()), None).unwrap();
    assert_eq!((&*plan.images.kernel, plan.images.initrd.as_deref()), (&b"mine"[..], Some(&b"initrd"[..])));
    assert_eq!(plan.way, Way::Shell);
    let plan = of_image(&args(&["test"]), image(Userspace::Agent), None, Some(b"mine".to_vec())).unwrap();
    assert_eq!(plan.images.initrd.as_deref(), Some(&b"mine"[..]));
    assert_eq!(plan.way, Way::Serial);
}

#[test]
fn commands_without_the_agent() {
    let plan = of_image(&args(&["test", "--", "exit", "it's"]), image(Userspace::Shell), None, None).unwrap();
    assert_eq!(plan.way, Way::Exec);
    assert!(
        plan.config
            .command_line
            .starts_with("console=ttyS0 ringfence.net=eth0,10.0.2.15/24,10.0.2.2,10.0.2.3 ringfence.exec=")
    );
    let long = "x".repeat(3000);
    for (line, userspace, words) in [
        (&["test", "--", &long][..], Userspace::Shell, "too long for this guest"),
        (&["test", "--", "true"][..], Userspace::None, "no user space"),
    ] {
        let failure = of_image(&args(line), image(userspace), None, None).unwrap_err();
        assert_eq!(failure.status, 2);
        assert!(failure.message.contains(words), "{}", failure.message);
    }
}

#[test]
fn what_cannot_be_is_told_before_anything_is_read() {
    for (line, words) in [
        (&["--memory", "1024T"][..], "more than this host has"),
        (&["--memory", "4K"][..], "at least 1M"),
        (&["--vcpus", "0"][..], "0 is not"),
        (&["--vcpus", "1000"][..], "1 to 512 vCPUs"),
        (&["--memory", "1048577"][..], "multiple of 4K"),
        (&["--kernel", "/nonexistent", "--", "true"][..], "nothing to run a command with"),
        (&["--kernel", "/nonexistent"][..], "cannot read the kernel /nonexistent"),
        (&["selftest", "--", "true"][..], "without user space"),
        (&["debain"][..], "there is no image `debain`; there are: debian"),
    ] {
        let failure = plan(&args(line)).unwrap_err();
        assert_eq!(failure.status, 2, "{line:?}");
        assert!(failure.message.contains(words), "{line:?}: {}", failure.message);
    }
}

#[test]
fn the_kernel_inside() {
    let plan = plan(&args(&["selftest", "--append", "test=integer"])).unwrap();
    assert_eq!((&plan.config.command_line[..], plan.way), ("test=integer", Way::Serial));
    assert_eq!(&*plan.images.kernel, selftest::KERNEL);
}

#[test]
fn kernels_alone() {
    let of = |line, kernel: &[u8]| of_files(&args(line), kernel.to_vec(), None);
    let plan = of(&["--kernel", "/boot/mine"], selftest::KERNEL).unwrap();
    assert_eq!((&plan.name[..], &plan.config.command_line[..]), ("mine", LINUX));
    let plan = of(&["--kernel", "/boot/mine", "--append", "quiet"], selftest::KERNEL).unwrap();
    assert_eq!(plan.config.command_line, "quiet");
    let failure = of(&["--kernel", "/boot/mine"], b"#!/bin/sh\n").unwrap_err();
    assert_eq!(failure.status, 2);
    assert!(failure.message.starts_with("mine: this is not a kernel"), "{}", failure.message);
}

#[test]
fn the_guest_is_told_of_the_network_that_it_has() {
    let told = |line: &[&str]| network(&args(line)).map(|network| network.interface);
    assert_eq!(told(&[]).as_deref(), Some("eth0"));
    assert_eq!(told(&["--net", "none"]), None);
    assert_eq!(told(&["--net", "switch=blue"]), None);
    assert_eq!(told(&["--net", "switch=blue", "--net", "user"]).as_deref(), Some("eth1"));
    assert_eq!(told(&["--net", "none", "--net", "user,limit-bw=1M"]).as_deref(), Some("eth0"));
}
