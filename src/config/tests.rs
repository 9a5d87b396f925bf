//! The configuration from the outside: whole files in, values or lines of text out.

mod bad;
mod overrides;

use std::collections::BTreeSet;

use super::keys::{KAFKA, Need, ROOT};
use super::*;

const MINIMAL: &str = include_str!("../../config/minimal.toml");
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
    fn full_means_the_same_as_minimal() {
        assert_eq!(parse(FULL, "full.toml", no_env()), parse(MINIMAL, "minimal.toml", no_env()));
    }

    /// Every key is written out with its default; one without a default stands there as a comment.
    #[test]
    fn full_has_every_key() {
        let document = toml_edit::Document::parse(FULL).unwrap();
        let cluster = document["kafka"].as_array_of_tables().unwrap().get(0).unwrap();
        for key in ROOT {
            let written = match key.path.split_once('.') {
                Some((table, name)) => document[table].get(name).is_some(),
                None => document.get(key.path).is_some(),
            };
            assert_eq!(written, key.need != Need::Optional, "{}", key.path);
        }
        for key in KAFKA {
            assert_eq!(cluster.contains_key(key.path), key.need != Need::Optional, "kafka[].{}", key.path);
        }
        let optional = optional_lines();
        let expected = ROOT.iter().filter(|key| key.need == Need::Optional).count()
            + KAFKA.iter().filter(|key| key.need == Need::Optional).count();
        assert_eq!(optional.len(), expected, "{optional:?}");
    }

    /// The lines of full.toml that are an optional key, commented out.
    fn optional_lines() -> Vec<String> {
        let keys: Vec<(&str, &str)> = ROOT
            .iter()
            .filter(|key| key.need == Need::Optional)
            .map(|key| (key.path, key.example))
            .chain(KAFKA.iter().filter(|key| key.need == Need::Optional).map(|key| (key.path, key.example)))
            .collect();
        let lines = keys.into_iter().map(|(path, example)| format!("# {path} = {example}"));
        lines.filter(|line| FULL.lines().any(|written| written == line)).collect()
    }

    #[test]
    fn optional_keys_are_right_when_uncommented() {
        let mut text = FULL.to_owned();
        for line in optional_lines() {
            text = text.replace(&line, line.trim_start_matches("# "));
        }
        let config = parse(&text, "f", no_env()).unwrap();
        assert_eq!(config.state_dir, Some("/var/lib/evenkeel".into()));
        assert_eq!(config.kafka[0].advertise.as_deref(), Some("sidecar.example.net"));
    }

    #[test]
    fn a_key_marked_live_in_full_is_live() {
        let mut marked = BTreeSet::new();
        let mut live = false;
        for line in FULL.lines().filter(|line| !line.starts_with("# [live] marks")) {
            if line.starts_with("# [live") {
                live = true;
            } else if let Some((key, _)) = line.trim_start_matches("# ").split_once(" = ") {
                if live {
                    marked.insert(key.to_owned());
                }
                live = false;
            }
        }
        let table: BTreeSet<String> = ROOT
            .iter()
            .filter(|key| key.live.is_live())
            .map(|key| key.name().to_owned())
            .chain(KAFKA.iter().filter(|key| key.live.is_live()).map(|key| key.name().to_owned()))
            .collect();
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
        fn fields(debug: &str, indent: usize) -> BTreeSet<String> {
            let lines = debug.lines().filter(|line| line.len() - line.trim_start().len() == indent);
            lines.filter_map(|line| Some(line.trim().split_once(": ")?.0.to_owned())).collect()
        }
        let config = format!("{:#?}", Config::default());
        let nested: BTreeSet<String> =
            ROOT.iter().filter(|key| key.path.contains('.')).map(|key| key.name().to_owned()).collect();
        assert_eq!(fields(&config, 8), nested);
        let mut outer: BTreeSet<String> = keys::tables().into_iter().map(str::to_owned).collect();
        outer.extend(ROOT.iter().filter(|key| !key.path.contains('.')).map(|key| key.path.to_owned()));
        outer.insert("kafka".to_owned());
        assert_eq!(fields(&config, 4), outer);
        let cluster: BTreeSet<String> = KAFKA.iter().map(|key| key.path.to_owned()).collect();
        assert_eq!(fields(&format!("{:#?}", Kafka::default()), 4), cluster);
    }

    /// What messages tell people to write is right, and is the default where there is one.
    #[test]
    fn every_example_reads_well() {
        let bare = parse(CLUSTER, "f", no_env()).unwrap();
        for key in ROOT.iter().filter(|key| key.need == Need::Default) {
            let text = format!("{} = {}\n{CLUSTER}", key.path, key.example);
            assert_eq!(parse(&text, "f", no_env()).as_ref(), Ok(&bare), "{}", key.path);
        }
        for key in KAFKA.iter().filter(|key| key.need == Need::Default) {
            let text = format!("{CLUSTER}{} = {}\n", key.path, key.example);
            assert_eq!(parse(&text, "f", no_env()).as_ref(), Ok(&bare), "{}", key.path);
        }
        let required = KAFKA.iter().filter(|key| key.need == Need::Required);
        let lines: Vec<String> = required.map(|key| format!("{} = {}", key.path, key.example)).collect();
        assert!(parse(&format!("[[kafka]]\n{}", lines.join("\n")), "f", no_env()).is_ok());
    }

    #[test]
    fn no_two_keys_share_a_variable() {
        let mut names: Vec<String> = ROOT.iter().map(keys::Key::variable).collect();
        names.extend(KAFKA.iter().map(|key| format!("KAFKA_0_{}", key.variable())));
        let distinct: BTreeSet<&String> = names.iter().collect();
        assert_eq!(distinct.len(), names.len());
    }

    /// Every key can be overridden, and is read from text as it is from TOML.
    #[test]
    fn every_key_has_a_variable_that_works() {
        let bare = |example: &str| example.replace(['"', '[', ']', '{', '}'], "");
        for key in ROOT {
            let name = format!("EVENKEEL_{}", key.variable());
            let text = format!("{} = {}\n{CLUSTER}", key.path, key.example);
            let written = parse(&text, "f", no_env()).unwrap();
            let value = bare(key.example);
            assert_eq!(parse(CLUSTER, "f", variables(&[(&name, &value)])), Ok(written), "{name}={value}");
        }
        for key in KAFKA {
            let name = format!("EVENKEEL_KAFKA_0_{}", key.variable());
            let mut document: toml_edit::DocumentMut = CLUSTER.parse().unwrap();
            document["kafka"][0][key.path] =
                toml_edit::value(key.example.parse::<toml_edit::Value>().unwrap());
            let written = parse(&document.to_string(), "f", no_env()).unwrap();
            let value = bare(key.example);
            assert_eq!(parse(CLUSTER, "f", variables(&[(&name, &value)])), Ok(written), "{name}={value}");
        }
    }
}
