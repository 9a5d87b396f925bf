//! What `evenkeel check --connect` looks at: every cluster of a configuration, all at once, with no listener open, and the files of their
//! certificates and the admin listener's, which a plain `check` and the start look at, too. Wiring: how a member is reached is the protocols' own affair.

use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use tokio::task::JoinSet;

use super::{AppError, dns};
use crate::config::{Config, ListenTls, Tls};
use crate::dns::Resolver;
use crate::findings::{Finding, Findings, Group, Verdict};
use crate::hold::Ledger;
use crate::kafka::cluster::{self, Cluster};
use crate::kafka::ports::Ports;
use crate::kafka::service;
use crate::lifecycle::Readiness;
use crate::metrics::Metrics;
use crate::tls::{self, Certificate};
use crate::upgrade::kafka_release;
use crate::zookeeper::ensemble::{self, Ensemble};
use crate::zookeeper::service as ensembles;

/// Reaches all members of all clusters. In the order of the configuration. Ends by itself, whatever they do.
///
/// # Errors
/// Names can't be resolved at all.
pub async fn connect(config: &Config) -> Result<Vec<Findings>, AppError> {
    let resolver = Resolver::new(dns(config), None)?;
    // Nobody reads these: the clusters are the same as those of a running process, and count.
    let (metrics, readiness, ledger) = (Metrics::new(), Readiness::new(), Ledger::new(config.hold.bytes));
    let mut looks = JoinSet::new();
    let mut place = 0;
    for settings in (0..config.kafka.len()).filter_map(|index| service::settings(config, index)) {
        let kafka = &settings.kafka;
        let files = files(&kafka.tls, &kafka.listen_tls);
        // What state_dir remembers is the running process's.
        let ports = Ports::new(kafka.broker_ports, &kafka.node_ports, None);
        let (handle, block) = (metrics.kafka(&kafka.name), readiness.block("check"));
        let cluster = Cluster::new(settings, ports, resolver.clone(), handle, Arc::clone(&ledger), block);
        looks.spawn(async move { (place, files, cluster::check(&cluster, kafka_release).await) });
        place += 1;
    }
    for settings in (0..config.zookeeper.len()).filter_map(|index| ensembles::settings(config, index)) {
        let zookeeper = &settings.zookeeper;
        let files = files(&zookeeper.tls, &zookeeper.listen_tls);
        let (handle, block) = (metrics.zookeeper(&zookeeper.name), readiness.block("check"));
        let ensemble = Ensemble::new(settings, resolver.clone(), handle, Arc::clone(&ledger), block);
        looks.spawn(async move { (place, files, ensemble::check(&ensemble).await) });
        place += 1;
    }
    let mut found = looks.join_all().await;
    found.sort_by_key(|(place, ..)| *place);
    let with_files = |(_, files, mut findings): (usize, Option<Group>, Findings)| {
        findings.groups.splice(0..0, files);
        findings
    };
    let mut found: Vec<Findings> = found.into_iter().map(with_files).collect();
    let admin = admin_files(config).map(|files| Findings { title: "admin".to_owned(), groups: vec![files] });
    found.extend(admin);
    Ok(found)
}

/// What is to be looked after about the certificates that a configuration names, one line for each. Nobody is reached for it.
pub fn warnings(config: &Config) -> Vec<String> {
    let kafka = config.kafka.iter().map(|one| (one.name.as_str(), files(&one.tls, &one.listen_tls)));
    let zookeeper = config.zookeeper.iter().map(|one| (one.name.as_str(), files(&one.tls, &one.listen_tls)));
    let all = kafka.chain(zookeeper).chain([("admin", admin_files(config))]);
    let findings = all.flat_map(|(name, group)| {
        group.into_iter().flat_map(|group| group.findings).map(move |finding| (name, finding))
    });
    let bad = findings.filter(|(_, finding)| finding.verdict != Verdict::Ok);
    bad.map(|(name, Finding { text, remedy, .. })| format!("{name}: {text}; {remedy}")).collect()
}

fn admin_files(config: &Config) -> Option<Group> {
    let files = &config.admin.tls;
    certificates(&[(files.certificate.as_deref(), false), (files.ca.as_deref(), true)])
}

/// The certificates of a cluster, if it names any.
fn files(members: &Tls, listeners: &ListenTls) -> Option<Group> {
    let listeners = listeners.files();
    let (members, listeners) = (Some(members).filter(|members| members.enabled), listeners.as_ref());
    certificates(&[
        (members.and_then(|files| files.certificate.as_deref()), false),
        (members.and_then(|files| files.ca.as_deref()), true),
        (listeners.and_then(|files| files.certificate.as_deref()), false),
        (listeners.and_then(|files| files.ca.as_deref()), true),
    ])
}

/// What is in these files, of which some are of authorities. That they can be used was seen before.
fn certificates(files: &[(Option<&Path>, bool)]) -> Option<Group> {
    let now = SystemTime::now();
    let named = files.iter().filter_map(|(path, of_authorities)| path.map(|path| (path, *of_authorities)));
    let findings: Vec<_> = named
        .map(|(path, of_authorities)| match tls::of_file(path) {
            Ok(all) => certificate(path, &all, of_authorities, now),
            Err(error) => Finding::failed("certificate", error.to_string(), error.remedy()),
        })
        .collect();
    (!findings.is_empty()).then(|| Group::new("files", findings))
}

/// What there is to say of a file of certificates. Of our own the first one counts, of authorities that which ends first.
fn certificate(path: &Path, all: &[Certificate], of_authorities: bool, now: SystemTime) -> Finding {
    let (stage, path) = ("certificate", path.display());
    let counts = if of_authorities { all.iter().min_by_key(|one| one.left(now)) } else { all.first() };
    let Some(counts) = counts else {
        return Finding::ok(stage, format!("{path}: of a kind that isn't read here"));
    };
    let (names, until) = (counts.names.join(", "), counts.until());
    let text = match (of_authorities, all.len()) {
        (false, _) | (true, 1) => format!("{path}: for {names}, until {until}"),
        (true, count) => {
            format!("{path}: {count} authorities, of which {names} is the first to end, on {until}")
        }
    };
    let is_over = counts.left(now).is_none();
    if is_over && all.iter().all(|one| one.left(now).is_none()) {
        return Finding::failed(stage, format!("{text}: it has expired"), format!("renew {path}"));
    }
    if counts.ends_soon(now) {
        let remedy = format!("renew it in {path}; files are read again when they change");
        return Finding::warning(stage, text, remedy);
    }
    Finding::ok(stage, text)
}
