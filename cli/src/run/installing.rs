//! The machine in which a system is installed: no user, two disks, and a console that somebody follows.

use std::path::{Path, PathBuf};

use backend::block::{Disk, Format, Options, Source};
use crossbeam_channel::select;
use images::{Installation, Installer};
use machine::pci::Plug;
use machine::{Images, VmConfig};
use virtio::{Blk, Rng, VirtioPci};

use super::ending::Ending;
use super::vm::{self, Machine};
use crate::args::EngineChoice;
use crate::console::{Lines, Log};

/// Runs machines for installations.
#[derive(Debug, Default)]
pub struct Installing {
    log: Option<PathBuf>,
}

impl Installing {
    /// Where the console of the last one was written.
    pub fn log(&self) -> Option<&Path> {
        self.log.as_deref()
    }
}

impl Installer for Installing {
    fn run(&mut self, installation: Installation<'_>, line: &mut dyn FnMut(&str)) -> Result<(), String> {
        let Installation { kernel, initrd, command_line, target, media, memory } = installation;
        let log = Log::create_for("install").ok();
        self.log = log.as_ref().map(|log| log.path().to_owned());
        let config = VmConfig { memory, command_line, ..VmConfig::default() };
        let images = Images { kernel: kernel.into(), initrd: Some(initrd.into()), ..Images::default() };
        let mut plugs = vec![];
        for source in [Source::new(target, Format::Raw), Source::new(media, Format::Raw).read_only()] {
            plugs.push(disk(&source).map_err(|error| error.to_string())?);
        }
        plugs.push(VirtioPci::plug(Rng::default()));
        let engine = vm::engine(EngineChoice::Auto, &config);
        let machine =
            Machine::build(config, images, plugs, &*engine, log).map_err(|error| error.to_string())?;
        let (guest, _view) = machine.start().map_err(|error| error.to_string())?;
        let mut lines = Lines::default();
        let ending = loop {
            select! {
                recv(guest.console) -> bytes => match bytes {
                    Ok(bytes) => lines.push(&bytes, &mut *line),
                    Err(_) => break guest.off.recv().unwrap_or(Ending::Vanished),
                },
                recv(guest.off) -> ending => break ending.unwrap_or(Ending::Vanished),
            }
        };
        for bytes in guest.console.try_iter() {
            lines.push(&bytes, &mut *line);
        }
        match ending {
            // What the script says of it counts.
            Ending::PowerOff | Ending::Reset | Ending::Panicked => Ok(()),
            Ending::TripleFault(how) => Err(format!("the machine's CPU shut down: {how}")),
            Ending::Host(reason) => Err(reason),
            other => Err(format!("the machine ended in a way of its own ({other:?})")),
        }
    }
}

fn disk(source: &Source) -> backend::block::Result<Plug> {
    let disk = Disk::open(source, &Options::default())?;
    Ok(VirtioPci::plug(Blk::new(Box::new(disk), 1, format!("the disk {}", source.path.display()))))
}
