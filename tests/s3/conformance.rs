//! The contract, on engines of all kinds.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::TryStreamExt;
use holdall::conformance::{Fetched, Harness, cases};
use holdall::drivers::S3Config;
use holdall::{StorageDriver, StoragePath, UrlMethod};
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::client::{HttpConnector, HttpRequest, HttpRequestBody};
use object_store::{ObjectStore, ObjectStoreExt};
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
        let http = self.server.connector("url").connect(&object_store::ClientOptions::new()).unwrap();
        let mut request = HttpRequest::new(HttpRequestBody::from(body));
        *request.method_mut() = match method {
            UrlMethod::Get => http::Method::GET,
            UrlMethod::Head => http::Method::HEAD,
            UrlMethod::Put => http::Method::PUT,
        };
        *request.uri_mut() = url.as_str().parse().unwrap();
        let (parts, body) = http.execute(request).await.unwrap().into_parts();
        let header = |(name, value): (&http::HeaderName, &http::HeaderValue)| {
            (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned())
        };
        let headers = parts.headers.iter().map(header).collect();
        Some(Fetched { status: parts.status.as_u16(), headers, body: body.bytes().await.unwrap() })
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

/// An engine that runs somewhere: one folder for each case.
struct RealEngine {
    url: String,
    folder: String,
}

impl RealEngine {
    fn config(&self) -> S3Config {
        S3Config::from_url(&self.url).unwrap().root(&self.folder)
    }
}

#[async_trait]
impl Harness for RealEngine {
    async fn open(&self) -> Arc<dyn StorageDriver> {
        Arc::new(open(self.config()).await)
    }

    async fn leftovers(&self) -> Vec<String> {
        let objects = bucket(&self.url).list(Some(&self.folder.as_str().into()));
        objects.map_ok(|object| object.location.to_string()).try_collect().await.unwrap()
    }
}

/// The bucket of a URL, past the driver.
fn bucket(url: &str) -> AmazonS3 {
    // The driver brings its own; object_store takes the process's. An error says that there is one.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let url = Url::parse(url).unwrap();
    let parameter = |name: &str| url.query_pairs().find(|(key, _)| key == name).map(|(_, value)| value.into_owned());
    let builder = AmazonS3Builder::from_env().with_bucket_name(url.host_str().unwrap()).with_allow_http(true);
    let builder = parameter("endpoint").into_iter().fold(builder, |builder, endpoint| builder.with_endpoint(endpoint));
    let builder = parameter("region").into_iter().fold(builder, |builder, region| builder.with_region(region));
    builder.build().unwrap()
}

/// Whether the engine replaces an object whose key ends in a name of 255 bytes. One that keeps objects as files, and puts a
/// longer name beside the old one to replace it, can't.
async fn replaces_longest_names(url: &str, folder: &str) -> bool {
    let (bucket, key) = (bucket(url), format!("{folder}/{}", "c".repeat(StoragePath::MAX_COMPONENT_LEN)).into());
    bucket.put(&key, "one".into()).await.unwrap();
    let replaced = bucket.put(&key, "two".into()).await;
    bucket.delete(&key).await.unwrap();
    replaced.is_ok()
}

/// `HOLDALL_TEST_S3` names an engine as `s3://bucket?endpoint=…&region=…`; credentials come from the environment.
#[test]
fn the_engine_that_the_environment_names() {
    let Ok(url) = std::env::var("HOLDALL_TEST_S3") else { return };
    let run = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let longest = runtime.block_on(replaces_longest_names(&url, &format!("{run}")));
    if !longest {
        eprintln!("skipped: longest_paths_round_trip: the engine can't replace an object with a name of 255 bytes");
    }
    let failed: Vec<String> = cases()
        .iter()
        .filter(|case| longest || case.name != "longest_paths_round_trip")
        .filter_map(|case| {
            let harness = RealEngine { url: url.clone(), folder: format!("{run}/{}", case.name) };
            case.check(Arc::new(harness)).err().map(|message| format!("{}: {message}", case.name))
        })
        .collect();
    assert!(failed.is_empty(), "{} cases failed:\n{}", failed.len(), failed.join("\n"));
}
