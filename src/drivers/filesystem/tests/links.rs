//! Nothing leads out of the root, whatever lies in it.

use std::os::unix::fs::symlink;

use super::*;
use crate::driver::{Expected, OnFailure};

/// Every operation that could follow a link at this path, each of which must be refused.
async fn assert_denied(fixture: &Fixture, at: &str) {
    let driver = &fixture.driver;
    let at = &path(at);
    assert_eq!(kind(driver.stat(at).await), ErrorKind::PermissionDenied);
    assert_eq!(kind(driver.get_content(at).await), ErrorKind::PermissionDenied);
    assert_eq!(kind(driver.commit(at).await), ErrorKind::PermissionDenied);
    assert_eq!(kind(driver.list(at).await), ErrorKind::PermissionDenied);
    assert_eq!(kind(driver.walk(at, WalkOptions::default()).next().await.unwrap()), ErrorKind::PermissionDenied);
    assert_eq!(kind(driver.move_to(at, &path("/elsewhere")).await), ErrorKind::PermissionDenied);
    assert_eq!(kind(driver.concat(std::slice::from_ref(at), &path("/elsewhere")).await), ErrorKind::PermissionDenied);
    for on_failure in [OnFailure::KeepPrefix, OnFailure::Discard] {
        let options = WriteOptions { on_failure, ..WriteOptions::default() };
        assert_eq!(kind(driver.write_stream(at, 0, bytes("x"), options).await), ErrorKind::PermissionDenied);
    }
    if driver.capabilities().conditional_put {
        assert_eq!(kind(driver.get_versioned(at).await), ErrorKind::PermissionDenied);
    }
    assert_eq!(kind(driver.stat(&path("/elsewhere")).await), ErrorKind::PathNotFound);
}

#[tokio::test]
async fn a_link_in_the_way_is_refused() {
    with_and_without_openat2(async |fixture| {
        let outside = fixture.scratch.path().join("outside");
        std::fs::create_dir_all(outside.join("sub")).unwrap();
        std::fs::write(outside.join("secret"), "secret").unwrap();
        std::fs::write(outside.join("sub/secret"), "secret").unwrap();
        fixture.driver.put_content(&path("/real/secret"), "inside".into()).await.unwrap();
        symlink(&outside, fixture.file("/absolute")).unwrap();
        symlink("../outside", fixture.file("/relative")).unwrap();
        symlink("real", fixture.file("/inside")).unwrap();
        symlink("../../outside", fixture.file("/real/up")).unwrap();
        for link in ["/absolute", "/relative", "/inside", "/real/up"] {
            assert_denied(fixture, &format!("{link}/secret")).await;
            assert_denied(fixture, &format!("{link}/sub/secret")).await;
            for new in [format!("{link}/new"), format!("{link}/sub/new"), format!("{link}/new/new")] {
                let new = path(&new);
                let driver = &fixture.driver;
                assert_eq!(kind(driver.put_content(&new, "x".into()).await), ErrorKind::PermissionDenied);
                assert_eq!(kind(driver.move_to(&path("/real/secret"), &new).await), ErrorKind::PermissionDenied);
                assert_eq!(kind(driver.delete(&new).await), ErrorKind::PermissionDenied);
                let absent = WriteOptions::default().expecting(Expected::Absent);
                assert_eq!(kind(driver.write_stream(&new, 0, bytes("x"), absent).await), ErrorKind::PermissionDenied);
            }
        }
        assert_eq!(std::fs::read_dir(&outside).unwrap().count(), 2);
        assert_eq!(std::fs::read_dir(outside.join("sub")).unwrap().count(), 1);
        assert_eq!(std::fs::read(outside.join("secret")).unwrap(), b"secret");
    })
    .await;
}

#[tokio::test]
async fn a_link_at_the_path_is_refused_replaced_or_removed_but_never_followed() {
    with_and_without_openat2(async |fixture| {
        let driver = &fixture.driver;
        let outside = fixture.scratch.path().join("outside");
        std::fs::create_dir(&outside).unwrap();
        std::fs::write(outside.join("secret"), "secret").unwrap();
        driver.put_content(&path("/dir/file"), "file".into()).await.unwrap();
        let plant = |target: &std::path::Path, at: &str| symlink(target, fixture.file(at)).unwrap();
        for target in [outside.clone(), outside.join("secret"), outside.join("missing"), "dir".into()] {
            plant(&target, "/link");
            plant(&target, "/dir/link");
            assert_denied(fixture, "/link").await;
            assert_denied(fixture, "/dir/link").await;
            let shown: Vec<_> = driver.walk(&StoragePath::root(), WalkOptions::default()).collect().await;
            let shown: Vec<_> = shown.into_iter().map(|info| info.unwrap().path.to_string()).collect();
            assert_eq!(shown, ["/dir", "/dir/file"]);
            assert_eq!(driver.list(&path("/dir")).await.unwrap(), [path("/dir/file")]);

            driver.delete(&path("/link")).await.unwrap();
            driver.put_content(&path("/dir/link"), "mine".into()).await.unwrap();
            assert_eq!(std::fs::read(fixture.file("/dir/link")).unwrap(), b"mine");
            driver.delete(&path("/dir/link")).await.unwrap();
        }
        assert_eq!(std::fs::read(outside.join("secret")).unwrap(), b"secret");
        assert_eq!(std::fs::read_dir(&outside).unwrap().count(), 1);
    })
    .await;
}

#[tokio::test]
async fn deleting_a_tree_removes_links_and_not_what_they_point_at() {
    let fixture = Fixture::new(Durability::None);
    let outside = fixture.scratch.path().join("outside");
    std::fs::create_dir(&outside).unwrap();
    std::fs::write(outside.join("kept"), "kept").unwrap();
    fixture.driver.put_content(&path("/dir/sub/file"), "x".into()).await.unwrap();
    symlink(&outside, fixture.file("/dir/link")).unwrap();
    symlink(outside.join("kept"), fixture.file("/dir/sub/link")).unwrap();
    symlink("..", fixture.file("/dir/sub/up")).unwrap();
    fixture.driver.delete(&path("/dir")).await.unwrap();
    assert!(!fixture.file("/dir").exists());
    assert_eq!(fixture.temporary(), Vec::<String>::new());
    assert_eq!(std::fs::read(outside.join("kept")).unwrap(), b"kept");
}

#[test]
fn a_link_in_place_of_the_temporary_directory_is_refused() {
    let scratch = tempfile::tempdir().unwrap();
    let root = scratch.path().join("root");
    std::fs::create_dir_all(scratch.path().join("outside")).unwrap();
    std::fs::create_dir(&root).unwrap();
    symlink("../outside", root.join("~tmp")).unwrap();
    let error = FilesystemDriver::open(&root).unwrap_err();
    assert!(error.to_string().contains(&*root.to_string_lossy()), "{error}");
    assert_eq!(std::fs::read_dir(scratch.path().join("outside")).unwrap().count(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_directory_that_turns_into_a_link_and_back_never_leads_out() {
    let fixture = Fixture::new(Durability::None);
    let outside = fixture.scratch.path().join("outside");
    std::fs::create_dir(&outside).unwrap();
    std::fs::write(outside.join("file"), "secret").unwrap();
    fixture.driver.put_content(&path("/dir/file"), "inside".into()).await.unwrap();
    symlink(&outside, fixture.file("/spare")).unwrap();
    let swapping = Arc::new(std::sync::atomic::AtomicBool::new(true));
    let swapper = {
        let (swapping, dir, spare) = (Arc::clone(&swapping), fixture.file("/dir"), fixture.file("/spare"));
        std::thread::spawn(move || {
            while swapping.load(std::sync::atomic::Ordering::Relaxed) {
                let exchange = rustix::fs::RenameFlags::EXCHANGE;
                rustix::fs::renameat_with(rustix::fs::CWD, &dir, rustix::fs::CWD, &spare, exchange).unwrap();
            }
        })
    };
    let mut read = 0;
    for _ in 0..2000 {
        if let Ok(content) = fixture.driver.get_content(&path("/dir/file")).await {
            assert_eq!(content, "inside");
            read += 1;
        }
        _ = fixture.driver.put_content(&path("/dir/new"), "x".into()).await;
        _ = fixture.driver.delete(&path("/dir/new")).await;
    }
    swapping.store(false, std::sync::atomic::Ordering::Relaxed);
    swapper.join().unwrap();
    assert!(read > 0);
    assert_eq!(std::fs::read_dir(&outside).unwrap().count(), 1);
}

#[tokio::test]
async fn pipes_are_neither_files_nor_directories_and_block_nobody() {
    let fixture = Fixture::new(Durability::None);
    let at = &path("/pipe");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        fixture.file("/pipe"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::from_raw_mode(0o600),
        0,
    )
    .unwrap();
    assert_eq!(kind(fixture.driver.stat(at).await), ErrorKind::PermissionDenied);
    assert_eq!(kind(fixture.driver.get_content(at).await), ErrorKind::PermissionDenied);
    let written = fixture.driver.write_stream(at, 0, bytes("x"), WriteOptions::default()).await;
    assert_eq!(kind(written), ErrorKind::PermissionDenied);
    assert_eq!(fixture.driver.list(&StoragePath::root()).await.unwrap(), []);
}
