//! Fleets of sidecars: simulated ones by the thousand, and a hundred real ones before a real cluster.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use testbed::process::{self, Server};
use testbed::sidecar::free_addr;
use testbed::tap::Tapped;
use testbed::trickle::Trickle;
use testbed::{
    Cluster, Driven, Error, KafkaVersion, Result, Sidecar, Spec, Tap, drive, judge_producers, wait,
};

use super::{Bench, Finding, PATIENCE};

/// Sizes of simulated fleets.
const SIZES: [u16; 3] = [100, 300, 1000];
const PARTITIONS: &str = "300";
/// Twice as much as the fleet has grown by is no herd, but noise of a busy machine.
const NOISE: f64 = 2.0;
const REAL: usize = 100;
const TOPIC: &str = "fleet";
const TOPIC_PARTITIONS: u32 = 12;
const METADATA: i16 = 3;
const NO_KILLS: (u64, usize, Duration) = (1, 0, Duration::ZERO);

fn plan(versions: &str, sidecars: &[String]) -> String {
    let list: Vec<String> = sidecars.iter().map(|at| format!("\"{at}\"")).collect();
    format!(
        "plan_id = \"roll\"\ncluster = \"bed\"\nprotocol = \"kafka\"\nstable_s = 5\n{versions}\
         members = [{{ id = \"1\" }}, {{ id = \"2\" }}, {{ id = \"3\" }}]\nbounds = {{ gate_s = 300, settle_s = 5 }}\n[sidecars]\nlist = [{}]\n",
        list.join(", ")
    )
}

fn folder(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("evenkeel-{name}-{}", std::process::id()))
}

fn members() -> Vec<String> {
    (1..=3).map(|id| id.to_string()).collect()
}

/// `evenkeel upgrade --serve`.
pub(super) struct Serve {
    server: Server,
    at: SocketAddr,
}

impl Serve {
    pub(super) fn start(bench: &Bench, folder: &Path, plan: &str) -> Result<Self> {
        std::fs::create_dir_all(folder).map_err(Error::io("making a folder"))?;
        let file = folder.join("serve.toml");
        std::fs::write(&file, plan).map_err(Error::io("writing a plan"))?;
        let at = free_addr(Ipv4Addr::LOCALHOST)?;
        let mut command = Command::new(&bench.binary);
        command.arg("upgrade").arg(file).args(["--serve", "--listen", &at.to_string()]);
        let server = Server::spawn("evenkeel upgrade --serve", command, &folder.join("serve.log"), None)?;
        let serve = Self { server, at };
        let answers = || std::net::TcpStream::connect(at).is_ok();
        wait::until("the fan-out to listen", PATIENCE, answers)?;
        Ok(serve)
    }

    /// Where it listens.
    pub(super) fn at(&self) -> SocketAddr {
        self.at
    }

    fn cost(&self) -> (u64, Duration) {
        process::cost(self.server.pid()).unwrap_or_default()
    }
}

/// The process of a simulated fleet.
struct Simulated {
    child: Child,
    orders: ChildStdin,
    lines: std::io::Lines<BufReader<std::process::ChildStdout>>,
    sidecars: Vec<String>,
}

impl Simulated {
    fn start(bench: &Bench, count: u16) -> Result<Self> {
        let program = bench.binary.with_file_name("simulated-fleet");
        let mut child = Command::new(&program)
            .args([&count.to_string(), PARTITIONS])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(Error::io(format!("starting {}", program.display())))?;
        let none = || Error::program("simulated-fleet", "no pipe");
        let orders = child.stdin.take().ok_or_else(none)?;
        let lines = BufReader::new(child.stdout.take().ok_or_else(none)?).lines();
        let mut fleet = Self { child, orders, lines, sidecars: Vec::new() };
        fleet.sidecars = fleet.line()?.split(',').map(str::to_owned).collect();
        Ok(fleet)
    }

    fn line(&mut self) -> Result<String> {
        let line = self.lines.next().ok_or_else(|| Error::program("simulated-fleet", "it has ended"))?;
        line.map_err(Error::io("reading from a simulated fleet"))
    }

    fn order(&mut self, text: &str) -> Result<String> {
        writeln!(self.orders, "{text}").map_err(Error::io("ordering at a simulated fleet"))?;
        self.line()
    }

    fn gathered(&mut self) -> Result<u64> {
        Ok(self.order("gathered")?.parse().unwrap_or(0))
    }
}

impl Drop for Simulated {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What one roll cost.
struct Row {
    size: u16,
    through: &'static str,
    driven: Driven,
    serve: Option<(u64, Duration)>,
    gathered_per_second: f64,
}

fn seconds(time: Duration) -> f64 {
    time.as_secs_f64()
}

/// A whole number, as far as a fraction can hold it.
fn fraction(number: u64) -> f64 {
    f64::from(u32::try_from(number).unwrap_or(u32::MAX))
}

impl Row {
    fn cpu(&self) -> f64 {
        seconds(self.driven.cpu) + self.serve.map_or(0.0, |(_, cpu)| seconds(cpu))
    }
}

fn simulated_roll(bench: &Bench, size: u16, serves: bool) -> Result<Row> {
    let mut fleet = Simulated::start(bench, size)?;
    let versions = "from = \"3.9\"\nto = \"4.3\"\n";
    let own = folder(&format!("fleet-{size}-{serves}"));
    let serve =
        if serves { Some(Serve::start(bench, &own, &plan(versions, &fleet.sidecars))?) } else { None };
    let sidecars = serve.as_ref().map_or_else(|| fleet.sidecars.clone(), |serve| vec![serve.at.to_string()]);
    let before = fleet.gathered()?;
    let driven = drive(&bench.binary, &own, &plan(versions, &sidecars), NO_KILLS, |member| {
        fleet.order(&format!("restart {member} 4.3 2000")).map(drop)
    })?;
    let gathered = fleet.gathered()? - before;
    let row = Row {
        size,
        through: if serves { "`--serve`" } else { "the driver" },
        gathered_per_second: fraction(gathered) / seconds(driven.took),
        serve: serve.map(|serve| serve.cost()),
        driven,
    };
    let _ = std::fs::remove_dir_all(own);
    Ok(row)
}

/// Rolls of simulated fleets of growing size.
pub(super) fn simulated(bench: &Bench) -> Result<Finding> {
    let mut finding = Finding::default();
    finding.figures.push_str(
        "A roll of three members, two seconds away each, `stable_s` 5. CPU time and memory are those of the processes that order (the driver, and the \
         fan-out where there is one). *Asked*: how often a second all sidecars together asked the cluster for facts, which is one Metadata for all topics \
         at one broker each time.\n\n\
         | sidecars | ordered by | the roll took | CPU time | peak memory of the driver | of the fan-out | asked per second |\n|---|---|---|---|---|---|---|\n",
    );
    let mut rows = Vec::new();
    for serves in [false, true] {
        for size in SIZES {
            bench.say(&format!(
                "{size} simulated sidecars{}",
                if serves { " behind the fan-out" } else { "" }
            ));
            let row = simulated_roll(bench, size, serves)?;
            let breaches = row.driven.breaches(&members());
            finding
                .breaches
                .extend(breaches.into_iter().map(|breach| format!("{size}, {}: {breach}", row.through)));
            let _ = writeln!(
                finding.figures,
                "| {} | {} | {:.0} s | {:.1} s | {} MiB | {} | {:.1} |",
                row.size,
                row.through,
                seconds(row.driven.took),
                row.cpu(),
                row.driven.peak_kib >> 10,
                row.serve.map_or_else(|| "–".to_owned(), |(peak, _)| format!("{} MiB", peak >> 10)),
                row.gathered_per_second,
            );
            rows.push(row);
        }
    }
    for (small, large) in
        rows.iter().zip(rows.iter().skip(1)).filter(|(small, large)| large.size > small.size)
    {
        let grown = f64::from(large.size) / f64::from(small.size) * NOISE;
        let memory = |row: &Row| fraction(row.driven.peak_kib + row.serve.map_or(0, |(peak, _)| peak));
        for (what, before, after) in [
            ("CPU time", small.cpu(), large.cpu()),
            ("time", seconds(small.driven.took), seconds(large.driven.took)),
            ("memory", memory(small), memory(large)),
            ("questions to the cluster", small.gathered_per_second, large.gathered_per_second),
        ] {
            if after > before * grown {
                let text = format!("{what}: {before:.1} at {} and {after:.1} at {}", small.size, large.size);
                finding.breaches.push(format!("{}: {text}: grows faster than the fleet", large.through));
            }
        }
    }
    Ok(finding)
}

/// Connections and Metadata requests of each second at one broker.
#[derive(Default)]
struct Rates {
    last: Tapped,
    connections: Vec<usize>,
    metadata: Vec<usize>,
}

impl Rates {
    fn note(&mut self, seen: Tapped) {
        let metadata = |tapped: &Tapped| tapped.requests.get(&METADATA).copied().unwrap_or(0);
        self.connections.push(seen.connections - self.last.connections);
        self.metadata.push(metadata(&seen) - metadata(&self.last));
        self.last = seen;
    }

    fn told(values: &[usize]) -> String {
        let sum: usize = values.iter().sum();
        let mean = fraction(u64::try_from(sum).unwrap_or(0))
            / fraction(u64::try_from(values.len().max(1)).unwrap_or(1));
        format!("{mean:.1} ({})", values.iter().max().copied().unwrap_or(0))
    }
}

/// A cluster that clients find behind taps.
fn tapped() -> Result<(Cluster, BTreeMap<u8, Tap>)> {
    let mut cluster = Cluster::prepare(Spec::new(KafkaVersion::V3_9_2))?;
    let mut taps = BTreeMap::new();
    for id in cluster.ids() {
        let (front, port) = (cluster.spare_ip(id), cluster.addr(id)?.port());
        let internal =
            cluster.internal_bootstrap().split(',').nth(usize::from(id) - 1).unwrap_or_default().to_owned();
        // Clients find each broker at its tap.
        cluster.set(id, "advertised.listeners", &format!("CLIENT://{front}:{port},INTERNAL://{internal}"))?;
        taps.insert(id, Tap::start((front, port).into(), cluster.addr(id)?)?);
        cluster.start_node(id)?;
    }
    cluster.wait_ready()?;
    cluster.create_topic(TOPIC, TOPIC_PARTITIONS, 3, &[])?;
    Ok((cluster, taps))
}

/// A hundred real sidecars, each with a client of its own, before three brokers.
pub(super) fn real(bench: &Bench) -> Result<Finding> {
    let (mut cluster, taps) = tapped()?;
    let bootstrap: Vec<String> = taps.values().map(|tap| tap.addr().to_string()).collect();
    let (mut sidecars, mut through) = (Vec::new(), Vec::new());
    for _ in 0..REAL {
        let (sidecar, front) = Sidecar::kafka(&bench.binary, &bootstrap.join(","), "")?;
        through.push(front.listen);
        sidecars.push(sidecar);
    }
    for sidecar in &mut sidecars {
        sidecar.wait_ready(PATIENCE)?;
    }
    bench.say(&format!("{REAL} sidecars are ready"));
    let trickle = Trickle::start(&through, TOPIC, TOPIC_PARTITIONS, Duration::from_millis(500))?;
    let list: Vec<String> = sidecars.iter().map(|sidecar| sidecar.admin().to_string()).collect();
    let mut finding = Finding::default();
    let _ = writeln!(
        finding.figures,
        "{REAL} sidecars, each with a raw client without retries that writes two records a second, before three brokers of Kafka 3.9.2. Each is restarted \
         (SIGTERM) by `evenkeel upgrade`, `stable_s` 5. Per second, counted on the wire: the mean of the roll, and the busiest second in brackets.\n\n\
         | ordered by | the roll took | driver: CPU, peak | fan-out: CPU, peak | broker | connections per second | Metadata per second |\n|---|---|---|---|---|---|---|"
    );
    let own = folder("fleet-real");
    for serves in [false, true] {
        let own = own.join(if serves { "serve" } else { "driver" });
        let serve = if serves { Some(Serve::start(bench, &own, &plan("", &list))?) } else { None };
        let asked = serve.as_ref().map_or_else(|| list.clone(), |serve| vec![serve.at.to_string()]);
        let text = plan("", &asked).replace("\"roll\"", if serves { "\"again\"" } else { "\"roll\"" });
        let kafka: Vec<String> = bootstrap.iter().map(|at| format!("\"{at}\"")).collect();
        let text = format!("move_leaders = true\n{text}[kafka]\nbootstrap = [{}]\n", kafka.join(", "));
        bench.say(if serves { "a roll through the fan-out" } else { "a roll by the driver" });
        let (over, rates) = (AtomicBool::new(false), std::sync::Mutex::new(BTreeMap::<u8, Rates>::new()));
        let driven = std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut next = Instant::now();
                while !over.load(Ordering::Acquire) {
                    for (id, tap) in &taps {
                        let mut rates = rates.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                        let rate = rates.entry(*id).or_default();
                        if rate.last == Tapped::default() {
                            rate.last = tap.seen();
                        } else {
                            rate.note(tap.seen());
                        }
                    }
                    next += Duration::from_secs(1);
                    std::thread::sleep(next.saturating_duration_since(Instant::now()));
                }
            });
            let driven = drive(&bench.binary, &own, &text, NO_KILLS, |member| {
                bench.say(&format!("broker {member}"));
                let id = member.parse().unwrap_or(0);
                cluster.stop(id)?;
                cluster.start_node(id)
            });
            over.store(true, Ordering::Release);
            driven
        })?;
        finding.breaches.extend(driven.breaches(&members()));
        for (id, rate) in rates.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner) {
            let cost = |(peak, cpu): (u64, Duration)| format!("{:.1} s, {} MiB", seconds(cpu), peak >> 10);
            let _ = writeln!(
                finding.figures,
                "| {} | {:.0} s | {} | {} | {id} | {} | {} |",
                if serves { "`--serve`" } else { "the driver" },
                seconds(driven.took),
                cost((driven.peak_kib, driven.cpu)),
                serve.as_ref().map_or_else(|| "–".to_owned(), |serve| cost(serve.cost())),
                Rates::told(&rate.connections),
                Rates::told(&rate.metadata),
            );
        }
    }
    let resident: Vec<u64> =
        sidecars.iter().filter_map(|sidecar| Some(process::cost(sidecar.pid()?)?.0 >> 10)).collect();
    let histories = trickle.finish()?;
    cluster.wait_ready()?;
    let log = cluster.admin().read_topic(TOPIC)?;
    let verdict = judge_producers(&histories, &log);
    let _ = writeln!(
        finding.figures,
        "\nClients: {} records acknowledged, {} errors, {} lost, {} repeated, {} out of order. Peak memory of a sidecar: {} to {} MiB.",
        verdict.acked,
        verdict.errors,
        verdict.lost.len(),
        verdict.repeated.len(),
        verdict.reordered.len(),
        resident.iter().min().copied().unwrap_or(0),
        resident.iter().max().copied().unwrap_or(0),
    );
    if !verdict.is_exact() {
        finding.breaches.push(format!("what clients saw: {:?}", verdict.by_class));
    }
    let _ = std::fs::remove_dir_all(own);
    Ok(finding)
}
