//! What a scripted broker tells of the cluster: brokers, leaders, coordinators, versions, and whose configuration it is.

use crate::fake::{Topic, World};
use evenkeel::kafka::wire::Struct;
use std::collections::BTreeMap;

impl World {
    pub fn fill(&self, node: i32, id: &str, row: &mut Struct) {
        row.set_i32(id, node);
        if let Some(broker) = self.brokers.get(&node) {
            row.set_str("host", &broker.addr.ip().to_string());
            row.set_i32("port", i32::from(broker.addr.port()));
        }
    }

    pub fn topics_of(&self, node: i32) -> &BTreeMap<String, Topic> {
        self.brokers[&node].frozen.as_ref().unwrap_or(&self.topics)
    }

    pub fn metadata(&self, node: i32, version: i16, request: &Struct, answer: &mut Struct) {
        let cluster = self.brokers[&node].other_cluster.as_ref().unwrap_or(&self.cluster_id);
        answer.set_str("cluster_id", cluster);
        answer.set_i32("controller_id", self.controller);
        if request.bool("include_cluster_authorized_operations") {
            answer.set_i32("cluster_authorized_operations", self.operations.0);
        }
        for (&id, _) in self.brokers.iter().filter(|(_, broker)| broker.listed) {
            let mut row = answer.new_struct("brokers");
            self.fill(id, "node_id", &mut row);
            if let Some(rack) = &self.brokers[&id].rack {
                row.set_str("rack", rack);
            }
            answer.push_struct("brokers", row);
        }
        let topics = self.topics_of(node);
        let all = request.is_null("topics") || (version == 0 && request.array("topics").is_empty());
        let unknown = |row: &&Struct| row.uuid("topic_id") != [0; 16] && self.name_of(row, "name").is_empty();
        for asked in request.structs("topics").filter(unknown) {
            let mut row = answer.new_struct("topics");
            row.set_null("name");
            row.set_uuid("topic_id", asked.uuid("topic_id"));
            row.set_i16("error_code", 100);
            answer.push_struct("topics", row);
        }
        let named = request.structs("topics").filter(|row| !unknown(row));
        let named: Vec<String> = named.map(|row| self.name_of(row, "name")).collect();
        let wanted = if all { topics.keys().cloned().collect() } else { named };
        for name in wanted {
            let mut row = answer.new_struct("topics");
            row.set_str("name", &name);
            match topics.get(&name) {
                None => row.set_i16("error_code", 3),
                Some(topic) => {
                    row.set_uuid("topic_id", topic.id);
                    if request.bool("include_topic_authorized_operations") {
                        row.set_i32("topic_authorized_operations", self.operations.1);
                    }
                    for (index, known) in topic.partitions.iter().enumerate() {
                        let mut partition = row.new_struct("partitions");
                        partition.set_i32("partition_index", index as i32);
                        partition.set_i16("error_code", if known.leader < 0 { 5 } else { 0 });
                        partition.set_i32("leader_id", known.leader);
                        partition.set_i32("leader_epoch", known.epoch);
                        row.push_struct("partitions", partition);
                    }
                }
            }
            answer.push_struct("topics", row);
        }
    }

    pub fn coordinator(&self, group: &str) -> i32 {
        self.coordinators.get(group).copied().unwrap_or_else(|| *self.brokers.keys().next().unwrap())
    }

    pub fn find_coordinator(&self, version: i16, request: &Struct, answer: &mut Struct) {
        let fill = |key: &str, row: &mut Struct| {
            let node = self.coordinator(key);
            self.fill(node, "node_id", row);
            if node < 0 {
                row.set_i16("error_code", 15);
                row.set_i32("port", -1);
            }
        };
        if version < 4 {
            fill(request.str("key").unwrap(), answer);
            return;
        }
        for key in request.strs("coordinator_keys") {
            let mut row = answer.new_struct("coordinators");
            row.set_str("key", key);
            fill(key, &mut row);
            answer.push_struct("coordinators", row);
        }
    }

    pub fn api_versions(&self, node: i32, answer: &mut Struct) {
        for (&key, &(min, max)) in &self.brokers[&node].versions {
            let mut row = answer.new_struct("api_keys");
            row.set_i16("api_key", key);
            row.set_i16("min_version", min);
            row.set_i16("max_version", max);
            answer.push_struct("api_keys", row);
        }
    }

    pub fn describe_configs(&self, node: i32, request: &Struct, answer: &mut Struct) {
        let claims = self.brokers[&node].claims.to_string();
        for resource in request.structs("resources") {
            let mut row = answer.new_struct("results");
            let name = resource.str("resource_name").unwrap();
            row.set_i8("resource_type", resource.i8("resource_type"));
            row.set_str("resource_name", name);
            let code = if name == claims { 0 } else { 42 };
            row.set_i16("error_code", if self.denies_configs { 31 } else { code });
            answer.push_struct("results", row);
        }
    }

    pub fn describe_cluster(&self, answer: &mut Struct) {
        answer.set_str("cluster_id", &self.cluster_id);
        for (&id, _) in self.brokers.iter().filter(|(_, broker)| broker.listed) {
            let mut row = answer.new_struct("brokers");
            self.fill(id, "broker_id", &mut row);
            answer.push_struct("brokers", row);
        }
    }
}
