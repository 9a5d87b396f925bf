//! The load generator: one connection, a fixed number of requests, every answer checked for its correlation id.
//!
//! It speaks with the process that measures over its standard streams: `ready` when it has warmed up, then it waits for
//! a line, then `done` with what went over the wire.

use crate::frames;
use crate::reader::Reader;
use crate::workload::Workload;
use std::io::{BufRead, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::time::Instant;
use testbed::crypt::{Crypt, Settings, client};
use testbed::{Error, Result};

/// What a load came to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Done {
    /// Bytes in both directions.
    pub bytes: u64,
    /// Requests, each with its answer.
    pub requests: u64,
    /// Microseconds on the wall.
    pub micros: u64,
}

impl Done {
    pub(crate) fn parse(line: &str) -> Option<Self> {
        let mut numbers = line.strip_prefix("done ")?.split_whitespace().map(str::parse);
        let mut next = || numbers.next()?.ok();
        Some(Self { bytes: next()?, requests: next()?, micros: next()? })
    }
}

/// Puts the load on `target`, encrypted if there is an authority to trust.
pub(crate) fn load(target: SocketAddr, workload: Workload, requests: u64, ca: Option<&Path>) -> Result<()> {
    let settings = ca.map(|ca| trusting(ca, true)).transpose()?;
    let stream = &mut Crypt::connect(target, settings.as_ref())?;
    let mut client = Client { frame: frames::request(workload)?, reader: Reader::new(), workload, next: 0 };
    // A warm-up: connections upstream, buffers, windows and branch predictors are then as they stay.
    client.send(stream, (requests / 20).max(client.workload.burst() * 4))?;
    let start = started()?;
    let bytes = client.send(stream, requests)?;
    say(&format!("done {bytes} {requests} {}", start.elapsed().as_micros()))
}

fn trusting(ca: &Path, resumes: bool) -> Result<Settings> {
    let authority = std::fs::read_to_string(ca).map_err(Error::io("reading the authority's certificate"))?;
    client(&authority, resumes)
}

/// Connects so often, asks once on each connection and closes it.
pub(crate) fn connections(target: SocketAddr, count: u64, ca: Option<&Path>, full: bool) -> Result<()> {
    let settings = ca.map(|ca| trusting(ca, !full)).transpose()?;
    let once = || -> Result<()> {
        let mut stream = Crypt::connect(target, settings.as_ref())?;
        let workload = Workload::Opaque;
        let mut client =
            Client { frame: frames::request(workload)?, reader: Reader::new(), workload, next: 0 };
        client.send(&mut stream, 1).map(drop)
    };
    (0..count / 10).try_for_each(|_| once())?;
    let start = started()?;
    (0..count).try_for_each(|_| once())?;
    say(&format!("done 0 {count} {}", start.elapsed().as_micros()))
}

/// Says that the warm-up is over, and waits for the start.
fn started() -> Result<Instant> {
    say("ready")?;
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line).map_err(Error::io("waiting for the start"))?;
    Ok(Instant::now())
}

fn say(line: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}").and_then(|()| out.flush()).map_err(Error::io("reporting"))
}

struct Client {
    frame: frames::Frame,
    reader: Reader,
    workload: Workload,
    next: i32,
}

impl Client {
    /// Sends so many requests and reads their answers. Answers the bytes of both.
    fn send(&mut self, stream: &mut Crypt, requests: u64) -> Result<u64> {
        let (burst, in_flight) = (self.workload.burst(), self.workload.in_flight());
        let (mut sent, mut answered, mut bytes) = (0, 0, 0u64);
        let mut expected = self.next;
        let mut out = Vec::new();
        while answered < requests {
            while sent < requests && sent - answered + burst <= in_flight {
                let now = burst.min(requests - sent);
                out.clear();
                for _ in 0..now {
                    out.extend_from_slice(self.frame.with_id(self.next));
                    self.next = self.next.wrapping_add(1);
                }
                stream.write_all(&out).map_err(Error::io("sending"))?;
                sent += now;
            }
            let Some(seen) = self.reader.next(stream, |_| false)? else {
                return Err(Error::program("load", "the connection was closed"));
            };
            let id = seen.bytes.first_chunk::<4>().map(|id| i32::from_be_bytes(*id));
            if id != Some(expected) {
                return Err(Error::program("load", format!("an answer to {id:?}, expected {expected}")));
            }
            expected = expected.wrapping_add(1);
            bytes += (seen.wire_len + self.frame.len()) as u64;
            answered += 1;
        }
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_read_as_it_is_written() {
        let done = Done::parse("done 12 3 45").unwrap();
        assert_eq!((done.bytes, done.requests, done.micros), (12, 3, 45));
        assert!(Done::parse("ready").is_none());
        assert!(Done::parse("done 1 2").is_none());
    }
}
