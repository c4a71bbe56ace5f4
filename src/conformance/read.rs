//! Reads: offsets, ranges, one version.

use futures::StreamExt;

use super::context::{Context, check_data, concat, path};
use super::data::{Data, pieces};
use super::settings;
use crate::driver::ReadRange;
use crate::error::ErrorKind;

pub(super) async fn read_stream_starts_at_the_offset(t: &mut Context) {
    let data = Data(3);
    t.put("/file", data.bytes(0..96)).await;
    for (offset, length) in [(0, 96), (32, 64), (64, 32), (95, 1), (96, 0), (97, 0), (1 << 40, 0), (u64::MAX, 0)] {
        let stream = t.driver().read_stream(&path("/file"), offset).await;
        let stream = stream.unwrap_or_else(|error| panic!("read_stream at {offset} of 96 failed: {error:?}"));
        assert_eq!(check_data(stream, data, offset).await, length, "read_stream at {offset} of 96 bytes");
    }
}

pub(super) async fn a_range_is_clamped(t: &mut Context) {
    let data = Data(4);
    t.put("/file", data.bytes(0..100)).await;
    for (range, start, length) in [
        (ReadRange::from(..), 0, 100),
        (ReadRange::from(0..100), 0, 100),
        (ReadRange::from(10..20), 10, 10),
        (ReadRange::from(0..1), 0, 1),
        (ReadRange::from(99..100), 99, 1),
        (ReadRange::from(90..200), 90, 10),
        (ReadRange::from(0..u64::MAX), 0, 100),
        (ReadRange::from(100..200), 100, 0),
        (ReadRange::from(150..200), 100, 0),
        (ReadRange::from(50..50), 50, 0),
        (ReadRange::Bounded(60, Some(40)), 60, 0),
        (ReadRange::from(30..), 30, 70),
        (ReadRange::Suffix(0), 100, 0),
        (ReadRange::Suffix(5), 95, 5),
        (ReadRange::Suffix(100), 0, 100),
        (ReadRange::Suffix(u64::MAX), 0, 100),
    ] {
        let (info, stream) = t.read("/file", range).await;
        assert_eq!((info.size, info.is_dir), (100, false), "the info speaks of the whole file");
        assert_eq!(info.path, path("/file"));
        assert_eq!(check_data(stream, data, start).await, length, "{range:?} of 100 bytes");
    }
}

pub(super) async fn an_empty_file_reads_as_nothing(t: &mut Context) {
    t.put("/empty", "").await;
    for range in [ReadRange::FULL, ReadRange::from(0..1), ReadRange::from(7..), ReadRange::Suffix(3)] {
        let (info, stream) = t.read("/empty", range).await;
        assert_eq!((info.size, concat(stream).await.len()), (0, 0), "{range:?} of an empty file");
    }
}

pub(super) async fn ranges_of_a_long_file_are_exact(t: &mut Context) {
    let (data, size) = (Data(5), 3_000_017);
    t.write("/file", 0, data.stream(0..size, 65_536)).await;
    for (start, end) in
        [(0, 1), (65_535, 65_537), (65_536, 131_072), (1 << 20, (1 << 20) + 7), (size - 1, size), (1, size)]
    {
        let (info, stream) = t.read("/file", ReadRange::from(start..end)).await;
        assert_eq!(info.size, size);
        assert_eq!(check_data(stream, data, start).await, end - start, "bytes {start}..{end} of {size}");
    }
}

pub(super) async fn a_large_stream_reads_back(t: &mut Context) {
    let (data, size) = (Data(6), settings::large());
    assert_eq!(t.write("/large", 0, data.stream(0..size, 100_000)).await, size, "the bytes read are returned");
    t.assert_data("/large", data, size).await;
}

/// Reads the first piece of a file of these bytes, lets `change` happen, and reads on: nothing but the old bytes may come,
/// all of them, or an error.
async fn reads_on<T>(t: &Context, change: impl AsyncFnOnce(&Context) -> T) {
    let (old, size) = (Data(7), 4 << 20);
    t.write("/file", 0, old.stream(0..size, 65_536)).await;
    let (info, mut stream) = t.read("/file", ReadRange::FULL).await;
    let first = stream.next().await.expect("there are bytes").expect("they can be read");
    change(t).await;
    assert_eq!(old.mismatch(0, &first), None, "the first piece is of the version that was there");
    let mut read = first.len() as u64;
    while let Some(piece) = stream.next().await {
        // An error is an honest end; new bytes would be a mixture.
        let Ok(piece) = piece else { return };
        assert_eq!(old.mismatch(read, &piece), None, "a read goes on with the version that it began with");
        read += piece.len() as u64;
    }
    assert_eq!((info.size, read), (size, size), "a read that ends without an error gives the whole version");
}

pub(super) async fn a_read_does_not_show_a_replacement(t: &mut Context) {
    reads_on(t, async |t| t.put("/file", Data(8).bytes(0..2 << 20)).await).await;
}

pub(super) async fn a_read_does_not_show_what_is_appended(t: &mut Context) {
    reads_on(t, async |t| t.write("/file", 4 << 20, Data(7).stream(4 << 20..5 << 20, 65_536)).await).await;
}

pub(super) async fn a_read_does_not_show_a_rewrite(t: &mut Context) {
    reads_on(t, async |t| t.write("/file", 1000, Data(8).stream(1000..4 << 20, 65_536)).await).await;
    // Also one that is of the same length and begins far behind what was read.
    reads_on(t, async |t| t.write("/file", 3 << 20, Data(8).stream(3 << 20..4 << 20, 65_536)).await).await;
}

pub(super) async fn a_read_does_not_end_short_where_the_file_is_cut(t: &mut Context) {
    reads_on(t, async |t| t.write("/file", 3 << 20, pieces([])).await).await;
}

pub(super) async fn a_read_does_not_show_a_deletion(t: &mut Context) {
    reads_on(t, async |t| {
        t.delete("/file").await;
        t.put("/file", Data(8).bytes(0..4 << 20)).await;
    })
    .await;
}

pub(super) async fn a_directory_can_not_be_read(t: &mut Context) {
    t.put("/dir/file", "content").await;
    // Where the backend has no directories, nothing is at this path.
    let kind = match t.can().file_directory_conflicts {
        true => ErrorKind::IsADirectory,
        false => ErrorKind::PathNotFound,
    };
    for at in ["/dir", "/"] {
        t.refused(t.driver().read(&path(at), ReadRange::FULL).await, kind, at);
        t.refused(t.driver().get_content(&path(at)).await, kind, at);
        t.refused(t.driver().read_stream(&path(at), 1).await, kind, at);
    }
}
