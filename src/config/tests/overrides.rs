//! Overrides from the environment.

use std::time::Duration;

use super::*;

fn read(text: &str, env: &[(&str, &str)]) -> Config {
    parse(text, "f", variables(env)).unwrap()
}

#[test]
fn variables_win_over_the_file() {
    let config = read(
        &format!("hold.max = \"1s\"\n{CLUSTER}"),
        &[
            ("EVENKEEL_HOLD_MAX", "5s"),
            ("EVENKEEL_WORKER_THREADS", "2"),
            ("EVENKEEL_LOG_LEVEL", "info,evenkeel::kafka=debug"),
            ("EVENKEEL_DNS_SERVERS", "10.0.0.1, 10.0.0.2:5353"),
            ("EVENKEEL_KAFKA_0_LISTEN", "127.0.0.1:9094,[::1]:9094"),
            ("EVENKEEL_KAFKA_0_BROKER_PORTS", "20000-20099"),
            ("EVENKEEL_KAFKA_0_NODE_PORTS_1001", "20050"),
            ("EVENKEEL_KAFKA_0_VERIFY_NODE", "false"),
            ("PATH", "/bin"),
            ("EVENKEELX", "1"),
        ],
    );
    assert_eq!(config.hold.max, Duration::from_secs(5));
    assert_eq!(config.worker_threads, 2);
    assert_eq!(config.log.level, "info,evenkeel::kafka=debug");
    assert_eq!(config.dns.servers.len(), 2);
    let cluster = &config.kafka[0];
    assert_eq!(cluster.name, "orders");
    assert_eq!(cluster.listen.len(), 2);
    assert_eq!(cluster.broker_ports, PortRange { first: 20000, last: 20099 });
    assert_eq!(cluster.node_ports.get(&1001), Some(&20050));
    assert!(!cluster.verify_node);
}

#[test]
fn a_wrong_value_in_the_file_does_not_matter_when_it_is_overridden() {
    assert_eq!(
        read(&format!("hold.max = 7\n{CLUSTER}"), &[("EVENKEEL_HOLD_MAX", "20s")]),
        read(CLUSTER, &[])
    );
}

#[test]
fn clusters_can_come_from_variables_alone() {
    let first = [
        ("EVENKEEL_KAFKA_0_NAME", "orders"),
        ("EVENKEEL_KAFKA_0_LISTEN", "127.0.0.1:9092"),
        ("EVENKEEL_KAFKA_0_BOOTSTRAP", "kafka-1:9092"),
        ("EVENKEEL_KAFKA_0_BROKER_PORTS", "19092-19191"),
    ];
    assert_eq!(read("", &first), read(CLUSTER, &[]));
    let config = read(
        CLUSTER,
        &[
            ("EVENKEEL_KAFKA_2_NAME", "c"),
            ("EVENKEEL_KAFKA_2_LISTEN", "127.0.0.3:9092"),
            ("EVENKEEL_KAFKA_2_BOOTSTRAP", "k:9092"),
            ("EVENKEEL_KAFKA_2_BROKER_PORTS", "19092-19191"),
            ("EVENKEEL_KAFKA_1_NAME", "b"),
            ("EVENKEEL_KAFKA_1_LISTEN", "127.0.0.2:9092"),
            ("EVENKEEL_KAFKA_1_BOOTSTRAP", "k:9092"),
            ("EVENKEEL_KAFKA_1_BROKER_PORTS", "19092-19191"),
        ],
    );
    let names: Vec<&str> = config.kafka.iter().map(|cluster| cluster.name.as_str()).collect();
    assert_eq!(names, ["orders", "b", "c"]);
}

#[test]
fn node_ports_as_a_whole_and_one_by_one() {
    let config = read(
        CLUSTER,
        &[("EVENKEEL_KAFKA_0_NODE_PORTS", "1=19101,2=19102"), ("EVENKEEL_KAFKA_0_NODE_PORTS_3", "19103")],
    );
    let ports: Vec<(i32, u16)> = config.kafka[0].node_ports.iter().map(|(id, port)| (*id, *port)).collect();
    assert_eq!(ports, [(1, 19101), (2, 19102), (3, 19103)]);
    let file = format!("{CLUSTER}node_ports = {{ \"1\" = 19101, \"2\" = 19102 }}");
    let config = read(&file, &[("EVENKEEL_KAFKA_0_NODE_PORTS_2", "19112")]);
    let ports: Vec<(i32, u16)> = config.kafka[0].node_ports.iter().map(|(id, port)| (*id, *port)).collect();
    assert_eq!(ports, [(1, 19101), (2, 19112)]);
}

#[test]
fn problems_name_the_variable() {
    expect(
        CLUSTER,
        &[
            ("EVENKEEL_HOLD_MAX", "5"),
            ("EVENKEEL_HOLDMAX", "5s"),
            ("EVENKEEL_hold_max", "5s"),
            ("EVENKEEL_KAFKA_0_LISTEN", "127.0.0.1:9094,nowhere"),
            ("EVENKEEL_KAFKA_0_LISTNE", "127.0.0.1:9094"),
            ("EVENKEEL_KAFKA_0_NODE_PORTS_1001", "5"),
            ("EVENKEEL_KAFKA_00_NAME", "a"),
            ("EVENKEEL_KAFKA_7_NAME", "a"),
            ("EVENKEEL_KAFKA_1_NAME", "b"),
            ("EVENKEEL_ZOOKEEPER_0_NAME", "a"),
            ("EVENKEEL_COLOUR", "red"),
        ],
        &[
            "environment: EVENKEEL_COLOUR: \"COLOUR\" names no key; unset it",
            "environment: EVENKEEL_HOLDMAX: names no key; did you mean EVENKEEL_HOLD_MAX?",
            "environment: EVENKEEL_HOLD_MAX: hold.max: 5 has no unit; write \"5s\"",
            "environment: EVENKEEL_KAFKA_00_NAME: names no key; did you mean EVENKEEL_KAFKA_0_NAME?",
            "environment: EVENKEEL_KAFKA_0_LISTEN: kafka[0].listen[1]: \"nowhere\" is not an IP address and a port",
            "environment: EVENKEEL_KAFKA_0_LISTNE: names no key; did you mean EVENKEEL_KAFKA_0_LISTEN?",
            "environment: EVENKEEL_KAFKA_0_NODE_PORTS_1001: kafka[0].node_ports.1001: 5 is outside of broker_ports",
            "environment: EVENKEEL_KAFKA_1_NAME: kafka[1].bootstrap: is missing",
            "environment: EVENKEEL_KAFKA_1_NAME: kafka[1].broker_ports: is missing",
            "environment: EVENKEEL_KAFKA_1_NAME: kafka[1].listen: is missing",
            "environment: EVENKEEL_KAFKA_7_NAME: kafka[7]: there is no such cluster; the next one is EVENKEEL_KAFKA_2_",
            "environment: EVENKEEL_ZOOKEEPER_0_NAME: zookeeper[0].listen: is missing",
            "environment: EVENKEEL_ZOOKEEPER_0_NAME: zookeeper[0].servers: is missing",
            "environment: EVENKEEL_hold_max: names no key; did you mean EVENKEEL_HOLD_MAX?",
        ],
    );
}

#[test]
fn a_rule_between_the_file_and_a_variable_names_both() {
    expect(
        CLUSTER,
        &[("EVENKEEL_ADMIN_LISTEN", "127.0.0.1:9092")],
        &[
            "f:3: kafka[0].listen[0]: 127.0.0.1:9092 collides with 127.0.0.1:9092 of admin.listen[0] (EVENKEEL_ADMIN_LISTEN)",
        ],
    );
}

#[test]
fn reserved_names_and_service_links_are_left_alone() {
    let config = read(
        CLUSTER,
        &[
            ("EVENKEEL_CONFIG", "/etc/evenkeel.toml"),
            ("EVENKEEL_SERVICE_HOST", "10.96.0.7"),
            ("EVENKEEL_SERVICE_PORT", "9901"),
            ("EVENKEEL_SERVICE_PORT_ADMIN", "9901"),
            ("EVENKEEL_PORT", "tcp://10.96.0.7:9901"),
            ("EVENKEEL_PORT_9901_TCP", "tcp://10.96.0.7:9901"),
            ("EVENKEEL_PORT_9901_TCP_PROTO", "tcp"),
            ("EVENKEEL_PORT_9901_TCP_PORT", "9901"),
            ("EVENKEEL_PORT_9901_TCP_ADDR", "10.96.0.7"),
            ("EVENKEEL_KAFKA_0_SERVICE_HOST", "10.96.0.8"),
            ("EVENKEEL_KAFKA_0_PORT_9092_TCP_ADDR", "10.96.0.8"),
        ],
    );
    assert_eq!(config, read(CLUSTER, &[]));
    expect(CLUSTER, &[("EVENKEEL_PORT", "9901")], &["environment: EVENKEEL_PORT: "]);
}
