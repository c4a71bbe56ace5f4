//! A fault at every request of an upload in turn, and a crash there: what was acknowledged stays, and resuming ends whole.

use std::time::Duration;

use futures::StreamExt;
use futures::future::{Either, select};
use holdall::drivers::{S3Config, S3Driver};
use holdall::{Completion, ErrorKind, Expected, OnFailure, StorageDriver, WriteOptions};

use super::{KIB, data, open, path, small, stream};
use crate::support::s3::{Code, Config, Failure, Outcome, Rule, S3Server};

/// An upload that goes through all that an uncommitted file can be made of: inline bytes, segments, parts.
const CHUNKS: [u64; 6] = [100, 200, 2 * KIB, 8 * KIB, 20 * KIB, 5 * KIB];
const TOTAL: u64 = 35 * KIB + 300;

/// How an upload is made.
#[derive(Clone, Copy, Debug)]
struct Way {
    /// The last chunk completes it; else `commit` does.
    at_size: bool,
    on_failure: OnFailure,
}

const WAYS: [Way; 3] = [
    Way { at_size: true, on_failure: OnFailure::KeepPrefix },
    Way { at_size: false, on_failure: OnFailure::KeepPrefix },
    Way { at_size: true, on_failure: OnFailure::Discard },
];

impl Way {
    fn options(self, offset: u64) -> WriteOptions {
        let completion = if self.at_size { Completion::AtSize(TOTAL) } else { Completion::OnCommit };
        WriteOptions { expected: Expected::Size(offset), on_failure: self.on_failure, completion }
    }
}

/// Uploads as a client does: a chunk after the other, and after a failure from where `stat` says. `acknowledged` never
/// shrinks. Gives up, for the caller to go on, only by being dropped.
async fn upload(driver: &S3Driver, way: Way, acknowledged: &mut u64) {
    let (at, all) = (path("/dir/file"), data(TOTAL));
    for _ in 0..50 {
        let size = match driver.stat(&at).await {
            Ok(info) => info.size,
            Err(error) if error.kind() == ErrorKind::PathNotFound => 0,
            Err(_) => continue,
        };
        assert!(size >= *acknowledged, "{acknowledged} bytes were acknowledged, and {size} are there");
        assert!(size <= TOTAL);
        *acknowledged = size;
        let mut offset = size;
        while offset < TOTAL {
            // The chunk that this offset lies in, to its end.
            let mut end = 0;
            let chunk = CHUNKS.iter().find(|chunk| {
                end += **chunk;
                end > offset
            });
            assert!(chunk.is_some());
            let bytes = stream(&all[offset as usize..end as usize]);
            match driver.write_stream(&at, offset, bytes, way.options(offset)).await {
                Ok(read) => offset += read,
                Err(_) => break,
            }
            *acknowledged = offset;
        }
        if offset < TOTAL {
            continue;
        }
        // A commit that failed is tried again, and does no harm to a file that is complete.
        if driver.commit(&at).await.is_ok()
            && let Ok(content) = driver.get_content(&at).await
        {
            assert!(content == all, "the upload ended whole");
            return;
        }
    }
    panic!("the upload never ended");
}

fn server() -> S3Server {
    // Signatures are checked elsewhere.
    S3Server::new(Config { public: true, ..Config::aws() }.scaled(8 * KIB))
}

fn tiny(server: &S3Server) -> S3Config {
    small(server).min_part_size(8 * KIB).part_size(8 * KIB).inline_limit(512)
}

/// How many requests an undisturbed upload takes.
async fn requests(way: Way) -> usize {
    let server = server();
    let driver = open(tiny(&server)).await;
    server.reset();
    upload(&driver, way, &mut 0).await;
    server.record().len()
}

/// After a sweep only the object is there.
async fn assert_clean(server: &S3Server) {
    server.age(Duration::from_secs(7200));
    let driver = open(tiny(server)).await;
    driver.sweep(Duration::from_secs(3600)).await.unwrap();
    assert_eq!(server.keys(), ["dir/file"]);
    assert!(server.uploads().is_empty(), "{:?}", server.uploads());
}

#[tokio::test(start_paused = true)]
async fn a_fault_at_any_request_loses_nothing() {
    let outcomes = [
        Outcome::Fail(Failure::Reset),
        Outcome::Lost(Failure::Reset),
        Outcome::Late(Failure::Timeout),
        Outcome::Fail(Failure::Error(Code::InternalError)),
        Outcome::Lost(Failure::Error(Code::InternalError)),
        Outcome::Fail(Failure::Error(Code::SlowDown)),
        Outcome::Fail(Failure::Error(Code::AccessDenied)),
        Outcome::Lost(Failure::ErrorIn200(Code::InternalError)),
        Outcome::Cut(3),
    ];
    for way in WAYS {
        for at in 0..requests(way).await {
            for outcome in outcomes {
                let server = server();
                let driver = open(tiny(&server)).await;
                let hits = server.fault(Rule::new(outcome).skip(at));
                upload(&driver, way, &mut 0).await;
                assert_eq!(hits.count(), 1, "{way:?} {at}");
                for late in server.take_late() {
                    late.land();
                }
                let content = driver.get_content(&path("/dir/file")).await.unwrap();
                assert!(content == data(TOTAL), "{way:?} {at} {outcome:?}");
                assert_clean(&server).await;
            }
        }
    }
}

/// A write in one call has no head that would name its upload; nothing of it counts before it has ended.
#[tokio::test(start_paused = true)]
async fn a_write_in_one_call_that_is_dropped_leaves_what_was_there_and_an_upload_that_a_sweep_ends() {
    for old in [None, Some(300), Some(20 * KIB)] {
        let server = server();
        let driver = open(tiny(&server)).await;
        let (at, options) = (path("/dir/file"), WriteOptions::default());
        if let Some(size) = old {
            driver.put_content(&at, data(size).into()).await.unwrap();
        }
        let bytes = stream(&data(TOTAL)).chain(futures::stream::pending()).boxed();
        // The clock stands still while anything else can go on.
        let write = driver.write_stream(&at, old.unwrap_or(0), bytes, options);
        tokio::time::timeout(Duration::from_secs(1), write).await.expect_err("the stream never ends");
        let uploads = server.uploads();
        assert_eq!(uploads.len(), 1);
        assert!(uploads[0].1.parts.len() >= 4, "{:?}", uploads[0].1.parts.keys());

        let hour = Duration::from_secs(3600);
        assert_eq!(driver.sweep(hour).await.unwrap(), 0, "it may still go on");
        assert_eq!(server.uploads().len(), 1);
        server.age(2 * hour);
        assert_eq!(driver.sweep(hour).await.unwrap(), 1);
        assert_eq!(server.uploads().len(), 0);
        match (old, driver.stat(&at).await) {
            (None, Err(error)) => assert_eq!((error.kind(), server.keys().len()), (ErrorKind::PathNotFound, 0)),
            (Some(size), Ok(_)) => assert!(driver.get_content(&at).await.unwrap() == data(size)),
            other => panic!("{other:?}"),
        }
        driver.write_stream(&at, 0, stream(&data(TOTAL)), options).await.unwrap();
        assert!(driver.get_content(&at).await.unwrap() == data(TOTAL));
        assert_eq!(server.keys(), ["dir/file"]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_crash_before_or_after_any_request_loses_nothing() {
    for way in WAYS {
        for at in 0..requests(way).await {
            for done in [false, true] {
                let server = server();
                let driver = open(tiny(&server)).await;
                let seen = std::sync::atomic::AtomicUsize::new(0);
                let gate = server.gate_when(move |_| seen.fetch_add(1, std::sync::atomic::Ordering::SeqCst) == at);
                let mut acknowledged = 0;
                {
                    let upload = Box::pin(upload(&driver, way, &mut acknowledged));
                    let stopped = std::pin::pin!(gate.next("driver"));
                    match select(upload, stopped).await {
                        Either::Left(_) => panic!("{way:?} {at}: the request never came"),
                        Either::Right((pending, upload)) => {
                            if done {
                                // The engine did it; the process is gone before the answer comes.
                                pending.release(Outcome::Lost(Failure::Reset));
                            }
                            drop(upload);
                        }
                    }
                }
                drop((driver, gate));
                let driver = open(tiny(&server)).await;
                upload(&driver, way, &mut acknowledged).await;
                assert_clean(&server).await;
            }
        }
    }
}
