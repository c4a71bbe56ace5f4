//! How long a request may take.

use std::time::Duration;

use holdall::drivers::S3Driver;
use holdall::{ErrorKind, Result, StorageDriver, WriteOptions};

use super::{KIB, MIB, config, data, open, path, stream};
use crate::support::s3::{Config, Op, Outcome, Rule, S3Server};

/// A file that a slow engine copies for seconds, and a driver that waits for one where nothing is copied.
async fn start(copy_threshold: u64) -> (S3Server, S3Driver) {
    let server = S3Server::new(Config { public: true, random_etags: true, ..Config::aws() });
    server.put("from", vec![0; 32 << 20]);
    let config = config(&server).max_retries(0).timeout(Duration::from_secs(1));
    let driver = open(config.copy_threshold(copy_threshold).copy_part_size(16 * MIB)).await;
    (server, driver)
}

async fn act(driver: &S3Driver, op: Op) -> Result<()> {
    match op {
        Op::CompleteMultipartUpload => {
            let bytes = stream(&data(9 * MIB));
            driver.write_stream(&path("/to"), 0, bytes, WriteOptions::default()).await.map(drop)
        }
        _ => driver.move_to(&path("/from"), &path("/to")).await,
    }
}

#[tokio::test(start_paused = true)]
async fn an_engine_has_time_to_work_on_what_it_is_not_sent_but_not_for_ever() {
    for (op, threshold, enough, too_long) in [
        (Op::CopyObject, 32 * MIB, 8, 10),
        (Op::UploadPartCopy, 16 * MIB, 4, 6),
        (Op::CompleteMultipartUpload, 0, 240, 3600),
    ] {
        let (server, driver) = start(threshold).await;
        let slow = Rule::on(op, Outcome::Do).always().delay(Duration::from_secs(enough));
        let hits = server.fault(slow);
        act(&driver, op).await.unwrap();
        assert!(hits.count() > 0, "{op:?}");

        let (server, driver) = start(threshold).await;
        server.fault(Rule::on(op, Outcome::Do).always().delay(Duration::from_secs(too_long)));
        assert_eq!(act(&driver, op).await.unwrap_err().kind(), ErrorKind::Timeout, "{op:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_sent_counts_into_its_time() {
    let (server, driver) = start(0).await;
    server.fault(Rule::on(Op::PutObject, Outcome::Do).always().delay(Duration::from_secs(4)));
    driver.put_content(&path("/long"), data(MIB).into()).await.unwrap();
    let error = driver.put_content(&path("/short"), data(KIB).into()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
}
