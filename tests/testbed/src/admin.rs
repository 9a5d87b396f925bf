//! A cluster's administrator and reader: a long-running Java program that talks to the brokers directly, never through
//! the sidecar. One command at a time; each blocks until its answer is there.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::cache::CLIENTS_3_9_2;
use crate::{Error, Result, helper, wait};

/// The administrator.
#[derive(Debug)]
pub struct Admin {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
}

/// What is known of one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partition {
    /// Its number.
    pub partition: i32,
    /// Its leader's node id; −1 when it has none.
    pub leader: i32,
    /// The nodes that shall have a copy, the preferred leader first.
    pub replicas: Vec<i32>,
    /// Those that are in sync.
    pub isr: Vec<i32>,
}

/// An address that a client was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// In the answer to what: `describeCluster`, `controller`, `describeTopics`, `partitionsFor`, `coordinator`.
    pub told_by: String,
    /// The node's id.
    pub id: i32,
    /// `host:port`.
    pub addr: String,
}

/// One record as it stands in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The partition.
    pub partition: i32,
    /// The offset in it.
    pub offset: i64,
    /// The key, if any.
    pub key: Option<String>,
    /// The value, if any.
    pub value: Option<String>,
}

/// A consumer group as its coordinator describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// `Stable`, `Empty`, `PreparingRebalance` …
    pub state: String,
    /// The coordinator's node id.
    pub coordinator: i32,
    /// Its members: id, client id, and the partitions that each has.
    pub members: Vec<(String, String, Vec<String>)>,
}

impl Admin {
    /// Starts the program; it connects when it is first asked something.
    pub fn start(bootstrap: &str) -> Result<Self> {
        let mut child = helper::command("admin", CLIENTS_3_9_2)?
            .args(["--bootstrap", bootstrap])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(Error::io("starting the administrator"))?;
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
        let stdout = stdout.ok_or_else(|| Error::program("admin", "no output"))?;
        Ok(Self { child, stdin, stdout: BufReader::new(stdout) })
    }

    /// One command, its words free of tabs, and its one-line answer. An answer that names an error is an error.
    pub fn ask(&mut self, words: &[&str]) -> Result<Value> {
        self.send(words)?;
        self.receive(words)
    }

    fn send(&mut self, words: &[&str]) -> Result<()> {
        let Some(stdin) = self.stdin.as_mut() else { return Err(Error::program("admin", "has ended")) };
        stdin
            .write_all(format!("{}\n", words.join("\t")).as_bytes())
            .and_then(|()| stdin.flush())
            .map_err(Error::io("asking the administrator"))
    }

    fn receive(&mut self, words: &[&str]) -> Result<Value> {
        let mut line = String::new();
        self.stdout.read_line(&mut line).map_err(Error::io("hearing the administrator"))?;
        let value: Value = serde_json::from_str(&line)
            .map_err(|e| Error::program("admin", format!("{e} in its answer to {words:?}: {line:?}")))?;
        if let Some(class) = value.get("err").and_then(Value::as_str) {
            let message = value.get("msg").and_then(Value::as_str).unwrap_or("");
            return Err(Error::program("admin", format!("{words:?}: {class}: {message}")));
        }
        Ok(value)
    }

    /// Asks again until an answer comes without an error: for what a cluster in the middle of a fault refuses.
    pub fn ask_until(&mut self, words: &[&str], bound: Duration) -> Result<Value> {
        let mut last = String::new();
        let answer = wait::poll("an answer", bound, Duration::from_millis(100), || match self.ask(words) {
            Ok(value) => Ok(Some(value)),
            Err(error) => {
                last = error.to_string();
                Ok(None)
            }
        });
        answer.map_err(|e| Error::program("admin", format!("{e}: {last}")))
    }

    /// Makes a topic; `configs` are topic settings such as `("min.insync.replicas", "2")`.
    pub fn create_topic(
        &mut self,
        name: &str,
        partitions: u32,
        rf: u16,
        configs: &[(&str, &str)],
    ) -> Result<()> {
        let configs: Vec<String> = configs.iter().map(|(k, v)| format!("{k}={v}")).collect();
        self.ask(&["create", name, &partitions.to_string(), &rf.to_string(), &configs.join(";")]).map(drop)
    }

    /// Deletes a topic.
    pub fn delete_topic(&mut self, name: &str) -> Result<()> {
        self.ask(&["delete", name]).map(drop)
    }

    /// Raises a topic's number of partitions to `partitions`.
    pub fn grow_topic(&mut self, name: &str, partitions: u32) -> Result<()> {
        self.ask(&["grow", name, &partitions.to_string()]).map(drop)
    }

    /// A topic's partitions, in order.
    pub fn topic(&mut self, name: &str) -> Result<Vec<Partition>> {
        let answer = self.ask(&["topic", name])?;
        Ok(array(&answer, "partitions")
            .iter()
            .map(|p| Partition {
                partition: int(p, "p"),
                leader: int(p, "leader"),
                replicas: ints(p, "replicas"),
                isr: ints(p, "isr"),
            })
            .collect())
    }

    /// The node ids of the registered, unfenced brokers with the internal address of each.
    pub fn nodes(&mut self) -> Result<Vec<(i32, String)>> {
        let answer = self.ask(&["cluster"])?;
        Ok(array(&answer, "nodes")
            .iter()
            .map(|n| (int(n, "id"), format!("{}:{}", text(n, "host"), int(n, "port"))))
            .collect())
    }

    /// The cluster's id.
    pub fn cluster_id(&mut self) -> Result<String> {
        Ok(text(&self.ask(&["cluster"])?, "cluster"))
    }

    /// Each `host:port` that the brokers tell a client to connect to, and each node id with it: in the answers about the
    /// cluster, the topic, and the group.
    pub fn places(&mut self, topic: &str, group: &str) -> Result<Vec<Place>> {
        let answer = self.ask(&["places", topic, group])?;
        let place = |value: &Value| Place {
            told_by: text(value, "by"),
            id: int(value, "id"),
            addr: format!("{}:{}", text(value, "host"), int(value, "port")),
        };
        Ok(array(&answer, "places").iter().map(place).collect())
    }

    /// Gives each partition's leadership to its preferred leader.
    pub fn elect_preferred(&mut self) -> Result<()> {
        self.ask(&["elect"]).map(drop)
    }

    /// Gives a topic's partitions other replicas, the preferred leader first, and waits until they have them.
    pub fn reassign(&mut self, topic: &str, plan: &[(i32, Vec<i32>)], bound: Duration) -> Result<()> {
        let part = |(partition, replicas): &(i32, Vec<i32>)| {
            let ids: Vec<String> = replicas.iter().map(i32::to_string).collect();
            format!("{partition}:{}", ids.join(","))
        };
        let plan: Vec<String> = plan.iter().map(part).collect();
        self.ask_until(&["reassign", topic, &plan.join(";")], bound)?;
        wait::poll("reassignments", bound, Duration::from_millis(100), || {
            Ok((long(&self.ask(&["reassigning"])?, "partitions") == 0).then_some(()))
        })
    }

    /// The names of all topics, the cluster's own included.
    pub fn topics(&mut self) -> Result<Vec<String>> {
        let answer = self.ask(&["topics"])?;
        Ok(array(&answer, "topics").iter().filter_map(|name| name.as_str().map(str::to_owned)).collect())
    }

    /// Makes the controller forget a broker that was stopped for good.
    pub fn unregister(&mut self, id: u8) -> Result<()> {
        self.ask(&["unregister", &id.to_string()]).map(drop)
    }

    /// Lets a broker that runs take no more than `rate` bytes in a second for replicas that are not in sync, of topics whose
    /// `follower.replication.throttled.replicas` says so; `None` for as much as it can.
    pub fn throttle(&mut self, id: u8, rate: Option<u32>) -> Result<()> {
        let rate = rate.map_or_else(|| "-".to_owned(), |rate| rate.to_string());
        self.ask(&["throttle", &id.to_string(), &rate]).map(drop)
    }

    /// The finalized level of a feature, such as `transaction.version`; 0 where it has none.
    pub fn feature(&mut self, name: &str) -> Result<i64> {
        let answer = self.ask(&["features"])?;
        Ok(answer.get("features").and_then(|all| all.get(name)).and_then(Value::as_i64).unwrap_or(0))
    }

    /// A consumer group.
    pub fn group(&mut self, name: &str) -> Result<Group> {
        let answer = self.ask(&["group", name])?;
        let members = array(&answer, "members")
            .iter()
            .map(|m| {
                let assigned =
                    array(m, "assigned").iter().filter_map(|v| v.as_str().map(str::to_owned)).collect();
                (text(m, "id"), text(m, "client"), assigned)
            })
            .collect();
        Ok(Group { state: text(&answer, "state"), coordinator: int(&answer, "coordinator"), members })
    }

    /// The node id of the active controller (`KRaft`).
    pub fn active_controller(&mut self) -> Result<i32> {
        Ok(int(&self.ask(&["quorum"])?, "leader"))
    }

    /// A group's committed offsets: `topic-partition` and offset.
    pub fn committed(&mut self, group: &str) -> Result<Vec<(String, i64)>> {
        let answer = self.ask(&["committed", group])?;
        let offsets = answer.get("offsets").and_then(Value::as_object);
        Ok(offsets.into_iter().flatten().map(|(k, v)| (k.clone(), v.as_i64().unwrap_or(-1))).collect())
    }

    /// First and end offset of each partition, in order.
    pub fn offsets(&mut self, topic: &str) -> Result<Vec<(i32, i64, i64)>> {
        let answer = self.ask(&["offsets", topic])?;
        Ok(array(&answer, "offsets")
            .iter()
            .map(|p| (int(p, "p"), long(p, "first"), long(p, "end")))
            .collect())
    }

    /// All that a topic holds now, each partition in log order; aborted transactions' records included.
    pub fn read_topic(&mut self, topic: &str) -> Result<Vec<Record>> {
        self.read(topic, "read_uncommitted")
    }

    /// As [`Admin::read_topic`], committed records only.
    pub fn read_committed(&mut self, topic: &str) -> Result<Vec<Record>> {
        self.read(topic, "read_committed")
    }

    fn read(&mut self, topic: &str, isolation: &str) -> Result<Vec<Record>> {
        let words = ["read", topic, isolation];
        self.send(&words)?;
        let mut records = Vec::new();
        loop {
            let value = self.receive(&words)?;
            if value.get("end").is_some() {
                let said = usize::try_from(long(&value, "records")).unwrap_or(usize::MAX);
                if said != records.len() {
                    return Err(Error::program(
                        "admin",
                        format!("{said} records read, {} heard", records.len()),
                    ));
                }
                return Ok(records);
            }
            let part = |key| value.get(key).and_then(Value::as_str).map(str::to_owned);
            records.push(Record {
                partition: int(&value, "p"),
                offset: long(&value, "o"),
                key: part("k"),
                value: part("v"),
            });
        }
    }

    /// Raises `metadata.version` as far as the members go (the last step of an upgrade); gives the level.
    pub fn finalize_upgrade(&mut self) -> Result<i32> {
        Ok(int(&self.ask(&["finalize"])?, "level"))
    }
}

impl Drop for Admin {
    fn drop(&mut self) {
        drop(self.stdin.take());
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn long(value: &Value, key: &str) -> i64 {
    value.get(key).and_then(Value::as_i64).unwrap_or(-1)
}

pub(crate) fn int(value: &Value, key: &str) -> i32 {
    i32::try_from(long(value, key)).unwrap_or(-1)
}

pub(crate) fn text(value: &Value, key: &str) -> String {
    value.get(key).and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn array<'v>(value: &'v Value, key: &str) -> &'v [Value] {
    value.get(key).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

pub(crate) fn ints(value: &Value, key: &str) -> Vec<i32> {
    array(value, key).iter().filter_map(|v| v.as_i64().and_then(|n| i32::try_from(n).ok())).collect()
}
