//! What `evenkeel check --connect` finds of an ensemble: each server is reached by the very ways that a running Evenkeel takes, the word
//! `srvr` ([`watch`](super::watch)) and a `ConnectRequest` ([`attach`](super::attach)), so that what is said here is what would happen.
//!
//! Stages in order: `dns`, `tcp`, `tls`, `state` (what the server says of itself), `session`, `sasl`. Every one has a bound. Nothing is written
//! and no session is left behind: without credentials the request names a session that there can't be, which servers answer and forget;
//! with credentials it opens one, as Evenkeel does to try them, and closes it. One whose credentials are refused can't be closed by us;
//! it ends by itself, after the shortest time-out that the servers grant.

use super::attach::once;
use super::failure::Failure;
use super::follow::{NOBODY, end_whole, session_request};
use super::watch::{ask_telling, parse, why_silent};
use super::{Attached, Ensemble, Settings};
use crate::config::HostPort;
use crate::dns::{DnsError, Resolution};
use crate::findings::{Finding, Findings, Group};
use crate::net::{ConnectStage, Connected};
use crate::tls::{self, Seen};
use crate::zookeeper::wire::ConnectResponse;
use crate::zookeeper::words::Mode;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::task::JoinSet;
use tokio::time::Instant;

/// For all servers. Each stage has a bound of its own, which together are less.
const BOUND: Duration = Duration::from_secs(60);
/// The time-out of a session of our own, in milliseconds: servers grant the shortest that they allow.
const SHORTEST: i32 = 1;
const STAGES: [&str; 6] = ["dns", "tcp", "tls", "state", "session", "sasl"];

/// How far a connection has come, noted as it goes on.
#[derive(Debug, Default)]
pub(super) struct Told {
    addr: Option<SocketAddr>,
    seen: Option<Seen>,
}

impl Told {
    /// It is connected, and encrypted if it is to be.
    pub(super) fn connected(&mut self, connected: &Connected) {
        self.addr = Some(connected.addr);
        self.seen = connected.stream.seen();
    }
}

/// What a server says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Said {
    version: Option<Box<str>>,
    mode: Option<Mode>,
}

/// Looks at all of an ensemble.
pub async fn check(ensemble: &Arc<Ensemble>) -> Findings {
    let until = Instant::now() + BOUND;
    let listed: Vec<HostPort> = ensemble.read(|servers| servers.all().iter().map(|s| s.at.clone()).collect());
    let mut looks = JoinSet::new();
    for (place, at) in listed.into_iter().enumerate() {
        let ensemble = Arc::clone(ensemble);
        looks.spawn(async move {
            let looked = tokio::time::timeout_at(until, look(&ensemble, &at)).await;
            let late = |_| {
                let text = format!("{at}: the time was up, {BOUND:?} for the whole ensemble");
                (vec![Finding::failed("time", text, "try again: is this host very busy?")], None)
            };
            let (findings, said) = looked.unwrap_or_else(late);
            (place, Group::new(at.to_string(), findings), said)
        });
    }
    let mut looked = looks.join_all().await;
    looked.sort_by_key(|(place, ..)| *place);
    let said: Vec<Said> = looked.iter().filter_map(|(.., said)| said.clone()).collect();
    let mut groups = vec![Group::new("the ensemble", vec![whole(&said, looked.len())])];
    groups.extend(looked.into_iter().map(|(_, group, _)| group));
    Findings { title: format!("zookeeper {}", ensemble.settings().zookeeper.name), groups }
}

/// Whether the servers that are named make an ensemble.
fn whole(said: &[Said], count: usize) -> Finding {
    if said.is_empty() {
        return Finding::not_tried("members");
    }
    let mut versions: Vec<&str> = said.iter().filter_map(|said| said.version.as_deref()).collect();
    versions.sort_unstable();
    versions.dedup();
    let versions =
        if versions.is_empty() { "a version that they don't tell".to_owned() } else { versions.join(", ") };
    let text = format!("{} of {count} servers serve, ZooKeeper {versions}", said.len());
    let leads = |said: &&Said| matches!(said.mode, Some(Mode::Leader | Mode::Standalone));
    let untold = said.len() < count || said.iter().any(|said| said.mode.is_none());
    match said.iter().filter(leads).count() {
        0 if !untold => {
            let text = format!("{text}, and none says that it leads: it is a server that isn't named");
            Finding::warning("members", text, "name all servers of the ensemble in servers")
        }
        0 | 1 => Finding::ok("members", text),
        leaders => {
            let text =
                format!("{text}, and {leaders} of them say that they lead: they are of different ensembles");
            Finding::failed("members", text, "let servers name the members of one ensemble alone")
        }
    }
}

/// One server, stage by stage.
async fn look(ensemble: &Arc<Ensemble>, at: &HostPort) -> (Vec<Finding>, Option<Said>) {
    let settings = ensemble.settings();
    let named = ensemble.resolver.resolve(&at.host).await;
    let mut told = Told::default();
    let asked = match ask_telling(ensemble, at, b"srvr", Some(&mut told)).await {
        Err(Failure::Silent) => Err(why_silent(ensemble, at).await),
        asked => asked,
    };
    let answer = asked.and_then(|answer| {
        let (version, mode, serves) = parse(&String::from_utf8_lossy(&answer));
        if serves { Ok(Said { version, mode }) } else { Err(Failure::unserved(&answer, at)) }
    });
    let said = match answer {
        Ok(said) => said,
        Err(failure) => {
            let (stage, addr) = match &failure {
                Failure::Connect(error) => match error.stage() {
                    (ConnectStage::Dns, addr) => ("dns", addr),
                    (ConnectStage::Tcp, addr) => ("tcp", addr),
                    (ConnectStage::Tls, addr) => ("tls", addr),
                },
                Failure::Tls { .. } => ("tls", told.addr),
                _ => ("state", told.addr),
            };
            let mut findings = connection(&settings, &named, &told, addr);
            cut(&mut findings, stage, at, &failure, &settings);
            return (findings, None);
        }
    };
    let mut findings = connection(&settings, &named, &told, told.addr);
    findings.push(state(&said));
    match attempt(ensemble, at).await {
        Ok(granted) => {
            findings.push(Finding::ok("session", granted));
            findings.push(match settings.zookeeper.sasl.held() {
                Some((user, _)) => Finding::ok("sasl", format!("DIGEST-MD5 as {user}")),
                None => Finding::ok("sasl", "off: nothing is shown (no sasl.username)"),
            });
        }
        Err(failure) => {
            let of_proof = matches!(failure, Failure::Sasl(_) | Failure::Unproven(_));
            let stage = if of_proof { "sasl" } else { "session" };
            if stage == "sasl" {
                findings.push(Finding::ok("session", "it opens sessions"));
            }
            cut(&mut findings, stage, at, &failure, &settings);
            return (findings, None);
        }
    }
    if let Some(gates) = gates(ensemble, at).await {
        findings.push(gates);
    }
    (findings, Some(said))
}

/// The stages of a connection, as if all of them had been passed.
fn connection(
    settings: &Settings,
    named: &Result<Resolution, DnsError>,
    told: &Told,
    addr: Option<SocketAddr>,
) -> Vec<Finding> {
    let dns = match named {
        Ok(found) => {
            let all: Vec<String> = found.addrs.iter().map(ToString::to_string).collect();
            Finding::ok("dns", all.join(", "))
        }
        Err(error) => Finding::warning("dns", error.to_string(), "see to it that DNS answers every time"),
    };
    let tcp = addr.map_or_else(|| "connected".to_owned(), |addr| addr.to_string());
    let tls = match &told.seen {
        Some(seen) => tls::finding(seen, SystemTime::now()),
        None if settings.zookeeper.tls.enabled => Finding::ok("tls", "encrypted"),
        None => Finding::ok("tls", "off: plain text (tls.enabled = false)"),
    };
    vec![dns, Finding::ok("tcp", tcp), tls]
}

/// What failed stands in its place, and nothing behind it was tried.
fn cut(
    findings: &mut Vec<Finding>,
    stage: &'static str,
    at: &HostPort,
    failure: &Failure,
    settings: &Settings,
) {
    let place = STAGES.iter().position(|other| *other == stage).unwrap_or(STAGES.len());
    findings.truncate(place);
    let (why, name) = (failure.to_string(), at.to_string());
    // Each line stands for itself.
    let why = if why.contains(&name) { why } else { format!("{name}: {why}") };
    findings.push(Finding::failed(stage, why, failure.remedy(settings)));
    findings.extend(STAGES.iter().skip(place + 1).map(|stage| Finding::not_tried(stage)));
}

fn state(said: &Said) -> Finding {
    match (&said.version, said.mode) {
        (Some(version), Some(mode)) => Finding::ok("state", format!("{}, ZooKeeper {version}", mode.name())),
        (None, Some(mode)) => Finding::ok("state", mode.name()),
        (_, None) => Finding::warning(
            "state",
            "it serves, and doesn't tell what it is: srvr is not in its 4lw.commands.whitelist",
            "add srvr to 4lw.commands.whitelist: without it the leader isn't known, and drains are less gentle",
        ),
    }
}

/// A `ConnectRequest`, and with credentials the proof of them. Answers what was granted.
async fn attempt(ensemble: &Arc<Ensemble>, at: &HostPort) -> Result<String, Failure> {
    let Some(place) = ensemble.place_at(at) else {
        return Err(Failure::Other("it is not listed".to_owned()));
    };
    let held = ensemble.look_at_settings(|settings| settings.zookeeper.sasl.held().is_some());
    let session = if held { 0 } else { NOBODY };
    let attached = once(ensemble, place, &session_request(session, SHORTEST)).await?;
    let response = ConnectResponse::decode(&attached.response);
    match response {
        Ok(response) if response.is_expired() && held => {
            Err(Failure::Other("it opens no session: it says that a new one is over".to_owned()))
        }
        Ok(response) if response.is_expired() => {
            Ok("it answers requests for one; none was opened".to_owned())
        }
        Ok(response) => {
            close(ensemble, attached).await;
            Ok(format!(
                "it opened one, which was closed again; the shortest that it grants lasts {} ms",
                response.timeout
            ))
        }
        Err(_) => Err(Failure::Stranger),
    }
}

async fn close(ensemble: &Ensemble, attached: Attached) {
    let bound = ensemble.look_at_settings(|settings| settings.zookeeper.attach_timeout);
    // Not in time: it ends by itself soon.
    let _ = tokio::time::timeout(bound, end_whole(attached)).await;
}

/// Whether the gates of an upgrade could know what they need.
async fn gates(ensemble: &Ensemble, at: &HostPort) -> Option<Finding> {
    let answer = ask_telling(ensemble, at, b"mntr", None).await.ok()?;
    String::from_utf8_lossy(&answer).contains("not in the whitelist").then(|| {
        Finding::warning(
            "mntr",
            "mntr is not in its 4lw.commands.whitelist: the gates of an upgrade can't know which followers are in sync",
            "add mntr to 4lw.commands.whitelist; not needed where nothing is upgraded through Evenkeel",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::findings::Verdict;

    fn said(mode: Option<Mode>) -> Said {
        Said { version: Some("3.9.5".into()), mode }
    }

    #[test]
    fn an_ensemble_has_one_leader_among_the_servers_that_are_named() {
        let [leads, follows, untold] = [Some(Mode::Leader), Some(Mode::Follower), None].map(said);
        for (servers, count, verdict) in [
            (vec![leads.clone(), follows.clone()], 2, Verdict::Ok),
            (vec![follows.clone(), follows.clone()], 2, Verdict::Warning),
            (vec![follows.clone(), untold], 2, Verdict::Ok),
            (vec![follows.clone()], 2, Verdict::Ok),
            (vec![leads.clone(), leads], 3, Verdict::Failed),
            (vec![], 2, Verdict::NotTried),
        ] {
            let finding = whole(&servers, count);
            assert_eq!(finding.verdict, verdict, "{finding:?}");
        }
    }
}
