//! `walk`: the order of S3's keys, skipping, going on.

use std::sync::Arc;

use futures::{StreamExt, TryStreamExt};

use super::context::{Context, path};
use super::settings;
use crate::driver::{Descend, WalkOptions};
use crate::error::ErrorKind;
use crate::info::FileInfo;

/// What a walk gives, a directory with a slash at its end.
async fn walk(t: &Context, at: &str, options: WalkOptions) -> Vec<FileInfo> {
    let all = t.driver().walk(&path(at), options).try_collect().await;
    all.unwrap_or_else(|error| panic!("walk({at}) failed: {error:?}"))
}

fn names(entries: &[FileInfo]) -> Vec<String> {
    entries.iter().map(|entry| format!("{}{}", entry.path, if entry.is_dir { "/" } else { "" })).collect()
}

const TREE: [&str; 9] = ["/a-b", "/a/c", "/a/c-d/1", "/a/c.e", "/a/d/x/y/z", "/a/d/x-", "/a0", "/b/b/b", "/c"];

const WALKED: [&str; 15] = [
    "/a-b",
    "/a/",
    "/a/c",
    "/a/c-d/",
    "/a/c-d/1",
    "/a/c.e",
    "/a/d/",
    "/a/d/x-",
    "/a/d/x/",
    "/a/d/x/y/",
    "/a/d/x/y/z",
    "/a0",
    "/b/",
    "/b/b/",
    "/b/b/b",
];

async fn plant(t: &Context) -> Vec<&'static str> {
    for (number, at) in TREE.into_iter().enumerate() {
        t.put(at, vec![0; number]).await;
    }
    WALKED.into_iter().chain(["/c"]).collect()
}

pub(super) async fn a_walk_gives_all_in_the_order_of_bytes(t: &mut Context) {
    let expected = plant(t).await;
    let entries = walk(t, "/", WalkOptions::default()).await;
    assert_eq!(names(&entries), expected, "a directory compares as if it ended in a slash");
    for entry in &entries {
        let info = t.stat(entry.path.as_str()).await;
        assert_eq!(
            (entry.is_dir, entry.size),
            (info.is_dir, info.size),
            "a walk says what stat says of {}",
            entry.path
        );
        if !entry.is_dir {
            assert_eq!(entry.modified, info.modified, "a walk says what stat says of {}", entry.path);
        }
    }
}

pub(super) async fn a_walk_stays_below_its_directory(t: &mut Context) {
    plant(t).await;
    let expected = ["/a/d/x-", "/a/d/x/", "/a/d/x/y/", "/a/d/x/y/z"];
    assert_eq!(names(&walk(t, "/a/d", WalkOptions::default()).await), expected);
    assert_eq!(names(&walk(t, "/b/b", WalkOptions::default()).await), ["/b/b/b"]);
    t.put("/bb", "a sibling").await;
    assert_eq!(names(&walk(t, "/b", WalkOptions::default()).await), ["/b/b/", "/b/b/b"]);
}

pub(super) async fn a_walk_can_skip_directories(t: &mut Context) {
    let all = plant(t).await;
    for skipped in ["/a/", "/a/c-d/", "/a/d/", "/a/d/x/", "/b/", "/b/b/"] {
        let skip = path(skipped.trim_end_matches('/'));
        let descend: Descend = Arc::new(move |directory| *directory != skip);
        let options = WalkOptions { descend: Some(descend), ..WalkOptions::default() };
        let expected: Vec<_> = all.iter().filter(|at| **at == skipped || !at.starts_with(skipped)).copied().collect();
        assert_eq!(names(&walk(t, "/", options).await), expected, "a walk that skips {skipped}");
    }
    let none: Descend = Arc::new(|_| false);
    let options = WalkOptions { descend: Some(none), ..WalkOptions::default() };
    assert_eq!(names(&walk(t, "/", options).await), ["/a-b", "/a/", "/a0", "/b/", "/c"]);
}

pub(super) async fn a_walk_goes_on_after_each_entry(t: &mut Context) {
    plant(t).await;
    for top in ["/", "/a"] {
        let all = walk(t, top, WalkOptions::default()).await;
        for (number, entry) in all.iter().enumerate() {
            let options = WalkOptions { start_after: Some(entry.clone()), ..WalkOptions::default() };
            let rest = names(&walk(t, top, options).await);
            assert_eq!(rest, names(&all[number + 1..]), "a walk that starts after {}", entry.path);
        }
    }
}

pub(super) async fn a_walk_goes_on_after_what_is_gone(t: &mut Context) {
    let all = plant(t).await;
    for (after, next) in [("/a/c-", "/a/c-d/"), ("/a/d/x/y/a", "/a/d/x/y/z"), ("/A", "/a-b"), ("/a/c-d/0", "/a/c-d/1")]
    {
        let start_after = Some(FileInfo::file(path(after), 0, None));
        let rest = names(&walk(t, "/", WalkOptions { start_after, ..WalkOptions::default() }).await);
        let first = all.iter().position(|at| *at == next).expect("it is in the tree");
        assert_eq!(rest, &all[first..], "a walk that starts after {after}");
    }
    let start_after = Some(FileInfo::directory(path("/a/d/w"), None));
    let rest = walk(t, "/a/d", WalkOptions { start_after, ..WalkOptions::default() }).await;
    assert_eq!(names(&rest), ["/a/d/x-", "/a/d/x/", "/a/d/x/y/", "/a/d/x/y/z"]);
    let start_after = Some(FileInfo::file(path("/z"), 0, None));
    assert_eq!(walk(t, "/a", WalkOptions { start_after, ..WalkOptions::default() }).await, []);
}

pub(super) async fn a_long_walk_is_whole(t: &mut Context) {
    let mut expected = vec!["/dir/".to_owned()];
    for number in 0..settings::children() {
        let sub = format!("/dir/{:03}", number / 7);
        if number % 7 == 0 {
            expected.push(format!("{sub}/"));
        }
        expected.push(format!("{sub}/{number:05}"));
        t.put(expected.last().expect("one was pushed"), "").await;
    }
    assert_eq!(names(&walk(t, "/", WalkOptions::default()).await), expected);
    let skip: Descend = Arc::new(|directory| !directory.as_str().ends_with("01"));
    let rest = walk(t, "/dir", WalkOptions { descend: Some(skip), ..WalkOptions::default() }).await;
    let inside = |at: &str| at.split('/').nth(2).is_some_and(|sub| sub.ends_with("01")) && !at.ends_with('/');
    let visited: Vec<_> = expected[1..].iter().filter(|at| !inside(at)).cloned().collect();
    assert_eq!(names(&rest), visited, "a long walk that skips directories");
}

pub(super) async fn a_walk_of_what_is_no_directory_gives_an_error(t: &mut Context) {
    t.put("/file", "content").await;
    let first = t.driver().walk(&path("/missing"), WalkOptions::default()).next().await;
    t.refused(first.expect("the first item is an error"), ErrorKind::PathNotFound, "/missing");
    let kind = match t.can().file_directory_conflicts {
        true => ErrorKind::NotADirectory,
        false => ErrorKind::PathNotFound,
    };
    let all: Vec<_> = t.driver().walk(&path("/file"), WalkOptions::default()).collect().await;
    assert_eq!(all.len(), 1, "nothing comes after the error");
    t.refused(all.into_iter().next().expect("the first item is an error"), kind, "/file");
}

pub(super) async fn a_walk_of_an_empty_root_is_empty(t: &mut Context) {
    assert_eq!(walk(t, "/", WalkOptions::default()).await, []);
}

pub(super) async fn empty_directories_may_be_walked_or_not(t: &mut Context) {
    t.put("/dir/sub/file", "content").await;
    t.put("/dir/z", "content").await;
    t.delete("/dir/sub/file").await;
    let mut left = names(&walk(t, "/dir", WalkOptions::default()).await);
    left.retain(|at| at != "/dir/sub/");
    assert_eq!(left, ["/dir/z"], "a directory whose last child went may be there or not");
}
