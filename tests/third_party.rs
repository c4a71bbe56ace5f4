//! A driver as a third party writes one: complete, in this one file, and proved by the last line.
//!
//! It imitates an object store: keys are flat, so that `/a` and `/a/b` can both be files, and an uncommitted object can't
//! be read yet. It is written to be short. Contents are copied and streams are gathered whole, which
//! `max_stream_memory` owns up to; writers don't lock anything, but find out at their end if somebody else came first.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use holdall::conformance::Harness;
use holdall::{
    ByteStream, Capabilities, Completion, Error, ErrorKind, FileInfo, OnFailure, Precondition, ReadRange, Result,
    StorageDriver, StoragePath, Version, WalkOptions, WriteOptions,
};

const NAME: &str = "bucket";
const MAX_GAP: u64 = 16 << 20;

/// A clone is the same bucket.
#[derive(Clone, Debug, Default)]
pub(crate) struct Bucket(Arc<Mutex<Objects>>);

#[derive(Debug, Default)]
struct Objects {
    by_path: BTreeMap<StoragePath, Object>,
    /// Counts changes; what a change made is of this version.
    changes: u64,
}

#[derive(Clone, Debug)]
struct Object {
    content: Bytes,
    modified: SystemTime,
    version: u64,
    committed: bool,
}

/// An error as all of them are: with the driver's name and the path.
fn error(kind: ErrorKind, path: &StoragePath) -> Error {
    Error::new(kind).at(NAME, path)
}

/// Where the root is not a file, nor ever will be.
fn not_root(path: &StoragePath) -> Result<()> {
    if path.is_root() { Err(error(ErrorKind::InvalidPath, path)) } else { Ok(()) }
}

impl Objects {
    fn get(&self, path: &StoragePath) -> Result<&Object> {
        self.by_path.get(path).ok_or_else(|| error(ErrorKind::PathNotFound, path))
    }

    fn get_committed(&self, path: &StoragePath) -> Result<&Object> {
        let object = self.get(path)?;
        if object.committed { Ok(object) } else { Err(error(ErrorKind::NotCommitted, path)) }
    }

    fn put(&mut self, path: &StoragePath, content: Bytes, committed: bool) -> Result<Version> {
        not_root(path)?;
        self.changes += 1;
        let object = Object { content, modified: SystemTime::now(), version: self.changes, committed };
        self.by_path.insert(path.clone(), object);
        Ok(Version::new(self.changes.to_string()))
    }

    fn version(&self, path: &StoragePath) -> Option<u64> {
        self.by_path.get(path).map(|object| object.version)
    }

    /// All that lies below a directory, in the order that a walk gives: keys with a slash at the end of a directory.
    fn below(&self, directory: &StoragePath) -> BTreeMap<String, FileInfo> {
        let mut all = BTreeMap::new();
        for (path, object) in self.by_path.iter().filter(|(path, _)| path.starts_with(directory) && *path != directory)
        {
            if object.committed {
                let info = FileInfo::file(path.clone(), object.content.len() as u64, Some(object.modified));
                all.insert(path.to_string(), info);
            }
            let ancestors = std::iter::successors(path.parent(), StoragePath::parent);
            for ancestor in ancestors.take_while(|ancestor| ancestor.starts_with(directory) && ancestor != directory) {
                all.insert(format!("{ancestor}/"), FileInfo::directory(ancestor, None));
            }
        }
        all
    }

    fn is_directory(&self, path: &StoragePath) -> bool {
        path.is_root() || self.by_path.keys().any(|other| other.starts_with(path) && other != path)
    }

    fn directory(&self, path: &StoragePath) -> Result<BTreeMap<String, FileInfo>> {
        if self.is_directory(path) { Ok(self.below(path)) } else { Err(error(ErrorKind::PathNotFound, path)) }
    }
}

impl Bucket {
    fn objects(&self) -> MutexGuard<'_, Objects> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts `new` behind the first `offset` bytes of what is there, if that is still of the version that the writer saw.
    fn write(&self, path: &StoragePath, offset: u64, new: &[u8], seen: Option<u64>, committed: bool) -> Result<()> {
        let mut objects = self.objects();
        if objects.version(path) != seen {
            return Err(error(ErrorKind::Conflict, path));
        }
        let mut content = objects.by_path.get(path).map(|object| object.content.to_vec()).unwrap_or_default();
        content.resize(offset as usize, 0);
        content.extend_from_slice(new);
        objects.put(path, content.into(), committed).map(drop)
    }
}

#[async_trait]
impl StorageDriver for Bucket {
    fn name(&self) -> &'static str {
        NAME
    }

    fn capabilities(&self) -> Capabilities {
        let mut can = Capabilities::minimal();
        can.conditional_put = true;
        can.exclusive_writers = true;
        can.uncommitted = true;
        can.max_gap = MAX_GAP;
        can
    }

    async fn read(&self, path: &StoragePath, range: ReadRange) -> Result<(FileInfo, ByteStream)> {
        let object = self.objects().get_committed(path)?.clone();
        let size = object.content.len() as u64;
        let range = range.within(size);
        let piece = object.content.slice(range.start as usize..range.end as usize);
        let info = FileInfo::file(path.clone(), size, Some(object.modified));
        Ok((info, stream::iter([Ok(piece)]).boxed()))
    }

    async fn put_content(&self, path: &StoragePath, content: Bytes) -> Result<()> {
        self.objects().put(path, Bytes::copy_from_slice(&content), true).map(drop)
    }

    async fn write_stream(
        &self,
        path: &StoragePath,
        offset: u64,
        mut stream: ByteStream,
        options: WriteOptions,
    ) -> Result<u64> {
        not_root(path)?;
        let (size, seen) = {
            let objects = self.objects();
            let there = objects.by_path.get(path);
            (there.map(|object| object.content.len() as u64), there.map(|object| object.version))
        };
        options.check(size, offset, MAX_GAP).map_err(|error| error.at(NAME, path))?;

        let mut new = Vec::new();
        let mut failure = None;
        while let Some(piece) = stream.next().await {
            match piece {
                Ok(piece) => new.extend_from_slice(&piece),
                Err(error) if error.kind() == ErrorKind::Stream => failure = Some(error),
                Err(error) => failure = Some(Error::stream(error)),
            }
            if new.len() as u64 > options.room(offset) {
                failure = Some(Error::new(ErrorKind::SizeExceeded));
            }
            if failure.is_some() {
                break;
            }
        }
        let read = new.len() as u64;
        new.truncate(usize::try_from(options.room(offset)).unwrap_or(usize::MAX));
        if failure.is_none() || options.on_failure == OnFailure::KeepPrefix {
            let whole = match options.completion {
                Completion::EndOfStream => true,
                Completion::AtSize(end) => offset + new.len() as u64 == end,
                Completion::OnCommit => false,
            };
            self.write(path, offset, &new, seen, whole).map_err(|error| error.with_bytes_read(read))?;
        }
        failure.map_or(Ok(read), |error| Err(error.with_bytes_read(read).at(NAME, path)))
    }

    async fn stat(&self, path: &StoragePath) -> Result<FileInfo> {
        let objects = self.objects();
        match objects.get(path) {
            Ok(object) => Ok(FileInfo::file(path.clone(), object.content.len() as u64, Some(object.modified))),
            Err(_) if objects.is_directory(path) => Ok(FileInfo::directory(path.clone(), None)),
            Err(error) => Err(error),
        }
    }

    async fn list(&self, path: &StoragePath) -> Result<Vec<StoragePath>> {
        let below = self.objects().directory(path)?;
        let children = below.into_values().map(|info| info.path).filter(|child| child.parent().as_ref() == Some(path));
        Ok(children.collect::<BTreeSet<_>>().into_iter().collect())
    }

    fn walk(&self, path: &StoragePath, options: WalkOptions) -> BoxStream<'static, Result<FileInfo>> {
        let below = match self.objects().directory(path) {
            Ok(below) => below,
            Err(error) => return stream::iter([Err(error)]).boxed(),
        };
        let key = |info: &FileInfo| format!("{}{}", info.path, if info.is_dir { "/" } else { "" });
        let after = options.start_after.as_ref().map(key);
        let mut skipped: Option<StoragePath> = None;
        let entries = below.into_iter().filter_map(move |(key, info)| {
            if skipped.as_ref().is_some_and(|skipped| info.path.starts_with(skipped)) {
                return None;
            }
            if info.is_dir && !options.descends(&info.path) {
                skipped = Some(info.path.clone());
            }
            after.as_ref().is_none_or(|after| key > *after).then_some(Ok(info))
        });
        stream::iter(entries).boxed()
    }

    async fn move_to(&self, from: &StoragePath, to: &StoragePath) -> Result<()> {
        let mut objects = self.objects();
        let object = objects.get_committed(from)?.clone();
        if from != to {
            objects.put(to, object.content, true)?;
            objects.by_path.remove(from);
        }
        Ok(())
    }

    async fn delete(&self, path: &StoragePath) -> Result<()> {
        not_root(path)?;
        let mut objects = self.objects();
        let before = objects.by_path.len();
        objects.by_path.retain(|other, _| !other.starts_with(path));
        if objects.by_path.len() < before { Ok(()) } else { Err(error(ErrorKind::PathNotFound, path)) }
    }

    async fn concat(&self, sources: &[StoragePath], to: &StoragePath) -> Result<u64> {
        let mut objects = self.objects();
        let mut whole = Vec::new();
        for source in sources {
            whole.extend_from_slice(&objects.get_committed(source)?.content);
        }
        let length = whole.len() as u64;
        objects.put(to, whole.into(), true)?;
        Ok(length)
    }

    async fn commit(&self, path: &StoragePath) -> Result<()> {
        let mut objects = self.objects();
        let object = objects.get(path)?.clone();
        if object.committed { Ok(()) } else { objects.put(path, object.content, true).map(drop) }
    }

    async fn get_versioned(&self, path: &StoragePath) -> Result<(Bytes, Version)> {
        let object = self.objects().get_committed(path)?.clone();
        Ok((object.content, Version::new(object.version.to_string())))
    }

    async fn put_content_if(&self, path: &StoragePath, content: Bytes, condition: Precondition) -> Result<Version> {
        let mut objects = self.objects();
        let there = objects.version(path);
        match condition {
            Precondition::Absent if there.is_some() => Err(error(ErrorKind::AlreadyExists, path)),
            Precondition::Version(version)
                if there.map(|there| there.to_string()).as_deref() != Some(version.as_str()) =>
            {
                Err(error(ErrorKind::Conflict, path))
            }
            _ => objects.put(path, Bytes::copy_from_slice(&content), true),
        }
    }
}

#[derive(Default)]
struct FreshBucket(Bucket);

#[async_trait]
impl Harness for FreshBucket {
    async fn open(&self) -> Arc<dyn StorageDriver> {
        Arc::new(self.0.clone())
    }

    async fn leftovers(&self) -> Vec<String> {
        self.0.objects().by_path.keys().map(ToString::to_string).collect()
    }
}

holdall::conformance_tests!(bucket, FreshBucket::default());
