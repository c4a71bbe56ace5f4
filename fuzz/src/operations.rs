//! Any operations, in any order, do to a driver what they do to a plain model of the contract.

use std::sync::Arc;

use holdall::StorageDriver;
use holdall::conformance::model::{Operation, apply};
use holdall::drivers::{Durability, FilesystemDriver, InMemoryDriver};

/// How many bytes an operation takes.
const WIDTH: usize = 12;
const MOST: usize = 200;

pub fn check(data: &[u8]) {
    let (chunks, _) = data.as_chunks::<WIDTH>();
    let operations: Vec<_> = chunks.iter().take(MOST).copied().map(Operation::decode).collect();
    let folder = tempfile::tempdir().expect("a folder");
    let files = FilesystemDriver::builder(folder.path()).durability(Durability::None).open().expect("a root");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    for driver in [Arc::new(InMemoryDriver::new()) as Arc<dyn StorageDriver>, Arc::new(files)] {
        runtime.block_on(apply(&*driver, &operations));
    }
}
