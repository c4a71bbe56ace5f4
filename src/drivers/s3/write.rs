//! Taking a stream in: bytes gather to parts, parts go up in parallel, and the head follows.

use std::future::{Future, poll_fn};
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;

use bytes::{Bytes, BytesMut};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, Sleep};

use super::cache::Held;
use super::client::{Cond, Object};
use super::head::{Head, MAX_PARTS, Segment, State};
use super::keys::Id;
use super::parts::{Job, Parts};
use super::plan::MAX_OBJECT;
use super::source::{Broken, Buffer, Source};
use super::store::{Store, conflict, payload, random};
use super::transport::Again;
use crate::driver::{ByteStream, Completion, OnFailure, WriteOptions, collect};
use crate::error::{Error, ErrorKind, Result};
use crate::path::StoragePath;

/// What each write may hold beside the budget.
pub(super) const FREE: u64 = 256 << 10;
/// While so many numbers are left, a writer keeps what it reserved and didn't use.
const PLENTY: u32 = MAX_PARTS / 2;

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

    fn is_headed(&self) -> bool {
        matches!(self.target, Target::Head)
    }

    fn keeps(&self) -> bool {
        self.options.on_failure == OnFailure::KeepPrefix
    }

    fn tail_size(&self) -> u64 {
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
                // What is kept of the segment that is cut goes to the buffer, and from there where it fits.
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
        let room = loop {
            // Its own parts under way hold room too, and end only while they are waited for.
            match self.store.try_room(length) {
                Some(room) => break room,
                None if self.parts.is_running() => self.part().await?,
                None => break self.store.room(length).await?,
            }
        };
        match collect(bytes).await {
            Ok(bytes) => self.begin_with(length, Job::Bytes(bytes.into(), Some(room))).await,
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
            if full && self.parts.held() < self.store.config.concurrency {
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
            if self.store.is_tight() {
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
    async fn part(&mut self) -> Result<()> {
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
    async fn drain(&mut self) -> Result<()> {
        while self.parts.held() > 0 {
            self.part().await?;
        }
        Ok(())
    }

    /// Sends the tail and the beginning of the buffer as a part of `most` bytes, or of what there is.
    async fn cut(&mut self, most: u64) -> Result<()> {
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

    async fn reserve_if_none(&mut self) -> Result<()> {
        if self.held.head.upload.is_none() || self.parts.numbers().is_empty() {
            self.reserve().await?;
        }
        Ok(())
    }

    /// Makes part numbers ours: nobody has used them, and nobody will.
    async fn reserve(&mut self) -> Result<()> {
        self.become_headed().await?;
        let headed = self.is_headed();
        let head = &mut self.held.head;
        if head.upload.is_none() {
            head.upload = Some(self.store.client.create_upload(&self.key, head.file).await?.into());
        }
        let first = head.top + 1;
        let left = MAX_PARTS - head.top.min(MAX_PARTS);
        if left == 0 {
            let detail = format!("all {MAX_PARTS} part numbers of the file are used up; parts would have to be larger");
            return Err(Error::new(ErrorKind::SizeExceeded).with_detail(detail));
        }
        if headed {
            head.top += (left / 256).clamp(1, 32);
            head.owner = self.store.owner;
            match &mut self.without {
                None => self.write_head().await?,
                Some(without) => {
                    // Nothing of this write may show before its stream has ended well.
                    (without.upload, without.top, without.owner) = (head.upload.clone(), head.top, head.owner);
                    self.held.etag = self.store.put_head(self.path, without, Some(&self.held.etag)).await?;
                }
            }
        } else {
            head.top = MAX_PARTS;
        }
        let head = &self.held.head;
        self.parts.reserve(head.upload.as_deref().unwrap_or_default(), first..head.top + 1);
        self.parts.launch();
        Ok(())
    }

    /// Writes the head, and then removes the segments that it names no more.
    async fn write_head(&mut self) -> Result<()> {
        self.held.etag = self.store.put_head(self.path, &mut self.held.head, Some(&self.held.etag)).await?;
        (self.dirty, self.without) = (false, None);
        let head = &self.held.head;
        let named = head.segments.iter().map(|segment| segment.name).collect();
        let gone = std::mem::replace(&mut self.named, named).into_iter().filter(|name| !self.named.contains(name));
        let gone = gone.map(|name| self.store.keys.segment(head.file, name)).collect();
        self.store.delete_segments(gone).await;
        Ok(())
    }

    /// Turns a write that may go either way into one of an uncommitted file.
    pub(super) async fn become_headed(&mut self) -> Result<()> {
        let Target::Either(dead) = &self.target else { return Ok(()) };
        let (dead, part_size) = (dead.clone(), self.held.head.part_size);
        self.held = self.store.create(self.path, dead, part_size, self.options).await?;
        self.without = (!self.keeps()).then(|| Box::new(self.held.head.clone()));
        self.target = Target::Head;
        Ok(())
    }

    /// Takes the parts that are done, in order, into the head; the first of them began with its tail.
    fn settle(&mut self) {
        let ready = self.parts.take_ready();
        if ready.is_empty() {
            return;
        }
        let head = &mut self.held.head;
        head.parts.extend(ready);
        if !matches!(self.options.completion, Completion::AtSize(_)) {
            head.part_size = self.store.plan.next(head.parts.len() + self.parts.held(), head.part_size);
        }
        if self.tail_cut {
            head.segments.clear();
            head.inline = Bytes::new();
            self.held.segments = Some(Vec::new());
            self.tail_cut = false;
        }
        self.dirty = true;
    }

    /// Records what has arrived: the parts that are done, and the bytes after them if nothing is missing in between.
    async fn checkpoint(&mut self, state: State) -> Result<()> {
        self.since = 0;
        if self.parts.held() == 0 && !self.buffer.is_empty() {
            self.store_tail().await?;
            self.dirty = true;
        }
        if self.dirty || state != self.held.head.state {
            self.held.head.state = state;
            self.write_head().await?;
        }
        Ok(())
    }

    /// Puts the buffer into the head, or with the head's own bytes into a segment.
    async fn store_tail(&mut self) -> Result<()> {
        let length = self.buffer.len();
        let pieces = self.buffer.take(length);
        let head = &mut self.held.head;
        if head.inline.len() as u64 + length <= self.store.config.inline_limit {
            let mut inline = BytesMut::with_capacity(head.inline.len() + length as usize);
            inline.extend_from_slice(&head.inline);
            pieces.iter().for_each(|piece| inline.extend_from_slice(piece));
            head.inline = inline.freeze();
            return Ok(());
        }
        let all: Vec<Bytes> =
            std::iter::once(head.inline.clone()).filter(|inline| !inline.is_empty()).chain(pieces).collect();
        let length = all.iter().map(|piece| piece.len() as u64).sum();
        let body = payload(all.clone());
        let mut pause = super::transport::Backoff::new(self.store.config.max_retries);
        let name = loop {
            // A try that got no answer goes out again under a new name, so that it can't land over what is recorded.
            let name = random()?;
            let key = self.store.keys.segment(head.file, name);
            match self.store.client.put(&key, body.clone(), Cond::Any, None, Again::IfNotBegun).await {
                Ok(_) => break name,
                Err(failure) if failure.is_lost() && pause.wait().await => {}
                Err(failure) => return Err(failure.into()),
            }
        };
        head.segments.push(Segment { name, length });
        head.inline = Bytes::new();
        if let Some(segments) = &mut self.held.segments {
            segments.extend(all);
        }
        Ok(())
    }

    /// The stream has ended, well or not.
    async fn finish(mut self, broken: Option<Broken>) -> Result<()> {
        let (keep, error) = match broken {
            None => (true, None),
            Some(Broken::Stream(error)) => (self.keeps(), Some(error)),
            Some(Broken::Prefix(error)) => (false, Some(error)),
        };
        if let Some(error) = error.as_ref().filter(|_| !keep) {
            self.give_up(error).await;
        } else {
            let whole = match self.options.completion {
                Completion::EndOfStream => error.is_none() || matches!(self.target, Target::Object(_)),
                Completion::AtSize(size) => self.size == size,
                Completion::OnCommit => false,
            };
            self.end(whole).await?;
        }
        error.map_or(Ok(()), Err)
    }

    async fn end(&mut self, whole: bool) -> Result<()> {
        if whole {
            return self.end_object().await;
        }
        if matches!(self.target, Target::Object(_)) {
            self.give_up(&Error::new(ErrorKind::AlreadyExists)).await;
            let detail = "a complete file is there, and this write would leave it incomplete";
            return Err(Error::new(ErrorKind::AlreadyExists).with_detail(detail));
        }
        self.become_headed().await?;
        if let Err(error) = self.drain().await {
            self.give_up(&error).await;
            return Err(error);
        }
        self.checkpoint(State::Growing).await?;
        self.give_back();
        Ok(())
    }

    /// The file is whole: makes it an object.
    async fn end_object(&mut self) -> Result<()> {
        if !self.is_headed() && self.held.head.upload.is_none() {
            return self.put_whole().await;
        }
        if let Err(error) = self.end_upload().await {
            self.give_up(&error).await;
            return Err(error);
        }
        match &self.target {
            Target::Head => {
                self.checkpoint(State::Sealed).await?;
                self.store.complete(self.path, self.held.clone()).await
            }
            Target::Object(over) => {
                let head = &self.held.head;
                let upload = head.upload.as_deref().unwrap_or_default();
                let completed =
                    self.store.complete_upload(self.path, upload, head.file, &head.parts, over.cond()).await;
                if let Err(error) = &completed {
                    self.give_up(error).await;
                }
                completed
            }
            Target::Either(_) => Err(conflict("the file has no head")),
        }
    }

    /// All bytes are in parts.
    async fn end_upload(&mut self) -> Result<()> {
        let left = |writing: &Self| writing.tail_size() + writing.buffer.len();
        while left(self) > 0 {
            if self.parts.held() < self.store.config.concurrency {
                self.cut(self.held.head.part_size).await?;
            } else {
                self.part().await?;
            }
        }
        if self.held.head.parts.is_empty() && self.parts.held() == 0 {
            // An upload has at least one part.
            self.cut(0).await?;
        }
        self.drain().await
    }

    /// PutObject: a short file, whole.
    async fn put_whole(&mut self) -> Result<()> {
        let length = self.buffer.len();
        let body = payload(self.buffer.take(length));
        let file = self.held.head.file;
        let mut over = match &self.target {
            Target::Object(over) => over.clone(),
            _ => Over::Nothing,
        };
        let again = if over == Over::Anything { Again::Always } else { Again::IfNotBegun };
        loop {
            let failure = match self.store.client.put(&self.key, body.clone(), over.cond(), Some(file), again).await {
                Ok(_) => return Ok(()),
                Err(failure) => failure,
            };
            if !(failure.is_lost() || failure.is_precondition() || failure.is_not_found()) {
                return Err(failure.into());
            }
            match self.store.object(self.path).await? {
                Some(object) if object.id == Some(file) => return Ok(()),
                Some(object) if failure.is_precondition() => over = self.unexpected(object, &over)?,
                // Somebody deleted what was to be replaced; or nobody knows whether ours is still to come.
                None if failure.is_lost() => return Err(failure.into()),
                _ => return Err(conflict("somebody else replaced the file").with_source(failure)),
            }
        }
    }

    /// An object is there that was not: is it what the caller expected all the same?
    fn unexpected(&self, object: Object, over: &Over) -> Result<Over> {
        use crate::driver::Expected;
        match self.options.expected {
            Expected::Absent | Expected::Size(_) if *over == Over::Nothing => {
                self.options.check(Some(object.size), 0, u64::MAX)?;
                Ok(Over::This(object.etag))
            }
            _ => Err(conflict("somebody else replaced the file")),
        }
    }

    /// The write has failed: what can be kept is recorded, what can't is aborted. The failure itself is told elsewhere.
    async fn give_up(&mut self, error: &Error) {
        if self.is_headed() {
            if error.kind() == ErrorKind::Conflict || self.held.head.state != State::Growing {
                return;
            }
            if let Some(without) = self.without.take() {
                self.held.head = *without;
                self.held.segments = self.held.head.segments.is_empty().then(Vec::new);
            } else {
                self.settle();
                if self.checkpoint(State::Growing).await.is_err() {
                    return;
                }
            }
            self.give_back();
        } else if let Some(upload) = &self.held.head.upload
            && let Err(failure) = self.store.client.abort(&self.key, upload).await
        {
            tracing::debug!(path = %self.path, %failure, "left an upload behind");
        }
    }

    /// Keeps the head for the next append.
    fn give_back(&mut self) {
        let mut held = self.held.clone();
        held.numbers = self.parts.numbers();
        if held.head.top > PLENTY && !held.numbers.is_empty() {
            // The next checkpoint gives the numbers back: whoever holds the head may go on above those that were used.
            held.head.top = held.numbers.start.saturating_sub(1);
            held.numbers = 0..0;
        }
        self.store.cache.put(self.path, held);
    }
}
