//! `ringfence disk`.

mod facts;

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::path::Path;

use backend::block::{Backing, Create, Format, Source, convert, create, info, resize};
use images::Amount;

use crate::args::{DiskCommand, show_size};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::{message, progress};

/// Does what `command` says.
pub fn disk(command: DiskCommand) -> Result<u8, Failure> {
    // A failure of the host's within a run; on its own it is an ordinary one.
    act(command).map_err(|failure| match failure.status == u8::from(Exit::Host) {
        true => Failure { status: Exit::Failure.into(), ..failure },
        false => failure,
    })
}

fn act(command: DiskCommand) -> Result<u8, Failure> {
    match command {
        DiskCommand::Create { path, size, format, backing, backing_format } => {
            let backing = backing.map(|path| Backing { path, format: backing_format });
            let size = create(&Create { path: path.clone(), format, size, backing })?;
            message::say(format_args!("{} is a {format} disk of {}", path.display(), show_size(size)));
        }
        DiskCommand::Info { path, format, json } => {
            wonder(&path, format);
            print(&facts::show(&info(&path, format.unwrap_or_default())?, json)?)?;
        }
        DiskCommand::Resize { path, size, format, shrink } => {
            wonder(&path, format);
            let old = resize(&Source::new(&path, format.unwrap_or_default()), size, shrink)?;
            let (old, new) = (show_size(old), show_size(size));
            message::say(format_args!("{} has {new} now; it had {old}", path.display()));
        }
        DiskCommand::Convert { path, new, from, to } => {
            wonder(&path, from);
            copy(&Source::new(path, from.unwrap_or_default()), &new, to)?;
        }
    }
    Ok(0)
}

fn copy(from: &Source, new: &Path, to: Format) -> Result<(), Failure> {
    let mut bar = progress::of_a_copy();
    let mut begun = false;
    let order = Create { path: new.to_owned(), format: to, size: None, backing: None };
    let size = convert(from, &order, &mut |done, size| {
        if !begun {
            bar.start(&format!("copying {}", from.path.display()), Amount::Bytes(size));
            begun = true;
        }
        bar.advance(done);
    })?;
    bar.finish();
    message::say(format_args!("{} is a {to} disk of {}", new.display(), show_size(size)));
    Ok(())
}

/// Asks the user back if no format was said and the file looks like qcow2. It stays raw: what it looks like may be a guest's doing.
fn wonder(path: &Path, format: Option<Format>) {
    if format.is_some() || !path.is_file() {
        return;
    }
    let mut magic = [0; 4];
    let read = File::open(path).and_then(|mut file| file.read_exact(&mut magic));
    if read.is_ok() && magic == *b"QFI\xfb" {
        message::note(format_args!(
            "{} begins like a qcow2 image and is taken as raw; if it is one, say its format: qcow2",
            path.display()
        ));
    }
}

fn print(text: &str) -> Result<(), Failure> {
    match io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::new(Exit::Failure, format!("cannot write standard output: {error}")))
        }
        _ => Ok(()),
    }
}
