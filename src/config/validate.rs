//! Rules between keys: ports that collide, names given twice, bounds that contradict each other.
//!
//! A rule is checked only when the keys that it compares were read well. Imports files of this folder only.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use super::report::Report;
use super::types::{Config, Kafka, PortRange};
use super::units::{show_duration, show_size};

/// Checks all rules between keys.
pub(super) fn check(config: &Config, report: &mut Report) {
    bounds(config, report);
    names(config, report);
    for (index, kafka) in config.kafka.iter().enumerate() {
        node_ports(index, kafka, report);
    }
    let sockets = sockets(config, report);
    collisions(&sockets, report);
    loops(config, &sockets, report);
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

fn names(config: &Config, report: &mut Report) {
    let mut seen: BTreeMap<&str, String> = BTreeMap::new();
    for (index, kafka) in config.kafka.iter().enumerate() {
        let path = format!("kafka[{index}].name");
        if !report.is_sound(&path) {
            continue;
        }
        if let Some(first) = seen.get(kafka.name.as_str()) {
            let text = format!("\"{}\" is the name of {first} too; write another name", kafka.name);
            report.add_at(&path, text);
        } else {
            let first = format!("kafka[{index}]{}", report.origin(&path));
            seen.insert(&kafka.name, first);
        }
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

/// Ports that will be bound, on one address.
struct Socket {
    path: String,
    cluster: Option<usize>,
    ip: IpAddr,
    ports: PortRange,
}

/// Every port that this configuration binds, as far as it was read well. Port 0 collides with nothing.
fn sockets(config: &Config, report: &Report) -> Vec<Socket> {
    let mut sockets = Vec::new();
    let mut listeners = |path: &str, cluster: Option<usize>, addresses: &[SocketAddr]| {
        for (index, address) in addresses.iter().enumerate() {
            let path = format!("{path}[{index}]");
            if report.is_sound(&path) && address.port() != 0 {
                let ports = PortRange { first: address.port(), last: address.port() };
                sockets.push(Socket { path, cluster, ip: address.ip(), ports });
            }
        }
    };
    listeners("admin.listen", None, &config.admin.listen);
    for (index, kafka) in config.kafka.iter().enumerate() {
        listeners(&format!("kafka[{index}].listen"), Some(index), &kafka.listen);
    }
    for (index, kafka) in config.kafka.iter().enumerate() {
        let path = format!("kafka[{index}].broker_ports");
        if !report.is_sound(&path) {
            continue;
        }
        let mut hosts: Vec<IpAddr> = Vec::new();
        for (at, address) in kafka.listen.iter().enumerate() {
            let ip = address.ip();
            if report.is_sound(&format!("kafka[{index}].listen[{at}]")) && !hosts.contains(&ip) {
                hosts.push(ip);
                sockets.push(Socket {
                    path: path.clone(),
                    cluster: Some(index),
                    ip,
                    ports: kafka.broker_ports,
                });
            }
        }
    }
    sockets
}

/// Whether a port can't be bound on both. The two families don't meet: IPv6 listeners are IPv6 only.
fn same_address(a: IpAddr, b: IpAddr) -> bool {
    a == b || (a.is_ipv4() == b.is_ipv4() && (a.is_unspecified() || b.is_unspecified()))
}

/// Reports each key once for each other key that it collides with.
fn collisions(sockets: &[Socket], report: &mut Report) {
    let mut told: Vec<(&str, &str)> = Vec::new();
    for (index, one) in sockets.iter().enumerate() {
        for other in sockets.iter().take(index) {
            if !same_address(one.ip, other.ip) || !one.ports.overlaps(other.ports) {
                continue;
            }
            if told.contains(&(&one.path, &other.path)) {
                continue;
            }
            told.push((&one.path, &other.path));
            let text = if one.path == other.path {
                format!(
                    "would be bound twice on {}: {} of the same cluster's listen covers it; remove one of the two \
                     hosts from listen",
                    if one.ip.is_unspecified() { other.ip } else { one.ip },
                    if one.ip.is_unspecified() { one.ip } else { other.ip },
                )
            } else {
                collision(one, other, sockets, report)
            };
            report.add_at(&one.path, text);
        }
    }
}

fn collision(one: &Socket, other: &Socket, sockets: &[Socket], report: &Report) -> String {
    let what = |socket: &Socket| {
        if socket.ports.len() > 1 {
            format!("{} on {}", socket.ports, socket.ip)
        } else {
            SocketAddr::new(socket.ip, socket.ports.first).to_string()
        }
    };
    let instead = match free(one, sockets) {
        Some(ports) if one.path.ends_with(".broker_ports") => format!("write such as \"{ports}\""),
        Some(ports) => format!("write such as \"{}\"", SocketAddr::new(one.ip, ports.first)),
        None => "write other ports".to_owned(),
    };
    let origin = report.origin(&other.path);
    format!("{} collides with {} of {}{origin}; {instead}", what(one), what(other), other.path)
}

/// As many ports as `wish` has, above it if possible, that collide with nothing.
fn free(wish: &Socket, sockets: &[Socket]) -> Option<PortRange> {
    const LEAST: u16 = 1024;
    let span = wish.ports.last - wish.ports.first;
    for start in [wish.ports.first.max(LEAST), LEAST] {
        let mut first = start;
        while let Some(last) = first.checked_add(span) {
            let ports = PortRange { first, last };
            // The hosts of a range are those of its whole cluster, so the address is not looked at.
            let taken =
                sockets.iter().filter(|socket| socket.ports.overlaps(ports)).map(|socket| socket.ports.last);
            match taken.max() {
                None => return Some(ports),
                Some(last) => match last.checked_add(1) {
                    Some(next) => first = next,
                    None => break,
                },
            }
        }
    }
    None
}

/// A bootstrap server that is one of Evenkeel's own listeners would be a connection to itself, for ever.
fn loops(config: &Config, sockets: &[Socket], report: &mut Report) {
    for (index, kafka) in config.kafka.iter().enumerate() {
        for (at, server) in kafka.bootstrap.iter().enumerate() {
            let path = format!("kafka[{index}].bootstrap[{at}]");
            let ips: Vec<IpAddr> = match server.host.parse() {
                Ok(ip) => vec![ip],
                Err(_) if server.host.trim_end_matches('.').eq_ignore_ascii_case("localhost") => {
                    vec![IpAddr::from([127, 0, 0, 1])]
                }
                Err(_) => continue,
            };
            let own = sockets.iter().filter(|socket| socket.cluster.is_some()).find(|socket| {
                socket.ports.contains(server.port)
                    && ips
                        .iter()
                        .any(|ip| *ip == socket.ip || (ip.is_loopback() && same_address(*ip, socket.ip)))
            });
            if let Some(own) = own.filter(|_| report.is_sound(&path)) {
                let origin = report.origin(&own.path);
                let text = format!(
                    "\"{server}\" is Evenkeel's own {}{origin}; write the address of a broker",
                    own.path
                );
                report.add_at(&path, text);
            }
        }
    }
}
