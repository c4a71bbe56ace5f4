//! Locks within one process.

use std::collections::VecDeque;
use std::collections::hash_map::{Entry, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::oneshot;

use super::{Locker, StopSignal, UploadError, UploadErrorKind, UploadId, UploadLock};

/// Locks within this process. Who waits for an upload gets it in the order of asking. Clones share their locks.
///
/// A holder behind whom somebody waits is asked to let go from the start, so that of several requests for an upload the
/// last one has the time to go on.
#[derive(Clone, Default)]
pub struct MemoryLocker(Arc<Mutex<HashMap<UploadId, Locked>>>);

struct Locked {
    holder: StopSignal,
    waiters: VecDeque<oneshot::Sender<UploadLock>>,
}

/// Hands the upload on when it is dropped.
struct Release {
    locker: MemoryLocker,
    id: UploadId,
}

impl MemoryLocker {
    fn locks(&self) -> MutexGuard<'_, HashMap<UploadId, Locked>> {
        // Nothing panics while it is held.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A lock that answers to `signal`, whose entry is in the map.
    fn grant(&self, id: &UploadId, signal: StopSignal) -> UploadLock {
        UploadLock::new(signal, Release { locker: self.clone(), id: id.clone() })
    }

    /// Takes the lock if it is free, else asks the holder to let go and lines up.
    fn enter(&self, id: &UploadId) -> Result<UploadLock, oneshot::Receiver<UploadLock>> {
        match self.locks().entry(id.clone()) {
            Entry::Vacant(free) => {
                let signal = StopSignal::default();
                free.insert(Locked { holder: signal.clone(), waiters: VecDeque::new() });
                Ok(self.grant(id, signal))
            }
            Entry::Occupied(mut locked) => {
                let (sender, receiver) = oneshot::channel();
                let Locked { holder, waiters } = locked.get_mut();
                waiters.retain(|waiter| !waiter.is_closed());
                waiters.push_back(sender);
                holder.stop();
                Err(receiver)
            }
        }
    }

    /// Takes the next one off the line and makes it the holder; the last one out removes the entry.
    fn next(&self, id: &UploadId) -> Option<(oneshot::Sender<UploadLock>, UploadLock)> {
        let mut locks = self.locks();
        let Locked { holder, waiters } = locks.get_mut(id)?;
        waiters.retain(|waiter| !waiter.is_closed());
        let Some(waiter) = waiters.pop_front() else {
            locks.remove(id);
            return None;
        };
        *holder = StopSignal::default();
        if !waiters.is_empty() {
            holder.stop();
        }
        Some((waiter, self.grant(id, holder.clone())))
    }
}

impl Drop for Release {
    fn drop(&mut self) {
        if let Some((waiter, lock)) = self.locker.next(&self.id) {
            // If the waiter left meanwhile, the lock is dropped with the answer, and so goes to the one after it.
            drop(waiter.send(lock));
        }
    }
}

#[async_trait]
impl Locker for MemoryLocker {
    async fn lock(&self, id: &UploadId, timeout: Duration) -> Result<UploadLock, UploadError> {
        let waiting = match self.enter(id) {
            Ok(lock) => return Ok(lock),
            Err(waiting) => waiting,
        };
        match tokio::time::timeout(timeout, waiting).await {
            Ok(Ok(lock)) => Ok(lock),
            _ => {
                let detail = format!("its holder did not let go within {timeout:?}");
                Err(UploadError::new(UploadErrorKind::Locked).of(id).with_detail(detail))
            }
        }
    }
}

impl fmt::Debug for MemoryLocker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryLocker").field("locked", &self.locks().len()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(3600);

    fn id(text: &str) -> UploadId {
        UploadId::parse(text).unwrap()
    }

    #[tokio::test]
    async fn one_upload_is_locked_and_another_is_free() {
        let locker = MemoryLocker::default();
        let a = locker.lock(&id("a"), LONG).await.unwrap();
        let _b = locker.lock(&id("b"), LONG).await.unwrap();
        assert!(!a.signal().is_stopped());
    }

    #[tokio::test]
    async fn a_request_asks_the_holder_to_let_go_and_gets_the_lock_then() {
        let (locker, name) = (MemoryLocker::default(), id("a"));
        let first = locker.lock(&name, LONG).await.unwrap();
        let mut second = locker.lock(&name, LONG);
        assert!(futures::poll!(&mut second).is_pending());
        assert!(first.signal().is_stopped());
        drop(first);
        let second = second.await.unwrap();
        assert!(!second.signal().is_stopped());
    }

    #[tokio::test]
    async fn waiters_come_in_order_and_all_but_the_last_are_asked_to_let_go_at_once() {
        let locker = MemoryLocker::default();
        let (name, mut order) = (id("a"), Vec::new());
        let first = locker.lock(&name, LONG).await.unwrap();
        let mut waiting: Vec<_> = (0..3).map(|_| locker.lock(&name, LONG)).collect();
        for waiter in &mut waiting {
            assert!(futures::poll!(waiter).is_pending());
        }
        drop(first);
        for waiter in waiting {
            order.push(waiter.await.unwrap().signal().is_stopped());
        }
        assert_eq!(order, [true, true, false]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_stubborn_holder_is_waited_for_until_the_timeout_and_no_longer() {
        let locker = MemoryLocker::default();
        let _stubborn = locker.lock(&id("a"), LONG).await.unwrap();
        let before = tokio::time::Instant::now();
        let error = locker.lock(&id("a"), Duration::from_secs(7)).await.unwrap_err();
        assert_eq!((error.kind(), error.id(), error.is_temporary()), (UploadErrorKind::Locked, Some(&id("a")), true));
        assert_eq!(before.elapsed().as_secs(), 7);
    }

    #[tokio::test]
    async fn waiters_that_left_are_passed_over_and_no_entry_stays() {
        let locker = MemoryLocker::default();
        let name = id("a");
        let first = locker.lock(&name, LONG).await.unwrap();
        let (mut left, mut stays) = (locker.lock(&name, LONG), locker.lock(&name, LONG));
        assert!(futures::poll!(&mut left).is_pending());
        assert!(futures::poll!(&mut stays).is_pending());
        drop(left);
        drop(first);
        drop(stays.await.unwrap());
        assert!(locker.locks().is_empty());
    }

    #[tokio::test]
    async fn a_lock_that_was_handed_over_and_never_taken_is_free_again() {
        let locker = MemoryLocker::default();
        let name = id("a");
        let first = locker.lock(&name, LONG).await.unwrap();
        let mut second = locker.lock(&name, LONG);
        assert!(futures::poll!(&mut second).is_pending());
        drop(first);
        drop(second);
        assert!(locker.locks().is_empty());
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn under_a_crowd_that_gives_up_and_comes_back_one_holds_it_and_none_is_left_out() {
        use std::sync::atomic::{AtomicBool, Ordering};
        let (locker, held) = (MemoryLocker::default(), Arc::new(AtomicBool::new(false)));
        let crowd: Vec<_> = (0..8)
            .map(|number| {
                let (locker, held) = (locker.clone(), held.clone());
                tokio::spawn(async move {
                    for turn in 0..200 {
                        // Some ask once and leave.
                        let patience = if (number + turn) % 3 == 0 { Duration::ZERO } else { LONG };
                        match locker.lock(&id("a"), patience).await {
                            Ok(_lock) => {
                                assert!(!held.swap(true, Ordering::SeqCst));
                                tokio::task::yield_now().await;
                                held.store(false, Ordering::SeqCst);
                            }
                            Err(_) => assert_eq!(patience, Duration::ZERO),
                        }
                    }
                })
            })
            .collect();
        for one in crowd {
            one.await.unwrap();
        }
        assert!(locker.locks().is_empty());
    }
}
