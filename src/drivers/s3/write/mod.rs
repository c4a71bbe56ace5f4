//! Taking a stream in: bytes gather to parts, parts go up in parallel, and the head follows.

mod checkpoint;
mod finish;

use std::future::{Future, poll_fn};
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;

use bytes::Bytes;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, Sleep};

use super::cache::Held;
use super::client::Cond;
use super::head::{Head, State};
use super::keys::Id;
use super::parts::{Job, Parts};
use super::plan::MAX_OBJECT;
use super::source::{Broken, Buffer, Source};
use super::store::{Store, payload, random};
use crate::driver::{ByteStream, OnFailure, WriteOptions, collect};
use crate::error::{Error, ErrorKind, Result};
use crate::path::StoragePath;

/// What each write may hold beside the budget.
pub(super) const FREE: u64 = 256 << 10;

/// What an object may take the place of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Over {
    Nothing,
    /// The object of this ETag.
    This(Box<str>),
    Anything,
}

impl Over {
    fn cond(&self) -> Cond<'_> {
        match self {
            Self::Nothing => Cond::Absent,
            Self::This(etag) => Cond::Is(etag),
            Self::Anything => Cond::Any,
        }
    }
}

/// Where the bytes of a write go.
#[derive(Clone, Debug)]
enum Target {
    /// Straight to the object, in this call.
    Object(Over),
    /// To the object if the stream is short and brings the whole file, else to an uncommitted file, in place of this dead
    /// head if there is one.
    Either(Option<Box<Held>>),
    /// To the uncommitted file whose head this is.
    Head,
}

/// One write under way.
pub(super) struct Writing<'a> {
    store: &'a Arc<Store>,
    path: &'a StoragePath,
    key: String,
    options: WriteOptions,
    target: Target,
    /// The head as it lies in the bucket; for an object the same record, that nobody else sees.
    held: Held,
    /// Of a write that may be discarded: the head without it.
    without: Option<Box<Head>>,
    /// Whether the head in the bucket is older than `held`.
    dirty: bool,
    /// The segments that the head in the bucket names.
    named: Vec<Id>,
    /// The size of the file, with all that was taken in.
    size: u64,
    /// What follows the tail of the head, or the last part.
    buffer: Buffer,
    /// Room for a part, of which `buffer` is the beginning.
    room: Option<OwnedSemaphorePermit>,
    parts: Parts,
    /// Whether the tail of the head has gone into a part that is not recorded yet.
    tail_cut: bool,
    /// Bytes since the last checkpoint.
    since: u64,
    timer: Pin<Box<Sleep>>,
}

enum Event {
    Piece(Option<Result<Bytes, Broken>>),
    Part(Result<()>),
    Time,
}

impl<'a> Writing<'a> {
    /// Goes on with an uncommitted file.
    pub(super) fn headed(store: &'a Arc<Store>, path: &'a StoragePath, held: Held, options: WriteOptions) -> Self {
        Self::new(store, path, held, options, Target::Head)
    }

    /// Makes an object in this call.
    pub(super) fn object(
        store: &'a Arc<Store>,
        path: &'a StoragePath,
        over: Over,
        part_size: u64,
        options: WriteOptions,
    ) -> Result<Self> {
        let held = Held::read(Head::new(random()?, part_size), "".into());
        Ok(Self::new(store, path, held, options, Target::Object(over)))
    }

    /// Makes an object if the stream is short and whole, else an uncommitted file.
    pub(super) fn either(
        store: &'a Arc<Store>,
        path: &'a StoragePath,
        dead: Option<Box<Held>>,
        part_size: u64,
        options: WriteOptions,
    ) -> Result<Self> {
        let held = Held::read(Head::new(random()?, part_size), "".into());
        Ok(Self::new(store, path, held, options, Target::Either(dead)))
    }

    fn new(
        store: &'a Arc<Store>,
        path: &'a StoragePath,
        mut held: Held,
        options: WriteOptions,
        target: Target,
    ) -> Self {
        let key = store.keys.object(path);
        let numbers = std::mem::take(&mut held.numbers);
        let discards = matches!(target, Target::Head) && options.on_failure == OnFailure::Discard;
        let parts = Parts::new(store, &key, held.head.upload.as_deref(), numbers);
        Self {
            store,
            path,
            key,
            options,
            target,
            size: held.head.size(),
            without: discards.then(|| Box::new(held.head.clone())),
            named: held.head.segments.iter().map(|segment| segment.name).collect(),
            held,
            dirty: false,
            buffer: Buffer::default(),
            room: None,
            parts,
            tail_cut: false,
            since: 0,
            timer: Box::pin(tokio::time::sleep(store.config.checkpoint_interval)),
        }
    }

    /// The id of the file, which its object will carry.
    pub(super) fn file(&self) -> Id {
        self.held.head.file
    }

    pub(super) fn is_headed(&self) -> bool {
        matches!(self.target, Target::Head)
    }

    pub(super) fn keeps(&self) -> bool {
        self.options.on_failure == OnFailure::KeepPrefix
    }

    pub(super) fn tail_size(&self) -> u64 {
        if self.tail_cut { 0 } else { self.held.head.tail_size() }
    }

    /// Cuts the file back to its first `size` bytes; in memory, until the head is written next.
    ///
    /// # Errors
    /// [`UnsupportedMethod`](ErrorKind::UnsupportedMethod) inside a finished part.
    pub(super) async fn cut_back(&mut self, size: u64) -> Result<()> {
        if size >= self.size {
            return Ok(());
        }
        let before = self.held.head.clone();
        if size >= before.parts_size() {
            let mut keep = size - before.parts_size();
            let segments_size = before.tail_size() - before.inline.len() as u64;
            if keep >= segments_size {
                self.held.head.inline.truncate((keep - segments_size) as usize);
            } else {
                // What is kept of the segment that is cut is stored anew at once: the next head may be written before
                // more bytes are.
                self.store.load_segments(&mut self.held).await?;
                let mut bytes = Buffer::default();
                self.held.segments.take().into_iter().flatten().for_each(|piece| bytes.push(piece));
                let whole = before.segments.iter().take_while(|segment| {
                    let fits = segment.length <= keep;
                    keep -= if fits { segment.length } else { 0 };
                    fits
                });
                let whole = whole.count();
                self.held.head.segments.truncate(whole);
                self.held.head.inline = Bytes::new();
                let length = self.held.head.tail_size();
                self.held.segments = Some(bytes.take(length));
                bytes.take(keep).into_iter().for_each(|piece| self.buffer.push(piece));
                self.store_tail().await?;
            }
        } else {
            let (mut count, mut at) = (0, 0);
            while at < size {
                at += before.parts.get(count).map_or(u64::MAX, |part| part.length);
                count += 1;
            }
            if at != size {
                let detail =
                    format!("offset {size} lies inside a finished part, which can't be read back before the end");
                return Err(Error::new(ErrorKind::UnsupportedMethod).with_detail(detail).with_size(self.size));
            }
            self.held.head.parts.truncate(count);
            self.held.head.segments.clear();
            self.held.head.inline = Bytes::new();
            self.held.segments = Some(Vec::new());
        }
        self.size = size;
        self.dirty = true;
        Ok(())
    }

    /// Begins with ranges of an object (by key and ETag) that the engine copies.
    pub(super) async fn copy(
        &mut self,
        from: (String, Box<str>),
        ranges: impl Iterator<Item = Range<u64>>,
    ) -> Result<()> {
        let from = Arc::new(from);
        for range in ranges {
            self.begin_with(range.end - range.start, Job::Copy(Arc::clone(&from), range)).await?;
        }
        Ok(())
    }

    /// Begins with bytes that go up as a part of their own.
    pub(super) async fn part_of(&mut self, length: u64, bytes: ByteStream) -> Result<()> {
        let gathered = async {
            let room = loop {
                // Its own parts under way hold room too, and end only while they are waited for.
                match self.store.try_room(length) {
                    Some(room) => break room,
                    None if self.parts.is_running() => self.part().await?,
                    None => break self.store.room(length).await?,
                }
            };
            Ok((collect(bytes).await?, room))
        };
        match gathered.await {
            Ok((bytes, room)) => self.begin_with(length, Job::Bytes(bytes.into(), Some(room))).await,
            Err(error) => {
                self.give_up(&error).await;
                Err(error)
            }
        }
    }

    async fn begin_with(&mut self, length: u64, job: Job) -> Result<()> {
        self.size += length;
        let added = async {
            self.reserve_if_none().await?;
            while self.parts.held() >= self.store.config.copy_concurrency {
                self.part().await?;
            }
            self.parts.add(job);
            Ok(())
        };
        match added.await {
            Err(error) => {
                self.give_up(&error).await;
                Err(error)
            }
            added => added,
        }
    }

    /// Takes the stream in, and gives how many of its bytes were read.
    pub(super) async fn run(mut self, mut source: Source) -> Result<u64> {
        let taken = self.take_in(&mut source).await;
        let read = source.read();
        match taken {
            Ok(broken) => self.finish(broken).await.map(|()| read),
            Err(error) => {
                self.give_up(&error).await;
                Err(error)
            }
        }
        .map_err(|error| error.with_bytes_read(read))
    }

    /// Completes the file with what it has.
    pub(super) async fn seal(mut self) -> Result<()> {
        self.end_object().await
    }

    /// Until the stream ends; gives the failure that ended it. An error is the backend's.
    async fn take_in(&mut self, source: &mut Source) -> Result<Option<Broken>> {
        loop {
            if self.parts.lacks_numbers() {
                self.reserve().await?;
            }
            let part_size = self.held.head.part_size;
            let full = self.tail_size() + self.buffer.len() >= part_size;
            if full && self.may_send() {
                self.cut(part_size).await?;
                continue;
            }
            if self.since >= self.store.config.checkpoint_bytes && self.keeps() && self.is_headed() {
                self.checkpoint(State::Growing).await?;
            }
            if !full && self.buffer.len() >= FREE && self.room.is_none() {
                self.find_room().await?;
                continue;
            }
            match self.wait(source, !full).await {
                Event::Piece(Some(Ok(piece))) => {
                    self.size += piece.len() as u64;
                    self.since += piece.len() as u64;
                    self.buffer.push(piece);
                    if self.size > MAX_OBJECT {
                        let detail = "S3 keeps at most 5 TiB in one object";
                        return Err(Error::new(ErrorKind::SizeExceeded).with_detail(detail));
                    }
                }
                Event::Piece(None) => return Ok(None),
                Event::Piece(Some(Err(broken))) => return Ok(Some(broken)),
                Event::Part(ended) => {
                    ended?;
                    self.settle();
                }
                Event::Time => self.time().await?,
            }
        }
    }

    /// Whether another part may go up beside those that do. One that is late keeps the finished ones after it in memory, and
    /// while there is memory enough, they don't count.
    pub(super) fn may_send(&self) -> bool {
        let (held, most) = (self.parts.held(), self.store.config.concurrency);
        held < most || held < 2 * most && self.parts.unfinished() < most && !self.store.is_tight()
    }

    async fn wait(&mut self, source: &mut Source, may_read: bool) -> Event {
        let parts = self.parts.is_running();
        poll_fn(|cx| {
            if parts && let Poll::Ready(ended) = self.parts.poll_next(cx) {
                return Poll::Ready(Event::Part(ended));
            }
            if may_read && let Poll::Ready(piece) = source.poll_next(cx) {
                return Poll::Ready(Event::Piece(piece));
            }
            self.timer.as_mut().poll(cx).map(|()| Event::Time)
        })
        .await
    }

    /// It has been a while since the last checkpoint.
    async fn time(&mut self) -> Result<()> {
        if self.keeps() && !self.buffer.is_empty() {
            self.become_headed().await?;
        }
        if self.keeps() && self.is_headed() {
            self.checkpoint(State::Growing).await?;
            // A slow stream has no room of its own: what it gathers does not stay in memory.
            if self.store.is_tight() || self.room.is_none() {
                self.forget();
            }
        }
        self.timer.as_mut().reset(Instant::now() + self.store.config.checkpoint_interval);
        Ok(())
    }

    /// Lets go of the memory of a tail that lies in the bucket.
    fn forget(&mut self) {
        if self.buffer.is_empty() && !self.tail_cut {
            self.room = None;
            if !self.held.head.segments.is_empty() {
                self.held.segments = None;
            }
        }
    }

    /// Room for a part. Whoever waits for it holds none meanwhile, or all would wait for each other.
    async fn find_room(&mut self) -> Result<()> {
        let bytes = self.held.head.part_size;
        loop {
            self.room = self.store.try_room(bytes);
            if self.room.is_some() {
                return Ok(());
            }
            if !self.parts.is_running() {
                break;
            }
            self.part().await?;
        }
        if self.keeps() {
            self.become_headed().await?;
        }
        if self.keeps() && self.is_headed() {
            self.checkpoint(State::Growing).await?;
            self.forget();
        }
        self.room = Some(self.store.room(bytes).await?);
        Ok(())
    }

    /// Waits for a part.
    pub(super) async fn part(&mut self) -> Result<()> {
        if self.parts.is_running() {
            poll_fn(|cx| self.parts.poll_next(cx)).await?;
            self.settle();
        }
        if self.parts.lacks_numbers() {
            self.reserve().await?;
        }
        Ok(())
    }

    /// Waits for all parts.
    pub(super) async fn drain(&mut self) -> Result<()> {
        while self.parts.held() > 0 {
            self.part().await?;
        }
        Ok(())
    }

    /// Sends the tail and the beginning of the buffer as a part of `most` bytes, or of what there is.
    pub(super) async fn cut(&mut self, most: u64) -> Result<()> {
        self.reserve_if_none().await?;
        let tail = self.tail_size();
        if self.room.is_none() && tail + self.buffer.len() > FREE {
            self.find_room().await?;
        }
        let tail = self.tail_size();
        let mut pieces = Vec::new();
        if tail > 0 {
            self.store.load_segments(&mut self.held).await?;
            pieces.extend(self.held.segments.take().into_iter().flatten());
            pieces.push(self.held.head.inline.clone());
        }
        pieces.extend(self.buffer.take(most.saturating_sub(tail)));
        self.tail_cut = true;
        self.parts.add(Job::Bytes(payload(pieces), self.room.take()));
        Ok(())
    }
}
