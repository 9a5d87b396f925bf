use std::path::Path;

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
    let cluster = metrics.cluster("orders", "kafka");
    cluster.member("7");
    let text = metrics.render();
    let lines = lines(&text);
    for (series, value) in &lines {
        if !series.starts_with("evenkeel_build_info{") {
            assert_eq!(value, "0", "{series}");
        }
    }
    for spec in CATALOGUE {
        if matches!(spec.extra, Extra::Seen(_)) {
            continue;
        }
        let values = match spec.extra {
            Extra::Closed(_, values) => values(),
            _ => vec![""],
        };
        for value in values {
            let suffix = if matches!(spec.kind, Kind::Histogram(_)) { "_count" } else { "" };
            let found = lines.keys().any(|series| {
                let (name, labels) = series.split_once('{').unwrap_or((series, ""));
                name == format!("{PREFIX}{}{suffix}", spec.name)
                    && (value.is_empty() || labels.contains(&format!("=\"{value}\"")))
                    && (spec.scope != Scope::Member || labels.contains("member=\"7\""))
                    && (spec.scope == Scope::Process || labels.contains("cluster=\"orders\""))
                    && (spec.scope == Scope::Process || labels.contains("protocol=\"kafka\""))
            });
            assert!(found, "{} {value} is missing from\n{text}", spec.name);
        }
    }
}

#[test]
fn names_follow_the_conventions() {
    for spec in CATALOGUE {
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
    let cluster = metrics.cluster("orders", "kafka");
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
        // The exposition sorts labels by name.
        let mut labels: Vec<_> =
            format!("cluster=\"orders\",protocol=\"kafka\",{labels}").split(',').map(str::to_owned).collect();
        labels.sort();
        let series = format!("evenkeel_{name}{{{}}}", labels.join(","));
        lines.get(&series).unwrap_or_else(|| panic!("no {series}")).clone()
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

#[test]
fn a_cluster_and_a_member_are_the_same_when_asked_for_again() {
    let metrics = Metrics::new();
    metrics.cluster("a", "kafka").member("1").up.set(1);
    assert_eq!(metrics.cluster("a", "kafka").member("1").up.get(), 1);
    assert_eq!(metrics.cluster("b", "kafka").member("1").up.get(), 0);
    assert_eq!(metrics.cluster("a", "kafka").member("2").up.get(), 0);
}

#[test]
fn a_forgotten_member_leaves_no_series_and_its_handles_stay_usable() {
    let metrics = Metrics::new();
    let cluster = metrics.cluster("orders", "kafka");
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
    let cluster = metrics.cluster("orders", "kafka");
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
    let cluster = metrics.cluster("orders", "kafka");
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
    let cluster = metrics.cluster("orders", "kafka");
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
