//! Whole small files: one PutObject.

use std::sync::Arc;

use bytes::Bytes;
use futures::stream::{self, StreamExt};
use md5::{Digest, Md5};
use object_store::PutPayload;

use super::client::{Cond, Object};
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

/// What became of a PutObject with a condition.
pub(super) enum Put {
    /// It was done, and the object has this ETag.
    Done(Box<str>),
    /// It can't be done: this is there instead of what was to be there.
    Refused(Option<Box<Object>>, Failure),
}

impl Store {
    /// See [`put_content`](crate::StorageDriver::put_content). Over an uncommitted file the object wins.
    pub(super) async fn put_content(&self, path: &StoragePath, content: Bytes) -> Result<()> {
        self.put_object(path, content.into(), random()?, Cond::Any).await.map(drop)
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
        let id = random()?;
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
        match self.put_object(path, content.into(), id, cond).await? {
            Put::Done(etag) => Ok(Version::new(format!("{etag}:{id}"))),
            Put::Refused(Some(object), failure) if expected.is_none() => {
                Err(Error::new(ErrorKind::AlreadyExists).with_size(object.size).with_source(failure))
            }
            Put::Refused(_, failure) => Err(conflict("the file is of another version, or gone").with_source(failure)),
        }
    }

    /// PutObject of a whole file, until it is known whether the object is the one with this id.
    pub(super) async fn put_object(&self, path: &StoragePath, body: PutPayload, id: Id, cond: Cond<'_>) -> Result<Put> {
        let key = self.keys.object(path);
        let again = if matches!(cond, Cond::Any) { Again::Always } else { Again::IfNotBegun };
        let mut pause = Backoff::new(self.config.max_retries);
        loop {
            let failure = match self.client.put(&key, body.clone(), cond, Some(id), again).await {
                Ok(etag) => return Ok(Put::Done(etag)),
                Err(failure) => failure,
            };
            let unclear = failure.is_lost() || failure.is_precondition() || failure.is_not_found();
            if matches!(cond, Cond::Any) || !unclear {
                return Err(failure.into());
            }
            match (self.object(path).await?, cond) {
                // A try of ours that got no answer was done.
                (Some(object), _) if object.id == Some(id) => return Ok(Put::Done(object.etag)),
                // Not done yet; `If-Match` keeps a second try from being done after somebody else's change.
                (Some(object), Cond::Is(etag)) if failure.is_lost() && *object.etag == *etag => {
                    if !pause.wait().await {
                        return Err(failure.into());
                    }
                }
                // Nobody knows whether ours is still to come.
                (None, Cond::Absent) if failure.is_lost() => return Err(failure.into()),
                (there, _) => return Ok(Put::Refused(there.map(Box::new), failure)),
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
