//! Drains: sessions leave a server before it stops.

use super::servers::{Drain, Health, Server, Servers};
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
        let sessions = server.sessions;
        match lasts {
            Some(lasts) => servers.begin_drain(&at, now, lasts),
            None => server.drained = None,
        }
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

    /// Since when a server has been drained, if it is.
    pub fn drained_since(&self, at: &HostPort) -> Option<Instant> {
        let drain = self.read(|servers| servers.get(at).and_then(|server| server.drained));
        drain.filter(|drain| now() < drain.until).map(|drain| drain.since)
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

/// A drained server that has gone is looked at often for so long yet: whether it was only out of reach is found out by that.
const GONE: Duration = Duration::from_secs(2);

impl Servers {
    /// The drain of a server begins, or goes on.
    fn begin_drain(&mut self, at: &HostPort, now: Instant, lasts: Duration) {
        let Some(server) = self.get_mut(at) else { return };
        let before = server.drained.filter(|drain| now < drain.until);
        if before.is_none() {
            server.was_away = Duration::ZERO;
        }
        server.drained = Some(Drain { since: before.map_or(now, |drain| drain.since), until: now + lasts });
    }

    /// Whether a server is to be looked at again and again: it is drained (whether it leads decides who waits, and it is about to stop), or
    /// writes wait (`quiet`) for the one that leads when a drained one has gone. Others have nothing to tell, and a thousand sidecars look.
    pub(super) fn is_urgent(&self, at: &HostPort, quiet: bool, now: Instant) -> bool {
        let gone = |server: &Server| match server.health {
            Health::Down(since) => Some(now.saturating_duration_since(since)),
            _ => None,
        };
        self.all().iter().filter(|server| server.is_drained(now)).any(|drained| match gone(drained) {
            gone if drained.at == *at => gone.is_none_or(|gone| gone < GONE),
            gone => quiet && gone.is_some(),
        })
    }

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::zookeeper::words::Mode;
    use rand::{SeedableRng, rngs::StdRng};

    #[test]
    fn only_who_has_something_to_tell_is_looked_at_again_and_again() {
        let at = |port: u16| HostPort { host: "zk".to_owned(), port };
        let (mut servers, start) =
            (Servers::new(&[at(1), at(2), at(3)], (Duration::ZERO, Duration::ZERO)), Instant::now());
        let (moment, longest) = (Duration::from_millis(10), Duration::from_secs(20));
        for port in 1..=3 {
            servers.is_up(&at(port), start);
            servers.get_mut(&at(port)).unwrap().mode =
                Some(if port == 1 { Mode::Leader } else { Mode::Follower });
        }
        let urgent = |servers: &Servers, now: Instant| -> Vec<u16> {
            let quiet = servers.is_quiet(now, longest);
            (1..=3).filter(|port| servers.is_urgent(&at(*port), quiet, now)).collect()
        };
        assert_eq!(urgent(&servers, start), [0; 0]);
        // A follower takes nobody with it.
        let drain = Some(Drain { since: start, until: start + longest * 9 });
        servers.get_mut(&at(2)).unwrap().drained = drain;
        assert_eq!(urgent(&servers, start), [2]);
        servers.is_down(&at(2), start, &mut StdRng::seed_from_u64(1));
        assert_eq!(urgent(&servers, start + moment), [2], "is it only out of reach?");
        assert_eq!(urgent(&servers, start + GONE), [0; 0]);
        servers.get_mut(&at(2)).unwrap().drained = None;
        servers.is_up(&at(2), start);
        // The leader: the others are asked who leads when it has gone, until one does.
        servers.get_mut(&at(1)).unwrap().drained = drain;
        assert_eq!(urgent(&servers, start), [1]);
        servers.is_down(&at(1), start, &mut StdRng::seed_from_u64(1));
        assert_eq!(urgent(&servers, start + moment), [1, 2, 3]);
        assert_eq!(urgent(&servers, start + GONE), [2, 3]);
        assert_eq!(urgent(&servers, start + longest), [0; 0], "its controller has changed its mind");
        let next = servers.get_mut(&at(3)).unwrap();
        (next.mode, next.looked) = (Some(Mode::Leader), Some(start + moment));
        assert_eq!(urgent(&servers, start + moment * 2), [1]);
    }

    /// What was before it was drained says nothing of its turn, nor does a moment out of reach behind its stop.
    #[test]
    fn how_long_a_server_was_away_is_known_since_its_drain_was_ordered() {
        let at = HostPort { host: "zk".to_owned(), port: 1 };
        let mut servers = Servers::new(std::slice::from_ref(&at), (Duration::ZERO, Duration::ZERO));
        let (mut rng, start) = (StdRng::seed_from_u64(1), Instant::now());
        let mut away = |servers: &mut Servers, after: u64, millis: u64| {
            let down = start + Duration::from_secs(after);
            servers.is_down(&at, down, &mut rng);
            servers.is_up(&at, down + Duration::from_millis(millis));
            servers.get(&at).unwrap().was_away
        };
        assert_eq!(away(&mut servers, 1, 3000), Duration::from_secs(3));
        servers.is_up(&at, start + Duration::from_secs(5));
        assert_eq!(servers.get(&at).unwrap().was_away, Duration::from_secs(3));
        servers.begin_drain(&at, start + Duration::from_secs(10), Duration::from_secs(600));
        assert_eq!(servers.get(&at).unwrap().was_away, Duration::ZERO);
        assert_eq!(away(&mut servers, 20, 5000), Duration::from_secs(5));
        servers.begin_drain(&at, start + Duration::from_secs(30), Duration::from_secs(600));
        assert_eq!(away(&mut servers, 40, 200), Duration::from_secs(5), "it is the same drain");
        servers.begin_drain(&at, start + Duration::from_secs(1000), Duration::from_secs(600));
        assert_eq!(away(&mut servers, 1010, 200), Duration::from_millis(200));
    }
}
