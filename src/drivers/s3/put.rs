//! Whole small files: one PutObject.

use std::sync::Arc;

use bytes::Bytes;
use futures::stream::{self, StreamExt};
use md5::{Digest, Md5};

use super::client::Cond;
use super::failure::Failure;
use super::keys::Id;
use super::read::version;
use super::source::Source;
use super::store::{Store, conflict, random};
use super::transport::{Again, Backoff};
use super::write::{Over, Writing};
use crate::driver::{Precondition, WriteOptions};
use crate::error::{Error, ErrorKind, Result};
use crate::info::Version;
use crate::path::StoragePath;

impl Store {
    /// See [`put_content`](crate::StorageDriver::put_content). Over an uncommitted file the object wins.
    pub(super) async fn put_content(&self, path: &StoragePath, content: Bytes) -> Result<()> {
        let key = self.keys.object(path);
        self.client.put(&key, content.into(), Cond::Any, Some(random()?), Again::Always).await?;
        Ok(())
    }

    /// See [`put_content_if`](crate::StorageDriver::put_content_if).
    ///
    /// `If-Match` knows a version by its ETag, and the same bytes have the same one. So each version is also told by the id
    /// in its metadata, and bytes that are there already are put as an upload of one part, which has another ETag.
    pub(super) async fn put_content_if(
        self: &Arc<Self>,
        path: &StoragePath,
        content: Bytes,
        condition: Precondition,
    ) -> Result<Version> {
        let (key, id) = (self.keys.object(path), random()?);
        let expected = match &condition {
            Precondition::Absent => None,
            Precondition::Version(expected) => {
                let there = self.object(path).await?.filter(|object| version(object) == *expected);
                Some(there.ok_or_else(|| conflict("the file is of another version, or gone"))?.etag)
            }
        };
        if let Some(etag) = expected.as_deref().filter(|etag| **etag == *md5(&content)) {
            return self.put_same(path, content, etag.into()).await;
        }
        let cond = expected.as_deref().map_or(Cond::Absent, Cond::Is);
        let mut pause = Backoff::new(self.config.max_retries);
        loop {
            let failure: Failure =
                match self.client.put(&key, content.clone().into(), cond, Some(id), Again::IfNotBegun).await {
                    Ok(etag) => return Ok(Version::new(format!("{etag}:{id}"))),
                    Err(failure) => failure,
                };
            if !(failure.is_lost() || failure.is_precondition() || failure.is_not_found()) {
                return Err(failure.into());
            }
            // A try of ours that got no answer may have been done.
            match (self.object(path).await?, &expected) {
                (Some(object), _) if object.id == Some(id) => return Ok(version(&object)),
                (Some(object), Some(etag)) if failure.is_lost() && object.etag == *etag => {
                    if !pause.wait().await {
                        return Err(failure.into());
                    }
                }
                (Some(object), None) => {
                    return Err(Error::new(ErrorKind::AlreadyExists).with_size(object.size).with_source(failure));
                }
                (None, None) if failure.is_lost() => return Err(failure.into()),
                _ => return Err(conflict("the file is of another version, or gone").with_source(failure)),
            }
        }
    }
    /// Puts the bytes that an object has already, so that it gets another ETag.
    async fn put_same(self: &Arc<Self>, path: &StoragePath, content: Bytes, etag: Box<str>) -> Result<Version> {
        let options = WriteOptions::default();
        let mut writing = Writing::object(self, path, Over::This(etag), self.config.part_size, options)?;
        let id = writing.file();
        writing.part_of(content.len() as u64, stream::once(async { Ok(content) }).boxed()).await?;
        writing.run(Source::new(stream::empty().boxed(), 0)).await?;
        let object = self.object(path).await?.filter(|object| object.id == Some(id));
        Ok(version(&object.ok_or_else(|| conflict("somebody else replaced the file"))?))
    }
}

/// The ETag of an object of these bytes, on most engines.
fn md5(content: &[u8]) -> String {
    Id(Md5::digest(content).into()).to_string()
}
