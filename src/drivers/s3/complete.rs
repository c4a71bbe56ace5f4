//! The end of an uncommitted file: its object.

use super::cache::Held;
use super::client::Cond;
use super::failure::Failure;
use super::head::{Part, State};
use super::keys::Id;
use super::store::{Store, conflict};
use super::transport::Backoff;
use super::write::Writing;
use crate::driver::WriteOptions;
use crate::error::{Error, ErrorKind, Result};
use crate::path::StoragePath;

impl Store {
    /// Completes a file whose head is sealed, and drops the head. Anyone who finds such a head may.
    ///
    /// # Errors
    /// [`Conflict`](ErrorKind::Conflict): another object has taken the path, or somebody ended the file.
    pub(super) async fn complete(&self, path: &StoragePath, held: Held) -> Result<()> {
        let Some(upload) = held.head.upload.as_deref() else {
            return Err(Error::new(ErrorKind::Backend).with_detail("the sealed head names no upload"));
        };
        self.complete_upload(path, upload, held.head.file, &held.head.parts, Cond::Absent).await?;
        self.drop_head(path, held).await;
        Ok(())
    }

    /// CompleteMultipartUpload, until it is known whether the object is that of this file.
    pub(super) async fn complete_upload(
        &self,
        path: &StoragePath,
        upload: &str,
        file: Id,
        parts: &[Part],
        cond: Cond<'_>,
    ) -> Result<()> {
        let key = self.keys.object(path);
        let mut pause = Backoff::new(self.config.max_retries);
        loop {
            let numbered = parts.iter().map(|part| (part.number, part.etag.text()));
            let failure: Option<Failure> = match self.client.complete(&key, upload, numbered, cond).await {
                Ok(_) if self.found.honest_complete => return Ok(()),
                Ok(_) => None,
                Err(failure) if failure.is_lost() || failure.is_precondition() || failure.is_not_found() => {
                    Some(failure)
                }
                Err(failure) if failure.is_not_begun() => {
                    if pause.wait().await {
                        continue;
                    }
                    return Err(failure.into());
                }
                Err(failure) => return Err(failure.into()),
            };
            // The object is ours only if it carries the id of our file.
            if self.client.head(&key).await?.is_some_and(|object| object.id == Some(file)) {
                return Ok(());
            }
            match failure {
                Some(failure) if failure.is_lost() => {
                    if !pause.wait().await {
                        return Err(failure.into());
                    }
                }
                Some(failure) => {
                    return Err(conflict("somebody else replaced or ended the file").with_source(failure));
                }
                None => return Err(conflict("somebody else replaced or ended the file")),
            }
        }
    }

    /// Ends an uncommitted file, of the bytes it has.
    pub(super) async fn commit(self: &std::sync::Arc<Self>, path: &StoragePath) -> Result<()> {
        let cached = self.cache.take(path);
        drop(cached);
        let held = self.read_head(path).await?.filter(|held| held.head.state != State::Dead);
        let object = self.object(path).await?;
        match held {
            _ if object.is_some() => Ok(()),
            None => Err(Error::new(ErrorKind::PathNotFound)),
            Some(held) if held.head.state == State::Sealed => self.complete(path, held).await,
            Some(held) => Writing::headed(self, path, held, WriteOptions::default()).seal().await,
        }
    }
}

/// Whether no later try to complete the file can succeed: its upload is gone, another object has the path, or the engine
/// does not take the parts.
pub(super) fn can_never_complete(error: &Error) -> bool {
    let failure = std::error::Error::source(error).and_then(|source| source.downcast_ref::<Failure>());
    error.kind() == ErrorKind::Conflict || failure.is_some_and(Failure::is_hopeless)
}
