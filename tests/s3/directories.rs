//! Directories that others made, names that begin alike, and listings of more than a page.

use std::time::Duration;

use futures::TryStreamExt;
use holdall::drivers::S3Driver;
use holdall::{Completion, ErrorKind, FileInfo, StorageDriver, StoragePath, WalkOptions, WriteOptions};
use http::Method;

use super::{KIB, data, open, path, small, stream};
use crate::support::s3::{Code, Config, Op, Outcome, Rule, S3Server};

/// What other tools leave in a bucket: markers of directories, and keys that are no paths.
const KEYS: [&str; 14] = [
    "a",
    "a-b/x",
    "a/",
    "a//y",
    "a/b",
    "a/c/",
    "a/c/d",
    "a/e/",
    "ab",
    "ab/x",
    "dir_$folder$",
    "empty/",
    "not a path/x",
    "z",
];

/// What they are to a walk; a directory ends in a slash.
const WALKED: [&str; 13] =
    ["/a", "/a-b/", "/a-b/x", "/a/", "/a/b", "/a/c/", "/a/c/d", "/a/e/", "/ab", "/ab/", "/ab/x", "/empty/", "/z"];

/// A server with pages of this size, and a driver in a folder of its bucket, which others have made as well.
async fn bucket(page: usize, root: &str) -> (S3Server, S3Driver) {
    let server = S3Server::new(Config { public: true, max_page: page, ..Config::aws() }.scaled(64 * KIB));
    let driver = open(small(&server).root(root)).await;
    for key in KEYS {
        let content = if key.ends_with('/') { "" } else { key };
        server.put(&if root.is_empty() { key.to_owned() } else { format!("{root}/{key}") }, content);
    }
    if !root.is_empty() {
        server.put(&format!("{root}/"), "");
        server.put(&format!("{root}b/x"), "");
    }
    (server, driver)
}

async fn walk(driver: &S3Driver, at: &str, options: WalkOptions) -> Vec<FileInfo> {
    driver.walk(&path(at), options).try_collect().await.unwrap()
}

fn shown(infos: &[FileInfo]) -> Vec<String> {
    infos.iter().map(|info| format!("{}{}", info.path, if info.is_dir { "/" } else { "" })).collect()
}

async fn kind<T: std::fmt::Debug>(result: impl Future<Output = holdall::Result<T>>) -> ErrorKind {
    result.await.unwrap_err().kind()
}

#[tokio::test]
async fn listings_show_paths_and_directories_of_others_on_pages_of_any_size() {
    for (page, root) in [(1, ""), (2, "root"), (3, ""), (5, "a/root"), (1000, "")] {
        let (_server, driver) = bucket(page, root).await;
        let list = async |at: &str| -> Vec<String> {
            driver.list(&path(at)).await.unwrap().iter().map(ToString::to_string).collect()
        };
        assert_eq!(list("/").await, ["/a", "/a-b", "/ab", "/empty", "/z"], "{page}");
        assert_eq!(list("/a").await, ["/a/b", "/a/c", "/a/e"], "{page}");
        assert_eq!(list("/ab").await, ["/ab/x"], "{page}");
        assert_eq!(list("/empty").await, [""; 0], "{page}");
        assert_eq!(kind(driver.list(&path("/dir"))).await, ErrorKind::PathNotFound);

        let all = walk(&driver, "/", WalkOptions::default()).await;
        assert_eq!(shown(&all), WALKED, "{page}");
        assert_eq!(shown(&walk(&driver, "/a", WalkOptions::default()).await), WALKED[4..8], "{page}");
        for skipped in [None, Some("/a"), Some("/a/c"), Some("/ab"), Some("/empty")] {
            let descend = skipped.map(|skipped| -> holdall::Descend {
                std::sync::Arc::new(move |directory: &StoragePath| directory.as_str() != skipped)
            });
            let below = |entry: &str| {
                skipped
                    .is_some_and(|skipped| entry.starts_with(&format!("{skipped}/")) && entry.len() > skipped.len() + 1)
            };
            for (n, last) in all.iter().enumerate().filter(|(n, _)| !below(WALKED[*n])) {
                let options = WalkOptions { start_after: Some(last.clone()), descend: descend.clone() };
                let rest: Vec<_> = WALKED[n + 1..].iter().copied().filter(|entry| !below(entry)).collect();
                assert_eq!(shown(&walk(&driver, "/", options).await), rest, "{page}: {skipped:?} after {last:?}");
            }
        }
    }
}

#[tokio::test]
async fn what_is_skipped_may_hold_names_that_sort_after_all_paths() {
    let server = S3Server::new(Config { public: true, max_page: 2, ..Config::aws() }.scaled(64 * KIB));
    let driver = open(small(&server)).await;
    let names = ["a", "b", "c", "d", "~", "~a", "é1", "é2", "é3", "é4"];
    names.iter().for_each(|name| server.put(&format!("dir/{name}"), ""));
    server.put("e", "");
    // It would go on without end.
    server.fault(Rule::on(Op::ListObjectsV2, Outcome::Fail(Code::AccessDenied.into())).skip(20).always());
    let descend: Option<holdall::Descend> = Some(std::sync::Arc::new(|directory| directory.as_str() != "/dir"));
    let directory = FileInfo::directory(path("/dir"), None);
    for (start_after, walked) in [(None, &["/dir/", "/e"][..]), (Some(directory), &["/e"])] {
        let options = WalkOptions { start_after, descend: descend.clone() };
        assert_eq!(shown(&walk(&driver, "/", options).await), walked);
    }
}

#[tokio::test]
async fn a_marker_is_a_directory_and_goes_with_it() {
    for (page, root) in [(1, ""), (1000, "root")] {
        let (server, driver) = bucket(page, root).await;
        for (at, is_dir) in
            [("/a", false), ("/a/c", true), ("/a/e", true), ("/ab", false), ("/empty", true), ("/", true)]
        {
            assert_eq!(driver.stat(&path(at)).await.unwrap().is_dir, is_dir, "{at}");
        }
        for at in ["/dir", "/em", "/a/bb", "/emptyy"] {
            assert_eq!(kind(driver.stat(&path(at))).await, ErrorKind::PathNotFound, "{at}");
            assert_eq!(kind(driver.delete(&path(at))).await, ErrorKind::PathNotFound, "{at}");
        }
        // A file goes into it, and out of it; it does not go itself.
        driver.move_to(&path("/a/b"), &path("/empty/b")).await.unwrap();
        driver.move_to(&path("/empty/b"), &path("/a/e/b")).await.unwrap();
        assert_eq!(driver.get_content(&path("/a/e/b")).await.unwrap(), "a/b");
        let before = server.keys();
        assert!(driver.move_to(&path("/empty"), &path("/moved")).await.is_err());
        assert!(driver.get_content(&path("/empty")).await.is_err());
        assert_eq!(server.keys(), before);

        driver.delete(&path("/empty")).await.unwrap();
        assert_eq!(kind(driver.stat(&path("/empty"))).await, ErrorKind::PathNotFound);
        driver.delete(&path("/a")).await.unwrap();
        let left = walk(&driver, "/", WalkOptions::default()).await;
        assert_eq!(shown(&left), ["/a-b/", "/a-b/x", "/ab", "/ab/", "/ab/x", "/z"], "{page}");
        let below =
            |key: &&String| key.strip_prefix(root).is_some_and(|key| key.trim_start_matches('/').starts_with("a/"));
        assert_eq!(server.keys().iter().find(below), None);
        assert!(root.is_empty() || server.keys().contains(&"rootb/x".to_owned()));
    }
}

#[tokio::test]
async fn uncommitted_files_whose_names_begin_alike_are_kept_apart() {
    let server = S3Server::new(Config { public: true, max_page: 2, ..Config::aws() }.scaled(64 * KIB));
    let driver = open(small(&server)).await;
    let files = ["/a", "/a-b", "/a/b", "/a/c/d", "/ab", "/ab/c"];
    for (n, file) in files.iter().enumerate() {
        let options = WriteOptions { completion: Completion::OnCommit, ..WriteOptions::default() };
        let bytes = stream(&data(70 * KIB + n as u64));
        driver.write_stream(&path(file), 0, bytes, options).await.unwrap();
    }
    driver.delete(&path("/a")).await.unwrap();
    for (n, file) in files.iter().enumerate() {
        if *file == "/a" || file.starts_with("/a/") {
            assert_eq!(kind(driver.stat(&path(file))).await, ErrorKind::PathNotFound, "{file}");
        } else {
            assert_eq!(driver.stat(&path(file)).await.unwrap().size, 70 * KIB + n as u64, "{file}");
            driver.commit(&path(file)).await.unwrap();
            assert!(driver.get_content(&path(file)).await.unwrap() == data(70 * KIB + n as u64), "{file}");
        }
    }
    assert_eq!((server.keys(), server.uploads().len()), (vec!["a-b".into(), "ab".into(), "ab/c".into()], 0));
}

#[tokio::test]
async fn more_than_a_thousand_entries_come_and_go_by_pages() {
    let server = S3Server::new(Config { public: true, ..Config::aws() });
    let driver = open(super::config(&server)).await;
    let names: Vec<String> = (0..2500).map(|n| format!("/many/{n:04}")).collect();
    for name in &names {
        // Files and directories by turns.
        let key = if name.ends_with(['1', '3', '5', '7', '9']) { format!("{name}/file") } else { name.clone() };
        server.put(key.trim_start_matches('/'), "x");
    }
    server.put("many-more", "x");
    server.reset();
    let listed = driver.list(&path("/many")).await.unwrap();
    assert_eq!(listed.iter().map(StoragePath::as_str).collect::<Vec<_>>(), names);
    assert_eq!(server.counts().of(Op::ListObjectsV2).requests, 3);
    server.reset();
    let walked = walk(&driver, "/many", WalkOptions::default()).await;
    assert_eq!(walked.iter().filter(|info| !info.is_dir).count(), 2500);
    assert_eq!((walked.len(), server.counts().of(Op::ListObjectsV2).requests), (3750, 3));
    server.reset();
    driver.delete(&path("/many")).await.unwrap();
    assert_eq!(server.counts().of(Op::DeleteObjects).requests, 3);
    assert_eq!(server.keys(), ["many-more"]);
}

/// Sends a request past the driver.
async fn send(server: &S3Server, method: Method, target: &str) -> String {
    let answer = server.raw(method, target).send().await.unwrap();
    assert_eq!(answer.status, 200, "{target}: {}", answer.body);
    answer.element("UploadId").unwrap_or_default()
}

#[tokio::test]
async fn a_sweep_reads_all_pages() {
    let server = S3Server::new(Config { public: true, max_page: 4, ..Config::aws() }.scaled(64 * KIB));
    let driver = open(small(&server)).await;
    let options = WriteOptions { completion: Completion::OnCommit, ..WriteOptions::default() };
    let (mut uploads, parts) = (Vec::new(), 9);
    for n in 0..9u64 {
        server.put(&format!("~segment/{n:032x}/{n:032x}"), "x");
        server.put(&format!("~probe/{n:032x}"), "x");
        driver.write_stream(&path(&format!("/head{n}")), 0, stream(&data(10)), options).await.unwrap();
        // Two to a key.
        let upload = send(&server, Method::POST, &format!("file{}?uploads=", n / 2)).await;
        for number in 1..=parts {
            let target = format!("file{}?partNumber={number}&uploadId={upload}", n / 2);
            send(&server, Method::PUT, &target).await;
        }
        uploads.push(upload);
    }
    server.age(Duration::from_secs(7200));
    // The youngest part of this one is on its last page.
    let kept = uploads.pop().unwrap();
    send(&server, Method::PUT, &format!("file4?partNumber={}&uploadId={kept}", parts + 1)).await;
    assert_eq!(driver.sweep(Duration::from_secs(3600)).await.unwrap(), 9 + 9 + 9 + 8);
    assert_eq!(server.keys(), [""; 0]);
    assert_eq!(server.uploads().into_iter().map(|(id, _)| id).collect::<Vec<_>>(), [kept]);
    server.age(Duration::from_secs(7200));
    assert_eq!(driver.sweep(Duration::from_secs(3600)).await.unwrap(), 1);
    assert_eq!(server.uploads().len(), 0);
}
