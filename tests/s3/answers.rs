//! Answers that say 200 and are wrong all the same: none of them counts as success.

use std::time::Duration;

use futures::TryStreamExt;
use holdall::drivers::S3Driver;
use holdall::{Completion, ErrorKind, StorageDriver, WalkOptions, WriteOptions};

use super::{KIB, data, open, path, small, stream};
use crate::support::s3::{Config, Failure, Op, Outcome, Rule, S3Server};

async fn start() -> (S3Server, S3Driver) {
    let server = S3Server::new(Config { public: true, ..Config::aws() }.scaled(64 * KIB));
    let driver = open(small(&server).max_retries(1)).await;
    (server, driver)
}

/// Answers to what takes an engine long: it sends blanks until it is done, and its connection may end before.
const UNDONE: [&str; 6] = [
    "",
    " \n ",
    "<Result><ETag>&quot;abc",
    "<Result><ETag></ETag></Result>",
    " \n <?xml version=\"1.0\"?><Error><Code>InternalError</Code></Error>",
    "<Error><Code>InternalErr",
];

#[tokio::test(start_paused = true)]
async fn a_copy_is_done_only_if_its_answer_says_so() {
    for answer in UNDONE {
        let (server, driver) = start().await;
        driver.put_content(&path("/from"), "content".into()).await.unwrap();
        let hits = server.fault(Rule::on(Op::CopyObject, Outcome::Fail(Failure::In200(answer))).always());
        let error = driver.move_to(&path("/from"), &path("/to")).await.unwrap_err();
        assert!(error.is_temporary() && hits.count() > 0, "{answer:?}: {error:?}");
        assert_eq!(server.keys(), ["from"], "{answer:?}");
        server.clear_faults();
        driver.move_to(&path("/from"), &path("/to")).await.unwrap();
        assert_eq!(driver.get_content(&path("/to")).await.unwrap(), "content");
    }
    let (server, driver) = start().await;
    driver.put_content(&path("/from"), "content".into()).await.unwrap();
    let denied = " <Error><Code>AccessDenied</Code></Error>";
    server.fault(Rule::on(Op::CopyObject, Outcome::Fail(Failure::In200(denied))));
    let error = driver.move_to(&path("/from"), &path("/to")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn an_upload_is_complete_only_if_its_answer_or_its_object_says_so() {
    for answer in UNDONE {
        for outcome in [Outcome::Fail(Failure::In200(answer)), Outcome::Lost(Failure::In200(answer))] {
            let (server, driver) = start().await;
            let hits = server.fault(Rule::on(Op::CompleteMultipartUpload, outcome));
            let all = data(200 * KIB);
            driver.write_stream(&path("/to"), 0, stream(&all), WriteOptions::default()).await.unwrap();
            assert!(driver.get_content(&path("/to")).await.unwrap() == all && hits.count() == 1, "{outcome:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_error_in_a_200_is_known_by_its_code() {
    let all = data(200 * KIB);
    for (answer, refused) in [
        ("<Error><Code>NoSuchUpload</Code></Error>", Some(ErrorKind::Conflict)),
        (" <Error><Code>PreconditionFailed</Code></Error>", Some(ErrorKind::Conflict)),
        ("<Error><Code>ConditionalRequestConflict</Code></Error>", None),
        ("<Error><Code>SlowDown</Code></Error>", None),
    ] {
        let write = async |outcome| {
            let (server, driver) = start().await;
            server.fault(Rule::on(Op::CompleteMultipartUpload, outcome));
            driver.write_stream(&path("/to"), 0, stream(&all), WriteOptions::default()).await
        };
        // It was done all the same, by a try before this one.
        assert_eq!(write(Outcome::Lost(Failure::In200(answer))).await.unwrap(), 200 * KIB, "{answer}");
        let failed = write(Outcome::Fail(Failure::In200(answer))).await.err().map(|error| error.kind());
        assert_eq!(failed, refused, "{answer}");
    }
}

#[tokio::test]
async fn a_listing_that_goes_on_nowhere_is_no_whole_one() {
    const TRUNCATED: &str = "<IsTruncated>true</IsTruncated>";
    for (op, next) in [
        (Op::ListObjectsV2, ""),
        (Op::ListObjectsV2, "<NextContinuationToken/>"),
        (Op::ListObjectsV2, "<NextContinuationToken>same</NextContinuationToken>"),
        (Op::ListMultipartUploads, ""),
        (Op::ListMultipartUploads, "<NextKeyMarker>same</NextKeyMarker>"),
        (Op::ListParts, ""),
        (Op::ListParts, "<NextPartNumberMarker>1</NextPartNumberMarker>"),
    ] {
        let (server, driver) = start().await;
        let uncommitted = WriteOptions { completion: Completion::OnCommit, ..WriteOptions::default() };
        driver.write_stream(&path("/a/b"), 0, stream(&data(100 * KIB)), uncommitted).await.unwrap();
        server.age(Duration::from_secs(7200));
        let (keys, uploads) = (server.keys(), server.uploads().len());
        assert!(keys.iter().any(|key| key.starts_with("~segment/")) && uploads == 1, "{keys:?}");
        let answer: &str = format!("<Result>{TRUNCATED}{next}</Result>").leak();
        server.fault(Rule::on(op, Outcome::Lost(Failure::In200(answer))).always());
        let error = driver.sweep(Duration::from_secs(3600)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Backend, "{op:?} {next}: {error:?}");
        assert_eq!((server.keys(), server.uploads().len()), (keys, uploads), "{op:?} {next}");
        if op == Op::ListObjectsV2 {
            for error in [
                driver.list(&path("/a")).await.unwrap_err(),
                driver.walk(&path("/a"), WalkOptions::default()).try_collect::<Vec<_>>().await.unwrap_err(),
                driver.delete(&path("/a")).await.unwrap_err(),
            ] {
                assert_eq!(error.kind(), ErrorKind::Backend, "{next}: {error:?}");
            }
        }
    }
}

#[tokio::test]
async fn a_deletion_of_many_fails_with_any_of_them_that_was_there() {
    const DENIED: &str = "<Error><Key>dir/a</Key><Code>AccessDenied</Code></Error>";
    const MISSING: &str = "<Error><Key>dir/b</Key><Code>NoSuchKey</Code></Error>";
    for (first, second, kind) in [
        (DENIED, MISSING, Some(ErrorKind::PermissionDenied)),
        (MISSING, DENIED, Some(ErrorKind::PermissionDenied)),
        (MISSING, MISSING, None),
    ] {
        let (server, driver) = start().await;
        server.put("dir/a", "");
        server.put("dir/b", "");
        let answer: &str = format!("<DeleteResult>{first}{second}</DeleteResult>").leak();
        server.fault(Rule::on(Op::DeleteObjects, Outcome::Fail(Failure::In200(answer))));
        let failed = driver.delete(&path("/dir")).await.err();
        assert_eq!(failed.map(|error| error.kind()), kind, "{answer}");
    }
}
