//! Gates: the test decides which request is done next.

use std::collections::BTreeSet;

use http::Method;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutOptions};

use super::{get, small, store};
use crate::support::s3::{Choices, Code, Failure, Op, Outcome, S3Server};

#[tokio::test(start_paused = true)]
async fn every_order_of_two_clients_is_tried() {
    let mut choices = Choices::new();
    let (mut orders, mut ends) = (BTreeSet::new(), BTreeSet::new());
    while choices.next_run() {
        let server = small();
        let gate = server.gate();
        let actor = |name: &'static str| {
            let store = store(&server, name);
            tokio::spawn(async move {
                let path = Path::from("x");
                store.put(&path, name.into()).await.unwrap();
                get(&store, &path).await
            })
        };
        let (a, b) = (actor("a"), actor("b"));
        let mut order = String::new();
        loop {
            gate.settle().await;
            let waiting = gate.waiting();
            if waiting.is_empty() {
                break;
            }
            let call = &waiting[choices.choose(waiting.len())];
            order.push_str(&call.client);
            gate.take(|other| other.number == call.number).unwrap().release(Outcome::Do);
        }
        ends.insert((a.await.unwrap(), b.await.unwrap()));
        orders.insert(order);
    }
    // Four requests, two of each, in every order: 4! / (2! 2!).
    assert_eq!((choices.runs(), orders.len()), (6, 6));
    // "a" reads its own, or what "b" has put over it, and the reverse; never both the other's.
    assert_eq!(ends.len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_race_has_one_winner_in_every_order() {
    let mut choices = Choices::new();
    while choices.next_run() {
        let server = small();
        let gate = server.gate();
        let actor = |name: &'static str| {
            let store = store(&server, name);
            tokio::spawn(async move {
                let options = PutOptions::from(PutMode::Create);
                store.put_opts(&Path::from("x"), name.into(), options).await.is_ok()
            })
        };
        let (a, b) = (actor("a"), actor("b"));
        gate.settle().await;
        let first = ["a", "b"][choices.choose(2)];
        let outcome =
            [Outcome::Do, Outcome::Fail(Code::SlowDown.into()), Outcome::Lost(Failure::Reset)][choices.choose(3)];
        gate.release(first, outcome).await;
        gate.release(if first == "a" { "b" } else { "a" }, Outcome::Do).await;
        let won = [a.await.unwrap(), b.await.unwrap()];
        let expected = match outcome {
            Outcome::Do => [first == "a", first == "b"],
            Outcome::Fail(_) => [first == "b", first == "a"],
            _ => [false, false],
        };
        assert_eq!(won, expected, "{first} first, {outcome:?}");
    }
    assert_eq!(choices.runs(), 6);
}

#[tokio::test]
async fn a_request_outlives_its_client() {
    let server = small();
    let gate = server.gate();
    let put = |name| {
        let store = store(&server, name);
        tokio::spawn(async move { store.put(&Path::from(name), name.into()).await })
    };
    let (crashed, gone) = (put("crashed"), put("gone"));
    let pending = gate.next("crashed").await;
    gate.next("gone").await;
    crashed.abort();
    assert!(crashed.await.unwrap_err().is_cancelled());
    assert_eq!(pending.release(Outcome::Do).unwrap(), 200, "the engine had it whole");
    assert!(gone.await.unwrap().is_err(), "a request that is dropped was never done");
    assert_eq!(server.keys(), ["crashed"]);
}

#[tokio::test]
async fn a_gate_may_hold_some_requests_only() {
    let server = small();
    server.put("x", "x");
    let gate = server.gate_when(|call| call.op == Op::PutObject);
    let store = store(&server, "a");
    let put = tokio::spawn({
        let store = store.clone();
        async move { store.put(&Path::from("x"), "y".into()).await }
    });
    let pending = gate.next("a").await;
    assert_eq!((pending.call().key.as_str(), get(&store, &Path::from("x")).await), ("x", "x".into()));
    drop(gate);
    pending.release(Outcome::Do);
    put.await.unwrap().unwrap();
    store.put(&Path::from("x"), "z".into()).await.unwrap();
}

#[tokio::test]
async fn a_gate_that_goes_lets_pass_what_waits() {
    let server = small();
    let gate = server.gate();
    let put = tokio::spawn(deliver(server.clone()));
    while gate.waiting().is_empty() {
        tokio::task::yield_now().await;
    }
    drop(gate);
    assert_eq!(put.await.unwrap(), 200);
}

async fn deliver(server: S3Server) -> u16 {
    server.raw(Method::PUT, "x").send().await.unwrap().status.as_u16()
}
