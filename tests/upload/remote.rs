//! A driver as a remote backend behaves: files are uncommitted until they hold all their bytes, appends become visible at
//! their end, and every call is counted and can be made to fail.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::SystemTime;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use holdall::{
    ByteStream, Capabilities, Completion, Error, ErrorKind, FileInfo, OnFailure, Precondition, ReadRange, Result,
    StorageDriver, StoragePath, Version, WalkOptions, WriteOptions,
};
use tokio::sync::Semaphore;

#[derive(Clone, Debug, Default)]
pub(crate) struct Remote(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    files: BTreeMap<StoragePath, File>,
    calls: Vec<&'static str>,
    failing: Option<(&'static str, ErrorKind)>,
    held: Option<(&'static str, Arc<Semaphore>)>,
    conditional: bool,
}

#[derive(Clone, Debug)]
struct File {
    bytes: Vec<u8>,
    committed: bool,
    modified: SystemTime,
}

impl State {
    fn gate(&self, call: &'static str) -> Option<Arc<Semaphore>> {
        self.held.as_ref().filter(|(held, _)| *held == call).map(|(_, gate)| gate.clone())
    }
}

async fn pass(gate: Option<Arc<Semaphore>>) {
    if let Some(gate) = gate {
        gate.acquire().await.unwrap().forget();
    }
}

impl Remote {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    /// The calls since the last time this was asked.
    pub(crate) fn calls(&self) -> Vec<&'static str> {
        std::mem::take(&mut self.state().calls)
    }

    /// Gives small files versions.
    pub(crate) fn conditional(self) -> Self {
        self.state().conditional = true;
        self
    }

    /// Makes all calls of this name fail from now on.
    pub(crate) fn fail(&self, call: impl Into<Option<&'static str>>) {
        self.state().failing = call.into().map(|call| (call, ErrorKind::Backend));
    }

    /// Makes all calls of this name fail for lack of space from now on.
    pub(crate) fn leave_no_space(&self, call: &'static str) {
        self.state().failing = Some((call, ErrorKind::NoSpace));
    }

    /// Lets each call of this name wait for a permit; `bytes` are those of a read, which has seen the file by then.
    pub(crate) fn hold(&self, call: &'static str) -> Arc<Semaphore> {
        let gate = Arc::new(Semaphore::new(0));
        self.state().held = Some((call, gate.clone()));
        gate
    }

    /// Takes back that a file was completed, as a crash right before that does.
    pub(crate) fn uncommit(&self, path: &StoragePath) {
        self.state().files.get_mut(path).unwrap().committed = false;
    }

    pub(crate) fn is_committed(&self, path: &StoragePath) -> bool {
        self.state().files[path].committed
    }

    pub(crate) fn paths(&self) -> Vec<String> {
        self.state().files.keys().map(ToString::to_string).collect()
    }

    async fn call(&self, call: &'static str) -> Result<()> {
        let gate = {
            let mut state = self.state();
            state.calls.push(call);
            if let Some((_, kind)) = state.failing.filter(|(failing, _)| *failing == call) {
                return Err(Error::new(kind).with_detail("made to fail"));
            }
            state.gate(call)
        };
        pass(gate).await;
        Ok(())
    }

    fn file(&self, path: &StoragePath) -> Result<File> {
        self.state().files.get(path).cloned().ok_or_else(|| Error::new(ErrorKind::PathNotFound).at("remote", path))
    }

    fn put(&self, path: &StoragePath, bytes: Vec<u8>, committed: bool) {
        self.state().files.insert(path.clone(), File { bytes, committed, modified: SystemTime::now() });
    }

    fn readable(&self, path: &StoragePath) -> Result<File> {
        let file = self.file(path)?;
        if file.committed { Ok(file) } else { Err(Error::new(ErrorKind::NotCommitted).at("remote", path)) }
    }

    fn check(&self, path: &StoragePath, offset: u64, options: &WriteOptions) -> Result<Vec<u8>> {
        let file = self.file(path).ok();
        options
            .check(file.as_ref().map(|file| file.bytes.len() as u64), offset, 0)
            .map_err(|e| e.at("remote", path))?;
        match file {
            Some(file) if file.committed => Err(Error::new(ErrorKind::AlreadyExists).at("remote", path)),
            file => Ok(file.map_or_else(Vec::new, |file| file.bytes)),
        }
    }
}

#[async_trait]
impl StorageDriver for Remote {
    fn name(&self) -> &'static str {
        "remote"
    }

    fn capabilities(&self) -> Capabilities {
        let mut capabilities = Capabilities::minimal();
        capabilities.uncommitted = true;
        capabilities.exclusive_writers = true;
        capabilities.conditional_put = self.state().conditional;
        capabilities
    }

    async fn read(&self, path: &StoragePath, range: ReadRange) -> Result<(FileInfo, ByteStream)> {
        self.call("read").await?;
        let file = self.readable(path)?;
        let size = file.bytes.len() as u64;
        let range = range.within(size);
        let bytes = Bytes::from(file.bytes).slice(range.start as usize..range.end as usize);
        let gate = self.state().gate("bytes");
        let stream = stream::once(async { Ok((pass(gate).await, bytes).1) });
        Ok((FileInfo::file(path.clone(), size, Some(file.modified)), stream.boxed()))
    }

    async fn put_content(&self, path: &StoragePath, content: Bytes) -> Result<()> {
        self.call("put_content").await?;
        self.put(path, content.into(), true);
        Ok(())
    }

    async fn write_stream(
        &self,
        path: &StoragePath,
        offset: u64,
        mut stream: ByteStream,
        options: WriteOptions,
    ) -> Result<u64> {
        self.call("write_stream").await?;
        self.check(path, offset, &options)?;
        let (mut new, mut failure, room) = (Vec::new(), None, options.room(offset));
        while let Some(piece) = stream.next().await {
            match piece {
                Ok(piece) if (new.len() + piece.len()) as u64 > room => {
                    new.extend_from_slice(&piece[..room as usize - new.len()]);
                    failure = Some(Error::new(ErrorKind::SizeExceeded));
                    break;
                }
                Ok(piece) => new.extend_from_slice(&piece),
                Err(error) => {
                    failure = Some(error);
                    break;
                }
            }
        }
        let read = new.len() as u64;
        if failure.is_some() && options.on_failure == OnFailure::Discard {
            new.clear();
        }
        // Somebody may have come in between: the condition of the request that ends the write.
        let mut bytes = self.check(path, offset, &options)?;
        bytes.truncate(offset as usize);
        bytes.append(&mut new);
        let committed = match options.completion {
            Completion::EndOfStream => true,
            Completion::AtSize(size) => bytes.len() as u64 == size,
            Completion::OnCommit => false,
        };
        self.put(path, bytes, committed);
        failure.map_or(Ok(read), |error| Err(error.at("remote", path).with_bytes_read(read)))
    }

    async fn get_versioned(&self, path: &StoragePath) -> Result<(Bytes, Version)> {
        self.call("get_versioned").await?;
        let bytes = self.readable(path)?.bytes;
        let version = Version::new(String::from_utf8_lossy(&bytes).into_owned());
        Ok((bytes.into(), version))
    }

    async fn put_content_if(&self, path: &StoragePath, content: Bytes, condition: Precondition) -> Result<Version> {
        self.call("put_content_if").await?;
        let there = self.file(path).ok().map(|file| Version::new(String::from_utf8_lossy(&file.bytes).into_owned()));
        match (condition, there) {
            (Precondition::Absent, Some(_)) => return Err(Error::new(ErrorKind::AlreadyExists).at("remote", path)),
            (Precondition::Version(old), there) if there.as_ref() != Some(&old) => {
                return Err(Error::new(ErrorKind::Conflict).at("remote", path));
            }
            _ => {}
        }
        let version = Version::new(String::from_utf8_lossy(&content).into_owned());
        self.put(path, content.into(), true);
        Ok(version)
    }

    async fn stat(&self, path: &StoragePath) -> Result<FileInfo> {
        self.call("stat").await?;
        let file = self.file(path)?;
        Ok(FileInfo::file(path.clone(), file.bytes.len() as u64, Some(file.modified)))
    }

    async fn list(&self, path: &StoragePath) -> Result<Vec<StoragePath>> {
        self.call("list").await?;
        Ok(self.state().files.keys().filter(|file| file.parent().as_ref() == Some(path)).cloned().collect())
    }

    fn walk(&self, path: &StoragePath, options: WalkOptions) -> BoxStream<'static, Result<FileInfo>> {
        let state = self.state();
        let below = state.files.iter().filter(|(file, _)| file.starts_with(path));
        let seen = below.filter(|(file, _)| {
            let folders = std::iter::successors(file.parent(), StoragePath::parent);
            folders.take_while(|folder| folder != path).all(|folder| options.descends(&folder))
        });
        let files = seen.filter(|(_, file)| file.committed);
        let infos = files.map(|(path, file)| Ok(FileInfo::file(path.clone(), file.bytes.len() as u64, None)));
        stream::iter(infos.collect::<Vec<_>>()).boxed()
    }

    async fn move_to(&self, from: &StoragePath, to: &StoragePath) -> Result<()> {
        self.call("move_to").await?;
        let file = self.readable(from)?;
        self.state().files.remove(from);
        self.put(to, file.bytes, true);
        Ok(())
    }

    async fn delete(&self, path: &StoragePath) -> Result<()> {
        self.call("delete").await?;
        self.file(path)?;
        self.state().files.remove(path);
        Ok(())
    }

    async fn concat(&self, sources: &[StoragePath], to: &StoragePath) -> Result<u64> {
        self.call("concat").await?;
        let mut bytes = Vec::new();
        for source in sources {
            bytes.extend(self.readable(source)?.bytes);
        }
        let size = bytes.len() as u64;
        self.put(to, bytes, true);
        Ok(size)
    }

    async fn commit(&self, path: &StoragePath) -> Result<()> {
        self.call("commit").await?;
        self.file(path)?;
        if let Some(file) = self.state().files.get_mut(path) {
            file.committed = true;
        }
        Ok(())
    }
}
