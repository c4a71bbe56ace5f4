//! What is known of an upload.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::{Metadata, UploadId};
use crate::StoragePath;

/// What is known of an upload since its creation.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct UploadInfo {
    /// Its name.
    pub id: UploadId,
    /// How many bytes it will have; `None` until that is declared.
    pub length: Option<u64>,
    /// What the client said of it, as it said it.
    pub metadata: Metadata,
    /// Whether it is a part of another, or made of others.
    pub kind: UploadKind,
    /// When it was created, to the millisecond.
    pub created: SystemTime,
    /// How long after its last change it expires if it is not finished; `None` for never. To the millisecond.
    pub expires_after: Option<Duration>,
    /// Where its data are.
    pub path: StoragePath,
}

/// The part that an upload plays in a concatenation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum UploadKind {
    /// None.
    #[default]
    Regular,
    /// It may become a part of another upload.
    Partial,
    /// It was made of these, in this order, and takes no bytes of its own.
    Final(Box<[UploadId]>),
}

/// An upload as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Upload {
    /// What is known of it since its creation.
    pub info: Arc<UploadInfo>,
    /// How many bytes are there, for good: where the next chunk begins.
    pub offset: u64,
    /// When it expires if nothing more arrives; a finished upload never does.
    pub expires: Option<SystemTime>,
}

impl Upload {
    /// Whether the length is known and reached.
    pub fn is_finished(&self) -> bool {
        self.info.length == Some(self.offset)
    }
}
