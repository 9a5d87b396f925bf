use std::path::Path;

use super::catalogue::{Extra, Part};
use super::*;

/// Name and labels of every line of the exposition, with its value.
fn lines(text: &str) -> BTreeMap<String, String> {
    text.lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| {
            let (series, value) = line.rsplit_once(' ').unwrap();
            (series.to_owned(), value.to_owned())
        })
        .collect()
}

#[test]
fn every_metric_is_there_at_zero_before_anything_happened() {
    let metrics = Metrics::new();
    metrics.kafka("orders").member("7");
    metrics.zookeeper("coord").member("7");
    let text = metrics.render();
    let lines = lines(&text);
    for (series, value) in &lines {
        if !series.starts_with("evenkeel_build_info{") {
            assert_eq!(value, "0", "{series}");
        }
    }
    for (protocol, cluster) in [(Protocol::Kafka, "orders"), (Protocol::ZooKeeper, "coord")] {
        for spec in catalogue::of(protocol) {
            if matches!(spec.extra, Extra::Seen(_)) {
                continue;
            }
            for values in spec.combinations(protocol) {
                let suffix = if matches!(spec.kind, Kind::Histogram(_)) { "_count" } else { "" };
                let mut at = match spec.scope {
                    Scope::Process => Vec::new(),
                    Scope::Cluster => vec![cluster, protocol.as_str()],
                    Scope::Member => vec![cluster, protocol.as_str(), "7"],
                };
                at.extend(values);
                let labels = spec.labels();
                assert_eq!(labels.len(), at.len(), "{}", spec.name);
                let series = series(&format!("{}{suffix}", spec.name), &labels, &at);
                assert!(lines.contains_key(&series), "{series} is missing from\n{text}");
            }
        }
    }
}

/// What a fan-out shows is there at zero, and in no other process.
#[test]
fn a_fan_out_has_its_series_and_nobody_else_does() {
    let metrics = Metrics::new();
    assert!(!metrics.render().contains("evenkeel_fleet_"));
    let fleet = FleetMetrics::new(&metrics);
    let text = metrics.render();
    for spec in
        catalogue::PARTS.into_iter().filter(|(part, _)| *part == Part::Fleet).flat_map(|(_, specs)| specs)
    {
        for values in spec.combinations(Protocol::Kafka) {
            let suffix = if matches!(spec.kind, Kind::Histogram(_)) { "_count" } else { "" };
            let series = series(&format!("{}{suffix}", spec.name), &spec.labels(), &values);
            assert_eq!(
                lines(&text).get(series.as_str()).map(AsRef::as_ref),
                Some("0"),
                "{series} in\n{text}"
            );
        }
    }
    fleet.questions.inc(FleetOutcome::Silent);
    assert!(metrics.render().contains("evenkeel_fleet_questions_total{outcome=\"silent\"} 1"));
}

/// A series as the exposition writes it, with its labels sorted by name.
fn series(name: &str, labels: &[&str], values: &[&str]) -> String {
    let mut pairs: Vec<String> =
        labels.iter().zip(values).map(|(label, value)| format!("{label}=\"{value}\"")).collect();
    pairs.sort();
    let labels = if pairs.is_empty() { String::new() } else { format!("{{{}}}", pairs.join(",")) };
    format!("{PREFIX}{name}{labels}")
}

/// Neither the other protocol's metrics, nor its values of a label that both have.
#[test]
fn a_cluster_shows_nothing_of_the_other_protocol() {
    for (protocol, other) in [(Protocol::Kafka, Protocol::ZooKeeper), (Protocol::ZooKeeper, Protocol::Kafka)]
    {
        let metrics = Metrics::new();
        match protocol {
            Protocol::Kafka => {
                let cluster = metrics.kafka("one");
                cluster.member("7");
                let _client = cluster.client(Library::Java, "4.0");
            }
            Protocol::ZooKeeper => {
                let cluster = metrics.zookeeper("one");
                cluster.member("7");
                let _client = cluster.client(zookeeper::Library::Java);
            }
        }
        let text = metrics.render();
        let own: Vec<&str> = catalogue::of(protocol).map(|spec| spec.name).collect();
        for spec in catalogue::of(other).filter(|spec| !own.contains(&spec.name)) {
            assert!(!text.contains(&format!("{PREFIX}{}", spec.name)), "{} is in\n{text}", spec.name);
        }
        for value in other.timed().into_iter().chain(other.codes()) {
            let both = protocol.timed().contains(&value) || protocol.codes().contains(&value);
            assert!(both || !text.contains(&format!("=\"{value}\"")), "{value} is in\n{text}");
        }
    }
}

#[test]
fn names_follow_the_conventions() {
    for spec in catalogue::all() {
        let counter = matches!(spec.kind, Kind::Counter);
        assert_eq!(counter, spec.name.ends_with("_total"), "{}", spec.name);
        if matches!(spec.kind, Kind::Histogram(_)) {
            assert!(spec.name.ends_with("_seconds"), "{}", spec.name);
        }
        assert!(spec.help.ends_with('.'), "{}", spec.name);
    }
}

#[test]
fn each_handle_counts_in_the_series_of_its_name() {
    let metrics = Metrics::new();
    let cluster = metrics.kafka("orders");
    let member = cluster.member("1");
    member.connect(ConnectOutcome::WrongNode);
    member.bytes_sent.inc_by(3);
    member.bytes_received.inc_by(5);
    cluster.hold_started.inc(HoldTrigger::UnknownNode);
    cluster.masked_errors.get("NOT_LEADER_OR_FOLLOWER").inc();
    cluster.client_errors.kafka(6).inc();
    cluster.client_errors.kafka(32_000).inc();
    cluster.upstream_errors.disconnected().inc();
    cluster.upstream_errors.get("disconnected").inc();
    cluster.upstream_errors.get("made up").inc();
    cluster.api(1).requests.observe(0.002);
    cluster.api(-5).added.observe(100.0);
    let lines = lines(&metrics.render());
    let at = |name: &str, labels: &str| {
        let labels = format!("cluster=\"orders\",protocol=\"kafka\",{labels}");
        value(&lines, name, &labels)
    };
    assert_eq!(at("upstream_connect_total", "member=\"1\",outcome=\"wrong_node\""), "1");
    assert_eq!(at("upstream_bytes_total", "member=\"1\",direction=\"sent\""), "3");
    assert_eq!(at("upstream_bytes_total", "member=\"1\",direction=\"received\""), "5");
    assert_eq!(at("hold_started_total", "trigger=\"unknown_node\""), "1");
    assert_eq!(at("masked_errors_total", "code=\"NOT_LEADER_OR_FOLLOWER\""), "1");
    assert_eq!(at("client_errors_total", "code=\"NOT_LEADER_OR_FOLLOWER\""), "1");
    assert_eq!(at("client_errors_total", "code=\"other\""), "1");
    assert_eq!(at("upstream_errors_total", "code=\"disconnected\""), "2");
    assert_eq!(at("upstream_errors_total", "code=\"other\""), "1");
    assert_eq!(at("request_seconds_count", "api=\"Fetch\""), "1");
    assert_eq!(at("added_seconds_count", "api=\"other\""), "1");
}

/// The value of a series, its labels in any order.
#[track_caller]
fn value(lines: &BTreeMap<String, String>, name: &str, labels: &str) -> String {
    let pairs: Vec<(&str, &str)> = labels
        .split(',')
        .map(|pair| pair.split_once("=\"").unwrap())
        .map(|(l, v)| (l, v.trim_end_matches('"')))
        .collect();
    let (labels, values): (Vec<&str>, Vec<&str>) = pairs.into_iter().unzip();
    let series = series(name, &labels, &values);
    lines.get(&series).unwrap_or_else(|| panic!("no {series}")).clone()
}

#[test]
fn each_handle_of_zookeeper_counts_in_the_series_of_its_name() {
    use zookeeper::{
        AttachOutcome, CloseReason, FenceOutcome, HoldTrigger, MoveKind, MoveOutcome, Poison,
        ReadbackVerdict, ReplayVerdict, UnknownAction, WatchKind, WordFate,
    };
    let metrics = Metrics::new();
    let ensemble = metrics.zookeeper("coord");
    let member = ensemble.member("zk-1:2181");
    member.sessions.set(3);
    member.connect(ConnectOutcome::Ok);
    let guard = ensemble.client_connection();
    let kazoo = ensemble.client(zookeeper::Library::Kazoo);
    ensemble.hold_started.inc(HoldTrigger::Move);
    ensemble.replays.inc(ReplayVerdict::Verified);
    ensemble.unknown_outcomes.inc(UnknownAction::Closed);
    ensemble.client_errors.zookeeper(-101).inc();
    ensemble.client_errors.zookeeper(-9999).inc();
    ensemble.upstream_errors.disconnected().inc();
    ensemble.masked_errors.get("SessionMoved").inc();
    ensemble.session_moves.get(MoveKind::Planned).inc(MoveOutcome::Stayed);
    ensemble.session_moves.get(MoveKind::Unplanned).inc(MoveOutcome::Moved);
    ensemble.session_move_seconds.get(MoveKind::Unplanned).observe(0.5);
    ensemble.attaches.inc(AttachOutcome::ReadOnly);
    ensemble.lease_closes.inc(CloseReason::PersistentWatches);
    ensemble.watches.get(WatchKind::PersistentRecursive).set(2);
    ensemble.poison_refused.inc(Poison::CreateTtl);
    ensemble.poison_refused.inc(Poison::Other);
    ensemble.fences.inc(FenceOutcome::Stands);
    ensemble.readbacks.inc(ReadbackVerdict::NotApplied);
    ensemble.four_letter_words.inc(WordFate::Refused);
    ensemble.own_pings.inc();
    for opcode in [-10, -11, 1, 14, 106, 13, i32::MIN, i32::MAX] {
        ensemble.operation(opcode).requests.observe(0.002);
    }
    let found = lines(&metrics.render());
    let at = |name: &str, labels: &str| {
        value(&found, name, &format!("cluster=\"coord\",protocol=\"zookeeper\",{labels}"))
    };
    assert_eq!(at("zookeeper_sessions", "member=\"zk-1:2181\""), "3");
    assert_eq!(at("upstream_connect_total", "member=\"zk-1:2181\",outcome=\"ok\""), "1");
    assert_eq!(at("client_info", "library=\"kazoo\",version=\"other\""), "1");
    assert_eq!(at("hold_started_total", "trigger=\"move\""), "1");
    assert_eq!(at("replays_total", "verdict=\"verified\""), "1");
    assert_eq!(at("unknown_outcomes_total", "action=\"closed\""), "1");
    assert_eq!(at("client_errors_total", "code=\"NoNode\""), "1");
    assert_eq!(at("client_errors_total", "code=\"other\""), "1");
    assert_eq!(at("upstream_errors_total", "code=\"disconnected\""), "1");
    assert_eq!(at("masked_errors_total", "code=\"SessionMoved\""), "1");
    assert_eq!(at("zookeeper_session_moves_total", "kind=\"planned\",outcome=\"stayed\""), "1");
    assert_eq!(at("zookeeper_session_moves_total", "kind=\"unplanned\",outcome=\"moved\""), "1");
    assert_eq!(at("zookeeper_session_moves_total", "kind=\"planned\",outcome=\"moved\""), "0");
    assert_eq!(at("zookeeper_session_move_seconds_count", "kind=\"unplanned\""), "1");
    assert_eq!(at("zookeeper_attaches_total", "outcome=\"read_only\""), "1");
    assert_eq!(at("zookeeper_lease_closes_total", "reason=\"persistent_watches\""), "1");
    assert_eq!(at("zookeeper_watches", "kind=\"persistent_recursive\""), "2");
    assert_eq!(at("zookeeper_poison_refused_total", "operation=\"createTTL\""), "1");
    assert_eq!(at("zookeeper_poison_refused_total", "operation=\"other\""), "1");
    assert_eq!(at("zookeeper_fences_total", "outcome=\"stands\""), "1");
    assert_eq!(at("zookeeper_readbacks_total", "verdict=\"not_applied\""), "1");
    assert_eq!(at("zookeeper_four_letter_words_total", "fate=\"refused\""), "1");
    for (api, count) in [
        ("createSession", "1"),
        ("closeSession", "1"),
        ("create", "1"),
        ("multi", "1"),
        ("addWatch", "1"),
        ("other", "3"),
    ] {
        assert_eq!(at("request_seconds_count", &format!("api=\"{api}\"")), count, "{api}");
    }
    drop((guard, kazoo));
    let found = lines(&metrics.render());
    let all = "cluster=\"coord\",protocol=\"zookeeper\"";
    assert_eq!(value(&found, "client_connections", all), "0");
    assert_eq!(value(&found, "zookeeper_own_pings_total", all), "1");
}

/// The same name may stand for a cluster of each kind: they share nothing.
#[test]
fn kinds_are_told_apart() {
    let metrics = Metrics::new();
    metrics.kafka("a").member("1").up.set(1);
    assert_eq!(metrics.zookeeper("a").member("1").up.get(), 0);
    metrics.zookeeper("a").forget_member("1");
    assert_eq!(metrics.kafka("a").member("1").up.get(), 1);
    let text = metrics.render();
    assert!(
        text.contains("member=\"1\",protocol=\"kafka\"")
            && !text.contains("member=\"1\",protocol=\"zookeeper\"")
    );
}

#[test]
fn a_cluster_and_a_member_are_the_same_when_asked_for_again() {
    let metrics = Metrics::new();
    metrics.kafka("a").member("1").up.set(1);
    assert_eq!(metrics.kafka("a").member("1").up.get(), 1);
    assert_eq!(metrics.kafka("b").member("1").up.get(), 0);
    assert_eq!(metrics.kafka("a").member("2").up.get(), 0);
}

#[test]
fn a_forgotten_member_leaves_no_series_and_its_handles_stay_usable() {
    let metrics = Metrics::new();
    let cluster = metrics.kafka("orders");
    let before = metrics.render();
    let gone = cluster.member("8");
    assert!(metrics.render().contains("member=\"8\""));
    cluster.forget_member("8");
    gone.bytes_sent.inc();
    assert_eq!(metrics.render(), before);
    cluster.member("8");
    assert_eq!(cluster.member("8").bytes_sent.get(), 0);
}

#[test]
fn clients_are_counted_while_connected_and_cannot_multiply_versions() {
    let metrics = Metrics::new();
    let cluster = metrics.kafka("orders");
    let info = |metrics: &Metrics| {
        lines(&metrics.render())
            .into_iter()
            .filter(|(series, _)| series.starts_with("evenkeel_client_info"))
            .collect::<Vec<_>>()
    };
    let open: Vec<_> = (0..200).map(|n| cluster.client(Library::Sarama, &format!("1.{n}"))).collect();
    let all = info(&metrics);
    assert_eq!(all.len(), MAX_SERIES, "{all:?}");
    let other = all.iter().find(|(series, _)| series.contains("version=\"other\"")).unwrap();
    assert_eq!(other.1, "168");
    drop(open);
    assert!(info(&metrics).iter().all(|(_, value)| value == "0"));
    // What is no longer connected gives way to what is.
    let _new = cluster.client(Library::Java, "4.3.1");
    let all = info(&metrics);
    assert_eq!(all.len(), MAX_SERIES);
    assert!(all.iter().any(|(series, value)| series.contains("version=\"4.3.1\"") && value == "1"));
    // Not text for a label.
    let _odd = cluster.client(Library::Java, "4.3\n\"}");
    let _long = cluster.client(Library::Java, &"9".repeat(33));
    assert!(info(&metrics).iter().any(|(s, v)| s.contains("java") && s.contains("\"other\"") && v == "2"));
}
const MAX_SERIES: usize = 32 + 1;

#[test]
fn api_versions_are_counted_once_for_each_open_connection() {
    let metrics = Metrics::new();
    let cluster = metrics.kafka("orders");
    let value = |api: &str, version: &str| {
        let series = format!(
            "evenkeel_client_api_version{{api=\"{api}\",cluster=\"orders\",protocol=\"kafka\",version=\"{version}\"}}"
        );
        lines(&metrics.render()).get(&series).cloned()
    };
    let mut one = cluster.api_versions();
    let mut two = cluster.api_versions();
    one.note(0, 9);
    one.note(0, 9);
    two.note(0, 9);
    two.note(0, 31);
    two.note(0, i16::MAX);
    two.note(0, -1);
    two.note(i16::MIN, 3);
    two.note(i16::MAX, 3);
    assert_eq!(value("Produce", "9").as_deref(), Some("2"));
    assert_eq!(value("Produce", "other").as_deref(), Some("1"));
    assert_eq!(value("other", "3").as_deref(), Some("1"));
    drop(two);
    assert_eq!(value("Produce", "9").as_deref(), Some("1"));
    assert_eq!(value("Produce", "other").as_deref(), Some("0"));
    drop(one);
    assert_eq!(value("Produce", "9").as_deref(), Some("0"));
}

#[test]
fn gauges_that_change_by_themselves_are_updated_before_each_rendering() {
    let metrics = Metrics::new();
    let cluster = metrics.kafka("orders");
    metrics.before_render({
        let cluster = Arc::clone(&cluster);
        move || cluster.hold_oldest_seconds.set(1.5)
    });
    assert!(
        metrics.render().contains("evenkeel_hold_oldest_seconds{cluster=\"orders\",protocol=\"kafka\"} 1.5")
    );
}

#[test]
fn metrics_catalogue_in_the_documentation_is_current() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/metrics.md");
    if std::env::var_os("BLESS").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, markdown()).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        written == markdown(),
        "docs/metrics.md is not what the code says; BLESS=1 cargo test metrics_catalogue writes it"
    );
}

#[test]
fn what_clients_bring_upon_themselves_says_nothing_of_servers() {
    let metrics = Metrics::new();
    let errors = &metrics.zookeeper("coord").client_errors;
    for name in ["NoNode", "NodeExists", "BadVersion", "NoNode", "ConnectionLoss", "disconnected", "other"] {
        errors.get(name).inc();
    }
    assert_eq!((errors.total(), errors.of_servers()), (7, 3));
    let errors = &metrics.kafka("orders").client_errors;
    for name in ["TOPIC_ALREADY_EXISTS", "REQUEST_TIMED_OUT", "UNKNOWN_TOPIC_OR_PARTITION"] {
        errors.get(name).inc();
    }
    assert_eq!((errors.total(), errors.of_servers()), (3, 2));
}
