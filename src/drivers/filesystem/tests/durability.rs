//! The mark on what may not be durable.

use std::os::unix::fs::PermissionsExt;

use super::*;
use crate::driver::Completion;

pub(super) fn is_marked(fixture: &Fixture, at: &str) -> bool {
    std::fs::metadata(fixture.file(at)).unwrap().permissions().mode() & 0o1000 != 0
}

fn mark(fixture: &Fixture, at: &str) {
    let mode = std::fs::metadata(fixture.file(at)).unwrap().permissions().mode();
    std::fs::set_permissions(fixture.file(at), PermissionsExt::from_mode(mode | 0o1000)).unwrap();
}

#[tokio::test]
async fn a_file_is_marked_while_it_is_written_and_not_after() {
    let fixture = Fixture::new(Durability::EveryWrite);
    let at = path("/dir/file");
    for offset in [0, 1] {
        let (feed, stream) = fed();
        feed.unbounded_send(Ok(Bytes::from_static(b"a"))).unwrap();
        let (driver, of) = (fixture.driver.clone(), at.clone());
        let write =
            tokio::spawn(async move { driver.write_stream(&of, offset, stream, WriteOptions::default()).await });
        until(async || std::fs::metadata(fixture.file("/dir/file")).is_ok_and(|file| file.len() == offset + 1)).await;
        assert!(is_marked(&fixture, "/dir/file"));
        // Another process may see the size, which it makes durable, but the mark is the writer's.
        assert_eq!(fixture.another().stat(&at).await.unwrap().size, offset + 1);
        assert!(is_marked(&fixture, "/dir/file"));
        drop(feed);
        write.await.unwrap().unwrap();
        assert!(!is_marked(&fixture, "/dir/file"));
    }
}

#[test]
fn a_new_file_that_a_look_settled_first_is_marked_again_before_its_first_byte() {
    let fixture = Fixture::new(Durability::EveryWrite);
    let (store, at) = (&fixture.driver.store, &path("/file"));
    // A stat that came between the making and the locking took the mark off.
    std::fs::write(fixture.file("/file"), "").unwrap();
    let newborn = target::Newborn::for_test(store, at);
    let found = store.find_target(at, 0, WriteOptions::default(), true, Some(newborn)).unwrap();
    let target::Found::Target(mut target) = found else { panic!("nobody has it locked") };
    target.append(&[Bytes::from_static(b"a")]).unwrap();
    assert!(is_marked(&fixture, "/file"));
    target.finish(true).unwrap();
    assert!(!is_marked(&fixture, "/file"));
}

#[tokio::test]
async fn what_a_crash_left_unsynced_is_settled_by_the_next_look_or_write() {
    let fixture = Fixture::new(Durability::EveryWrite);
    let (driver, at) = (&fixture.driver, &path("/dir/file"));
    driver.put_content(at, "abc".into()).await.unwrap();
    assert!(!is_marked(&fixture, "/dir/file"));
    mark(&fixture, "/dir/file");
    assert_eq!(fixture.another().stat(at).await.unwrap().size, 3);
    assert!(!is_marked(&fixture, "/dir/file"));

    mark(&fixture, "/dir/file");
    driver.write_stream(at, 3, bytes("d"), WriteOptions::default()).await.unwrap();
    assert!(!is_marked(&fixture, "/dir/file"));

    mark(&fixture, "/dir/file");
    driver.write_stream(at, 4, stream::empty().boxed(), WriteOptions::default()).await.unwrap();
    assert!(!is_marked(&fixture, "/dir/file"));

    mark(&fixture, "/dir/file");
    driver.commit(at).await.unwrap();
    assert!(!is_marked(&fixture, "/dir/file"));

    mark(&fixture, "/dir/file");
    let refused = WriteOptions::default().expecting(crate::Expected::Size(9));
    assert_eq!(driver.write_stream(at, 9, bytes("x"), refused).await.unwrap_err().size(), Some(4));
    assert!(!is_marked(&fixture, "/dir/file"), "the error named the size");

    mark(&fixture, "/dir/file");
    driver.move_to(at, &path("/moved/file")).await.unwrap();
    assert!(!is_marked(&fixture, "/moved/file"));
}

#[tokio::test]
async fn a_write_that_failed_is_synced_and_unmarked_too() {
    let fixture = Fixture::new(Durability::EveryWrite);
    let at = &path("/file");
    let error = fixture.driver.write_stream(at, 0, broken("abc"), WriteOptions::default()).await.unwrap_err();
    assert_eq!((error.kind(), error.bytes_read()), (ErrorKind::Stream, 3));
    assert!(!is_marked(&fixture, "/file"));
    assert_eq!(fixture.driver.stat(at).await.unwrap().size, 3);
}

#[tokio::test]
async fn a_finished_call_leaves_no_mark_where_it_need_not_sync() {
    for durability in [Durability::OnComplete, Durability::None] {
        let fixture = Fixture::new(durability);
        let (driver, at) = (&fixture.driver, &path("/file"));
        let open = WriteOptions { completion: Completion::OnCommit, ..WriteOptions::default() };
        driver.write_stream(at, 0, bytes("abc"), open).await.unwrap();
        assert!(!is_marked(&fixture, "/file"));
        driver.put_content(at, "x".into()).await.unwrap();
        assert!(!is_marked(&fixture, "/file"));
    }
}

#[tokio::test]
async fn where_modes_hold_no_mark_every_look_syncs() {
    let scratch = tempfile::tempdir().unwrap();
    let mut store = Fixture::builder(&scratch).open_store(Root::new).unwrap();
    store.mode_holds_mark = false;
    let fixture = Fixture { scratch, driver: FilesystemDriver { store: Arc::new(store) } };
    let (driver, at) = (&fixture.driver, &path("/dir/file"));
    driver.write_stream(at, 0, bytes("abc"), WriteOptions::default()).await.unwrap();
    assert!(driver.store.stat(at).unwrap().is_none(), "it is to be synced before its size is told");
    assert_eq!(driver.stat(at).await.unwrap().size, 3);
    assert_eq!(kind(driver.stat(&path("/dir/none")).await), ErrorKind::PathNotFound);
    assert!(driver.stat(&path("/dir")).await.unwrap().is_dir);
}

#[tokio::test]
async fn the_way_to_a_file_is_synced_once_and_again_when_it_is_made_anew() {
    let fixture = Fixture::new(Durability::EveryWrite);
    let driver = &fixture.driver;
    let known = || driver.store.known.len();
    driver.put_content(&path("/a/b/file"), "x".into()).await.unwrap();
    assert_eq!(known(), 2);
    driver.put_content(&path("/a/b/other"), "x".into()).await.unwrap();
    assert_eq!(known(), 2);
    driver.delete(&path("/a")).await.unwrap();
    driver.put_content(&path("/a/b/file"), "x".into()).await.unwrap();
    assert_eq!(known(), 4);
}
