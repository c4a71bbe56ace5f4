//! Heads that this process wrote last, with their tails, so that the next append needs to read nothing.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;

use super::head::Head;
use crate::path::StoragePath;

/// A head as it lies in the bucket, unless somebody has replaced it since: `If-Match` on the ETag tells.
#[derive(Clone, Debug)]
pub(super) struct Held {
    pub(super) head: Head,
    pub(super) etag: Box<str>,
    /// Part numbers that are this holder's and that it has not used yet.
    pub(super) numbers: Range<u32>,
    /// The bytes of the segments, in order, if they are in memory.
    pub(super) segments: Option<Vec<Bytes>>,
}

impl Held {
    /// A head as it was read: the numbers that it handed out are somebody else's.
    pub(super) fn read(head: Head, etag: Box<str>) -> Self {
        let segments = head.segments.is_empty().then(Vec::new);
        Self { head, etag, numbers: 0..0, segments }
    }

    fn weight(&self) -> u64 {
        let segments: usize = self.segments.iter().flatten().map(Bytes::len).sum();
        (512 + self.head.parts.len() * 48 + self.head.segments.len() * 24 + self.head.inline.len() + segments) as u64
    }
}

/// Bounded by bytes; what was used longest ago goes first.
#[derive(Debug)]
pub(super) struct Cache {
    limit: u64,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    entries: HashMap<StoragePath, (u64, Held)>,
    weight: u64,
    clock: u64,
}

impl Cache {
    pub(super) fn new(limit: u64) -> Self {
        Self { limit, inner: Mutex::default() }
    }

    /// Takes the head of this path out: whoever changes the file holds it alone, and gives back what became of it.
    pub(super) fn take(&self, path: &StoragePath) -> Option<Held> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner).remove(path)
    }

    /// Keeps a head that was just written.
    pub(super) fn put(&self, path: &StoragePath, mut held: Held) {
        if held.weight() > self.limit {
            held.segments = held.head.segments.is_empty().then(Vec::new);
        }
        let weight = held.weight();
        if weight > self.limit {
            return;
        }
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.remove(path);
        while inner.weight + weight > self.limit {
            let oldest = inner.entries.iter().min_by_key(|(_, (used, _))| *used).map(|(path, _)| path.clone());
            let Some(oldest) = oldest else { break };
            inner.remove(&oldest);
        }
        inner.clock += 1;
        inner.weight += weight;
        let used = inner.clock;
        inner.entries.insert(path.clone(), (used, held));
    }
}

impl Inner {
    fn remove(&mut self, path: &StoragePath) -> Option<Held> {
        let (_, held) = self.entries.remove(path)?;
        self.weight -= held.weight();
        Some(held)
    }
}

#[cfg(test)]
mod tests {
    use super::super::keys::Id;
    use super::*;

    fn held(bytes: usize) -> Held {
        let head = Head { inline: vec![0; bytes].into(), ..Head::new(Id([1; 16]), 1) };
        Held::read(head, "etag".into())
    }

    #[test]
    fn it_stays_within_its_bytes_and_forgets_the_oldest() {
        let path = |n: usize| StoragePath::parse(&format!("/{n}")).unwrap();
        let cache = Cache::new(10_000);
        for n in 0..10 {
            cache.put(&path(n), held(2_000));
        }
        assert!(cache.inner.lock().unwrap().weight <= 10_000);
        assert!(cache.take(&path(6)).is_none());
        assert!(cache.take(&path(7)).is_some());
        assert!(cache.take(&path(7)).is_none(), "taken means taken");
        cache.put(&path(1), held(100_000));
        assert!(cache.take(&path(1)).is_none(), "one that is too large isn't kept");
        assert_eq!(cache.inner.lock().unwrap().entries.len(), 2);
    }
}
