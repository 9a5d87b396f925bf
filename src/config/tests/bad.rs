//! Bad input: each class of mistake gives the right lines, all at once, and none a panic.

use proptest::prelude::*;

use super::*;

#[test]
fn lines_are_as_promised() {
    let text = "\
[[kafka]]
name = \"orders\"
listen = \"127.0.0.1:9092\"
bootstrap = [\"kafka-1:9092\"]
broker_ports = \"19092\"
";
    let problems = parse(text, "evenkeel.toml", no_env()).unwrap_err();
    assert_eq!(
        problems.to_string(),
        "evenkeel.toml:5: kafka[0].broker_ports: \"19092\" is not a port range; write \"19092-19191\""
    );
}

#[test]
fn everything_is_reported_at_once_by_line() {
    let text = "\
worker_threads = 0
colour = 1
[hold]
max = 20
bytes = \"64M\"
conection_bytes = 1
[retry]
min = \"2s\"

[[kafka]]
name = \"my orders\"
listen = [
  \"127.0.0.1:9092\",
  \"localhost:9092\",
]
bootstrap = []
broker_ports = \"19191-19092\"

[[kafka]]
verify_node = \"yes\"

[[zookeeper]]
name = \"coord\"
";
    expect(
        text,
        &[("EVENKEEL_HOLD_REQESTS", "5"), ("EVENKEEL_NET_BACKLOG", "none")],
        &[
            "f:1: worker_threads: 0 is out of range; write 1 to 1024",
            "f:2: colour: is not a known key; remove it",
            "f:4: hold.max: 20 has no unit; write \"20s\" for seconds",
            "f:5: hold.bytes: \"64M\" is not a size; write \"64MiB\"",
            "f:6: hold.conection_bytes: is not a known key; did you mean hold.connection_bytes?",
            "f:8: retry.min: is above retry.max; write \"1s\" or less",
            "f:11: kafka[0].name: \"my orders\" is not a name; use letters, digits, _ . - only, such as \"my-orders\"",
            "f:14: kafka[0].listen[1]: \"localhost:9092\" has a name where an IP address is needed",
            "f:16: kafka[0].bootstrap: is empty; write at least one",
            "f:17: kafka[0].broker_ports: \"19191-19092\" runs backwards; write \"19092-19191\"",
            "f:19: kafka[1].bootstrap: is missing; write bootstrap = [\"kafka-1.example.net:9092\"]",
            "f:19: kafka[1].broker_ports: is missing; write broker_ports = \"19092-19191\"",
            "f:19: kafka[1].listen: is missing; write listen = \"127.0.0.1:9092\"",
            "f:19: kafka[1].name: is missing; write name = \"orders\"",
            "f:20: kafka[1].verify_node: is a string, not a boolean; write true or false",
            "f:22: zookeeper[0].listen: is missing; write listen = \"127.0.0.1:2181\"",
            "f:22: zookeeper[0].servers: is missing; write servers = [\"zk-1.example.net:2181\"]",
            "environment: EVENKEEL_HOLD_REQESTS: names no key; did you mean EVENKEEL_HOLD_REQUESTS?",
            "environment: EVENKEEL_NET_BACKLOG: net.backlog: \"none\" is not a whole number; write 1024",
        ],
    );
}

#[test]
fn what_is_not_toml_has_its_line() {
    expect("[hold]\nmax = \n", &[], &["f:2: is not TOML: "]);
    expect(&format!("{CLUSTER}name = \"twice\"\n"), &[], &["f:6: is not TOML: "]);
    expect("a = 1\r\nb = 2\r\nc = [\r\n", &[], &["f:"]);
    expect(&"[".repeat(100_000), &[], &["f:1: is not TOML: "]);
    expect(&format!("a = {}", "[".repeat(100_000)), &[], &["f:1: is not TOML: "]);
    expect(&format!("{}a = 1", "a.".repeat(100_000)), &[], &["f: is not TOML: recursion limit"]);
}

#[test]
fn an_empty_file_serves_nothing() {
    let nothing = "f:1: nothing to serve; write a [[kafka]] with name, listen, bootstrap and broker_ports, or a \
                   [[zookeeper]] with name, listen and servers";
    expect("", &[], &[nothing]);
    expect("[admin]\nlisten = \"127.0.0.1:0\"", &[], &[nothing]);
    expect("\nkafka = []\n", &[], &["f:2: kafka: nothing to serve"]);
}

#[test]
fn wrong_types_are_named() {
    let cases = [
        ("hold = 3", "f:1: hold: is an integer, not a table; write [hold]"),
        ("hold.max = true", "f:1: hold.max: is a boolean, not a duration; write \"20s\""),
        ("hold.bytes = 1.5", "f:1: hold.bytes: is a float, not a size; write \"64MiB\""),
        ("hold.bytes = -1", "f:1: hold.bytes: -1 is negative"),
        ("worker_threads = \"2\"", "f:1: worker_threads: is a string, not a whole number; write 1"),
        (
            "admin.listen = 9901",
            "f:1: admin.listen: is an integer, not a list of strings; write \"127.0.0.1:9901\"",
        ),
        ("admin.listen = [9901]", "f:1: admin.listen[0]: is an integer, not a string"),
        ("admin.listen = []", "f:1: admin.listen: is empty; write at least one"),
        ("log.level = 1979-05-27", "f:1: log.level: is a date or time, not a string"),
        ("log.level = \"inof\"", "f:1: log.level: \"inof\" is not a log level"),
        ("log.format = \"xml\"", "f:1: log.format: \"xml\" is not a log format; write \"text\" or \"json\""),
        ("state_dir = \"\"", "f:1: state_dir: is empty"),
        ("dns.servers = [\"dns.example.net\"]", "f:1: dns.servers[0]: "),
    ];
    for (line, start) in cases {
        expect(&format!("{line}\n{CLUSTER}"), &[], &[start]);
    }
    expect("[kafka]\nname = \"a\"", &[], &["f:1: kafka: is a table, not a list of tables; write [[kafka]]"]);
    expect("kafka = [1]", &[], &["f:1: kafka[0]: is an integer, not a table"]);
    expect(
        &format!("{CLUSTER}node_ports = [1]\nadvertise = \"h:1\"\nclient_id = \" \"\n"),
        &[],
        &[
            "f:6: kafka[0].node_ports: is a list, not a table; write {}",
            "f:7: kafka[0].advertise: \"h:1\" has a port; write the host alone, \"h\"",
            "f:8: kafka[0].client_id: is empty",
        ],
    );
}

#[test]
fn values_out_of_range_say_the_range() {
    let cases = [
        ("retry.min = \"0s\"", "f:1: retry.min: \"0ms\" is out of range; write \"1ms\" to \"1h\""),
        (
            "net.connect_stagger = \"5ms\"",
            "f:1: net.connect_stagger: \"5ms\" is out of range; write \"10ms\"",
        ),
        ("hold.max = \"25h\"", "f:1: hold.max: \"25h\" is out of range; write \"0ms\" to \"24h\""),
        ("hold.bytes = 0", "f:1: hold.bytes: 0 bytes is out of range"),
        ("net.max_frame = \"2GiB\"", "f:1: net.max_frame: 2147483648 bytes is out of range"),
        ("net.backlog = 65536", "f:1: net.backlog: 65536 is out of range; write 1 to 65535"),
        ("retry.budget = 0", "f:1: retry.budget: 0 is out of range"),
        ("hold.requests = 0", "f:1: hold.requests: 0 is out of range"),
    ];
    for (line, start) in cases {
        expect(&format!("{line}\n{CLUSTER}"), &[], &[start]);
    }
    for fine in
        ["hold.max = \"0s\"", "dns.min_ttl = \"0s\"", "shutdown.grace = \"0s\"", "net.max_frame = 2147483647"]
    {
        expect(&format!("{fine}\n{CLUSTER}"), &[], &[]);
    }
}

#[test]
fn bounds_that_contradict_each_other_are_found_once() {
    let cases = [
        (
            "hold.connection_bytes = \"65MiB\"",
            "f:1: hold.connection_bytes: is above hold.bytes, the bound of the whole process; write \"64MiB\" or less",
        ),
        ("hold.bytes = \"1MiB\"", "f:1: hold.bytes: is below hold.connection_bytes; write \"16MiB\" or more"),
        ("retry.max = \"10ms\"", "f:1: retry.max: is below retry.min; write \"50ms\" or more"),
        ("net.connect_timeout = \"250ms\"", "f:1: net.connect_timeout: leaves no time for a second address"),
        ("hold.bytes = 1\nhold.connection_bytes = 2", "f:2: hold.connection_bytes: is above hold.bytes"),
        // The other half is wrong by itself: it alone is reported.
        ("hold.bytes = \"1\"\nhold.connection_bytes = 2.0", "f:2: hold.connection_bytes: is a float"),
    ];
    for (lines, start) in cases {
        expect(&format!("{lines}\n{CLUSTER}"), &[], &[start]);
    }
}

#[test]
fn unknown_keys_are_told_the_nearest() {
    let cases = [
        ("[holds]\nmax = \"1s\"", "f:1: holds: is not a known key; did you mean hold?"),
        ("max_frame = 1", "f:1: max_frame: is not a known key; did you mean net.max_frame?"),
        (
            "bootstrap = \"k:1\"",
            "f:1: bootstrap: is not a known key here; bootstrap belongs into a [[kafka]]",
        ),
        ("[dns]\nserver = []", "f:2: dns.server: is not a known key; did you mean dns.servers?"),
        ("[dns]\nkeepalive = \"1s\"", "f:2: dns.keepalive: is not a known key; did you mean net.keepalive?"),
        ("[log]\nx = 1", "f:2: log.x: is not a known key; remove it, or write one of format, level"),
        ("\"a b\" = 1", "f:1: \"a b\": is not a known key"),
        ("[hold.max]\na = 1", "f:1: hold.max: is a table, not a duration"),
    ];
    for (lines, start) in cases {
        expect(&format!("{lines}\n{CLUSTER}"), &[], &[start]);
    }
    expect(
        &format!("{CLUSTER}bootstrp = 1\nmax_frame = 2\nzzz = 3\nhold.max = \"1s\"\n"),
        &[],
        &[
            "f:6: kafka[0].bootstrp: is not a known key; did you mean bootstrap?",
            "f:7: kafka[0].max_frame: is not a known key of a cluster; did you mean net.max_frame, outside",
            "f:8: kafka[0].zzz: is not a known key; remove it, or write one of name, listen, bootstrap",
            "f:9: kafka[0].hold: is not a known key of a cluster; did you mean hold, outside of [[kafka]]?",
        ],
    );
}

/// A cluster on given addresses.
fn cluster(name: &str, listen: &str, ports: &str) -> String {
    format!(
        "[[kafka]]\nname = \"{name}\"\nlisten = {listen}\nbootstrap = \"k:9092\"\nbroker_ports = \"{ports}\"\n"
    )
}

#[test]
fn ports_that_collide() {
    let two = |one: &str, other: &str| format!("{one}{other}");
    let a = cluster("a", "\"127.0.0.1:9092\"", "19092-19191");
    // The same port.
    expect(
        &two(&a, &cluster("b", "\"127.0.0.1:9092\"", "20000-20010")),
        &[],
        &[
            "f:8: kafka[1].listen[0]: 127.0.0.1:9092 collides with 127.0.0.1:9092 of kafka[0].listen[0] (line 3); write such as \"127.0.0.1:9093\"",
        ],
    );
    // Overlapping ranges; the suggestion is free.
    expect(
        &two(&a, &cluster("b", "\"127.0.0.1:9093\"", "19191-19200")),
        &[],
        &[
            "f:10: kafka[1].broker_ports: 19191-19200 on 127.0.0.1 collides with 19092-19191 on 127.0.0.1 of kafka[0].broker_ports (line 5); write such as \"19201-19210\"",
        ],
    );
    // A wildcard covers the rest of its family; the other family and other addresses don't meet.
    expect(
        &two(&a, &cluster("b", "\"0.0.0.0:9093\"", "19191-19191")),
        &[],
        &["f:10: kafka[1].broker_ports: 0.0.0.0:19191 collides with 19092-19191 on 127.0.0.1"],
    );
    expect(&two(&a, &cluster("b", "\"[::]:9092\"", "19092-19191")), &[], &[]);
    expect(&two(&a, &cluster("b", "\"127.0.0.2:9092\"", "19092-19191")), &[], &[]);
    expect(&cluster("a", "[\"127.0.0.1:9092\", \"[::1]:9092\"]", "19092-19191"), &[], &[]);
    // A listener in its own range, on one host of two; the admin's port, written or not, in a range.
    expect(
        &cluster("a", "[\"127.0.0.1:19100\", \"[::1]:9092\"]", "19092-19191"),
        &[],
        &[
            "f:5: kafka[0].broker_ports: 19092-19191 on 127.0.0.1 collides with 127.0.0.1:19100 of kafka[0].listen[0] (line 3)",
        ],
    );
    expect(
        &cluster("a", "\"127.0.0.1:9092\"", "9900-9910"),
        &[],
        &[
            "f:5: kafka[0].broker_ports: 9900-9910 on 127.0.0.1 collides with 127.0.0.1:9901 of admin.listen[0] (the default); write such as",
        ],
    );
    // One list with the same address twice, or a wildcard beside what it covers.
    expect(
        &cluster("a", "[\"127.0.0.1:9092\", \"127.0.0.1:9092\"]", "19092-19191"),
        &[],
        &["f:3: kafka[0].listen[1]: 127.0.0.1:9092 collides with 127.0.0.1:9092 of kafka[0].listen[0]"],
    );
    expect(
        &cluster("a", "[\"0.0.0.0:9092\", \"127.0.0.1:9093\"]", "19092-19191"),
        &[],
        &[
            "f:5: kafka[0].broker_ports: would be bound twice on 127.0.0.1: 0.0.0.0 of the same cluster's listen",
        ],
    );
    // Port 0 is any free port.
    expect(&two(&cluster("a", "\"127.0.0.1:0\"", "1-2"), &cluster("b", "\"127.0.0.1:0\"", "3-4")), &[], &[]);
    // No room is said as it is.
    expect(
        &two(&a, &cluster("b", "\"127.0.0.1:9093\"", "1024-65535")),
        &[],
        &[
            "f:10: kafka[1].broker_ports: 1024-65535 on 127.0.0.1 collides with 127.0.0.1:9901 of admin.listen",
            "f:10: kafka[1].broker_ports: 1024-65535 on 127.0.0.1 collides with 127.0.0.1:9092 of kafka[0].listen[0]",
            "f:10: kafka[1].broker_ports: 1024-65535 on 127.0.0.1 collides with 127.0.0.1:9093 of kafka[1].listen[0]",
            "f:10: kafka[1].broker_ports: 1024-65535 on 127.0.0.1 collides with 19092-19191 on 127.0.0.1 of kafka[0].broker_ports (line 5); write other ports",
        ],
    );
}

#[test]
fn names_and_node_ports_are_unique() {
    expect(
        &format!(
            "{}{}",
            cluster("a", "\"127.0.0.1:9092\"", "19092-19191"),
            cluster("a", "\"127.0.0.2:9092\"", "19092-19191")
        ),
        &[],
        &["f:7: kafka[1].name: \"a\" is the name of kafka[0] (line 2) too; write another name"],
    );
    let ports = "\
[kafka.node_ports]
1001 = 19150
1002 = 19150
1003 = 9000
-1 = 19151
x = 19152
1004 = 70000
01 = 19153
";
    expect(
        &format!("{CLUSTER}{ports}"),
        &[],
        &[
            "f:8: kafka[0].node_ports.1002: 19150 is the port of node 1001 too; write another port",
            "f:9: kafka[0].node_ports.1003: 9000 is outside of broker_ports; write a port in 19092-19191",
            "f:10: kafka[0].node_ports.-1: \"-1\" is not a broker's node id",
            "f:11: kafka[0].node_ports.x: \"x\" is not a broker's node id",
            "f:12: kafka[0].node_ports.1004: 70000 is out of range; write 1 to 65535",
            "f:13: kafka[0].node_ports.01: \"01\" is not a broker's node id",
        ],
    );
    let fine = parse(&format!("{CLUSTER}node_ports = {{ \"1001\" = 19150 }}\n"), "f", no_env()).unwrap();
    assert_eq!(fine.kafka[0].node_ports.get(&1001), Some(&19150));
}

#[test]
fn a_bootstrap_server_is_not_evenkeel_itself() {
    let text = |listen: &str, server: &str| {
        format!(
            "[[kafka]]\nname = \"a\"\nlisten = \"{listen}\"\nbootstrap = \"{server}\"\nbroker_ports = \"19092-19191\""
        )
    };
    let own = "f:4: kafka[0].bootstrap[0]: \"";
    expect(&text("127.0.0.1:9092", "127.0.0.1:9092"), &[], &[own]);
    expect(&text("127.0.0.1:9092", "localhost:19100"), &[], &[own]);
    expect(&text("0.0.0.0:9092", "127.0.0.3:9092"), &[], &[own]);
    expect(&text("127.0.0.1:9092", "127.0.0.2:9092"), &[], &[]);
    expect(&text("0.0.0.0:9092", "10.0.0.1:9092"), &[], &[]);
    expect(&text("127.0.0.1:9092", "127.0.0.1:9093"), &[], &[]);
}

/// Lines that are nearly a configuration, to reach deeper than random text does.
fn near_miss() -> impl Strategy<Value = String> {
    let names: Vec<String> = ROOT
        .iter()
        .map(|key| key.row.path.to_owned())
        .chain(KINDS.iter().flat_map(|kind| kind.rows()).map(|row| row.path.to_owned()))
        .chain(["kafka", "zookeeper", "hold", "session", "x", "\"\"", "kafka.name"].map(str::to_owned))
        .collect();
    let values = prop_oneof![
        Just("[]".to_owned()),
        Just("{}".to_owned()),
        Just("[[1], {a = 1}]".to_owned()),
        Just("{ \"1\" = 19092, 2 = \"x\" }".to_owned()),
        Just("nan".to_owned()),
        any::<i64>().prop_map(|number| number.to_string()),
        "[0-9]{0,20}(ms|s|m|h|MiB|GB|)".prop_map(|text| format!("{text:?}")),
        "[0-9]{0,6}-[0-9]{0,6}".prop_map(|text| format!("{text:?}")),
        "[\\[\\]a0-9.:%,/é-]{0,20}".prop_map(|text| format!("[\"{text}\"]")),
    ];
    let line = prop_oneof![
        4 => (prop::sample::select(names), values).prop_map(|(name, value)| format!("{name} = {value}")),
        1 => Just("[[kafka]]".to_owned()),
        1 => Just("[[zookeeper]]".to_owned()),
        1 => Just("[zookeeper.session]".to_owned()),
        1 => Just("[kafka.node_ports]".to_owned()),
        1 => Just("[hold]".to_owned()),
    ];
    prop::collection::vec(line, 0..12).prop_map(|lines| lines.join("\n"))
}

/// Either a configuration with a cluster comes out, or problems in order, each on a line of its own.
fn holds_together(text: &str, env: Vec<(String, String)>) -> Result<(), TestCaseError> {
    match parse(text, "f", env) {
        Ok(config) => prop_assert!(!config.kafka.is_empty() || !config.zookeeper.is_empty()),
        Err(problems) => {
            prop_assert!(problems.len() > 0);
            prop_assert_eq!(problems.to_string().lines().count(), problems.len());
            let places: Vec<&Place> = problems.iter().map(|problem| &problem.place).collect();
            prop_assert!(places.is_sorted());
            let last = Place::Line(text.matches('\n').count() + 1);
            prop_assert!(places.iter().all(|place| matches!(place, Place::Variable(_)) || **place <= last));
        }
    }
    Ok(())
}

proptest! {
    #[test]
    fn arbitrary_text_never_panics(text in any::<String>()) {
        holds_together(&text, no_env())?;
    }

    #[test]
    fn near_misses_never_panic(text in near_miss()) {
        holds_together(&text, no_env())?;
        holds_together(&format!("{CLUSTER}{text}"), no_env())?;
        holds_together(&format!("{ENSEMBLE}{text}"), no_env())?;
    }

    #[test]
    fn arbitrary_variables_never_panic(
        name in "EVENKEEL_(HOLD_MAX|ZOOKEEPER_[0-9]{1,3}_(LISTEN|SESSION_[A-Z_]{0,25})|KAFKA_[0-9]{1,3}_(LISTEN|NODE_PORTS|NODE_PORTS_[0-9]{1,12})|[A-Z0-9_é]{0,30})",
        value in any::<String>(),
    ) {
        holds_together(CLUSTER, vec![(name, value)])?;
    }
}
