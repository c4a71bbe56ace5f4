//! Conditional replacement, by several instances at once.

use super::*;
use crate::driver::{Expected, Precondition};

#[tokio::test]
async fn every_change_makes_a_version_stale() {
    let fixture = Fixture::new(Durability::None);
    let (driver, at) = (&fixture.driver, &path("/dir/file"));
    driver.put_content(at, "abc".into()).await.unwrap();
    let put = async |content: &'static str| driver.put_content(at, content.into()).await.unwrap();
    let write = async |offset, text| {
        driver.write_stream(at, offset, bytes(text), WriteOptions::default()).await.unwrap();
    };
    for change in 0..6 {
        let (content, version) = driver.get_versioned(at).await.unwrap();
        assert_eq!(content, "abc");
        assert_eq!(driver.get_versioned(at).await.unwrap().1, version);
        match change {
            0 => put("abc").await,
            1 => {
                write(3, "d").await;
                write(3, "").await;
            }
            2 => write(0, "abc").await,
            3 => {
                driver.move_to(at, &path("/elsewhere")).await.unwrap();
                put("abc").await;
            }
            4 => {
                driver.delete(at).await.unwrap();
                put("abc").await;
            }
            _ => _ = driver.put_content_if(at, "abc".into(), Precondition::Version(version.clone())).await.unwrap(),
        }
        let stale = driver.put_content_if(at, "stale".into(), Precondition::Version(version)).await;
        assert_eq!(kind(stale), ErrorKind::Conflict, "{change}");
        assert_eq!(driver.get_content(at).await.unwrap(), "abc");
    }
    assert_eq!(fixture.temporary(), Vec::<String>::new());
}

#[tokio::test]
async fn the_version_that_a_put_gave_is_the_one_that_a_look_gives() {
    let fixture = Fixture::new(Durability::EveryWrite);
    let (driver, at) = (&fixture.driver, &path("/dir/file"));
    let first = driver.put_content_if(at, "1".into(), Precondition::Absent).await.unwrap();
    assert_eq!(driver.get_versioned(at).await.unwrap(), ("1".into(), first.clone()));
    assert_eq!(kind(driver.put_content_if(at, "x".into(), Precondition::Absent).await), ErrorKind::AlreadyExists);
    let second = driver.put_content_if(at, "2".into(), Precondition::Version(first.clone())).await.unwrap();
    assert_eq!(driver.get_versioned(at).await.unwrap(), ("2".into(), second));
    let gone = driver.put_content_if(&path("/none/file"), "x".into(), Precondition::Version(first)).await;
    assert_eq!(kind(gone), ErrorKind::Conflict);
    let directory = driver.put_content_if(&path("/dir"), "x".into(), Precondition::Absent).await;
    assert_eq!(kind(directory), ErrorKind::IsADirectory);
    assert!(!fixture.file("/none").exists());
}

#[tokio::test]
async fn a_version_waits_for_a_writer() {
    let fixture = Fixture::new(Durability::None);
    let (driver, at) = (&fixture.driver, &path("/file"));
    driver.put_content(at, "abc".into()).await.unwrap();
    let (_, version) = driver.get_versioned(at).await.unwrap();
    let (feed, stream) = fed();
    let writer = fixture.another();
    let write =
        tokio::spawn(async move { writer.write_stream(&path("/file"), 3, stream, WriteOptions::default()).await });
    feed.unbounded_send(Ok(Bytes::from_static(b"d"))).unwrap();
    until(async || driver.stat(at).await.unwrap().size == 4).await;
    assert_eq!(kind(driver.get_versioned(at).await), ErrorKind::Conflict);
    let put = driver.put_content_if(at, "x".into(), Precondition::Version(version)).await;
    assert_eq!(kind(put), ErrorKind::Conflict);
    drop(feed);
    write.await.unwrap().unwrap();
    assert_eq!(driver.get_versioned(at).await.unwrap().0, "abcd");
}

/// Increments by reading and conditionally replacing, on instances of their own: none gets lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_increment_is_lost() {
    let fixture = Fixture::new(Durability::None);
    fixture.driver.put_content(&path("/counter"), "0".into()).await.unwrap();
    let counters = (0..4).map(|_| {
        let driver = Fixture::builder(&fixture.scratch)
            .durability(Durability::None)
            .lock_timeout(Duration::from_secs(20))
            .open()
            .unwrap();
        tokio::spawn(async move {
            let mut done = 0;
            while done < 100 {
                let (content, version) = driver.get_versioned(&path("/counter")).await.unwrap();
                let count: u64 = std::str::from_utf8(&content).unwrap().parse().unwrap();
                let next = (count + 1).to_string().into();
                match driver.put_content_if(&path("/counter"), next, Precondition::Version(version)).await {
                    Ok(_) => done += 1,
                    Err(error) => assert_eq!(error.kind(), ErrorKind::Conflict),
                }
            }
        })
    });
    for counter in counters.collect::<Vec<_>>() {
        counter.await.unwrap();
    }
    assert_eq!(fixture.driver.get_content(&path("/counter")).await.unwrap(), "400");
}

/// Deletes and plain replacements beside conditional ones: after each deletion nothing comes back by itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_conditional_put_never_brings_back_what_was_deleted() {
    let fixture = Fixture::new(Durability::None);
    let at = path("/file");
    let running = Arc::new(std::sync::atomic::AtomicBool::new(true));
    let renewer = {
        let (driver, at, running) = (fixture.another(), at.clone(), Arc::clone(&running));
        tokio::spawn(async move {
            while running.load(std::sync::atomic::Ordering::Relaxed) {
                if let Ok((content, version)) = driver.get_versioned(&at).await {
                    _ = driver.put_content_if(&at, content, Precondition::Version(version)).await;
                }
                tokio::task::yield_now().await;
            }
        })
    };
    for round in 0..500_u32 {
        let content = Bytes::from(round.to_string());
        fixture.driver.put_content(&at, content.clone()).await.unwrap();
        assert_eq!(fixture.driver.get_content(&at).await.unwrap(), content);
        fixture.driver.delete(&at).await.unwrap();
        assert_eq!(kind(fixture.driver.stat(&at).await), ErrorKind::PathNotFound);
    }
    running.store(false, std::sync::atomic::Ordering::Relaxed);
    renewer.await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_that_create_one_wins() {
    let fixture = Fixture::new(Durability::None);
    for round in 0..50 {
        let at = path(&format!("/dir/{round}"));
        let racers = (0..4).map(|racer| {
            let (driver, at) = (fixture.another(), at.clone());
            tokio::spawn(async move {
                if racer % 2 == 0 {
                    driver.put_content_if(&at, "x".into(), Precondition::Absent).await.map(drop)
                } else {
                    let absent = WriteOptions::default().expecting(Expected::Absent);
                    driver.write_stream(&at, 0, bytes("x"), absent).await.map(drop)
                }
            })
        });
        let mut won = 0;
        for racer in racers.collect::<Vec<_>>() {
            match racer.await.unwrap() {
                Ok(()) => won += 1,
                Err(error) => {
                    assert!(matches!(error.kind(), ErrorKind::AlreadyExists | ErrorKind::Conflict), "{error:?}");
                }
            }
        }
        assert_eq!(won, 1);
    }
}
