//! A client without any help: requests as the test writes them, answers as they come.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use bytes::Bytes;
use evenkeel::zookeeper::wire::{
    ConnectRequest, ConnectResponse, WatchEvent, build, reply_body, reply_header, xid,
};

const BOUND: Duration = Duration::from_secs(30);

pub struct Answer {
    pub xid: i32,
    pub err: i32,
    pub body: Bytes,
}

pub struct Plain {
    stream: TcpStream,
    pub session: i64,
    /// Paths of the events that came.
    pub events: Vec<String>,
}

impl Plain {
    pub fn connect(addr: SocketAddr) -> Self {
        let mut stream = TcpStream::connect(addr).unwrap();
        stream.set_read_timeout(Some(BOUND)).unwrap();
        stream.set_nodelay(true).unwrap();
        let hello = ConnectRequest {
            protocol: 0,
            last_zxid: 0,
            timeout: 10_000,
            session: 0,
            password: Bytes::from_static(&[0; 16]),
            read_only: Some(false),
        };
        stream.write_all(&hello.encode()).unwrap();
        let response = ConnectResponse::decode(&frame(&mut stream).unwrap()).unwrap();
        assert!(response.session != 0, "no session");
        Self { stream, session: response.session, events: Vec::new() }
    }

    pub fn send(&mut self, xid: i32, code: i32, payload: &[u8]) {
        self.stream.write_all(&build::again(xid, code, payload)).unwrap();
    }

    /// The next answer; nothing if the connection has ended.
    pub fn answer(&mut self) -> Option<Answer> {
        loop {
            let frame = frame(&mut self.stream)?;
            let header = reply_header(&frame).unwrap();
            if header.xid == xid::NOTIFICATION {
                self.events.push(WatchEvent::decode(&frame).unwrap().path.lossy().into_owned());
                continue;
            }
            let body = Bytes::copy_from_slice(reply_body(&frame));
            return Some(Answer { xid: header.xid, err: header.err, body });
        }
    }

    /// One request and its answer.
    pub fn ask(&mut self, code: i32, payload: &[u8]) -> Answer {
        self.send(7, code, payload);
        let answer = self.answer().expect("the connection ended");
        assert_eq!(answer.xid, 7, "an answer out of order");
        answer
    }
}

/// Without its length; nothing if the connection has ended. Silence fails the test.
fn frame(stream: &mut TcpStream) -> Option<Bytes> {
    let mut head = [0; 4];
    let read = stream.read_exact(&mut head);
    if let Err(error) = read {
        let silent = matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut);
        assert!(!silent, "no answer for {BOUND:?}");
        return None;
    }
    let mut frame = vec![0; usize::try_from(i32::from_be_bytes(head)).unwrap()];
    stream.read_exact(&mut frame).ok()?;
    Some(frame.into())
}
