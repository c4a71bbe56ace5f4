//! The map of files, and who writes which.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
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

    /// Waits until the writer of now may be gone. While there is none, each waiter wakes the next one, since it may be
    /// refused itself.
    pub(super) async fn released(&self) {
        self.released.notified().await;
        let state = self.state();
        if state.writer == 0 || state.detached {
            self.released.notify_one();
        }
    }
}

impl State {
    /// Takes the file from its writer.
    fn release(&mut self, file: &File) {
        self.writer = 0;
        file.released.notify_one();
    }

    /// Marks a file that left the map, and gives its content.
    fn detach(&mut self, file: &File) -> Content {
        self.detached = true;
        self.release(file);
        std::mem::take(&mut self.content)
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
        let file = File::new(content, self.number());
        let mut map = self.map_mut();
        let old = place(&mut map, path, file)?;
        drop(map);
        if let Some(old) = old {
            old.state().detach(&old);
        }
        Ok(())
    }

    /// Creates a file if there is none, and gives its version.
    pub(super) fn put_absent(&self, path: &StoragePath, content: Content) -> Result<u64> {
        let version = self.number();
        let file = File::new(content, version);
        let mut map = self.map_mut();
        if map.contains_key(path) {
            return Err(Error::new(ErrorKind::AlreadyExists));
        }
        place(&mut map, path, file)?;
        Ok(version)
    }

    /// Replaces a file that is still of this version, and gives its new one.
    pub(super) fn put_version(&self, path: &StoragePath, content: Content, version: &str) -> Result<u64> {
        let conflict = |there: &str| Error::new(ErrorKind::Conflict).with_detail(there);
        let mut map = self.map_mut();
        let file = map.get_mut(path).ok_or_else(|| conflict("it is gone"))?;
        let mut state = file.state();
        if version.parse() != Ok(state.version) {
            return Err(conflict("it was written in between"));
        }
        let old = state.detach(file);
        drop(state);
        let version = self.number();
        *file = File::new(content, version);
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
        let target = File::new(Content::default(), self.number());
        let old = place(&mut map, to, target.clone())?;
        if let Some(source) = map.remove(from) {
            let mut source_state = source.state();
            let mut target = target.state();
            target.modified = source_state.modified;
            target.content = source_state.detach(&source);
        }
        drop(map);
        if let Some(old) = old {
            old.state().detach(&old);
        }
        Ok(())
    }

    /// Removes a file, or all files below a directory.
    pub(super) fn remove(&self, path: &StoragePath) -> Result<()> {
        let mut map = self.map_mut();
        if let Some(file) = map.remove(path) {
            drop(map);
            file.state().detach(&file);
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
                file.state().detach(&file);
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
        let file = match map.entry(path.clone()) {
            Entry::Occupied(file) => return self.begin_on(file.get(), offset, options),
            Entry::Vacant(place) => place.insert(File::new(Content::default(), self.number())).clone(),
        };
        let allowed = check_place(&map, path).and_then(|()| options.check(None, offset, MAX_GAP));
        if allowed.is_err() || options.on_failure == OnFailure::Discard {
            map.remove(path);
            return allowed.map(|()| Begun::Missing);
        }
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
            state.release(&self.file);
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
    path.is_root() || follows_as_directory(map, path, after(map, path))
}

/// The first path that sorts after this one.
fn after<'a>(map: &'a Map, path: &StoragePath) -> Option<&'a str> {
    let after = (Bound::Excluded(path.as_str()), Bound::Unbounded);
    map.range::<str, _>(after).next().map(|(path, _)| path.as_str())
}

/// Whether a path is a directory, by what sorts `after` it: one of its children, unless a sibling such as `/a-b` does.
fn follows_as_directory(map: &Map, path: &StoragePath, after: Option<&str>) -> bool {
    match after.and_then(|after| after.strip_prefix(path.as_str())) {
        None => false,
        Some(rest) if rest.starts_with('/') => true,
        Some(_) => keys_below(map, &below(path)).next().is_some(),
    }
}

/// Puts a file at a path, and gives the one that was there.
fn place(map: &mut Map, path: &StoragePath, file: Arc<File>) -> Result<Option<Arc<File>>> {
    let old = map.insert(path.clone(), file);
    // Where a file was one can be. Looking after the insertion spares a search, and nobody sees it before.
    if old.is_none()
        && let Err(error) = check_place(map, path)
    {
        map.remove(path);
        return Err(error);
    }
    Ok(old)
}

/// Whether there can be a file at a path, by its neighbours: it must not be a directory, nor lie below a file.
fn check_place(map: &Map, path: &StoragePath) -> Result<()> {
    let next = after(map, path);
    if path.is_root() || follows_as_directory(map, path, next) {
        return Err(Error::new(ErrorKind::IsADirectory));
    }
    let text = path.as_str();
    let parent = text.rfind('/').map_or("", |end| &text[..end]);
    let is_sibling = |other: &str| other.strip_prefix(parent).is_some_and(|rest| rest.starts_with('/'));
    let before = || map.range::<str, _>((Bound::Unbounded, Bound::Excluded(text))).next_back();
    // Where a neighbour has the same parent, that is known to be a directory.
    if next.is_some_and(is_sibling) || before().is_some_and(|(path, _)| is_sibling(path.as_str())) {
        return Ok(());
    }
    let mut ancestors = parent.match_indices('/').map(|(end, _)| &parent[..end]).skip(1).chain([parent]);
    match ancestors.find(|ancestor| map.contains_key(*ancestor)) {
        Some(file) => Err(Error::new(ErrorKind::NotADirectory).with_detail(format!("{file} is a file"))),
        None => Ok(()),
    }
}
