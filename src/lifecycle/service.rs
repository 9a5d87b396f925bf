//! What the service manager is told (`sd_notify(3)`); silence when there is none.
//!
//! Ready means here that the listeners are bound, not that a cluster is up: a unit that waits for brokers would keep
//! applications from starting when they are down, and restarting evenkeel brings no broker back. `STATUS=` says the rest.

use std::time::Duration;

use sd_notify::NotifyState;

/// Speaks to the service manager that started the process, if one did.
#[derive(Clone, Copy, Debug, Default)]
pub struct ServiceManager;

impl ServiceManager {
    /// Listeners are bound. Also the end of a reload.
    pub fn ready(self, status: &str) {
        tell(&[NotifyState::Ready, NotifyState::Status(&one_line(status))]);
    }

    /// The configuration is being read again; [`ServiceManager::ready`] ends it. The time is what systemd since 253
    /// wants in order to tell reloads apart.
    pub fn reloading(self) {
        match NotifyState::monotonic_usec_now() {
            Ok(now) => tell(&[NotifyState::Reloading, now]),
            // Without the time newer managers would wait for it in vain: say nothing at all.
            Err(error) => tracing::debug!(%error, "no monotonic time for the service manager"),
        }
    }

    /// The drain has begun.
    pub fn stopping(self, status: &str) {
        tell(&[NotifyState::Stopping, NotifyState::Status(&one_line(status))]);
    }

    /// One line for `systemctl status`.
    pub fn status(self, status: &str) {
        tell(&[NotifyState::Status(&one_line(status))]);
    }

    /// How often [`ServiceManager::alive`] must be called: half of what the manager allows, `None` if it doesn't ask.
    pub fn watchdog(self) -> Option<Duration> {
        sd_notify::watchdog_enabled().map(|limit| limit / 2).filter(|every| !every.is_zero())
    }

    /// The main loop still turns.
    pub fn alive(self) {
        tell(&[NotifyState::Watchdog]);
    }
}

fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::debug!(%error, "the service manager could not be told");
    }
}

/// The protocol has one assignment on a line.
fn one_line(text: &str) -> String {
    text.replace('\n', "; ")
}
