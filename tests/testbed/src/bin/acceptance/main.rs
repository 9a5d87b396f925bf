//! The long proofs, on real clusters with Kafka's own session time-outs. Each can be run alone; what it found is written
//! to `docs/acceptance.md`, in place of what it found before. The exit status says whether every promise was kept.
//!
//! `--list` names them, `--only NAME` (again for more) picks some. `--direct` shows what clients of `ZooKeeper` see without
//! Evenkeel and writes nothing.

mod acks1;
mod addresses;
mod alerts;
mod bad_connections;
mod chaos;
mod cold_start;
mod document;
mod drains;
mod driven;
mod elections;
mod fleets;
mod garbage;
mod kills;
mod memory;
mod outage;
mod roll_script;
mod rolls;
mod secured;
mod transactions;
mod ui;
mod upgrade;
mod zones;
mod zookeeper;
mod zookeeper_changes;
mod zookeeper_chaos;
mod zookeeper_idle;
mod zookeeper_lease;
mod zookeeper_moves;
mod zookeeper_shield;
mod zookeeper_small;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use testbed::zookeeper::Refit;
use testbed::{KafkaVersion, Result, Sidecar, Spec, ZooKeeperVersion};

/// For what a cluster, or a client of it, does in the middle of a fault on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// A proof.
struct Proof {
    /// How it is picked, and its heading.
    name: &'static str,
    /// What it shows, in one or two sentences.
    shows: &'static str,
    run: fn(&Bench) -> Result<Finding>,
}

/// What a proof found.
#[derive(Default)]
struct Finding {
    /// Markdown: the figures.
    figures: String,
    /// Broken promises; none means that it passed.
    breaches: Vec<String>,
}

/// What proofs need.
#[derive(Clone)]
struct Bench {
    /// Evenkeel's binary.
    binary: PathBuf,
    /// Only what can be seen without Evenkeel, where a proof has that.
    direct: bool,
    start: Instant,
}

impl Bench {
    /// Says how far it has got.
    fn say(&self, text: &str) {
        println!("[{:6.1} s] {text}", self.start.elapsed().as_secs_f64());
    }
}

const PROOFS: &[Proof] = &[
    Proof {
        name: "soft-rolls-3.9",
        shows: "Three consecutive planned rolls (SIGTERM, one broker after another) of Kafka 3.9.2, under clients without retries.",
        run: |bench| rolls::soft(bench, KafkaVersion::V3_9_2),
    },
    Proof {
        name: "soft-rolls-4.x",
        shows: "The same with Kafka 4.3.1.",
        run: |bench| rolls::soft(bench, KafkaVersion::V4_3_1),
    },
    Proof {
        name: "hard-rolls-3.9",
        shows: "One roll with SIGKILL of Kafka 3.9.2. Records of unknown outcome are reported as such; nothing is lost, repeated or out of order.",
        run: |bench| rolls::hard(bench, KafkaVersion::V3_9_2),
    },
    Proof {
        name: "secured-rolls-3.9",
        shows: "A planned roll and one with SIGKILL of Kafka 3.9.2 for each SASL mechanism, over TLS and with the least rights, under Java, Python and Go.",
        run: |bench| secured::rolls(bench, KafkaVersion::V3_9_2),
    },
    Proof {
        name: "secured-rolls-4.x",
        shows: "The same with Kafka 4.3.1.",
        run: |bench| secured::rolls(bench, KafkaVersion::V4_3_1),
    },
    Proof {
        name: "kills",
        shows: "30 consecutive SIGKILLs of leaders under clients without retries, the brokers' session time-out 3 s: nothing lost, repeated or \
                out of order, no error; and what Evenkeel adds to the stall of an ideal client.",
        run: |bench| kills::run(bench, Spec::new(KafkaVersion::V3_9_2).fast(), 30),
    },
    Proof {
        name: "kills-default",
        shows: "The same with Kafka's own session time-out (9 s), six times.",
        run: |bench| kills::run(bench, Spec::new(KafkaVersion::V3_9_2), 6),
    },
    Proof {
        name: "preferred-election",
        shows: "Preferred leaders are elected while clients without retries produce: after the restart of each broker, and many times without one.",
        run: elections::run,
    },
    Proof {
        name: "transactions-v1",
        shows: "Topics are copied in transactions (read, process, write; Java and librdkafka) through a soft and a hard roll of Kafka 3.9.2: \
                what comes out is what went in, in order.",
        run: |bench| transactions::run(bench, KafkaVersion::V3_9_2),
    },
    Proof {
        name: "transactions-v2",
        shows: "The same with Kafka 4.3.1, the Java library with the second version of the transaction protocol (KIP-890).",
        run: |bench| transactions::run(bench, KafkaVersion::V4_3_1),
    },
    Proof {
        name: "upgrade",
        shows: "A rolling upgrade from Kafka 3.9.2 to 4.3.1, features finalized last, with clients that were connected before it, came in the middle \
                and came after it: no error, nothing lost, repeated or out of order, and no version refused.",
        run: upgrade::run,
    },
    Proof {
        name: "roll-script",
        shows: "The same upgrade, and one from ZooKeeper 3.8.6 to 3.9.5, by a script with curl (`deploy/roll.sh`) through five sidecars with clients \
                at each: no error, nothing lost or repeated, no session expired.",
        run: roll_script::run,
    },
    Proof {
        name: "ui",
        shows: "The status page in a real browser while a server of ZooKeeper is drained, stopped and started again: phases, gates with their reasons, errors; \
                by the keyboard and without colour.",
        run: ui::run,
    },
    Proof {
        name: "alerts",
        shows: "Prometheus' own tool reads the rules, the dashboard's queries and a scrape, and tries the alerts on stories.",
        run: alerts::run,
    },
    Proof {
        name: "upgrade-kafka",
        shows: "`evenkeel upgrade` takes Kafka from 3.9.2 to 4.3.1 and then rolls it once more, through five sidecars with clients without retries; the \
                driver is killed (SIGKILL) five times in each roll and started again.",
        run: driven::kafka,
    },
    Proof {
        name: "drained-killed",
        shows: "A broker whose leaders have been moved is drained and killed (SIGKILL) the moment that `drained` is answered, twenty times: no error, \
                nothing held, no unknown outcome.",
        run: drains::killed,
    },
    Proof {
        name: "drained-told",
        shows: "A broker that leads is drained and told to end (SIGTERM) the moment that `drained` is answered, twenty times; producers with acks=1, \
                which is not raised, among the clients: no error, no unknown outcome, no record cut off.",
        run: drains::told,
    },
    Proof {
        name: "fleet-simulated",
        shows: "Rolls of 100, 300 and 1,000 simulated sidecars over real HTTP, by `evenkeel upgrade` and through `evenkeel upgrade --serve`: what a roll \
                costs, and that it grows no faster than the fleet.",
        run: fleets::simulated,
    },
    Proof {
        name: "fleet-real",
        shows: "A hundred real sidecars before three real brokers, each with a client: two rolls by `evenkeel upgrade`, the second through \
                `evenkeel upgrade --serve`; what reaches the brokers every second.",
        run: fleets::real,
    },
    Proof {
        name: "zones",
        shows: "Brokers of one zone become six in three zones, replicas are reassigned over them, two old brokers are removed, then one whole zone is \
                killed; consumers fetch from their own zone.",
        run: zones::run,
    },
    Proof {
        name: "memory",
        shows: "A full hold stops reading its clients, stays within its budget (resident memory), and drops nothing.",
        run: memory::run,
    },
    Proof {
        name: "outage",
        shows: "Two of three brokers freeze for longer than requests are held and clients wait: there are errors, and nothing is lost, repeated or out \
                of order.",
        run: outage::run,
    },
    Proof {
        name: "acks1",
        shows: "Producers with acks=1 lose no acknowledged record in planned rolls, where the same ones do without Evenkeel; and they go on \
                writing while two of three brokers are down and their topic is under min.insync.replicas.",
        run: acks1::run,
    },
    Proof {
        name: "addresses",
        shows: "All brokers come back at other addresses under the same names; one former address is another broker's by then, while DNS still names it.",
        run: addresses::run,
    },
    Proof { name: "cold-start", shows: "Evenkeel starts while no broker runs.", run: cold_start::run },
    Proof {
        name: "garbage",
        shows: "Bytes that are no Kafka (or no HTTP) on each kind of listener, while a client produces and another consumes.",
        run: garbage::run,
    },
    Proof {
        name: "bad-connections",
        shows: "50,000 bad connections of more than 20 kinds for each protocol, in plain text and behind TLS, while 100 good ones work and others take their places: the good ones notice nothing, and descriptors, memory \
                and gauges return to where they were.",
        run: bad_connections::run,
    },
    Proof {
        name: "chaos",
        shows: "Six seeds of chaos, 4 minutes each: soft and hard events in an order of the seed's, under many clients without retries; a checker proves from the records what became of the promises.",
        run: |bench| Ok(chaos::run(bench)),
    },
    Proof {
        name: "zookeeper-soft-rolls-3.8",
        shows: "Ten planned rolls of ZooKeeper 3.8.6 under clients of six libraries, which hold ephemeral nodes and watches and write without retries.",
        run: |bench| zookeeper::soft(bench, ZooKeeperVersion::V3_8_6),
    },
    Proof {
        name: "zookeeper-soft-rolls-3.9",
        shows: "The same with ZooKeeper 3.9.5.",
        run: |bench| zookeeper::soft(bench, ZooKeeperVersion::V3_9_5),
    },
    Proof {
        name: "zookeeper-hard-rolls-3.8",
        shows: "Ten rolls of ZooKeeper 3.8.6 with SIGKILL under the same clients, without persistent watches.",
        run: |bench| zookeeper::hard(bench, ZooKeeperVersion::V3_8_6),
    },
    Proof {
        name: "zookeeper-hard-rolls-3.9",
        shows: "The same with ZooKeeper 3.9.5.",
        run: |bench| zookeeper::hard(bench, ZooKeeperVersion::V3_9_5),
    },
    Proof {
        name: "zookeeper-secured",
        shows: "Planned rolls and rolls with SIGKILL of ensembles with encrypted ports and of such that want DIGEST-MD5, of 3.8.6 and 3.9.5, under the same clients.",
        run: zookeeper::secured,
    },
    Proof {
        name: "zookeeper-moves-3.8",
        shows: "1,000 sessions with watches of every kind leave one server after another of ZooKeeper 3.8.7 by a drain, while what they watch is \
                changed all the time: each event is told once and in order, and the pause that clients see.",
        run: |bench| zookeeper_moves::run(bench, ZooKeeperVersion::V3_8_7),
    },
    Proof {
        name: "zookeeper-moves-3.9",
        shows: "The same with ZooKeeper 3.9.6.",
        run: |bench| zookeeper_moves::run(bench, ZooKeeperVersion::V3_9_6),
    },
    Proof {
        name: "zookeeper-upgrade",
        shows: "A rolling upgrade from ZooKeeper 3.8.6 to 3.9.5, each server drained before it stops, then a roll of the new version, under clients \
                of six libraries without retries.",
        run: |bench| {
            zookeeper_changes::run(bench, ZooKeeperVersion::V3_8_6, Refit::Upgrade(ZooKeeperVersion::V3_9_5))
        },
    },
    Proof {
        name: "upgrade-zookeeper",
        shows: "`evenkeel upgrade` takes ZooKeeper from 3.8.6 to 3.9.5 and then rolls it once more, through five sidecars with clients without retries; \
                the driver is killed (SIGKILL) five times in each roll and started again.",
        run: driven::zookeeper,
    },
    Proof {
        name: "zookeeper-addresses",
        shows: "All servers of ZooKeeper 3.9.5 come back at other addresses under the same names.",
        run: |bench| zookeeper_changes::run(bench, ZooKeeperVersion::V3_9_5, Refit::Names),
    },
    Proof {
        name: "zookeeper-list",
        shows: "All servers of ZooKeeper 3.8.6 come back at other addresses; the list in Evenkeel's configuration is changed each time, and SIGHUP \
                makes it known.",
        run: |bench| zookeeper_changes::run(bench, ZooKeeperVersion::V3_8_6, Refit::List),
    },
    Proof {
        name: "zookeeper-reconfig",
        shows: "Each member of an ensemble of ZooKeeper 3.9.5 is replaced by a new one through reconfig; Evenkeel follows the ensemble's own list.",
        run: |bench| zookeeper_changes::run(bench, ZooKeeperVersion::V3_9_5, Refit::Members),
    },
    Proof {
        name: "zookeeper-shield",
        shows: "Malformed requests: which of them stop all writes of a ZooKeeper 3.9.5 ensemble when they reach it, and that through Evenkeel \
                none does.",
        run: zookeeper_shield::run,
    },
    Proof {
        name: "zookeeper-idle",
        shows: "Ten thousand idle sessions through one Evenkeel: their memory; drains, restarts and kills of servers move them without a herd.",
        run: zookeeper_idle::run,
    },
    Proof {
        name: "zookeeper-small",
        shows: "Ensembles of one and of two servers are killed and started again: within the lease sessions, connections and watches last; beyond it connections end honestly and sessions are resumed.",
        run: zookeeper_small::run,
    },
    Proof {
        name: "zookeeper-lease",
        shows: "No client believes in a session that the ensemble has ended, whatever is frozen or cut off; and what clients that die or freeze leave \
                behind goes in time. Told by the servers' logs.",
        run: zookeeper_lease::run,
    },
    Proof {
        name: "zookeeper-chaos",
        shows: "Six seeds of chaos, 3 minutes each, on ensembles of 3.8.6 and 3.9.5: every outcome is recorded, and held against linearizability and \
                the servers' own transaction logs.",
        run: |bench| Ok(zookeeper_chaos::run(bench)),
    },
];

fn main() -> ExitCode {
    let mut only = Vec::new();
    let mut words: Vec<String> = std::env::args().skip(1).collect();
    let direct = words.iter().any(|word| word == "--direct");
    words.retain(|word| word != "--direct");
    let mut words = words.into_iter();
    while let Some(word) = words.next() {
        match (word.as_str(), words.next()) {
            ("--list", None) => {
                for proof in PROOFS {
                    println!("{:24} {}", proof.name, proof.shows);
                }
                return ExitCode::SUCCESS;
            }
            ("--only", Some(name)) if PROOFS.iter().any(|proof| proof.name == name) => only.push(name),
            _ => {
                eprintln!("acceptance: --list, or --only NAME (again for more); names are those of --list");
                return ExitCode::from(2);
            }
        }
    }
    if direct {
        // The others have nothing to show without Evenkeel.
        let has = |name: &str| name.starts_with("zookeeper-") && name.contains("-rolls-");
        only.retain(|name| has(name));
        if only.is_empty() {
            only = PROOFS.iter().map(|p| p.name.to_owned()).filter(|name| has(name)).collect();
        }
    }
    match run(&only, direct) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("acceptance: {error}");
            ExitCode::from(2)
        }
    }
}

fn run(only: &[String], direct: bool) -> Result<bool> {
    let binary = if direct { PathBuf::new() } else { Sidecar::binary()? };
    let bench = Bench { binary, direct, start: Instant::now() };
    let order: Vec<&str> = PROOFS.iter().map(|proof| proof.name).collect();
    let mut all_kept = true;
    for proof in PROOFS.iter().filter(|p| only.is_empty() || only.iter().any(|name| name == p.name)) {
        bench.say(&format!("{}: {}", proof.name, proof.shows));
        let start = Instant::now();
        // What hindered a proof is no proof: it fails, and the others get their turn.
        let finding = (proof.run)(&bench).unwrap_or_else(|error| Finding {
            breaches: vec![format!("it could not be carried through: {error}")],
            ..Finding::default()
        });
        let took = start.elapsed();
        bench.say(&format!(
            "{}: {}",
            proof.name,
            if finding.breaches.is_empty() { "passed" } else { "FAILED" }
        ));
        println!("\n{}", finding.figures);
        for breach in &finding.breaches {
            println!("  broken: {breach}");
        }
        all_kept &= finding.breaches.is_empty();
        if !direct {
            document::record(&order, proof, &finding, took, &bench.binary)?;
        }
    }
    Ok(all_kept)
}
