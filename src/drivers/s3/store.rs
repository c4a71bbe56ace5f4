//! What all calls share, and the first look at a path.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::cache::Cache;
use super::client::{Client, Object};
use super::config::S3Config;
use super::failure::Failure;
use super::head::MAX_PARTS;
use super::keys::{Id, Keys};
use super::listing::Listing;
use super::plan::Plan;
use crate::error::{Error, ErrorKind, Result};
use crate::path::StoragePath;

/// One bucket, or a folder of it.
pub(super) struct Store {
    pub(super) client: Client,
    pub(super) keys: Keys,
    pub(super) config: S3Config,
    pub(super) plan: Plan,
    pub(super) cache: Cache,
    pub(super) found: Found,
    /// KiB of parts in memory.
    memory: Arc<Semaphore>,
}

/// What the engine can do, as the start-up probe found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Found {
    /// `If-None-Match` and `If-Match` on PUT are honoured.
    pub(super) conditional_put: bool,
    /// `If-Match` on DELETE is honoured.
    pub(super) conditional_delete: bool,
    /// A Complete that is answered with 200 was done.
    pub(super) honest_complete: bool,
    /// UploadPartCopy is there.
    pub(super) copies: bool,
}

impl Store {
    pub(super) fn new(client: Client, config: S3Config, found: Found) -> Self {
        let kib = usize::try_from(config.memory_budget >> 10).unwrap_or(usize::MAX).clamp(1, Semaphore::MAX_PERMITS);
        Self {
            client,
            keys: Keys::new(&config.root),
            plan: Plan::new(&config),
            // Without conditions nobody tells that a head is stale.
            cache: Cache::new(if found.conditional_put { config.head_cache } else { 0 }),
            found,
            memory: Arc::new(Semaphore::new(kib)),
            config,
        }
    }

    /// Room in memory for so many bytes; waits until others let go of theirs.
    pub(super) async fn room(&self, bytes: u64) -> Result<OwnedSemaphorePermit> {
        let memory = Arc::clone(&self.memory);
        let closed = |_| Error::new(ErrorKind::Backend).with_detail("the memory budget is closed");
        memory.acquire_many_owned(self.kib(bytes)).await.map_err(closed)
    }

    /// As [`room`](Self::room), if it is there at once.
    pub(super) fn try_room(&self, bytes: u64) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.memory).try_acquire_many_owned(self.kib(bytes)).ok()
    }

    /// Whether somebody may be waiting for room.
    pub(super) fn is_tight(&self) -> bool {
        (self.memory.available_permits() as u64) < self.config.part_size >> 10
    }

    fn kib(&self, bytes: u64) -> u32 {
        u32::try_from(bytes.min(self.config.memory_budget) >> 10).unwrap_or(u32::MAX).max(1)
    }

    /// The object at a path.
    pub(super) async fn object(&self, path: &StoragePath) -> Result<Option<Object>> {
        Ok(self.client.head(&self.keys.object(path)).await?)
    }

    /// The size of the parts of a file of `total` bytes.
    ///
    /// # Errors
    /// [`SizeExceeded`](ErrorKind::SizeExceeded) if it would need larger ones than memory allows.
    pub(super) fn part_size_of(&self, total: u64) -> Result<u64> {
        self.plan.first(Some(total)).map_err(|needed| self.too_large(total, needed))
    }

    /// A file of `total` bytes needs parts of so many bytes, and may not have them.
    pub(super) fn too_large(&self, total: u64, needed: u64) -> Error {
        let most = self.config.max_part_size();
        let detail = format!("a file of {total} bytes needs parts of {needed}, and the memory budget allows {most}");
        Error::new(ErrorKind::SizeExceeded).with_detail(detail)
    }

    /// The most bytes of one copy, where a file of `total` bytes is made of several.
    pub(super) fn copy_size_of(&self, total: u64) -> u64 {
        self.config.copy_part_size.max(total.div_ceil(u64::from(MAX_PARTS) / 2))
    }

    /// Whether anything lies below a path; also another tool's marker.
    pub(super) async fn is_directory(&self, path: &StoragePath) -> Result<bool> {
        if path.is_root() {
            return Ok(true);
        }
        let page = self.client.page(&mut Listing::of(self.keys.directory(path)).pages_of(1)).await?;
        Ok(page.is_some_and(|page| !page.objects.is_empty()))
    }
}

/// Somebody else's change came in between.
pub(super) fn conflict(detail: &'static str) -> Error {
    Error::new(ErrorKind::Conflict).with_detail(detail)
}

/// A new random id.
pub(super) fn random() -> Result<Id> {
    Ok(Id::random().map_err(Failure::from)?)
}

/// Pieces as the body of a request.
pub(super) fn payload(pieces: Vec<Bytes>) -> object_store::PutPayload {
    pieces.into_iter().collect()
}
