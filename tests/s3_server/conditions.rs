//! Conditions of reads, writes and deletions.

use http::Method;
use object_store::path::Path;
use object_store::{Error, GetOptions, ObjectStore, PutMode, PutOptions, PutResult, UpdateVersion};

use super::{get, small, store};

fn version(put: &PutResult) -> PutMode {
    PutMode::Update(UpdateVersion { e_tag: put.e_tag.clone(), version: None })
}

#[tokio::test]
async fn a_write_happens_only_if_its_condition_holds() {
    let server = small();
    let store = store(&server, "a");
    let path = Path::from("x");
    let put = |text: &'static str, mode| store.put_opts(&path, text.into(), PutOptions::from(mode));
    let first = put("one", PutMode::Create).await.unwrap();
    assert!(matches!(put("two", PutMode::Create).await, Err(Error::AlreadyExists { .. })));
    put("two", version(&first)).await.unwrap();
    assert!(matches!(put("three", version(&first)).await, Err(Error::Precondition { .. })));
    assert_eq!(get(&store, &path).await, "two");

    server.remove("x");
    let missing = server.raw(Method::PUT, "x").header("if-match", &first.e_tag.unwrap()).send().await.unwrap();
    assert_eq!((missing.status.as_u16(), missing.code().as_str()), (404, "NoSuchKey"));
    assert_eq!(server.raw(Method::PUT, "x").header("if-none-match", "\"tag\"").send().await.unwrap().status, 501);
}

#[tokio::test]
async fn a_failed_condition_may_be_a_conflict() {
    let server = small();
    server.put("x", "x");
    server.reconfigure(|config| config.conflict_for_precondition = true);
    let answer = server.raw(Method::PUT, "x").header("if-none-match", "*").send().await.unwrap();
    assert_eq!((answer.status.as_u16(), answer.code().as_str()), (409, "ConditionalRequestConflict"));
}

#[tokio::test]
async fn an_engine_may_ignore_conditions_of_writes() {
    let server = small();
    server.put("x", "x");
    server.reconfigure(|config| config.ignore_conditions = true);
    for (name, value) in [("if-none-match", "*"), ("if-match", "\"other\"")] {
        assert_eq!(server.raw(Method::PUT, "x").header(name, value).body(name).send().await.unwrap().status, 200);
        assert_eq!(server.object("x").unwrap().body, name);
    }
}

#[tokio::test]
async fn a_read_happens_only_if_its_condition_holds() {
    let server = small();
    server.put("x", "x");
    let store = store(&server, "a");
    let path = Path::from("x");
    let tag = Some(server.object("x").unwrap().etag);
    let read = |options| store.get_opts(&path, options);
    assert!(read(GetOptions { if_match: tag.clone(), ..GetOptions::default() }).await.is_ok());
    let other = GetOptions { if_match: Some("\"other\"".into()), ..GetOptions::default() };
    assert!(matches!(read(other).await, Err(Error::Precondition { .. })));
    let same = GetOptions { if_none_match: tag, ..GetOptions::default() };
    assert!(matches!(read(same).await, Err(Error::NotModified { .. })));
    let since = GetOptions { if_modified_since: Some(chrono::Utc::now()), ..GetOptions::default() };
    assert!(matches!(read(since).await, Err(Error::NotModified { .. })));
    let before = chrono::Utc::now() - chrono::TimeDelta::hours(1);
    let unmodified = GetOptions { if_unmodified_since: Some(before), ..GetOptions::default() };
    assert!(matches!(read(unmodified).await, Err(Error::Precondition { .. })));
}

#[tokio::test]
async fn a_deletion_happens_only_if_its_condition_holds() {
    let server = small();
    server.put("x", "x");
    let delete = |tag: &str| server.raw(Method::DELETE, "x").header("if-match", tag).send();
    assert_eq!(delete("\"other\"").await.unwrap().code(), "PreconditionFailed");
    let tag = server.object("x").unwrap().etag;
    assert_eq!(delete(&tag).await.unwrap().status, 204);
    assert_eq!(delete(&tag).await.unwrap().code(), "NoSuchKey");
    assert_eq!(server.raw(Method::DELETE, "x").send().await.unwrap().status, 204);

    server.put("x", "x");
    server.reconfigure(|config| config.ignore_delete_if_match = true);
    assert_eq!(delete("\"other\"").await.unwrap().status, 204);
    assert!(server.keys().is_empty());
}
