//! Directories of the host's, mounted by the guest's agent and driven by the kernel's own file system.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;

use anyhow::{Result, ensure};
use ringfence_stories::{Stage, Story};

pub const STORIES: &[Story] = &[
    Story::fast("shares::files_go_both_ways", files_go_both_ways),
    Story::fast("shares::what_is_said_to_be_read_only_is", what_is_said_to_be_read_only_is),
    Story::each("shares::links_lead_nowhere", links_lead_nowhere),
    Story::fast("shares::each_sees_what_the_other_does", each_sees_what_the_other_does),
    Story::fast("shares::several_on_all_vcpus", several_on_all_vcpus),
    Story::once("shares::what_cannot_be_shared", what_cannot_be_shared),
];

/// A directory of this name.
fn folder(stage: &Stage, name: &str) -> Result<PathBuf> {
    let path = stage.path().join(name);
    fs::create_dir_all(&path)?;
    Ok(path)
}

/// `run --share SHARE debian -- sh -ec SCRIPT`.
fn words(shares: &[String], script: &str) -> Vec<String> {
    let shares = shares.iter().flat_map(|share| ["--share".to_owned(), share.clone()]);
    shares.chain(["debian", "--", "sh", "-ec", script].map(str::to_owned)).collect()
}

fn files_go_both_ways(stage: &Stage) -> Result<()> {
    let path = folder(stage, "src")?;
    let numbers: String = (1..=300_000).map(|n| format!("{n}\n")).collect();
    fs::write(path.join("numbers"), &numbers)?;
    fs::create_dir(path.join("deep"))?;
    fs::write(path.join("deep/file"), "deep\n")?;
    let script = "cd /mnt/src; seq 300000 | cmp - numbers; cat deep/file; ls
        mkdir made; seq 200000 >made/first; mv made/first made/second; ln made/second made/third
        rm numbers; mv deep moved; echo more >>moved/file; printf x | dd of=moved/file bs=1 seek=2 conv=notrunc 2>/dev/null
        chmod 751 made/second; touch -d @1000000000 made/third; ln -s second made/link; readlink made/link
        (cd made; tar c second) | md5sum >/dev/null; sync
        exec 3<made/third; rm made/third; wc -l <&3; stat -c '%U %a' made/second
        find . | wc -l; rmdir made 2>/dev/null || echo not empty";
    let share = [format!("{}", path.display())];
    let expected = "deep\ndeep\nnumbers\nsecond\n200000\nroot 751\n6\nnot empty\n";
    stage.ringfence(words(&share, script)).run()?.exits(0)?.prints(expected)?;
    let made: String = (1..=200_000).map(|n| format!("{n}\n")).collect();
    ensure!(fs::read_to_string(path.join("made/second"))? == made, "the guest wrote something else");
    ensure!(fs::read_to_string(path.join("moved/file"))? == "dexp\nmore\n", "it was changed in another way");
    ensure!(!path.join("numbers").exists() && !path.join("made/third").exists(), "it is still there");
    let found = fs::metadata(path.join("made/second"))?;
    ensure!(found.permissions().mode() & 0o7777 == 0o751, "{:o}", found.permissions().mode());
    ensure!(found.modified()?.duration_since(std::time::UNIX_EPOCH)?.as_secs() == 1_000_000_000, "its time");
    Ok(())
}

fn what_is_said_to_be_read_only_is(stage: &Stage) -> Result<()> {
    let path = folder(stage, "data")?;
    fs::write(path.join("file"), "kept\n")?;
    fs::set_permissions(path.join("file"), fs::Permissions::from_mode(0o666))?;
    let script = "cd /mnt/data; cat file
        for attempt in 'echo x >file' 'echo x >>file' 'echo x >new' 'rm file' 'mv file new' 'mkdir dir' 'ln file new' \\
            'ln -s file new' 'chmod 600 file' 'touch file' 'mkfifo new' 'truncate -s 0 file'; do
            if sh -c \"$attempt\" 2>/dev/null; then echo $attempt worked; fi
        done
        mount -o remount,rw /mnt/data; (echo x >file) 2>/dev/null || echo refused; cat file";
    let share = [format!("{},readonly", path.display())];
    stage.ringfence(words(&share, script)).run()?.exits(0)?.prints("kept\nrefused\nkept\n")?;
    ensure!(fs::read_to_string(path.join("file"))? == "kept\n", "it was changed");
    ensure!(fs::read_dir(&path)?.count() == 1, "something was made");
    Ok(())
}

fn links_lead_nowhere(stage: &Stage) -> Result<()> {
    let path = folder(stage, "shared")?;
    fs::write(stage.path().join("secret"), "secret\n")?;
    symlink("../secret", path.join("above"))?;
    symlink(stage.path(), path.join("around"))?;
    symlink(stage.path().join("secret"), path.join("there"))?;
    // In the guest they lead into the guest, as links do.
    let script = "cd /mnt/shared; for way in above there around/secret ../secret; do
            if cat $way 2>/dev/null; then echo by $way; fi
        done
        ln -s /etc/hostname name; cat name; echo guest >/mnt/secret; cat above
        echo gone >above; cat /mnt/secret; ls ..";
    let share = [format!("{}", path.display())];
    let expected = "ringfence\nguest\ngone\nsecret\nshared\n";
    stage.ringfence(words(&share, script)).run()?.exits(0)?.prints(expected)?;
    ensure!(fs::read_to_string(stage.path().join("secret"))? == "secret\n", "the guest came out");
    Ok(())
}

fn each_sees_what_the_other_does(stage: &Stage) -> Result<()> {
    let path = folder(stage, "src")?;
    fs::write(path.join("file"), "before\n")?;
    let script = "cd /mnt/src; cat file; echo ready >said; echo ready
        until [ -e go ]; do sleep 1; done
        cat file; cat dir/file 2>/dev/null || echo moved; cat elsewhere/file; echo done";
    fs::create_dir(path.join("dir"))?;
    fs::write(path.join("dir/file"), "in it\n")?;
    let script = format!("cat /mnt/src/dir/file >/dev/null; {script}");
    let share = [format!("{}", path.display())];
    let running = stage.ringfence(words(&share, &script)).start()?.wait_for("ready")?;
    ensure!(fs::read_to_string(path.join("said"))? == "ready\n", "the guest's word is not there");
    fs::write(path.join("file"), "after, and longer\n")?;
    fs::rename(path.join("dir"), path.join("elsewhere"))?;
    // What the guest has heard it may believe for a second; it looks for this once in each.
    std::thread::sleep(std::time::Duration::from_secs(2));
    fs::write(path.join("go"), "")?;
    let expected = "before\nready\nafter, and longer\nmoved\nin it\ndone\n";
    running.end()?.exits(0)?.prints(expected)?;
    Ok(())
}

fn several_on_all_vcpus(stage: &Stage) -> Result<()> {
    let (one, other) = (folder(stage, "one")?, folder(stage, "two")?);
    let shares = [format!("{}", one.display()), format!("{}:other", other.display())];
    let script = "for n in 1 2 3 4; do
            (seq $n 4 200000 >/mnt/one/$n; cp /mnt/one/$n /mnt/other/$n; cmp /mnt/one/$n /mnt/other/$n; mkdir -p /mnt/one/d/$n
             for m in $(seq 50); do echo $m >/mnt/one/d/$n/$m; mv /mnt/one/d/$n/$m /mnt/one/d/$n/x$m; done) &
        done
        wait; grep -c virtiofs /proc/mounts; ls /mnt/other; find /mnt/one/d -name 'x*' | wc -l";
    let ended = stage.with_all_vcpus(words(&shares, script)).run()?.exits(0)?;
    let ended = ended.prints("2\n1\n2\n3\n4\n200\n")?;
    for n in 1..=4 {
        let expected: String = (n..=200_000).step_by(4).map(|n| format!("{n}\n")).collect();
        ensure!(fs::read_to_string(other.join(n.to_string()))? == expected, "{n} differs\n{ended}");
    }
    Ok(())
}

fn what_cannot_be_shared(stage: &Stage) -> Result<()> {
    let missing = stage.path().join("missing").display().to_string();
    stage.ringfence(["--share", &missing, "debian"]).run()?.exits(2)?.complains("cannot share")?;
    let path = stage.path().display().to_string();
    let twice = ["--share", &format!("{path}:a"), "--share", &format!("{path}:a"), "debian"];
    stage.ringfence(twice).run()?.exits(2)?.complains("two directories are shared as `a`")?;
    stage.ringfence(["--share", "/", "debian"]).run()?.exits(2)?.complains("write DIR:TAG")?;
    Ok(())
}
