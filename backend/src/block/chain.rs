//! Opening an image with all that is behind it, from the front to the last.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use imago::qcow2::Qcow2;
use imago::raw::Raw;
use imago::{DenyImplicitOpenGate, FormatAccess, FormatDriverBuilder};

use super::file::open_path;
use super::io::block_on;
use super::qcow2::{Header, Refused, Upkeep, rebuild, vet};
use super::reach::{Identity, Reach};
use super::{Access, Backing, Error, Format, HostFile, Result, SECTOR, Source};

/// The most images behind one another.
const MOST_LINKS: usize = 16;

/// Of one request so many bytes are read at a time where its clusters lie apart; the library would wait for each cluster
/// before it begins with the next. A compressed cluster takes memory of its own meanwhile.
const AT_ONCE: u64 = 1 << 20;
/// But no more clusters than this.
const MOST_AT_ONCE: u64 = 16;

/// One image of a chain, and by its access all that is behind it.
pub(super) struct Link {
    /// Its content.
    pub(super) access: FormatAccess<HostFile>,
    /// There is an image behind it.
    pub(super) backed: bool,
    /// For a qcow2 image that is written.
    pub(super) upkeep: Option<Upkeep>,
}

impl Link {
    /// Opens the image at the front, in a file that is in use already.
    pub(super) fn open(file: HostFile, access: Access, source: &Source) -> Result<Self> {
        match source.format {
            Format::Raw if source.backing.is_some() => Err(Error::NoBacking(Format::Raw)),
            Format::Raw => open_raw(file, access),
            Format::Qcow2 => {
                let mut behind = Behind::of(&source.path, file.file())?;
                open_qcow2(file, access, source.backing.as_ref(), &mut behind)
            }
        }
    }
}

fn open_raw(file: HostFile, access: Access) -> Result<Link> {
    if file.len() < SECTOR {
        return Err(Error::TooSmall { path: file.path().to_owned(), len: file.len() });
    }
    let (doing, engine) = (format!("opening {}", file.path().display()), Arc::clone(file.engine()));
    let raw = block_on(&*engine, Raw::open_image(file, access == Access::Write)).map_err(Error::io(doing))?;
    Ok(Link { access: FormatAccess::new(raw), backed: false, upkeep: None })
}

/// What is behind an image: how far it reaches, and what came before it.
struct Behind {
    front: PathBuf,
    reach: Reach,
    seen: Vec<Identity>,
}

impl Behind {
    fn of(path: &Path, file: &File) -> Result<Self> {
        let mut behind = Self { front: path.to_owned(), reach: Reach::of(path)?, seen: Vec::new() };
        behind.meet(file)?;
        Ok(behind)
    }

    /// Notes a file of the chain, which must not be in it yet.
    fn meet(&mut self, file: &File) -> Result<()> {
        let identity = Identity::of(file).map_err(Error::io(format!("reading {}", self.front.display())))?;
        if self.seen.contains(&identity) || self.seen.len() > MOST_LINKS {
            return Err(Error::Chain { path: self.front.clone(), most: MOST_LINKS });
        }
        self.seen.push(identity);
        Ok(())
    }
}

fn open_qcow2(
    mut file: HostFile,
    access: Access,
    named: Option<&Backing>,
    behind: &mut Behind,
) -> Result<Link> {
    let path = file.path().to_owned();
    let refused = |reason| Error::Refused { path: path.clone(), reason };
    let host = || Error::io(format!("reading {}", path.display()));
    let mut header = Header::read(file.file(), file.len()).map_err(host())?.map_err(refused)?;
    let mut upkeep = None;
    if access == Access::Write {
        if header.snapshots > 0 {
            return Err(refused(Refused::Snapshots));
        }
        if header.dirty {
            count_again(&file, &header)?;
            header = Header::read(file.file(), file.len()).map_err(host())?.map_err(refused)?;
        }
        vet(file.file(), &header, file.len()).map_err(host())?.map_err(refused)?;
        file.allow(header.most(file.len()));
        let keeper = Upkeep::new(file.file(), &header).map_err(host())?;
        file.keep(keeper.order());
        upkeep = Some(keeper);
    }
    let backing = open_backing(&file, &header, named, behind)?;
    let backed = backing.is_some();
    file.hide_dirty();
    let engine = Arc::clone(file.engine());
    let builder =
        Qcow2::<HostFile>::builder(file).write(access == Access::Write).backing(backing).data_file(None);
    let qcow2 = block_on(&*engine, builder.open(DenyImplicitOpenGate::default())).map_err(host())?;
    if let Some(upkeep) = &upkeep {
        upkeep.begin().map_err(Error::io(format!("writing {}", path.display())))?;
    }
    let mut access = FormatAccess::new(qcow2);
    access.set_async_read_parallelization((AT_ONCE / header.cluster()).clamp(1, MOST_AT_ONCE) as usize);
    Ok(Link { access, backed, upkeep })
}

/// Puts the counts right of an image that was not closed.
fn count_again(file: &HostFile, header: &Header) -> Result<()> {
    let path = || file.path().to_owned();
    let host = || Error::io(format!("counting the clusters of {} again", file.path().display()));
    let counted = rebuild(file.file(), header, file.len())
        .map_err(host())?
        .map_err(|reason| Error::Refused { path: path(), reason })?;
    file.resized(file.file().metadata().map_err(host())?.len());
    tracing::info!("{} was not closed; counted {} clusters again", file.path().display(), counted.used);
    Ok(())
}

/// Opens the image behind one, for reading: the one the user named, or else the one the header names.
fn open_backing(
    front: &HostFile,
    header: &Header,
    named: Option<&Backing>,
    behind: &mut Behind,
) -> Result<Option<FormatAccess<HostFile>>> {
    let (file, path, format) = match (named, &header.backing) {
        (None, None) => return Ok(None),
        (Some(named), _) => {
            behind.reach = Reach::of(&named.path)?;
            (open_path(&named.path, Access::Read)?, named.path.clone(), named.format)
        }
        (None, Some(backing)) => {
            let (file, path, below) = behind.reach.open(front.path(), &backing.name)?;
            behind.reach = below;
            (file, path, backing.format)
        }
    };
    behind.meet(&file)?;
    let file = HostFile::new(file, &path, Access::Read, Arc::clone(front.engine()))?;
    let link = match format {
        Format::Raw => open_raw(file, Access::Read)?,
        Format::Qcow2 => open_qcow2(file, Access::Read, None, behind)?,
    };
    Ok(Some(link.access))
}
