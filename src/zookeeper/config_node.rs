//! `/zookeeper/config`: the ensemble's own list of its servers. Pure.
//!
//! Its data are lines `server.ID=HOST:PORT:PORT[:ROLE][;[HOST:]PORT]`, several addresses of one server separated by `|`, and
//! `version=HEX` at the end (ZooKeeper's "dynamic reconfiguration", `QuorumPeer.QuorumServer`). What stands behind `;` is where
//! clients connect; a wildcard there means the host in front.

use crate::config::HostPort;
use crate::zookeeper::wire::{Op, Reader, Reconfig, Request, Stat, Writer, opcode, reply};
use bytes::Bytes;
use std::net::IpAddr;

/// The node.
pub const PATH: &[u8] = b"/zookeeper/config";

/// Whether the answer to this request carries the list.
pub fn is_asked_for(code: i32, payload: &[u8]) -> bool {
    match code {
        opcode::RECONFIG => true,
        opcode::GET_DATA => matches!(
            Request::decode(code, payload),
            Ok(Request::GetData { path: Some(path), .. }) if path.0 == PATH
        ),
        opcode::MULTI_READ => matches!(
            Request::decode(code, payload),
            Ok(Request::MultiRead(parts)) if parts.iter().any(|part| is_the_node(&part))
        ),
        _ => false,
    }
}

fn is_the_node(part: &Op<'_>) -> bool {
    matches!(part, Op::GetData { path: Some(path) } if path.0 == PATH)
}

/// The body of the answer to such a request, with every server's client address replaced, so that a client that follows the list
/// (Curator does) stays here. Nothing if it can't be read: then it passes as it is.
pub fn shown(code: i32, payload: &[u8], body: &[u8], here: &HostPort) -> Option<Bytes> {
    if code != opcode::MULTI_READ {
        let (data, stat) = reply::data(body).ok()?;
        return Some(show(data, stat, Writer::record(), here)?.finish());
    }
    let Ok(Request::MultiRead(parts)) = Request::decode(code, payload) else { return None };
    let (mut reader, mut writer) = (Reader::new(body), Writer::record());
    for part in parts.iter() {
        // The header of each part: its type, or −1 for an error, whether this is the end, and the error (`MultiResponse`).
        let (kind, last, err) =
            (reader.i32("type").ok()?, reader.bool("done").ok()?, reader.i32("err").ok()?);
        writer = writer.i32(kind).bool(last).i32(err);
        let begin = reader.at();
        writer = match (kind, &part) {
            (opcode::GET_DATA, Op::GetData { .. }) => {
                let (data, stat) = (reader.buffer("data").ok()?, Stat::read(&mut reader).ok()?);
                if is_the_node(&part) {
                    show(data, stat, writer, here)?
                } else {
                    writer.raw(reader.since(begin))
                }
            }
            (opcode::GET_CHILDREN, Op::GetChildren { .. }) => {
                reader.names("children").ok()?;
                writer.raw(reader.since(begin))
            }
            (-1, _) => writer.i32(reader.i32("err").ok()?),
            _ => return None,
        };
    }
    Some(writer.raw(reader.rest()).finish())
}

fn show(data: Option<&[u8]>, stat: Stat, writer: Writer, here: &HostPort) -> Option<Writer> {
    let text = std::str::from_utf8(data?).ok()?;
    let lines: Vec<String> = text.split('\n').map(|line| show_line(line, here)).collect();
    let data = lines.join("\n");
    let stat = Stat { data_length: i32::try_from(data.len()).ok()?, ..stat };
    Some(stat.write(writer.buffer(Some(data.as_bytes()))))
}

fn show_line(line: &str, here: &HostPort) -> String {
    if !line.starts_with("server.") {
        return line.to_owned();
    }
    let quorum = line.split(';').next().unwrap_or(line).trim_end();
    format!("{quorum};{here}")
}

/// Whether a change of the members would make a server take its clients where clients are shown it to be: what a client makes of an answer
/// that names the sidecar. Servers would move their client port there (`QuorumPeer.processReconfig`), for everybody.
pub fn sends_clients_to(change: &Reconfig<'_>, here: &HostPort) -> bool {
    let is_here = |host: &str| match (host.parse::<IpAddr>(), here.host.parse::<IpAddr>()) {
        (Ok(host), Ok(here)) => host == here,
        _ => host.eq_ignore_ascii_case(&here.host),
    };
    [change.joining, change.members].into_iter().flatten().any(|list| {
        list.lossy().split([',', '\n']).any(|server| {
            let at = server.rsplit_once(';').and_then(|(_, client)| client.trim().rsplit_once(':'));
            at.is_some_and(|(host, port)| port.parse() == Ok(here.port) && is_here(unbracketed(host)))
        })
    })
}

/// Where clients connect to each server of a list; servers that say nothing of it are left out.
pub fn client_addresses(data: &[u8]) -> Vec<HostPort> {
    let Ok(text) = std::str::from_utf8(data) else { return Vec::new() };
    text.lines().filter_map(client_address).collect()
}

/// How many servers of a list vote: those that are no observers.
pub fn voters(data: &[u8]) -> usize {
    let Ok(text) = std::str::from_utf8(data) else { return 0 };
    let quorum = text
        .lines()
        .filter_map(|line| line.strip_prefix("server.")?.split_once('='))
        .map(|(_, value)| value.split(';').next().unwrap_or_default().trim_end());
    quorum.filter(|quorum| !quorum.ends_with(":observer")).count()
}

fn client_address(line: &str) -> Option<HostPort> {
    let (_, value) = line.strip_prefix("server.")?.split_once('=')?;
    let (quorum, client) = value.split_once(';')?;
    let (host, port) = match client.trim().rsplit_once(':') {
        Some((host, port)) => (Some(unbracketed(host)), port),
        None => (None, client.trim()),
    };
    let port: u16 = port.parse().ok().filter(|port| *port != 0)?;
    let wildcard = |host: &str| host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_unspecified());
    let host = match host.filter(|host| !host.is_empty() && !wildcard(host)) {
        Some(host) => host.to_owned(),
        None => quorum_host(quorum)?,
    };
    Some(HostPort { host, port })
}

/// The host of `HOST:PORT:PORT[:ROLE]`, the first one of several.
fn quorum_host(quorum: &str) -> Option<String> {
    let first = quorum.split('|').next()?.trim();
    let host = match first.strip_prefix('[') {
        Some(rest) => rest.split_once(']')?.0,
        None => first.split(':').next()?,
    };
    (!host.is_empty()).then(|| host.to_owned())
}

fn unbracketed(host: &str) -> &str {
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(host: &str, port: u16) -> HostPort {
        HostPort { host: host.to_owned(), port }
    }

    #[test]
    fn where_clients_connect() {
        let data = b"server.1=zk-1:2888:3888:participant;0.0.0.0:2181\nserver.2=zk-2:2888:3888;2182\n\
                     server.3=[fd00::3]:2888:3888:observer;[fd00::33]:2183\nserver.4=a:1:2|b:1:2:participant;[::]:2184\n\
                     server.5=zk-5:2888:3888:participant\nversion=100000003";
        let found = client_addresses(data);
        assert_eq!(found, [at("zk-1", 2181), at("zk-2", 2182), at("fd00::33", 2183), at("a", 2184)]);
        assert_eq!(voters(data), 4, "one of the five observes");
        assert_eq!((voters(b"version=0"), voters(&[0xff])), (0, 0));
    }

    #[test]
    fn nonsense_is_no_server() {
        for line in [
            "server.1",
            "server.1=;",
            "server.1=a:1:2;x",
            "server.1=:1:2;0.0.0.0:1",
            "server.1=a:1:2;0",
            "x=1",
        ] {
            assert_eq!(client_addresses(line.as_bytes()), [], "{line}");
        }
        assert_eq!(client_addresses(&[0xff, 0xfe]), []);
    }

    #[test]
    fn clients_are_shown_the_sidecar_and_the_length_is_true() {
        let data = "server.1=zk-1:2888:3888:participant;0.0.0.0:2181\nserver.2=zk-2:2888:3888:participant\nversion=5";
        let stat = Stat { data_length: i32::try_from(data.len()).unwrap(), version: 5, ..Stat::default() };
        let body = stat.write(Writer::record().buffer(Some(data.as_bytes()))).finish();
        let shown = shown(opcode::GET_DATA, &[], &body, &at("127.0.0.1", 22181)).unwrap();
        let (text, stat) = reply::data(&shown).unwrap();
        let text = text.unwrap();
        assert_eq!(
            std::str::from_utf8(text).unwrap(),
            "server.1=zk-1:2888:3888:participant;127.0.0.1:22181\nserver.2=zk-2:2888:3888:participant;127.0.0.1:22181\nversion=5"
        );
        assert_eq!((stat.data_length, stat.version), (i32::try_from(text.len()).unwrap(), 5));
        assert_eq!(super::shown(opcode::GET_DATA, &[], &body[..body.len() - 1], &at("h", 1)), None);
    }

    #[test]
    fn one_of_several_reads_is_shown_like_one_alone() {
        let part = |w: Writer, kind: i32, path: &[u8]| w.i32(kind).bool(false).i32(-1).text(path).bool(false);
        let end = |w: Writer| w.i32(-1).bool(true).i32(-1).finish();
        let asks = part(part(Writer::record(), opcode::GET_CHILDREN, b"/"), opcode::GET_DATA, b"/gone");
        let asked = end(part(part(asks, opcode::GET_DATA, PATH), opcode::GET_DATA, b"/a"));
        assert!(is_asked_for(opcode::MULTI_READ, &asked));
        assert!(!is_asked_for(opcode::MULTI_READ, &end(part(Writer::record(), opcode::GET_DATA, b"/a"))));
        let answer = |list: &str| {
            let stat = Stat { data_length: i32::try_from(list.len()).unwrap(), ..Stat::default() };
            let head = |w: Writer, kind: i32| w.i32(kind).bool(false).i32(0);
            let children =
                head(Writer::record(), opcode::GET_CHILDREN).names([&b"a"[..], b"zookeeper"].into_iter());
            let gone = children.i32(-1).bool(false).i32(-101).i32(-101);
            let node = stat.write(head(gone, opcode::GET_DATA).buffer(Some(list.as_bytes())));
            let plain = "server.1=a:1:2;x:3";
            end(Stat::default().write(head(node, opcode::GET_DATA).buffer(Some(plain.as_bytes()))))
        };
        let real = answer("server.1=zk-1:2888:3888:participant;0.0.0.0:2181\nversion=5");
        let here = at("127.0.0.1", 22181);
        let due = answer("server.1=zk-1:2888:3888:participant;127.0.0.1:22181\nversion=5");
        assert_eq!(shown(opcode::MULTI_READ, &asked, &real, &here), Some(due));
        assert_eq!(shown(opcode::MULTI_READ, &asked, &real[..real.len() - 100], &here), None);
    }

    #[test]
    fn a_change_that_came_from_what_clients_are_shown_is_known() {
        let of = |joining: &str, members: &str| {
            let list =
                |w: Writer, text: &str| if text.is_empty() { w.i32(-1) } else { w.text(text.as_bytes()) };
            list(list(Writer::record(), joining).i32(-1), members).i64(-1).finish()
        };
        let sends = |joining: &str, members: &str, here: &HostPort| {
            let payload = of(joining, members);
            let Ok(Request::Reconfig(change)) = Request::decode(opcode::RECONFIG, &payload) else {
                panic!("{joining} {members}");
            };
            sends_clients_to(&change, here)
        };
        let (own, real) = ("server.1=a:1:2:participant;127.0.0.1:2181", "server.2=b:1:2;0.0.0.0:2181");
        let here = at("127.0.0.1", 2181);
        assert!(sends("", own, &here) && sends(own, "", &here));
        for between in [",", "\n", " , ", "\r\n"] {
            assert!(sends("", &format!("{real}{between}{own}"), &here), "{between:?}");
            assert!(sends(&format!("{own}{between}{real}"), "", &here), "{between:?}");
        }
        for other in [
            real,
            "server.1=127.0.0.1:2181:2;2182",
            "server.1=a:1:2;2181",
            "server.1=a:1:2;127.0.0.1:2182",
            ";",
            "",
        ] {
            assert!(!sends("", other, &here) && !sends(other, "", &here), "{other}");
        }
        assert!(sends("", "server.1=a:1:2;Sidecar.test:2181", &at("sidecar.test", 2181)));
        for six in ["server.1=a:1:2;[::1]:2181", "server.1=a:1:2;[0:0::1]:2181"] {
            assert!(sends(six, "", &at("::1", 2181)), "{six}");
        }
    }

    #[test]
    fn it_is_asked_for_by_its_path() {
        let ask = |path: &[u8]| Writer::record().text(path).bool(true).finish();
        assert!(is_asked_for(opcode::GET_DATA, &ask(PATH)));
        assert!(!is_asked_for(opcode::GET_DATA, &ask(b"/zookeeper/configs")));
        assert!(!is_asked_for(opcode::EXISTS, &ask(PATH)));
        assert!(is_asked_for(opcode::RECONFIG, b""));
    }
}
