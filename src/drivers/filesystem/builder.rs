//! Opening the driver.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;

use super::durability::{Durability, mode_holds_mark, sync_directory};
use super::errors::NAME;
use super::lock::Names;
use super::pace::Pace;
use super::resolve::Root;
use super::temp::TempDir;
use super::{FilesystemDriver, Store, version};
use crate::error::{Error, Result};
use crate::path::StoragePath;

/// How a [`FilesystemDriver`] is to work; made by [`FilesystemDriver::builder`].
#[derive(Clone, Debug)]
#[must_use = "nothing is opened before `open`"]
pub struct FilesystemBuilder {
    root: PathBuf,
    durability: Durability,
    lock_timeout: Duration,
    max_gap: u64,
}

impl FilesystemBuilder {
    pub(super) fn new(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
            durability: Durability::default(),
            lock_timeout: Duration::from_millis(500),
            max_gap: 1 << 30,
        }
    }

    /// What finished calls have made safe from a power cut; [`Durability::EveryWrite`] by default.
    pub fn durability(self, durability: Durability) -> Self {
        Self { durability, ..self }
    }

    /// How long a call waits while somebody else writes the file, before it fails with
    /// [`Conflict`](crate::ErrorKind::Conflict); half a second by default, and zero is a single try.
    pub fn lock_timeout(self, lock_timeout: Duration) -> Self {
        Self { lock_timeout, ..self }
    }

    /// The longest run of zeros in bytes that a write past the end of a file may leave; 1 GiB by default. The zeros take
    /// no space on most file systems, but whoever reads the file gets them all.
    pub fn max_gap(self, max_gap: u64) -> Self {
        Self { max_gap, ..self }
    }

    /// Opens the root, and creates it with its parents where it is missing. Blocks for a moment.
    ///
    /// # Errors
    /// The root can't be made, is no directory, or can't be written to; they name the root in their detail.
    pub fn open(self) -> Result<FilesystemDriver> {
        self.open_store(Root::new).map(|store| FilesystemDriver { store: Arc::new(store) })
    }

    pub(super) fn open_store(self, make_root: impl FnOnce(std::os::fd::OwnedFd) -> Root) -> Result<Store> {
        let fail = |what: &str, source: std::io::Error| {
            Error::io(source).with_detail(format!("{what} {}", self.root.display())).at(NAME, &StoragePath::root())
        };
        let failed = |what: &'static str| move |errno: Errno| (what, std::io::Error::from(errno));
        make_directory(&self.root, self.durability).map_err(|source| fail("can't make the root directory", source))?;
        let open = || -> Result<Store, (&'static str, std::io::Error)> {
            // Links on the way to the root are the operator's own.
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let fd = rustix::fs::openat(CWD, &self.root, flags, Mode::empty())
                .map_err(failed("can't open the root directory"))?;
            let temp = TempDir::open(&fd).map_err(failed("can't make temporary files in"))?;
            let temp = Arc::new(temp);
            let names = Names::open(temp.fd(), self.lock_timeout).map_err(failed("can't make a lock file in"))?;
            let mode = Mode::from_raw_mode(0o600) | Mode::SVTX;
            let probe = temp.file(mode).map_err(failed("can't make temporary files in"))?;
            let mode_holds_mark = mode_holds_mark(probe.fd()).map_err(failed("can't change the mode of files in"))?;
            let xattrs = version::probe(probe.fd());
            drop(probe);
            Ok(Store {
                root: make_root(fd),
                temp,
                names,
                known: Default::default(),
                writing: Default::default(),
                pace: Pace::new(),
                durability: self.durability,
                lock_timeout: self.lock_timeout,
                max_gap: self.max_gap,
                mode_holds_mark,
                xattrs,
                reads: Default::default(),
            })
        };
        open().map_err(|(what, source)| fail(what, source))
    }
}

/// Makes a directory with its parents, each of which is synced if it got a new name.
fn make_directory(path: &Path, durability: Durability) -> std::io::Result<()> {
    match std::fs::create_dir(path) {
        Ok(()) => {}
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).ok_or(error)?;
            make_directory(parent, durability)?;
            match std::fs::create_dir(path) {
                Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => return Err(error),
                _ => {}
            }
        }
        Err(_) if path.is_dir() => {}
        Err(error) => return Err(error),
    }
    if durability != Durability::None {
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        // Whoever made it may have died before it synced. A parent that can't be read is not one it was made in.
        if let Ok(parent) = std::fs::File::open(parent) {
            sync_directory(parent)?;
        }
    }
    Ok(())
}
