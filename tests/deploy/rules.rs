//! Prometheus' rules.

use std::collections::BTreeSet;

use yaml_rust2::Yaml;

use crate::promql::{Catalogue, named};
use crate::yaml;

const ALERTS: &str = "deploy/prometheus/alerts.yml";
const RECORDING: &str = "deploy/prometheus/recording.yml";

/// Every rule of a file; groups have names, each its own.
fn rules(name: &str) -> Vec<Yaml> {
    let documents = yaml(name);
    let [document] = documents.as_slice() else { panic!("{name}: {} documents", documents.len()) };
    let groups = document["groups"].as_vec().expect("groups");
    let names: BTreeSet<&str> =
        groups.iter().map(|group| group["name"].as_str().expect("a group's name")).collect();
    assert_eq!(names.len(), groups.len(), "{names:?}");
    groups.iter().flat_map(|group| group["rules"].as_vec().expect("rules").clone()).collect()
}

fn text<'a>(of: &'a Yaml, key: &str) -> &'a str {
    of[key].as_str().filter(|text| !text.trim().is_empty()).unwrap_or_else(|| panic!("{key} of {of:?}"))
}

fn keys(of: &Yaml) -> BTreeSet<&str> {
    of.as_hash().expect("a map").keys().map(|key| key.as_str().expect("a key")).collect()
}

fn is_duration(text: &str) -> bool {
    let number = text.trim_end_matches(['s', 'm', 'h', 'd']);
    number.len() + 1 == text.len() && number.parse::<u32>().is_ok()
}

/// Labels that a text between double braces names.
fn templated(text: &str) -> Vec<&str> {
    let names = text.split("$labels.").skip(1);
    names.map(|rest| rest.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap()).collect()
}

#[test]
fn recording_rules_name_what_exists() {
    let catalogue = Catalogue::read();
    let mut names = BTreeSet::new();
    for rule in rules(RECORDING) {
        assert_eq!(keys(&rule), BTreeSet::from(["record", "expr"]));
        let name = text(&rule, "record");
        assert_eq!(name.split(':').count(), 3, "level:metric:operations, not {name}");
        assert!(names.insert(name.to_owned()), "{name} twice");
        assert_eq!(catalogue.problems(text(&rule, "expr")), Vec::<String>::new());
    }
    assert!(names.len() > 5, "{names:?}");
}

#[test]
fn alerts_name_what_exists_and_say_what_to_do() {
    let mut catalogue = Catalogue::read();
    for rule in rules(RECORDING) {
        let labels = named(text(&rule, "expr")).unwrap().grouped;
        catalogue.add(text(&rule, "record"), labels);
    }
    let (mut names, mut stopping) = (BTreeSet::new(), BTreeSet::new());
    for rule in rules(ALERTS) {
        let name = text(&rule, "alert");
        assert!(names.insert(name.to_owned()), "{name} twice");
        assert!(keys(&rule).is_subset(&["alert", "expr", "for", "labels", "annotations"].into()), "{rule:?}");
        let expr = text(&rule, "expr");
        assert_eq!(catalogue.problems(expr), Vec::<String>::new(), "{name}");
        assert!(rule["for"].is_badvalue() || is_duration(text(&rule, "for")), "{name}");
        assert!(["info", "warning", "critical"].contains(&text(&rule["labels"], "severity")), "{name}");
        if !rule["labels"]["rollingupgrade"].is_badvalue() {
            text(&rule["labels"], "rollingupgrade");
            stopping.insert(name.to_owned());
        }
        assert_eq!(keys(&rule["annotations"]), BTreeSet::from(["summary", "description"]), "{name}");
        let metrics = named(expr).unwrap().metrics;
        for annotation in ["summary", "description"] {
            let said = text(&rule["annotations"], annotation);
            assert_eq!(said.matches("{{").count(), said.matches("}}").count(), "{name}: {said}");
            for label in templated(said) {
                let has = metrics.iter().any(|(metric, _)| catalogue.has(metric, label));
                assert!(has, "{name} says {label}, which its metrics don't have");
            }
        }
    }
    // What an on-call person is to hear of, and what stops a roll.
    for name in
        ["EvenkeelPlanOpenLong", "EvenkeelMemberDown", "EvenkeelUnreachable", "EvenkeelDrainedAndNotStopped"]
    {
        assert!(names.contains(name) && !stopping.contains(name), "{name}");
    }
    for name in [
        "EvenkeelClientErrors",
        "EvenkeelUnknownOutcomes",
        "EvenkeelSessionsExpired",
        "EvenkeelHoldNearBound",
        "EvenkeelGateClosedLong",
    ] {
        assert!(stopping.contains(name), "{name}");
    }
}

#[test]
fn stories_of_alerts_name_alerts_that_exist() {
    let alerts: Vec<Yaml> = rules(ALERTS);
    let known: BTreeSet<&str> = alerts.iter().map(|rule| text(rule, "alert")).collect();
    let stories = yaml("deploy/prometheus/tests.yml");
    let mut named_there = BTreeSet::new();
    for story in stories[0]["tests"].as_vec().expect("tests") {
        for test in story["alert_rule_test"].as_vec().into_iter().flatten() {
            named_there.insert(text(test, "alertname").to_owned());
        }
        for test in story["promql_expr_test"].as_vec().into_iter().flatten() {
            let expr = text(test, "expr");
            let alert = expr.split("alertname=\"").nth(1).and_then(|rest| rest.split('"').next());
            named_there.insert(alert.expect("an alert").to_owned());
        }
    }
    assert!(named_there.len() > 7, "{named_there:?}");
    for name in &named_there {
        assert!(known.contains(name.as_str()), "{name}");
    }
}
