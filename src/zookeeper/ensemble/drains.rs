//! Drains: sessions leave a server before it stops.

use super::servers::{Drain, Servers};
use super::{Ensemble, lock};
use crate::config::HostPort;
use crate::time::now;
use crate::upstream::DrainState;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

impl Ensemble {
    /// Begins the drain of a server, by its host and port, for at most `lasts` unless it is repeated; or ends it. Idempotent. Nothing if
    /// there is no such server.
    pub fn drain(&self, member: &str, lasts: Option<Duration>) -> Option<DrainState> {
        let now = now();
        let mut servers = lock(&self.servers);
        let at = servers.named(member)?.clone();
        let server = servers.get_mut(&at)?;
        let news = server.is_drained(now) != lasts.is_some();
        let since = server.drained.filter(|_| !news).map_or(now, |drain| drain.since);
        server.drained = lasts.map(|lasts| Drain { since, until: now + lasts });
        let sessions = server.sessions;
        drop(servers);
        if news {
            tracing::info!(server = %at, on = lasts.is_some(), sessions, "drain of a server");
            // Whether it leads is asked first.
            self.look_now();
        }
        self.look_whether_quiet();
        if news {
            self.wake_all();
        }
        self.state_of(&at)
    }

    /// How far the drain of a server has come, by its host and port. Nothing if there is no such server.
    pub fn drain_state(&self, member: &str) -> Option<DrainState> {
        let at = self.read(|servers| servers.named(member).cloned())?;
        self.look_whether_quiet();
        self.state_of(&at)
    }

    fn state_of(&self, at: &HostPort) -> Option<DrainState> {
        let writing = self.writes_waited_for();
        self.read(|servers| servers.drain_state(at, writing, now()))
    }

    /// Sessions whose writes keep the drain of a server open.
    pub(super) fn writes_waited_for(&self) -> usize {
        if self.is_quiet() { self.writing.load(Relaxed) } else { 0 }
    }
}

impl Servers {
    /// How far the drain of a server has come; `writing`: sessions with writes that keep it open. Nothing if there is no such server.
    pub(super) fn drain_state(&self, at: &HostPort, writing: usize, now: Instant) -> Option<DrainState> {
        let server = self.get(at)?;
        let Some(drain) = server.drained else { return Some(DrainState::Off) };
        if now >= drain.until {
            return Some(DrainState::Expired);
        }
        let unknown = server.looked.is_none_or(|looked| looked < drain.since);
        // The only server is waited for to be back. Where there are others, one will take the sessions, if not at this moment.
        let leaving = if self.all().len() > 1 { server.sessions } else { 0 };
        let left = (leaving + writing).max(usize::from(unknown));
        Some(if left == 0 { DrainState::Drained } else { DrainState::Draining { left } })
    }
}
