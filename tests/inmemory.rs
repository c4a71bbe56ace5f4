//! The in-memory driver.

use std::sync::Arc;

use async_trait::async_trait;
use holdall::conformance::Harness;
use holdall::drivers::InMemoryDriver;
use holdall::{StorageDriver, StoragePath};

struct InMemory(InMemoryDriver);

#[async_trait]
impl Harness for InMemory {
    async fn open(&self) -> Arc<dyn StorageDriver> {
        Arc::new(self.0.clone())
    }

    async fn leftovers(&self) -> Vec<String> {
        self.0.list(&StoragePath::root()).await.unwrap_or_default().iter().map(ToString::to_string).collect()
    }
}

holdall::conformance_tests!(conformance, InMemory(InMemoryDriver::new()));
