//! The model: whole contents by their paths, and what each operation makes of them.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use super::{Operation, Output, Seen, content, key};
use crate::conformance::context::path;
use crate::driver::{Completion, Expected, OnFailure, ReadRange, StorageDriver, WriteOptions};
use crate::error::{Error, ErrorKind, Result};
use crate::info::Version;
use crate::path::StoragePath;

/// An error that applies, with the bytes read from the stream if they are certain.
#[derive(Clone, Copy, Debug)]
pub(super) struct Refusal(ErrorKind, Option<u64>);

impl Refusal {
    pub(super) fn fits(&self, error: &Error) -> bool {
        error.kind() == self.0 && self.1.is_none_or(|read| error.bytes_read() == read)
    }
}

fn refuse<T>(kinds: impl IntoIterator<Item = ErrorKind>) -> Result<T, Vec<Refusal>> {
    Err(kinds.into_iter().map(|kind| Refusal(kind, None)).collect())
}

#[derive(Clone, Default)]
pub(super) struct Model {
    pub(super) files: BTreeMap<StoragePath, File>,
    /// Directories that had a child once, and were not deleted.
    directories: BTreeSet<StoragePath>,
    /// Whether those without a child are still there.
    ghosts: bool,
}

#[derive(Clone)]
pub(super) struct File {
    pub(super) content: Bytes,
    /// The number of the operation that changed it last.
    pub(super) changed: u64,
}

impl Model {
    /// The same, with emptied directories there or gone.
    pub(super) fn with_ghosts(&self, ghosts: bool) -> Self {
        Self { ghosts, ..self.clone() }
    }

    /// The operation as this driver can be asked for it; `None` if it can't.
    pub(super) fn fitting(&self, driver: &dyn StorageDriver, operation: &Operation) -> Option<Operation> {
        let can = driver.capabilities();
        let files: Vec<&StoragePath> = match operation {
            Operation::Write { path, .. } | Operation::Put(path, _) | Operation::Commit(path) => vec![path],
            Operation::Read(path, ..) | Operation::ReadSuffix(path, _) => vec![path],
            Operation::GetVersioned(path) | Operation::PutIf(path, ..) if can.conditional_put => vec![path],
            Operation::GetVersioned(_) | Operation::PutIf(..) => return None,
            Operation::Move(from, to) => vec![from, to],
            Operation::Concat(sources, to) => sources.iter().chain([to]).collect(),
            Operation::List(path) | Operation::Walk(path, ..) if !can.file_directory_conflicts => {
                return (!self.files.contains_key(path)).then(|| operation.clone());
            }
            _ => Vec::new(),
        };
        let clash = files.iter().any(|path| self.is_directory(path) || self.is_below_a_file(path));
        if clash && !can.file_directory_conflicts {
            return None;
        }
        let mut operation = operation.clone();
        if let Operation::Write { path, offset, completion, .. } = &mut operation {
            let size = self.size(path);
            if offset.within(size).saturating_sub(size) > can.max_gap {
                return None;
            }
            *completion = completion.filter(|_| !can.uncommitted);
        }
        Some(operation)
    }

    fn size(&self, path: &StoragePath) -> u64 {
        self.files.get(path).map_or(0, |file| file.content.len() as u64)
    }

    /// Offset and options of a write.
    pub(super) fn write_options(&self, operation: &Operation) -> (u64, WriteOptions) {
        let Operation::Write { path, offset, expected, discard, completion, length, .. } = operation else {
            return (0, WriteOptions::default());
        };
        let size = self.size(path);
        let offset = offset.within(size);
        let expected = match expected {
            None => Expected::Any,
            Some(None) => Expected::Absent,
            Some(Some(position)) => Expected::Size(position.within(size)),
        };
        let completion = match completion {
            None => Completion::EndOfStream,
            Some(None) => Completion::OnCommit,
            Some(Some(position)) => Completion::AtSize(position.within(offset + length.0)),
        };
        let on_failure = if *discard { OnFailure::Discard } else { OnFailure::KeepPrefix };
        (offset, WriteOptions { expected, on_failure, completion })
    }

    pub(super) fn range(&self, operation: &Operation) -> ReadRange {
        match operation {
            Operation::Read(path, start, length) => {
                let start = start.within(self.size(path));
                ReadRange::Bounded(start, length.map(|length| start + length))
            }
            Operation::ReadSuffix(_, length) => ReadRange::Suffix(*length),
            _ => ReadRange::FULL,
        }
    }

    fn has_children(&self, path: &StoragePath) -> bool {
        self.files.keys().any(|file| file.starts_with(path) && file != path)
    }

    /// A directory whose last child went.
    pub(super) fn is_ghost(&self, path: &StoragePath) -> bool {
        self.directories.contains(path) && !self.has_children(path)
    }

    fn is_directory(&self, path: &StoragePath) -> bool {
        path.is_root() || self.has_children(path) || (self.ghosts && self.directories.contains(path))
    }

    fn is_below_a_file(&self, path: &StoragePath) -> bool {
        self.files.keys().any(|file| path.starts_with(file) && file != path)
    }

    pub(super) fn without_ghosts(&self, mut entries: Vec<(String, u64)>) -> Vec<(String, u64)> {
        entries.retain(|(key, _)| !key.strip_suffix('/').is_some_and(|at| self.is_ghost(&path(at))));
        entries
    }

    /// The file at a path, or why there is none.
    fn file(&self, path: &StoragePath) -> Result<&File, ErrorKind> {
        self.files.get(path).ok_or(match self.is_directory(path) {
            true => ErrorKind::IsADirectory,
            false => ErrorKind::PathNotFound,
        })
    }

    /// Why no file can be put at a path.
    fn obstacle(&self, path: &StoragePath) -> Option<ErrorKind> {
        if self.is_directory(path) {
            return Some(ErrorKind::IsADirectory);
        }
        self.is_below_a_file(path).then_some(ErrorKind::NotADirectory)
    }

    fn directory(&self, path: &StoragePath) -> Result<(), ErrorKind> {
        match (self.is_directory(path), self.files.contains_key(path)) {
            (true, _) => Ok(()),
            (false, true) => Err(ErrorKind::NotADirectory),
            (false, false) => Err(ErrorKind::PathNotFound),
        }
    }

    /// All that lies below a directory, by how it sorts.
    pub(super) fn entries_below(&self, top: &StoragePath) -> BTreeMap<String, u64> {
        let mut all = BTreeMap::new();
        for (path, file) in self.files.iter().filter(|(path, _)| path.starts_with(top) && *path != top) {
            all.insert(path.to_string(), file.content.len() as u64);
            for ancestor in ancestors(path).filter(|ancestor| ancestor.starts_with(top) && ancestor != top) {
                all.insert(key(&ancestor, true), 0);
            }
        }
        all
    }

    fn put(&mut self, path: &StoragePath, content: Bytes, number: u64) {
        self.directories.remove(path);
        self.directories.extend(ancestors(path));
        self.files.insert(path.clone(), File { content, changed: number });
    }

    pub(super) fn perform(
        &mut self,
        operation: &Operation,
        number: u64,
        seen: Option<&Seen>,
    ) -> Result<Output, Vec<Refusal>> {
        let one = |kind: ErrorKind| vec![Refusal(kind, None)];
        match operation {
            Operation::Put(path, length) => {
                if let Some(kind) = self.obstacle(path) {
                    return refuse([kind]);
                }
                self.put(path, content(number, *length), number);
                Ok(Output::Nothing)
            }
            Operation::Write { path, length: (length, _), fails, .. } => {
                self.write(operation, path, *length, *fails, number)
            }
            Operation::Read(path, ..) | Operation::ReadSuffix(path, _) => {
                let file = self.file(path).map_err(one)?;
                let size = file.content.len() as u64;
                let within = self.range(operation).within(size);
                let bytes = file.content.slice(within.start as usize..within.end as usize);
                Ok(Output::Content(size, bytes))
            }
            Operation::Stat(path) => match self.file(path) {
                Ok(file) => Ok(Output::Info(file.content.len() as u64, false)),
                Err(ErrorKind::IsADirectory) => Ok(Output::Info(0, true)),
                Err(kind) => refuse([kind]),
            },
            Operation::List(path) => {
                self.directory(path).map_err(one)?;
                let below = self.entries_below(path).into_keys().map(|key| key.trim_end_matches('/').to_owned());
                let children = below.filter_map(|at| StoragePath::parse(&at).ok());
                let children = children.filter(|child| child.parent().as_ref() == Some(path));
                Ok(Output::Paths(children.collect::<BTreeSet<_>>().into_iter().collect()))
            }
            Operation::Walk(path, after, skip) => {
                self.directory(path).map_err(one)?;
                let mut all = self.entries_below(path);
                let after = after.as_ref().map(|(after, is_dir)| key(after, *is_dir));
                let skip = skip.as_ref().map(|skip| key(skip, true)).filter(|skip| all.contains_key(skip));
                all.retain(|key, _| after.as_ref().is_none_or(|after| key > after));
                all.retain(|key, _| skip.as_ref().is_none_or(|skip| key == skip || !key.starts_with(skip)));
                Ok(Output::Entries(all.into_iter().collect()))
            }
            Operation::Move(from, to) => {
                let obstacle = self.obstacle(to);
                match self.file(from) {
                    Err(kind) => refuse([kind].into_iter().chain(obstacle)),
                    Ok(_) if from == to => Ok(Output::Nothing),
                    Ok(_) if obstacle.is_some() => refuse(obstacle),
                    Ok(file) => {
                        let content = file.content.clone();
                        self.files.remove(from);
                        self.put(to, content, number);
                        Ok(Output::Nothing)
                    }
                }
            }
            Operation::Delete(path) if path.is_root() => refuse([ErrorKind::InvalidPath]),
            Operation::Delete(path) => {
                if !self.files.contains_key(path) && !self.is_directory(path) {
                    return refuse([ErrorKind::PathNotFound]);
                }
                self.files.retain(|file, _| !file.starts_with(path));
                self.directories.retain(|directory| !directory.starts_with(path));
                Ok(Output::Nothing)
            }
            Operation::Concat(sources, to) => {
                let mut whole = Vec::new();
                let mut refusals: Vec<_> = self.obstacle(to).into_iter().collect();
                for source in sources {
                    match self.file(source) {
                        Ok(file) => whole.extend_from_slice(&file.content),
                        Err(kind) => refusals.push(kind),
                    }
                }
                if !refusals.is_empty() {
                    return refuse(refusals);
                }
                let length = whole.len() as u64;
                self.put(to, whole.into(), number);
                Ok(Output::Count(length))
            }
            Operation::Commit(path) => self.file(path).map(|_| Output::Nothing).map_err(one),
            Operation::GetVersioned(path) => {
                let file = self.file(path).map_err(one)?;
                Ok(Output::Version(Version::new(""), file.content.clone()))
            }
            Operation::PutIf(path, absent, length) => {
                let there = self.files.get(path).map(|file| file.changed);
                let refusal = match (absent, seen) {
                    (true, _) if there.is_some() => Some(ErrorKind::AlreadyExists),
                    (true, _) => self.obstacle(path),
                    (false, Some((.., changed))) if there == Some(*changed) => None,
                    (false, _) => Some(ErrorKind::Conflict),
                };
                if let Some(kind) = refusal {
                    let obstacle = self.obstacle(path).filter(|_| !absent);
                    return refuse([kind].into_iter().chain(obstacle));
                }
                self.put(path, content(number, *length), number);
                Ok(Output::Nothing)
            }
            Operation::Sweep => Ok(Output::Nothing),
        }
    }

    fn write(
        &mut self,
        operation: &Operation,
        path: &StoragePath,
        length: u64,
        fails: bool,
        number: u64,
    ) -> Result<Output, Vec<Refusal>> {
        let (offset, options) = self.write_options(operation);
        let (there, size) = (self.files.contains_key(path), self.size(path));
        let wrong_size = match options.expected {
            Expected::Absent => there.then_some(ErrorKind::AlreadyExists),
            Expected::Size(expected) => (size != expected).then_some(ErrorKind::InvalidOffset),
            Expected::Any => None,
        };
        let past = matches!(options.completion, Completion::AtSize(end) if offset > end);
        let past = past.then_some(ErrorKind::SizeExceeded);
        let refusals: Vec<_> = [self.obstacle(path), wrong_size, past].into_iter().flatten().collect();
        if !refusals.is_empty() {
            return refuse(refusals);
        }
        let kept = match options.completion {
            Completion::AtSize(end) => length.min(end - offset),
            _ => length,
        };
        let failure = match () {
            () if kept < length => Some(Refusal(ErrorKind::SizeExceeded, None)),
            () if fails => Some(Refusal(ErrorKind::Stream, Some(length))),
            () => None,
        };
        if failure.is_none() || options.on_failure == OnFailure::KeepPrefix {
            let mut whole = self.files.get(path).map(|file| file.content.to_vec()).unwrap_or_default();
            whole.resize(offset as usize, 0);
            whole.extend_from_slice(&content(number, kept));
            self.put(path, whole.into(), number);
        } else if !there {
            // The directories may have been made for it.
            self.directories.extend(ancestors(path));
        }
        failure.map_or(Ok(Output::Count(length)), |failure| Err(vec![failure]))
    }
}

fn ancestors(path: &StoragePath) -> impl Iterator<Item = StoragePath> {
    std::iter::successors(path.parent(), StoragePath::parent).filter(|ancestor| !ancestor.is_root())
}
