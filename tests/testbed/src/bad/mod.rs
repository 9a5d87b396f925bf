//! Bad connections: what scanners, other protocols, broken clients and bad people do to a listener, in plain text and behind a TLS
//! handshake. Imports only bare and encrypted connections and the error.

mod good;
mod kinds;

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use socket2::SockRef;

use crate::crypt::{Crypt, Settings};
use crate::{Error, Result};

pub use good::Good;
pub use kinds::kinds;

/// How long a connection may stay open that should be closed, once its own bound is over.
const CLOSE: Duration = Duration::from_secs(30);

/// What a connection does, one after the other.
#[derive(Clone, Debug)]
enum Step {
    /// Sends these bytes; that the other side closes meanwhile is no failure.
    Send(Vec<u8>),
    /// Sends these bytes again and again, one at a time, until the other side closes.
    Drip(Vec<u8>),
    /// Sends these bytes so often, and reads nothing.
    Pile(Vec<u8>, usize),
    /// Says that there will be no more.
    End,
    /// Waits until the other side closes.
    Closed,
    /// Resets the connection.
    Reset,
    /// Closes it.
    Leave,
}

/// A protocol that a listener speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speaks {
    /// Kafka.
    Kafka,
    /// `ZooKeeper`.
    ZooKeeper,
}

/// A kind of bad connections.
pub struct Kind {
    /// What it is.
    pub name: &'static str,
    /// It takes as long as the listener has patience.
    pub slow: bool,
    steps: fn(&mut Noise) -> Vec<Step>,
}

impl std::fmt::Debug for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

impl Kind {
    /// One of them, from its connect to its end; behind a TLS handshake if there is something to encrypt with.
    ///
    /// # Errors
    /// It can't connect, or isn't closed when it should be.
    pub fn play(&self, at: SocketAddr, settings: Option<&Settings>, noise: &mut Noise) -> Result<()> {
        let mut stream = Crypt::connect(at, settings)?;
        for step in (self.steps)(noise) {
            match step {
                Step::Send(bytes) => drop(stream.write_all(&bytes)),
                Step::Drip(bytes) => drip(&mut stream, &bytes, self.name)?,
                Step::Pile(bytes, times) => pile(&mut stream, &bytes, times)?,
                Step::End => stream.end(),
                Step::Closed => closed(&mut stream, self.name)?,
                Step::Reset => {
                    // Its time to linger is none: what is under way is dropped, and the other side gets a RST.
                    let none = SockRef::from(stream.tcp()).set_linger(Some(Duration::ZERO));
                    none.map_err(Error::io("setting a socket's option"))?;
                    return Ok(());
                }
                Step::Leave => return Ok(()),
            }
        }
        Ok(())
    }
}

fn late(what: &str) -> Error {
    Error::Timeout { what: format!("a bad connection to be closed: {what}"), seconds: CLOSE.as_secs() }
}

fn closed(stream: &mut Crypt, what: &str) -> Result<()> {
    stream.tcp().set_read_timeout(Some(CLOSE)).map_err(Error::io("setting a time-out"))?;
    let mut part = [0; 4096];
    loop {
        match stream.read(&mut part) {
            Ok(0) => return Ok(()),
            Ok(_) => {}
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                return Err(late(what));
            }
            Err(_) => return Ok(()), // reset: closed as well
        }
    }
}

fn drip(stream: &mut Crypt, bytes: &[u8], what: &str) -> Result<()> {
    let until = Instant::now() + CLOSE;
    stream
        .tcp()
        .set_read_timeout(Some(Duration::from_millis(50)))
        .map_err(Error::io("setting a time-out"))?;
    for byte in bytes.iter().cycle() {
        if stream.write_all(&[*byte]).is_err() || matches!(stream.read(&mut [0; 64]), Ok(0)) {
            return Ok(());
        }
        if Instant::now() > until {
            return Err(late(what));
        }
    }
    Ok(())
}

/// As much of it as the other side takes without being read.
fn pile(stream: &mut Crypt, bytes: &[u8], times: usize) -> Result<()> {
    stream
        .tcp()
        .set_write_timeout(Some(Duration::from_millis(100)))
        .map_err(Error::io("setting a time-out"))?;
    for _ in 0..times {
        if stream.write_all(bytes).is_err() {
            break;
        }
    }
    Ok(())
}

/// The same noise in each run (xorshift64).
#[derive(Debug)]
pub struct Noise(u64);

impl Noise {
    /// From a seed that isn't 0.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed | 1)
    }

    /// So many bytes.
    pub fn bytes(&mut self, length: usize) -> Vec<u8> {
        let next = || {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            self.0.to_be_bytes()[0]
        };
        std::iter::repeat_with(next).take(length).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypt;
    use crate::keys::Authority;
    use std::net::TcpListener;

    #[test]
    fn each_ends_when_the_other_side_closes() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = listener.local_addr().unwrap();
        std::thread::spawn(move || listener.incoming().for_each(drop));
        let mut noise = Noise::new(7);
        for kind in kinds(Speaks::Kafka).chain(kinds(Speaks::ZooKeeper)) {
            kind.play(at, None, &mut noise).unwrap();
        }
    }

    #[test]
    fn behind_a_handshake_each_ends_as_well() {
        let folder = std::env::temp_dir().join(format!("evenkeel-bad-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let authority = Authority::new("bad").unwrap();
        let store = folder.join("store.pem");
        authority.issue("localhost", &[[127, 0, 0, 1].into()]).unwrap().store(&store).unwrap();
        let (server, client) =
            (crypt::server(&store).unwrap(), crypt::client(authority.pem(), true).unwrap());
        std::fs::remove_dir_all(&folder).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut crypt = Crypt::accept(stream.unwrap(), Some(server.clone())).unwrap();
                // The handshake is over with the first byte, or the end; then it is closed.
                std::thread::spawn(move || {
                    crypt.tcp().set_read_timeout(Some(Duration::from_millis(200))).unwrap();
                    crypt.read(&mut [0; 1])
                });
            }
        });
        let mut noise = Noise::new(7);
        for kind in kinds(Speaks::Kafka).chain(kinds(Speaks::ZooKeeper)) {
            kind.play(at, Some(&client), &mut noise).unwrap();
        }
    }
}
