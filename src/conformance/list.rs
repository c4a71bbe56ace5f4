//! `list`: exact, sorted, each child once.

use super::context::{Context, path};
use super::settings;
use crate::error::ErrorKind;

pub(super) async fn an_empty_root_lists_nothing(t: &mut Context) {
    assert_eq!(t.list("/").await, [""; 0]);
    let root = t.stat("/").await;
    assert!(root.is_dir && root.size == 0, "the root is a directory: {root:?}");
}

pub(super) async fn each_level_lists_its_own_children(t: &mut Context) {
    let mut leaves: Vec<String> = (0..50).map(|number| format!("/top/dir/leaf-{}", number * 7919 % 1000)).collect();
    for leaf in &leaves {
        t.put(leaf, "content").await;
    }
    leaves.sort();
    assert_eq!(t.list("/").await, ["/top"]);
    assert_eq!(t.list("/top").await, ["/top/dir"]);
    assert_eq!(t.list("/top/dir").await, leaves);
}

pub(super) async fn more_than_a_page_of_children_are_listed(t: &mut Context) {
    let mut children: Vec<String> = (0..settings::children()).map(|number| format!("/dir/{number}")).collect();
    for child in &children {
        t.put(child, "").await;
    }
    t.put("/dirt", "a sibling").await;
    children.sort();
    assert_eq!(t.list("/dir").await, children);
}

pub(super) async fn files_and_directories_are_listed_once_and_sorted(t: &mut Context) {
    for at in ["/a/c/1", "/a/c/2", "/a-b", "/a.txt", "/a/c-d", "/a/c.e", "/a/d", "/b", "/A"] {
        t.put(at, "content").await;
    }
    assert_eq!(t.list("/").await, ["/A", "/a", "/a-b", "/a.txt", "/b"]);
    assert_eq!(t.list("/a").await, ["/a/c", "/a/c-d", "/a/c.e", "/a/d"]);
    assert_eq!(t.list("/a/c").await, ["/a/c/1", "/a/c/2"]);
}

pub(super) async fn a_sibling_with_the_same_prefix_is_not_listed(t: &mut Context) {
    for at in ["/a/in", "/ab/out", "/a-/out", "/a.b", "/aa"] {
        t.put(at, "content").await;
    }
    assert_eq!(t.list("/a").await, ["/a/in"]);
    t.refused(t.driver().list(&path("/a/i")).await, ErrorKind::PathNotFound, "/a/i");
}

pub(super) async fn a_file_can_not_be_listed(t: &mut Context) {
    t.put("/dir/file", "content").await;
    let kind = match t.can().file_directory_conflicts {
        true => ErrorKind::NotADirectory,
        false => ErrorKind::PathNotFound,
    };
    t.refused(t.driver().list(&path("/dir/file")).await, kind, "/dir/file");
    t.refused(t.driver().list(&path("/dir/fil")).await, ErrorKind::PathNotFound, "/dir/fil");
}
