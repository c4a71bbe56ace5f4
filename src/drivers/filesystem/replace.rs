//! Putting a whole file at a path, in one step: `put_content`, `concat`, and `move_to`.
//!
//! The order of each: the bytes are synced, then the file gets its name, then the directory is synced.

use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;

use super::Store;
use super::copy::{copy, write_all};
use super::directory::{looks_unchanged, size};
use super::durability::sync_directory;
use super::errors::{At, conflict, error, not_regular, plain};
use super::lock::try_exclusive;
use super::resolve::{Dir, parent_of, relative};
use super::temp::TempFile;
use crate::error::{Error, ErrorKind, Result};
use crate::path::StoragePath;

/// Whether a call that puts something in place is still wanted. Work on the blocking pool goes on when its call was
/// dropped; it must not put an old content over a newer one then.
#[derive(Clone, Debug, Default)]
pub(super) struct Intent(Arc<AtomicU8>);

const WITHDRAWN: u8 = 1;
const DONE: u8 = 2;

impl Intent {
    /// From here on it can't be withdrawn. `ECANCELED` if it was before.
    pub(super) fn commit(&self) -> rustix::io::Result<()> {
        match self.0.compare_exchange(0, DONE, Ordering::AcqRel, Ordering::Acquire) {
            Err(WITHDRAWN) => Err(Errno::CANCELED),
            _ => Ok(()),
        }
    }

    /// Whether it is worth going on.
    fn check(&self) -> rustix::io::Result<()> {
        if self.0.load(Ordering::Acquire) == WITHDRAWN { Err(Errno::CANCELED) } else { Ok(()) }
    }

    /// Withdraws it when the result is dropped, as a future is.
    pub(super) fn while_held(&self) -> Withdraw {
        Withdraw(self.clone())
    }
}

/// Withdraws an [`Intent`] when it is dropped.
#[derive(Debug)]
pub(super) struct Withdraw(Intent);

impl Drop for Withdraw {
    fn drop(&mut self) {
        _ = self.0.0.compare_exchange(0, WITHDRAWN, Ordering::AcqRel, Ordering::Acquire);
    }
}

/// How often a call begins anew when others remove the directories that it makes.
const ATTEMPTS: usize = 16;

impl Store {
    /// Replaces the content of a file.
    pub(super) fn put(&self, path: &StoragePath, content: &[u8], intent: &Intent) -> Result<()> {
        intent.check().at(path)?;
        let temp = self.stage(path, content)?;
        self.put_staged(path, temp, intent)
    }

    /// Puts the bytes of the sources at a path, and tells how many there are.
    pub(super) fn concat(&self, sources: &[StoragePath], to: &StoragePath, intent: &Intent) -> Result<u64> {
        let temp = self.stage(to, b"")?;
        let mut end = 0;
        for source in sources {
            intent.check().at(to)?;
            let (file, stat) = self.open_to_read(source)?;
            let nonce = self.nonce(&file).at(source)?;
            let copied = copy(&file, temp.fd(), end, size(&stat)).at(to)?;
            let rewritten = match self.xattrs {
                true => self.nonce(&file).at(source)? != nonce,
                // Nothing tells an append from a rewrite.
                false => !looks_unchanged(&stat, &rustix::fs::fstat(&file).at(source)?),
            };
            if copied < size(&stat) || rewritten {
                return Err(conflict(source, "it was rewritten while it was read"));
            }
            end += copied;
        }
        self.put_staged(to, temp, intent)?;
        Ok(end)
    }

    /// A temporary file with this content, not yet synced.
    pub(super) fn stage(&self, path: &StoragePath, content: &[u8]) -> Result<TempFile> {
        if path.is_root() {
            return Err(plain(ErrorKind::IsADirectory, path));
        }
        let temp = self.temp.file(self.new_mode()).map_err(|errno| match errno {
            Errno::NOENT => Error::new(ErrorKind::Backend)
                .with_detail("the directory /~tmp below the root was removed; the driver has to be opened again")
                .with_source(std::io::Error::from(errno))
                .at(super::NAME, path),
            errno => error(errno, path),
        })?;
        write_all(temp.fd(), content, 0, &mut 0).at(path)?;
        Ok(temp)
    }

    /// Makes the bytes of a staged file durable.
    pub(super) fn sync_staged(&self, path: &StoragePath, temp: &TempFile) -> Result<()> {
        if self.syncs() {
            // So that nobody takes the mark off before its name is durable.
            try_exclusive(temp.fd()).at(path)?;
        }
        if self.syncs() {
            rustix::fs::fdatasync(temp.fd()).at(path)?;
        }
        Ok(())
    }

    fn put_staged(&self, path: &StoragePath, mut temp: TempFile, intent: &Intent) -> Result<()> {
        self.sync_staged(path, &temp)?;
        self.install(path, |dir, name| {
            let _names = self.names.share()?;
            intent.commit()?;
            temp.rename(dir, name)
        })
        .and_then(|dir| self.installed(path, &dir, &temp))
    }

    /// Gives a file its name, in a directory that is made if need be.
    pub(super) fn install(
        &self,
        path: &StoragePath,
        mut name_it: impl FnMut(BorrowedFd<'_>, &str) -> rustix::io::Result<()>,
    ) -> Result<Dir> {
        let name = path.file_name().ok_or_else(|| plain(ErrorKind::IsADirectory, path))?;
        for _ in 0..ATTEMPTS {
            let made = self.root.parent_or_make(path).at(path)?;
            match name_it(self.root.at(&made.dir), name) {
                Ok(()) => return Ok(made.dir),
                // Somebody removed the directory meanwhile.
                Err(Errno::NOENT) => {}
                Err(errno) => {
                    self.root.unmake_parents(path, &made);
                    return Err(error(errno, path));
                }
            }
        }
        Err(conflict(path, "its directory is removed again and again"))
    }

    /// Makes the name of a file durable that was just put in place.
    pub(super) fn installed(&self, path: &StoragePath, dir: &Dir, temp: &TempFile) -> Result<()> {
        if self.syncs() {
            match self.sync_names(path, dir) {
                // Its directory was deleted after that, and it with it.
                Err(Errno::NOENT | Errno::NOTDIR) => return Ok(()),
                synced => synced.at(path)?,
            }
        }
        if self.syncs() {
            let stat = rustix::fs::fstat(temp.fd()).at(path)?;
            self.unmark(temp.fd(), &stat).at(path)?;
        }
        Ok(())
    }

    /// Gives a file another path; `None` while somebody writes it.
    pub(super) fn move_to(&self, from: &StoragePath, to: &StoragePath, intent: &Intent) -> Result<Option<()>> {
        intent.check().at(from)?;
        let name = from.file_name().ok_or_else(|| plain(ErrorKind::IsADirectory, from))?;
        let dir = self.root.parent(from).found(from)?;
        let file = self.root.open_name(&dir, name, OFlags::RDONLY, Mode::empty()).found(from)?;
        // What was acknowledged at its new path does not change any more under the hands of a writer of the old one.
        if !try_exclusive(&file).at(from)? {
            return Ok(None);
        }
        let stat = rustix::fs::fstat(&file).at(from)?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => {}
            FileType::Directory => return Err(plain(ErrorKind::IsADirectory, from)),
            _ => return Err(not_regular(from)),
        }
        if from == to {
            return Ok(Some(()));
        }
        if self.syncs() {
            self.sync_bytes(from, &file, &stat)?;
            self.mark(&file, &stat).at(from)?;
        }
        let mut gone = false;
        let moved = self.install(to, |into, as_name| {
            let _names = self.names.share()?;
            gone = !self.still_there(&dir, name, &stat)?;
            intent.commit()?;
            if gone { Err(Errno::STALE) } else { rustix::fs::renameat(self.root.at(&dir), name, into, as_name) }
        });
        if gone {
            self.root.look(&dir, name).found(from)?;
            return Err(conflict(from, "it was replaced meanwhile"));
        }
        let into = moved?;
        if self.syncs() {
            // The new name first: with the old one gone and the new one lost, so would be the file.
            self.sync_names(to, &into).at(to)?;
            if parent_of(relative(from)) != parent_of(relative(to)) {
                sync_directory(self.root.at(&dir)).at(from)?;
            }
        }
        self.unmark(&file, &stat).at(to)?;
        Ok(Some(()))
    }
}
