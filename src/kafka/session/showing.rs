//! A client shows who it is (`SaslHandshake`, `SaslAuthenticate`). Where credentials are held, it is checked here, and its broker hears nothing
//! of it; a client that shows none comes in as well: it is on this host. With `sasl.clients = "own"` what it shows goes to its broker,
//! which decides, and is kept for this connection alone, for every other that is opened for it.

mod verdict;

use super::Session;
use super::slot::{Answer, Slot, State};
use crate::config::{Mechanism, Sasl, SaslClients, Secret};
use crate::kafka::authenticate::{
    AUTHENTICATE, Credentials, FAILED, HANDSHAKE, ILLEGAL_STATE, UNSUPPORTED_MECHANISM,
};
use crate::kafka::wire::{self, Struct};
use crate::metrics::ClientSasl;
use crate::sasl::{Exchange, Served, Server};
use crate::time::now;
use bytes::{Bytes, BytesMut};
use std::time::{Duration, Instant};

/// The mechanisms whose exchange can be repeated without the client.
const REPEATABLE: [Mechanism; 2] = [Mechanism::Plain, Mechanism::OauthBearer];
/// The longest message that goes to a broker, in bytes: brokers close the connection on a longer one without a word
/// (`sasl.server.max.receive.size`, 524288 unless it is set, KIP-684).
const LONGEST: usize = 512 * 1024;
/// What a client is told whose message is longer.
const TOO_LONG: &str = "Authentication failed: a message of more than 512 KiB, which brokers don't take";
/// What a client is told that would go on as somebody else, or that would prove it in another way. Brokers refuse both
/// (`SaslServerAuthenticator.ReauthInfo`).
const ANOTHER: &str = "Cannot change principals during re-authentication";
const ANOTHER_WAY: &str = "Cannot change mechanisms during re-authentication";
/// What a client is told whose proof is wrong. It says no more than a broker does.
const NOT_HELD: &str =
    "Authentication failed: these are not the username and password that Evenkeel holds for this cluster";
/// What a client is told of a cluster that asks for what nobody has configured.
const IN_VAIN: &str = "Authentication failed: the brokers ask Evenkeel for SASL, and it has no credentials; set [kafka.sasl] in its configuration";

/// How far a client has come.
#[derive(Debug, Default)]
pub(super) struct Showing {
    step: Step,
    /// What it has shown last, with `sasl.clients = "own"`.
    shown: Option<Shown>,
    /// What had been taken before that, as long as there is no verdict on it.
    before: Option<Shown>,
    /// How many messages it has shown.
    messages: u64,
    /// The broker that is asked about the last one.
    judge: Option<i32>,
    /// How long it was told that its session lasts: it may show who it is again before that ends. None: as long as its connection.
    lasts: Option<Duration>,
    /// Its messages come as they are, without a header: `SaslHandshake` v0, which brokers up to 4.3 take and some libraries still begin with
    /// (kafka-python up to 2.0, Sarama before it set v1 by itself). Evenkeel's own exchanges are v1, which every broker from 2.8 knows.
    raw: bool,
    /// Whether what it shows is what its connections are opened with (`sasl.clients = "own"`).
    own: bool,
    /// How often in a row brokers have given no verdict on it, and until when it rests.
    unjudged: u32,
    rests_until: Option<Instant>,
    /// A broker has taken what it has shown, or has answered what none answers before that.
    proved: bool,
}

impl Showing {
    /// Nothing yet.
    pub(super) fn new(sasl: &Sasl) -> Self {
        Self { own: sasl.mechanism.is_some() && sasl.clients == SaslClients::Own, ..Self::default() }
    }

    /// Whether no connection is opened with what the client has shown, for a moment.
    pub(super) fn rests(&self) -> bool {
        self.rests_until.is_some_and(|until| now() < until)
    }
}

/// What a client has shown: all of a mechanism's exchange that can be repeated.
#[derive(Debug, Clone)]
struct Shown {
    mechanism: Mechanism,
    first: Secret,
    /// Which of its messages it is, from 1: a verdict on another is none on this.
    message: u64,
}

#[derive(Debug, Default)]
enum Step {
    #[default]
    Nothing,
    /// It is checked here.
    Checked(Server),
    /// Its message is due, to be shown to its broker.
    Due(Mechanism),
    /// A broker is asked; this request waits for the verdict.
    Asked(u64),
    /// A broker has taken what it has shown.
    Taken,
    /// Its exchange passes as it is, and can't be repeated; so many of its messages have been taken.
    Passing { scram: bool, taken: u32 },
    /// Whatever it shows: nothing is configured, and the brokers ask.
    InVain,
}

impl Session {
    /// With what links are opened; none before the client has shown what it has to.
    pub(super) fn credentials(&self) -> Option<Credentials> {
        match &self.showing.shown {
            Some(shown) => Some(Credentials::Shown(shown.mechanism, shown.first.clone())),
            None if self.showing.own => None,
            None => Some(self.cluster.credentials()),
        }
    }

    /// Whether a request may come now. Brokers close the connection of a client that asks before it has shown who it is.
    pub(super) fn may_ask(&self, key: i16) -> bool {
        matches!(key, 18 | HANDSHAKE | AUTHENTICATE)
            || !matches!(self.showing.step, Step::InVain)
                && (self.showing.shown.is_some() || self.is_passing() || !self.showing.own)
    }

    /// Whether it has to show who it is, and has not yet.
    pub(super) fn must_show(&self) -> bool {
        (self.showing.own || matches!(self.showing.step, Step::InVain)) && !self.showing.proved
    }

    /// A request is answered. Where the exchange passes as it is, its end proves it, or an answer to one that comes behind it: brokers close
    /// the connection of a client that asks before it has shown who it is.
    pub(super) fn on_answered(&mut self, slot: &Slot) {
        if self.showing.proved || !self.is_passing() {
            return;
        }
        self.showing.proved = match slot.op.key {
            18 | HANDSHAKE => false,
            AUTHENTICATE => self.ends_exchange(slot),
            _ => true,
        };
    }

    /// Whether a broker's answer ends an exchange that passes, as far as can be told: one that says for how long the session lasts, the second
    /// of SCRAM (RFC 5802), the first with nothing to go on with in others (GSSAPI: RFC 4752).
    fn ends_exchange(&mut self, slot: &Slot) -> bool {
        let Step::Passing { scram, taken } = &mut self.showing.step else { return false };
        let State::Done(Answer::Frame(frame)) = &slot.state else { return false };
        let Ok((_, answer)) = wire::decode_response(AUTHENTICATE, slot.version, frame) else { return false };
        if answer.i16("error_code") != 0 {
            return false;
        }
        *taken += 1;
        let is_silent = answer.bytes_field("auth_bytes").is_none_or(Bytes::is_empty);
        answer.i64("session_lifetime_ms") > 0 || if *scram { *taken >= 2 } else { is_silent }
    }

    /// Whether the client's exchange passed as it is: nobody can repeat it.
    pub(super) fn is_passing(&self) -> bool {
        matches!(self.showing.step, Step::Passing { .. })
    }

    /// Whether the client's next frame has no header.
    pub(super) fn is_raw(&self) -> bool {
        self.showing.raw
    }

    /// A request of SASL. Answers whether it was seen to; else it goes to the client's broker as it came.
    pub(super) fn on_sasl(&mut self, number: u64) -> bool {
        let Some(slot) = self.slot(number) else { return true };
        let (key, version) = (slot.op.key, slot.version);
        let in_vain = self.cluster.is_asked_in_vain();
        if !in_vain && self.cluster.settings().kafka.sasl.mechanism.is_none() || self.is_passing() {
            return false;
        }
        let Ok((_, request)) = wire::decode_request(&slot.frame) else {
            self.set_state(number, State::Done(Answer::Close("its SASL request can't be read".to_owned())));
            return true;
        };
        if key == HANDSHAKE {
            let name = request.str("mechanism").unwrap_or_default().to_owned();
            return self.on_handshake(number, version, &name, in_vain);
        }
        let message = request.bytes_field("auth_bytes").cloned().unwrap_or_default();
        self.on_message(number, &message);
        true
    }

    fn on_handshake(&mut self, number: u64, version: i16, name: &str, in_vain: bool) -> bool {
        self.showing.raw = version == 0;
        let mechanism =
            [Mechanism::Plain, Mechanism::ScramSha256, Mechanism::ScramSha512, Mechanism::OauthBearer]
                .into_iter()
                .find(|mechanism| mechanism.name() == name);
        if in_vain {
            self.showing.step = Step::InVain;
            self.answer_handshake(number, 0, &[name]);
            return true;
        }
        if !self.showing.own {
            let all = self.cluster.sasl.served();
            let server = mechanism.filter(|mechanism| all.contains(mechanism));
            match server.map(|mechanism| self.cluster.sasl.server(mechanism)) {
                Some(Ok(server)) => {
                    self.showing.step = Step::Checked(server);
                    self.answer_handshake(number, 0, &names(all));
                }
                Some(Err(error)) => {
                    tracing::warn!(%error, "a client can't be checked");
                    self.set_state(number, State::Done(Answer::Close(error.to_string())));
                }
                None => self.unsupported(number, name, &names(all)),
            }
            return true;
        }
        match mechanism.filter(|mechanism| REPEATABLE.contains(mechanism)) {
            Some(_) if self.showing.raw => self.unsupported(number, name, &[]),
            // As a broker says it whose sessions last as long as their connections.
            Some(_) if matches!(self.showing.step, Step::Taken) && self.showing.lasts.is_none() => {
                self.answer_handshake(number, ILLEGAL_STATE, &[]);
            }
            Some(mechanism) => {
                self.showing.step = Step::Due(mechanism);
                self.answer_handshake(number, 0, &names(&REPEATABLE));
            }
            None if self.showing.shown.is_some() => self.unsupported(number, name, &names(&REPEATABLE)),
            None => {
                self.showing.step = Step::Passing { scram: name.starts_with("SCRAM-"), taken: 0 };
                // Its messages have no header then, which nobody here could tell from requests.
                if self.showing.raw {
                    self.showing.step = Step::Nothing;
                    self.unsupported(number, name, &names(&REPEATABLE));
                    return true;
                }
                self.cluster.metrics.kafka_client_sasl.inc(ClientSasl::Unrepeatable);
                self.cluster.say_unrepeatable(name);
                return false;
            }
        }
        true
    }

    /// A mechanism that there is not: the client is told which there are, and goes.
    fn unsupported(&mut self, number: u64, name: &str, served: &[&str]) {
        self.cluster.metrics.kafka_client_sasl.inc(ClientSasl::Unsupported);
        self.answer_handshake(number, UNSUPPORTED_MECHANISM, served);
        let name: String = name.chars().filter(|c| !c.is_control()).take(40).collect();
        self.lost = Some(format!("it wants to show who it is by {name}, of which nothing is held here"));
    }

    fn on_message(&mut self, number: u64, message: &Bytes) {
        match std::mem::take(&mut self.showing.step) {
            Step::Checked(mut server) => match server.next(message) {
                Ok(Served::Challenge(challenge)) => {
                    self.showing.step = Step::Checked(server);
                    self.answer_message(number, &challenge, None);
                }
                Ok(Served::Welcome(last)) => {
                    self.cluster.metrics.kafka_client_sasl.inc(ClientSasl::Accepted);
                    self.answer_message(number, &last, None);
                }
                Ok(Served::Refused) => self.turn_away(number, NOT_HELD),
                Err(error) => self.turn_away(number, &format!("Authentication failed: {error}")),
            },
            Step::Due(_) if message.len() > LONGEST => self.turn_away(number, TOO_LONG),
            Step::Due(mechanism) => match self.another(mechanism, message) {
                Some(why) => self.turn_away(number, why),
                None => self.have_judged(number, mechanism, Secret::new(message.to_vec())),
            },
            Step::InVain => {
                tracing::warn!(client = %self.client_id, "the brokers ask for SASL: set [kafka.sasl]");
                self.turn_away(number, IN_VAIN);
            }
            step @ (Step::Nothing | Step::Asked(_) | Step::Taken | Step::Passing { .. }) => {
                self.showing.step = step;
                let body = answer_of(AUTHENTICATE, |answer| {
                    answer.set_i16("error_code", ILLEGAL_STATE);
                    answer.set_str("error_message", "SaslHandshake comes first");
                });
                self.answer_sasl(number, body);
                self.lost = Some("it has sent a step of SASL without its beginning".to_owned());
            }
        }
    }

    /// A frame without a header: a message as it is, answered as it is.
    ///
    /// # Errors
    /// It doesn't come in.
    pub(super) fn take_raw(&mut self, frame: &BytesMut) -> Result<(), String> {
        if !self.slots.is_empty() {
            return Err("a step of SASL before the one before was answered".to_owned());
        }
        let Step::Checked(server) = &mut self.showing.step else {
            return Err(IN_VAIN.to_owned());
        };
        let (answer, over) = match server.next(frame) {
            Ok(Served::Challenge(challenge)) => (challenge, false),
            Ok(Served::Welcome(last)) => (last, true),
            Ok(Served::Refused) | Err(_) => {
                self.cluster.metrics.kafka_client_sasl.inc(ClientSasl::Refused);
                return Err(NOT_HELD.to_owned());
            }
        };
        if over {
            self.cluster.metrics.kafka_client_sasl.inc(ClientSasl::Accepted);
            self.showing.raw = false;
        }
        self.out.push_frame([Bytes::from(answer)]).map_err(|error| error.to_string())
    }

    /// What speaks against a message of another user than the client has been so far, or by another mechanism: what it has under way would go
    /// on as that one. Whose a token is, its brokers know alone.
    fn another(&self, mechanism: Mechanism, message: &[u8]) -> Option<&'static str> {
        let user = |mechanism, message| {
            let exchange = Exchange::shown(mechanism, message)?;
            exchange.identity().1.map(str::to_owned)
        };
        let shown = self.showing.shown.as_ref()?;
        if shown.mechanism != mechanism {
            return Some(ANOTHER_WAY);
        }
        let before = user(mechanism, shown.first.clone());
        (before != user(mechanism, Secret::new(message))).then_some(ANOTHER)
    }

    fn turn_away(&mut self, number: u64, why: &str) {
        self.cluster.metrics.kafka_client_sasl.inc(ClientSasl::Refused);
        let body = answer_of(AUTHENTICATE, |answer| {
            answer.set_i16("error_code", FAILED);
            answer.set_str("error_message", why);
        });
        self.answer_sasl(number, body);
        // Nothing behind it goes out: that would show it again.
        self.lose_client_behind(number + 1, &format!("it is not let in: {why}"));
    }

    fn answer_message(&mut self, number: u64, message: &[u8], lasts: Option<Duration>) {
        let lasts = lasts.and_then(|lasts| i64::try_from(lasts.as_millis()).ok()).unwrap_or(0);
        let body = answer_of(AUTHENTICATE, |answer| {
            answer.set_bytes("auth_bytes", Some(Bytes::copy_from_slice(message)));
            answer.set_null("error_message");
            answer.set_i64("session_lifetime_ms", lasts);
        });
        self.answer_sasl(number, body);
    }

    fn answer_handshake(&mut self, number: u64, code: i16, mechanisms: &[&str]) {
        let body = answer_of(HANDSHAKE, |answer| {
            answer.set_i16("error_code", code);
            answer.set_strs("mechanisms", mechanisms);
        });
        self.answer_sasl(number, body);
    }

    fn answer_sasl(&mut self, number: u64, body: Option<Struct>) {
        let Some(slot) = self.slot(number) else { return };
        let (key, version, correlation) = (slot.op.key, slot.version, slot.correlation);
        let frame = body.and_then(|body| wire::encode_response(key, version, correlation, &body).ok());
        let cannot = || Answer::Close("the answer of SASL can't be written".to_owned());
        self.set_state(number, State::Done(frame.map_or_else(cannot, Answer::Frame)));
    }

    /// Whether a node is out of reach: an exchange that passed as it is leads to the client's own broker alone.
    pub(super) fn is_out_of_reach(&self, node: i32) -> bool {
        self.is_passing()
            && (self.home.node != Some(node)
                || self.links.iter().any(|link| link.node == node && link.was_open()))
    }
}

fn answer_of(key: i16, fill: impl FnOnce(&mut Struct)) -> Option<Struct> {
    let mut answer = wire::response(key)?.new();
    fill(&mut answer);
    Some(answer)
}

fn names(mechanisms: &[Mechanism]) -> Vec<&'static str> {
    mechanisms.iter().map(|mechanism| mechanism.name()).collect()
}
