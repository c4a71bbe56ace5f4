//! Calls that are cut off: the future is dropped, and the driver too.

use bytes::Bytes;
use futures::FutureExt;

use super::context::{Context, concat, path};
use super::data::Data;
use super::feed::OpenWrite;
use super::harness::eventually;
use crate::driver::{Completion, Expected, OnFailure, ReadRange, WriteOptions};
use crate::error::ErrorKind;

/// The size of a file once nobody writes it any more, proved by a write that changes nothing. `None` if it is missing.
async fn settled(t: &Context, at: &str, completion: Completion) -> Option<u64> {
    let driver = t.driver();
    eventually("a path is free after its writer was cut off", async || {
        let size = match driver.stat(&path(at)).await {
            Ok(info) => info.size,
            Err(error) if error.kind() == ErrorKind::PathNotFound => return Some(None),
            Err(error) => panic!("stat({at}) failed: {error:?}"),
        };
        let options = WriteOptions { completion, expected: Expected::Size(size), ..WriteOptions::default() };
        match driver.write_stream(&path(at), size, super::data::pieces([]), options).await {
            Ok(_) => Some(Some(size)),
            Err(error) if [ErrorKind::Conflict, ErrorKind::InvalidOffset].contains(&error.kind()) => None,
            Err(error) => panic!("going on with {at} at {size} failed: {error:?}"),
        }
    })
    .await
}

/// Cuts an append off, sees what it left, and goes on from there.
async fn cut_append(t: &mut Context, crash: bool, completion: Completion) {
    let (data, at, whole) = (Data(120), "/dir/file", 500_000);
    let options = WriteOptions { completion, ..WriteOptions::default() };
    for start in [0, 100_000] {
        if start > 0 {
            t.delete("/dir").await;
            t.try_write(at, 0, data.stream(0..start, 60_000), options).await.expect("a stream is written");
        }
        let mut write = OpenWrite::start(t, at, start, options).await;
        write.send(data.bytes(start..start + 70_000)).await;
        write.send(data.bytes(start + 70_000..start + 70_001)).await;
        if crash {
            write.cut().await;
            t.crash().await;
        } else {
            t.interrupted();
            write.cut().await;
        }
        let size = settled(t, at, completion).await.unwrap_or(0);
        assert!(size >= start, "bytes that were acknowledged before are there: {size} of {start}");
        assert!(size <= start + 70_001, "no byte is there that was not sent: {size}");
        let written = t.try_write(at, size, data.stream(size..whole, 60_000), options).await;
        assert_eq!(written.unwrap_or_else(|error| panic!("resuming at {size} failed: {error:?}")), whole - size);
        if completion == Completion::OnCommit {
            t.driver().commit(&path(at)).await.expect("a resumed file can be committed");
        }
        t.assert_data(at, data, whole).await;
    }
}

pub(super) async fn a_dropped_append_can_be_resumed(t: &mut Context) {
    cut_append(t, false, Completion::EndOfStream).await;
}

pub(super) async fn a_dropped_append_to_an_uncommitted_file_can_be_resumed(t: &mut Context) {
    cut_append(t, false, Completion::OnCommit).await;
}

pub(super) async fn a_dropped_write_up_to_a_size_can_be_resumed(t: &mut Context) {
    cut_append(t, false, Completion::AtSize(500_000)).await;
}

pub(super) async fn an_append_can_be_resumed_after_a_crash(t: &mut Context) {
    cut_append(t, true, Completion::EndOfStream).await;
}

pub(super) async fn an_append_to_an_uncommitted_file_can_be_resumed_after_a_crash(t: &mut Context) {
    cut_append(t, true, Completion::OnCommit).await;
}

pub(super) async fn a_write_up_to_a_size_can_be_resumed_after_a_crash(t: &mut Context) {
    cut_append(t, true, Completion::AtSize(500_000)).await;
}

pub(super) async fn a_rewrite_cut_off_leaves_no_new_bytes_before_old_ones(t: &mut Context) {
    let (old, new, kept, sent) = (Data(121), Data(122), 50_000, 30_000);
    t.write("/file", 0, old.stream(0..200_000, 60_000)).await;
    let mut write = OpenWrite::start(t, "/file", kept, WriteOptions::default()).await;
    write.send(new.bytes(kept..kept + sent)).await;
    write.cut().await;
    t.crash().await;
    settled(t, "/file", Completion::EndOfStream).await.expect("the file is still there");
    let content = concat(t.read("/file", ReadRange::FULL).await.1).await;
    assert_eq!(old.mismatch(0, &content[..kept as usize]), None, "what comes before the rewrite stays");
    let tail = &content[kept as usize..];
    let untouched = content.len() == 200_000 && old.mismatch(kept, tail).is_none();
    let cut = tail.len() as u64 <= sent && new.mismatch(kept, tail).is_none();
    assert!(untouched || cut, "either the old file, or its start and then new bytes only; {} bytes", content.len());
}

pub(super) async fn a_put_cut_off_leaves_the_old_content_or_the_new(t: &mut Context) {
    let (old, new) = (Data(123).bytes(0..100_000), Data(124).bytes(0..300_000));
    for before in [true, false] {
        let at = if before { "/old" } else { "/dir/new" };
        if before {
            t.put(at, old.clone()).await;
        }
        let driver = t.driver();
        let at_path = path(at);
        let put = driver.put_content(&at_path, new.clone());
        // Polled once: it has begun, and is cut off at the first wait.
        let _ = put.now_or_never();
        drop(driver);
        t.crash().await;
        let seen = eventually("a put that was cut off ends", async || {
            let first = read_or_missing(t, at).await;
            tokio::task::yield_now().await;
            (first == read_or_missing(t, at).await).then_some(first)
        })
        .await;
        match seen {
            Some(content) if content == new => {}
            Some(content) => {
                assert!(before && content == old, "the old content or the new, not {} bytes", content.len())
            }
            None => assert!(!before, "a put that was cut off doesn't remove what was there"),
        }
        t.put(at, "after all").await;
        t.assert_content(at, b"after all").await;
    }
}

async fn read_or_missing(t: &Context, at: &str) -> Option<Bytes> {
    match t.driver().get_content(&path(at)).await {
        Ok(content) => Some(content),
        error => {
            t.refused(error, ErrorKind::PathNotFound, at);
            None
        }
    }
}

/// Cuts off a write of which nothing counts before its end.
async fn cut_discard(t: &mut Context, crash: bool) {
    let data = Data(125);
    let options = WriteOptions { on_failure: OnFailure::Discard, ..WriteOptions::default() };
    t.write("/file", 0, data.stream(0..100_000, 60_000)).await;
    for (at, offset) in [("/file", 100_000), ("/file", 10), ("/dir/missing", 0)] {
        let mut write = OpenWrite::start(t, at, offset, options).await;
        write.send(Data(126).bytes(0..90_000)).await;
        write.send("x").await;
        write.cut().await;
        if crash {
            t.crash().await;
        }
        t.interrupted();
        t.assert_data("/file", data, 100_000).await;
    }
    t.assert_missing("/dir/missing").await;
    let size = settled(t, "/file", Completion::EndOfStream).await;
    assert_eq!(size, Some(100_000), "a stream that was cut off counts for nothing");
    t.write("/dir/missing", 0, data.stream(0..10, 10)).await;
    t.assert_data("/dir/missing", data, 10).await;
}

pub(super) async fn a_dropped_discardable_write_counts_for_nothing(t: &mut Context) {
    cut_discard(t, false).await;
}

pub(super) async fn a_discardable_write_counts_for_nothing_after_a_crash(t: &mut Context) {
    cut_discard(t, true).await;
}

pub(super) async fn what_was_acknowledged_is_there_after_a_crash(t: &mut Context) {
    let data = Data(127);
    t.put("/put", data.bytes(0..5000)).await;
    t.write("/written", 0, data.stream(0..300_000, 60_000)).await;
    t.write("/written", 300_000, data.stream(300_000..400_000, 60_000)).await;
    t.put("/from", "moved").await;
    t.driver().move_to(&path("/from"), &path("/moved")).await.expect("it moves");
    t.put("/gone", "deleted").await;
    t.delete("/gone").await;
    t.driver().concat(&[path("/put"), path("/put")], &path("/joined")).await.expect("they are joined");
    let open = WriteOptions { completion: Completion::OnCommit, ..WriteOptions::default() };
    t.try_write("/open", 0, data.stream(0..70_000, 60_000), open).await.expect("a stream is written");
    t.crash().await;
    t.assert_data("/put", data, 5000).await;
    t.assert_data("/written", data, 400_000).await;
    t.assert_content("/moved", b"moved").await;
    t.assert_missing("/from").await;
    t.assert_missing("/gone").await;
    let joined = data.bytes(0..5000).repeat(2);
    t.assert_content("/joined", &joined).await;
    assert_eq!(t.size("/open").await, 70_000, "stat of an uncommitted file says what is durable");
    t.driver().commit(&path("/open")).await.expect("it can be committed after a crash");
    t.assert_data("/open", data, 70_000).await;
}
