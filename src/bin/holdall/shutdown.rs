//! The way from running to gone.

use tokio::sync::watch;

/// How far the stop has come. Each phase includes those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    Running,
    /// No new connections and no further request on old ones.
    Draining,
    /// The bodies of running requests end here; what arrived is kept, and clients are told to come back.
    Cutting,
    /// Connections are dropped.
    Closing,
}

/// Says how far the stop has come.
pub(crate) struct ShutdownSender(watch::Sender<Phase>);

/// Hears how far the stop has come.
#[derive(Clone)]
pub(crate) struct Shutdown(watch::Receiver<Phase>);

pub(crate) fn channel() -> (ShutdownSender, Shutdown) {
    let (sender, receiver) = watch::channel(Phase::Running);
    (ShutdownSender(sender), Shutdown(receiver))
}

impl ShutdownSender {
    pub(crate) fn enter(&self, phase: Phase) {
        self.0.send_replace(phase);
    }
}

impl Shutdown {
    /// Ends once the stop has come so far, also if nobody is left to say so.
    pub(crate) async fn reached(mut self, phase: Phase) {
        let _ = self.0.wait_for(|now| *now >= phase).await;
    }
}

/// The signals that ask a program to stop.
pub(crate) struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

impl Signals {
    pub(crate) fn new() -> std::io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    /// The next one: its name, and the exit code that shells expect of what it ended.
    pub(crate) async fn next(&mut self) -> (&'static str, i32) {
        tokio::select! {
            _ = self.interrupt.recv() => ("SIGINT", 128 + 2),
            _ = self.terminate.recv() => ("SIGTERM", 128 + 15),
        }
    }
}
