//! What one node itself believes of the cluster: its answer to a Metadata request.
//!
//! A client library asks whichever node it likes, and a node may lag behind the controller for a moment: a topic that was
//! just made may be unknown to it, and then nothing of that topic would be found lacking. Readiness therefore asks each
//! node by itself. Version 1 of the API (KIP-4) is understood by every broker from 2.8 to 4.3.

use std::collections::BTreeMap;
use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// An answer longer than this is none.
const LARGEST: u64 = 8 << 20;

/// One node's view.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct View {
    /// The ids of the brokers that it takes for alive.
    pub(super) brokers: Vec<i32>,
    /// Topics with their partitions.
    pub(super) topics: BTreeMap<String, Vec<Partition>>,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Partition {
    pub(super) leader: i32,
    pub(super) replicas: Vec<i32>,
    pub(super) isr: Vec<i32>,
}

impl View {
    /// What this view lacks of a ready cluster of the nodes `up`, if anything.
    pub(super) fn lacks(&self, up: &[i32]) -> Option<String> {
        if let Some(id) = up.iter().find(|id| !self.brokers.contains(id)) {
            return Some(format!("broker {id}"));
        }
        for (topic, partitions) in &self.topics {
            for (number, p) in partitions.iter().enumerate() {
                if !up.contains(&p.leader) {
                    return Some(format!("a leader of {topic}-{number}"));
                }
                if let Some(id) = p.replicas.iter().find(|id| up.contains(id) && !p.isr.contains(id)) {
                    return Some(format!("{id} in sync for {topic}-{number}"));
                }
            }
        }
        None
    }
}

/// The partitions of `topic` that the node with this id and address says that it leads itself, each with its in-sync
/// replicas; connecting and each piece of its answer may take `patience`.
pub(crate) fn led(
    addr: SocketAddr,
    id: i32,
    topic: &str,
    patience: Duration,
) -> io::Result<Vec<(i32, Vec<i32>)>> {
    let mut view = ask_within(addr, patience, patience)?;
    let partitions = (0..).zip(view.topics.remove(topic).unwrap_or_default());
    Ok(partitions.filter(|(_, p)| p.leader == id).map(|(number, p)| (number, p.isr)).collect())
}

/// Asks the node at `addr` for all that it knows.
pub(super) fn ask(addr: SocketAddr) -> io::Result<View> {
    ask_within(addr, Duration::from_secs(2), Duration::from_secs(5))
}

fn ask_within(addr: SocketAddr, connect: Duration, read: Duration) -> io::Result<View> {
    let mut stream = TcpStream::connect_timeout(&addr, connect)?;
    stream.set_read_timeout(Some(read))?;
    // Metadata (3) version 1, correlation 7, no client id; no list of topics means all.
    let request: [u8; 18] = [0, 0, 0, 14, 0, 3, 0, 1, 0, 0, 0, 7, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff];
    stream.write_all(&request)?;
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let length = u64::from(u32::from_be_bytes(length));
    if length > LARGEST {
        return Err(io::Error::other(format!("an answer of {length} bytes")));
    }
    let mut answer = Vec::new();
    stream.take(length).read_to_end(&mut answer)?;
    decode(&answer).ok_or_else(|| io::Error::other("an answer that ends too soon or makes no sense"))
}

/// The body of an answer with its correlation id; `None` when it is not one.
fn decode(answer: &[u8]) -> Option<View> {
    let mut at = Cursor(answer);
    at.i32().filter(|&correlation| correlation == 7)?;
    let mut view = View::default();
    for _ in 0..at.i32()? {
        view.brokers.push(at.i32()?);
        at.string()?;
        at.i32()?;
        at.string()?;
    }
    at.i32()?;
    for _ in 0..at.i32()? {
        at.i16()?;
        let name = at.string()?;
        at.take(1)?;
        let mut partitions = BTreeMap::new();
        for _ in 0..at.i32()? {
            at.i16()?;
            let (number, leader) = (at.i32()?, at.i32()?);
            partitions.insert(number, Partition { leader, replicas: at.ids()?, isr: at.ids()? });
        }
        view.topics.insert(name, partitions.into_values().collect());
    }
    Some(view)
}

struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(head)
    }

    fn i16(&mut self) -> Option<i16> {
        self.take(2)?.try_into().ok().map(i16::from_be_bytes)
    }

    fn i32(&mut self) -> Option<i32> {
        self.take(4)?.try_into().ok().map(i32::from_be_bytes)
    }

    /// A string; empty when it is null.
    fn string(&mut self) -> Option<String> {
        let length = usize::try_from(self.i16()?).unwrap_or(0);
        String::from_utf8(self.take(length)?.to_vec()).ok()
    }

    fn ids(&mut self) -> Option<Vec<i32>> {
        // Grows as ids are really there: the count by itself allocates nothing.
        let mut ids = Vec::new();
        for _ in 0..self.i32()? {
            ids.push(self.i32()?);
        }
        Some(ids)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer() -> Vec<u8> {
        let mut bytes = vec![0, 0, 0, 7, 0, 0, 0, 1, 0, 0, 0, 2, 0, 1, b'h', 0, 0, 0x23, 0x84, 0xff, 0xff];
        bytes.extend([0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 1, b't', 0, 0, 0, 0, 1]);
        bytes.extend([0, 0, 0, 0, 0, 0, 0, 0, 0, 2]);
        bytes.extend([0, 0, 0, 2, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 1, 0, 0, 0, 2]);
        bytes
    }

    #[test]
    fn decodes_an_answer_and_says_what_it_lacks() {
        let view = decode(&answer()).unwrap();
        assert_eq!(view.brokers, [2]);
        assert_eq!(view.topics["t"], [Partition { leader: 2, replicas: vec![2, 3], isr: vec![2] }]);
        assert_eq!(view.lacks(&[2]), None, "a replica on a node that is down is not missed");
        assert_eq!(view.lacks(&[2, 3]).unwrap(), "broker 3");
        let view = View { brokers: vec![2, 3], ..view };
        assert_eq!(view.lacks(&[2, 3]).unwrap(), "3 in sync for t-0");
        assert_eq!(view.lacks(&[3]).unwrap(), "a leader of t-0");
    }

    #[test]
    fn a_cut_or_lying_answer_is_none() {
        let whole = answer();
        for length in 0..whole.len() {
            assert_eq!(decode(&whole[..length]), None, "{length} bytes");
        }
        assert_eq!(decode(&[0, 0, 0, 7, 0x7f, 0xff, 0xff, 0xff]), None);
    }
}
