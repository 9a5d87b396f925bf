//! Brokers come back at other addresses under the same names, and another broker at an address that was one's own.

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::time::Duration;

use crate::tap::Tapped;
use crate::{Cluster, DnsServer, Error, Load, ProducerSpec, Report, Result, Sidecar, Spec, Tap, wait};

/// The domain of the brokers' names.
pub const DOMAIN: &str = "kafka.test";
/// The API keys with which Evenkeel finds out who answers: `ApiVersions`, `Metadata` and `DescribeConfigs`.
pub const HANDSHAKE: [i16; 3] = [18, 3, 32];
/// The time to live of the names, in seconds.
const TTL: u32 = 1;
const PATIENCE: Duration = Duration::from_secs(120);

/// What happened.
#[derive(Debug)]
pub struct Moved {
    /// The judgement on the clients.
    pub report: Report,
    /// What reached node 1's former address while node 2 answered there.
    pub at_former_address: Tapped,
    /// Attempts to connect to node 1 that ended at another node.
    pub wrong_node: f64,
    /// Changes of names that Evenkeel noticed.
    pub dns_changes: f64,
    /// The sidecar.
    pub sidecar: Sidecar,
    /// The cluster.
    pub cluster: Cluster,
}

/// All three brokers move. Nodes 3 and 2 come back elsewhere, and DNS says so before they do. Node 1 moves as well, but DNS
/// goes on naming its former address, at which node 2 answers (behind a tap), until Evenkeel has noticed; then DNS
/// learns, and node 1 leads its partitions again. `spec` is given the domain here.
pub fn moves(spec: Spec, binary: &Path, producers: &[ProducerSpec]) -> Result<Moved> {
    let mut cluster = Cluster::start(spec.domain(DOMAIN))?;
    let dns = DnsServer::start(TTL)?;
    for id in cluster.ids() {
        dns.set(&name(id), ip(&cluster, id)?);
    }
    let servers = format!("[dns]\nservers = [\"{}\"]\n", dns.addr());
    let (mut sidecar, front) = Sidecar::kafka(binary, &cluster.bootstrap(), &servers)?;
    sidecar.wait_ready(PATIENCE)?;
    let mut load = Load::start(&mut cluster, "moved", &front.listen.to_string(), producers)?;
    let former = cluster.addr(1)?;

    for id in [3, 2] {
        load.note_stop();
        cluster.stop(id)?;
        let to = cluster.spare_ip(id);
        cluster.set_addr(id, to)?;
        dns.set(&name(id), to);
        cluster.start_node(id)?;
        cluster.wait_ready()?;
        load.go_on()?;
    }

    load.note_stop();
    cluster.stop(1)?;
    let tap = Tap::start(former, cluster.addr(2)?)?;
    let to = cluster.spare_ip(1);
    cluster.set_addr(1, to)?;
    cluster.start_node(1)?;
    cluster.wait_ready()?;
    let wrong_node = || {
        let labels = ["member=\"1\"", "outcome=\"wrong_node\""];
        sidecar.metric_sum("evenkeel_upstream_connect_total", &labels)
    };
    let is_up = || Ok(sidecar.metric_sum("evenkeel_upstream_up", &["member=\"1\""])? > 0.5);
    let every = Duration::from_millis(50);
    wait::poll("the wrong node to be noticed", PATIENCE, every, || Ok((wrong_node()? > 0.5).then_some(())))?;
    load.go_on()?;
    if is_up()? {
        return Err(Error::program("evenkeel", "says that it reaches node 1, which it can't"));
    }

    dns.set(&name(1), to);
    wait::poll("node 1 at its new address", PATIENCE, every, || Ok(is_up()?.then_some(())))?;
    cluster.admin().elect_preferred()?;
    load.go_on()?;

    let report = load.finish(&mut cluster)?;
    let (at_former_address, wrong_node) = (tap.seen(), wrong_node()?);
    let dns_changes = sidecar.metric_sum("evenkeel_dns_changes_total", &[])?;
    Ok(Moved { report, at_former_address, wrong_node, dns_changes, sidecar, cluster })
}

impl Moved {
    /// What of the addresses is not as it must be; the report is judged by itself.
    pub fn breaches(&self) -> Vec<String> {
        let mut found = Vec::new();
        if self.at_former_address.connections == 0 {
            found.push("nothing ever came to node 1's former address".to_owned());
        }
        for (key, count) in &self.at_former_address.requests {
            if !HANDSHAKE.contains(key) {
                found.push(format!("{count} requests with API key {key} reached the wrong node"));
            }
        }
        if self.dns_changes < 2.5 {
            found.push(format!("three names changed, and {} changes were noticed", self.dns_changes));
        }
        found
    }
}

fn name(id: u8) -> String {
    format!("kafka-{id}.{DOMAIN}")
}

fn ip(cluster: &Cluster, id: u8) -> Result<Ipv4Addr> {
    match cluster.addr(id)?.ip() {
        IpAddr::V4(ip) => Ok(ip),
        IpAddr::V6(ip) => Err(Error::program("testbed", format!("{ip} is no address of the test bed"))),
    }
}
