//! What drivers say of files, and of themselves.

use std::sync::Arc;
use std::time::SystemTime;

use crate::path::StoragePath;

/// What a driver knows of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FileInfo {
    /// Where it is.
    pub path: StoragePath,
    /// Size in bytes; 0 for a directory.
    pub size: u64,
    /// When its content last changed; object stores have no time for a directory.
    pub modified: Option<SystemTime>,
    /// Whether it is a directory.
    pub is_dir: bool,
}

impl FileInfo {
    /// A file.
    pub fn file(path: StoragePath, size: u64, modified: Option<SystemTime>) -> Self {
        Self { path, size, modified, is_dir: false }
    }

    /// A directory.
    pub fn directory(path: StoragePath, modified: Option<SystemTime>) -> Self {
        Self { path, size: 0, modified, is_dir: true }
    }
}

/// The version of a small file, as [`get_versioned`](crate::StorageDriver::get_versioned) gave it: opaque, and equal only
/// if nothing was written in between.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Version(Arc<str>);

impl Version {
    /// A version by the text that its driver knows it by.
    pub fn new(text: impl Into<Arc<str>>) -> Self {
        Self(text.into())
    }

    /// The text that its driver knows it by.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What an instance of a driver can do, probed where it can't be known.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Capabilities {
    /// [`url_for`](crate::StorageDriver::url_for) signs URLs.
    pub url_for: bool,
    /// [`get_versioned`](crate::StorageDriver::get_versioned) and
    /// [`put_content_if`](crate::StorageDriver::put_content_if) work.
    pub conditional_put: bool,
    /// Two writers on one path, also of two processes, never both succeed at the same offset.
    pub exclusive_writers: bool,
    /// A file where a directory is needed, or the reverse, is refused. Where it isn't, both can be there.
    pub file_directory_conflicts: bool,
    /// [`concat`](crate::StorageDriver::concat) does not move the bytes through this process.
    pub server_side_concat: bool,
    /// Files can be in the uncommitted state, in which reading, moving and signing them answers
    /// [`NotCommitted`](crate::ErrorKind::NotCommitted).
    pub uncommitted: bool,
    /// The longest run of zeros, in bytes, that a write past the end of a file may leave.
    pub max_gap: u64,
    /// The most memory in bytes that one read or write stream holds beside what the caller handed in.
    pub max_stream_memory: u64,
}

impl Capabilities {
    /// A driver that promises the required methods and nothing beyond them: the start to set fields from.
    pub fn minimal() -> Self {
        Self {
            url_for: false,
            conditional_put: false,
            exclusive_writers: false,
            file_directory_conflicts: false,
            server_side_concat: false,
            uncommitted: false,
            max_gap: 0,
            max_stream_memory: u64::MAX,
        }
    }
}
