//! Evenkeel itself, as users run it: the binary as a child process with a configuration file.

use std::collections::VecDeque;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;

use crate::process::{self, Server};
use crate::{Error, Result, wait};

/// How many free addresses are remembered.
const LAST_GIVEN: usize = 64;

/// A running sidecar. Dropping it kills it and removes its folder (kept with `TESTBED_KEEP=1`).
#[derive(Debug)]
pub struct Sidecar {
    server: Option<Server>,
    binary: PathBuf,
    folder: PathBuf,
    admin: SocketAddr,
}

/// Where a sidecar serves Kafka clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Front {
    /// The bootstrap address.
    pub listen: SocketAddr,
    /// The first of its 100 ports for brokers.
    pub first_port: u16,
}

impl Front {
    /// The address for clients of node `id` (1 to 99), unless another node has taken its port.
    pub fn broker(&self, id: u8) -> SocketAddr {
        SocketAddr::new(self.listen.ip(), self.first_port.saturating_add(u16::from(id)))
    }

    /// Whether this is one of its addresses for brokers.
    pub fn is_broker(&self, addr: SocketAddr) -> bool {
        addr.ip() == self.listen.ip()
            && (self.first_port..self.first_port.saturating_add(100)).contains(&addr.port())
    }
}

impl Sidecar {
    /// The binary to run: `$TESTBED_BIN`, else `target/release/evenkeel`, else `target/debug/evenkeel` of this workspace.
    pub fn binary() -> Result<PathBuf> {
        if let Some(set) = std::env::var_os("TESTBED_BIN").filter(|v| !v.is_empty()) {
            return Ok(PathBuf::from(set));
        }
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        ["release", "debug"]
            .iter()
            .map(|profile| root.join("target").join(profile).join("evenkeel"))
            .find(|path| path.is_file())
            .ok_or_else(|| {
                Error::Missing("no evenkeel binary: cargo build --release, or set TESTBED_BIN".to_owned())
            })
    }

    /// Starts `binary run --config FILE` with `rest` as the configuration after `[admin]`, whose address is chosen here.
    /// Doesn't wait until it is ready.
    pub fn start(binary: &Path, rest: &str) -> Result<Self> {
        static NUMBER: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("evenkeel-sidecar-{}-{number}", std::process::id()));
        let admin = free_addr(Ipv4Addr::LOCALHOST)?;
        fs::create_dir_all(&folder).map_err(Error::io(format!("creating {}", folder.display())))?;
        let text = format!("[admin]\nlisten = \"{admin}\"\n\n{rest}");
        fs::write(folder.join("evenkeel.toml"), text).map_err(Error::io("writing a configuration"))?;
        let mut sidecar = Self { server: None, binary: binary.to_owned(), folder, admin };
        sidecar.launch()?;
        Ok(sidecar)
    }

    /// The `[[kafka]]` section of the smallest configuration. `bootstrap` has addresses separated by commas; `first_port` is
    /// the first of 100 ports for brokers.
    pub fn kafka_section(name: &str, listen: SocketAddr, bootstrap: &str, first_port: u16) -> String {
        let servers: Vec<String> = bootstrap.split(',').map(|s| format!("{s:?}")).collect();
        format!(
            "[[kafka]]\nname = {name:?}\nlisten = \"{listen}\"\nbootstrap = [{}]\nbroker_ports = \"{first_port}-{}\"\n",
            servers.join(", "),
            first_port.saturating_add(99)
        )
    }

    /// The `[[zookeeper]]` section of the smallest configuration. `servers` has addresses separated by commas.
    pub fn zookeeper_section(name: &str, listen: SocketAddr, servers: &str) -> String {
        let servers: Vec<String> = servers.split(',').map(|s| format!("{s:?}")).collect();
        format!("[[zookeeper]]\nname = {name:?}\nlisten = \"{listen}\"\nservers = [{}]\n", servers.join(", "))
    }

    /// Starts `binary` in front of one ensemble, on a free port, and gives where it listens. `more` is configuration that
    /// stands before `[[zookeeper]]`, `keys` are further keys of the ensemble, one on each line. Doesn't wait until it is ready.
    pub fn zookeeper(binary: &Path, servers: &str, more: &str, keys: &str) -> Result<(Self, SocketAddr)> {
        let listen = free_addr(Ipv4Addr::LOCALHOST)?;
        let section = Self::zookeeper_section("bed", listen, servers);
        Ok((Self::start(binary, &format!("{more}\n{section}{keys}\n"))?, listen))
    }

    /// Starts `binary` in front of one cluster, on free ports. `more` is configuration that stands before `[[kafka]]`.
    /// Doesn't wait until it is ready.
    pub fn kafka(binary: &Path, bootstrap: &str, more: &str) -> Result<(Self, Front)> {
        Self::kafka_with(binary, bootstrap, more, "")
    }

    /// The same with `keys` of the cluster, one on each line.
    pub fn kafka_with(binary: &Path, bootstrap: &str, more: &str, keys: &str) -> Result<(Self, Front)> {
        let listen = free_addr(Ipv4Addr::LOCALHOST)?;
        let front = Front { listen, first_port: free_ports(Ipv4Addr::LOCALHOST, 100)? };
        let section = Self::kafka_section("bed", listen, bootstrap, front.first_port);
        Ok((Self::start(binary, &format!("{more}\n{section}{keys}\n"))?, front))
    }

    /// Starts it again after [`Sidecar::stop`] or [`Sidecar::kill`], with the same configuration.
    pub fn launch(&mut self) -> Result<()> {
        let mut command = Command::new(&self.binary);
        command.args(["run", "--config"]).arg(self.config());
        self.server = Some(Server::spawn("evenkeel", command, &self.log(), None)?);
        Ok(())
    }

    /// Its configuration file; rewrite it and send SIGHUP to reload.
    pub fn config(&self) -> PathBuf {
        self.folder.join("evenkeel.toml")
    }

    /// Its log file.
    pub fn log(&self) -> PathBuf {
        self.folder.join("evenkeel.log")
    }

    /// The last lines of its log.
    pub fn log_tail(&self, lines: usize) -> String {
        process::tail(&self.log(), lines)
    }

    /// Its admin address.
    pub fn admin(&self) -> SocketAddr {
        self.admin
    }

    /// Its process id, while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.server.as_ref().map(Server::pid)
    }

    /// Status and body of an admin path such as `/metrics`.
    pub fn get(&self, path: &str) -> Result<(u16, String)> {
        self.ask("GET", path)
    }

    /// A request without a body: status and body of the answer.
    pub fn ask(&self, method: &str, path: &str) -> Result<(u16, String)> {
        self.request(method, path, "", Duration::from_secs(5))
    }

    /// A controller's order, or its question if there is no body (null): status and answer, which is JSON. It may wait.
    pub fn order(&self, method: &str, path: &str, body: &Value) -> Result<(u16, Value)> {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let rest = format!("Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        let (status, text) = self.request(method, path, &rest, Duration::from_secs(60))?;
        let answer = serde_json::from_str(&text);
        Ok((status, answer.map_err(|e| Error::program("evenkeel", format!("{e} in its answer {text:?}")))?))
    }

    /// `rest`: further headers, an empty line and a body.
    fn request(&self, method: &str, path: &str, rest: &str, bound: Duration) -> Result<(u16, String)> {
        let rest = if rest.is_empty() { "\r\n" } else { rest };
        let ask = || {
            let mut stream = TcpStream::connect_timeout(&self.admin, Duration::from_secs(2))?;
            stream.set_read_timeout(Some(bound))?;
            write!(
                stream,
                "{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n{rest}",
                self.admin
            )?;
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer)?;
            Ok(String::from_utf8_lossy(&answer).into_owned())
        };
        let answer = ask().map_err(Error::io(format!("asking evenkeel for {path}")))?;
        let status = answer.split(' ').nth(1).and_then(|s| s.parse().ok());
        match (status, answer.split_once("\r\n\r\n")) {
            (Some(status), Some((_, body))) => Ok((status, body.to_owned())),
            _ => Err(Error::program("evenkeel", format!("an answer that is no HTTP: {answer:?}"))),
        }
    }

    /// Waits until `/readyz` answers 200.
    pub fn wait_ready(&mut self, bound: Duration) -> Result<()> {
        let mut last = String::new();
        let ready = wait::poll("/readyz", bound, Duration::from_millis(20), || {
            if let Some(server) = self.server.as_mut() {
                server.check()?;
            }
            last = match self.get("/readyz") {
                Ok((200, _)) => return Ok(Some(())),
                Ok((status, body)) => format!("{status}: {body}"),
                Err(error) => error.to_string(),
            };
            Ok(None)
        });
        ready.map_err(|error| match error {
            Error::Timeout { seconds, .. } => {
                Error::Timeout { what: format!("/readyz, which says {last}"), seconds }
            }
            other => other,
        })
    }

    /// The value of one series of `/metrics`, named as it stands there, labels included.
    pub fn metric(&self, series: &str) -> Result<Option<f64>> {
        let (_, body) = self.get("/metrics")?;
        Ok(body.lines().find_map(|l| l.strip_prefix(series)?.strip_prefix(' ')?.trim().parse().ok()))
    }

    /// The sum of all series of a metric name that carry all of `labels` (each as `key="value"`).
    pub fn metric_sum(&self, name: &str, labels: &[&str]) -> Result<f64> {
        let (_, body) = self.get("/metrics")?;
        let series = body.lines().filter(|l| {
            l.strip_prefix(name).is_some_and(|r| r.starts_with(['{', ' ']))
                && labels.iter().all(|k| l.contains(k))
        });
        Ok(series.filter_map(|l| l.rsplit_once(' ')?.1.parse::<f64>().ok()).sum())
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        self.server.as_ref().ok_or_else(|| Error::program("evenkeel", "doesn't run"))?.signal(signal)
    }

    /// SIGTERM, and waits for its end.
    pub fn stop(&mut self, bound: Duration) -> Result<ExitStatus> {
        let mut server = self.server.take().ok_or_else(|| Error::program("evenkeel", "doesn't run"))?;
        server.stop(bound)
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        drop(self.server.take());
    }
}

impl Drop for Sidecar {
    fn drop(&mut self) {
        self.kill();
        if std::env::var_os("TESTBED_KEEP").is_none_or(|v| v != "1") {
            let _ = fs::remove_dir_all(&self.folder);
        }
    }
}

/// An address whose port is free now, and none of the last that this process was given: the kernel may name a port again that nobody
/// has bound yet.
pub fn free_addr(ip: Ipv4Addr) -> Result<SocketAddr> {
    static GIVEN: Mutex<VecDeque<SocketAddr>> = Mutex::new(VecDeque::new());
    let mut given = GIVEN.lock().unwrap_or_else(PoisonError::into_inner);
    // Held until another one is found, so that each is named once.
    let mut tried = Vec::new();
    loop {
        let listener = TcpListener::bind((ip, 0)).map_err(Error::io("looking for a free port"))?;
        let addr = listener.local_addr().map_err(Error::io("looking for a free port"))?;
        if !given.contains(&addr) {
            given.truncate(LAST_GIVEN - 1);
            given.push_front(addr);
            return Ok(addr);
        }
        tried.push(listener);
    }
}

/// The first of `count` neighbouring ports that are all free now on `ip`, below the range of ephemeral ports. Each search goes on
/// where the last one ended: who was given some may not have bound them yet.
pub fn free_ports(ip: Ipv4Addr, count: u16) -> Result<u16> {
    static LOOKED_AT: AtomicU16 = AtomicU16::new(0);
    // Processes that look at the same time start at different places.
    let offset = u16::try_from(std::process::id() % 100).unwrap_or(0) * 100;
    std::iter::repeat_with(|| LOOKED_AT.fetch_add(count, Ordering::Relaxed))
        .take(200)
        .map(|looked_at| 12_000 + offset.wrapping_add(looked_at) % 20_000)
        .find(|&first| (first..first.saturating_add(count)).all(|port| TcpListener::bind((ip, port)).is_ok()))
        .ok_or_else(|| Error::Missing(format!("no {count} neighbouring free ports on {ip}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn free_addresses_are_given_once() {
        let all: Vec<_> = (0..LAST_GIVEN).map(|_| free_addr(Ipv4Addr::LOCALHOST).unwrap()).collect();
        assert_eq!(all.iter().collect::<std::collections::BTreeSet<_>>().len(), all.len());
    }

    #[test]
    fn kafka_section_is_the_smallest_configuration() {
        let text = Sidecar::kafka_section("demo", ([127, 0, 0, 1], 9092).into(), "a:1,b:2", 19092);
        assert_eq!(
            text,
            "[[kafka]]\nname = \"demo\"\nlisten = \"127.0.0.1:9092\"\nbootstrap = [\"a:1\", \"b:2\"]\n\
             broker_ports = \"19092-19191\"\n"
        );
    }

    #[test]
    fn zookeeper_section_is_the_smallest_configuration() {
        let text = Sidecar::zookeeper_section("demo", ([127, 0, 0, 1], 2181).into(), "a:1,b:2");
        assert_eq!(
            text,
            "[[zookeeper]]\nname = \"demo\"\nlisten = \"127.0.0.1:2181\"\nservers = [\"a:1\", \"b:2\"]\n"
        );
    }

    /// Stands in for the binary: refuses `/readyz` twice, then is ready and has two series.
    const STAND_IN: &str = r#"#!/usr/bin/env python3
import http.server, re, sys
assert sys.argv[1:3] == ["run", "--config"]
host, port = re.search(r'listen = "(.*):(\d+)"', open(sys.argv[3]).read()).groups()
asked = 0
class H(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        global asked
        asked += self.path == "/readyz"
        self.send_response(503 if asked < 3 else 200)
        self.end_headers()
        self.wfile.write(b'x_total{a="1"} 2\nx_total{a="2"} 3\nx_total_more 9\n')
http.server.HTTPServer((host, int(port)), H).serve_forever()
"#;

    #[test]
    fn a_stand_in_is_started_asked_and_stopped() {
        use std::os::unix::fs::PermissionsExt as _;
        let path = std::env::temp_dir().join(format!("evenkeel-stand-in-{}", std::process::id()));
        fs::write(&path, STAND_IN).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        let mut sidecar = Sidecar::start(&path, "").unwrap();
        sidecar.wait_ready(Duration::from_secs(30)).unwrap();
        assert_eq!(sidecar.metric("x_total{a=\"2\"}").unwrap(), Some(3.0));
        assert!((sidecar.metric_sum("x_total", &[]).unwrap() - 5.0).abs() < f64::EPSILON);
        sidecar.stop(Duration::from_secs(10)).unwrap();
        assert!(sidecar.get("/readyz").is_err() && sidecar.pid().is_none());
        sidecar.launch().unwrap();
        sidecar.wait_ready(Duration::from_secs(30)).unwrap();
        let folder = sidecar.folder.clone();
        drop(sidecar);
        assert!(std::env::var_os("TESTBED_KEEP").is_some() || !folder.exists());
        fs::remove_file(path).unwrap();
    }

    #[test]
    fn a_range_of_ports_is_free() {
        let first = free_ports(Ipv4Addr::LOCALHOST, 50).unwrap();
        assert!(TcpListener::bind((Ipv4Addr::LOCALHOST, first + 49)).is_ok());
    }

    #[test]
    fn a_range_that_is_not_bound_yet_is_not_given_again() {
        let (one, other) =
            (free_ports(Ipv4Addr::LOCALHOST, 50).unwrap(), free_ports(Ipv4Addr::LOCALHOST, 50).unwrap());
        assert!(one.abs_diff(other) >= 50, "{one} and {other}");
    }
}
