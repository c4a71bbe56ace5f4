//! The driver on a file system that forgets at a power cut what was not synced.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use bytes::Bytes;
use futures::{FutureExt, StreamExt, stream};
use holdall::{
    Completion, Durability, ErrorKind, Expected, FilesystemDriver, Precondition, StorageDriver, StoragePath,
    WalkOptions, WriteOptions,
};

use crate::support::forgetful::{ForgetfulFs, Loss};
use crate::support::rng::Rng;

const SEEDS: u64 = 12;

/// All files that there are to be.
type Model = BTreeMap<String, Vec<u8>>;

const NAMES: [&str; 9] = ["/a", "/b", "/d/a", "/d/b", "/d/e/a", "/d/e/b", "/x/y/z/a", "/x/y/b", "/x/c"];

fn path(text: &str) -> StoragePath {
    StoragePath::parse(text).unwrap()
}

fn content(rng: &mut Rng) -> Vec<u8> {
    let length = if rng.percent(20) { 0 } else { rng.below(20_000) };
    (0..length).map(|_| rng.below(255) as u8 + 1).collect()
}

#[tokio::test]
async fn what_was_acknowledged_or_reported_survives_power_cuts() {
    for seed in 0..SEEDS {
        let Some(mut forgetful) = ForgetfulFs::mount() else { return };
        let mut rng = Rng::new(seed);
        let root = forgetful.path().join("the/root");
        let mut model = Model::new();
        for _ in 0..5 {
            let driver = FilesystemDriver::open(&root).unwrap();
            for _ in 0..rng.below(30) {
                step(&driver, &mut model, &mut rng).await;
            }
            let open = interrupt(&driver, &root, &model, &mut rng).await;
            // As a killed process would leave it: nothing more is done by it.
            std::mem::forget(driver);
            let loss = match rng.below(3) {
                0 => Loss::All,
                1 => Loss::Some(rng.next()),
                _ => Loss::SomeWithHoles(rng.next()),
            };
            forgetful.power_cut(loss);
            check(&root, &mut model, open, loss, seed).await;
        }
    }
}

/// A call that ends well, and what it promises.
async fn step(driver: &FilesystemDriver, model: &mut Model, rng: &mut Rng) {
    let name = NAMES[rng.below(NAMES.len() as u64) as usize];
    let other = NAMES[rng.below(NAMES.len() as u64) as usize];
    let at = path(name);
    let new = content(rng);
    match rng.below(9) {
        0 | 1 => {
            driver.put_content(&at, new.clone().into()).await.unwrap();
            model.insert(name.into(), new);
        }
        2..5 => {
            let old = model.entry(name.into()).or_default();
            let offset = if rng.percent(70) { old.len() as u64 } else { rng.below(old.len() as u64 + 10) };
            let completion = if rng.percent(50) { Completion::OnCommit } else { Completion::EndOfStream };
            let options =
                WriteOptions { completion, ..WriteOptions::default() }.expecting(Expected::Size(old.len() as u64));
            let pieces = new.chunks(7000).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect::<Vec<_>>();
            driver.write_stream(&at, offset, stream::iter(pieces).boxed(), options).await.unwrap();
            old.resize(offset as usize, 0);
            old.extend(new);
        }
        5 => match model.remove(name) {
            Some(_) => driver.delete(&at).await.unwrap(),
            None => drop(driver.delete(&at).await.unwrap_err()),
        },
        6 => {
            let directory = ["/d", "/d/e", "/x", "/x/y"][rng.below(4) as usize];
            _ = driver.delete(&path(directory)).await;
            model.retain(|name, _| !name.starts_with(&format!("{directory}/")));
        }
        7 => {
            if let Some(content) = model.remove(name) {
                driver.move_to(&at, &path(other)).await.unwrap();
                model.insert(other.into(), content);
            }
        }
        _ => {
            match driver.get_versioned(&at).await {
                Ok((_, version)) => {
                    driver.put_content_if(&at, new.clone().into(), Precondition::Version(version)).await.unwrap()
                }
                Err(_) => driver.put_content_if(&at, new.clone().into(), Precondition::Absent).await.unwrap(),
            };
            model.insert(name.into(), new);
        }
    }
}

/// A write that never ends: the path, what it sent, and how much of the file was reported.
struct Open {
    name: &'static str,
    sent: Vec<u8>,
    reported: u64,
}

/// Begins a write, and leaves it where it is once it has begun, has written all, or that was reported, too.
async fn interrupt(driver: &FilesystemDriver, root: &Path, model: &Model, rng: &mut Rng) -> Open {
    let name = NAMES[rng.below(NAMES.len() as u64) as usize];
    let old = model.get(name).map_or(0, Vec::len) as u64;
    let sent = content(rng);
    let first = stream::iter([Ok(Bytes::from(sent.clone()))]).chain(stream::pending()).boxed();
    let (running, at) = (driver.clone(), path(name));
    let mut write = Box::pin(async move { running.write_stream(&at, old, first, WriteOptions::default()).await });
    let whole = old + sent.len() as u64;
    let file = root.join(&name[1..]);
    let mut reported = 0;
    match rng.below(3) {
        0 => _ = (&mut write).now_or_never(),
        1 => {
            while !std::fs::metadata(&file).is_ok_and(|file| file.len() == whole) {
                _ = (&mut write).now_or_never();
            }
        }
        _ => {
            while !driver.stat(&path(name)).await.is_ok_and(|info| info.size == whole) {
                _ = (&mut write).now_or_never();
            }
            reported = whole;
        }
    }
    std::mem::forget(write);
    Open { name, sent, reported }
}

async fn check(root: &Path, model: &mut Model, open: Open, loss: Loss, seed: u64) {
    let driver = FilesystemDriver::open(root).unwrap();
    let mut there = Model::new();
    let mut walk = driver.walk(&StoragePath::root(), WalkOptions::default());
    while let Some(info) = walk.next().await {
        let info = info.unwrap();
        if !info.is_dir {
            let content = driver.get_content(&info.path).await.unwrap();
            assert_eq!(driver.stat(&info.path).await.unwrap().size, content.len() as u64);
            there.insert(info.path.to_string(), content.to_vec());
        }
    }
    let acknowledged = model.remove(open.name);
    let found = there.remove(open.name);
    assert!(found.is_some() || acknowledged.is_none() && open.reported == 0, "seed {seed}: {} is gone", open.name);
    if let Some(found) = found {
        let mut whole = acknowledged.unwrap_or_default();
        let promised = whole.len().max(open.reported as usize);
        whole.extend(open.sent);
        assert!(found.len() >= promised, "seed {seed}: {} promised, {} found", promised, found.len());
        let known = if matches!(loss, Loss::SomeWithHoles(_)) { promised } else { found.len() };
        assert!(found[..known] == whole[..known], "seed {seed}: {} has other bytes", open.name);
        there.insert(open.name.into(), found.clone());
        model.insert(open.name.into(), found);
    }
    let names = |model: &Model| model.iter().map(|(name, content)| (name.clone(), content.len())).collect::<Vec<_>>();
    assert_eq!(names(&there), names(model), "seed {seed}");
    assert!(there == *model, "seed {seed}: other bytes");
    driver.sweep(std::time::Duration::ZERO).await.unwrap();
}

#[tokio::test]
async fn after_a_failed_sync_nothing_is_there_that_a_power_cut_could_take() {
    let Some(mut forgetful) = ForgetfulFs::mount() else { return };
    let (root, at) = (forgetful.path().join("root"), path("/d/file"));
    let driver = FilesystemDriver::open(&root).unwrap();
    let write = async |offset, text: &'static str| {
        let stream = stream::iter([Ok(Bytes::from_static(text.as_bytes()))]).boxed();
        driver.write_stream(&at, offset, stream, WriteOptions::default()).await
    };
    write(0, "kept, ").await.unwrap();
    forgetful.fail_next_sync();
    assert_eq!(write(6, "lost").await.unwrap_err().bytes_read(), 4);
    assert_eq!(driver.stat(&at).await.unwrap().size, 6);
    write(6, "and gone on from").await.unwrap();
    forgetful.power_cut(Loss::All);
    let driver = FilesystemDriver::open(&root).unwrap();
    assert_eq!(driver.get_content(&at).await.unwrap(), "kept, and gone on from");
}

/// A write that was killed after its bytes, and before its sync.
async fn kill_before_sync(driver: FilesystemDriver, root: &Path, options: WriteOptions) {
    let first = stream::iter([Ok(Bytes::from_static(b"lost"))]).chain(stream::pending()).boxed();
    let running = driver.clone();
    let mut write = Box::pin(async move { running.write_stream(&path("/file"), 0, first, options).await });
    while !std::fs::metadata(root.join("file")).is_ok_and(|file| file.len() == 4) {
        _ = (&mut write).now_or_never();
    }
    std::mem::forget(write);
    std::mem::forget(driver);
}

#[tokio::test]
async fn a_file_whose_sync_failed_after_a_kill_is_refused_until_it_is_written_anew() {
    let Some(mut forgetful) = ForgetfulFs::mount() else { return };
    let (root, at) = (forgetful.path().join("root"), path("/file"));
    let driver = FilesystemDriver::open(&root).unwrap();
    // As a killed write leaves it.
    std::fs::write(root.join("file"), "lost").unwrap();
    std::fs::set_permissions(root.join("file"), PermissionsExt::from_mode(0o1644)).unwrap();
    let write = async |offset, options| {
        let stream = stream::iter([Ok(Bytes::from_static(b"anew"))]).boxed();
        driver.write_stream(&at, offset, stream, options).await
    };
    forgetful.fail_next_sync();
    for _ in 0..2 {
        assert_eq!(driver.stat(&at).await.unwrap_err().kind(), ErrorKind::Backend);
        assert_eq!(driver.commit(&at).await.unwrap_err().kind(), ErrorKind::Backend);
        assert_eq!(driver.move_to(&at, &path("/moved")).await.unwrap_err().kind(), ErrorKind::Backend);
        assert_eq!(write(4, WriteOptions::default()).await.unwrap_err().kind(), ErrorKind::Backend);
        let other = WriteOptions::default().expecting(Expected::Size(9));
        assert_eq!(write(9, other).await.unwrap_err().kind(), ErrorKind::Backend);
        let absent = WriteOptions::default().expecting(Expected::Absent);
        assert_eq!(write(0, absent).await.unwrap_err().kind(), ErrorKind::Backend);
    }
    assert_eq!(driver.get_content(&at).await.unwrap(), "lost");
    assert_eq!(write(0, WriteOptions::default()).await.unwrap(), 4);
    assert_eq!(driver.stat(&at).await.unwrap().size, 4);
    forgetful.power_cut(Loss::All);
    assert_eq!(FilesystemDriver::open(&root).unwrap().get_content(&at).await.unwrap(), "anew");
}

#[tokio::test]
async fn what_was_reported_during_a_write_stays_when_its_sync_fails() {
    for durability in [Durability::EveryWrite, Durability::OnComplete] {
        let Some(mut forgetful) = ForgetfulFs::mount() else { return };
        let (root, at) = (forgetful.path().join("root"), path("/file"));
        let driver = FilesystemDriver::builder(&root).durability(durability).open().unwrap();
        let (feed, fed) = futures::channel::mpsc::unbounded();
        let (running, of) = (driver.clone(), at.clone());
        let options = WriteOptions { completion: Completion::AtSize(12), ..WriteOptions::default() };
        let mut write = Box::pin(async move { running.write_stream(&of, 0, fed.boxed(), options).await });
        feed.unbounded_send(Ok(Bytes::from_static(b"reported"))).unwrap();
        while !driver.stat(&at).await.is_ok_and(|file| file.size == 8) {
            _ = (&mut write).now_or_never();
        }
        feed.unbounded_send(Ok(Bytes::from_static(b"lost"))).unwrap();
        drop(feed);
        forgetful.fail_next_sync();
        assert_eq!(write.await.unwrap_err().kind(), ErrorKind::Backend);
        assert_eq!(driver.stat(&at).await.unwrap().size, 8);
        forgetful.power_cut(Loss::All);
        assert_eq!(FilesystemDriver::open(&root).unwrap().get_content(&at).await.unwrap(), "reported");
    }
}

#[tokio::test]
async fn a_sync_that_failed_for_a_look_fails_for_the_writer_too() {
    let Some(mut forgetful) = ForgetfulFs::mount() else { return };
    let (root, at) = (forgetful.path().join("root"), path("/file"));
    let driver = FilesystemDriver::open(&root).unwrap();
    driver.put_content(&at, "kept, ".into()).await.unwrap();
    let (feed, fed) = futures::channel::mpsc::unbounded();
    let (running, of) = (driver.clone(), at.clone());
    let mut write = Box::pin(async move { running.write_stream(&of, 6, fed.boxed(), WriteOptions::default()).await });
    feed.unbounded_send(Ok(Bytes::from_static(b"lost"))).unwrap();
    while !std::fs::metadata(root.join("file")).is_ok_and(|file| file.len() == 10) {
        _ = (&mut write).now_or_never();
    }
    forgetful.fail_next_sync();
    assert_eq!(driver.stat(&at).await.unwrap_err().kind(), ErrorKind::Backend);
    drop(feed);
    assert_eq!(write.await.unwrap_err().kind(), ErrorKind::Backend);
    assert_eq!(driver.stat(&at).await.unwrap().size, 6);
    forgetful.power_cut(Loss::All);
    assert_eq!(FilesystemDriver::open(&root).unwrap().get_content(&at).await.unwrap(), "kept, ");
}

#[tokio::test]
async fn a_file_that_is_reported_complete_stays_though_its_write_was_killed() {
    let Some(mut forgetful) = ForgetfulFs::mount() else { return };
    let root = forgetful.path().join("root");
    let open = || FilesystemDriver::builder(&root).durability(Durability::OnComplete).open().unwrap();
    let options = WriteOptions { completion: Completion::AtSize(4), ..WriteOptions::default() };
    kill_before_sync(open(), &root, options).await;
    assert_eq!(open().stat(&path("/file")).await.unwrap().size, 4);
    forgetful.power_cut(Loss::All);
    assert_eq!(open().stat(&path("/file")).await.unwrap().size, 4);
}

#[tokio::test]
async fn a_new_file_goes_when_the_sync_of_its_name_fails() {
    let Some(mut forgetful) = ForgetfulFs::mount() else { return };
    let (root, at) = (forgetful.path().join("root"), path("/file"));
    let driver = FilesystemDriver::open(&root).unwrap();
    let write = async || {
        let stream = stream::iter([Ok(Bytes::from_static(b"new"))]).boxed();
        driver.write_stream(&at, 0, stream, WriteOptions::default().expecting(Expected::Absent)).await
    };
    forgetful.fail_next_directory_sync();
    assert_eq!(write().await.unwrap_err().kind(), ErrorKind::Backend);
    assert_eq!(driver.stat(&at).await.unwrap_err().kind(), ErrorKind::PathNotFound);
    assert_eq!(write().await.unwrap(), 3);
    forgetful.power_cut(Loss::All);
    assert_eq!(FilesystemDriver::open(&root).unwrap().get_content(&at).await.unwrap(), "new");
}
