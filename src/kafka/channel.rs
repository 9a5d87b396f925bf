//! A connection of Evenkeel's own to a broker: one question at a time, each with a bound.
//!
//! Used for looks at metadata, for probes, and for the handshake of every connection that then carries a client.

use crate::kafka::authenticate::{
    Credentials, Failure, Identity, Say, Session, Talk, asked, handshake, note,
};
use crate::kafka::wire::{self, Struct, WireError};
use crate::net::{FrameError, FrameReader, Stream, WriteQueue};
use crate::time::now;
use bytes::Bytes;
use std::future::poll_fn;
use std::io;
use std::task::Poll;
use std::time::{Duration, Instant};

/// Why a question of our own got no answer.
#[derive(Debug, thiserror::Error)]
pub enum ChannelError {
    /// The connection broke.
    #[error("the connection broke: {0}")]
    Io(#[from] io::Error),
    /// The broker closed the connection instead of answering.
    #[error("the broker closed the connection without an answer")]
    Closed,
    /// The answer was no Kafka frame.
    #[error("the answer is no Kafka frame ({0}): is this a Kafka broker's port for clients?")]
    Frame(FrameError),
    /// The answer didn't parse.
    #[error("the answer can't be read: {0}")]
    Wire(#[from] WireError),
    /// The answer belongs to another question.
    #[error("the answer carries correlation id {0}, expected {1}")]
    Correlation(i32, i32),
    /// No answer in time.
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    /// The broker doesn't take the credentials, or there are none.
    #[error(transparent)]
    Sasl(#[from] Failure),
}

/// A question: API key, version and body.
pub struct Question<'a> {
    /// The API key.
    pub key: i16,
    /// Its version.
    pub version: i16,
    /// The body.
    pub body: &'a Struct,
}

/// One connection of our own.
pub struct Channel {
    stream: Stream,
    reader: FrameReader,
    out: WriteQueue,
    correlation: i32,
    client_id: String,
    /// What it was opened with, and what the broker said of the session.
    session: Option<(Credentials, Session)>,
    /// When that is to be renewed.
    renew_at: Option<Instant>,
}

/// What is left of a channel.
pub(in crate::kafka) struct Parts {
    /// The stream, nothing pending on it.
    pub stream: Stream,
    /// Whose session it is, if the broker has asked.
    pub identity: Option<Identity>,
    /// When that is to be renewed.
    pub renew_at: Option<Instant>,
}

impl Channel {
    /// Over a connected stream; no answer may be larger than `max_frame` bytes.
    pub fn new(stream: Stream, max_frame: usize, client_id: &str) -> Self {
        let (reader, out) = (FrameReader::new(max_frame), WriteQueue::new(usize::MAX));
        let client_id = client_id.to_owned();
        Self { stream, reader, out, correlation: 0, client_id, session: None, renew_at: None }
    }

    /// Proves who we are, if there is anything to prove it with. Must come before any question; it is done again by itself, before a
    /// question, when the session is about to end.
    ///
    /// # Errors
    /// See [`ChannelError`]; after an error the channel is of no more use.
    pub async fn authenticate(
        &mut self,
        credentials: &Credentials,
        bound: Duration,
    ) -> Result<(), ChannelError> {
        let Some(exchange) = credentials.exchange().await? else { return Ok(()) };
        let (mut talk, mut frame) = Talk::begin(exchange, &self.client_id, self.correlation)?;
        let session = async {
            loop {
                let answer = self.round(frame, talk.correlation()).await?;
                match talk.on_answer(&answer)? {
                    Say::Send(next) => frame = next,
                    Say::Done(session) => return Ok(session),
                }
            }
        };
        let session = tokio::time::timeout(bound, session).await.unwrap_or(Err(ChannelError::Timeout(bound)));
        self.correlation = talk.correlation().wrapping_add(1);
        if let Err(ChannelError::Sasl(failure)) = &session {
            note(credentials, failure);
        }
        let session = session?;
        self.renew_at = session.renewal(now());
        self.session = Some((credentials.clone(), session));
        Ok(())
    }

    /// Why a listener is silent to those who show no credentials: none if it doesn't ask for any.
    pub(in crate::kafka) async fn ask_whether_asked(&mut self, bound: Duration) -> Option<Failure> {
        let frame = handshake("PLAIN", self.correlation, &self.client_id).ok()?;
        let answer = tokio::time::timeout(bound, self.round(frame, self.correlation)).await.ok()?.ok()?;
        asked(&answer)
    }

    /// One frame out, and the answer to it.
    async fn round(&mut self, frame: Bytes, expected: i32) -> Result<Bytes, ChannelError> {
        self.out.push_frame([frame]).map_err(|error| io::Error::other(error.to_string()))?;
        let answer = self.next_frame().await?;
        let got = answer.first_chunk::<4>().map(|bytes| i32::from_be_bytes(*bytes));
        if got != Some(expected) {
            return Err(ChannelError::Correlation(got.unwrap_or(-1), expected));
        }
        Ok(answer)
    }

    /// Asks one question.
    ///
    /// # Errors
    /// See [`ChannelError`]; after an error the channel is of no more use.
    pub async fn ask(&mut self, question: Question<'_>, bound: Duration) -> Result<Struct, ChannelError> {
        let mut answers = self.ask_all(std::slice::from_ref(&question), bound).await?;
        answers.pop().ok_or(ChannelError::Closed)
    }

    /// Asks several questions at once (one round trip) and gives the answers in order.
    ///
    /// # Errors
    /// As [`ask`](Self::ask).
    pub async fn ask_all(
        &mut self,
        questions: &[Question<'_>],
        bound: Duration,
    ) -> Result<Vec<Struct>, ChannelError> {
        if self.renew_at.is_some_and(|at| at <= now())
            && let Some((credentials, _)) = self.session.clone()
        {
            self.authenticate(&credentials, bound).await?;
        }
        let first = self.correlation;
        for question in questions {
            let id = self.correlation;
            let frame =
                wire::encode_request(question.key, question.version, id, &self.client_id, question.body)?;
            self.correlation = self.correlation.wrapping_add(1);
            self.out.push_frame([frame]).map_err(|error| io::Error::other(error.to_string()))?;
        }
        let all = async {
            let mut answers = Vec::with_capacity(questions.len());
            let mut expected = first;
            for question in questions {
                let frame = self.next_frame().await?;
                let (correlation, body) = read_answer(question, &frame)?;
                if correlation != expected {
                    return Err(ChannelError::Correlation(correlation, expected));
                }
                expected = expected.wrapping_add(1);
                answers.push(body);
            }
            Ok(answers)
        };
        tokio::time::timeout(bound, all).await.unwrap_or(Err(ChannelError::Timeout(bound)))
    }

    async fn next_frame(&mut self) -> Result<Bytes, ChannelError> {
        let Self { stream, reader, out, .. } = self;
        let frame = poll_fn(|cx| {
            if let Poll::Ready(Err(error)) = out.poll_write(cx, stream) {
                return Poll::Ready(Err(FrameError::Io(error)));
            }
            reader.poll_frame(cx, stream)
        });
        match frame.await {
            Ok(Some(frame)) => Ok(frame),
            Ok(None) => Err(ChannelError::Closed),
            Err(FrameError::Io(error)) => Err(ChannelError::Io(error)),
            Err(error) => Err(ChannelError::Frame(error)),
        }
    }

    /// Until the broker ends the connection. All questions have been answered.
    pub(in crate::kafka) async fn ended(&mut self) {
        let _ = self.next_frame().await;
    }

    /// What a client's session goes on with. All questions have been answered.
    pub(in crate::kafka) fn into_parts(self) -> Parts {
        let identity = self.session.map(|(_, session)| session.identity);
        Parts { stream: self.stream, identity, renew_at: self.renew_at }
    }

    /// Whose session it is that the broker has opened.
    pub(in crate::kafka) fn identity(&self) -> Option<&Identity> {
        self.session.as_ref().map(|(_, session)| &session.identity)
    }

    /// How long the session lasts that the broker has opened.
    pub(in crate::kafka) fn session_lasts(&self) -> Option<Duration> {
        self.session.as_ref()?.1.lasts
    }
}

/// A member that doesn't know the asked version of `ApiVersions` answers in v0 form (KIP-511).
fn read_answer(question: &Question<'_>, frame: &Bytes) -> Result<(i32, Struct), ChannelError> {
    match wire::decode_response(question.key, question.version, frame) {
        Ok(answer) => Ok(answer),
        Err(_) if question.key == 18 => Ok(wire::decode_response(18, 0, frame)?),
        Err(error) => Err(error.into()),
    }
}
