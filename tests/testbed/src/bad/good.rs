//! Good connections beside bad ones.

use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::kinds::{framed, kafka, zookeeper};
use super::{CLOSE, Speaks};
use crate::crypt::{Crypt, Settings};
use crate::{Error, Result};

/// A good connection, which notices everything: each answer must be its own, in time, and no error.
#[derive(Debug)]
pub struct Good {
    stream: Crypt,
    speaks: Speaks,
    next: i32,
}

impl Good {
    /// Connects, encrypted if there is something to encrypt with; a session of `ZooKeeper` lasts for 30 s without a word.
    ///
    /// # Errors
    /// It isn't served.
    pub fn connect(at: SocketAddr, speaks: Speaks, settings: Option<&Settings>) -> Result<Self> {
        let stream = Crypt::connect(at, settings)?;
        stream.tcp().set_read_timeout(Some(CLOSE)).map_err(Error::io("setting a time-out"))?;
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
