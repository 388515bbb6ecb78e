//! The guest agent: process 1 of our guests, which runs commands for the host.
//!
//! As process 1 it makes a usable system out of a bare kernel (file systems, drivers, hostname, loopback), takes the
//! channel (a [port] of a virtio console, else the second serial port, unless the kernel command line names
//! another by `ringfence.channel=`) and serves the host on it until it is told to turn the machine off. Without a working channel it is an ordinary small system: a
//! shell on the console, and off when the shell ends. It never exits, as that would be a kernel panic:
//! whatever goes wrong is said on `/dev/console`, and the machine is turned off.
//!
//! As any other process it leaves the system alone and exits where it would turn the machine off. With `--service`
//! it is a service of a system with an init of its own, and looks for the channel as process 1 does; with
//! `--channel PATH` it takes that one, for tests.
//!
//! It is one thread around one `poll` ([`server`]). Nothing in it waits for anything else: commands that do
//! not read, a host that does not read and a terminal that is full all just stay in the set of descriptors.
//! What it holds is bounded: a session's input by the protocol's window, the output by
//! [`channel::Channel::has_room`].

use std::path::PathBuf;
use std::{env, panic};

mod channel;
mod cmdline;
mod console;
mod input;
mod modules;
mod mounts;
mod network;
mod output;
mod port;
mod power;
mod process;
mod reaper;
mod server;
mod session;
mod shares;
mod shell;
mod syscall;

use channel::Channel;
use power::Ending;
use server::Server;

/// The channel where there is no better one.
const SERIAL: &str = "/dev/ttyS1";

fn main() {
    panic::set_hook(Box::new(|info| console::fatal(&info.to_string())));
    let ending = if power::is_init() {
        init()
    } else {
        let mut arguments = env::args_os().skip(1);
        match (arguments.next(), arguments.next(), arguments.next()) {
            (Some(flag), None, None) if flag == "--service" => {
                shares::mount_all();
                serve_at(channel())
            }
            (Some(flag), Some(path), None) if flag == "--channel" => serve_at(PathBuf::from(path)),
            _ => console::fatal(
                "this is the init of a Ringfence guest; elsewhere it takes --service or, for tests, --channel PATH",
            ),
        }
    };
    power::end(ending);
}

/// The life of process 1.
fn init() -> Ending {
    mounts::mount_all();
    modules::load();
    shares::mount_all();
    network::set_up();
    set_environment();
    let path = channel();
    match Channel::open(&path) {
        Ok(channel) => serve(channel),
        Err(error) => {
            console::say(&format!("no channel to the host at {}: {error}; here is a shell", path.display()));
            shell::run();
            Ending::PowerOff
        }
    }
}

/// The device that is the channel.
fn channel() -> PathBuf {
    cmdline::channel().or_else(port::find).unwrap_or_else(|| SERIAL.into())
}

fn serve_at(path: PathBuf) -> Ending {
    match Channel::open(&path) {
        Ok(channel) => serve(channel),
        Err(error) => console::fatal(&format!("cannot open the channel {}: {error}", path.display())),
    }
}

fn serve(channel: Channel) -> Ending {
    match Server::new(channel).and_then(|mut server| server.run()) {
        Ok(ending) => ending,
        Err(error) => console::fatal(&format!("lost the channel to the host: {error}")),
    }
}

/// What commands find in their environment unless the host says otherwise.
fn set_environment() {
    let home = "/root";
    let _ = std::fs::create_dir_all(home);
    let variables = [
        ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
        ("HOME", home),
        ("USER", "root"),
        ("TERM", "linux"),
    ];
    syscall::set_variables(&variables);
}
