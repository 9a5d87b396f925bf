//! A connection of Evenkeel's own to a broker: one question at a time, each with a bound.
//!
//! Used for looks at metadata, for probes, and for the handshake of every connection that then carries a client.

use crate::kafka::wire::{self, Struct, WireError};
use crate::net::{FrameError, FrameReader, Stream, WriteQueue};
use bytes::Bytes;
use std::future::poll_fn;
use std::io;
use std::task::Poll;
use std::time::Duration;

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
    #[error("the answer is no Kafka frame ({0}): is this a Kafka broker's plaintext port?")]
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
}

impl Channel {
    /// Over a connected stream; no answer may be larger than `max_frame` bytes.
    pub fn new(stream: Stream, max_frame: usize, client_id: &str) -> Self {
        let (reader, out) = (FrameReader::new(max_frame), WriteQueue::new(usize::MAX));
        Self { stream, reader, out, correlation: 0, client_id: client_id.to_owned() }
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

    /// The stream, for a client's session to go on with. All questions have been answered.
    pub fn into_stream(self) -> Stream {
        self.stream
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
