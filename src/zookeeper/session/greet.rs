//! The first words of a client: a four-letter word, or the `ConnectRequest`; and the server's answer to it.

use super::slot::{Reply, State};
use super::upstream::Upstream;
use super::{End, Moment, Phase, Session};
use crate::metrics::zookeeper::{CloseReason, MoveOutcome, WordFate};
use crate::net::{FrameError, PREFIX};
use crate::zookeeper::ensemble::{Attached, Wish, attach};
use crate::zookeeper::lease::{Grant, Reattach};
use crate::zookeeper::wire::{ConnectRequest, ConnectResponse, build, opcode};
use crate::zookeeper::words::{self, Word};
use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;

/// The share of a session's time-out for which a new client is kept waiting for a server: it gives up after as long, or
/// earlier when it knows several addresses, and would have to start over.
const OPENING_SHARE: f64 = 0.6;

/// Who a session is.
#[derive(Clone)]
pub(super) struct Identity {
    /// What the client asked for: repeated at each reattach, but for the time-out.
    pub request: ConnectRequest,
    /// What it was given.
    pub session: i64,
    /// Its password.
    pub password: Bytes,
    /// Whether an error −4 fails one call of this client's library, as far as that can be told: a library that knows of
    /// read-only mode (the byte at the end of its request) knows it; the Go library doesn't, and has no such byte.
    pub copes: bool,
}

impl Session {
    /// The first frame of a connection.
    pub(super) fn greet(&mut self, frame: &Bytes, at: Moment) -> Result<(), End> {
        let request = ConnectRequest::decode(frame)
            .map_err(|error| End::Rejected(format!("its first frame is no ConnectRequest: {error}")))?;
        let settings = self.ensemble.settings();
        let asked = Duration::from_millis(u64::try_from(request.timeout).unwrap_or(0));
        // Asking for very little is asking for the servers' least; one attach is no hold.
        let bound =
            asked.mul_f64(OPENING_SHARE).min(settings.hold.max).max(settings.zookeeper.attach_timeout);
        // The servers' own bounds, as they are if nobody has set them.
        let tick = settings.zookeeper.tick_time;
        if self.ensemble.is_dead(asked.clamp(tick * 2, tick * 20)) {
            self.ensemble.metrics.clients_refused.inc();
            return Err(End::Closed("no server has answered for longer than a session lasts".to_owned()));
        }
        self.phase = Phase::Opening(at.now + bound);
        (self.zxid, self.told) = (request.last_zxid, request.last_zxid);
        // A server takes nobody who has seen more than it has, so all that is sent from here on comes behind this.
        (self.answered, self.inherits) = (request.last_zxid, request.session != 0);
        let upstream = self.for_server(&request);
        self.identity = Some(Identity {
            copes: request.read_only.is_some(),
            session: request.session,
            password: request.password.clone(),
            request,
        });
        let wish = Wish { request: upstream.encode(), avoid: None, only_other: false, pause: Duration::ZERO };
        self.attaching = Some(Box::pin(attach(Arc::clone(&self.ensemble), wish)));
        Ok(())
    }

    /// What the server is asked: never for a read-only session, since a session that may write has no business on a server
    /// that has lost the others; and perhaps for a longer time-out.
    fn for_server(&self, request: &ConnectRequest) -> ConnectRequest {
        let least = self.ensemble.settings().zookeeper.session.min_upstream_timeout;
        let least = least.map_or(0, |least| i32::try_from(least.as_millis()).unwrap_or(i32::MAX));
        ConnectRequest {
            read_only: request.read_only.map(|_| false),
            timeout: request.timeout.max(least),
            ..request.clone()
        }
    }

    /// What a reattach asks for: the time-out that was granted at first, whatever the settings say by now.
    pub(super) fn reattach_request(&self) -> Option<Bytes> {
        let identity = self.identity.as_ref()?;
        let granted = self.lease.as_ref().and_then(|lease| i32::try_from(lease.granted().as_millis()).ok());
        let request = ConnectRequest {
            last_zxid: self.zxid,
            session: identity.session,
            password: identity.password.clone(),
            read_only: identity.request.read_only.map(|_| false),
            timeout: granted.unwrap_or(identity.request.timeout),
            ..identity.request.clone()
        };
        Some(request.encode())
    }

    /// A server took the connection and answered.
    pub(super) fn on_attached(&mut self, attached: Attached, at: Moment) {
        self.attached_at = at.now;
        self.unlooked = true;
        let response = match ConnectResponse::decode(&attached.response) {
            Ok(response) => response,
            Err(error) => return self.close(format!("a server's ConnectResponse can't be read: {error}")),
        };
        match self.phase {
            Phase::Opening(_) => self.opened(attached, &response, at),
            Phase::Moving(_) => self.moved(attached, &response, at),
            _ => self.reattached(attached, &response, at),
        }
    }

    /// The client's own `ConnectRequest` is answered.
    fn opened(&mut self, attached: Attached, response: &ConnectResponse, at: Moment) {
        if response.is_expired() {
            // The ensemble's word, not ours.
            self.ensemble.metrics.sessions_expired.inc();
            self.push_frame(attached.response);
            self.ending = Some(End::Client);
            return;
        }
        let write_queue = self.ensemble.settings().net.write_queue;
        let (upstream, frame, sent) = Upstream::new(attached, write_queue);
        let Some(identity) = &mut self.identity else { return };
        identity.session = response.session;
        identity.password = response.password.clone();
        let granted = Duration::from_millis(u64::try_from(response.timeout).unwrap_or(0));
        let own = Duration::from_millis(u64::try_from(identity.request.timeout).unwrap_or(0));
        let settings = self.ensemble.settings();
        // Only where we asked for more than the client did is it told less than was granted: what it asked for, but not less
        // than servers grant to anyone (`minSessionTimeout`, two ticks).
        let stretched = settings.zookeeper.session.min_upstream_timeout.is_some();
        let told = if stretched { granted.min(own.max(settings.zookeeper.tick_time * 2)) } else { granted };
        let grant = Grant { session: response.session, timeout: granted };
        self.start_lease(sent, grant, told, at);
        // The frame as it came, unless the client is told a shorter time-out than the ensemble's.
        if told < granted {
            let timeout = i32::try_from(told.as_millis()).unwrap_or(i32::MAX);
            self.out.push(ConnectResponse { timeout, ..response.clone() }.encode());
        } else {
            self.push_frame(frame);
        }
        self.upstream = Some(upstream);
        self.phase = Phase::Serving;
    }

    /// The session is on another server, or nowhere any more.
    fn reattached(&mut self, attached: Attached, response: &ConnectResponse, at: Moment) {
        let timeout = Duration::from_millis(u64::try_from(response.timeout).unwrap_or(0));
        let grant = Grant { session: response.session, timeout };
        let (upstream, _, sent) = Upstream::new(attached, self.ensemble.settings().net.write_queue);
        let headroom = self.lease.as_ref().map_or(Duration::ZERO, |lease| lease.closes_at().since(at.boot));
        match self.lease_reattached(grant, sent, at) {
            Reattach::Held => self.ensemble.metrics.lease_headroom_seconds.observe(headroom.as_secs_f64()),
            Reattach::Expired => return self.gone(at),
            Reattach::Shorter => return self.refuse_grant(CloseReason::TimeoutShortened),
            Reattach::Another => return self.refuse_grant(CloseReason::OtherSession),
        }
        let session = response.session;
        tracing::debug!(
            session = format_args!("{session:#x}"), server = %upstream.place().at(), "session is attached again"
        );
        self.upstream = Some(upstream);
        self.settle(at);
    }

    /// What a server grants at a reattach is not what the client was told (L4).
    pub(super) fn refuse_grant(&mut self, why: CloseReason) {
        self.lease_close(why);
        self.close(match why {
            CloseReason::TimeoutShortened => {
                "the ensemble grants a shorter time-out than before: the client has to negotiate anew"
            }
            _ => "a server handed out another session id at a reattach: it makes new sessions of old ones",
        });
    }

    /// The ensemble has ended the session. It is the next server's business to tell the client so; a `closeSession` that was under
    /// way has done what it should.
    pub(super) fn gone(&mut self, at: Moment) {
        let closing = self
            .slots
            .iter()
            .position(|slot| slot.code == opcode::CLOSE_SESSION && matches!(slot.state, State::Unknown));
        if let Some(slot) = closing.and_then(|at| self.slots.get_mut(at)) {
            // The server's word in another form, and no sign of life: not bound by L1.
            let reply = build::error_reply(slot.xid, self.zxid, 0);
            slot.state = State::Done(Reply::Frame(reply.slice(PREFIX..)));
            // Whatever is before or behind it has no answer any more; its client asked for the end.
            self.cancel_holds();
            let (before, last) = (closing.unwrap_or(0), self.slots.len().saturating_sub(1));
            for _ in before..last {
                self.drop_last();
            }
            for _ in 0..before {
                self.drop_first(at);
            }
            return;
        }
        self.ensemble.metrics.sessions_expired.inc();
        self.end_move(MoveOutcome::Expired, None);
        self.close("the session has expired: the client learns it from the next server that it asks");
    }

    /// What came in place of a first frame, if it is a four-letter word: a length that no frame has. Answers whether it was.
    pub(super) fn word(&mut self, error: &FrameError) -> bool {
        let FrameError::TooLarge { len, .. } = error else { return false };
        let Ok(len) = u32::try_from(*len) else { return false };
        let Some(word) = Word::parse(len.to_be_bytes()) else { return false };
        let allowed = |letters: [u8; 4]| {
            let words = &self.ensemble.settings().zookeeper.four_letter_words;
            words.iter().any(|word| word.as_bytes() == letters)
        };
        let text = match word {
            Word::Ruok => Some(words::IMOK.to_owned()),
            Word::Srvr => Some(words::srvr(&self.ensemble.known())),
            Word::Isro => None,
            Word::Other(letters) if allowed(letters) => None,
            Word::Other(letters) => {
                self.ensemble.metrics.four_letter_words.inc(WordFate::Refused);
                self.answer_word(words::refusal(letters));
                return true;
            }
        };
        if let Some(text) = text {
            self.ensemble.metrics.four_letter_words.inc(WordFate::Answered);
            self.answer_word(text);
        } else {
            self.ensemble.metrics.four_letter_words.inc(WordFate::Forwarded);
            self.asking = Some(Box::pin(Arc::clone(&self.ensemble).ask_word(word.letters())));
        }
        true
    }

    /// Servers close behind the answer.
    fn answer_word(&mut self, text: String) {
        self.out.push(Bytes::from(text));
        self.ending = Some(End::Word);
    }
}
