//! Which key a path has, and the keys that no path reaches.
//!
//! Below the root of the driver lie the objects, at the keys of their paths, and three folders of the driver's own.
//! Their names begin with `~`, which sorts after all that a path may hold, so that a listing can end before them.

use std::fmt;

use crate::path::StoragePath;

/// The folder of heads.
const UNCOMMITTED: &str = "~uncommitted";
/// The folder of segments.
const SEGMENT: &str = "~segment";
/// What the start-up probe writes.
const PROBE: &str = "~probe";
/// The name of a head in the folder of its path.
const HEAD: &str = "~head";

/// 128 random bits: a file, a write of a head, a segment.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(super) struct Id(pub(super) [u8; 16]);

impl Id {
    /// A new one. Should the system have no randomness to give, the process can't keep its promises: the request fails.
    pub(super) fn random() -> Result<Self, getrandom::Error> {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes)?;
        Ok(Self(bytes))
    }

    /// From 32 hexadecimal digits.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut bytes = [0; 16];
        hex_decode(text, &mut bytes).then_some(Self(bytes))
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        hex(&self.0, f)
    }
}

impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        hex(&self.0, f)
    }
}

fn hex(bytes: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
}

/// Fills `out` from exactly twice as many hexadecimal digits.
pub(super) fn hex_decode(text: &str, out: &mut [u8]) -> bool {
    let digit = |byte: u8| char::from(byte).to_digit(16).map(|digit| digit as u8);
    let text = text.as_bytes();
    text.len() == out.len() * 2
        && text.chunks_exact(2).zip(out).all(|(pair, byte)| match pair {
            [high, low] => match (digit(*high), digit(*low)) {
                (Some(high), Some(low)) => {
                    *byte = high << 4 | low;
                    true
                }
                _ => false,
            },
            _ => false,
        })
}

/// The keys of one driver: all of them below its root.
#[derive(Clone, Debug)]
pub(super) struct Keys {
    /// Empty, or a prefix that ends in `/`.
    root: Box<str>,
}

impl Keys {
    /// Keys below `root`, with or without slashes around it.
    pub(super) fn new(root: &str) -> Self {
        let root = root.trim_matches('/');
        Self { root: if root.is_empty() { "".into() } else { format!("{root}/").into() } }
    }

    /// What all keys begin with: empty, or ending in `/`.
    pub(super) fn root(&self) -> &str {
        &self.root
    }

    /// The key of the object at a path.
    pub(super) fn object(&self, path: &StoragePath) -> String {
        format!("{}{}", self.root, &path.as_str()[1..])
    }

    /// What all keys below a directory begin with.
    pub(super) fn directory(&self, path: &StoragePath) -> String {
        if path.is_root() { self.root.to_string() } else { format!("{}/", self.object(path)) }
    }

    /// The key of the head of an uncommitted file.
    pub(super) fn head(&self, path: &StoragePath) -> String {
        format!("{}{HEAD}", self.heads_below(path))
    }

    /// What the keys of the heads of a path and all below it begin with.
    pub(super) fn heads_below(&self, path: &StoragePath) -> String {
        let path = if path.is_root() { "" } else { path.as_str() };
        format!("{}{UNCOMMITTED}{path}/", self.root)
    }

    /// The path whose head lies at this key.
    pub(super) fn path_of_head(&self, key: &str) -> Option<StoragePath> {
        let path = key.strip_prefix(&*self.root)?.strip_prefix(UNCOMMITTED)?.strip_suffix(HEAD)?.strip_suffix('/')?;
        StoragePath::parse(path).ok()
    }

    /// The path of the object at this key. Keys that are no path are other tools' (a directory's marker), or our own.
    pub(super) fn path_of_object(&self, key: &str) -> Option<StoragePath> {
        let relative = key.strip_prefix(&*self.root)?;
        if relative.is_empty() { None } else { StoragePath::parse(&format!("/{relative}")).ok() }
    }

    /// Whether a key lies in, or sorts after, the driver's own folders: a listing of all can end here.
    pub(super) fn is_past_paths(&self, key: &str) -> bool {
        key.strip_prefix(&*self.root).is_some_and(|relative| relative.starts_with('~'))
    }

    /// The key of a segment of a file.
    pub(super) fn segment(&self, file: Id, name: Id) -> String {
        format!("{}{file}/{name}", self.segments())
    }

    /// What the keys of all segments begin with.
    pub(super) fn segments(&self) -> String {
        format!("{}{SEGMENT}/", self.root)
    }

    /// The file and the name of the segment at this key.
    pub(super) fn parse_segment(&self, key: &str) -> Option<(Id, Id)> {
        let (file, name) = key.strip_prefix(&*self.segments())?.split_once('/')?;
        Some((Id::parse(file)?, Id::parse(name)?))
    }

    /// A key for a probe.
    pub(super) fn probe(&self, name: Id) -> String {
        format!("{}{PROBE}/{name}", self.root)
    }

    /// What the keys of all probes begin with.
    pub(super) fn probes(&self) -> String {
        format!("{}{PROBE}/", self.root)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> StoragePath {
        StoragePath::parse(text).unwrap()
    }

    #[test]
    fn keys_lead_back_to_their_paths() {
        for (root, prefix) in [("", ""), ("/", ""), ("registry", "registry/"), ("/a/b/", "a/b/")] {
            let keys = Keys::new(root);
            let file = path("/x/y.z");
            assert_eq!(keys.object(&file), format!("{prefix}x/y.z"));
            assert_eq!(keys.directory(&StoragePath::root()), prefix);
            assert_eq!(keys.head(&file), format!("{prefix}~uncommitted/x/y.z/~head"));
            assert_eq!(keys.path_of_object(&keys.object(&file)), Some(file.clone()));
            assert_eq!(keys.path_of_head(&keys.head(&file)), Some(file));
        }
    }

    #[test]
    fn no_path_reaches_a_key_of_the_driver_and_no_key_of_others_becomes_a_path() {
        let keys = Keys::new("root");
        let segment = keys.segment(Id([1; 16]), Id([2; 16]));
        for key in
            [keys.head(&path("/a")), segment.clone(), "root/a/".into(), "root/".into(), "root".into(), "other/a".into()]
        {
            assert_eq!(keys.path_of_object(&key), None, "{key}");
        }
        assert_eq!(keys.parse_segment(&segment), Some((Id([1; 16]), Id([2; 16]))));
        assert!(keys.is_past_paths(&segment) && keys.is_past_paths(&keys.head(&path("/zzz"))));
        assert!(!keys.is_past_paths(&keys.object(&path("/zzz"))));
        assert!("root/~" > keys.object(&path("/z_-.Z9")).as_str());
    }

    #[test]
    fn an_id_is_exactly_its_digits() {
        let id = Id([0xa5; 16]);
        assert_eq!(Id::parse(&id.to_string()), Some(id));
        for text in ["", "a5", &"a5".repeat(15), &"a5".repeat(17), &"g5".repeat(16), &"+5".repeat(16)] {
            assert_eq!(Id::parse(text), None, "{text}");
        }
    }
}
