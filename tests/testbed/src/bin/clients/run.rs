//! One roll of all brokers under the clients of a group, each once directly and once through Evenkeel.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use testbed::admin::Record;
use testbed::judge::{ConsumerEvent, History};
use testbed::scene::{PARTITIONS, unbalanced};
use testbed::{
    ConsumerProgram, ConsumerVerdict, Error, KafkaVersion, ProducerProgram, Result, Roll, Scene, Spec,
    Verdict, judge_consumer, judge_producers,
};

use super::library::Row;

/// Records a second of each producer.
const RATE: u32 = 50;
/// How long all clients have to get to work; a client that fails at that is reported as it is.
const START: Duration = Duration::from_secs(60);
/// How long each may take to have new successes after a broker is back. Who needs longer is rolled on all the same.
const AGAIN: Duration = Duration::from_secs(25);
/// Outcomes that show that a producer is at work: two seconds' worth.
const MORE: usize = 100;
/// How long a producer may take to know the outcome of its last records, and a consumer to see everything and to end.
const END: Duration = Duration::from_secs(60);

/// How a client reaches the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Via {
    Direct,
    Evenkeel,
}

impl Via {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Evenkeel => "Evenkeel",
        }
    }
}

/// What became of one row, reached in one way.
pub(crate) struct Cell {
    pub(crate) row: Row,
    pub(crate) via: Via,
    pub(crate) seen: std::result::Result<Seen, String>,
}

/// What a client saw.
pub(crate) struct Seen {
    pub(crate) producer: Verdict,
    pub(crate) consumer: ConsumerVerdict,
    /// What hindered a client from ending in time.
    pub(crate) stuck: Vec<String>,
}

/// A producer and a group member with a topic of their own.
struct Pair {
    topic: String,
    producer: ProducerProgram,
    consumer: ConsumerProgram,
}

/// Runs both rolls on one cluster. The second gets new topics and new clients.
pub(crate) fn run(
    binary: &Path,
    version: KafkaVersion,
    rows: &[Row],
    say: &dyn Fn(&str),
) -> Result<[Vec<Cell>; 2]> {
    // What can't run here is found out before the brokers run.
    for row in rows {
        if let Err(why) = row.command("produce") {
            say(&format!("{}: not run: {why}", row.client()));
        }
    }
    let mut scene = Scene::start(Spec::new(version), binary)?;
    let soft = rolled(&mut scene, rows, Roll::Soft, say)?;
    let hard = rolled(&mut scene, rows, Roll::Hard, say)?;
    for wrong in unbalanced(&scene.sidecar, &scene.cluster.ids())? {
        say(&format!("Evenkeel's account: {wrong}"));
    }
    Ok([soft, hard])
}

fn rolled(scene: &mut Scene, rows: &[Row], how: Roll, say: &dyn Fn(&str)) -> Result<Vec<Cell>> {
    let mut wanted = Vec::new();
    for row in rows {
        for via in [Via::Direct, Via::Evenkeel] {
            let topic = format!("{how:?}-{}-{}", row.slug(), via.as_str()).to_lowercase();
            scene.cluster.create_topic(&topic, PARTITIONS, 3, &[])?;
            wanted.push((row, via, topic));
        }
    }
    scene.cluster.admin().elect_preferred()?;
    let addresses = [scene.cluster.bootstrap(), scene.front.listen.to_string()];
    // What clients say is kept beside the brokers' logs.
    let folder = scene.cluster.folder().to_owned();
    // All consumers first, so that the producers start close together.
    let consumers: Vec<_> = wanted
        .iter()
        .map(|(row, via, topic)| {
            consumer(row, addresses.get(*via as usize).map_or("", String::as_str), topic, &folder)
        })
        .collect();
    let mut pairs: Vec<(Row, Via, Result<Pair>)> = Vec::new();
    for ((row, via, topic), consumer) in wanted.into_iter().zip(consumers) {
        let bootstrap = addresses.get(via as usize).map_or("", String::as_str);
        let pair = consumer.and_then(|consumer| {
            consumer.wait_assigned(START)?;
            Ok(Pair { producer: producer(row, bootstrap, &topic, &folder)?, topic, consumer })
        });
        pairs.push((*row, via, pair));
    }
    again(&pairs, START, say);
    for id in scene.cluster.ids() {
        let start = Instant::now();
        scene.cluster.restart(id, how)?;
        say(&format!(
            "{how:?}, broker {id}: back, all in sync, after {:.1} s",
            start.elapsed().as_secs_f64()
        ));
        again(&pairs, AGAIN, say);
    }
    // Leadership comes home, as it does by itself within five minutes: a second move.
    scene.cluster.admin().elect_preferred()?;
    again(&pairs, AGAIN, say);
    say(&format!("{how:?}: over; reading the topics from the brokers"));
    let cells = finish(scene, pairs)?;
    // Beside the clients' words, for whoever looks for a cause.
    let (_, metrics) = scene.sidecar.get("/metrics")?;
    fs::write(folder.join(format!("metrics-{how:?}.txt")), metrics).map_err(Error::io("keeping metrics"))?;
    Ok(cells)
}

/// Waits until each producer has some more outcomes, the last of them a success, or the time is over.
fn again(pairs: &[(Row, Via, Result<Pair>)], bound: Duration, say: &dyn Fn(&str)) {
    let start = Instant::now();
    let before: Vec<_> =
        pairs.iter().map(|(.., pair)| pair.as_ref().map(|p| p.producer.progress()).ok()).collect();
    for ((row, via, pair), before) in pairs.iter().zip(before) {
        let (Ok(pair), Some(before)) = (pair, before) else { continue };
        let left = bound.saturating_sub(start.elapsed());
        let more = testbed::wait::until("a producer at work", left, || {
            let now = pair.producer.progress();
            now.outcomes >= before.outcomes + MORE && now.last_success_us > before.last_success_us
        });
        if more.is_err() {
            say(&format!("{}, {}: not at work after {} s", row.slug(), via.as_str(), bound.as_secs()));
        }
    }
}

fn consumer(row: &Row, bootstrap: &str, topic: &str, folder: &Path) -> Result<ConsumerProgram> {
    let mut command = row.command("consume")?;
    common(&mut command, topic, bootstrap, topic);
    command.args(["--group", &format!("{topic}-group")]);
    let record = folder.join(format!("{topic}-consumer.jsonl"));
    ConsumerProgram::of(&format!("{topic} (consumer)"), command, Some(&record))
}

fn producer(row: &Row, bootstrap: &str, topic: &str, folder: &Path) -> Result<ProducerProgram> {
    let mut command = row.command("produce")?;
    common(&mut command, topic, bootstrap, topic);
    command.args(["--rate", &RATE.to_string(), "--count", "0", "--padding", "100"]);
    ProducerProgram::of(topic, command, Some(&folder.join(format!("{topic}-producer.jsonl"))))
}

fn common(command: &mut Command, id: &str, bootstrap: &str, topic: &str) {
    command.args(["--id", id, "--bootstrap", bootstrap, "--topic", topic]);
    command.args(["--partitions", &PARTITIONS.to_string()]);
}

/// Ends all clients at the same time, once each consumer has had the time to see everything, and judges by what the brokers
/// have.
fn finish(scene: &mut Scene, pairs: Vec<(Row, Via, Result<Pair>)>) -> Result<Vec<Cell>> {
    let ended: Vec<_> = std::thread::scope(|scope| {
        let all: Vec<_> = pairs
            .into_iter()
            .map(|(row, via, pair)| {
                let ended =
                    pair.map(|pair| (pair.topic, scope.spawn(|| pair.producer.end(END)), pair.consumer));
                (row, via, ended)
            })
            .collect();
        all.into_iter()
            .map(|(row, via, ended)| {
                let ended = ended.map(|(topic, producer, consumer)| (topic, producer.join().ok(), consumer));
                (row, via, ended)
            })
            .collect()
    });
    let mut open = Vec::new();
    for (row, via, ended) in ended {
        open.push(match ended {
            Ok((topic, producer, consumer)) => {
                (row, via, Ok((scene.cluster.admin().read_topic(&topic)?, producer, consumer)))
            }
            Err(why) => (row, via, Err(why.to_string())),
        });
    }
    Ok(std::thread::scope(|scope| {
        let all: Vec<_> = open
            .into_iter()
            .map(|(row, via, open)| (row, via, open.map(|open| scope.spawn(|| judged(open)))))
            .collect();
        let joined = all.into_iter().map(|(row, via, judge)| {
            let seen = judge.and_then(|judge| judge.join().map_err(|_| "the judge failed".to_owned()));
            Cell { row, via, seen }
        });
        joined.collect()
    }))
}

/// What the producer went through, and what hindered it from ending; `None` if the harness failed at it.
type Produced = Option<(History, Result<()>)>;

/// Ends the consumer once it has had the time to see everything, and judges.
fn judged((log, produced, consumer): (Vec<Record>, Produced, ConsumerProgram)) -> Seen {
    // What is missing after this wait is judged as missed.
    consumer.wait_delivered(log.len(), END);
    let (events, ended) = consumer.end(END);
    let mut stuck: Vec<String> = ended.err().map(|why| format!("consumer: {why}")).into_iter().collect();
    // A member that joined before it had heard of its topic was assigned nothing at first: that is its start.
    let has_some =
        |e: &ConsumerEvent| matches!(e, ConsumerEvent::Assigned { partitions, .. } if !partitions.is_empty());
    let start = events.iter().position(has_some).unwrap_or(0);
    let events: Vec<ConsumerEvent> = events.into_iter().skip(start).collect();
    let history = produced.map(|(history, ended)| {
        stuck.extend(ended.err().map(|why| format!("producer: {why}")));
        history
    });
    Seen {
        producer: judge_producers(history.as_slice(), &log),
        consumer: judge_consumer(&[events], &log),
        stuck,
    }
}
