//! A client's request arrives: it gets its place in the order of answers, and in the steady state goes straight on.

use super::inject::{Stamped, own};
use super::slot::{Answer, REQUEST_COST, Raised, Slot, State};
use super::{FETCH, PRODUCE, Session};
use crate::kafka::authenticate::{AUTHENTICATE, HANDSHAKE};
use crate::kafka::cluster::{API_VERSIONS, everything, is_supported, unsupported, versions_answer};
use crate::kafka::mistake::{Mistake, made};
use crate::kafka::operations::operation;
use crate::kafka::order::Barrier;
use crate::kafka::patience::library;
use crate::kafka::wire::{self, produce, request_header};
use crate::metrics::Library;
use crate::net::PREFIX;
use bytes::BytesMut;
use std::time::{Duration, Instant};

/// Whether a request went out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sent {
    /// It did.
    Yes,
    /// The link isn't open.
    NoLink,
    /// It can't be stamped yet.
    Unstamped,
}

impl Session {
    /// Takes a request in.
    ///
    /// # Errors
    /// Why it is no request of a Kafka client; its connection is closed, as a broker would.
    pub(super) fn take(&mut self, mut frame: BytesMut, now: Instant) -> Result<(), String> {
        if self.is_raw() {
            return self.take_raw(&frame);
        }
        let header = request_header(&frame).map_err(|error| format!("not a Kafka request: {error}"))?;
        let Some(op) = operation(header.api_key) else {
            return Err(format!("API key {} is not one that clients are offered", header.api_key));
        };
        let known =
            wire::request(op.key).is_some_and(|message| message.versions().contains(&header.api_version));
        if !known && op.key != API_VERSIONS {
            let name = wire::api_name(op.key);
            return Err(format!(
                "{name} version {} was not offered: only what all brokers speak is",
                header.api_version
            ));
        }
        if !self.may_ask(op.key) {
            return Err(format!("{} before it has shown who it is (SASL)", wire::api_name(op.key)));
        }
        if self.client_id.is_empty()
            && let Some(id) = header.client_id(&frame)
            && (!id.is_empty() || (self.library == Library::Other && self.client_info.is_none()))
        {
            self.client_id = shown(id);
            if self.client_info.is_none() {
                self.library = library("", &self.client_id); // unless it has said its name
            }
            self.cluster.note_client(self.id, (id.into(), self.home.port));
        }
        let (mut silent, mut barriers) = (false, Vec::new());
        if op.key == PRODUCE {
            self.own.belongs_to(header.client_id(&frame), self.home_of());
            let body = frame.get(header.body_at..).unwrap_or_default();
            let head = produce::request_head(header.api_version, body);
            silent = head.map_err(|error| format!("not a Produce request: {error}"))?.acks == 0;
            self.publish_arrival(header.api_version, body);
            self.own.sent();
            if !self.is_bypassing() && self.cluster.order.any_marked() {
                barriers = self.barriers(header.api_version, body, self.was_there(frame.len() + PREFIX), now);
            }
        }
        if op.key == FETCH {
            self.zone.fill(header.api_version, header.body_at, &mut frame);
        }
        if self.in_use.note(header.api_key, header.api_version) {
            let (key, version) = (header.api_key, header.api_version);
            self.cluster.note_version(self.id, &self.client_id, self.library, key, version);
        }
        let charged = frame.len() + REQUEST_COST;
        self.held_bytes += charged;
        self.cluster.ledger.charge(charged);
        let number = self.base + self.slots.len() as u64;
        let mut straight = self.straight_on(&barriers);
        let (mut stamped, mut raised, mut own_timeout) = (false, Raised::No, None);
        if op.key == PRODUCE && straight.is_some() && !self.is_bypassing() {
            match self.injection.stamp(&self.cluster, header.api_version, header.body_at, &mut frame, now) {
                Stamped::AsItIs => {}
                Stamped::Yes { raised: goes, own_timeout: own } => {
                    (stamped, raised, own_timeout) = (true, goes, own);
                    self.note_raised(goes, silent);
                }
                Stamped::Wait => {
                    straight = None;
                    self.paced = Some(number);
                }
            }
        }
        self.slots.push_back(Slot {
            op,
            version: header.api_version,
            correlation: header.correlation_id,
            body_at: header.body_at,
            charged,
            frame: frame.freeze(),
            silent,
            stamped,
            as_it_is: false,
            raised,
            own_timeout,
            arrived: now,
            upstream: Duration::ZERO,
            state: State::Waiting,
            barriers,
            lanes: None,
            trouble: None,
        });
        self.unsettled += 1;
        self.unsettled_others += usize::from(op.key != PRODUCE);
        if op.key == API_VERSIONS {
            self.answer_api_versions(number);
        } else if matches!(op.key, HANDSHAKE | AUTHENTICATE) && self.on_sasl(number) {
            // It has its answer, or waits for that of its broker.
        } else if let Some(home) = straight {
            self.put_on(number, home, now);
        }
        Ok(())
    }

    /// The steady path: the node that the client chose, if it is connected and nothing is known to be wrong. Whatever does
    /// not go there at once is seen to by `advance`.
    fn straight_on(&self, barriers: &[Barrier]) -> Option<i32> {
        let nothing_wrong =
            self.unsettled == 0 && barriers.is_empty() && self.stray.is_empty() && self.moved.is_empty();
        let home = self.home.node.filter(|home| nothing_wrong && self.is_open(*home))?;
        (self.is_bypassing() || !self.cluster.is_drained(home)).then_some(home)
    }

    /// Whether the link to a node is open.
    pub(super) fn is_open(&self, node: i32) -> bool {
        self.links.iter().any(|link| link.node == node && link.is_open())
    }

    /// Puts a request on the open link to `node`. Answers whether it did.
    pub(super) fn put_on(&mut self, number: u64, node: i32, now: Instant) -> bool {
        let Some(slot) = self.slot(number) else { return false };
        let (frame, correlation) = (slot.frame.clone(), slot.is_answered().then_some(slot.correlation));
        let (key, version) = (slot.op.key, slot.version);
        let Some(link) = self.link_mut(node) else { return false };
        if !link.speaks(key, version) {
            self.outdated(number, node);
            return true;
        }
        if !link.send([frame], number, 0, correlation, now) {
            return false;
        }
        if let Some(slot) = self.slot_mut(number) {
            slot.as_it_is = !slot.stamped && !made(Mistake::StampedLate);
        }
        self.set_state(number, State::Sent);
        true
    }

    /// Sends a request that has waited, whole, on the open link to `node`; a Produce is stamped if it has not been.
    pub(super) fn send_whole(&mut self, number: u64, node: i32, now: Instant) -> Sent {
        if !self.is_open(node) {
            return Sent::NoLink;
        }
        let Some(at) = self.at(number) else { return Sent::NoLink };
        let Some(slot) = self.slots.get_mut(at) else { return Sent::NoLink };
        if slot.is_produce() && !slot.stamped && !slot.as_it_is && self.injection.is_on() {
            if !self.injection.has_room(slot.version, slot.frame.get(slot.body_at..).unwrap_or_default()) {
                return Sent::Unstamped;
            }
            let mut frame = own(std::mem::take(&mut slot.frame));
            let stamped = self.injection.stamp(&self.cluster, slot.version, slot.body_at, &mut frame, now);
            slot.frame = frame.freeze();
            match stamped {
                Stamped::AsItIs => {}
                Stamped::Yes { raised, own_timeout } => {
                    (slot.stamped, slot.raised, slot.own_timeout) = (true, raised, own_timeout);
                    let silent = slot.silent;
                    self.note_raised(raised, silent);
                }
                Stamped::Wait => return Sent::Unstamped,
            }
        }
        if self.put_on(number, node, now) { Sent::Yes } else { Sent::NoLink }
    }

    /// A broker doesn't speak the version of a request, though it was offered when the client asked, or was never offered.
    /// Brokers close the connection at such; a client that connects anew is told what is true now.
    pub(super) fn outdated(&mut self, number: u64, node: i32) {
        let Some(slot) = self.slot(number) else { return };
        let (name, version) = (wire::api_name(slot.op.key), slot.version);
        self.closes(slot);
        let reason = format!("broker {node} does not speak {name} version {version}");
        self.set_state(number, State::Done(Answer::Close(reason)));
    }

    /// Answers `ApiVersions` from what all members share. Until one member has answered, it waits.
    pub(super) fn answer_api_versions(&mut self, number: u64) {
        let Some(slot) = self.slot(number) else { return };
        let (version, correlation) = (slot.version, slot.correlation);
        if !is_supported(version) {
            // v0 form whatever was asked: the one answer that every client can read (KIP-511).
            if let Some(frame) =
                unsupported().and_then(|a| wire::encode_response(API_VERSIONS, 0, correlation, &a).ok())
            {
                self.set_state(number, State::Done(Answer::Frame(frame)));
            }
            return;
        }
        if self.offered.is_none() {
            self.offered = self.cluster.shared_versions();
        }
        if self.offered.is_none() && self.cluster.is_asked_in_vain() {
            // No broker can be asked. A client that wants to show who it is learns why.
            self.offered = Some(everything());
        }
        if self.offered.is_some() && version >= 3 && self.client_info.is_none() {
            self.learn_client(number);
        }
        let home = self.home.node;
        let member = self.cluster.read(|view| {
            let of = |id: i32| view.nodes.get(&id).and_then(|node| node.versions.clone());
            home.and_then(of).or_else(|| view.nodes.values().find_map(|node| node.versions.clone()))
        });
        let Some(shared) = &self.offered else { return };
        let answer = versions_answer(shared, member.as_deref());
        let frame =
            answer.and_then(|answer| wire::encode_response(API_VERSIONS, version, correlation, &answer).ok());
        let answer = frame.map_or_else(
            || Answer::Close("the ApiVersions answer can't be written".to_owned()),
            Answer::Frame,
        );
        self.set_state(number, State::Done(answer));
    }

    /// The library's own name and version, from `ApiVersions` v3+ (KIP-511).
    fn learn_client(&mut self, number: u64) {
        let Some(slot) = self.slot(number) else { return };
        let Ok((_, request)) = wire::decode_request(&slot.frame) else { return };
        let name = request.str("client_software_name").unwrap_or_default();
        let version = request.str("client_software_version").unwrap_or_default();
        self.library = library(name, &self.client_id);
        self.client_info = Some(self.cluster.metrics.client(self.library, version));
    }
}

/// So many characters of a client id are shown.
const SHOWN: usize = 200;

/// A client id as it is shown in the log and to people: anyone may choose it, and must not write lines or colours of their own with it. What
/// goes to brokers is as it came.
fn shown(id: &[u8]) -> String {
    let all = String::from_utf8_lossy(id);
    all.chars().take(SHOWN).map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_id_writes_no_lines_of_its_own() {
        assert_eq!(shown(b"billing-7"), "billing-7");
        assert_eq!(
            shown("b\n2026 WARN\r\x1b[31m\u{9b}\0é\u{7f}".as_bytes()),
            "b\u{fffd}2026 WARN\u{fffd}\u{fffd}[31m\u{fffd}\u{fffd}é\u{fffd}"
        );
        assert_eq!(shown(b"a\xffb"), "a\u{fffd}b");
        assert_eq!(shown("é".repeat(300).as_bytes()), "é".repeat(200));
    }
}
