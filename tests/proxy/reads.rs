//! Fetch at a scripted broker, with incremental sessions, which live in the memory of one broker (KIP-227).

use crate::fake::World;
use crate::log::end;
use crate::make;
use bytes::Bytes;
use evenkeel::kafka::wire::Struct;

impl World {
    /// The answer as it would be now, and whether a broker would wait no longer.
    pub fn fetch(&self, node: i32, request: &Struct) -> (Struct, bool) {
        let mut answer = make::response(1);
        let incremental = request.i32("session_epoch") > 0;
        let asked = if incremental {
            let id = request.i32("session_id");
            let Some((_, kept)) = self.sessions.get(&id).filter(|(at, _)| *at == node) else {
                answer.set_i16("error_code", 70);
                return (answer, true);
            };
            answer.set_i32("session_id", id);
            merged(kept, request)
        } else {
            request.clone()
        };
        let mut enough = false;
        for topic in asked.structs("topics") {
            let name = self.name_of(topic, "topic");
            let mut out = answer.new_struct("responses");
            out.set_str("topic", &name);
            out.set_uuid("topic_id", topic.uuid("topic_id"));
            for partition in topic.structs("partitions") {
                let mut row = self.read(node, &name, partition, request.str("rack_id"), &mut answer);
                if row.i16("error_code") == 3 && topic.uuid("topic_id") != [0; 16] {
                    row.set_i16("error_code", 100);
                }
                let some =
                    row.i16("error_code") != 0 || row.bytes_field("records").is_some_and(|r| !r.is_empty());
                let some = some || row.i32("preferred_read_replica") >= 0;
                enough |= some;
                if some || !incremental {
                    row.set_i32("partition_index", partition.i32("partition"));
                    out.push_struct("partitions", row);
                }
            }
            if !out.array("partitions").is_empty() {
                answer.push_struct("responses", out);
            }
        }
        (answer, enough)
    }

    fn read(
        &self,
        node: i32,
        topic: &str,
        asked: &Struct,
        rack: Option<&str>,
        answer: &mut Struct,
    ) -> Struct {
        let mut row = answer.new_struct("responses").new_struct("partitions");
        row.set_i64("high_watermark", -1);
        row.set_bytes("records", Some(Bytes::new()));
        let index = asked.i32("partition");
        let known = self.topics.get(topic).and_then(|t| t.partitions.get(index as usize));
        let Some(partition) = known else {
            row.set_i16("error_code", 3);
            return row;
        };
        let epoch = asked.i32("current_leader_epoch");
        let near = |broker: &crate::fake::Broker| {
            rack.is_some_and(|rack| !rack.is_empty()) && broker.rack.as_deref() == rack
        };
        let from = asked.i64("fetch_offset");
        let code = match epoch {
            _ if partition.leader != node && !near(&self.brokers[&node]) => 6,
            0.. if epoch < partition.epoch => 74,
            0.. if epoch > partition.epoch => 75,
            _ if from < partition.start || from > end(&partition.log) => 1,
            _ => 0,
        };
        row.set_i16("error_code", code);
        if code == 6 {
            self.hint(node, topic, index, &mut row, answer);
        }
        if code != 0 {
            return row;
        }
        row.set_i64("high_watermark", end(&partition.log));
        if let Some((&nearer, _)) = self.brokers.iter().find(|(id, broker)| **id != node && near(broker))
            && partition.leader == node
        {
            row.set_i32("preferred_read_replica", nearer);
            return row;
        }
        let mut records = Vec::new();
        for batch in partition.log.iter().filter(|batch| batch.offset + batch.records > from) {
            let at = records.len();
            records.extend_from_slice(&batch.bytes);
            records[at..at + 8].copy_from_slice(&batch.offset.to_be_bytes());
        }
        row.set_bytes("records", Some(records.into()));
        row
    }

    /// An answered Fetch opens a session (epoch 0) or changes what it asks for.
    pub fn step_session(&mut self, node: i32, request: &Struct, answer: &mut Struct) {
        match request.i32("session_epoch") {
            0 => {
                let id = 1000 + self.sessions.len() as i32;
                self.sessions.insert(id, (node, request.clone()));
                answer.set_i32("session_id", id);
            }
            1.. => {
                if let Some((_, kept)) = self.sessions.get_mut(&request.i32("session_id")) {
                    *kept = merged(kept, request);
                }
            }
            _ => {}
        }
    }

    /// A restarted broker knows no sessions.
    pub fn forget_sessions(&mut self, node: i32) {
        self.sessions.retain(|_, (at, _)| *at != node);
    }
}

/// A session's partitions (all of one topic in these tests) with those of a request in place of their older selves.
fn merged(kept: &Struct, request: &Struct) -> Struct {
    let mut merged = kept.clone();
    let changes: Vec<Struct> =
        request.structs("topics").flat_map(|topic| topic.structs("partitions")).cloned().collect();
    for topic in merged.structs_mut("topics") {
        for change in &changes {
            for known in topic.structs_mut("partitions") {
                if known.i32("partition") == change.i32("partition") {
                    *known = change.clone();
                }
            }
        }
    }
    merged
}
