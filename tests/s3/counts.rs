//! How many requests things take, and how many bytes they send.

use std::sync::Arc;

use bytes::Bytes;
use futures::TryStreamExt;
use holdall::{Completion, Expected, StorageDriver, WriteOptions};
use http::Request;
use http::request::Builder;
use http_body::{Body, Frame};
use http_body_util::{Full, StreamBody};

use super::{KIB, MIB, config, data, open, path, stream};
use crate::support::s3::{Config, Op, S3Server};
use crate::tus::{CHUNK, Rig, patch, tus};

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

/// A whole upload as a client of the tus protocol makes it, in chunks of one size, the first perhaps with its creation; gives
/// requests and MiB sent.
async fn upload(total: u64, chunk: u64, with_creation: bool) -> (u64, f64) {
    let server = S3Server::new(Config::aws());
    let rig = Rig::over(Arc::new(open(config(&server)).await));
    server.reset();
    let all = data(total);
    let (url, mut offset) = if with_creation {
        let creation = tus("POST", "/files/").header("upload-length", total).header("content-type", CHUNK);
        let answer = rig.send(with_body(creation, &all[..chunk as usize])).await;
        assert_eq!((answer.status.as_u16(), answer.header("upload-offset")), (201, &*chunk.to_string()));
        (answer.header("location").to_owned(), chunk)
    } else {
        (rig.create(total).await, 0)
    };
    while offset < total {
        let bytes = &all[offset as usize..][..chunk as usize];
        let answer = rig.send(with_body(patch(&url, offset), bytes)).await;
        offset += chunk;
        assert_eq!((answer.status.as_u16(), answer.header("upload-offset")), (204, &*offset.to_string()));
    }
    let count = server.counts();
    let download = rig.send(tus("GET", &url).body(Full::<Bytes>::default()).unwrap()).await;
    assert!(download.body == all, "the upload is whole");
    assert!(server.uploads().is_empty());
    assert!(server.keys().iter().all(|key| !key.contains('~')), "nothing is left: {:?}", server.keys());
    println!("{total} by {chunk}: {count:?}");
    (count.total().requests, count.total().bytes_in as f64 / MIB as f64)
}

/// A request with bytes that come in pieces, as from a connection.
fn with_body(
    request: Builder,
    bytes: &[u8],
) -> Request<impl Body<Data = Bytes, Error = holdall::Error> + Send + use<>> {
    let request = request.header("content-length", bytes.len());
    request.body(StreamBody::new(stream(bytes).map_ok(Frame::data))).unwrap()
}

#[tokio::test]
async fn uploads_by_the_tus_protocol_stay_within_their_requests_and_bytes() {
    for (total, chunk, with_creation, requests, mib) in [
        (KIB, KIB, false, 4, 0.01),
        (KIB, KIB, true, 4, 0.01),
        (64 * MIB, 8 * MIB, true, 26, 66.0),
        (64 * MIB, MIB, false, 150, 132.0),
        (4 * MIB, 64 * KIB, true, 110, 12.0),
    ] {
        let took = upload(total, chunk, with_creation).await;
        assert!(
            took.0 <= requests && took.1 <= mib,
            "{total} bytes by {chunk} took {took:?}, not {requests} and {mib} MiB"
        );
    }
}

#[tokio::test]
async fn the_offset_of_a_running_upload_takes_two_requests() {
    let server = S3Server::new(Config::aws());
    let rig = Rig::over(Arc::new(open(config(&server)).await));
    let url = rig.create(MIB).await;
    assert_eq!(rig.send(with_body(patch(&url, 0), &data(1000))).await.status, 204);
    server.reset();
    assert_eq!(rig.offset(&url).await, 1000);
    assert_eq!(server.counts().total().requests, 2);
    assert_eq!((server.counts().of(Op::HeadObject).requests, server.counts().of(Op::GetObject).requests), (1, 1));
}
