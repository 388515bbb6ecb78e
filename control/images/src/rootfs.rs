//! The root file system of our Linux guests: busybox, a few files in /etc, and
//! an `/init`.
//!
//! It is made in two steps. What is *ours* (`/init`, /etc, the directories) depends on
//! nothing but this version of Ringfence, and its digest tells whether an image
//! is still of this version. What is *theirs* (busybox, the distribution's name)
//! comes out of packages and is added when the image is made.
//!
//! There is one directory of programs, /bin; the others are links to it, as Debian
//! itself has /bin and /usr/bin in one.

use crate::initramfs::Error as InitramfsError;
use crate::{Error, Initramfs, Result, Userspace, busybox};

/// Text files that every guest has: a root and a nobody, a host name, a prompt.
const ETC: &[(&str, &str)] = &[
    ("etc/passwd", "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/bin/false\n"),
    ("etc/group", "root:x:0:\ntty:x:5:\nnogroup:x:65534:\n"),
    ("etc/hosts", "127.0.0.1 localhost ringfence\n::1 localhost ringfence\n"),
    ("etc/hostname", "ringfence\n"),
    ("etc/profile", "export PATH=/bin:/sbin:/usr/bin:/usr/sbin\nPS1='\\u@\\h:\\w\\$ '\n"),
];

/// What is ours in a RAM disk. Where the user space is not there, that is nothing at all.
pub(crate) fn ours(userspace: Userspace, agent: &[u8]) -> Result<Initramfs> {
    let mut root = Initramfs::new();
    let init = match userspace {
        Userspace::Agent => {
            check_agent(agent)?;
            agent
        }
        Userspace::Shell => include_bytes!("init.sh"),
        Userspace::System | Userspace::None => return Ok(root),
    };
    root.file("init", 0o755, init.to_vec())?;
    directories(&mut root)?;
    for (path, text) in ETC {
        root.file(path, 0o644, text.as_bytes().to_vec())?;
    }
    root.file("etc/udhcpc/default.script", 0o755, include_bytes!("udhcpc.sh").to_vec())?;
    Ok(root)
}

fn directories(root: &mut Initramfs) -> Result<(), InitramfsError> {
    for dir in ["bin", "dev", "etc", "proc", "run", "sys", "usr", "var"] {
        root.dir(dir, 0o755)?;
    }
    root.dir("root", 0o700)?;
    root.dir("tmp", 0o1777)?;
    for (link, target) in [
        ("sbin", "bin"),
        ("usr/bin", "../bin"),
        ("usr/sbin", "../bin"),
        ("var/run", "../run"),
        ("var/tmp", "../tmp"),
    ] {
        root.symlink(link, target)?;
    }
    // The kernel opens the console for /init before anyone can mount a devtmpfs.
    root.char_device("dev/console", 0o600, 5, 1)?;
    root.char_device("dev/null", 0o666, 1, 3)
}

/// Adds what is theirs: the busybox of the package `package`, os-release(5).
pub(crate) fn add_theirs(
    root: &mut Initramfs,
    package: &str,
    busybox: Vec<u8>,
    os_release: Vec<u8>,
) -> Result<()> {
    let applets =
        busybox::applets(&busybox).ok_or_else(|| Error::NoApplets { package: package.to_owned() })?;
    for applet in applets {
        // `linuxrc` is the name /init had in 1996.
        if !matches!(applet, "busybox" | "linuxrc") {
            root.symlink(&format!("bin/{applet}"), "busybox")?;
        }
    }
    root.file("bin/busybox", 0o755, busybox)?;
    root.file("etc/os-release", 0o644, os_release)?;
    Ok(())
}

/// The offsets are those of Elf64_Ehdr and Elf64_Phdr (elf(5)).
fn check_agent(agent: &[u8]) -> Result<()> {
    let bad = |what| Err(Error::NotAnAgent { what });
    let half = |at: usize| {
        let bytes = agent.get(at..at + 2).and_then(|b| b.try_into().ok());
        bytes.map(u16::from_le_bytes)
    };
    // Magic, 64 bits, little endian; for x86-64.
    if !agent.starts_with(b"\x7fELF\x02\x01") || half(18) != Some(62) {
        return bad("another kind of file");
    }
    let table = agent.get(32..40).and_then(|b| b.try_into().ok()).map(u64::from_le_bytes);
    let (Some(table), Some(56), Some(count)) = (table, half(54), half(56)) else {
        return bad("no program headers");
    };
    let table = usize::try_from(table).ok().and_then(|at| agent.get(at..)).unwrap_or_default();
    let headers = table.chunks_exact(56).take(count.into());
    if headers.len() != usize::from(count) || count == 0 {
        return bad("no program headers");
    }
    for header in headers {
        // p_type PT_INTERP
        if header.starts_with(&3u32.to_le_bytes()) {
            return bad("it needs a dynamic loader");
        }
    }
    Ok(())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The least that passes as an agent: one program header of type `kind`.
    pub(crate) fn agent_with(kind: u32) -> Vec<u8> {
        let mut elf = vec![0; 64 + 56];
        elf[..6].copy_from_slice(b"\x7fELF\x02\x01");
        elf[18] = 62;
        elf[32] = 64;
        elf[54] = 56;
        elf[56] = 1;
        elf[64..68].copy_from_slice(&kind.to_le_bytes());
        elf
    }

    pub(crate) fn agent() -> Vec<u8> {
        agent_with(1)
    }

    pub(crate) const BUSYBOX: &[u8] = b"\x7fELF\0[\0[[\0busybox\0ls\0sh\0\0";

    #[test]
    fn a_guest_with_the_agent() {
        let mut root = ours(Userspace::Agent, &agent()).unwrap();
        add_theirs(&mut root, "busybox-static", BUSYBOX.to_vec(), b"ID=debian\n".to_vec()).unwrap();
        assert_eq!(root.get("init"), Some(&agent()[..]));
        assert_eq!(root.get("bin/busybox"), Some(BUSYBOX));
        assert_eq!(root.get("etc/os-release"), Some(&b"ID=debian\n"[..]));
        for path in [
            "etc/udhcpc/default.script",
            "bin/sh",
            "bin/[",
            "sbin",
            "usr/bin",
            "dev/console",
            "proc",
            "tmp",
            "etc/passwd",
        ] {
            assert!(root.contains(path), "{path}");
        }
    }

    #[test]
    fn a_guest_with_the_script() {
        let root = ours(Userspace::Shell, b"").unwrap();
        let script = std::str::from_utf8(root.get("init").unwrap()).unwrap();
        assert!(script.starts_with("#!/bin/sh\n"));
        assert!(script.contains(&format!("echo \"{}\"", crate::exec::REACHED)));
        assert!(script.contains(crate::exec::WORD));
        let status = std::process::Command::new("sh").args(["-n", "-c", script]).status().unwrap();
        assert!(status.success());
    }

    #[test]
    fn no_guest() {
        assert_eq!(ours(Userspace::None, b"").unwrap(), Initramfs::new());
    }

    #[test]
    fn agents_that_are_none() {
        let said = |agent: &[u8]| ours(Userspace::Agent, agent).unwrap_err().to_string();
        assert!(said(b"").contains("another kind of file"));
        assert!(said(b"#!/bin/sh").contains("another kind of file"));
        assert!(said(&agent()[..100]).contains("no program headers"));
        assert!(said(&agent_with(3)).contains("dynamic loader"));
    }

    proptest! {
        #[test]
        fn any_bytes_are_harmless(tail in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut elf = agent();
            elf.truncate(20);
            elf.extend(tail);
            let _ = check_agent(&elf);
        }
    }
}
