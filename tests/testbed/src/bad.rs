//! Bad connections: what scanners, other protocols, broken clients and bad people do to a listener. Imports only bare connections and the error.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use socket2::SockRef;

use crate::raw::connect;
use crate::{Error, Result};

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
    /// One of them, from its connect to its end.
    ///
    /// # Errors
    /// It can't connect, or isn't closed when it should be.
    pub fn play(&self, at: SocketAddr, noise: &mut Noise) -> Result<()> {
        let mut stream = connect(at)?;
        for step in (self.steps)(noise) {
            match step {
                Step::Send(bytes) => drop(stream.write_all(&bytes)),
                Step::Drip(bytes) => drip(&mut stream, &bytes, self.name)?,
                Step::Pile(bytes, times) => pile(&mut stream, &bytes, times)?,
                Step::End => drop(stream.shutdown(Shutdown::Write)),
                Step::Closed => closed(&mut stream, self.name)?,
                Step::Reset => {
                    // Its time to linger is none: what is under way is dropped, and the other side gets a RST.
                    let none = SockRef::from(&stream).set_linger(Some(Duration::ZERO));
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

fn closed(stream: &mut TcpStream, what: &str) -> Result<()> {
    stream.set_read_timeout(Some(CLOSE)).map_err(Error::io("setting a time-out"))?;
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

fn drip(stream: &mut TcpStream, bytes: &[u8], what: &str) -> Result<()> {
    let until = Instant::now() + CLOSE;
    stream.set_read_timeout(Some(Duration::from_millis(50))).map_err(Error::io("setting a time-out"))?;
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
fn pile(stream: &mut TcpStream, bytes: &[u8], times: usize) -> Result<()> {
    stream.set_write_timeout(Some(Duration::from_millis(100))).map_err(Error::io("setting a time-out"))?;
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

fn framed(frame: &[u8]) -> Vec<u8> {
    let length = i32::try_from(frame.len()).unwrap_or(i32::MAX);
    [&length.to_be_bytes()[..], frame].concat()
}

/// A request of Kafka: header v1 with the client id "x", then a body.
fn kafka(key: i16, version: i16, correlation: i32, body: &[u8]) -> Vec<u8> {
    framed(
        &[&key.to_be_bytes()[..], &version.to_be_bytes(), &correlation.to_be_bytes(), &[0, 1, b'x'], body]
            .concat(),
    )
}

fn versions(correlation: i32) -> Vec<u8> {
    kafka(18, 0, correlation, &[])
}

/// What a client of `ZooKeeper` opens with: protocol 0, nothing seen, 4 s, no session, a password of 16 bytes, not read-only.
fn hello() -> Vec<u8> {
    framed(&[&[0; 12][..], &4000i32.to_be_bytes(), &[0; 8], &16i32.to_be_bytes(), &[0; 17]].concat())
}

/// A request of `ZooKeeper`.
fn zookeeper(xid: i32, code: i32, body: &[u8]) -> Vec<u8> {
    framed(&[&xid.to_be_bytes()[..], &code.to_be_bytes(), body].concat())
}

/// A TLS handshake's first record, as long as such a one is.
fn tls(noise: &mut Noise) -> Vec<u8> {
    [&[0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3][..], &noise.bytes(506)].concat()
}

const BOTH: &[Kind] = &[
    Kind {
        name: "random bytes, then gone",
        slow: false,
        steps: |noise| vec![Step::Send(noise.bytes(1024)), Step::Leave],
    },
    Kind { name: "TLS", slow: false, steps: |noise| vec![Step::Send(tls(noise)), Step::Closed] },
    Kind {
        name: "HTTP",
        slow: false,
        steps: |_| {
            vec![Step::Send(b"GET / HTTP/1.1\r\nHost: a\r\nUser-Agent: b\r\n\r\n".to_vec()), Step::Closed]
        },
    },
    Kind {
        name: "a length of 2 GiB less one",
        slow: false,
        steps: |noise| {
            vec![Step::Send([&[0x7f, 0xff, 0xff, 0xff][..], &noise.bytes(64)].concat()), Step::Closed]
        },
    },
    Kind {
        name: "a negative length",
        slow: false,
        steps: |noise| {
            vec![Step::Send([&[0xff, 0xff, 0xff, 0xfe][..], &noise.bytes(64)].concat()), Step::Closed]
        },
    },
    Kind { name: "a length of nothing", slow: false, steps: |_| vec![Step::Send(vec![0; 4]), Step::Closed] },
    Kind {
        name: "half a length, then the end",
        slow: false,
        steps: |_| vec![Step::Send(vec![0, 0]), Step::End, Step::Closed],
    },
    Kind {
        name: "half a frame, then the end",
        slow: false,
        steps: |noise| {
            vec![Step::Send([&[0, 0, 1, 0][..], &noise.bytes(60)].concat()), Step::End, Step::Closed]
        },
    },
    Kind {
        name: "half a frame, then a reset",
        slow: false,
        steps: |noise| vec![Step::Send([&[0, 0, 1, 0][..], &noise.bytes(60)].concat()), Step::Reset],
    },
    Kind { name: "nothing, and gone", slow: false, steps: |_| vec![Step::Leave] },
    Kind { name: "nothing, and a reset", slow: false, steps: |_| vec![Step::Reset] },
    Kind { name: "nothing at all", slow: true, steps: |_| vec![Step::Closed] },
    Kind {
        name: "half a frame, then nothing",
        slow: true,
        steps: |noise| vec![Step::Send([&[0, 0, 1, 0][..], &noise.bytes(60)].concat()), Step::Closed],
    },
    Kind {
        name: "one byte at a time",
        slow: true,
        steps: |noise| vec![Step::Send(vec![0, 0, 0x40, 0]), Step::Drip(noise.bytes(16))],
    },
];

const OF_KAFKA: &[Kind] = &[
    Kind {
        name: "an API that there isn't",
        slow: false,
        steps: |_| vec![Step::Send(kafka(9999, 0, 1, &[])), Step::Closed],
    },
    Kind {
        name: "a version that there isn't",
        slow: false,
        steps: |_| vec![Step::Send(kafka(3, 999, 1, &[0; 16])), Step::Closed],
    },
    Kind {
        name: "tagged fields without an end",
        slow: false,
        // Metadata v9, whose header is flexible: so many tags that there is no room for them.
        steps: |_| {
            vec![Step::Send(kafka(3, 9, 1, &[0xff, 0xff, 0xff, 0xff, 0x0f, 0xff])), Step::End, Step::Closed]
        },
    },
    Kind {
        name: "a batch that is none",
        slow: false,
        // Produce v3: no transaction, acks 1, 1 s, one topic with one partition whose records are noise.
        steps: |noise| {
            let head = [
                &[0xff, 0xff, 0, 1][..],
                &1000i32.to_be_bytes(),
                &[0, 0, 0, 1, 0, 1, b't', 0, 0, 0, 1, 0, 0, 0, 0],
            ];
            let body = [head.concat(), framed(&noise.bytes(80))].concat();
            vec![Step::Send(kafka(0, 3, 1, &body)), Step::End, Step::Closed]
        },
    },
    Kind {
        name: "one number for many requests, and nothing read",
        slow: false,
        steps: |_| vec![Step::Pile(versions(7), 2000), Step::Reset],
    },
    Kind {
        name: "a good request, then noise",
        slow: false,
        steps: |noise| {
            let noise = [&[0xff, 0, 0, 0][..], &noise.bytes(200)].concat();
            vec![Step::Send(versions(1)), Step::Send(noise), Step::Closed]
        },
    },
];

const OF_ZOOKEEPER: &[Kind] = &[
    Kind {
        name: "a word that there isn't",
        slow: false,
        steps: |_| vec![Step::Send(b"abcd".to_vec()), Step::End, Step::Closed],
    },
    Kind {
        name: "a password of a negative length",
        slow: false,
        steps: |_| {
            let frame =
                [&[0; 12][..], &4000i32.to_be_bytes(), &[0; 8], &(-77i32).to_be_bytes(), &[0; 17]].concat();
            vec![Step::Send(framed(&frame)), Step::Closed]
        },
    },
    Kind {
        name: "an operation that there isn't",
        slow: false,
        steps: |_| vec![Step::Send([hello(), zookeeper(1, 4711, &[])].concat()), Step::End, Step::Closed],
    },
    Kind {
        name: "a path of a negative length",
        slow: false,
        steps: |_| {
            vec![
                Step::Send([hello(), zookeeper(1, 4, &(-9i32).to_be_bytes())].concat()),
                Step::End,
                Step::Closed,
            ]
        },
    },
    Kind {
        name: "many pings, and nothing read",
        slow: false,
        steps: |_| vec![Step::Send(hello()), Step::Pile(zookeeper(-2, 11, &[]), 2000), Step::Reset],
    },
    Kind {
        name: "a session, then noise",
        slow: false,
        steps: |noise| {
            let noise = [&[0xff, 0, 0, 0][..], &noise.bytes(200)].concat();
            vec![Step::Send([hello(), noise].concat()), Step::Closed]
        },
    },
];

/// A good connection, which notices everything: each answer must be its own, in time, and no error.
#[derive(Debug)]
pub struct Good {
    stream: TcpStream,
    speaks: Speaks,
    next: i32,
}

impl Good {
    /// Connects; a session of `ZooKeeper` lasts for 30 s without a word.
    ///
    /// # Errors
    /// It isn't served.
    pub fn connect(at: SocketAddr, speaks: Speaks) -> Result<Self> {
        let stream = connect(at)?;
        stream.set_read_timeout(Some(CLOSE)).map_err(Error::io("setting a time-out"))?;
        stream.set_nodelay(true).map_err(Error::io("setting a socket's option"))?;
        let mut good = Self { stream, speaks, next: 1 };
        if speaks == Speaks::ZooKeeper {
            let wish =
                [&[0; 12][..], &30_000i32.to_be_bytes(), &[0; 8], &16i32.to_be_bytes(), &[0; 17]].concat();
            let answer = good.answer(&framed(&wish))?;
            if answer.get(4..8).is_none_or(|timeout| timeout == [0; 4]) {
                return Err(Error::program("evenkeel", "gave no session"));
            }
        }
        Ok(good)
    }

    /// Asks a member something; how long the answer took.
    ///
    /// # Errors
    /// There is no answer, or it is another one.
    pub fn ask(&mut self) -> Result<Duration> {
        self.next += 1;
        let start = Instant::now();
        let (request, zero) = match self.speaks {
            // Metadata v1 of no topics.
            Speaks::Kafka => (kafka(3, 1, self.next, &[0; 4]), 0..0),
            // Whether the root exists, which isn't watched.
            Speaks::ZooKeeper => (zookeeper(self.next, 3, &[0, 0, 0, 1, b'/', 0]), 12..16),
        };
        let answer = self.answer(&request)?;
        let own = answer.get(..4) == Some(&self.next.to_be_bytes());
        if !own || answer.len() < 16 || answer.get(zero).is_none_or(|code| code.iter().any(|byte| *byte != 0))
        {
            return Err(Error::program("evenkeel", format!("answered something else: {answer:?}")));
        }
        Ok(start.elapsed())
    }

    fn answer(&mut self, request: &[u8]) -> Result<Vec<u8>> {
        let mut exchange = || {
            self.stream.write_all(request)?;
            let mut length = [0; 4];
            self.stream.read_exact(&mut length)?;
            let mut answer = vec![0; usize::try_from(i32::from_be_bytes(length)).unwrap_or(0).min(1 << 20)];
            self.stream.read_exact(&mut answer)?;
            Ok(answer)
        };
        exchange().map_err(Error::io("asking on a good connection"))
    }
}

/// The twenty kinds for a listener.
pub fn kinds(speaks: Speaks) -> impl Iterator<Item = &'static Kind> {
    let own = match speaks {
        Speaks::Kafka => OF_KAFKA,
        Speaks::ZooKeeper => OF_ZOOKEEPER,
    };
    BOTH.iter().chain(own)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn there_are_twenty_of_each() {
        for speaks in [Speaks::Kafka, Speaks::ZooKeeper] {
            assert_eq!(kinds(speaks).count(), 20, "{speaks:?}");
        }
    }

    #[test]
    fn each_ends_when_the_other_side_closes() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = listener.local_addr().unwrap();
        std::thread::spawn(move || listener.incoming().for_each(drop));
        let mut noise = Noise::new(7);
        for kind in kinds(Speaks::Kafka).chain(OF_ZOOKEEPER) {
            kind.play(at, &mut noise).unwrap();
        }
    }
}
