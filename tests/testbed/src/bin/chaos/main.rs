//! A run of chaos: `make chaos SEED=… MINUTES=…`, of Kafka or (`ZOOKEEPER=3.9.5`) of `ZooKeeper`. Prints what happened and what was found; the exit status says whether every
//! promise was kept (1: one was broken, 2: the run could not be carried through). A failing seed is printed with the
//! command that replays it, and the folder with its histories and logs is kept.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use testbed::chaos::history::Run;
use testbed::chaos::{Events, Folder, Order, Size, Verdict, judge, prove, table};
use testbed::zookeeper::chaos as keeper;
use testbed::{KafkaVersion, Result, Sidecar, ZooKeeperVersion};

const HELP: &str = "\
chaos [--seed N] [--minutes N] [--kafka VERSION | --zookeeper VERSION] [--events soft|hard|all] [--short] [--keep] [--log LEVEL]
chaos --schedule N …   only prints the first N events of the seed
chaos --check FOLDER   judges the records of an earlier run again
  --seed     decides the events; without it the clock does
  --minutes  events begin for this long (default 4)
  --kafka    3.9.2 or 4.3.1 (default 3.9.2)
  --zookeeper  3.8.6, 3.8.7, 3.9.5 or 3.9.6, instead of Kafka; has no --check
  --short    brokers with a session time-out of 3 s, fewer clients
  --keep     keeps the folder of a good run, too
  --log      of Evenkeel: info (default), debug, trace";

struct Wish {
    seed: u64,
    minutes: f64,
    version: KafkaVersion,
    zookeeper: Option<ZooKeeperVersion>,
    events: Events,
    size: Size,
    keep: bool,
    log: String,
    schedule: usize,
    check: Option<PathBuf>,
}

fn main() -> ExitCode {
    let wish = match wish(std::env::args().skip(1)) {
        Ok(wish) => wish,
        Err(why) => {
            eprintln!("chaos: {why}\n{HELP}");
            return ExitCode::from(2);
        }
    };
    match carry_out(&wish) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("chaos: {error}");
            ExitCode::from(2)
        }
    }
}

fn wish(words: impl Iterator<Item = String>) -> std::result::Result<Wish, String> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs());
    let mut wish = Wish {
        seed: now % 100_000,
        minutes: 4.0,
        version: KafkaVersion::V3_9_2,
        zookeeper: None,
        events: Events::All,
        size: Size::Full,
        keep: false,
        log: "info".to_owned(),
        schedule: 0,
        check: None,
    };
    let mut words = words;
    while let Some(word) = words.next() {
        match word.as_str() {
            "--short" => wish.size = Size::Short,
            "--keep" => wish.keep = true,
            key => {
                let value =
                    words.next().ok_or_else(|| format!("{key}: what is this, or where is its value?"))?;
                let wrong = |_| format!("{key} {value}: no number");
                match key {
                    "--seed" => wish.seed = value.parse().map_err(wrong)?,
                    "--minutes" => {
                        let minutes = value.parse().ok().filter(|minutes| (0.0..=1440.0).contains(minutes));
                        wish.minutes = minutes.ok_or_else(|| format!("{key} {value}: 0 to 1440"))?;
                    }
                    "--kafka" => wish.version = value.parse()?,
                    "--zookeeper" => wish.zookeeper = Some(value.parse()?),
                    "--events" => wish.events = value.parse()?,
                    "--log" => wish.log = value,
                    "--schedule" => wish.schedule = value.parse().map_err(wrong)?,
                    "--check" => wish.check = Some(value.into()),
                    _ => return Err(format!("{key}: no such option")),
                }
            }
        }
    }
    if wish.version == KafkaVersion::V2_8_2 {
        // Its controller is found, and its brokers' sessions end, in another way.
        return Err("--kafka 2.8.2: only clusters without ZooKeeper".to_owned());
    }
    Ok(wish)
}

fn carry_out(wish: &Wish) -> Result<bool> {
    if let Some(folder) = &wish.check {
        let (run, verdict) = judge(&Folder(folder.clone()))?;
        return Ok(report(&run, &verdict));
    }
    if let Some(version) = wish.zookeeper {
        return ensemble(wish, version);
    }
    let order = Order {
        seed: wish.seed,
        lasts: Duration::from_secs_f64(wish.minutes * 60.0),
        version: wish.version,
        events: wish.events,
        size: wish.size,
        binary: if wish.schedule > 0 { PathBuf::new() } else { Sidecar::binary()? },
        log: wish.log.clone(),
    };
    if wish.schedule > 0 {
        for event in order.schedule().take(wish.schedule) {
            println!("{event}");
        }
        return Ok(true);
    }
    let start = Instant::now();
    let say = |text: &str| println!("[{:6.1} s] {text}", start.elapsed().as_secs_f64());
    say(&format!("Kafka {}, events {}, {} min", wish.version, wish.events, wish.minutes));
    let outcome = prove(&order, wish.keep, &say)?;
    Ok(report(&outcome.run, &outcome.verdict))
}

/// The same with an ensemble of `ZooKeeper`.
fn ensemble(wish: &Wish, version: ZooKeeperVersion) -> Result<bool> {
    let order = keeper::Order {
        seed: wish.seed,
        lasts: Duration::from_secs_f64(wish.minutes * 60.0),
        version,
        events: wish.events,
        size: if wish.size == Size::Short { keeper::Size::Short } else { keeper::Size::Full },
        binary: if wish.schedule > 0 { PathBuf::new() } else { Sidecar::binary()? },
        log: wish.log.clone(),
    };
    if wish.schedule > 0 {
        for event in order.schedule().take(wish.schedule) {
            println!("{event}");
        }
        return Ok(true);
    }
    let start = Instant::now();
    let say = |text: &str| println!("[{:6.1} s] {text}", start.elapsed().as_secs_f64());
    say(&format!("ZooKeeper {version}, events {}, {} min", wish.events, wish.minutes));
    let outcome = keeper::prove(&order, wish.keep, &say)?;
    println!("\n{}", keeper::table(&outcome.run, &outcome.verdict));
    Ok(kept(&outcome.verdict.breaches))
}

fn report(run: &Run, verdict: &Verdict) -> bool {
    println!("\n{}", table(run, verdict));
    let broken: Vec<String> = verdict.breaches.iter().map(ToString::to_string).collect();
    kept(&broken)
}

fn kept(breaches: &[String]) -> bool {
    for breach in breaches {
        println!("  broken: {breach}");
    }
    if breaches.is_empty() {
        println!("every promise was kept");
    }
    breaches.is_empty()
}
