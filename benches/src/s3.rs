//! S3: servers of the tests' kind, in processes of their own, and who talks to them.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use async_trait::async_trait;
use holdall::drivers::{S3Config, S3Credentials, S3Driver};
use object_store::aws::AmazonS3Builder;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpRequest, HttpResponse, HttpService, ReqwestConnector,
};
use opendal::{HttpTransporter, OperationContext, Operator, services};
use opendal_http_transport_reqwest::ReqwestTransport;

use crate::Failure;
use crate::contender::{Contender, Dal, Holdall, Parts, Store};
use crate::row::{self, Show};

#[path = "../../tests/support/s3/mod.rs"]
#[allow(dead_code, unused_imports, unfulfilled_lint_expectations, reason = "tests use what is not used here")]
mod server;

/// The argument that makes this program a server.
pub(crate) const SERVE: &str = "serve-s3";
/// As the driver has it by default.
const PARTS: Parts = Parts { size: 8 << 20, concurrency: 4 };
const BUCKET: &str = "bucket";
const REGION: &str = "us-east-1";
const KEY: (&str, &str) = ("key", "secret");

/// Serves an empty bucket until standard input ends. Costs little: nothing is hashed and no signature checked.
pub(crate) fn serve() -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let config = server::Config { public: true, random_etags: true, ..server::Config::aws() };
    let server = server::S3Server::new(config);
    let listener = runtime.block_on(server.listen())?;
    println!("{}", listener.url());
    std::io::stdout().flush()?;
    std::io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}

/// A server in a process of its own.
struct Server {
    process: Child,
    url: String,
}

impl Server {
    fn start() -> Result<Self, Failure> {
        let mut command = Command::new(std::env::current_exe()?);
        let mut process = command.arg(SERVE).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let mut url = String::new();
        BufReader::new(process.stdout.take().ok_or("no output")?).read_line(&mut url)?;
        Ok(Self { process, url: url.trim_end().to_owned() })
    }

    fn config(&self) -> S3Config {
        let credentials = S3Credentials::keys(KEY.0, KEY.1, None);
        S3Config::new(BUCKET).endpoint(&self.url).region(REGION).credentials(credentials)
    }

    fn store(&self) -> AmazonS3Builder {
        let builder = AmazonS3Builder::new().with_endpoint(&self.url).with_allow_http(true);
        let builder = builder.with_access_key_id(KEY.0).with_secret_access_key(KEY.1);
        builder.with_bucket_name(BUCKET).with_region(REGION)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        let _ = self.process.wait();
    }
}

/// Sends what is for https without TLS. The driver, which signs the payload of what goes by http, then takes it for safe.
#[derive(Debug)]
struct WithoutTls(HttpClient);

#[async_trait]
impl HttpService for WithoutTls {
    async fn call(&self, mut request: HttpRequest) -> Result<HttpResponse, HttpError> {
        if let Ok(uri) = request.uri().to_string().replacen("https:", "http:", 1).parse() {
            *request.uri_mut() = uri;
        }
        self.0.execute(request).await
    }
}

#[derive(Debug, Default)]
struct WithoutTlsConnector(ReqwestConnector);

impl HttpConnector for WithoutTlsConnector {
    fn connect(&self, options: &object_store::ClientOptions) -> object_store::Result<HttpClient> {
        let options = options.clone().with_allow_http(true);
        Ok(HttpClient::new(WithoutTls(self.0.connect(&options)?)))
    }
}

pub(crate) async fn tables(rounds: usize, only: &str) -> Result<(), Failure> {
    // reqwest takes the process's.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let servers = [Server::start()?, Server::start()?, Server::start()?];
    let [ours, theirs, opendals] = &servers;

    // OpenDAL never signs payloads; object_store does unless told otherwise.
    let https = ours.config().endpoint(ours.url.replacen("http:", "https:", 1));
    let https = S3Driver::open(https.http_connector(Arc::new(WithoutTlsConnector::default()))).await?;
    let transport = HttpTransporter::new(ReqwestTransport::default());
    let opendal = services::S3::default().endpoint(&opendals.url).bucket(BUCKET).region(REGION);
    let opendal = opendal.access_key_id(KEY.0).secret_access_key(KEY.1).disable_config_load();
    let opendal = Operator::new(opendal)?.with_context(OperationContext::new().with_http_transport(transport));
    let unsigned: Vec<Arc<dyn Contender>> = vec![
        Arc::new(Holdall(https)),
        Arc::new(Store(Arc::new(theirs.store().with_unsigned_payload(true).build()?), Some(PARTS))),
        Arc::new(Dal(opendal, Some(PARTS))),
    ];
    row::table("S3", &unsigned, &row::REMOTE, rounds, only, Show::TimeAndCpu).await?;

    let signed: Vec<Arc<dyn Contender>> = vec![
        Arc::new(Holdall(S3Driver::open(ours.config()).await?)),
        Arc::new(Store(Arc::new(theirs.store().build()?), Some(PARTS))),
    ];
    row::table("S3, payloads signed, as without TLS", &signed, &row::SENDING, rounds, only, Show::TimeAndCpu).await?;
    Ok(())
}
