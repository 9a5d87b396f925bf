//! The floor: what copying between two sockets costs when nothing else is done. One thread, one buffer of 64 KiB, level-
//! triggered epoll, so that an event costs a wait, a read and a write and nothing more.

use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use std::collections::HashMap;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;

const BUFFER: usize = 64 * 1024;
const LISTENER: u64 = u64::MAX;

/// Two sockets that are copied to each other.
struct Pair {
    ends: [TcpStream; 2],
    /// What waits to be written to each.
    waiting: [Vec<u8>; 2],
}

/// Copies between each accepted connection and one to `upstream`, until it is killed.
pub(crate) fn serve(listen: SocketAddr, upstream: SocketAddr) -> io::Result<()> {
    let listener = TcpListener::bind(listen)?;
    let poll = epoll::create(CreateFlags::CLOEXEC)?;
    epoll::add(&poll, &listener, EventData::new_u64(LISTENER), EventFlags::IN)?;
    let mut pairs: HashMap<u64, Pair> = HashMap::new();
    let mut next = 0;
    let mut buffer = vec![0; BUFFER];
    let mut events = Vec::with_capacity(64);
    loop {
        match epoll::wait(&poll, spare_capacity(&mut events), None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        for event in events.drain(..) {
            let data = event.data;
            let token = data.u64();
            if token == LISTENER {
                let (client, _) = listener.accept()?;
                if let Ok(pair) = join(client, upstream, &poll, next) {
                    pairs.insert(next, pair);
                    next += 1;
                }
                continue;
            }
            let Some(pair) = pairs.get_mut(&(token / 2)) else { continue };
            let side = usize::from(token % 2 == 1);
            let flags = event.flags;
            if !pair.turn(&poll, token / 2, side, flags, &mut buffer).unwrap_or(false) {
                pairs.remove(&(token / 2));
            }
        }
    }
}

fn join(client: TcpStream, upstream: SocketAddr, poll: &OwnedFd, number: u64) -> io::Result<Pair> {
    let ends = [client, TcpStream::connect(upstream)?];
    for (side, end) in (0..).zip(&ends) {
        end.set_nodelay(true)?;
        end.set_nonblocking(true)?;
        epoll::add(poll, end, EventData::new_u64(number * 2 + side), EventFlags::IN)?;
    }
    Ok(Pair { ends, waiting: [Vec::new(), Vec::new()] })
}

impl Pair {
    /// One event of one side. Answers false when the pair is at its end.
    fn turn(
        &mut self,
        poll: &OwnedFd,
        number: u64,
        side: usize,
        flags: EventFlags,
        buffer: &mut [u8],
    ) -> io::Result<bool> {
        let [a, b] = &mut self.ends;
        let [for_a, for_b] = &mut self.waiting;
        let (here, there, own_rest, other_rest) =
            if side == 0 { (a, b, for_a, for_b) } else { (b, a, for_b, for_a) };
        let before = (own_rest.is_empty(), other_rest.is_empty());
        if flags.contains(EventFlags::OUT) && !own_rest.is_empty() {
            let n = write(here, own_rest)?;
            own_rest.drain(..n);
        }
        if other_rest.is_empty() && flags.intersects(EventFlags::IN | EventFlags::HUP | EventFlags::ERR) {
            let n = match here.read(buffer) {
                Ok(0) => return Ok(false),
                Ok(n) => n,
                Err(error) if error.kind() == ErrorKind::WouldBlock => 0,
                Err(error) => return Err(error),
            };
            let read = buffer.get(..n).unwrap_or_default();
            let written = write(there, read)?;
            other_rest.extend_from_slice(read.get(written..).unwrap_or_default());
        }
        let after = (own_rest.is_empty(), other_rest.is_empty());
        if before != after {
            let side = side as u64;
            let (own, other) =
                (EventData::new_u64(number * 2 + side), EventData::new_u64(number * 2 + 1 - side));
            epoll::modify(poll, &*here, own, interest(after.0, after.1))?;
            epoll::modify(poll, &*there, other, interest(after.1, after.0))?;
        }
        Ok(true)
    }
}

/// A socket is written to while something waits for it, and read while nothing waits for the other.
fn interest(nothing_for_it: bool, nothing_for_the_other: bool) -> EventFlags {
    let mut flags = EventFlags::empty();
    flags.set(EventFlags::OUT, !nothing_for_it);
    flags.set(EventFlags::IN, nothing_for_the_other);
    flags
}

fn write(to: &mut TcpStream, bytes: &[u8]) -> io::Result<usize> {
    if bytes.is_empty() {
        return Ok(0);
    }
    match to.write(bytes) {
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(0),
        other => other,
    }
}
