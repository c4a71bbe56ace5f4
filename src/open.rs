//! From a URL to a driver: what a command line or a configuration file says of a store.

use std::path::PathBuf;
use std::sync::Arc;

use url::Url;

use crate::drivers::InMemoryDriver;
#[cfg(feature = "filesystem")]
use crate::drivers::{Durability, FilesystemDriver};
#[cfg(feature = "s3")]
use crate::drivers::{InvalidS3Config, S3Config, S3Driver};
use crate::{Error, ErrorKind, Result, StorageDriver};

/// Opens the store that a URL names; see [`StoreUrl`].
///
/// # Errors
/// As [`StoreUrl::parse`], with [`InvalidPath`](ErrorKind::InvalidPath), and as [`StoreUrl::open`]. A configuration that the
/// driver can't honour is as in the driver's own `open`.
///
/// # Example
/// ```
/// # futures::executor::block_on(async {
/// let driver = holdall::open("memory:").await?;
/// assert_eq!((*driver).name(), "memory");
/// # Ok::<(), holdall::Error>(()) }).unwrap();
/// ```
pub async fn open(url: &str) -> Result<Arc<dyn StorageDriver>> {
    StoreUrl::parse(url)?.open().await
}

/// A store, named by a URL:
///
/// | URL | store |
/// |---|---|
/// | `file:data`, `file:../data` | the directory, from the current one (feature `filesystem`, Linux) |
/// | `file:/srv/data`, `file:///srv/data` | the directory |
/// | `s3://bucket`, `s3://bucket/folder` | the bucket, or a folder of it (feature `s3`) |
/// | `memory:` | a new one in memory, gone with its driver |
///
/// Bytes that URLs keep for themselves are written in percent-encoding: `file:100%25`.
///
/// | parameter | of | meaning |
/// |---|---|---|
/// | `durability` | `file` | `every-write` (default), `on-complete` or `none` |
/// | `endpoint`, `region` and others | `s3` | see `S3Config::from_url`; credentials come from the environment |
///
/// Anything else is refused by name.
#[derive(Clone, Debug)]
pub struct StoreUrl(Location);

#[derive(Clone, Debug)]
enum Location {
    #[cfg(feature = "filesystem")]
    File {
        root: PathBuf,
        durability: Option<Durability>,
    },
    /// A URL, and what it says.
    #[cfg(feature = "s3")]
    S3(String, Box<S3Config>),
    Memory,
}

/// Why a text is not the URL of a store, or a parameter not one of its own.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(transparent)]
pub struct InvalidStoreUrl(Invalid);

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
enum Invalid {
    #[error("{0}")]
    Url(String),
    #[cfg(feature = "s3")]
    #[error(transparent)]
    S3(InvalidS3Config),
}

impl From<InvalidStoreUrl> for Error {
    fn from(source: InvalidStoreUrl) -> Self {
        match source.0 {
            #[cfg(feature = "s3")]
            Invalid::S3(invalid) => invalid.into(),
            Invalid::Url(_) => Self::new(ErrorKind::InvalidPath).with_source(source),
        }
    }
}

impl StoreUrl {
    /// Parses a URL. Whether the store is there shows when it is opened.
    ///
    /// # Errors
    /// [`InvalidStoreUrl`], which says what is wrong with what; also for a kind of store that is not built in.
    pub fn parse(text: &str) -> Result<Self, InvalidStoreUrl> {
        let (scheme, rest) = text.split_once(':').unwrap_or(("", text));
        let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
        let location = match scheme.to_ascii_lowercase().as_str() {
            "file" => file(directory(text, place)?)?,
            "memory" if place.is_empty() => Location::Memory,
            "memory" => return Err(invalid("memory: takes no path: each is a store of its own")),
            "s3" => return s3(text.to_owned()).map(Self),
            scheme if is_scheme(scheme) => {
                return Err(invalid(format!("{scheme}: is no kind of store; there are file:, s3: and memory:")));
            }
            _ => return Err(invalid(format!("it names no kind of store; for a directory, write file:{text}"))),
        };
        let parameters = url::form_urlencoded::parse(query.as_bytes());
        parameters.into_iter().try_fold(Self(location), |store, (name, value)| store.with_parameter(&name, &value))
    }

    /// The same store with one more parameter, as if it stood in the URL.
    ///
    /// # Errors
    /// [`InvalidStoreUrl`] if this kind of store has no such parameter, or not this value, or has another one already.
    pub fn with_parameter(mut self, name: &str, value: &str) -> Result<Self, InvalidStoreUrl> {
        match (&mut self.0, name) {
            #[cfg(feature = "filesystem")]
            (Location::File { durability, .. }, "durability") => {
                let new = match value {
                    "every-write" => Durability::EveryWrite,
                    "on-complete" => Durability::OnComplete,
                    "none" => Durability::None,
                    _ => return Err(invalid(format!("durability is every-write, on-complete or none, not {value:?}"))),
                };
                if durability.replace(new).is_some_and(|before| before != new) {
                    return Err(invalid("durability is given twice, and not the same"));
                }
                Ok(self)
            }
            #[cfg(feature = "filesystem")]
            (Location::File { .. }, _) => Err(invalid(format!("a store in files has no parameter {name}={value}"))),
            #[cfg(feature = "s3")]
            (Location::S3(..), "durability") => {
                Err(invalid("a store in S3 has no durability to choose: every acknowledged byte is durable"))
            }
            #[cfg(feature = "s3")]
            (Location::S3(url, _), _) => {
                let target = if url.contains('?') { url.clone() } else { format!("{url}?") };
                let start = target.find('?').map_or(target.len(), |mark| mark + 1);
                s3(url::form_urlencoded::Serializer::for_suffix(target, start).append_pair(name, value).finish())
                    .map(Self)
            }
            (Location::Memory, _) => Err(invalid(format!("a store in memory has no parameter {name}={value}"))),
        }
    }

    /// Opens the store, and makes it if it is not there yet.
    ///
    /// # Errors
    /// The driver's own.
    pub async fn open(&self) -> Result<Arc<dyn StorageDriver>> {
        match &self.0 {
            #[cfg(feature = "filesystem")]
            Location::File { root, durability } => {
                let driver = FilesystemDriver::builder(root).durability(durability.unwrap_or_default());
                Ok(Arc::new(driver.open()?))
            }
            #[cfg(feature = "s3")]
            Location::S3(_, config) => Ok(Arc::new(S3Driver::open(S3Config::clone(config)).await?)),
            Location::Memory => Ok(Arc::new(InMemoryDriver::new())),
        }
    }
}

#[cfg(feature = "filesystem")]
fn file(root: PathBuf) -> Result<Location, InvalidStoreUrl> {
    Ok(Location::File { root, durability: None })
}

#[cfg(not(feature = "filesystem"))]
fn file(_: PathBuf) -> Result<Location, InvalidStoreUrl> {
    Err(invalid("stores in files are not built in"))
}

#[cfg(feature = "s3")]
fn s3(url: String) -> Result<Location, InvalidStoreUrl> {
    let config = S3Config::from_url(&url).map_err(|invalid| InvalidStoreUrl(Invalid::S3(invalid)))?;
    Ok(Location::S3(url, Box::new(config)))
}

#[cfg(not(feature = "s3"))]
fn s3(_: String) -> Result<Location, InvalidStoreUrl> {
    Err(invalid("stores in S3 are not built in (feature s3)"))
}

/// The directory of a `file:` URL (RFC 8089), also a relative one.
fn directory(text: &str, place: &str) -> Result<PathBuf, InvalidStoreUrl> {
    if place.is_empty() {
        return Err(invalid("it names no directory; the current one is file:."));
    }
    // Parsers of URLs take these for `/`, for nothing, and for the end of the path.
    if let Some(character) =
        text.chars().find(|character| matches!(character, '\\' | '#') || character.is_ascii_control())
    {
        return Err(invalid(format!("{character:?} in a URL is written %{:02X}", u32::from(character))));
    }
    let current =
        std::env::current_dir().map_err(|error| invalid(format!("the current directory is lost: {error}")))?;
    let base = Url::from_directory_path(current).ok();
    let url = Url::options().base_url(base.as_ref()).parse(text).map_err(|error| invalid(error.to_string()))?;
    url.to_file_path().map_err(|()| invalid("it names a host; a directory of this one is file:///PATH"))
}

/// RFC 3986, section 3.1.
fn is_scheme(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphabetic())
        && text.chars().all(|character| character.is_ascii_alphanumeric() || "+-.".contains(character))
}

fn invalid(reason: impl Into<String>) -> InvalidStoreUrl {
    InvalidStoreUrl(Invalid::Url(reason.into()))
}

#[cfg(test)]
#[cfg(feature = "filesystem")]
mod tests {
    use std::path::Path;

    use super::*;

    fn path_of(url: &str) -> PathBuf {
        match StoreUrl::parse(url).unwrap().0 {
            Location::File { root, .. } => root,
            other => panic!("{url} is {other:?}"),
        }
    }

    fn refusal(url: &str) -> String {
        StoreUrl::parse(url).unwrap_err().to_string()
    }

    #[test]
    fn file_urls_name_directories() {
        let here = std::env::current_dir().unwrap();
        assert_eq!(path_of("file:holdall-data"), here.join("holdall-data"));
        assert_eq!(path_of("file:./a/b"), here.join("a/b"));
        assert_eq!(path_of("file:../beside"), here.parent().unwrap().join("beside"));
        assert_eq!(path_of("file:."), here);
        for url in ["file:/srv/data", "file:///srv/data", "file://localhost/srv/data", "FILE:/srv/data"] {
            assert_eq!(path_of(url), Path::new("/srv/data"), "{url}");
        }
        assert_eq!(path_of("file:/with space/%C3%A9/100%25?durability=none"), Path::new("/with space/é/100%"));
    }

    #[test]
    fn what_makes_no_sense_is_refused_by_name() {
        assert!(refusal("/srv/data").contains("file:/srv/data"));
        assert!(refusal("data").contains("file:data"));
        assert!(refusal("").contains("no kind of store"));
        assert!(refusal("ftp://host/x").contains("ftp: is no kind of store"));
        assert!(refusal("s3:bucket").contains("S3"));
        assert!(refusal("file://host/x").contains("host"));
        assert!(refusal("file:a#b").contains("%23"));
        assert!(refusal("file:a\\b").contains("%5C"));
        assert!(refusal("file:").contains("no directory"));
        assert!(refusal("file:?durability=none").contains("no directory"));
        assert!(refusal("memory:x").contains("no path"));
        assert!(refusal("file:a?durabilty=none").contains("durabilty=none"));
        assert!(refusal("memory:?durability=none").contains("in memory has no parameter"));
        assert!(refusal("file:a?durability=none&durability=every-write").contains("twice"));
    }
    #[cfg(feature = "s3")]
    #[test]
    fn s3_urls_take_the_parameters_of_the_driver_and_no_secret() {
        let store = StoreUrl::parse("s3://bucket/a/b").unwrap();
        let store = store.with_parameter("endpoint", "http://127.0.0.1:9000").unwrap();
        let store = store.with_parameter("region", "eu-west-1").unwrap();
        let whole = "s3://bucket/a/b?endpoint=http%3A%2F%2F127.0.0.1%3A9000&region=eu-west-1";
        assert_eq!(format!("{store:?}"), format!("{:?}", StoreUrl::parse(whole).unwrap()));
        assert!(store.clone().with_parameter("region", "eu-west-2").unwrap_err().to_string().contains("twice"));
        assert!(store.clone().with_parameter("colour", "red").unwrap_err().to_string().contains("colour"));
        assert!(store.with_parameter("durability", "none").unwrap_err().to_string().contains("no durability"));
        assert!(refusal("s3://bucket?durability=none").contains("durability"));
        for url in ["s3://id:hush@bucket", "s3://bucket?accesskey=id&secretkey=hush"] {
            assert!(!refusal(url).contains("hush"), "{}", refusal(url));
        }
    }

    #[cfg(feature = "s3")]
    #[tokio::test]
    async fn a_configuration_that_can_t_be_honoured_is_the_same_error_from_a_url_and_from_the_driver() {
        let by_url = open("s3://bucket?chunksize=1024").await.unwrap_err();
        let by_driver = S3Driver::open(S3Config::new("bucket").part_size(1024)).await.unwrap_err();
        for (error, parameter) in [(by_url, "chunksize"), (by_driver, "part_size")] {
            assert_eq!(error.kind(), ErrorKind::UnsupportedMethod, "{error:?}");
            let source = std::error::Error::source(&error).and_then(|source| source.downcast_ref::<InvalidS3Config>());
            assert_eq!(source.unwrap().parameter(), parameter);
            assert!(source.unwrap().to_string().contains("1024"), "{error:?}");
        }
    }
}
