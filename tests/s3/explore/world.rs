//! One run: actors, each with a driver of its own, whose requests are done one at a time as the test says.

use std::cell::RefCell;
use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write as _;
use std::future::{Future, poll_fn};
use std::hash::{Hash, Hasher};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use async_trait::async_trait;
use futures::StreamExt;
use holdall::drivers::S3Driver;
use holdall::{Completion, Error, ErrorKind, Expected, StorageDriver, StoragePath, WriteOptions};
use http::StatusCode;
use object_store::ClientOptions;
use object_store::client::{HttpClient, HttpConnector, HttpError, HttpRequest, HttpResponse, HttpService};
use tokio::task::coop::unconstrained;

use super::monitor::{Answer, Op, Slot, Text};
use crate::support::s3::{Call, Gate, Op as Request, Pending, S3Server};

/// How many bytes a symbol stands for.
pub(super) const SYMBOL: usize = 8;
const HOUR: Duration = Duration::from_secs(3600);

/// A way to a server that can be changed, so that a driver is opened once for many runs.
#[derive(Clone, Debug)]
pub(super) struct Switch {
    pub(super) client: String,
    pub(super) server: Arc<Mutex<S3Server>>,
}

impl HttpConnector for Switch {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(self.clone()))
    }
}

#[async_trait]
impl HttpService for Switch {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let connector = self.server.lock().unwrap().connector(&self.client);
        connector.call(request).await
    }
}

/// What an actor does.
#[derive(Clone, Debug)]
pub(super) enum Do {
    Call(Op),
    /// Goes on with a file of this text where the last answer said, as a client does that resumes.
    Resume(Text, Option<usize>),
}

pub(super) enum Event {
    Called(Op),
    Answered(Answer),
}

/// A file beside the one that all meet at.
fn other(path: &StoragePath, name: &str) -> StoragePath {
    StoragePath::parse(&format!("{path}-{name}")).unwrap()
}

/// Whether a key is that of such a file.
pub(super) fn is_other(key: &str) -> bool {
    key.contains('-')
}

/// Stores what the calls need that make the file of others.
pub(super) fn store_others(server: &S3Server, path: &StoragePath, script: &[Do]) {
    for step in script {
        let texts = match step {
            Do::Call(Op::In(texts)) => texts.clone(),
            Do::Call(Op::Join(text)) => vec![text.clone()],
            _ => Vec::new(),
        };
        for (n, text) in texts.iter().enumerate() {
            server.put(&other(path, &format!("from{n}")).as_str()[1..], expand(text));
        }
    }
}

/// Makes one call.
pub(super) async fn call(driver: &S3Driver, server: &S3Server, path: &StoragePath, op: &Op) -> Answer {
    let to = other(path, "to");
    let from = |count: usize| (0..count).map(|n| other(path, &format!("from{n}")));
    let arrived = |result: Result<(), Error>| match result {
        Ok(()) => Answer::Text(contract(&server.object(&to.as_str()[1..]).unwrap().body)),
        Err(error) => refusal(&error),
    };
    let write = async |offset: usize, text: &Text, expected, completion| {
        let symbols: Vec<_> = text.iter().map(|symbol| Ok(vec![*symbol; SYMBOL].into())).collect();
        let options = WriteOptions { expected, completion, ..WriteOptions::default() };
        let read = driver.write_stream(path, bytes(offset), futures::stream::iter(symbols).boxed(), options).await;
        read.map(|read| assert_eq!(read, bytes(text.len()), "bytes were read"))
    };
    match op {
        Op::Append { at, text, whole } => {
            let expected = at.map_or(Expected::Absent, |at| Expected::Size(bytes(at)));
            let completion = whole.map_or(Completion::OnCommit, |whole| Completion::AtSize(bytes(whole)));
            answer(write(at.unwrap_or(0), text, expected, completion).await)
        }
        Op::Rewrite { size, at, text, whole } => {
            let completion = whole.map_or(Completion::OnCommit, |whole| Completion::AtSize(bytes(whole)));
            answer(write(*at, text, Expected::Size(bytes(*size)), completion).await)
        }
        Op::In(texts) => match &from(texts.len()).collect::<Vec<_>>()[..] {
            [from] => answer(driver.move_to(from, path).await),
            many => answer(driver.concat(many, path).await.map(drop)),
        },
        Op::Out => arrived(driver.move_to(path, &to).await),
        Op::Join(_) => {
            let sources: Vec<_> = std::iter::once(path.clone()).chain(from(1)).collect();
            arrived(driver.concat(&sources, &to).await.map(drop))
        }
        Op::Whole(text) => answer(write(0, text, Expected::Absent, Completion::EndOfStream).await),
        Op::Put(text) => answer(driver.put_content(path, expand(text).into()).await),
        Op::Commit => answer(driver.commit(path).await),
        Op::Delete => answer(driver.delete(path).await),
        Op::Sweep(_) => answer(driver.sweep(HOUR).await.map(drop)),
        Op::Stat => match driver.stat(path).await {
            Ok(info) => Answer::Size(symbols(info.size)),
            Err(error) => refusal(&error),
        },
        Op::Read => match driver.get_content(path).await {
            Ok(content) => Answer::Text(contract(&content)),
            Err(error) => refusal(&error),
        },
    }
}

fn answer(result: Result<(), Error>) -> Answer {
    result.map_or_else(|error| refusal(&error), |()| Answer::Ok)
}

fn refusal(error: &Error) -> Answer {
    match error.kind() {
        ErrorKind::PathNotFound => Answer::Nothing,
        ErrorKind::NotCommitted => Answer::NotCommitted,
        ErrorKind::AlreadyExists => Answer::Exists,
        ErrorKind::InvalidOffset => Answer::Offset(symbols(error.size().unwrap())),
        // The engine did not answer, or somebody else was first.
        ErrorKind::Conflict | ErrorKind::Backend | ErrorKind::Timeout => Answer::Failed,
        // An offset in a finished part.
        ErrorKind::UnsupportedMethod => Answer::Failed,
        _ => panic!("no caller is to see this: {error:?}"),
    }
}

fn bytes(symbols: usize) -> u64 {
    (symbols * SYMBOL) as u64
}

fn symbols(bytes: u64) -> usize {
    let bytes = bytes as usize;
    assert_eq!(bytes % SYMBOL, 0, "a symbol was torn");
    bytes / SYMBOL
}

fn expand(text: &[u8]) -> Vec<u8> {
    text.iter().flat_map(|symbol| [*symbol; SYMBOL]).collect()
}

fn contract(content: &[u8]) -> Text {
    let text: Text = content.chunks(SYMBOL).map(|symbol| symbol[0]).collect();
    assert_eq!(expand(&text), content, "a symbol was torn");
    text
}

type Events = Rc<RefCell<VecDeque<Event>>>;

async fn act(driver: S3Driver, server: S3Server, path: StoragePath, script: Vec<Do>, events: Events) {
    let mut last = Answer::Failed;
    for step in script {
        let op = match (step, &last) {
            (Do::Call(op), _) => op,
            (Do::Resume(text, whole), Answer::Size(at)) if *at < text.len() => {
                Op::Append { at: Some(*at), text: text[*at..].to_vec(), whole }
            }
            (Do::Resume(text, whole), Answer::Nothing) => Op::Append { at: Some(0), text, whole },
            _ => continue,
        };
        events.borrow_mut().push_back(Event::Called(op.clone()));
        last = call(&driver, &server, &path, &op).await;
        events.borrow_mut().push_back(Event::Answered(last.clone()));
    }
}

/// A request that waits.
pub(super) struct Waiting {
    number: u64,
    /// Tells the request's content: two runs in which it is equal send the same, but for random ids.
    origin: u64,
    pub(super) call: Arc<Call>,
}

/// One client.
pub(super) struct Actor {
    pub(super) name: char,
    future: Option<Pin<Box<dyn Future<Output = ()>>>>,
    events: Events,
    /// Tells all that it knows: the digest of the answers it got.
    knows: u64,
    pub(super) waiting: Vec<Waiting>,
    /// A call of which no request was done yet.
    pub(super) begins: Option<Op>,
    pub(super) slot: Slot,
}

impl Actor {
    pub(super) fn new(n: usize, driver: S3Driver, server: &S3Server, path: &StoragePath, script: &[Do]) -> Self {
        let events = Rc::default();
        let future = Box::pin(act(driver, server.clone(), path.clone(), script.to_vec(), Rc::clone(&events)));
        Self {
            name: char::from(b'A' + n as u8),
            future: Some(Box::pin(unconstrained(future))),
            events,
            knows: n as u64,
            waiting: Vec::new(),
            begins: None,
            slot: (n as u8, 0),
        }
    }

    /// Goes on until it waits for an answer, or is done. Gives what its caller saw.
    pub(super) async fn go_on(&mut self, gate: &Gate) -> Vec<Event> {
        let mut pauses = 0;
        while let Some(future) = &mut self.future {
            if poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx))).await.is_ready() {
                self.future = None;
                break;
            }
            if !self.arrivals(gate).is_empty() || !self.waiting.is_empty() {
                break;
            }
            // It pauses before another try.
            pauses += 1;
            assert!(pauses < 100, "{} waits for nothing", self.name);
            tokio::time::advance(Duration::from_secs(6)).await;
        }
        for (n, call) in self.arrivals(gate).into_iter().enumerate() {
            self.waiting.push(Waiting { number: call.number, origin: digest(&(self.knows, n)), call });
        }
        self.events.borrow_mut().drain(..).collect()
    }

    fn arrivals(&self, gate: &Gate) -> Vec<Arc<Call>> {
        let new = |call: &Arc<Call>| {
            call.client.starts_with(self.name) && self.waiting.iter().all(|waiting| waiting.number != call.number)
        };
        gate.waiting().into_iter().filter(new).collect()
    }

    /// Takes a request that waits out.
    pub(super) fn take(&mut self, n: usize, gate: &Gate) -> (Pending, u64) {
        let Waiting { number, origin, .. } = self.waiting.remove(n);
        (gate.take(|call| call.number == number).unwrap(), origin)
    }

    /// It got an answer.
    pub(super) fn learn(&mut self, what: &impl Hash) {
        self.knows = digest(&(self.knows, digest(what)));
    }

    /// All that decides what it will do.
    pub(super) fn state(&self) -> (u64, Vec<u64>, bool) {
        (self.knows, self.waiting.iter().map(|waiting| waiting.origin).collect(), self.begins.is_some())
    }
}

pub(super) fn digest(what: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    what.hash(&mut hasher);
    hasher.finish()
}

/// Where everything in the bucket comes from: what tells two runs' buckets apart, ids being random.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Origins {
    objects: BTreeMap<String, u64>,
    uploads: BTreeMap<String, (u64, BTreeMap<u32, u64>)>,
}

impl Origins {
    /// What is there before the actors.
    pub(super) fn new(server: &S3Server) -> Self {
        let object = |key: String| {
            let body = server.object(&key).map(|object| object.body);
            let origin = digest(&body.filter(|_| key.contains("~segment")));
            (key, origin)
        };
        let upload = |(id, upload): (String, crate::support::s3::Upload)| {
            (id, (0, upload.parts.keys().map(|number| (*number, 0)).collect()))
        };
        Self {
            objects: server.keys().into_iter().map(object).collect(),
            uploads: server.uploads().into_iter().map(upload).collect(),
        }
    }

    /// What a request is about to be answered with, beside its status.
    pub(super) fn seen_by(&self, call: &Call, path: &StoragePath) -> u64 {
        let key = &call.key;
        match call.op {
            Request::CopyObject | Request::UploadPartCopy => digest(&self.source(call)),
            Request::GetObject | Request::HeadObject => digest(&self.objects.get(key)),
            Request::ListObjectsV2 => {
                let prefix = call.param("prefix").unwrap_or_default();
                if local_listing(prefix, path) {
                    return 0;
                }
                digest(&self.listed(prefix, path))
            }
            Request::ListMultipartUploads | Request::ListParts => digest(&self.state(path)),
            _ => 0,
        }
    }

    /// Where what a request copies comes from.
    fn source(&self, call: &Call) -> Option<&u64> {
        let (_, key) = call.header("x-amz-copy-source")?.strip_prefix('/')?.split_once('/')?;
        self.objects.get(key)
    }

    /// The engine did a request.
    pub(super) fn done(&mut self, server: &S3Server, call: &Call, status: StatusCode, origin: u64) {
        let origin = self.source(call).map_or(origin, |source| digest(&(origin, source)));
        let upload = || call.param("uploadId").unwrap_or_default();
        let (objects, uploads) = (&mut self.objects, &mut self.uploads);
        if status.is_success() {
            match call.op {
                Request::PutObject | Request::CopyObject => drop(objects.insert(call.key.clone(), origin)),
                Request::CompleteMultipartUpload if uploads.contains_key(upload()) => {
                    objects.insert(call.key.clone(), origin);
                }
                Request::UploadPart | Request::UploadPartCopy => {
                    let number = call.param("partNumber").and_then(|number| number.parse().ok()).unwrap();
                    uploads.get_mut(upload()).unwrap().1.insert(number, origin);
                }
                _ => {}
            }
        }
        if call.writes() {
            let keys = server.keys();
            objects.retain(|key, _| keys.contains(key));
            let there = server.uploads();
            uploads.retain(|id, _| there.iter().any(|(other, _)| id == other));
            for (id, _) in there {
                uploads.entry(id).or_insert((origin, BTreeMap::new()));
            }
        }
    }

    fn listed(&self, prefix: &str, path: &StoragePath) -> Vec<(String, u64)> {
        let objects = self.objects.iter().filter(|(key, _)| key.starts_with(prefix));
        let mut objects: Vec<_> = objects.map(|(key, origin)| (place(key, path), *origin)).collect();
        objects.sort();
        objects
    }

    /// All that is there, with random names left out.
    pub(super) fn state(&self, path: &StoragePath) -> u64 {
        let mut uploads: Vec<_> = self.uploads.values().collect();
        uploads.sort();
        digest(&(self.listed("", path), uploads))
    }
}

/// A key without what differs between runs.
fn place(key: &str, path: &StoragePath) -> String {
    match key.contains("~segment") {
        true => String::from("segment"),
        false => key.replace(&path.as_str()[1..], "file"),
    }
}

/// A listing of what is below the path: nobody here writes there.
pub(super) fn local_listing(prefix: &str, path: &StoragePath) -> bool {
    let path = &path.as_str()[1..];
    prefix.strip_suffix('/').is_some_and(|prefix| prefix == path || prefix == format!("~uncommitted/{path}"))
}

/// A request, for those who read a trace.
pub(super) fn show(call: &Call, path: &StoragePath) -> String {
    let mut out = format!("{:?} {}", call.op, place(&call.key, path));
    for name in ["if-match", "if-none-match"] {
        if let Some(value) = call.header(name) {
            let _ = write!(out, " {name}: {}", value.chars().take(5).collect::<String>());
        }
    }
    for name in ["partNumber", "prefix"] {
        if let Some(value) = call.param(name) {
            let _ = write!(out, " {name}={value}");
        }
    }
    out
}
