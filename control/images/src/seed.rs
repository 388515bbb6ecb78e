//! What a system is told about itself when it first boots: a small disk, as cloud-init's NoCloud data source wants it
//! (<https://cloudinit.readthedocs.io/en/latest/reference/datasources/nocloud.html>).
//!
//! ```text
//! FAT volume CIDATA
//! ├── meta-data         the instance's identity and host name, in YAML
//! ├── user-data         cloud-init's configuration: the user's own file, or one made from the wishes
//! └── ringfence/        the wishes one by one, for systems without cloud-init
//!     ├── hostname
//!     ├── user
//!     └── authorized_keys
//! ```
//!
//! cloud-init is a large program that starts a whole Python several times during a boot. The systems that `build`
//! installs do without: a unit of theirs reads the directory `ringfence`.

use std::io::{self, Cursor, Write};

use fatfs::{FileSystem, FormatVolumeOptions, FsOptions, format_volume};
use serde_json::json;

use crate::Digest;

/// The volume's size, in bytes, if nothing makes it larger: the least that is a FAT without question.
const SIZE: usize = 1 << 20;

/// The most that all wishes together may take, in bytes.
pub const MOST: usize = 16 << 20;

/// The volume's label, by which systems find it.
const LABEL: &[u8; 11] = b"CIDATA     ";

/// What a system is to be told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seed {
    /// Its host name.
    pub hostname: Option<String>,
    /// A user who may become root without a password.
    pub user: Option<String>,
    /// The public keys with which that user, or else root, gets in: each line one of authorized_keys(5).
    pub keys: Vec<String>,
    /// cloud-init's configuration, instead of one made from the others.
    pub cloud_init: Option<Vec<u8>>,
}

/// What is wrong with a wish.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A host name that can be none.
    #[error("`{0}` cannot be a host name: use letters, digits and `-`, in parts between dots, at most 64")]
    Hostname(String),
    /// A user's name that can be none.
    #[error(
        "`{0}` cannot be a user's name: use lower-case letters, digits, `-` and `_`, at most 32, and begin with a letter"
    )]
    User(String),
    /// No public key.
    #[error("`{0}` is no public key for SSH: name the file that ends in .pub")]
    Key(String),
    /// A file for cloud-init that it would pass over.
    #[error(
        "cloud-init takes files that begin with `#cloud-config`, `#!` or another of its headers; this one does not"
    )]
    CloudInit,
    /// Too much.
    #[error("what the system is to be told is larger than 16 MiB")]
    TooLarge,
    /// The volume cannot be written.
    #[error("cannot write the volume with what the system is to be told: {0}")]
    Volume(String),
}

impl Seed {
    /// Whether there is nothing to tell.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The volume.
    ///
    /// # Errors
    /// What is wrong with a wish.
    pub fn volume(&self) -> Result<Vec<u8>, Error> {
        self.check()?;
        let user_data = self.user_data();
        let keys: String = self.keys.iter().map(|key| format!("{key}\n")).collect();
        let total = user_data.len() + keys.len();
        if total > MOST {
            return Err(Error::TooLarge);
        }
        // Half as much again as the files, for tables and what clusters waste.
        let mut volume = vec![0; (SIZE + total * 3 / 2).next_multiple_of(4096)];
        self.write(&mut volume, &user_data, &keys).map_err(|error| Error::Volume(error.to_string()))?;
        Ok(volume)
    }

    fn write(&self, volume: &mut Vec<u8>, user_data: &[u8], keys: &str) -> io::Result<()> {
        format_volume(Cursor::new(&mut *volume), FormatVolumeOptions::new().volume_label(*LABEL))?;
        let fs = FileSystem::new(Cursor::new(volume), FsOptions::new())?;
        let root = fs.root_dir();
        let wishes = root.create_dir("ringfence")?;
        root.create_file("meta-data")?.write_all(self.meta_data(user_data).as_bytes())?;
        root.create_file("user-data")?.write_all(user_data)?;
        for (name, wish) in [("hostname", &self.hostname), ("user", &self.user)] {
            if let Some(wish) = wish {
                wishes.create_file(name)?.write_all(format!("{wish}\n").as_bytes())?;
            }
        }
        if !keys.is_empty() {
            wishes.create_file("authorized_keys")?.write_all(keys.as_bytes())?;
        }
        Ok(())
    }

    /// JSON is YAML. Other wishes make another instance, which cloud-init sets up anew.
    fn meta_data(&self, user_data: &[u8]) -> String {
        let wishes = format!("{self:?}");
        let instance = Digest::of(&[wishes.as_bytes(), user_data].concat()).hex();
        let mut data = json!({ "instance-id": format!("ringfence-{}", &instance[..16]) });
        if let Some(hostname) = &self.hostname {
            data["local-hostname"] = hostname.as_str().into();
        }
        data.to_string() + "\n"
    }

    fn user_data(&self) -> Vec<u8> {
        if let Some(own) = &self.cloud_init {
            return own.clone();
        }
        let mut config = json!({});
        match &self.user {
            Some(user) => {
                config["users"] = json!([{
                    "name": user,
                    "shell": "/bin/bash",
                    "sudo": "ALL=(ALL) NOPASSWD:ALL",
                    "ssh_authorized_keys": self.keys,
                }]);
            }
            None if !self.keys.is_empty() => {
                config["disable_root"] = false.into();
                config["ssh_authorized_keys"] = json!(self.keys);
                config["users"] = json!(["default", { "name": "root", "ssh_authorized_keys": self.keys }]);
            }
            None => {}
        }
        format!("#cloud-config\n{config}\n").into_bytes()
    }

    fn check(&self) -> Result<(), Error> {
        if let Some(name) = self.hostname.as_ref().filter(|name| !is_hostname(name)) {
            return Err(Error::Hostname(name.clone()));
        }
        if let Some(name) = self.user.as_ref().filter(|name| !is_user(name)) {
            return Err(Error::User(name.clone()));
        }
        if let Some(key) = self.keys.iter().find(|key| !is_key(key)) {
            return Err(Error::Key(key.chars().take(40).collect()));
        }
        match &self.cloud_init {
            // "## template: jinja" is one of its headers, too.
            Some(own) if !own.starts_with(b"#") && !own.starts_with(b"Content-Type:") => {
                Err(Error::CloudInit)
            }
            _ => Ok(()),
        }
    }
}

/// RFC 1123, section 2.1, and Linux's own limit.
fn is_hostname(name: &str) -> bool {
    let part = |part: &str| {
        let letter = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        !part.is_empty() && !part.starts_with('-') && !part.ends_with('-') && part.bytes().all(letter)
    };
    name.len() <= 64 && name.split('.').all(part)
}

/// As useradd(8) has it.
fn is_user(name: &str) -> bool {
    let letter = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_".contains(&byte);
    let begins = |name: &str| name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_');
    name.len() <= 32 && begins(name) && name.bytes().all(letter) && name != "root"
}

/// A line `TYPE BASE64 COMMENT`.
fn is_key(line: &str) -> bool {
    let mut words = line.split(' ');
    let kind = words
        .next()
        .is_some_and(|kind| ["ssh-", "ecdsa-", "sk-"].iter().any(|known| kind.starts_with(known)));
    let base64 = |byte: u8| byte.is_ascii_alphanumeric() || b"+/=".contains(&byte);
    kind && words.next().is_some_and(|key| key.len() >= 16 && key.bytes().all(base64))
        && !line.contains(|c: char| c.is_control())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ me@here";

    fn read(volume: &[u8], path: &str) -> Option<String> {
        let fs = FileSystem::new(Cursor::new(volume.to_vec()), FsOptions::new()).unwrap();
        assert_eq!(fs.volume_label(), "CIDATA");
        let mut text = String::new();
        fs.root_dir().open_file(path).ok()?.read_to_string(&mut text).unwrap();
        Some(text)
    }

    #[test]
    fn wishes_for_both_kinds_of_systems() {
        let (hostname, user) = (Some("web".to_owned()), Some("ann".to_owned()));
        let volume = Seed { hostname, user, keys: vec![KEY.to_owned()], cloud_init: None }.volume().unwrap();
        let meta: serde_json::Value = serde_json::from_str(&read(&volume, "meta-data").unwrap()).unwrap();
        assert_eq!(meta["local-hostname"], "web");
        let user_data = read(&volume, "user-data").unwrap();
        let config: serde_json::Value =
            serde_json::from_str(user_data.strip_prefix("#cloud-config\n").unwrap()).unwrap();
        assert_eq!(
            (&config["users"][0]["name"], &config["users"][0]["ssh_authorized_keys"][0]),
            (&"ann".into(), &KEY.into())
        );
        assert_eq!(read(&volume, "ringfence/hostname").unwrap(), "web\n");
        assert_eq!(read(&volume, "ringfence/authorized_keys").unwrap(), format!("{KEY}\n"));
    }

    #[test]
    fn a_file_of_the_users_goes_as_it_is() {
        let own = b"#cloud-config\npackages: [fio]\n".to_vec();
        let seed = Seed { cloud_init: Some(own.clone()), ..Seed::default() };
        let volume = seed.volume().unwrap();
        assert_eq!(read(&volume, "user-data").unwrap().into_bytes(), own);
        assert_eq!(read(&volume, "ringfence/user"), None);
        let large =
            Seed { cloud_init: Some([b"#!".as_slice(), &vec![b'x'; MOST / 2]].concat()), ..seed.clone() };
        assert_eq!(read(&large.volume().unwrap(), "user-data").unwrap().len(), MOST / 2 + 2);
        let larger = Seed { cloud_init: Some(vec![b'#'; MOST + 1]), ..seed.clone() };
        assert_eq!(larger.volume(), Err(Error::TooLarge));
        let other = Seed { hostname: Some("x".to_owned()), ..seed.clone() };
        assert_ne!(read(&volume, "meta-data"), read(&other.volume().unwrap(), "meta-data"));
    }

    #[test]
    fn what_is_wrong_is_said() {
        let none = Seed::default;
        for (seed, error) in [
            (Seed { hostname: Some("a b".to_owned()), ..none() }, Error::Hostname("a b".to_owned())),
            (Seed { hostname: Some("-a".to_owned()), ..none() }, Error::Hostname("-a".to_owned())),
            (Seed { user: Some("root".to_owned()), ..none() }, Error::User("root".to_owned())),
            (Seed { user: Some("Ann".to_owned()), ..none() }, Error::User("Ann".to_owned())),
            (Seed { keys: vec!["-----BEGIN".to_owned()], ..none() }, Error::Key("-----BEGIN".to_owned())),
            (Seed { cloud_init: Some(b"packages: []".to_vec()), ..none() }, Error::CloudInit),
        ] {
            assert_eq!(seed.volume(), Err(error));
        }
        assert!(is_hostname("web-1.example") && is_key(KEY) && is_user("_apt"));
        assert!(!is_key(&format!("{KEY}\nssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ")));
    }
}
