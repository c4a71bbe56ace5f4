//! How to reach a bucket, and the knobs.

mod check;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use object_store::client::HttpConnector;

use crate::error::{Error, ErrorKind};

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;

/// The least that S3 takes as a part that is not the last one: 5 MiB.
pub(super) const S3_MIN_PART: u64 = 5 * MIB;
/// The most that S3 takes as a part, or copies in one request: 5 GiB.
pub(super) const S3_MAX_PART: u64 = 5 << 30;

/// Where an [`S3Driver`](super::S3Driver) keeps its files, and how it works.
///
/// Made by [`new`](Self::new), from a URL ([`from_url`](Self::from_url)) or from the parameters of a registry's
/// configuration ([`from_parameters`](Self::from_parameters)). Sizes are in bytes.
///
/// # Example
/// ```
/// use holdall::drivers::S3Config;
///
/// let config = S3Config::new("uploads").endpoint("http://127.0.0.1:9000").region("us-east-1").root("a/b");
/// let same = S3Config::from_url("s3://uploads/a/b?endpoint=http://127.0.0.1:9000&region=us-east-1")?;
/// assert_eq!(format!("{config:?}"), format!("{same:?}"));
/// # Ok::<(), holdall::drivers::InvalidS3Config>(())
/// ```
#[derive(Clone, Debug)]
pub struct S3Config {
    pub(super) bucket: String,
    pub(super) root: String,
    pub(super) region: Option<String>,
    pub(super) endpoint: Option<String>,
    pub(super) public_endpoint: Option<String>,
    pub(super) path_style: Option<bool>,
    pub(super) dual_stack: bool,
    pub(super) accelerate: bool,
    pub(super) verify_tls: bool,
    pub(super) credentials: S3Credentials,
    pub(super) encryption: Option<S3Encryption>,
    pub(super) storage_class: Option<String>,
    pub(super) acl: Option<String>,
    pub(super) user_agent: Option<String>,
    pub(super) connector: Option<Arc<dyn HttpConnector>>,
    pub(super) min_part_size: u64,
    pub(super) part_size: u64,
    pub(super) equal_parts: bool,
    pub(super) inline_limit: u64,
    pub(super) memory_budget: u64,
    pub(super) head_cache: u64,
    pub(super) concurrency: usize,
    pub(super) copy_part_size: u64,
    pub(super) copy_threshold: u64,
    pub(super) copy_concurrency: usize,
    pub(super) checkpoint_bytes: u64,
    pub(super) checkpoint_interval: Duration,
    pub(super) max_gap: u64,
    pub(super) timeout: Duration,
    pub(super) max_retries: u32,
}

/// A text that no log and no error shows.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Secret(pub(super) String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Who the driver is to S3.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct S3Credentials(pub(super) Credentials);

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Credentials {
    #[default]
    Environment,
    Static {
        access_key: String,
        secret_key: Secret,
        session_token: Option<Secret>,
    },
}

impl S3Credentials {
    /// What the environment offers, in this order: `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY` and `AWS_SESSION_TOKEN`;
    /// a web identity (`AWS_WEB_IDENTITY_TOKEN_FILE`, `AWS_ROLE_ARN`); a container's role
    /// (`AWS_CONTAINER_CREDENTIALS_RELATIVE_URI`, or `…_FULL_URI` with `AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE`); the
    /// instance's role. Those that expire are renewed.
    pub fn environment() -> Self {
        Self(Credentials::Environment)
    }

    /// This key and no other.
    pub fn keys(access_key: impl Into<String>, secret_key: impl Into<String>, session_token: Option<String>) -> Self {
        Self(Credentials::Static {
            access_key: access_key.into(),
            secret_key: Secret(secret_key.into()),
            session_token: session_token.map(Secret),
        })
    }
}

/// How S3 encrypts what is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum S3Encryption {
    /// SSE-S3: keys of S3's own.
    Aes256,
    /// SSE-KMS, with the key of this id, or the account's default key.
    Kms(Option<String>),
}

/// A configuration that can't be honoured: names the parameter and says why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("S3 configuration: {parameter}: {reason}")]
pub struct InvalidS3Config {
    parameter: Box<str>,
    reason: Box<str>,
}

impl InvalidS3Config {
    pub(super) fn new(parameter: impl Into<Box<str>>, reason: impl Into<Box<str>>) -> Self {
        Self { parameter: parameter.into(), reason: reason.into() }
    }

    /// The name of the parameter that is at fault, as it was written.
    pub fn parameter(&self) -> &str {
        &self.parameter
    }

    /// The same, of a parameter by another name.
    pub(super) fn of(self, parameter: &str) -> Self {
        Self { parameter: parameter.into(), ..self }
    }
}

impl From<InvalidS3Config> for Error {
    fn from(source: InvalidS3Config) -> Self {
        Self::new(ErrorKind::UnsupportedMethod).with_source(source)
    }
}

impl S3Config {
    /// A bucket on AWS, with the environment's credentials. All else by the methods below.
    pub fn new(bucket: impl Into<String>) -> Self {
        Self {
            bucket: bucket.into(),
            root: String::new(),
            region: None,
            endpoint: None,
            public_endpoint: None,
            path_style: None,
            dual_stack: false,
            accelerate: false,
            verify_tls: true,
            credentials: S3Credentials::default(),
            encryption: None,
            storage_class: None,
            acl: None,
            user_agent: None,
            connector: None,
            min_part_size: S3_MIN_PART,
            part_size: 8 * MIB,
            equal_parts: false,
            inline_limit: 64 * KIB,
            memory_budget: 128 * MIB,
            head_cache: 64 * MIB,
            concurrency: 4,
            copy_part_size: 256 * MIB,
            copy_threshold: 256 * MIB,
            copy_concurrency: 16,
            checkpoint_bytes: 256 * MIB,
            checkpoint_interval: Duration::from_secs(10),
            max_gap: 64 * MIB,
            timeout: Duration::from_secs(30),
            max_retries: 8,
        }
    }

    /// The folder of the bucket that the driver keeps to, with or without slashes around it. The bucket itself by
    /// default.
    pub fn root(self, root: impl Into<String>) -> Self {
        Self { root: root.into().trim_matches('/').to_owned(), ..self }
    }

    /// The region that requests are signed for. By default that of `AWS_REGION` or `AWS_DEFAULT_REGION`, or `us-east-1`.
    pub fn region(self, region: impl Into<String>) -> Self {
        Self { region: Some(region.into()), ..self }
    }

    /// The engine's address, without the bucket; `http://` is taken at its word, and without a scheme it is `https://`.
    /// AWS by default.
    pub fn endpoint(self, endpoint: impl Into<String>) -> Self {
        Self { endpoint: Some(endpoint.into()), ..self }
    }

    /// The address that signed URLs name, where clients reach the engine by another one; [`endpoint`](Self::endpoint) by
    /// default.
    pub fn public_endpoint(self, endpoint: impl Into<String>) -> Self {
        Self { public_endpoint: Some(endpoint.into()), ..self }
    }

    /// Whether the bucket is the first folder of the URL (`true`) or part of its host name. By default the former with an
    /// [`endpoint`](Self::endpoint), the latter on AWS.
    pub fn path_style(self, path_style: bool) -> Self {
        Self { path_style: Some(path_style), ..self }
    }

    /// Uses AWS's dual-stack addresses (IPv6); not with an [`endpoint`](Self::endpoint).
    pub fn dual_stack(self, dual_stack: bool) -> Self {
        Self { dual_stack, ..self }
    }

    /// Uses AWS's transfer acceleration; not with an [`endpoint`](Self::endpoint), nor with path style.
    pub fn accelerate(self, accelerate: bool) -> Self {
        Self { accelerate, ..self }
    }

    /// Whether the engine must show a valid certificate; `true` by default. Without it anybody in between can read the
    /// data.
    pub fn verify_tls(self, verify_tls: bool) -> Self {
        Self { verify_tls, ..self }
    }

    /// Who the driver is; [`S3Credentials::environment`] by default.
    pub fn credentials(self, credentials: S3Credentials) -> Self {
        Self { credentials, ..self }
    }

    /// How S3 encrypts what is written; as the bucket has it by default.
    pub fn encryption(self, encryption: S3Encryption) -> Self {
        Self { encryption: Some(encryption), ..self }
    }

    /// The storage class of what is written, such as `STANDARD_IA`; as the bucket has it by default. Heads and segments
    /// live for minutes and keep to the default.
    pub fn storage_class(self, class: impl Into<String>) -> Self {
        Self { storage_class: Some(class.into()), ..self }
    }

    /// The canned ACL of files, such as `bucket-owner-full-control`; none by default. Heads and segments have it only if it
    /// is for the bucket's owner: what is uncommitted is not public.
    pub fn acl(self, acl: impl Into<String>) -> Self {
        Self { acl: Some(acl.into()), ..self }
    }

    /// The `User-Agent` of requests.
    pub fn user_agent(self, agent: impl Into<String>) -> Self {
        Self { user_agent: Some(agent.into()), ..self }
    }

    /// What carries requests; reqwest by default. Everything the driver sends goes through it.
    pub fn http_connector(self, connector: Arc<dyn HttpConnector>) -> Self {
        Self { connector: Some(connector), ..self }
    }

    /// The least size of a part that the engine takes, the last one excepted; 5 MiB by default, as on AWS. Lower it only
    /// for engines that take less.
    pub fn min_part_size(self, size: u64) -> Self {
        Self { min_part_size: size, ..self }
    }

    /// The size of the parts of a file whose size isn't known to need larger ones; 8 MiB by default, at least
    /// [`min_part_size`](Self::min_part_size).
    pub fn part_size(self, size: u64) -> Self {
        Self { part_size: size, ..self }
    }

    /// Whether all parts of a file but the last must be of one size, as Cloudflare R2 demands; `false` by default. Files
    /// of unknown size then end at 10,000 parts of [`part_size`](Self::part_size).
    pub fn equal_parts(self, equal_parts: bool) -> Self {
        Self { equal_parts, ..self }
    }

    /// How many bytes a head may carry itself before they go to a segment; 64 KiB by default, at most
    /// 1 MiB; 0 for none.
    pub fn inline_limit(self, limit: u64) -> Self {
        Self { inline_limit: limit, ..self }
    }

    /// How many bytes of parts all writes of the driver hold together; 128 MiB by default, at least one part. Each write
    /// has 256 KiB beside it. Parts grow up to half of it, or stay at [`part_size`](Self::part_size) if that is more, which
    /// bounds a file: 5,000 parts of 64 MiB are 312 GiB.
    pub fn memory_budget(self, budget: u64) -> Self {
        Self { memory_budget: budget, ..self }
    }

    /// How many bytes of heads and unfinished parts stay in memory between two appends; 64 MiB by default. What doesn't
    /// fit is read back when it is needed; 0 keeps none. Where conditional writes are ignored none is kept.
    pub fn head_cache(self, bytes: u64) -> Self {
        Self { head_cache: bytes, ..self }
    }

    /// How many parts of one write are under way at once; 4 by default, at least 1. Behind one that is late, as many
    /// finished ones may be in memory, while there is plenty.
    pub fn concurrency(self, parts: usize) -> Self {
        Self { concurrency: parts, ..self }
    }

    /// The most bytes that one request copies within S3, where a copy is made of several; 256 MiB by default, between
    /// twice [`min_part_size`](Self::min_part_size) and 5 GiB.
    pub fn copy_part_size(self, size: u64) -> Self {
        Self { copy_part_size: size, ..self }
    }

    /// The largest file that is copied by one request; 256 MiB by default, at most 5 GiB.
    pub fn copy_threshold(self, size: u64) -> Self {
        Self { copy_threshold: size, ..self }
    }

    /// How many ranges of a file are copied at once; 16 by default, at least 1.
    pub fn copy_concurrency(self, copies: usize) -> Self {
        Self { copy_concurrency: copies, ..self }
    }

    /// After how many bytes a long write records what it has; 256 MiB by default. A crash loses at most what came since.
    pub fn checkpoint_bytes(self, bytes: u64) -> Self {
        Self { checkpoint_bytes: bytes, ..self }
    }

    /// After how long a slow write records what it has; 10 s by default.
    pub fn checkpoint_interval(self, interval: Duration) -> Self {
        Self { checkpoint_interval: interval, ..self }
    }

    /// The longest run of zeros that a write past the end of a file may leave; 64 MiB by default.
    pub fn max_gap(self, bytes: u64) -> Self {
        Self { max_gap: bytes, ..self }
    }

    /// How long one try of a request may take until its answer begins, beside a second for each 256 KiB that it sends or
    /// 4 MiB that the engine copies, and four minutes for an engine that puts an upload together; and how long a download
    /// may stand still. 30 s by default.
    pub fn timeout(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }

    /// How often a request is tried again when the engine is busy, fails or does not answer; 8 by default, with pauses
    /// that double from 50 ms up to 5 s.
    pub fn max_retries(self, retries: u32) -> Self {
        Self { max_retries: retries, ..self }
    }

    /// The largest part that fits the budget, beside another one.
    pub(super) fn max_part_size(&self) -> u64 {
        (self.memory_budget / 2).max(self.part_size).min(S3_MAX_PART)
    }
}
