//! A connection whose session at the broker ends before it does (KIP-368) proves itself again in time: on the same connection, behind the
//! requests that are on it. Until the broker is content nothing new goes out; it answers in order, so what is out is answered first.

use super::{Open, Taken};
use crate::kafka::authenticate::{Credentials, Failure, Identity, Say, Talk, note};
use crate::metrics::SaslRenewal;
use crate::net::Seldom;
use crate::sasl::Exchange;
use crate::time::now;
use bytes::Bytes;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};
use tokio::time::Sleep;

/// The pause before credentials that couldn't be had are asked for again: the session still lasts.
const AGAIN: Duration = Duration::from_secs(1);

/// A broker doesn't begin with a renewal within a second of another (`KafkaChannel.MIN_REAUTH_INTERVAL_ONE_SECOND_NANOS`); it answers as one
/// that asks for no SASL.
const BETWEEN: Duration = Duration::from_secs(1);

/// The lines about that: one that is true of all connections is said for a few of them.
static CANNOT: Seldom = Seldom::new(1, Duration::from_secs(1));
pub(super) static REFUSED: Seldom = Seldom::new(1, Duration::from_secs(1));

type Preparing = Pin<Box<dyn Future<Output = Result<Option<Exchange>, Failure>> + Send>>;

/// See the module.
pub(super) struct Renewing {
    credentials: Credentials,
    /// Which of its client's messages that is.
    message: u64,
    /// Which one the exchange is about that is under way, or was the last.
    asked: u64,
    /// When an exchange was last begun here.
    begun: Option<Instant>,
    identity: Identity,
    client_id: String,
    /// The most time for an answer.
    bound: Duration,
    correlation: i32,
    step: Step,
    /// The session ends before it may be renewed once more: a token was nearly over.
    is_last: bool,
    timer: Pin<Box<Sleep>>,
}

enum Step {
    /// Until the timer.
    Resting,
    /// The credentials are on their way. Requests go on.
    Preparing(Preparing),
    /// With the broker. Nothing else goes out.
    Talking(Talk),
    /// Only a fresh connection can have a session from now on, as with another identity: this one ends when nothing is on it.
    Leaving,
}

/// Far enough away.
fn never() -> Instant {
    now() + Duration::from_secs(365 * 24 * 3600)
}

/// What came of an answer in an exchange.
pub(super) enum Renewed {
    /// There is more to say.
    GoesOn,
    /// The broker is content.
    Done(Taken),
    /// The connection is of no more use. With the message that this came of.
    Failed(Failure, u64),
}

impl Renewing {
    pub(super) fn new(
        (credentials, message): (Credentials, u64),
        identity: Identity,
        client_id: &str,
        bound: Duration,
        at: Instant,
    ) -> Self {
        let at = if credentials.is_renewed() { at } else { never() };
        Self {
            credentials,
            message,
            asked: message,
            begun: None,
            identity,
            client_id: client_id.to_owned(),
            bound,
            correlation: 0,
            step: Step::Resting,
            is_last: false,
            timer: Box::pin(tokio::time::sleep_until(at.into())),
        }
    }

    /// Whether nothing new may go out.
    pub(super) fn is_blocking(&self) -> bool {
        matches!(self.step, Step::Talking(_) | Step::Leaving)
    }

    /// Whether the next answer, if no request's is due, is a broker's in the exchange.
    pub(super) fn is_talking(&self) -> bool {
        matches!(self.step, Step::Talking(_))
    }

    /// Its client's message that the broker is asked about, if one is.
    pub(super) fn asks_about(&self) -> Option<u64> {
        self.is_talking().then_some(self.asked)
    }

    /// Its client's message that the session is of, or is to be.
    pub(super) fn message(&self) -> u64 {
        self.message
    }

    /// It is to be renewed with this message of its client's, as soon as that can be. What the broker is asked already it answers first.
    pub(super) fn renew_now(&mut self, credentials: Credentials, message: u64) {
        if message == self.message {
            return;
        }
        (self.credentials, self.message) = (credentials, message);
        if matches!(self.step, Step::Resting | Step::Preparing(_)) {
            self.rest(self.soonest());
        }
    }

    /// When an exchange may begin here.
    fn soonest(&self) -> Instant {
        let now = now();
        self.begun.map_or(now, |begun| (begun + BETWEEN).max(now))
    }

    fn rest(&mut self, until: Instant) {
        self.step = Step::Resting;
        self.timer.as_mut().reset(until.into());
    }

    /// The answer that was due in the exchange: what is to be sent next, or how long the session lasts.
    fn on_answer(&mut self, frame: &Bytes) -> Result<Result<Bytes, Option<Duration>>, Failure> {
        let Step::Talking(talk) = &mut self.step else { return Ok(Err(None)) };
        let said = talk.on_answer(frame);
        self.correlation = talk.correlation().wrapping_add(1);
        match said {
            Ok(Say::Send(next)) => {
                self.timer.as_mut().reset((now() + self.bound).into());
                Ok(Ok(next))
            }
            Ok(Say::Done(session)) => {
                // A session without an end has no renewal, nor has one that only its client can renew.
                let (now, soonest) = (now(), now() + BETWEEN);
                let at = session.renewal(now).filter(|_| self.credentials.is_renewed());
                self.is_last = session.lasts.is_some_and(|lasts| now + lasts <= soonest + BETWEEN / 4);
                let at = at.map(|at| if self.is_last { at } else { at.max(soonest) });
                self.identity = session.identity;
                let at = if self.asked == self.message { at.unwrap_or_else(never) } else { self.soonest() };
                self.rest(at);
                Ok(Err(session.lasts))
            }
            Err(failure) => {
                note(&self.credentials, &failure);
                Err(failure)
            }
        }
    }
}

impl Open {
    /// Whether nothing new may go out.
    pub(super) fn is_blocked(&self) -> bool {
        self.renewing.as_ref().is_some_and(|renewing| renewing.is_blocking())
    }

    /// Looks after the session. Ready with the reason when the connection is to be given up. `read`: whether answers are read.
    pub(super) fn poll_renewal(&mut self, cx: &mut Context<'_>, read: bool) -> Poll<String> {
        let Some(renewing) = &mut self.renewing else { return Poll::Pending };
        loop {
            match &mut renewing.step {
                Step::Resting => {
                    ready!(renewing.timer.as_mut().poll(cx));
                    if !renewing.is_last && renewing.credentials.is_still(&renewing.identity) {
                        let credentials = renewing.credentials.clone();
                        renewing.asked = renewing.message;
                        renewing.step =
                            Step::Preparing(Box::pin(async move { credentials.exchange().await }));
                    } else {
                        renewing.step = Step::Leaving;
                    }
                }
                Step::Preparing(preparing) => match ready!(preparing.as_mut().poll(cx)) {
                    Ok(Some(exchange)) => {
                        let begun = Talk::begin(exchange, &renewing.client_id, renewing.correlation);
                        let Ok((talk, frame)) = begun else {
                            return Poll::Ready("it can't be renewed".to_owned());
                        };
                        if self.out.push_frame([frame]).is_err() {
                            return Poll::Ready(
                                "it can't be renewed: the credentials are too long".to_owned(),
                            );
                        }
                        renewing.begun = Some(now());
                        renewing.step = Step::Talking(talk);
                        renewing.timer.as_mut().reset((now() + renewing.bound).into());
                    }
                    Ok(None) => renewing.step = Step::Leaving,
                    Err(failure) => {
                        if let Some(untold) = CANNOT.may() {
                            tracing::warn!(%failure, untold, "a connection to a broker can't be renewed yet");
                        }
                        renewing.rest(now() + AGAIN);
                    }
                },
                Step::Talking(_) => {
                    ready!(renewing.timer.as_mut().poll(cx));
                    if self.due.is_empty() && read {
                        self.renewals.inc(SaslRenewal::Late);
                        return Poll::Ready("no answer when its session was to be renewed".to_owned());
                    }
                    // What is before it is not answered yet, and is watched over by itself.
                    renewing.timer.as_mut().reset((now() + renewing.bound).into());
                }
                Step::Leaving => {
                    if self.due.is_empty() && self.silent.is_empty() && self.out.is_empty() {
                        return Poll::Ready(
                            "its session ends, and another needs a fresh connection".to_owned(),
                        );
                    }
                    return Poll::Pending;
                }
            }
        }
    }

    /// The broker's answer in the exchange.
    pub(super) fn on_renewal(&mut self, frame: &Bytes) -> Renewed {
        let Some(renewing) = &mut self.renewing else { return Renewed::GoesOn };
        let message = renewing.asked;
        let next = match renewing.on_answer(frame) {
            Ok(next) => next,
            Err(failure) => {
                self.renewals.inc(SaslRenewal::Refused);
                return Renewed::Failed(failure, message);
            }
        };
        match next {
            Ok(next) => {
                // No longer than what has gone before it.
                let _ = self.out.push_frame([next]);
                Renewed::GoesOn
            }
            Err(lasts) => {
                self.renewals.inc(SaslRenewal::Ok);
                Renewed::Done(Taken { lasts, message })
            }
        }
    }
}
