//! The map of files, and who writes which.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::SystemTime;

use bytes::Bytes;
use tokio::sync::Notify;

use super::MAX_GAP;
use super::content::{Content, Pieces};
use crate::driver::{OnFailure, WriteOptions};
use crate::error::{Error, ErrorKind, Result};
use crate::path::StoragePath;

/// All files of a driver. Locks are taken in the order map, file, and never held across an await.
#[derive(Default)]
pub(super) struct Files {
    map: RwLock<Map>,
    /// Numbers versions and writers; none comes twice.
    counter: AtomicU64,
}

/// Files by their paths; directories are what paths have in common.
type Map = BTreeMap<StoragePath, Arc<File>>;

#[derive(Default)]
pub(super) struct File {
    state: Mutex<State>,
    released: Notify,
}

pub(super) struct State {
    pub(super) content: Content,
    pub(super) modified: SystemTime,
    pub(super) version: u64,
    /// The number of the one who writes it; 0 is nobody.
    writer: u64,
    /// No longer in the map.
    detached: bool,
}

/// What a path is.
pub(super) enum Kind {
    File,
    Directory,
    Missing,
}

/// How a write begins.
pub(super) enum Begun {
    /// It may go on.
    Writing(Writing),
    /// There is no file, and none is to show before the end.
    Missing,
    /// Somebody else writes this file.
    Busy(Arc<File>),
}

impl Default for State {
    fn default() -> Self {
        Self { content: Content::default(), modified: SystemTime::now(), version: 0, writer: 0, detached: false }
    }
}

impl File {
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn new(content: Content, version: u64) -> Arc<Self> {
        let state = State { content, version, ..State::default() };
        Arc::new(Self { state: Mutex::new(state), released: Notify::new() })
    }

    /// Waits until the writer of now may be gone.
    pub(super) async fn released(&self) {
        self.released.notified().await;
        if self.state().detached {
            self.released.notify_one();
        }
    }

    /// Takes the file from its writer.
    fn release(&self, state: &mut State) {
        if std::mem::take(&mut state.writer) != 0 || state.detached {
            self.released.notify_one();
        }
    }

    /// Marks a file that left the map, and gives its content.
    fn detach(&self) -> Content {
        let mut state = self.state();
        state.detached = true;
        self.release(&mut state);
        std::mem::take(&mut state.content)
    }
}

impl Files {
    pub(super) fn map(&self) -> RwLockReadGuard<'_, Map> {
        self.map.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn map_mut(&self) -> RwLockWriteGuard<'_, Map> {
        self.map.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn number(&self) -> u64 {
        self.counter.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Calls `look` on the file at a path.
    pub(super) fn with<T>(&self, path: &StoragePath, look: impl FnOnce(&mut State) -> T) -> Result<T> {
        let map = self.map();
        let file = find(&map, path)?;
        let mut state = file.state();
        Ok(look(&mut state))
    }

    /// Puts a whole content at a path.
    pub(super) fn put(&self, path: &StoragePath, content: Content) -> Result<()> {
        let Err(content) = self.replace(path, content) else { return Ok(()) };
        let mut map = self.map_mut();
        check_vacant(&map, path)?;
        let old = map.insert(path.clone(), File::new(content, self.number()));
        drop(map);
        if let Some(old) = old {
            old.detach();
        }
        Ok(())
    }

    /// Replaces the content of a file that is there; else gives it back.
    fn replace(&self, path: &StoragePath, content: Content) -> Result<(), Content> {
        let map = self.map();
        let Some(file) = map.get(path) else { return Err(content) };
        let mut state = file.state();
        let old = self.set(file, &mut state, content);
        drop(state);
        drop(map);
        drop(old);
        Ok(())
    }

    fn set(&self, file: &File, state: &mut State, content: Content) -> Content {
        file.release(state);
        state.modified = SystemTime::now();
        state.version = self.number();
        std::mem::replace(&mut state.content, content)
    }

    /// Creates a file if there is none, and gives its version.
    pub(super) fn put_absent(&self, path: &StoragePath, content: Content) -> Result<u64> {
        let mut map = self.map_mut();
        if map.contains_key(path) {
            return Err(Error::new(ErrorKind::AlreadyExists));
        }
        check_vacant(&map, path)?;
        let version = self.number();
        map.insert(path.clone(), File::new(content, version));
        Ok(version)
    }

    /// Replaces a file that is still of this version, and gives its new one.
    pub(super) fn put_version(&self, path: &StoragePath, content: Content, version: &str) -> Result<u64> {
        let conflict = |there: &str| Err(Error::new(ErrorKind::Conflict).with_detail(there));
        let map = self.map();
        let Some(file) = map.get(path) else { return conflict("it is gone") };
        let mut state = file.state();
        if version.parse() != Ok(state.version) {
            return conflict("it was written in between");
        }
        let old = self.set(file, &mut state, content);
        let version = state.version;
        drop(state);
        drop(map);
        drop(old);
        Ok(version)
    }

    /// Moves what a file holds to another path. Whoever writes either gets a conflict.
    pub(super) fn rename(&self, from: &StoragePath, to: &StoragePath) -> Result<()> {
        let mut map = self.map_mut();
        find(&map, from).map_err(|error| error.at(super::NAME, from))?;
        if from == to {
            return Ok(());
        }
        if !map.contains_key(to) {
            check_vacant(&map, to)?;
        }
        let Some(source) = map.remove(from) else { return Ok(()) };
        let modified = source.state().modified;
        let file = File::new(source.detach(), self.number());
        file.state().modified = modified;
        let old = map.insert(to.clone(), file);
        drop(map);
        if let Some(old) = old {
            old.detach();
        }
        Ok(())
    }

    /// Removes a file, or all files below a directory.
    pub(super) fn remove(&self, path: &StoragePath) -> Result<()> {
        let mut map = self.map_mut();
        if let Some(file) = map.remove(path) {
            drop(map);
            file.detach();
            return Ok(());
        }
        let below = below(path);
        let mut found = false;
        // A few at a time, so that nobody waits for all of them.
        loop {
            let batch: Vec<StoragePath> = keys_below(&map, &below).take(1024).cloned().collect();
            let files: Vec<_> = batch.iter().filter_map(|path| map.remove(path)).collect();
            drop(map);
            if files.is_empty() {
                return if found { Ok(()) } else { Err(Error::new(ErrorKind::PathNotFound)) };
            }
            found = true;
            for file in files {
                file.detach();
            }
            map = self.map_mut();
        }
    }

    /// What is at a path.
    pub(super) fn kind(&self, path: &StoragePath) -> Kind {
        let map = self.map();
        if map.contains_key(path) {
            Kind::File
        } else if is_directory(&map, path) {
            Kind::Directory
        } else {
            Kind::Missing
        }
    }

    /// Begins a write, if its options hold and nobody else writes the file.
    pub(super) fn begin(self: &Arc<Self>, path: &StoragePath, offset: u64, options: &WriteOptions) -> Result<Begun> {
        if let Some(file) = self.map().get(path) {
            return self.begin_on(file, offset, options);
        }
        let mut map = self.map_mut();
        if let Some(file) = map.get(path) {
            return self.begin_on(file, offset, options);
        }
        check_vacant(&map, path)?;
        options.check(None, offset, MAX_GAP)?;
        if options.on_failure == OnFailure::Discard {
            return Ok(Begun::Missing);
        }
        let file = File::new(Content::default(), self.number());
        map.insert(path.clone(), file.clone());
        self.begin_on(&file, offset, &WriteOptions::default())
    }

    fn begin_on(self: &Arc<Self>, file: &Arc<File>, offset: u64, options: &WriteOptions) -> Result<Begun> {
        let mut state = file.state();
        if state.writer != 0 {
            return Ok(Begun::Busy(file.clone()));
        }
        options.check(Some(state.content.len()), offset, MAX_GAP)?;
        state.writer = self.number();
        Ok(Begun::Writing(Writing { files: self.clone(), number: state.writer, file: file.clone() }))
    }
}

/// The right to write one file, until it is dropped or the file is replaced, moved or deleted.
pub(super) struct Writing {
    files: Arc<Files>,
    file: Arc<File>,
    number: u64,
}

impl Writing {
    /// Makes the file `offset` bytes long: cuts it off or fills it with zeros.
    pub(super) fn start_at(&self, offset: u64) -> Result<()> {
        self.change(|content| {
            content.truncate(offset);
            content.push_zeros(offset - content.len());
        })
    }

    pub(super) fn push(&self, piece: Bytes) -> Result<()> {
        self.change(|content| content.push(piece))
    }

    /// Puts all pieces at `offset` in one step.
    pub(super) fn put(&self, offset: u64, pieces: Pieces) -> Result<()> {
        self.change(|content| {
            content.truncate(offset);
            content.push_zeros(offset - content.len());
            content.append(pieces);
        })
    }

    /// Holds if the file is still the one at its path.
    pub(super) fn check(&self) -> Result<()> {
        self.held().map(drop)
    }

    fn change(&self, change: impl FnOnce(&mut Content)) -> Result<()> {
        let mut state = self.held()?;
        change(&mut state.content);
        state.modified = SystemTime::now();
        state.version = self.files.number();
        Ok(())
    }

    fn held(&self) -> Result<MutexGuard<'_, State>> {
        let state = self.file.state();
        if state.writer == self.number {
            return Ok(state);
        }
        Err(Error::new(ErrorKind::Conflict).with_detail("it was replaced, moved or deleted while it was written"))
    }
}

impl Drop for Writing {
    fn drop(&mut self) {
        if let Ok(mut state) = self.held() {
            self.file.release(&mut state);
        }
    }
}

fn find<'a>(map: &'a Map, path: &StoragePath) -> Result<&'a Arc<File>> {
    map.get(path).ok_or_else(|| {
        Error::new(if is_directory(map, path) { ErrorKind::IsADirectory } else { ErrorKind::PathNotFound })
    })
}

/// What the paths below a directory start with.
pub(super) fn below(directory: &StoragePath) -> String {
    let mut below = directory.as_str().to_owned();
    if !directory.is_root() {
        below.push('/');
    }
    below
}

/// The paths that start with `below`, in order.
fn keys_below<'a>(map: &'a Map, below: &'a str) -> impl Iterator<Item = &'a StoragePath> {
    let from = (Bound::Included(below), Bound::Unbounded);
    map.range::<str, _>(from).map(|(path, _)| path).take_while(move |path| path.as_str().starts_with(below))
}

fn is_directory(map: &Map, path: &StoragePath) -> bool {
    path.is_root() || keys_below(map, &below(path)).next().is_some()
}

/// Whether a file can be made at a path where none is: it must not be a directory, nor lie below a file.
fn check_vacant(map: &Map, path: &StoragePath) -> Result<()> {
    if is_directory(map, path) {
        return Err(Error::new(ErrorKind::IsADirectory));
    }
    let text = path.as_str();
    let parent = text.rfind('/').map_or("", |end| &text[..end]);
    // Where a neighbour has the same parent, that is known to be a directory.
    let neighbour = map.range::<str, _>((Bound::Unbounded, Bound::Excluded(text))).next_back();
    if neighbour.is_some_and(|(path, _)| path.as_str().strip_prefix(parent).is_some_and(|rest| rest.starts_with('/'))) {
        return Ok(());
    }
    let mut ancestors = parent.match_indices('/').map(|(end, _)| &parent[..end]).skip(1).chain([parent]);
    match ancestors.find(|ancestor| map.contains_key(*ancestor)) {
        Some(file) => Err(Error::new(ErrorKind::NotADirectory).with_detail(format!("{file} is a file"))),
        None => Ok(()),
    }
}
