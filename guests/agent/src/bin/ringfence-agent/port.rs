//! The port of a virtio console that is the channel.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use ringfence_agent::PORT;

/// Where the driver lists ports, if there is one.
const PORTS: &str = "/sys/class/virtio-ports";
const DEVICES: &str = "/sys/bus/virtio/devices";
/// A console's number among the kinds of virtio devices (Virtual I/O Device 1.2, section 5).
const CONSOLE: &str = "0x0003";
/// How long the driver may take to hear of its ports.
const PATIENCE: Duration = Duration::from_secs(5);
const LOOK: Duration = Duration::from_millis(2);

/// The channel's device node, if there is such a port. Where there is a console and a driver, waits for what ports it has.
pub fn find() -> Option<PathBuf> {
    if !has_console(Path::new(DEVICES)) {
        return None;
    }
    let until = Instant::now() + PATIENCE;
    while Path::new(PORTS).exists() && Instant::now() < until {
        if let Some(node) = find_in(Path::new(PORTS)).map(|name| Path::new("/dev").join(name))
            && node.exists()
        {
            return Some(node);
        }
        sleep(LOOK);
    }
    None
}

fn has_console(devices: &Path) -> bool {
    let Ok(entries) = fs::read_dir(devices) else { return false };
    let kind = |path: &Path| fs::read_to_string(path.join("device")).unwrap_or_default();
    entries.flatten().any(|entry| kind(&entry.path()).trim() == CONSOLE)
}

/// The name of the port's device.
fn find_in(ports: &Path) -> Option<String> {
    let name = |path: &Path| fs::read_to_string(path.join("name")).unwrap_or_default();
    let mut entries = fs::read_dir(ports).ok()?.flatten();
    let port = entries.find(|entry| name(&entry.path()).trim() == PORT)?;
    port.file_name().into_string().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_port_is_found_by_its_name() {
        let root = std::env::temp_dir().join(format!("ringfence-agent-ports-{}", std::process::id()));
        let (devices, ports) = (root.join("devices"), root.join("ports"));
        let write = |path: PathBuf, text: &str| {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write(devices.join("virtio0/device"), "0x0004\n");
        assert!(!has_console(&devices) && find_in(&ports).is_none());
        write(devices.join("virtio1/device"), "0x0003\n");
        write(ports.join("vport1p0/name"), "org.else\n");
        assert!(has_console(&devices) && find_in(&ports).is_none());
        write(ports.join("vport1p1/name"), &format!("{PORT}\n"));
        assert_eq!(find_in(&ports).as_deref(), Some("vport1p1"));
        fs::remove_dir_all(root).unwrap();
    }
}
