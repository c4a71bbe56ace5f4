//! The uploads of a driver.

use std::sync::Arc;
use std::time::Duration;

use super::{Locker, MemoryLocker, Metadata, Upload, UploadError, UploadId};
use crate::{ByteStream, FileInfo, OnFailure, ReadRange, StorageDriver, StoragePath};

/// An upload to create.
#[derive(Clone, Debug, Default)]
pub struct NewUpload {
    /// How many bytes it will have; `None` if that is declared later.
    pub length: Option<u64>,
    /// What the client says of it.
    pub metadata: Metadata,
    /// Whether it may become a part of another upload.
    pub partial: bool,
    /// Its name; a random one if unset.
    pub id: Option<UploadId>,
    /// Where its data will be; `<prefix>/<id>` if unset. Nothing may be there.
    pub path: Option<StoragePath>,
}

/// How to write a chunk.
#[derive(Clone, Copy, Debug, Default)]
pub struct ChunkOptions {
    /// Declares the length of an upload that was created without one.
    pub length: Option<u64>,
    /// What stays of a chunk whose stream fails.
    pub on_failure: OnFailure,
}

/// Resumable uploads over a driver. A clone costs a reference count.
#[derive(Clone, Debug)]
pub struct UploadStore(Arc<UploadStoreBuilder>);

/// Sets up an [`UploadStore`].
#[derive(Clone, Debug)]
pub struct UploadStoreBuilder {
    driver: Arc<dyn StorageDriver>,
    prefix: StoragePath,
    locker: Arc<dyn Locker>,
    max_size: Option<u64>,
    expires_after: Option<Duration>,
    lock_timeout: Duration,
    cached_infos: usize,
}

impl UploadStoreBuilder {
    /// The directory that holds the uploads; the root by default.
    pub fn prefix(self, prefix: StoragePath) -> Self {
        Self { prefix, ..self }
    }

    /// What locks uploads; a [`MemoryLocker`] by default.
    pub fn locker(self, locker: Arc<dyn Locker>) -> Self {
        Self { locker, ..self }
    }

    /// The largest upload, in bytes; no limit by default.
    pub fn max_size(self, max_size: u64) -> Self {
        Self { max_size: Some(max_size), ..self }
    }

    /// How long after its last change an unfinished upload expires; never by default.
    pub fn expires_after(self, expires_after: Duration) -> Self {
        Self { expires_after: Some(expires_after), ..self }
    }

    /// How long a request waits for the one that holds the upload to let go; 10 seconds by default.
    pub fn lock_timeout(self, lock_timeout: Duration) -> Self {
        Self { lock_timeout, ..self }
    }

    /// How many infos are kept in memory; 4,096 by default.
    pub fn cached_infos(self, cached_infos: usize) -> Self {
        Self { cached_infos, ..self }
    }

    /// The store.
    pub fn build(self) -> UploadStore {
        UploadStore(Arc::new(self))
    }
}

#[expect(clippy::todo, reason = "bodies follow")]
#[allow(unused_variables)]
impl UploadStore {
    /// Uploads over this driver, with all defaults.
    pub fn new(driver: Arc<dyn StorageDriver>) -> Self {
        Self::builder(driver).build()
    }

    /// Sets up uploads over this driver.
    pub fn builder(driver: Arc<dyn StorageDriver>) -> UploadStoreBuilder {
        UploadStoreBuilder {
            driver,
            prefix: StoragePath::root(),
            locker: Arc::new(MemoryLocker::default()),
            max_size: None,
            expires_after: None,
            lock_timeout: Duration::from_secs(10),
            cached_infos: 4096,
        }
    }

    /// The largest upload, in bytes, if there is a limit.
    pub fn max_size(&self) -> Option<u64> {
        self.0.max_size
    }

    /// Creates an upload. One of length 0 is finished by it.
    pub async fn create(&self, new: NewUpload) -> Result<Upload, UploadError> {
        todo!()
    }

    /// Creates an upload and writes its first chunk. If that fails, [`UploadError::created`] tells the upload that is there.
    pub async fn create_with(
        &self,
        new: NewUpload,
        stream: ByteStream,
        options: ChunkOptions,
    ) -> Result<Upload, UploadError> {
        todo!()
    }

    /// An upload as it stands.
    pub async fn info(&self, id: &UploadId) -> Result<Upload, UploadError> {
        todo!()
    }

    /// Writes a chunk that begins where the data end.
    pub async fn write_chunk(
        &self,
        id: &UploadId,
        offset: u64,
        stream: ByteStream,
        options: ChunkOptions,
    ) -> Result<Upload, UploadError> {
        todo!()
    }

    /// Declares the length of an upload that was created without one.
    pub async fn declare_length(&self, id: &UploadId, length: u64) -> Result<Upload, UploadError> {
        todo!()
    }

    /// Finishes an upload that holds all its bytes, or that never had a length declared.
    pub async fn finish(&self, id: &UploadId) -> Result<Upload, UploadError> {
        todo!()
    }

    /// Reads a finished upload.
    pub async fn reader(&self, id: &UploadId, range: ReadRange) -> Result<(Upload, FileInfo, ByteStream), UploadError> {
        todo!()
    }

    /// Removes an upload.
    pub async fn terminate(&self, id: &UploadId) -> Result<(), UploadError> {
        todo!()
    }

    /// Makes a finished upload of finished partial ones.
    pub async fn concat(&self, new: NewUpload, partials: &[UploadId]) -> Result<Upload, UploadError> {
        todo!()
    }

    /// Removes expired uploads and returns how many.
    pub async fn expire(&self) -> Result<u64, UploadError> {
        todo!()
    }
}
