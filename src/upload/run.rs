//! Work that outlives its request.

use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::runtime::Handle;

use super::StopSignal;

/// A future that runs to its end once it was polled: dropped before that, it is told to take no more bytes, and moves to a
/// task of its own. Until then it costs its box and nothing else.
///
/// Outside of a tokio runtime, or in one that shuts down, nothing can run on, and it is dropped.
pub(super) struct RunToEnd<F>
where
    F: Future<Output: Send> + Send + 'static,
{
    future: Option<Pin<Box<F>>>,
    signal: StopSignal,
    started: bool,
}

impl<F> RunToEnd<F>
where
    F: Future<Output: Send> + Send + 'static,
{
    /// Runs `future`, whose stream ends by `signal`.
    pub(super) fn new(signal: StopSignal, future: F) -> Self {
        Self { future: Some(Box::pin(future)), signal, started: false }
    }
}

impl<F> Future for RunToEnd<F>
where
    F: Future<Output: Send> + Send + 'static,
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

impl<F> Drop for RunToEnd<F>
where
    F: Future<Output: Send> + Send + 'static,
{
    fn drop(&mut self) {
        let Some(future) = self.future.take().filter(|_| self.started) else {
            return;
        };
        self.signal.abandon();
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(future);
        }
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
        drop(RunToEnd::new(signal.clone(), async move { sender.send(()) }));
        assert!(receiver.await.is_err());
        assert!(!signal.is_stopped());
    }

    #[tokio::test]
    async fn dropped_half_way_it_takes_no_more_bytes_and_comes_to_its_end() {
        let (pieces, body) = mpsc::unbounded_channel();
        let (sender, result) = oneshot::channel();
        let signal = StopSignal::default();
        let body = futures::stream::unfold(body, |mut body| async move { Some((body.recv().await?, body)) });
        let mut chunk = Chunk::new(body.boxed(), signal.clone(), u64::MAX);
        let mut run = Box::pin(RunToEnd::new(signal, async move {
            let mut taken = Vec::new();
            while let Some(Ok(piece)) = chunk.next().await {
                taken.push(piece);
            }
            sender.send(taken)
        }));
        pieces.send(Ok("one".into())).unwrap();
        assert!(futures::poll!(&mut run).is_pending());
        drop(run);
        pieces.send(Ok("two".into())).unwrap();
        assert_eq!(result.await.unwrap(), ["one"]);
    }

    #[test]
    fn outside_of_a_runtime_it_is_dropped() {
        let (sender, mut receiver) = oneshot::channel::<()>();
        let mut run = Box::pin(RunToEnd::new(StopSignal::default(), async move {
            std::future::pending::<()>().await;
            sender.send(())
        }));
        let mut cx = Context::from_waker(std::task::Waker::noop());
        assert!(run.as_mut().poll(&mut cx).is_pending());
        drop(run);
        assert!(receiver.try_recv().is_err());
    }
}
