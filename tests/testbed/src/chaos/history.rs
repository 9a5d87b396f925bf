//! All that a run recorded: what each client went through, what was done to the cluster, what the topic holds, what
//! Evenkeel counted. Written to a folder as it comes, and read back for the checker: a verdict can be had again from
//! the folder alone.
//!
//! `*.producer.jsonl` and `*.consumer.jsonl` are what the clients printed, one operation a line with its times;
//! `events.jsonl`, `samples.jsonl` and `topic.jsonl` are the runner's; `metrics.txt` and `evenkeel.log` are Evenkeel's.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, BufWriter, Write as _};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::outages::{Outages, Sample, outages};
use super::schedule::Class;
use crate::admin::{Record, int, ints, long, text};
use crate::clients::{consumer_event, outcome};
use crate::judge::{ConsumerEvent, Outcome};
use crate::{Error, Result};

/// A producer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Writer {
    /// The name that is in its records.
    pub name: String,
    /// Each of its operations, in the order in which they ended.
    pub outcomes: Vec<Outcome>,
    /// How many it says it began; `None` when it didn't come to an end.
    pub sent: Option<i64>,
}

/// A member of a consumer group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reader {
    /// Its name.
    pub name: String,
    /// Its group: what stands in its name before the last `-`.
    pub group: String,
    /// What it went through.
    pub events: Vec<Seen>,
}

/// Something that a reader saw.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// When, in microseconds since the epoch.
    pub at_us: i64,
    /// What.
    pub event: ConsumerEvent,
    /// Of a record: its value without the padding.
    pub value: String,
}

/// An event as it was carried out. Times are microseconds since the epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// What was done, and to whom.
    pub what: String,
    /// Its class.
    pub class: Class,
    /// When it began.
    pub start_us: i64,
    /// When it was over: brokers started or thawed, filters removed.
    pub end_us: i64,
    /// When all partitions had leaders and all replicas were in sync again.
    pub whole_us: i64,
    /// When every client had been served anew after that; 0 when one of them never was.
    pub served_us: i64,
    /// Why it was left out, if it was.
    pub skipped: Option<String>,
}

/// A whole run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Run {
    /// The producers.
    pub writers: Vec<Writer>,
    /// The members of groups.
    pub readers: Vec<Reader>,
    /// What was done, in order.
    pub events: Vec<Event>,
    /// When the cluster could not take writes, by partition.
    pub outages: Outages,
    /// What the topic holds, read from the brokers.
    pub log: Vec<Record>,
    /// The series of Evenkeel's `/metrics` after all clients had gone.
    pub metrics: BTreeMap<String, f64>,
    /// Evenkeel's log.
    pub sidecar_log: Vec<String>,
}

/// The folder of a run.
#[derive(Clone, Debug)]
pub struct Folder(pub PathBuf);

impl Folder {
    /// Makes it.
    pub fn create(path: &Path) -> Result<Self> {
        fs::create_dir_all(path).map_err(Error::io(format!("creating {}", path.display())))?;
        Ok(Self(path.to_owned()))
    }

    /// The file for what a producer prints.
    pub fn producer(&self, name: &str) -> PathBuf {
        self.0.join(format!("{name}.producer.jsonl"))
    }

    /// The file for what a consumer prints.
    pub fn consumer(&self, name: &str) -> PathBuf {
        self.0.join(format!("{name}.consumer.jsonl"))
    }

    /// Adds an event.
    pub fn add_event(&self, event: &Event) -> Result<()> {
        let line = json!({
            "what": event.what, "soft": event.class == Class::Soft, "start": event.start_us, "end": event.end_us,
            "whole": event.whole_us, "served": event.served_us, "skipped": event.skipped,
        });
        let path = self.0.join("events.jsonl");
        let file = File::options().create(true).append(true).open(&path);
        file.and_then(|mut file| writeln!(file, "{line}")).map_err(Error::io("noting an event"))
    }

    /// Writes what the monitor heard.
    pub fn write_samples(&self, samples: &[Sample]) -> Result<()> {
        self.write(
            "samples.jsonl",
            samples
                .iter()
                .map(|s| json!({"n": s.node, "start": s.start_us, "end": s.end_us, "leads": s.leads})),
        )
    }

    /// Writes what the topic holds.
    pub fn write_topic(&self, log: &[Record]) -> Result<()> {
        self.write(
            "topic.jsonl",
            log.iter().map(|r| json!({"p": r.partition, "o": r.offset, "k": r.key, "v": r.value})),
        )
    }

    /// Writes Evenkeel's metrics.
    pub fn write_metrics(&self, body: &str) -> Result<()> {
        fs::write(self.0.join("metrics.txt"), body).map_err(Error::io("writing metrics"))
    }

    fn write(&self, name: &str, lines: impl Iterator<Item = Value>) -> Result<()> {
        let path = self.0.join(name);
        let file = File::create(&path).map_err(Error::io(format!("creating {}", path.display())))?;
        let mut file = BufWriter::new(file);
        for line in lines {
            writeln!(file, "{line}").map_err(Error::io(format!("writing {name}")))?;
        }
        file.flush().map_err(Error::io(format!("writing {name}")))
    }

    /// All that is in it. `partitions` of the topic, each of which takes writes with `min_in_sync` replicas in sync.
    pub fn read(&self, partitions: u32, min_in_sync: usize) -> Result<Run> {
        let mut run = Run::default();
        let mut names: Vec<String> = fs::read_dir(&self.0)
            .map_err(Error::io(format!("listing {}", self.0.display())))?
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .collect();
        names.sort_unstable();
        for name in &names {
            if let Some(writer) = name.strip_suffix(".producer.jsonl") {
                let lines = self.lines(name)?;
                let sent = lines.iter().find(|line| text(line, "t") == "end").map(|line| long(line, "sent"));
                let outcomes = lines.iter().filter_map(outcome).collect();
                run.writers.push(Writer { name: writer.to_owned(), outcomes, sent });
            } else if let Some(reader) = name.strip_suffix(".consumer.jsonl") {
                let seen = |line: &Value| {
                    let event = consumer_event(line)?;
                    Some(Seen { at_us: long(line, "at"), event, value: text(line, "v") })
                };
                let group = reader.rsplit_once('-').map_or(reader, |(group, _)| group).to_owned();
                let events = self.lines(name)?.iter().filter_map(seen).collect();
                run.readers.push(Reader { name: reader.to_owned(), group, events });
            }
        }
        run.events = self.lines("events.jsonl")?.iter().map(event).collect();
        let samples: Vec<Sample> = self.lines("samples.jsonl")?.iter().map(sample).collect();
        run.outages = outages(&samples, partitions, min_in_sync);
        run.log = self.lines("topic.jsonl")?.iter().map(record).collect();
        let body = fs::read_to_string(self.0.join("metrics.txt")).map_err(Error::io("reading metrics"))?;
        run.metrics = metrics(&body);
        let log = fs::read(self.0.join("evenkeel.log")).map_err(Error::io("reading Evenkeel's log"))?;
        run.sidecar_log = String::from_utf8_lossy(&log).lines().map(str::to_owned).collect();
        Ok(run)
    }

    /// The lines of a file; what is no JSON is an error, but for a last line that was cut off.
    fn lines(&self, name: &str) -> Result<Vec<Value>> {
        let path = self.0.join(name);
        let file = File::open(&path).map_err(Error::io(format!("opening {}", path.display())))?;
        let (mut values, mut broken) = (Vec::new(), None);
        for line in BufReader::new(file).lines() {
            let line = line.map_err(Error::io(format!("reading {name}")))?;
            if let Some(error) = broken {
                return Err(Error::program(name, format!("a line that is no JSON: {error}")));
            }
            match serde_json::from_str(&line) {
                Ok(value) => values.push(value),
                Err(error) => broken = Some(error),
            }
        }
        Ok(values)
    }
}

fn event(line: &Value) -> Event {
    let soft = line.get("soft").and_then(Value::as_bool).unwrap_or(false);
    Event {
        what: text(line, "what"),
        class: if soft { Class::Soft } else { Class::Hard },
        start_us: long(line, "start"),
        end_us: long(line, "end"),
        whole_us: long(line, "whole"),
        served_us: long(line, "served"),
        skipped: line.get("skipped").and_then(Value::as_str).map(str::to_owned),
    }
}

fn sample(line: &Value) -> Sample {
    let lead = |value: &Value| {
        let partition = value.get(0).and_then(Value::as_i64).and_then(|n| i32::try_from(n).ok())?;
        // `ints` takes a key: the pair's second half is wrapped for it.
        Some((partition, ints(&json!({"isr": value.get(1)}), "isr")))
    };
    let leads = line.get("leads").and_then(Value::as_array);
    Sample {
        node: int(line, "n"),
        start_us: long(line, "start"),
        end_us: long(line, "end"),
        leads: leads.map(|leads| leads.iter().filter_map(lead).collect()),
    }
}

fn record(line: &Value) -> Record {
    let part = |key| line.get(key).and_then(Value::as_str).map(str::to_owned);
    Record { partition: int(line, "p"), offset: long(line, "o"), key: part("k"), value: part("v") }
}

/// The series of a `/metrics` page with their values.
pub fn metrics(body: &str) -> BTreeMap<String, f64> {
    let series = body.lines().filter(|line| !line.starts_with('#'));
    series
        .filter_map(|line| line.rsplit_once(' '))
        .filter_map(|(name, value)| Some((name.to_owned(), value.parse().ok()?)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        let path = std::env::temp_dir().join(format!("evenkeel-chaos-folder-{}", std::process::id()));
        let folder = Folder::create(&path).unwrap();
        let event = Event {
            what: "SIGKILL".to_owned(),
            class: Class::Hard,
            start_us: 1,
            end_us: 2,
            whole_us: 3,
            served_us: 4,
            skipped: Some("not here".to_owned()),
        };
        folder.add_event(&event).unwrap();
        folder.add_event(&event).unwrap();
        let samples = [
            Sample { node: 1, start_us: 5, end_us: 6, leads: Some(vec![(0, vec![1, 2])]) },
            Sample { node: 2, start_us: 6, end_us: 7, leads: None },
        ];
        folder.write_samples(&samples).unwrap();
        let log = [Record { partition: 0, offset: 7, key: None, value: Some("w|0|0|".to_owned()) }];
        folder.write_topic(&log).unwrap();
        folder.write_metrics("# HELP a\na{x=\"y\"} 2\nb 3\n").unwrap();
        fs::write(path.join("evenkeel.log"), "one\ntwo\n").unwrap();
        let lines = "{\"t\":\"ready\"}\n{\"t\":\"r\",\"p\":0,\"s\":0,\"sent\":1,\"done\":2,\"off\":7}\n{\"t\":\"end\",\"sent\":1}\n";
        fs::write(folder.producer("w"), lines).unwrap();
        // Cut off in its last line, as by a kill.
        let lines = "{\"t\":\"r\",\"at\":9,\"p\":0,\"o\":7,\"v\":\"w|0|0|\"}\n{\"t\":\"r\",";
        fs::write(folder.consumer("group-1"), lines).unwrap();
        let run = folder.read(1, 2).unwrap();
        assert_eq!(run.events, [event.clone(), event]);
        assert_eq!((run.log.as_slice(), run.sidecar_log.len()), (log.as_slice(), 2));
        assert_eq!(run.metrics, BTreeMap::from([("a{x=\"y\"}".to_owned(), 2.0), ("b".to_owned(), 3.0)]));
        assert_eq!((run.writers[0].outcomes.len(), run.writers[0].sent), (1, Some(1)));
        assert_eq!((run.readers[0].group.as_str(), run.readers[0].events[0].at_us), ("group", 9));
        let back: Vec<Sample> = folder.lines("samples.jsonl").unwrap().iter().map(sample).collect();
        assert_eq!(back, samples);
        fs::write(folder.producer("w"), "no json\n{\"t\":\"end\",\"sent\":0}\n").unwrap();
        assert!(folder.read(1, 2).is_err());
        fs::remove_dir_all(path).unwrap();
    }
}
