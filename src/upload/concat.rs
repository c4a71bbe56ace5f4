//! Uploads made of others.

use std::collections::HashMap;

use super::run::RunToEnd;
use super::store::{Store, alive, not_finished};
use super::{NewUpload, Upload, UploadError, UploadErrorKind, UploadId, UploadInfo, UploadKind, UploadStore};
use crate::{ErrorKind, StoragePath};

impl UploadStore {
    /// Makes an upload of finished partial ones: their bytes in this order, each as often as it is named. It is finished at
    /// once. The parts stay.
    ///
    /// Of `new` the metadata, the id and the path count; a length, if there is one, must be the sum. The parts are read
    /// without a lock: they don't change any more, and one that is still written to is not stopped but refused.
    ///
    /// # Errors
    /// [`NotPartial`](UploadErrorKind::NotPartial), [`NotFinished`](UploadErrorKind::NotFinished),
    /// [`NotFound`](UploadErrorKind::NotFound), [`Expired`](UploadErrorKind::Expired) for a part, which the error names;
    /// [`SizeExceeded`](UploadErrorKind::SizeExceeded), [`LengthMismatch`](UploadErrorKind::LengthMismatch) for the sum; as
    /// [`create`](Self::create) for the new upload. Nothing is left of it then; but if its lock can't be had, or the future is
    /// dropped before it has it, an upload without data stays, which is not finished and expires as any other.
    pub async fn concat(&self, new: NewUpload, partials: &[UploadId]) -> Result<Upload, UploadError> {
        let parts = self.0.parts(partials).await?;
        let total = parts.iter().try_fold(0u64, |sum, part| sum.checked_add(part.offset));
        let total = total.ok_or_else(|| {
            UploadError::new(UploadErrorKind::SizeExceeded).with_detail("the parts have more than 2^64 bytes in all")
        })?;
        if new.length.is_some_and(|length| length != total) {
            let detail = format!("the parts have {total} bytes in all");
            return Err(UploadError::new(UploadErrorKind::LengthMismatch).with_detail(detail));
        }
        let new = NewUpload { length: Some(total), ..new };
        // The info comes first, and says of how many bytes it is: while the data are missing, it is not finished.
        let info = self.0.create(new, Some(partials.into())).await?;
        let lock = self.0.lock(&info.id).await?;
        let (store, made) = (self.0.clone(), info.clone());
        let joining = RunToEnd::new(lock.signal().clone(), &self.0.orphans, async move {
            let _held = lock;
            let joined = store.join(&parts, &made).await;
            if joined.is_err() {
                // Nobody knows of it yet. What can't be removed expires.
                let _ = store.remove(made).await;
            }
            joined
        });
        joining.await.map_err(|error| error.of(&info.id))?;
        Ok(Upload::new(info, total, None))
    }
}

impl Store {
    /// The parts as they stand, each looked at once.
    async fn parts(&self, ids: &[UploadId]) -> Result<Vec<Upload>, UploadError> {
        let mut seen = HashMap::<&UploadId, Upload>::new();
        let mut parts = Vec::with_capacity(ids.len());
        for id in ids {
            let part = match seen.get(id) {
                Some(part) => part.clone(),
                None => {
                    let part = alive(self.look(id).await?)?;
                    if part.info.kind != UploadKind::Partial {
                        return Err(UploadError::new(UploadErrorKind::NotPartial).of(id));
                    }
                    if !part.is_finished() {
                        return Err(not_finished(&part));
                    }
                    seen.entry(id).or_insert(part).clone()
                }
            };
            parts.push(part);
        }
        Ok(parts)
    }

    /// Joins the data of the parts.
    async fn join(&self, parts: &[Upload], made: &UploadInfo) -> Result<(), UploadError> {
        let sources: Vec<StoragePath> = parts.iter().map(|part| part.info.path.clone()).collect();
        let joined = match self.driver().concat(&sources, &made.path).await {
            // A crash between the last byte of a part and its end leaves it so; an empty part may have no file.
            Err(error) if matches!(error.kind(), ErrorKind::NotCommitted | ErrorKind::PathNotFound) => {
                for part in parts {
                    self.settle(&part.info).await?;
                }
                self.driver().concat(&sources, &made.path).await
            }
            joined => joined,
        };
        if made.length == Some(joined?) {
            return Ok(());
        }
        Err(UploadError::new(UploadErrorKind::NotFinished).with_detail("its parts changed meanwhile"))
    }
}
