//! The ends of uploads that are not to be finished.

use std::sync::Arc;

use futures::StreamExt;

use super::info::InfoFile;
use super::run::RunToEnd;
use super::store::{Store, alive};
use super::{UploadError, UploadErrorKind, UploadId, UploadInfo, UploadStore};
use crate::{Error, ErrorKind, FileInfo, StoragePath, WalkOptions};

impl UploadStore {
    /// Removes an upload, finished or not; a chunk that is being written is stopped.
    ///
    /// The upload is gone once its info says so, which is the first step; its data go next and its info last. What a crash
    /// leaves of it goes with the next try, or with [`expire`](Self::expire), and is never an upload again. Only where there
    /// is no space left to say so do the data go first: a crash right then leaves an upload without data.
    ///
    /// # Errors
    /// [`NotFound`](UploadErrorKind::NotFound) if nothing is left of it; [`Locked`](UploadErrorKind::Locked);
    /// [`InvalidInfo`](UploadErrorKind::InvalidInfo), with nothing removed; those of the backend.
    pub async fn terminate(&self, id: &UploadId) -> Result<(), UploadError> {
        let lock = self.0.lock(id).await?;
        let store = self.0.clone();
        let file = store.read_info(id).await?.0;
        let removing = RunToEnd::new(lock.signal().clone(), &self.0.orphans, async move {
            let _held = lock;
            store.remove(Arc::new(file.info)).await
        });
        removing.await.map_err(|error| error.of(id))
    }

    /// Removes the uploads that expired unfinished, and what is left of terminated ones, and returns how many went.
    ///
    /// It looks at each info file directly below the prefix, one at a time. What is not clearly an upload of this store that is
    /// over stays: data without an info, an info that can't be read (which is logged), an upload that is being written to.
    ///
    /// # Errors
    /// That of the walk, which ends it; else the first one of an upload, after all others had their turn. What was removed
    /// stays removed.
    pub async fn expire(&self) -> Result<u64, UploadError> {
        let flat = WalkOptions { descend: Some(Arc::new(|_| false)), ..WalkOptions::default() };
        let mut files = self.0.driver().walk(&self.0.config.prefix, flat);
        let (mut removed, mut failed) = (0, None);
        while let Some(file) = files.next().await {
            let file = match file {
                Err(error) if error.kind() == ErrorKind::PathNotFound => break,
                file => file?,
            };
            let Some(id) = id_of_info(&file) else {
                continue;
            };
            match self.expire_one(&id).await {
                Ok(gone) => removed += u64::from(gone),
                Err(error) => match error.kind() {
                    UploadErrorKind::NotFound | UploadErrorKind::Locked => {}
                    UploadErrorKind::InvalidInfo => tracing::warn!(path = %file.path, %error, "left alone"),
                    _ => _ = failed.get_or_insert(error),
                },
            }
        }
        failed.map_or(Ok(removed), Err)
    }

    /// Removes an upload if it is over, and tells whether it was.
    async fn expire_one(&self, id: &UploadId) -> Result<bool, UploadError> {
        if !self.0.is_over(id).await? {
            return Ok(false);
        }
        let lock = self.0.lock(id).await?;
        let store = self.0.clone();
        let id = id.clone();
        let removing = RunToEnd::new(lock.signal().clone(), &self.0.orphans, async move {
            let _held = lock;
            // Whoever held the lock may have written to it.
            if !store.is_over(&id).await? {
                return Ok(false);
            }
            let file = store.read_info(&id).await?.0;
            store.remove(Arc::new(file.info)).await?;
            Ok(true)
        });
        removing.await
    }
}

impl Store {
    /// Whether an upload expired, or was terminated and is not gone.
    async fn is_over(&self, id: &UploadId) -> Result<bool, UploadError> {
        let (file, _) = self.read_info(id).await?;
        if file.terminated {
            return Ok(true);
        }
        if file.info.expires_after.is_none() {
            return Ok(false);
        }
        match alive(self.measure(Arc::new(file.info)).await?) {
            Ok(_) => Ok(false),
            Err(error) if error.kind() == UploadErrorKind::Expired => Ok(true),
            Err(error) => Err(error),
        }
    }

    /// Removes a locked upload: first it says that it is gone, then its data go, then its info.
    pub(super) async fn remove(&self, info: Arc<UploadInfo>) -> Result<(), UploadError> {
        let path = self.info_path(&info.id)?;
        let data = info.path.clone();
        let file = InfoFile { info: Arc::unwrap_or_clone(info), terminated: true };
        let json = file.to_json(&self.data_path(&file.info.id)?)?;
        match self.driver().put_content(&path, json.into()).await {
            // To remove it may be the only way to make room.
            Err(error) if error.kind() == ErrorKind::NoSpace => {}
            put => put?,
        }
        self.forget(&file.info.id);
        self.delete_file(&data).await?;
        self.delete_file(&path).await?;
        Ok(())
    }

    /// Deletes a file, if it is there: a directory in its place was made by somebody else, and stays with all it holds.
    async fn delete_file(&self, path: &StoragePath) -> Result<(), Error> {
        let deleted = match self.driver().stat(path).await {
            Ok(file) if file.is_dir => Ok(()),
            Err(error) if error.kind() != ErrorKind::PermissionDenied => Err(error),
            // What may not be looked at, as a link that somebody put there, can perhaps be removed.
            _ => self.driver().delete(path).await,
        };
        match deleted {
            Err(error) if error.kind() == ErrorKind::PathNotFound => Ok(()),
            deleted => deleted,
        }
    }
}

/// The upload whose info this file is, by its name.
fn id_of_info(file: &FileInfo) -> Option<UploadId> {
    let name = file.path.file_name().filter(|_| !file.is_dir)?;
    UploadId::parse(name.strip_suffix(".info")?).ok()
}
