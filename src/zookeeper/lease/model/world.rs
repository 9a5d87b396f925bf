//! A state of the model check: who knows what, how long ago things happened, and what must be true of it.

use super::super::{Frame, Grant, Lease, Mode};
use super::scenario::{Budget, Kind, Scenario, UNIT, units};
use crate::time::Boot;

/// The moment that every state is in: what is remembered gets older instead.
pub(super) const NOW: Boot = Boot::at(std::time::Duration::from_secs(100_000));
/// The session.
pub(super) const SESSION: i64 = 7;

/// The moment so many units ago.
pub(super) fn ago(age: u8) -> Boot {
    NOW - units(age)
}

/// A frame on its way, or its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Flight {
    /// `None`: no answer, but an event of a watch.
    pub frame: Option<Frame>,
    /// How long ago it was sent.
    pub age: u8,
    /// Whether the server that answered it was cut off from its leader.
    pub cut: bool,
}

/// The connection to a server, and that server.
#[allow(clippy::struct_excessive_bools, reason = "each may be so or not, whatever the others are")]
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Link {
    /// A frame on its way.
    pub up: Option<Flight>,
    /// Answers on their way, oldest first: two at most, since none is asked for while evenkeel is frozen.
    pub down: Vec<Flight>,
    /// Whether the server lives.
    pub lives: bool,
    /// Whether it is joined to its leader.
    pub joined: bool,
    /// Whether it has a touch of the session that it hasn't shipped.
    pub touched: bool,
    /// How long ago it shipped its touches.
    pub shipped: u8,
    /// Whether what is attached there is another session.
    pub foreign: bool,
}

/// What a server answered to an attach.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Answer {
    Held,
    Expired,
    Another,
    Shorter,
}

/// The state.
#[allow(clippy::struct_excessive_bools, reason = "each may be so or not, whatever the others are")]
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct World {
    pub lease: Lease,
    /// Whether evenkeel is frozen.
    pub frozen: bool,
    /// Whether it has bytes of the server's that don't go to the client yet.
    pub waiting: bool,
    /// Whether one of them is the answer to the client's own attach: it knows of no session before.
    pub opening: bool,
    /// Whether the client's socket is open, as evenkeel sees it.
    pub open: bool,
    /// The connection to the server.
    pub link: Option<Link>,
    /// An attach under way: how long ago it was sent, and its answer.
    pub attach: Option<(u8, Option<Answer>)>,
    /// Whether there is a leader.
    pub leader: bool,
    /// How long ago the leader was told of the session.
    pub touched: u8,
    /// The timeout that the leader counts for it.
    pub timeout: u8,
    /// Whether the session is over.
    pub over: bool,
    /// Whether the client believes that it is connected.
    pub believes: bool,
    /// Whether it runs; a frozen one believes nothing until it goes on.
    pub runs: bool,
    /// How long ago it heard something.
    pub heard: u8,
    /// How long ago it sent something.
    pub spoke: u8,
    /// Whether evenkeel hasn't read that yet.
    pub unread: bool,
    /// How long ago it died.
    pub died: Option<u8>,
    /// How long ago the newest frame was sent that was answered (A), by the model's own book.
    pub newest: u8,
    /// How long ago a server answered that was cut off from its leader.
    pub misled: Option<u8>,
    pub left: Budget,
    /// What is wrong.
    pub broken: Option<&'static str>,
}

impl Link {
    pub(super) fn new() -> Self {
        Self { up: None, down: vec![], lives: true, joined: true, touched: false, shipped: 0, foreign: false }
    }
}

impl World {
    /// A session that has been granted; the answer, which evenkeel has just read, was asked for so long ago.
    pub(super) fn new(scenario: &Scenario, age: u8) -> Self {
        let grant = Grant { session: SESSION, timeout: units(scenario.granted) };
        let opening = scenario.opening > 0;
        Self {
            lease: Lease::new(scenario.rules(), units(scenario.told), grant, ago(age), NOW),
            frozen: false,
            waiting: opening,
            opening,
            open: true,
            link: Some(Link::new()),
            attach: None,
            leader: true,
            touched: age,
            timeout: scenario.granted,
            over: false,
            believes: true,
            runs: true,
            heard: 0,
            spoke: 0,
            unread: false,
            died: None,
            newest: age,
            misled: None,
            left: scenario.budget,
            broken: None,
        }
    }

    /// A unit of time goes by: everything that is remembered is a unit older.
    pub(super) fn tick(&mut self, scenario: &Scenario) {
        let most = scenario.ages();
        let older = |age: &mut u8| *age = (*age + 1).min(most);
        self.lease.make_older(most);
        for age in [&mut self.touched, &mut self.heard, &mut self.spoke, &mut self.newest] {
            older(age);
        }
        for age in [&mut self.died, &mut self.misled].into_iter().flatten() {
            older(age);
        }
        if let Some((age, _)) = &mut self.attach {
            older(age);
        }
        if let Some(link) = &mut self.link {
            older(&mut link.shipped);
            for flight in link.up.iter_mut().chain(&mut link.down) {
                older(&mut flight.age);
            }
        }
        self.give_up(scenario);
    }

    /// A client with a timer that has heard nothing for too long disconnects.
    pub(super) fn give_up(&mut self, scenario: &Scenario) {
        let patience = scenario.told * 2 / 3;
        if self.runs && scenario.client != Kind::Timerless && self.heard >= patience {
            self.believes = false;
        }
    }

    /// The client's socket is closed by evenkeel.
    pub(super) fn close(&mut self) {
        self.open = false;
        self.believes = false;
        self.lease.client_gone();
    }

    /// What is wrong with this state, if anything is.
    pub(super) fn check(&self, scenario: &Scenario) -> Option<&'static str> {
        let can_act = self.believes && self.runs && !self.opening;
        // A client with no timer of its own has no guard while evenkeel is frozen, as it has none while a server is.
        let guarded = scenario.client != Kind::Timerless || !self.frozen;
        let excused = scenario.mode == Mode::Direct && self.misled.is_some_and(|age| age < scenario.told);
        (can_act && self.over && guarded && !excused).then_some("a client believes in a session that is over")
    }
}

impl Lease {
    /// Everything that it remembers happened a unit earlier, `most` units ago at the earliest.
    fn make_older(&mut self, most: u8) {
        let older = |moment: Boot| (moment - UNIT).max(ago(most));
        let Self { newest, counted, attached, sent, heard, awake, .. } = self;
        for moment in [newest, counted, attached, sent, heard, awake] {
            *moment = older(*moment);
        }
        self.thawed = self.thawed.map(older);
        self.touches.map(older);
    }
}
