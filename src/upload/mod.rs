//! Resumable uploads over any [`StorageDriver`](crate::StorageDriver); knows no HTTP.
//!
//! An upload is two files: its data at `<prefix>/<id>`, and beside it `<prefix>/<id>.info`, a small JSON object that says
//! what is to come. The offset is kept nowhere: it is the size of the data.
//!
//! A crash between two steps leaves nothing wrong behind:
//! - created: the info comes first. Data that are missing are an offset of 0.
//! - a length declared: the info comes first. Data that have that length and were not completed are so by whoever reads,
//!   finishes or joins the upload.
//! - joined from others: the info with the whole length comes first, the data appear at once.
//! - terminated: the info first says so, then the data go, then the info.

mod cache;
mod chunk;
mod concat;
mod error;
mod id;
mod info;
mod lock;
mod memory_locker;
mod metadata;
mod remove;
mod run;
mod store;
mod write;

pub use self::error::{UploadError, UploadErrorKind};
pub use self::id::UploadId;
pub use self::info::{Upload, UploadInfo, UploadKind};
pub use self::lock::{Locker, StopSignal, UploadLock};
pub use self::memory_locker::MemoryLocker;
pub use self::metadata::{InvalidMetadata, InvalidMetadataReason, Metadata};
pub use self::store::{NewUpload, UploadStore, UploadStoreBuilder};
pub use self::write::ChunkOptions;
