//! Gates: the test decides which request is done next.

use http::Method;
use object_store::ObjectStoreExt;
use object_store::path::Path;

use super::{get, small, store};
use crate::support::s3::{Op, Outcome, S3Server};

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
