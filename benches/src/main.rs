//! The drivers beside object_store and OpenDAL: the same calls in turn, in one process, as ratios.
//!
//! usage: drivers [--dir DIR] [--rounds N]
//!
//! Each row is run in rounds; in a round each contender runs it once, in an order that rotates. The first figure is the
//! median time of one call of ours; those behind it say how many times as long the peer took in the same round (median
//! of the rounds), so that above 1 we are ahead. `DIR` is where the file systems' files go (default: the system's folder
//! for temporary files); on tmpfs the cost of the calls shows, on a disk that of its syncs.

mod contender;
mod row;

use std::path::PathBuf;
use std::sync::Arc;

use contender::{Contender, Dal, Holdall, Store};
use holdall::drivers::{Durability, FilesystemDriver, InMemoryDriver};
use object_store::{local::LocalFileSystem, memory::InMemory};
use opendal::{Operator, services};

type Failure = Box<dyn std::error::Error + Send + Sync>;

fn main() -> Result<(), Failure> {
    let (mut dir, mut rounds) = (std::env::temp_dir(), 9);
    let mut arguments = std::env::args().skip(1);
    while let Some(flag) = arguments.next() {
        let value = arguments.next().ok_or_else(|| format!("{flag} needs a value"))?;
        match flag.as_str() {
            "--dir" => dir = PathBuf::from(value),
            "--rounds" => rounds = value.parse()?,
            _ => return Err(format!("unknown flag {flag}; usage: drivers [--dir DIR] [--rounds N]").into()),
        }
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async move { tokio::spawn(run(dir, rounds)).await? })
}

async fn run(dir: PathBuf, rounds: usize) -> Result<(), Failure> {
    let memory: Vec<Arc<dyn Contender>> = vec![
        Arc::new(Holdall(InMemoryDriver::new())),
        Arc::new(Store(InMemory::new())),
        Arc::new(Dal(Operator::new(services::Memory::default())?)),
    ];
    row::table("In memory", &memory, rounds).await?;

    let folder = tempfile::tempdir_in(&dir)?;
    let sub = |name: &str| -> std::io::Result<PathBuf> {
        let path = folder.path().join(name);
        std::fs::create_dir(&path)?;
        Ok(path)
    };
    let unsynced: Vec<Arc<dyn Contender>> = vec![
        Arc::new(Holdall(FilesystemDriver::builder(sub("holdall")?).durability(Durability::None).open()?)),
        Arc::new(Store(LocalFileSystem::new_with_prefix(sub("object_store")?)?)),
    ];
    row::table("Files, nothing synced", &unsynced, rounds).await?;

    let opendal = sub("opendal-sync")?;
    let synced: Vec<Arc<dyn Contender>> = vec![
        Arc::new(Holdall(FilesystemDriver::builder(sub("holdall-sync")?).durability(Durability::EveryWrite).open()?)),
        Arc::new(Store(LocalFileSystem::new_with_prefix(sub("object_store-sync")?)?.with_fsync(true))),
        Arc::new(Dal(Operator::new(services::Fs::default().root(&opendal.to_string_lossy()))?)),
    ];
    row::table("Files, every write synced (OpenDAL: the file, not its directory)", &synced, rounds).await?;
    Ok(())
}
