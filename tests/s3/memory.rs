//! One budget for all writes.

use std::time::Duration;

use futures::future::join_all;
use holdall::{Completion, StorageDriver, WriteOptions};

use super::{KIB, MIB, config, data, open, path, stream};
use crate::support::s3::{Config, Op, Outcome, S3Server};

#[tokio::test]
async fn writers_that_share_room_for_one_part_all_end() {
    let server = S3Server::new(Config { public: true, ..Config::aws() }.scaled(512 * KIB));
    let driver = config(&server).min_part_size(512 * KIB).part_size(512 * KIB).copy_part_size(MIB);
    let driver = open(driver.memory_budget(512 * KIB).head_cache(0)).await;
    let all = data(2 * MIB + 300 * KIB);
    let writers = (0..12).map(|n| {
        let (driver, all) = (driver.clone(), all.clone());
        async move {
            let at = path(&format!("/{n}"));
            let completion = match n % 3 {
                0 => Completion::EndOfStream,
                1 => Completion::OnCommit,
                _ => Completion::AtSize(all.len() as u64),
            };
            let options = WriteOptions { completion, ..WriteOptions::default() };
            driver.write_stream(&at, 0, stream(&all), options).await.unwrap();
            driver.commit(&at).await.unwrap();
            assert!(driver.get_content(&at).await.unwrap() == all, "{completion:?}");
        }
    });
    tokio::time::timeout(Duration::from_secs(120), join_all(writers)).await.expect("none waits for ever");
    assert_eq!(server.keys().len(), 12, "{:?}", server.keys());
}

#[tokio::test]
async fn what_a_stream_may_hold_counts_the_tail_that_was_kept_for_it() {
    let server = S3Server::new(Config::aws());
    for (cache, tail) in [(0, 0), (10 * KIB, 10 * KIB), (64 * MIB, 10 * MIB)] {
        let driver = open(config(&server).memory_budget(20 * MIB).head_cache(cache)).await;
        assert_eq!(driver.capabilities().max_stream_memory, 20 * MIB + tail + 256 * KIB);
    }
}

#[tokio::test(start_paused = true)]
async fn behind_a_late_part_others_go_up_while_memory_is_plenty() {
    let part = 512 * KIB;
    for (budget, sent) in [(16 * part, 8), (5 * part, 4)] {
        let server = S3Server::new(Config { public: true, ..Config::aws() }.scaled(part));
        let config = config(&server).min_part_size(part).part_size(part).copy_part_size(MIB);
        let driver = open(config.memory_budget(budget).concurrency(4)).await;
        let gate = server.gate_when(|call| call.op == Op::UploadPart && call.param("partNumber") == Some("1"));
        let all = data(12 * part);
        let at = path("/file");
        let write = driver.write_stream(&at, 0, stream(&all), WriteOptions::default());
        let watch = async {
            let late = gate.next("driver").await;
            gate.settle().await;
            assert_eq!(server.counts().of(Op::UploadPart).requests, sent, "of {budget} bytes");
            late.release(Outcome::Do);
        };
        tokio::join!(async { write.await.unwrap() }, watch);
        assert!(driver.get_content(&at).await.unwrap() == all);
    }
}
