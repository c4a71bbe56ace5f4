//! `concat`: the bytes of the sources, in order.

use super::context::{Context, path};
use super::data::Data;
use crate::error::{ErrorKind, Result};
use crate::path::StoragePath;

async fn try_concat(t: &Context, sources: &[&str], to: &str) -> Result<u64> {
    let sources: Vec<StoragePath> = sources.iter().map(|at| path(at)).collect();
    t.driver().concat(&sources, &path(to)).await
}

/// Cuts `data` into sources of these lengths, puts them together again, and looks at the result and at the sources.
async fn joins(t: &Context, data: Data, lengths: &[u64]) {
    let mut sources = Vec::new();
    let mut end = 0;
    for (number, length) in lengths.iter().enumerate() {
        let at = format!("/parts/{number}");
        t.write(&at, 0, data.stream(end..end + length, 65_536)).await;
        end += length;
        sources.push(at);
    }
    let names: Vec<&str> = sources.iter().map(String::as_str).collect();
    let joined = try_concat(t, &names, "/whole/file").await;
    assert_eq!(joined.unwrap_or_else(|error| panic!("concat failed: {error:?}")), end, "the length of all is returned");
    t.assert_data("/whole/file", data, end).await;
    for (at, length) in names.iter().zip(lengths) {
        assert_eq!(t.size(at).await, *length, "sources stay as they are");
    }
    t.write("/whole/file", end, data.stream(end..end + 9, 9)).await;
    t.assert_data("/whole/file", data, end + 9).await;
    t.delete("/parts").await;
    t.assert_data("/whole/file", data, end + 9).await;
}

pub(super) async fn one_source_is_copied(t: &mut Context) {
    joins(t, Data(80), &[100]).await;
    joins(t, Data(81), &[300_000]).await;
}

pub(super) async fn two_sources_are_joined(t: &mut Context) {
    joins(t, Data(82), &[100, 50]).await;
    joins(t, Data(83), &[300_000, 200_001]).await;
}

pub(super) async fn a_hundred_sources_are_joined(t: &mut Context) {
    let lengths: Vec<u64> = (0..100).map(|number| number * number % 977).collect();
    joins(t, Data(84), &lengths).await;
}

pub(super) async fn short_and_long_sources_are_joined(t: &mut Context) {
    joins(t, Data(85), &[1, 6 << 20, 3, 100_000, 5 << 20, 2]).await;
}

pub(super) async fn empty_sources_add_nothing(t: &mut Context) {
    joins(t, Data(86), &[0, 10, 0, 0, 20, 0]).await;
    joins(t, Data(87), &[0]).await;
    joins(t, Data(88), &[0, 0, 0]).await;
    joins(t, Data(88), &[5, 0]).await;
    joins(t, Data(88), &[0, 5]).await;
}

pub(super) async fn no_sources_make_an_empty_file(t: &mut Context) {
    t.put("/to", "was here").await;
    assert_eq!(try_concat(t, &[], "/to").await.expect("concat works"), 0);
    t.assert_content("/to", b"").await;
    assert_eq!(try_concat(t, &[], "/new").await.expect("concat works"), 0);
    t.assert_content("/new", b"").await;
}

pub(super) async fn a_source_can_come_twice(t: &mut Context) {
    t.put("/a", "a").await;
    t.put("/b", "bb").await;
    assert_eq!(try_concat(t, &["/b", "/a", "/b", "/b"], "/to").await.expect("concat works"), 7);
    t.assert_content("/to", b"bbabbbb").await;
}

pub(super) async fn the_destination_can_be_a_source(t: &mut Context) {
    let data = Data(89);
    t.put("/a", "abc").await;
    t.write("/to", 0, data.stream(0..200_000, 65_536)).await;
    assert_eq!(try_concat(t, &["/a", "/to", "/a", "/to"], "/to").await.expect("concat works"), 400_006);
    let whole = data.bytes(0..200_000);
    t.assert_content("/to", &[b"abc", &whole[..], b"abc", &whole[..]].concat()).await;
    assert_eq!(try_concat(t, &["/a"], "/a").await.expect("concat works"), 3);
    t.assert_content("/a", b"abc").await;
}

pub(super) async fn concat_replaces_the_destination(t: &mut Context) {
    t.put("/to", Data(90).bytes(0..100_000)).await;
    t.put("/a", "short").await;
    assert_eq!(try_concat(t, &["/a"], "/to").await.expect("concat works"), 5);
    t.assert_content("/to", b"short").await;
    // What is written to the copy doesn't show in its source.
    t.write("/to", 5, super::data::pieces([b"er"])).await;
    t.assert_content("/a", b"short").await;
}

pub(super) async fn a_missing_source_is_named_and_changes_nothing(t: &mut Context) {
    t.put("/a", "a").await;
    t.put("/to", "as it was").await;
    for sources in [&["/missing"][..], &["/a", "/missing"], &["/missing", "/a"]] {
        t.refused(try_concat(t, sources, "/to").await, ErrorKind::PathNotFound, "/missing");
        t.assert_content("/to", b"as it was").await;
        t.refused(try_concat(t, sources, "/new").await, ErrorKind::PathNotFound, "/missing");
        t.assert_missing("/new").await;
    }
}

pub(super) async fn concat_of_or_onto_a_directory_is_refused(t: &mut Context) {
    t.put("/dir/file", "content").await;
    t.put("/a", "a").await;
    t.put("/to", "as it was").await;
    if !t.can().file_directory_conflicts {
        assert!(try_concat(t, &["/a", "/dir"], "/to").await.is_err(), "a directory has no bytes");
    } else {
        t.refused(try_concat(t, &["/a", "/dir"], "/to").await, ErrorKind::IsADirectory, "/dir");
        t.refused(try_concat(t, &["/a"], "/dir").await, ErrorKind::IsADirectory, "/dir");
        t.refused(try_concat(t, &[], "/dir").await, ErrorKind::IsADirectory, "/dir");
        t.refused(try_concat(t, &["/a"], "/a/below").await, ErrorKind::NotADirectory, "/a/below");
    }
    t.assert_content("/to", b"as it was").await;
    t.assert_content("/dir/file", b"content").await;
}
