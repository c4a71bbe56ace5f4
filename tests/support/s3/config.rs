//! What the server is like: AWS, unless told otherwise.

use std::collections::BTreeMap;

use super::sigv4::Secret;

/// Limits and peculiarities. The default is AWS.
#[derive(Clone, Debug)]
pub struct Config {
    /// The bucket that is there from the start.
    pub bucket: String,
    /// The region that signatures must name.
    pub region: String,
    /// The access keys, with what belongs to them.
    pub keys: BTreeMap<String, Secret>,
    /// Anyone may do anything: signatures are neither asked for nor checked. Where thousands of runs matter more.
    pub public: bool,

    /// The smallest part but the last, in bytes. Scale it down, and protocol tests are small.
    pub min_part: u64,
    /// The largest part, in bytes.
    pub max_part: u64,
    /// The highest part number.
    pub max_parts: u32,
    /// The largest object of one PutObject, in bytes.
    pub max_put: u64,
    /// The largest source of one CopyObject, and the largest range of one UploadPartCopy, in bytes.
    pub max_copy: u64,
    /// The largest object, in bytes.
    pub max_object: u64,
    /// The most entries that a listing gives in one page.
    pub max_page: usize,

    /// Conditions of writes are ignored (Garage).
    pub ignore_conditions: bool,
    /// Conditions of reads are ignored.
    pub ignore_read_conditions: bool,
    /// If-Match of DeleteObject is ignored (MinIO).
    pub ignore_delete_if_match: bool,
    /// All parts but the last must have one size, and the last may not be larger (R2).
    pub equal_parts: bool,
    /// A part without bytes is refused (Garage).
    pub no_empty_parts: bool,
    /// UploadPartCopy is refused with 501.
    pub no_part_copy: bool,
    /// CompleteMultipartUpload of an unknown upload is answered with 200 if there is an object (versitygw).
    pub complete_again: bool,
    /// A key below another object's key is refused, and a key above one (versitygw, which keeps objects as files).
    pub files: bool,
    /// A failed condition of a write is `409 ConditionalRequestConflict`, not 412.
    pub conflict_for_precondition: bool,
    /// Entity tags are no digests: equal bytes have different ones (as under SSE-KMS).
    pub random_etags: bool,
}

/// One MiB.
const MIB: u64 = 1 << 20;

impl Config {
    /// As AWS is.
    pub fn aws() -> Self {
        let secret = Secret { secret: String::from("test-secret"), token: None };
        Self {
            bucket: String::from("bucket"),
            region: String::from("us-east-1"),
            keys: BTreeMap::from([(String::from("test-key"), secret)]),
            public: false,
            min_part: 5 * MIB,
            max_part: 5 * 1024 * MIB,
            max_parts: 10_000,
            max_put: 5 * 1024 * MIB,
            max_copy: 5 * 1024 * MIB,
            max_object: 5 * 1024 * 1024 * MIB,
            max_page: 1000,
            ignore_conditions: false,
            ignore_read_conditions: false,
            ignore_delete_if_match: false,
            equal_parts: false,
            no_empty_parts: false,
            no_part_copy: false,
            complete_again: false,
            files: false,
            conflict_for_precondition: false,
            random_etags: false,
        }
    }

    /// As Garage 2.5.0 is: conditions of writes are ignored, small parts are fine, but not empty ones.
    pub fn garage() -> Self {
        Self { ignore_conditions: true, no_empty_parts: true, min_part: 0, ..Self::aws() }
    }

    /// As MinIO is: If-Match of DeleteObject is ignored.
    pub fn minio() -> Self {
        Self { ignore_delete_if_match: true, ..Self::aws() }
    }

    /// As R2 is: equal parts.
    pub fn r2() -> Self {
        Self { equal_parts: true, ..Self::aws() }
    }

    /// As versitygw 1.8.0 is: objects are files, and a second Complete succeeds.
    pub fn versitygw() -> Self {
        Self { files: true, complete_again: true, ..Self::aws() }
    }

    /// With everything that is counted in bytes scaled so that the smallest part is `min_part`.
    #[must_use]
    pub fn scaled(self, min_part: u64) -> Self {
        let scale = |bytes: u64| bytes / (5 * MIB) * min_part;
        Self {
            min_part: if self.min_part == 0 { 0 } else { min_part },
            max_part: scale(self.max_part),
            max_put: scale(self.max_put),
            max_copy: scale(self.max_copy),
            max_object: scale(self.max_object),
            ..self
        }
    }

    /// With another access key, so that two clients can be told apart.
    #[must_use]
    pub fn key(mut self, access_key: &str, secret: &str) -> Self {
        let secret = Secret { secret: secret.to_owned(), token: None };
        self.keys.insert(access_key.to_owned(), secret);
        self
    }
}

impl Default for Config {
    fn default() -> Self {
        Self::aws()
    }
}
