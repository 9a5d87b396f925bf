//! A tap: listens at one address, passes all bytes on to another, and notes which requests of the Kafka protocol went
//! through. With it a real broker stands at the former address of another one, and it is seen what reaches it there.
//! Imports only the error.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::{Error, Result};

/// What has come through so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tapped {
    /// Connections that were passed on.
    pub connections: usize,
    /// Requests by API key.
    pub requests: BTreeMap<i16, usize>,
}

/// A running tap. Dropping it closes its listener; connections end with their peers.
#[derive(Debug)]
pub struct Tap {
    listen: SocketAddr,
    seen: Arc<Mutex<Tapped>>,
    end: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Tap {
    /// Listens at `listen` in front of `broker`.
    pub fn start(listen: SocketAddr, broker: SocketAddr) -> Result<Self> {
        let listener = TcpListener::bind(listen).map_err(Error::io(format!("binding {listen}")))?;
        let listen = listener.local_addr().map_err(Error::io("asking for a port"))?;
        let (seen, end): (Arc<Mutex<Tapped>>, _) = (Arc::default(), Arc::new(AtomicBool::new(false)));
        let (shared, over) = (Arc::clone(&seen), Arc::clone(&end));
        let thread = std::thread::spawn(move || {
            for client in listener.incoming() {
                if over.load(Ordering::Acquire) {
                    return;
                }
                let Ok(client) = client else { continue };
                // Nobody there: the client sees its connection end, as it would without the tap.
                let Ok(server) = TcpStream::connect_timeout(&broker, Duration::from_secs(5)) else {
                    continue;
                };
                shared.lock().unwrap_or_else(PoisonError::into_inner).connections += 1;
                if let (Ok(from), Ok(to)) = (server.try_clone(), client.try_clone()) {
                    std::thread::spawn(move || pass(from, to, |_| {}));
                    let (shared, mut requests) = (Arc::clone(&shared), Requests::default());
                    std::thread::spawn(move || {
                        pass(client, server, |bytes| {
                            let mut seen = shared.lock().unwrap_or_else(PoisonError::into_inner);
                            requests.take(bytes, &mut |key| *seen.requests.entry(key).or_default() += 1);
                        });
                    });
                }
            }
        });
        Ok(Self { listen, seen, end, thread: Some(thread) })
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.listen
    }

    /// What has come through so far.
    pub fn seen(&self) -> Tapped {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        self.end.store(true, Ordering::Release);
        // Wakes the accept.
        drop(TcpStream::connect_timeout(&self.listen, Duration::from_secs(5)));
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Passes bytes on until one side ends; each piece is shown before it goes on.
fn pass(mut from: TcpStream, mut to: TcpStream, mut show: impl FnMut(&[u8])) {
    let mut buffer = [0u8; 16384];
    while let Ok(length) = from.read(&mut buffer) {
        let Some(bytes) = buffer.get(..length).filter(|bytes| !bytes.is_empty()) else { break };
        show(bytes);
        if to.write_all(bytes).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
    let _ = from.shutdown(Shutdown::Both);
}

/// Finds the API keys in a stream of requests: four bytes of length, two of API key, the rest.
#[derive(Default)]
struct Requests {
    head: Vec<u8>,
    skip: u64,
}

impl Requests {
    fn take(&mut self, mut bytes: &[u8], note: &mut dyn FnMut(i16)) {
        while let Some((&byte, rest)) = bytes.split_first() {
            if self.skip > 0 {
                let step = usize::try_from(self.skip).unwrap_or(usize::MAX).min(bytes.len());
                self.skip -= step as u64;
                bytes = bytes.get(step..).unwrap_or_default();
                continue;
            }
            bytes = rest;
            self.head.push(byte);
            if let [a, b, c, d, e, f] = *self.head.as_slice() {
                note(i16::from_be_bytes([e, f]));
                self.skip = u64::from(u32::from_be_bytes([a, b, c, d])).saturating_sub(2);
                self.head.clear();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_told_however_they_are_cut() {
        let mut stream = Vec::new();
        for (key, length) in [(18i16, 20usize), (3, 2), (0, 70_000), (32, 11)] {
            stream.extend(u32::try_from(length).unwrap().to_be_bytes());
            stream.extend(key.to_be_bytes());
            stream.extend(vec![0xff; length - 2]);
        }
        for cut in [1, 3, 7, 4096, stream.len()] {
            let (mut requests, mut keys) = (Requests::default(), Vec::new());
            for piece in stream.chunks(cut) {
                requests.take(piece, &mut |key| keys.push(key));
            }
            assert_eq!(keys, [18, 3, 0, 32], "in pieces of {cut}");
        }
    }

    #[test]
    fn passes_both_ways_and_counts() {
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let tap = Tap::start("127.0.0.1:0".parse().unwrap(), server.local_addr().unwrap()).unwrap();
        let mut client = TcpStream::connect(tap.addr()).unwrap();
        client.write_all(&[0, 0, 0, 3, 0, 18, 7]).unwrap();
        let (mut peer, _) = server.accept().unwrap();
        let mut bytes = [0u8; 7];
        peer.read_exact(&mut bytes).unwrap();
        peer.write_all(b"ok").unwrap();
        drop(peer);
        let mut answer = String::new();
        client.read_to_string(&mut answer).unwrap();
        assert_eq!(answer, "ok");
        assert_eq!(tap.seen(), Tapped { connections: 1, requests: BTreeMap::from([(18, 1)]) });
        let addr = tap.addr();
        drop(tap);
        assert!(!crate::wait::accepts(addr));
    }
}
