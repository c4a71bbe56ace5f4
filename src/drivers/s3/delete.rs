//! Deleting: the object, what is uncommitted, and all below.

use super::client::Cond;
use super::complete::can_never_complete;
use super::head::State;
use super::listing::Listing;
use super::store::{Store, conflict};
use crate::error::{Error, ErrorKind, Result};
use crate::path::StoragePath;

impl Store {
    /// See [`delete`](crate::StorageDriver::delete).
    pub(super) async fn delete(&self, path: &StoragePath) -> Result<()> {
        if path.is_root() {
            return Err(Error::new(ErrorKind::InvalidPath).with_detail("the root can't be deleted"));
        }
        // Both are waited for whatever happens: no DELETE of this call may land after it has failed.
        let (file, below) = futures::join!(self.delete_file(path), self.delete_below(path));
        if file? | below? { Ok(()) } else { Err(Error::new(ErrorKind::PathNotFound)) }
    }

    /// Deletes the file at a path, complete or not; `false` if there was none.
    async fn delete_file(&self, path: &StoragePath) -> Result<bool> {
        drop(self.cache.take(path));
        let key = self.keys.object(path);
        for _ in 0..3 {
            let mut seen = self.object(path).await?.is_some();
            let Some(held) = self.read_head_to_end(path).await? else {
                if !seen {
                    if self.object(path).await?.is_none() {
                        return Ok(false);
                    }
                    // It was completed in between; its head may be there by now.
                    return Err(conflict("the file was completed just now"));
                }
                self.client.delete(&key, Cond::Any).await?;
                return Ok(true);
            };
            if held.head.state == State::Sealed && !seen {
                // A Complete may be under way, and would bring the file back.
                match self.complete(path, held.clone()).await {
                    Ok(()) => continue,
                    Err(error) if can_never_complete(&error) => {}
                    Err(error) => return Err(error),
                }
            }
            let killed = self.kill(path, held).await?;
            let file = killed.head.file;
            seen = seen || self.object(path).await?.is_some_and(|object| object.id == Some(file));
            if seen {
                self.client.delete(&key, Cond::Any).await?;
            }
            self.drop_head(path, killed).await;
            return Ok(true);
        }
        Err(conflict("the file is being completed over and over"))
    }

    async fn delete_below(&self, path: &StoragePath) -> Result<bool> {
        let mut any = false;
        let mut heads = Listing::of(self.keys.heads_below(path));
        while let Some(page) = self.client.page(&mut heads).await? {
            for below in page.objects.iter().filter_map(|object| self.keys.path_of_head(&object.key)) {
                any |= below != *path && self.delete_file(&below).await?;
            }
        }
        let mut objects = Listing::of(self.keys.directory(path));
        while let Some(page) = self.client.page(&mut objects).await? {
            let keys: Vec<String> = page.objects.into_iter().map(|object| object.key).collect();
            any |= !keys.is_empty();
            if !keys.is_empty() {
                self.client.delete_all(&keys).await?;
            }
        }
        Ok(any)
    }
}
