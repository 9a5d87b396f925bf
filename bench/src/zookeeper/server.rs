//! A server that answers as fast as it can: one thread for all connections, answers that were made beforehand, and nothing
//! that is kept. A real one would need many times the proxy's CPU time and hide it.

use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use testbed::{Error, Result};

use super::frames::{Answers, connect_response};

const LISTENER: u64 = u64::MAX;
/// Bytes for one read.
const ROOM: usize = 256 * 1024;
/// What a server says of itself. Evenkeel asks for it.
const SRVR: &str = "Zookeeper version: 3.9.5-benchmark, built on 2024-01-01 00:00 UTC\nLatency min/avg/max: 0/0.0/0\nReceived: 1\n\
    Sent: 1\nConnections: 1\nOutstanding: 0\nZxid: 0x1\nMode: standalone\nNode count: 5\n";

/// A client of it.
struct Client {
    stream: TcpStream,
    /// The part of a frame that has arrived.
    rest: Vec<u8>,
    is_greeted: bool,
}

/// Serves until it is killed.
pub(crate) fn serve(listen: SocketAddr) -> Result<()> {
    let listener = TcpListener::bind(listen).map_err(Error::io("listening"))?;
    let wrong = |error: rustix::io::Errno| Error::io("polling")(error.into());
    let poll = epoll::create(CreateFlags::CLOEXEC).map_err(wrong)?;
    epoll::add(&poll, &listener, EventData::new_u64(LISTENER), EventFlags::IN).map_err(wrong)?;
    let (mut clients, mut next) = (HashMap::new(), 1u64);
    let (mut answers, mut room, mut out) = (Answers::new(), vec![0; ROOM], Vec::new());
    let mut events = Vec::with_capacity(256);
    loop {
        match epoll::wait(&poll, spare_capacity(&mut events), None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(wrong(error)),
        }
        for event in events.drain(..) {
            let data = event.data;
            let token = data.u64();
            if token == LISTENER {
                let (stream, _) = listener.accept().map_err(Error::io("accepting"))?;
                stream.set_nodelay(true).map_err(Error::io("setting nodelay"))?;
                epoll::add(&poll, &stream, EventData::new_u64(next), EventFlags::IN).map_err(wrong)?;
                clients.insert(next, Client { stream, rest: Vec::new(), is_greeted: false });
                next += 1;
                continue;
            }
            out.clear();
            // What the client has not taken yet is waited for: no load leaves more than fits a socket.
            let stays = clients
                .get_mut(&token)
                .is_some_and(|client| client.turn(token, &mut room, &mut answers, &mut out).is_some());
            if !stays {
                clients.remove(&token);
            }
        }
    }
}

impl Client {
    /// Answers what has come; nothing at its end.
    fn turn(&mut self, number: u64, room: &mut [u8], answers: &mut Answers, out: &mut Vec<u8>) -> Option<()> {
        let count = self.stream.read(room).ok().filter(|count| *count > 0)?;
        let read = room.get(..count)?;
        let whole = std::mem::take(&mut self.rest);
        let joined;
        let mut bytes = if whole.is_empty() {
            read
        } else {
            joined = [&whole, read].concat();
            &joined
        };
        if !self.is_greeted && bytes.starts_with(b"srvr") {
            let _ = self.stream.write_all(SRVR.as_bytes());
            return None;
        }
        while let Some((length, behind)) = bytes.split_first_chunk::<4>() {
            let Some((frame, next)) = behind.split_at_checked(u32::from_be_bytes(*length) as usize) else {
                break;
            };
            if self.is_greeted {
                out.extend_from_slice(answers.to(frame)?);
            } else {
                out.extend_from_slice(connect_response(i64::try_from(number).ok()?).bytes());
                self.is_greeted = true;
            }
            bytes = next;
        }
        self.rest = bytes.to_vec();
        self.stream.write_all(out).ok()
    }
}
