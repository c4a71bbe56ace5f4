//! What is recorded on the way: numbers, finished parts, and the tail after them.

use bytes::{Bytes, BytesMut};

use super::super::client::Cond;
use super::super::head::{Head, MAX_PARTS, Segment, State};
use super::super::store::{payload, random};
use super::super::transport::{Again, Backoff};
use super::{Target, Writing};
use crate::driver::Completion;
use crate::error::{Error, ErrorKind, Result};

/// So many numbers may go unused before writers stop keeping what they reserved for their next call.
const PLENTY: u32 = MAX_PARTS / 4;

impl Writing<'_> {
    pub(super) async fn reserve_if_none(&mut self) -> Result<()> {
        if self.held.head.upload.is_none() || self.parts.numbers().is_empty() {
            self.reserve().await?;
        }
        Ok(())
    }

    /// Makes part numbers ours: nobody has used them, and nobody will.
    pub(super) async fn reserve(&mut self) -> Result<()> {
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
            match &mut self.without {
                None => {
                    self.dirty = true;
                    self.write_head().await?;
                }
                Some(without) => {
                    // Nothing of this write may show before its stream has ended well.
                    let mut next = Head { upload: head.upload.clone(), top: head.top, ..Head::clone(without) };
                    self.held.etag = self.store.put_head(self.path, &mut next, Some(&self.held.etag)).await?;
                    **without = next;
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

    /// Gives up numbers that were reserved and not used, once many have gone that way: others may go on above the last that
    /// was. The head that is written next says so.
    pub(super) fn release_numbers(&mut self) {
        let (numbers, head) = (self.parts.numbers(), &mut self.held.head);
        if !numbers.is_empty() && head.top.saturating_sub(head.parts.len() as u32) > PLENTY {
            head.top = numbers.start.saturating_sub(1);
            self.parts.release();
        }
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
    pub(in super::super) async fn become_headed(&mut self) -> Result<()> {
        let Target::Either(dead) = &self.target else { return Ok(()) };
        let (dead, part_size) = (dead.clone(), self.held.head.part_size);
        self.held = self.store.create(self.path, dead, part_size, self.options).await?;
        self.without = (!self.keeps()).then(|| Box::new(self.held.head.clone()));
        self.target = Target::Head;
        Ok(())
    }

    /// Takes the parts that are done, in order, into the head; the first of them began with its tail.
    pub(super) fn settle(&mut self) {
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
    pub(super) async fn checkpoint(&mut self, state: State) -> Result<()> {
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
    pub(super) async fn store_tail(&mut self) -> Result<()> {
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
        let mut pause = Backoff::new(self.store.config.max_retries);
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
}
