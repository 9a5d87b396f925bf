//! Real hooks of sidecars that can be started anew, before a cluster whose members come and go as files in a folder say; and
//! `deploy/roll.sh` before them.
//!
//! `down.ID`: that broker is away. `blind`: no sidecar reaches any broker. `forget.N`: sidecar N is started anew; the file goes when
//! it is there again. As of Kafka, a sidecar knows those brokers that it has found up since its start.

use std::collections::BTreeSet;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use evenkeel::admin::{Admin, Asked, ClusterStatus, Door, ErrorCounts, Limits, Wish, serve};
use evenkeel::lifecycle::{Readiness, drain};
use evenkeel::metrics::{Metrics, UpgradeMetrics, UpgradePhase, ZooKeeperMetrics};
use evenkeel::upgrade::{Cluster, DrainState, Facts, Hold, Kafka, Member, Quorum, Reach};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

const MEMBERS: [&str; 2] = ["1", "2"];

/// What one sidecar knows of the cluster since it was started.
struct Seen {
    folder: PathBuf,
    controller: i32,
    known: Mutex<BTreeSet<&'static str>>,
    drained: Mutex<BTreeSet<String>>,
    metrics: Arc<ZooKeeperMetrics>,
}

impl Seen {
    fn is_up(&self, id: &str) -> bool {
        !self.folder.join("blind").exists() && !self.folder.join(format!("down.{id}")).exists()
    }

    fn known(&self) -> BTreeSet<&'static str> {
        let mut known = self.known.lock().unwrap();
        known.extend(MEMBERS.into_iter().filter(|id| self.is_up(id)));
        known.clone()
    }
}

impl ClusterStatus for Seen {
    fn name(&self) -> &'static str {
        "c"
    }

    fn status(&self) -> Value {
        json!({ "name": "c", "members": [] })
    }

    fn set_bypass(&self, _: bool) {}

    fn drain(&self, member: &str, lasts: Option<Duration>) -> Option<DrainState> {
        self.drain_state(member)?;
        let mut drained = self.drained.lock().unwrap();
        match lasts {
            Some(_) => drained.insert(member.to_owned()),
            None => drained.remove(member),
        };
        drop(drained);
        self.drain_state(member)
    }

    fn drain_state(&self, member: &str) -> Option<DrainState> {
        let drained = self.drained.lock().unwrap().contains(member);
        self.known().contains(member).then_some(if drained { DrainState::Drained } else { DrainState::Off })
    }

    fn facts(&self) -> Facts {
        let member = |id: &str| {
            let up = self.is_up(id);
            Member {
                id: id.to_owned(),
                address: format!("broker-{id}:9092"),
                zone: None,
                listed: Ok(up),
                reach: if up { Reach::Up } else { Reach::Down("refused".to_owned()) },
                was_away: Some(Duration::from_secs(3)),
                version: Err("it tells none".to_owned()),
                drain: self.drain_state(id).unwrap(),
                in_flight: 0,
                sessions: 0,
            }
        };
        let cluster = Kafka {
            partitions: Ok(Arc::default()),
            quorum: Ok(Quorum::ZooKeeper { controller: self.controller }),
            reassigning: Ok(Vec::new()),
            rebalancing: Ok(Vec::new()),
            loading: Ok(Vec::new()),
            finalized: Ok(21),
            upgrade_check: Ok(()),
            downgrade_check: Ok(()),
            dropped: Vec::new(),
        };
        Facts {
            age: Some(Duration::ZERO),
            members: self.known().into_iter().map(member).collect(),
            hold: Hold { waiting: 0, bytes: 0, limit: 1000 },
            client_errors: 0,
            cluster: Cluster::Kafka(Ok(cluster)),
        }
    }

    fn version(&self) -> Option<String> {
        None
    }

    fn gather(&self, _: Wish) -> Asked<'_> {
        Box::pin(async {})
    }

    fn rest(&self) -> Asked<'_> {
        Box::pin(async {})
    }

    fn hold_pin(&self, _: bool) {}

    fn lift_pin(&self) {}

    fn errors(&self) -> ErrorCounts {
        ErrorCounts { shown: 0, masked: 0 }
    }

    fn upgrade_metrics(&self) -> &UpgradeMetrics {
        &self.metrics.upgrade
    }

    fn show_phase(&self, member: &str, phase: UpgradePhase) {
        self.metrics.member(member).upgrade_phase.show(phase);
    }
}

/// One sidecar after the other on the same port.
async fn live(mut listener: TcpListener, folder: PathBuf, forget: PathBuf, controller: i32) {
    let address = listener.local_addr().unwrap();
    loop {
        let seen = Seen {
            folder: folder.clone(),
            controller,
            known: Mutex::default(),
            drained: Mutex::default(),
            metrics: Metrics::new().zookeeper("c"),
        };
        let admin = Admin::new(Metrics::new(), Readiness::new(), vec![Arc::new(seen) as _]);
        let watch = admin.watch();
        let door = Arc::new(Door::control(&evenkeel::config::Admin::default()).unwrap());
        let (_trigger, drain) = drain::new();
        let serving = tokio::spawn(serve(listener, admin, door, Limits::default(), drain));
        let _ = fs::remove_file(&forget);
        while !forget.exists() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        serving.abort();
        let _ = serving.await;
        drop(watch);
        listener = TcpListener::bind(address).await.unwrap();
    }
}

/// See the module.
pub(crate) struct Bed {
    runtime: Option<Runtime>,
    addresses: Vec<SocketAddr>,
    folder: PathBuf,
}

impl Bed {
    /// So many sidecars; `controller` is the active controller, who may be none of the members.
    pub(crate) fn new(name: &str, sidecars: usize, controller: i32) -> Self {
        let folder = std::env::temp_dir().join(format!("evenkeel-hooked-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).unwrap();
        let runtime = Runtime::new().unwrap();
        let mut addresses = Vec::new();
        for number in 0..sidecars {
            let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
            addresses.push(listener.local_addr().unwrap());
            let forget = folder.join(format!("forget.{number}"));
            runtime.spawn(live(listener, folder.clone(), forget, controller));
        }
        Self { runtime: Some(runtime), addresses, folder }
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The script with these words, the folder as `$F`; the plan is renewed each second. Its command notes who has a turn, then does `command`.
    pub(crate) fn script(&self, members: &str, command: &str, more: &[&str]) -> Command {
        let text = crate::read("deploy/roll.sh");
        assert!(text.contains(" renew=60 "), "the pace at which the plan is renewed");
        let script = self.folder.join("roll.sh");
        fs::write(&script, text.replace(" renew=60 ", " renew=1 ")).unwrap();
        let command = format!("echo $MEMBER >>$F/run; {command}");
        let sidecars: Vec<String> =
            self.addresses.iter().map(|address| format!("http://{address}")).collect();
        let mut bash = Command::new("bash");
        bash.arg(script).args(["--cluster", "c", "--plan", "p", "--members", members, "--command", &command]);
        bash.args(["--sidecars", &sidecars.join(","), "--stable", "0", "--bound", "20"]).args(more);
        // Who is killed leaves its folder: in ours.
        bash.env("F", &self.folder).env("TMPDIR", &self.folder).stdin(Stdio::null());
        bash
    }

    pub(crate) fn roll(&self, members: &str, command: &str, more: &[&str]) -> Output {
        self.script(members, command, more).output().unwrap()
    }

    /// Who had a turn, in their order.
    pub(crate) fn runs(&self) -> String {
        fs::read_to_string(self.folder.join("run")).unwrap_or_default()
    }

    /// What the first sidecar shows.
    pub(crate) fn status(&self) -> Value {
        let url = format!("http://{}/v1/clusters/c", self.addresses[0]);
        let shown = Command::new("curl").args(["-sS", "--noproxy", "*", &url]).output().unwrap();
        serde_json::from_slice(&shown.stdout).unwrap_or_else(|error| panic!("{error}: {shown:?}"))
    }

    /// Waits until the first sidecar has a plan.
    pub(crate) fn planned(&self) -> Value {
        let end = Instant::now() + Duration::from_secs(60);
        loop {
            let plan = self.status()["plan"].clone();
            if !plan.is_null() {
                return plan;
            }
            assert!(Instant::now() < end, "no plan was put");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
        let _ = fs::remove_dir_all(&self.folder);
    }
}
