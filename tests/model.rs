//! Random operations on drivers, held against a plain model.

use std::sync::Arc;

use holdall::StorageDriver;
use holdall::conformance::model::{Operation, apply};
use holdall::drivers::InMemoryDriver;
#[cfg(target_os = "linux")]
use holdall::drivers::{Durability, FilesystemDriver};
use proptest::collection::vec;
use proptest::prelude::*;

/// Runs the operations that these bytes stand for on a new driver.
fn run(driver: Arc<dyn StorageDriver>, bytes: &[[u8; 12]]) {
    let operations: Vec<_> = bytes.iter().copied().map(Operation::decode).collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime starts");
    runtime.block_on(apply(&*driver, &operations));
}

fn config(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config(256))]

    #[test]
    fn inmemory_does_what_the_model_does(bytes in vec(any::<[u8; 12]>(), 0..120)) {
        run(Arc::new(InMemoryDriver::new()), &bytes);
    }

    #[test]
    fn a_third_party_does_what_the_model_does(bytes in vec(any::<[u8; 12]>(), 0..120)) {
        run(Arc::new(crate::third_party::Bucket::default()), &bytes);
    }
}

#[cfg(target_os = "linux")]
proptest! {
    #![proptest_config(config(32))]

    #[test]
    fn filesystem_does_what_the_model_does(bytes in vec(any::<[u8; 12]>(), 0..120)) {
        let root = tempfile::tempdir().unwrap();
        let driver = FilesystemDriver::builder(root.path()).durability(Durability::None).open().unwrap();
        run(Arc::new(driver), &bytes);
    }
}
