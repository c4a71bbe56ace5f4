//! A fault, and a crash, at every request of every operation beside uploads: a path holds what it held or what it is to hold,
//! trying again ends whole, and a sweep leaves nothing else.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::StreamExt;
use futures::future::{Either, select};
use holdall::drivers::{S3Config, S3Driver};
use holdall::{
    Completion, Error, ErrorKind, Expected, OnFailure, Precondition, StorageDriver, StoragePath, WriteOptions,
};

use super::{KIB, data, open, path, small, stream};
use crate::support::s3::{Code, Config, Failure, Outcome, Rule, S3Server};

const PART: u64 = 8 * KIB;
const OLD: u64 = 700;

/// Changes `/to`, which holds `OLD` bytes where the operation replaces something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operation {
    Put,
    PutIfAbsent,
    PutIfVersion,
    /// The same bytes again, which have to become another version.
    PutSameIfVersion,
    /// Of a file of so many bytes.
    Move(u64),
    /// Of a file that was put over an uncommitted one.
    MoveHiding,
    /// Of files of these sizes.
    Concat(&'static [u64]),
    /// One stream, from nothing to so many bytes.
    Stream(u64),
    /// A file of so many bytes is cut back to this size, and goes on with so many others.
    Rewrite(u64, u64, u64),
    /// So many bytes are uncommitted; as many follow, of which none counts before all are there.
    Discard(u64),
    /// Of an object.
    Delete,
    /// Of a file in all its forms: parts, segments, inline bytes.
    DeleteUncommitted,
    DeleteDirectory,
}

const OPERATIONS: &[Operation] = &[
    Operation::Put,
    Operation::PutIfAbsent,
    Operation::PutIfVersion,
    Operation::PutSameIfVersion,
    Operation::Move(100),
    Operation::Move(50 * KIB),
    Operation::MoveHiding,
    Operation::Concat(&[100, 0, 200]),
    Operation::Concat(&[30 * KIB, 10, 20, 20 * KIB, 7]),
    Operation::Stream(100),
    Operation::Stream(20 * KIB),
    Operation::Rewrite(600, 600, 100),
    Operation::Rewrite(40 * KIB, 40 * KIB, 100),
    Operation::Rewrite(40 * KIB, 17 * KIB + 3, 20 * KIB),
    Operation::Discard(PART - 100),
    Operation::Delete,
    Operation::DeleteUncommitted,
    Operation::DeleteDirectory,
];

/// Whether some objects are what may be there before the operation has ended, and afterwards.
type Objects = BTreeMap<String, Vec<u8>>;

fn old() -> Vec<u8> {
    vec![b'o'; OLD as usize]
}

/// What a source holds: bytes that show which one it is.
fn content(n: usize, length: u64) -> Vec<u8> {
    data(length).into_iter().map(|byte| byte ^ n as u8).collect()
}

fn on_commit(at: u64, on_failure: OnFailure) -> WriteOptions {
    WriteOptions { expected: Expected::Size(at), on_failure, completion: Completion::OnCommit }
}

impl Operation {
    /// What is there before.
    async fn prepare(self, driver: &S3Driver) -> Result<(), Error> {
        let (to, from) = (path("/to"), path("/from"));
        match self {
            Self::Put | Self::PutIfVersion | Self::PutSameIfVersion | Self::Delete => {
                driver.put_content(&to, old().into()).await
            }
            Self::Move(size) => {
                driver.put_content(&to, old().into()).await?;
                driver.put_content(&from, content(0, size).into()).await
            }
            Self::MoveHiding => {
                driver.put_content(&to, old().into()).await?;
                let bytes = stream(&data(PART + 10));
                driver.write_stream(&from, 0, bytes, on_commit(0, OnFailure::KeepPrefix)).await?;
                driver.put_content(&from, content(0, 100).into()).await
            }
            Self::Concat(sizes) => {
                driver.put_content(&to, old().into()).await?;
                for (n, size) in sizes.iter().enumerate() {
                    driver.put_content(&source(n), content(n, *size).into()).await?;
                }
                Ok(())
            }
            Self::Rewrite(size, ..) => driver.put_content(&to, data(size).into()).await,
            Self::Discard(size) => {
                let bytes = stream(&data(size));
                driver.write_stream(&to, 0, bytes, on_commit(0, OnFailure::KeepPrefix)).await.map(drop)
            }
            Self::DeleteUncommitted => {
                let (mut at, all) = (0, data(20 * KIB));
                for length in [PART + 10, KIB, 100] {
                    let bytes = stream(&all[at as usize..][..length as usize]);
                    at += driver.write_stream(&to, at, bytes, on_commit(at, OnFailure::KeepPrefix)).await?;
                }
                Ok(())
            }
            Self::DeleteDirectory => {
                for file in ["/to/a", "/to/b/c", "/tower"] {
                    driver.put_content(&path(file), old().into()).await?;
                }
                let bytes = stream(&data(PART + 10));
                driver.write_stream(&path("/to/d"), 0, bytes, on_commit(0, OnFailure::KeepPrefix)).await.map(drop)
            }
            Self::PutIfAbsent | Self::Stream(_) => Ok(()),
        }
    }

    /// One try of somebody who tries until it is done.
    async fn act(self, driver: &S3Driver) -> Result<(), Error> {
        let to = path("/to");
        let gone = |error: Error| if error.kind() == ErrorKind::PathNotFound { Ok(()) } else { Err(error) };
        match self {
            Self::Put => driver.put_content(&to, data(300).into()).await,
            Self::PutIfAbsent => {
                let put = driver.put_content_if(&to, data(300).into(), Precondition::Absent).await.map(drop);
                put.or_else(|error| if error.kind() == ErrorKind::AlreadyExists { Ok(()) } else { Err(error) })
            }
            Self::PutIfVersion | Self::PutSameIfVersion => {
                let bytes = if self == Self::PutIfVersion { data(300) } else { old() };
                let (there, version) = driver.get_versioned(&to).await?;
                if self == Self::PutIfVersion && there == bytes {
                    return Ok(());
                }
                let new = driver.put_content_if(&to, bytes.into(), Precondition::Version(version.clone())).await?;
                assert_ne!(new, version);
                Ok(())
            }
            Self::Move(_) | Self::MoveHiding => driver.move_to(&path("/from"), &to).await.or_else(gone),
            Self::Concat(sizes) => {
                let sources: Vec<_> = (0..sizes.len()).map(source).collect();
                driver.concat(&sources, &to).await.map(drop)
            }
            Self::Stream(size) => {
                let at = match driver.stat(&to).await {
                    Ok(info) => info.size,
                    Err(error) => gone(error).map(|()| 0)?,
                };
                let bytes = stream(&data(size)[at as usize..]);
                let options = WriteOptions::default().expecting(Expected::Size(at));
                driver.write_stream(&to, at, bytes, options).await.map(drop)
            }
            Self::Rewrite(_, keep, more) => {
                // The whole change again does no harm.
                driver.write_stream(&to, keep, stream(&content(1, more)), WriteOptions::default()).await.map(drop)
            }
            Self::Discard(size) => {
                let total = 2 * size;
                let at = driver.stat(&to).await?.size;
                if at < total {
                    let bytes = stream(&data(total)[at as usize..]);
                    driver.write_stream(&to, at, bytes, on_commit(at, OnFailure::Discard)).await?;
                }
                driver.commit(&to).await
            }
            Self::Delete | Self::DeleteUncommitted | Self::DeleteDirectory => driver.delete(&to).await.or_else(gone),
        }
    }

    /// What is there afterwards.
    fn after(self) -> Objects {
        let to = match self {
            Self::Put | Self::PutIfAbsent | Self::PutIfVersion => data(300),
            Self::PutSameIfVersion => old(),
            Self::Move(size) => content(0, size),
            Self::MoveHiding => content(0, 100),
            Self::Concat(sizes) => sizes.iter().enumerate().flat_map(|(n, size)| content(n, *size)).collect(),
            Self::Stream(size) => data(size),
            Self::Rewrite(size, keep, more) => [&data(size)[..keep as usize], &content(1, more)].concat(),
            Self::Discard(size) => data(2 * size),
            Self::Delete | Self::DeleteUncommitted => return Objects::new(),
            Self::DeleteDirectory => return Objects::from([("tower".to_owned(), old())]),
        };
        let mut after = Objects::from([("to".to_owned(), to)]);
        if let Self::Concat(sizes) = self {
            after.extend(sizes.iter().enumerate().map(|(n, size)| (format!("source{n}"), content(n, *size))));
        }
        after
    }

    /// What may be seen at any time: the old or the new, and nothing lost.
    fn assert_never_between(self, server: &S3Server, before: &Objects, told: &str) {
        let (now, after) = (objects(server), self.after());
        for key in before.keys().chain(after.keys()) {
            let holds = now.get(key);
            let prefix = matches!(self, Self::Stream(_)) && holds.is_some_and(|now| after[key].starts_with(now));
            assert!(
                holds == before.get(key) || holds == after.get(key) || prefix,
                "{key} is neither old nor new: {told}"
            );
        }
        if let Self::Move(_) | Self::MoveHiding = self {
            assert!(now.contains_key("from") || now == after, "the file is nowhere: {told}");
        }
        if let Self::Discard(size) = self {
            let length = now.get("to").map_or(2 * size, |to| to.len() as u64);
            assert_eq!(length, 2 * size, "a part of the stream counted: {told}");
        }
    }
}

fn source(n: usize) -> StoragePath {
    path(&format!("/source{n}"))
}

fn server() -> S3Server {
    // Signatures are checked elsewhere.
    S3Server::new(Config { public: true, ..Config::aws() }.scaled(PART))
}

fn tiny(server: &S3Server) -> S3Config {
    let tiny = small(server).min_part_size(PART).part_size(PART).inline_limit(512);
    tiny.copy_threshold(4 * PART).copy_part_size(3 * PART)
}

/// The files.
fn objects(server: &S3Server) -> Objects {
    let files = server.keys().into_iter().filter(|key| !key.contains('~'));
    files.map(|key| (key.clone(), server.object(&key).unwrap().body.to_vec())).collect()
}

/// Tries until it is done.
async fn persist(operation: Operation, driver: &S3Driver, told: &str) {
    for _ in 0..10 {
        match operation.act(driver).await {
            Ok(()) => return,
            // Whoever sees this tries again.
            Err(error) if error.is_temporary() || error.kind() == ErrorKind::Conflict => {}
            Err(error) if error.kind() == ErrorKind::PermissionDenied => {}
            Err(error) => panic!("trying again would not help: {error:?}: {told}"),
        }
    }
    panic!("it never ends: {told}");
}

async fn assert_ended(operation: Operation, server: &S3Server, told: &str) {
    assert!(objects(server) == operation.after(), "it ended whole: {told}");
    if let Operation::Move(_) | Operation::MoveHiding = operation {
        let left = open(tiny(server)).await.stat(&path("/from")).await;
        assert_eq!(left.unwrap_err().kind(), ErrorKind::PathNotFound, "{told}");
    }
    server.age(Duration::from_secs(7200));
    open(tiny(server)).await.sweep(Duration::from_secs(3600)).await.unwrap();
    let left = (server.keys(), server.uploads().len());
    assert_eq!(left, (operation.after().into_keys().collect(), 0), "left behind: {told}");
}

/// Before an operation, and how many requests it takes.
async fn prepared(operation: Operation) -> (S3Server, usize) {
    let server = server();
    operation.prepare(&open(tiny(&server)).await).await.unwrap();
    let trial = server.fork();
    let driver = open(tiny(&trial)).await;
    trial.reset();
    operation.act(&driver).await.unwrap();
    let requests = trial.record().len();
    assert_ended(operation, &trial, "undisturbed").await;
    (server, requests)
}

#[tokio::test(start_paused = true)]
async fn a_fault_at_any_request_leaves_the_old_or_the_new() {
    let outcomes = [
        Outcome::Fail(Failure::Reset),
        Outcome::Fail(Failure::Error(Code::SlowDown)),
        Outcome::Fail(Failure::Error(Code::AccessDenied)),
        Outcome::Lost(Failure::Timeout),
        Outcome::Lost(Failure::Error(Code::InternalError)),
        Outcome::Late(Failure::Timeout),
        Outcome::Cut(3),
    ];
    for operation in OPERATIONS.iter().copied() {
        let (blank, requests) = prepared(operation).await;
        let before = objects(&blank);
        for at in 0..requests {
            for outcome in outcomes {
                let told = format!("{operation:?}, {outcome:?} at {at}");
                let server = blank.fork();
                let driver = open(tiny(&server)).await;
                let hits = server.fault(Rule::new(outcome).skip(at));
                let first = operation.act(&driver).await;
                assert_eq!(hits.count(), 1, "{told}");
                operation.assert_never_between(&server, &before, &told);
                if first.is_err() {
                    persist(operation, &driver, &told).await;
                }
                for late in server.take_late() {
                    late.land();
                }
                assert_ended(operation, &server, &told).await;
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_crash_at_any_request_leaves_the_old_or_the_new() {
    for operation in OPERATIONS.iter().copied() {
        let (blank, requests) = prepared(operation).await;
        let before = objects(&blank);
        for at in 0..requests {
            for done in [false, true] {
                let told = format!("{operation:?}, crashed at {at}, done: {done}");
                let server = blank.fork();
                let driver = open(tiny(&server)).await;
                let seen = AtomicUsize::new(0);
                let gate = server.gate_when(move |_| seen.fetch_add(1, Ordering::SeqCst) == at);
                {
                    let act = Box::pin(operation.act(&driver));
                    let stopped = std::pin::pin!(gate.next("driver"));
                    match select(act, stopped).await {
                        Either::Left(_) => panic!("the request never came: {told}"),
                        Either::Right((pending, act)) => {
                            if done {
                                pending.release(Outcome::Lost(Failure::Reset));
                            }
                            drop(act);
                        }
                    }
                }
                drop((driver, gate));
                operation.assert_never_between(&server, &before, &told);
                persist(operation, &open(tiny(&server)).await, &told).await;
                assert_ended(operation, &server, &told).await;
            }
        }
    }
}

/// A stream that breaks counts as far as it came, or not at all; and a fault while it is recorded changes nothing about it.
#[tokio::test(start_paused = true)]
async fn a_broken_stream_and_a_fault_together_lose_nothing() {
    for on_failure in [OnFailure::KeepPrefix, OnFailure::Discard] {
        for at in 0..8 {
            for outcome in
                [Outcome::Fail(Failure::Reset), Outcome::Lost(Failure::Timeout), Outcome::Late(Failure::Timeout)]
            {
                let told = format!("{on_failure:?}, {outcome:?} at {at}");
                let server = server();
                let driver = open(tiny(&server)).await;
                let (to, all) = (path("/to"), data(3 * PART));
                driver.write_stream(&to, 0, stream(&all[..100]), on_commit(0, on_failure)).await.unwrap();
                server.fault(Rule::new(outcome).skip(at));
                let came = 100 + PART + 50;
                let bytes = stream(&all[100..came as usize]);
                let broken = futures::stream::iter([Err(Error::stream(std::io::Error::other("cut")))]);
                let error =
                    driver.write_stream(&to, 100, bytes.chain(broken).boxed(), on_commit(100, on_failure)).await;
                assert!(error.is_err(), "{told}");
                server.clear_faults();
                let there = driver.stat(&to).await.unwrap().size;
                let expected = if on_failure == OnFailure::Discard { 100 } else { came };
                assert_eq!(there, expected, "{told}");
                let rest = stream(&all[there as usize..]);
                driver.write_stream(&to, there, rest, on_commit(there, on_failure)).await.unwrap();
                for late in server.take_late() {
                    late.land();
                }
                driver.commit(&to).await.unwrap();
                assert!(driver.get_content(&to).await.unwrap() == all, "{told}");
                server.age(Duration::from_secs(7200));
                driver.sweep(Duration::from_secs(3600)).await.unwrap();
                assert_eq!((server.keys(), server.uploads().len()), (vec!["to".to_owned()], 0), "left behind: {told}");
            }
        }
    }
}
