//! What is not there yet, or no longer: files that are being made, and directories that are being removed.
//!
//! They lie in `/~tmp`, which no path reaches, under the name of the instance that they belong to. Each instance keeps a
//! file there locked as long as it lives, so that a sweep knows what belongs to the dead.

use std::collections::{HashMap, HashSet};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::{Errno, Result};

use super::directory::{DIRECTORY, entries, modified_or_changed};
use super::lock::try_exclusive;

const NAME: &str = "~tmp";
/// Between the name of an instance and the number of what belongs to it.
const OF: char = '~';

/// The directory `/~tmp`, as one instance uses it.
#[derive(Debug)]
pub(super) struct TempDir {
    dir: OwnedFd,
    instance: Box<str>,
    /// Keeps the instance's own file locked.
    _alive: OwnedFd,
    next: AtomicU64,
}

impl TempDir {
    /// Opens the directory below the root, and makes it if need be.
    pub(super) fn open(root: impl AsFd) -> Result<Self> {
        match rustix::fs::mkdirat(&root, NAME, Mode::from_raw_mode(0o777)) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(errno),
        }
        let dir = rustix::fs::openat(&root, NAME, DIRECTORY, Mode::empty())?;
        loop {
            let instance = format!("{:016x}", u64::from_ne_bytes(random()?)).into_boxed_str();
            let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC | OFlags::NOFOLLOW;
            let alive = match rustix::fs::openat(&dir, &*instance, flags, Mode::from_raw_mode(0o666)) {
                Err(Errno::EXIST) => continue,
                opened => opened?,
            };
            // A sweep may have taken it for dead before it was locked.
            if try_exclusive(&alive)? && rustix::fs::fstat(&alive)?.st_nlink > 0 {
                return Ok(Self { dir, instance, _alive: alive, next: AtomicU64::new(0) });
            }
        }
    }

    /// The directory's handle.
    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.dir.as_fd()
    }

    fn new_name(&self) -> String {
        format!("{}{OF}{:x}", self.instance, self.next.fetch_add(1, Ordering::Relaxed))
    }

    /// Makes an empty file with this mode.
    pub(super) fn file(self: &Arc<Self>, mode: Mode) -> Result<TempFile> {
        let name = self.new_name();
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let file = rustix::fs::openat(&self.dir, &*name, flags, mode)?;
        Ok(TempFile { dir: Arc::clone(self), file, name: Some(name) })
    }

    /// Takes a directory away from its place in one step; [`remove_tree`](Self::remove_tree) is to follow.
    pub(super) fn take(&self, dir: impl AsFd, name: &str) -> Result<String> {
        let taken = self.new_name();
        rustix::fs::renameat(dir, name, &self.dir, &*taken)?;
        Ok(taken)
    }

    /// Removes a directory that was [taken](Self::take), and all below it. Each directory below comes up here first, so
    /// that no depth is too deep. Links go themselves, not what they point at.
    pub(super) fn remove_tree(&self, taken: String) -> Result<()> {
        let mut left = vec![taken];
        while let Some(directory) = left.pop() {
            // Somebody who opened it before may still add to it.
            for attempt in 0.. {
                self.empty(&directory, &mut left)?;
                match rustix::fs::unlinkat(&self.dir, &*directory, AtFlags::REMOVEDIR) {
                    Err(Errno::NOTEMPTY | Errno::EXIST) if attempt < 16 => {}
                    Ok(()) | Err(Errno::NOENT) => break,
                    Err(errno) => return Err(errno),
                }
            }
        }
        Ok(())
    }

    fn empty(&self, directory: &str, left: &mut Vec<String>) -> Result<()> {
        let dir = match rustix::fs::openat(&self.dir, directory, DIRECTORY, Mode::empty()) {
            Err(Errno::NOENT) => return Ok(()),
            // Something else came to its place before it was taken.
            Err(Errno::NOTDIR | Errno::LOOP) => return rustix::fs::unlinkat(&self.dir, directory, AtFlags::empty()),
            opened => opened?,
        };
        entries(&dir, |name, kind| {
            let mut removed = Err(Errno::ISDIR);
            if kind != FileType::Directory {
                removed = rustix::fs::unlinkat(&dir, name, AtFlags::empty());
            }
            if removed == Err(Errno::ISDIR) {
                let taken = self.new_name();
                removed = rustix::fs::renameat(&dir, name, &self.dir, &*taken).map(|()| left.push(taken));
            }
            if removed == Err(Errno::NOENT) { Ok(()) } else { removed }
        })
    }

    /// Removes what instances left behind that are gone, if it has not changed for so long.
    pub(super) fn sweep(&self, older_than: Duration) -> Result<u64> {
        let dir = rustix::fs::openat(&self.dir, ".", DIRECTORY, Mode::empty())?;
        let mut found = Vec::new();
        entries(&dir, |name, kind| {
            if let Ok(name) = name.to_str() {
                found.push((name.to_owned(), kind));
            }
            Ok(())
        })?;
        let now = SystemTime::now();
        let mut dead = HashMap::new();
        let mut kept = HashSet::new();
        let mut removed = 0;
        for (name, _) in &found {
            let Some((instance, _)) = name.split_once(OF) else { continue };
            let dead = match dead.get(instance) {
                Some(known) => known,
                None => dead.entry(instance.to_owned()).or_insert(self.find_dead(instance)?),
            };
            let stat = match rustix::fs::statat(&dir, &**name, AtFlags::SYMLINK_NOFOLLOW) {
                Err(Errno::NOENT) => continue,
                stat => stat?,
            };
            let age = now.duration_since(modified_or_changed(&stat)).unwrap_or_default();
            if dead.is_none() || age < older_than {
                kept.insert(instance);
                continue;
            }
            match FileType::from_raw_mode(stat.st_mode) {
                FileType::Directory => self.remove_tree(name.clone())?,
                _ => match rustix::fs::unlinkat(&dir, &**name, AtFlags::empty()) {
                    Ok(()) | Err(Errno::NOENT) => {}
                    Err(errno) => return Err(errno),
                },
            }
            removed += 1;
        }
        // Then the files by which the dead were known, locked until they are gone: one may be of an instance that begins.
        for (name, _) in found.iter().filter(|(name, _)| is_instance(name)) {
            let dead = match dead.remove(name) {
                Some(known) => known,
                None => self.find_dead(name)?,
            };
            if dead.is_some() && !kept.contains(&**name) {
                _ = rustix::fs::unlinkat(&dir, &**name, AtFlags::empty());
            }
        }
        Ok(removed)
    }

    /// If an instance is dead, the lock on its file, or nothing where that is gone.
    fn find_dead(&self, instance: &str) -> Result<Option<Option<OwnedFd>>> {
        let flags = OFlags::RDWR | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        match rustix::fs::openat(&self.dir, instance, flags, Mode::empty()) {
            Ok(file) => Ok(try_exclusive(&file)?.then_some(Some(file))),
            Err(Errno::NOENT) => Ok(Some(None)),
            Err(errno) => Err(errno),
        }
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        _ = rustix::fs::unlinkat(&self.dir, &*self.instance, AtFlags::empty());
    }
}

fn is_instance(name: &str) -> bool {
    name.len() == 16 && name.bytes().all(|b| b.is_ascii_hexdigit())
}

/// So many random bytes.
pub(super) fn random<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|_| Errno::IO)?;
    Ok(bytes)
}

/// A file that is not at its place yet. It goes when this is dropped, unless it was put there.
#[derive(Debug)]
pub(super) struct TempFile {
    dir: Arc<TempDir>,
    file: OwnedFd,
    name: Option<String>,
}

impl TempFile {
    /// The open file.
    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    /// Puts it at its place, where it replaces what was there.
    pub(super) fn rename(&mut self, dir: impl AsFd, name: &str) -> Result<()> {
        self.place(|tmp, own| rustix::fs::renameat(tmp, own, dir, name))
    }

    /// Puts it at its place, where nothing may be yet: else `EEXIST`.
    pub(super) fn link(&mut self, dir: impl AsFd, name: &str) -> Result<()> {
        self.place(|tmp, own| {
            rustix::fs::linkat(tmp, own, dir, name, AtFlags::empty())?;
            _ = rustix::fs::unlinkat(tmp, own, AtFlags::empty());
            Ok(())
        })
    }

    fn place(&mut self, place: impl FnOnce(BorrowedFd<'_>, &str) -> Result<()>) -> Result<()> {
        match &self.name {
            Some(own) => place(self.dir.fd(), own)?,
            None => return Err(Errno::NOENT),
        }
        self.name = None;
        Ok(())
    }
}

impl Drop for TempFile {
    fn drop(&mut self) {
        if let Some(name) = &self.name {
            _ = rustix::fs::unlinkat(&self.dir.dir, &**name, AtFlags::empty());
        }
    }
}
