//! A small authoritative name server: A records on a loopback port, changed while it runs. Imports only the error.
//!
//! It answers what it knows and nothing else: an unknown name doesn't exist, a known name has no other type than A. The
//! time to live is the same for all answers, so that a test decides how long an old answer may be believed. What is too long for a
//! datagram is cut off there and answered whole over TCP (RFC 1035, section 4.2; RFC 7766).

use std::collections::HashMap;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::{Error, Result};

const TYPE_A: u16 = 1;
const CLASS_IN: u16 = 1;
/// The longest datagram without EDNS.
const DATAGRAM: usize = 512;
/// In the flags: there is more.
const TRUNCATED: u8 = 0x02;
/// The name server looks this often whether it shall end.
const TURN: Duration = Duration::from_millis(100);

/// A running name server. Dropping it ends it.
#[derive(Debug)]
pub struct DnsServer {
    addr: SocketAddr,
    zone: Zone,
    silent: Arc<AtomicBool>,
    end: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

type Zone = Arc<Mutex<HashMap<String, Vec<Ipv4Addr>>>>;

impl DnsServer {
    /// Starts one that knows no names yet; `ttl` is in seconds.
    pub fn start(ttl: u32) -> Result<Self> {
        let (socket, listener) = bind()?;
        socket.set_read_timeout(Some(TURN)).map_err(Error::io("setting up a name server"))?;
        let addr = socket.local_addr().map_err(Error::io("asking for a port"))?;
        let zone = Zone::default();
        let (silent, end): (Arc<AtomicBool>, Arc<AtomicBool>) = Default::default();
        let (shared, mute, over) = (Arc::clone(&zone), Arc::clone(&silent), Arc::clone(&end));
        let datagrams = std::thread::spawn(move || {
            let mut query = [0u8; DATAGRAM];
            while !over.load(Ordering::Acquire) {
                let Ok((length, peer)) = socket.recv_from(&mut query) else { continue };
                if mute.load(Ordering::Acquire) {
                    continue;
                }
                let zone = shared.lock().unwrap_or_else(PoisonError::into_inner);
                if let Some(reply) = query.get(..length).and_then(|query| answer(query, &zone, ttl)) {
                    // A querier that is gone asks again or doesn't care.
                    let _ = socket.send_to(&short(reply), peer);
                }
            }
        });
        let (shared, mute, over) = (Arc::clone(&zone), Arc::clone(&silent), Arc::clone(&end));
        let streams = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if over.load(Ordering::Acquire) {
                    return;
                }
                let Ok(stream) = stream else { continue };
                if !mute.load(Ordering::Acquire) {
                    // One that says nothing, or goes away, has had its chance.
                    let _ = talk(stream, &shared, ttl);
                }
            }
        });
        Ok(Self { addr, zone, silent, end, threads: vec![datagrams, streams] })
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Silent, it reads questions and answers none, as a name server that hangs; `false` wakes it.
    pub fn set_silent(&self, silent: bool) {
        self.silent.store(silent, Ordering::Release);
    }

    /// Gives a name this address, and takes away what it had.
    pub fn set(&self, name: &str, ip: Ipv4Addr) {
        self.set_all(name, &[ip]);
    }

    /// Gives a name these addresses, in this order, and takes away what it had.
    pub fn set_all(&self, name: &str, ips: &[Ipv4Addr]) {
        let mut zone = self.zone.lock().unwrap_or_else(PoisonError::into_inner);
        zone.insert(name.to_ascii_lowercase(), ips.to_vec());
    }

    /// Takes a name away: it doesn't exist any more.
    pub fn remove(&self, name: &str) {
        self.zone.lock().unwrap_or_else(PoisonError::into_inner).remove(&name.to_ascii_lowercase());
    }
}

impl Drop for DnsServer {
    fn drop(&mut self) {
        self.end.store(true, Ordering::Release);
        // So that it looks whether it shall end.
        let _ = TcpStream::connect(self.addr);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

/// The same port for both.
fn bind() -> Result<(UdpSocket, TcpListener)> {
    let mut tries = 0;
    loop {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).map_err(Error::io("binding a name server"))?;
        let addr = socket.local_addr().map_err(Error::io("asking for a port"))?;
        match TcpListener::bind(addr) {
            Ok(listener) => return Ok((socket, listener)),
            // Somebody else's.
            Err(_) if tries < 20 => tries += 1,
            Err(error) => return Err(Error::io("binding a name server")(error)),
        }
    }
}

/// Queries on one connection, each with its length before it, until it ends.
fn talk(mut stream: TcpStream, zone: &Zone, ttl: u32) -> std::io::Result<()> {
    stream.set_read_timeout(Some(TURN))?;
    loop {
        let mut length = [0; 2];
        stream.read_exact(&mut length)?;
        let mut query = vec![0; usize::from(u16::from_be_bytes(length))];
        stream.read_exact(&mut query)?;
        let zone = zone.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(reply) = answer(&query, &zone, ttl) else { return Ok(()) };
        let Ok(length) = u16::try_from(reply.len()) else { return Ok(()) };
        stream.write_all(&[&length.to_be_bytes()[..], &reply].concat())?;
    }
}

/// A reply as a datagram: one that is too long has nothing but its question, and says so.
fn short(mut reply: Vec<u8>) -> Vec<u8> {
    if reply.len() > DATAGRAM {
        // Header, labels up to the empty one, type and class.
        let labels = reply.iter().skip(12).position(|byte| *byte == 0).unwrap_or(0);
        reply.truncate(12 + labels + 5);
        if let Some(flags) = reply.get_mut(2) {
            *flags |= TRUNCATED;
        }
        if let Some(counts) = reply.get_mut(6..12) {
            counts.fill(0);
        }
    }
    reply
}

/// The reply to a query (RFC 1035, section 4); `None` for what is no query with one question.
fn answer(query: &[u8], zone: &HashMap<String, Vec<Ipv4Addr>>, ttl: u32) -> Option<Vec<u8>> {
    let word = |at: usize| Some(u16::from_be_bytes([*query.get(at)?, *query.get(at + 1)?]));
    let flags = word(2)?;
    if flags & 0x8000 != 0 || word(4)? != 1 {
        return None;
    }
    let (mut name, mut at) = (String::new(), 12);
    loop {
        let length = usize::from(*query.get(at)?);
        at += 1;
        if length == 0 {
            break;
        }
        if length > 63 {
            return None;
        }
        if !name.is_empty() {
            name.push('.');
        }
        name.push_str(std::str::from_utf8(query.get(at..at + length)?).ok()?);
        at += length;
    }
    let (kind, class) = (word(at)?, word(at + 2)?);
    let question = query.get(12..at + 4)?;
    let known = zone.get(&name.to_ascii_lowercase());
    let found = known.filter(|_| kind == TYPE_A && class == CLASS_IN).map_or(&[][..], Vec::as_slice);
    // An authoritative response with the query's recursion bit; name error (3) for what isn't in the zone.
    let status = 0x8400 | (flags & 0x0100) | if known.is_none() { 3 } else { 0 };
    let mut reply = Vec::with_capacity(question.len() + 12 + 16 * found.len());
    reply.extend(query.get(..2)?);
    for value in [status, 1, u16::try_from(found.len()).ok()?, 0, 0] {
        reply.extend(value.to_be_bytes());
    }
    reply.extend(question);
    for ip in found {
        reply.extend([0xc0, 12]); // the question's name
        reply.extend(TYPE_A.to_be_bytes());
        reply.extend(CLASS_IN.to_be_bytes());
        reply.extend(ttl.to_be_bytes());
        reply.extend([0, 4]);
        reply.extend(ip.octets());
    }
    Some(reply)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(name: &str, kind: u16) -> Vec<u8> {
        let mut query = vec![0xab, 0xcd, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        for label in name.split('.') {
            query.push(u8::try_from(label.len()).unwrap());
            query.extend(label.as_bytes());
        }
        query.push(0);
        query.extend(kind.to_be_bytes());
        query.extend(CLASS_IN.to_be_bytes());
        query
    }

    fn asked(server: &DnsServer, name: &str, kind: u16) -> Vec<u8> {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        socket.send_to(&query(name, kind), server.addr()).unwrap();
        let mut reply = [0u8; 512];
        let length = socket.recv(&mut reply).unwrap();
        reply[..length].to_vec()
    }

    #[test]
    fn answers_what_it_was_last_told() {
        let server = DnsServer::start(2).unwrap();
        for ip in [Ipv4Addr::new(127, 0, 9, 1), Ipv4Addr::new(127, 0, 9, 201)] {
            server.set("kafka-1.test", ip);
            let reply = asked(&server, "KAFKA-1.test", TYPE_A);
            assert_eq!(reply[..8], [0xab, 0xcd, 0x85, 0, 0, 1, 0, 1]);
            assert_eq!(reply[reply.len() - 10..reply.len() - 4], [0, 0, 0, 2, 0, 4]);
            assert_eq!(reply[reply.len() - 4..], ip.octets());
        }
    }

    #[test]
    fn many_addresses_are_told_whole_over_tcp() {
        let server = DnsServer::start(2).unwrap();
        let all: Vec<Ipv4Addr> = (0..=255).map(|k| Ipv4Addr::new(127, 0, 9, k)).collect();
        server.set_all("all.test", &all[..3]);
        assert_eq!(asked(&server, "all.test", TYPE_A)[2..8], [0x85, 0, 0, 1, 0, 3]);
        server.set_all("all.test", &all);
        let cut = asked(&server, "all.test", TYPE_A);
        assert_eq!((&cut[2..8], cut.len()), (&[0x87, 0, 0, 1, 0, 0][..], query("all.test", TYPE_A).len()));
        let mut stream = TcpStream::connect(server.addr()).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let query = query("all.test", TYPE_A);
        stream.write_all(&[&[0, u8::try_from(query.len()).unwrap()], &query[..]].concat()).unwrap();
        let mut length = [0; 2];
        stream.read_exact(&mut length).unwrap();
        let mut reply = vec![0; usize::from(u16::from_be_bytes(length))];
        stream.read_exact(&mut reply).unwrap();
        assert_eq!(reply[2..8], [0x85, 0, 0, 1, 1, 0]);
        assert_eq!(reply[reply.len() - 4..], [127, 0, 9, 255]);
    }

    #[test]
    fn another_type_is_empty_and_another_name_does_not_exist() {
        let server = DnsServer::start(2).unwrap();
        server.set("kafka-1.test", Ipv4Addr::LOCALHOST);
        assert_eq!(asked(&server, "kafka-1.test", 28)[3..8], [0, 0, 1, 0, 0]);
        assert_eq!(asked(&server, "kafka-2.test", TYPE_A)[3..8], [3, 0, 1, 0, 0]);
    }

    #[test]
    fn what_is_no_query_gets_no_reply() {
        let zone = HashMap::new();
        let good = query("a.b", TYPE_A);
        assert!(answer(&good, &zone, 1).is_some());
        for length in 0..good.len() {
            assert!(answer(&good[..length], &zone, 1).is_none(), "{length}");
        }
        let mut reply = good.clone();
        reply[2] |= 0x80;
        assert!(answer(&reply, &zone, 1).is_none());
        let mut long = good;
        long[12] = 0xc0;
        assert!(answer(&long, &zone, 1).is_none());
    }
}
