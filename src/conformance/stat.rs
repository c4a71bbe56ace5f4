//! `stat`.

use super::context::{Context, path};
use super::data::{Data, pieces};
use super::harness::eventually;
use crate::error::ErrorKind;

pub(super) async fn the_root_is_a_directory(t: &mut Context) {
    let root = t.stat("/").await;
    assert!(root.is_dir && root.size == 0, "an empty root is a directory: {root:?}");
    t.put("/file", "content").await;
    assert!(t.stat("/").await.is_dir);
}

pub(super) async fn a_file_has_size_and_time(t: &mut Context) {
    t.put("/dir/file", Data(70).bytes(0..12_345)).await;
    let info = t.stat("/dir/file").await;
    assert_eq!((info.size, info.is_dir), (12_345, false));
    assert!(info.modified.is_some(), "a file has a time of modification");
}

pub(super) async fn a_directory_has_no_size(t: &mut Context) {
    t.put("/dir/sub/file", "content").await;
    for at in ["/dir", "/dir/sub"] {
        let info = t.stat(at).await;
        assert!(info.is_dir && info.size == 0, "a directory has size 0: {info:?}");
    }
}

pub(super) async fn a_prefix_of_a_name_is_missing(t: &mut Context) {
    t.put("/ab/cd", "content").await;
    t.put("/a-b", "content").await;
    for at in ["/a", "/ab/c", "/ab/cd/e", "/ab/cde", "/abc"] {
        t.refused(t.driver().stat(&path(at)).await, ErrorKind::PathNotFound, at);
    }
}

pub(super) async fn rewriting_advances_the_time(t: &mut Context) {
    for put in [true, false] {
        let at = if put { "/put" } else { "/written" };
        t.put(at, "first").await;
        let first = t.stat(at).await.modified.expect("a file has a time");
        let mut last = first;
        // Clocks of backends may tick once a second.
        eventually("rewriting a file advances its time", async || {
            match put {
                true => t.put(at, "again").await,
                false => drop(t.write(at, 0, pieces([b"again"])).await),
            }
            let now = t.stat(at).await.modified.expect("a file has a time");
            assert!(now >= last, "the time of a file that is rewritten doesn't go back");
            last = now;
            (now > first).then_some(())
        })
        .await;
    }
}

pub(super) async fn reading_does_not_advance_the_time(t: &mut Context) {
    t.put("/file", "content").await;
    let before = t.stat("/file").await;
    t.get("/file").await;
    t.list("/").await;
    assert_eq!(t.stat("/file").await, before);
}
