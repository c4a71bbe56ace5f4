//! Versions of files, which never repeat.
//!
//! A file has a random nonce in an extended attribute: set before it gets its name by `put_content_if`, or when its
//! version is first asked for, and replaced whenever its end is cut off. Together with its size, which an append changes,
//! it tells each content from every other; the time of modification also tells what other programs write.

use std::os::fd::AsFd;

use rustix::fs::{FileType, Mode, OFlags, Stat, XattrFlags};
use rustix::io::Errno;

use super::Store;
use super::directory::size;
use super::errors::{At, conflict, not_regular, plain};
use super::lock::{try_exclusive, try_shared};
use super::replace::Intent;
use super::temp::{TempFile, random};
use crate::driver::Precondition;
use crate::error::{ErrorKind, Result};
use crate::info::Version;
use crate::path::StoragePath;

const ATTRIBUTE: &str = "user.holdall.nonce";

/// What tells a file, and what is left of it after a cut, from any other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Nonce([u8; 16]);

impl Nonce {
    fn new() -> rustix::io::Result<Self> {
        Ok(Self(random()?))
    }

    fn get(file: impl AsFd) -> rustix::io::Result<Option<Self>> {
        let mut bytes = [0; 16];
        match rustix::fs::fgetxattr(file, ATTRIBUTE, &mut bytes) {
            Ok(16) => Ok(Some(Self(bytes))),
            // Not one of ours.
            Ok(_) | Err(Errno::NODATA | Errno::RANGE) => Ok(None),
            Err(errno) => Err(errno),
        }
    }

    fn set(self, file: impl AsFd, flags: XattrFlags) -> rustix::io::Result<()> {
        rustix::fs::fsetxattr(file, ATTRIBUTE, &self.0, flags)
    }

    fn version(self, stat: &Stat) -> Version {
        let nonce = u128::from_ne_bytes(self.0);
        Version::new(format!("{nonce:032x}-{}-{}.{:09}", size(stat), stat.st_mtime, stat.st_mtime_nsec))
    }
}

/// Whether a file can hold a nonce.
pub(super) fn probe(file: impl AsFd) -> bool {
    Nonce::new().and_then(|nonce| nonce.set(file, XattrFlags::empty())).is_ok()
}

impl Store {
    /// The nonce of a file, if it has one.
    pub(super) fn nonce(&self, file: impl AsFd) -> rustix::io::Result<Option<Nonce>> {
        if self.xattrs { Nonce::get(file) } else { Ok(None) }
    }

    /// Cuts a file to a size below its own. Who reads it, or knows a version of it, can tell.
    pub(super) fn cut(&self, file: impl AsFd, size: u64) -> rustix::io::Result<()> {
        if self.xattrs {
            Nonce::new()?.set(&file, XattrFlags::empty())?;
        }
        rustix::fs::ftruncate(file, size)
    }

    /// Content and version of a file; `None` while somebody writes it.
    pub(super) fn get_versioned(&self, path: &StoragePath) -> Result<Option<(Vec<u8>, Version)>> {
        let (file, _) = self.open_to_read(path)?;
        if !try_shared(&file).at(path)? {
            return Ok(None);
        }
        let nonce = match Nonce::get(&file).at(path)? {
            Some(nonce) => nonce,
            None => {
                let new = Nonce::new().at(path)?;
                match new.set(&file, XattrFlags::CREATE) {
                    Ok(()) => new,
                    // Another reader gave it one, or it has one that isn't ours.
                    Err(Errno::EXIST) => match Nonce::get(&file).at(path)? {
                        Some(nonce) => nonce,
                        None => new.set(&file, XattrFlags::REPLACE).map(|()| new).at(path)?,
                    },
                    Err(errno) => return Err(errno).at(path),
                }
            }
        };
        let stat = rustix::fs::fstat(&file).at(path)?;
        let content = self.read_whole(path, &file, &stat)?;
        Ok(Some((content, nonce.version(&stat))))
    }

    /// Replaces a file if it is as the condition says; `None` while somebody writes it.
    pub(super) fn put_if(
        &self,
        path: &StoragePath,
        content: &[u8],
        condition: &Precondition,
        intent: &Intent,
    ) -> Result<Option<Version>> {
        let mut temp = self.stage(path, content)?;
        let nonce = Nonce::new().at(path)?;
        nonce.set(temp.fd(), XattrFlags::empty()).at(path)?;
        self.sync_staged(path, &temp)?;
        let version = nonce.version(&rustix::fs::fstat(temp.fd()).at(path)?);
        let put = match condition {
            Precondition::Absent => self.put_new(path, &mut temp, intent)?,
            Precondition::Version(expected) => self.put_over(path, &mut temp, expected, intent)?,
        };
        Ok(put.then_some(version))
    }

    fn put_new(&self, path: &StoragePath, temp: &mut TempFile, intent: &Intent) -> Result<bool> {
        let dir =
            self.install(path, |dir, name| intent.commit().and_then(|()| temp.link(dir, name))).map_err(|error| {
                let is_dir = error.kind() == ErrorKind::AlreadyExists
                    && self.stat(path).is_ok_and(|info| info.is_some_and(|info| info.is_dir));
                if is_dir { plain(ErrorKind::IsADirectory, path) } else { error }
            })?;
        self.installed(path, &dir, temp)?;
        Ok(true)
    }

    fn put_over(&self, path: &StoragePath, temp: &mut TempFile, expected: &Version, intent: &Intent) -> Result<bool> {
        let gone = || conflict(path, "it is gone").with_temporary(false);
        let Some(name) = path.file_name() else { return Err(plain(ErrorKind::IsADirectory, path)) };
        let dir = match self.root.parent(path) {
            Err(Errno::NOENT | Errno::NOTDIR) => return Err(gone()),
            dir => dir.at(path)?,
        };
        // Nobody gives the name to another file from here on.
        let names = self.names.alone(self.temp.fd()).at(path)?;
        let file = match self.root.open_name(&dir, name, OFlags::RDONLY, Mode::empty()) {
            Err(Errno::NOENT) => return Err(gone()),
            file => file.at(path)?,
        };
        let stat = rustix::fs::fstat(&file).at(path)?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => {}
            FileType::Directory => return Err(plain(ErrorKind::IsADirectory, path)),
            _ => return Err(not_regular(path)),
        }
        // And nobody writes it.
        if !try_exclusive(&file).at(path)? {
            return Ok(false);
        }
        let stat = rustix::fs::fstat(&file).at(path)?;
        let version = Nonce::get(&file).at(path)?.map(|nonce| nonce.version(&stat));
        if version.as_ref() != Some(expected) {
            return Err(conflict(path, "it is of another version").with_temporary(false));
        }
        intent.commit().and_then(|()| temp.rename(self.root.at(&dir), name)).at(path)?;
        drop(names);
        self.installed(path, &dir, temp)?;
        Ok(true)
    }
}
