//! A raw client: it sends what it is told, pipelined, and insists on answers in order with the right correlation ids.

use bytes::{BufMut, Bytes, BytesMut};
use evenkeel::kafka::wire::{self, Struct};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// No condition of these tests takes longer, even on a loaded machine.
pub const PATIENCE: Duration = Duration::from_secs(30);

pub struct Client {
    pub stream: TcpStream,
    correlation: i32,
    due: VecDeque<(i16, i16, i32)>,
    /// What it calls itself.
    pub id: &'static str,
    /// A part of an answer that a bounded wait has read.
    buffer: BytesMut,
}

impl Client {
    pub async fn connect(addr: SocketAddr) -> Self {
        let stream = tokio::time::timeout(PATIENCE, TcpStream::connect(addr)).await.unwrap().unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream, correlation: 100, due: VecDeque::new(), id: "test", buffer: BytesMut::new() }
    }

    /// Sends a request; gives the frame as it went.
    pub async fn send(&mut self, key: i16, version: i16, body: &Struct) -> Bytes {
        let silent = key == 0 && body.i16("acks") == 0;
        self.correlation += 1;
        let frame = wire::encode_request(key, version, self.correlation, self.id, body).unwrap();
        if !silent {
            self.due.push_back((key, version, self.correlation));
        }
        let mut bytes = BytesMut::new();
        bytes.put_i32(frame.len() as i32);
        bytes.put_slice(&frame);
        self.stream.write_all(&bytes).await.unwrap();
        frame
    }

    /// The next answer's frame, which must belong to the oldest request without one.
    pub async fn receive_frame(&mut self) -> Bytes {
        let frame = tokio::time::timeout(PATIENCE, self.frame()).await.expect("no answer");
        let frame = frame.expect("the connection was closed instead of an answer");
        let (.., expected) = *self.due.front().expect("an answer that nobody asked for");
        assert_eq!(frame[..4], expected.to_be_bytes(), "answers are in the order of the requests");
        frame
    }

    async fn frame(&mut self) -> Option<Bytes> {
        loop {
            if let Some(length) = self.buffer.first_chunk::<4>() {
                let length = usize::try_from(i32::from_be_bytes(*length)).expect("a length");
                if self.buffer.len() >= 4 + length {
                    return Some(self.buffer.split_to(4 + length).split_off(4).freeze());
                }
            }
            // Cancel-safe: what was read is in the buffer.
            match self.stream.read_buf(&mut self.buffer).await {
                Ok(0) | Err(_) => return None,
                Ok(_) => {}
            }
        }
    }

    /// Takes the oldest request off the list: its answer is `frame`, which must be readable.
    pub fn taken(&mut self, frame: &Bytes) -> Struct {
        let (key, version, _) = self.due.pop_front().unwrap();
        wire::decode_response(key, version, frame).unwrap().1
    }

    /// The next answer.
    pub async fn receive(&mut self) -> Struct {
        let frame = self.receive_frame().await;
        self.taken(&frame)
    }

    pub async fn ask(&mut self, key: i16, version: i16, body: &Struct) -> Struct {
        self.send(key, version, body).await;
        self.receive().await
    }

    /// Whether nothing comes for so long. A proof only that something is held now: keep it short.
    pub async fn is_quiet_for(&mut self, time: Duration) -> bool {
        tokio::time::timeout(time, self.stream.readable()).await.is_err()
    }

    /// Waits for the end of the connection; nothing may come before it.
    pub async fn closed(&mut self) {
        let frame = tokio::time::timeout(PATIENCE, self.frame()).await.expect("the connection stays open");
        assert!(frame.is_none(), "an answer instead of the end: {frame:?}");
    }
}
