//! The workloads, as the shell script that runs them.
//!
//! Each prints a mark, does its work, and prints a mark with a digest of its result, so that a wrong result is no result:
//!
//! ```text
//! @begin sha256
//! @end sha256 9f86d081…
//! ```

/// What is measured: a name and a piece of shell, in which `$N` is the scale.
pub struct Workload {
    /// As the table calls it.
    pub name: &'static str,
    /// What it stands for.
    pub about: &'static str,
    /// Prints something that depends on all of the work.
    pub script: &'static str,
}

/// All workloads. Sized so that the interpreter takes seconds for each.
pub const WORKLOADS: &[Workload] = &[
    Workload {
        name: "shell",
        about: "a loop of the shell's own: branches, calls, memory",
        script: "i=0; while [ $i -lt $((30000 * N)) ]; do i=$((i + 1)); done; echo $i",
    },
    Workload {
        name: "sha256",
        about: "integer arithmetic in registers",
        script: "dd if=/dev/zero bs=64k count=$((32 * N)) 2>/dev/null | sha256sum",
    },
    Workload {
        name: "awk",
        about: "floating point, interpreted",
        script: "awk -v n=$((40000 * N)) 'BEGIN { for (i = 1; i <= n; i++) s += 1.5 / (i * i + 0.25); printf \"%.12f\\n\", s }'",
    },
    Workload {
        name: "gzip",
        about: "tables, branches that nobody predicts",
        script: "seq 1 $((20000 * N)) | gzip -9 | gunzip | md5sum",
    },
    Workload {
        name: "sort",
        about: "comparisons, memory",
        script: "seq 1 $((6000 * N)) | awk '{ print ($1 * 7919) % 1000003 }' | sort | md5sum",
    },
    Workload {
        name: "pipe",
        about: "system calls, copies, switches between processes",
        script: "dd if=/dev/zero bs=512 count=$((10000 * N)) 2>/dev/null | cat | wc -c",
    },
    Workload {
        name: "fork",
        about: "fork, exit, wait: page tables",
        script: "i=0; while [ $i -lt $((200 * N)) ]; do (:); i=$((i + 1)); done; echo $i",
    },
    Workload {
        name: "exec",
        about: "fork and exec of a static program",
        script: "i=0; while [ $i -lt $((100 * N)) ]; do \"$BUSYBOX\" true; i=$((i + 1)); done; echo $i",
    },
    Workload {
        name: "syscall",
        about: "system calls that do next to nothing",
        script: "dd if=/dev/zero of=/dev/null bs=1 count=$((20000 * N)) 2>/dev/null && echo done",
    },
    Workload {
        name: "compute",
        about: "compiled code: AES, big numbers, matrices, sorting, tables",
        script: "\"$WORKOUT\" compute --stream 1 --scale $N | md5sum",
    },
    Workload {
        name: "float",
        about: "compiled code: SSE and x87",
        script: "\"$WORKOUT\" float --scale $N | md5sum",
    },
    Workload {
        name: "pingpong",
        about: "messages through pipes, between processes",
        script: "\"$WORKOUT\" pipe --scale $N | md5sum",
    },
    Workload {
        name: "memory",
        about: "mappings made, changed, shared, faulted in",
        script: "\"$WORKOUT\" mmap --scale $N | md5sum",
    },
    Workload {
        name: "threads",
        about: "atomics, locks, futexes",
        script: "\"$WORKOUT\" threads --scale $N | md5sum",
    },
];

/// The mark of user space.
pub const UP: &str = "@up";

/// The script natively, or as `/init`.
pub fn whole(workloads: &[&Workload], scale: u32, guest: bool) -> String {
    let mut script = format!("#!/bin/sh\nN={scale}\n");
    if guest {
        script += "export PATH=/bin\nBUSYBOX=/bin/busybox\nWORKOUT=/bin/workout\n\
                   mkdir -p /proc /dev /tmp\nmount -t proc proc /proc\nmount -t devtmpfs dev /dev 2>/dev/null\nmount -t tmpfs tmp /tmp\n";
    }
    script += &format!("echo {UP}\n");
    for Workload { name, script: work, .. } in workloads {
        script += &format!("echo @begin {name}\nresult=$({work})\necho @end {name} $result\n");
    }
    if guest {
        script += "poweroff -f\n";
    }
    script
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_script_is_shell() {
        let all: Vec<_> = WORKLOADS.iter().collect();
        for guest in [false, true] {
            let script = whole(&all, 2, guest);
            let status = std::process::Command::new("sh").args(["-n", "-c", &script]).status();
            assert!(status.unwrap().success(), "{script}");
        }
    }
}
