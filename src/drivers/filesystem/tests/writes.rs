//! Locks, cut-off writes, and what they leave.

use futures::FutureExt;

use super::*;
use crate::driver::{Completion, Expected, OnFailure};

/// A write that has stored its first byte and waits for more.
async fn running(
    driver: &FilesystemDriver,
    at: &StoragePath,
    offset: u64,
    options: WriteOptions,
) -> (mpsc::UnboundedSender<Result<Bytes>>, tokio::task::JoinHandle<Result<u64>>) {
    let (feed, stream) = fed();
    let (driver, of) = (driver.clone(), at.clone());
    let file = driver.store.root.open_file(at, rustix::fs::OFlags::RDONLY);
    drop(file);
    feed.unbounded_send(Ok(Bytes::from_static(b"a"))).unwrap();
    let looker = driver.clone();
    let write = tokio::spawn(async move { driver.write_stream(&of, offset, stream, options).await });
    until(async || looker.stat(at).await.is_ok_and(|info| info.size == offset + 1)).await;
    (feed, write)
}

#[tokio::test]
async fn a_second_writer_waits_and_then_gets_a_conflict_until_the_first_ends() {
    let fixture = Fixture::new(Durability::EveryWrite);
    let at = &path("/dir/file");
    let (feed, write) = running(&fixture.driver, at, 0, WriteOptions::default()).await;
    let second = fixture.another();
    let error = second.write_stream(at, 1, bytes("b"), WriteOptions::default()).await.unwrap_err();
    assert_eq!((error.kind(), error.is_temporary()), (ErrorKind::Conflict, true));
    let waiting = {
        let second = Fixture::builder(&fixture.scratch).lock_timeout(Duration::from_secs(20)).open().unwrap();
        tokio::spawn(
            async move { second.write_stream(&path("/dir/file"), 2, bytes("c"), WriteOptions::default()).await },
        )
    };
    feed.unbounded_send(Ok(Bytes::from_static(b"b"))).unwrap();
    drop(feed);
    assert_eq!(write.await.unwrap().unwrap(), 2);
    assert_eq!(waiting.await.unwrap().unwrap(), 1);
    assert_eq!(second.get_content(at).await.unwrap(), "abc");
}

#[tokio::test]
async fn a_writer_whose_file_was_replaced_or_deleted_gets_a_conflict() {
    for durability in [Durability::EveryWrite, Durability::OnComplete, Durability::None] {
        let fixture = Fixture::new(durability);
        let at = &path("/dir/file");
        let other = fixture.another();
        for change in 0..4 {
            if change == 1 {
                other.put_content(&path("/new"), "new".into()).await.unwrap();
            }
            let (feed, write) = running(&fixture.driver, at, 0, WriteOptions::default()).await;
            match change {
                0 => other.put_content(at, "new".into()).await.unwrap(),
                1 => other.move_to(&path("/new"), at).await.unwrap(),
                2 => other.delete(at).await.unwrap(),
                _ => other.delete(&path("/dir")).await.unwrap(),
            }
            drop(feed);
            assert_eq!(kind(write.await.unwrap()), ErrorKind::Conflict, "{durability:?} {change}");
            match change {
                0 | 1 => assert_eq!(other.get_content(at).await.unwrap(), "new"),
                _ => assert_eq!(kind(other.stat(at).await), ErrorKind::PathNotFound),
            }
            if change < 2 {
                other.delete(at).await.unwrap();
            }
        }
    }
}

#[tokio::test]
async fn a_file_is_not_moved_while_it_is_written() {
    for durability in [Durability::EveryWrite, Durability::OnComplete, Durability::None] {
        let fixture = Fixture::new(durability);
        let (at, to, other) = (&path("/file"), &path("/moved"), fixture.another());
        let (feed, write) = running(&fixture.driver, at, 0, WriteOptions::default()).await;
        assert_eq!(kind(other.move_to(at, to).await), ErrorKind::Conflict, "{durability:?}");
        drop(feed);
        write.await.unwrap().unwrap();
        other.move_to(at, to).await.unwrap();
        assert_eq!(kind(other.stat(at).await), ErrorKind::PathNotFound);
    }
}

#[tokio::test]
async fn a_writer_whose_new_directories_were_deleted_gets_a_conflict() {
    let fixture = Fixture::new(Durability::EveryWrite);
    let (feed, stream) = fed();
    let driver = fixture.driver.clone();
    let write =
        tokio::spawn(
            async move { driver.write_stream(&path("/a/b/c/file"), 0, stream, WriteOptions::default()).await },
        );
    // Looked at from outside of the driver, so that nothing of the way is synced yet.
    until(async || fixture.file("/a/b/c/file").exists()).await;
    fixture.another().delete(&path("/a")).await.unwrap();
    feed.unbounded_send(Ok(Bytes::from_static(b"a"))).unwrap();
    drop(feed);
    assert_eq!(kind(write.await.unwrap()), ErrorKind::Conflict);
}

#[tokio::test]
async fn a_dropped_write_keeps_what_it_took_and_lets_go_of_the_lock() {
    for flavor in ["current", "slow"] {
        let fixture = Fixture::new(Durability::EveryWrite);
        let at = &path("/file");
        if flavor == "slow" {
            fixture.driver.store.pace.is_slow_for_good();
        }
        let (feed, write) = running(&fixture.driver, at, 0, WriteOptions::default()).await;
        write.abort();
        assert!(write.await.unwrap_err().is_cancelled());
        drop(feed);
        let another = fixture.another();
        until(async || {
            let options = WriteOptions::default().expecting(Expected::Size(1));
            another.write_stream(at, 1, bytes("b"), options).await.is_ok()
        })
        .await;
        assert_eq!(another.get_content(at).await.unwrap(), "ab");
        assert!(!durability::is_marked(&fixture, "/file"));
    }
}

#[test]
fn a_write_ends_well_although_its_runtime_goes() {
    let fixture = Fixture::new(Durability::EveryWrite);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let feed = runtime.block_on(async {
        let (feed, write) = running(&fixture.driver, &path("/file"), 0, WriteOptions::default()).await;
        drop(write);
        feed
    });
    drop(runtime);
    drop(feed);
    assert!(!durability::is_marked(&fixture, "/file"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let written = fixture.another().write_stream(&path("/file"), 1, bytes("b"), WriteOptions::default()).await;
        assert_eq!(written.unwrap(), 1);
    });
}

#[tokio::test]
async fn discard_leaves_no_trace_of_a_failed_stream_however_long() {
    let long: &'static str = Box::leak("x".repeat(write::STAGED + 1).into_boxed_str());
    let options = WriteOptions { on_failure: OnFailure::Discard, ..WriteOptions::default() };
    for text in ["short", long] {
        let fixture = Fixture::new(Durability::EveryWrite);
        let (driver, at) = (&fixture.driver, &path("/dir/file"));
        let error = driver.write_stream(at, 0, broken(text), options).await.unwrap_err();
        assert_eq!((error.kind(), error.bytes_read()), (ErrorKind::Stream, text.len() as u64));
        assert!(!fixture.file("/dir").exists());
        driver.put_content(at, "0123456789".into()).await.unwrap();
        assert_eq!(kind(driver.write_stream(at, 5, broken(text), options).await), ErrorKind::Stream);
        assert_eq!(driver.get_content(at).await.unwrap(), "0123456789");
        let at_size = WriteOptions { completion: Completion::AtSize(6), ..options };
        assert_eq!(kind(driver.write_stream(at, 5, bytes(text), at_size).await), ErrorKind::SizeExceeded);
        assert_eq!(driver.get_content(at).await.unwrap(), "0123456789");
        assert_eq!(fixture.temporary(), Vec::<String>::new());
        assert_eq!(driver.write_stream(at, 5, bytes(text), options).await.unwrap(), text.len() as u64);
        assert_eq!(driver.get_content(at).await.unwrap(), format!("01234{text}"));
        assert_eq!(driver.write_stream(&path("/new/file"), 2, bytes(text), options).await.unwrap(), text.len() as u64);
        assert_eq!(driver.get_content(&path("/new/file")).await.unwrap(), format!("\0\0{text}"));
        assert_eq!(fixture.temporary(), Vec::<String>::new());
    }
}

#[tokio::test]
async fn discard_holds_the_lock_from_the_start() {
    let fixture = Fixture::new(Durability::None);
    let at = &path("/file");
    fixture.driver.put_content(at, "0".into()).await.unwrap();
    let options = WriteOptions { on_failure: OnFailure::Discard, ..WriteOptions::default() };
    let (feed, stream) = fed();
    let driver = fixture.driver.clone();
    let write = tokio::spawn(async move { driver.write_stream(&path("/file"), 1, stream, options).await });
    until(async || {
        let file = std::fs::File::open(fixture.file("/file")).unwrap();
        file.try_lock().is_err()
    })
    .await;
    let written = fixture.another().write_stream(at, 1, bytes("x"), WriteOptions::default()).await;
    assert_eq!(kind(written), ErrorKind::Conflict);
    feed.unbounded_send(Ok(Bytes::from_static(b"1"))).unwrap();
    drop(feed);
    assert_eq!(write.await.unwrap().unwrap(), 1);
    assert_eq!(fixture.driver.get_content(at).await.unwrap(), "01");
}

#[tokio::test]
async fn a_refused_write_makes_nothing() {
    let fixture = Fixture::new(Durability::EveryWrite);
    let (driver, at) = (&fixture.driver, &path("/dir/sub/file"));
    let expecting = |expected| WriteOptions::default().expecting(expected);
    let gap = driver.capabilities().max_gap + 1;
    assert_eq!(
        kind(driver.write_stream(at, 3, bytes("x"), expecting(Expected::Size(3))).await),
        ErrorKind::InvalidOffset
    );
    assert_eq!(
        kind(driver.write_stream(at, gap, bytes("x"), expecting(Expected::Absent)).await),
        ErrorKind::InvalidOffset
    );
    assert_eq!(
        kind(driver.write_stream(at, gap, bytes("x"), expecting(Expected::Any)).await),
        ErrorKind::InvalidOffset
    );
    assert_eq!(kind(driver.move_to(at, &path("/other/file")).await), ErrorKind::PathNotFound);
    assert!(!fixture.file("/dir").exists() && !fixture.file("/other").exists());
    driver.put_content(&path("/file"), "x".into()).await.unwrap();
    std::fs::create_dir(fixture.file("/taken")).unwrap();
    assert_eq!(kind(driver.move_to(&path("/file"), &path("/taken")).await), ErrorKind::IsADirectory);
    assert_eq!(kind(driver.move_to(&path("/file"), &path("/file/below/it")).await), ErrorKind::NotADirectory);
    assert_eq!(driver.get_content(&path("/file")).await.unwrap(), "x");
}

#[tokio::test]
async fn a_reader_of_a_file_that_is_rewritten_gets_an_error_and_of_one_that_grows_none() {
    let fixture = Fixture::new(Durability::None);
    let (driver, at) = (&fixture.driver, &path("/file"));
    let piece = usize::try_from(read::PIECE).unwrap();
    let content = vec![b'1'; 3 * piece];
    driver.put_content(at, content.clone().into()).await.unwrap();

    let mut growing = driver.read_stream(at, 0).await.unwrap();
    assert_eq!(growing.next().await.unwrap().unwrap().len(), piece);
    driver.write_stream(at, content.len() as u64, bytes("more"), WriteOptions::default()).await.unwrap();
    let rest: Vec<_> = growing.collect().await;
    assert_eq!(rest.into_iter().map(|piece| piece.unwrap().len()).sum::<usize>(), 2 * piece);

    let mut rewritten = driver.read_stream(at, 0).await.unwrap();
    assert_eq!(rewritten.next().await.unwrap().unwrap().len(), piece);
    let again = stream::iter([Ok(vec![b'2'; 3 * piece + 4].into())]).boxed();
    driver.write_stream(at, 0, again, WriteOptions::default()).await.unwrap();
    assert_eq!(kind(rewritten.next().await.unwrap()), ErrorKind::Conflict);

    let mut replaced = driver.read_stream(at, 0).await.unwrap();
    assert!(replaced.next().await.unwrap().is_ok());
    driver.put_content(at, "new".into()).await.unwrap();
    let rest: Vec<_> = replaced.map(Result::unwrap).collect().await;
    assert!(rest.iter().all(|piece| piece.iter().all(|byte| *byte == b'2')));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn small_reads_beside_appends_and_replacements_are_whole() {
    let fixture = Fixture::new(Durability::None);
    let at = path("/dir/file");
    fixture.driver.put_content(&at, "".into()).await.unwrap();
    let writer = {
        let (driver, at) = (fixture.another(), at.clone());
        tokio::spawn(async move {
            for round in 0..200_u8 {
                driver.put_content(&at, vec![round; 1000].into()).await.unwrap();
                let more = stream::iter([Ok(vec![round; 500].into())]).boxed();
                driver.write_stream(&at, 1000, more, WriteOptions::default()).await.unwrap();
            }
        })
    };
    while !writer.is_finished() {
        let (info, stream) = fixture.driver.read(&at, ReadRange::FULL).await.unwrap();
        let content = crate::driver::collect(stream).await.unwrap();
        assert_eq!(info.size, content.len() as u64);
        assert!([0, 1000, 1500].contains(&content.len()), "{}", content.len());
        assert!(content.windows(2).all(|pair| pair[0] == pair[1]));
    }
    writer.await.unwrap();
}

#[tokio::test]
async fn a_look_at_a_file_just_made_does_not_lose_it_to_its_maker() {
    let fixture = Fixture::new(Durability::EveryWrite);
    let store = &fixture.driver.store;
    let at = &path("/file");
    let absent = WriteOptions::default().expecting(Expected::Absent);
    // As a stat would lock it, between its making and its locking.
    let file = store.root.open_name(
        &store.root.parent(at).unwrap(),
        "file",
        rustix::fs::OFlags::CREATE | rustix::fs::OFlags::RDWR,
        store.new_mode(),
    );
    let locked = file.unwrap();
    assert!(lock::try_exclusive(&locked).unwrap());
    let newborn = target::Newborn::for_test(store, at);
    let target::Found::Busy(Some(newborn)) = store.find_target(at, 0, absent, true, Some(newborn)).unwrap() else {
        panic!("it is locked, and its maker knows that it made it");
    };
    assert_eq!(kind(store.find_target(at, 0, absent, true, None).map(drop)), ErrorKind::AlreadyExists);
    drop(locked);
    let target::Found::Target(target) = store.find_target(at, 0, absent, true, Some(newborn)).unwrap() else {
        panic!("nobody has it locked");
    };
    drop(target);
}

#[test]
fn what_was_dropped_before_it_was_put_in_place_is_never_put_there() {
    let fixture = Fixture::new(Durability::EveryWrite);
    let runtime = tokio::runtime::Builder::new_current_thread().max_blocking_threads(1).enable_all().build().unwrap();
    runtime.block_on(async {
        let (driver, at) = (&fixture.driver, &path("/file"));
        driver.put_content(&path("/source"), "source".into()).await.unwrap();
        driver.put_content(at, "newest".into()).await.unwrap();
        let (_, version) = driver.get_versioned(at).await.unwrap();
        let sources = [path("/source")];
        // The pool is busy, so that all of these wait in its queue when they are dropped.
        let (release, wait) = std::sync::mpsc::channel::<()>();
        let busy = tokio::task::spawn_blocking(move || wait.recv());
        assert!(driver.put_content(at, "old".into()).now_or_never().is_none());
        assert!(driver.concat(&sources, at).now_or_never().is_none());
        assert!(driver.move_to(&sources[0], at).now_or_never().is_none());
        let version = Precondition::Version(version);
        assert!(driver.put_content_if(at, "old".into(), version).now_or_never().is_none());
        assert!(driver.put_content_if(&path("/new"), "old".into(), Precondition::Absent).now_or_never().is_none());
        release.send(()).unwrap();
        busy.await.unwrap().unwrap();
        // Whatever was queued is over once this is.
        tokio::task::spawn_blocking(|| ()).await.unwrap();
        assert_eq!(driver.get_content(at).await.unwrap(), "newest");
        assert_eq!(driver.get_content(&sources[0]).await.unwrap(), "source");
        assert_eq!(kind(driver.stat(&path("/new")).await), ErrorKind::PathNotFound);
        assert_eq!(fixture.temporary(), Vec::<String>::new());
    });
}

#[tokio::test]
async fn many_reads_at_once_take_shorter_pieces() {
    let fixture = Fixture::new(Durability::None);
    let (driver, at) = (&fixture.driver, &path("/file"));
    let content = Bytes::from((0..500_000_u32).flat_map(u32::to_le_bytes).collect::<Vec<_>>());
    driver.put_content(at, content.clone()).await.unwrap();
    let mut reads: Vec<_> = futures::future::join_all((0..256).map(|_| driver.read_stream(at, 0)))
        .await
        .into_iter()
        .map(Result::unwrap)
        .collect();
    for read in &mut reads {
        assert_eq!(read.next().await.unwrap().unwrap().len(), 128 * 1024);
    }
    let mut last = reads.pop().unwrap();
    drop(reads);
    assert_eq!(last.next().await.unwrap().unwrap().len() as u64, read::PIECE);
    assert_eq!(driver.get_content(at).await.unwrap(), content);
}

#[tokio::test]
async fn a_batch_has_so_many_pieces_at_most() {
    let ready = stream::iter((0..5000).map(|_| Ok(Bytes::from_static(b"a")))).boxed();
    let mut source = write::Source::for_test(ready);
    let (mut pieces, mut all) = (Vec::new(), 0);
    while all < 5000 {
        source.fill(&mut pieces, 1 << 20).await;
        assert!((1..=1024).contains(&pieces.len()));
        all += pieces.len();
    }
}
