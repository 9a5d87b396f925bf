//! One address of a cluster, stage by stage.

use super::remedy::remedy;
use super::rights::grant;
use crate::config::SaslClients;
use crate::findings::{Finding, Group, Verdict};
use crate::kafka::authenticate::Identity;
use crate::kafka::channel::Channel;
use crate::kafka::cluster::acls::{Right, is_refusal};
use crate::kafka::cluster::dial::{DialError, Opened, open};
use crate::kafka::cluster::{Cluster, Settings, Versions, facts};
use crate::kafka::wire::errors;
use crate::net::{ConnectStage, Connected};
use crate::time::now;
use crate::tls::{self, Seen};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

/// How far a connection has come, noted as it goes on.
#[derive(Debug, Default)]
pub(in crate::kafka::cluster) struct Told {
    addr: Option<SocketAddr>,
    seen: Option<Seen>,
    identity: Option<Identity>,
    lasts: Option<Duration>,
    /// The error with which it may not be asked who it is.
    denied: Option<i16>,
}

impl Told {
    /// It is connected, and encrypted if it is to be.
    pub(in crate::kafka::cluster) fn connected(&mut self, connected: &Connected) {
        self.addr = Some(connected.addr);
        self.seen = connected.stream.seen();
    }

    /// It has been shown who we are, if the broker was content.
    pub(in crate::kafka::cluster) fn authenticated(&mut self, channel: &Channel) {
        self.identity = channel.identity().cloned();
        self.lasts = channel.session_lasts();
    }

    /// What the broker has answered to the question who it is.
    pub(in crate::kafka::cluster) fn asked(&mut self, code: i16) {
        self.denied = is_refusal(code).then_some(code);
    }
}

/// An address, and who should be there.
#[derive(Debug, Clone)]
pub(super) struct Meant {
    pub host: String,
    pub port: u16,
    /// None for a bootstrap address.
    pub node: Option<i32>,
}

/// What was found there.
pub(super) struct Found {
    pub meant: Meant,
    findings: Vec<Finding>,
    /// The connection, if there is one, to a bootstrap address.
    pub opened: Option<Opened>,
}

/// The stages in their order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    Dns,
    Tcp,
    Tls,
    Sasl,
    Versions,
    Node,
}

impl Stage {
    const ALL: [Self; 6] = [Self::Dns, Self::Tcp, Self::Tls, Self::Sasl, Self::Versions, Self::Node];

    fn word(self) -> &'static str {
        match self {
            Self::Dns => "dns",
            Self::Tcp => "tcp",
            Self::Tls => "tls",
            Self::Sasl => "sasl",
            Self::Versions => "versions",
            Self::Node => "node",
        }
    }

    /// Where a connection failed.
    fn of(error: &DialError, told: &Told, settings: &Settings) -> Self {
        match error {
            DialError::Connect(error) => match error.stage().0 {
                ConnectStage::Dns => Self::Dns,
                ConnectStage::Tcp => Self::Tcp,
                ConnectStage::Tls => Self::Tls,
            },
            DialError::Tls { .. } => Self::Tls,
            DialError::Sasl { .. } | DialError::Showing { .. } => Self::Sasl,
            // Nothing else goes out before the broker is content.
            DialError::Handshake { .. }
                if settings.kafka.sasl.mechanism.is_some() && told.identity.is_none() =>
            {
                Self::Sasl
            }
            DialError::Handshake { .. } => Self::Versions,
            DialError::WrongNode { .. } | DialError::UnknownNode(_) | DialError::Down(_) => Self::Node,
        }
    }
}

impl Found {
    /// There was no time left for it.
    pub(super) fn late(meant: Meant, bound: Duration) -> Self {
        let text = format!("{}:{}: the time was up, {bound:?} for the whole cluster", meant.host, meant.port);
        let findings = vec![Finding::failed("time", text, "see what keeps the members before it silent")];
        Self { meant, findings, opened: None }
    }

    /// Whether a stage could not be passed.
    pub(super) fn failed(&self) -> bool {
        self.findings.iter().any(|finding| finding.verdict == Verdict::Failed)
    }

    /// As it is shown. `bootstrap`: its address is one of those, too.
    pub(super) fn group(self, bootstrap: bool) -> Group {
        let Meant { host, port, node } = &self.meant;
        let title = match (node, bootstrap) {
            (None, _) => format!("{host}:{port} (bootstrap)"),
            (Some(node), true) => format!("{host}:{port} (node {node}, bootstrap)"),
            (Some(node), false) => format!("{host}:{port} (node {node})"),
        };
        Group::new(title, self.findings)
    }
}

/// Looks at one address.
pub(super) async fn look(
    cluster: &Arc<Cluster>,
    meant: Meant,
    release: fn(i16) -> Option<&'static str>,
) -> Found {
    let settings = cluster.settings();
    let named = cluster.resolver.resolve(&meant.host).await;
    let (began, mut told) = (now(), Told::default());
    let credentials = cluster.credentials();
    let opened = open(cluster, &meant.host, meant.port, meant.node, &credentials, Some(&mut told)).await;
    let failed = opened.as_ref().err().map(|error| (Stage::of(error, &told, &settings), error));
    let mut findings = Vec::new();
    for stage in Stage::ALL.into_iter().filter(|stage| *stage != Stage::Node || meant.node.is_some()) {
        // A bootstrap address has no stage for who it is: that is all about versions then.
        let at = failed.map(|(at, error)| {
            let at = if at == Stage::Node && meant.node.is_none() { Stage::Versions } else { at };
            (at, error)
        });
        findings.push(match at {
            Some((at, error)) if at == stage => {
                let remedy = remedy(error, &settings.kafka, meant.node, &meant.host);
                Finding::failed(stage.word(), error.to_string(), remedy)
            }
            Some((at, _)) if at < stage => Finding::not_tried(stage.word()),
            _ => match stage {
                Stage::Dns => match &named {
                    Ok(resolution) => Finding::ok("dns", addresses(resolution)),
                    // It was looked up a second time for the connection, and found.
                    Err(error) => {
                        Finding::warning("dns", error.to_string(), "see to it that DNS answers every time")
                    }
                },
                Stage::Tcp => Finding::ok("tcp", connected(&told, failed.map(|(_, error)| error), began)),
                Stage::Tls => encryption(&settings, &told),
                Stage::Sasl => shown(&settings, &told, opened.is_ok()),
                Stage::Versions => match &opened {
                    Ok(opened) => spoken(&opened.versions, release),
                    Err(_) => Finding::ok("versions", "it answers"),
                },
                Stage::Node => who(&settings, meant.node, told.denied),
            },
        });
    }
    // Of a bootstrap address it is of further use.
    let opened = opened.ok().filter(|_| meant.node.is_none());
    Found { meant, findings, opened }
}

fn addresses(found: &crate::dns::Resolution) -> String {
    let all: Vec<String> = found.addrs.iter().map(ToString::to_string).collect();
    all.join(", ")
}

fn connected(told: &Told, error: Option<&DialError>, began: Instant) -> String {
    let addr = told.addr.or_else(|| match error {
        Some(DialError::Connect(error)) => error.stage().1,
        _ => None,
    });
    match (addr, error) {
        (Some(addr), None) => {
            format!("{addr}; ready in {} ms", now().saturating_duration_since(began).as_millis())
        }
        (Some(addr), Some(_)) => addr.to_string(),
        (None, _) => "connected".to_owned(),
    }
}

/// The broker's certificate, and whether it is about to end.
fn encryption(settings: &Settings, told: &Told) -> Finding {
    let Some(seen) = &told.seen else {
        let text =
            if settings.kafka.tls.enabled { "encrypted" } else { "off: plain text (tls.enabled = false)" };
        return Finding::ok("tls", text);
    };
    tls::finding(seen, SystemTime::now())
}

fn shown(settings: &Settings, told: &Told, answered: bool) -> Finding {
    let Some((mechanism, user)) = &told.identity else {
        let asks = if answered { "it asks for none" } else { "nothing is shown" };
        return Finding::ok("sasl", format!("off: {asks} (no sasl.mechanism)"));
    };
    let user = user.as_ref().map_or_else(String::new, |user| format!(" as \"{user}\""));
    let lasts =
        told.lasts.map_or_else(String::new, |lasts| format!("; the session lasts {lasts:?} and is renewed"));
    let clients = match settings.kafka.sasl.clients {
        SaslClients::Held => "",
        SaslClients::Own => {
            "; clients show their own (sasl.clients = \"own\"), which by SCRAM or GSSAPI is good for one connection to one broker"
        }
    };
    Finding::ok("sasl", format!("{mechanism}{user}{lasts}{clients}"))
}

/// The release line, and ranges of the APIs that matter most.
fn spoken(versions: &Versions, release: fn(i16) -> Option<&'static str>) -> Finding {
    let (level, finalized) = facts::features(versions.told());
    let line = match (level, level.and_then(release)) {
        (_, Some(release)) => format!("Kafka {release}"),
        (Some(level), None) => format!("newer than is known here (metadata.version {level})"),
        (None, _) => "it tells no metadata.version (Kafka before 3.3, or one with ZooKeeper)".to_owned(),
    };
    let finalized = match finalized.and_then(release) {
        Some(release) => format!(", metadata.version of {release} finalized"),
        None => String::new(),
    };
    let range = |name: &str, key: i16| {
        versions.range(key).map(|(least, most)| format!("{name} {least}-{most}")).unwrap_or_default()
    };
    let ranges = [range("Produce", 0), range("Fetch", 1), range("Metadata", 3), range("ApiVersions", 18)];
    let ranges = ranges.into_iter().filter(|range| !range.is_empty()).collect::<Vec<_>>().join(", ");
    Finding::ok("versions", format!("{line}{finalized}; {} APIs: {ranges}", versions.count()))
}

/// Whether it is the node that was meant.
fn who(settings: &Settings, node: Option<i32>, denied: Option<i16>) -> Finding {
    let node = node.unwrap_or(-1);
    match denied {
        None if !settings.kafka.verify_node => {
            Finding::ok("node", "of this cluster; which node it is isn't looked at (verify_node = false)")
        }
        None => Finding::ok("node", format!("it is node {node} of this cluster")),
        Some(code) => {
            let (code, without) = (errors::name(code), Right::Configs.words().1);
            let text =
                format!("of this cluster; whether it is node {node} may not be asked ({code}): {without}");
            Finding::warning("node", text, grant(&settings.kafka, Right::Configs))
        }
    }
}
