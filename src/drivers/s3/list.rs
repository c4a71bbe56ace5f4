//! Directories, which S3 does not have: what keys share up to a slash.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use futures::stream::{self, BoxStream, StreamExt};

use super::listing::{Listed, Listing};
use super::store::Store;
use crate::driver::WalkOptions;
use crate::error::{Error, ErrorKind, Result};
use crate::info::FileInfo;
use crate::path::StoragePath;

impl Store {
    /// See [`list`](crate::StorageDriver::list).
    pub(super) async fn list(&self, path: &StoragePath) -> Result<Vec<StoragePath>> {
        let mut listing = Listing::of(self.keys.directory(path)).one_level();
        let (mut children, mut is_there) = (BTreeSet::new(), path.is_root());
        while let Some(page) = self.client.page(&mut listing).await? {
            is_there |= !page.objects.is_empty() || !page.prefixes.is_empty();
            let keys = page.objects.iter().map(|object| object.key.as_str());
            let folders = page.prefixes.iter().filter_map(|folder| folder.strip_suffix('/'));
            children.extend(keys.chain(folders).filter_map(|key| self.keys.path_of_object(key)));
        }
        if !is_there {
            return Err(Error::new(ErrorKind::PathNotFound));
        }
        Ok(children.into_iter().collect())
    }

    /// See [`walk`](crate::StorageDriver::walk): one flat listing.
    pub(super) fn walk(
        self: &Arc<Self>,
        path: &StoragePath,
        options: WalkOptions,
    ) -> BoxStream<'static, Result<FileInfo>> {
        let walk = Walk::new(Arc::clone(self), path.clone(), options);
        stream::unfold(Some(walk), |walk| async move {
            let mut walk = walk?;
            match walk.next().await {
                Ok(info) => info.map(|info| (Ok(info), Some(walk))),
                Err(error) => Some((Err(error), None)),
            }
        })
        .fuse()
        .boxed()
    }
}

struct Walk {
    store: Arc<Store>,
    path: StoragePath,
    options: WalkOptions,
    listing: Listing,
    /// What is left of the page.
    objects: VecDeque<Listed>,
    /// What comes before it.
    ready: VecDeque<FileInfo>,
    /// The directories that the last entry lies in, outermost first.
    inside: Vec<StoragePath>,
    /// What keys below the directory begin with that is being skipped.
    skip: Option<String>,
    /// Whether anything was there.
    is_there: bool,
}

impl Walk {
    fn new(store: Arc<Store>, path: StoragePath, options: WalkOptions) -> Self {
        let is_there = path.is_root() || options.start_after.is_some();
        let listing = Listing::of(store.keys.directory(&path));
        let mut walk = Self {
            store,
            path,
            options,
            listing,
            objects: VecDeque::new(),
            ready: VecDeque::new(),
            inside: Vec::new(),
            skip: None,
            is_there,
        };
        if let Some(last) = walk.options.start_after.take() {
            walk.start_after(&last);
        }
        walk
    }

    /// Goes on after an entry: the directories it lies in came before.
    fn start_after(&mut self, last: &FileInfo) {
        if !last.path.starts_with(&self.path) {
            // Nothing of this directory sorts after what does, or all of it.
            self.listing.skip_to(self.store.keys.object(&last.path));
            return;
        }
        let keys = &self.store.keys;
        self.listing.skip_to(if last.is_dir { keys.directory(&last.path) } else { keys.object(&last.path) });
        let innermost = if last.is_dir { Some(last.path.clone()) } else { last.path.parent() };
        let mut inside: Vec<StoragePath> = std::iter::successors(innermost, StoragePath::parent)
            .take_while(|directory| *directory != self.path && !directory.is_root())
            .collect();
        inside.reverse();
        for directory in inside {
            if self.skip.is_none() && !self.options.descends(&directory) {
                let skip = self.store.keys.directory(&directory);
                self.listing.skip_to(format!("{skip}~"));
                self.skip = Some(skip);
            }
            self.inside.push(directory);
        }
    }

    async fn next(&mut self) -> Result<Option<FileInfo>> {
        loop {
            if let Some(info) = self.ready.pop_front() {
                return Ok(Some(info));
            }
            if let Some(object) = self.objects.pop_front() {
                self.enter(object);
                continue;
            }
            let Some(page) = self.store.client.page(&mut self.listing).await? else {
                return if self.is_there { Ok(None) } else { Err(Error::new(ErrorKind::PathNotFound)) };
            };
            self.is_there |= !page.objects.is_empty();
            // Where a page ends in what is skipped, the next one begins behind all of it that is a path.
            if let (Some(skip), Some(last)) = (&self.skip, page.objects.last())
                && last.key.starts_with(&**skip)
                && let behind = format!("{skip}~")
                && last.key < behind
            {
                self.listing.skip_to(behind);
            }
            self.objects = page.objects.into();
        }
    }

    /// Takes a key: first the directories that begin with it, then the file itself.
    fn enter(&mut self, object: Listed) {
        if self.skip.as_ref().is_some_and(|skip| object.key.starts_with(&**skip)) {
            return;
        }
        self.skip = None;
        if self.store.keys.is_past_paths(&object.key) && self.path.is_root() {
            self.objects.clear();
            self.listing.end();
            return;
        }
        // Another tool's marker is a directory; a key that is no path is not ours.
        let (key, is_dir) = match object.key.strip_suffix('/') {
            Some(key) => (key, true),
            None => (object.key.as_str(), false),
        };
        let Some(path) = self.store.keys.path_of_object(key).filter(|path| *path != self.path) else { return };
        let innermost = if is_dir { Some(path.clone()) } else { path.parent() };
        let mut directories: Vec<StoragePath> = std::iter::successors(innermost, StoragePath::parent)
            .take_while(|directory| *directory != self.path && !directory.is_root())
            .collect();
        directories.reverse();
        let same = self.inside.iter().zip(&directories).take_while(|(a, b)| a == b).count();
        self.inside.truncate(same);
        for directory in directories.into_iter().skip(same) {
            self.inside.push(directory.clone());
            let descends = self.options.descends(&directory);
            self.ready.push_back(FileInfo::directory(directory.clone(), None));
            if !descends {
                self.skip = Some(self.store.keys.directory(&directory));
                return;
            }
        }
        if !is_dir {
            self.ready.push_back(FileInfo::file(path, object.size, object.modified));
        }
    }
}
