//! Listing and walking.

use std::cmp::Ordering;
use std::collections::VecDeque;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use rustix::fs::{AtFlags, FileType};
use rustix::io::Errno;

use super::Store;
use super::directory::{child, entries, info};
use super::errors::At;
use super::pace::Work;
use crate::driver::WalkOptions;
use crate::error::Result;
use crate::info::FileInfo;
use crate::path::StoragePath;

/// How many entries are looked at together.
const BATCH: usize = 256;
/// How many children are listed on the async worker.
pub(super) const FEW: usize = 250;

impl Store {
    /// The children of a directory, sorted; `None` if there are more than `most`.
    pub(super) fn list(&self, path: &StoragePath, most: usize) -> Result<Option<Vec<StoragePath>>> {
        let dir = self.open_listed(path)?;
        let mut children = Vec::new();
        let listed = entries(&dir, |name, kind| {
            if let (FileType::RegularFile | FileType::Directory, Ok(name)) = (kind, name.to_str()) {
                children.extend(child(path, name));
            }
            if children.len() > most { Err(Errno::OVERFLOW) } else { Ok(()) }
        });
        if children.len() > most {
            return Ok(None);
        }
        listed.at(path)?;
        children.sort_unstable();
        Ok(Some(children))
    }

    /// A directory whose entries are asked for: a file is not one, and below a file is nothing.
    fn open_listed(&self, path: &StoragePath) -> Result<OwnedFd> {
        let opened = self.root.open_directory(path);
        if opened.as_ref().err() == Some(&Errno::NOTDIR) && self.root.parent(path).is_ok() {
            return opened.at(path);
        }
        opened.found(path)
    }

    /// All below a directory, in order.
    pub(super) fn walk(
        self: &Arc<Self>,
        path: &StoragePath,
        options: WalkOptions,
    ) -> BoxStream<'static, Result<FileInfo>> {
        let walker = Walker {
            store: Arc::clone(self),
            path: path.clone(),
            start: options.start_after.as_ref().map(|info| key(info.path.as_str(), info.is_dir)),
            options,
            levels: Vec::new(),
            next: Some(path.clone()),
            begun: false,
        };
        stream::try_unfold(walker, |mut walker| async {
            let (store, path) = (Arc::clone(&walker.store), walker.path.clone());
            let work = move || walker.batch().map(|batch| (batch, walker));
            let (batch, walker) = store.pace.run(Work::Slow, &path, work).await??;
            Ok::<_, crate::Error>(batch.map(|batch| (stream::iter(batch.into_iter().map(Ok)), walker)))
        })
        .try_flatten()
        .boxed()
    }
}

/// A walk, from one batch to the next. It has the names of the directories open at each level, and no others.
struct Walker {
    store: Arc<Store>,
    /// Where it began.
    path: StoragePath,
    options: WalkOptions,
    /// The key that was got last in an earlier walk, until this one is past it.
    start: Option<String>,
    levels: Vec<Level>,
    /// The directory to go down into next.
    next: Option<StoragePath>,
    begun: bool,
}

/// A directory on the way to where the walk is.
struct Level {
    path: StoragePath,
    dir: OwnedFd,
    entries: VecDeque<Entry>,
}

struct Entry {
    name: Box<str>,
    is_dir: bool,
}

/// What the order goes by: the path, which for a directory ends in `/`.
fn key(path: &str, is_dir: bool) -> String {
    format!("{path}{}", if is_dir { "/" } else { "" })
}

impl Entry {
    fn cmp(&self, other: &Self) -> Ordering {
        fn key(entry: &Entry) -> impl Iterator<Item = u8> {
            entry.name.bytes().chain(entry.is_dir.then_some(b'/'))
        }
        key(self).cmp(key(other))
    }
}

/// Where an entry is, seen from the key after which a walk starts.
enum Place {
    Before,
    /// A directory with something after it.
    Holds,
    After,
}

impl Walker {
    /// The next entries; `None` at the end.
    fn batch(&mut self) -> Result<Option<Vec<FileInfo>>> {
        let mut batch = Vec::new();
        while batch.len() < BATCH {
            if let Some(directory) = self.next.take() {
                self.enter(directory)?;
            }
            let Some(level) = self.levels.last_mut() else { break };
            let Some(entry) = level.entries.pop_front() else {
                self.levels.pop();
                continue;
            };
            let Some(path) = child(&level.path, &entry.name) else { continue };
            let place = place(self.start.as_deref(), &path, entry.is_dir);
            if matches!(place, Place::Before) {
                continue;
            }
            if matches!(place, Place::Holds) {
                self.next = Some(path);
                continue;
            }
            self.start = None;
            let stat = match rustix::fs::statat(&level.dir, &*entry.name, AtFlags::SYMLINK_NOFOLLOW) {
                Err(Errno::NOENT) => continue,
                stat => stat.at(&path)?,
            };
            let Some(info) = info(path, &stat).filter(|info| info.is_dir == entry.is_dir) else { continue };
            if info.is_dir {
                self.next = Some(info.path.clone());
            }
            batch.push(info);
            // Who decides what to skip has seen the directory by then.
            if self.next.is_some() && self.options.descend.is_some() {
                break;
            }
        }
        Ok((!batch.is_empty()).then_some(batch))
    }

    fn enter(&mut self, path: StoragePath) -> Result<()> {
        let first = !std::mem::replace(&mut self.begun, true);
        if !first && !self.options.descends(&path) {
            return Ok(());
        }
        let dir = match self.store.root.open_directory(&path) {
            // It went in between.
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) if !first => return Ok(()),
            _ if first => self.store.open_listed(&path)?,
            opened => opened.at(&path)?,
        };
        let entries = sorted(&dir).at(&path)?;
        self.levels.push(Level { path, dir, entries });
        Ok(())
    }
}

fn sorted(dir: impl AsFd) -> rustix::io::Result<VecDeque<Entry>> {
    let mut found = Vec::new();
    entries(dir, |name, kind| {
        if let (FileType::RegularFile | FileType::Directory, Ok(name)) = (kind, name.to_str()) {
            found.push(Entry { name: name.into(), is_dir: kind == FileType::Directory });
        }
        Ok(())
    })?;
    found.sort_unstable_by(Entry::cmp);
    Ok(found.into())
}

fn place(start: Option<&str>, path: &StoragePath, is_dir: bool) -> Place {
    let Some(start) = start else { return Place::After };
    let key = key(path.as_str(), is_dir);
    if key.as_str() > start {
        Place::After
    } else if is_dir && start.starts_with(&key) {
        Place::Holds
    } else {
        Place::Before
    }
}
