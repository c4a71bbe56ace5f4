//! Any bytes as an info file are read whole or refused with a reason, by the parser and by a store alike.

use std::sync::Arc;

use futures::executor::block_on;
use holdall::drivers::InMemoryDriver;
use holdall::upload::{UploadErrorKind, UploadId, UploadInfo, UploadStore};
use holdall::{StorageDriver, StoragePath};

pub fn check(data: &[u8]) {
    let id = UploadId::parse("fuzzed").expect("an id");
    let path = StoragePath::parse("/fuzzed").expect("a path");
    let parsed = UploadInfo::from_json(data, &id, path);
    let seen = block_on(async {
        let driver = Arc::new(InMemoryDriver::new());
        let info_file = StoragePath::parse("/fuzzed.info").expect("a path");
        driver.put_content(&info_file, data.to_vec().into()).await.expect("room");
        UploadStore::new(driver).info(&id).await
    });
    match (parsed, seen) {
        (Ok(info), Ok(upload)) => {
            assert_eq!(info.id, id);
            assert_eq!(upload.info.as_ref(), &info);
            assert_eq!((upload.offset, upload.is_finished()), (0, info.length == Some(0)));
        }
        (Ok(info), Err(error)) => {
            let of_an_old_one = error.kind() == UploadErrorKind::Expired && info.expires_after.is_some();
            assert!(of_an_old_one || !info.path.as_str().starts_with("/fuzzed"), "{error}");
        }
        (Err(error), Err(seen)) => {
            assert_eq!(error.kind(), seen.kind());
            assert!(matches!(error.kind(), UploadErrorKind::InvalidInfo | UploadErrorKind::NotFound), "{error}");
            assert!(error.to_string().len() < 1_000, "an error repeats hostile bytes at length");
        }
        (Err(error), Ok(_)) => panic!("the store took what the parser refused: {error}"),
    }
}
