//! The drivers beside object_store and OpenDAL: the same calls in turn, in one process, as ratios.
//!
//! usage: drivers [--dir DIR] [--rounds N] [--only memory|files|s3] [--row NAME]
//!
//! Each row is run in rounds; in a round each contender runs it once, in an order that rotates. The first figure is the
//! median time of one call of ours; those behind it say how many times as long the peer took in the same round (median
//! of the rounds), so that above 1 we are ahead. `DIR` is where the file systems' files go (default: the system's folder
//! for temporary files); on tmpfs the cost of the calls shows, on a disk that of its syncs. The S3 servers are processes of
//! their own, so that for S3 there is a second table: of the processors' time that this process, the client, spent.

mod contender;
mod row;
mod s3;

use std::path::PathBuf;
use std::sync::Arc;

use contender::{Contender, Dal, Holdall, Store};
use holdall::drivers::{Durability, FilesystemDriver, InMemoryDriver};
use object_store::{local::LocalFileSystem, memory::InMemory};
use opendal::{Operator, services};
use row::Show;

type Failure = Box<dyn std::error::Error + Send + Sync>;

fn main() -> Result<(), Failure> {
    let (mut dir, mut rounds, mut only, mut row) = (std::env::temp_dir(), 9, None, String::new());
    let mut arguments = std::env::args().skip(1).peekable();
    if arguments.next_if(|first| first == s3::SERVE).is_some() {
        return s3::serve();
    }
    while let Some(flag) = arguments.next() {
        let value = arguments.next().ok_or_else(|| format!("{flag} needs a value"))?;
        match flag.as_str() {
            "--dir" => dir = PathBuf::from(value),
            "--rounds" => rounds = value.parse()?,
            "--only" => only = Some(value),
            "--row" => row = value,
            _ => {
                let usage = "usage: drivers [--dir DIR] [--rounds N] [--only memory|files|s3] [--row NAME]";
                return Err(format!("unknown flag {flag}; {usage}").into());
            }
        }
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let all = async move {
        let wanted = |kind| only.as_deref().is_none_or(|only| only == kind);
        if wanted("memory") {
            memory(rounds, &row).await?;
        }
        if wanted("files") {
            files(dir, rounds, &row).await?;
        }
        if wanted("s3") {
            s3::tables(rounds, &row).await?;
        }
        Ok(())
    };
    runtime.block_on(async move { tokio::spawn(all).await? })
}

async fn memory(rounds: usize, only: &str) -> Result<(), Failure> {
    let memory: Vec<Arc<dyn Contender>> = vec![
        Arc::new(Holdall(InMemoryDriver::new())),
        Arc::new(Store(Arc::new(InMemory::new()), None)),
        Arc::new(Dal(Operator::new(services::Memory::default())?, None)),
    ];
    Ok(row::table("In memory", &memory, &row::LOCAL, rounds, only, Show::Time).await?)
}

async fn files(dir: PathBuf, rounds: usize, only: &str) -> Result<(), Failure> {
    let folder = tempfile::tempdir_in(&dir)?;
    let sub = |name: &str| -> std::io::Result<PathBuf> {
        let path = folder.path().join(name);
        std::fs::create_dir(&path)?;
        Ok(path)
    };
    let unsynced: Vec<Arc<dyn Contender>> = vec![
        Arc::new(Holdall(FilesystemDriver::builder(sub("holdall")?).durability(Durability::None).open()?)),
        Arc::new(Store(Arc::new(LocalFileSystem::new_with_prefix(sub("object_store")?)?), None)),
    ];
    row::table("Files, nothing synced", &unsynced, &row::LOCAL, rounds, only, Show::Time).await?;

    let opendal = sub("opendal-sync")?;
    let synced: Vec<Arc<dyn Contender>> = vec![
        Arc::new(Holdall(FilesystemDriver::builder(sub("holdall-sync")?).durability(Durability::EveryWrite).open()?)),
        Arc::new(Store(Arc::new(LocalFileSystem::new_with_prefix(sub("object_store-sync")?)?.with_fsync(true)), None)),
        Arc::new(Dal(Operator::new(services::Fs::default().root(&opendal.to_string_lossy()))?, None)),
    ];
    row::table(
        "Files, every write synced (OpenDAL: the file, not its directory)",
        &synced,
        &row::LOCAL,
        rounds,
        only,
        Show::Time,
    )
    .await?;
    Ok(())
}
