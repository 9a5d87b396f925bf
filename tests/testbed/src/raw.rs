//! Bare connections: a client's first request by hand, and bytes that are no request at all. Imports only the error.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use crate::{Error, Result};

/// `ApiVersions` v0, correlation id 7, client id "x": the first request that clients send.
const API_VERSIONS: [u8; 15] = [0, 0, 0, 11, 0, 18, 0, 0, 0, 0, 0, 7, 0, 1, b'x'];
/// More than anything takes to accept a connection.
const CONNECT: Duration = Duration::from_secs(30);

/// A connection whose first request is on its way.
#[derive(Debug)]
pub struct Hello(TcpStream);

impl Hello {
    /// Connects and asks for the versions.
    pub fn say(addr: SocketAddr) -> Result<Self> {
        let mut stream = connect(addr)?;
        stream.write_all(&API_VERSIONS).map_err(Error::io("saying hello"))?;
        Ok(Self(stream))
    }

    /// Whether nothing comes and the connection stays, for as long as this looks.
    pub fn is_held(&mut self, look: Duration) -> Result<bool> {
        self.0.set_read_timeout(Some(look)).map_err(Error::io("setting a time-out"))?;
        match self.0.peek(&mut [0; 1]) {
            Ok(_) => Ok(false),
            Err(error) => Ok(matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)),
        }
    }

    /// Waits for the answer, which must be one to this request and without an error; gives its number of APIs.
    pub fn answer(&mut self, bound: Duration) -> Result<i32> {
        self.0.set_read_timeout(Some(bound)).map_err(Error::io("setting a time-out"))?;
        let mut head = [0; 14];
        self.0.read_exact(&mut head).map_err(Error::io("waiting for the answer to hello"))?;
        let [_, _, _, _, 0, 0, 0, 7, 0, 0, a, b, c, d] = head else {
            return Err(Error::program("evenkeel", format!("an answer to hello that is none: {head:?}")));
        };
        Ok(i32::from_be_bytes([a, b, c, d]))
    }
}

/// What a broker says that it speaks: API key, lowest and highest version.
pub fn offered(addr: SocketAddr, bound: Duration) -> Result<Vec<(i16, i16, i16)>> {
    let mut hello = Hello::say(addr)?;
    let count = hello.answer(bound)?;
    let mut rows = Vec::new();
    for _ in 0..count {
        let mut row = [0; 6];
        hello.0.read_exact(&mut row).map_err(Error::io("reading the versions"))?;
        let [key, low, high] = [[row[0], row[1]], [row[2], row[3]], [row[4], row[5]]].map(i16::from_be_bytes);
        rows.push((key, low, high));
    }
    Ok(rows)
}

/// Sends `bytes` and, if told, that there will be no more; waits until the other side closes. Gives what it took.
pub fn throw(addr: SocketAddr, bytes: &[u8], and_end: bool, bound: Duration) -> Result<Duration> {
    let start = Instant::now();
    let mut stream = connect(addr)?;
    stream.set_read_timeout(Some(bound)).map_err(Error::io("setting a time-out"))?;
    // It may close before it has taken everything: that is what this is about.
    let _ = stream.write_all(bytes);
    if and_end {
        let _ = stream.shutdown(Shutdown::Write);
    }
    let mut buffer = [0; 4096];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return Ok(start.elapsed()),
            Ok(_) => {}
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                return Err(Error::Timeout {
                    what: format!("{addr} to close a connection"),
                    seconds: bound.as_secs(),
                });
            }
            Err(_) => return Ok(start.elapsed()), // reset: closed as well
        }
    }
}

/// Connects.
pub fn connect(addr: SocketAddr) -> Result<TcpStream> {
    TcpStream::connect_timeout(&addr, CONNECT).map_err(Error::io(format!("connecting to {addr}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn held_answered_and_closed_are_told_apart() {
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = server.local_addr().unwrap();
        let mut hello = Hello::say(addr).unwrap();
        let (mut peer, _) = server.accept().unwrap();
        assert!(hello.is_held(Duration::from_millis(50)).unwrap());
        peer.write_all(&[0, 0, 0, 10, 0, 0, 0, 7, 0, 0, 0, 0, 0, 60]).unwrap();
        assert!(!hello.is_held(Duration::from_secs(10)).unwrap());
        assert_eq!(hello.answer(Duration::from_secs(10)).unwrap(), 60);
        drop(peer);
        assert!(!hello.is_held(Duration::from_secs(10)).unwrap(), "closed isn't held");
        assert!(hello.answer(Duration::from_secs(10)).is_err());
    }

    #[test]
    fn a_peer_that_does_not_close_is_told() {
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = server.local_addr().unwrap();
        assert!(throw(addr, b"x", false, Duration::from_millis(50)).is_err());
        drop(server.accept().unwrap());
        let closer = std::thread::spawn(move || drop(server.accept()));
        assert!(throw(addr, b"x", true, Duration::from_secs(10)).is_ok());
        closer.join().unwrap();
    }
}
