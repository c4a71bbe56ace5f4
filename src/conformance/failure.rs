//! Streams that fail, and what they leave.

use std::error::Error as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures::StreamExt;
use futures::stream;

use super::context::Context;
use super::data::{Data, pieces};
use super::feed::{Broken, OpenWrite, failing};
use super::harness::eventually;
use crate::driver::{Expected, OnFailure, WriteOptions};
use crate::error::{Error, ErrorKind};

const DISCARD: WriteOptions = WriteOptions {
    on_failure: OnFailure::Discard,
    expected: Expected::Any,
    completion: crate::Completion::EndOfStream,
};

/// How many bytes come before the failure: none, some, and more than buffers hold.
const CUTS: [u64; 5] = [0, 1, 5000, 65_536, (1 << 20) + 3];

pub(super) async fn a_failed_stream_keeps_its_prefix_and_resumes(t: &mut Context) {
    let (data, whole) = (Data(20), 2 << 20);
    for cut in CUTS {
        let at = format!("/file-{cut}");
        let written = t.try_write(&at, 0, failing(data.stream(0..cut, 60_000)), WriteOptions::default()).await;
        let error = t.refused(written, ErrorKind::Stream, &at);
        assert_eq!(error.bytes_read(), cut, "the error says how many bytes were read: {error:?}");
        assert_eq!(t.size(&at).await, cut, "stat gives the offset to go on from");
        t.assert_data(&at, data, cut).await;
        t.write(&at, cut, data.stream(cut..whole, 60_000)).await;
        t.assert_data(&at, data, whole).await;
    }
}

pub(super) async fn a_failed_append_keeps_its_prefix_and_resumes(t: &mut Context) {
    let (data, start) = (Data(21), 3333);
    for cut in CUTS {
        let at = format!("/file-{cut}");
        t.write(&at, 0, data.stream(0..start, 1000)).await;
        let stream = failing(data.stream(start..start + cut, 60_000));
        let written = t.try_write(&at, start, stream, WriteOptions::default()).await;
        assert_eq!(t.refused(written, ErrorKind::Stream, &at).bytes_read(), cut, "bytes read, not the size");
        t.assert_data(&at, data, start + cut).await;
        t.write(&at, start + cut, data.stream(start + cut..start + cut + 10, 10)).await;
        t.assert_data(&at, data, start + cut + 10).await;
    }
}

pub(super) async fn a_failed_rewrite_leaves_no_old_bytes(t: &mut Context) {
    let (old, new) = (Data(22), Data(23));
    for cut in [0, 7, 100_000] {
        let at = format!("/file-{cut}");
        t.write(&at, 0, old.stream(0..500_000, 60_000)).await;
        let stream = failing(new.stream(0..cut, 60_000));
        let written = t.try_write(&at, 1000, stream, WriteOptions::default()).await;
        t.refused(written, ErrorKind::Stream, &at);
        assert_eq!(t.size(&at).await, 1000 + cut, "the old tail is cut off before the first new byte is written");
        let expected = [&old.bytes(0..1000)[..], &new.bytes(0..cut)].concat();
        t.assert_content(&at, &expected).await;
    }
}

pub(super) async fn the_cause_of_a_failed_stream_is_the_source(t: &mut Context) {
    let written = t.try_write("/file", 0, failing(pieces([b"abc"])), WriteOptions::default()).await;
    let error = t.refused(written, ErrorKind::Stream, "/file");
    let source = error.source().expect("a failed stream has a cause");
    assert!(source.is::<Broken>(), "the cause is the stream's own, not wrapped twice: {source:?}");
    // An error that the stream says in this crate's words, but of another kind, is a cause as it is.
    let stream = stream::iter([Err(Error::new(ErrorKind::PathNotFound).with_detail("far away"))]).boxed();
    let error = t.try_write("/file", 3, stream, WriteOptions::default()).await;
    let error = t.refused(error, ErrorKind::Stream, "/file");
    let source = error.source().and_then(|source| source.downcast_ref::<Error>());
    assert_eq!(source.map(Error::kind), Some(ErrorKind::PathNotFound), "whoever failed is told apart: {error:?}");
    t.assert_content("/file", b"abc").await;
}

pub(super) async fn a_discarded_stream_leaves_a_file_as_it_was(t: &mut Context) {
    let data = Data(24);
    t.write("/file", 0, data.stream(0..100_000, 60_000)).await;
    for cut in CUTS {
        for offset in [0, 50_000, 100_000, 100_007] {
            let stream = failing(Data(25).stream(0..cut, 60_000));
            let written = t.try_write("/file", offset, stream, DISCARD).await;
            assert_eq!(t.refused(written, ErrorKind::Stream, "/file").bytes_read(), cut);
            t.assert_data("/file", data, 100_000).await;
        }
    }
}

pub(super) async fn a_discarded_stream_creates_nothing(t: &mut Context) {
    for cut in CUTS {
        let written = t.try_write("/dir/file", 0, failing(Data(26).stream(0..cut, 60_000)), DISCARD).await;
        assert_eq!(t.refused(written, ErrorKind::Stream, "/dir/file").bytes_read(), cut);
        t.assert_missing("/dir/file").await;
    }
}

pub(super) async fn nothing_of_a_discardable_stream_shows_before_its_end(t: &mut Context) {
    let (old, new) = (Data(27), Data(28));
    t.write("/file", 0, old.stream(0..10_000, 1000)).await;
    let mut write = OpenWrite::start(t, "/file", 5000, DISCARD).await;
    write.send(new.bytes(0..200_000)).await;
    t.assert_data("/file", old, 10_000).await;
    assert_eq!(write.finish().await.expect("the stream ended well"), 200_000);
    t.assert_content("/file", &[&old.bytes(0..5000)[..], &new.bytes(0..200_000)].concat()).await;
}

pub(super) async fn a_discardable_stream_that_ends_well_counts(t: &mut Context) {
    let data = Data(29);
    let written = t.try_write("/file", 0, data.stream(0..70_000, 60_000), DISCARD).await;
    assert_eq!(written.expect("the stream ended well"), 70_000);
    t.assert_data("/file", data, 70_000).await;
    let written = t.try_write("/file", 70_000, data.stream(70_000..90_000, 60_000), DISCARD).await;
    assert_eq!(written.expect("the stream ended well"), 20_000);
    t.assert_data("/file", data, 90_000).await;
    t.try_write("/file", 80_000, data.stream(80_000..80_001, 10), DISCARD).await.expect("the stream ended well");
    t.assert_data("/file", data, 80_001).await;
    t.try_write("/file", 10, pieces([]), DISCARD).await.expect("the stream ended well");
    t.assert_data("/file", data, 10).await;
    t.try_write("/empty", 0, pieces([]), DISCARD).await.expect("the stream ended well");
    t.assert_content("/empty", b"").await;
    let gap = t.can().max_gap.min(1000);
    t.try_write("/gap", gap, pieces([b"end"]), DISCARD).await.expect("the stream ended well");
    t.assert_content("/gap", &[&vec![0; gap as usize][..], b"end"].concat()).await;
}

/// Says when it is gone.
struct Held(Arc<AtomicBool>);

impl Drop for Held {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

pub(super) async fn a_stream_is_let_go_when_the_write_ends(t: &mut Context) {
    for (at, expected) in [("/file", Expected::Any), ("/file", Expected::Absent), ("/file", Expected::Size(99))] {
        let gone = Arc::new(AtomicBool::new(false));
        let held = Held(gone.clone());
        let stream = pieces([b"abc"]).inspect(move |_| _ = &held).boxed();
        // What a stream holds, such as a permit, goes with it, also where the write was refused.
        drop(t.try_write(at, 0, stream, WriteOptions::default().expecting(expected)).await);
        eventually("a stream is dropped once its write ended", async || gone.load(Ordering::SeqCst).then_some(()))
            .await;
    }
}
