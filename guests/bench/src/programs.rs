//! Programs of the distribution's own: busybox, which another compiler made, and which knows nothing of us.

use std::io::{self, Write};
use std::process::{Command, Stdio};

use crate::digest::Digest;
use crate::text::prose;
use crate::workload::{Class, Round, Workload};

const fn program(name: &'static str, about: &'static str, start: fn() -> io::Result<Round>) -> Workload {
    Workload { name, class: Class::Programs, about, start }
}

/// All of them.
pub const WORKLOADS: &[Workload] = &[
    program("shell", "a loop of the shell's: i = i + 1", || {
        start(&["sh", "-c", "i=0; while [ $i -lt 20000 ]; do i=$((i + 1)); done; echo $i"], 0)
    }),
    program("awk", "floating point, interpreted", || {
        start(
            &[
                "awk",
                "BEGIN { for (i = 1; i <= 60000; i++) s += 1.5 / (i * i + 0.25); printf \"%.12f\\n\", s }",
            ],
            0,
        )
    }),
    program("gzip", "text, compressed", || start(&["gzip", "-9", "-c"], 128 << 10)),
    program("sort-lines", "lines of text, in order", || start(&["sort"], 512 << 10)),
    program("sha256sum", "a hash", || start(&["sha256sum"], 4 << 20)),
];

/// Where busybox is: `$BUSYBOX`, or where our guests have it.
fn busybox() -> String {
    std::env::var("BUSYBOX").unwrap_or_else(|_| "/bin/busybox".to_owned())
}

/// Runs an applet on so many bytes of text.
fn start(words: &'static [&'static str], bytes: usize) -> io::Result<Round> {
    let (busybox, text) = (busybox(), prose(bytes, 51));
    Ok(Box::new(move || {
        let mut command = Command::new(&busybox);
        command.args(words).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().map_err(|error| {
            io::Error::other(format!("cannot run {busybox} ($BUSYBOX says which): {error}"))
        })?;
        // They read all of it before they write more than a pipe holds, or write as they read: a thread for the one
        // side keeps either from waiting for us.
        let input = child.stdin.take();
        let output = std::thread::scope(|scope| {
            let writer = scope.spawn(|| input.map_or(Ok(()), |mut input| input.write_all(text.as_bytes())));
            let output = child.wait_with_output();
            writer.join().map_err(|_| io::Error::other("the writer panicked"))??;
            output
        })?;
        if !output.status.success() {
            return Err(io::Error::other(format!("{} ended with {}", words[0], output.status)));
        }
        let mut digest = Digest::default();
        digest.add_bytes(&output.stdout);
        Ok(digest.value())
    }))
}
