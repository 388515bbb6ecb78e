//! Disks, driven by the kernel's own driver.

use anyhow::{Result, ensure};
use ringfence_stories::{Stage, Story};

pub const STORIES: &[Story] = &[
    Story::fast("disks::a_file_system_outlives_its_guest", a_file_system_outlives_its_guest),
    Story::each("disks::what_the_guest_writes_is_in_the_file", what_the_guest_writes_is_in_the_file),
    Story::fast("disks::several_on_all_vcpus", several_on_all_vcpus),
    Story::fast("disks::one_that_is_only_read", one_that_is_only_read),
];

const MIB: usize = 1 << 20;

/// `--disk PATH OPTIONS debian -- sh -c SCRIPT`.
fn with_disk(disk: &std::path::Path, options: &str, script: &str) -> Vec<String> {
    let disk = format!("{}{options}", disk.display());
    ["--disk", &disk, "debian", "--", "sh", "-ec", script].map(str::to_owned).into()
}

fn a_file_system_outlives_its_guest(stage: &Stage) -> Result<()> {
    let disk = stage.file("disk.img", vec![0; 16 * MIB])?;
    let make = "mke2fs /dev/vda >/dev/null 2>&1; mkdir /mnt; mount -t ext4 /dev/vda /mnt
        seq 200000 >/mnt/numbers; sync; echo 3 >/proc/sys/vm/drop_caches; md5sum </mnt/numbers; umount /mnt";
    let first = stage.ringfence(with_disk(&disk, "", make)).run()?.exits(0)?;
    let look = "mkdir /mnt; mount -t ext4 -o ro /dev/vda /mnt; md5sum </mnt/numbers; tail -1 /mnt/numbers";
    let second = stage.ringfence(with_disk(&disk, "", look)).run()?.exits(0)?;
    ensure!(second.out() == format!("{}200000\n", first.out()), "{first}\n{second}");
    Ok(())
}

fn what_the_guest_writes_is_in_the_file(stage: &Stage) -> Result<()> {
    let mut bytes: Vec<u8> = (0..MIB).map(|n| (n / 512) as u8).collect();
    let disk = stage.file("disk.img", &bytes)?;
    let script = "hexdump -n 4 -s $((512 * 77)) /dev/vda | head -1
        printf 0123456789abcdef | dd of=/dev/vda bs=16 seek=$((32 * 9 + 1)) conv=fsync 2>/dev/null
        blkdiscard -o $((512 * 100)) -l 51200 /dev/vda; cat /sys/block/vda/queue/write_cache";
    let ended = stage.ringfence(with_disk(&disk, "", script)).run()?.exits(0)?;
    let lines: Vec<_> = ended.out().lines().map(|line| line.trim_end().to_owned()).collect();
    ensure!(lines == ["0009a00 4d4d 4d4d", "write back"], "{ended}");
    bytes[512 * 9 + 16..512 * 9 + 32].copy_from_slice(b"0123456789abcdef");
    let found = std::fs::read(&disk)?;
    let discarded = 512 * 100..512 * 200;
    ensure!(found[..discarded.start] == bytes[..discarded.start], "the file is not as the guest wrote it");
    ensure!(found[discarded.end..] == bytes[discarded.end..], "the guest has touched what it did not write");
    ensure!(found[discarded].iter().all(|byte| *byte == 0), "what was discarded is still there");
    Ok(())
}

fn several_on_all_vcpus(stage: &Stage) -> Result<()> {
    let vcpus = stage.vcpus();
    let mut words = vec![];
    for (name, size) in [("a", 3), ("b", 5)] {
        let disk = stage.file(name, vec![0x5a; size * MIB])?;
        words.extend(["--disk".to_owned(), format!("{},serial=disk-{name}", disk.display())]);
    }
    let script =
        "cat /sys/block/vda/size /sys/block/vdb/size /sys/block/vdb/serial; ls /sys/block/vda/mq | wc -l
        for n in 1 2 3 4; do
            dd if=/dev/vda of=/dev/vdb bs=64k count=16 seek=$((n * 16 - 16)) conv=notrunc 2>/dev/null &
            dd if=/dev/vdb of=/dev/null bs=4k 2>/dev/null &
        done
        wait; sync; cmp -n 3145728 /dev/vda /dev/vdb && echo same";
    words.extend(["debian", "--", "sh", "-ec", script].map(str::to_owned));
    let ended = stage.with_all_vcpus(words).run()?.exits(0)?;
    ensure!(ended.out() == format!("6144\n10240\ndisk-b{vcpus}\nsame\n"), "{ended}");
    Ok(())
}

fn one_that_is_only_read(stage: &Stage) -> Result<()> {
    let bytes = vec![0x77; MIB];
    let disk = stage.file("disk.img", &bytes)?;
    let script = "cat /sys/block/vda/ro; dd if=/dev/vda bs=1 count=3 2>/dev/null; echo
        if echo x 2>/dev/null >/dev/vda; then echo written; else echo refused; fi";
    let ended = stage.ringfence(with_disk(&disk, ",readonly", script)).run()?.exits(0)?;
    ensure!(ended.out() == "1\nwww\nrefused\n", "{ended}");
    ensure!(std::fs::read(&disk)? == bytes, "a disk that is only read was written");
    Ok(())
}
