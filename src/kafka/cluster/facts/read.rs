//! What one broker is asked of the cluster: partitions and what their topics demand, the quorum, reassignments.

use super::{ANSWER, Facts, Known, Partition, Quorum};
use crate::kafka::channel::{ChannelError, Question};
use crate::kafka::cluster::dial::Opened;
use crate::kafka::wire::{self, Struct};
use crate::time::now;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

const METADATA: i16 = 3;
const METADATA_NEWEST: i16 = 9;
const DESCRIBE_CONFIGS: i16 = 32;
const DESCRIBE_CONFIGS_VERSION: i16 = 4;
const REASSIGNMENTS: i16 = 46;
const DESCRIBE_QUORUM: i16 = 55;
/// The first one with the times at which voters had caught up.
const DESCRIBE_QUORUM_NEWEST: i16 = 1;
/// A voter that had all that the leader has at most this many milliseconds ago has caught up: followers ask twice a second.
const CAUGHT_UP_MS: i64 = 3000;
/// What topics demand changes rarely, and is much to ask for.
const MINIMUMS_LAST: Duration = Duration::from_secs(60);
/// Topics in one question.
const TOPICS_AT_ONCE: usize = 500;

/// `min.insync.replicas` of topics, with when it was asked.
#[derive(Debug, Default)]
pub(super) struct Minimums {
    asked: Option<Instant>,
    by_topic: BTreeMap<String, Known<usize>>,
}

/// Asks about the cluster; what fails by itself stays unknown. Whether the connection is of further use.
///
/// # Errors
/// The connection is of no more use: another broker may know more.
pub(super) async fn cluster(
    opened: &mut Opened,
    minimums: &mut Minimums,
    facts: &mut Facts,
) -> Result<bool, ChannelError> {
    let new = |key| wire::request(key).map(wire::Message::new).ok_or(ChannelError::Closed);
    let mut metadata = new(METADATA)?;
    metadata.set_null("topics");
    metadata.set_bool("allow_auto_topic_creation", false);
    let moves = new(REASSIGNMENTS)?;
    let mut quorum = new(DESCRIBE_QUORUM)?;
    let mut topic = quorum.new_struct("topics");
    topic.set_str("topic_name", "__cluster_metadata");
    let partition = topic.new_struct("partitions");
    topic.set_structs("partitions", vec![partition]);
    quorum.set_structs("topics", vec![topic]);
    let versions = Arc::clone(&opened.versions);
    let version = versions.highest(METADATA, METADATA_NEWEST);
    let metadata = opened.channel.ask(Question { key: METADATA, version, body: &metadata }, ANSWER).await?;
    if metadata.structs("brokers").next().is_none() {
        return Err(ChannelError::Closed); // it has just come up and knows nobody
    }
    facts.listed = Ok(metadata.structs("brokers").map(|broker| broker.i32("node_id")).collect());
    let names = metadata.structs("topics").filter_map(|topic| topic.str("name").map(str::to_owned));
    minimums.refresh(opened, &names.collect::<Vec<_>>()).await?;
    facts.partitions = partitions(&metadata, minimums).map(Arc::new);
    // The controller answers these; while there is none a broker waits for one.
    let mut questions = vec![Question { key: REASSIGNMENTS, version: 0, body: &moves }];
    if versions.range(DESCRIBE_QUORUM).is_some() {
        let version = versions.highest(DESCRIBE_QUORUM, DESCRIBE_QUORUM_NEWEST);
        questions.push(Question { key: DESCRIBE_QUORUM, version, body: &quorum });
    }
    let answers = opened.channel.ask_all(&questions, ANSWER).await;
    let mut answers = match answers {
        Ok(answers) => answers.into_iter(),
        Err(error) => {
            let why = format!("the controller doesn't answer: {error}");
            (facts.reassigning, facts.quorum) = (Err(why.clone()), Err(why));
            return Ok(false);
        }
    };
    if let Some(moves) = answers.next() {
        facts.reassigning = reassigning(&moves);
    }
    facts.quorum = match answers.next() {
        Some(answer) => quorum_of(&answer),
        None => Ok(Quorum::ZooKeeper { controller: metadata.i32("controller_id") }),
    };
    Ok(true)
}

fn reassigning(answer: &Struct) -> Known<Vec<String>> {
    match answer.i16("error_code") {
        0 => Ok(answer
            .structs("topics")
            .flat_map(|topic| {
                let name = topic.str("name").unwrap_or_default();
                topic.structs("partitions").map(move |p| format!("{name}-{}", p.i32("partition_index")))
            })
            .collect()),
        code => Err(format!("ListPartitionReassignments: {}", wire::errors::name(code))),
    }
}

/// The leader and the voters. Times are the leader's own: its row has the moment of the answer.
pub(super) fn quorum_of(answer: &Struct) -> Known<Quorum> {
    let refused = |code: i16| Err(format!("DescribeQuorum: {}", wire::errors::name(code)));
    if answer.i16("error_code") != 0 {
        return refused(answer.i16("error_code"));
    }
    let partition = answer.structs("topics").next().and_then(|topic| topic.structs("partitions").next());
    let Some(partition) = partition else { return Err("DescribeQuorum: an empty answer".to_owned()) };
    if partition.i16("error_code") != 0 {
        return refused(partition.i16("error_code"));
    }
    let leader = partition.i32("leader_id");
    let caught_up_at = |row: &Struct| row.i64("last_caught_up_timestamp");
    let now =
        partition.structs("current_voters").find(|row| row.i32("replica_id") == leader).map(caught_up_at);
    let now = now.unwrap_or(-1);
    let voters = partition.structs("current_voters").map(|row| {
        let id = row.i32("replica_id");
        let fresh =
            now >= 0 && caught_up_at(row) >= 0 && now.saturating_sub(caught_up_at(row)) <= CAUGHT_UP_MS;
        (id, id == leader || fresh)
    });
    Ok(Quorum::Raft { leader, voters: voters.collect() })
}

/// All partitions. One topic that can't be described makes them unknown: gates are about all of them.
pub(super) fn partitions(metadata: &Struct, minimums: &Minimums) -> Known<Vec<Partition>> {
    let mut all = Vec::new();
    for topic in metadata.structs("topics") {
        let name = topic.str("name").unwrap_or_default();
        match topic.i16("error_code") {
            0 => {}
            code => return Err(format!("topic {name}: {}", wire::errors::name(code))),
        }
        let (shared, min_isr): (Arc<str>, _) = (name.into(), minimums.of(name));
        for row in topic.structs("partitions") {
            all.push(Partition {
                topic: Arc::clone(&shared),
                index: row.i32("partition_index"),
                leader: row.i32("leader_id"),
                replicas: row.i32s("replica_nodes"),
                isr: row.i32s("isr_nodes"),
                min_isr,
            });
        }
    }
    Ok(all)
}

impl Minimums {
    pub(super) fn of(&self, topic: &str) -> Option<usize> {
        self.by_topic.get(topic).and_then(|min| min.as_ref().ok().copied())
    }

    pub(super) fn set(&mut self, topic: &str, min: Known<usize>) {
        self.by_topic.insert(topic.to_owned(), min);
    }

    /// Asks about all topics when what is known is old, else about those that are new.
    async fn refresh(&mut self, opened: &mut Opened, topics: &[String]) -> Result<(), ChannelError> {
        let old = self.asked.is_none_or(|asked| now().saturating_duration_since(asked) > MINIMUMS_LAST);
        if old {
            self.by_topic.clear();
            self.asked = Some(now());
        }
        let missing: Vec<&String> = topics.iter().filter(|name| !self.by_topic.contains_key(*name)).collect();
        for some in missing.chunks(TOPICS_AT_ONCE) {
            let answer = ask_minimums(opened, some).await?;
            for result in answer.structs("results") {
                let name = result.str("resource_name").unwrap_or_default();
                self.set(name, minimum(result));
            }
        }
        Ok(())
    }
}

async fn ask_minimums(opened: &mut Opened, topics: &[&String]) -> Result<Struct, ChannelError> {
    let mut body = wire::request(DESCRIBE_CONFIGS).map(wire::Message::new).ok_or(ChannelError::Closed)?;
    let resources = topics.iter().map(|name| {
        let mut resource = body.new_struct("resources");
        resource.set_i8("resource_type", 2); // TOPIC
        resource.set_str("resource_name", name);
        resource.set_strs("configuration_keys", &["min.insync.replicas"]);
        resource
    });
    let resources = resources.collect();
    body.set_structs("resources", resources);
    opened
        .channel
        .ask(Question { key: DESCRIBE_CONFIGS, version: DESCRIBE_CONFIGS_VERSION, body: &body }, ANSWER)
        .await
}

pub(super) fn minimum(result: &Struct) -> Known<usize> {
    match result.i16("error_code") {
        0 => {
            let value = result.structs("configs").next().and_then(|config| config.str("value")?.parse().ok());
            value.ok_or_else(|| "DescribeConfigs: no min.insync.replicas".to_owned())
        }
        code => Err(format!("DescribeConfigs: {}", wire::errors::name(code))),
    }
}
