//! What brokers make of what a client has shown of its own (`sasl.clients = "own"`).
//!
//! One broker is asked: where there is a connection already on that, so that it sees whether this is still the same user; else on a fresh
//! one. Its own if that is to be had, else another of the cluster, which takes the same. Only what is taken is shown to the others. A verdict
//! counts for the message that it is about, and for none that came later; where there is none in time the client's connection ends, and no
//! error is made up.

use super::super::Session;
use super::super::link::Taken;
use super::{Shown, Step};
use crate::config::{Mechanism, Secret};
use crate::kafka::authenticate::Failure;
use crate::kafka::cluster::DialError;
use crate::metrics::ClientSasl;
use crate::time::now;
use std::time::{Duration, Instant};

/// How soon a broker is looked for again that can be asked.
const LOOK_AGAIN: Duration = Duration::from_millis(100);
/// The pause before what brokers gave no verdict on is shown again: the first, doubled each time up to the longest.
const REST: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(3));
/// So often a login is tried that a broker, which is up, gives no verdict on: each attempt may count where passwords are locked.
const TRIES: u32 = 2;

impl Session {
    /// A client has shown this, and the request `number` waits for what a broker makes of it. `advance` has one asked.
    pub(super) fn have_judged(&mut self, number: u64, mechanism: Mechanism, first: Secret) {
        let showing = &mut self.showing;
        showing.messages += 1;
        let shown = Shown { mechanism, first, message: showing.messages };
        showing.before = showing.shown.replace(shown);
        (showing.unjudged, showing.rests_until) = (0, None);
        showing.step = Step::Asked(number);
    }

    /// Whether a request of SASL waits for a broker's verdict, and if so, whether one was asked just now; if not, it is to pass as it is. It
    /// is not held: nothing of the client's is under way before.
    pub(in crate::kafka::session) fn waits_for_verdict(&mut self, number: u64, now: Instant) -> Option<bool> {
        if !matches!(self.showing.step, Step::Asked(asked) if asked == number) {
            return None;
        }
        let bound = self.slot(number).map(|slot| slot.arrived + self.cluster.settings().hold.max);
        if bound.is_some_and(|bound| now >= bound) {
            self.end_unjudged(number, "no broker could be asked about what it has shown");
            return Some(true);
        }
        self.wake_before(bound.map_or(now, |bound| bound.min(now + LOOK_AGAIN)));
        if let Some(until) = self.showing.rests_until.filter(|until| now < *until) {
            self.wake_before(until);
            return Some(false);
        }
        self.showing.judge = self.judge();
        Some(self.showing.judge.is_some_and(|node| self.ask_judge(node, now)))
    }

    /// Who is to say whether what the client has shown is good.
    fn judge(&mut self) -> Option<i32> {
        let message = self.message();
        let asked = self.links.iter().find(|link| link.shows(message)).map(|link| link.node);
        if asked.is_some() {
            return asked;
        }
        let home = self.home_node().filter(|node| self.usable(*node));
        if self.is_bypassing() {
            return home;
        }
        let renewable = || {
            self.links
                .iter()
                .filter(|link| link.is_renewable() && self.usable(link.node))
                .map(|link| link.node)
        };
        let on_a_link = renewable().find(|node| Some(*node) == home).or_else(|| renewable().next());
        let except = self.home.node;
        let pick = usize::try_from(self.id).unwrap_or(0);
        let other = || self.cluster.read(|view| view.any_node(except, pick));
        on_a_link.or(home).or_else(|| other().filter(|node| self.usable(*node)))
    }

    /// Has a broker asked, if it has not been. Answers whether that was begun now.
    fn ask_judge(&mut self, node: i32, now: Instant) -> bool {
        let (message, credentials) = (self.message(), self.credentials());
        let (Some(link), Some(credentials)) = (self.link_mut(node), credentials) else {
            return self.reach(node);
        };
        if link.shows(message) {
            return false;
        }
        if link.is_renewable() {
            link.renew(&credentials, message);
            return true;
        }
        // A session that has no end can't be another: that takes a fresh connection.
        let is_free = link.is_closed() || self.leave(node, "its broker is to be asked anew", now);
        is_free && self.reach(node)
    }

    /// Which of the client's messages its connections are opened with; 0: none.
    fn message(&self) -> u64 {
        self.showing.shown.as_ref().map_or(0, |shown| shown.message)
    }

    /// A broker has taken what the client has shown.
    pub(in crate::kafka::session) fn on_taken(&mut self, node: i32, taken: Taken) {
        let Some(credentials) = self.credentials().filter(|_| self.showing.shown.is_some()) else { return };
        let message = self.message();
        if taken.message == message {
            (self.showing.unjudged, self.showing.rests_until) = (0, None);
            let Step::Asked(number) = self.showing.step else { return };
            let showing = &mut self.showing;
            (showing.step, showing.proved, showing.before) = (Step::Taken, true, None);
            showing.lasts = taken.lasts;
            self.cluster.metrics.kafka_client_sasl.inc(ClientSasl::Accepted);
            self.answer_message(number, &[], taken.lasts);
            for link in &mut self.links {
                link.renew(&credentials, message);
            }
        } else if !matches!(self.showing.step, Step::Asked(_))
            && let Some(link) = self.link_mut(node)
        {
            link.renew(&credentials, message); // it had been begun with what was shown before
        }
    }

    /// A broker can't be connected. If that is for what the client has shown, it is told.
    pub(in crate::kafka::session) fn on_not_taken(&mut self, node: i32, error: &DialError, message: u64) {
        if self.showing.shown.is_none() || message != self.message() {
            return;
        }
        match error {
            DialError::Sasl { why, .. } => self.on_refusal(why),
            DialError::Showing { .. } | DialError::Handshake { .. } => self.rest(node),
            _ => {}
        }
    }

    /// A session at a broker could not be renewed, and its connection is of no more use.
    pub(in crate::kafka::session) fn on_not_renewed(
        &mut self,
        node: i32,
        failure: &Failure,
        message: u64,
        now: Instant,
    ) {
        let is_verdict = matches!(failure, Failure::Refused { .. } | Failure::NotOffered { .. });
        if is_verdict && message == self.message() && matches!(self.showing.step, Step::Asked(_)) {
            self.on_refusal(failure);
        }
        self.give_up(node, &failure.to_string(), now);
    }

    fn on_refusal(&mut self, why: &Failure) {
        let Step::Asked(number) = self.showing.step else {
            self.lose_client("what it has shown is not taken by its broker any more");
            return;
        };
        self.forget_unjudged();
        let said = match why {
            Failure::Refused { said, .. } => said.clone(),
            other => other.to_string(),
        };
        self.turn_away(number, &said);
    }

    /// A connection is lost. If its broker was being asked, it has given no verdict.
    pub(in crate::kafka::session) fn on_unjudged(&mut self, node: i32) {
        let unjudged = self.link_mut(node).and_then(super::super::Link::take_unjudged);
        if matches!(self.showing.step, Step::Asked(_)) && unjudged == Some(self.message()) {
            self.rest(node);
        }
    }

    /// A broker has given no verdict. It may be on its way down, which its probe finds out meanwhile; else this is the client's affair.
    fn rest(&mut self, node: i32) {
        if self.cluster.read(|view| view.is_down(node)) {
            return;
        }
        let showing = &mut self.showing;
        let pause = REST.0 * (1 << showing.unjudged.min(4));
        showing.unjudged += 1;
        showing.rests_until = Some(now() + pause.min(REST.1));
        if let Step::Asked(number) = showing.step
            && showing.unjudged >= TRIES
        {
            self.end_unjudged(number, "its broker gives no verdict on what it has shown");
        }
    }

    /// There is no verdict on what the client has shown: its connection ends, and it may try again.
    fn end_unjudged(&mut self, number: u64, why: &str) {
        self.forget_unjudged();
        self.lose_client_behind(number, why);
    }

    /// What was not taken is shown to nobody again. What came before it goes on with what was.
    fn forget_unjudged(&mut self) {
        self.showing.step = Step::Nothing;
        self.showing.shown = self.showing.before.take();
    }

    /// Begins to connect a link, with what the client has shown or what is held. Answers whether it was begun.
    pub(in crate::kafka::session) fn open_link(&mut self, node: i32) -> bool {
        // Before the verdict it is shown to no other than who is asked.
        let is_early = matches!(self.showing.step, Step::Asked(_)) && self.showing.judge != Some(node);
        if self.is_out_of_reach(node) || is_early {
            return false;
        }
        // Whoever asks for it: each attempt may count where passwords are locked.
        if let Some(until) = self.showing.rests_until.filter(|until| now() < *until) {
            self.wake_before(until);
            return false;
        }
        let (passing, credentials, message) = (self.is_passing(), self.credentials(), self.message());
        let cluster = std::sync::Arc::clone(&self.cluster);
        match (self.link_mut(node).filter(|link| link.is_closed()), credentials) {
            (Some(link), _) if passing => link.connect_bare(&cluster),
            (Some(link), Some(credentials)) => link.connect(&cluster, credentials, message),
            _ => return false,
        }
        true
    }
}
