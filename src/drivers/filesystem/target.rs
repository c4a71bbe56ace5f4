//! A file that a write has open and locked, and how a write ends, whichever way.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use bytes::Bytes;
use rustix::fs::{AtFlags, FileType, OFlags, Stat};
use rustix::io::Errno;
use tokio::runtime::Handle;
use tracing::{error, warn};

use super::Store;
use super::copy::{copy, write_all};
use super::directory::size;
use super::durability::Durability;
use super::errors::{At, conflict, error, not_regular, plain};
use super::lock::try_exclusive;
use super::resolve::Dir;
use super::temp::TempFile;
use super::writing::Progress;
use crate::driver::{Completion, Expected, WriteOptions};
use crate::error::{ErrorKind, Result};
use crate::path::StoragePath;

/// How a file is made.
const NEW: OFlags = OFlags::CREATE.union(OFlags::EXCL);
/// How often a call begins anew when others remove or replace what it has found.
const ATTEMPTS: usize = 16;

/// What a write finds at its path.
pub(super) enum Found {
    /// A file to write to, locked, and as the options expect it.
    Target(Box<Target>),
    /// No file, as the options allow.
    Absent,
    /// A file that somebody else has locked; perhaps one that was just made here.
    Busy(Option<Newborn>),
}

/// A file that was made for this write, and which somebody else saw and locked first. Unless that was to write to it, it is
/// this write's own.
pub(super) struct Newborn {
    dir: Dir,
    file: OwnedFd,
}

/// A file that is being written. Its lock goes with it, after everything that was begun has ended: when it is dropped, it
/// first does what [`finish`](Self::finish) does.
pub(super) struct Target {
    store: Arc<Store>,
    path: StoragePath,
    dir: Dir,
    file: OwnedFd,
    stat: Stat,
    created: bool,
    progress: Arc<Progress>,
    end: u64,
    completion: Completion,
    /// Whether there is anything to finish.
    dirty: bool,
}

#[cfg(test)]
impl Newborn {
    /// As if the file at a path had been made here.
    pub(super) fn for_test(store: &Store, path: &StoragePath) -> Self {
        let dir = store.root.parent(path).unwrap();
        let file = store.root.open_file(path, OFlags::WRONLY).unwrap();
        Self { dir, file }
    }
}

impl Store {
    /// Opens and locks the file to write to. Only with `create` is one made.
    pub(super) fn find_target(
        self: &Arc<Self>,
        path: &StoragePath,
        offset: u64,
        options: WriteOptions,
        create: bool,
        mut newborn: Option<Newborn>,
    ) -> Result<Found> {
        let name = path.file_name().ok_or_else(|| plain(ErrorKind::IsADirectory, path))?;
        let check = |size| options.check(size, offset, self.max_gap).map_err(|error| error.at(super::NAME, path));
        // What is to be absent is made at once; anything else is likely there.
        let mut make_first = create && options.expected == Expected::Absent && check(None).is_ok();
        for _ in 0..ATTEMPTS {
            let mut waited = newborn.is_some();
            let (dir, file, made) = match newborn.take() {
                Some(Newborn { dir, file }) => (dir, file, true),
                None => {
                    let dir = match self.root.parent(path) {
                        Err(Errno::NOENT) if create => {
                            check(None)?;
                            self.root.parent_or_make(path).at(path)?.dir
                        }
                        Err(Errno::NOENT) => return check(None).map(|()| Found::Absent),
                        dir => dir.at(path)?,
                    };
                    let open = |new| self.root.open_name(&dir, name, OFlags::WRONLY | new, self.new_mode());
                    let mut made = make_first;
                    let mut file = open(if made { NEW } else { OFlags::empty() });
                    if !made && matches!(file, Err(Errno::NOENT)) {
                        check(None)?;
                        if !create {
                            return Ok(Found::Absent);
                        }
                        made = true;
                        file = open(NEW);
                    }
                    match file {
                        // Somebody else was quicker, or removed the directory.
                        Err(Errno::EXIST | Errno::NOENT) => {
                            make_first = false;
                            continue;
                        }
                        file => (dir, file.at(path)?, made),
                    }
                }
            };
            // Where nothing may be, nobody's lock matters, and taking it would be in the way of who made the file.
            let locked = (made || options.expected != Expected::Absent) && try_exclusive(&file).at(path)?;
            let stat = rustix::fs::fstat(&file).at(path)?;
            match FileType::from_raw_mode(stat.st_mode) {
                FileType::RegularFile => {}
                FileType::Directory => return Err(plain(ErrorKind::IsADirectory, path)),
                _ => return Err(not_regular(path)),
            }
            if !made
                && options.expected == Expected::Absent
                && let Err(error) = check(Some(size(&stat)))
            {
                if self.is_marked(&stat) {
                    // The error names the size, so it has to be durable.
                    let info = self.settle(path)?;
                    return Err(check(Some(info.size)).err().unwrap_or(error));
                }
                return Err(error);
            }
            if !locked {
                return Ok(Found::Busy(made.then_some(Newborn { dir, file })));
            }
            // Somebody may have been quicker to write to what was made here.
            let created = made && size(&stat) == 0;
            waited |= !created;
            if waited && !self.still_there(&dir, name, &stat).at(path)? {
                make_first = false;
                continue;
            }
            if created {
                // Who looked at it before it was locked may have taken the mark off.
                self.mark(&file, &stat).at(path)?;
            }
            if !created && let Err(error) = check(Some(size(&stat))) {
                drop(file);
                if self.is_marked(&stat) {
                    // The error names the size, so it has to be durable.
                    self.settle(path)?;
                }
                return Err(error);
            }
            // What earlier writes left unsynced is not known to be durable.
            let unsynced = self.durability == Durability::OnComplete && options.completion != Completion::EndOfStream;
            let progress = self.writing.begin(&stat, if unsynced { 0 } else { size(&stat) });
            return Ok(Found::Target(Box::new(Target {
                store: Arc::clone(self),
                path: path.clone(),
                dir,
                file,
                created,
                progress,
                end: size(&stat),
                completion: options.completion,
                dirty: created,
                stat,
            })));
        }
        Err(conflict(path, "it is replaced or removed again and again"))
    }
}

impl Target {
    /// Whether a crash left bytes in the file that may not be durable.
    pub(super) fn is_unsettled(&self) -> bool {
        !self.created && self.store.is_marked(&self.stat)
    }

    /// Makes durable what a crash left and a write at `offset` keeps. The mark stays, for the write that follows.
    pub(super) fn settle(&mut self, offset: u64) -> Result<()> {
        if offset == 0 && self.end > 0 {
            // Nothing of it is kept, unless the write fails first.
            return self.store.sync_names(&self.path, &self.dir).at(&self.path);
        }
        self.store.sync_file(&self.path, &self.dir, &self.file, &self.stat)?;
        self.progress.raise(self.end, 0);
        self.dirty = true;
        Ok(())
    }

    /// Brings the file to the size at which the write begins.
    pub(super) fn seek(&mut self, offset: u64) -> Result<()> {
        if offset == self.end {
            return Ok(());
        }
        self.touch()?;
        let seek = || match offset < self.end {
            true => self.store.cut(&self.file, offset),
            false => rustix::fs::ftruncate(&self.file, offset),
        };
        self.progress.cut(offset, seek).at(&self.path)?;
        if offset == 0 && self.is_unsettled() {
            self.store.forget_failure(&self.file).at(&self.path)?;
        }
        self.end = offset;
        Ok(())
    }

    /// Before the first change.
    fn touch(&mut self) -> Result<()> {
        if !self.dirty {
            self.store.mark(&self.file, &self.stat).at(&self.path)?;
            self.dirty = true;
        }
        Ok(())
    }

    /// Appends the pieces. Of a piece that fails the first part may stay.
    pub(super) fn append(&mut self, pieces: &[Bytes]) -> Result<()> {
        self.touch()?;
        for piece in pieces {
            let mut written = 0;
            let result = write_all(&self.file, piece, self.end, &mut written);
            self.end += written;
            result.at(&self.path)?;
        }
        Ok(())
    }

    /// Appends a whole staged file, or nothing of it.
    pub(super) fn append_staged(&mut self, staged: &TempFile, length: u64) -> Result<()> {
        self.touch()?;
        let result = match copy(staged.fd(), &self.file, self.end, length) {
            Ok(copied) if copied < length => Err(Errno::IO),
            result => result,
        };
        if let Err(errno) = result {
            self.cut_back(self.end);
            return Err(error(errno, &self.path));
        }
        self.end += length;
        Ok(())
    }

    /// Takes back the bytes from `to` on.
    pub(super) fn cut_back(&mut self, to: u64) {
        let cut = || self.store.cut(&self.file, to).or_else(|_| rustix::fs::ftruncate(&self.file, to));
        match self.progress.cut(to, cut) {
            Ok(()) => self.end = to,
            Err(errno) => {
                error!(path = %self.path, error = %std::io::Error::from(errno), "can't cut a file back to {to} bytes");
            }
        }
    }

    /// Ends the write: what is in the file becomes durable, and if it still is the path's file, it may be acknowledged.
    pub(super) fn finish(mut self, ended_well: bool) -> Result<()> {
        self.finish_once(ended_well)
    }

    /// Whether [`finish`](Self::finish) syncs.
    pub(super) fn will_sync(&self) -> bool {
        match self.store.durability {
            Durability::EveryWrite => self.dirty,
            Durability::OnComplete => self.completes(),
            Durability::None => false,
        }
    }

    fn completes(&self) -> bool {
        match self.completion {
            Completion::EndOfStream => true,
            Completion::AtSize(size) => self.end == size,
            Completion::OnCommit => false,
        }
    }

    fn finish_once(&mut self, ended_well: bool) -> Result<()> {
        let syncs = self.will_sync();
        let was_dirty = std::mem::take(&mut self.dirty);
        if syncs {
            let progress = Arc::clone(&self.progress);
            let _syncing = progress.syncing();
            // Whoever asked first was told that a sync failed; this one would succeed.
            let synced = if progress.has_failed() { Err(Errno::IO) } else { rustix::fs::fdatasync(&self.file) };
            if let Err(errno) = synced {
                return Err(self.take_back(errno));
            }
            if self.created || self.store.durability == Durability::OnComplete {
                match self.store.sync_names(&self.path, &self.dir) {
                    Err(Errno::NOENT | Errno::NOTDIR) => return Err(replaced(&self.path)),
                    Err(errno) if self.created => return Err(self.take_back_name(errno)),
                    synced => synced.at(&self.path)?,
                }
            }
        }
        let name = self.path.file_name().unwrap_or_default();
        if (was_dirty || ended_well) && !self.store.still_there(&self.dir, name, &self.stat).at(&self.path)? {
            return Err(replaced(&self.path));
        }
        if was_dirty && (syncs || !self.progress.has_failed()) {
            self.store.unmark(&self.file, &self.stat).at(&self.path)?;
        }
        Ok(())
    }

    /// After a failed sync nobody knows which bytes are on the disk, and another sync would not say.
    #[cold]
    fn take_back(&mut self, errno: Errno) -> crate::Error {
        let source = std::io::Error::from(errno);
        error!(path = %self.path, error = %source, "a sync failed; the file is cut back to what is durable");
        self.cut_back(self.progress.floor().min(self.end));
        match rustix::fs::fdatasync(&self.file) {
            Ok(()) => _ = self.store.forget_failure(&self.file),
            Err(errno) => {
                warn!(path = %self.path, error = %std::io::Error::from(errno), "the cut may not be durable either");
            }
        }
        error(errno, &self.path).with_detail("a sync failed, and the file was cut back to what is known to be durable")
    }

    /// After a failed sync of its directory nobody knows whether a new file has its name on the disk.
    #[cold]
    fn take_back_name(&mut self, errno: Errno) -> crate::Error {
        let failed = error(errno, &self.path);
        if self.progress.floor() > 0 {
            // Its name was made durable when somebody was told of it.
            return failed;
        }
        let name = self.path.file_name().unwrap_or_default();
        // Nobody gives the name to another file meanwhile.
        let removed = self.store.names.alone(self.store.temp.fd()).and_then(|_names| {
            match self.store.still_there(&self.dir, name, &self.stat)? {
                true => rustix::fs::unlinkat(self.store.root.at(&self.dir), name, AtFlags::empty()),
                false => Ok(()),
            }
        });
        if let Err(errno) = removed {
            error!(path = %self.path, error = %std::io::Error::from(errno), "can't remove a file whose name may be lost");
        }
        failed.with_detail("a sync of its directory failed, and the new file was removed")
    }
}

#[cold]
fn replaced(path: &StoragePath) -> crate::Error {
    conflict(path, "it was replaced, moved or deleted while it was written")
}

impl Drop for Target {
    fn drop(&mut self) {
        if self.dirty
            && let Err(error) = self.finish_once(false)
            && error.kind() != ErrorKind::Conflict
        {
            warn!(error = %error, source = ?std::error::Error::source(&error), "the end of a dropped write failed");
        }
        self.store.writing.end(&self.stat);
    }
}

/// Holds a [`Target`] while its write may be dropped: then its end is left to the blocking pool.
pub(super) struct Held(Option<Box<Target>>);

impl Held {
    pub(super) fn new(target: Box<Target>) -> Self {
        Self(Some(target))
    }

    /// Works on the target and gives it back; runs on any thread.
    pub(super) fn with<T>(mut self, work: impl FnOnce(&mut Target) -> Result<T>) -> (Self, Result<T>) {
        let result = match &mut self.0 {
            Some(target) => work(target),
            None => Err(crate::Error::new(ErrorKind::Backend)),
        };
        (self, result)
    }

    /// The target, no longer held.
    pub(super) fn take(mut self) -> Option<Box<Target>> {
        self.0.take()
    }

    pub(super) fn get(&self) -> Option<&Target> {
        self.0.as_deref()
    }

    pub(super) fn finish(mut self, ended_well: bool) -> Result<()> {
        self.0.take().map_or(Ok(()), |target| target.finish(ended_well))
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let Some(target) = self.0.take() else { return };
        if target.will_sync()
            && let Ok(runtime) = Handle::try_current()
        {
            // If the runtime is shutting down, it drops the work, and the target ends its write then and there.
            drop(runtime.spawn_blocking(move || drop(target)));
        }
    }
}
