//! What these tests stand on: a fleet on a thread of its own, the program as a process, and questions to its hook.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::{Duration, Instant};

use hyper::Method;
use serde_json::Value;
use simulation::{Cluster, Fleet};
use tokio::runtime::{Builder, Runtime};

use evenkeel::admin::client::Client;

pub(crate) const BOUND: Duration = Duration::from_secs(120);

/// A fleet, with its runtime on threads of its own.
pub(crate) struct Bed {
    pub(crate) runtime: Runtime,
    pub(crate) fleet: Fleet,
    pub(crate) folder: PathBuf,
    client: Client,
}

impl Bed {
    pub(crate) fn new(sidecars: u16) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Relaxed);
        let folder = std::env::temp_dir().join(format!("evenkeel-fleet-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let fleet = runtime.block_on(Fleet::start(Cluster::new("3.9", 30), sidecars)).unwrap();
        Self { runtime, fleet, folder, client: Client::new() }
    }

    pub(crate) fn cluster(&self) -> Arc<Cluster> {
        Arc::clone(&self.fleet.cluster)
    }

    /// What a plan's file says of the sidecars, with more keys before it.
    pub(crate) fn plan(&self, more: &str) -> String {
        let list: Vec<String> = self.fleet.addresses().iter().map(|at| format!("\"{at}\"")).collect();
        format!("cluster = \"bed\"\nprotocol = \"kafka\"\n{more}[sidecars]\nlist = [{}]\n", list.join(", "))
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    /// A request: status and body. What isn't JSON is a text.
    pub(crate) fn ask(&self, at: SocketAddr, method: Method, path: &str, body: &Value) -> (u16, Value) {
        let body = (!body.is_null()).then(|| body.to_string());
        let at = at.to_string();
        let asked = self.client.order(&at, method, path, body, BOUND);
        let (status, text) = self.runtime.block_on(asked).unwrap();
        (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
    }

    pub(crate) fn get(&self, at: SocketAddr, path: &str) -> (u16, Value) {
        self.ask(at, Method::GET, path, &Value::Null)
    }

    /// The fan-out, as a process; ready.
    pub(crate) fn serve(&self, more: &str) -> Serve {
        let plan = self.write("serve.toml", &self.plan(more));
        let at = testbed::sidecar::free_addr(std::net::Ipv4Addr::LOCALHOST).unwrap();
        let mut command = evenkeel();
        let child = command.arg("upgrade").arg(plan).args(["--serve", "--listen", &at.to_string()]);
        let serve = Serve { child: child.stdout(Stdio::null()).spawn().unwrap(), at };
        until("the fan-out to be ready", || {
            let url = at.to_string();
            let asked = self.client.order(&url, Method::GET, "/readyz", None, BOUND);
            self.runtime.block_on(asked).is_ok_and(|(status, _)| status == 200)
        });
        serve
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// `evenkeel upgrade --serve`.
pub(crate) struct Serve {
    pub(crate) child: Child,
    pub(crate) at: SocketAddr,
}

impl Drop for Serve {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn binary() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_evenkeel"))
}

pub(crate) fn evenkeel() -> Command {
    let mut command = Command::new(binary());
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("EVENKEEL_")) {
        command.env_remove(name);
    }
    command
}

pub(crate) fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Waits for it.
pub(crate) fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + BOUND;
    while !holds() {
        assert!(Instant::now() < end, "not within {BOUND:?}: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}
