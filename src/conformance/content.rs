//! Paths, and contents put and got as a whole.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use futures::StreamExt;
use futures::stream;

use super::context::{Context, concat, path};
use super::data::Data;
use super::harness::eventually;
use crate::driver::ReadRange;
use crate::error::ErrorKind;
use crate::path::StoragePath;

pub(super) async fn valid_paths_round_trip(t: &mut Context) {
    let paths = [
        "/a",
        "/2",
        "/aa",
        "/a.a",
        "/0-9/abcdefg",
        "/abcdefg/z.75",
        "/abc/1.2.3.4.5-6_zyx/123.z/4",
        "/docker/docker-registry",
        "/123.abc",
        "/abc./abc",
        "/.abc",
        "/a--b",
        "/a-.b",
        "/_.abc",
        "/Docker/docker-registry",
        "/Abc/Cba",
    ];
    for (number, at) in paths.into_iter().enumerate() {
        t.put(at, vec![number as u8; number]).await;
    }
    for (number, at) in paths.into_iter().enumerate() {
        t.assert_content(at, &vec![number as u8; number]).await;
    }
}

pub(super) async fn longest_paths_round_trip(t: &mut Context) {
    let component = "c".repeat(StoragePath::MAX_COMPONENT_LEN);
    let longest = format!("/{component}/{component}/{component}");
    assert_eq!(longest.len(), StoragePath::MAX_LEN);
    t.put(&longest, "deep").await;
    t.assert_content(&longest, b"deep").await;
    assert_eq!(t.write(&longest, 4, super::data::pieces([b"er"])).await, 2);
    t.assert_content(&longest, b"deeper").await;
}

pub(super) async fn invalid_paths_are_refused(_: &mut Context) {
    for text in ["", "abc", "123.abc", "//bcd", "/abc_123/", "/a/../b", "/./a", "/a/..", "/a b", "/a~", "/ß", "/a\0"] {
        assert!(StoragePath::parse(text).is_err(), "{text:?} is not a path");
    }
}

pub(super) async fn paths_are_told_apart_by_case(t: &mut Context) {
    t.put("/Abc", "upper").await;
    t.put("/abc", "lower").await;
    t.assert_content("/Abc", b"upper").await;
    t.assert_content("/abc", b"lower").await;
    assert_eq!(t.list("/").await, ["/Abc", "/abc"]);
}

/// One letter, a letter of two bytes, 32 bytes, 1 MiB, and bytes that are no text.
fn contents() -> [Bytes; 5] {
    [
        Bytes::from_static(b"a"),
        Bytes::from_static("ß".as_bytes()),
        Data(1).bytes(0..32),
        Data(2).bytes(0..1 << 20),
        Bytes::from_static(&[0x80, 0x00, 0xff, 0xc3, 0x28, 0x0a, 0x00]),
    ]
}

pub(super) async fn put_content_reads_back(t: &mut Context) {
    for content in contents() {
        t.put("/put", content.clone()).await;
        t.assert_content("/put", &content).await;
    }
}

pub(super) async fn write_stream_reads_back(t: &mut Context) {
    for (number, content) in contents().into_iter().enumerate() {
        let at = format!("/streams/{number}");
        let pieces: Vec<_> = content.chunks(40_000).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
        assert_eq!(t.write(&at, 0, stream::iter(pieces).boxed()).await, content.len() as u64);
        t.assert_content(&at, &content).await;
    }
}

pub(super) async fn empty_content_is_a_file(t: &mut Context) {
    t.put("/dir/empty", "").await;
    t.assert_content("/dir/empty", b"").await;
    assert_eq!(t.list("/dir").await, ["/dir/empty"]);
}

pub(super) async fn put_content_replaces_a_longer_content(t: &mut Context) {
    t.put("/file", Data(1).bytes(0..1 << 20)).await;
    t.put("/file", Data(2).bytes(0..1024)).await;
    t.assert_data("/file", Data(2), 1024).await;
    t.put("/file", "").await;
    t.assert_content("/file", b"").await;
}

pub(super) async fn put_content_twice_replaces(t: &mut Context) {
    t.put("/file", "first").await;
    t.put("/file", "second content").await;
    t.assert_content("/file", b"second content").await;
}

pub(super) async fn put_content_below_a_file_loses_nothing(t: &mut Context) {
    t.put("/file", "a file").await;
    for below in ["/file/below", "/file/far/below"] {
        let put = t.driver().put_content(&path(below), Bytes::from_static(b"below")).await;
        if t.can().file_directory_conflicts {
            t.refused(put, ErrorKind::NotADirectory, below);
        }
        t.assert_content("/file", b"a file").await;
    }
}

pub(super) async fn put_content_onto_a_directory_loses_nothing(t: &mut Context) {
    t.put("/dir/child", "a child").await;
    let put = t.driver().put_content(&path("/dir"), Bytes::from_static(b"file")).await;
    if t.can().file_directory_conflicts {
        t.refused(put, ErrorKind::IsADirectory, "/dir");
    }
    t.assert_content("/dir/child", b"a child").await;
    let put = t.driver().put_content(&StoragePath::root(), Bytes::from_static(b"file")).await;
    assert!(put.is_err(), "the root can't become a file");
}

pub(super) async fn a_missing_path_is_not_found(t: &mut Context) {
    let (driver, at) = (t.driver(), "/not/there");
    t.put("/not/here", "a sibling").await;
    for at in [at, "/not/here/below", "/nor/here"] {
        let path = path(at);
        t.assert_missing(at).await;
        t.refused(driver.read_stream(&path, 0).await, ErrorKind::PathNotFound, at);
        t.refused(driver.read_stream(&path, 64).await, ErrorKind::PathNotFound, at);
        t.refused(driver.read(&path, ReadRange::from(3..5)).await, ErrorKind::PathNotFound, at);
        t.refused(driver.delete(&path).await, ErrorKind::PathNotFound, at);
        t.refused(driver.commit(&path).await, ErrorKind::PathNotFound, at);
        let walked = driver.walk(&path, Default::default()).next().await;
        t.refused(walked.expect("a walk of a missing path gives an error"), ErrorKind::PathNotFound, at);
        if t.can().conditional_put {
            t.refused(driver.get_versioned(&path).await, ErrorKind::PathNotFound, at);
        }
    }
}

/// Says when the last slice of a buffer is gone.
struct Watched(Vec<u8>, Arc<AtomicBool>);

impl AsRef<[u8]> for Watched {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.1.store(true, Ordering::SeqCst);
    }
}

pub(super) async fn small_bytes_do_not_keep_their_buffer(t: &mut Context) {
    let gone = Arc::new(AtomicBool::new(false));
    let buffer = Bytes::from_owner(Watched(vec![7; 1 << 20], gone.clone()));
    t.put("/put", buffer.slice(1000..1064)).await;
    t.write("/written", 0, stream::iter([Ok(buffer.slice(0..32)), Ok(buffer.slice(64..96))]).boxed()).await;
    drop(buffer);
    // A driver may still be letting go in the background.
    eventually("small pieces of a large buffer are copied, so that it can be freed", async || {
        gone.load(Ordering::SeqCst).then_some(())
    })
    .await;
    t.assert_content("/put", &[7; 64]).await;
    t.assert_content("/written", &[7; 64]).await;
}

pub(super) async fn the_driver_has_a_name(t: &mut Context) {
    assert!(!t.driver().name().is_empty(), "errors and metrics name the driver");
    let error = t.driver().stat(&path("/missing")).await.expect_err("nothing is there");
    assert!(error.driver().is_some(), "an error names the driver: {error:?}");
}

pub(super) async fn sweep_spares_complete_files(t: &mut Context) {
    t.put("/put", "put").await;
    t.write("/written", 0, super::data::pieces([b"written"])).await;
    t.driver().sweep(std::time::Duration::ZERO).await.expect("a sweep works");
    t.assert_content("/put", b"put").await;
    assert_eq!(concat(t.driver().read_stream(&path("/written"), 0).await.expect("it is there")).await, b"written");
}
