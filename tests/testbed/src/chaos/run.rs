//! Carries a schedule out: a cluster, Evenkeel in front of it, many clients without retries, and one event after another.
//! Between events the cluster is waited for until it is whole, and every client until it was served anew: an outage is
//! never longer than one event makes it.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::checker::{Rules, Verdict, check};
use super::faults::{DOMAIN, Ground, name};
use super::history::{Event, Folder, Run};
use super::monitor::Monitor;
use super::net::{Powers, ipv4};
use super::schedule::{Events, Schedule};
use crate::python::PythonClient;
use crate::scene::micros;
use crate::{
    Cluster, ConsumerProgram, ConsumerSpec, DnsServer, KafkaVersion, Library, ProducerProgram, ProducerSpec,
    Result, Sidecar, Spec, wait,
};

/// Partitions of the topic: enough that each of three brokers leads two.
pub const PARTITIONS: u32 = 6;
const MIN_IN_SYNC: usize = 2;
const TOPIC: &str = "chaos";
/// The readers' groups.
const JAVA_GROUP: &str = "readers-java";
const PYTHON_GROUP: &str = "readers-python";
/// The time to live of the brokers' names, in seconds.
const TTL: u32 = 1;
/// A client may have to wait for a cluster that a kill left without a controller, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(150);

/// How much of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    /// Brokers with a session time-out of 3 s, and one client of each kind.
    Short,
    /// Kafka's own session time-out (9 s), and two clients of each kind.
    Full,
}

/// What is wanted.
#[derive(Clone, Debug)]
pub struct Order {
    /// Decides the events.
    pub seed: u64,
    /// For how long events begin.
    pub lasts: Duration,
    /// Of the brokers.
    pub version: KafkaVersion,
    /// Which events.
    pub events: Events,
    /// How much.
    pub size: Size,
    /// Evenkeel's binary.
    pub binary: PathBuf,
    /// The level of Evenkeel's log.
    pub log: String,
}

impl Order {
    /// Its events, as many as one likes.
    pub fn schedule(&self) -> Schedule {
        let session_ms = if self.size == Size::Short { 3000 } else { 9000 };
        let partitions = u8::try_from(PARTITIONS).unwrap_or(u8::MAX);
        Schedule::new(self.seed, self.events, session_ms, 3, partitions)
    }

    /// The command that does the same again.
    pub fn replay(&self) -> String {
        let short = if self.size == Size::Short { " SHORT=1" } else { "" };
        format!(
            "make chaos SEED={} MINUTES={} KAFKA={} EVENTS={}{short}",
            self.seed,
            self.lasts.as_secs_f64() / 60.0,
            self.version,
            self.events
        )
    }
}

/// What a run came to.
#[derive(Debug)]
pub struct Outcome {
    /// What was recorded.
    pub run: Run,
    /// What the checker says.
    pub verdict: Verdict,
    /// Its folder; removed if all promises were kept, unless it was to be kept.
    pub folder: Folder,
}

/// Carries an order out and judges it. If a promise was broken, or the run could not be carried through, the folder stays,
/// and `say` is told the command that replays it.
pub fn prove(order: &Order, keep: bool, say: &dyn Fn(&str)) -> Result<Outcome> {
    let folder = Folder::create(&fresh(order.seed))?;
    let place = folder.0.display().to_string();
    say(&format!("seed {}; everything is recorded in {place}", order.seed));
    let judged = run(order, &folder, say).and_then(|()| judge(&folder));
    if !judged.as_ref().is_ok_and(|(_, verdict)| verdict.breaches.is_empty()) {
        say(&format!(
            "seed {} FAILED; its records are in {place}; it is replayed by: {}",
            order.seed,
            order.replay()
        ));
    } else if !keep {
        let _ = fs::remove_dir_all(&folder.0);
    }
    judged.map(|(run, verdict)| Outcome { run, verdict, folder })
}

/// A folder that no earlier run has.
fn fresh(seed: u64) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap_or(Path::new("."));
    let base = root.join("target/chaos");
    (1..100_000u32)
        .map(|number| base.join(format!("seed-{seed}-{number}")))
        .find(|path| !path.exists())
        .unwrap_or(base)
}

/// Does it, and records everything in `folder`. An error says what kept it from being carried through.
fn run(order: &Order, folder: &Folder, say: &dyn Fn(&str)) -> Result<()> {
    let spec = Spec::new(order.version).domain(DOMAIN);
    let spec = if order.size == Size::Short { spec.fast() } else { spec };
    let mut cluster = Cluster::start(spec)?;
    let dns = DnsServer::start(TTL)?;
    let mut brokers = Vec::new();
    for id in cluster.ids() {
        let addr = cluster.addr(id)?;
        dns.set(&name(id), ipv4(addr)?);
        brokers.push((id, addr));
    }
    cluster.create_topic(TOPIC, PARTITIONS, 3, &[("min.insync.replicas", &MIN_IN_SYNC.to_string())])?;
    let powers = Powers::find(cluster.spare_ip(0));
    for hindrance in [powers.reset.as_ref().err(), powers.cut.as_ref().err()].into_iter().flatten() {
        say(&format!("some events will be left out: {hindrance}"));
    }
    // More of Evenkeel's own parts; its name client would bury them.
    let level = format!("info,evenkeel={}", order.log);
    let more = format!("[dns]\nservers = [\"{}\"]\n[log]\nlevel = \"{level}\"\n", dns.addr());
    let (mut sidecar, front) = Sidecar::kafka(&order.binary, &cluster.bootstrap(), &more)?;
    let monitor = Monitor::start(TOPIC, &brokers);
    let group = JAVA_GROUP.to_owned();
    let topic = TOPIC.to_owned();
    let mut ground = Ground { cluster, dns, monitor, powers, topic, group, moves: 0 };
    let done = sidecar.wait_ready(Duration::from_secs(60)).and_then(|()| {
        let clients = Clients::start(order.size, &front.listen.to_string(), folder, say)?;
        let stayed = events(order, folder, say, &mut ground, &clients);
        let ended = stayed.and_then(|()| clients.stop(&mut ground.cluster, folder));
        let settled = ended.and_then(|()| settle(&sidecar));
        // Of a run that broke off, too, all is kept that there is.
        folder.write_metrics(&sidecar.get("/metrics")?.1)?;
        settled
    });
    let keep = |from: &Path, to: &str| drop(fs::copy(from, folder.0.join(to)));
    keep(&sidecar.log(), "evenkeel.log");
    keep(&sidecar.config(), "evenkeel.toml");
    for id in ground.cluster.ids() {
        keep(&ground.cluster.log(id), &format!("kafka-{id}.log"));
    }
    folder.write_samples(&ground.monitor.finish())?;
    done
}

/// Judges what is recorded in `folder`.
pub fn judge(folder: &Folder) -> Result<(Run, Verdict)> {
    let run = folder.read(PARTITIONS, MIN_IN_SYNC)?;
    let verdict = check(&run, &Rules::default());
    Ok((run, verdict))
}

fn events(
    order: &Order,
    folder: &Folder,
    say: &dyn Fn(&str),
    ground: &mut Ground,
    clients: &Clients,
) -> Result<()> {
    // A preferred leader for each partition, so that each broker leads something.
    ground.cluster.admin().elect_preferred()?;
    ground.cluster.wait_ready()?;
    clients.wait_served(micros())?;
    let start = Instant::now();
    for event in order.schedule().take_while(|_| start.elapsed() < order.lasts) {
        std::thread::sleep(Duration::from_millis(event.pause_ms));
        let skipped = ground.hindrance(&event);
        let id = ground.aim(&event)?;
        let what = format!("{event} (broker {id})");
        let start_us = micros();
        let mut done = Event {
            what,
            class: event.fault.class(),
            start_us,
            end_us: start_us,
            whole_us: start_us,
            served_us: 0,
            skipped,
        };
        if let Some(why) = &done.skipped {
            say(&format!("left out: {}: {why}", done.what));
            done.served_us = start_us;
            folder.add_event(&done)?;
            continue;
        }
        say(&done.what);
        ground.strike(&event, id)?;
        done.end_us = micros();
        ground.cluster.wait_ready()?;
        done.whole_us = micros();
        let served = clients.wait_served(done.whole_us);
        if served.is_ok() {
            done.served_us = micros();
        }
        folder.add_event(&done)?;
        if let Err(error) = served {
            // The checker will say so; what comes after it would only hide it.
            say(&format!("no further events: {error}"));
            break;
        }
    }
    Ok(())
}

/// Waits until Evenkeel has seen to what its clients left behind. What isn't settled then is told by the counters.
fn settle(sidecar: &Sidecar) -> Result<()> {
    let sum = |name: &str| sidecar.metric_sum(&format!("evenkeel_{name}"), &[]);
    let settled =
        wait::poll("an account at rest", Duration::from_secs(20), Duration::from_millis(100), || {
            let rest = sum("hold_requests")? + sum("hold_bytes")? + sum("client_connections")?;
            Ok((rest + sum("upstream_in_flight")? < 0.5).then_some(()))
        });
    match settled {
        Err(crate::Error::Timeout { .. }) => Ok(()),
        other => other,
    }
}

struct Clients {
    producers: Vec<ProducerProgram>,
    consumers: Vec<(String, ConsumerProgram)>,
}

impl Clients {
    fn start(size: Size, bootstrap: &str, folder: &Folder, say: &dyn Fn(&str)) -> Result<Self> {
        let copies = if size == Size::Short { 1 } else { 2 };
        let available = |client: PythonClient| match client.unavailable() {
            None => true,
            Some(why) => {
                say(&format!("{client:?}: {why}"));
                false
            }
        };
        let mut consumers = Vec::new();
        let mut reader = |group: &str, number: usize, library: Option<Library>| {
            let id = format!("{group}-{number}");
            let mut spec = ConsumerSpec::new(&id, bootstrap, TOPIC, group);
            spec.library = library.unwrap_or(spec.library);
            if library.is_some() {
                // Java's default. With its own, 10 s, kafka-python leaves its group while a coordinator is frozen for longer.
                spec.config.push(("session.timeout.ms".to_owned(), "45000".to_owned()));
            }
            spec.record = Some(folder.consumer(&id));
            let program = ConsumerProgram::start(&spec)?;
            program.wait_assigned(PATIENCE)?;
            consumers.push((group.to_owned(), program));
            Ok::<_, crate::Error>(())
        };
        for number in 1..=copies {
            reader(JAVA_GROUP, number, None)?;
        }
        let (python, confluent) = (PythonClient::KafkaPython202, PythonClient::Confluent);
        if available(python) {
            reader(PYTHON_GROUP, 1, Some(Library::Python(python)))?;
        }
        let mut producers = Vec::new();
        let mut writer = |id: &str, library: Option<Library>, rate: f64, config: &[(&str, &str)]| {
            let mut spec = ProducerSpec::new(id, bootstrap, TOPIC, PARTITIONS).rate(rate);
            spec.library = library.unwrap_or(spec.library);
            spec.record = Some(folder.producer(id));
            spec = config.iter().fold(spec, |spec, (key, value)| spec.set(key, value));
            producers.push(ProducerProgram::start(&spec)?);
            Ok::<_, crate::Error>(())
        };
        for number in 1..=copies {
            // The second one sends records one by one, few enough that five requests under way can catch up.
            let (single, rate): (&[_], _) =
                if number == 2 { (&[("batch.size", "0")], 30.0) } else { (&[], 80.0) };
            writer(&format!("java-{number}"), None, rate, single)?;
            if available(python) {
                writer(&format!("kafka-python-{number}"), Some(Library::Python(python)), 80.0, &[])?;
            }
            if available(confluent) {
                // It does so as well.
                writer(&format!("confluent-kafka-{number}"), Some(Library::Python(confluent)), 30.0, &[])?;
            }
        }
        Ok(Self { producers, consumers })
    }

    /// Waits until each producer has had a success in each partition since `since_us`, and each reader another record.
    fn wait_served(&self, since_us: i64) -> Result<()> {
        let delivered: Vec<usize> = self.consumers.iter().map(|(_, consumer)| consumer.delivered()).collect();
        let wanted = usize::try_from(PARTITIONS).unwrap_or(usize::MAX);
        let every = Duration::from_millis(100);
        for producer in &self.producers {
            wait::poll(&format!("new successes of {}", producer.id()), PATIENCE, every, || {
                let last = producer.last_successes_us();
                Ok((last.values().filter(|&&at| at > since_us).count() == wanted).then_some(()))
            })?;
        }
        for ((group, consumer), before) in self.consumers.iter().zip(delivered) {
            wait::poll(&format!("new records for {group}"), PATIENCE, every, || {
                Ok((consumer.delivered() > before).then_some(()))
            })?;
        }
        Ok(())
    }

    /// Ends the producers, reads the topic from the brokers, gives the readers time to see all of it, and ends them.
    fn stop(self, cluster: &mut Cluster, folder: &Folder) -> Result<()> {
        // All at once, so that none goes on while another one ends. One that doesn't end is told by the checker: its record
        // has no end.
        std::thread::scope(|scope| {
            for producer in self.producers {
                scope.spawn(move || drop(producer.stop()));
            }
        });
        let log = cluster.admin().read_topic(TOPIC)?;
        folder.write_topic(&log)?;
        let bound = Instant::now() + Duration::from_secs(60);
        for group in [JAVA_GROUP, PYTHON_GROUP] {
            let delivered = || {
                let members = self.consumers.iter().filter(|(own, _)| own == group);
                members.map(|(_, consumer)| consumer.delivered()).sum::<usize>()
            };
            if self.consumers.iter().any(|(own, _)| own == group) {
                let left = bound.saturating_duration_since(Instant::now());
                // What is missing then is judged as missed.
                let _ = wait::until("deliveries", left, || delivered() >= log.len());
            }
        }
        // These, too: a member that ends later than the others is given what they had.
        std::thread::scope(|scope| {
            let ends = self
                .consumers
                .into_iter()
                .map(|(_, consumer)| scope.spawn(move || consumer.stop().map(drop)));
            let ends: Vec<_> = ends.collect();
            let mut joined = ends.into_iter().map(std::thread::ScopedJoinHandle::join);
            let panicked = |_| Err(crate::Error::program("chaos", "a reader's end panicked"));
            joined.try_for_each(|end| end.unwrap_or_else(panicked))
        })
    }
}
