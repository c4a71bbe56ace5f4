//! Moving, joining and appending past what one copy may be (5 GiB on AWS, scaled down to 1 MiB here): by ranges within the
//! engine, or through this machine where the engine can't.

use holdall::drivers::{S3Config, S3Driver};
use holdall::{Completion, ErrorKind, Precondition, StorageDriver, StoragePath, WriteOptions};
use http::Method;

use super::{KIB, MIB, config, data, open, path, stream};
use crate::support::s3::{Config, Op, S3Server};

/// What one copy may be.
const MOST: u64 = MIB;

fn server(config: Config) -> S3Server {
    let server = S3Server::new(Config { public: true, ..config }.scaled(KIB));
    server.reconfigure(|config| assert_eq!((config.max_copy, config.max_put), (MOST, MOST)));
    server
}

fn scaled(server: &S3Server) -> S3Config {
    let scaled = config(server).min_part_size(KIB).part_size(16 * KIB).inline_limit(KIB).memory_budget(256 * KIB);
    scaled.copy_threshold(MOST).copy_part_size(256 * KIB)
}

/// Engines that copy ranges, that copy ranges of one size only, and that copy none.
fn engines() -> [(Config, bool, bool); 3] {
    let without = Config { no_part_copy: true, ..Config::aws() };
    [(Config::aws(), true, false), (Config::r2(), true, true), (without, false, false)]
}

/// The lengths of the ranges that were copied; each a part that the engine takes.
fn copied(server: &S3Server, sources: &[&str]) -> Vec<u64> {
    let calls = server.record().into_iter().map(|entry| entry.call).filter(|call| call.op == Op::UploadPartCopy);
    let length = |call: std::sync::Arc<crate::support::s3::Call>| {
        let source = call.header("x-amz-copy-source").unwrap().strip_prefix("/bucket/").unwrap().to_owned();
        assert!(sources.contains(&&*source), "{source}");
        assert!(call.header("x-amz-copy-source-if-match").is_some(), "the version that was looked at");
        let (first, last) = call.header("x-amz-copy-source-range").unwrap()["bytes=".len()..].split_once('-').unwrap();
        last.parse::<u64>().unwrap() + 1 - first.parse::<u64>().unwrap()
    };
    let lengths: Vec<u64> = calls.map(length).collect();
    assert!(lengths.iter().all(|length| *length <= MOST), "{lengths:?}");
    lengths
}

/// Bytes that differ from a file's to the next one's.
fn content(n: usize, length: u64) -> Vec<u8> {
    data(length).into_iter().map(|byte| byte.wrapping_add(7 * n as u8)).collect()
}

/// Puts a file there, however large.
async fn put(server: &S3Server, at: &str, content: &[u8]) -> StoragePath {
    server.put(at.trim_start_matches('/'), content.to_vec());
    path(at)
}

async fn assert_holds(driver: &S3Driver, server: &S3Server, at: &str, content: &[u8]) {
    let got = driver.get_content(&path(at)).await.unwrap();
    assert!(got == content, "{at} holds {} bytes, of {}", got.len(), content.len());
    assert!(server.uploads().is_empty());
    assert!(server.keys().iter().all(|key| !key.contains('~')), "{:?}", server.keys());
}

#[tokio::test]
async fn a_file_that_one_copy_can_t_take_is_moved_by_ranges() {
    for (engine, copies, equal) in engines() {
        for size in [MOST, MOST + 1, 3 * MOST + 5] {
            for most in [256 * KIB, MOST] {
                let server = server(engine.clone());
                let driver = open(scaled(&server).equal_parts(equal).copy_part_size(most)).await;
                let (from, all) = (put(&server, "/from", &content(1, size)).await, content(1, size));
                put(&server, "/to", b"old").await;
                server.reset();
                driver.move_to(&from, &path("/to")).await.unwrap();
                let (counts, ranges) = (server.counts(), copied(&server, &["from"]));
                assert_eq!(counts.of(Op::CopyObject).requests, u64::from(size <= MOST), "{size}");
                if size > MOST && copies {
                    assert_eq!((ranges.iter().sum::<u64>(), ranges.len() as u64), (size, size.div_ceil(most)));
                    assert_eq!(counts.of(Op::UploadPart).requests, 0, "nothing went through this machine");
                } else {
                    assert_eq!(ranges, [0; 0], "{size}");
                }
                assert_holds(&driver, &server, "/to", &all).await;
                assert_eq!(server.keys(), ["to"]);
            }
        }
    }
}

#[tokio::test]
async fn a_file_that_no_range_can_be_copied_of_is_copied_whole_whatever_the_threshold() {
    for size in [0, 1, KIB - 1, KIB, KIB + 1] {
        let server = server(Config::aws());
        let driver = open(scaled(&server).copy_threshold(0)).await;
        let all = content(1, size);
        driver.move_to(&put(&server, "/from", &all).await, &path("/to")).await.unwrap();
        assert_holds(&driver, &server, "/to", &all).await;
    }
}

#[tokio::test]
async fn an_uncommitted_file_that_a_moved_one_hid_does_not_show_again() {
    for engine in [Config::aws(), Config::minio(), Config::garage()] {
        let server = server(engine);
        let driver = open(scaled(&server)).await;
        let (from, to) = (path("/from"), path("/to"));
        let on_commit = WriteOptions { completion: Completion::OnCommit, ..WriteOptions::default() };
        for size in [10, 20 * KIB] {
            driver.write_stream(&from, 0, stream(&data(size)), on_commit).await.unwrap();
            driver.put_content(&from, "moved".into()).await.unwrap();
            driver.move_to(&from, &to).await.unwrap();
            assert_eq!(driver.stat(&from).await.unwrap_err().kind(), ErrorKind::PathNotFound);
            assert_eq!(driver.get_content(&to).await.unwrap(), "moved");
            assert!(server.uploads().is_empty());
            driver.write_stream(&from, 0, stream(b"new"), on_commit).await.unwrap();
            assert_eq!(driver.stat(&from).await.unwrap().size, 3);
            driver.delete(&from).await.unwrap();
        }
    }
}

#[tokio::test]
async fn files_of_all_sizes_are_joined_to_one_that_no_single_copy_could_be() {
    const SIZES: [u64; 9] = [3, 0, MOST + MOST / 2, 10, KIB - 1, 2 * MOST + 7, KIB, 500, 200 * KIB];
    for (engine, copies, equal) in engines() {
        let server = server(engine);
        let driver = open(scaled(&server).equal_parts(equal)).await;
        let (mut sources, mut all) = (Vec::new(), Vec::new());
        for (n, size) in SIZES.into_iter().enumerate() {
            sources.push(put(&server, &format!("/source{n}"), &content(n, size)).await);
            all.extend(content(n, size));
        }
        server.reset();
        assert_eq!(driver.concat(&sources, &path("/to")).await.unwrap(), all.len() as u64);
        let by_ranges = copied(&server, &["source2", "source5", "source6", "source8"]);
        let through = server.counts().of(Op::UploadPart);
        if copies && !equal {
            assert!(by_ranges.iter().all(|length| *length >= KIB), "{by_ranges:?}");
            assert_eq!(by_ranges.iter().sum::<u64>() + through.bytes_in, all.len() as u64);
            assert!(through.bytes_in <= 5 * KIB, "only what is too small for a part, and its neighbours: {through:?}");
        } else {
            assert_eq!((by_ranges, through.bytes_in), (vec![], all.len() as u64));
        }
        assert_holds(&driver, &server, "/to", &all).await;
        for (n, size) in SIZES.into_iter().enumerate() {
            assert_holds(&driver, &server, &format!("/source{n}"), &content(n, size)).await;
        }
    }
}

#[tokio::test]
async fn a_complete_file_that_no_single_copy_could_take_grows_and_is_cut() {
    const SIZE: u64 = 2 * MOST + MOST / 2 + 3;
    for (engine, copies, equal) in engines() {
        for keep in [SIZE, SIZE - 1, MOST + 100, KIB, 0] {
            let server = server(engine.clone());
            let driver = open(scaled(&server).equal_parts(equal)).await;
            let old = content(1, SIZE);
            let file = put(&server, "/file", &old).await;
            let new = content(2, 40 * KIB);
            server.reset();
            driver.write_stream(&file, keep, stream(&new), WriteOptions::default()).await.unwrap();
            let by_ranges = copied(&server, &["file"]).iter().sum::<u64>();
            match (copies && keep > 16 * KIB, equal) {
                (false, _) => assert_eq!(by_ranges, 0, "{keep}"),
                (true, false) => assert_eq!(by_ranges, keep),
                (true, true) => assert_eq!(by_ranges, keep - keep % (16 * KIB)),
            }
            let all = [&old[..keep as usize], &new].concat();
            assert_holds(&driver, &server, "/file", &all).await;
        }
    }
}

#[tokio::test]
async fn what_the_engine_copies_is_not_bounded_by_memory() {
    let server = server(Config::aws());
    // 5,000 parts of the budget's largest one are less than the file.
    let driver = open(scaled(&server).part_size(KIB).memory_budget(KIB).copy_part_size(MOST)).await;
    let all = content(1, 6 * MIB);
    let (from, half) = (put(&server, "/from", &all).await, all.len() / 2);
    driver.move_to(&from, &path("/moved")).await.unwrap();
    assert_holds(&driver, &server, "/moved", &all).await;
    let halves = [put(&server, "/a", &all[..half]).await, put(&server, "/b", &all[half..]).await];
    driver.concat(&halves, &path("/to")).await.unwrap();
    assert_holds(&driver, &server, "/to", &all).await;
}

#[tokio::test]
async fn what_is_too_large_for_any_object_is_refused_and_changes_nothing() {
    for (engine, _, equal) in engines() {
        let server = server(engine);
        server.reconfigure(|config| config.max_object = 2 * MOST);
        let driver = open(scaled(&server).equal_parts(equal)).await;
        let all = content(1, MOST + 1);
        let sources = [put(&server, "/a", &all).await, put(&server, "/b", &all).await];
        put(&server, "/to", b"old").await;
        let error = driver.concat(&sources, &path("/to")).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::SizeExceeded, "{error:?}");
        let error =
            driver.write_stream(&sources[0], MOST + 1, stream(&all), WriteOptions::default()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::SizeExceeded, "{error:?}");
        for (at, content) in [("/a", &*all), ("/b", &*all), ("/to", b"old")] {
            assert_holds(&driver, &server, at, content).await;
        }
    }
}

#[tokio::test]
async fn more_parts_than_an_upload_has_are_refused_before_anything_is_copied() {
    let server = server(Config::aws());
    let driver = open(scaled(&server)).await;
    let sources = vec![put(&server, "/source", &data(KIB)).await; 10_001];
    server.reset();
    let error = driver.concat(&sources, &path("/to")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::SizeExceeded, "{error:?}");
    assert!(error.to_string().contains("10001"), "{error}");
    assert!(server.record().iter().all(|entry| !entry.call.writes()), "{:?}", server.counts());
}

#[tokio::test]
async fn each_copy_is_a_version_of_its_own() {
    let server = server(Config::aws());
    let driver = open(scaled(&server)).await;
    let (a, b, c) = (path("/a"), path("/b"), path("/c"));
    driver.put_content(&a, "same".into()).await.unwrap();
    let sources = [a];
    driver.concat(&sources, &b).await.unwrap();
    let (_, first) = driver.get_versioned(&b).await.unwrap();
    driver.put_content(&b, "other".into()).await.unwrap();
    driver.concat(&sources, &b).await.unwrap();
    let (_, second) = driver.get_versioned(&b).await.unwrap();
    driver.move_to(&b, &c).await.unwrap();
    driver.move_to(&c, &b).await.unwrap();
    for old in [first, second] {
        let error = driver.put_content_if(&b, "new".into(), Precondition::Version(old)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Conflict, "{error:?}");
    }
    let (_, third) = driver.get_versioned(&b).await.unwrap();
    driver.put_content_if(&b, "new".into(), Precondition::Version(third)).await.unwrap();
}

#[tokio::test]
async fn a_file_that_one_copy_takes_keeps_its_content_type_and_what_else_its_writer_said() {
    let server = server(Config::aws());
    let driver = open(scaled(&server)).await;
    let said = [("content-type", "text/plain"), ("cache-control", "no-store"), ("x-amz-meta-author", "someone")];
    let put = said.iter().fold(server.raw(Method::PUT, "a"), |put, (name, value)| put.header(name, value));
    assert_eq!(put.body("text").send().await.unwrap().status, 200);
    driver.move_to(&path("/a"), &path("/b")).await.unwrap();
    driver.concat(&[path("/b")], &path("/c")).await.unwrap();
    let headers = server.object("c").unwrap().headers;
    for (name, value) in said {
        assert_eq!(headers[name], value);
    }
    assert_ne!(headers["x-amz-meta-holdall-id"], server.object("b").unwrap().headers["x-amz-meta-holdall-id"]);
}
