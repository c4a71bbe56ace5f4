//! `write_stream`: where it begins, what it keeps, what it cuts off.

use bytes::Bytes;
use futures::StreamExt;
use futures::stream;

use super::context::{Context, path};
use super::data::{Data, pieces};
use crate::driver::{ReadRange, WriteOptions};
use crate::error::ErrorKind;
use crate::path::StoragePath;

/// A stream is written, asked for its size, appended to, and its last part rewritten; then a gap is left.
async fn continues(t: &Context, chunk: u64) {
    let (data, at, piece) = (Data(chunk), "/dir/file", 65_536);
    assert_eq!(t.write(at, 0, data.stream(0..chunk, piece)).await, chunk);
    assert_eq!(t.size(at).await, chunk);
    assert_eq!(t.write(at, chunk, data.stream(chunk..2 * chunk, piece)).await, chunk);
    t.assert_data(at, data, 2 * chunk).await;
    // The last part again, with other bytes first, then as they are to be.
    assert_eq!(t.write(at, chunk, Data(chunk + 1).stream(chunk..2 * chunk, piece)).await, chunk);
    assert_eq!(t.write(at, chunk, data.stream(chunk..2 * chunk, piece)).await, chunk);
    assert_eq!(t.write(at, 2 * chunk, data.stream(2 * chunk..3 * chunk, piece)).await, chunk);
    t.assert_data(at, data, 3 * chunk).await;

    let gap = chunk.min(t.can().max_gap);
    assert_eq!(t.write(at, 3 * chunk + gap, data.stream(0..chunk, piece)).await, chunk);
    assert_eq!(t.size(at).await, 4 * chunk + gap, "a gap counts");
    let (_, zeros) = t.read(at, ReadRange::from(3 * chunk..3 * chunk + gap)).await;
    assert_zeros(zeros, gap).await;
    let (_, last) = t.read(at, ReadRange::from(3 * chunk + gap..)).await;
    assert_eq!(super::context::check_data(last, data, 0).await, chunk);
    let (_, first) = t.read(at, ReadRange::from(0..3 * chunk)).await;
    assert_eq!(super::context::check_data(first, data, 0).await, 3 * chunk);
}

async fn assert_zeros(mut stream: crate::ByteStream, length: u64) {
    let mut read = 0;
    while let Some(piece) = stream.next().await {
        let piece = piece.expect("a gap can be read");
        assert!(piece.iter().all(|byte| *byte == 0), "a gap is filled with zeros, and has another byte after {read}");
        read += piece.len() as u64;
    }
    assert_eq!(read, length, "a gap reads back whole");
}

pub(super) async fn a_stream_continues_in_chunks_of_32_bytes(t: &mut Context) {
    continues(t, 32).await;
}

pub(super) async fn a_stream_continues_in_chunks_of_10_mib(t: &mut Context) {
    continues(t, 10 << 20).await;
}

pub(super) async fn write_returns_the_bytes_read(t: &mut Context) {
    assert_eq!(t.write("/file", 0, pieces([b"0123456789"])).await, 10);
    assert_eq!(t.write("/file", 10, pieces([b"abc", b"de"])).await, 5, "not the size of the file");
    assert_eq!(t.write("/file", 3, pieces([b"x"])).await, 1);
    assert_eq!(t.write("/file", 4, pieces([])).await, 0);
}

pub(super) async fn an_empty_stream_creates_a_file(t: &mut Context) {
    assert_eq!(t.write("/dir/empty", 0, pieces([])).await, 0);
    t.assert_content("/dir/empty", b"").await;
    assert_eq!(t.write("/dir/pieces", 0, pieces([b"", b""])).await, 0);
    t.assert_content("/dir/pieces", b"").await;
    assert_eq!(t.list("/dir").await, ["/dir/empty", "/dir/pieces"]);
}

pub(super) async fn an_empty_stream_can_be_appended_to(t: &mut Context) {
    t.write("/file", 0, pieces([])).await;
    t.write("/file", 0, pieces([b"some", b"thing"])).await;
    t.assert_content("/file", b"something").await;
}

pub(super) async fn an_empty_content_can_be_appended_to(t: &mut Context) {
    t.put("/file", "").await;
    t.write("/file", 0, pieces([b"some", b"thing"])).await;
    t.assert_content("/file", b"something").await;
}

pub(super) async fn a_put_content_can_be_appended_to(t: &mut Context) {
    t.put("/file", "put").await;
    t.write("/file", 3, pieces([b" and written"])).await;
    t.assert_content("/file", b"put and written").await;
}

pub(super) async fn pieces_of_any_size_keep_their_order(t: &mut Context) {
    let (data, size) = (Data(9), 1_500_000);
    let mut random = super::data::Random::new(9);
    let mut at = 0;
    let mut all = Vec::new();
    while at < size {
        let most = if random.below(4) == 0 { 200_000 } else { 50 };
        let end = (at + random.below(most)).min(size);
        all.push(Ok(data.bytes(at..end)));
        at = end;
    }
    assert_eq!(t.write("/file", 0, stream::iter(all).boxed()).await, size);
    t.assert_data("/file", data, size).await;
}

pub(super) async fn a_rewrite_in_the_middle_truncates(t: &mut Context) {
    let data = Data(10);
    t.write("/file", 0, data.stream(0..1000, 100)).await;
    t.write("/file", 400, pieces([b"new"])).await;
    let expected = [&data.bytes(0..400)[..], b"new"].concat();
    t.assert_content("/file", &expected).await;
    t.write("/file", 200, pieces([])).await;
    t.assert_content("/file", &data.bytes(0..200)).await;
    t.write("/file", 0, pieces([])).await;
    t.assert_content("/file", b"").await;
}

pub(super) async fn a_rewrite_from_the_start_replaces(t: &mut Context) {
    t.write("/file", 0, Data(11).stream(0..1 << 20, 65_536)).await;
    t.write("/file", 0, Data(12).stream(0..1000, 65_536)).await;
    t.assert_data("/file", Data(12), 1000).await;
}

pub(super) async fn a_long_file_can_be_cut_and_continued(t: &mut Context) {
    let (data, size) = (Data(13), 6_000_000);
    t.write("/file", 0, data.stream(0..size, 65_536)).await;
    for cut in [5_999_999, 5_242_880, 1_000_001, 1] {
        t.write("/file", cut, pieces([])).await;
        t.assert_data("/file", data, cut).await;
        t.write("/file", cut, data.stream(cut..size, 65_536)).await;
        t.assert_data("/file", data, size).await;
    }
}

pub(super) async fn a_gap_is_filled_with_zeros(t: &mut Context) {
    let gap = t.can().max_gap.min(100_000);
    t.write("/file", 0, pieces([b"start"])).await;
    t.write("/file", 5 + gap, pieces([b"end"])).await;
    let expected = [&b"start"[..], &vec![0; gap as usize], b"end"].concat();
    t.assert_content("/file", &expected).await;
    // What was cut off doesn't shine through a later gap.
    t.write("/file", 0, pieces([b"x"])).await;
    t.write("/file", 1 + gap, pieces([])).await;
    t.assert_content("/file", &[&b"x"[..], &vec![0; gap as usize]].concat()).await;
}

pub(super) async fn a_gap_on_a_missing_path_is_filled_with_zeros(t: &mut Context) {
    let gap = t.can().max_gap.min(70_000);
    t.write("/dir/file", gap, pieces([b"end"])).await;
    t.assert_content("/dir/file", &[&vec![0; gap as usize][..], b"end"].concat()).await;
}

pub(super) async fn a_gap_past_the_bound_is_refused(t: &mut Context) {
    let Some(past) = t.can().max_gap.checked_add(1) else {
        return t.skip("this driver bounds no gap");
    };
    t.put("/file", "12345").await;
    if let Some(offset) = past.checked_add(5) {
        let error = t.try_write("/file", offset, pieces([b"x"]), WriteOptions::default()).await;
        let error = t.refused(error, ErrorKind::InvalidOffset, "/file");
        assert_eq!(error.size(), Some(5), "the error names the size that is there");
    }
    t.assert_content("/file", b"12345").await;
    for offset in [past, u64::MAX] {
        let written = t.try_write("/missing", offset, pieces([b"x"]), WriteOptions::default()).await;
        t.refused(written, ErrorKind::InvalidOffset, "/missing");
    }
    t.assert_missing("/missing").await;
}

pub(super) async fn each_of_1024_appends_shows_at_once(t: &mut Context) {
    let data = Data(14);
    for number in 0..1024 {
        t.write("/file", number * 32, data.stream(number * 32..(number + 1) * 32, 32)).await;
        let size = t.size("/file").await;
        assert_eq!(size, (number + 1) * 32, "stat says the size after each append");
        let (info, stream) = t.read("/file", ReadRange::from(size - 32..)).await;
        assert_eq!(info.size, size);
        assert_eq!(super::context::check_data(stream, data, size - 32).await, 32, "what stat says can be read");
    }
    t.assert_data("/file", data, 1024 * 32).await;
}

pub(super) async fn a_write_below_a_file_loses_nothing(t: &mut Context) {
    t.put("/file", "a file").await;
    let written = t.try_write("/file/below", 0, pieces([b"below"]), WriteOptions::default()).await;
    if t.can().file_directory_conflicts {
        t.refused(written, ErrorKind::NotADirectory, "/file/below");
    }
    t.assert_content("/file", b"a file").await;
}

pub(super) async fn a_write_onto_a_directory_loses_nothing(t: &mut Context) {
    t.put("/dir/child", "a child").await;
    let written = t.try_write("/dir", 0, pieces([b"file"]), WriteOptions::default()).await;
    if t.can().file_directory_conflicts {
        t.refused(written, ErrorKind::IsADirectory, "/dir");
    }
    t.assert_content("/dir/child", b"a child").await;
    let root = StoragePath::root();
    let stream = stream::iter([Ok(Bytes::from_static(b"file"))]).boxed();
    let written = t.driver().write_stream(&root, 0, stream, WriteOptions::default()).await;
    assert!(written.is_err(), "the root can't become a file");
    t.assert_content(path("/dir/child").as_str(), b"a child").await;
}
