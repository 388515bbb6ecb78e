//! What apt answers when it is asked about a package.

use crate::{Blob, Digest, Error, Result};

/// A version of a package that apt can fetch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// The package's name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Its architecture: the one that was asked for, or `all`.
    pub arch: String,
    /// The package file, as the signed package lists promise it.
    pub deb: Blob,
    /// The names it depends on, alternatives one after another, in order.
    pub depends: Vec<String>,
}

impl Candidate {
    /// Reads the first stanza of `apt-cache show`: `Field: value` lines,
    /// continued by lines that begin with a space, ended by an empty line
    /// (Debian Policy, section 5.1).
    pub(super) fn parse(lines: &[String]) -> Result<Self> {
        let missing = |field: &str| Error::AptAnswer {
            command: "apt-cache show".to_owned(),
            detail: format!("no usable field `{field}`"),
        };
        let value = |field: &str| {
            let mut stanza = lines.iter().take_while(|line| !line.is_empty());
            stanza.find_map(|line| {
                let (key, value) = line.split_once(':')?;
                key.eq_ignore_ascii_case(field).then(|| value.trim())
            })
        };
        let word = |field: &str, good: fn(&str) -> bool| {
            let found = value(field).filter(|v| good(v)).map(str::to_owned);
            found.ok_or_else(|| missing(field))
        };
        let digest = value("SHA256").and_then(Digest::from_hex).ok_or_else(|| missing("SHA256"))?;
        let size = value("Size").and_then(|s| s.parse().ok()).ok_or_else(|| missing("Size"))?;
        Ok(Self {
            name: word("Package", is_name)?,
            version: word("Version", is_version)?,
            arch: word("Architecture", is_name)?,
            deb: Blob { digest, size },
            depends: value("Depends").map(names).unwrap_or_default(),
        })
    }
}

/// The package names in a dependency field: `a (>= 1), b | c:any`.
fn names(field: &str) -> Vec<String> {
    let parts = field.split([',', '|']);
    let names = parts.map(|part| part.split(['(', ':', '[', '<']).next().unwrap_or("").trim());
    names.filter(|name| is_name(name)).map(str::to_owned).collect()
}

/// The address in a line of `--print-uris`: `'ADDRESS' FILE SIZE HASH`.
pub(super) fn uri(line: &str) -> Option<String> {
    let (uri, _) = line.strip_prefix('\'')?.split_once('\'')?;
    let (scheme, _) = uri.split_once(':')?;
    scheme.starts_with(|c: char| c.is_ascii_alphabetic()).then(|| uri.to_owned())
}

/// The package in a line of `install --simulate`: `Inst NAME (VERSION ARCHIVE [ARCH])`, as `NAME=VERSION`.
pub(super) fn installed(line: &str) -> Option<String> {
    let mut words = line.strip_prefix("Inst ")?.split(' ');
    let name = words.next().filter(|name| is_name(name))?;
    let version = words.next()?.strip_prefix('(').filter(|version| is_version(version))?;
    Some(format!("{name}={version}"))
}

/// The proxy in a line of `apt-config dump`: `Acquire::http::Proxy "ADDRESS";`.
pub(super) fn proxy(line: &str) -> Option<(String, String)> {
    let (key, value) = line.split_once(' ')?;
    let scheme = key.strip_prefix("Acquire::")?.strip_suffix("::Proxy")?;
    let address = value.strip_prefix('"')?.strip_suffix("\";")?;
    let good = matches!(scheme, "http" | "https") && !matches!(address, "" | "DIRECT" | "false");
    good.then(|| (scheme.to_owned(), address.to_owned()))
}

/// Whether this is the name of a kernel's package, and not of a metapackage:
/// `linux-image-` and a version.
pub(super) fn is_kernel(name: &str) -> bool {
    let version = name.strip_prefix("linux-image-");
    version.is_some_and(|v| v.starts_with(|c: char| c.is_ascii_digit()))
}

/// Refuses what would not be a package's name to apt, but an option or a pattern.
pub(super) fn check_package(name: &str) -> Result<()> {
    if is_name(name) { Ok(()) } else { Err(Error::BadName { name: name.to_owned() }) }
}

/// Debian Policy, section 5.6.7.
fn is_name(name: &str) -> bool {
    let letter = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit();
    name.bytes().next().is_some_and(letter) && name.bytes().all(|c| letter(c) || b"+-.".contains(&c))
}

/// Debian Policy, section 5.6.12.
fn is_version(version: &str) -> bool {
    version.starts_with(|c: char| c.is_ascii_digit())
        && version.bytes().all(|c| c.is_ascii_alphanumeric() || b".+-~:".contains(&c))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    // Recorded from apt 2.6.1.
    const SHOW: &str = "\
Package: linux-image-cloud-amd64
Source: linux-signed-amd64 (6.1.176+1)
Version: 6.1.176-1
Installed-Size: 13
Architecture: amd64
Provides: linux-latest-modules-6.1.0-50-cloud-amd64, wireguard-modules (= 1.0.0)
Depends: linux-image-6.1.0-50-cloud-amd64 (= 6.1.176-1)
Description: Linux for x86-64 cloud (meta-package)
 Version: 0
Filename: pool/main/l/linux-signed-amd64/linux-image-cloud-amd64_6.1.176-1_amd64.deb
Size: 1500
SHA256: 6f32a25a6ee7b58852de01577ba261fda873c3002c736a2148bf0a6593bd93c8

Package: another
";

    fn lines(text: &str) -> Vec<String> {
        text.lines().map(str::to_owned).collect()
    }

    #[test]
    fn a_stanza_of_debian() {
        let candidate = Candidate::parse(&lines(SHOW)).unwrap();
        assert_eq!(candidate.name, "linux-image-cloud-amd64");
        assert_eq!(candidate.version, "6.1.176-1");
        assert_eq!((candidate.arch.as_str(), candidate.deb.size), ("amd64", 1500));
        assert!(candidate.deb.digest.hex().starts_with("6f32a25a"));
        assert_eq!(candidate.depends, ["linux-image-6.1.0-50-cloud-amd64"]);
    }

    #[test]
    fn simulated_installations() {
        let line = "Inst base-passwd (3.6.1 Debian:12.12/oldstable [amd64])";
        assert_eq!(installed(line).unwrap(), "base-passwd=3.6.1");
        for other in ["Conf base-passwd (3.6.1 x)", "Inst -x (1 y)", "Inst x [1] (2 y)", "Inst x", ""] {
            assert_eq!(installed(other), None, "{other}");
        }
    }

    #[test]
    fn proxies() {
        let line = r#"Acquire::http::Proxy "http://proxy.example:3128/";"#;
        assert_eq!(proxy(line).unwrap(), ("http".to_owned(), "http://proxy.example:3128/".to_owned()));
        for other in [
            r#"Acquire::http::Proxy "DIRECT";"#,
            r#"Acquire::http::Proxy::127.0.0.1 "http://x";"#,
            r#"Acquire::http "";"#,
            "",
        ] {
            assert_eq!(proxy(other), None, "{other}");
        }
    }

    #[test]
    fn what_could_become_an_option_is_refused() {
        let bad = SHOW.replace("Version: 6.1", "Version: --help");
        assert!(matches!(Candidate::parse(&lines(&bad)), Err(Error::AptAnswer { .. })));
        for bad in ["--version", "a b", "?installed", "~n", "", "x/stable", "x=1"] {
            assert!(check_package(bad).is_err(), "{bad}");
        }
        for good in ["memtest86+", "gnumach-image-1.8-486", "linux-image-686-pae"] {
            assert!(check_package(good).is_ok(), "{good}");
        }
    }

    #[test]
    fn dependencies() {
        let field = "kmod, linux-base (>= 4.3~), a:any (= 1) | b [amd64], initramfs-tools <!nocheck>";
        assert_eq!(names(field), ["kmod", "linux-base", "a", "b", "initramfs-tools"]);
        assert!(is_kernel("linux-image-6.1.0-50-amd64"));
        assert!(!is_kernel("linux-image-amd64") && !is_kernel("linux-base"));
    }

    #[test]
    fn addresses() {
        let line = "'http://deb.debian.org/debian/pool/x.deb' x.deb 26484304 SHA256:ef";
        assert_eq!(uri(line).unwrap(), "http://deb.debian.org/debian/pool/x.deb");
        for bad in ["", "'", "''", "'-o' x", "http://x", "'/etc/passwd' x"] {
            assert_eq!(uri(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn any_answer_is_harmless(text in "(Package|Size|SHA256|Depends|[ \\PC:\n])*") {
            let _ = Candidate::parse(&lines(&text));
            uri(&text);
            names(&text);
        }
    }
}
