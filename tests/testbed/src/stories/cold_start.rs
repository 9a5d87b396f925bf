//! Evenkeel starts before any broker does.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::raw::Hello;
use crate::{
    Cluster, Error, ProducerProgram, ProducerSpec, Result, Sidecar, Spec, Verdict, judge_producers, wait,
};

const PATIENCE: Duration = Duration::from_secs(120);
/// Records of the client that is started before the brokers are.
const RECORDS: u64 = 300;

/// What happened.
#[derive(Debug)]
pub struct ColdStart {
    /// The status of `/readyz` while there was no broker, and what it said.
    pub not_ready: (u16, String),
    /// The status of `/healthz` at that time.
    pub alive: u16,
    /// Whether the clients at the bootstrap address and at a broker's were held: connected, and neither answered nor closed.
    pub held: [bool; 2],
    /// From the start of the brokers to the answers of these two.
    pub answered: [Duration; 2],
    /// From the start of the brokers until Evenkeel said that it was ready.
    pub ready: Duration,
    /// From the start of the brokers until the cluster was ready by its own account.
    pub cluster_ready: Duration,
    /// The judgement on a producer that was started before the brokers were.
    pub early: Verdict,
}

/// No broker runs; Evenkeel starts; clients connect and ask; then the brokers start. `more` is configuration of
/// Evenkeel's.
pub fn cold_start(spec: Spec, binary: &Path, more: &str) -> Result<ColdStart> {
    let mut cluster = Cluster::prepare(spec)?;
    let (mut sidecar, front) = Sidecar::kafka(binary, &cluster.bootstrap(), more)?;
    wait::until("the admin page", PATIENCE, || sidecar.get("/healthz").is_ok())?;
    let mut bootstrap = Hello::say(front.listen)?;
    let mut broker = Hello::say(front.broker(2))?;
    let look = Duration::from_secs(1);
    let held = [bootstrap.is_held(look)?, broker.is_held(look)?];
    let (not_ready, alive) = (sidecar.get("/readyz")?, sidecar.get("/healthz")?.0);

    let spec = ProducerSpec::new("early", &front.listen.to_string(), "t", 6).count(RECORDS);
    let start = Instant::now();
    let (history, answered, ready, cluster_ready) = std::thread::scope(|scope| {
        let early = scope.spawn(|| ProducerProgram::start(&spec)?.finish(PATIENCE));
        for id in cluster.ids() {
            cluster.start_node(id)?;
        }
        let answer = |mut hello: Hello| {
            let apis = hello.answer(PATIENCE)?;
            if apis < 10 {
                return Err(Error::program("evenkeel", format!("offers {apis} APIs only")));
            }
            Ok(start.elapsed())
        };
        let bootstrap = scope.spawn(move || answer(bootstrap));
        let broker = scope.spawn(move || answer(broker));
        sidecar.wait_ready(PATIENCE)?;
        let ready = start.elapsed();
        let joined = |thread: std::thread::ScopedJoinHandle<'_, Result<Duration>>| {
            thread.join().map_err(|_| Error::program("testbed", "a thread failed"))?
        };
        let answered = [joined(bootstrap)?, joined(broker)?];
        cluster.wait_ready()?;
        let cluster_ready = start.elapsed();
        cluster.create_topic("t", 6, 3, &[])?;
        let history = early.join().map_err(|_| Error::program("testbed", "a thread failed"))??;
        Ok::<_, Error>((history, answered, ready, cluster_ready))
    })?;
    let early = judge_producers(&[history], &cluster.admin().read_topic("t")?);
    Ok(ColdStart { not_ready, alive, held, answered, ready, cluster_ready, early })
}

impl ColdStart {
    /// What is not as it must be.
    pub fn breaches(&self) -> Vec<String> {
        let early = &self.early;
        let all = usize::try_from(RECORDS).unwrap_or(usize::MAX);
        let wanted = [
            (self.not_ready.0 == 503, format!("/readyz said {:?} without brokers", self.not_ready)),
            (self.not_ready.1.contains("bed"), format!("/readyz doesn't say why: {:?}", self.not_ready.1)),
            (self.alive == 200, format!("/healthz said {}", self.alive)),
            (
                self.held == [true, true],
                format!("held, at bootstrap and at a broker's port: {:?}", self.held),
            ),
            (early.is_exact() && early.acked == all, format!("the early producer: {early:?}")),
        ];
        wanted.into_iter().filter(|(good, _)| !good).map(|(_, what)| what).collect()
    }
}
