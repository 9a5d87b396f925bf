//! Rules between keys: names given twice, bounds that contradict each other; ports are in `sockets`.
//!
//! A rule is checked only when the keys that it compares were read well. Imports files of this folder only.

use std::collections::BTreeMap;

use super::admin;
use super::clusters::{Kafka, ListenTls, Tls, ZooKeeperSasl};
use super::kinds::{Face, faces};
use super::report::Report;
use super::sasl;
use super::sockets;
use super::types::Config;
use super::units::{show_duration, show_size};

/// Checks all rules between keys.
pub(super) fn check(config: &Config, report: &mut Report) {
    bounds(config, report);
    let clusters = faces(config);
    names(&clusters, report);
    for (index, kafka) in config.kafka.iter().enumerate() {
        node_ports(index, kafka, report);
    }
    for (index, kafka) in config.kafka.iter().enumerate() {
        tls(&format!("kafka[{index}].tls"), &kafka.tls, report);
        sasl::check(&format!("kafka[{index}].sasl"), &kafka.sasl, report);
        listen_tls(&format!("kafka[{index}].listen_tls"), &kafka.listen_tls, report);
    }
    for (index, zookeeper) in config.zookeeper.iter().enumerate() {
        tls(&format!("zookeeper[{index}].tls"), &zookeeper.tls, report);
        listen_tls(&format!("zookeeper[{index}].listen_tls"), &zookeeper.listen_tls, report);
        digest(&format!("zookeeper[{index}].sasl"), &zookeeper.sasl, report);
    }
    admin::check(&config.admin, report);
    sockets::check(&config.admin, &clusters, report);
}

/// `a` must not be above `b`.
fn bounds(config: &Config, report: &mut Report) {
    let retry = &config.retry;
    if retry.min > retry.max {
        let [min, max] = [retry.min, retry.max].map(show_duration);
        ordered(
            report,
            ["retry.min", "retry.max"],
            &format!("is above retry.max; write \"{max}\" or less"),
            &format!("is below retry.min; write \"{min}\" or more"),
        );
    }
    let hold = &config.hold;
    if hold.connection_bytes > hold.bytes {
        let [connection, all] = [hold.connection_bytes, hold.bytes].map(|bytes| show_size(bytes as u64));
        ordered(
            report,
            ["hold.connection_bytes", "hold.bytes"],
            &format!("is above hold.bytes, the bound of the whole process; write \"{all}\" or less"),
            &format!("is below hold.connection_bytes; write \"{connection}\" or more"),
        );
    }
    let net = &config.net;
    if net.connect_stagger >= net.connect_timeout {
        let [stagger, timeout] = [net.connect_stagger, net.connect_timeout].map(show_duration);
        ordered(
            report,
            ["net.connect_stagger", "net.connect_timeout"],
            &format!(
                "leaves no time for a second address; write less than net.connect_timeout, \"{timeout}\""
            ),
            &format!(
                "leaves no time for a second address; write more than net.connect_stagger, \"{stagger}\""
            ),
        );
    }
}

/// Reports a pair that contradicts itself at the key that is written; at the first when both are.
fn ordered(report: &mut Report, [low, high]: [&str; 2], at_low: &str, at_high: &str) {
    if !report.is_sound(low) || !report.is_sound(high) {
        return;
    }
    if report.is_set(low) || !report.is_set(high) {
        report.add_at(low, at_low);
    } else {
        report.add_at(high, at_high);
    }
}

/// A name stands for one cluster, of whatever kind: in URLs, commands and dashboards it stands alone.
fn names(clusters: &[Face<'_>], report: &mut Report) {
    let mut seen: BTreeMap<&str, String> = BTreeMap::new();
    for cluster in clusters {
        let path = format!("{}.name", cluster.path);
        if !report.is_sound(&path) {
            continue;
        }
        if let Some(first) = seen.get(cluster.name) {
            let text = format!("\"{}\" is the name of {first} too; write another name", cluster.name);
            report.add_at(&path, text);
        } else {
            let first = format!("{}{}", cluster.path, report.origin(&path));
            seen.insert(cluster.name, first);
        }
    }
}

/// Keys that say nothing alone.
fn tls(base: &str, tls: &Tls, report: &mut Report) {
    let (enabled, ca) = (format!("{base}.enabled"), format!("{base}.ca"));
    let [certificate, key] = ["certificate", "key"].map(|name| format!("{base}.{name}"));
    let files = [(&ca, &tls.ca), (&certificate, &tls.certificate), (&key, &tls.key)];
    if !tls.enabled && report.is_sound(&enabled) {
        for path in files.iter().filter(|(_, file)| file.is_some()).map(|(path, _)| path) {
            report.add_at(path, "has no effect without tls.enabled; write tls.enabled = true, or remove it");
        }
        return;
    }
    match (&tls.certificate, &tls.key) {
        (Some(_), None) if report.is_sound(&key) => {
            report.add_at(&certificate, "is of no use without its key; write tls.key as well");
        }
        (None, Some(_)) if report.is_sound(&certificate) => {
            report.add_at(&key, "is of no use without its certificate; write tls.certificate as well");
        }
        _ => {}
    }
}

/// A listener's files: none, or a certificate and its key.
fn listen_tls(base: &str, tls: &ListenTls, report: &mut Report) {
    let [certificate, key, ca] = ["certificate", "key", "client_ca"].map(|name| format!("{base}.{name}"));
    match (&tls.certificate, &tls.key) {
        (Some(_), None) if report.is_sound(&key) => {
            report.add_at(&certificate, "is of no use without its key; write listen_tls.key as well");
        }
        (None, Some(_)) if report.is_sound(&certificate) => {
            report.add_at(&key, "is of no use without its certificate; write listen_tls.certificate as well");
        }
        (None, None) if tls.client_ca.is_some() && report.is_sound(&certificate) && report.is_sound(&key) => {
            report.add_at(
                &ca,
                "has no effect on plain listeners; write listen_tls.certificate and .key as well",
            );
        }
        _ => {}
    }
}

/// Credentials are a name and a password.
fn digest(base: &str, sasl: &ZooKeeperSasl, report: &mut Report) {
    let [username, password] = ["username", "password_file"].map(|name| format!("{base}.{name}"));
    match (&sasl.username, &sasl.password_file) {
        (Some(_), None) if report.is_sound(&password) => {
            report.add_at(&username, "is of no use without its password; write sasl.password_file as well");
        }
        (None, Some(_)) if report.is_sound(&username) => {
            report.add_at(&password, "is nobody's password; write sasl.username as well");
        }
        _ => {}
    }
}

fn node_ports(index: usize, kafka: &Kafka, report: &mut Report) {
    let base = format!("kafka[{index}]");
    let range = report.is_sound(&format!("{base}.broker_ports")).then_some(kafka.broker_ports);
    let mut seen: BTreeMap<u16, i32> = BTreeMap::new();
    for (id, port) in &kafka.node_ports {
        let path = format!("{base}.node_ports.{id}");
        if !report.is_sound(&path) {
            continue;
        }
        if let Some(range) = range.filter(|range| !range.contains(*port)) {
            report.add_at(&path, format!("{port} is outside of broker_ports; write a port in {range}"));
        }
        if let Some(other) = seen.insert(*port, *id) {
            report.add_at(&path, format!("{port} is the port of node {other} too; write another port"));
        }
    }
}
