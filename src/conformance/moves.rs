//! `move_to`.

use super::context::{Context, path};
use super::data::Data;
use crate::error::{ErrorKind, Result};

async fn try_move(t: &Context, from: &str, to: &str) -> Result<()> {
    t.driver().move_to(&path(from), &path(to)).await
}

async fn do_move(t: &Context, from: &str, to: &str) {
    try_move(t, from, to).await.unwrap_or_else(|error| panic!("move_to({from}, {to}) failed: {error:?}"));
}

pub(super) async fn a_file_moves(t: &mut Context) {
    let data = Data(60);
    t.write("/from/file", 0, data.stream(0..1 << 20, 65_536)).await;
    do_move(t, "/from/file", "/to/a/new/place").await;
    t.assert_missing("/from/file").await;
    t.assert_data("/to/a/new/place", data, 1 << 20).await;
    t.write("/to/a/new/place", 1 << 20, super::data::pieces([b"!"])).await;
    assert_eq!(t.size("/to/a/new/place").await, (1 << 20) + 1, "a moved file can be appended to");
}

pub(super) async fn an_empty_file_moves(t: &mut Context) {
    t.put("/from", "").await;
    do_move(t, "/from", "/to").await;
    t.assert_missing("/from").await;
    t.assert_content("/to", b"").await;
}

pub(super) async fn a_move_overwrites(t: &mut Context) {
    t.put("/from", "new").await;
    t.put("/to", Data(61).bytes(0..100_000)).await;
    do_move(t, "/from", "/to").await;
    t.assert_missing("/from").await;
    t.assert_content("/to", b"new").await;
}

pub(super) async fn a_move_of_nothing_leaves_the_destination(t: &mut Context) {
    t.put("/to", "as it was").await;
    t.refused(try_move(t, "/from", "/to").await, ErrorKind::PathNotFound, "/from");
    t.assert_content("/to", b"as it was").await;
    t.refused(try_move(t, "/to/below", "/to").await, ErrorKind::PathNotFound, "/to/below");
    t.assert_content("/to", b"as it was").await;
    t.refused(try_move(t, "/from", "/from").await, ErrorKind::PathNotFound, "/from");
    t.refused(try_move(t, "/from", "/elsewhere").await, ErrorKind::PathNotFound, "/from");
    assert_eq!(t.list("/").await, ["/to"]);
}

pub(super) async fn a_move_below_a_file_loses_nothing(t: &mut Context) {
    t.put("/from", "moving").await;
    t.put("/file", "a file").await;
    for to in ["/file/below", "/from/below"] {
        let moved = try_move(t, "/from", to).await;
        if t.can().file_directory_conflicts {
            t.refused(moved, ErrorKind::NotADirectory, to);
            t.assert_content("/from", b"moving").await;
        } else if moved.is_ok() {
            t.assert_content(to, b"moving").await;
            do_move(t, to, "/from").await;
        }
        t.assert_content("/file", b"a file").await;
    }
}

pub(super) async fn a_move_onto_itself_changes_nothing(t: &mut Context) {
    t.put("/dir/file", "content").await;
    let before = t.stat("/dir/file").await;
    do_move(t, "/dir/file", "/dir/file").await;
    t.assert_content("/dir/file", b"content").await;
    assert_eq!(t.stat("/dir/file").await, before);
}

pub(super) async fn a_move_of_a_directory_is_refused(t: &mut Context) {
    t.put("/dir/file", "content").await;
    t.put("/to", "as it was").await;
    let kind = match t.can().file_directory_conflicts {
        true => ErrorKind::IsADirectory,
        false => ErrorKind::PathNotFound,
    };
    for to in ["/to", "/new", "/dir", "/dir/below"] {
        t.refused(try_move(t, "/dir", to).await, kind, "/dir");
    }
    assert!(try_move(t, "/", "/new").await.is_err(), "the root can't be moved");
    t.assert_content("/dir/file", b"content").await;
    t.assert_content("/to", b"as it was").await;
    t.assert_missing("/new").await;
}

pub(super) async fn a_move_onto_a_directory_loses_nothing(t: &mut Context) {
    t.put("/from", "moving").await;
    t.put("/dir/file", "content").await;
    if t.can().file_directory_conflicts {
        for to in ["/dir", "/"] {
            t.refused(try_move(t, "/from", to).await, ErrorKind::IsADirectory, to);
        }
        t.refused(try_move(t, "/dir/file", "/dir").await, ErrorKind::IsADirectory, "/dir");
        t.assert_content("/from", b"moving").await;
    } else if try_move(t, "/from", "/dir").await.is_err() {
        t.assert_content("/from", b"moving").await;
    }
    t.assert_content("/dir/file", b"content").await;
}

pub(super) async fn a_move_leaves_siblings_with_the_same_prefix(t: &mut Context) {
    for at in ["/a", "/ab", "/a-", "/a.b"] {
        t.put(at, at.to_owned()).await;
    }
    do_move(t, "/a", "/z").await;
    t.assert_content("/z", b"/a").await;
    assert_eq!(t.list("/").await, ["/a-", "/a.b", "/ab", "/z"]);
}
