//! The files of one node: its settings, its logging, its formatted storage. Text in, text out, besides the format.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Command;

use super::spec::{KafkaVersion, Session, Spec};
use super::{CLIENT_PORT, CONTROLLER_PORT, INTERNAL_PORT};
use crate::{Error, Result, cache, helper};

/// What the settings of a node depend on besides the spec.
pub(super) struct Place<'a> {
    pub id: u8,
    pub version: KafkaVersion,
    pub client: Ipv4Addr,
    pub fixed: &'a [Ipv4Addr],
    /// The controllers' ids and addresses.
    pub quorum: &'a [(u8, Ipv4Addr)],
    pub data: &'a Path,
    /// Settings of this node alone.
    pub own: &'a [(String, String)],
}

/// The broker's settings file.
pub(super) fn server(spec: &Spec, place: &Place<'_>) -> String {
    let own =
        place.fixed.get(usize::from(place.id).saturating_sub(1)).copied().unwrap_or(Ipv4Addr::LOCALHOST);
    let advertised = match &spec.domain {
        Some(domain) => format!("kafka-{}.{domain}", place.id),
        None => place.client.to_string(),
    };
    let rf = spec.nodes.min(3);
    let in_sync = rf.saturating_sub(1).max(1);
    let mut listeners = format!("CLIENT://{}:{CLIENT_PORT},INTERNAL://{own}:{INTERNAL_PORT}", place.client);
    let mut map = "CLIENT:PLAINTEXT,INTERNAL:PLAINTEXT".to_owned();
    let mut all: BTreeMap<String, String> = BTreeMap::new();
    let mut set = |key: &str, value: String| {
        all.insert(key.to_owned(), value);
    };
    set(
        "advertised.listeners",
        format!("CLIENT://{advertised}:{CLIENT_PORT},INTERNAL://{own}:{INTERNAL_PORT}"),
    );
    set("inter.broker.listener.name", "INTERNAL".to_owned());
    if spec.zones {
        set("broker.rack", format!("zone-{}", place.id));
    }
    set("log.dirs", place.data.display().to_string());
    if place.version.uses_zookeeper() {
        let zookeeper = place.fixed.first().copied().unwrap_or(Ipv4Addr::LOCALHOST);
        set("broker.id", place.id.to_string());
        set("zookeeper.connect", format!("{zookeeper}:2181"));
        let session = if spec.session == Session::Fast { 3000 } else { 9000 };
        set("zookeeper.session.timeout.ms", session.to_string());
    } else {
        set("node.id", place.id.to_string());
        set("controller.quorum.voters", voters(place.quorum));
        set("controller.listener.names", "CONTROLLER".to_owned());
        if spec.controllers == 0 {
            set("process.roles", "broker,controller".to_owned());
            let _ = write!(listeners, ",CONTROLLER://{own}:{CONTROLLER_PORT}");
        } else {
            set("process.roles", "broker".to_owned());
        }
        map.push_str(",CONTROLLER:PLAINTEXT");
        if spec.session == Session::Fast {
            set("broker.session.timeout.ms", "3000".to_owned());
            set("broker.heartbeat.interval.ms", "500".to_owned());
        }
    }
    set("listeners", listeners);
    set("listener.security.protocol.map", map);
    set("default.replication.factor", rf.to_string());
    set("min.insync.replicas", in_sync.to_string());
    set("auto.create.topics.enable", "false".to_owned());
    // Few and small internal topics: every one of their partitions costs time at each restart.
    for topic in ["offsets.topic", "transaction.state.log"] {
        set(&format!("{topic}.num.partitions"), "5".to_owned());
        set(&format!("{topic}.replication.factor"), rf.to_string());
    }
    set("transaction.state.log.min.isr", in_sync.to_string());
    set("group.initial.rebalance.delay.ms", "0".to_owned());
    set("log.cleaner.dedupe.buffer.size", "2097152".to_owned());
    set("log.segment.bytes", "67108864".to_owned());
    set("num.network.threads", "2".to_owned());
    set("num.io.threads", "4".to_owned());
    for (key, value) in spec.overrides.iter().chain(place.own) {
        all.insert(key.clone(), value.clone());
    }
    file(&all)
}

/// The settings file of a controller that is no broker. What topics get by default is decided here.
pub(super) fn controller(spec: &Spec, id: u8, quorum: &[(u8, Ipv4Addr)], data: &Path) -> String {
    let own = quorum.iter().find(|(voter, _)| *voter == id).map_or(Ipv4Addr::LOCALHOST, |&(_, ip)| ip);
    let rf = spec.nodes.min(3);
    let mut all: BTreeMap<String, String> = BTreeMap::new();
    for (key, value) in [
        ("node.id", id.to_string()),
        ("process.roles", "controller".to_owned()),
        ("controller.quorum.voters", voters(quorum)),
        ("controller.listener.names", "CONTROLLER".to_owned()),
        ("listeners", format!("CONTROLLER://{own}:{CONTROLLER_PORT}")),
        ("listener.security.protocol.map", "CONTROLLER:PLAINTEXT".to_owned()),
        ("log.dirs", data.display().to_string()),
        ("default.replication.factor", rf.to_string()),
        ("min.insync.replicas", rf.saturating_sub(1).max(1).to_string()),
    ] {
        all.insert(key.to_owned(), value);
    }
    if spec.session == Session::Fast {
        all.insert("broker.session.timeout.ms".to_owned(), "3000".to_owned());
        all.insert("broker.heartbeat.interval.ms".to_owned(), "500".to_owned());
    }
    for (key, value) in &spec.overrides {
        all.insert(key.clone(), value.clone());
    }
    file(&all)
}

fn voters(quorum: &[(u8, Ipv4Addr)]) -> String {
    let all: Vec<String> = quorum.iter().map(|(id, ip)| format!("{id}@{ip}:{CONTROLLER_PORT}")).collect();
    all.join(",")
}

fn file(settings: &BTreeMap<String, String>) -> String {
    settings.iter().fold(String::new(), |mut text, (key, value)| {
        let _ = writeln!(text, "{key}={value}");
        text
    })
}

/// Writes the logging configuration of a version into `folder`; gives the JVM option that names it.
pub(super) fn logging(version: KafkaVersion, folder: &Path) -> Result<String> {
    let (name, text, option) = if version >= KafkaVersion::V4_3_1 {
        (
            "log4j2.properties",
            "rootLogger.level=INFO\nrootLogger.appenderRef.o.ref=O\nappender.o.type=Console\nappender.o.name=O\n\
             appender.o.layout.type=PatternLayout\nappender.o.layout.pattern=%d %p %c{1} %m%n\n",
            "-Dlog4j2.configurationFile",
        )
    } else {
        (
            "log4j.properties",
            "log4j.rootLogger=INFO, O\nlog4j.appender.O=org.apache.log4j.ConsoleAppender\n\
             log4j.appender.O.layout=org.apache.log4j.PatternLayout\nlog4j.appender.O.layout.ConversionPattern=%d %p %c{1} %m%n\n",
            "-Dlog4j.configuration",
        )
    };
    let path = folder.join(name);
    fs::write(&path, text).map_err(Error::io(format!("writing {}", path.display())))?;
    Ok(format!("{option}=file:{}", path.display()))
}

/// Puts formatted `KRaft` storage at `data`. Kafka's own tool formats once for each version into the cache; each node then
/// gets a copy with its own ids, which saves a JVM for each node of each cluster.
pub(super) fn format(version: KafkaVersion, cluster: &str, id: u8, seed: u32, data: &Path) -> Result<()> {
    let template = cache::entry(&format!("{}-storage", version.jars().name), |fresh| {
        let file = fresh.with_extension("properties");
        let text = format!(
            "process.roles=broker,controller\nnode.id=1\ncontroller.quorum.voters=1@127.0.0.1:9093\n\
             controller.listener.names=CONTROLLER\nlisteners=CLIENT://127.0.0.1:9092,CONTROLLER://127.0.0.1:9093\n\
             inter.broker.listener.name=CLIENT\nlistener.security.protocol.map=CLIENT:PLAINTEXT,CONTROLLER:PLAINTEXT\n\
             log.dirs={}\n",
            fresh.display()
        );
        fs::write(&file, text).map_err(Error::io("writing settings to format with"))?;
        cache::run(
            Command::new("java")
                .args(helper::JVM)
                .args(["-cp", &version.jars().class_path()?, "kafka.tools.StorageTool", "format"])
                .args(["-t", cluster, "-c"])
                .arg(&file),
        )?;
        let _ = fs::remove_file(&file);
        Ok(())
    })?;
    fs::create_dir_all(data).map_err(Error::io(format!("creating {}", data.display())))?;
    for file in fs::read_dir(&template).map_err(Error::io("listing formatted storage"))? {
        let file = file.map_err(Error::io("listing formatted storage"))?;
        let to = data.join(file.file_name());
        if file.file_name() == "meta.properties" {
            let text = fs::read_to_string(file.path()).map_err(Error::io("reading meta.properties"))?;
            fs::write(&to, with_ids(&text, cluster, id, seed))
                .map_err(Error::io("writing meta.properties"))?;
        } else {
            fs::copy(file.path(), &to).map_err(Error::io("copying formatted storage"))?;
        }
    }
    Ok(())
}

/// `meta.properties` with other ids. Two nodes must not have one directory id.
fn with_ids(text: &str, cluster: &str, id: u8, seed: u32) -> String {
    text.lines().fold(String::new(), |mut out, line| {
        let _ = match line.split_once('=') {
            Some(("cluster.id", _)) => writeln!(out, "cluster.id={cluster}"),
            Some(("node.id", _)) => writeln!(out, "node.id={id}"),
            Some(("directory.id", _)) => writeln!(out, "directory.id={}", uuid(seed, id)),
            _ => writeln!(out, "{line}"),
        };
        out
    })
}

/// 16 bytes in the URL-safe base64 form of Kafka's ids (22 characters, none reserved), distinct for each pair.
pub(super) fn uuid(seed: u32, id: u8) -> String {
    format!("EKbed{seed:08x}{id:02x}AAAAAAA").chars().take(22).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUORUM: [(u8, Ipv4Addr); 3] = [
        (1, Ipv4Addr::new(127, 0, 9, 101)),
        (2, Ipv4Addr::new(127, 0, 9, 102)),
        (3, Ipv4Addr::new(127, 0, 9, 103)),
    ];

    fn place(fixed: &[Ipv4Addr], version: KafkaVersion) -> Place<'_> {
        let client = Ipv4Addr::new(127, 0, 9, 2);
        Place { id: 2, version, client, fixed, quorum: &QUORUM, data: Path::new("/tmp/d"), own: &[] }
    }

    #[test]
    fn names_go_to_clients_only() {
        let fixed =
            [Ipv4Addr::new(127, 0, 9, 101), Ipv4Addr::new(127, 0, 9, 102), Ipv4Addr::new(127, 0, 9, 103)];
        let spec = Spec::new(KafkaVersion::V3_9_2).domain("test").set("min.insync.replicas", 1);
        let text = server(&spec, &place(&fixed, KafkaVersion::V3_9_2));
        assert!(
            text.contains("advertised.listeners=CLIENT://kafka-2.test:9092,INTERNAL://127.0.9.102:9094\n")
        );
        assert!(
            text.contains(
                "controller.quorum.voters=1@127.0.9.101:9093,2@127.0.9.102:9093,3@127.0.9.103:9093\n"
            )
        );
        assert!(text.contains("min.insync.replicas=1\n"), "an override wins");
    }

    #[test]
    fn zookeeper_mode_has_no_quorum() {
        let fixed = [Ipv4Addr::new(127, 0, 9, 101)];
        let text = server(&Spec::new(KafkaVersion::V2_8_2), &place(&fixed, KafkaVersion::V2_8_2));
        assert!(text.contains("zookeeper.connect=127.0.9.101:2181\n") && !text.contains("CONTROLLER"));
    }

    #[test]
    fn controllers_apart_are_no_brokers_and_the_other_way_round() {
        let fixed = [Ipv4Addr::new(127, 0, 9, 101), Ipv4Addr::new(127, 0, 9, 102)];
        let quorum = [(51, Ipv4Addr::new(127, 0, 9, 151))];
        let spec = Spec::new(KafkaVersion::V3_9_2).controllers_apart(1).fast();
        let own = [("broker.rack".to_owned(), "b".to_owned())];
        let place = Place { quorum: &quorum, own: &own, ..place(&fixed, KafkaVersion::V3_9_2) };
        let broker = server(&spec, &place);
        assert!(broker.contains("process.roles=broker\n") && broker.contains("broker.rack=b\n"), "{broker}");
        assert!(broker.contains("controller.quorum.voters=51@127.0.9.151:9093\n"), "{broker}");
        assert!(!broker.contains(",CONTROLLER://"), "{broker}");
        let controller = controller(&spec, 51, &quorum, Path::new("/tmp/d"));
        assert!(controller.contains("listeners=CONTROLLER://127.0.9.151:9093\n"), "{controller}");
        assert!(controller.contains("process.roles=controller\n"), "{controller}");
        assert!(controller.contains("broker.session.timeout.ms=3000\n"), "{controller}");
    }

    #[test]
    fn ids_are_replaced_each() {
        let text = with_ids("version=1\ncluster.id=a\nnode.id=1\ndirectory.id=b\n", "C", 3, 7);
        assert_eq!(text, format!("version=1\ncluster.id=C\nnode.id=3\ndirectory.id={}\n", uuid(7, 3)));
        assert_eq!(uuid(7, 3).len(), 22);
        assert_ne!(uuid(7, 3), uuid(7, 4));
    }
}
