//! What `ringfence disk info` prints.

use std::fmt::Write as _;

use backend::block::Info;
use serde::Serialize;

use crate::args::show_size;
use crate::exit::Exit;
use crate::failure::Failure;

/// The JSON object.
#[derive(Debug, Serialize)]
struct Facts<'a> {
    path: String,
    format: &'static str,
    /// Bytes of the disk.
    size: u64,
    /// Bytes of the file.
    file: u64,
    /// Bytes of the host's disk.
    allocated: u64,
    cluster: Option<u64>,
    backing: Option<&'a str>,
    backing_format: Option<&'static str>,
    dirty: bool,
    snapshots: u32,
}

/// The text for people, or the JSON object.
pub fn show(info: &Info, json: bool) -> Result<String, Failure> {
    if !json {
        return Ok(text(info));
    }
    let facts = Facts {
        path: info.path.to_string_lossy().into_owned(),
        format: info.format.name(),
        size: info.size,
        file: info.file,
        allocated: info.allocated,
        cluster: info.cluster,
        backing: info.backing.as_ref().map(|backing| &*backing.name),
        backing_format: info.backing.as_ref().map(|backing| backing.format.name()),
        dirty: info.dirty,
        snapshots: info.snapshots,
    };
    let text = serde_json::to_string_pretty(&facts).map_err(|error| Failure::new(Exit::Failure, error))?;
    Ok(text + "\n")
}

fn text(info: &Info) -> String {
    let mut text = String::new();
    // Names come out of an image: no control character of theirs reaches the terminal.
    let mut line = |name: &str, value: String| {
        let value: String = value.chars().map(|c| if c.is_control() { '?' } else { c }).collect();
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{name:<12}{value}");
    };
    line("file", info.path.display().to_string());
    line("format", info.format.to_string());
    line("disk", show_size(info.size));
    line("on the host", show_size(info.allocated));
    if let Some(cluster) = info.cluster {
        line("clusters", show_size(cluster));
    }
    if let Some(backing) = &info.backing {
        line("backing", format!("{} ({})", backing.name, backing.format));
    }
    if info.snapshots > 0 {
        line("snapshots", info.snapshots.to_string());
    }
    if info.dirty {
        line(
            "state",
            "in use, or not closed: then its clusters are counted when it is next opened".to_owned(),
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use backend::block::{Format, qcow2::BackingName};

    fn info() -> Info {
        Info {
            path: "vm.qcow2".into(),
            format: Format::Qcow2,
            size: 20 << 30,
            file: 196_624,
            allocated: 196_608,
            cluster: Some(1 << 16),
            backing: Some(BackingName { name: "base\x1b[2J.img".to_owned(), format: Format::Raw }),
            dirty: true,
            snapshots: 0,
        }
    }

    #[test]
    fn text_for_people() {
        let expected = "\
file        vm.qcow2
format      qcow2
disk        20 GiB
on the host 192 KiB
clusters    64 KiB
backing     base?[2J.img (raw)
state       in use, or not closed: then its clusters are counted when it is next opened
";
        assert_eq!(show(&info(), false).unwrap(), expected);
    }

    #[test]
    fn json_for_programs() {
        let json: serde_json::Value = serde_json::from_str(&show(&info(), true).unwrap()).unwrap();
        assert_eq!((&json["size"], &json["backing_format"]), (&(20u64 << 30).into(), &"raw".into()));
        assert_eq!((&json["backing"], &json["dirty"]), (&"base\u{1b}[2J.img".into(), &true.into()));
    }
}
