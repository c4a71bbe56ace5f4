//! Downloads that break off.

use futures::{StreamExt, TryStreamExt};
use holdall::drivers::S3Config;
use holdall::{ErrorKind, ReadRange, StorageDriver};

use super::{KIB, data, open, path, small};
use crate::support::s3::{Code, Config, Failure, Op, Outcome, Rule, S3Server};

const SIZE: u64 = 50 * KIB;

fn start(engine: Config) -> (S3Server, S3Config) {
    let server = S3Server::new(Config { public: true, ..engine }.scaled(64 * KIB));
    server.put("file", data(SIZE));
    let config = small(&server).max_retries(2);
    (server, config)
}

#[tokio::test(start_paused = true)]
async fn the_rest_of_a_file_that_was_replaced_is_not_taken_for_its_own() {
    for ignore_read_conditions in [false, true] {
        for refuses in [false, true] {
            let (server, config) = start(Config { ignore_read_conditions, ..Config::aws() });
            if refuses {
                let conditional = Rule::new(Outcome::Fail(Failure::Error(Code::NotImplemented)))
                    .writes()
                    .when(|call| call.header("if-none-match").or(call.header("if-match")).is_some());
                server.fault(conditional.always());
            }
            let driver = open(config).await;
            let hits = server.fault(Rule::on(Op::GetObject, Outcome::Cut(1000)));
            let (_, mut stream) = driver.read(&path("/file"), ReadRange::FULL).await.unwrap();
            assert_eq!(stream.next().await.unwrap().unwrap(), data(1000));
            server.put("file", vec![b'x'; SIZE as usize]);
            let error = stream.try_collect::<Vec<_>>().await.unwrap_err();
            assert_eq!((error.kind(), hits.count()), (ErrorKind::Conflict, 1), "{error:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_download_may_break_off_often_as_long_as_it_goes_on() {
    let (server, config) = start(Config::aws());
    let driver = open(config).await;
    let hits = server.fault(Rule::on(Op::GetObject, Outcome::Cut(1000)).always());
    assert!(driver.get_content(&path("/file")).await.unwrap() == data(SIZE));
    assert_eq!(hits.count() as u64, SIZE.div_ceil(1000));
    // Without a byte in between there is an end to it.
    server.clear_faults();
    let hits = server.fault(Rule::on(Op::GetObject, Outcome::Cut(0)).always());
    let error = driver.get_content(&path("/file")).await.unwrap_err();
    assert_eq!((error.kind(), hits.count()), (ErrorKind::Backend, 3), "{error:?}");
}
