//! Sockets between guest and host, both ways, by the kernel's own driver.

use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, ensure};
use embedded::WORKOUT;
use ringfence_stories::{Stage, Story};

pub const STORIES: &[Story] = &[
    Story::each("vsock::the_guest_connects", the_guest_connects),
    Story::fast("vsock::the_host_connects", the_host_connects),
    Story::fast("vsock::many_at_once", many_at_once),
    Story::fast("vsock::nobody_listens", nobody_listens),
];

/// The program that knows such sockets, as the guest sees it.
const PIPE: &str = "/mnt/tools/workout --vsock";

/// `run --vsock SOCKET debian -- sh -ec SCRIPT`, with [`PIPE`] at hand.
fn words(stage: &Stage, script: &str) -> Result<Vec<String>> {
    use std::os::unix::fs::PermissionsExt;
    let tools = stage.path().join("tools");
    std::fs::create_dir_all(&tools)?;
    std::fs::write(tools.join("workout"), WORKOUT)?;
    std::fs::set_permissions(tools.join("workout"), std::fs::Permissions::from_mode(0o755))?;
    let share = format!("{},readonly", tools.display());
    let socket = stage.path().join("v").display().to_string();
    let words = ["--share", &share, "--vsock", &socket, "debian", "--", "sh", "-ec", script];
    Ok(words.map(str::to_owned).into())
}

fn numbers(most: usize) -> Vec<u8> {
    (1..=most).flat_map(|n| format!("{n}\n").into_bytes()).collect()
}

/// What listens for the guest sends everything back, once it has everything.
fn echo(listener: &UnixListener) -> Result<Vec<u8>> {
    let mut stream = listener.accept()?.0;
    let mut heard = Vec::new();
    stream.read_to_end(&mut heard)?;
    stream.write_all(&heard)?;
    Ok(heard)
}

fn the_guest_connects(stage: &Stage) -> Result<()> {
    let listener = UnixListener::bind(stage.path().join("v_52"))?;
    let host = thread::spawn(move || echo(&listener));
    let most = stage.length(400_000, 40_000);
    let script = format!(
        "seq {most} >numbers; {PIPE} connect 52 <numbers >back; cmp numbers back && echo same; wc -c <back"
    );
    let expected = numbers(most);
    let printed = format!("same\n{}\n", expected.len());
    stage.ringfence(words(stage, &script)?).run()?.exits(0)?.prints(printed)?;
    let heard = host.join().map_err(|_| anyhow!("the host's end panicked"))??;
    ensure!(heard == expected, "{} bytes came, and not those that were sent", heard.len());
    ensure!(!stage.path().join("v").exists(), "the socket has outlived the machine");
    Ok(())
}

/// Until somebody listens at the guest's port, connections to it end at once.
fn connect(path: &Path, port: u32) -> Result<UnixStream> {
    let began = Instant::now();
    loop {
        let mut stream = UnixStream::connect(path)?;
        let mut answer = Vec::new();
        stream.write_all(format!("CONNECT {port}\n").as_bytes())?;
        let mut byte = [0];
        while answer.last() != Some(&b'\n') {
            match stream.read(&mut byte) {
                Ok(1) => answer.push(byte[0]),
                Ok(_) => break,
                Err(error) if error.kind() == ErrorKind::ConnectionReset => break,
                Err(error) => return Err(error.into()),
            }
        }
        if !answer.is_empty() {
            let text = String::from_utf8_lossy(&answer);
            ensure!(text.starts_with("OK ") && text.ends_with('\n'), "{text:?}");
            return Ok(stream);
        }
        ensure!(began.elapsed() < Duration::from_secs(300), "nobody answers");
        thread::sleep(Duration::from_millis(100));
    }
}

fn the_host_connects(stage: &Stage) -> Result<()> {
    let script = format!(
        "seq 200000 >numbers; echo listening; {PIPE} listen 7 <numbers >got; cmp numbers got && echo same"
    );
    let running = stage.ringfence(words(stage, &script)?).start()?.wait_for("listening")?;
    let expected = numbers(200_000);
    let mut stream = connect(&stage.path().join("v"), 7)?;
    let mut writer = stream.try_clone()?;
    let sent = expected.clone();
    let sender = thread::spawn(move || -> Result<()> {
        writer.write_all(&sent)?;
        Ok(writer.shutdown(Shutdown::Write)?)
    });
    let mut heard = Vec::new();
    stream.read_to_end(&mut heard)?;
    sender.join().map_err(|_| anyhow!("the host's end panicked"))??;
    ensure!(heard == expected, "{} bytes came, and not those that were sent", heard.len());
    running.end()?.exits(0)?.prints("listening\nsame\n")?;
    Ok(())
}

fn many_at_once(stage: &Stage) -> Result<()> {
    let listener = UnixListener::bind(stage.path().join("v_1"))?;
    let host = thread::spawn(move || -> Result<()> {
        let streams = (0..8).map(|_| Ok(listener.accept()?.0)).collect::<Result<Vec<_>>>()?;
        let ends = streams.into_iter().map(|mut stream| {
            thread::spawn(move || -> Result<()> {
                let mut heard = Vec::new();
                stream.read_to_end(&mut heard)?;
                Ok(stream.write_all(&heard)?)
            })
        });
        let ends: Vec<_> = ends.collect();
        ends.into_iter().try_for_each(|end| end.join().map_err(|_| anyhow!("an end panicked"))?)
    });
    // The host takes no bytes until all are connected.
    let script = format!(
        "for n in 1 2 3 4 5 6 7 8; do
            (seq $n 8 100000 >from$n; {PIPE} connect 1 <from$n >to$n; cmp from$n to$n && echo same) &
        done
        wait"
    );
    let words = words(stage, &script)?;
    stage.with_all_vcpus(words).run()?.exits(0)?.prints("same\n".repeat(8))?;
    host.join().map_err(|_| anyhow!("the host's end panicked"))?
}

fn nobody_listens(stage: &Stage) -> Result<()> {
    let script = format!(
        "if {PIPE} connect 9 </dev/null 2>/dev/null; then echo connected; else echo refused; fi
        echo ready; until [ -e /mnt/tools/go ]; do sleep 1; done"
    );
    let running = stage.ringfence(words(stage, &script)?).start()?.wait_for("ready")?;
    let mut stream = UnixStream::connect(stage.path().join("v"))?;
    stream.write_all(b"CONNECT 10\n")?;
    let mut answer = Vec::new();
    // It ends without an OK.
    let ended = stream.read_to_end(&mut answer);
    ensure!(
        answer.is_empty()
            && ended.as_ref().map_or_else(|error| error.kind() == ErrorKind::ConnectionReset, |_| true),
        "{ended:?} {answer:?}"
    );
    std::fs::write(stage.path().join("tools/go"), "")?;
    running.end()?.exits(0)?.prints("refused\nready\n")?;
    Ok(())
}
