//! One face for all that run side by side.

use std::io::{Error, Result};
use std::sync::Arc;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::{StreamExt, TryStreamExt, stream};
use holdall::{Completion, ReadRange, StorageDriver, StoragePath, WriteOptions};
use object_store::{GetOptions, ObjectStore, ObjectStoreExt, PutPayload, buffered::BufWriter, path::Path};
use tokio::io::AsyncWriteExt;

type Op<'a, T> = BoxFuture<'a, Result<T>>;

/// What a row asks of a contender. Keys are relative, with `/` between components.
pub(crate) trait Contender: Send + Sync {
    fn name(&self) -> &'static str;
    fn put<'a>(&'a self, key: &'a str, content: Bytes) -> Op<'a, ()>;
    /// The length of a file read as one piece.
    fn get<'a>(&'a self, key: &'a str) -> Op<'a, usize>;
    /// Writes a file from pieces of one MiB.
    fn write<'a>(&'a self, key: &'a str, piece: Bytes, count: usize) -> Op<'a, ()>;
    /// Reads a file piece by piece; its length.
    fn read<'a>(&'a self, key: &'a str) -> Op<'a, usize>;
    /// One more piece at the end, or `None` where there is no such call.
    fn append<'a>(&'a self, key: &'a str, offset: u64, content: Bytes) -> Option<Op<'a, ()>>;
    fn stat<'a>(&'a self, key: &'a str) -> Op<'a, u64>;
    /// How many children a directory has.
    fn list<'a>(&'a self, key: &'a str) -> Op<'a, usize>;
    fn delete<'a>(&'a self, key: &'a str) -> Op<'a, ()>;
}

pub(crate) struct Holdall<D>(pub(crate) D);

impl<D> Holdall<D> {
    fn path(key: &str) -> Result<StoragePath> {
        StoragePath::root().join(key).map_err(Error::other)
    }
}

impl<D: StorageDriver> Contender for Holdall<D> {
    fn name(&self) -> &'static str {
        "holdall"
    }
    fn put<'a>(&'a self, key: &'a str, content: Bytes) -> Op<'a, ()> {
        Box::pin(async move { self.0.put_content(&Self::path(key)?, content).await.map_err(Error::other) })
    }
    fn get<'a>(&'a self, key: &'a str) -> Op<'a, usize> {
        Box::pin(async move { Ok(self.0.get_content(&Self::path(key)?).await.map_err(Error::other)?.len()) })
    }
    fn write<'a>(&'a self, key: &'a str, piece: Bytes, count: usize) -> Op<'a, ()> {
        Box::pin(async move {
            let pieces = stream::iter(std::iter::repeat_n(piece, count).map(Ok)).boxed();
            let written = self.0.write_stream(&Self::path(key)?, 0, pieces, WriteOptions::default()).await;
            written.map(drop).map_err(Error::other)
        })
    }
    fn read<'a>(&'a self, key: &'a str) -> Op<'a, usize> {
        Box::pin(async move {
            let (_, stream) = self.0.read(&Self::path(key)?, ReadRange::FULL).await.map_err(Error::other)?;
            stream.try_fold(0, |sum, piece| async move { Ok(sum + piece.len()) }).await.map_err(Error::other)
        })
    }
    fn append<'a>(&'a self, key: &'a str, offset: u64, content: Bytes) -> Option<Op<'a, ()>> {
        Some(Box::pin(async move {
            let options = WriteOptions { completion: Completion::OnCommit, ..WriteOptions::default() };
            let stream = stream::iter([Ok(content)]).boxed();
            let written = self.0.write_stream(&Self::path(key)?, offset, stream, options).await;
            written.map(drop).map_err(Error::other)
        }))
    }
    fn stat<'a>(&'a self, key: &'a str) -> Op<'a, u64> {
        Box::pin(async move { Ok(self.0.stat(&Self::path(key)?).await.map_err(Error::other)?.size) })
    }
    fn list<'a>(&'a self, key: &'a str) -> Op<'a, usize> {
        Box::pin(async move { Ok(self.0.list(&Self::path(key)?).await.map_err(Error::other)?.len()) })
    }
    fn delete<'a>(&'a self, key: &'a str) -> Op<'a, ()> {
        Box::pin(async move { self.0.delete(&Self::path(key)?).await.map_err(Error::other) })
    }
}

/// How a stream goes up in parts: of so many bytes, so many at once.
#[derive(Clone, Copy)]
pub(crate) struct Parts {
    pub(crate) size: usize,
    pub(crate) concurrency: usize,
}

/// Without `Parts`, each piece of a stream is a part.
pub(crate) struct Store<S>(pub(crate) Arc<S>, pub(crate) Option<Parts>);

impl<S: ObjectStore> Contender for Store<S> {
    fn name(&self) -> &'static str {
        "object_store"
    }
    fn put<'a>(&'a self, key: &'a str, content: Bytes) -> Op<'a, ()> {
        Box::pin(async move { Ok(self.0.put(&Path::from(key), content.into()).await.map(drop)?) })
    }
    fn get<'a>(&'a self, key: &'a str) -> Op<'a, usize> {
        Box::pin(async move { Ok(self.0.get(&Path::from(key)).await?.bytes().await?.len()) })
    }
    fn write<'a>(&'a self, key: &'a str, piece: Bytes, count: usize) -> Op<'a, ()> {
        Box::pin(async move {
            if let Some(parts) = self.1 {
                let store: Arc<dyn ObjectStore> = Arc::<S>::clone(&self.0);
                let writer = BufWriter::with_capacity(store, Path::from(key), parts.size);
                let mut writer = writer.with_max_concurrency(parts.concurrency);
                for _ in 0..count {
                    writer.put(piece.clone()).await?;
                }
                return writer.shutdown().await;
            }
            let mut upload = self.0.put_multipart(&Path::from(key)).await?;
            for _ in 0..count {
                upload.put_part(PutPayload::from(piece.clone())).await?;
            }
            Ok(upload.complete().await.map(drop)?)
        })
    }
    fn read<'a>(&'a self, key: &'a str) -> Op<'a, usize> {
        Box::pin(async move {
            let stream = self.0.get_opts(&Path::from(key), GetOptions::default()).await?.into_stream();
            Ok(stream.try_fold(0, |sum, piece| async move { Ok(sum + piece.len()) }).await?)
        })
    }
    fn append<'a>(&'a self, _: &'a str, _: u64, _: Bytes) -> Option<Op<'a, ()>> {
        None
    }
    fn stat<'a>(&'a self, key: &'a str) -> Op<'a, u64> {
        Box::pin(async move { Ok(self.0.head(&Path::from(key)).await?.size) })
    }
    fn list<'a>(&'a self, key: &'a str) -> Op<'a, usize> {
        Box::pin(async move {
            let listing = self.0.list_with_delimiter(Some(&Path::from(key))).await?;
            Ok(listing.objects.len() + listing.common_prefixes.len())
        })
    }
    fn delete<'a>(&'a self, key: &'a str) -> Op<'a, ()> {
        Box::pin(async move { Ok(self.0.delete(&Path::from(key)).await?) })
    }
}

pub(crate) struct Dal(pub(crate) opendal::Operator, pub(crate) Option<Parts>);

impl Contender for Dal {
    fn name(&self) -> &'static str {
        "OpenDAL"
    }
    fn put<'a>(&'a self, key: &'a str, content: Bytes) -> Op<'a, ()> {
        Box::pin(async move { Ok(self.0.write(key, content).await.map(drop)?) })
    }
    fn get<'a>(&'a self, key: &'a str) -> Op<'a, usize> {
        Box::pin(async move { Ok(self.0.read(key).await?.len()) })
    }
    fn write<'a>(&'a self, key: &'a str, piece: Bytes, count: usize) -> Op<'a, ()> {
        Box::pin(async move {
            let mut writer = match self.1 {
                Some(parts) => self.0.writer_with(key).chunk(parts.size).concurrent(parts.concurrency).await?,
                None => self.0.writer(key).await?,
            };
            for _ in 0..count {
                writer.write(piece.clone()).await?;
            }
            Ok(writer.close().await.map(drop)?)
        })
    }
    fn read<'a>(&'a self, key: &'a str) -> Op<'a, usize> {
        Box::pin(async move {
            let stream = self.0.reader(key).await?.into_stream(..).await?;
            Ok(stream.try_fold(0, |sum, piece| async move { Ok(sum + piece.len()) }).await?)
        })
    }
    fn append<'a>(&'a self, key: &'a str, _: u64, content: Bytes) -> Option<Op<'a, ()>> {
        // In S3 only directory buckets take appends.
        if self.1.is_some() || !self.0.info().capability().write_can_append {
            return None;
        }
        Some(Box::pin(async move { Ok(self.0.write_with(key, content).append(true).await.map(drop)?) }))
    }
    fn stat<'a>(&'a self, key: &'a str) -> Op<'a, u64> {
        Box::pin(async move { Ok(self.0.stat(key).await?.content_length()) })
    }
    fn list<'a>(&'a self, key: &'a str) -> Op<'a, usize> {
        // A listing names the directory itself, too.
        Box::pin(async move { Ok(self.0.list(&format!("{key}/")).await?.iter().filter(|e| e.name() != "d/").count()) })
    }
    fn delete<'a>(&'a self, key: &'a str) -> Op<'a, ()> {
        Box::pin(async move { Ok(self.0.delete(key).await?) })
    }
}
