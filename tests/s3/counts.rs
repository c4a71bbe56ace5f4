//! How many requests things take, and how many bytes they send.

use std::sync::Arc;

use holdall::upload::{ChunkOptions, NewUpload, UploadStore};
use holdall::{Completion, Expected, StorageDriver, WriteOptions};

use super::{KIB, MIB, config, data, open, path, stream};
use crate::support::s3::{Config, Op, S3Server};

fn at_size(size: u64, offset: u64) -> WriteOptions {
    WriteOptions { completion: Completion::AtSize(size), ..WriteOptions::default() }.expecting(Expected::Size(offset))
}

#[tokio::test]
async fn a_complete_file_takes_one_request_to_read_or_stat() {
    let server = S3Server::new(Config::aws());
    let driver = open(config(&server)).await;
    driver.put_content(&path("/a/b"), "content".into()).await.unwrap();
    server.reset();
    driver.stat(&path("/a/b")).await.unwrap();
    assert_eq!(server.counts().total().requests, 1);
    driver.get_content(&path("/a/b")).await.unwrap();
    assert_eq!(server.counts().total().requests, 2);
    drop(driver.read_stream(&path("/a/b"), 3).await.unwrap());
    assert_eq!(server.counts().total().requests, 3);
}

#[tokio::test]
async fn appends_take_a_request_inline_two_by_segment_and_one_more_than_their_parts() {
    let server = S3Server::new(Config::aws());
    let driver = open(config(&server)).await;
    let at = path("/file");
    let all = data(64 * MIB);
    let mut offset = 0;
    let mut append = async |length: u64| {
        server.reset();
        let bytes = stream(&all[offset as usize..(offset + length) as usize]);
        let read = driver.write_stream(&at, offset, bytes, at_size(64 * MIB, offset)).await.unwrap();
        assert_eq!(read, length);
        offset += length;
        server.counts().total().requests
    };
    append(KIB).await;
    assert_eq!(append(KIB).await, 1, "inline");
    assert_eq!(append(MIB).await, 2, "a segment");
    assert_eq!(append(KIB).await, 1, "inline after a segment");
    append(8 * MIB - MIB - 3 * KIB).await;
    assert_eq!(append(8 * MIB).await, 2, "one part");
    assert_eq!(append(24 * MIB).await, 4, "three parts");
}

/// A whole upload in chunks of one size; gives requests and MiB sent.
async fn upload(total: u64, chunk: u64) -> (u64, f64) {
    let server = S3Server::new(Config::aws());
    let driver = open(config(&server)).await;
    let store = UploadStore::new(Arc::new(driver.clone()));
    server.reset();
    let all = data(total);
    let upload = store.create(NewUpload { length: Some(total), ..NewUpload::default() }).await.unwrap();
    let id = &upload.info.id;
    for (n, bytes) in all.chunks(chunk as usize).enumerate() {
        let written = store.write_chunk(id, n as u64 * chunk, stream(bytes), ChunkOptions::default()).await.unwrap();
        assert_eq!(written.offset, n as u64 * chunk + bytes.len() as u64);
    }
    let count = server.counts();
    let content = driver.get_content(&upload.info.path).await.unwrap();
    assert!(content == all, "the upload is whole");
    assert!(server.uploads().is_empty());
    assert!(server.keys().iter().all(|key| !key.contains('~')), "nothing is left: {:?}", server.keys());
    println!("{total} by {chunk}: {count:?}");
    (count.total().requests, count.total().bytes_in as f64 / MIB as f64)
}

#[tokio::test]
async fn uploads_stay_within_their_requests_and_bytes() {
    for (total, chunk, requests, mib) in [
        (KIB, KIB, 4, 0.01),
        (64 * MIB, 8 * MIB, 26, 66.0),
        (64 * MIB, MIB, 150, 132.0),
        (4 * MIB, 64 * KIB, 110, 12.0),
    ] {
        let took = upload(total, chunk).await;
        assert!(
            took.0 <= requests && took.1 <= mib,
            "{total} bytes by {chunk} took {took:?}, not {requests} and {mib} MiB"
        );
    }
}

#[tokio::test]
async fn the_offset_of_a_running_upload_takes_two_requests() {
    let server = S3Server::new(Config::aws());
    let store = UploadStore::new(Arc::new(open(config(&server)).await));
    let upload = store.create(NewUpload { length: Some(MIB), ..NewUpload::default() }).await.unwrap();
    store.write_chunk(&upload.info.id, 0, stream(&data(1000)), ChunkOptions::default()).await.unwrap();
    server.reset();
    assert_eq!(store.info(&upload.info.id).await.unwrap().offset, 1000);
    assert_eq!(server.counts().total().requests, 2);
    assert_eq!((server.counts().of(Op::HeadObject).requests, server.counts().of(Op::GetObject).requests), (1, 1));
}
