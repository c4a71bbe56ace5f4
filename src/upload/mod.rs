//! Resumable uploads over any [`StorageDriver`](crate::StorageDriver); knows no HTTP.
//!
//! An upload is two files: its data at `<prefix>/<id>`, and beside it `<prefix>/<id>.info`, a small JSON object that says
//! what is to come. The offset is kept nowhere: it is the size of the data.

mod error;
mod id;
mod info;
mod lock;
mod metadata;
mod store;

pub use self::error::{UploadError, UploadErrorKind};
pub use self::id::UploadId;
pub use self::info::{Upload, UploadInfo, UploadKind};
pub use self::lock::{Locker, MemoryLocker, StopSignal, UploadLock};
pub use self::metadata::{InvalidMetadata, InvalidMetadataReason, Metadata};
pub use self::store::{ChunkOptions, NewUpload, UploadStore, UploadStoreBuilder};
