//! Rules between what is bound: ports that collide, and servers that are Evenkeel itself.
//!
//! Imports files of this folder only.

use std::net::{IpAddr, SocketAddr};

use super::clusters::{HostPort, PortRange};
use super::kinds::Face;
use super::report::Report;
use super::types::Admin;

/// Checks all of them, as far as the keys were read well.
pub(super) fn check(admin: &Admin, clusters: &[Face<'_>], report: &mut Report) {
    let sockets = sockets(admin, clusters, report);
    collisions(&sockets, report);
    for cluster in clusters {
        loops(cluster, &sockets, report);
    }
}

/// Ports that will be bound, on one address.
struct Socket {
    path: String,
    /// Whether it is a cluster's, not the admin listener.
    serves: bool,
    /// Whether its key is a range of ports, not an address.
    range: bool,
    ip: IpAddr,
    ports: PortRange,
}

/// Every port that this configuration binds. Port 0 collides with nothing.
fn sockets(admin: &Admin, clusters: &[Face<'_>], report: &Report) -> Vec<Socket> {
    let mut sockets = Vec::new();
    let mut listeners = |path: &str, serves: bool, addresses: &[SocketAddr]| {
        for (index, address) in addresses.iter().enumerate() {
            let path = format!("{path}[{index}]");
            if report.is_sound(&path) && address.port() != 0 {
                let ports = PortRange { first: address.port(), last: address.port() };
                sockets.push(Socket { path, serves, range: false, ip: address.ip(), ports });
            }
        }
    };
    listeners("admin.listen", false, &admin.listen);
    listeners("admin.metrics_listen", false, &admin.metrics_listen);
    for cluster in clusters {
        listeners(&format!("{}.listen", cluster.path), true, cluster.listen);
    }
    for cluster in clusters {
        let Some((path, ports)) = &cluster.ports else { continue };
        if !report.is_sound(path) {
            continue;
        }
        let mut hosts: Vec<IpAddr> = Vec::new();
        for (at, address) in cluster.listen.iter().enumerate() {
            let ip = address.ip();
            if report.is_sound(&format!("{}.listen[{at}]", cluster.path)) && !hosts.contains(&ip) {
                hosts.push(ip);
                sockets.push(Socket { path: path.clone(), serves: true, range: true, ip, ports: *ports });
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
        Some(ports) if one.range => format!("write such as \"{ports}\""),
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

/// A server that is one of Evenkeel's own listeners would be a connection to itself, for ever.
fn loops(cluster: &Face<'_>, sockets: &[Socket], report: &mut Report) {
    let (key, servers) = &cluster.servers;
    for (at, server) in servers.iter().enumerate() {
        let path = format!("{key}[{at}]");
        let Some(ip) = literal(server) else { continue };
        let is_own = |socket: &&Socket| {
            socket.serves
                && socket.ports.contains(server.port)
                && (ip == socket.ip || (ip.is_loopback() && same_address(ip, socket.ip)))
        };
        if let Some(own) = sockets.iter().find(is_own).filter(|_| report.is_sound(&path)) {
            let (origin, member) = (report.origin(&own.path), cluster.member);
            let text = format!(
                "\"{server}\" is Evenkeel's own {}{origin}; write the address of a {member}",
                own.path
            );
            report.add_at(&path, text);
        }
    }
}

/// The address of a server, where no name has to be resolved to know it.
fn literal(server: &HostPort) -> Option<IpAddr> {
    if server.host.trim_end_matches('.').eq_ignore_ascii_case("localhost") {
        return Some(IpAddr::from([127, 0, 0, 1]));
    }
    server.host.parse().ok()
}
