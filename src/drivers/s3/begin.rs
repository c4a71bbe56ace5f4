//! What is there when a write begins, and which way it goes.

use std::sync::Arc;

use super::cache::Held;
use super::client::Object;
use super::head::{Head, State};
use super::plan::balanced;
use super::source::Source;
use super::store::{Store, conflict, random};
use super::write::{Over, Writing};
use crate::driver::{ByteStream, Completion, Expected, WriteOptions};
use crate::error::{Error, ErrorKind, Result};
use crate::path::StoragePath;

/// What a path has, as a writer sees it.
enum There {
    Growing(Held),
    Complete(Object),
    /// Nothing, or a dead head that may be replaced.
    Nothing(Option<Box<Held>>),
}

impl Store {
    /// See [`write_stream`](crate::StorageDriver::write_stream).
    pub(super) async fn write(
        self: &Arc<Self>,
        path: &StoragePath,
        offset: u64,
        stream: ByteStream,
        options: WriteOptions,
    ) -> Result<u64> {
        let source = Source::new(stream, options.room(offset));
        let there = self.there(path, offset, options).await?;
        let max_gap = self.config.max_gap;
        match there {
            There::Growing(mut held) => {
                options.check(Some(held.head.size()), offset, max_gap)?;
                let size = held.head.size();
                if let Completion::AtSize(total) = options.completion {
                    self.fit(&mut held.head, total)?;
                }
                let mut writing = Writing::headed(self, path, held, options);
                writing.cut_back(offset).await?;
                run(writing, source, offset.saturating_sub(size)).await
            }
            There::Complete(object) => {
                options.check(Some(object.size), offset, max_gap)?;
                self.rewrite(path, object, offset, source, options).await
            }
            There::Nothing(dead) => {
                options.check(None, offset, max_gap)?;
                let total = match options.completion {
                    Completion::AtSize(size) => Some(size),
                    _ => None,
                };
                let part_size = total.map_or(Ok(self.config.part_size), |total| self.part_size_of(total))?;
                let writing = match options.completion {
                    Completion::EndOfStream => Writing::object(self, path, Over::Nothing, part_size, options)?,
                    completion => {
                        let mut writing = Writing::either(self, path, dead, part_size, options)?;
                        if !matches!(completion, Completion::AtSize(size) if size <= part_size) {
                            writing.become_headed().await?;
                        }
                        writing
                    }
                };
                run(writing, source, offset).await
            }
        }
    }

    /// Makes parts large enough for the rest of a file whose total became known after its first bytes.
    fn fit(&self, head: &mut Head, total: u64) -> Result<()> {
        let rest = total.saturating_sub(head.parts_size());
        let needed = self.plan.rest(rest, head.top, head.part_size).map_err(|needed| self.too_large(total, needed))?;
        if needed > head.part_size && self.config.equal_parts && !head.parts.is_empty() {
            let detail = format!(
                "a file of {total} bytes needs parts of {needed}, and its first ones, to which all must be equal, have {}",
                head.part_size
            );
            return Err(Error::new(ErrorKind::SizeExceeded).with_detail(detail));
        }
        head.part_size = needed;
        Ok(())
    }

    async fn there(self: &Arc<Self>, path: &StoragePath, offset: u64, options: WriteOptions) -> Result<There> {
        if let Some(held) = self.cache.take(path) {
            let size = held.head.size();
            let as_expected = match options.expected {
                Expected::Any => offset == size,
                Expected::Size(expected) => expected == size,
                Expected::Absent => false,
            };
            // That it is still there is proved by the first change of the head.
            if as_expected && held.head.state == State::Growing {
                return Ok(There::Growing(held));
            }
        }
        // Where conditions are honoured, the request that creates the file tells whether one is there.
        let told = self.found.conditional_put;
        if told && options.expected == Expected::Absent && options.completion == Completion::EndOfStream {
            return Ok(There::Nothing(None));
        }
        for _ in 0..3 {
            let dead = match self.read_head(path).await? {
                Some(held) if held.head.state != State::Dead => {
                    // The head may be a leftover, or new beside an object and not checked yet.
                    if let Some(object) = self.object(path).await? {
                        return Ok(There::Complete(object));
                    }
                    if held.head.state == State::Growing {
                        return Ok(There::Growing(held));
                    }
                    self.complete(path, held).await?;
                    continue;
                }
                dead => dead.map(Box::new),
            };
            let absent = match options.expected {
                Expected::Absent => true,
                Expected::Size(size) => size == 0 && options.completion != Completion::EndOfStream,
                Expected::Any => false,
            };
            if told && absent {
                return Ok(There::Nothing(dead));
            }
            return Ok(match self.object(path).await? {
                Some(object) => There::Complete(object),
                None => There::Nothing(dead),
            });
        }
        Err(conflict("the file is being completed over and over"))
    }

    /// Creates an uncommitted file: first an empty head, then a look for an object; bytes come later.
    pub(super) async fn create(
        &self,
        path: &StoragePath,
        dead: Option<Box<Held>>,
        part_size: u64,
        options: WriteOptions,
    ) -> Result<Held> {
        let mut head = Head::new(random()?, part_size);
        if let Some(dead) = &dead {
            self.abort_upload_of(path, &dead.head).await?;
        }
        let etag = self.put_head(path, &mut head, dead.as_ref().map(|dead| &*dead.etag)).await?;
        let held = Held::read(head, etag);
        let Some(object) = self.object(path).await? else { return Ok(held) };
        let killed = self.kill(path, held).await?;
        self.drop_head(path, killed).await;
        options.check(Some(object.size), 0, u64::MAX)?;
        let detail = "a complete file is there";
        Err(Error::new(ErrorKind::AlreadyExists).with_detail(detail).with_size(object.size))
    }

    /// Appends to a complete object, or writes it anew from an offset within it.
    async fn rewrite(
        self: &Arc<Self>,
        path: &StoragePath,
        object: Object,
        offset: u64,
        mut source: Source,
        options: WriteOptions,
    ) -> Result<u64> {
        if options.completion == Completion::OnCommit {
            let detail = "a complete file is there; it can't become uncommitted again";
            return Err(Error::new(ErrorKind::AlreadyExists).with_detail(detail).with_size(object.size));
        }
        if offset == object.size && !source.has_bytes().await {
            // Nothing changes; the stream may have failed all the same.
            return match std::future::poll_fn(|cx| source.poll_next(cx)).await {
                None | Some(Ok(_)) if matches!(options.completion, Completion::AtSize(size) if size != object.size) => {
                    let detail = "a complete file is there, and this write would leave it incomplete";
                    Err(Error::new(ErrorKind::AlreadyExists).with_detail(detail).with_size(object.size))
                }
                None | Some(Ok(_)) => Ok(0),
                Some(Err(broken)) => Err(broken.into()),
            };
        }
        let keep = offset.min(object.size);
        let total = match options.completion {
            Completion::AtSize(size) => Some(size),
            _ => None,
        };
        let part_size = total.map_or(Ok(self.config.part_size), |total| self.part_size_of(total))?;
        let from = (self.keys.object(path), object.etag.clone());
        let mut writing = Writing::object(self, path, Over::This(object.etag), part_size, options)?;
        // What is kept is copied by the engine, all but what is too little for it.
        let copied = if !self.found.copies || keep <= part_size {
            0
        } else if self.config.equal_parts {
            keep - keep % part_size
        } else {
            keep
        };
        if copied > 0 {
            let most = if self.config.equal_parts { part_size } else { self.copy_size_of(keep) };
            writing.copy(from.clone(), balanced(0..copied, most)).await?;
        }
        if copied < keep {
            source.after(self.read_later(from, copied..keep));
        }
        run(writing, source, offset - keep).await
    }
}

async fn run(writing: Writing<'_>, mut source: Source, gap: u64) -> Result<u64> {
    source.after_zeros(gap);
    writing.run(source).await
}
