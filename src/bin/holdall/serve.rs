//! `holdall serve`: a tus server over a store.

use std::error::Error as StdError;
use std::fmt::Display;
use std::future::Future;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use holdall::tus::{Body, TusService};
use holdall::upload::UploadStore;
use holdall::{StorageDriver, StoreUrl};
use hyper::body::Incoming;
use hyper::{Request, Response, Version};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tower_service::Service;

use crate::answer::AnswerBody;
use crate::body::RequestBody;
use crate::cli::{LimitArgs, Serve};
use crate::listen::{self, Handler, Limits, Peer};
use crate::shutdown::{self, Phase, Shutdown, ShutdownSender, Signals};
use crate::workers::Workers;

/// How long answers, syncs and connections may take to end once all bodies are cut.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// How often what crashes left in the store is looked for.
const SWEEP_INTERVAL: Duration = Duration::from_secs(24 * 3600);

/// Serves until a signal comes.
///
/// # Errors
/// One line that says why it can't.
pub(crate) async fn run(args: Serve) -> Result<ExitCode, String> {
    let mut signals = Signals::new().map_err(|error| format!("cannot wait for signals: {error}"))?;
    let driver = open(&args).await?;
    let listener =
        TcpListener::bind(&args.listen).await.map_err(because(format!("cannot listen on {}", args.listen)))?;
    let address = listener.local_addr().map_err(because("cannot tell the address of the socket"))?;

    let mut uploads = UploadStore::builder(driver.clone());
    if let Some(max_size) = args.max_size {
        uploads = uploads.max_size(max_size);
    }
    let uploads = uploads.build();
    let service = TusService::builder(uploads.clone()).base_path(&args.base_path);
    let service = service.map_err(|error| error.to_string())?.build();
    let (stop, shutdown) = shutdown::channel();
    let handler = TusHandler {
        service,
        idle_timeout: args.limits.idle_timeout,
        access_log: args.logs.access_log,
        shutdown: shutdown.clone(),
    };
    let threads =
        args.limits.threads.or_else(|| std::thread::available_parallelism().ok()).unwrap_or(NonZeroUsize::MIN);
    // Kept until nothing runs any more: what outlives its connection runs there.
    let workers = Arc::new(Workers::start(threads).map_err(because("cannot start threads"))?);
    let serving = tokio::spawn(listen::serve(listener, workers.clone(), handler, limits(&args.limits), shutdown));
    let sweeping = tokio::spawn(sweep(driver, args.limits.sweep_age));

    // The log says it too, so nobody has to listen.
    let _ = greet(&args, address);
    tracing::info!(%address, store = %args.store, "listening");
    let (signal, _) = signals.next().await;
    tracing::info!(signal, grace = ?args.limits.grace, "stopping");
    sweeping.abort();
    tokio::select! {
        () = wind_down(serving, &stop, args.limits.grace, &uploads) => Ok(ExitCode::SUCCESS),
        (signal, code) = signals.next() => {
            tracing::warn!(signal, "stopping at once");
            std::process::exit(code);
        }
    }
}

/// A URL that is refused may hold a secret, so it isn't shown.
async fn open(args: &Serve) -> Result<Arc<dyn StorageDriver>, String> {
    let mut store = StoreUrl::parse(&args.store).map_err(because("STORE"))?;
    if let Some(durability) = args.durability {
        store = store.with_parameter("durability", durability.as_str()).map_err(because("--durability"))?;
    }
    store.open().await.map_err(|error| format!("cannot open the store {:?}: {}", args.store, chain(&error)))
}

/// The limits, with as many connections as there are file descriptors for: one for the socket, one for the file.
fn limits(args: &LimitArgs) -> Limits {
    const OTHERS: u64 = 64;
    let descriptors = raise_descriptor_limit();
    let most = usize::try_from(descriptors.saturating_sub(OTHERS) / 2).unwrap_or(usize::MAX).max(1);
    let wanted = args.max_connections.get();
    if most < wanted {
        tracing::warn!(descriptors, connections = most, "fewer connections than wanted: too few file descriptors");
    }
    Limits { header_timeout: args.header_timeout, idle_timeout: args.idle_timeout, max_connections: wanted.min(most) }
}

/// Raises the number of file descriptors to what the system allows, and returns it.
fn raise_descriptor_limit() -> u64 {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    let reached = if setrlimit(Resource::Nofile, raised).is_ok() { limit.maximum } else { limit.current };
    reached.unwrap_or(u64::MAX)
}

/// Says on stdout where the server is and how to try it.
fn greet(args: &Serve, address: SocketAddr) -> io::Result<()> {
    let (store, path) = (&args.store, &args.base_path);
    let mut reachable = address;
    if address.ip().is_unspecified() {
        reachable.set_ip(match address {
            SocketAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
            SocketAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
        });
    }
    let host = format!("http://{reachable}");
    writeln!(
        io::stdout().lock(),
        "holdall serves {store} at http://{address}{path}\n\
         \n\
         An upload and its download:\n\
         \n  \
           location=$(curl -sS -o /dev/null -w '%header{{location}}' {host}{path} \\\n    \
             -H 'Tus-Resumable: 1.0.0' -H 'Upload-Length: 5' \\\n    \
             -H 'Content-Type: application/offset+octet-stream' --data-binary hello)\n  \
           curl -sS \"{host}$location\"\n"
    )
}

/// Lets running requests end, then cuts them, then drops what is left; returns when nothing runs any more.
async fn wind_down(mut serving: JoinHandle<()>, stop: &ShutdownSender, grace: Duration, uploads: &UploadStore) {
    for (phase, time) in [(Phase::Draining, grace), (Phase::Cutting, LAST_WORDS)] {
        stop.enter(phase);
        if tokio::time::timeout(time, &mut serving).await.is_ok() {
            break;
        }
    }
    stop.enter(Phase::Closing);
    if tokio::time::timeout(LAST_WORDS, uploads.idle()).await.is_err() {
        tracing::warn!("the store did not answer in time");
    }
}

async fn sweep(driver: Arc<dyn StorageDriver>, age: Duration) {
    let mut interval = tokio::time::interval(SWEEP_INTERVAL);
    loop {
        interval.tick().await;
        match (*driver).sweep(age).await {
            Ok(0) => {}
            Ok(removed) => tracing::info!(removed, "removed what crashes left behind"),
            Err(error) => tracing::warn!(error = chain(&error), "removing what crashes left behind failed"),
        }
    }
}

#[derive(Clone)]
struct TusHandler {
    service: TusService,
    idle_timeout: Duration,
    access_log: bool,
    shutdown: Shutdown,
}

impl Handler for TusHandler {
    type Body = AnswerBody;

    fn handle(mut self, peer: Peer, request: Request<Incoming>) -> impl Future<Output = Response<AnswerBody>> + Send {
        let access = self.access_log.then(|| Access::new(&request));
        let (head, body) = request.into_parts();
        let (is_http2, idle_timeout) = (head.version == Version::HTTP_2, self.idle_timeout);
        let (body, fate) = RequestBody::new(body, idle_timeout, self.shutdown);
        peer.left_unread(false);
        let response = self.service.call(Request::from_parts(head, body));
        async move {
            let Ok(response) = response.await;
            peer.left_unread(!fate.is_read());
            if let Some(access) = access {
                access.log(&peer, &response);
            }
            response.map(|body| match is_http2 {
                true => AnswerBody::watched(body, idle_timeout, peer.stalled()),
                false => AnswerBody::unwatched(body),
            })
        }
    }
}

/// What the log says of a request: nothing of its query, headers or body, which may hold secrets.
struct Access {
    begin: Instant,
    method: hyper::Method,
    path: Box<str>,
}

impl Access {
    fn new(request: &Request<Incoming>) -> Self {
        Self { begin: Instant::now(), method: request.method().clone(), path: request.uri().path().into() }
    }

    fn log(self, peer: &Peer, response: &Response<Body>) {
        let offset = response.headers().get("upload-offset").and_then(|offset| offset.to_str().ok());
        tracing::info!(
            target: "holdall::access",
            peer = %peer.address,
            method = %self.method,
            path = %self.path,
            status = response.status().as_u16(),
            offset,
            milliseconds = u64::try_from(self.begin.elapsed().as_millis()).unwrap_or(u64::MAX),
            "request"
        );
    }
}

fn because<E: Display>(what: impl Display) -> impl FnOnce(E) -> String {
    move |error| format!("{what}: {error}")
}

/// An error and its causes in one line.
fn chain(error: &(dyn StdError + 'static)) -> String {
    std::iter::successors(Some(error), |error| (*error).source())
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(": ")
}
