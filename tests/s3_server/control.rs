//! Faults, the record, and looking at what is there.

use std::time::Duration;

use http::Method;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};

use super::{get, small, store};
use crate::support::s3::{Code, Count, Failure, Op, Outcome, Rule};

#[tokio::test]
async fn a_fault_hits_before_or_after_the_engine() {
    let server = small();
    let store = store(&server, "a");
    let path = Path::from("x");
    let hits = server.fault(Rule::on(Op::PutObject, Outcome::Fail(Code::SlowDown.into())));
    assert!(store.put(&path, "1".into()).await.is_err());
    assert_eq!((hits.count(), server.object("x").is_none()), (1, true));

    server.fault(Rule::on(Op::PutObject, Outcome::Lost(Failure::Reset)));
    assert!(store.put(&path, "2".into()).await.is_err());
    assert_eq!(server.object("x").unwrap().body, "2");

    server.fault(Rule::new(Outcome::Late(Failure::Timeout)).writes());
    assert!(store.put(&path, "3".into()).await.is_err());
    assert_eq!(get(&store, &path).await, "2");
    for late in server.take_late() {
        assert_eq!((late.call().op, late.land().as_u16()), (Op::PutObject, 200));
    }
    assert_eq!(get(&store, &path).await, "3");
    let outcomes: Vec<_> =
        server.record().iter().map(|entry| (entry.outcome.unwrap(), entry.status.map(|s| s.as_u16()))).collect();
    assert_eq!(
        outcomes,
        [
            (Outcome::Fail(Failure::Error(Code::SlowDown)), None),
            (Outcome::Lost(Failure::Reset), Some(200)),
            (Outcome::Late(Failure::Timeout), Some(200)),
            (Outcome::Do, Some(200)),
            (Outcome::Do, Some(200)),
        ]
    );
}

#[tokio::test]
async fn a_rule_hits_what_it_means() {
    let server = small();
    server.put("a/1", "x");
    let broken = || Outcome::Fail(Code::InternalError.into());
    let third = server.fault(Rule::new(broken()).skip(2));
    let key = server.fault(Rule::on(Op::HeadObject, broken()).key("/1").times(2));
    let statuses =
        async |method: Method, target: &str| server.raw(method, target).send().await.unwrap().status.as_u16();
    assert_eq!(statuses(Method::GET, "a/1").await, 200);
    assert_eq!(statuses(Method::HEAD, "a/1").await, 500, "the second: spared by one rule, hit by the other");
    assert_eq!(statuses(Method::GET, "a/1").await, 500, "the third");
    assert_eq!(statuses(Method::GET, "a/1").await, 200);
    assert_eq!(statuses(Method::HEAD, "a/2").await, 404);
    assert_eq!((third.count(), key.count()), (1, 1));
    server.clear_faults();
    assert_eq!(statuses(Method::HEAD, "a/1").await, 200);
}

#[tokio::test]
async fn an_answer_may_be_an_error_under_200_or_cut() {
    let server = small();
    server.put("x", "hello");
    server.fault(Rule::new(Outcome::Fail(Failure::ErrorIn200(Code::InternalError))));
    let answer = server.raw(Method::POST, "x?uploadId=1").send().await.unwrap();
    assert_eq!((answer.status.as_u16(), answer.code().as_str()), (200, "InternalError"));
    server.fault(Rule::new(Outcome::Cut(2)));
    assert!(server.raw(Method::GET, "x").send().await.is_err());
    assert_eq!(server.counts().of(Op::GetObject), Count { requests: 1, bytes_in: 0, bytes_out: 2 });
}

#[tokio::test(start_paused = true)]
async fn an_answer_may_be_slow() {
    let server = small();
    server.put("x", "hello");
    server.fault(Rule::new(Outcome::Do).delay(Duration::from_secs(60)));
    let start = tokio::time::Instant::now();
    assert_eq!(server.raw(Method::GET, "x").send().await.unwrap().body, "hello");
    assert!(start.elapsed() >= Duration::from_secs(60));
}

#[tokio::test]
async fn requests_and_bytes_are_counted() {
    let server = small();
    let store = store(&server, "a");
    for _ in 0..3 {
        store.put(&Path::from("x"), "hello".into()).await.unwrap();
    }
    get(&store, &Path::from("x")).await;
    assert!(store.get_opts(&Path::from("y"), Default::default()).await.is_err());
    let counts = server.counts();
    assert_eq!(counts.of(Op::PutObject), Count { requests: 3, bytes_in: 15, bytes_out: 0 });
    assert_eq!((counts.of(Op::GetObject).requests, counts.total().requests), (2, 5));
    assert!(counts.of(Op::GetObject).bytes_out > 5, "an error document counts, too");
    assert_eq!(server.record()[0].call.client, "a");
    server.reset();
    assert_eq!(server.counts().total(), Count::default());
}

#[tokio::test]
async fn what_is_stored_can_be_made_older() {
    let server = small();
    server.put("x", "x");
    server.raw(Method::POST, "y?uploads").send().await.unwrap();
    let before = (server.object("x").unwrap().modified, server.uploads()[0].1.initiated);
    server.age(Duration::from_secs(3600));
    let after = (server.object("x").unwrap().modified, server.uploads()[0].1.initiated);
    assert_eq!((before.0 - after.0, before.1 - after.1), (chrono::TimeDelta::hours(1), chrono::TimeDelta::hours(1)));
}

#[tokio::test]
async fn a_fork_goes_its_own_way() {
    let server = small();
    server.put("x", "x");
    let fork = server.fork();
    fork.put("y", "y");
    server.remove("x");
    assert_eq!((server.keys(), fork.keys()), (vec![], vec!["x".into(), "y".into()]));
}
