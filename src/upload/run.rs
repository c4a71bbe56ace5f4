//! Work that outlives its request.

use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::runtime::Handle;
use tokio::sync::watch;

use super::{StopSignal, UploadError, UploadErrorKind};

/// A future that runs to its end once it was polled: dropped before that, it is told to take no more bytes, and moves to a
/// task of its own. Until then it costs its box and nothing else.
///
/// Outside of a tokio runtime, or in one that shuts down, nothing can run on, and it is dropped.
pub(super) struct RunToEnd<T, F>
where
    T: Send + 'static,
    F: Future<Output = Result<T, UploadError>> + Send + 'static,
{
    future: Option<Pin<Box<F>>>,
    signal: StopSignal,
    orphans: Orphans,
    started: bool,
}

impl<T, F> RunToEnd<T, F>
where
    T: Send + 'static,
    F: Future<Output = Result<T, UploadError>> + Send + 'static,
{
    /// Runs `future`, whose stream ends by `signal`; counted among `orphans` if its request is dropped.
    pub(super) fn new(signal: StopSignal, orphans: &Orphans, future: F) -> Self {
        Self { future: Some(Box::pin(future)), signal, orphans: orphans.clone(), started: false }
    }
}

impl<T, F> Future for RunToEnd<T, F>
where
    T: Send + 'static,
    F: Future<Output = Result<T, UploadError>> + Send + 'static,
{
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        self.started = true;
        let Some(future) = &mut self.future else {
            // A future that is polled after its end may do anything but harm.
            return Poll::Pending;
        };
        let output = std::task::ready!(future.as_mut().poll(cx));
        self.future = None;
        Poll::Ready(output)
    }
}

impl<T, F> Drop for RunToEnd<T, F>
where
    T: Send + 'static,
    F: Future<Output = Result<T, UploadError>> + Send + 'static,
{
    fn drop(&mut self) {
        let Some(future) = self.future.take().filter(|_| self.started) else {
            return;
        };
        self.signal.abandon();
        let Ok(runtime) = Handle::try_current() else {
            return;
        };
        let counted = self.orphans.count();
        runtime.spawn(async move {
            let _counted = counted;
            match future.await {
                // That its stream ended is what it was told.
                Err(error) if error.kind() != UploadErrorKind::Stream => {
                    tracing::warn!(error = &error as &dyn std::error::Error, "after its request was dropped");
                }
                _ => {}
            }
        });
    }
}

/// How many futures run on without their requests.
#[derive(Clone, Debug, Default)]
pub(super) struct Orphans(watch::Sender<usize>);

impl Orphans {
    fn count(&self) -> impl Send + 'static {
        struct Counted(watch::Sender<usize>);
        impl Drop for Counted {
            fn drop(&mut self) {
                self.0.send_modify(|count| *count -= 1);
            }
        }
        self.0.send_modify(|count| *count += 1);
        Counted(self.0.clone())
    }

    /// Waits until there are none.
    pub(super) async fn gone(&self) {
        // It fails only when the sender is gone, which is held here.
        self.0.subscribe().wait_for(|count| *count == 0).await.ok();
    }
}

#[cfg(test)]
mod tests {
    use futures::StreamExt;
    use tokio::sync::{mpsc, oneshot};

    use super::super::chunk::Chunk;
    use super::*;

    #[tokio::test]
    async fn dropped_before_its_first_poll_it_does_nothing() {
        let (sender, receiver) = oneshot::channel::<()>();
        let signal = StopSignal::default();
        drop(RunToEnd::new(signal.clone(), &Orphans::default(), async move { Ok(sender.send(())) }));
        assert!(receiver.await.is_err());
        assert!(!signal.is_stopped());
    }

    #[tokio::test]
    async fn dropped_half_way_it_takes_no_more_bytes_and_comes_to_its_end() {
        let (pieces, body) = mpsc::unbounded_channel();
        let (sender, result) = oneshot::channel();
        let (signal, orphans) = (StopSignal::default(), Orphans::default());
        let body = futures::stream::unfold(body, |mut body| async move { Some((body.recv().await?, body)) });
        let mut chunk = Chunk::new(body.boxed(), signal.clone(), u64::MAX);
        let mut run = Box::pin(RunToEnd::new(signal, &orphans, async move {
            let mut taken = Vec::new();
            while let Some(Ok(piece)) = chunk.next().await {
                taken.push(piece);
            }
            Ok(sender.send(taken))
        }));
        pieces.send(Ok("one".into())).unwrap();
        assert!(futures::poll!(&mut run).is_pending());
        drop(run);
        pieces.send(Ok("two".into())).unwrap();
        orphans.gone().await;
        assert_eq!(result.await.unwrap(), ["one"]);
    }

    #[test]
    fn outside_of_a_runtime_it_is_dropped() {
        let (sender, mut receiver) = oneshot::channel::<()>();
        let mut run = Box::pin(RunToEnd::new(StopSignal::default(), &Orphans::default(), async move {
            std::future::pending::<()>().await;
            Ok(sender.send(()))
        }));
        let mut cx = Context::from_waker(std::task::Waker::noop());
        assert!(run.as_mut().poll(&mut cx).is_pending());
        drop(run);
        assert!(receiver.try_recv().is_err());
    }
}
