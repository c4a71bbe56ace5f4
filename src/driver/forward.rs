//! An `Arc` or a `Box` of a driver is a driver.

use std::sync::Arc;

use super::*;

/// Forwards every method; the lint makes a new one a compile error here, not a silent fall-back to its default.
macro_rules! forward {
    ($pointer:ident) => {
        #[deny(clippy::missing_trait_methods)]
        #[async_trait]
        impl<D: StorageDriver + ?Sized> StorageDriver for $pointer<D> {
            fn name(&self) -> &'static str {
                (**self).name()
            }
            fn capabilities(&self) -> Capabilities {
                (**self).capabilities()
            }
            async fn read(&self, path: &StoragePath, range: ReadRange) -> Result<(FileInfo, ByteStream)> {
                (**self).read(path, range).await
            }
            async fn get_content(&self, path: &StoragePath) -> Result<Bytes> {
                (**self).get_content(path).await
            }
            async fn read_stream(&self, path: &StoragePath, offset: u64) -> Result<ByteStream> {
                (**self).read_stream(path, offset).await
            }
            async fn put_content(&self, path: &StoragePath, content: Bytes) -> Result<()> {
                (**self).put_content(path, content).await
            }
            async fn write_stream(
                &self,
                path: &StoragePath,
                offset: u64,
                stream: ByteStream,
                options: WriteOptions,
            ) -> Result<u64> {
                (**self).write_stream(path, offset, stream, options).await
            }
            async fn stat(&self, path: &StoragePath) -> Result<FileInfo> {
                (**self).stat(path).await
            }
            async fn list(&self, path: &StoragePath) -> Result<Vec<StoragePath>> {
                (**self).list(path).await
            }
            fn walk(&self, path: &StoragePath, options: WalkOptions) -> BoxStream<'static, Result<FileInfo>> {
                (**self).walk(path, options)
            }
            async fn move_to(&self, from: &StoragePath, to: &StoragePath) -> Result<()> {
                (**self).move_to(from, to).await
            }
            async fn delete(&self, path: &StoragePath) -> Result<()> {
                (**self).delete(path).await
            }
            async fn url_for(&self, path: &StoragePath, options: UrlOptions) -> Result<Url> {
                (**self).url_for(path, options).await
            }
            async fn concat(&self, sources: &[StoragePath], to: &StoragePath) -> Result<u64> {
                (**self).concat(sources, to).await
            }
            async fn commit(&self, path: &StoragePath) -> Result<()> {
                (**self).commit(path).await
            }
            async fn get_versioned(&self, path: &StoragePath) -> Result<(Bytes, Version)> {
                (**self).get_versioned(path).await
            }
            async fn put_content_if(
                &self,
                path: &StoragePath,
                content: Bytes,
                condition: Precondition,
            ) -> Result<Version> {
                (**self).put_content_if(path, content, condition).await
            }
            async fn sweep(&self, older_than: Duration) -> Result<u64> {
                (**self).sweep(older_than).await
            }
        }
    };
}

forward!(Arc);
forward!(Box);
