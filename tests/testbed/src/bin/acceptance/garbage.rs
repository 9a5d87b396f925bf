//! Garbage on every kind of listener.

use std::fmt::Write as _;
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use testbed::scene::unbalanced;
use testbed::{Error, KafkaVersion, Load, Result, Scene, Sidecar, Spec, raw};

use super::{Bench, Finding};

/// Tries of each kind on each listener before memory is looked at for the first time: what is kept for later is there.
const WARM_UP: u32 = 100;
/// Tries of each kind on each listener after that.
const TRIES: u32 = 500;
/// By how much the resident memory may grow over all tries, in KiB.
const GROWTH_KIB: u64 = 4096;
/// Connections that each announce the longest frame that is allowed, send a little of it, and wait.
const WAITING: usize = 200;
/// What each of them may cost while it waits, in KiB: one read buffer and its bookkeeping, far from the 100 MiB announced.
const WAITING_KIB: u64 = 128;
/// How long a connection may stay open after its last byte.
const CLOSE: Duration = Duration::from_secs(10);

/// A kind of garbage: its name, its bytes, and whether the sender says that there will be no more.
struct Kind {
    name: &'static str,
    bytes: fn(&mut Noise) -> Vec<u8>,
    and_end: bool,
}

const KINDS: [Kind; 5] = [
    Kind { name: "random bytes", bytes: |noise| noise.bytes(1024), and_end: true },
    Kind {
        name: "a length of 2 GiB less one",
        bytes: |noise| [&[0x7f, 0xff, 0xff, 0xff][..], &noise.bytes(4096)].concat(),
        and_end: false,
    },
    Kind {
        name: "half a frame, then the end",
        bytes: |noise| [&[0, 0, 1, 0, 0, 18, 0, 3][..], &noise.bytes(60)].concat(),
        and_end: true,
    },
    Kind {
        name: "a whole frame of random bytes",
        bytes: |noise| [&[0, 0, 1, 0][..], &noise.bytes(256)].concat(),
        and_end: true,
    },
    Kind {
        name: "HTTP (at the admin page: TLS)",
        bytes: |_| b"GET / HTTP/1.1\r\nHost: kafka\r\nUser-Agent: probe\r\n\r\n".to_vec(),
        and_end: false,
    },
];

/// The first bytes of TLS, for the listener where HTTP is welcome.
const TLS: [u8; 9] = [0x16, 0x03, 0x01, 0x00, 0xf8, 0x01, 0x00, 0x00, 0xf4];

pub(super) fn run(bench: &Bench) -> Result<Finding> {
    let mut scene = Scene::start(Spec::new(KafkaVersion::V3_9_2), &bench.binary)?;
    let through = scene.front.listen.to_string();
    let load = Load::start(&mut scene.cluster, "beside", &through, &[Load::java("java")])?;
    let listeners = [
        ("bootstrap", scene.front.listen),
        ("broker", scene.front.broker(2)),
        ("admin", scene.sidecar.admin()),
    ];
    let mut noise = Noise(0x9e37_79b9_7f4a_7c15);
    let mut finding = Finding::default();
    let mut rows = Vec::new();

    throw_all(&listeners, WARM_UP, &mut noise, &mut Vec::new())?;
    load.go_on()?;
    let before = resident_kib(&scene.sidecar)?;
    bench.say(&format!("warm, {before} KiB resident; now {TRIES} tries of each kind on each listener"));
    let start = Instant::now();
    throw_all(&listeners, TRIES, &mut noise, &mut rows)?;
    let took = start.elapsed();
    load.go_on()?;
    let after = resident_kib(&scene.sidecar)?;
    bench.say(&format!("{after} KiB resident; now {WAITING} half frames that wait"));
    let waiting = wait_in_half(scene.front.listen)?;
    load.go_on()?;
    let while_waiting = resident_kib(&scene.sidecar)?;
    drop(waiting);

    let rejected = |reason: &str| {
        let reason = format!("reason=\"{reason}\"");
        scene.sidecar.metric_sum("evenkeel_client_frames_rejected_total", &[&reason])
    };
    let counts = [rejected("too_large")?, rejected("malformed")?, rejected("truncated")?];
    let report = load.finish(&mut scene.cluster)?;
    finding.breaches.extend(report.breaches_of_planned());
    finding.breaches.extend(unbalanced(&scene.sidecar, &scene.cluster.ids())?);
    let tries = u32::try_from(KINDS.len() * listeners.len()).unwrap_or(u32::MAX) * (TRIES + WARM_UP);
    if after > before + GROWTH_KIB {
        finding.breaches.push(format!("memory grew from {before} to {after} KiB"));
    }
    let room = u64::try_from(WAITING).unwrap_or(u64::MAX) * WAITING_KIB;
    if while_waiting > after + room {
        finding
            .breaches
            .push(format!("{WAITING} half frames made memory grow from {after} to {while_waiting} KiB"));
    }
    let (lines, example) = said(&scene.sidecar)?;
    // Kafka listeners: two of three. A random frame may happen to be a request that is answered, so not each is rejected.
    let thrown = u64::from(tries) * 2 / 3;
    let close = thrown * 98 / 100;
    // What the log says of it has a bound.
    if lines == 0 || counts.iter().sum::<f64>() < f64::from(u32::try_from(close).unwrap_or(u32::MAX)) {
        finding.breaches.push(format!("{thrown} tries, {lines} lines in the log, counted as {counts:?}"));
    }
    finding.figures = format!(
        "{tries} connections with garbage, the last {} of them in {:.1} s; each was closed by Evenkeel.\n\n\
         | what | longest until closed: bootstrap | broker's port | admin |\n|---|---|---|---|\n{}\n\
         Resident memory: {before} KiB after the first {}, {after} KiB after the last, {while_waiting} KiB with {WAITING} connections \
         that each announced 100 MiB, sent 60 bytes and waited. Rejected frames by Evenkeel's count: {} too large, {} malformed, {} \
         truncated. It said so in {lines} lines such as\n\n    {example}\n\n\
         Beside all this a Java producer sent {} records and saw {} errors, {} lost, {} repeated, {} out of order, longest pause {} \
         ms; its consumer was delivered {}, missed {}, {} rebalances.\n",
        tries / (TRIES + WARM_UP) * TRIES,
        took.as_secs_f64(),
        rows.iter().fold(String::new(), |mut text, row| {
            let _ = writeln!(text, "{row}");
            text
        }),
        tries / (TRIES + WARM_UP) * WARM_UP,
        counts[0],
        counts[1],
        counts[2],
        report.all.sent,
        report.all.errors,
        report.all.lost.len(),
        report.all.repeated.len(),
        report.all.reordered.len(),
        report.all.longest_pause_us / 1000,
        report.consumer.delivered,
        report.consumer.missed.len(),
        report.consumer.rebalances,
    );
    Ok(finding)
}

/// Every kind on every listener, one connection after another. A connection that isn't closed in time is an error.
fn throw_all(
    listeners: &[(&str, SocketAddr)],
    tries: u32,
    noise: &mut Noise,
    rows: &mut Vec<String>,
) -> Result<()> {
    for kind in &KINDS {
        let mut row = format!("| {} |", kind.name);
        for &(name, addr) in listeners {
            let mut longest = Duration::ZERO;
            for _ in 0..tries {
                let mut bytes = (kind.bytes)(noise);
                if name == "admin" && bytes.starts_with(b"GET") {
                    bytes = TLS.to_vec();
                }
                longest = longest.max(raw::throw(addr, &bytes, kind.and_end, CLOSE)?);
            }
            let _ = write!(row, " {:.1} ms |", longest.as_secs_f64() * 1000.0);
        }
        rows.push(row);
    }
    Ok(())
}

fn wait_in_half(addr: SocketAddr) -> Result<Vec<TcpStream>> {
    use std::io::Write as _;
    let mut bytes = (100u32 << 20).to_be_bytes().to_vec();
    bytes.extend([0, 0, 0, 9]);
    bytes.resize(64, 0);
    let one = || {
        let mut stream = raw::connect(addr)?;
        stream.write_all(&bytes).map_err(Error::io("sending half a frame"))?;
        Ok(stream)
    };
    std::iter::repeat_with(one).take(WAITING).collect()
}

/// The lines of its log about connections that were closed for their bytes, and one of them.
fn said(sidecar: &Sidecar) -> Result<(u64, String)> {
    let text = std::fs::read(sidecar.log()).map_err(Error::io("reading a log"))?;
    let text = String::from_utf8_lossy(&text).into_owned();
    let lines = || text.lines().filter(|line| line.contains("not a Kafka client's bytes"));
    let http = lines().find(|line| line.contains("HTTP"));
    Ok((lines().count() as u64, http.or(lines().next()).unwrap_or("(none)").to_owned()))
}

/// The process's resident memory in KiB.
pub(super) fn resident_kib(sidecar: &Sidecar) -> Result<u64> {
    let pid = sidecar.pid().ok_or_else(|| Error::program("evenkeel", "doesn't run"))?;
    let path = format!("/proc/{pid}/status");
    let text = std::fs::read_to_string(&path).map_err(Error::io(path))?;
    let value =
        text.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB")?.parse().ok());
    value.ok_or_else(|| Error::program("evenkeel", "no VmRSS"))
}

/// The same noise in each run (xorshift64).
struct Noise(u64);

impl Noise {
    fn bytes(&mut self, length: usize) -> Vec<u8> {
        let next = || {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            self.0.to_be_bytes()[0]
        };
        std::iter::repeat_with(next).take(length).collect()
    }
}
