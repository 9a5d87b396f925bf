//! The load generator: a fixed number of requests, every answer checked for its xid, and each timed where one is under way at
//! a time.
//!
//! It speaks with the process that measures over its standard streams: `ready` when it has warmed up, then it waits for a
//! line, then `done` with what it measured.

use std::io::{BufRead, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Instant;
use testbed::{Error, Result};

use super::frames::{self, Ask, Frame};
use super::workload::Workload;
use crate::reader::Reader;

/// What a load came to.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Done {
    /// Requests, each with its answer.
    pub requests: u64,
    /// Microseconds on the wall.
    pub micros: u64,
    /// Of the times from a request to its answer, in nanoseconds, the median; 0 where they are not measured.
    pub p50: u64,
    /// And what 99 % are within.
    pub p99: u64,
}

impl Done {
    pub(crate) fn parse(line: &str) -> Option<Self> {
        let mut numbers = line.strip_prefix("done ")?.split_whitespace().map(str::parse);
        let mut next = || numbers.next()?.ok();
        Some(Self { requests: next()?, micros: next()?, p50: next()?, p99: next()? })
    }
}

/// A connection with a session.
struct Client {
    stream: TcpStream,
    back: TcpStream,
}

impl Client {
    fn connect(target: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(target).map_err(Error::io("connecting"))?;
        stream.set_nodelay(true).map_err(Error::io("setting nodelay"))?;
        let back = stream.try_clone().map_err(Error::io("sharing a socket"))?;
        Ok(Self { stream, back })
    }

    fn send(&mut self, bytes: &[u8]) -> Result<()> {
        self.stream.write_all(bytes).map_err(Error::io("sending"))
    }

    /// The next answer, whose xid must be this.
    fn receive(&mut self, reader: &mut Reader, expected: i32) -> Result<()> {
        let closed = || Error::program("load", "the connection was closed");
        let seen = reader.next(&mut self.back, |_| false)?.ok_or_else(closed)?;
        if frames::xid(seen.bytes) != Some(expected) {
            return Err(Error::program("load", format!("no answer to {expected}: {:?}", seen.bytes)));
        }
        Ok(())
    }
}

struct Load {
    clients: Vec<Client>,
    /// Nothing stays in it between two connections: each is read to the end of its answer.
    reader: Reader,
    frame: Frame,
    workload: Workload,
    next: i32,
    times: Vec<u64>,
}

/// Puts the load on `target`.
pub(crate) fn load(target: SocketAddr, workload: Workload, requests: u64) -> Result<()> {
    let mut reader = Reader::new();
    let clients = (0..workload.connections()).map(|_| {
        let mut client = Client::connect(target)?;
        client.send(frames::connect_request().bytes())?;
        // The protocol's version, which is 0.
        client.receive(&mut reader, 0)?;
        Ok(client)
    });
    let clients = clients.collect::<Result<Vec<_>>>()?;
    let frame = frames::request(workload.asks());
    let mut load = Load { clients, reader, frame, workload, next: 1, times: Vec::new() };
    // A warm-up: connections upstream, buffers, windows and branch predictors are then as they stay.
    load.send(requests / 20)?;
    load.times.clear();
    say("ready")?;
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line).map_err(Error::io("waiting for the start"))?;
    let start = Instant::now();
    let sent = load.send(requests)?;
    let micros = start.elapsed().as_micros();
    load.times.sort_unstable();
    let at = |share: usize| load.times.get(load.times.len() * share / 100).copied().unwrap_or(0);
    say(&format!("done {sent} {micros} {} {}", at(50), at(99)))
}

fn say(line: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}").and_then(|()| out.flush()).map_err(Error::io("reporting"))
}

impl Load {
    /// Sends at least so many requests, in whole bursts, and reads their answers. Answers how many it were.
    fn send(&mut self, requests: u64) -> Result<u64> {
        let (burst, is_ping) = (self.workload.burst(), self.workload.asks() == Ask::Ping);
        let (mut sent, mut out) = (0, Vec::new());
        while sent < requests {
            let first = self.next;
            out.clear();
            for _ in 0..burst {
                out.extend_from_slice(if is_ping {
                    self.frame.bytes()
                } else {
                    self.frame.with_xid(self.next)
                });
                // Never the xids that stand for something.
                self.next = self.next.checked_add(1).unwrap_or(1);
            }
            let start = Instant::now();
            for client in &mut self.clients {
                client.send(&out)?;
            }
            for client in &mut self.clients {
                for at in 0..burst {
                    let offset = i32::try_from(at).unwrap_or(0);
                    let expected = if is_ping { -2 } else { first.checked_add(offset).unwrap_or(1) };
                    client.receive(&mut self.reader, expected)?;
                    sent += 1;
                }
            }
            if self.workload.is_timed() {
                self.times.push(u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX));
            }
        }
        Ok(sent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_read_as_it_is_written() {
        let done = Done::parse("done 12 3 45 6").unwrap();
        assert_eq!((done.requests, done.micros, done.p50, done.p99), (12, 3, 45, 6));
        assert!(Done::parse("ready").is_none());
        assert!(Done::parse("done 1 2 3").is_none());
    }
}
