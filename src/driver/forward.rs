//! An `Arc` or a `Box` of a driver is a driver.
//!
//! The methods are written out as `async_trait` expands them, so that a call is passed on as it is and its future is boxed
//! once, by the driver itself.

use std::sync::Arc;

use futures::future::BoxFuture;

use super::*;

/// Forwards every method; the lint makes a new one a compile error here, not a silent fall-back to its default.
macro_rules! forward {
    ($pointer:ident) => {
        #[deny(clippy::missing_trait_methods)]
        impl<D: StorageDriver + ?Sized> StorageDriver for $pointer<D> {
            fn name(&self) -> &'static str {
                (**self).name()
            }
            fn capabilities(&self) -> Capabilities {
                (**self).capabilities()
            }
            fn walk(&self, path: &StoragePath, options: WalkOptions) -> BoxStream<'static, Result<FileInfo>> {
                (**self).walk(path, options)
            }
            fn sweep<'a, 'f>(&'a self, older_than: Duration) -> BoxFuture<'f, Result<u64>>
            where
                'a: 'f,
                Self: 'f,
            {
                (**self).sweep(older_than)
            }
            fn move_to<'a, 'b, 'c, 'f>(&'a self, from: &'b StoragePath, to: &'c StoragePath) -> BoxFuture<'f, Result<()>>
            where
                'a: 'f,
                'b: 'f,
                'c: 'f,
                Self: 'f,
            {
                (**self).move_to(from, to)
            }
            fn concat<'a, 'b, 'c, 'f>(
                &'a self,
                sources: &'b [StoragePath],
                to: &'c StoragePath,
            ) -> BoxFuture<'f, Result<u64>>
            where
                'a: 'f,
                'b: 'f,
                'c: 'f,
                Self: 'f,
            {
                (**self).concat(sources, to)
            }
            forward!(read(range: ReadRange) -> (FileInfo, ByteStream));
            forward!(get_content() -> Bytes);
            forward!(read_stream(offset: u64) -> ByteStream);
            forward!(put_content(content: Bytes) -> ());
            forward!(write_stream(offset: u64, stream: ByteStream, options: WriteOptions) -> u64);
            forward!(stat() -> FileInfo);
            forward!(list() -> Vec<StoragePath>);
            forward!(delete() -> ());
            forward!(url_for(options: UrlOptions) -> Url);
            forward!(commit() -> ());
            forward!(get_versioned() -> (Bytes, Version));
            forward!(put_content_if(content: Bytes, condition: Precondition) -> Version);
        }
    };
    // An async method whose first argument is a path.
    ($method:ident($($name:ident: $type:ty),*) -> $output:ty) => {
        fn $method<'a, 'b, 'f>(&'a self, path: &'b StoragePath, $($name: $type),*) -> BoxFuture<'f, Result<$output>>
        where
            'a: 'f,
            'b: 'f,
            Self: 'f,
        {
            (**self).$method(path, $($name),*)
        }
    };
}

forward!(Arc);
forward!(Box);
