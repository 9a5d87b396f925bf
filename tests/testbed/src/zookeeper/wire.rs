//! The bytes that [`super::Direct`] and a [`super::Crowd`] speak: jute's integers, strings and buffers in frames. Knows the few requests that the
//! test bed makes. Source: zookeeper.jute of Apache ZooKeeper.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use crate::{Error, Result};

/// The largest answer that is read; a list of children may be long.
const FRAME_MOST: usize = 64 << 20;

/// A request's body, or a part of it.
#[derive(Debug, Default)]
pub(super) struct Out(Vec<u8>);

impl Out {
    pub(super) fn int(mut self, value: i32) -> Self {
        self.0.extend(value.to_be_bytes());
        self
    }

    pub(super) fn long(mut self, value: i64) -> Self {
        self.0.extend(value.to_be_bytes());
        self
    }

    pub(super) fn flag(mut self, value: bool) -> Self {
        self.0.push(u8::from(value));
        self
    }

    pub(super) fn buffer(mut self, bytes: &[u8]) -> Self {
        self = self.int(i32::try_from(bytes.len()).unwrap_or(i32::MAX));
        self.0.extend(bytes);
        self
    }

    pub(super) fn text(self, text: &str) -> Self {
        self.buffer(text.as_bytes())
    }

    /// Its bytes.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Another part behind this one.
    pub(super) fn then(mut self, part: &Self) -> Self {
        self.0.extend(&part.0);
        self
    }

    /// With its length in front.
    pub(super) fn framed(&self) -> Vec<u8> {
        let mut frame = u32::try_from(self.0.len()).unwrap_or(u32::MAX).to_be_bytes().to_vec();
        frame.extend(&self.0);
        frame
    }

    /// The access list that lets everyone do everything.
    pub(super) fn open_acl(self) -> Self {
        self.int(1).int(31).text("world").text("anyone")
    }
}

/// An answer that is read from its beginning.
#[derive(Debug)]
pub(super) struct In {
    bytes: Vec<u8>,
    at: usize,
}

impl In {
    pub(super) fn new(bytes: Vec<u8>) -> Self {
        Self { bytes, at: 0 }
    }

    fn take(&mut self, count: usize) -> Result<&[u8]> {
        let end = self.at.checked_add(count);
        let part = end.and_then(|end| self.bytes.get(self.at..end));
        let part = part.ok_or_else(|| Error::program("zookeeper", "an answer that is cut short"))?;
        self.at += count;
        Ok(part)
    }

    pub(super) fn int(&mut self) -> Result<i32> {
        let bytes = self.take(4)?;
        Ok(bytes.iter().fold(0i32, |value, &byte| (value << 8) | i32::from(byte)))
    }

    pub(super) fn long(&mut self) -> Result<i64> {
        let bytes = self.take(8)?;
        Ok(bytes.iter().fold(0i64, |value, &byte| (value << 8) | i64::from(byte)))
    }

    pub(super) fn buffer(&mut self) -> Result<Vec<u8>> {
        // -1 stands for none.
        let count = usize::try_from(self.int()?).unwrap_or(0);
        self.take(count).map(<[u8]>::to_vec)
    }

    pub(super) fn text(&mut self) -> Result<String> {
        Ok(String::from_utf8_lossy(&self.buffer()?).into_owned())
    }

    pub(super) fn flag(&mut self) -> Result<bool> {
        Ok(self.take(1)?.first().is_some_and(|&byte| byte != 0))
    }

    /// Bytes that came from elsewhere than a connection.
    pub(super) fn of(bytes: Vec<u8>) -> Self {
        Self { bytes, at: 0 }
    }
}

/// A connection that speaks in frames.
#[derive(Debug)]
pub(super) struct Frames {
    stream: TcpStream,
    /// The beginning of a frame whose end hasn't come.
    begun: Vec<u8>,
}

impl Frames {
    /// Connects; neither this nor any later step takes longer than `bound`.
    pub(super) fn connect(addr: SocketAddr, bound: Duration) -> std::io::Result<Self> {
        let stream = TcpStream::connect_timeout(&addr, bound)?;
        stream.set_read_timeout(Some(bound))?;
        stream.set_write_timeout(Some(bound))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, begun: Vec::new() })
    }

    pub(super) fn send(&mut self, body: &Out) -> std::io::Result<()> {
        self.send_bytes(&body.framed())
    }

    /// Bytes that need not be a frame.
    pub(super) fn send_bytes(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// From now on no read takes longer than `bound`.
    pub(super) fn bound(&self, bound: Duration) -> std::io::Result<()> {
        self.stream.set_read_timeout(Some(bound))
    }

    pub(super) fn receive(&mut self) -> std::io::Result<In> {
        let mut length = [0; 4];
        self.stream.read_exact(&mut length)?;
        let mut bytes = vec![0; size(length)?];
        self.stream.read_exact(&mut bytes)?;
        Ok(In { bytes, at: 0 })
    }

    /// The next frame, or nothing if it isn't whole by then: it is gone on with at the next call. Not to be mixed with
    /// [`Frames::receive`].
    pub(super) fn next(&mut self, until: Instant) -> std::io::Result<Option<In>> {
        loop {
            let missing = match self.begun.first_chunk::<4>() {
                None => 4 - self.begun.len(),
                Some(&length) => match (4 + size(length)?).saturating_sub(self.begun.len()) {
                    0 => {
                        let bytes = self.begun.split_off(4);
                        self.begun.clear();
                        return Ok(Some(In { bytes, at: 0 }));
                    }
                    missing => missing,
                },
            };
            // Zero would be no time-out at all.
            let left = until.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
            self.stream.set_read_timeout(Some(left))?;
            let mut part = vec![0; missing.min(1 << 16)];
            match self.stream.read(&mut part) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(count) => self.begun.extend(part.into_iter().take(count)),
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    if Instant::now() >= until {
                        return Ok(None);
                    }
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// The length of a frame that is worth reading.
fn size(length: [u8; 4]) -> std::io::Result<usize> {
    let length = usize::try_from(u32::from_be_bytes(length)).map_err(std::io::Error::other)?;
    if length > FRAME_MOST {
        return Err(std::io::Error::other(format!("an answer of {length} bytes")));
    }
    Ok(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let body = Out::default().int(-7).long(-(1 << 40)).flag(true).text("a/b").buffer(&[]).0;
        let mut read = In { bytes: body, at: 0 };
        assert_eq!((read.int().unwrap(), read.long().unwrap()), (-7, -(1 << 40)));
        assert_eq!(read.take(1).unwrap(), [1]);
        assert_eq!((read.text().unwrap().as_str(), read.buffer().unwrap().len()), ("a/b", 0));
        assert!(read.int().is_err());
    }
}
