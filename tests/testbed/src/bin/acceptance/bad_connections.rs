//! Bad connections of many kinds, in plain text and behind TLS handshakes, while a hundred good ones work, and others take their places.

use std::fmt::Write as _;
use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use testbed::bad::{Good, Kind, Noise, Speaks, kinds};
use testbed::crypt::{self, Settings};
use testbed::keys::{Authority, replace};
use testbed::{
    Ensemble, EnsembleSpec, Error, KafkaVersion, Load, Result, Scene, Sidecar, Spec, ZooKeeperVersion, wait,
};

use super::garbage::resident_kib;
use super::{Bench, Finding, PATIENCE};

/// Bad connections at each listener: of Kafka and of ZooKeeper, one in plain text and one that is encrypted.
const BAD: usize = 12_500;
/// Those that come first, and are not counted: what is kept for later is there then.
const WARM_UP: usize = 1000;
/// Good connections.
const GOOD: usize = 100;
/// How many at once of those that end at once, and of those that wait for the listener's patience to end.
const QUICK: usize = 6;
const SLOW: usize = 120;
/// The listener's patience: kinds that say nothing are closed after it.
const LIMITS: &str = "[limits]\nfirst_request = \"2s\"\n";
/// What a good connection may wait for an answer on a machine that does all of this.
const ANSWER: Duration = Duration::from_secs(5);
/// By how much the resident memory may grow, in KiB.
const GROWTH_KIB: u64 = 8192;
/// The sidecars run with this: glibc's allocator else keeps for later what was used at once (7 to 28 MiB of half frames were seen, and
/// differ from run to run), which hides what a connection may leave behind.
const GIVES_BACK: &str = "MALLOC_MMAP_THRESHOLD_=131072";
/// By how many the descriptors may differ: a member is looked at now and then.
const FILES: usize = 8;

pub(super) fn run(bench: &Bench) -> Result<Finding> {
    let folder = std::env::temp_dir().join(format!("evenkeel-bad-connections-{}", std::process::id()));
    fs::create_dir_all(&folder).map_err(Error::io("making a folder"))?;
    let bench = Bench { binary: giving_back(&folder, &bench.binary)?, ..bench.clone() };
    let mut finding = Finding::default();
    let told = kafka(&bench, &mut finding).and_then(|()| zookeeper(&bench, &mut finding));
    let _ = writeln!(finding.figures, "Evenkeel ran with `{GIVES_BACK}`.");
    fs::remove_dir_all(&folder).map_err(Error::io("removing a folder"))?;
    told.map(|()| finding)
}

/// A program that becomes the binary, with [`GIVES_BACK`].
fn giving_back(folder: &Path, binary: &Path) -> Result<PathBuf> {
    let program = folder.join("evenkeel");
    let text = format!("#!/bin/sh\nexec env {GIVES_BACK} '{}' \"$@\"\n", binary.display());
    fs::write(&program, text).map_err(Error::io("writing a program"))?;
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755))
        .map_err(Error::io("writing a program"))?;
    Ok(program)
}

/// A listener.
struct Front<'a> {
    sidecar: &'a Sidecar,
    speaks: Speaks,
    doors: &'a [SocketAddr],
    /// With what its clients encrypt. Then every second bad one comes in plain text all the same.
    settings: Option<Settings>,
}

impl Front<'_> {
    /// Number `number` of the good ones, which come at all doors in turn; it has been answered once.
    fn good(&self, number: usize) -> Result<Good> {
        let door = number.checked_rem(self.doors.len()).and_then(|at| self.doors.get(at));
        let door = door.ok_or_else(|| Error::program("acceptance", "a listener has no door"))?;
        let mut good = Good::connect(*door, self.speaks, self.settings.as_ref())?;
        // At once: who says nothing is closed.
        good.ask()?;
        Ok(good)
    }

    fn title(&self) -> String {
        format!("{:?}{}", self.speaks, if self.settings.is_some() { ", encrypted" } else { "" })
    }
}

/// What a listener is to encrypt with, as keys of its cluster, and what its clients need.
fn encrypted(folder: &Path) -> Result<(String, Settings)> {
    let authority = Authority::new("acceptance")?;
    let pair = authority.issue("localhost", &[IpAddr::from([127, 0, 0, 1])])?;
    let [certificate, key] = ["listen.pem", "listen.key"].map(|name| folder.join(name));
    replace(&certificate, &pair.certificate)?;
    replace(&key, &pair.key)?;
    let keys =
        format!("listen_tls.certificate = '{}'\nlisten_tls.key = '{}'", certificate.display(), key.display());
    Ok((keys, crypt::client(authority.pem(), true)?))
}

fn kafka(bench: &Bench, finding: &mut Finding) -> Result<()> {
    let mut scene = Scene::with(Spec::new(KafkaVersion::V3_9_2), &bench.binary, LIMITS, "")?;
    let through = scene.front.listen.to_string();
    let load = Load::start(&mut scene.cluster, "beside", &through, &[Load::java("java")])?;
    let doors =
        |front: &testbed::sidecar::Front| [front.listen, front.broker(1), front.broker(2), front.broker(3)];
    let plain = doors(&scene.front);
    let front = Front { sidecar: &scene.sidecar, speaks: Speaks::Kafka, doors: &plain, settings: None };
    storm(bench, &front, finding)?;
    load.go_on()?;
    let (keys, settings) = encrypted(scene.cluster.folder())?;
    let (mut other, at) = Sidecar::kafka_with(&bench.binary, &scene.cluster.bootstrap(), LIMITS, &keys)?;
    other.wait_ready(PATIENCE)?;
    let crypt = doors(&at);
    let front = Front { sidecar: &other, speaks: Speaks::Kafka, doors: &crypt, settings: Some(settings) };
    storm(bench, &front, finding)?;
    load.go_on()?;
    let report = load.finish(&mut scene.cluster)?;
    finding.breaches.extend(report.breaches_of_planned());
    // Writing to a String cannot fail.
    let _ = writeln!(
        finding.figures,
        "Beside that a Java producer sent {} records and saw {} errors, {} lost, {} repeated; its consumer missed {}.\n",
        report.all.sent,
        report.all.errors,
        report.all.lost.len(),
        report.all.repeated.len(),
        report.consumer.missed.len(),
    );
    Ok(())
}

fn zookeeper(bench: &Bench, finding: &mut Finding) -> Result<()> {
    let ensemble = Ensemble::with(EnsembleSpec::new(ZooKeeperVersion::V3_9_5))?;
    let (mut sidecar, listen) = Sidecar::zookeeper(&bench.binary, &ensemble.servers(), LIMITS, "")?;
    sidecar.wait_ready(PATIENCE)?;
    let front = Front { sidecar: &sidecar, speaks: Speaks::ZooKeeper, doors: &[listen], settings: None };
    storm(bench, &front, finding)?;
    let (keys, settings) = encrypted(ensemble.folder())?;
    let (mut other, listen) = Sidecar::zookeeper(&bench.binary, &ensemble.servers(), LIMITS, &keys)?;
    other.wait_ready(PATIENCE)?;
    let front =
        Front { sidecar: &other, speaks: Speaks::ZooKeeper, doors: &[listen], settings: Some(settings) };
    storm(bench, &front, finding)
}

/// What the good ones went through.
#[derive(Default)]
struct Went {
    asked: usize,
    longest: Duration,
    /// How many came in others' places, and the longest from connecting to an answer.
    came: usize,
    slowest: Duration,
    errors: Vec<String>,
}

impl Went {
    fn note(&mut self, answer: Result<Duration>) {
        self.asked += 1;
        match answer {
            Ok(took) => self.longest = self.longest.max(took),
            Err(error) => self.errors.push(error.to_string()),
        }
    }
}

fn storm(bench: &Bench, front: &Front<'_>, finding: &mut Finding) -> Result<()> {
    let (sidecar, title) = (front.sidecar, front.title());
    let mut good = Vec::new();
    for number in 0..GOOD {
        good.push(front.good(number)?);
    }
    // They are asked meanwhile: a session of ZooKeeper that says nothing for too long ends.
    let warm = work_while(front, &mut good, || throw(front, WARM_UP))?;
    let others = settled(sidecar, None)?;
    let (files, memory) = (open_files(sidecar)?, resident_kib(sidecar)?);
    bench.say(&format!(
        "{title}: {GOOD} good connections, {files} descriptors, {memory} KiB; now {BAD} bad ones"
    ));
    let start = Instant::now();
    let went = work_while(front, &mut good, || throw(front, BAD))?;
    let took = start.elapsed();
    let after = settled(sidecar, Some(others))?;
    wait::until("the descriptors to be as before", PATIENCE, || {
        open_files(sidecar).is_ok_and(|now| now.abs_diff(files) <= FILES)
    })?;
    let (files_after, memory_after) = (open_files(sidecar)?, resident_kib(sidecar)?);
    let errors = warm.errors.iter().chain(&went.errors);
    finding.breaches.extend(errors.map(|error| format!("{title}: a good connection: {error}")));
    for (what, took) in [("an answer", went.longest), ("its first answer", went.slowest)] {
        if took > ANSWER {
            finding.breaches.push(format!("{title}: a good connection waited {took:?} for {what}"));
        }
    }
    if memory_after > memory + GROWTH_KIB {
        finding.breaches.push(format!("{title}: memory grew from {memory} to {memory_after} KiB"));
    }
    let late = sidecar.metric_sum("evenkeel_client_refused_total", &["reason=\"first_request\""])?;
    let rejected = sidecar.metric_sum("evenkeel_client_frames_rejected_total", &[])?;
    let _ = writeln!(
        finding.figures,
        "{title}: {BAD} bad connections of {} kinds in {:.0} s; {GOOD} good ones asked {} times meanwhile, the longest answer took {:.0} \
         ms, {} others came in their places, the slowest within {:.0} ms, {} errors. Connections of clients by Evenkeel's count: {others} before, {after} after; descriptors {files} and {files_after}; resident memory \
         {memory} and {memory_after} KiB. {late} were closed for saying nothing in time; {rejected} frames were rejected.\n",
        kinds(front.speaks).count(),
        took.as_secs_f64(),
        went.asked,
        went.longest.as_secs_f64() * 1000.0,
        went.came,
        went.slowest.as_secs_f64() * 1000.0,
        went.errors.len(),
    );
    Ok(())
}

/// Asks on the good ones for as long as something else goes on.
fn work_while(front: &Front<'_>, good: &mut [Good], other: impl FnOnce() -> Result<()>) -> Result<Went> {
    let stop = AtomicBool::new(false);
    let (went, other) = std::thread::scope(|scope| {
        let working = scope.spawn(|| work(front, good, &stop));
        let other = other();
        stop.store(true, Relaxed);
        (working.join(), other)
    });
    other?;
    went.map_err(|_| Error::program("acceptance", "the good connections' thread panicked"))
}

/// Asks on all of them in turn, until told to stop; after each turn another one takes the place of one of them, which has gone.
fn work(front: &Front<'_>, good: &mut [Good], stop: &AtomicBool) -> Went {
    let mut went = Went::default();
    while !stop.load(Relaxed) && went.errors.is_empty() {
        for good in &mut *good {
            went.note(good.ask());
        }
        let (start, number) = (Instant::now(), went.came % GOOD);
        match (front.good(number), good.get_mut(number)) {
            (Ok(new), Some(place)) => {
                *place = new;
                went.came += 1;
                went.slowest = went.slowest.max(start.elapsed());
            }
            (Err(error), _) => went.errors.push(error.to_string()),
            (Ok(_), None) => unreachable!("there are {GOOD} of them"),
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    went
}

/// So many connections, of all kinds alike, at all doors.
fn throw(front: &Front<'_>, count: usize) -> Result<()> {
    let (all, doors): (Vec<&'static Kind>, _) = (kinds(front.speaks).collect(), front.doors);
    let jobs = |slow: bool| -> Vec<(&'static Kind, SocketAddr, Option<&Settings>)> {
        // Every kind at every door, in both ways.
        let each = (0..count).filter_map(|n| {
            let round = n / all.len();
            let settings = front.settings.as_ref().filter(|_| round / doors.len() % 2 == 0);
            Some((*all.get(n % all.len())?, *doors.get(round % doors.len())?, settings))
        });
        each.filter(|(kind, ..)| kind.slow == slow).collect()
    };
    let (quick, slow) = (jobs(false), jobs(true));
    std::thread::scope(|scope| {
        let pools = [(&quick, QUICK), (&slow, SLOW)].map(|(jobs, threads)| {
            let next = std::sync::Arc::new(AtomicUsize::new(0));
            let threads = (0..threads).map(|number| {
                let next = std::sync::Arc::clone(&next);
                scope.spawn(move || -> Result<()> {
                    let mut noise = Noise::new(number as u64 * 2 + 1);
                    while let Some((kind, door, settings)) = jobs.get(next.fetch_add(1, Relaxed)) {
                        kind.play(*door, *settings, &mut noise)?;
                    }
                    Ok(())
                })
            });
            threads.collect::<Vec<_>>()
        });
        for thread in pools.into_iter().flatten() {
            thread
                .join()
                .map_err(|_| Error::program("acceptance", "a bad connection's thread panicked"))??;
        }
        Ok(())
    })
}

/// Waits until only so many clients are left by Evenkeel's count, or until their number stays.
fn settled(sidecar: &Sidecar, wanted: Option<u64>) -> Result<u64> {
    let count = || sidecar.metric_sum("evenkeel_client_connections", &[]).map(|sum| sum.round().abs());
    let mut last = count()?;
    wait::until("the bad connections to be counted out", PATIENCE, || {
        std::thread::sleep(Duration::from_millis(500));
        let Ok(now) = count() else { return false };
        let before = std::mem::replace(&mut last, now);
        #[allow(clippy::cast_precision_loss, reason = "there are hundreds of them")]
        wanted.map_or(before.total_cmp(&now).is_eq(), |wanted| now <= wanted as f64)
    })?;
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a whole number of hundreds, see above"
    )]
    Ok(last as u64)
}

/// The process's open descriptors.
fn open_files(sidecar: &Sidecar) -> Result<usize> {
    let pid = sidecar.pid().ok_or_else(|| Error::program("evenkeel", "doesn't run"))?;
    let folder = format!("/proc/{pid}/fd");
    Ok(std::fs::read_dir(&folder).map_err(Error::io(folder))?.count())
}
