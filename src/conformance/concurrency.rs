//! Many at once, on several threads.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use futures::future::join_all;
use futures::{FutureExt, StreamExt};

use super::context::{Context, check_data, concat, path};
use super::data::{Data, Random, pieces};
use super::feed::OpenWrite;
use super::settings;
use crate::driver::{Expected, OnFailure, Precondition, ReadRange, StorageDriver, WriteOptions};
use crate::error::ErrorKind;

pub(super) async fn ten_readers_at_random_offsets(t: &mut Context) {
    let (data, size) = (Data(100), settings::readers());
    t.write("/file", 0, data.stream(0..size, 65_536)).await;
    let readers = (0..10).map(|number| {
        let driver = t.driver();
        tokio::spawn(async move {
            let mut random = Random::new(number);
            for _ in 0..3 {
                let offset = random.below(size);
                let stream = driver.read_stream(&path("/file"), offset).await.expect("it can be read by many");
                assert_eq!(check_data(stream, data, offset).await, size - offset, "a reader at {offset}");
            }
        })
    });
    for reader in join_all(readers).await {
        reader.expect("each reader reads what was written");
    }
}

pub(super) async fn thirty_two_streams_at_once(t: &mut Context) {
    let size = settings::stream();
    let writers = (0..32).map(|number| {
        let (driver, data) = (t.driver(), Data(200 + number));
        tokio::spawn(async move {
            let at = path(&format!("/dir-{}/{number}", number % 5));
            let written = driver.write_stream(&at, 0, data.stream(0..size, 50_000), WriteOptions::default()).await;
            assert_eq!(written.expect("streams on other paths don't disturb"), size);
        })
    });
    for writer in join_all(writers).await {
        writer.expect("each stream is written");
    }
    for number in 0..32 {
        t.assert_data(&format!("/dir-{}/{number}", number % 5), Data(200 + number), size).await;
    }
}

pub(super) async fn two_writers_never_mix(t: &mut Context) {
    for round in 0..20 {
        let at = format!("/file-{round}");
        let prefix = if round % 2 == 0 { 0 } else { 1000 };
        let start = Data(100);
        t.write(&at, 0, start.stream(0..prefix, 1000)).await;
        let writers = [Data(101), Data(102)].map(|data| {
            let (driver, at) = (t.driver(), path(&at));
            let size = 40_000 + data.0 * 10;
            tokio::spawn(async move {
                driver.write_stream(&at, prefix, data.stream(0..size, 3000), WriteOptions::default()).await
            })
        });
        let results = join_all(writers).await.into_iter().map(|result| result.expect("write_stream does not panic"));
        let mut done = 0;
        for result in results {
            match result {
                Ok(_) => done += 1,
                error => drop(t.refused(error, ErrorKind::Conflict, &at)),
            }
        }
        assert!(done > 0, "of two writers one wins");
        let (_, content) = t.read(&at, ReadRange::FULL).await;
        let content = concat(content).await;
        assert_eq!(start.mismatch(0, &content[..prefix as usize]), None, "what was there before stays");
        let new = &content[prefix as usize..];
        let whole = |data: Data| new.len() as u64 == 40_000 + data.0 * 10 && data.mismatch(0, new).is_none();
        assert!(whole(Data(101)) || whole(Data(102)), "the content is that of one of the two writers, never a mixture");
    }
}

pub(super) async fn of_two_appends_at_one_size_one_wins(t: &mut Context) {
    if !t.can().exclusive_writers {
        return t.skip("this driver does not keep a second writer out");
    }
    for on_failure in [OnFailure::KeepPrefix, OnFailure::Discard] {
        for round in 0..20 {
            let at = format!("/{on_failure:?}/{round}");
            let before = if round % 2 == 0 { 0 } else { 100 };
            if before > 0 {
                t.write(&at, 0, Data(103).stream(0..before, 100)).await;
            }
            let writers = [Data(104), Data(105), Data(106)].map(|data| {
                let (driver, at) = (t.driver(), path(&at));
                let options = WriteOptions { on_failure, expected: Expected::Size(before), ..WriteOptions::default() };
                tokio::spawn(async move {
                    (data, driver.write_stream(&at, before, data.stream(0..5000, 700), options).await)
                })
            });
            let mut winner = None;
            for result in join_all(writers).await {
                match result.expect("write_stream does not panic") {
                    (data, Ok(_)) if winner.is_none() => winner = Some(data),
                    (_, Ok(_)) => panic!("two writers that expected the same size both succeeded"),
                    (_, Err(error)) => {
                        let kinds = [ErrorKind::InvalidOffset, ErrorKind::Conflict];
                        assert!(kinds.contains(&error.kind()), "a loser is told: {error:?}");
                        t.assert_names(&error, &at);
                    }
                }
            }
            let winner = winner.expect("of writers that expect the right size one wins");
            let expected = [&Data(103).bytes(0..before)[..], &winner.bytes(0..5000)].concat();
            t.assert_content(&at, &expected).await;
        }
    }
}

pub(super) async fn of_two_creators_one_wins(t: &mut Context) {
    if !t.can().exclusive_writers {
        return t.skip("this driver does not keep a second writer out");
    }
    for round in 0..20 {
        let at = format!("/{round}");
        let writers = [Data(107), Data(108)].map(|data| {
            let (driver, at) = (t.driver(), path(&at));
            let options = WriteOptions::default().expecting(Expected::Absent);
            tokio::spawn(async move { (data, driver.write_stream(&at, 0, data.stream(0..5000, 700), options).await) })
        });
        let mut winner = None;
        for result in join_all(writers).await {
            match result.expect("write_stream does not panic") {
                (data, Ok(_)) if winner.is_none() => winner = Some(data),
                (_, Ok(_)) => panic!("two writers that expected no file both succeeded"),
                (_, Err(error)) => {
                    let kinds = [ErrorKind::AlreadyExists, ErrorKind::Conflict];
                    assert!(kinds.contains(&error.kind()), "a loser is told: {error:?}");
                }
            }
        }
        let winner = winner.expect("of two creators one wins");
        t.assert_data(&at, winner, 5000).await;
    }
}

pub(super) async fn of_two_open_writers_one_gets_a_conflict(t: &mut Context) {
    if !t.can().exclusive_writers {
        return t.skip("this driver does not keep a second writer out");
    }
    // The same instance, and another as another process has one.
    let (own, other) = (t.driver(), t.harness().open().await);
    let t = &*t;
    let one = async |number: u64, driver: Arc<dyn StorageDriver>, on_failure: OnFailure, offset: u64| {
        let (data, at) = (Data(109 + number), format!("/file-{number}"));
        t.write(&at, 0, data.stream(0..1000, 100)).await;
        let mut first = OpenWrite::start(t, &at, 1000, WriteOptions::default()).await;
        first.send(data.bytes(1000..2000)).await;
        let options = WriteOptions { on_failure, ..WriteOptions::default() };
        let second = driver.write_stream(&path(&at), offset, pieces([b"second"]), options).await;
        first.send(data.bytes(2000..3000)).await;
        let first = first.finish().await;
        if second.is_ok() {
            t.refused(first, ErrorKind::Conflict, &at);
            t.assert_content(&at, &[&data.bytes(0..offset)[..], b"second"].concat()).await;
        } else {
            t.refused(second, ErrorKind::Conflict, &at);
            assert_eq!(first.expect("the first writer is not disturbed"), 2000);
            t.assert_data(&at, data, 3000).await;
        }
        let size = t.size(&at).await;
        t.write(&at, size, pieces([b"later"])).await;
        assert_eq!(t.size(&at).await, size + 5, "the path is free again");
    };
    // Side by side, as each second writer may wait for a while.
    futures::join!(
        one(0, own.clone(), OnFailure::KeepPrefix, 0),
        one(1, own, OnFailure::Discard, 1000),
        one(2, other.clone(), OnFailure::KeepPrefix, 1000),
        one(3, other, OnFailure::Discard, 0),
    );
}

pub(super) async fn put_content_is_atomic(t: &mut Context) {
    /// One of 50 contents, of two sizes.
    fn content(number: u64) -> (Data, u64) {
        (Data(number % 50), if number.is_multiple_of(2) { 200_000 } else { 70_000 })
    }
    let put = async |driver: &dyn StorageDriver, number| {
        let (data, size) = content(number);
        driver.put_content(&path("/file"), data.bytes(0..size)).await.expect("a put works beside readers");
    };
    put(&*t.driver(), 0).await;
    // Puts count from the first read on, and reads go on until there were enough, so that they do meet.
    let (reads, puts, enough) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)), 60);
    let (driver, read, done) = (t.driver(), reads.clone(), puts.clone());
    let writer = tokio::spawn(async move {
        let mut number = 0;
        while read.load(Ordering::SeqCst) < enough || done.load(Ordering::SeqCst) < enough {
            let is_read = read.load(Ordering::SeqCst) > 0;
            number += 1;
            put(&*driver, number).await;
            done.fetch_add(u64::from(is_read), Ordering::SeqCst);
            tokio::task::yield_now().await;
        }
        number
    });
    while !writer.is_finished() {
        let (info, stream) = t.read("/file", ReadRange::FULL).await;
        let got = concat(stream).await;
        assert_eq!(info.size, got.len() as u64, "info and bytes are of the same version");
        let is = |(data, size): (Data, u64)| got.len() as u64 == size && data.mismatch(0, &got).is_none();
        assert!((0..50).any(|number| is(content(number))), "a reader sees one content or another, never a mixture");
        reads.fetch_add(1, Ordering::SeqCst);
        tokio::task::yield_now().await;
    }
    let (data, size) = content(writer.await.expect("the writer ends"));
    t.assert_data("/file", data, size).await;
}

pub(super) async fn racing_puts_leave_one_whole(t: &mut Context) {
    for round in 0..20 {
        let at = format!("/dir-{round}/file");
        let puts = (0..4).map(|number| {
            let (driver, at) = (t.driver(), path(&at));
            tokio::spawn(async move { driver.put_content(&at, Data(number).bytes(0..50_000 + number)).await })
        });
        for put in join_all(puts).await {
            put.expect("put_content does not panic").expect("a put works beside others");
        }
        let content = t.get(&at).await;
        let one = (0..4).any(|n| content.len() as u64 == 50_000 + n && Data(n).mismatch(0, &content).is_none());
        assert!(one, "of racing puts one stays, whole");
    }
}

pub(super) async fn files_come_and_go_in_one_directory(t: &mut Context) {
    let tasks = (0..4).map(|number| {
        let driver = t.driver();
        tokio::spawn(async move {
            let at = path(&format!("/dir/sub/{number}"));
            let options = WriteOptions::default();
            for _ in 0..50 {
                // Each may be the last to go and take the directory with it, while another is about to come.
                driver.put_content(&at, Bytes::from_static(b"put")).await.expect("a put beside deletions");
                driver.delete(&at).await.expect("a deletion beside others");
                driver.write_stream(&at, 0, pieces([b"a"]), options).await.expect("a write beside deletions");
                driver.delete(&at).await.expect("a deletion beside others");
            }
            driver.put_content(&at, Bytes::from_static(b"stays")).await.expect("a put beside deletions");
        })
    });
    for task in join_all(tasks).await {
        task.expect("files of the same directory don't disturb each other");
    }
    assert_eq!(t.list("/dir/sub").await, ["/dir/sub/0", "/dir/sub/1", "/dir/sub/2", "/dir/sub/3"]);
}

pub(super) async fn another_instance_sees_what_is_done(t: &mut Context) {
    let other = t.harness().open().await;
    t.put("/dir/file", "put").await;
    assert_eq!(other.get_content(&path("/dir/file")).await.expect("it is there"), "put");
    t.write("/dir/file", 3, pieces([b" and written"])).await;
    assert_eq!(other.stat(&path("/dir/file")).await.expect("it is there").size, 15);
    other
        .write_stream(&path("/dir/file"), 15, pieces([b"!"]), WriteOptions::default())
        .await
        .expect("it can be written");
    t.assert_content("/dir/file", b"put and written!").await;
    other.delete(&path("/dir")).await.expect("it can be deleted");
    t.assert_missing("/dir/file").await;
}

/// A write is open while something is done to its file; gives how the write ended.
async fn meanwhile<F: Future>(t: &Context, data: Data, doing: F) -> (F::Output, crate::Result<u64>) {
    t.write("/file", 0, data.stream(0..1000, 100)).await;
    let mut write = OpenWrite::start(t, "/file", 1000, WriteOptions::default()).await;
    write.send(data.bytes(1000..2000)).await;
    let done = doing.await;
    write.send(data.bytes(2000..3000)).await;
    (done, write.finish().await)
}

pub(super) async fn put_content_during_a_write_wins_or_is_refused(t: &mut Context) {
    if !t.can().exclusive_writers {
        return t.skip("this driver does not keep a second writer out");
    }
    let (data, driver, at) = (Data(110), t.driver(), path("/file"));
    match meanwhile(t, data, driver.put_content(&at, Bytes::from_static(b"put"))).await {
        (Ok(()), written) => {
            t.refused(written, ErrorKind::Conflict, "/file");
            t.assert_content("/file", b"put").await;
        }
        (refused, written) => {
            t.refused(refused, ErrorKind::Conflict, "/file");
            written.expect("the writer was not disturbed");
            t.assert_data("/file", data, 3000).await;
        }
    }
}

pub(super) async fn delete_during_a_write_wins_or_is_refused(t: &mut Context) {
    if !t.can().exclusive_writers {
        return t.skip("this driver does not keep a second writer out");
    }
    let (data, driver, at) = (Data(111), t.driver(), path("/file"));
    match meanwhile(t, data, driver.delete(&at)).await {
        (Ok(()), written) => {
            t.refused(written, ErrorKind::Conflict, "/file");
            t.assert_missing("/file").await;
        }
        (refused, written) => {
            t.refused(refused, ErrorKind::Conflict, "/file");
            written.expect("the writer was not disturbed");
            t.assert_data("/file", data, 3000).await;
        }
    }
}

pub(super) async fn a_file_made_anew_during_a_write_is_spared(t: &mut Context) {
    if !t.can().exclusive_writers {
        return t.skip("this driver does not keep a second writer out");
    }
    let (data, driver, at) = (Data(112), t.driver(), path("/file"));
    let again = async {
        driver.delete(&at).await?;
        driver.write_stream(&at, 0, pieces([b"new"]), WriteOptions::default()).await
    };
    match meanwhile(t, data, again).await {
        (Ok(_), written) => {
            t.refused(written, ErrorKind::Conflict, "/file");
            t.assert_content("/file", b"new").await;
        }
        (refused, _) => drop(t.refused(refused, ErrorKind::Conflict, "/file")),
    }
}

pub(super) async fn a_move_during_a_write_wins_or_is_refused(t: &mut Context) {
    if !t.can().exclusive_writers {
        return t.skip("this driver does not keep a second writer out");
    }
    let (data, driver) = (Data(113), t.driver());
    match meanwhile(t, data, driver.move_to(&path("/file"), &path("/moved"))).await {
        (Ok(()), written) => {
            t.refused(written, ErrorKind::Conflict, "/file");
            t.assert_missing("/file").await;
            let size = t.size("/moved").await;
            assert!((1000..=3000).contains(&size), "what was acknowledged moved along: {size}");
            t.assert_data("/moved", data, size).await;
        }
        (refused, written) => {
            t.refused(refused, ErrorKind::Conflict, "/file");
            written.expect("the writer was not disturbed");
            t.assert_data("/file", data, 3000).await;
        }
    }
}

pub(super) async fn a_move_onto_a_file_that_is_written_wins_or_is_refused(t: &mut Context) {
    if !t.can().exclusive_writers {
        return t.skip("this driver does not keep a second writer out");
    }
    t.put("/other", "moved here").await;
    let (data, driver) = (Data(114), t.driver());
    match meanwhile(t, data, driver.move_to(&path("/other"), &path("/file"))).await {
        (Ok(()), written) => {
            t.refused(written, ErrorKind::Conflict, "/file");
            t.assert_content("/file", b"moved here").await;
        }
        (refused, written) => {
            t.refused(refused, ErrorKind::Conflict, "/file");
            written.expect("the writer was not disturbed");
            t.assert_data("/file", data, 3000).await;
        }
    }
}

pub(super) async fn an_open_append_does_not_block_others(t: &mut Context) {
    let data = Data(115);
    t.write("/file", 0, data.stream(0..1000, 100)).await;
    t.put("/other", "other").await;
    let mut write = OpenWrite::start(t, "/file", 1000, WriteOptions::default()).await;
    write.send(data.bytes(1000..2000)).await;
    // Readers of the same file see what was there, and maybe more.
    let size = t.size("/file").await;
    assert!((1000..=2000).contains(&size), "stat beside a writer: {size}");
    let (_, stream) = t.read("/file", ReadRange::from(0..1000)).await;
    assert_eq!(check_data(stream, data, 0).await, 1000, "an append leaves what is there to its readers");
    assert_eq!(t.list("/").await, ["/file", "/other"]);
    // Others are written, moved and deleted.
    t.put("/other", "changed").await;
    t.write("/third", 0, pieces([b"third"])).await;
    t.driver().move_to(&path("/third"), &path("/fourth")).await.expect("other files can be moved");
    t.delete("/fourth").await;
    t.assert_content("/other", b"changed").await;
    assert_eq!(write.finish().await.expect("the stream ended well"), 1000);
    t.assert_data("/file", data, 2000).await;
}

pub(super) async fn a_failed_write_lets_the_next_begin(t: &mut Context) {
    let data = Data(116);
    let mut write = OpenWrite::start(t, "/file", 0, WriteOptions::default()).await;
    write.send(data.bytes(0..1000)).await;
    t.refused(write.fail().await, ErrorKind::Stream, "/file");
    let size = t.size("/file").await;
    let options = WriteOptions::default().expecting(Expected::Size(size));
    t.try_write("/file", size, data.stream(size..2000, 100), options).await.expect("the path is free again");
    t.assert_data("/file", data, 2000).await;
}

pub(super) async fn of_racing_conditional_puts_one_wins(t: &mut Context) {
    if !t.can().conditional_put {
        return t.skip("this driver has no conditional puts");
    }
    for round in 0..20 {
        let at = path(&format!("/{round}"));
        for replacing in [false, true] {
            let condition = match replacing {
                false => Precondition::Absent,
                true => Precondition::Version(t.driver().get_versioned(&at).await.expect("it is there").1),
            };
            let racers = (0..4_u8).map(|number| {
                let (driver, at, condition) = (t.driver(), at.clone(), condition.clone());
                tokio::spawn(async move { driver.put_content_if(&at, Bytes::from(vec![number; 100]), condition).await })
            });
            let results = join_all(racers).await;
            let mut winner = None;
            for (number, result) in results.into_iter().enumerate() {
                match result.expect("put_content_if does not panic") {
                    Ok(version) if winner.is_none() => winner = Some((number, version)),
                    Ok(_) => panic!("two conditional puts both succeeded"),
                    Err(error) => {
                        let kinds = [ErrorKind::AlreadyExists, ErrorKind::Conflict];
                        assert!(kinds.contains(&error.kind()), "a loser is told: {error:?}");
                    }
                }
            }
            let (winner, version) = winner.expect("of racing conditional puts one wins");
            let (content, now) = t.driver().get_versioned(&at).await.expect("it is there");
            assert_eq!((&content[..], &now), (&vec![winner as u8; 100][..], &version), "what the winner put is there");
        }
    }
}

pub(super) async fn a_walk_beside_writers_gives_what_stays(t: &mut Context) {
    for number in 0..600 {
        t.put(&format!("/dir/{number:04}"), "stays").await;
    }
    let driver = t.driver();
    let mut walk = driver.walk(&path("/"), Default::default());
    let mut stays = 0;
    while let Some(entry) = walk.next().await {
        let entry = entry.expect("a walk goes on beside writers");
        stays += u64::from(entry.path.as_str().starts_with("/dir/0") && entry.size == 5);
        if !entry.is_dir && entry.size == 5 {
            // A neighbour comes and goes behind the walk's back.
            let neighbour = format!("{}-", entry.path);
            t.put(&neighbour, "").await;
            t.delete(&neighbour).await;
        }
    }
    assert_eq!(stays, 600, "what stays all the time is walked once");
    assert!(walk.next().now_or_never().is_none_or(|next| next.is_none()), "a walk that ended stays ended");
}
