//! `[[zookeeper]]`: its own keys, and what it shares with `[[kafka]]`.

use std::time::Duration;

use super::*;

fn read(text: &str, env: &[(&str, &str)]) -> Config {
    parse(text, "f", variables(env)).unwrap()
}

/// Asserts that each line, put behind a right ensemble, is the one problem that begins so.
#[track_caller]
fn expect_each(cases: &[(&str, &str)]) {
    for (line, start) in cases {
        expect(&format!("{ENSEMBLE}{line}\n"), &[], &[&format!("f:5: zookeeper[0].{start}")]);
    }
}

#[test]
fn every_key_is_read() {
    let text = format!(
        "{ENSEMBLE}tick_time = \"500ms\"\nlease = \"strict\"\njute_maxbuffer = 1048575\npersistent_watches = \"keep\"\n\
         unknown_outcome = \"close\"\nfour_letter_words = [\"mntr\", \"stat\"]\nfollow_config = true\n\
         advertise = \"::1\"\nattach_timeout = \"500ms\"\nreattach_concurrency = 8\n\
         [zookeeper.session]\nmin_upstream_timeout = \"30s\"\n\
         [zookeeper.tls]\nenabled = true\nca = \"ca.pem\"\ncertificate = \"us.pem\"\nkey = \"us.key\"\n\
         [zookeeper.listen_tls]\ncertificate = \"here.pem\"\nkey = \"here.key\"\nclient_ca = \"them.pem\"\n\
         [zookeeper.sasl]\nusername = \"us\"\npassword_file = \"us.word\"\n"
    );
    let expected = ZooKeeper {
        name: "coord".to_owned(),
        listen: vec!["127.0.0.1:2181".parse().unwrap()],
        servers: vec![HostPort { host: "zk-1".to_owned(), port: 2181 }],
        tick_time: Duration::from_millis(500),
        lease: LeaseMode::Strict,
        session: ZooKeeperSession { min_upstream_timeout: Some(Duration::from_secs(30)) },
        jute_maxbuffer: 1_048_575,
        persistent_watches: PersistentWatches::Keep,
        unknown_outcome: UnknownOutcome::Close,
        four_letter_words: vec!["mntr".to_owned(), "stat".to_owned()],
        follow_config: true,
        advertise: Some("::1".to_owned()),
        attach_timeout: Duration::from_millis(500),
        reattach_concurrency: 8,
        tls: Tls {
            enabled: true,
            ca: Some("ca.pem".into()),
            certificate: Some("us.pem".into()),
            key: Some("us.key".into()),
        },
        listen_tls: ListenTls {
            certificate: Some("here.pem".into()),
            key: Some("here.key".into()),
            client_ca: Some("them.pem".into()),
        },
        sasl: ZooKeeperSasl { username: Some("us".to_owned()), password_file: Some("us.word".into()) },
    };
    assert_eq!(read(&text, &[]).zookeeper, [expected]);
}

#[test]
fn the_table_of_a_cluster_can_be_written_in_each_way() {
    let wanted = read(ENSEMBLE, &[("EVENKEEL_ZOOKEEPER_0_SESSION_MIN_UPSTREAM_TIMEOUT", "30s")]);
    assert_eq!(wanted.zookeeper[0].session.min_upstream_timeout, Some(Duration::from_secs(30)));
    for lines in [
        "session = { min_upstream_timeout = \"30s\" }",
        "session.min_upstream_timeout = \"30s\"",
        "[zookeeper.session]\nmin_upstream_timeout = \"30s\"",
    ] {
        assert_eq!(read(&format!("{ENSEMBLE}{lines}\n"), &[]), wanted, "{lines}");
    }
    // A variable goes into the table that is there.
    let text = format!("{ENSEMBLE}session = {{ min_upstream_timeout = \"5s\" }}\n");
    assert_eq!(read(&text, &[("EVENKEEL_ZOOKEEPER_0_SESSION_MIN_UPSTREAM_TIMEOUT", "30s")]), wanted);
}

#[allow(clippy::too_many_lines, reason = "a table")]
#[test]
fn wrong_values_are_named() {
    expect_each(&[
        ("tick_time = 2000", "tick_time: 2000 has no unit; write \"2000s\" for seconds or \"2000ms\""),
        ("tick_time = \"0s\"", "tick_time: \"0ms\" is out of range; write \"1ms\" to \"1h\""),
        ("tick_time = \"61m\"", "tick_time: \"61m\" is out of range"),
        ("lease = \"lax\"", "lease: \"lax\" is not known; write \"direct\" or \"strict\""),
        ("lease = true", "lease: is a boolean, not a string; write \"direct\""),
        (
            "persistent_watches = \"drop\"",
            "persistent_watches: \"drop\" is not known; write \"close\" or \"keep\"",
        ),
        ("unknown_outcome = \"ok\"", "unknown_outcome: \"ok\" is not known; write \"error\" or \"close\""),
        (
            "jute_maxbuffer = 1023",
            "jute_maxbuffer: 1023 bytes is out of range; write \"1KiB\" to \"2147483647\"",
        ),
        ("jute_maxbuffer = \"2GiB\"", "jute_maxbuffer: 2147483648 bytes is out of range"),
        ("jute_maxbuffer = \"0xfffff\"", "jute_maxbuffer: \"0xfffff\" is not a size"),
        (
            "four_letter_words = [\"mntr\", \"MNTR\"]",
            "four_letter_words[1]: \"MNTR\" is not a four-letter word",
        ),
        ("four_letter_words = \"*\"", "four_letter_words[0]: \"*\" is not a four-letter word"),
        ("four_letter_words = 4", "four_letter_words: is an integer, not a list of strings; write []"),
        ("follow_config = \"yes\"", "follow_config: is a string, not a boolean"),
        (
            "advertise = \"sidecar:2181\"",
            "advertise: \"sidecar:2181\" has a port; write the host alone, \"sidecar\"",
        ),
        ("attach_timeout = \"49ms\"", "attach_timeout: \"49ms\" is out of range; write \"50ms\" to \"1m\""),
        ("attach_timeout = \"61s\"", "attach_timeout: \"61s\" is out of range"),
        ("reattach_concurrency = 0", "reattach_concurrency: 0 is out of range; write 1 to 100000"),
        ("reattach_concurrency = 100001", "reattach_concurrency: 100001 is out of range"),
        ("session = 30", "session: is an integer, not a table; write [zookeeper.session] and its keys below"),
        (
            "session.min_upstream_timeout = \"25h\"",
            "session.min_upstream_timeout: \"25h\" is out of range; write \"1ms\" to \"24h\"",
        ),
        ("session = { min_upstream_timeout = 30 }", "session.min_upstream_timeout: 30 has no unit"),
        (
            "tls.ca = \"ca.pem\"",
            "tls.ca: has no effect without tls.enabled; write tls.enabled = true, or remove it",
        ),
        (
            "tls = { enabled = true, certificate = \"us.pem\" }",
            "tls.certificate: is of no use without its key; write tls.key as well",
        ),
        (
            "tls = { enabled = true, key = \"us.key\" }",
            "tls.key: is of no use without its certificate; write tls.certificate as well",
        ),
        (
            "listen_tls.certificate = \"a.pem\"",
            "listen_tls.certificate: is of no use without its key; write listen_tls.key as well",
        ),
        (
            "listen_tls.key = \"a.key\"",
            "listen_tls.key: is of no use without its certificate; write listen_tls.certificate as well",
        ),
        ("listen_tls.client_ca = \"a.pem\"", "listen_tls.client_ca: has no effect on plain listeners"),
        (
            "sasl.username = \"us\"",
            "sasl.username: is of no use without its password; write sasl.password_file as well",
        ),
        (
            "sasl.password_file = \"f\"",
            "sasl.password_file: is nobody's password; write sasl.username as well",
        ),
        ("sasl.username = \"\"", "sasl.username: "),
        ("sasl.password = \"x\"", "sasl.password: "),
        ("tls.enabled = 1", "tls.enabled: is an integer, not a boolean"),
    ]);
    for fine in ["jute_maxbuffer = 1024", "attach_timeout = \"50ms\"", "reattach_concurrency = 100000"] {
        expect(&format!("{ENSEMBLE}{fine}\n"), &[], &[]);
    }
    let text = |listen: &str, servers: &str| {
        format!("[[zookeeper]]\nname = \"c\"\nlisten = {listen}\nservers = {servers}\n")
    };
    expect(
        &text("\"localhost:2181\"", "[\"zk-1:2181\", \"zk-2\"]"),
        &[],
        &[
            "f:3: zookeeper[0].listen[0]: \"localhost:2181\" has a name where an IP address is needed; write such as \
             \"127.0.0.1:2181\"",
            "f:4: zookeeper[0].servers[1]: \"zk-2\" has no port; write such as \"zk-1.example.net:2181\"",
        ],
    );
    expect(
        &text("[]", "\"zk-1:2181,zk-2:2181/chroot\""),
        &[],
        &[
            "f:3: zookeeper[0].listen: is empty; write at least one, \"127.0.0.1:2181\"",
            "f:4: zookeeper[0].servers[0]: \"zk-1:2181,zk-2:2181/chroot\" is more than one server; write a list",
        ],
    );
    expect(
        "[zookeeper]\nname = \"a\"",
        &[],
        &["f:1: zookeeper: is a table, not a list of tables; write [[zookeeper]]"],
    );
    expect("zookeeper = [1]", &[], &["f:1: zookeeper[0]: is an integer, not a table; write [[zookeeper]]"]);
    expect("kafka = []\nzookeeper = []", &[], &["f:1: kafka: nothing to serve; write a [[kafka]] with name"]);
    expect("\nzookeeper = []", &[], &["f:2: zookeeper: nothing to serve; write a [[kafka]] with name"]);
}

#[test]
fn unknown_keys_are_told_the_nearest() {
    expect_each(&[
        ("server = \"zk:1\"", "server: is not a known key; did you mean servers?"),
        ("bootstrap = \"zk:1\"", "bootstrap: is not a known key here; bootstrap belongs into a [[kafka]]"),
        (
            "max_frame = 1",
            "max_frame: is not a known key of a cluster; did you mean net.max_frame, outside of [[zookeeper]]?",
        ),
        (
            "hold.max = \"1s\"",
            "hold: is not a known key of a cluster; did you mean hold, outside of [[zookeeper]]?",
        ),
        ("zzz = 1", "zzz: is not a known key; remove it, or write one of name, listen, servers, tick_time"),
        (
            "session.timeout = 1",
            "session.timeout: is not a known key of a cluster; did you mean dns.timeout, outside",
        ),
        (
            "session.min_upstream_timeouts = 1",
            "session.min_upstream_timeouts: is not a known key; did you mean session.min_upstream_timeout?",
        ),
        ("session.x = 1", "session.x: is not a known key; remove it, or write one of min_upstream_timeout"),
        (
            "\"session.min_upstream_timeout\" = \"30s\"",
            "\"session.min_upstream_timeout\": is not a known key",
        ),
    ]);
    expect(
        &format!("{CLUSTER}servers = []\nsession = {{}}\n"),
        &[],
        &[
            "f:6: kafka[0].servers: is not a known key here; servers belongs into a [[zookeeper]]",
            "f:7: kafka[0].session: is not a known key here; session belongs into a [[zookeeper]]",
        ],
    );
    expect(
        &format!("name = \"a\"\nlease = \"strict\"\n[session]\n{ENSEMBLE}"),
        &[],
        &[
            "f:1: name: is not a known key here; name belongs into a [[kafka]] or [[zookeeper]]",
            "f:2: lease: is not a known key here; lease belongs into a [[zookeeper]]",
            "f:3: session: is not a known key here; session belongs into a [[zookeeper]]",
        ],
    );
    expect(
        &format!("[[zookeepr]]\n{ENSEMBLE}"),
        &[],
        &["f:1: zookeepr: is not a known key; did you mean zookeeper?"],
    );
}

#[test]
fn both_kinds_share_names_and_ports() {
    let both = |ensemble: &str| format!("{CLUSTER}{ensemble}");
    let ensemble = |name: &str, listen: &str, servers: &str| {
        both(&format!("[[zookeeper]]\nname = \"{name}\"\nlisten = \"{listen}\"\nservers = \"{servers}\"\n"))
    };
    let config = read(&ensemble("coord", "127.0.0.1:2181", "zk:2181"), &[]);
    assert_eq!((config.kafka.len(), config.zookeeper.len()), (1, 1));
    expect(
        &ensemble("orders", "127.0.0.1:2181", "zk:2181"),
        &[],
        &["f:7: zookeeper[0].name: \"orders\" is the name of kafka[0] (line 2) too; write another name"],
    );
    expect(
        &ensemble("coord", "0.0.0.0:9092", "zk:2181"),
        &[],
        &[
            "f:8: zookeeper[0].listen[0]: 0.0.0.0:9092 collides with 127.0.0.1:9092 of kafka[0].listen[0] (line 3); write \
           such as \"0.0.0.0:9093\"",
        ],
    );
    // A range gives way to a listener, wherever in the file that is.
    expect(
        &ensemble("coord", "127.0.0.1:19100", "zk:2181"),
        &[],
        &[
            "f:5: kafka[0].broker_ports: 19092-19191 on 127.0.0.1 collides with 127.0.0.1:19100 of zookeeper[0].listen[0] \
           (line 8); write such as \"19192-19291\"",
        ],
    );
    expect(
        &ensemble("coord", "127.0.0.1:9901", "zk:2181"),
        &[],
        &[
            "f:8: zookeeper[0].listen[0]: 127.0.0.1:9901 collides with 127.0.0.1:9901 of admin.listen[0] (the default)",
        ],
    );
    expect(
        &ensemble("coord", "127.0.0.1:2181", "localhost:2181"),
        &[],
        &[
            "f:9: zookeeper[0].servers[0]: \"localhost:2181\" is Evenkeel's own zookeeper[0].listen[0] (line 8); write the \
           address of a server",
        ],
    );
    expect(
        &ensemble("coord", "127.0.0.1:2181", "127.0.0.1:19100"),
        &[],
        &[
            "f:9: zookeeper[0].servers[0]: \"127.0.0.1:19100\" is Evenkeel's own kafka[0].broker_ports (line 5); write the \
           address of a server",
        ],
    );
    let kafka = both(ENSEMBLE).replace("kafka-1:9092", "127.0.0.1:2181");
    expect(
        &kafka,
        &[],
        &[
            "f:4: kafka[0].bootstrap[0]: \"127.0.0.1:2181\" is Evenkeel's own zookeeper[0].listen[0] (line 8); write the \
           address of a broker",
        ],
    );
}

#[test]
fn ensembles_can_come_from_variables() {
    let alone = [
        ("EVENKEEL_ZOOKEEPER_0_NAME", "coord"),
        ("EVENKEEL_ZOOKEEPER_0_LISTEN", "127.0.0.1:2181"),
        ("EVENKEEL_ZOOKEEPER_0_SERVERS", "zk-1:2181"),
    ];
    assert_eq!(read("", &alone), read(ENSEMBLE, &[]));
    let config = read(
        ENSEMBLE,
        &[
            ("EVENKEEL_ZOOKEEPER_0_LISTEN", "127.0.0.1:2182,[::1]:2182"),
            ("EVENKEEL_ZOOKEEPER_0_SERVERS", "zk-1:2181, zk-2:2181"),
            ("EVENKEEL_ZOOKEEPER_0_FOUR_LETTER_WORDS", "mntr,stat"),
            ("EVENKEEL_ZOOKEEPER_1_NAME", "other"),
            ("EVENKEEL_ZOOKEEPER_1_LISTEN", "127.0.0.1:2183"),
            ("EVENKEEL_ZOOKEEPER_1_SERVERS", "zk-9:2181"),
        ],
    );
    assert_eq!(config.zookeeper[0].listen.len(), 2);
    assert_eq!(config.zookeeper[0].servers.len(), 2);
    assert_eq!(config.zookeeper[0].four_letter_words, ["mntr", "stat"]);
    assert_eq!(config.zookeeper[1].name, "other");
    expect(
        ENSEMBLE,
        &[
            ("EVENKEEL_ZOOKEEPER_0_LISTNE", "127.0.0.1:2181"),
            ("EVENKEEL_ZOOKEEPER_0_LEASE", "lax"),
            ("EVENKEEL_ZOOKEEPER_0_SERVERS_1", "zk:2181"),
            ("EVENKEEL_ZOOKEEPER_3_NAME", "a"),
            ("EVENKEEL_ZOOKEEPER_01_NAME", "a"),
        ],
        &[
            "environment: EVENKEEL_ZOOKEEPER_01_NAME: names no key; did you mean EVENKEEL_ZOOKEEPER_0_NAME?",
            "environment: EVENKEEL_ZOOKEEPER_0_LEASE: zookeeper[0].lease: \"lax\" is not known",
            "environment: EVENKEEL_ZOOKEEPER_0_LISTNE: names no key; did you mean EVENKEEL_ZOOKEEPER_0_LISTEN?",
            "environment: EVENKEEL_ZOOKEEPER_0_SERVERS_1: names no key; did you mean EVENKEEL_ZOOKEEPER_0_SERVERS?",
            "environment: EVENKEEL_ZOOKEEPER_3_NAME: zookeeper[3]: there is no such cluster; the next one is \
             EVENKEEL_ZOOKEEPER_1_…",
        ],
    );
}

/// The list has plain ports alone.
#[test]
fn a_followed_list_behind_encryption_is_warned_of() {
    let warned = |lines: &str| warnings(&read(&format!("{ENSEMBLE}{lines}"), &[]));
    let both = warned("follow_config = true\ntls.enabled = true\n");
    assert!(
        matches!(&both[..], [one] if one.starts_with("coord: follow_config with tls.enabled: ")),
        "{both:?}"
    );
    for fine in ["follow_config = true\n", "tls.enabled = true\n", ""] {
        assert_eq!(warned(fine), [""; 0], "{fine}");
    }
}

#[test]
fn a_reload_takes_what_can_change_live() {
    let old = read(ENSEMBLE, &[]);
    let new = read(
        &format!(
            "{ENSEMBLE}tick_time = \"1s\"\nlease = \"strict\"\nsession.min_upstream_timeout = \"30s\"\n\
             follow_config = true\nattach_timeout = \"2s\"\n"
        ),
        &[("EVENKEEL_ZOOKEEPER_0_SERVERS", "zk-2:2181"), ("EVENKEEL_ZOOKEEPER_0_LISTEN", "127.0.0.1:2182")],
    );
    let found = changes(&old, &new);
    let told: Vec<(&str, &str)> = found.iter().map(|change| (change.path.as_str(), change.note)).collect();
    let (now, next) = ("in effect now", "in effect for the next client connections");
    assert_eq!(
        told,
        [
            ("zookeeper[coord].listen", "in effect after a restart"),
            ("zookeeper[coord].servers", now),
            ("zookeeper[coord].tick_time", now),
            ("zookeeper[coord].lease", next),
            ("zookeeper[coord].session.min_upstream_timeout", next),
            ("zookeeper[coord].follow_config", now),
            ("zookeeper[coord].attach_timeout", now),
        ]
    );
    let mut expected = new.clone();
    expected.zookeeper[0].listen.clone_from(&old.zookeeper[0].listen);
    assert_eq!(merge_live(&old, &new), expected);
}

/// The same name in the other kind is another cluster.
#[test]
fn a_reload_tells_kinds_apart() {
    let old = read(CLUSTER, &[]);
    let new = read(&ENSEMBLE.replace("coord", "orders"), &[]);
    let told: Vec<String> = changes(&old, &new).into_iter().map(|change| change.path).collect();
    assert_eq!(told, ["kafka[orders]", "zookeeper[orders]"]);
    let merged = merge_live(&old, &new);
    assert_eq!((merged.kafka.len(), merged.zookeeper.len()), (1, 0));
}
