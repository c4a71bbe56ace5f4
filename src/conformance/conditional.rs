//! `get_versioned` and `put_content_if`.

use bytes::Bytes;

use super::context::{Context, path};
use super::data::pieces;
use crate::driver::Precondition;
use crate::error::{ErrorKind, Result};
use crate::info::Version;

/// Skips the case where the driver has no versions; the calls must say so, then.
async fn unsupported(t: &mut Context) -> bool {
    if t.can().conditional_put {
        return false;
    }
    t.put("/probe", "content").await;
    t.refused(t.driver().get_versioned(&path("/probe")).await, ErrorKind::UnsupportedMethod, "/probe");
    let put = try_put(t, "/probe", "new", Precondition::Absent).await;
    t.refused(put, ErrorKind::UnsupportedMethod, "/probe");
    t.assert_content("/probe", b"content").await;
    t.skip("this driver has no conditional puts");
    true
}

async fn try_put(t: &Context, at: &str, content: &'static str, condition: Precondition) -> Result<Version> {
    t.driver().put_content_if(&path(at), Bytes::from_static(content.as_bytes()), condition).await
}

async fn version(t: &Context, at: &str) -> Version {
    let got = t.driver().get_versioned(&path(at)).await;
    got.unwrap_or_else(|error| panic!("get_versioned({at}) failed: {error:?}")).1
}

pub(super) async fn put_if_absent_creates_only(t: &mut Context) {
    if unsupported(t).await {
        return;
    }
    let made = try_put(t, "/dir/file", "first", Precondition::Absent).await.expect("nothing was there");
    t.assert_content("/dir/file", b"first").await;
    assert_eq!(version(t, "/dir/file").await, made, "the version of what was made is returned");
    let put = try_put(t, "/dir/file", "second", Precondition::Absent).await;
    t.refused(put, ErrorKind::AlreadyExists, "/dir/file");
    t.assert_content("/dir/file", b"first").await;
}

pub(super) async fn put_if_version_replaces_that_version(t: &mut Context) {
    if unsupported(t).await {
        return;
    }
    t.put("/file", "first").await;
    let (content, first) = t.driver().get_versioned(&path("/file")).await.expect("it is there");
    assert_eq!(content, "first");
    let second =
        try_put(t, "/file", "second", Precondition::Version(first.clone())).await.expect("nobody came between");
    t.assert_content("/file", b"second").await;
    assert_ne!(first, second);
    let third = try_put(t, "/file", "third", Precondition::Version(second)).await.expect("nobody came between");
    assert_eq!(version(t, "/file").await, third);
    t.assert_content("/file", b"third").await;
}

pub(super) async fn a_stale_version_is_refused(t: &mut Context) {
    if unsupported(t).await {
        return;
    }
    t.put("/file", "same").await;
    let stale = version(t, "/file").await;
    // The same bytes again are another version.
    t.put("/file", "same").await;
    assert_ne!(version(t, "/file").await, stale, "no version comes twice");
    let put = try_put(t, "/file", "new", Precondition::Version(stale.clone())).await;
    t.refused(put, ErrorKind::Conflict, "/file");
    t.assert_content("/file", b"same").await;

    let stale_by_write = version(t, "/file").await;
    t.write("/file", 0, pieces([b"same"])).await;
    let put = try_put(t, "/file", "new", Precondition::Version(stale_by_write)).await;
    t.refused(put, ErrorKind::Conflict, "/file");

    t.delete("/file").await;
    let put = try_put(t, "/file", "new", Precondition::Version(stale.clone())).await;
    t.refused(put, ErrorKind::Conflict, "/file");
    t.assert_missing("/file").await;
    t.put("/file", "same").await;
    let put = try_put(t, "/file", "new", Precondition::Version(stale)).await;
    t.refused(put, ErrorKind::Conflict, "/file");
    t.assert_content("/file", b"same").await;
}

pub(super) async fn a_version_outlives_the_driver(t: &mut Context) {
    if unsupported(t).await {
        return;
    }
    t.put("/file", "first").await;
    let first = version(t, "/file").await;
    t.crash().await;
    assert_eq!(version(t, "/file").await, first, "an untouched file keeps its version");
    try_put(t, "/file", "second", Precondition::Version(first)).await.expect("nobody came between");
    t.assert_content("/file", b"second").await;
}

pub(super) async fn put_if_keeps_files_and_directories_apart(t: &mut Context) {
    if unsupported(t).await || !t.can().file_directory_conflicts {
        return;
    }
    t.put("/dir/file", "content").await;
    t.refused(try_put(t, "/dir", "new", Precondition::Absent).await, ErrorKind::IsADirectory, "/dir");
    let below = "/dir/file/below";
    t.refused(try_put(t, below, "new", Precondition::Absent).await, ErrorKind::NotADirectory, below);
    t.refused(t.driver().get_versioned(&path("/dir")).await, ErrorKind::IsADirectory, "/dir");
    t.assert_content("/dir/file", b"content").await;
}
