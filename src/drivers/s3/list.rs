//! Directories, which S3 does not have: what keys share up to a slash.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use futures::stream::{self, BoxStream, StreamExt};

use super::client::{Listed, Page};
use super::store::Store;
use crate::driver::WalkOptions;
use crate::error::{Error, ErrorKind, Result};
use crate::info::FileInfo;
use crate::path::StoragePath;

impl Store {
    /// See [`list`](crate::StorageDriver::list).
    pub(super) async fn list(&self, path: &StoragePath) -> Result<Vec<StoragePath>> {
        let prefix = self.keys.directory(path);
        let (mut children, mut token, mut is_there) = (BTreeSet::new(), None::<String>, path.is_root());
        loop {
            let page = self.client.list(&prefix, true, None, token.as_deref(), None).await?;
            is_there |= !page.objects.is_empty() || !page.prefixes.is_empty();
            let keys = page.objects.iter().map(|object| object.key.as_str());
            let folders = page.prefixes.iter().filter_map(|folder| folder.strip_suffix('/'));
            children.extend(keys.chain(folders).filter_map(|key| self.keys.path_of_object(key)));
            token = page.next;
            if token.is_none() {
                break;
            }
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
    prefix: String,
    /// The listing goes on after this key, or on the page of this token.
    after: Option<String>,
    token: Option<String>,
    /// Whether all pages were got.
    ended: bool,
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
        let prefix = store.keys.directory(&path);
        let mut walk = Self {
            store,
            path,
            options,
            prefix,
            after: None,
            token: None,
            ended: false,
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
            self.after = Some(self.store.keys.object(&last.path));
            return;
        }
        self.after =
            Some(if last.is_dir { self.store.keys.directory(&last.path) } else { self.store.keys.object(&last.path) });
        let innermost = if last.is_dir { Some(last.path.clone()) } else { last.path.parent() };
        let mut inside: Vec<StoragePath> = std::iter::successors(innermost, StoragePath::parent)
            .take_while(|directory| *directory != self.path && !directory.is_root())
            .collect();
        inside.reverse();
        for directory in inside {
            if self.skip.is_none() && !self.options.descends(&directory) {
                let skip = self.store.keys.directory(&directory);
                self.after = Some(format!("{skip}~"));
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
            if self.ended {
                return if self.is_there { Ok(None) } else { Err(Error::new(ErrorKind::PathNotFound)) };
            }
            let (after, token) = (self.after.as_deref(), self.token.as_deref());
            let page: Page = self.store.client.list(&self.prefix, false, after, token, None).await?;
            self.is_there |= !page.objects.is_empty();
            let last = page.objects.last().map(|object| object.key.clone());
            self.objects = page.objects.into();
            self.token = page.next;
            self.ended = self.token.is_none();
            // Where a page ends in what is skipped, the next one begins behind all of it that is a path.
            if let (Some(skip), Some(last), false) = (&self.skip, &last, self.ended)
                && last.starts_with(&**skip)
                && let behind = format!("{skip}~")
                && *last < behind
            {
                self.after = Some(behind);
                self.token = None;
            }
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
            self.ended = true;
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
