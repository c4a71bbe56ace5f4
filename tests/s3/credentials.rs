//! Where credentials come from, and what is said at the start when they, or the bucket, are not there: told to the program as
//! its users tell it, by its environment.

use std::collections::BTreeMap;
use std::io::Read;
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::extract::Request;
use axum::http::{Method, StatusCode, header};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::data;
use crate::support::program::{Server, holdall};
use crate::support::s3::sigv4::Secret;
use crate::support::s3::{Config, Listener, S3Server};
use crate::support::tls::TlsFront;

const SECRET: &str = "temporary-hush";
const SESSION: &str = "session-hush";

/// The services of a cloud that all hand out one temporary key: STS, and the metadata of an instance and a container.
struct Cloud {
    address: SocketAddr,
    /// The number of the key.
    key: Arc<AtomicUsize>,
    _task: JoinSet<()>,
}

impl Cloud {
    async fn start() -> Self {
        let socket = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = socket.local_addr().unwrap();
        let mut task = JoinSet::new();
        let key = Arc::<AtomicUsize>::default();
        let current = Arc::clone(&key);
        let router = Router::new().fallback(async move |request: Request| {
            match answer(&request, current.load(Ordering::SeqCst)) {
                Some(answer) => (StatusCode::OK, answer),
                None => (StatusCode::NOT_FOUND, "no such thing".to_owned()),
            }
        });
        task.spawn(async move { axum::serve(socket, router).await.unwrap() });
        Self { address, key, _task: task }
    }
}

fn answer(request: &Request, key: usize) -> Option<String> {
    let header = |name: &str| request.headers().get(name).map_or("", |value| value.to_str().unwrap());
    let query: Vec<_> =
        url::form_urlencoded::parse(request.uri().query().unwrap_or_default().as_bytes()).into_owned().collect();
    let asks = |name: &str, value: &str| query.iter().any(|(key, given)| key == name && given == value);
    // Soon enough out of date that each request wants a new one.
    let expiration = (chrono::Utc::now() + chrono::TimeDelta::minutes(1)).to_rfc3339();
    let json = serde_json::json!({
        "AccessKeyId": format!("temporary-{key}"), "SecretAccessKey": SECRET, "Token": SESSION, "Expiration": expiration,
    })
    .to_string();
    let on_instance = header("x-aws-ec2-metadata-token") == "instance";
    match (request.method(), request.uri().path()) {
        (&Method::PUT, "/latest/api/token") => Some("instance".to_owned()),
        (&Method::GET, "/latest/meta-data/iam/security-credentials/") if on_instance => Some("role".to_owned()),
        (&Method::GET, "/latest/meta-data/iam/security-credentials/role") if on_instance => Some(json),
        (&Method::GET, "/task") if request.uri().host() == Some("169.254.170.2") => Some(json),
        (&Method::GET, "/pod") if header(header::AUTHORIZATION.as_str()) == "pod-hush" => Some(json),
        (&Method::POST, "/sts")
            if asks("Action", "AssumeRoleWithWebIdentity")
                && asks("RoleArn", "arn:aws:iam::1:role/r")
                && asks("RoleSessionName", "holdall")
                && asks("WebIdentityToken", "web-hush") =>
        {
            Some(format!(
                "<AssumeRoleWithWebIdentityResponse><AssumeRoleWithWebIdentityResult><Credentials>\
                 <AccessKeyId>temporary-{key}</AccessKeyId><SecretAccessKey>{SECRET}</SecretAccessKey>\
                 <SessionToken>{SESSION}</SessionToken><Expiration>{expiration}</Expiration>\
                 </Credentials></AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>"
            ))
        }
        _ => None,
    }
}

/// The temporary key of this number, and no other.
fn keys(number: usize) -> BTreeMap<String, Secret> {
    [(format!("temporary-{number}"), Secret { secret: SECRET.into(), token: Some(SESSION.into()) })].into()
}

/// The program over a bucket, on a free port, in this environment; with what more the store's URL says.
fn serve(listener: &Listener, more: &str, environment: &[(&str, &str)]) -> Command {
    let mut command = holdall(&["serve", "--listen", "127.0.0.1:0", "--log", "debug"]);
    command.arg(format!("s3://bucket?endpoint={}&region=us-east-1{more}", listener.url()));
    command.env("no_proxy", "127.0.0.1").envs(environment.iter().copied());
    command
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_way_to_be_told_credentials_works_and_none_tells_them() {
    let server = S3Server::new(Config { keys: keys(0), ..Config::aws() });
    let (listener, cloud) = (server.listen().await.unwrap(), Cloud::start().await);
    let front = TlsFront::of(cloud.address).await.unwrap();
    let directory = tempfile::tempdir().unwrap();
    let token = |name: &str, content: &str| {
        let file = directory.path().join(name);
        std::fs::write(&file, content).unwrap();
        file.to_str().unwrap().to_owned()
    };
    let (web_token, pod_token) = (token("web", "web-hush"), token("pod", "pod-hush"));
    let (metadata, sts) = (format!("http://{}", cloud.address), format!("{}/sts", front.url()));
    let pod = format!("{metadata}/pod");
    for environment in [
        &[("AWS_ACCESS_KEY_ID", "temporary-0"), ("AWS_SECRET_ACCESS_KEY", SECRET), ("AWS_SESSION_TOKEN", SESSION)][..],
        &[
            ("AWS_WEB_IDENTITY_TOKEN_FILE", &web_token),
            ("AWS_ROLE_ARN", "arn:aws:iam::1:role/r"),
            ("AWS_ROLE_SESSION_NAME", "holdall"),
            ("AWS_ENDPOINT_URL_STS", &sts),
        ],
        // The address of a container's role is a fixed one; a proxy leads there.
        &[("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "/task"), ("http_proxy", &metadata)],
        &[("AWS_CONTAINER_CREDENTIALS_FULL_URI", &pod), ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", &pod_token)],
        &[("AWS_METADATA_ENDPOINT", &metadata)],
    ] {
        let program = Server::run(serve(&listener, "&skipverify=true", environment));
        let mut client = program.client();
        let bytes = data(1000);
        let upload = client.create(1000, &bytes).unwrap();
        assert_eq!(client.request("GET", &upload, &[], b"").unwrap().body, bytes, "{environment:?}");
        drop(client);
        let (_, stdout, stderr) = program.stop();
        assert!(!stdout.contains("hush") && !stderr.contains("hush"), "{environment:?}: {stderr}");
    }
    assert!(server.record().iter().all(|entry| entry.call.refused.is_none()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn credentials_that_run_out_are_renewed() {
    let server = S3Server::new(Config { keys: keys(0), ..Config::aws() });
    let (listener, cloud) = (server.listen().await.unwrap(), Cloud::start().await);
    let metadata = format!("http://{}", cloud.address);
    let program = Server::run(serve(&listener, "", &[("AWS_METADATA_ENDPOINT", &metadata)]));
    let mut client = program.client();
    let upload = client.create(2000, &data(1000)).unwrap();
    cloud.key.store(1, Ordering::SeqCst);
    server.reconfigure(|config| config.keys = keys(1));
    // The old key may be used for a moment.
    let goes_on = (0..2000).any(|_| client.patch(&upload, 1000, &data(1000)).is_ok_and(|answer| answer.status == 204));
    assert!(goes_on, "the new key was never asked for");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_missing_or_wrong_is_said_at_the_start_without_a_secret() {
    let server = S3Server::new(Config::aws());
    let listener = server.listen().await.unwrap();
    // A port where nobody listens.
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let nowhere = format!("http://{nobody}");
    let keys = [("AWS_ACCESS_KEY_ID", "test-key"), ("AWS_SECRET_ACCESS_KEY", "test-secret")];
    let wrong = [("AWS_ACCESS_KEY_ID", "test-key"), ("AWS_SECRET_ACCESS_KEY", "wrong-hush")];
    let unknown = [("AWS_ACCESS_KEY_ID", "nobody"), ("AWS_SECRET_ACCESS_KEY", "wrong-hush")];
    let no_file = [("AWS_WEB_IDENTITY_TOKEN_FILE", "/no/such/token"), ("AWS_ROLE_ARN", "arn")];
    let cases: Vec<(Command, Vec<&str>)> = vec![
        (serve(&listener, "", &wrong), vec!["permission denied", "SignatureDoesNotMatch"]),
        (serve(&listener, "", &unknown), vec!["permission denied", "InvalidAccessKeyId"]),
        (serve(&listener, "", &keys[..1]), vec!["credentials", "SecretAccessKey"]),
        (serve(&listener, "", &[("AWS_METADATA_ENDPOINT", &nowhere)]), vec!["no credentials", &nowhere]),
        (serve(&listener, "", &no_file), vec!["no credentials", "/no/such/token"]),
        (elsewhere(&format!("s3://other?endpoint={}", listener.url()), &keys), vec!["s3://other", "NoSuchBucket"]),
        (elsewhere(&format!("s3://bucket?endpoint={nowhere}"), &keys), vec![&nowhere, "could not be asked", "refused"]),
        (
            elsewhere(&format!("s3://bucket?region=eu-west-1&endpoint={}", listener.url()), &keys),
            vec!["AuthorizationHeaderMalformed", "eu-west-1", "us-east-1"],
        ),
    ];
    // At once: those that nobody answers try for some seconds.
    let cases: Vec<(Child, Vec<&str>)> = cases
        .into_iter()
        .map(|(mut command, words)| (command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap(), words))
        .collect();
    for (mut child, words) in cases {
        if child.stdout.take().unwrap().read(&mut [0]).unwrap() > 0 {
            child.kill().unwrap();
            panic!("it started: {words:?}");
        }
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{words:?}: {said}");
        let last = said.trim_end().lines().last().unwrap_or_default();
        for word in words {
            assert!(last.contains(word), "{word:?} is not in {last}");
        }
        assert!(!said.contains("hush") && !said.contains("test-secret"), "{said}");
    }
}

fn elsewhere(url: &str, environment: &[(&str, &str)]) -> Command {
    let mut command = holdall(&["serve", url, "--listen", "127.0.0.1:0"]);
    command.env("no_proxy", "127.0.0.1").envs(environment.iter().copied());
    command
}
