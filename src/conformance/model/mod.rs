//! The contract as a plain model, and random operations that hold a driver against it.
//!
//! The model is a map of whole contents. [`apply`] does each operation on the driver and on the model, and compares what
//! both say; at the end it compares all that is there. Any bytes make operations ([`Operation::decode`]), so that a
//! property test and a fuzz target can share it, and what one finds replays as the other's input.
//!
//! A directory whose last child went may be there or not: such ones are left out of listings, and calls on them may
//! answer either way. Drivers that can keep uncommitted files are given streams that complete at their end only, and
//! drivers that don't tell files and directories apart are spared paths that are both; the named cases cover these.

mod state;

use std::sync::Arc;

use bytes::Bytes;
use futures::TryStreamExt;

use self::state::{Model, Refusal};
use super::context::path;
use super::data::Data;
use super::feed::failing;
use crate::driver::{Descend, Precondition, StorageDriver, WalkOptions, collect};
use crate::error::Result;
use crate::info::{FileInfo, Version};
use crate::path::StoragePath;

/// One call of a driver, with its arguments in a form that fits whatever is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// `put_content` of so many bytes.
    Put(StoragePath, u64),
    /// `write_stream`.
    Write {
        /// Where to.
        path: StoragePath,
        /// Where it begins.
        offset: Position,
        /// How many bytes the stream gives, in pieces of so many.
        length: (u64, u64),
        /// Whether the stream fails after them.
        fails: bool,
        /// What is expected: nothing, no file, or a size.
        expected: Option<Option<Position>>,
        /// Whether a stream that fails counts for nothing.
        discard: bool,
        /// When the file is whole.
        completion: Option<Option<Position>>,
    },
    /// `read` of a range, the second position counted from the first.
    Read(StoragePath, Position, Option<u64>),
    /// `read` of so many last bytes.
    ReadSuffix(StoragePath, u64),
    /// `stat`.
    Stat(StoragePath),
    /// `list`.
    List(StoragePath),
    /// `walk`, after an entry (which is a directory or not), leaving out what is below a directory.
    Walk(StoragePath, Option<(StoragePath, bool)>, Option<StoragePath>),
    /// `move_to`.
    Move(StoragePath, StoragePath),
    /// `delete`.
    Delete(StoragePath),
    /// `concat` of the sources to a path.
    Concat(Vec<StoragePath>, StoragePath),
    /// `commit`.
    Commit(StoragePath),
    /// `get_versioned`; the version is remembered.
    GetVersioned(StoragePath),
    /// `put_content_if` nothing is there, or if the version is still the one that is remembered, of so many bytes.
    PutIf(StoragePath, bool, u64),
    /// `sweep` of all that is old enough, which is everything.
    Sweep,
}

/// A byte in a file of any size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Position {
    /// So many 255ths into the file; 255 is its end.
    Part(u8),
    /// So many bytes past its end.
    Past(u16),
}

impl Position {
    fn within(self, size: u64) -> u64 {
        match self {
            Self::Part(part) => size * u64::from(part) / 255,
            Self::Past(past) => size + u64::from(past),
        }
    }
}

impl Operation {
    /// The operation that these bytes stand for; any do.
    pub fn decode(bytes: [u8; 12]) -> Self {
        let [tag, first, second, a, b, c, d, e, f, g, ..] = bytes;
        let (path, other) = (pick(first), pick(second));
        let length = length(a, b);
        match tag % 20 {
            0 | 1 => Self::Put(path, length),
            2..=7 => Self::Write {
                path,
                offset: position(second, c),
                length: (length, [1 << 20, 20_000, 5000, 700][usize::from(d & 3)]),
                fails: d & 0b1100 == 0b1100,
                expected: match e % 8 {
                    0 => Some(None),
                    1 => Some(Some(position(e / 8, f))),
                    2 | 3 => Some(Some(Position::Part(255))),
                    _ => None,
                },
                discard: d & 0b11_0000 == 0b11_0000,
                completion: match g % 8 {
                    0 => Some(None),
                    1 | 2 => Some(Some(position(g / 8, f))),
                    _ => None,
                },
            },
            8 => Self::Read(path, position(b, c), (d > 100).then(|| u64::from(e) * u64::from(a))),
            9 => Self::ReadSuffix(path, length),
            10 => Self::Stat(path),
            11 => Self::List(path),
            12 => {
                let below = if a < 128 { StoragePath::root() } else { path };
                Self::Walk(below, (b < 128).then_some((other, b < 64)), (d < 128).then(|| pick(c)))
            }
            13 | 14 => Self::Move(path, other),
            15 => Self::Delete(path),
            16 => Self::Concat([b, c, d, e, f, g].into_iter().take(usize::from(a % 7)).map(pick).collect(), other),
            17 => match a % 3 {
                0 => Self::Sweep,
                _ => Self::Commit(path),
            },
            18 => Self::GetVersioned(path),
            _ => Self::PutIf(path, c < 100, length),
        }
    }
}

/// One of few paths, many of which lie below others or have the same prefix.
fn pick(number: u8) -> StoragePath {
    const PATHS: [&str; 16] = [
        "/a", "/ab", "/a-b", "/a/c", "/a/c-d", "/a/c/e", "/a/c/e/f", "/a/b", "/ab/c", "/b", "/b/a", "/b/a/a", "/b/a-a",
        "/b/a/b", "/c", "/",
    ];
    path(PATHS[usize::from(number & 15)])
}

/// Short, middling, or longer than what drivers gather.
fn length(a: u8, b: u8) -> u64 {
    match a % 8 {
        0 => 0,
        1..=3 => u64::from(b),
        4..=6 => u64::from(b) * 100,
        _ => u64::from(b) * 1000,
    }
}

fn position(kind: u8, number: u8) -> Position {
    match kind % 8 {
        0..=3 => Position::Part(255),
        4 => Position::Part(0),
        5 | 6 => Position::Part(number),
        _ => Position::Past(u16::from(number) * 250),
    }
}

/// Does each operation on the driver, which begins empty, and on the model, and compares them.
///
/// # Panics
/// Where they differ; the message names the operation.
pub async fn apply(driver: &dyn StorageDriver, operations: &[Operation]) {
    let mut model = Model::default();
    let mut seen: Option<Seen> = None;
    for (number, operation) in operations.iter().enumerate() {
        let Some(operation) = model.fitting(driver, operation) else { continue };
        // What a file's version is at another path is not said, so none is carried there.
        if let Operation::Move(from, to) = &operation {
            seen = seen.filter(|(_, at, _)| from != at && to != at);
        }
        let known = seen.as_ref().filter(|(_, at, _)| matches!(&operation, Operation::PutIf(path, ..) if path == at));
        let done = perform(driver, &model, &operation, number as u64, known).await;
        if let Err(error) = &done {
            let named = error.path().is_some() && error.driver().is_some();
            assert!(named, "operation {number}, {operation:?}: the error names path and driver: {error:?}");
        }
        // Emptied directories are there in one, and gone in the other.
        let mut models = [false, true].map(|ghosts| model.with_ghosts(ghosts));
        let expected = models.each_mut().map(|model| model.perform(&operation, number as u64, known));
        let Some(right) = expected.iter().position(|expected| agrees(&model, &done, expected)) else {
            panic!("operation {number}, {operation:?}: the driver gave {done:?}, and was to give {:?}", expected[0]);
        };
        let [without, with] = models;
        let before = std::mem::replace(&mut model, if right == 0 { without } else { with });
        // A write that changes nothing may be a change, or not.
        if let Operation::Write { path, .. } = &operation
            && before.files.get(path).map(|file| &file.content) == model.files.get(path).map(|file| &file.content)
        {
            seen = seen.filter(|(_, at, _)| at != path);
        }
        if let (Operation::GetVersioned(path), Ok(Output::Version(version, _))) = (&operation, &done) {
            seen = Some((version.clone(), path.clone(), model.files[path].changed));
        }
    }
    for (path, file) in &model.files {
        let content = driver.get_content(path).await;
        let same = content.as_ref().is_ok_and(|content| *content == file.content);
        assert!(same, "at the end {path} was to hold {} bytes: {:?}", file.content.len(), content.map(|c| c.len()));
    }
    let all: Result<Vec<_>> = driver.walk(&StoragePath::root(), WalkOptions::default()).try_collect().await;
    let all = model.without_ghosts(entries(&all.expect("the root can be walked")));
    let expected = model.entries_below(&StoragePath::root()).into_iter().collect::<Vec<_>>();
    assert_eq!(all, expected, "all that is there at the end");
}

/// What a call gave.
#[derive(Clone, Debug, PartialEq)]
enum Output {
    Nothing,
    Count(u64),
    Info(u64, bool),
    Content(u64, Bytes),
    Paths(Vec<StoragePath>),
    Entries(Vec<(String, u64)>),
    Version(Version, Bytes),
}

/// A version that was seen, at a path, when its last change had this number.
type Seen = (Version, StoragePath, u64);

fn entries(infos: &[FileInfo]) -> Vec<(String, u64)> {
    infos.iter().map(|info| (key(&info.path, info.is_dir), info.size)).collect()
}

/// A path as it sorts in a walk.
fn key(path: &StoragePath, is_dir: bool) -> String {
    if is_dir && !path.is_root() { format!("{path}/") } else { path.to_string() }
}

fn content(number: u64, length: u64) -> Bytes {
    Data(number).bytes(0..length)
}

async fn perform(
    driver: &dyn StorageDriver,
    model: &Model,
    operation: &Operation,
    number: u64,
    seen: Option<&Seen>,
) -> Result<Output> {
    let nothing = |()| Output::Nothing;
    match operation {
        Operation::Put(path, length) => driver.put_content(path, content(number, *length)).await.map(nothing),
        Operation::Write { path, length: (length, piece), fails, .. } => {
            let (offset, options) = model.write_options(operation);
            let mut stream = Data(number).stream(0..*length, *piece);
            if *fails {
                stream = failing(stream);
            }
            driver.write_stream(path, offset, stream, options).await.map(Output::Count)
        }
        Operation::Read(path, ..) | Operation::ReadSuffix(path, _) => {
            let (info, stream) = driver.read(path, model.range(operation)).await?;
            Ok(Output::Content(info.size, collect(stream).await?))
        }
        Operation::Stat(path) => driver.stat(path).await.map(|info| Output::Info(info.size, info.is_dir)),
        Operation::List(path) => driver.list(path).await.map(Output::Paths),
        Operation::Walk(path, after, skip) => {
            let descend = skip.clone().map(|skip| Arc::new(move |at: &StoragePath| *at != skip) as Descend);
            let start_after = after.clone().map(|(after, is_dir)| match is_dir {
                true => FileInfo::directory(after, None),
                false => FileInfo::file(after, 0, None),
            });
            let all: Vec<_> = driver.walk(path, WalkOptions { start_after, descend }).try_collect().await?;
            Ok(Output::Entries(entries(&all)))
        }
        Operation::Move(from, to) => driver.move_to(from, to).await.map(nothing),
        Operation::Delete(path) => driver.delete(path).await.map(nothing),
        Operation::Concat(sources, to) => driver.concat(sources, to).await.map(Output::Count),
        Operation::Commit(path) => driver.commit(path).await.map(nothing),
        Operation::GetVersioned(path) => {
            driver.get_versioned(path).await.map(|(content, version)| Output::Version(version, content))
        }
        Operation::PutIf(path, absent, length) => {
            let condition = match (absent, seen) {
                (false, Some((version, ..))) => Precondition::Version(version.clone()),
                (false, None) => Precondition::Version(Version::new("of no file")),
                (true, _) => Precondition::Absent,
            };
            let put = driver.put_content_if(path, content(number, *length), condition).await;
            put.map(|_| Output::Nothing)
        }
        Operation::Sweep => driver.sweep(std::time::Duration::ZERO).await.map(|_| Output::Nothing),
    }
}

/// Whether a driver did what the model says: the same output, or one of the errors that apply.
fn agrees(model: &Model, done: &Result<Output>, expected: &Result<Output, Vec<Refusal>>) -> bool {
    match (done, expected) {
        (Ok(Output::Paths(got)), Ok(Output::Paths(expected))) => {
            let got: Vec<_> = got.iter().filter(|path| !model.is_ghost(path)).collect();
            got.iter().copied().eq(expected)
        }
        (Ok(Output::Entries(got)), Ok(Output::Entries(expected))) => model.without_ghosts(got.clone()) == *expected,
        (Ok(Output::Version(_, got)), Ok(Output::Version(_, expected))) => got == expected,
        (Ok(got), Ok(expected)) => got == expected,
        (Err(error), Err(refusals)) => refusals.iter().any(|refusal| refusal.fits(error)),
        _ => false,
    }
}
