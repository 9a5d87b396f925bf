//! A raw client: it sends what it is told, pipelined, and insists on answers in the order of the requests.

use bytes::{Bytes, BytesMut};
use evenkeel::zookeeper::wire::{ConnectRequest, ConnectResponse, EventType, WatchEvent, Writer};
use evenkeel::zookeeper::wire::{reply_body, reply_header};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// No condition of these tests takes longer, even on a loaded machine.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// The time-out that clients ask for whose lease is of no interest: its server is given up after 5 s of silence.
pub const LONG: i32 = 30_000;

pub struct Client {
    pub stream: TcpStream,
    buffer: BytesMut,
    next: i32,
    /// Requests whose answers must come in this order.
    due: VecDeque<i32>,
    /// Those whose answers may come early: pings (−2), authentications.
    early: Vec<i32>,
    pub request: ConnectRequest,
    pub session: i64,
    pub password: Bytes,
    pub timeout: i32,
    /// The highest zxid of any answer.
    pub zxid: i64,
    /// Events that came, and answers to pings and authentications.
    pub events: Vec<(EventType, String)>,
    pub pongs: usize,
    pub authenticated: Vec<(i32, i32)>,
    /// What came with the last of them.
    pub token: Bytes,
    /// The last event's frame.
    pub told: Option<Bytes>,
}

/// An answer in its order.
#[derive(Debug)]
pub struct Answer {
    pub xid: i32,
    pub zxid: i64,
    pub err: i32,
    pub body: Bytes,
}

/// What a client opens with.
pub fn hello(timeout: i32, read_only: Option<bool>) -> ConnectRequest {
    let password = Bytes::from_static(&[0; 16]);
    ConnectRequest { protocol: 0, last_zxid: 0, timeout, session: 0, password, read_only }
}

impl Client {
    pub async fn connect(addr: SocketAddr) -> Self {
        let stream = tokio::time::timeout(PATIENCE, TcpStream::connect(addr)).await.unwrap().unwrap();
        stream.set_nodelay(true).unwrap();
        Self {
            stream,
            buffer: BytesMut::new(),
            next: 0,
            due: VecDeque::new(),
            early: Vec::new(),
            request: hello(LONG, Some(false)),
            session: 0,
            password: Bytes::new(),
            timeout: 0,
            zxid: 0,
            events: Vec::new(),
            pongs: 0,
            authenticated: Vec::new(),
            token: Bytes::new(),
            told: None,
        }
    }

    /// Sends the `ConnectRequest`; the answer as it came, or nothing if the connection ends.
    pub async fn greet(&mut self, request: ConnectRequest) -> Option<Bytes> {
        self.stream.write_all(&request.encode()).await.unwrap();
        self.request = request;
        let frame = self.frame().await?;
        let response = ConnectResponse::decode(&frame).unwrap();
        (self.session, self.timeout) = (response.session, response.timeout);
        self.password = response.password;
        Some(frame)
    }

    /// A client with a new session.
    pub async fn open(addr: SocketAddr, timeout: i32, read_only: Option<bool>) -> Self {
        let mut client = Self::connect(addr).await;
        client.greet(hello(timeout, read_only)).await.expect("a session");
        assert!(client.timeout > 0);
        client
    }

    /// What it would open with after a disconnect.
    pub fn again(&self) -> ConnectRequest {
        ConnectRequest {
            last_zxid: self.zxid,
            session: self.session,
            password: self.password.clone(),
            ..self.request.clone()
        }
    }

    pub async fn write(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    pub async fn send(&mut self, code: i32, payload: &[u8]) -> i32 {
        self.next += 1;
        self.send_as(self.next, code, payload).await;
        self.next
    }

    pub async fn send_as(&mut self, xid: i32, code: i32, payload: &[u8]) {
        match code {
            11 => self.early.push(-2),
            100 | 102 => self.early.push(xid),
            _ => self.due.push_back(xid),
        }
        self.write(&Writer::frame().i32(xid).i32(code).raw(payload).finish()).await;
    }

    /// The answer to one more ping is due.
    pub fn expects_pong(&mut self) {
        self.early.push(-2);
    }

    pub async fn ping(&mut self) {
        self.send_as(-2, 11, &[]).await;
    }

    /// The next frame; nothing at the end of the connection.
    async fn frame(&mut self) -> Option<Bytes> {
        tokio::time::timeout(PATIENCE, self.read_frame()).await.expect("nothing comes")
    }

    async fn read_frame(&mut self) -> Option<Bytes> {
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

    /// Takes a frame: an event, an early answer, or the answer that is due.
    fn take(&mut self, frame: Bytes) -> Option<Answer> {
        let header = reply_header(&frame).unwrap();
        if header.xid == -1 && self.due.front() != Some(&-1) {
            let event = WatchEvent::decode(&frame).unwrap();
            self.events.push((event.kind, event.path.lossy().into_owned()));
            self.told = Some(frame);
            return None;
        }
        if let Some(at) = self.early.iter().position(|xid| *xid == header.xid) {
            self.early.remove(at);
            if header.xid == -2 {
                self.pongs += 1;
            } else {
                self.authenticated.push((header.xid, header.err));
                self.token = Bytes::copy_from_slice(reply_body(&frame));
            }
            return None;
        }
        let expected = self.due.pop_front().expect("an answer that nobody asked for");
        assert_eq!(header.xid, expected, "answers are in the order of the requests");
        self.zxid = self.zxid.max(header.zxid);
        let body = frame.slice(frame.len() - reply_body(&frame).len()..);
        Some(Answer { xid: header.xid, zxid: header.zxid, err: header.err, body })
    }

    /// The next answer in order.
    pub async fn answer(&mut self) -> Answer {
        loop {
            let frame = self.frame().await.expect("the connection was closed instead of an answer");
            if let Some(answer) = self.take(frame) {
                return answer;
            }
        }
    }

    pub async fn ask(&mut self, code: i32, payload: &[u8]) -> Answer {
        self.send(code, payload).await;
        self.answer().await
    }

    /// Asks, and insists on success.
    pub async fn did(&mut self, code: i32, payload: &[u8]) -> Answer {
        let answer = self.ask(code, payload).await;
        assert_eq!(answer.err, 0, "{answer:?}");
        answer
    }

    /// Takes frames that nothing waits for in order, until the condition holds.
    pub async fn until(&mut self, what: &str, condition: impl Fn(&Self) -> bool) {
        while !condition(self) {
            let frame = tokio::time::timeout(PATIENCE, self.read_frame()).await;
            let frame = frame.unwrap_or_else(|_| panic!("never {what}: {:?}", self.events));
            let frame = frame.unwrap_or_else(|| panic!("closed, and never {what}: {:?}", self.events));
            assert!(self.take(frame).is_none(), "an answer too early, before {what}");
        }
    }

    /// A ping and its answer.
    pub async fn pong(&mut self) {
        let before = self.pongs;
        self.ping().await;
        self.until("the ping's answer", |client| client.pongs > before).await;
    }

    /// Whether nothing comes for so long. A proof only that something is held now: keep it short.
    pub async fn is_quiet_for(&mut self, time: Duration) -> bool {
        match tokio::time::timeout(time, self.read_frame()).await {
            Err(_) => true,
            Ok(None) => false,
            Ok(Some(frame)) => {
                let answer = self.take(frame);
                assert!(answer.is_none(), "an answer: {answer:?}");
                false
            }
        }
    }

    /// Waits for the end of the connection; no answer may come before it.
    pub async fn closed(&mut self) {
        while let Some(frame) = self.frame().await {
            let answer = self.take(frame);
            assert!(answer.is_none(), "an answer instead of the end: {answer:?}");
        }
    }

    /// All bytes until the end.
    pub async fn rest(&mut self) -> Vec<u8> {
        let mut all = self.buffer.split().to_vec();
        let end = tokio::time::timeout(PATIENCE, self.stream.read_to_end(&mut all)).await;
        let _ = end.expect("the connection stays open");
        all
    }
}
