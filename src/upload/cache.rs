//! Infos that were read or written lately.

use std::collections::HashMap;
use std::mem;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::time::Instant;

use super::{UploadId, UploadInfo};

/// Up to a number of infos, of which those that were not asked for the longest go first.
///
/// It holds two generations: what is asked for moves to the young one, and when that is full it becomes the old one,
/// whose rest is forgotten.
#[derive(Debug)]
pub(super) struct InfoCache {
    generations: Mutex<Generations>,
    /// The most that one generation holds.
    limit: usize,
}

#[derive(Debug, Default)]
struct Generations {
    young: HashMap<UploadId, Cached>,
    old: HashMap<UploadId, Cached>,
    /// How many uploads ended so far.
    ended: u64,
}

/// An info as it was in the backend at a moment.
#[derive(Clone, Debug)]
pub(super) struct Cached {
    pub(super) info: Arc<UploadInfo>,
    pub(super) seen: Instant,
}

impl InfoCache {
    pub(super) fn new(capacity: usize) -> Self {
        Self { generations: Mutex::default(), limit: capacity.div_ceil(2) }
    }

    pub(super) fn get(&self, id: &UploadId) -> Option<Cached> {
        self.with(|generations, limit| {
            if let Some(cached) = generations.young.get(id) {
                return Some(cached.clone());
            }
            let cached = generations.old.remove(id)?;
            generations.insert(cached.clone(), limit);
            Some(cached)
        })
    }

    pub(super) fn insert(&self, cached: Cached) {
        self.with(|generations, limit| generations.insert(cached, limit));
    }

    /// How many uploads ended so far, for [`insert_unless_ended`](Self::insert_unless_ended).
    pub(super) fn ended(&self) -> u64 {
        self.with(|generations, _| generations.ended)
    }

    /// Keeps an info that was being read since there were so many [`ended`](Self::ended) uploads, unless one more ended
    /// meanwhile: that may be this one.
    pub(super) fn insert_unless_ended(&self, cached: Cached, ended: u64) {
        self.with(|generations, limit| {
            if generations.ended == ended {
                generations.insert(cached, limit);
            }
        });
    }

    pub(super) fn remove(&self, id: &UploadId) {
        self.with(|generations, _| generations.remove(id));
    }

    /// Removes the info of an upload that ends here, also for those who are reading it.
    pub(super) fn end(&self, id: &UploadId) {
        self.with(|generations, _| {
            generations.ended += 1;
            generations.remove(id);
        });
    }

    fn with<T>(&self, act: impl FnOnce(&mut Generations, usize) -> T) -> T {
        // Nothing panics while it is held.
        act(&mut self.generations.lock().unwrap_or_else(PoisonError::into_inner), self.limit)
    }
}

impl Generations {
    fn remove(&mut self, id: &UploadId) {
        self.young.remove(id);
        self.old.remove(id);
    }

    fn insert(&mut self, cached: Cached, limit: usize) {
        if limit == 0 {
            return;
        }
        self.old.remove(&cached.info.id);
        if self.young.len() >= limit {
            self.old = mem::take(&mut self.young);
        }
        self.young.insert(cached.info.id.clone(), cached);
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::StoragePath;
    use crate::upload::{Metadata, UploadKind};

    fn id(number: usize) -> UploadId {
        UploadId::parse(&number.to_string()).unwrap()
    }

    fn cached(number: usize, length: u64) -> Cached {
        let info = UploadInfo {
            id: id(number),
            length: Some(length),
            metadata: Metadata::default(),
            kind: UploadKind::Regular,
            created: SystemTime::UNIX_EPOCH,
            expires_after: None,
            path: StoragePath::root(),
        };
        Cached { info: Arc::new(info), seen: Instant::now() }
    }

    fn held(cache: &InfoCache) -> usize {
        cache.with(|generations, _| generations.young.len() + generations.old.len())
    }

    #[test]
    fn it_is_bounded_and_keeps_what_is_asked_for() {
        let cache = InfoCache::new(8);
        cache.insert(cached(0, 0));
        for number in 1..1000 {
            cache.insert(cached(number, 0));
            assert!(cache.get(&id(0)).is_some(), "{number}");
            assert!(cache.get(&id(number)).is_some());
            assert!(held(&cache) <= 8);
        }
        assert!(cache.get(&id(1)).is_none());
    }

    #[test]
    fn what_is_replaced_or_removed_never_shows_again() {
        let cache = InfoCache::new(2);
        for length in 0..5 {
            cache.insert(cached(7, length));
            assert_eq!(cache.get(&id(7)).unwrap().info.length, Some(length));
        }
        cache.insert(cached(8, 0));
        assert_eq!(cache.get(&id(7)).unwrap().info.length, Some(4));
        cache.remove(&id(7));
        assert!(cache.get(&id(7)).is_none());
    }

    #[test]
    fn without_room_it_keeps_nothing() {
        let cache = InfoCache::new(0);
        cache.insert(cached(1, 0));
        assert!(cache.get(&id(1)).is_none());
    }
}
