//! Uncommitted files that live long: shared by servers in turn, of a size that is told late, slow, or ended by a rule of the bucket.

use std::time::Duration;

use futures::StreamExt;
use futures::stream::unfold;
use holdall::{Completion, ErrorKind, Expected, StorageDriver, WriteOptions};
use http::Method;

use super::{KIB, MIB, config, data, open, path, scaled, small, stream};
use crate::support::s3::{Code, Config, Failure, Op, Outcome, Rule, S3Server};

const DAY: Duration = Duration::from_secs(24 * 3600);

fn on_commit(at: u64) -> WriteOptions {
    WriteOptions { completion: Completion::OnCommit, ..WriteOptions::default() }.expecting(Expected::Size(at))
}

#[tokio::test]
async fn servers_that_take_turns_do_not_use_up_the_part_numbers() {
    const PART: u64 = 64;
    let server = S3Server::new(Config { public: true, ..Config::aws() }.scaled(PART));
    let tiny = || config(&server).min_part_size(PART).part_size(PART).inline_limit(0);
    let servers = [open(tiny()).await, open(tiny()).await];
    let at = path("/file");
    let all = data(2000 * PART);
    for (n, part) in all.chunks(PART as usize).enumerate() {
        let offset = n as u64 * PART;
        servers[n % 2].write_stream(&at, offset, stream(part), on_commit(offset)).await.unwrap();
    }
    servers[0].commit(&at).await.unwrap();
    assert!(servers[0].get_content(&at).await.unwrap() == all);
}

#[tokio::test]
async fn parts_grow_when_the_size_is_told_late() {
    const PART: u64 = 4 * KIB;
    let engine = Config { public: true, ..Config::aws() }.scaled(PART);
    let tiny = |server: &S3Server| config(server).min_part_size(PART).part_size(PART).inline_limit(KIB);
    // More than 10,000 parts of the first size.
    let total = 45 * MIB;
    let at_size = WriteOptions { completion: Completion::AtSize(total), ..WriteOptions::default() };
    let (all, at) = (data(total), path("/file"));
    let first = 2 * PART;

    let server = S3Server::new(engine.clone());
    let driver = open(tiny(&server)).await;
    driver.write_stream(&at, 0, stream(&all[..first as usize]), on_commit(0)).await.unwrap();
    driver.write_stream(&at, first, stream(&all[first as usize..]), at_size).await.unwrap();
    assert!(driver.get_content(&at).await.unwrap() == all);

    let server = S3Server::new(Config { equal_parts: true, ..engine });
    let driver = open(tiny(&server).equal_parts(true)).await;
    driver.write_stream(&at, 0, stream(&all[..first as usize]), on_commit(0)).await.unwrap();
    let refused = driver.write_stream(&at, first, stream(&all[first as usize..]), at_size).await.unwrap_err();
    assert_eq!((refused.kind(), refused.bytes_read()), (ErrorKind::SizeExceeded, 0), "told before any byte is taken");
    assert_eq!(driver.stat(&at).await.unwrap().size, first);
}

#[tokio::test(start_paused = true)]
async fn what_a_slow_stream_has_sent_does_not_stay_in_memory() {
    let server = S3Server::new(Config { public: true, ..Config::aws() }.scaled(MIB));
    let driver = open(config(&server).min_part_size(MIB).part_size(MIB)).await;
    let all = data(MIB);
    let pieces: Vec<_> = all.chunks(100 << 10).map(bytes::Bytes::copy_from_slice).collect();
    let slow = unfold(pieces.into_iter(), async |mut pieces| {
        tokio::time::sleep(Duration::from_secs(11)).await;
        pieces.next().map(|piece| (Ok(piece), pieces))
    });
    server.reset();
    driver.write_stream(&path("/file"), 0, slow.boxed(), on_commit(0)).await.unwrap();
    // All was recorded on the way, and the part was put together from it.
    assert!(server.counts().of(Op::GetObject).requests >= 8, "{:?}", server.counts());
    driver.commit(&path("/file")).await.unwrap();
    assert!(driver.get_content(&path("/file")).await.unwrap() == all);
}

/// A sealed file, whose Complete the engine refused.
async fn sealed(server: &S3Server, at: &str) {
    let driver = open(small(server)).await;
    let refuse = Rule::on(Op::CompleteMultipartUpload, Outcome::Fail(Failure::Error(Code::InvalidRequest)));
    server.fault(refuse.always());
    driver.write_stream(&path(at), 0, stream(&data(100)), on_commit(0)).await.unwrap();
    driver.commit(&path(at)).await.unwrap_err();
    server.clear_faults();
}

async fn abort_uploads(server: &S3Server) {
    for (id, upload) in server.uploads() {
        let aborted = server.raw(Method::DELETE, &format!("{}?uploadId={id}", upload.key)).send().await.unwrap();
        assert_eq!(aborted.status.as_u16(), 204);
    }
}

#[tokio::test]
async fn a_sealed_file_whose_upload_the_bucket_has_ended_can_be_deleted() {
    let server = scaled(Config::aws());
    sealed(&server, "/file").await;
    abort_uploads(&server).await;
    let driver = open(small(&server)).await;
    assert_eq!(driver.commit(&path("/file")).await.unwrap_err().kind(), ErrorKind::Conflict);
    driver.delete(&path("/file")).await.unwrap();
    assert_eq!(driver.stat(&path("/file")).await.unwrap_err().kind(), ErrorKind::PathNotFound);
    assert_eq!(server.keys(), Vec::<String>::new());
}

#[tokio::test]
async fn a_sealed_file_that_cannot_be_completed_does_not_stop_a_sweep() {
    for ended_by_a_rule in [false, true] {
        let server = scaled(Config::aws());
        let driver = open(small(&server)).await;
        sealed(&server, "/a").await;
        driver.write_stream(&path("/b"), 0, stream(&data(70 * KIB)), on_commit(0)).await.unwrap();
        if ended_by_a_rule {
            abort_uploads(&server).await;
        } else {
            let refuse = Rule::on(Op::CompleteMultipartUpload, Outcome::Fail(Failure::Error(Code::EntityTooSmall)));
            server.fault(refuse.key("a").always());
        }
        server.age(2 * DAY);
        open(small(&server)).await.sweep(DAY).await.unwrap();
        assert_eq!((server.keys(), server.uploads().len()), (Vec::new(), 0));
    }
}

#[tokio::test]
async fn a_sweep_keeps_a_sealed_file_while_the_engine_is_out_of_order() {
    let server = scaled(Config::aws());
    sealed(&server, "/file").await;
    server.age(2 * DAY);
    let broken = Rule::on(Op::CompleteMultipartUpload, Outcome::Fail(Failure::Error(Code::InternalError)));
    server.fault(broken.key("file").always());
    open(small(&server).max_retries(1)).await.sweep(DAY).await.unwrap_err();
    server.clear_faults();
    let driver = open(small(&server)).await;
    driver.sweep(DAY).await.unwrap();
    assert!(driver.get_content(&path("/file")).await.unwrap() == data(100), "completed by the sweep");
}

#[tokio::test]
async fn the_upload_of_a_probe_that_was_killed_is_swept() {
    let server = scaled(Config::aws());
    let begun = server.raw(Method::POST, "~probe/7f?uploads").send().await.unwrap();
    assert_eq!(begun.status.as_u16(), 200);
    let driver = open(small(&server)).await;
    driver.sweep(DAY).await.unwrap();
    assert_eq!(server.uploads().len(), 1, "it may be in use");
    server.age(2 * DAY);
    driver.sweep(DAY).await.unwrap();
    assert_eq!(server.uploads().len(), 0);
}
