//! Networks, driven by the kernel's own driver: out to the host's loopback, in by a published port, from machine to
//! machine.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU16, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, bail, ensure};
use ringfence_stories::{Stage, Story};

pub const STORIES: &[Story] = &[
    Story::fast("networks::bytes_go_out_and_come_back", bytes_go_out_and_come_back),
    Story::each("networks::a_lease_is_had", a_lease_is_had),
    Story::fast("networks::a_published_port_leads_in", a_published_port_leads_in),
    Story::fast("networks::the_hosts_loopback_is_closed", the_hosts_loopback_is_closed),
    Story::fast("networks::two_machines_on_a_switch", two_machines_on_a_switch),
    Story::fast("networks::one_queue_a_vcpu_and_the_offloads", one_queue_a_vcpu_and_the_offloads),
    Story::fast("networks::none_and_two", none_and_two),
    Story::fast("networks::a_capture_holds_the_frames", a_capture_holds_the_frames),
];

/// `WORDS debian -- sh -ec SCRIPT`.
fn with(words: &[&str], script: &str) -> Vec<String> {
    [words, &["debian", "--", "sh", "-ec", script]].concat().into_iter().map(str::to_owned).collect()
}

fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at / 3 % 251) as u8).collect()
}

fn joined<T>(thread: JoinHandle<Result<T>>) -> Result<T> {
    thread.join().map_err(|_| anyhow!("the host's end panicked"))?
}

fn bytes_go_out_and_come_back(stage: &Stage) -> Result<()> {
    let server = TcpListener::bind("127.0.0.1:0")?;
    let port = server.local_addr()?.port();
    let bytes = pattern(3_000_000);
    let host = thread::spawn({
        let bytes = bytes.clone();
        move || {
            let mut download = server.accept()?.0;
            let mut request = [0; 4];
            download.read_exact(&mut request)?;
            write!(download, "HTTP/1.0 200 OK\r\nContent-Length: {}\r\n\r\n", bytes.len())?;
            download.write_all(&bytes)?;
            let mut back = vec![];
            server.accept()?.0.read_to_end(&mut back)?;
            Ok((request, back))
        }
    });
    let script = format!(
        "wget -qO file http://10.0.2.2:{port}/; wc -c <file; nc 10.0.2.2 {port} <file; ping -c 1 10.0.2.2 | grep -c 'bytes from'"
    );
    stage.ringfence(with(&["--net", "user,loopback"], &script)).run()?.exits(0)?.prints("3000000\n1\n")?;
    let (request, back) = joined(host)?;
    ensure!(request == *b"GET ", "the guest asked for something else");
    ensure!(back == bytes, "{} bytes came back, and not those that were sent", back.len());
    Ok(())
}

fn a_lease_is_had(stage: &Stage) -> Result<()> {
    let script = "ip addr flush dev eth0; echo >/etc/resolv.conf
        udhcpc -i eth0 -n -q >&2
        ip -4 -o addr show eth0 | grep -o 'inet [0-9./]*'; ip route | grep default; cat /etc/resolv.conf";
    let expected = "inet 10.0.2.15/24\ndefault via 10.0.2.2 dev eth0 \nnameserver 10.0.2.3\n";
    stage.shell(script).run()?.exits(0)?.prints(expected)?;
    Ok(())
}

/// A port that is free. It is none of those that the kernel gives to who does not ask for a certain one
/// (`net.ipv4.ip_local_port_range`), and of our stories each asks for another: so it stays free.
fn free_port() -> Result<u16> {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = u16::try_from(std::process::id() % 10_000)?;
    for _ in 0..1000 {
        let port = 20_000 + (first + NEXT.fetch_add(1, Ordering::Relaxed)) % 10_000;
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return Ok(port);
        }
    }
    bail!("no port is free")
}

fn a_published_port_leads_in(stage: &Stage) -> Result<()> {
    let port = free_port()?;
    let publish = format!("{port}:80");
    let script = "echo listening; echo from the guest | nc -l -p 80 >heard; cat heard";
    let running = stage.ringfence(with(&["--publish", &publish], script)).start()?.wait_for("listening")?;
    // The shell says so just before it listens: until then a visitor is turned away.
    let began = Instant::now();
    let answer = loop {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
        let mut answer = String::new();
        let talked = stream
            .write_all(b"from the host\n")
            .and_then(|()| stream.shutdown(std::net::Shutdown::Write))
            .and_then(|()| stream.read_to_string(&mut answer));
        match talked {
            Ok(1..) => break answer,
            other => ensure!(began.elapsed() < Duration::from_secs(300), "nobody answers: {other:?}"),
        }
        thread::sleep(Duration::from_millis(100));
    };
    ensure!(answer == "from the guest\n", "{answer:?}");
    running.end()?.exits(0)?.prints("listening\nfrom the host\n")?;
    Ok(())
}

fn the_hosts_loopback_is_closed(stage: &Stage) -> Result<()> {
    let server = TcpListener::bind("127.0.0.1:0")?;
    let port = server.local_addr()?.port();
    let script = format!("if nc -w 20 10.0.2.2 {port} </dev/null; then echo open; else echo closed; fi");
    stage.shell(&script).run()?.exits(0)?.prints("closed\n")?;
    server.set_nonblocking(true)?;
    ensure!(server.accept().is_err(), "the guest came to the host's loopback");
    Ok(())
}

fn two_machines_on_a_switch(stage: &Stage) -> Result<()> {
    let unique = stage
        .path()
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .replace(|c: char| !c.is_ascii_alphanumeric(), "x");
    let network = format!("switch={unique}");
    // An nc whose input ends says so to the other, which then ends at once: this one's stays open.
    let listens = "ip addr add 192.168.77.1/24 dev eth0; ip link set eth0 up; mkfifo open; sleep 9999 >open & echo listening
        nc -l -p 7 <open >got; md5sum <got";
    let sends = "ip addr add 192.168.77.2/24 dev eth0; ip link set eth0 up
        seq 200000 >numbers; n=0
        until nc 192.168.77.1 7 <numbers; do n=$((n + 1)); [ $n -lt 300 ]; sleep 1; done
        md5sum <numbers";
    let first = stage.ringfence(with(&["--net", &network], listens)).start()?.wait_for("listening")?;
    let second = stage.beside(with(&["--net", &network], sends)).run()?.exits(0)?;
    let first = first.end()?.exits(0)?;
    ensure!(first.out() == format!("listening\n{}", second.out()), "{first}\n{second}");
    Ok(())
}

fn one_queue_a_vcpu_and_the_offloads(stage: &Stage) -> Result<()> {
    let vcpus = stage.vcpus();
    // The bits of checksums and TCP segmentation, both ways: CSUM, GUEST_CSUM, GUEST_TSO4, HOST_TSO4, MRG_RXBUF.
    let script = "ls -d /sys/class/net/eth0/queues/rx-* | wc -l
        features=$(cat /sys/class/net/eth0/device/features)
        for bit in 0 1 7 11 15; do printf %s ${features:$bit:1}; done; echo
        cat /sys/class/net/eth0/carrier /sys/class/net/eth0/mtu
        cat /sys/class/net/eth0/address";
    let words = ["--net", "user,mac=52:54:00:0a:0b:0c"];
    let expected = format!("{vcpus}\n11111\n1\n1500\n52:54:00:0a:0b:0c\n");
    stage.with_all_vcpus(with(&words, script)).run()?.exits(0)?.prints(expected)?;
    Ok(())
}

fn none_and_two(stage: &Stage) -> Result<()> {
    let interfaces = "ls /sys/class/net | xargs";
    stage.ringfence(with(&["--net", "none"], interfaces)).run()?.exits(0)?.prints("lo\n")?;
    let words = ["--net", "user", "--net", "user,limit-bw=1M"];
    stage.ringfence(with(&words, interfaces)).run()?.exits(0)?.prints("eth0 eth1 lo\n")?;
    Ok(())
}

fn a_capture_holds_the_frames(stage: &Stage) -> Result<()> {
    let file = stage.path().join("net.pcap");
    let words = ["--capture", &file.display().to_string()];
    stage.ringfence(with(&words, "ping -c 1 10.0.2.2 >/dev/null")).run()?.exits(0)?;
    let bytes = std::fs::read(&file)?;
    ensure!(bytes.starts_with(&0xa1b2_3c4du32.to_le_bytes()), "this is no capture");
    // The question for the gateway's address, and the echo both ways.
    let arp = [8, 6, 0, 1, 8, 0, 6, 4, 0, 1];
    let holds = |wanted: &[u8]| bytes.windows(wanted.len()).any(|window| window == wanted);
    ensure!(holds(&arp), "nobody asked for the gateway");
    ensure!(
        holds(&[10, 0, 2, 15, 10, 0, 2, 2, 8, 0]) && holds(&[10, 0, 2, 2, 10, 0, 2, 15, 0, 0]),
        "no echo"
    );
    Ok(())
}
