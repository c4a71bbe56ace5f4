//! `delete`: all that is below a path, and nothing else.

use super::context::{Context, path};
use super::settings;
use crate::error::ErrorKind;
use crate::path::StoragePath;

pub(super) async fn a_file_is_deleted(t: &mut Context) {
    t.put("/dir/file", "content").await;
    t.put("/dir/other", "other").await;
    t.delete("/dir/file").await;
    t.assert_missing("/dir/file").await;
    assert_eq!(t.list("/dir").await, ["/dir/other"]);
    t.refused(t.driver().delete(&path("/dir/file")).await, ErrorKind::PathNotFound, "/dir/file");
}

pub(super) async fn a_deleted_file_can_be_made_again(t: &mut Context) {
    t.put("/file", "old content").await;
    t.delete("/file").await;
    t.write("/file", 0, super::data::pieces([b"new"])).await;
    t.assert_content("/file", b"new").await;
    t.delete("/file").await;
    t.put("/file/below", "a file became a directory").await;
    t.assert_content("/file/below", b"a file became a directory").await;
    t.delete("/file").await;
    t.put("/file", "and back").await;
    t.assert_content("/file", b"and back").await;
}

pub(super) async fn a_directory_is_deleted_child_by_child(t: &mut Context) {
    let children = ["/dir/1", "/dir/2", "/dir/3"];
    for child in children {
        t.put(child, "content").await;
    }
    for (number, child) in children.into_iter().enumerate() {
        assert_eq!(t.list("/dir").await, children[number..]);
        t.delete(child).await;
        t.assert_missing(child).await;
    }
    match t.driver().list(&path("/dir")).await {
        Ok(left) => assert_eq!(left, [], "a directory whose last child went is empty"),
        error => drop(t.refused(error, ErrorKind::PathNotFound, "/dir")),
    }
}

pub(super) async fn a_directory_is_deleted_whole(t: &mut Context) {
    let below = ["/dir/1", "/dir/sub/2", "/dir/sub/deep/3", "/dir/sub/deep-/4", "/dir/z"];
    for at in below {
        t.put(at, "content").await;
    }
    t.delete("/dir").await;
    for at in below.into_iter().chain(["/dir", "/dir/sub"]) {
        t.assert_missing(at).await;
    }
    t.refused(t.driver().delete(&path("/dir")).await, ErrorKind::PathNotFound, "/dir");
}

pub(super) async fn a_large_directory_is_deleted_whole(t: &mut Context) {
    for number in 0..settings::children() {
        t.put(&format!("/dir/{}/{number}", number % 3), "").await;
    }
    t.put("/di", "a sibling").await;
    t.delete("/dir").await;
    t.assert_missing("/dir").await;
    assert_eq!(t.list("/").await, ["/di"]);
}

pub(super) async fn delete_spares_siblings_with_the_same_prefix(t: &mut Context) {
    let spared = ["/a-", "/a.b", "/a0", "/ab/in", "/A/in"];
    for at in spared {
        t.put(at, "spared").await;
    }
    t.put("/a", "a file").await;
    t.delete("/a").await;
    t.put("/a/in", "a directory").await;
    t.delete("/a").await;
    t.assert_missing("/a").await;
    for at in spared {
        t.assert_content(at, b"spared").await;
    }
}

pub(super) async fn a_prefix_of_a_name_is_not_deleted(t: &mut Context) {
    t.put("/dir/name", "content").await;
    for at in ["/di", "/dir/nam", "/d"] {
        t.refused(t.driver().delete(&path(at)).await, ErrorKind::PathNotFound, at);
    }
    t.assert_content("/dir/name", b"content").await;
}

pub(super) async fn the_root_can_not_be_deleted(t: &mut Context) {
    t.put("/file", "content").await;
    t.put("/dir/file", "content").await;
    t.refused(t.driver().delete(&StoragePath::root()).await, ErrorKind::InvalidPath, "/");
    t.assert_content("/file", b"content").await;
    t.assert_content("/dir/file", b"content").await;
}
