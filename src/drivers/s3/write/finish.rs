//! The end of a write: the object, or the head; or neither, after a failure.

use super::super::client::{Cond, Object};
use super::super::head::State;
use super::super::put::Put;
use super::super::source::Broken;
use super::super::store::{conflict, payload};
use super::super::transport::Again;
use super::{Over, Target, Writing};
use crate::driver::{Completion, Expected};
use crate::error::{Error, ErrorKind, Result};

impl Writing<'_> {
    /// The stream has ended, well or not.
    pub(super) async fn finish(mut self, broken: Option<Broken>) -> Result<()> {
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
        self.release_numbers();
        self.checkpoint(State::Growing).await?;
        self.keep();
        Ok(())
    }

    /// The file is whole: makes it an object.
    pub(super) async fn end_object(&mut self) -> Result<()> {
        if !self.is_headed() && self.held.head.upload.is_none() {
            return self.put_whole().await;
        }
        if self.is_headed() && self.size == 0 && !self.store.found.conditional_put {
            return self.put_empty().await;
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
            if self.may_send() {
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

    /// PutObject in place of an uncommitted file without bytes: an engine that ignores conditions (Garage) may refuse a part
    /// without bytes as well.
    async fn put_empty(&mut self) -> Result<()> {
        let held = self.held.clone();
        self.store.client.put(&self.key, payload(Vec::new()), Cond::Any, Some(held.head.file), Again::Always).await?;
        let killed = self.store.kill(self.path, held).await?;
        self.store.drop_head(self.path, killed).await;
        Ok(())
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
        loop {
            match self.store.put_object(self.path, body.clone(), file, over.cond()).await? {
                Put::Done(_) => return Ok(()),
                Put::Refused(Some(object), _) if over == Over::Nothing => over = self.unexpected(*object)?,
                Put::Refused(_, failure) => {
                    return Err(conflict("somebody else replaced the file").with_source(failure));
                }
            }
        }
    }

    /// An object is there where none was: is it what the caller expected all the same?
    fn unexpected(&self, object: Object) -> Result<Over> {
        match self.options.expected {
            Expected::Absent | Expected::Size(_) => {
                self.options.check(Some(object.size), 0, u64::MAX)?;
                Ok(Over::This(object.etag))
            }
            Expected::Any => Err(conflict("somebody else replaced the file")),
        }
    }

    /// The write has failed: what can be kept is recorded, what can't is aborted. The failure itself is told elsewhere.
    pub(super) async fn give_up(&mut self, error: &Error) {
        if self.is_headed() {
            if error.kind() == ErrorKind::Conflict || self.held.head.state != State::Growing {
                return;
            }
            if let Some(without) = self.without.take() {
                self.held.head = *without;
                self.held.segments = self.held.head.segments.is_empty().then(Vec::new);
            } else {
                self.settle();
                self.release_numbers();
                if self.checkpoint(State::Growing).await.is_err() {
                    return;
                }
            }
            self.keep();
        } else if let Some(upload) = &self.held.head.upload
            && let Err(failure) = self.store.client.abort(&self.key, upload).await
        {
            tracing::debug!(path = %self.path, %failure, "left an upload behind");
        }
    }

    /// Keeps the head for the next append.
    fn keep(&mut self) {
        let mut held = self.held.clone();
        held.numbers = self.parts.numbers();
        self.store.cache.put(self.path, held);
    }
}
