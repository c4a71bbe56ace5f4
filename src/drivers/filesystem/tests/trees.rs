//! Wide and deep trees, and what is swept.

use super::*;

async fn walked(driver: &FilesystemDriver, options: WalkOptions) -> Vec<String> {
    driver.walk(&StoragePath::root(), options).map(|info| info.unwrap().path.to_string()).collect().await
}

#[tokio::test]
async fn wide_directories_are_listed_and_walked_whole_and_in_order() {
    let fixture = Fixture::new(Durability::None);
    std::fs::create_dir(fixture.file("/wide")).unwrap();
    for number in 0..5000 {
        std::fs::write(fixture.file(&format!("/wide/{number}")), "").unwrap();
    }
    let mut expected: Vec<_> = (0..5000).map(|number| format!("/wide/{number}")).collect();
    expected.sort_unstable();
    let listed = fixture.driver.list(&path("/wide")).await.unwrap();
    assert!(listed.iter().map(StoragePath::as_str).eq(expected.iter().map(String::as_str)));
    let start_after = Some(FileInfo::file(path(&expected[4000]), 0, None));
    assert_eq!(walked(&fixture.driver, WalkOptions { start_after, ..WalkOptions::default() }).await, expected[4001..]);
    expected.insert(0, "/wide".into());
    assert_eq!(walked(&fixture.driver, WalkOptions::default()).await, expected);
    fixture.driver.delete(&path("/wide")).await.unwrap();
    assert_eq!(walked(&fixture.driver, WalkOptions::default()).await, Vec::<String>::new());
    assert_eq!(fixture.temporary(), Vec::<String>::new());
}

#[tokio::test]
async fn trees_deeper_than_any_path_are_walked_as_far_as_paths_go_and_deleted_whole() {
    let fixture = Fixture::new(Durability::None);
    // Each level goes by a short relative path, since no absolute one is long enough.
    let mut dir: rustix::fd::OwnedFd = std::fs::File::open(fixture.file("/~tmp").parent().unwrap()).unwrap().into();
    for _ in 0..3000 {
        rustix::fs::mkdirat(&dir, "d", rustix::fs::Mode::from_raw_mode(0o700)).unwrap();
        dir = rustix::fs::openat(&dir, "d", directory::DIRECTORY, rustix::fs::Mode::empty()).unwrap();
    }
    drop(dir);
    assert_eq!(walked(&fixture.driver, WalkOptions::default()).await.len(), StoragePath::MAX_LEN / 2);
    fixture.driver.delete(&path("/d")).await.unwrap();
    assert!(!fixture.file("/d").exists());
    assert_eq!(fixture.temporary(), Vec::<String>::new());
}

#[tokio::test]
async fn a_walk_that_starts_late_opens_no_directory_before() {
    let fixture = Fixture::new(Durability::None);
    for file in ["/a/1", "/a-b", "/b/1", "/b/2/x", "/c"] {
        fixture.driver.put_content(&path(file), "".into()).await.unwrap();
    }
    // Whoever opened this one would be refused, or find a link.
    std::fs::remove_dir_all(fixture.file("/a")).unwrap();
    std::fs::create_dir(fixture.file("/a")).unwrap();
    let opened = Arc::new(std::sync::Mutex::new(Vec::new()));
    let seen = Arc::clone(&opened);
    let options = WalkOptions {
        start_after: Some(FileInfo::file(path("/b/1"), 0, None)),
        descend: Some(Arc::new(move |directory| {
            seen.lock().unwrap().push(directory.to_string());
            true
        })),
    };
    assert_eq!(walked(&fixture.driver, options).await, ["/b/2", "/b/2/x", "/c"]);
    assert_eq!(*opened.lock().unwrap(), ["/b", "/b/2"]);
}

#[tokio::test]
async fn names_that_no_path_has_are_left_out_and_deleted_with_their_directory() {
    let fixture = Fixture::new(Durability::None);
    fixture.driver.put_content(&path("/dir/file"), "".into()).await.unwrap();
    std::fs::create_dir(fixture.file("/dir/not a path")).unwrap();
    std::fs::write(fixture.file("/dir/~hidden"), "").unwrap();
    use std::os::unix::ffi::OsStrExt;
    std::fs::write(fixture.file("/dir").join(std::ffi::OsStr::from_bytes(b"\xff")), "").unwrap();
    assert_eq!(fixture.driver.list(&path("/dir")).await.unwrap(), [path("/dir/file")]);
    assert_eq!(walked(&fixture.driver, WalkOptions::default()).await, ["/dir", "/dir/file"]);
    fixture.driver.delete(&path("/dir")).await.unwrap();
    assert!(!fixture.file("/dir").exists());
}

#[tokio::test]
async fn a_sweep_removes_what_is_dead_and_old_and_nothing_else() {
    let fixture = Fixture::new(Durability::None);
    let alive = fixture.another();
    let kept = alive.store.temp.file(rustix::fs::Mode::from_raw_mode(0o600)).unwrap();
    // As two crashes would leave it: one with the file of the instance, one without.
    std::fs::write(fixture.file("/~tmp/0123456789abcdef"), "").unwrap();
    std::fs::write(fixture.file("/~tmp/0123456789abcdef~0"), "x").unwrap();
    std::fs::create_dir_all(fixture.file("/~tmp/fedcba9876543210~1/sub/sub")).unwrap();
    std::fs::write(fixture.file("/~tmp/fedcba9876543210~1/sub/sub/file"), "x").unwrap();
    std::fs::write(fixture.file("/~tmp/foreign"), "").unwrap();
    let left = || std::fs::read_dir(fixture.file("/~tmp")).unwrap().count();
    let others = 2 + 2; // the living instances, the lock file, and the foreign file

    assert_eq!(fixture.driver.sweep(Duration::from_secs(3600)).await.unwrap(), 0, "it is not old");
    assert_eq!((fixture.temporary().len(), left()), (3, others + 4));
    assert_eq!(fixture.driver.sweep(Duration::ZERO).await.unwrap(), 2);
    assert_eq!((fixture.temporary().len(), left()), (1, others + 1));
    assert!(fixture.file("/~tmp/foreign").exists());
    drop(kept);
    assert_eq!(fixture.driver.sweep(Duration::ZERO).await.unwrap(), 0);
    drop(alive);
    assert_eq!(left(), others - 1);
}

#[tokio::test]
async fn concat_and_copies_work_in_and_out_of_the_kernel() {
    let fixture = Fixture::new(Durability::EveryWrite);
    let driver = &fixture.driver;
    let large = Bytes::from((0..700_000_u32).flat_map(u32::to_le_bytes).collect::<Vec<_>>());
    driver.put_content(&path("/large"), large.clone()).await.unwrap();
    driver.put_content(&path("/small"), "small".into()).await.unwrap();
    driver.put_content(&path("/empty"), "".into()).await.unwrap();
    let sources = ["/small", "/empty", "/large", "/small"].map(path);
    assert_eq!(driver.concat(&sources, &path("/small")).await.unwrap(), large.len() as u64 + 10);
    let content = driver.get_content(&path("/small")).await.unwrap();
    assert_eq!((&content[..5], &content[5..content.len() - 5]), (&b"small"[..], &large[..]));

    let into = tempfile::tempfile().unwrap();
    let from = std::fs::File::open(fixture.file("/large")).unwrap();
    assert_eq!(copy::copy_by_memory(&from, &into, 3, 0, large.len() as u64 - 1).unwrap(), large.len() as u64 - 1);
    let mut copied = Vec::new();
    std::io::Read::read_to_end(&mut &into, &mut copied).unwrap();
    assert_eq!((&copied[..3], &copied[3..]), (&[0; 3][..], &large[..large.len() - 1]));
    assert_eq!(fixture.temporary(), Vec::<String>::new());
}

#[test]
fn a_directory_that_became_a_file_while_it_was_deleted_goes_too() {
    let fixture = Fixture::new(Durability::None);
    std::fs::write(fixture.file("/a"), "new").unwrap();
    fixture.driver.store.delete_directory(&path("/a")).unwrap();
    assert!(!fixture.file("/a").exists());
    assert_eq!(fixture.temporary(), [""; 0]);
}
