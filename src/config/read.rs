//! The typed reader: one function for each kind of value, from a node of the tree to a value or problems.
//!
//! A function that finds something wrong reports it and returns `None`, and the key keeps its default for
//! the checks that follow. Nothing here knows which keys exist. Imports files of this folder only.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use super::clusters::{
    HostPort, Idempotence, LeaseMode, PersistentWatches, PortRange, RaiseAcks, UnknownOutcome,
};
use super::report::Report;
use super::sasl::{Clients, Endpoint, Mechanism};
use super::tree::{Node, Value};
use super::types::LogFormat;
use super::{address, units};

/// One key that is being read.
pub(super) struct Field<'a> {
    pub(super) node: &'a Node,
    pub(super) path: &'a str,
    /// A right value as it would stand in a file, for messages.
    pub(super) example: &'a str,
}

impl Field<'_> {
    /// The example without its TOML, the only element of it if it is a list.
    fn first(&self) -> &str {
        self.example.trim_matches(['[', ']', '"'])
    }

    fn bad<T>(&self, report: &mut Report, text: impl Into<String>) -> Option<T> {
        report.add(&self.node.place, self.path, text);
        None
    }

    fn wrong_kind<T>(&self, report: &mut Report, wanted: &str) -> Option<T> {
        self.bad(report, format!("is {}, not {wanted}; write {}", self.node.value.kind(), self.example))
    }

    /// A string that `parse` understands.
    fn string<T>(
        &self,
        report: &mut Report,
        wanted: &str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Option<T> {
        match &self.node.value {
            Value::String(text) | Value::Text(text) => match parse(text) {
                Ok(value) => Some(value),
                Err(wrong) => self.bad(report, wrong),
            },
            _ => self.wrong_kind(report, wanted),
        }
    }

    /// A list of strings, or one string. An element that is wrong is reported and `placeholder` stands in
    /// for it, so that the others keep their index.
    fn list<T: Clone>(
        &self,
        report: &mut Report,
        may_be_empty: bool,
        placeholder: &T,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Option<Vec<T>> {
        let place = &self.node.place;
        let split: Vec<Node>;
        let nodes: &[Node] = match &self.node.value {
            Value::List(nodes) => nodes,
            Value::String(_) => std::slice::from_ref(self.node),
            Value::Text(text) => {
                split = text
                    .split(',')
                    .map(str::trim)
                    .filter(|part| !part.is_empty())
                    .map(|part| Node { value: Value::Text(part.to_owned()), place: place.clone() })
                    .collect();
                &split
            }
            _ => return self.wrong_kind(report, "a list of strings"),
        };
        if nodes.is_empty() && !may_be_empty {
            return self.bad(report, format!("is empty; write at least one, {}", self.example));
        }
        let mut values = Vec::new();
        for (index, node) in nodes.iter().enumerate() {
            let path = format!("{}[{index}]", self.path);
            report.seen(path.clone(), &node.place);
            let element = Field { node, path: &path, example: self.example };
            values.push(element.string(report, "a string", &parse).unwrap_or_else(|| placeholder.clone()));
        }
        Some(values)
    }
}

/// `true` or `false`.
pub(super) fn flag(field: &Field<'_>, report: &mut Report) -> Option<bool> {
    match &field.node.value {
        Value::Bool(flag) => Some(*flag),
        Value::Text(text) => match text.as_str() {
            "true" => Some(true),
            "false" => Some(false),
            _ => field.bad(report, format!("{} is not a boolean; write true or false", units::quote(text))),
        },
        _ => field.bad(report, format!("is {}, not a boolean; write true or false", field.node.value.kind())),
    }
}

/// A whole number from `least` to `most`, which must fit in `T`.
pub(super) fn count<T: TryFrom<i64>>(
    field: &Field<'_>,
    report: &mut Report,
    least: i64,
    most: i64,
) -> Option<T> {
    let number = match &field.node.value {
        Value::Integer(number) => *number,
        Value::Text(text) => {
            let Ok(number) = text.parse() else {
                let text = units::quote(text);
                return field.bad(report, format!("{text} is not a whole number; write {}", field.example));
            };
            number
        }
        _ => return field.wrong_kind(report, "a whole number"),
    };
    if !(least..=most).contains(&number) {
        return field.bad(report, format!("{number} is out of range; write {least} to {most}"));
    }
    T::try_from(number).ok()
}

/// A duration from `least` to `most`.
pub(super) fn duration(
    field: &Field<'_>,
    report: &mut Report,
    least: Duration,
    most: Duration,
) -> Option<Duration> {
    if let Value::Integer(number) = field.node.value {
        return field.bad(
            report,
            format!(
                "{number} has no unit; write \"{number}s\" for seconds or \"{number}ms\" for milliseconds"
            ),
        );
    }
    let value = field.string(report, "a duration", units::duration)?;
    if (least..=most).contains(&value) {
        return Some(value);
    }
    let [value, least, most] = [value, least, most].map(units::show_duration);
    field.bad(report, format!("\"{value}\" is out of range; write \"{least}\" to \"{most}\""))
}

/// A size in bytes from `least` to `most`.
pub(super) fn size(field: &Field<'_>, report: &mut Report, least: u64, most: u64) -> Option<usize> {
    let bytes = match &field.node.value {
        Value::Integer(number) => match u64::try_from(*number) {
            Ok(bytes) => bytes,
            Err(_) => return field.bad(report, format!("{number} is negative; write {}", field.example)),
        },
        _ => field.string(report, "a size", units::size)?,
    };
    match usize::try_from(bytes) {
        Ok(size) if (least..=most).contains(&bytes) => Some(size),
        _ => {
            let [least, most] = [least, most].map(units::show_size);
            field.bad(report, format!("{bytes} bytes is out of range; write \"{least}\" to \"{most}\""))
        }
    }
}

/// Text on one line that is not empty.
pub(super) fn text(field: &Field<'_>, report: &mut Report) -> Option<String> {
    field.string(report, "a string", units::one_line)
}

/// A path on disk.
pub(super) fn folder(field: &Field<'_>, report: &mut Report) -> Option<PathBuf> {
    text(field, report).map(PathBuf::from)
}

/// A file on disk. Whether it can be read is seen when it is used: it may be renewed at any time.
pub(super) fn file(field: &Field<'_>, report: &mut Report) -> Option<PathBuf> {
    text(field, report).map(PathBuf::from)
}

/// A cluster's name.
pub(super) fn cluster_name(field: &Field<'_>, report: &mut Report) -> Option<String> {
    field.string(report, "a string", units::cluster_name)
}

/// `text` or `json`.
pub(super) fn log_format(field: &Field<'_>, report: &mut Report) -> Option<LogFormat> {
    field.string(report, "a string", units::log_format)
}

/// One of some words.
fn choice<T: Copy>(field: &Field<'_>, report: &mut Report, choices: &[(&str, T)]) -> Option<T> {
    field.string(report, "a string", |text| units::choice(text, choices))
}

/// Whether producers get an identity.
pub(super) fn idempotence(field: &Field<'_>, report: &mut Report) -> Option<Idempotence> {
    choice(field, report, &[("inject", Idempotence::Inject), ("off", Idempotence::Off)])
}

/// Which acks are raised.
pub(super) fn raise_acks(field: &Field<'_>, report: &mut Report) -> Option<RaiseAcks> {
    choice(field, report, &[("acks1", RaiseAcks::Acks1), ("all", RaiseAcks::All), ("off", RaiseAcks::Off)])
}

/// A mechanism of SASL.
pub(super) fn mechanism(field: &Field<'_>, report: &mut Report) -> Option<Mechanism> {
    choice(field, report, &Mechanism::ALL)
}

/// Whose credentials are used for clients.
pub(super) fn sasl_clients(field: &Field<'_>, report: &mut Report) -> Option<Clients> {
    choice(field, report, &[("held", Clients::Held), ("own", Clients::Own)])
}

/// An address of the web.
pub(super) fn url(field: &Field<'_>, report: &mut Report) -> Option<Endpoint> {
    field.string(report, "a string", Endpoint::parse)
}

/// Which answers prove a session.
pub(super) fn lease(field: &Field<'_>, report: &mut Report) -> Option<LeaseMode> {
    choice(field, report, &[("direct", LeaseMode::Direct), ("strict", LeaseMode::Strict)])
}

/// What a gap means for persistent watches.
pub(super) fn persistent_watches(field: &Field<'_>, report: &mut Report) -> Option<PersistentWatches> {
    choice(field, report, &[("close", PersistentWatches::Close), ("keep", PersistentWatches::Keep)])
}

/// What is said of an unknown outcome.
pub(super) fn unknown_outcome(field: &Field<'_>, report: &mut Report) -> Option<UnknownOutcome> {
    choice(field, report, &[("error", UnknownOutcome::Error), ("close", UnknownOutcome::Close)])
}

/// Four-letter words, possibly none.
pub(super) fn four_letter_words(field: &Field<'_>, report: &mut Report) -> Option<Vec<String>> {
    field.list(report, true, &String::new(), units::four_letter_word)
}

/// A log filter.
pub(super) fn log_level(field: &Field<'_>, report: &mut Report) -> Option<String> {
    field.string(report, "a string", units::log_level)
}

/// The host that clients are told.
pub(super) fn advertised_host(field: &Field<'_>, report: &mut Report) -> Option<String> {
    field.string(report, "a string", |text| address::advertised_host(text, field.first()))
}

/// Addresses to listen on, at least one.
pub(super) fn listen(field: &Field<'_>, report: &mut Report) -> Option<Vec<SocketAddr>> {
    let placeholder = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
    field.list(report, false, &placeholder, |text| address::listen(text, field.first()))
}

/// Addresses to listen on, possibly none.
pub(super) fn listen_or_not(field: &Field<'_>, report: &mut Report) -> Option<Vec<SocketAddr>> {
    let placeholder = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
    field.list(report, true, &placeholder, |text| address::listen(text, "127.0.0.1:9902"))
}

/// Names of hosts, possibly none.
pub(super) fn host_names(field: &Field<'_>, report: &mut Report) -> Option<Vec<String>> {
    field.list(report, true, &String::new(), |text| address::advertised_host(text, "evenkeel.example.net"))
}

/// Name servers, possibly none.
pub(super) fn name_servers(field: &Field<'_>, report: &mut Report) -> Option<Vec<SocketAddr>> {
    let placeholder = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
    field.list(report, true, &placeholder, address::name_server)
}

/// Servers to connect to, at least one.
pub(super) fn servers(field: &Field<'_>, report: &mut Report) -> Option<Vec<HostPort>> {
    let placeholder = HostPort { host: String::new(), port: 0 };
    field.list(report, false, &placeholder, |text| address::host_port(text, field.first()))
}

/// A range of ports.
pub(super) fn port_range(field: &Field<'_>, report: &mut Report) -> Option<PortRange> {
    if let Value::Integer(number) = field.node.value {
        return match units::port_range(&number.to_string()) {
            Ok(range) => Some(range),
            Err(wrong) => field.bad(report, wrong),
        };
    }
    field.string(report, "a port range", units::port_range)
}

/// A table from node ids to ports; from the environment `1001=19150,1002=19151`.
pub(super) fn node_ports(field: &Field<'_>, report: &mut Report) -> Option<BTreeMap<i32, u16>> {
    let mut pairs = Vec::new();
    match &field.node.value {
        Value::Table(table) => {
            pairs.extend(table.iter().map(|(id, entry)| (id.clone(), entry.node.clone())));
        }
        Value::Text(text) => {
            for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
                let Some((id, port)) = part.split_once('=') else {
                    let part = units::quote(part);
                    return field
                        .bad(report, format!("{part} is not a node id and a port; write 1001=19150"));
                };
                let value = Value::Text(port.trim().to_owned());
                pairs.push((id.trim().to_owned(), Node { value, place: field.node.place.clone() }));
            }
        }
        _ => return field.wrong_kind(report, "a table"),
    }
    let mut ports = BTreeMap::new();
    for (id_text, node) in pairs {
        let canonical = id_text.parse::<i32>().ok().filter(|id| *id >= 0 && id.to_string() == id_text);
        let Some(id) = canonical else {
            let id = units::quote(&id_text);
            let path = format!("{}.{}", field.path, units::key(&id_text));
            let text = "is not a broker's node id; write a whole number of 0 or more, such as \"1001\"";
            report.add(&node.place, path, format!("{id} {text}"));
            continue;
        };
        let path = format!("{}.{id}", field.path);
        report.seen(path.clone(), &node.place);
        let entry = Field { node: &node, path: &path, example: "19150" };
        let port = count(&entry, report, 1, 65535);
        if port.is_some_and(|port| ports.insert(id, port).is_some()) {
            entry.bad::<()>(report, "is given twice; write each node id once");
        }
    }
    Some(ports)
}
