//! What happens to a request beside being done: faults, and gates at which requests wait for the test.

use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::StatusCode;
use tokio::sync::{Notify, oneshot};

use super::answer::{Answer, Code, Refusal};
use super::call::{Call, Op};
use super::{S3Server, lock};

/// What the client sees of a request that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The connection is reset. An HTTP client knows that the request went out.
    Reset,
    /// The connection is closed before the first byte of an answer. Many HTTP clients take that for a request that was
    /// never sent, and send it again.
    Close,
    /// No answer comes in time.
    Timeout,
    /// An error document.
    Error(Code),
    /// An error document under status 200, as CompleteMultipartUpload and copies may have it.
    ErrorIn200(Code),
    /// This body under status 200, whatever it is.
    In200(&'static str),
}

impl From<Code> for Failure {
    fn from(code: Code) -> Self {
        Self::Error(code)
    }
}

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is done and answered.
    Do,
    /// It fails, and the engine never saw it.
    Fail(Failure),
    /// The engine does it, but its answer is lost.
    Lost(Failure),
    /// It fails now, and the engine does it when the test says so: [`S3Server::take_late`].
    Late(Failure),
    /// It is done, and the body of the answer is cut after that many bytes.
    Cut(u64),
}

/// What goes back to the client.
#[derive(Debug)]
pub enum Reply {
    /// An answer, cut after some bytes of its body if a number is there.
    Answer(Answer, Option<u64>),
    /// No answer.
    Broken(Failure),
}

impl Reply {
    fn bytes_out(&self) -> u64 {
        match self {
            Self::Answer(answer, cut) => (answer.body.len() as u64).min(cut.unwrap_or(u64::MAX)),
            Self::Broken(_) => 0,
        }
    }
}

type Test = Box<dyn Fn(&Call) -> bool + Send>;

/// Which requests a fault hits: all, until narrowed. Once, unless told otherwise.
pub struct Rule {
    tests: Vec<Test>,
    skip: usize,
    times: usize,
    delay: Option<Duration>,
    action: Action,
    hits: Arc<AtomicUsize>,
}

#[derive(Clone)]
enum Action {
    Outcome(Outcome),
    Hold(Arc<Queue>),
}

impl fmt::Debug for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rule").field("skip", &self.skip).field("times", &self.times).finish_non_exhaustive()
    }
}

/// How often a rule was followed.
#[derive(Clone, Debug)]
pub struct Hits(Arc<AtomicUsize>);

impl Hits {
    /// The number of requests so far.
    pub fn count(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

impl Rule {
    /// The next request has this outcome.
    pub fn new(outcome: Outcome) -> Self {
        Self::of(Action::Outcome(outcome))
    }

    /// The next request of that operation has this outcome.
    pub fn on(op: Op, outcome: Outcome) -> Self {
        Self::new(outcome).when(move |call| call.op == op)
    }

    fn of(action: Action) -> Self {
        Self { tests: Vec::new(), skip: 0, times: 1, delay: None, action, hits: Arc::default() }
    }

    /// Only requests for which this is true.
    #[must_use]
    pub fn when(mut self, test: impl Fn(&Call) -> bool + Send + 'static) -> Self {
        self.tests.push(Box::new(test));
        self
    }

    /// Only requests that change something.
    #[must_use]
    pub fn writes(self) -> Self {
        self.when(Call::writes)
    }

    /// Only requests of this client.
    #[must_use]
    pub fn client(self, client: &str) -> Self {
        let client = client.to_owned();
        self.when(move |call| call.client == client)
    }

    /// Only requests for a key that ends so.
    #[must_use]
    pub fn key(self, end: &str) -> Self {
        let end = end.to_owned();
        self.when(move |call| call.key.ends_with(&end))
    }

    /// The first `skip` of these requests are spared.
    #[must_use]
    pub fn skip(self, skip: usize) -> Self {
        Self { skip, ..self }
    }

    /// So many of these requests are hit.
    #[must_use]
    pub fn times(self, times: usize) -> Self {
        Self { times, ..self }
    }

    /// All of these requests are hit.
    #[must_use]
    pub fn always(self) -> Self {
        self.times(usize::MAX)
    }

    /// The outcome comes only after this time (of tokio's clock).
    #[must_use]
    pub fn delay(self, delay: Duration) -> Self {
        Self { delay: Some(delay), ..self }
    }

    /// Counts the request if it is one that is meant, and tells what to do with it.
    fn follow(&mut self, call: &Call) -> Option<(Action, Option<Duration>)> {
        if self.times == 0 || !self.tests.iter().all(|test| test(call)) {
            return None;
        }
        if self.skip > 0 {
            self.skip -= 1;
            return None;
        }
        self.times -= 1;
        self.hits.fetch_add(1, Ordering::SeqCst);
        Some((self.action.clone(), self.delay))
    }
}

/// The rules, in the order they were made. The first that means a request decides.
#[derive(Default)]
pub(super) struct Rules(Vec<Rule>);

impl Rules {
    pub(super) fn add(&mut self, rule: Rule) -> Hits {
        let hits = Hits(Arc::clone(&rule.hits));
        self.0.push(rule);
        hits
    }

    pub(super) fn clear(&mut self) {
        self.0.retain(|rule| matches!(rule.action, Action::Hold(_)));
    }

    pub(super) fn remove(&mut self, mut gone: impl FnMut(&Rule) -> bool) {
        self.0.retain(|rule| !gone(rule));
    }

    /// Opens a gate.
    pub(super) fn gate(&mut self, server: &S3Server, test: Test) -> Gate {
        let queue = Arc::<Queue>::default();
        self.add(Rule::of(Action::Hold(Arc::clone(&queue))).when(test).always());
        Gate { server: server.clone(), queue }
    }

    /// Decides about a request. What has to wait for its outcome is spawned, or waits at a gate.
    pub(super) fn pass(&mut self, pending: Pending) -> Option<(Pending, Outcome)> {
        match self.0.iter_mut().find_map(|rule| rule.follow(&pending.call)) {
            None => Some((pending, Outcome::Do)),
            Some((Action::Outcome(outcome), None)) => Some((pending, outcome)),
            Some((Action::Outcome(outcome), Some(delay))) => {
                tokio::spawn(async move {
                    tokio::time::sleep(delay).await;
                    pending.release(outcome);
                });
                None
            }
            Some((Action::Hold(queue), _)) => {
                lock(&queue.waiting).push_back(pending);
                queue.arrived.notify_waiters();
                None
            }
        }
    }
}

#[derive(Debug, Default)]
struct Queue {
    waiting: Mutex<VecDeque<Pending>>,
    arrived: Notify,
}

/// A request that arrived whole and waits for its outcome. Dropped, it was never done and its connection is reset.
#[derive(Debug)]
pub struct Pending {
    pub(super) server: S3Server,
    pub(super) call: Arc<Call>,
    pub(super) body: bytes::Bytes,
    pub(super) reply: oneshot::Sender<Reply>,
}

impl Pending {
    /// The request.
    pub fn call(&self) -> &Call {
        &self.call
    }

    /// Gives the request its outcome. What the engine does it has done when this returns, also if the client is gone.
    /// Returns the status of the engine's answer if it did the request.
    pub fn release(self, outcome: Outcome) -> Option<StatusCode> {
        let Self { server, call, body, reply } = self;
        let (status, answer) = match outcome {
            Outcome::Do | Outcome::Cut(_) => {
                let answer = server.execute(&call, body);
                let cut = match outcome {
                    Outcome::Cut(bytes) => Some(bytes),
                    _ => None,
                };
                (Some(answer.status), Reply::Answer(answer, cut))
            }
            Outcome::Fail(failure) => (None, failure.reply(&call)),
            Outcome::Lost(failure) => (Some(server.execute(&call, body).status), failure.reply(&call)),
            Outcome::Late(failure) => {
                let answer = failure.reply(&call);
                server.keep_late(Late { server: server.clone(), call: Arc::clone(&call), body, outcome });
                (None, answer)
            }
        };
        server.answered(&call, outcome, status, answer.bytes_out());
        // A client that is gone misses nothing but its answer.
        let _ = reply.send(answer);
        status
    }
}

impl Failure {
    fn reply(self, call: &Call) -> Reply {
        let refusal = match self {
            Self::Error(code) => Refusal::from(code),
            Self::ErrorIn200(code) => Refusal { in_200: true, ..code.into() },
            Self::In200(body) => {
                let answer = Answer { body: body.into(), ..Answer::new(StatusCode::OK) };
                return Reply::Answer(answer, None);
            }
            broken => return Reply::Broken(broken),
        };
        Reply::Answer(Answer::error(&refusal, call), None)
    }
}

/// A request whose client has given up, and that the engine may still do at any time. Dropped, it is never done.
#[derive(Debug)]
pub struct Late {
    server: S3Server,
    call: Arc<Call>,
    body: bytes::Bytes,
    outcome: Outcome,
}

impl Late {
    /// The request.
    pub fn call(&self) -> &Call {
        &self.call
    }

    /// The engine does it. Returns the status of the answer that nobody gets.
    pub fn land(self) -> StatusCode {
        let status = self.server.execute(&self.call, self.body).status;
        self.server.answered(&self.call, self.outcome, Some(status), 0);
        status
    }
}

/// Requests wait here until the test says what becomes of each. Dropped, it lets pass what waits and what comes.
#[derive(Debug)]
pub struct Gate {
    server: S3Server,
    queue: Arc<Queue>,
}

impl Gate {
    /// The oldest request of that client that waits; waits for one to arrive.
    pub async fn next(&self, client: &str) -> Pending {
        loop {
            let arrived = self.queue.arrived.notified();
            tokio::pin!(arrived);
            arrived.as_mut().enable();
            if let Some(pending) = self.try_next(client) {
                return pending;
            }
            arrived.await;
        }
    }

    /// The oldest request of that client, if one waits.
    pub fn try_next(&self, client: &str) -> Option<Pending> {
        self.take(|call| call.client == client)
    }

    /// The oldest request for which this is true, if one waits.
    pub fn take(&self, mut test: impl FnMut(&Call) -> bool) -> Option<Pending> {
        let mut waiting = lock(&self.queue.waiting);
        let at = waiting.iter().position(|pending| test(&pending.call))?;
        waiting.remove(at)
    }

    /// The requests that wait, oldest first.
    pub fn waiting(&self) -> Vec<Arc<Call>> {
        lock(&self.queue.waiting).iter().map(|pending| Arc::clone(&pending.call)).collect()
    }

    /// Waits for the client's next request and gives it its outcome.
    pub async fn release(&self, client: &str, outcome: Outcome) -> Option<StatusCode> {
        self.next(client).await.release(outcome)
    }

    /// Drops what waits of a client that has crashed: the engine never does it.
    pub fn discard(&self, client: &str) {
        while self.try_next(client).is_some() {}
    }

    /// Waits until no task can go on but by a request's release: every actor waits at the gate, or is done.
    ///
    /// Needs a current-thread runtime with paused time, and clients that come in by [`S3Server::connector`]: the clock then
    /// only moves when nothing else can. A sleep of the clients' shorter than a millisecond is waited for, a longer one isn't.
    pub async fn settle(&self) {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.server.close(|rule| matches!(&rule.action, Action::Hold(queue) if Arc::ptr_eq(queue, &self.queue)));
        while let Some(pending) = self.take(|_| true) {
            pending.release(Outcome::Do);
        }
    }
}
