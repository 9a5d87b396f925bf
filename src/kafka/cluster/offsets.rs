//! Whether an offset that a broker called out of range is one that its partition has: the leader is asked.
//!
//! Around a change of leadership a broker can say so of an offset that is none: one that was the leader and is behind now
//! answers a Fetch all the same (v11+). A client that is told resets its position, and reads everything again or loses what
//! is in between.

use super::dial::open_node;
use super::{Cluster, Leader, TopicKey};
use crate::kafka::channel::{ChannelError, Question};
use crate::kafka::wire::{self, Struct, errors};
use crate::time::now;
use bytes::Bytes;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;

const LIST_OFFSETS: i16 = 2;
/// The newest version asked for; all that is needed is there since v1.
const NEWEST: i16 = 7;
const EARLIEST: i64 = -2;
const LATEST: i64 = -1;
/// A consumer, who is told of what all in-sync replicas have, and the debugging client, who is told of the log's end
/// (`ListOffsetsRequest`): a new leader's high watermark may be behind for a moment.
const CONSUMER: i32 = -1;
const DEBUGGER: i32 = -2;
/// For so long after a change of its leader an offset of a partition is doubted less than the word of a broker.
const NEWS: Duration = Duration::from_secs(60);
/// How soon the leader is looked up again.
const LOOK_AGAIN: Duration = Duration::from_millis(10);
/// So many leaders are asked at a time, whatever happens to a cluster.
static AT_ONCE: Semaphore = Semaphore::const_new(8);

/// An offset that a broker called out of range.
#[derive(Clone, Debug)]
pub struct Doubtful {
    /// The topic, as the request called it.
    pub topic: TopicKey,
    /// The partition.
    pub partition: i32,
    /// The offset.
    pub offset: i64,
    /// Who said so.
    pub said_by: i32,
    /// The node that gave this client records of the partition last.
    pub read_from: Option<i32>,
}

/// What the leader says of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Range {
    /// Nothing: leadership has not moved, or it may not be asked, so the broker's word stands.
    Settled,
    /// It could not be found out in time.
    Unknown,
    /// The leader has offsets from `first` to before `end`, and will have `end` next.
    Known {
        /// The earliest offset.
        first: i64,
        /// The offset behind the last one that consumers are given.
        latest: i64,
        /// The end of the log, which a new leader's `latest` may be behind.
        end: i64,
    },
}

/// Asks the leaders, which are looked up anew, until `until`. One answer for each, in order.
pub async fn ranges(
    cluster: &Arc<Cluster>,
    doubtful: &[Doubtful],
    since: Instant,
    until: Instant,
) -> Vec<Range> {
    let mut found = vec![Range::Unknown; doubtful.len()];
    let leaders = loop {
        let leaders = cluster.read(|view| {
            let leader = |one: &Doubtful| {
                let leader = view.leader(&one.topic, one.partition)?;
                (leader.asked >= since && leader.node >= 0).then_some(leader)
            };
            doubtful.iter().map(leader).collect::<Vec<_>>()
        });
        if leaders.iter().all(Option::is_some) || now() >= until {
            break leaders;
        }
        cluster.want_topics(doubtful.iter().map(|one| one.topic.clone()), now());
        tokio::time::sleep(LOOK_AGAIN).await;
    };
    let mut by_node: BTreeMap<i32, Vec<(usize, Bytes, i32)>> = BTreeMap::new();
    for (at, (one, leader)) in doubtful.iter().zip(leaders).enumerate() {
        let Some(leader) = leader else { continue };
        if !is_news(one, &leader) {
            if let Some(range) = found.get_mut(at) {
                *range = Range::Settled;
            }
        } else if let Some(name) = cluster.read(|view| view.name_of(&one.topic)) {
            by_node.entry(leader.node).or_default().push((at, name, one.partition));
        }
    }
    for (node, asked) in by_node {
        let left = until.saturating_duration_since(now());
        let Ok(Ok(ranges)) = tokio::time::timeout(left, ask(cluster, node, &asked)).await else { continue };
        for (at, range) in ranges {
            if let Some(place) = found.get_mut(at) {
                *place = range;
            }
        }
    }
    found
}

/// Whether leadership has moved lately, or away from whom the client reads from.
fn is_news(one: &Doubtful, leader: &Leader) -> bool {
    leader.changed.is_some_and(|at| now().saturating_duration_since(at) < NEWS)
        || leader.node != one.said_by
        || one.read_from.is_some_and(|node| node != leader.node)
}

async fn ask(
    cluster: &Arc<Cluster>,
    node: i32,
    asked: &[(usize, Bytes, i32)],
) -> Result<Vec<(usize, Range)>, ChannelError> {
    let _permit = AT_ONCE.acquire().await;
    let Ok(mut opened) = open_node(cluster, node).await else { return Err(ChannelError::Closed) };
    let version = opened.versions.highest(LIST_OFFSETS, NEWEST);
    let questions = [(CONSUMER, EARLIEST), (CONSUMER, LATEST), (DEBUGGER, LATEST)];
    let bodies: Vec<Struct> =
        questions.iter().filter_map(|(who, what)| request(*who, *what, asked)).collect();
    let questions: Vec<Question<'_>> =
        bodies.iter().map(|body| Question { key: LIST_OFFSETS, version, body }).collect();
    let answers = opened.channel.ask_all(&questions, cluster.settings().net.connect_timeout).await?;
    let [first, latest, end] = answers.as_slice() else { return Err(ChannelError::Closed) };
    let range = |(at, name, partition): &(usize, Bytes, i32)| {
        let offset = |answer| offset_of(answer, name, *partition);
        let range = range_of(offset(first), offset(latest), offset(end));
        (*at, range)
    };
    Ok(asked.iter().map(range).collect())
}

fn request(who: i32, what: i64, asked: &[(usize, Bytes, i32)]) -> Option<Struct> {
    let mut request = wire::request(LIST_OFFSETS)?.new();
    request.set_i32("replica_id", who);
    for (_, name, partition) in asked {
        let mut topic = request.new_struct("topics");
        topic.set_bytes("name", Some(name.clone()));
        let mut row = topic.new_struct("partitions");
        row.set_i32("partition_index", *partition);
        row.set_i64("timestamp", what);
        topic.push_struct("partitions", row);
        request.push_struct("topics", topic);
    }
    Some(request)
}

/// The offset that an answer gives, or its error.
fn offset_of(answer: &Struct, name: &Bytes, partition: i32) -> Result<i64, i16> {
    let topics = answer.structs("topics").filter(|topic| topic.bytes_field("name") == Some(name));
    let mut rows = topics.flat_map(|topic| topic.structs("partitions"));
    let row = rows.find(|row| row.i32("partition_index") == partition).ok_or(errors::UNKNOWN_SERVER_ERROR)?;
    match row.i16("error_code") {
        0 if row.i64("offset") >= 0 => Ok(row.i64("offset")),
        0 => Err(errors::UNKNOWN_SERVER_ERROR),
        code => Err(code),
    }
}

/// What three answers come to. An error that asking again won't change, of a cluster that doesn't let Evenkeel ask for one,
/// leaves nothing but the broker's word.
fn range_of(first: Result<i64, i16>, latest: Result<i64, i16>, end: Result<i64, i16>) -> Range {
    match (first, latest) {
        (Ok(first), Ok(latest)) => Range::Known { first, latest, end: end.unwrap_or(latest).max(latest) },
        (Err(code), _) | (_, Err(code)) if !errors::is_retriable(code) => Range::Settled,
        _ => Range::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_answers_come_to() {
        let known = |end| Range::Known { first: 2, latest: 7, end };
        assert_eq!(range_of(Ok(2), Ok(7), Ok(9)), known(9), "the high watermark is behind");
        assert_eq!(range_of(Ok(2), Ok(7), Err(6)), known(7));
        for again in [3, 5, 6, 9, 74, 75, 78] {
            assert_eq!(range_of(Err(again), Ok(7), Ok(7)), Range::Unknown, "{again}");
            assert_eq!(range_of(Ok(2), Err(again), Ok(7)), Range::Unknown, "{again}");
        }
        assert_eq!(range_of(Err(29), Err(29), Err(29)), Range::Settled, "not authorized");
        assert_eq!(range_of(Ok(2), Err(35), Ok(7)), Range::Settled);
    }
}
