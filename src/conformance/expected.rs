//! `Expected`: what must be there for a write to begin.

use super::context::Context;
use super::data::{Data, pieces};
use super::feed::OpenWrite;
use crate::driver::{Expected, OnFailure, WriteOptions};
use crate::error::ErrorKind;

const BOTH: [OnFailure; 2] = [OnFailure::KeepPrefix, OnFailure::Discard];

fn expecting(expected: Expected, on_failure: OnFailure) -> WriteOptions {
    WriteOptions { expected, on_failure, ..WriteOptions::default() }
}

pub(super) async fn expected_absent_refuses_a_file(t: &mut Context) {
    t.put("/file", "there").await;
    t.put("/empty", "").await;
    for on_failure in BOTH {
        for (at, content) in [("/file", "there"), ("/empty", "")] {
            let written = t.try_write(at, 0, pieces([b"new"]), expecting(Expected::Absent, on_failure)).await;
            let error = t.refused(written, ErrorKind::AlreadyExists, at);
            assert_eq!(error.size(), Some(content.len() as u64), "the error names the size that is there");
            t.assert_content(at, content.as_bytes()).await;
        }
    }
}

pub(super) async fn expected_absent_creates(t: &mut Context) {
    for (number, on_failure) in BOTH.into_iter().enumerate() {
        let at = format!("/dir/{number}");
        let written = t.try_write(&at, 0, pieces([b"new"]), expecting(Expected::Absent, on_failure)).await;
        assert_eq!(written.expect("nothing was there"), 3);
        t.assert_content(&at, b"new").await;
    }
}

pub(super) async fn expected_size_refuses_another_size(t: &mut Context) {
    let data = Data(30);
    t.write("/file", 0, data.stream(0..1000, 100)).await;
    for on_failure in BOTH {
        for size in [0, 1, 999, 1001, u64::MAX] {
            for offset in [0, size.min(1001), 1000] {
                let options = expecting(Expected::Size(size), on_failure);
                let written = t.try_write("/file", offset, pieces([b"new"]), options).await;
                let error = t.refused(written, ErrorKind::InvalidOffset, "/file");
                assert_eq!(error.size(), Some(1000), "the error names the size that is there, not {size}");
                t.assert_data("/file", data, 1000).await;
            }
        }
    }
}

pub(super) async fn expected_size_of_a_missing_file_is_0(t: &mut Context) {
    for on_failure in BOTH {
        for size in [1, 1000] {
            let written =
                t.try_write("/file", size, pieces([b"new"]), expecting(Expected::Size(size), on_failure)).await;
            let error = t.refused(written, ErrorKind::InvalidOffset, "/file");
            assert_eq!(error.size(), Some(0), "nothing is there");
            t.assert_missing("/file").await;
        }
    }
    for (number, on_failure) in BOTH.into_iter().enumerate() {
        let at = format!("/file-{number}");
        let written = t.try_write(&at, 0, pieces([b"new"]), expecting(Expected::Size(0), on_failure)).await;
        assert_eq!(written.expect("no file counts as one of no bytes"), 3);
        t.assert_content(&at, b"new").await;
    }
}

pub(super) async fn expected_size_lets_the_right_size_pass(t: &mut Context) {
    let data = Data(31);
    let mut size = 0;
    for (step, on_failure) in [10, 1000, 100_000, 0, 5].into_iter().zip(BOTH.into_iter().cycle()) {
        let options = expecting(Expected::Size(size), on_failure);
        let written = t.try_write("/file", size, data.stream(size..size + step, 4000), options).await;
        assert_eq!(written.expect("the size was right"), step);
        size += step;
        t.assert_data("/file", data, size).await;
    }
    // What is expected and where the write begins are two things.
    let options = WriteOptions::default().expecting(Expected::Size(size));
    t.try_write("/file", 7, pieces([]), options).await.expect("the size was right");
    t.assert_data("/file", data, 7).await;
}

pub(super) async fn expected_size_is_refused_before_the_stream_is_read(t: &mut Context) {
    t.put("/file", "12345").await;
    let write = OpenWrite::start(t, "/file", 3, WriteOptions::default().expecting(Expected::Size(3))).await;
    assert!(write.is_over(), "a write that can't begin asks for no bytes");
    t.refused(write.finish().await, ErrorKind::InvalidOffset, "/file");
    t.assert_content("/file", b"12345").await;
}
