//! What can happen next in the world of the model check, and what comes of it.

use super::super::{Frame, Grant, Mode, Own, Reattach};
use super::scenario::{Kind, Scenario, units};
use super::world::{Answer, Flight, Link, NOW, SESSION, World, ago};
use std::time::Duration;

/// Something that can happen next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// A unit of time goes by.
    Tick,
    /// It answers the client by itself.
    MakeUp,
    Freeze,
    Thaw,
    /// It finds that the connection is lost.
    Lose,
    /// It tries to attach again.
    Attach,
    /// A server answers that.
    Serve(Answer),
    /// The answer arrives.
    Attached,
    /// The server takes a frame: touches the session, and answers.
    Submit,
    /// It sends an event of a watch.
    Event,
    /// An answer arrives, or an event.
    Deliver,
    /// The server ships its touches to the leader.
    Ship,
    /// It is cut off from the leader; it dies.
    Cut,
    Die,
    /// There is no leader; there is another one.
    LeaderDies,
    LeaderNew,
    /// The leader ends the session.
    Expire,
    /// The client sends something; is frozen; goes on; dies.
    Speak,
    ClientFreezes,
    ClientThaws,
    ClientDies,
}

use Action::{
    Attach, Attached, ClientDies, ClientFreezes, ClientThaws, Cut, Deliver, Die, Event, Expire, Freeze,
    LeaderDies, LeaderNew, Lose, MakeUp, Serve, Ship, Speak, Submit, Thaw, Tick,
};

impl World {
    /// Everything that can happen next.
    pub(super) fn actions(&self, scenario: &Scenario, to: &mut Vec<Action>) {
        let ended = self.over || !self.believes;
        if ended && (self.over || (scenario.budget.clients == 0 && self.died.is_none())) {
            // A client that comes back begins anew, and one that doesn't believe can't be wrong.
            if !(self.over && self.believes) {
                return;
            }
        }
        let left = &self.left;
        let mut may = |condition: bool, action: Action| {
            if condition {
                to.push(action);
            }
        };
        let awake = !self.frozen;
        may(self.may_tick(scenario), Tick);
        let silent = self.open && self.heard > 0 && !self.opening;
        may(awake && silent && self.lease.may_make_up(NOW), MakeUp);
        may(awake && left.freezes > 0, Freeze);
        may(!awake && self.link.as_ref().is_none_or(|link| link.shipped > 0), Thaw);
        let lost = self.link.is_none() && self.attach.is_none();
        may(awake && lost && self.open && self.lease.may_attach(NOW), Attach);
        if let Some((_, answer)) = self.attach {
            may(awake && answer.is_some(), Attached);
            may(answer.is_none() && self.leader && self.over, Serve(Answer::Expired));
            may(answer.is_none() && self.leader && !self.over, Serve(Answer::Held));
            may(answer.is_none() && left.others > 0, Serve(Answer::Another));
            may(answer.is_none() && self.leader && !self.over && left.shorter > 0, Serve(Answer::Shorter));
        }
        if let Some(link) = &self.link {
            // Touches go when all else has been done in a unit: what comes in the moment in which they go, goes with them.
            let ships = link.joined && self.leader;
            let room = link.down.len() < 2;
            may(link.lives && link.up.is_some() && room && (link.shipped > 0 || !ships), Submit);
            may(scenario.events && link.lives && link.down.is_empty() && self.open, Event);
            may(awake && !link.down.is_empty(), Deliver);
            let due = !Self::must_submit(scenario, link);
            may(due && link.lives && ships && link.shipped > 0, Ship);
            may(link.lives && link.joined && left.cuts > 0, Cut);
            may(link.lives && left.deaths > 0, Die);
            may(awake && (left.losses > 0 || !link.joined || !link.lives), Lose);
        }
        may(self.leader && left.leaders > 0, LeaderDies);
        may(!self.leader, LeaderNew);
        may(self.leader && !self.over && self.touched >= self.timeout, Expire);
        let client = self.believes && self.runs && self.died.is_none();
        may(client && scenario.client == Kind::Lazy && self.spoke > 0, Speak);
        may(client && left.clients > 0, ClientFreezes);
        may(!self.runs && self.died.is_none(), ClientThaws);
        may(client && left.clients > 0, ClientDies);
    }

    /// Whether nothing has to happen before time goes on.
    fn may_tick(&self, scenario: &Scenario) -> bool {
        let late = |age: u8| scenario.delay.is_some_and(|delay| age >= delay);
        let must_attach =
            !self.frozen && self.attach.is_some_and(|(age, answer)| answer.is_some() && late(age));
        let must_link = self.link.as_ref().is_some_and(|link| {
            let ships = link.lives && link.joined && self.leader && link.shipped >= scenario.half_tick;
            let delivers = !self.frozen && link.down.iter().any(|flight| late(flight.age));
            ships || delivers || Self::must_submit(scenario, link)
        });
        !must_attach && !must_link
    }

    /// Whether the server has to take a frame that came.
    fn must_submit(scenario: &Scenario, link: &Link) -> bool {
        let late = |flight: Flight| scenario.delay.is_some_and(|delay| flight.age >= delay);
        link.lives && link.up.is_some_and(late)
    }

    /// Lets something happen.
    pub(super) fn act(&mut self, scenario: &Scenario, action: Action) {
        match action {
            Tick => {
                self.tick(scenario);
                let talks = self.believes && self.runs && scenario.client != Kind::Lazy;
                if talks && self.spoke >= scenario.told / 3 {
                    self.speak(scenario);
                }
                self.poll(scenario);
            }
            MakeUp => self.heard = 0,
            Freeze => {
                self.left.freezes -= 1;
                self.frozen = true;
            }
            Thaw => {
                self.frozen = false;
                self.poll(scenario);
            }
            Lose => {
                self.left.losses = self.left.losses.saturating_sub(1);
                self.link = None;
                self.lease.lost();
            }
            Attach => {
                self.attach = Some((0, None));
                // How long the client has been silent is known where evenkeel is never frozen.
                if scenario.budget.freezes == 0 && self.spoke > scenario.told {
                    self.broken = Some("a server is asked to take a silent client's session");
                }
            }
            Serve(answer) => self.serve(scenario, answer),
            Attached => self.attached(scenario),
            Submit => self.submit(),
            Event => {
                let link = self.link.as_mut().unwrap();
                link.down.push(Flight { frame: None, age: 0, cut: !link.joined });
            }
            Deliver => self.deliver(scenario),
            Ship => self.ship(scenario),
            Cut => {
                self.left.cuts -= 1;
                self.link.as_mut().unwrap().joined = false;
            }
            Die => {
                self.left.deaths -= 1;
                self.link.as_mut().unwrap().lives = false;
            }
            LeaderDies => {
                self.left.leaders -= 1;
                self.leader = false;
                if let Some(link) = &mut self.link {
                    link.joined = false;
                }
            }
            LeaderNew => (self.leader, self.touched) = (true, 0),
            Expire => self.over = true,
            Speak => self.speak(scenario),
            ClientFreezes => {
                self.left.clients -= 1;
                self.runs = false;
            }
            ClientThaws => {
                self.runs = true;
                self.give_up(scenario);
            }
            ClientDies => {
                self.left.clients -= 1;
                (self.believes, self.died) = (false, Some(0));
            }
        }
    }

    fn speak(&mut self, scenario: &Scenario) {
        (self.spoke, self.unread) = (0, true);
        self.read();
        // Where own frames are of another kind, the client's pings go to the server too.
        if let Some(link) = &mut self.link
            && scenario.mode == Mode::Strict
            && !self.frozen
            && link.up.is_none()
        {
            self.lease.client_sent(NOW);
            link.up = Some(Flight { frame: Some(Frame::Ping), age: 0, cut: false });
        }
    }

    /// Evenkeel reads what the client has sent, and that it has gone.
    fn read(&mut self) {
        if self.frozen {
            return;
        }
        if self.unread {
            self.lease.heard(NOW);
            self.unread = false;
        }
        if self.open && !self.believes {
            self.open = false;
            self.lease.client_gone();
        }
    }

    /// Evenkeel does what is due.
    fn poll(&mut self, scenario: &Scenario) {
        if self.frozen {
            return;
        }
        self.lease.awake(NOW);
        self.read();
        // How long nothing counted is known where evenkeel is never frozen.
        let prompt = scenario.budget.freezes == 0;
        if self.lease.must_end_session(NOW) && self.link.is_some() {
            self.close();
            self.over = true;
        } else if self.open && self.lease.must_close(NOW) {
            let early = self.newest < scenario.told * 2 / 3
                && NOW < self.lease.counted + units(scenario.granted)
                && self.runs
                && scenario.client == Kind::Native;
            if prompt && early {
                self.broken = Some("a socket is closed earlier than a client would do it");
            }
            self.close();
        } else if self.open && self.link.is_none() && !self.lease.may_attach(NOW) {
            self.close();
        }
        self.pass();
        if let Some(own) = self.lease.own_frame(NOW) {
            let frame = if own == Own::Sync { Frame::Sync } else { Frame::Ping };
            self.lease.own_sent(NOW);
            if self.died.is_some() {
                self.broken = Some("a frame is sent for a client that is gone");
            }
            if let Some(link) = &mut self.link
                && link.up.is_none()
            {
                link.up = Some(Flight { frame: Some(frame), age: 0, cut: false });
            }
        }
        let silent = scenario.granted > scenario.told && self.spoke > scenario.told;
        if prompt && silent && self.link.is_some() && !self.over {
            self.broken = Some("a silent client's session goes on beyond the client's timeout");
        }
    }

    /// Bytes of the server's go to the client, if they may.
    fn pass(&mut self) {
        if self.waiting && self.open && self.lease.may_pass(NOW) {
            (self.waiting, self.opening, self.heard) = (false, false, 0);
        }
    }

    /// The server takes a frame. Cut off, it answers what it can answer alone.
    fn submit(&mut self) {
        let link = self.link.as_mut().unwrap();
        let Some(mut flight) = link.up.take() else { return };
        link.touched = true;
        flight.cut = !link.joined;
        let alone = !flight.frame.is_some_and(Frame::has_leaders_part);
        if alone || link.joined {
            link.down.push(flight);
        }
    }

    fn deliver(&mut self, scenario: &Scenario) {
        let Some(link) = &mut self.link else { return };
        let flight = link.down.remove(0);
        if let Some(frame) = flight.frame {
            self.lease.answered(frame, ago(flight.age), NOW);
            if scenario.mode == Mode::Direct || frame.has_leaders_part() {
                self.newest = self.newest.min(flight.age);
            }
        }
        if flight.cut {
            self.misled = Some(0);
        }
        self.waiting = self.open;
        self.pass();
    }

    /// The server's touches go to the leader.
    fn ship(&mut self, scenario: &Scenario) {
        let link = self.link.as_mut().unwrap();
        link.shipped = 0;
        if !std::mem::take(&mut link.touched) || self.over || link.foreign {
            return;
        }
        self.touched = 0;
        // Only where evenkeel is never frozen, and nothing is delayed, is it known when a touch must have been the last.
        let prompt = scenario.budget.freezes == 0 && scenario.delay == Some(0);
        let silent = self.spoke > scenario.told / 3 + scenario.half_tick;
        if prompt && silent {
            self.broken = Some("a session is kept alive whose client is silent");
        }
    }

    /// A server answers an attach; the leader has its part in that.
    fn serve(&mut self, scenario: &Scenario, answer: Answer) {
        match answer {
            Answer::Held => self.touched = 0,
            Answer::Shorter => {
                self.left.shorter -= 1;
                (self.touched, self.timeout) = (0, scenario.granted / 2);
            }
            Answer::Another => self.left.others -= 1,
            Answer::Expired => {}
        }
        if let Some((_, answered)) = &mut self.attach {
            *answered = Some(answer);
        }
    }

    fn attached(&mut self, scenario: &Scenario) {
        let Some((age, Some(answer))) = self.attach.take() else { return };
        let grant = match answer {
            Answer::Held => Grant { session: SESSION, timeout: units(scenario.granted) },
            Answer::Shorter => Grant { session: SESSION, timeout: units(scenario.granted / 2) },
            Answer::Another => Grant { session: SESSION + 1, timeout: units(scenario.granted) },
            Answer::Expired => Grant { session: 0, timeout: Duration::ZERO },
        };
        match self.lease.reattached(grant, ago(age), NOW) {
            Reattach::Held => {
                self.link = Some(Link { foreign: answer == Answer::Another, ..Link::new() });
                self.newest = self.newest.min(age);
            }
            Reattach::Expired => {
                if !self.over {
                    self.broken = Some("an expiry is invented");
                }
                self.close();
            }
            Reattach::Shorter => self.close(),
            Reattach::Another => {}
        }
    }
}
