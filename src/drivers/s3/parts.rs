//! Parts on their way: several at once, each try under a number of its own.
//!
//! An upload is put together in the order of its numbers. So when a try got no answer and its part goes out again, under a
//! higher number, those that follow it have to go again as well: their bytes stay until all before them are done.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures::StreamExt;
use futures::future::{AbortHandle, Abortable, BoxFuture};
use futures::stream::FuturesUnordered;
use object_store::PutPayload;
use tokio::sync::OwnedSemaphorePermit;

use super::failure::Failure;
use super::head::{ETag, Part};
use super::read::replaced;
use super::store::{Store, conflict};
use super::transport::pause;
use crate::error::Result;

/// What becomes a part.
pub(super) enum Job {
    /// Bytes in memory, with the room they take.
    Bytes(PutPayload, #[expect(dead_code, reason = "held until the bytes are dropped")] Option<OwnedSemaphorePermit>),
    /// A range of an object, by key and ETag.
    Copy(Arc<(String, Box<str>)>, Range<u64>),
}

impl Job {
    fn length(&self) -> u64 {
        match self {
            Self::Bytes(payload, _) => payload.content_length() as u64,
            Self::Copy(_, range) => range.end - range.start,
        }
    }
}

struct Slot {
    job: Arc<Job>,
    tries: u32,
    state: State,
}

enum State {
    /// To be sent, under this number if it has one already.
    Waiting(Option<u32>),
    Sent(u32, AbortHandle),
    Done(Part),
}

/// What became of one try: the part's index, the number, and the ETag.
type Tried = (u64, u32, Result<Box<str>, Failure>);

/// The parts of one write.
pub(super) struct Parts {
    store: Arc<Store>,
    key: Arc<str>,
    upload: Option<Arc<str>>,
    /// Numbers that may be used, each once.
    numbers: Range<u32>,
    running: FuturesUnordered<Abortable<BoxFuture<'static, Tried>>>,
    /// By index; all that was added and not taken.
    slots: BTreeMap<u64, Slot>,
    added: u64,
}

impl Parts {
    pub(super) fn new(store: &Arc<Store>, key: &str, upload: Option<&str>, numbers: Range<u32>) -> Self {
        Self {
            store: Arc::clone(store),
            key: key.into(),
            upload: upload.map(Arc::from),
            numbers,
            running: FuturesUnordered::new(),
            slots: BTreeMap::new(),
            added: 0,
        }
    }

    pub(super) fn numbers(&self) -> Range<u32> {
        self.numbers.clone()
    }

    /// Goes on with these numbers.
    pub(super) fn reserve(&mut self, upload: &str, numbers: Range<u32>) {
        self.upload = Some(upload.into());
        self.numbers = numbers;
    }

    /// Lets go of the numbers that no try has used.
    pub(super) fn release(&mut self) {
        self.numbers = 0..0;
    }

    /// How many parts were added and not taken; their bytes are in memory.
    pub(super) fn held(&self) -> usize {
        self.slots.len()
    }

    /// How many of these are not finished.
    pub(super) fn unfinished(&self) -> usize {
        self.slots.values().filter(|slot| !matches!(slot.state, State::Done(_))).count()
    }

    /// Whether a part is under way.
    pub(super) fn is_running(&self) -> bool {
        self.slots.values().any(|slot| matches!(slot.state, State::Sent(..)))
    }

    /// Whether a part waits for a number.
    pub(super) fn lacks_numbers(&self) -> bool {
        self.numbers.is_empty() && self.slots.values().any(|slot| matches!(slot.state, State::Waiting(None)))
    }

    /// Takes the finished parts that have no unfinished one before them.
    pub(super) fn take_ready(&mut self) -> Vec<Part> {
        let mut parts = Vec::new();
        while let Some(first) = self.slots.first_entry() {
            if !matches!(first.get().state, State::Done(_)) {
                break;
            }
            if let State::Done(part) = first.remove().state {
                parts.push(part);
            }
        }
        parts
    }

    /// Takes a part on, and sends it if there is a number for it.
    pub(super) fn add(&mut self, job: Job) {
        self.slots.insert(self.added, Slot { job: Arc::new(job), tries: 0, state: State::Waiting(None) });
        self.added += 1;
        self.launch();
    }

    /// Sends what waits, as far as numbers go.
    pub(super) fn launch(&mut self) {
        let Some(upload) = &self.upload else { return };
        for (&index, slot) in &mut self.slots {
            let State::Waiting(number) = slot.state else { continue };
            let Some(number) = number.or_else(|| self.numbers.next()) else { return };
            let (store, key, upload) = (Arc::clone(&self.store), Arc::clone(&self.key), Arc::clone(upload));
            let (job, tries) = (Arc::clone(&slot.job), slot.tries);
            let (handle, registration) = AbortHandle::new_pair();
            let work: BoxFuture<'static, Tried> = Box::pin(async move {
                if let Some(tries) = tries.checked_sub(1) {
                    pause(tries).await;
                }
                let sent = match &*job {
                    Job::Bytes(payload, _) => store.client.upload_part(&key, &upload, number, payload.clone()).await,
                    Job::Copy(source, range) => {
                        store.client.copy_part(&key, &upload, number, (&source.0, &source.1), Some(range.clone())).await
                    }
                };
                (index, number, sent)
            });
            slot.state = State::Sent(number, handle);
            self.running.push(Abortable::new(work, registration));
        }
    }

    /// Waits for one try to end. Not to be polled while nothing is under way.
    pub(super) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        let (index, number, sent) = loop {
            match ready!(self.running.poll_next_unpin(cx)) {
                Some(Ok(tried)) => break tried,
                Some(Err(_aborted)) => {}
                None => return Poll::Ready(Ok(())),
            }
        };
        Poll::Ready(self.ended(index, number, sent))
    }

    fn ended(&mut self, index: u64, number: u32, sent: Result<Box<str>, Failure>) -> Result<()> {
        let Some(slot) = self.slots.get_mut(&index) else { return Ok(()) };
        if !matches!(slot.state, State::Sent(current, _) if current == number) {
            return Ok(());
        }
        let failure = match sent {
            Ok(etag) => {
                slot.state = State::Done(Part { number, length: slot.job.length(), etag: ETag::new(&etag) });
                return Ok(());
            }
            Err(failure) => failure,
        };
        // What is not sent again stays as waiting: it is not finished, and not under way.
        slot.tries += 1;
        let tries = slot.tries;
        slot.state = State::Waiting(Some(number));
        if failure.is_no_such_upload() {
            return Err(conflict("somebody else ended the file").with_source(failure));
        }
        if tries > self.store.config.max_retries || !(failure.is_lost() || failure.is_not_begun()) {
            return Err(match &*slot.job {
                Job::Bytes(..) => failure.into(),
                Job::Copy(..) => replaced(failure),
            });
        }
        if failure.is_lost() {
            for slot in self.slots.range_mut(index..).map(|(_, slot)| slot) {
                if let State::Sent(_, handle) = &slot.state {
                    handle.abort();
                }
                slot.state = State::Waiting(None);
            }
        }
        self.launch();
        Ok(())
    }
}
