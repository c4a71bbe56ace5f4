//! Files that are whole at a size, or when they are committed. They hold for drivers that keep an uncommitted state and
//! for those to whom such a file is like any other.

use super::context::{Context, concat, path};
use super::data::{Data, pieces};
use super::feed::failing;
use crate::driver::{Completion, Expected, OnFailure, ReadRange, WriteOptions};
use crate::error::ErrorKind;

const ON_COMMIT: WriteOptions =
    WriteOptions { completion: Completion::OnCommit, expected: Expected::Any, on_failure: OnFailure::KeepPrefix };

fn at_size(size: u64) -> WriteOptions {
    WriteOptions { completion: Completion::AtSize(size), ..WriteOptions::default() }
}

async fn append(t: &Context, at: &str, data: Data, from: u64, to: u64, options: WriteOptions) {
    let options = options.expecting(Expected::Size(from));
    let written = t.try_write(at, from, data.stream(from..to, 60_000), options).await;
    assert_eq!(written.unwrap_or_else(|error| panic!("an append at {from} failed: {error:?}")), to - from);
    assert_eq!(t.size(at).await, to, "stat says what an uncommitted file holds");
}

async fn commit(t: &Context, at: &str) {
    let done = t.driver().commit(&path(at)).await;
    done.unwrap_or_else(|error| panic!("commit({at}) failed: {error:?}"));
}

/// An uncommitted file reads back as it should, or answers that it can't yet.
async fn readable_or_not_committed(t: &Context, at: &str, data: Data, size: u64) {
    match t.driver().read(&path(at), ReadRange::FULL).await {
        Ok((info, stream)) => {
            assert_eq!(info.size, size);
            assert_eq!(concat(stream).await, data.bytes(0..size));
        }
        error => {
            assert!(t.can().uncommitted, "a driver without uncommitted files reads them as any other");
            t.refused(error, ErrorKind::NotCommitted, at);
        }
    }
}

pub(super) async fn an_uncommitted_file_grows_and_is_committed(t: &mut Context) {
    let (data, at) = (Data(40), "/dir/file");
    let mut size = 0;
    for step in [1000, 0, 1, 300_000, 17] {
        append(t, at, data, size, size + step, ON_COMMIT).await;
        size += step;
        readable_or_not_committed(t, at, data, size).await;
    }
    let listed = t.driver().list(&path("/")).await.expect("the root can be listed");
    assert!(listed.is_empty() || listed == [path("/dir")], "an uncommitted file is listed or left out: {listed:?}");
    commit(t, at).await;
    t.assert_data(at, data, size).await;
    assert_eq!(t.list("/dir").await, [at], "a committed file is listed");
}

pub(super) async fn an_uncommitted_file_goes_on_after_a_failed_stream(t: &mut Context) {
    let (data, at) = (Data(41), "/file");
    for cut in [10, 4000, 250_000] {
        let start = if cut == 10 { 0 } else { t.size(at).await };
        let stream = failing(data.stream(start..start + cut, 60_000));
        let written = t.try_write(at, start, stream, ON_COMMIT).await;
        assert_eq!(t.refused(written, ErrorKind::Stream, at).bytes_read(), cut);
        assert_eq!(t.size(at).await, start + cut, "what arrived before the failure stays");
    }
    let size = t.size(at).await;
    append(t, at, data, size, size + 5, ON_COMMIT).await;
    commit(t, at).await;
    t.assert_data(at, data, size + 5).await;
}

pub(super) async fn the_tail_of_an_uncommitted_file_can_be_rewritten(t: &mut Context) {
    let (data, at) = (Data(42), "/file");
    append(t, at, Data(43), 0, 900, ON_COMMIT).await;
    t.try_write(at, 0, data.stream(0..600, 100), ON_COMMIT).await.expect("short files can be rewritten");
    assert_eq!(t.size(at).await, 600, "a rewrite cuts off the rest");
    t.try_write(at, 500, data.stream(500..800, 100), ON_COMMIT).await.expect("the tail can be rewritten");
    commit(t, at).await;
    t.assert_data(at, data, 800).await;
}

pub(super) async fn a_file_completes_at_its_size(t: &mut Context) {
    let (data, at, size) = (Data(44), "/dir/file", 250_000);
    append(t, at, data, 0, 100, at_size(size)).await;
    append(t, at, data, 100, 200_000, at_size(size)).await;
    readable_or_not_committed(t, at, data, 200_000).await;
    append(t, at, data, 200_000, size, at_size(size)).await;
    t.assert_data(at, data, size).await;
    assert_eq!(t.list("/dir").await, [at], "a file that reached its size needs no commit");
}

pub(super) async fn a_file_completes_at_its_size_in_one_call(t: &mut Context) {
    for size in [0, 1, 200_000] {
        let (data, at) = (Data(45), format!("/dir/{size}"));
        append(t, &at, data, 0, size, at_size(size)).await;
        t.assert_data(&at, data, size).await;
    }
    assert_eq!(t.list("/dir").await, ["/dir/0", "/dir/1", "/dir/200000"]);
}

pub(super) async fn one_byte_past_the_size_is_refused(t: &mut Context) {
    let data = Data(46);
    for (number, (size, before)) in [(1000, 0), (1000, 400), (200_000, 0), (0, 0)].into_iter().enumerate() {
        let at = format!("/dir/{number}");
        if before > 0 {
            append(t, &at, data, 0, before, at_size(size)).await;
        }
        for piece in [size + 1, 7] {
            let from = if piece == 7 { t.size(&at).await } else { before };
            let stream = data.stream(from..size + 1, piece);
            let written = t.try_write(&at, from, stream, at_size(size)).await;
            let error = t.refused(written, ErrorKind::SizeExceeded, &at);
            assert!(error.bytes_read() > size - from, "the byte too many was read: {error:?}");
            assert_eq!(t.size(&at).await, size, "all up to the size is kept, and nothing past it");
        }
        commit(t, &at).await;
        t.assert_data(&at, data, size).await;
    }
}

pub(super) async fn an_offset_past_the_size_is_refused(t: &mut Context) {
    let written = t.try_write("/missing", 11, pieces([]), at_size(10)).await;
    t.refused(written, ErrorKind::SizeExceeded, "/missing");
    t.assert_missing("/missing").await;
}

pub(super) async fn a_discarded_stream_leaves_an_uncommitted_file_as_it_was(t: &mut Context) {
    let (data, at) = (Data(47), "/file");
    append(t, at, data, 0, 5000, ON_COMMIT).await;
    for completion in [Completion::OnCommit, Completion::AtSize(5_000_000), Completion::AtSize(5001)] {
        let options = WriteOptions { completion, on_failure: OnFailure::Discard, expected: Expected::Size(5000) };
        let written = t.try_write(at, 5000, failing(Data(48).stream(0..100_000, 60_000)), options).await;
        assert!(written.is_err());
        assert_eq!(t.size(at).await, 5000, "no byte of a stream that failed counts");
        readable_or_not_committed(t, at, data, 5000).await;
    }
    let options = WriteOptions { on_failure: OnFailure::Discard, ..ON_COMMIT };
    append(t, at, data, 5000, 6000, options).await;
    commit(t, at).await;
    t.assert_data(at, data, 6000).await;
}

pub(super) async fn a_stream_of_unknown_end_ends_an_uncommitted_file(t: &mut Context) {
    let (data, at) = (Data(49), "/file");
    append(t, at, data, 0, 1000, ON_COMMIT).await;
    append(t, at, data, 1000, 2000, WriteOptions::default()).await;
    t.assert_data(at, data, 2000).await;
}

pub(super) async fn commit_changes_nothing_in_a_complete_file(t: &mut Context) {
    let (data, at) = (Data(50), "/file");
    t.write(at, 0, data.stream(0..1000, 100)).await;
    let before = t.stat(at).await;
    commit(t, at).await;
    commit(t, at).await;
    assert_eq!(t.stat(at).await, before, "a commit leaves size and time of a complete file");
    t.assert_data(at, data, 1000).await;
}

pub(super) async fn commit_twice_is_the_same_as_once(t: &mut Context) {
    let (data, at) = (Data(51), "/file");
    append(t, at, data, 0, 1000, ON_COMMIT).await;
    commit(t, at).await;
    commit(t, at).await;
    t.assert_data(at, data, 1000).await;
    append(t, "/empty", data, 0, 0, ON_COMMIT).await;
    commit(t, "/empty").await;
    t.assert_content("/empty", b"").await;
}

pub(super) async fn commit_of_what_is_no_file_is_refused(t: &mut Context) {
    t.put("/dir/file", "content").await;
    t.refused(t.driver().commit(&path("/missing")).await, ErrorKind::PathNotFound, "/missing");
    t.assert_missing("/missing").await;
    if t.can().file_directory_conflicts {
        t.refused(t.driver().commit(&path("/dir")).await, ErrorKind::IsADirectory, "/dir");
    } else {
        assert!(t.driver().commit(&path("/dir")).await.is_err(), "a directory can't be committed");
    }
}

pub(super) async fn an_uncommitted_file_can_be_deleted(t: &mut Context) {
    let (data, at) = (Data(52), "/dir/file");
    append(t, at, data, 0, 300_000, ON_COMMIT).await;
    t.delete(at).await;
    t.assert_missing(at).await;
    t.refused(t.driver().commit(&path(at)).await, ErrorKind::PathNotFound, at);
    append(t, at, data, 0, 10, ON_COMMIT.expecting(Expected::Absent)).await;
    t.delete(at).await;
}

pub(super) async fn an_uncommitted_file_goes_with_its_directory(t: &mut Context) {
    append(t, "/dir/sub/open", Data(53), 0, 3000, ON_COMMIT).await;
    t.put("/dir/closed", "content").await;
    t.delete("/dir").await;
    t.assert_missing("/dir/sub/open").await;
    t.assert_missing("/dir/closed").await;
}

pub(super) async fn an_uncommitted_file_is_there_for_expected_absent(t: &mut Context) {
    append(t, "/file", Data(54), 0, 10, ON_COMMIT).await;
    let written = t.try_write("/file", 0, pieces([b"new"]), ON_COMMIT.expecting(Expected::Absent)).await;
    t.refused(written, ErrorKind::AlreadyExists, "/file");
    let written = t.try_write("/file", 9, pieces([b"new"]), ON_COMMIT.expecting(Expected::Size(9))).await;
    assert_eq!(t.refused(written, ErrorKind::InvalidOffset, "/file").size(), Some(10));
    commit(t, "/file").await;
    t.assert_data("/file", Data(54), 10).await;
}

pub(super) async fn put_content_replaces_an_uncommitted_file(t: &mut Context) {
    append(t, "/file", Data(55), 0, 100_000, ON_COMMIT).await;
    t.put("/file", "put").await;
    t.assert_content("/file", b"put").await;
    // What the uncommitted file held in the backend has gone with it, or goes with the file.
    t.delete("/file").await;
    t.assert_missing("/file").await;
}

pub(super) async fn moving_an_uncommitted_file_works_or_is_refused(t: &mut Context) {
    append(t, "/from", Data(56), 0, 1000, ON_COMMIT).await;
    match t.driver().move_to(&path("/from"), &path("/to")).await {
        Ok(()) => t.assert_data("/to", Data(56), 1000).await,
        error => {
            assert!(t.can().uncommitted, "a driver without uncommitted files moves them as any other");
            t.refused(error, ErrorKind::NotCommitted, "/from");
            t.assert_missing("/to").await;
            commit(t, "/from").await;
            t.assert_data("/from", Data(56), 1000).await;
        }
    }
}

pub(super) async fn concat_of_an_uncommitted_file_works_or_is_refused(t: &mut Context) {
    append(t, "/open", Data(57), 0, 1000, ON_COMMIT).await;
    t.put("/to", "as it was").await;
    match t.driver().concat(&[path("/open")], &path("/to")).await {
        Ok(length) => {
            assert_eq!(length, 1000);
            t.assert_data("/to", Data(57), 1000).await;
        }
        error => {
            assert!(t.can().uncommitted, "a driver without uncommitted files reads them as any other");
            t.refused(error, ErrorKind::NotCommitted, "/open");
            t.assert_content("/to", b"as it was").await;
        }
    }
    t.delete("/open").await;
}
