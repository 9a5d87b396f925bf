//! The configuration from the outside: whole files in, values or lines of text out.

mod admin;
mod bad;
mod overrides;
mod zookeeper;

use std::collections::BTreeSet;

use super::keys::{Need, ROOT, Row, rows};
use super::kinds::{KINDS, Kind};
use super::*;

const MINIMAL: &str = include_str!("../../config/minimal.toml");
const MINIMAL_ZOOKEEPER: &str = include_str!("../../config/minimal-zookeeper.toml");
const FULL: &str = include_str!("../../config/full.toml");

fn no_env() -> Vec<(String, String)> {
    Vec::new()
}

fn variables(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// One right cluster in five lines, for tests that are about something else.
const CLUSTER: &str = "\
[[kafka]]
name = \"orders\"
listen = \"127.0.0.1:9092\"
bootstrap = \"kafka-1:9092\"
broker_ports = \"19092-19191\"
";

/// The same for ZooKeeper.
const ENSEMBLE: &str = "\
[[zookeeper]]
name = \"coord\"
listen = \"127.0.0.1:2181\"
servers = \"zk-1:2181\"
";

/// A right cluster of that kind.
fn right(kind: &Kind) -> &'static str {
    if kind.table == "kafka" { CLUSTER } else { ENSEMBLE }
}

/// The problems of a text, one string each.
fn wrongs(text: &str, env: &[(&str, &str)]) -> Vec<String> {
    match parse(text, "f", variables(env)) {
        Ok(_) => Vec::new(),
        Err(problems) => problems.iter().map(ToString::to_string).collect(),
    }
}

/// Asserts that the problems are exactly those that begin so, in this order.
#[track_caller]
fn expect(text: &str, env: &[(&str, &str)], starts: &[&str]) {
    let found = wrongs(text, env);
    let fits =
        found.len() == starts.len() && found.iter().zip(starts).all(|(line, start)| line.starts_with(start));
    let text: String = text.chars().take(1000).collect();
    assert!(fits, "in\n{text}\nexpected\n  {}\nfound\n  {}", starts.join("\n  "), found.join("\n  "));
}

mod files {
    use super::*;

    #[test]
    fn minimal_gives_the_defaults() {
        let config = parse(MINIMAL, "minimal.toml", no_env()).unwrap();
        let server = |host: &str| HostPort { host: host.to_owned(), port: 9092 };
        let cluster = Kafka {
            name: "orders".to_owned(),
            listen: vec!["127.0.0.1:9092".parse().unwrap()],
            bootstrap: vec![server("kafka-1.example.net"), server("kafka-2.example.net")],
            ..Kafka::default()
        };
        assert_eq!(config, Config { kafka: vec![cluster], ..Config::default() });
    }

    #[test]
    fn minimal_for_zookeeper_gives_the_defaults() {
        let config = parse(MINIMAL_ZOOKEEPER, "minimal-zookeeper.toml", no_env()).unwrap();
        let server = |host: &str| HostPort { host: host.to_owned(), port: 2181 };
        let ensemble = ZooKeeper {
            name: "coord".to_owned(),
            listen: vec!["127.0.0.1:2181".parse().unwrap()],
            servers: ["zk-1.example.net", "zk-2.example.net", "zk-3.example.net"].map(server).to_vec(),
            ..ZooKeeper::default()
        };
        assert_eq!(config, Config { zookeeper: vec![ensemble], ..Config::default() });
    }

    #[test]
    fn full_means_the_same_as_both_minimal() {
        let mut both = parse(MINIMAL, "minimal.toml", no_env()).unwrap();
        both.zookeeper = parse(MINIMAL_ZOOKEEPER, "minimal-zookeeper.toml", no_env()).unwrap().zookeeper;
        assert_eq!(parse(FULL, "full.toml", no_env()), Ok(both));
    }

    /// Every key is written out with its default; one without a default stands there as a comment.
    #[test]
    fn full_has_every_key() {
        let document = toml_edit::Document::parse(FULL).unwrap();
        let root: &dyn toml_edit::TableLike = document.as_table();
        let mut owners = vec![(rows(ROOT), root)];
        for kind in KINDS {
            owners.push((kind.rows(), document[kind.table].as_array_of_tables().unwrap().get(0).unwrap()));
        }
        for (rows, owner) in owners {
            for row in rows {
                let written = match row.table() {
                    Some(table) => owner.get(table).is_some_and(|table| table.get(row.name()).is_some()),
                    None => owner.contains_key(row.path),
                };
                assert_eq!(written, row.need != Need::Optional, "{}", row.path);
            }
        }
        let optional: Vec<String> = optional_lines(FULL);
        let expected = all_rows().into_iter().filter(|row| row.need == Need::Optional).count();
        assert_eq!(optional.len(), expected, "{optional:?}");
    }

    /// The rows of all tables of keys.
    fn all_rows() -> Vec<&'static Row> {
        rows(ROOT).into_iter().chain(KINDS.iter().flat_map(|kind| kind.rows())).collect()
    }

    /// The lines of a text that are an optional key, commented out.
    fn optional_lines(text: &str) -> Vec<String> {
        // Outside of clusters a key stands below the heading of its first table.
        let root = rows(ROOT)
            .into_iter()
            .map(|row| (row, row.path.split_once('.').map_or(row.path, |(_, rest)| rest)));
        let inner = KINDS.iter().flat_map(|kind| kind.rows()).map(|row| (row, row.path));
        let optional = root.chain(inner).filter(|(row, _)| row.need == Need::Optional);
        let lines: BTreeSet<String> =
            optional.map(|(row, path)| format!("# {path} = {}", row.example)).collect();
        text.lines().filter(|line| lines.contains(*line)).map(str::to_owned).collect()
    }

    #[test]
    fn optional_keys_are_right_when_uncommented() {
        let token = ["token_endpoint", "token_ca", "client_id", "client_secret_file", "scope"];
        let of = |line: &str, names: &[&str]| {
            names.iter().any(|name| line.starts_with(&format!("# sasl.{name} = ")))
        };
        let uncommented = |without: &[&str]| {
            let mut text = FULL.replace("tls.enabled = false", "tls.enabled = true");
            for line in optional_lines(FULL).iter().filter(|line| !of(line, without)) {
                text = text.replace(line.as_str(), line.trim_start_matches("# "));
            }
            text
        };
        // A mechanism has no use for what belongs to another, nor for two sources of tokens.
        let bearer = |text: String| text.replace("\"SCRAM-SHA-512\"", "\"OAUTHBEARER\"");
        let password = ["username", "password_file"];
        for text in [
            bearer(uncommented(&[&password[..], &["token_file"]].concat())),
            bearer(uncommented(&[&password[..], &token].concat())),
        ] {
            assert!(parse(&text, "f", no_env()).is_ok());
        }
        let text = uncommented(&[&token[..], &["token_file"]].concat());
        let config = parse(&text, "f", no_env()).unwrap();
        assert_eq!(config.state_dir, Some("/var/lib/evenkeel".into()));
        assert_eq!(config.kafka[0].advertise.as_deref(), Some("sidecar.example.net"));
        assert_eq!(config.zookeeper[0].advertise.as_deref(), Some("sidecar.example.net"));
        let timeout = config.zookeeper[0].session.min_upstream_timeout;
        assert_eq!(timeout, Some(std::time::Duration::from_secs(30)));
        assert_eq!(config.admin.token_file, Some("/etc/evenkeel/admin-tokens".into()));
        assert_eq!(config.admin.tls.ca, Some("/etc/evenkeel/controllers.pem".into()));
    }

    #[test]
    fn a_table_in_a_table_is_read_in_every_way_of_writing_it() {
        let tls = AdminTls { certificate: Some("/c.pem".into()), key: Some("/k.pem".into()), ca: None };
        let dotted = format!("admin.tls.certificate = \"/c.pem\"\nadmin.tls.key = \"/k.pem\"\n{CLUSTER}");
        let headed = format!("[admin.tls]\ncertificate = \"/c.pem\"\nkey = \"/k.pem\"\n{CLUSTER}");
        let pairs = [("EVENKEEL_ADMIN_TLS_CERTIFICATE", "/c.pem"), ("EVENKEEL_ADMIN_TLS_KEY", "/k.pem")];
        for (text, env) in [(dotted.as_str(), &[][..]), (&headed, &[]), (CLUSTER, &pairs)] {
            assert_eq!(parse(text, "f", variables(env)).unwrap().admin.tls, tls, "{text}");
        }
    }

    #[test]
    fn a_key_marked_live_in_full_is_live() {
        let mut marked = BTreeSet::new();
        let mut live = false;
        let mut heading = "";
        for line in FULL.lines().filter(|line| !line.starts_with("# [live] marks")) {
            if line.starts_with("# [live") {
                live = true;
            } else if line.starts_with('[') {
                heading = line;
            } else if let Some((key, _)) = line.trim_start_matches("# ").split_once(" = ") {
                if live {
                    marked.insert(format!("{heading} {key}"));
                }
                live = false;
            }
        }
        let is_live = |row: &&Row| row.live.is_live();
        let root = rows(ROOT).into_iter().filter(is_live);
        let mut table: BTreeSet<String> =
            root.map(|row| format!("[{}] {}", row.table().unwrap_or_default(), row.name())).collect();
        for kind in KINDS {
            let live = kind.rows().into_iter().filter(is_live);
            table.extend(live.map(|row| format!("[[{}]] {}", kind.table, row.path)));
        }
        assert_eq!(marked, table);
    }

    #[test]
    fn a_file_that_cannot_be_read_is_one_problem() {
        let problems = load(Path::new("/nowhere/evenkeel.toml"), no_env()).unwrap_err();
        assert_eq!(problems.len(), 1);
        assert!(problems.to_string().starts_with("/nowhere/evenkeel.toml: can't be read: "), "{problems}");
    }

    #[test]
    fn a_file_is_loaded() {
        let config = load(Path::new("config/minimal.toml"), no_env()).unwrap();
        assert_eq!(config.kafka.len(), 1);
    }
}

mod table {
    use super::*;

    /// The fields of the types, read off their debug form, are the keys of the table: none is forgotten.
    #[test]
    fn every_field_is_a_key() {
        /// The paths of the fields, and of the fields in those; a value's own parts are no keys.
        fn fields(debug: &str, rows: &[&'static Row]) -> BTreeSet<String> {
            let mut paths = BTreeSet::new();
            let (mut outer, mut middle) = ("", String::new());
            let tables = keys::tables(rows);
            for line in debug.lines() {
                let Some((name, _)) = line.trim().split_once(": ") else { continue };
                match line.len() - line.trim_start().len() {
                    4 => {
                        outer = name;
                        paths.insert(name.to_owned());
                    }
                    8 if rows.iter().all(|row| row.path != outer) => {
                        middle = format!("{outer}.{name}");
                        paths.insert(middle.clone());
                    }
                    12 if tables.contains(&middle.as_str()) => {
                        paths.insert(format!("{middle}.{name}"));
                    }
                    _ => {}
                }
            }
            paths
        }
        fn expected(rows: &[&'static Row]) -> BTreeSet<String> {
            let paths = rows.iter().map(|row| row.path).chain(keys::tables(rows));
            paths.map(str::to_owned).collect()
        }
        let root = rows(ROOT);
        let mut own = expected(&root);
        own.extend(KINDS.map(|kind| kind.table.to_owned()));
        assert_eq!(fields(&format!("{:#?}", Config::default()), &root), own);
        let clusters = [format!("{:#?}", Kafka::default()), format!("{:#?}", ZooKeeper::default())];
        for (kind, cluster) in KINDS.iter().zip(clusters) {
            assert_eq!(fields(&cluster, &kind.rows()), expected(&kind.rows()), "{}", kind.table);
        }
    }

    /// What messages tell people to write is right, and is the default where there is one.
    #[test]
    fn every_example_reads_well() {
        let bare = parse(CLUSTER, "f", no_env()).unwrap();
        for row in rows(ROOT).iter().filter(|row| row.need == Need::Default) {
            let text = format!("{} = {}\n{CLUSTER}", row.path, row.example);
            assert_eq!(parse(&text, "f", no_env()).as_ref(), Ok(&bare), "{}", row.path);
        }
        for kind in KINDS {
            let bare = parse(right(kind), "f", no_env()).unwrap();
            for row in kind.rows().iter().filter(|row| row.need == Need::Default) {
                let text = format!("{}{} = {}\n", right(kind), row.path, row.example);
                assert_eq!(parse(&text, "f", no_env()).as_ref(), Ok(&bare), "{}", row.path);
            }
            let lines: Vec<String> = kind
                .rows()
                .iter()
                .filter(|row| row.need == Need::Required)
                .map(|row| format!("{} = {}", row.path, row.example))
                .collect();
            let text = format!("[[{}]]\n{}", kind.table, lines.join("\n"));
            assert!(parse(&text, "f", no_env()).is_ok(), "{text}");
        }
    }

    #[test]
    fn no_two_keys_share_a_variable() {
        let mut names: Vec<String> = rows(ROOT).iter().map(|row| row.variable()).collect();
        for kind in KINDS {
            let table = kind.table.to_ascii_uppercase();
            names.extend(kind.rows().iter().map(|row| format!("{table}_0_{}", row.variable())));
        }
        let distinct: BTreeSet<&String> = names.iter().collect();
        assert_eq!(distinct.len(), names.len());
    }

    /// What a token endpoint needs.
    const ENDPOINT_ONLY: &str =
        "sasl.mechanism = \"OAUTHBEARER\"\nsasl.client_id = \"c\"\nsasl.client_secret_file = \"s\"\n";
    /// A whole one.
    const ENDPOINT: &str = "sasl.mechanism = \"OAUTHBEARER\"\nsasl.client_id = \"c\"\nsasl.client_secret_file = \"s\"\n\
        sasl.token_endpoint = \"https://a/t\"\n";

    /// A right cluster with what a key is of no use without.
    fn with_companions(kind: &Kind, path: &str) -> String {
        let lines = match path {
            "tls.ca" => "tls.enabled = true\n",
            "tls.certificate" => "tls.enabled = true\ntls.key = \"a.key\"\n",
            "tls.key" => "tls.enabled = true\ntls.certificate = \"a.pem\"\n",
            "listen_tls.certificate" => "listen_tls.key = \"a.key\"\n",
            "listen_tls.key" => "listen_tls.certificate = \"a.pem\"\n",
            "listen_tls.client_ca" => "listen_tls.certificate = \"a.pem\"\nlisten_tls.key = \"a.key\"\n",
            "sasl.username" if kind.table == "zookeeper" => "sasl.password_file = \"a.word\"\n",
            "sasl.password_file" if kind.table == "zookeeper" => "sasl.username = \"a\"\n",
            "sasl.mechanism" => "sasl.username = \"u\"\nsasl.password_file = \"p\"\n",
            "sasl.username" => "sasl.mechanism = \"PLAIN\"\nsasl.password_file = \"p\"\n",
            "sasl.password_file" => "sasl.mechanism = \"PLAIN\"\nsasl.username = \"u\"\n",
            "sasl.token_file" => "sasl.mechanism = \"OAUTHBEARER\"\n",
            "sasl.token_endpoint" => ENDPOINT_ONLY,
            "sasl.token_ca" | "sasl.scope" | "sasl.client_id" | "sasl.client_secret_file" => ENDPOINT,
            _ => "",
        };
        format!("{}{lines}", right(kind))
    }

    /// Every key can be overridden, and is read from text as it is from TOML.
    #[test]
    fn every_key_has_a_variable_that_works() {
        let bare = |example: &str| example.replace(['"', '[', ']', '{', '}'], "");
        let same = |text: &str, written: &str, name: &str, example: &str| {
            let written = parse(written, "f", no_env()).unwrap();
            let value = bare(example);
            assert_eq!(parse(text, "f", variables(&[(name, &value)])), Ok(written), "{name}={value}");
        };
        for row in rows(ROOT) {
            let companions = match row.path {
                "admin.tls.certificate" => "admin.tls.key = \"a.key\"\n",
                "admin.tls.key" => "admin.tls.certificate = \"a.pem\"\n",
                "admin.tls.ca" => "admin.tls.certificate = \"a.pem\"\nadmin.tls.key = \"a.key\"\n",
                _ => "",
            };
            let written = format!("{companions}{} = {}\n{CLUSTER}", row.path, row.example);
            let text = format!("{companions}{CLUSTER}");
            same(&text, &written, &format!("EVENKEEL_{}", row.variable()), row.example);
        }
        for kind in KINDS {
            for row in kind.rows() {
                let cluster_text = with_companions(kind, row.path);
                let mut document: toml_edit::DocumentMut = cluster_text.parse().unwrap();
                let cluster = &mut document[kind.table][0];
                let value = toml_edit::value(row.example.parse::<toml_edit::Value>().unwrap());
                match row.table() {
                    Some(table) => cluster[table][row.name()] = value,
                    None => cluster[row.path] = value,
                }
                let name = format!("EVENKEEL_{}_0_{}", kind.table.to_ascii_uppercase(), row.variable());
                same(&cluster_text, &document.to_string(), &name, row.example);
            }
        }
    }
}
