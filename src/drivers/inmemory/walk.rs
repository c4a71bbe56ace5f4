//! Listing: ranges of the map, a batch at a time.

use std::collections::VecDeque;
use std::ops::Bound;
use std::sync::Arc;

use super::files::{Files, Kind, below};
use crate::driver::WalkOptions;
use crate::error::{Error, ErrorKind, Result};
use crate::info::FileInfo;
use crate::path::StoragePath;

/// How many files one look at the map takes.
const BATCH: usize = 256;
/// What sorts after all that starts with `/`.
const AFTER_SLASH: char = '0';

/// The direct children of a directory, sorted.
pub(super) fn list(files: &Files, directory: &StoragePath) -> Result<Vec<StoragePath>> {
    let below = below(directory);
    let mut children: Vec<StoragePath> = Vec::new();
    let mut sorted = true;
    let map = files.map();
    let mut range = map.range::<str, _>((Bound::Included(below.as_str()), Bound::Unbounded));
    while let Some((path, _)) = range.next() {
        let Some(rest) = path.as_str().strip_prefix(below.as_str()) else { break };
        let Some(end) = rest.find('/') else {
            children.push(path.clone());
            continue;
        };
        let child = StoragePath::parse(&path.as_str()[..below.len() + end])?;
        let after = format!("{child}{AFTER_SLASH}");
        range = map.range::<str, _>((Bound::Included(after.as_str()), Bound::Unbounded));
        children.push(child);
        sorted = false;
    }
    drop(map);
    if children.is_empty() {
        check(files, directory)?;
    }
    if !sorted {
        // `/a-b` is before `/a/c`, but after `/a`.
        children.sort();
    }
    Ok(children)
}

fn check(files: &Files, directory: &StoragePath) -> Result<()> {
    match files.kind(directory) {
        Kind::Directory => Ok(()),
        Kind::File => Err(Error::new(ErrorKind::NotADirectory)),
        Kind::Missing => Err(Error::new(ErrorKind::PathNotFound)),
    }
}

/// A walk under way.
pub(super) struct Walk {
    files: Arc<Files>,
    options: WalkOptions,
    /// What the paths to visit start with.
    below: String,
    /// What was visited last, directories with a slash at their end; all that comes sorts after it.
    started_after: Option<String>,
    /// Where the next look at the map begins.
    next: Bound<String>,
    batch: VecDeque<FileInfo>,
    /// The directory that the walk is in, without a slash at its end; below `below`.
    inside: String,
}

impl Walk {
    pub(super) fn new(files: Arc<Files>, directory: &StoragePath, options: WalkOptions) -> Result<Self> {
        check(&files, directory)?;
        let top = below(directory);
        let started_after = options
            .start_after
            .as_ref()
            .map(|entry| if entry.is_dir { below(&entry.path) } else { entry.path.as_str().to_owned() });
        let next = match &started_after {
            Some(after) if *after > top => Bound::Excluded(after.clone()),
            _ => Bound::Included(top.clone()),
        };
        let inside = top.trim_end_matches('/').to_owned();
        Ok(Self { files, options, below: top, started_after, next, batch: VecDeque::new(), inside })
    }

    pub(super) fn next(&mut self) -> Result<Option<FileInfo>> {
        loop {
            if self.batch.is_empty() {
                self.look();
            }
            let Some(file) = self.batch.front() else { return Ok(None) };
            let Some(directory) = self.directory_before(&file.path)? else { return Ok(self.batch.pop_front()) };
            directory.as_str().clone_into(&mut self.inside);
            let mut key = below(&directory);
            let is_new = self.started_after.as_ref().is_none_or(|after| key > *after);
            if !self.options.descends(&directory) {
                while self.batch.front().is_some_and(|file| file.path.as_str().starts_with(&key)) {
                    self.batch.pop_front();
                }
                if self.batch.is_empty() {
                    key.pop();
                    key.push(AFTER_SLASH);
                    self.next = Bound::Included(key);
                }
            }
            if is_new {
                return Ok(Some(FileInfo::directory(directory, None)));
            }
        }
    }

    /// The next directory on the way from where the walk is to this file, if there is one.
    fn directory_before(&self, file: &StoragePath) -> Result<Option<StoragePath>> {
        let text = file.as_str();
        let is_inside = |dir: &str| text.strip_prefix(dir).is_some_and(|rest| rest.starts_with('/'));
        let mut inside = self.inside.as_str();
        while inside.len() >= self.below.len() && !is_inside(inside) {
            inside = &inside[..inside.rfind('/').unwrap_or(0)];
        }
        let rest = &text[inside.len() + 1..];
        rest.find('/').map(|end| Ok(StoragePath::parse(&text[..inside.len() + 1 + end])?)).transpose()
    }

    /// Takes the next files out of the map.
    fn look(&mut self) {
        let map = self.files.map();
        let range = map.range::<str, _>((self.next.as_ref().map(String::as_str), Bound::Unbounded));
        for (path, file) in range.take(BATCH).take_while(|(path, _)| path.as_str().starts_with(&self.below)) {
            let state = file.state();
            self.batch.push_back(FileInfo::file(path.clone(), state.content.len(), Some(state.modified)));
        }
        drop(map);
        if let Some(last) = self.batch.back() {
            self.next = Bound::Excluded(last.path.as_str().to_owned());
        }
    }
}
