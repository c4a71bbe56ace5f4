//! From paths to files, never out of the root and never through a symbolic link.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::{Errno, Result};

use super::directory::DIRECTORY;
use crate::path::StoragePath;

/// Beside what the caller asks for. A pipe that lies there must not block the open.
const ALWAYS: OFlags = OFlags::CLOEXEC.union(OFlags::NOFOLLOW).union(OFlags::NONBLOCK).union(OFlags::NOCTTY);
const RESOLVE: ResolveFlags = ResolveFlags::BENEATH.union(ResolveFlags::NO_SYMLINKS).union(ResolveFlags::NO_MAGICLINKS);

/// The root directory: all access starts from this handle.
#[derive(Debug)]
pub(super) struct Root {
    fd: OwnedFd,
    openat2: bool,
}

/// A directory in which names are looked up: the root itself needs no handle of its own.
#[derive(Debug)]
pub(super) struct Dir(Option<OwnedFd>);

/// A directory that was made where it was missing.
#[derive(Debug)]
pub(super) struct Made {
    pub(super) dir: Dir,
    /// How much of the path leads to the first directory that is new.
    first: Option<usize>,
}

impl Root {
    /// Takes the handle of a directory as the root. Kernels before 5.6 and some sandboxes refuse `openat2`; there each
    /// component is opened by itself.
    pub(super) fn new(fd: OwnedFd) -> Self {
        let probe = rustix::fs::openat2(&fd, ".", OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), RESOLVE);
        Self { fd, openat2: probe.is_ok() }
    }

    #[cfg(test)]
    pub(super) fn without_openat2(fd: OwnedFd) -> Self {
        Self { fd, openat2: false }
    }

    /// The handle behind a [`Dir`].
    pub(super) fn at<'a>(&'a self, dir: &'a Dir) -> BorrowedFd<'a> {
        dir.0.as_ref().map_or(self.fd.as_fd(), AsFd::as_fd)
    }

    /// Opens the file at a path.
    pub(super) fn open_file(&self, path: &StoragePath, flags: OFlags) -> Result<OwnedFd> {
        self.open(relative(path), flags | ALWAYS)
    }

    /// Opens, or creates, a file by its name in a directory.
    pub(super) fn open_name(&self, dir: &Dir, name: &str, flags: OFlags, mode: Mode) -> Result<OwnedFd> {
        retry(|| rustix::fs::openat(self.at(dir), name, flags | ALWAYS, mode))
    }

    /// Opens a directory for reading its entries; each handle has a position of its own.
    pub(super) fn open_directory(&self, path: &StoragePath) -> Result<OwnedFd> {
        self.open(if path.is_root() { "." } else { relative(path) }, DIRECTORY)
    }

    /// The directory in which a path's last component is a name. The root counts as its own parent.
    pub(super) fn parent(&self, path: &StoragePath) -> Result<Dir> {
        self.dir(parent_of(relative(path)))
    }

    /// The directory at a relative path, which may be empty.
    pub(super) fn dir(&self, relative: &str) -> Result<Dir> {
        if relative.is_empty() { Ok(Dir(None)) } else { self.open(relative, DIRECTORY).map(|fd| Dir(Some(fd))) }
    }

    /// As [`parent`](Self::parent), making what is missing.
    pub(super) fn parent_or_make(&self, path: &StoragePath) -> Result<Made> {
        match self.parent(path) {
            Ok(dir) => Ok(Made { dir, first: None }),
            Err(Errno::NOENT) => self.make(parent_of(relative(path))),
            Err(errno) => Err(errno),
        }
    }

    #[cold]
    fn make(&self, relative: &str) -> Result<Made> {
        let mut made = Made { dir: Dir(None), first: None };
        let mut end = 0;
        for name in relative.split('/') {
            end += name.len() + 1;
            let mut opened = self.enter(&made.dir, name);
            // Somebody else may make or remove it at the same time.
            for _ in 0..8 {
                if opened.as_ref().err() != Some(&Errno::NOENT) {
                    break;
                }
                match rustix::fs::mkdirat(self.at(&made.dir), name, Mode::from_raw_mode(0o777)) {
                    Ok(()) => _ = made.first.get_or_insert(end - 1),
                    Err(Errno::EXIST) => {}
                    Err(errno) => {
                        self.unmake(relative, &made);
                        return Err(errno);
                    }
                }
                opened = self.enter(&made.dir, name);
            }
            made.dir = match opened {
                Ok(fd) => Dir(Some(fd)),
                Err(errno) => {
                    self.unmake(relative, &made);
                    return Err(errno);
                }
            };
        }
        Ok(made)
    }

    /// Takes back the directories that were made for a path, as far as they are empty.
    pub(super) fn unmake_parents(&self, path: &StoragePath, made: &Made) {
        self.unmake(parent_of(relative(path)), made);
    }

    fn unmake(&self, mut relative: &str, made: &Made) {
        let Some(first) = made.first else { return };
        while relative.len() >= first && !relative.is_empty() {
            let name = relative.rsplit('/').next().unwrap_or(relative);
            let up = parent_of(relative);
            let Ok(dir) = self.dir(up) else { return };
            match rustix::fs::unlinkat(self.at(&dir), name, AtFlags::REMOVEDIR) {
                Ok(()) | Err(Errno::NOENT) => relative = up,
                Err(_) => return,
            }
        }
    }

    fn open(&self, relative: &str, flags: OFlags) -> Result<OwnedFd> {
        if self.openat2 && relative.contains('/') {
            // Its own refusal of links is the clearer one.
            let flags = flags - OFlags::NOFOLLOW;
            return retry(|| rustix::fs::openat2(&self.fd, relative, flags, Mode::empty(), RESOLVE));
        }
        let mut dir = Dir(None);
        let mut rest = relative;
        while let Some((name, below)) = rest.split_once('/') {
            dir = Dir(Some(self.enter(&dir, name)?));
            rest = below;
        }
        let opened = retry(|| rustix::fs::openat(self.at(&dir), rest, flags, Mode::empty()));
        self.name_link(opened, &dir, rest)
    }

    fn enter(&self, dir: &Dir, name: &str) -> Result<OwnedFd> {
        let opened = retry(|| rustix::fs::openat(self.at(dir), name, DIRECTORY, Mode::empty()));
        self.name_link(opened, dir, name)
    }

    /// `openat` calls a link at which a directory was wanted no directory, `openat2` a link.
    fn name_link(&self, opened: Result<OwnedFd>, dir: &Dir, name: &str) -> Result<OwnedFd> {
        if opened.as_ref().err() == Some(&Errno::NOTDIR)
            && let Ok(stat) = self.look(dir, name)
            && FileType::from_raw_mode(stat.st_mode) == FileType::Symlink
        {
            return Err(Errno::LOOP);
        }
        opened
    }

    /// What a name stands for in a directory; a link is itself.
    pub(super) fn look(&self, dir: &Dir, name: &str) -> Result<Stat> {
        rustix::fs::statat(self.at(dir), name, AtFlags::SYMLINK_NOFOLLOW)
    }

    /// The root's own inode.
    pub(super) fn look_at_root(&self) -> Result<Stat> {
        rustix::fs::fstat(&self.fd)
    }
}

/// The path without its leading slash.
pub(super) fn relative(path: &StoragePath) -> &str {
    path.as_str().get(1..).unwrap_or_default()
}

/// What leads to the last component of a relative path; empty at the root.
pub(super) fn parent_of(relative: &str) -> &str {
    relative.rsplit_once('/').map_or("", |(parent, _)| parent)
}

/// Repeats a call that was interrupted, or raced with a rename (`EAGAIN` of `openat2`).
pub(super) fn retry<T>(mut call: impl FnMut() -> Result<T>) -> Result<T> {
    let mut left = 32;
    loop {
        match call() {
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) if left > 0 => left -= 1,
            result => return result,
        }
    }
}
