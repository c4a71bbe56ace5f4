//! Two actors on one path, and their requests in every order with a few changes from one to the other.

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use holdall::drivers::{S3Config, S3Driver};
use holdall::{Completion, Expected, StorageDriver, WriteOptions};

use super::{KIB, config, open, path, stream};
use crate::support::s3::{Choices, Config, Outcome, S3Server};

const PART: u64 = 4 * KIB;
/// How often the turn may pass from an actor that could go on to the other.
const CHANGES: usize = 2;

fn server() -> S3Server {
    let server = S3Server::new(Config { public: true, ..Config::aws() }.scaled(PART));
    // To a sweep all is old, whether or not a second has passed since it began.
    server.set_back(Duration::from_secs(3600));
    server
}

fn tiny(server: &S3Server, client: &str) -> S3Config {
    let config = config(server).min_part_size(PART).part_size(PART).inline_limit(100).copy_part_size(2 * PART);
    config.http_connector(Arc::new(server.connector(client)))
}

/// What an actor does, one call after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Do {
    /// Appends so many bytes of the actor's own at this offset.
    Append(u64, u64),
    /// As `Append`, and that is all.
    Last(u64, u64),
    Commit,
    Delete,
    Put,
    /// Away from here.
    Move,
    Sweep,
}

/// What was acknowledged: by whom, from, to.
type Acknowledged = Rc<RefCell<Vec<(u8, u64, u64)>>>;

async fn act(driver: S3Driver, who: u8, calls: &[Do], acknowledged: Acknowledged) {
    let at = path("/file");
    for call in calls {
        match *call {
            Do::Append(from, length) | Do::Last(from, length) => {
                let completion = match call {
                    Do::Last(..) => Completion::AtSize(from + length),
                    _ => Completion::OnCommit,
                };
                let options = WriteOptions { completion, ..WriteOptions::default() }.expecting(Expected::Size(from));
                let bytes = stream(&vec![who; length as usize]);
                if driver.write_stream(&at, from, bytes, options).await.is_ok() {
                    acknowledged.borrow_mut().push((who, from, from + length));
                }
            }
            Do::Commit => drop(driver.commit(&at).await),
            Do::Delete => drop(driver.delete(&at).await),
            Do::Put => drop(driver.put_content(&at, vec![who; 7].into()).await),
            Do::Move => drop(driver.move_to(&at, &path("/moved")).await),
            Do::Sweep => drop(driver.sweep(Duration::ZERO).await),
        }
    }
}

/// Runs two actors; `choose` says who goes on where both could. Gives what was acknowledged.
async fn race(server: &S3Server, scripts: [&[Do]; 2], choices: &mut Choices) -> Vec<(u8, u64, u64)> {
    let acknowledged = Acknowledged::default();
    let names = ["a", "b"];
    let drivers = [open(tiny(server, "a")).await, open(tiny(server, "b")).await];
    let gate = server.gate();
    let mut actors: Vec<Option<Pin<Box<dyn Future<Output = ()> + '_>>>> = drivers
        .into_iter()
        .zip(scripts)
        .zip([b'a', b'b'])
        .map(|((driver, calls), who)| Some(Box::pin(act(driver, who, calls, acknowledged.clone())) as _))
        .collect();
    let (mut turn, mut changes) = (0, CHANGES);
    loop {
        // Both go on as far as they can without an answer; a pause before another try passes in no time.
        let mut rest = Box::pin(tokio::time::sleep(Duration::from_secs(6)));
        poll_fn(|cx| {
            for actor in &mut actors {
                if actor.as_mut().is_some_and(|future| future.as_mut().poll(cx).is_ready()) {
                    *actor = None;
                }
            }
            let blocked = actors
                .iter()
                .zip(names)
                .all(|(actor, name)| actor.is_none() || gate.waiting().iter().any(|call| call.client == name));
            if blocked { Poll::Ready(()) } else { rest.as_mut().poll(cx) }
        })
        .await;
        let ready: Vec<usize> = (0..2).filter(|n| actors[*n].is_some()).collect();
        let next = match ready.as_slice() {
            [] => break,
            [one] => *one,
            // Going on costs nothing, giving the turn away does.
            _ if changes == 0 => turn,
            _ => match choices.choose(2) {
                0 => turn,
                _ => {
                    changes -= 1;
                    1 - turn
                }
            },
        };
        turn = next;
        if let Some(pending) = gate.try_next(names[next]) {
            pending.release(Outcome::Do);
        }
    }
    drop(gate);
    acknowledged.take()
}

/// Before the actors: so many bytes `s`, uncommitted, of which a move leaves none; then every order. `spoils`: a call may
/// rightly take what was acknowledged.
async fn explore(start: u64, scripts: [&[Do]; 2], spoils: bool) {
    let mut choices = Choices::new();
    while choices.next_run() {
        let server = server();
        if start > 0 {
            let driver = open(tiny(&server, "start")).await;
            act(driver, b's', &[Do::Append(0, start)], Acknowledged::default()).await;
        }
        let acknowledged = race(&server, scripts, &mut choices).await;
        let (at, moved) = (path("/file"), path("/moved"));
        let start = if scripts.concat().contains(&Do::Move) { 0 } else { start };
        let driver = open(tiny(&server, "after")).await;
        let size = driver.stat(&at).await.map_or(0, |info| info.size);
        let told = format!("{scripts:?} by {:?}: {acknowledged:?}, {size}", choices.path());
        if !spoils {
            let end = acknowledged.iter().map(|(_, _, end)| *end).max().unwrap_or(start).max(start);
            assert!(size >= end, "acknowledged bytes are gone: {told}");
        }
        // It can be ended, and then holds what was acknowledged.
        if driver.commit(&at).await.is_ok() {
            let content = driver.get_content(&at).await.unwrap();
            assert_eq!(content.len() as u64, size, "{told}");
            if !spoils {
                assert!(content[..start as usize].iter().all(|byte| *byte == b's'), "{told}");
                for (who, from, to) in &acknowledged {
                    let kept = &content[*from as usize..*to as usize];
                    assert!(kept.iter().all(|byte| byte == who), "another's bytes are there: {told}");
                }
            }
            driver.delete(&at).await.unwrap();
        }
        if let Ok(content) = driver.get_content(&moved).await {
            assert!(content.windows(2).all(|two| two[0] == two[1]), "a mixture was moved: {told}");
            driver.delete(&moved).await.unwrap();
        }
        server.age(Duration::from_secs(7200));
        driver.sweep(Duration::from_secs(3600)).await.unwrap();
        assert_eq!((server.keys(), server.uploads().len()), (vec![], 0), "left behind: {told}");
    }
    println!("{scripts:?}: {} orders", choices.runs());
}

macro_rules! races {
    ($($name:ident: $start:expr, $one:expr, $other:expr, $spoils:expr;)+) => {
        $(#[tokio::test(start_paused = true)]
        async fn $name() {
            explore($start, [&$one, &$other], $spoils).await;
        })+
    };
}

use Do::{Append, Commit, Delete, Last, Move, Put, Sweep};

races! {
    two_creators: 0, [Append(0, 50)], [Append(0, 60)], false;
    // A short whole file is as a put_content to an uncommitted one.
    a_creator_and_a_whole_file: 0, [Append(0, 50), Append(50, 500)], [Last(0, 300)], true;
    two_appends: 50, [Append(50, 300), Append(350, 20)], [Append(50, 400)], false;
    two_appends_of_parts: 50, [Append(50, 9000), Append(9050, 20)], [Append(50, 5000)], false;
    an_append_and_a_commit: 300, [Append(300, 5000), Append(5300, 10)], [Commit], false;
    two_commits: 5000, [Commit], [Commit], false;
    a_last_append_and_a_commit: 300, [Last(300, 5000)], [Commit], false;
    an_append_and_a_delete: 300, [Append(300, 5000), Append(5300, 10)], [Delete, Append(0, 50)], true;
    a_commit_and_a_delete: 5000, [Commit], [Delete, Append(0, 50)], true;
    an_append_and_a_put: 300, [Append(300, 5000), Commit], [Put], true;
    an_append_and_a_sweep: 300, [Append(300, 5000), Append(5300, 10)], [Sweep], true;
    a_commit_and_a_sweep: 5000, [Commit], [Sweep], true;
    a_delete_and_a_put: 300, [Delete], [Put], true;
    // What is put over the uncommitted file is moved, and hides it no more.
    a_move_and_who_comes_after: 300, [Put, Move], [Append(0, 50), Append(50, 60)], false;
    a_move_and_an_append: 300, [Put, Move], [Append(300, 5000)], true;
    a_move_and_a_delete: 5000, [Put, Move], [Delete, Append(0, 50)], true;
    a_move_and_a_sweep: 5000, [Put, Move], [Sweep], true;
}
