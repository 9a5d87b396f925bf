//! Grafana's dashboard.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::promql::Catalogue;

fn dashboard() -> Value {
    serde_json::from_str(&crate::read("deploy/grafana/evenkeel.json")).unwrap()
}

fn list<'a>(of: &'a Value, key: &str) -> &'a Vec<Value> {
    of[key].as_array().unwrap_or_else(|| panic!("{key} of {of}"))
}

/// Every query with what it stands in.
fn queries(dashboard: &Value) -> Vec<(String, String)> {
    let mut all = Vec::new();
    for panel in list(dashboard, "panels") {
        for target in panel["targets"].as_array().into_iter().flatten() {
            all.push((panel["title"].to_string(), target["expr"].as_str().unwrap().to_owned()));
        }
    }
    for annotation in list(&dashboard["annotations"], "list") {
        all.push((annotation["name"].to_string(), annotation["expr"].as_str().unwrap().to_owned()));
    }
    all
}

#[test]
fn every_query_names_metrics_and_labels_that_exist() {
    let (dashboard, catalogue) = (dashboard(), Catalogue::read());
    let queries = queries(&dashboard);
    assert!(queries.len() > 30, "{}", queries.len());
    for (title, query) in &queries {
        assert_eq!(catalogue.problems(query), Vec::<String>::new(), "{title}");
    }
    // Variables: label_values(metric, label).
    for variable in
        list(&dashboard["templating"], "list").iter().filter(|variable| variable["type"] == "query")
    {
        let query = variable["query"]["query"].as_str().unwrap();
        let inner = query.strip_prefix("label_values(").and_then(|rest| rest.strip_suffix(')')).unwrap();
        let (metric, label) = inner.split_once(", ").unwrap();
        assert!(catalogue.has(metric, label), "{query}");
        assert_eq!(catalogue.problems(metric), Vec::<String>::new());
    }
}

#[test]
fn it_tells_the_story_of_a_roll() {
    let told: BTreeSet<String> = queries(&dashboard()).into_iter().map(|(_, query)| query).collect();
    for metric in [
        "evenkeel_upgrade_plan_info",
        "evenkeel_upgrade_member_phase",
        "evenkeel_upgrade_gate_ok",
        "evenkeel_upgrade_drain_seconds_bucket",
        "evenkeel_masked_errors_total",
        "evenkeel_client_errors_total",
        "evenkeel_unknown_outcomes_total",
        "evenkeel_hold_headroom_seconds_bucket",
        "evenkeel_zookeeper_sessions{",
        "evenkeel_added_seconds_bucket",
    ] {
        assert!(told.iter().any(|query| query.contains(metric)), "{metric}");
    }
}

#[test]
fn panels_have_names_places_and_the_chosen_source() {
    let dashboard = dashboard();
    let variables: BTreeSet<&str> = list(&dashboard["templating"], "list")
        .iter()
        .map(|variable| variable["name"].as_str().unwrap())
        .collect();
    let (mut ids, mut cells) = (BTreeSet::new(), BTreeSet::new());
    for panel in list(&dashboard, "panels") {
        let title = panel["title"].as_str().unwrap();
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "{title}: its id is another's");
        let at = |key: &str| panel["gridPos"][key].as_u64().unwrap();
        assert!(at("x") + at("w") <= 24, "{title} is too wide");
        for x in at("x")..at("x") + at("w") {
            for y in at("y")..at("y") + at("h") {
                assert!(cells.insert((x, y)), "{title} lies on another one");
            }
        }
        if panel["type"] == "row" {
            continue;
        }
        assert!(
            panel["description"].as_str().is_some_and(|text| text.len() > 4),
            "{title} says nothing of itself"
        );
        assert_eq!(panel["datasource"]["uid"], "${datasource}", "{title}");
        for target in list(panel, "targets") {
            let query = target["expr"].as_str().unwrap();
            for name in query.split('$').skip(1) {
                let name = name.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap();
                assert!(
                    variables.contains(name) || ["__rate_interval", "__range"].contains(&name),
                    "{title}: ${name}"
                );
            }
        }
    }
}
