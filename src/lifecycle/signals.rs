//! What the operator asks of the process: stop, or read the configuration again.

use std::io;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

/// One request to the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// SIGTERM: stop. The first drains, a second ends at once.
    Terminate,
    /// SIGINT: the same, from a terminal.
    Interrupt,
    /// SIGHUP: read the configuration again.
    Reload,
}

impl Signal {
    /// The exit code when this signal ended the process at once: 128 and its number, as shells report it.
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Terminate => 128 + 15,
            Self::Interrupt => 128 + 2,
            Self::Reload => 128 + 1,
        }
    }

    /// The name that people know it by.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Terminate => "SIGTERM",
            Self::Interrupt => "SIGINT",
            Self::Reload => "SIGHUP",
        }
    }
}

/// The requests, in the order in which they came.
#[derive(Debug)]
pub struct Signals {
    queue: mpsc::Receiver<Signal>,
}

/// More waiting than this are of no use: the oldest decide.
const QUEUE: usize = 8;

impl Signals {
    /// Those of the operating system. From now on they no longer end the process by themselves.
    ///
    /// Must be called inside a runtime. Errors: the operating system refuses the handler.
    pub fn from_os() -> io::Result<Self> {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut hangup = signal(SignalKind::hangup())?;
        let (sender, queue) = mpsc::channel(QUEUE);
        tokio::spawn(async move {
            loop {
                let got = tokio::select! {
                    Some(()) = terminate.recv() => Signal::Terminate,
                    Some(()) = interrupt.recv() => Signal::Interrupt,
                    Some(()) = hangup.recv() => Signal::Reload,
                    else => return,
                };
                // A full queue drops it: as many are being answered already.
                if let Err(mpsc::error::TrySendError::Closed(_)) = sender.try_send(got) {
                    return;
                }
            }
        });
        Ok(Self { queue })
    }

    /// Those that a program sends, for running the whole application inside a test.
    pub fn channel() -> (mpsc::Sender<Signal>, Self) {
        let (sender, queue) = mpsc::channel(QUEUE);
        (sender, Self { queue })
    }

    /// The next one; never returns when there can be none any more. Cancel-safe.
    pub async fn next(&mut self) -> Signal {
        match self.queue.recv().await {
            Some(signal) => signal,
            None => std::future::pending().await,
        }
    }
}
