//! Moving and joining files, within S3 where it can.

use std::sync::Arc;

use futures::stream::{self, StreamExt, TryStreamExt};

use super::client::{Cond, Object};
use super::head::{MAX_PARTS, State};
use super::plan::{self, Piece, balanced};
use super::read::replaced;
use super::source::Source;
use super::store::{Store, conflict, random};
use super::write::{Over, Writing};
use crate::driver::WriteOptions;
use crate::error::{Error, ErrorKind, Result};
use crate::path::StoragePath;

impl Store {
    /// See [`move_to`](crate::StorageDriver::move_to).
    pub(super) async fn move_to(self: &Arc<Self>, from: &StoragePath, to: &StoragePath) -> Result<()> {
        let object = self.source(from).await?;
        if from == to {
            return Ok(());
        }
        self.copy_to(from, &object, to).await?;
        // An uncommitted file that the object hid would show again: it goes too, and its head is won first.
        drop(self.cache.take(from));
        let hidden = self.read_head_to_end(from).await?;
        // A head that is not beside the object any more would be somebody's new file; and what is there must still be what was
        // copied, where DELETE does not ask.
        if (hidden.is_some() || !self.found.conditional_delete)
            && self.object(from).await?.is_none_or(|there| there.etag != object.etag)
        {
            return Err(conflict("somebody else replaced or deleted the source"));
        }
        let killed = match hidden {
            Some(held) => Some(self.kill(from, held).await?),
            None => None,
        };
        let cond = if self.found.conditional_delete { Cond::Is(&object.etag) } else { Cond::Any };
        self.client.delete(&self.keys.object(from), cond).await.map_err(replaced)?;
        if let Some(killed) = killed {
            self.drop_head(from, killed).await;
        }
        Ok(())
    }

    /// See [`concat`](crate::StorageDriver::concat).
    pub(super) async fn concat(self: &Arc<Self>, sources: &[StoragePath], to: &StoragePath) -> Result<u64> {
        let objects: Vec<Object> = stream::iter(sources.to_vec())
            .map(|path| async move { self.source(&path).await.map_err(|error| error.at(super::NAME, &path)) })
            .buffered(self.config.copy_concurrency)
            .try_collect()
            .await?;
        let sizes: Vec<u64> = objects.iter().map(|object| object.size).collect();
        let total = sizes.iter().fold(0, |total: u64, size| total.saturating_add(*size));
        if let ([from], [object]) = (sources, objects.as_slice()) {
            if from != to {
                self.copy_to(from, object, to).await?;
            }
            return Ok(total);
        }
        let parts: Vec<(String, Box<str>)> =
            sources.iter().zip(objects).map(|(path, object)| (self.keys.object(path), object.etag)).collect();
        let by_copies = total > self.config.part_size && !self.config.equal_parts && self.found.copies;
        let pieces = match by_copies {
            true => plan::concat(&sizes, self.config.min_part_size, self.copy_size_of(total)),
            false => Vec::new(),
        };
        if pieces.len() > MAX_PARTS as usize {
            let detail = format!("{} parts would be needed, and S3 takes {MAX_PARTS}", pieces.len());
            return Err(Error::new(ErrorKind::SizeExceeded).with_detail(detail));
        }
        let mut writing = self.copying(to, total, by_copies)?;
        let mut source = Source::new(stream::empty().boxed(), 0);
        let read = |n: usize, range| parts.get(n).map(|from| self.read_later(from.clone(), range));
        if !by_copies {
            for (n, size) in sizes.into_iter().enumerate().filter(|(_, size)| *size > 0) {
                read(n, 0..size).into_iter().for_each(|bytes| source.after(bytes));
            }
        } else {
            for piece in pieces {
                match piece {
                    Piece::Copy(n, range) => match parts.get(n) {
                        Some(from) => writing.copy(from.clone(), std::iter::once(range)).await?,
                        None => continue,
                    },
                    Piece::Through(ranges) => {
                        let length = ranges.iter().map(|(_, range)| range.end - range.start).sum();
                        let ranges: Vec<_> = ranges.into_iter().filter_map(|(n, range)| read(n, range)).collect();
                        writing.part_of(length, stream::iter(ranges).flatten().boxed()).await?;
                    }
                }
            }
        }
        writing.run(source).await?;
        Ok(total)
    }

    /// The object of a file that is to be read.
    async fn source(&self, path: &StoragePath) -> Result<Object> {
        if path.is_root() {
            return Err(Error::new(ErrorKind::IsADirectory));
        }
        if let Some(object) = self.object(path).await? {
            return Ok(object);
        }
        if self.read_head(path).await?.is_some_and(|held| held.head.state != State::Dead) {
            return Err(Error::new(ErrorKind::NotCommitted));
        }
        match self.object(path).await? {
            Some(object) => Ok(object),
            None => Err(Error::new(ErrorKind::PathNotFound)),
        }
    }

    /// A new object of `total` bytes at a path. What the engine copies is not bounded by the parts that fit into memory.
    fn copying<'a>(self: &'a Arc<Self>, to: &'a StoragePath, total: u64, by_copies: bool) -> Result<Writing<'a>> {
        let part_size = if by_copies { self.config.part_size } else { self.part_size_of(total)? };
        Writing::object(self, to, Over::Anything, part_size, WriteOptions::default())
    }

    async fn copy_to(self: &Arc<Self>, from: &StoragePath, object: &Object, to: &StoragePath) -> Result<()> {
        let key = self.keys.object(from);
        // S3 copies ranges only of what is larger than the smallest part.
        if object.size <= self.config.copy_threshold.max(self.config.min_part_size) {
            return self.client.copy(&key, object, &self.keys.object(to), random()?).await.map_err(replaced);
        }
        let mut writing = self.copying(to, object.size, self.found.copies)?;
        let from = (key, object.etag.clone());
        let mut source = Source::new(stream::empty().boxed(), 0);
        if !self.found.copies {
            source.after(self.read_later(from, 0..object.size));
        } else if self.config.equal_parts {
            let size = self.copy_size_of(object.size);
            let ranges = (0..object.size.div_ceil(size)).map(|n| n * size..object.size.min((n + 1) * size));
            writing.copy(from, ranges).await?;
        } else {
            writing.copy(from, balanced(0..object.size, self.copy_size_of(object.size))).await?;
        }
        writing.run(source).await?;
        Ok(())
    }
}
