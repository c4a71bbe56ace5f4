//! The filesystem driver: the conformance suite with each durability, and power cuts.

mod power_cut;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use holdall::conformance::Harness;
use holdall::{Durability, FilesystemDriver, StorageDriver};
use tempfile::TempDir;

struct Filesystem {
    root: TempDir,
    durability: Durability,
}

impl Filesystem {
    fn new(durability: Durability) -> Self {
        Self { root: tempfile::tempdir().unwrap(), durability }
    }
}

#[async_trait]
impl Harness for Filesystem {
    async fn open(&self) -> Arc<dyn StorageDriver> {
        Arc::new(FilesystemDriver::builder(self.root.path()).durability(self.durability).open().unwrap())
    }

    async fn leftovers(&self) -> Vec<String> {
        let mut found = Vec::new();
        collect(self.root.path(), &mut found);
        let names = found.iter().map(|path| path.strip_prefix(self.root.path()).unwrap().to_str().unwrap().to_owned());
        // What instances keep as long as they live: one file each, and one lock file for all.
        let lasting = |name: &str| name == "~tmp" || name.starts_with("~tmp/") && !name[5..].contains('~');
        names.filter(|name| !lasting(name)).collect()
    }
}

fn collect(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(directory).unwrap().map(Result::unwrap) {
        if entry.file_type().unwrap().is_dir() {
            collect(&entry.path(), found);
        }
        found.push(entry.path());
    }
}

holdall::conformance_tests!(every_write, Filesystem::new(Durability::EveryWrite));
holdall::conformance_tests!(on_complete, Filesystem::new(Durability::OnComplete));
holdall::conformance_tests!(none, Filesystem::new(Durability::None));
