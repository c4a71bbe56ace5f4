//! What only files and directories have. What every driver promises is in the conformance suite.

mod durability;
mod links;
mod trees;
mod versions;
mod writes;

use std::path::PathBuf;

use bytes::Bytes;
use futures::channel::mpsc;
use futures::{StreamExt, stream};
use tempfile::TempDir as Scratch;

use super::*;
use crate::Error;

/// A root of its own, and a driver on it.
struct Fixture {
    scratch: Scratch,
    driver: FilesystemDriver,
}

impl Fixture {
    fn new(durability: Durability) -> Self {
        let scratch = tempfile::tempdir().unwrap();
        let driver = Self::builder(&scratch).durability(durability).open().unwrap();
        Self { scratch, driver }
    }

    fn builder(scratch: &Scratch) -> FilesystemBuilder {
        FilesystemDriver::builder(scratch.path().join("root")).lock_timeout(Duration::from_millis(40))
    }

    /// Another instance on the same root, as another process would have.
    fn another(&self) -> FilesystemDriver {
        Self::builder(&self.scratch).durability(self.driver.store.durability).open().unwrap()
    }

    /// Where a path's file is.
    fn file(&self, path: &str) -> PathBuf {
        self.scratch.path().join("root").join(&path[1..])
    }

    /// The names in `/~tmp`, without the lock file and those that live instances keep.
    fn temporary(&self) -> Vec<String> {
        let names =
            std::fs::read_dir(self.file("/~tmp")).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name.contains('~')).collect()
    }
}

fn path(text: &str) -> StoragePath {
    StoragePath::parse(text).unwrap()
}

fn bytes(text: &'static str) -> ByteStream {
    stream::iter([Ok(Bytes::from_static(text.as_bytes()))]).boxed()
}

/// A stream that is fed from outside; it ends when the sender is dropped.
fn fed() -> (mpsc::UnboundedSender<Result<Bytes>>, ByteStream) {
    let (sender, receiver) = mpsc::unbounded();
    (sender, receiver.boxed())
}

fn broken(text: &'static str) -> ByteStream {
    stream::iter([Ok(Bytes::from_static(text.as_bytes())), Err(Error::stream("cut"))]).boxed()
}

#[track_caller]
fn kind<T: std::fmt::Debug>(result: Result<T>) -> ErrorKind {
    result.unwrap_err().kind()
}

/// Waits until a condition holds that the driver brings about.
async fn until(mut condition: impl AsyncFnMut() -> bool) {
    let waiting = async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), waiting).await.expect("it never came about");
}

/// Both ways of going from a path to a file.
async fn with_and_without_openat2(test: impl AsyncFn(&Fixture)) {
    let mut fixture = Fixture::new(Durability::None);
    test(&fixture).await;
    let scratch = tempfile::tempdir().unwrap();
    let store = Fixture::builder(&scratch).durability(Durability::None).open_store(Root::without_openat2).unwrap();
    fixture = Fixture { scratch, driver: FilesystemDriver { store: Arc::new(store) } };
    test(&fixture).await;
}
