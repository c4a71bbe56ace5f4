//! What an engine is found to do when it is opened, with a fault at any request of that.

use holdall::drivers::S3Driver;
use holdall::{Capabilities, Completion, StorageDriver, WriteOptions};

use super::{open, path, scaled, small, stream};
use crate::support::s3::{Code, Config, Failure, Op, Outcome, Rule, S3Server};

fn engines() -> [Config; 7] {
    [
        Config::aws(),
        Config { random_etags: true, ..Config::aws() },
        Config { no_part_copy: true, ..Config::aws() },
        Config::minio(),
        Config::r2(),
        Config::garage(),
        Config::versitygw(),
    ]
}

/// What it is found to do, also what only the driver itself needs to know.
fn found(driver: &S3Driver) -> (Capabilities, String) {
    let shown = format!("{driver:?}");
    (driver.capabilities(), shown.split_once("found: ").unwrap().1.to_owned())
}

/// What an engine is found to do undisturbed, and by which requests.
async fn undisturbed(engine: &Config) -> ((Capabilities, String), Vec<Op>) {
    let server = scaled(engine.clone());
    let driver = open(small(&server)).await;
    (found(&driver), server.record().iter().map(|entry| entry.call.op).collect())
}

fn left(server: &S3Server) -> (usize, usize) {
    (server.keys().len(), server.uploads().len())
}

#[tokio::test]
async fn engines_are_told_apart() {
    let mut all = Vec::new();
    for engine in engines() {
        all.push(undisturbed(&engine).await.0);
    }
    assert!(all[0].1.matches("true").count() == 4 && all[1] == all[0] && all[4] == all[0], "{all:?}");
    for (n, lacks) in
        [(2, "copies"), (3, "conditional_delete"), (5, "conditional_put"), (5, "conditional_delete"), (6, "honest")]
    {
        assert!(all[n].1.split(", ").any(|found| found.contains(lacks) && found.contains("false")), "{lacks}: {all:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn one_failure_changes_nothing_of_what_is_found() {
    let outcomes = [
        Outcome::Fail(Failure::Reset),
        Outcome::Fail(Failure::Timeout),
        Outcome::Fail(Failure::Error(Code::InternalError)),
        Outcome::Fail(Failure::Error(Code::SlowDown)),
        Outcome::Lost(Failure::Reset),
        Outcome::Lost(Failure::Timeout),
        Outcome::Lost(Failure::Error(Code::InternalError)),
        Outcome::Lost(Failure::ErrorIn200(Code::InternalError)),
        Outcome::Cut(3),
    ];
    for engine in engines() {
        let (expected, requests) = undisturbed(&engine).await;
        for (at, op) in requests.into_iter().enumerate() {
            for outcome in outcomes {
                let under_200 = matches!(outcome, Outcome::Lost(Failure::ErrorIn200(_)));
                if under_200 && !matches!(op, Op::UploadPartCopy | Op::CompleteMultipartUpload) {
                    continue;
                }
                let server = scaled(engine.clone());
                let hits = server.fault(Rule::new(outcome).skip(at));
                let driver = open(small(&server)).await;
                assert_eq!(hits.count(), 1);
                assert_eq!(found(&driver), expected, "{op:?}, {outcome:?}");
                // An upload whose id nobody was told can't be aborted.
                let uploads = usize::from(op == Op::CreateMultipartUpload);
                assert!(left(&server).0 == 0 && left(&server).1 <= uploads, "{op:?}, {outcome:?}: {:?}", left(&server));
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_fails_for_good_is_not_opened() {
    for engine in engines() {
        let (_, requests) = undisturbed(&engine).await;
        for (at, op) in requests.into_iter().enumerate() {
            for failure in [Failure::Timeout, Failure::Error(Code::InternalError), Failure::Error(Code::SlowDown)] {
                let server = scaled(engine.clone());
                server.fault(Rule::new(Outcome::Fail(failure)).skip(at).always());
                let error = S3Driver::open(small(&server)).await.unwrap_err();
                assert!(error.is_temporary(), "{op:?}, {failure:?}: {error:?}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn one_kind_of_request_that_always_fails_is_not_taken_for_one_that_the_engine_lacks() {
    for engine in engines() {
        let (_, requests) = undisturbed(&engine).await;
        for op in requests {
            for failure in [Failure::Timeout, Failure::Error(Code::InternalError), Failure::Error(Code::SlowDown)] {
                let server = scaled(engine.clone());
                server.fault(Rule::on(op, Outcome::Fail(failure)).always());
                let error = S3Driver::open(small(&server)).await.unwrap_err();
                assert!(error.is_temporary(), "{op:?}, {failure:?}: {error:?}");
                assert_eq!(server.uploads().len(), usize::from(op == Op::AbortMultipartUpload), "{op:?}");
            }
        }
    }
}

#[tokio::test]
async fn where_conditions_are_ignored_no_head_is_taken_for_the_one_that_is_there() {
    for engine in [Config::aws(), Config::garage()] {
        let server = scaled(engine);
        let (one, other) = (open(small(&server)).await, open(small(&server)).await);
        let file = path("/file");
        let on_commit = WriteOptions { completion: Completion::OnCommit, ..WriteOptions::default() };
        one.write_stream(&file, 0, stream(b"abc"), on_commit).await.unwrap();
        other.delete(&file).await.unwrap();
        other.write_stream(&file, 0, stream(b"xyz"), on_commit).await.unwrap();
        // Where they are honoured, this may be told that somebody came in between.
        if one.write_stream(&file, 3, stream(b"!"), on_commit).await.is_err() {
            one.write_stream(&file, 3, stream(b"!"), on_commit).await.unwrap();
        }
        one.commit(&file).await.unwrap();
        assert_eq!(other.get_content(&file).await.unwrap(), "xyz!");
    }
}
