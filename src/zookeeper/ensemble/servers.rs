//! Which server a session goes to. Pure: `now` and randomness are passed in.
//!
//! A server is a member of the configuration (`servers`), told apart by its host and port as written there.

use crate::config::HostPort;
use crate::retry::Backoff;
use crate::zookeeper::words::Mode;
use rand::{Rng, RngExt};
use std::time::{Duration, Instant};

/// Whether a server is thought to serve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// Nobody knows yet.
    Unknown,
    /// Its last attach or probe was good.
    Up,
    /// Since this moment nothing that was tried has worked.
    Down(Instant),
}

/// Long enough for a look at a server, which is asked for at once.
const DOUBT: Duration = Duration::from_millis(300);

/// The drain of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drain {
    /// When it began.
    pub since: Instant,
    /// When it ends by itself, unless it is repeated.
    pub until: Instant,
}

/// One server.
#[derive(Clone, Debug)]
pub struct Server {
    /// Where it is, as in the configuration.
    pub at: HostPort,
    /// Whether it serves.
    pub health: Health,
    /// How long it was down at the longest, as far as that was over since its last drain was ordered.
    pub was_away: Duration,
    /// What it is, as far as it has said.
    pub mode: Option<Mode>,
    /// When it was last asked what it is, whatever it said.
    pub looked: Option<Instant>,
    /// Its version (`3.9.5`), as far as it has said.
    pub version: Option<Box<str>>,
    /// How many sessions of this process are on it, attaches under way included.
    pub sessions: usize,
    /// Its drain: no session goes there while another server will do.
    pub drained: Option<Drain>,
    /// Whether it took the last session, our credentials included; nothing if nobody has asked.
    pub accepts: Option<bool>,
    /// Since when it closes attaches without a word, with no sign that it serves.
    doubted: Option<Instant>,
    /// Not tried before this moment, unless there is nobody else.
    not_before: Option<Instant>,
    backoff: Backoff,
}

impl Server {
    /// Whether sessions are to leave it.
    pub fn is_drained(&self, now: Instant) -> bool {
        self.drained.is_some_and(|drain| now < drain.until)
    }
}

/// The servers of one ensemble.
#[derive(Clone, Debug)]
pub struct Servers {
    all: Vec<Server>,
    /// Sessions that are still on servers that are listed no more. One that is listed again has them.
    behind: Vec<(HostPort, usize)>,
    back_off: (Duration, Duration),
}

impl Servers {
    /// These servers, of which nothing is known. `back_off`: the least and the longest pause after a failure.
    pub fn new(list: &[HostPort], back_off: (Duration, Duration)) -> Self {
        let mut servers = Self { all: Vec::new(), behind: Vec::new(), back_off };
        servers.follow(list);
        servers
    }

    /// Takes over a new list: what is known of those that stay is kept. Answers those that came and those that went.
    pub fn follow(&mut self, list: &[HostPort]) -> (Vec<HostPort>, Vec<HostPort>) {
        let gone = self.all.iter().filter(|server| !list.contains(&server.at));
        let gone: Vec<HostPort> = gone.map(|server| server.at.clone()).collect();
        let unlisted = self.all.extract_if(.., |server| !list.contains(&server.at));
        self.behind.extend(unlisted.map(|server| (server.at, server.sessions)).filter(|(_, some)| *some > 0));
        let mut came = Vec::new();
        for at in list {
            if self.get(at).is_none() {
                came.push(at.clone());
                let sessions = self.behind.extract_if(.., |(of, _)| of == at).map(|(_, some)| some).sum();
                self.all.push(Server {
                    at: at.clone(),
                    health: Health::Unknown,
                    was_away: Duration::ZERO,
                    mode: None,
                    looked: None,
                    version: None,
                    sessions,
                    drained: None,
                    accepts: None,
                    doubted: None,
                    not_before: None,
                    backoff: Backoff::new(self.back_off.0, self.back_off.1),
                });
            }
        }
        (came, gone)
    }

    /// All of them, in the order of the configuration.
    pub fn all(&self) -> &[Server] {
        &self.all
    }

    /// What is known of one.
    pub fn get(&self, at: &HostPort) -> Option<&Server> {
        self.all.iter().find(|server| server.at == *at)
    }

    /// What is known of one, to change it.
    pub fn get_mut(&mut self, at: &HostPort) -> Option<&mut Server> {
        self.all.iter_mut().find(|server| server.at == *at)
    }

    /// The address of the server that goes by this text: its host and port.
    pub fn named(&self, member: &str) -> Option<&HostPort> {
        self.all.iter().map(|server| &server.at).find(|at| at.to_string() == member)
    }

    /// A session has its place there from now on.
    pub fn took(&mut self, at: &HostPort) {
        if let Some(server) = self.get_mut(at) {
            server.sessions += 1;
        }
    }

    /// A session has its place there no more, listed or not.
    pub fn let_go(&mut self, at: &HostPort) {
        if let Some(server) = self.get_mut(at) {
            server.sessions = server.sessions.saturating_sub(1);
            return;
        }
        if let Some((_, sessions)) = self.behind.iter_mut().find(|(of, _)| of == at) {
            *sessions = sessions.saturating_sub(1);
        }
        self.behind.retain(|(_, sessions)| *sessions > 0);
    }

    /// The server for a session that attaches now: one that is up before one of which nothing is known, before those that this
    /// session has tried (`tried`; where it was counts as once), before one whose pause after a failure is over; among equals the one
    /// that it has tried least often, then the one with the fewest sessions, by lot where that doesn't decide. One that is
    /// drained, or read-only, only when there is no other.
    ///
    /// Of several that refuse a session, since they are behind what it has seen, none hides the one that would take it.
    ///
    /// Nothing while every server that could be tried is in its pause: then the moment to ask again.
    ///
    /// # Errors
    /// When to ask again; nothing without servers.
    pub fn pick(
        &self,
        tried: &[(HostPort, u32)],
        now: Instant,
        rng: &mut impl Rng,
    ) -> Result<HostPort, Option<Instant>> {
        let times =
            |at: &HostPort| tried.iter().find(|(tried, _)| tried == at).map_or(0, |(_, times)| *times);
        let rank = |server: &Server| {
            let last_choice = server.is_drained(now) || server.mode == Some(Mode::ReadOnly);
            let left = u8::from(times(&server.at) > 0);
            let health = match server.health {
                // One that is thought to be up was lost a moment ago, if it was left.
                Health::Up => 2 * left,
                Health::Unknown => 1 + 2 * left,
                Health::Down(_) => 4 + left,
            };
            (last_choice, health, times(&server.at), server.sessions)
        };
        let ready = |server: &&Server| server.not_before.is_none_or(|at| at <= now);
        let best = self.all.iter().filter(ready).map(rank).min();
        let Some(best) = best else {
            return Err(self.all.iter().filter_map(|server| server.not_before).min());
        };
        let equals: Vec<&Server> =
            self.all.iter().filter(ready).filter(|server| rank(server) == best).collect();
        let lot = rng.random_range(0..equals.len().max(1));
        equals.get(lot).map(|server| server.at.clone()).ok_or(None)
    }

    /// An attach to it, or a probe, was good. Answers how long it had been down, if it was.
    pub fn is_up(&mut self, at: &HostPort, now: Instant) -> Option<(Health, Option<Duration>)> {
        let server = self.get_mut(at)?;
        let before = std::mem::replace(&mut server.health, Health::Up);
        server.not_before = None;
        server.doubted = None;
        server.backoff.reset();
        let down = match before {
            Health::Down(since) => Some(now.saturating_duration_since(since)),
            _ => None,
        };
        server.was_away = server.was_away.max(down.unwrap_or_default());
        Some((before, down))
    }

    /// It closed an attach without a word: since it serves nobody, or because of what that one session asked. Of a server that
    /// is up the first is believed only when nothing has worked for `DOUBT` more, and it was asked what it is meanwhile: some
    /// client may have seen more than the ensemble has (one that was restored from a backup), and try it for ever.
    pub fn is_refusing(&mut self, at: &HostPort, now: Instant) -> bool {
        let Some(server) = self.get_mut(at) else { return false };
        let doubted = *server.doubted.get_or_insert(now);
        let asked = server.looked.is_some_and(|looked| looked >= doubted);
        server.health != Health::Up || (asked && doubted + DOUBT <= now)
    }

    /// An attach to it, or a probe, failed: it gets a pause. Answers what was thought of it before.
    pub fn is_down(&mut self, at: &HostPort, now: Instant, rng: &mut impl Rng) -> Option<Health> {
        let server = self.get_mut(at)?;
        let before = server.health;
        if !matches!(before, Health::Down(_)) {
            server.health = Health::Down(now);
        }
        // A crowd that fails together is one failure: the pause grows once for each.
        if server.not_before.is_none_or(|at| at <= now) {
            server.not_before = Some(now + server.backoff.next(rng));
        }
        Some(before)
    }

    /// Whether writes wait: a server is drained whose end takes the others' quorum or leader away, and with it every
    /// client's connection. When it is gone, until one that leads has been found: a server that has not noticed yet would take a
    /// write whose outcome nobody can tell then. For `longest` at most: then its controller has changed its mind.
    pub fn is_quiet(&self, now: Instant, longest: Duration) -> bool {
        let few = self.all.len() <= 2;
        self.all.iter().any(|server| {
            let Some(drain) = server.drained else { return false };
            if now >= drain.until.min(drain.since + longest) {
                return false;
            }
            let leads = !matches!(server.mode, Some(Mode::Follower | Mode::Observer | Mode::ReadOnly));
            match server.health {
                Health::Down(since) => (few || leads) && !self.has_leader(since),
                _ => few || leads,
            }
        })
    }

    /// Whether some server has said since that it leads.
    fn has_leader(&self, since: Instant) -> bool {
        self.all.iter().any(|server| {
            matches!(server.mode, Some(Mode::Leader | Mode::Standalone))
                && !matches!(server.health, Health::Down(_))
                && server.looked.is_some_and(|looked| looked > since)
        })
    }

    /// Whether there is another server than `at` that a session could go to.
    pub fn has_other(&self, at: &HostPort, now: Instant) -> bool {
        let serves = |server: &&Server| {
            !server.is_drained(now)
                && !matches!(server.health, Health::Down(_))
                && server.mode != Some(Mode::ReadOnly)
        };
        self.all.iter().filter(serves).any(|server| server.at != *at)
    }

    /// Whether no server is thought to serve, and since when: the moment at which the last one went.
    pub fn all_down_since(&self) -> Option<Instant> {
        let each = self.all.iter().map(|server| match server.health {
            Health::Down(since) => Some(since),
            Health::Up | Health::Unknown => None,
        });
        each.collect::<Option<Vec<_>>>()?.into_iter().max()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{SeedableRng, rngs::StdRng};

    fn at(port: u16) -> HostPort {
        HostPort { host: "zk".to_owned(), port }
    }

    fn three() -> (Servers, StdRng, Instant) {
        let pauses = (Duration::from_millis(50), Duration::from_secs(1));
        let servers = Servers::new(&[at(1), at(2), at(3)], pauses);
        (servers, StdRng::seed_from_u64(7), Instant::now())
    }

    #[test]
    fn sessions_spread() {
        let (mut servers, mut rng, now) = three();
        for _ in 0..30 {
            let to = servers.pick(&[], now, &mut rng).unwrap();
            servers.get_mut(&to).unwrap().sessions += 1;
        }
        assert!(servers.all().iter().all(|server| server.sessions == 10), "{servers:?}");
    }

    #[test]
    fn the_first_of_equals_is_not_always_the_same() {
        let (servers, mut rng, now) = three();
        let picked: Vec<u16> = (0..50).map(|_| servers.pick(&[], now, &mut rng).unwrap().port).collect();
        assert!((1..=3).all(|port| picked.contains(&port)), "{picked:?}");
    }

    #[test]
    fn one_that_is_up_comes_first_and_the_one_that_was_left_last() {
        let (mut servers, mut rng, now) = three();
        servers.is_up(&at(1), now);
        servers.is_up(&at(2), now);
        servers.get_mut(&at(2)).unwrap().sessions = 9;
        assert_eq!(servers.pick(&[(at(1), 1)], now, &mut rng), Ok(at(2)));
        for other in [at(2), at(3)] {
            servers.is_down(&other, now, &mut rng);
        }
        let later = now + Duration::from_secs(1);
        assert_eq!(servers.pick(&[(at(1), 1)], later, &mut rng), Ok(at(1)), "up, though it was left");
    }

    #[test]
    fn one_that_nobody_has_tried_comes_before_the_one_that_was_left() {
        let (mut servers, mut rng, now) = three();
        servers.is_up(&at(1), now);
        servers.is_down(&at(2), now, &mut rng);
        for later in [now, now + Duration::from_secs(1)] {
            assert_eq!(servers.pick(&[(at(1), 1)], later, &mut rng), Ok(at(3)));
        }
    }

    #[test]
    fn a_drained_or_read_only_one_is_the_last_resort() {
        let (mut servers, mut rng, now) = three();
        servers.is_up(&at(1), now);
        servers.get_mut(&at(1)).unwrap().drained =
            Some(Drain { since: now, until: now + Duration::from_secs(1) });
        servers.get_mut(&at(2)).unwrap().mode = Some(Mode::ReadOnly);
        assert_eq!(servers.pick(&[], now, &mut rng), Ok(at(3)));
        let (pauses, only) = ((Duration::ZERO, Duration::ZERO), [at(1)]);
        let mut servers = Servers::new(&only, pauses);
        servers.get_mut(&at(1)).unwrap().drained =
            Some(Drain { since: now, until: now + Duration::from_secs(1) });
        assert_eq!(servers.pick(&[], now, &mut rng), Ok(at(1)));
    }

    #[test]
    fn after_a_failure_there_is_a_pause_and_it_is_named() {
        let (mut servers, mut rng, now) = three();
        for port in 1..=3 {
            servers.is_down(&at(port), now, &mut rng);
        }
        assert_eq!(servers.all_down_since(), Some(now));
        let again = servers.pick(&[], now, &mut rng).unwrap_err().unwrap();
        assert!(again >= now && again <= now + Duration::from_millis(50));
        assert!(servers.pick(&[], now + Duration::from_millis(50), &mut rng).is_ok());
        servers.is_up(&at(2), now);
        assert_eq!(servers.all_down_since(), None);
    }

    #[test]
    fn one_that_closes_for_one_session_is_not_down_while_others_get_on() {
        let (mut servers, _, now) = three();
        assert!(servers.is_refusing(&at(1), now), "nobody knows that it serves");
        servers.is_up(&at(1), now);
        let moment = DOUBT / 2;
        assert!(!servers.is_refusing(&at(1), now));
        assert!(!servers.is_refusing(&at(1), now + moment));
        servers.is_up(&at(1), now + moment);
        assert!(!servers.is_refusing(&at(1), now + DOUBT), "it served in between");
        assert!(!servers.is_refusing(&at(1), now + DOUBT * 2), "it was not asked since");
        servers.get_mut(&at(1)).unwrap().looked = Some(now + DOUBT);
        assert!(servers.is_refusing(&at(1), now + DOUBT * 2));
    }

    #[test]
    fn a_new_list_keeps_what_is_known() {
        let (mut servers, _, now) = three();
        servers.is_up(&at(2), now);
        let (came, gone) = servers.follow(&[at(2), at(4)]);
        assert_eq!((came, gone), (vec![at(4)], vec![at(1), at(3)]));
        assert_eq!(servers.get(&at(2)).unwrap().health, Health::Up);
    }

    #[test]
    fn one_that_comes_back_to_the_list_has_the_sessions_that_are_still_there() {
        let (mut servers, _, _) = three();
        for _ in 0..3 {
            servers.took(&at(1));
        }
        servers.follow(&[at(2), at(3)]);
        servers.let_go(&at(1));
        servers.follow(&[at(1), at(2), at(3)]);
        assert_eq!(servers.get(&at(1)).unwrap().sessions, 2, "one left while it was not listed");
        servers.took(&at(1));
        for expected in [2, 1, 0, 0] {
            servers.let_go(&at(1));
            assert_eq!(servers.get(&at(1)).unwrap().sessions, expected);
        }
        servers.follow(&[at(2)]);
        servers.follow(&[at(1), at(2)]);
        assert_eq!(servers.get(&at(1)).unwrap().sessions, 0, "nobody was there any more");
    }

    #[test]
    fn writes_wait_while_the_leader_is_drained_and_not_for_ever() {
        let (mut servers, _, now) = three();
        let (second, longest) = (Duration::from_secs(1), Duration::from_secs(20));
        for port in 1..=3 {
            servers.is_up(&at(port), now);
            servers.get_mut(&at(port)).unwrap().mode =
                Some(if port == 1 { Mode::Leader } else { Mode::Follower });
        }
        let drain = Some(Drain { since: now, until: now + longest * 9 });
        servers.get_mut(&at(2)).unwrap().drained = drain;
        assert!(!servers.is_quiet(now, longest), "a follower takes nobody with it");
        servers.get_mut(&at(1)).unwrap().drained = drain;
        assert!(servers.is_quiet(now, longest));
        assert!(!servers.is_quiet(now + longest + second, longest), "it was not stopped");
        assert!(servers.has_other(&at(1), now));
        servers.is_down(&at(1), now, &mut StdRng::seed_from_u64(1));
        assert!(servers.is_quiet(now, longest), "it was, and nobody leads yet");
        let next = servers.get_mut(&at(3)).unwrap();
        (next.mode, next.looked) = (Some(Mode::Leader), Some(now + second));
        assert!(!servers.is_quiet(now + second * 2, longest), "another one leads");
    }

    #[test]
    fn of_two_servers_neither_can_go_without_the_other() {
        let (_, _, now) = three();
        let mut servers = Servers::new(&[at(1), at(2)], (Duration::ZERO, Duration::ZERO));
        servers.get_mut(&at(2)).unwrap().mode = Some(Mode::Follower);
        servers.get_mut(&at(2)).unwrap().drained =
            Some(Drain { since: now, until: now + Duration::from_secs(9) });
        assert!(servers.is_quiet(now, Duration::from_secs(5)));
        let mut one = Servers::new(&[at(1)], (Duration::ZERO, Duration::ZERO));
        assert!(!one.has_other(&at(1), now));
        one.is_up(&at(1), now);
        assert!(!one.is_quiet(now, Duration::from_secs(5)));
    }
}
