//! What outlives a power cut, and how that is known again after a crash.
//!
//! A file has two parts that can be lost: its bytes, and the names that lead to it. `fdatasync` of the file keeps the
//! one, `fsync` of the directories that hold the names the other.
//!
//! With [`Durability::EveryWrite`] whatever `stat` reports is to be durable, also while a write runs, and also after one
//! that was killed: its bytes are in the page cache and not on the disk. So a file carries a mark as long as anything of
//! it may not be durable: the sticky bit of its mode, which has no meaning for a file on Linux, needs no further inode
//! or name, and outlives the process together with the page cache. Who finds the mark syncs before it reports. With
//! [`Durability::OnComplete`] it is the same while a write runs; one that ends and leaves the file incomplete takes the
//! mark off without a sync.
//!
//! A sync that fails is reported by the kernel once, and the next one succeeds though the bytes may be lost. A writer cuts
//! its file back to what was durable before. Anyone else doesn't know how much that is: the file gets an extended
//! attribute and keeps its mark, and from then on is refused rather than reported.

use std::collections::HashSet;
use std::os::fd::AsFd;
use std::sync::{Mutex, PoisonError};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat, StatxFlags, XattrFlags};
use rustix::io::{Errno, Result};
use tracing::error;

use super::Store;
use super::directory::{info, size};
use super::errors::{At, error, not_regular};
use super::lock::try_exclusive;
use super::resolve::{Dir, parent_of, relative};
use crate::info::FileInfo;
use crate::path::StoragePath;

/// What a finished call has made safe from a power cut. From a crash of the process alone everything is safe always.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// Every call that changes something syncs what it changed, and the directories that changed, before it returns, and
    /// so does a write that was cut short or whose future was dropped. `stat` reports durable sizes only; the sizes that
    /// `walk` and `read` name may not be durable yet.
    ///
    /// A power cut in the middle of a write may leave more than was acknowledged or reported: what the file system had
    /// written back by itself. On ext4 (`data=ordered`) and btrfs that is a part of the stream from its start. XFS may
    /// have zeros in place of some of it, so there a client should compare a checksum after a power cut.
    ///
    /// If a sync fails, the write that asked for it fails, and the file is cut back to what was durable before or was
    /// reported meanwhile. If it was a write that got killed, nobody knows how much that is: then `stat`, `commit` and
    /// writes of that file fail with [`Backend`](crate::ErrorKind::Backend) until it is deleted, replaced, or written anew
    /// from its start. It can still be read. (Where there are no extended attributes, only the first of them fails.)
    #[default]
    EveryWrite,
    /// As `EveryWrite`, but a write that leaves a file incomplete
    /// ([`Completion::AtSize`](crate::Completion::AtSize) not reached, [`Completion::OnCommit`](crate::Completion::OnCommit))
    /// syncs nothing: the write that completes it or `commit` does. Until then a power cut may take what was acknowledged
    /// or reported, but a file that `stat` reports at its final size stays: if the write that brought it there was killed
    /// before it synced, `stat` syncs first.
    OnComplete,
    /// Nothing is ever synced; the kernel writes back when it sees fit, in any order. For file systems in memory, tests,
    /// and data that can be had again.
    None,
}

/// The attribute of a file of which a sync failed.
const FAILED: &str = "user.holdall.unsynced";

/// How many directories are remembered.
const KNOWN: usize = 8192;

/// Directories whose names are durable, up to the root.
#[derive(Debug, Default)]
pub(super) struct Known(Mutex<HashSet<Identity>>);

/// A directory, told from a later one of the same inode number by the time it was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Identity {
    device: (u32, u32),
    inode: u64,
    born: (i64, u32),
}

impl Identity {
    /// `None` where the file system keeps no time of birth.
    fn of(dir: impl AsFd) -> Result<Option<Self>> {
        let stat = rustix::fs::statx(dir, c"", AtFlags::EMPTY_PATH, StatxFlags::INO | StatxFlags::BTIME)?;
        Ok((stat.stx_mask & StatxFlags::BTIME.bits() != 0).then_some(Self {
            device: (stat.stx_dev_major, stat.stx_dev_minor),
            inode: stat.stx_ino,
            born: (stat.stx_btime.tv_sec, stat.stx_btime.tv_nsec),
        }))
    }
}

impl Known {
    fn lock(&self) -> std::sync::MutexGuard<'_, HashSet<Identity>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.lock().len()
    }

    fn contains(&self, identity: &Identity) -> bool {
        self.lock().contains(identity)
    }

    fn insert(&self, identity: Identity) {
        let mut known = self.lock();
        if known.len() >= KNOWN {
            known.clear();
        }
        known.insert(identity);
    }
}

impl Store {
    /// Whether anything is synced at all; if so, files are marked while they may not be as durable as is promised.
    pub(super) fn syncs(&self) -> bool {
        self.durability != Durability::None
    }

    /// Makes a new, changed or removed name in `dir`, the parent of `path`, durable, with all names that lead to it.
    pub(super) fn sync_names(&self, path: &StoragePath, dir: &Dir) -> Result<()> {
        sync_directory(self.root.at(dir))?;
        self.sync_way(parent_of(relative(path)), dir)
    }

    /// Makes the names that lead to a directory durable. Whoever made a directory may have died before it synced.
    fn sync_way(&self, directory: &str, dir: &Dir) -> Result<()> {
        if directory.is_empty() {
            return Ok(());
        }
        let identity = Identity::of(self.root.at(dir))?;
        if identity.is_some_and(|identity| self.known.contains(&identity)) {
            return Ok(());
        }
        let up = parent_of(directory);
        let holder = self.root.dir(up)?;
        self.sync_way(up, &holder)?;
        sync_directory(self.root.at(&holder))?;
        if let Some(identity) = identity {
            self.known.insert(identity);
        }
        Ok(())
    }

    /// The mode of a new file.
    pub(super) fn new_mode(&self) -> Mode {
        let mode = Mode::from_raw_mode(0o666);
        if self.syncs() { mode | Mode::SVTX } else { mode }
    }

    /// Whether anything of a file may not be durable.
    pub(super) fn is_marked(&self, stat: &Stat) -> bool {
        // Where modes can't hold the mark, each file has it.
        self.syncs() && (!self.mode_holds_mark || Mode::from_raw_mode(stat.st_mode).contains(Mode::SVTX))
    }

    /// Marks a file, before it changes.
    pub(super) fn mark(&self, file: impl AsFd, stat: &Stat) -> Result<()> {
        if self.syncs() && self.mode_holds_mark && !self.is_marked(stat) {
            rustix::fs::fchmod(file, Mode::from_raw_mode(stat.st_mode) | Mode::SVTX)?;
        }
        Ok(())
    }

    /// Takes the mark off a file of which everything is durable. Whoever does it holds the file's lock.
    pub(super) fn unmark(&self, file: impl AsFd, stat: &Stat) -> Result<()> {
        if self.syncs() && self.mode_holds_mark {
            rustix::fs::fchmod(file, Mode::from_raw_mode(stat.st_mode) - Mode::SVTX)?;
        }
        Ok(())
    }

    /// Makes a file durable with its names, and gives what then is. The mark goes, unless somebody is writing.
    pub(super) fn settle(&self, path: &StoragePath) -> crate::Result<FileInfo> {
        let Some(name) = path.file_name() else {
            let stat = self.root.look_at_root().found(path)?;
            return info(path.clone(), &stat).ok_or_else(|| not_regular(path));
        };
        let dir = self.root.parent(path).found(path)?;
        let file = self.root.open_name(&dir, name, OFlags::RDONLY, Mode::empty()).found(path)?;
        let locked = try_exclusive(&file).at(path)?;
        let stat = rustix::fs::fstat(&file).at(path)?;
        let writing = if locked { None } else { self.writing.get(&stat) };
        let _syncing = writing.as_ref().map(|progress| progress.syncing());
        let look = || rustix::fs::fstat(&file);
        let (stat, cuts) = writing.as_ref().map_or_else(|| (look(), 0), |progress| progress.look(look));
        let stat = stat.at(path)?;
        let info = info(path.clone(), &stat).ok_or_else(|| not_regular(path))?;
        if info.is_dir {
            return Ok(info);
        }
        let settled = self.sync_file(path, &dir, &file, &stat);
        if let Some(progress) = &writing {
            match settled {
                Ok(()) => progress.raise(info.size, cuts),
                Err(_) => progress.fail(),
            }
        }
        settled?;
        if locked && self.is_marked(&stat) && self.still_there(&dir, name, &stat).at(path)? {
            self.unmark(&file, &stat).at(path)?;
        }
        Ok(info)
    }

    /// Makes the bytes of a file durable, unless an earlier sync of it failed. A failure is remembered.
    pub(super) fn sync_bytes(&self, path: &StoragePath, file: impl AsFd, stat: &Stat) -> crate::Result<()> {
        if self.has_failed(&file).at(path)? {
            return Err(lost(Errno::IO, path));
        }
        rustix::fs::fdatasync(&file).map_err(|errno| {
            self.note_failure(path, &file, stat);
            lost(errno, path)
        })
    }

    /// As [`sync_bytes`](Self::sync_bytes), and the names, too.
    pub(super) fn sync_file(&self, path: &StoragePath, dir: &Dir, file: impl AsFd, stat: &Stat) -> crate::Result<()> {
        self.sync_bytes(path, &file, stat)?;
        match self.sync_names(path, dir) {
            Err(errno @ (Errno::IO | Errno::NOSPC | Errno::DQUOT)) => {
                self.note_failure(path, &file, stat);
                Err(lost(errno, path))
            }
            synced => synced.at(path),
        }
    }

    /// Whether a sync of this file failed since it was last cut back or written anew.
    fn has_failed(&self, file: impl AsFd) -> Result<bool> {
        match if self.xattrs { rustix::fs::fgetxattr(file, FAILED, &mut [0u8; 1]) } else { Err(Errno::NODATA) } {
            Ok(_) | Err(Errno::RANGE) => Ok(true),
            Err(Errno::NODATA) => Ok(false),
            Err(errno) => Err(errno),
        }
    }

    /// Remembers that a sync of a file failed, for all who look at it later.
    #[cold]
    fn note_failure(&self, path: &StoragePath, file: impl AsFd, stat: &Stat) {
        let noted = match self.xattrs {
            true => rustix::fs::fsetxattr(&file, FAILED, b"1", XattrFlags::empty()),
            false => Err(Errno::NOTSUP),
        };
        if let Err(errno) = noted.and_then(|()| self.mark(&file, stat)) {
            error!(path = %path, error = %std::io::Error::from(errno), "a failed sync can't be noted, and is told only once");
        }
    }

    /// Nothing is left in a file of what a failed sync may have lost.
    pub(super) fn forget_failure(&self, file: impl AsFd) -> Result<()> {
        match if self.xattrs { rustix::fs::fremovexattr(file, FAILED) } else { Ok(()) } {
            Err(Errno::NODATA) => Ok(()),
            forgotten => forgotten,
        }
    }

    /// Whether a name still stands for this inode.
    pub(super) fn still_there(&self, dir: &Dir, name: &str, stat: &Stat) -> Result<bool> {
        match self.root.look(dir, name) {
            Ok(now) => Ok((now.st_dev, now.st_ino) == (stat.st_dev, stat.st_ino)),
            Err(Errno::NOENT) => Ok(false),
            Err(errno) => Err(errno),
        }
    }

    /// What is at a path, if that is known without a sync.
    pub(super) fn stat(&self, path: &StoragePath) -> crate::Result<Option<FileInfo>> {
        let stat = match path.file_name() {
            None => self.root.look_at_root(),
            Some(name) => self.root.parent(path).and_then(|dir| self.root.look(&dir, name)),
        }
        .found(path)?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile if self.is_marked(&stat) => Ok(None),
            FileType::Symlink => Err(Errno::LOOP).at(path),
            _ => info(path.clone(), &stat).map(Some).ok_or_else(|| not_regular(path)),
        }
    }
}

#[cold]
fn lost(errno: Errno, path: &StoragePath) -> crate::Error {
    let detail = "a sync of it failed, and what of it is on the disk is not known; \
                  it has to be deleted, replaced, or written anew from its start";
    error(errno, path).with_detail(detail)
}

/// Syncs a directory, where its file system knows of that.
pub(super) fn sync_directory(dir: impl AsFd) -> Result<()> {
    match rustix::fs::fsync(dir) {
        Err(Errno::INVAL | Errno::NOTSUP) => Ok(()),
        result => result,
    }
}

/// Whether modes of files hold the mark here.
pub(super) fn mode_holds_mark(file: impl AsFd) -> Result<bool> {
    let stat = rustix::fs::fstat(&file)?;
    if size(&stat) != 0 || !Mode::from_raw_mode(stat.st_mode).contains(Mode::SVTX) {
        return Ok(false);
    }
    match rustix::fs::fchmod(&file, Mode::from_raw_mode(stat.st_mode) - Mode::SVTX) {
        Ok(()) => Ok(true),
        Err(Errno::PERM | Errno::NOTSUP | Errno::NOSYS) => Ok(false),
        Err(errno) => Err(errno),
    }
}
