//! The contract, on engines of all kinds.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::TryStreamExt;
use holdall::conformance::{Fetched, Harness};
use holdall::drivers::{S3Config, S3Credentials};
use holdall::{StorageDriver, UrlMethod};
use url::Url;

use super::{config, open, scaled, small};
use crate::support::s3::{Config, S3Server};

/// A server in memory. Each case has one of its own.
struct InMemoryServer {
    server: S3Server,
    config: fn(&S3Server) -> S3Config,
    /// Heads that are dead may stay until a sweep.
    sweeps: bool,
}

impl InMemoryServer {
    fn new(server: S3Server, config: fn(&S3Server) -> S3Config) -> Self {
        Self { server, config, sweeps: false }
    }
}

#[async_trait]
impl Harness for InMemoryServer {
    async fn open(&self) -> Arc<dyn StorageDriver> {
        Arc::new(open((self.config)(&self.server)).await)
    }

    async fn leftovers(&self) -> Vec<String> {
        if self.sweeps {
            self.server.age(std::time::Duration::from_secs(7200));
            let driver = open((self.config)(&self.server)).await;
            driver.sweep(std::time::Duration::from_secs(3600)).await.unwrap();
        }
        let uploads = self.server.uploads().into_iter().map(|(id, _)| format!("upload {id}"));
        self.server.keys().into_iter().chain(uploads).collect()
    }

    async fn fetch(&self, method: UrlMethod, url: &Url, body: Bytes) -> Option<Fetched> {
        let listener = self.server.listen().await.unwrap();
        let _ = (method, url, body, listener);
        None
    }
}

mod aws {
    use super::*;
    holdall::conformance_tests!(full_size, InMemoryServer::new(S3Server::new(Config::aws()), config));
    holdall::conformance_tests!(scaled_down, InMemoryServer::new(scaled(Config::aws()), small));
}

mod minio {
    use super::*;
    holdall::conformance_tests!(
        scaled_down,
        InMemoryServer { sweeps: true, ..InMemoryServer::new(scaled(Config::minio()), small) }
    );
}

mod r2 {
    use super::*;
    fn equal(server: &S3Server) -> S3Config {
        small(server).equal_parts(true)
    }
    holdall::conformance_tests!(scaled_down, InMemoryServer::new(scaled(Config::r2()), equal));
}

mod garage {
    use super::*;
    holdall::conformance_tests!(scaled_down, InMemoryServer::new(scaled(Config::garage()), small));
}

mod no_part_copy {
    use super::*;
    fn server() -> S3Server {
        scaled(Config { no_part_copy: true, random_etags: true, ..Config::aws() })
    }
    holdall::conformance_tests!(scaled_down, InMemoryServer::new(server(), small));
}
