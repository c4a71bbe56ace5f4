//! The error of the upload layer.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

use super::{InvalidMetadata, UploadId, UploadInfo};
use crate::{BoxError, Error, ErrorKind};

/// What went wrong with which upload; one word wide.
///
/// Callers match on [`kind`](Self::kind). [`Display`](fmt::Display) leaves the cause to [`source`](StdError::source); the
/// failure of a driver is its [`Error`](crate::Error).
pub struct UploadError(Box<Inner>);

struct Inner {
    kind: UploadErrorKind,
    detail: Option<Box<str>>,
    id: Option<UploadId>,
    offset: Option<u64>,
    created: Option<Arc<UploadInfo>>,
    temporary: bool,
    source: Option<BoxError>,
}

/// What kind of failure an [`UploadError`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum UploadErrorKind {
    /// There is no such upload, or it was terminated.
    NotFound,
    /// Nothing was written to it for so long that it expired unfinished.
    Expired,
    /// The chunk does not begin where the data ends; [`UploadError::offset`] says where that is. Nothing changed.
    InvalidOffset,
    /// Larger than the length of the upload, or than the store takes. No byte past the limit is kept.
    SizeExceeded,
    /// A length was declared that is not the one declared before, or less than what is there already.
    LengthMismatch,
    /// It is whole, and takes no bytes: the result of a concatenation, or data that something else completed.
    AlreadyFinished,
    /// It is not whole yet: it can't be read, concatenated or finished.
    NotFinished,
    /// Only a partial upload can be a part of another.
    NotPartial,
    /// Another request works on it and did not let go in time. Trying again may help.
    Locked,
    /// Another request asked for the upload: this one let go of it. What arrived before is kept.
    Stopped,
    /// The stream that the caller handed in failed. What arrived before is kept, unless it was to be discarded.
    Stream,
    /// The id is not one, or it leads to a path that is not allowed.
    InvalidId,
    /// The metadata break a rule of the protocol.
    InvalidMetadata,
    /// The info file is torn, of another version, or not one of an upload.
    InvalidInfo,
    /// The id that the caller chose, or the path, is taken.
    AlreadyExists,
    /// The backend is full, or a quota is.
    NoSpace,
    /// The driver can't do that.
    Unsupported,
    /// Any other failure of the backend.
    Storage,
}

impl UploadErrorKind {
    /// The kind in words, as [`UploadError`] prints it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotFound => "there is no such upload",
            Self::Expired => "the upload expired",
            Self::InvalidOffset => "invalid offset",
            Self::SizeExceeded => "size exceeded",
            Self::LengthMismatch => "length mismatch",
            Self::AlreadyFinished => "the upload is finished already",
            Self::NotFinished => "the upload is not finished",
            Self::NotPartial => "not a partial upload",
            Self::Locked => "locked by another request",
            Self::Stopped => "stopped, another request asked for the upload",
            Self::Stream => "the stream to write failed",
            Self::InvalidId => "invalid upload id",
            Self::InvalidMetadata => "invalid metadata",
            Self::InvalidInfo => "invalid upload info",
            Self::AlreadyExists => "the upload exists already",
            Self::NoSpace => "no space left",
            Self::Unsupported => "not supported by the storage",
            Self::Storage => "the storage failed",
        }
    }
}

impl fmt::Display for UploadErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl UploadError {
    /// An error of this kind, with nothing else known yet. [`UploadErrorKind::Locked`] is taken as temporary.
    #[cold]
    pub fn new(kind: UploadErrorKind) -> Self {
        Self(Box::new(Inner {
            kind,
            detail: None,
            id: None,
            offset: None,
            created: None,
            temporary: kind == UploadErrorKind::Locked,
            source: None,
        }))
    }

    /// A driver's failure, as this kind.
    #[cold]
    pub(super) fn of_driver(kind: UploadErrorKind, source: Error) -> Self {
        let mut error = Self::new(kind);
        error.0.offset = source.size();
        error.0.temporary |= source.is_temporary();
        error.with_source(source)
    }

    /// The same error with a sentence that says what was wrong with what.
    pub fn with_detail(mut self, detail: impl Into<Box<str>>) -> Self {
        self.0.detail = Some(detail.into());
        self
    }

    /// The same error with its cause.
    pub fn with_source(mut self, source: impl Into<BoxError>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// The same error, naming the current offset of the upload in bytes.
    pub fn with_offset(mut self, offset: u64) -> Self {
        self.0.offset = Some(offset);
        self
    }

    /// The same error, saying whether trying again may help.
    pub fn with_temporary(mut self, temporary: bool) -> Self {
        self.0.temporary = temporary;
        self
    }

    /// The same error about this upload, unless it names one already.
    pub fn of(mut self, id: &UploadId) -> Self {
        self.0.id.get_or_insert_with(|| id.clone());
        self
    }

    /// The same error, of a call that created this upload before it failed.
    pub(super) fn after_creating(mut self, info: &Arc<UploadInfo>) -> Self {
        self.0.created = Some(info.clone());
        self
    }

    /// What callers match on.
    pub fn kind(&self) -> UploadErrorKind {
        self.0.kind
    }

    /// The upload it is about.
    pub fn id(&self) -> Option<&UploadId> {
        self.0.id.as_ref()
    }

    /// The current offset of the upload in bytes, where it is known.
    pub fn offset(&self) -> Option<u64> {
        self.0.offset
    }

    /// The upload that a failed [`create_with`](super::UploadStore::create_with) left behind, to be resumed or terminated.
    pub fn created(&self) -> Option<&Arc<UploadInfo>> {
        self.0.created.as_ref()
    }

    /// Whether the same call may succeed later, as the layer that saw the failure judged it.
    pub fn is_temporary(&self) -> bool {
        self.0.temporary
    }

    /// What was wrong, in a sentence, where more is known than the kind.
    pub fn detail(&self) -> Option<&str> {
        self.0.detail.as_deref()
    }
}

impl fmt::Display for UploadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { kind, detail, id, .. } = &*self.0;
        if let Some(id) = id {
            write!(f, "upload {id}: ")?;
        }
        f.write_str(kind.as_str())?;
        if let Some(detail) = detail {
            write!(f, ": {detail}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for UploadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = &*self.0;
        let mut out = f.debug_struct("UploadError");
        out.field("kind", &inner.kind);
        if let Some(id) = &inner.id {
            out.field("id", id);
        }
        if let Some(detail) = &inner.detail {
            out.field("detail", detail);
        }
        if let Some(offset) = inner.offset {
            out.field("offset", &offset);
        }
        if let Some(info) = &inner.created {
            out.field("created", &info.id);
        }
        out.field("temporary", &inner.temporary);
        if let Some(source) = &inner.source {
            out.field("source", source);
        }
        out.finish()
    }
}

impl StdError for UploadError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|source| source as _)
    }
}

/// Each kind of a driver's failure is one kind here; the driver's error becomes the source.
impl From<Error> for UploadError {
    #[cold]
    fn from(source: Error) -> Self {
        use UploadErrorKind as Kind;
        let kind = match source.kind() {
            ErrorKind::PathNotFound => Kind::NotFound,
            ErrorKind::InvalidPath => Kind::InvalidId,
            ErrorKind::InvalidOffset => Kind::InvalidOffset,
            ErrorKind::SizeExceeded => Kind::SizeExceeded,
            ErrorKind::UnsupportedMethod => Kind::Unsupported,
            ErrorKind::NotCommitted => Kind::NotFinished,
            ErrorKind::AlreadyExists => Kind::AlreadyExists,
            ErrorKind::Conflict => Kind::Locked,
            ErrorKind::NoSpace => Kind::NoSpace,
            ErrorKind::Stream => Kind::Stream,
            ErrorKind::IsADirectory
            | ErrorKind::NotADirectory
            | ErrorKind::PermissionDenied
            | ErrorKind::Timeout
            | ErrorKind::Backend => Kind::Storage,
        };
        Self::of_driver(kind, source)
    }
}

impl From<InvalidMetadata> for UploadError {
    fn from(source: InvalidMetadata) -> Self {
        Self::new(UploadErrorKind::InvalidMetadata).with_source(source)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::StoragePath;

    #[test]
    fn is_one_word_wide() {
        assert_eq!(size_of::<UploadError>(), size_of::<usize>());
    }

    #[test]
    fn display_says_kind_and_upload_and_leaves_the_cause_to_source() {
        let path = StoragePath::parse("/a").unwrap();
        let driver = Error::new(ErrorKind::NoSpace).with_detail("quota of 5 GiB").at("memory", &path);
        let error = UploadError::from(driver).of(&UploadId::parse("u1").unwrap());
        assert_eq!(error.to_string(), "upload u1: no space left");
        assert_eq!(error.source().unwrap().to_string(), "memory: /a: no space left: quota of 5 GiB");
    }

    #[test]
    fn a_driver_s_failure_keeps_its_size_and_whether_to_try_again() {
        let error = UploadError::from(Error::new(ErrorKind::InvalidOffset).with_size(7));
        assert_eq!(
            (error.kind(), error.offset(), error.is_temporary()),
            (UploadErrorKind::InvalidOffset, Some(7), false)
        );
        assert!(UploadError::from(Error::new(ErrorKind::Timeout)).is_temporary());
        assert!(UploadError::from(Error::new(ErrorKind::Conflict)).is_temporary());
    }

    #[test]
    fn the_first_upload_named_stands() {
        let (part, whole) = (UploadId::parse("part").unwrap(), UploadId::parse("whole").unwrap());
        let error = UploadError::new(UploadErrorKind::NotPartial).of(&part).of(&whole);
        assert_eq!(error.id(), Some(&part));
    }
}
