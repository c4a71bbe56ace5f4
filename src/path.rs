//! Paths of blobs: checked once, when they are built.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// A checked, absolute path in a storage driver: `^(/[A-Za-z0-9._-]+)+$`, or the root `/`.
///
/// Components `.` and `..` are refused, so that no path leads out of a driver's root. Names with `~` lie outside of the
/// grammar; drivers keep what is their own (temporary files, heads of uncommitted files) under such names, where no path
/// reaches them. A clone costs a reference count.
///
/// Paths compare by their bytes.
///
/// # Example
/// ```
/// use holdall::StoragePath;
///
/// let blob = StoragePath::parse("/docker/registry/v2/blobs/sha256/ab/abcd/data")?;
/// assert_eq!(blob.file_name(), Some("data"));
/// assert!(StoragePath::parse("/docker/../etc").is_err());
/// # Ok::<(), holdall::InvalidPath>(())
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StoragePath(Arc<str>);

impl StoragePath {
    /// The longest path, in bytes: with a driver's own prefix and suffix it still fits the 1,024 bytes of an S3 key.
    pub const MAX_LEN: usize = 768;
    /// The longest component, in bytes: what common file systems take as a file name.
    pub const MAX_COMPONENT_LEN: usize = 255;

    /// Checks `text` and makes a path of it.
    ///
    /// # Errors
    /// [`InvalidPath`], which says which rule was broken.
    pub fn parse(text: &str) -> Result<Self, InvalidPath> {
        let invalid = |reason| InvalidPath { path: abbreviate(text), reason };
        let Some(rest) = text.strip_prefix('/') else {
            return Err(invalid(InvalidPathReason::NotAbsolute));
        };
        if text.len() > Self::MAX_LEN {
            return Err(invalid(InvalidPathReason::TooLong));
        }
        if !rest.is_empty() {
            for component in rest.split('/') {
                check_component(component).map_err(invalid)?;
            }
        }
        Ok(Self(text.into()))
    }

    /// The root, `/`: a directory that always exists.
    pub fn root() -> Self {
        Self("/".into())
    }

    /// The path as text: starts with `/`, and ends with it only if it is the root.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this is `/`.
    pub fn is_root(&self) -> bool {
        self.0.len() == 1
    }

    /// The last component; the root has none.
    pub fn file_name(&self) -> Option<&str> {
        self.components().next_back()
    }

    /// The directory that holds this path; the root has none.
    pub fn parent(&self) -> Option<Self> {
        match self.0.rfind('/') {
            _ if self.is_root() => None,
            None | Some(0) => Some(Self::root()),
            Some(end) => Some(Self(self.0[..end].into())),
        }
    }

    /// The components in order, without slashes; the root has none.
    pub fn components(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.0[1..].split('/').filter(|component| !component.is_empty())
    }

    /// This path with `relative` (one or more components, joined by `/`) below it.
    ///
    /// # Errors
    /// [`InvalidPath`] if a component of `relative` is not allowed, or the whole is too long.
    pub fn join(&self, relative: &str) -> Result<Self, InvalidPath> {
        let base = if self.is_root() { "" } else { self.as_str() };
        Self::parse(&format!("{base}/{relative}"))
    }

    /// Whether this path is `ancestor` or lies below it, by whole components: `/ab` is not below `/a`.
    pub fn starts_with(&self, ancestor: &Self) -> bool {
        self.strip_prefix(ancestor).is_some()
    }

    /// What follows `ancestor` in this path, without a leading slash; empty if both are the same, `None` if this path
    /// does not lie below it.
    pub fn strip_prefix(&self, ancestor: &Self) -> Option<&str> {
        if ancestor.is_root() {
            return Some(&self.0[1..]);
        }
        let rest = self.0.strip_prefix(ancestor.as_str())?;
        if rest.is_empty() { Some(rest) } else { rest.strip_prefix('/') }
    }
}

fn check_component(component: &str) -> Result<(), InvalidPathReason> {
    match component {
        "" => Err(InvalidPathReason::EmptyComponent),
        "." | ".." => Err(InvalidPathReason::DotComponent),
        _ if component.len() > StoragePath::MAX_COMPONENT_LEN => Err(InvalidPathReason::ComponentTooLong),
        _ => match component.chars().find(|c| !matches!(c, 'A'..='Z' | 'a'..='z' | '0'..='9' | '.' | '_' | '-')) {
            Some(c) => Err(InvalidPathReason::Character(c)),
            None => Ok(()),
        },
    }
}

/// At most 80 characters of a text that may be hostile and long.
fn abbreviate(text: &str) -> Box<str> {
    match text.char_indices().nth(80) {
        Some((end, _)) => format!("{}…", &text[..end]).into(),
        None => text.into(),
    }
}

impl fmt::Display for StoragePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for StoragePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl AsRef<str> for StoragePath {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

/// The same order and hash as the text, so that maps keyed by paths can be asked for a `&str`.
impl std::borrow::Borrow<str> for StoragePath {
    fn borrow(&self) -> &str {
        self.as_str()
    }
}

impl FromStr for StoragePath {
    type Err = InvalidPath;

    fn from_str(text: &str) -> Result<Self, InvalidPath> {
        Self::parse(text)
    }
}

impl TryFrom<&str> for StoragePath {
    type Error = InvalidPath;

    fn try_from(text: &str) -> Result<Self, InvalidPath> {
        Self::parse(text)
    }
}

/// Why a text is not a [`StoragePath`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid path {path:?}: {reason}")]
pub struct InvalidPath {
    path: Box<str>,
    reason: InvalidPathReason,
}

impl InvalidPath {
    /// The rule that was broken.
    pub fn reason(&self) -> InvalidPathReason {
        self.reason
    }
}

/// The rules of a [`StoragePath`], each as the way to break it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidPathReason {
    /// It does not start with `/`.
    #[error("it does not start with '/'")]
    NotAbsolute,
    /// Two slashes in a row, or one at the end.
    #[error("it has an empty component")]
    EmptyComponent,
    /// A component is `.` or `..`.
    #[error("'.' and '..' are not allowed as components")]
    DotComponent,
    /// A character other than `A-Z a-z 0-9 . _ -`.
    #[error("character {0:?} is not allowed")]
    Character(char),
    /// A component is longer than [`StoragePath::MAX_COMPONENT_LEN`].
    #[error("a component is longer than {} bytes", StoragePath::MAX_COMPONENT_LEN)]
    ComponentTooLong,
    /// The path is longer than [`StoragePath::MAX_LEN`].
    #[error("it is longer than {} bytes", StoragePath::MAX_LEN)]
    TooLong,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> StoragePath {
        StoragePath::parse(text).unwrap()
    }

    #[test]
    fn refuses_each_broken_rule_by_its_name() {
        use InvalidPathReason::*;
        let long_component = format!("/{}", "a".repeat(256));
        let long_path = "/abcdefg".repeat(97);
        for (text, reason) in [
            ("", NotAbsolute),
            ("abc", NotAbsolute),
            ("123.abc", NotAbsolute),
            ("//bcd", EmptyComponent),
            ("/abc_123/", EmptyComponent),
            ("/a/../b", DotComponent),
            ("/./a", DotComponent),
            ("/a~", Character('~')),
            ("/a b", Character(' ')),
            ("/a\0", Character('\0')),
            ("/ß", Character('ß')),
            (&long_component, ComponentTooLong),
            (&long_path, TooLong),
        ] {
            assert_eq!(StoragePath::parse(text).unwrap_err().reason(), reason, "{text}");
        }
    }

    #[test]
    fn parents_and_prefixes_go_by_whole_components() {
        assert_eq!(path("/a/b").parent(), Some(path("/a")));
        assert_eq!(path("/a").parent(), Some(StoragePath::root()));
        assert_eq!(StoragePath::root().parent(), None);
        assert_eq!(StoragePath::root().file_name(), None);
        assert_eq!(path("/a/b").strip_prefix(&path("/a")), Some("b"));
        assert_eq!(path("/a").strip_prefix(&path("/a")), Some(""));
        assert_eq!(path("/ab").strip_prefix(&path("/a")), None);
        assert_eq!(path("/ab").strip_prefix(&StoragePath::root()), Some("ab"));
        assert_eq!(StoragePath::root().join("a/b").unwrap(), path("/a/b"));
        assert!(path("/a").join("../b").is_err());
        assert!(path("/a").join("").is_err());
    }

    #[test]
    fn an_error_shows_a_long_text_cut_short() {
        let text = format!("{}", StoragePath::parse(&"ß".repeat(5000)).unwrap_err());
        assert!(text.len() < 300, "{text}");
    }
}
