//! Who answers at a node's address, where nobody may ask for that outright (`DescribeConfigs` is denied): the peer's own word.
//!
//! No answer of brokers up to 4.3 names the broker that gives it. But each of them tells whom the cluster takes for a partition's
//! leader (Metadata), and serves `ListOffsets` only of what it leads itself; both need no more than DESCRIBE on the topic. One that
//! says that this node leads a partition, and serves it, is this node. One that says so and refuses (`NOT_LEADER_OR_FOLLOWER`) isn't.
//! Between the moment in which a broker learns that it leads and that in which it does lie milliseconds, so it is asked again
//! before it is given up; and what it says of others, or can't say, proves nothing.
//!
//! A connection that was made when nothing was known to be led by its node stays unproven. Where it refuses again and again what
//! that node leads, the node's probe looks anew, on a fresh connection, and sessions leave what turns out to be another's.

use super::{Cluster, lock};
use crate::kafka::channel::{Channel, ChannelError, Question};
use crate::kafka::wire::{self, Struct, errors};
use bytes::Bytes;
use rand::RngExt;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

const METADATA: i16 = 3;
const LIST_OFFSETS: i16 = 2;
/// Versions that every broker from 2.8 to 4.3 speaks.
const METADATA_VERSION: i16 = 9;
const LIST_OFFSETS_VERSION: i16 = 5;
/// `ListOffsetsRequest`: the end of the log; asked as a consumer does.
const LATEST: i64 = -1;
const CONSUMER: i32 = -1;
/// So many partitions are asked about.
const PARTITIONS: usize = 8;
/// How often a peer is asked before it is taken for another node.
const ROUNDS: u32 = 3;
/// The pause in between, give or take a half.
const BETWEEN: Duration = Duration::from_millis(250);
/// How soon a node is looked at again that is doubted still: the first pause, and the longest.
const DOUBT_FIRST: Duration = Duration::from_secs(1);
const DOUBT_LONGEST: Duration = Duration::from_secs(60);

/// What a peer's word came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Word {
    /// It is the node.
    Itself,
    /// It may be.
    Nothing,
    /// It is another; and by what that is known.
    Another(String),
}

/// The other end of a connection to a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its address.
    pub at: SocketAddr,
    /// When it was connected.
    pub since: Instant,
    /// Whether it is known to be that node, or nobody wants to know.
    pub proven: bool,
}

/// What was last found at a node's address.
#[derive(Clone, Copy, Debug)]
struct Last {
    at: SocketAddr,
    itself: bool,
    when: Instant,
}

/// When a doubted node may be looked at again.
#[derive(Clone, Copy, Debug)]
struct Doubt {
    next: Instant,
    pause: Duration,
}

/// What was found, and what is doubted.
#[derive(Debug, Default)]
pub(super) struct Heard {
    last: BTreeMap<i32, Last>,
    doubts: BTreeMap<i32, Doubt>,
}

impl Heard {
    /// Whether a node that is doubted is to be looked at now. `spread`: from 0.5 to 1.5.
    fn doubt(&mut self, node: i32, now: Instant, spread: f64) -> bool {
        let pause = match self.doubts.get(&node) {
            Some(doubt) if now < doubt.next => return false,
            Some(doubt) if now.saturating_duration_since(doubt.next) < DOUBT_LONGEST => {
                (doubt.pause * 2).min(DOUBT_LONGEST)
            }
            _ => DOUBT_FIRST,
        };
        self.doubts.insert(node, Doubt { next: now + pause.mul_f64(spread), pause });
        true
    }

    /// Since when it has been known that the other end of a connection to a node is another node. `refuses`: it serves nothing
    /// that the node leads, which counts once the node was met elsewhere.
    fn stranger(&self, node: i32, peer: &Peer, refuses: bool) -> Option<Instant> {
        let last = self.last.get(&node).filter(|last| !peer.proven && last.when >= peer.since)?;
        let other = if last.itself { refuses && last.at != peer.at } else { last.at == peer.at };
        other.then_some(last.when)
    }
}

impl Cluster {
    /// What the peer at a node's address, which was asked at `when`, has shown to be.
    pub(super) fn note_word(&self, node: i32, at: SocketAddr, word: &Word, when: Instant) {
        let itself = match word {
            Word::Itself => true,
            Word::Nothing => return,
            Word::Another(_) => false,
        };
        let before = lock(&self.heard).last.insert(node, Last { at, itself, when });
        if before.is_none_or(|before| (before.at, before.itself) != (at, itself)) || !itself {
            self.words.fetch_add(1, Relaxed);
        }
    }

    /// A connection to `node` refuses what that is said to lead: it is looked at anew, now and then.
    pub fn doubt(&self, node: i32, now: Instant) {
        let spread = rand::rng().random::<f64>() + 0.5;
        if lock(&self.heard).doubt(node, now, spread) {
            tracing::debug!(node, "refuses again what it is said to lead: is it that node?");
            self.suspect(node);
        }
    }

    /// Counts what was found at nodes' addresses: with another number than before, a connection may be to another node.
    pub fn words(&self) -> u64 {
        self.words.load(Relaxed)
    }

    /// Since when it has been known that a connection to `node` leads to another node; `None` if that isn't known. `refuses`: it has
    /// refused again and again what that node is said to lead.
    pub fn stranger(&self, node: i32, peer: &Peer, refuses: bool) -> Option<Instant> {
        lock(&self.heard).stranger(node, peer, refuses)
    }

    /// A node is forgotten.
    pub(super) fn forget_words(&self, node: i32) {
        let mut heard = lock(&self.heard);
        heard.last.remove(&node);
        heard.doubts.remove(&node);
    }
}

/// Asks a peer that should be `node` about partitions that this is known to lead.
///
/// # Errors
/// As [`Channel::ask_all`].
pub(super) async fn hear(cluster: &Cluster, channel: &mut Channel, node: i32) -> Result<Word, ChannelError> {
    let led = cluster.read(|view| view.led_by(node, PARTITIONS));
    let (Some(metadata), Some(offsets)) = (metadata(&led), offsets(&led)) else {
        return Ok(Word::Nothing);
    };
    if led.is_empty() {
        return Ok(Word::Nothing);
    }
    let questions = [
        Question { key: METADATA, version: METADATA_VERSION, body: &metadata },
        Question { key: LIST_OFFSETS, version: LIST_OFFSETS_VERSION, body: &offsets },
    ];
    let bound = cluster.settings().net.connect_timeout;
    let mut word = Word::Nothing;
    for round in 0..ROUNDS {
        if round > 0 {
            let spread = rand::rng().random::<f64>() + 0.5;
            tokio::time::sleep(BETWEEN.mul_f64(spread)).await;
        }
        let answers = channel.ask_all(&questions, bound).await?;
        let [metadata, offsets] = answers.as_slice() else { return Err(ChannelError::Closed) };
        word = weigh(node, metadata, offsets);
        if !matches!(word, Word::Another(_)) {
            break;
        }
    }
    Ok(word)
}

fn metadata(led: &[(Bytes, i32)]) -> Option<Struct> {
    let mut request = wire::request(METADATA)?.new();
    for (name, _) in led {
        let mut topic = request.new_struct("topics");
        topic.set_bytes("name", Some(name.clone()));
        request.push_struct("topics", topic);
    }
    request.set_bool("allow_auto_topic_creation", false);
    Some(request)
}

fn offsets(led: &[(Bytes, i32)]) -> Option<Struct> {
    let mut request = wire::request(LIST_OFFSETS)?.new();
    request.set_i32("replica_id", CONSUMER);
    for (name, partition) in led {
        let mut topic = request.new_struct("topics");
        topic.set_bytes("name", Some(name.clone()));
        let mut row = topic.new_struct("partitions");
        row.set_i32("partition_index", *partition);
        row.set_i64("timestamp", LATEST);
        topic.push_struct("partitions", row);
        request.push_struct("topics", topic);
    }
    Some(request)
}

/// What one answer to each question comes to.
fn weigh(node: i32, metadata: &Struct, offsets: &Struct) -> Word {
    let named = |name: &Bytes, index: i32| {
        let topics = metadata.structs("topics").filter(|topic| topic.bytes_field("name") == Some(name));
        let mut rows = topics.flat_map(|topic| topic.structs("partitions"));
        rows.any(|row| {
            (row.i32("partition_index"), row.i16("error_code"), row.i32("leader_id")) == (index, 0, node)
        })
    };
    let mut word = Word::Nothing;
    let mut unclear = false;
    for topic in offsets.structs("topics") {
        let Some(name) = topic.bytes_field("name") else { continue };
        for row in topic.structs("partitions") {
            let index = row.i32("partition_index");
            if !named(name, index) {
                continue;
            }
            match row.i16("error_code") {
                0 | errors::OFFSET_NOT_AVAILABLE => return Word::Itself,
                errors::NOT_LEADER_OR_FOLLOWER => {
                    let name = String::from_utf8_lossy(name);
                    word = Word::Another(format!(
                        "another broker than node {node} answers here: it says that node {node} leads {name}-{index}, and doesn't \
                         lead that itself"
                    ));
                }
                _ => unclear = true,
            }
        }
    }
    if unclear { Word::Nothing } else { word }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a peer says of two partitions: whom it names, and what it answers for each.
    fn said(rows: [(i32, i16); 2]) -> Word {
        let (mut metadata, mut offsets) =
            (wire::response(3).unwrap().new(), wire::response(2).unwrap().new());
        let (mut named, mut served) = (metadata.new_struct("topics"), offsets.new_struct("topics"));
        named.set_str("name", "t");
        served.set_str("name", "t");
        for (index, (leader, code)) in (0..).zip(rows) {
            let mut row = named.new_struct("partitions");
            row.set_i32("partition_index", index);
            row.set_i32("leader_id", leader);
            named.push_struct("partitions", row);
            let mut row = served.new_struct("partitions");
            row.set_i32("partition_index", index);
            row.set_i16("error_code", code);
            served.push_struct("partitions", row);
        }
        metadata.push_struct("topics", named);
        offsets.push_struct("topics", served);
        weigh(2, &metadata, &offsets)
    }

    #[test]
    fn a_peer_gives_itself_away_by_what_it_says_of_the_node_and_does_not_serve() {
        assert!(matches!(said([(2, 6), (2, 6)]), Word::Another(_)));
        assert!(matches!(said([(2, 6), (3, 0)]), Word::Another(_)), "what others lead says nothing");
        assert_eq!(said([(2, 0), (2, 6)]), Word::Itself);
        assert_eq!(said([(2, 78), (3, 6)]), Word::Itself, "a leader that has just become one");
        assert_eq!(said([(3, 6), (3, 6)]), Word::Nothing, "a node whose leadership has moved");
        assert_eq!(said([(3, 0), (3, 0)]), Word::Nothing, "served, and not as this node");
        for unclear in [3, 5, 29, 56, 74] {
            assert_eq!(said([(2, 6), (2, unclear)]), Word::Nothing, "{unclear}");
        }
    }

    #[test]
    fn doubts_have_a_budget() {
        let (mut heard, start) = (Heard::default(), Instant::now());
        let mut looks = Vec::new();
        for tenth in 0..3000u32 {
            if heard.doubt(7, start + Duration::from_millis(100) * tenth, 1.0) {
                looks.push(tenth / 10);
            }
        }
        assert_eq!(looks, [0, 1, 3, 7, 15, 31, 63, 123, 183, 243], "for 300 s");
        assert!(heard.doubt(8, start, 1.0), "another node has its own");
        assert!(heard.doubt(7, start + Duration::from_secs(900), 1.0));
        assert!(heard.doubt(7, start + Duration::from_secs(901), 1.0), "after a calm it begins anew");
    }

    #[test]
    fn a_connection_is_left_only_for_what_was_found_since() {
        let (mut heard, start) = (Heard::default(), Instant::now());
        let at = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let secs = |n| start + Duration::from_secs(n);
        let peer = Peer { at: at(1), since: secs(1), proven: false };
        assert_eq!(heard.stranger(2, &peer, true), None);
        heard.last.insert(2, Last { at: at(1), itself: false, when: secs(2) });
        assert_eq!(heard.stranger(2, &peer, false), Some(secs(2)));
        assert_eq!(heard.stranger(3, &peer, true), None, "another node's");
        assert_eq!(heard.stranger(2, &Peer { proven: true, ..peer }, true), None);
        assert_eq!(heard.stranger(2, &Peer { since: secs(3), ..peer }, true), None, "it was asked itself");
        assert_eq!(heard.stranger(2, &Peer { at: at(9), ..peer }, true), None, "elsewhere");
        heard.last.insert(2, Last { at: at(9), itself: true, when: secs(4) });
        assert_eq!(heard.stranger(2, &peer, true), Some(secs(4)), "it refuses, and the node is elsewhere");
        assert_eq!(heard.stranger(2, &peer, false), None, "a node may have several addresses");
        assert_eq!(heard.stranger(2, &Peer { at: at(9), ..peer }, true), None);
    }
}
