//! Reading, winning and dropping heads. Whoever changes an uncommitted path wins its head first.

use std::time::SystemTime;

use super::cache::Held;
use super::client::Cond;
use super::config::S3_MAX_PART;
use super::head::{Head, State};
use super::store::{Store, conflict, random};
use super::transport::{Again, Backoff};
use crate::error::{Error, ErrorKind, Result};
use crate::path::StoragePath;

/// No head is as large: 10,000 parts and 1 MiB inline take less.
const MAX_HEAD: u64 = 4 << 20;

impl Store {
    /// The head of a path, as it lies in the bucket.
    pub(super) async fn read_head(&self, path: &StoragePath) -> Result<Option<Held>> {
        Ok(self.read_head_at(path).await?.map(|(held, _)| held))
    }

    /// Whether heads that died stay where they are, until a sweep takes them: an unconditional DELETE could hit newer ones.
    pub(super) fn keeps_dead_heads(&self) -> bool {
        self.found.conditional_put && !self.found.conditional_delete
    }

    /// The head of a path whose file is to go. One that died and stayed says nothing.
    pub(super) async fn read_head_to_end(&self, path: &StoragePath) -> Result<Option<Held>> {
        let head = self.read_head(path).await?;
        Ok(head.filter(|held| !(self.keeps_dead_heads() && held.head.state == State::Dead)))
    }

    /// The head of a path, and when it was written.
    pub(super) async fn read_head_at(&self, path: &StoragePath) -> Result<Option<(Held, Option<SystemTime>)>> {
        let Some((object, bytes)) = self.client.get_small(&self.keys.head(path), MAX_HEAD, Cond::Any).await? else {
            return Ok(None);
        };
        let head = Head::decode(&bytes).map_err(|invalid| Error::new(ErrorKind::Backend).with_source(invalid))?;
        Ok(Some((Held::read(head, object.etag), object.modified)))
    }

    /// Replaces the head with this ETag, or creates one where none is; gives the new ETag. The nonce is set here.
    ///
    /// # Errors
    /// [`Conflict`](ErrorKind::Conflict): another head is there, or may have been.
    pub(super) async fn put_head(
        &self,
        path: &StoragePath,
        head: &mut Head,
        replaces: Option<&str>,
    ) -> Result<Box<str>> {
        head.nonce = random()?;
        let key = self.keys.head(path);
        let body = head.encode();
        let cond = replaces.map_or(Cond::Absent, Cond::Is);
        let mut pause = Backoff::new(self.config.max_retries);
        loop {
            let failure = match self.client.put(&key, body.clone().into(), cond, None, Again::IfNotBegun).await {
                Ok(etag) => return Ok(etag),
                Err(failure) => failure,
            };
            if !(failure.is_lost() || failure.is_precondition() || failure.is_not_found()) {
                return Err(failure.into());
            }
            // It may have been our own try that was done: the nonce tells.
            match (self.read_head(path).await?, replaces) {
                (Some(there), _) if there.head.nonce == head.nonce => return Ok(there.etag),
                // Not done yet; `If-Match` keeps a second try from being done after somebody else's change.
                (Some(there), Some(old)) if failure.is_lost() && *there.etag == *old => {
                    if !pause.wait().await {
                        return Err(failure.into());
                    }
                }
                // A creation that got no answer may have been done and undone: it must not be sent again.
                _ => return Err(conflict("another writer changed the file")),
            }
        }
    }

    /// Ends a head that was read: no writer can go on, and the upload is aborted.
    pub(super) async fn kill(&self, path: &StoragePath, held: Held) -> Result<Held> {
        let mut head = Head { state: State::Dead, ..held.head };
        let etag = self.put_head(path, &mut head, Some(&held.etag)).await?;
        self.abort_upload_of(path, &head).await?;
        Ok(Held { head, etag, ..held })
    }

    /// Aborts the upload that a dead head names.
    pub(super) async fn abort_upload_of(&self, path: &StoragePath, head: &Head) -> Result<()> {
        if let Some(upload) = &head.upload {
            self.client.abort(&self.keys.object(path), upload).await?;
        }
        Ok(())
    }

    /// Removes a head that this call has won, sealed or dead; then its segments. What fails here is left to a sweep: the
    /// call has done its work.
    pub(super) async fn drop_head(&self, path: &StoragePath, held: Held) {
        let key = self.keys.head(path);
        let segments = self.segment_keys(&held.head);
        let dropped = if self.found.conditional_delete {
            self.client.delete(&key, Cond::Is(&held.etag)).await.map_err(Error::from)
        } else if self.keeps_dead_heads() {
            // An unconditional DELETE could hit a newer head; a dead one stays until a sweep takes it.
            let mut head = Head { state: State::Dead, upload: held.head.upload, ..Head::new(held.head.file, 0) };
            self.put_head(path, &mut head, Some(&held.etag)).await.map(drop)
        } else {
            self.client.delete(&key, Cond::Any).await.map_err(Error::from)
        };
        if let Err(error) = dropped {
            tracing::debug!(%path, %error, "left a head behind");
            return;
        }
        self.delete_segments(segments).await;
    }

    /// Removes segments that no head names any more; what fails is left to a sweep.
    pub(super) async fn delete_segments(&self, keys: Vec<String>) {
        if !keys.is_empty()
            && let Err(failure) = self.client.delete_all(&keys).await
        {
            tracing::debug!(%failure, count = keys.len(), "left segments behind");
        }
    }

    /// The keys of the segments that a head names.
    pub(super) fn segment_keys(&self, head: &Head) -> Vec<String> {
        head.segments.iter().map(|segment| self.keys.segment(head.file, segment.name)).collect()
    }

    /// Makes the bytes of the segments present.
    pub(super) async fn load_segments(&self, held: &mut Held) -> Result<()> {
        if held.segments.is_some() {
            return Ok(());
        }
        let mut loaded = Vec::with_capacity(held.head.segments.len());
        for segment in &held.head.segments {
            let key = self.keys.segment(held.head.file, segment.name);
            let bytes = self.client.get_small(&key, segment.length.min(S3_MAX_PART), Cond::Any).await?;
            // A segment goes only after a head that doesn't name it: ours is stale, then.
            let (_, bytes) = bytes.ok_or_else(|| conflict("another writer went on with the file"))?;
            if bytes.len() as u64 != segment.length {
                let detail = "a segment of the file is not of its length";
                return Err(Error::new(ErrorKind::Backend).with_detail(detail));
            }
            loaded.push(bytes);
        }
        held.segments = Some(loaded);
        Ok(())
    }
}
