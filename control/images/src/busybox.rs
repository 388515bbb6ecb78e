//! What a busybox binary can do, told without running it.
//!
//! busybox has the names of its applets as one table: NUL-terminated, sorted,
//! and begun by `[` and `[[` (`applet_names` in its `applet_tables.h`). Reading it
//! there works for any architecture, gives the same answer on every host, and
//! runs nothing that was just downloaded.

/// What the table begins with: the first two names in ASCII order.
const BEGIN: &[u8] = b"[\0[[\0";

/// busybox has some 400 applets; a table far longer is none.
const MAX_APPLETS: usize = 2000;

/// The applets' names in order, or `None` if there is no such table.
pub fn applets(binary: &[u8]) -> Option<Vec<&str>> {
    let at = binary.windows(BEGIN.len()).position(|window| window == BEGIN)?;
    let mut names: Vec<&str> = Vec::new();
    for name in binary[at..].split(|byte| *byte == 0).take(MAX_APPLETS) {
        let in_order = names.last().is_none_or(|last| last.as_bytes() < name);
        if name.is_empty() || !in_order || !name.iter().all(u8::is_ascii_graphic) {
            break;
        }
        names.push(std::str::from_utf8(name).ok().filter(|name| !name.contains('/'))?);
    }
    names.contains(&"sh").then_some(names)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_table_ends_where_order_does() {
        let binary = b"\x7fELF\0[\0[[\0acpid\0sh\0zcat\0\0/bin\0";
        assert_eq!(applets(binary).unwrap(), ["[", "[[", "acpid", "sh", "zcat"]);
        let binary = b"..[\0[[\0sh\0zcat\0apple\0";
        assert_eq!(applets(binary).unwrap(), ["[", "[[", "sh", "zcat"]);
    }

    #[test]
    fn no_table_no_answer() {
        for binary in [&b""[..], b"\x7fELF", b"[\0[[\0", b"[\0[[\0awk\0zcat\0\0", b"[\0[[\0a/b\0sh\0"] {
            assert_eq!(applets(binary), None);
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_harmless(tail in prop::collection::vec(any::<u8>(), 0..500)) {
            applets(&[BEGIN, &tail].concat());
        }
    }
}
