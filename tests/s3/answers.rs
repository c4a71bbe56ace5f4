//! Answers that say 200 and are wrong all the same: none of them counts as success.

use holdall::drivers::S3Driver;
use holdall::{ErrorKind, StorageDriver, WriteOptions};

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
