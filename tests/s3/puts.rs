//! The PutObject of a whole short file, when it fails or its answer gets lost.

use holdall::drivers::S3Driver;
use holdall::{Error, ErrorKind, Precondition, StorageDriver, WriteOptions};

use super::{KIB, data, open, path, scaled, small, stream};
use crate::support::s3::{Code, Config, Failure, Op, Outcome, Rule, S3Server};

const SIZE: u64 = 700;

/// Changes `/file`, which holds `SIZE` bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    /// Keeps so many bytes, and 100 others follow.
    Write(u64),
    PutIf,
    /// Of another file with itself.
    Concat,
}

const CHANGES: [Change; 4] = [Change::Write(SIZE), Change::Write(300), Change::PutIf, Change::Concat];

impl Change {
    async fn act(self, driver: &S3Driver) -> Result<(), Error> {
        let file = path("/file");
        match self {
            Self::Write(keep) => {
                driver.write_stream(&file, keep, stream(&[7; 100]), WriteOptions::default()).await.map(drop)
            }
            Self::PutIf => {
                let (_, version) = driver.get_versioned(&file).await?;
                driver.put_content_if(&file, data(100).into(), Precondition::Version(version)).await.map(drop)
            }
            Self::Concat => driver.concat(&[path("/other"), path("/other")], &file).await.map(drop),
        }
    }

    fn after(self) -> Vec<u8> {
        match self {
            Self::Write(keep) => [&data(SIZE)[..keep as usize], &[7; 100]].concat(),
            Self::PutIf => data(100),
            Self::Concat => data(10).repeat(2),
        }
    }
}

async fn prepared() -> (S3Server, S3Driver) {
    let server = scaled(Config::aws());
    let driver = open(small(&server).min_part_size(KIB)).await;
    driver.put_content(&path("/file"), data(SIZE).into()).await.unwrap();
    driver.put_content(&path("/other"), data(10).into()).await.unwrap();
    (server, driver)
}

fn content(server: &S3Server) -> Vec<u8> {
    server.object("file").unwrap().body.to_vec()
}

#[tokio::test(start_paused = true)]
async fn one_failure_is_not_the_callers() {
    let outcomes = [
        Outcome::Fail(Failure::Reset),
        Outcome::Fail(Failure::Error(Code::InternalError)),
        Outcome::Fail(Failure::Error(Code::SlowDown)),
        Outcome::Lost(Failure::Reset),
        Outcome::Lost(Failure::Timeout),
        Outcome::Lost(Failure::Error(Code::InternalError)),
    ];
    for change in CHANGES {
        for outcome in outcomes {
            let (server, driver) = prepared().await;
            let hits = server.fault(Rule::on(Op::PutObject, outcome));
            change.act(&driver).await.unwrap_or_else(|error| panic!("{change:?}, {outcome:?}: {error:?}"));
            assert_eq!(hits.count(), 1);
            assert!(content(&server) == change.after(), "{change:?}, {outcome:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn failures_that_do_not_end_are_told_as_what_they_are() {
    for change in CHANGES {
        let (server, driver) = prepared().await;
        server.fault(Rule::on(Op::PutObject, Outcome::Fail(Failure::Error(Code::InternalError))).always());
        let error = change.act(&driver).await.unwrap_err();
        assert_eq!((error.kind(), error.is_temporary()), (ErrorKind::Backend, true), "{change:?}: {error:?}");
        assert!(content(&server) == data(SIZE), "{change:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_failure_beside_another_ones_change_is_a_conflict() {
    for change in [Change::Write(SIZE), Change::Write(300), Change::PutIf] {
        let (server, driver) = prepared().await;
        let gate = server.gate_when(|call| call.op == Op::PutObject);
        let other = async {
            let pending = gate.next("driver").await;
            server.put("file", "another's");
            pending.release(Outcome::Fail(Failure::Error(Code::InternalError)));
            drop(gate);
        };
        let (changed, ()) = futures::join!(change.act(&driver), other);
        assert_eq!(changed.unwrap_err().kind(), ErrorKind::Conflict, "{change:?}");
        assert_eq!(content(&server), b"another's", "{change:?}");
    }
}
