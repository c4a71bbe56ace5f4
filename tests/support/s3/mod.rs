//! An S3 server in memory, as strict as AWS, that does with each request what the test says.
//!
//! ```text
//!  socket (Listener)  ─┐                                    ┌─ engine, multipart, listing, copying: the state
//!  object_store       ─┼─ call ── sigv4 ── control ── engine ┤
//!  without (Connector) ┘            rules and gates          └─ record: what came, and what became of it
//! ```
//!
//! Every request is read whole, then checked, then it meets the rules (faults and gates), then the engine does it in one step.
//! A test sets up faults by [`S3Server::fault`], decides the order of requests by [`S3Server::gate`], and asks
//! [`S3Server::counts`] and [`S3Server::record`] afterwards.

mod answer;
mod call;
mod conditions;
mod config;
mod control;
mod copying;
pub mod digest;
mod engine;
mod listing;
mod multipart;
mod raw;
mod record;
pub mod sigv4;
mod transport;
mod xml;

use std::fmt;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use chrono::TimeDelta;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, request};
use object_store::aws::AmazonS3Builder;
use tokio::sync::oneshot;

pub use answer::{Answer, Code, Refusal};
pub use call::{Call, Op, decode, encode};
pub use config::Config;
pub use control::{Failure, Gate, Hits, Late, Outcome, Pending, Reply, Rule};
pub use engine::Object;
pub use multipart::{Part, Upload};
pub use raw::{Raw, RawAnswer};
pub use record::{Count, Counts, Entry};
pub use transport::{Connector, Listener};

use engine::Engine;
use record::Record;

/// The server. A clone is the same server.
#[derive(Clone)]
pub struct S3Server(Arc<Inner>);

struct Inner {
    engine: Mutex<Engine>,
    rules: Mutex<control::Rules>,
    record: Mutex<Record>,
    late: Mutex<Vec<Late>>,
    numbers: AtomicU64,
}

impl fmt::Debug for S3Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("S3Server").finish_non_exhaustive()
    }
}

impl S3Server {
    /// A server with one empty bucket.
    pub fn new(config: Config) -> Self {
        Self::with_engine(Engine::new(config))
    }

    fn with_engine(engine: Engine) -> Self {
        Self(Arc::new(Inner {
            engine: Mutex::new(engine),
            rules: Mutex::default(),
            record: Mutex::default(),
            late: Mutex::default(),
            numbers: AtomicU64::new(0),
        }))
    }

    /// Another server that holds the same at this moment, without rules, record and late requests. Bodies are shared, so this is
    /// cheap: to try what a client would find here, and go on as if nothing had been.
    pub fn fork(&self) -> Self {
        Self::with_engine(lock(&self.0.engine).clone())
    }

    // ---- ways in ----

    /// A way in without sockets, for `AmazonS3Builder::with_http_connector`. Its requests are told apart by `client`.
    pub fn connector(&self, client: &str) -> Connector {
        Connector { server: self.clone(), client: Arc::from(client) }
    }

    /// Opens a socket on 127.0.0.1. Its requests are told apart by their access key.
    ///
    /// # Errors
    /// If there is no port.
    pub async fn listen(&self) -> io::Result<Listener> {
        Listener::bind(self.clone()).await
    }

    /// A builder of object_store's client for this server's bucket, signing with its first key, sent to `endpoint`.
    pub fn builder(&self, endpoint: &str) -> AmazonS3Builder {
        let config = &lock(&self.0.engine).config;
        let mut builder = AmazonS3Builder::new()
            .with_endpoint(endpoint)
            .with_allow_http(true)
            .with_region(&config.region)
            .with_bucket_name(&config.bucket)
            .with_skip_signature(config.public);
        if let Some((access_key, secret)) = config.keys.first_key_value() {
            builder = builder.with_access_key_id(access_key).with_secret_access_key(&secret.secret);
        }
        builder
    }

    // ---- control ----

    /// Adds a rule. The first rule or gate that means a request decides about it.
    pub fn fault(&self, rule: Rule) -> Hits {
        lock(&self.0.rules).add(rule)
    }

    /// Takes all rules back; gates stay.
    pub fn clear_faults(&self) {
        lock(&self.0.rules).clear();
    }

    /// From now on every request waits for the test.
    pub fn gate(&self) -> Gate {
        self.gate_when(|_| true)
    }

    /// From now on every request for which this is true waits for the test.
    pub fn gate_when(&self, test: impl Fn(&Call) -> bool + Send + 'static) -> Gate {
        lock(&self.0.rules).gate(self, Box::new(test))
    }

    /// Takes the requests that are still to land, in the order in which they came.
    pub fn take_late(&self) -> Vec<Late> {
        std::mem::take(&mut lock(&self.0.late))
    }

    /// Sets the server's clock forward, so that signatures run out.
    pub fn advance(&self, time: Duration) {
        lock(&self.0.engine).ahead += delta(time);
    }

    /// Sets the server's clock back, so that all it stores from now on is old at once. Signatures are good for 15 minutes.
    pub fn set_back(&self, time: Duration) {
        lock(&self.0.engine).ahead -= delta(time);
    }

    /// Makes all that is stored older. The clock stays.
    pub fn age(&self, time: Duration) {
        self.age_when(time, |_| true);
    }

    /// Makes what is stored at some keys, or uploaded to them, older.
    pub fn age_when(&self, time: Duration, test: impl Fn(&str) -> bool) {
        let mut engine = lock(&self.0.engine);
        for bucket in engine.buckets.values_mut() {
            let objects = bucket.objects.iter_mut().filter(|(key, _)| test(key));
            objects.for_each(|(_, object)| object.modified -= delta(time));
            for upload in bucket.uploads.values_mut().filter(|upload| test(&upload.key)) {
                upload.initiated -= delta(time);
                upload.parts.values_mut().for_each(|part| part.modified -= delta(time));
            }
        }
    }

    /// Changes limits and peculiarities from now on.
    pub fn reconfigure(&self, change: impl FnOnce(&mut Config)) {
        change(&mut lock(&self.0.engine).config);
    }

    // ---- what came ----

    /// All requests since the last [`reset`](Self::reset), in the order they arrived.
    pub fn record(&self) -> Vec<Entry> {
        lock(&self.0.record).entries().to_vec()
    }

    /// Requests and bytes since the last [`reset`](Self::reset), by operation.
    pub fn counts(&self) -> Counts {
        lock(&self.0.record).entries().iter().collect()
    }

    /// Forgets the record.
    pub fn reset(&self) {
        lock(&self.0.record).clear();
    }

    // ---- what is there, asked and set without a request ----

    /// The object at a key of the first bucket.
    pub fn object(&self, key: &str) -> Option<Object> {
        let engine = lock(&self.0.engine);
        engine.find(&engine.config.bucket, key).cloned()
    }

    /// The keys of the first bucket, in byte order.
    pub fn keys(&self) -> Vec<String> {
        let engine = lock(&self.0.engine);
        let bucket = engine.buckets.get(&engine.config.bucket);
        bucket.into_iter().flat_map(|bucket| bucket.objects.keys().cloned()).collect()
    }

    /// The multipart uploads under way in the first bucket, by id, oldest first.
    pub fn uploads(&self) -> Vec<(String, Upload)> {
        let engine = lock(&self.0.engine);
        let bucket = engine.buckets.get(&engine.config.bucket);
        bucket.into_iter().flat_map(|bucket| bucket.uploads.clone()).collect()
    }

    /// Stores an object in the first bucket.
    pub fn put(&self, key: &str, body: impl Into<Bytes>) {
        let (body, mut engine) = (body.into(), lock(&self.0.engine));
        let (etag, modified) = (engine.etag(&body, &HeaderMap::new()), engine.now());
        let bucket = engine.config.bucket.clone();
        let object = Object { body, etag, modified, headers: HeaderMap::new() };
        engine.buckets.entry(bucket).or_default().objects.insert(key.to_owned(), object);
    }

    /// Removes an object from the first bucket.
    pub fn remove(&self, key: &str) {
        let mut engine = lock(&self.0.engine);
        let bucket = engine.config.bucket.clone();
        engine.buckets.entry(bucket).or_default().objects.remove(key);
    }

    // ---- a request's way ----

    /// Takes one request in and waits for what becomes of it.
    pub async fn handle(&self, client: Option<&str>, parts: request::Parts, body: Bytes) -> Reply {
        let number = self.0.numbers.fetch_add(1, Ordering::SeqCst) + 1;
        let mut call = Call::new(number, parts, body.len() as u64);
        let admitted = {
            let engine = lock(&self.0.engine);
            let config = &engine.config;
            match config.public {
                true => Ok(String::from("public")),
                false => sigv4::verify(&call, &body, &config.keys, &config.region, engine.now()),
            }
        };
        (call.client, call.refused) = match admitted {
            Ok(access_key) => (access_key, None),
            Err(refusal) => (String::new(), Some(refusal)),
        };
        if let Some(client) = client {
            call.client = client.to_owned();
        }
        let call = Arc::new(call);
        lock(&self.0.record).arrived(&call);

        let (reply, answer) = oneshot::channel();
        let pending = Pending { server: self.clone(), call, body, reply };
        let passed = lock(&self.0.rules).pass(pending);
        if let Some((pending, outcome)) = passed {
            pending.release(outcome);
        }
        // Whoever held the request dropped it: it was never done.
        answer.await.unwrap_or(Reply::Broken(Failure::Reset))
    }

    fn execute(&self, call: &Call, body: Bytes) -> Answer {
        let answer = match &call.refused {
            Some(refusal) => Err(refusal.clone()),
            None => lock(&self.0.engine).execute(call, body),
        };
        let answer = answer.unwrap_or_else(|refusal| Answer::error(&refusal, call)).without_body_for(call);
        let id = HeaderValue::from_str(&call.request_id());
        id.into_iter().fold(answer, |answer, id| answer.with(HeaderName::from_static("x-amz-request-id"), id))
    }

    fn answered(&self, call: &Call, outcome: Outcome, status: Option<StatusCode>, bytes_out: u64) {
        lock(&self.0.record).answered(call, outcome, status, bytes_out);
    }

    fn keep_late(&self, late: Late) {
        lock(&self.0.late).push(late);
    }

    fn close(&self, gone: impl FnMut(&Rule) -> bool) {
        lock(&self.0.rules).remove(gone);
    }
}

/// Locks, also after a test that held the lock has panicked.
fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn delta(time: Duration) -> TimeDelta {
    TimeDelta::from_std(time).unwrap_or(TimeDelta::MAX)
}
