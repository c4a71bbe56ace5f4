//! What a driver's author writes, and what runs a case with it.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::runtime;
use url::Url;

use super::context::Context;
use super::{Case, settings};
use crate::driver::{StorageDriver, UrlMethod};

/// A backend to try a driver on. Each case gets one of its own, which must be empty and which no other case touches.
///
/// Failures of the backend itself (a directory that can't be made) are best met by a panic, which fails the case.
#[async_trait]
pub trait Harness: Send + Sync {
    /// A driver on this backend. The first call finds the backend empty; each later one gives another instance on the
    /// same content, as another process would have.
    async fn open(&self) -> Arc<dyn StorageDriver>;

    /// A driver on this backend after a crash. All earlier instances were dropped, some in the middle of a call. The same
    /// as [`open`](Self::open), unless the backend can forget what was not made durable.
    async fn reopen(&self) -> Arc<dyn StorageDriver> {
        self.open().await
    }

    /// What the backend holds, by any names: files, directories below the root, temporary files, uploads. It is asked
    /// once a case has deleted all it made, looking past the driver where there is a way, and must be empty then.
    async fn leftovers(&self) -> Vec<String>;

    /// Sends a request to a URL that [`url_for`](StorageDriver::url_for) gave, so that the suite needs no HTTP client.
    /// `None` leaves the URLs untried.
    async fn fetch(&self, method: UrlMethod, url: &Url, body: Bytes) -> Option<Fetched> {
        let _ = (method, url, body);
        None
    }
}

/// The answer to a request that a harness sent.
#[derive(Clone, Debug, Default)]
pub struct Fetched {
    /// The status code.
    pub status: u16,
    /// Names, in any case, and values of the headers.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Bytes,
}

/// How a case ended that found no broken promise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All of its promises were kept.
    Passed,
    /// It did not apply, for this reason.
    Skipped(String),
}

impl Case {
    /// Runs the case on a runtime of its own: on one thread, or on several for the cases about concurrency.
    ///
    /// # Panics
    /// If a promise is broken; the message says which. Also if the case hangs for `HOLDALL_TEST_TIMEOUT_SECS`.
    pub fn run(&self, harness: Arc<dyn Harness>) -> Outcome {
        let mut builder = match self.theme {
            "concurrency" => runtime::Builder::new_multi_thread(),
            _ => runtime::Builder::new_current_thread(),
        };
        let runtime = builder.worker_threads(2).enable_all().build().expect("a tokio runtime can be started");
        let timeout = settings::timeout();
        runtime.block_on(async {
            match tokio::time::timeout(timeout, self.run_in(harness)).await {
                Ok(outcome) => outcome,
                Err(_) => panic!("{}: the case did not end within {timeout:?}", self.name),
            }
        })
    }

    async fn run_in(&self, harness: Arc<dyn Harness>) -> Outcome {
        let mut context = Context::new(harness).await;
        (self.run)(&mut context).await;
        context.finish().await
    }

    /// As [`run`](Self::run), with the message of the broken promise in place of a panic. The panic's own message is
    /// still printed by the hook that is set.
    ///
    /// # Errors
    /// The message of the panic.
    pub fn check(&self, harness: Arc<dyn Harness>) -> Result<Outcome, String> {
        std::panic::catch_unwind(AssertUnwindSafe(|| self.run(harness))).map_err(|panic| {
            let text = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
            text.unwrap_or("the case panicked without a message").to_owned()
        })
    }
}

/// Runs the case of this name: the body of each test that
/// [`conformance_tests!`](crate::conformance_tests) makes.
///
/// # Panics
/// If a promise is broken, or there is no such case.
pub fn run(name: &str, harness: impl Harness + 'static) {
    let case =
        super::cases().iter().find(|case| case.name == name).unwrap_or_else(|| panic!("there is no case {name}"));
    if let Outcome::Skipped(reason) = case.run(Arc::new(harness)) {
        eprintln!("skipped: {name}: {reason}");
    }
}

/// Waits until `check` gives something, for the things that a driver may end in the background.
pub(super) async fn eventually<T>(what: &str, mut check: impl AsyncFnMut() -> Option<T>) -> T {
    let timeout = settings::timeout() / 2;
    let found = async {
        loop {
            if let Some(found) = check().await {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    match tokio::time::timeout(timeout, found).await {
        Ok(found) => found,
        Err(_) => panic!("{what}: not within {timeout:?}"),
    }
}
