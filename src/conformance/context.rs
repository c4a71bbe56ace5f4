//! What each case has at hand.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};

use super::data::Data;
use super::harness::{Harness, Outcome, eventually};
use crate::driver::{ByteStream, ReadRange, StorageDriver, WriteOptions};
use crate::error::{Error, ErrorKind, Result};
use crate::info::{Capabilities, FileInfo};
use crate::path::StoragePath;

/// The driver under test on its backend.
pub struct Context {
    harness: Arc<dyn Harness>,
    driver: Option<Arc<dyn StorageDriver>>,
    skipped: Option<String>,
    /// Whether a call was cut off, so that a sweep may be needed.
    interrupted: bool,
}

impl std::fmt::Debug for Context {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Context").field("driver", &self.driver).finish_non_exhaustive()
    }
}

/// A path from a text that is known to be one.
pub(super) fn path(text: &str) -> StoragePath {
    StoragePath::parse(text).unwrap_or_else(|error| panic!("{error}"))
}

impl Context {
    pub(super) async fn new(harness: Arc<dyn Harness>) -> Self {
        let driver = harness.open().await;
        let there = driver.list(&StoragePath::root()).await.expect("the root can be listed");
        assert_eq!(there, [], "a harness begins with an empty backend");
        Self { harness, driver: Some(driver), skipped: None, interrupted: false }
    }

    pub(super) fn driver(&self) -> Arc<dyn StorageDriver> {
        self.driver.clone().expect("there is a driver, except within crash()")
    }

    pub(super) fn harness(&self) -> &dyn Harness {
        &*self.harness
    }

    pub(super) fn can(&self) -> Capabilities {
        self.driver().capabilities()
    }

    /// Notes that the case does not apply.
    pub(super) fn skip(&mut self, reason: &str) {
        self.skipped = Some(reason.to_owned());
    }

    /// Notes that a call was cut off, which may leave something to sweep.
    pub(super) fn interrupted(&mut self) {
        self.interrupted = true;
    }

    /// Drops the driver and opens the backend again.
    pub(super) async fn crash(&mut self) {
        self.interrupted = true;
        self.driver = None;
        self.driver = Some(self.harness.reopen().await);
    }

    /// Deletes all there is and sees that nothing is left behind.
    pub(super) async fn finish(self) -> Outcome {
        let driver = self.driver();
        let root = StoragePath::root();
        for child in driver.list(&root).await.expect("the root can be listed") {
            self.delete(child.as_str()).await;
        }
        if self.interrupted {
            eventually("a sweep removes what cut-off calls left behind", async || {
                driver.sweep(Duration::ZERO).await.expect("a sweep works");
                self.harness.leftovers().await.is_empty().then_some(())
            })
            .await;
        }
        assert_eq!(
            driver.list(&root).await.expect("the root can be listed"),
            [],
            "all was deleted, so nothing is listed"
        );
        let leftovers = self.harness.leftovers().await;
        assert!(leftovers.is_empty(), "all was deleted, but this is left behind: {leftovers:?}");
        self.skipped.map_or(Outcome::Passed, Outcome::Skipped)
    }

    pub(super) async fn put(&self, at: &str, content: impl Into<Bytes>) {
        let put = self.driver().put_content(&path(at), content.into()).await;
        put.unwrap_or_else(|error| panic!("put_content({at}) failed: {error:?}"));
    }

    pub(super) async fn get(&self, at: &str) -> Bytes {
        let got = self.driver().get_content(&path(at)).await;
        got.unwrap_or_else(|error| panic!("get_content({at}) failed: {error:?}"))
    }

    pub(super) async fn try_write(
        &self,
        at: &str,
        offset: u64,
        stream: ByteStream,
        options: WriteOptions,
    ) -> Result<u64> {
        self.driver().write_stream(&path(at), offset, stream, options).await
    }

    /// Writes a stream with the default options, which must work.
    pub(super) async fn write(&self, at: &str, offset: u64, stream: ByteStream) -> u64 {
        let written = self.try_write(at, offset, stream, WriteOptions::default()).await;
        written.unwrap_or_else(|error| panic!("write_stream({at}, {offset}) failed: {error:?}"))
    }

    pub(super) async fn stat(&self, at: &str) -> FileInfo {
        let info = self.driver().stat(&path(at)).await;
        let info = info.unwrap_or_else(|error| panic!("stat({at}) failed: {error:?}"));
        assert_eq!(info.path, path(at), "stat says the path that it was asked for");
        info
    }

    pub(super) async fn size(&self, at: &str) -> u64 {
        self.stat(at).await.size
    }

    pub(super) async fn list(&self, at: &str) -> Vec<String> {
        let children = self.driver().list(&path(at)).await;
        let children = children.unwrap_or_else(|error| panic!("list({at}) failed: {error:?}"));
        children.iter().map(ToString::to_string).collect()
    }

    pub(super) async fn delete(&self, at: &str) {
        let deleted = self.driver().delete(&path(at)).await;
        deleted.unwrap_or_else(|error| panic!("delete({at}) failed: {error:?}"));
    }

    /// Nothing is at a path, in the eyes of each call that looks.
    pub(super) async fn assert_missing(&self, at: &str) {
        let (driver, path) = (self.driver(), path(at));
        self.refused(driver.stat(&path).await, ErrorKind::PathNotFound, at);
        self.refused(driver.get_content(&path).await, ErrorKind::PathNotFound, at);
        self.refused(driver.list(&path).await, ErrorKind::PathNotFound, at);
    }

    /// A file has exactly this content, by `stat`, by `get_content` and by `read_stream`.
    pub(super) async fn assert_content(&self, at: &str, content: &[u8]) {
        let info = self.stat(at).await;
        assert!(!info.is_dir, "{at} is a file");
        assert_eq!(info.size, content.len() as u64, "stat({at}) says the size of what was written");
        self.assert_same(&self.get(at).await, content, at);
        let stream = self.driver().read_stream(&path(at), 0).await.expect("a file can be read");
        self.assert_same(&concat(stream).await, content, at);
    }

    fn assert_same(&self, got: &[u8], content: &[u8], at: &str) {
        if got != content {
            let first = got.iter().zip(content).position(|(a, b)| a != b).unwrap_or(got.len().min(content.len()));
            let (got, expected) = (got.len(), content.len());
            panic!("{at} reads back {got} bytes, was to read {expected}, and differs first at byte {first}");
        }
    }

    /// A file is the first `size` bytes of `data`, read as a stream.
    pub(super) async fn assert_data(&self, at: &str, data: Data, size: u64) {
        assert_eq!(self.size(at).await, size, "stat({at}) says the size of what was written");
        let (info, stream) = self.read(at, ReadRange::FULL).await;
        assert_eq!(info.size, size, "read({at}) says the size of the file");
        assert_eq!(check_data(stream, data, 0).await, size, "{at} reads back whole");
    }

    pub(super) async fn read(&self, at: &str, range: ReadRange) -> (FileInfo, ByteStream) {
        let read = self.driver().read(&path(at), range).await;
        read.unwrap_or_else(|error| panic!("read({at}, {range:?}) failed: {error:?}"))
    }

    /// A call was refused with this kind of error, which names the path and the driver; gives the error.
    #[track_caller]
    pub(super) fn refused<T>(&self, result: Result<T>, kind: ErrorKind, at: &str) -> Error {
        let Err(error) = result else { panic!("was to be refused with {kind:?} at {at}, but was done") };
        assert_eq!(error.kind(), kind, "the kind of the error at {at}: {error:?}");
        self.assert_names(&error, at);
        error
    }

    #[track_caller]
    pub(super) fn assert_names(&self, error: &Error, at: &str) {
        assert_eq!(error.path().map(StoragePath::as_str), Some(at), "the error names the path at fault: {error:?}");
        assert!(error.driver().is_some_and(|name| !name.is_empty()), "the error names the driver: {error:?}");
    }
}

/// All bytes of a stream that must not fail.
pub(super) async fn concat(stream: ByteStream) -> Vec<u8> {
    let all = stream.try_fold(Vec::new(), |mut all, piece| async move {
        all.extend_from_slice(&piece);
        Ok(all)
    });
    all.await.unwrap_or_else(|error| panic!("the stream of a read failed: {error:?}"))
}

/// Sees that a stream gives `data` from `offset` on, and says how many bytes it gave.
pub(super) async fn check_data(mut stream: ByteStream, data: Data, offset: u64) -> u64 {
    let mut read = 0;
    while let Some(piece) = stream.next().await {
        let piece = piece.unwrap_or_else(|error| panic!("a read failed after {read} bytes: {error:?}"));
        if let Some(at) = data.mismatch(offset + read, &piece) {
            panic!("a read gives a wrong byte at {at}");
        }
        read += piece.len() as u64;
    }
    read
}
