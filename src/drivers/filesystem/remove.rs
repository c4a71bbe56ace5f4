//! Deleting.

use rustix::fs::AtFlags;
use rustix::io::Errno;

use super::Store;
use super::durability::sync_directory;
use super::errors::{At, plain};
use super::resolve::Dir;
use crate::error::{ErrorKind, Result};
use crate::path::StoragePath;

impl Store {
    /// Removes a file, and tells whether it was one: a directory stays.
    pub(super) fn delete_file(&self, path: &StoragePath) -> Result<bool> {
        let (dir, name) = self.place_to_delete(path)?;
        let names = self.names.share().at(path)?;
        match rustix::fs::unlinkat(self.root.at(&dir), name, AtFlags::empty()) {
            Err(Errno::ISDIR) => return Ok(false),
            unlinked => unlinked.found(path)?,
        }
        drop(names);
        self.sync_deleted(path, &dir)?;
        Ok(true)
    }

    /// Removes a directory and all below it. It leaves its place in one step; a crash after that leaves the rest to
    /// [`sweep`](super::temp::TempDir::sweep).
    pub(super) fn delete_directory(&self, path: &StoragePath) -> Result<()> {
        let (dir, name) = self.place_to_delete(path)?;
        let names = self.names.share().at(path)?;
        let taken = self.temp.take(self.root.at(&dir), name).found(path)?;
        drop(names);
        self.sync_deleted(path, &dir)?;
        self.temp.remove_tree(taken).at(path)
    }

    fn place_to_delete<'p>(&self, path: &'p StoragePath) -> Result<(Dir, &'p str)> {
        match path.file_name() {
            None => Err(plain(ErrorKind::InvalidPath, path).with_detail("the root can't be deleted")),
            Some(name) => Ok((self.root.parent(path).found(path)?, name)),
        }
    }

    /// What is deleted must not come back.
    fn sync_deleted(&self, path: &StoragePath, dir: &Dir) -> Result<()> {
        if self.syncs() {
            sync_directory(self.root.at(dir)).at(path)?;
        }
        Ok(())
    }
}
