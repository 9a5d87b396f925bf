//! As much of Prometheus' query language as shows which metrics, labels and values a query names; held against `docs/metrics.md`,
//! which another test holds against the program.

use std::collections::{BTreeMap, BTreeSet};

/// What a scrape adds to every series.
const ADDED: [&str; 2] = ["job", "instance"];
const WORDS: [&str; 8] = ["and", "or", "unless", "bool", "offset", "inf", "nan", "atan2"];
const GROUPING: [&str; 6] = ["by", "without", "on", "ignoring", "group_left", "group_right"];

/// The metrics that there are, with their labels, and the values of labels that are closed sets.
#[derive(Debug, Default)]
pub(crate) struct Catalogue {
    labels: BTreeMap<String, BTreeSet<String>>,
    values: BTreeMap<(String, String), BTreeSet<String>>,
}

impl Catalogue {
    /// That of `docs/metrics.md`.
    pub(crate) fn read() -> Self {
        let mut all = Self::default();
        for line in crate::read("docs/metrics.md").lines() {
            let cells: Vec<&str> = line.split('|').map(str::trim).collect();
            match cells.as_slice() {
                ["", name, kind @ ("counter" | "gauge" | "histogram"), labels, _, ""] => {
                    let name = name.trim_matches('`');
                    let labels: BTreeSet<String> =
                        coded(labels).into_iter().chain(ADDED.map(str::to_owned)).collect();
                    if *kind == "histogram" {
                        all.labels.insert(format!("{name}_sum"), labels.clone());
                        all.labels.insert(format!("{name}_count"), labels.clone());
                        let bucket = labels.into_iter().chain(["le".to_owned()]).collect();
                        all.labels.insert(format!("{name}_bucket"), bucket);
                    } else {
                        all.labels.insert(name.to_owned(), labels);
                    }
                }
                ["", label, of, _, values, ""] if values.starts_with('`') => {
                    let key =
                        (format!("evenkeel_{}", of.trim_matches('`')), label.trim_matches('`').to_owned());
                    all.values.entry(key).or_default().extend(coded(values));
                }
                _ => {}
            }
        }
        assert!(all.labels.len() > 60 && all.values.len() > 25, "docs/metrics.md has another form");
        all.labels.insert("up".to_owned(), ADDED.map(str::to_owned).into());
        all
    }

    /// A name that a recording rule makes, with the labels that it leaves.
    pub(crate) fn add(&mut self, name: &str, labels: BTreeSet<String>) {
        self.labels.insert(name.to_owned(), labels);
    }

    /// Whether a metric has a label.
    pub(crate) fn has(&self, metric: &str, label: &str) -> bool {
        self.labels.get(metric).is_some_and(|labels| labels.contains(label))
    }

    /// What is wrong with a query: names of metrics, labels and values that don't exist.
    pub(crate) fn problems(&self, query: &str) -> Vec<String> {
        let named = match named(query) {
            Ok(named) => named,
            Err(problem) => return vec![format!("{problem}: {query}")],
        };
        let mut problems = Vec::new();
        let mut all = BTreeSet::new();
        if named.metrics.is_empty() {
            problems.push("names no metric".to_owned());
        }
        for (name, matchers) in &named.metrics {
            let Some(labels) = self.labels.get(name) else {
                problems.push(format!("there is no metric {name}"));
                continue;
            };
            all.extend(labels.clone());
            for (label, value) in matchers {
                if !labels.contains(label) {
                    problems.push(format!("{name} has no label {label}"));
                }
                problems.extend(self.wrong_values(name, label, value));
            }
        }
        problems.extend(
            named
                .grouped
                .iter()
                .filter(|label| !all.contains(*label))
                .map(|label| format!("no metric here has {label}")),
        );
        problems.into_iter().map(|problem| format!("{problem}: {query}")).collect()
    }

    /// Of a value, or of several with `|` between them; what is a variable or another pattern is anything.
    fn wrong_values(&self, metric: &str, label: &str, value: &str) -> Vec<String> {
        let base =
            ["_bucket", "_sum", "_count"].iter().find_map(|end| metric.strip_suffix(end)).unwrap_or(metric);
        let Some(known) = self.values.get(&(base.to_owned(), label.to_owned())) else { return Vec::new() };
        let plain = |word: &&str| word.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        let wrong = value.split('|').filter(plain).filter(|word| !known.contains(*word));
        wrong.map(|word| format!("{label} of {metric} is never {word}")).collect()
    }
}

/// The words between backticks.
fn coded(text: &str) -> Vec<String> {
    text.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// What a query names.
#[derive(Debug, Default)]
pub(crate) struct Named {
    /// Metrics, each with its matchers.
    pub(crate) metrics: Vec<(String, Vec<(String, String)>)>,
    /// Labels to group or join by.
    pub(crate) grouped: BTreeSet<String>,
}

#[derive(Clone, Debug, PartialEq)]
enum Token {
    Word(String),
    Text(String),
    Mark(char),
}

fn tokens(query: &str) -> Result<Vec<Token>, String> {
    let mut tokens = Vec::new();
    let mut rest = query.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '"' | '\'' => {
                let mut text = String::new();
                loop {
                    match rest.next() {
                        None => return Err("a text has no end".to_owned()),
                        Some('\\') => text.extend(rest.next()),
                        Some(end) if end == c => break,
                        Some(other) => text.push(other),
                    }
                }
                tokens.push(Token::Text(text));
            }
            // A range, or a resolution.
            '[' => {
                if !rest.by_ref().any(|c| c == ']') {
                    return Err("a range has no end".to_owned());
                }
            }
            _ if c.is_whitespace() => {}
            _ if c.is_alphanumeric() || "_:$.".contains(c) => {
                let mut word = c.to_string();
                while let Some(next) = rest.next_if(|c| c.is_alphanumeric() || "_:.".contains(*c)) {
                    word.push(next);
                }
                tokens.push(Token::Word(word));
            }
            _ => tokens.push(Token::Mark(c)),
        }
    }
    let open = |mark| tokens.iter().filter(|token| **token == Token::Mark(mark)).count();
    if open('(') != open(')') || open('{') != open('}') {
        return Err("brackets don't match".to_owned());
    }
    Ok(tokens)
}

/// What a query names.
pub(crate) fn named(query: &str) -> Result<Named, String> {
    let tokens = tokens(query)?;
    let mut named = Named::default();
    let mut at = 0;
    while let Some(token) = tokens.get(at) {
        at += 1;
        let Token::Word(word) = token else { continue };
        let next = tokens.get(at);
        if GROUPING.contains(&word.as_str()) {
            if next == Some(&Token::Mark('(')) {
                let until =
                    tokens[at..].iter().position(|t| *t == Token::Mark(')')).ok_or("no end of a list")? + at;
                named.grouped.extend(tokens[at..until].iter().filter_map(|token| match token {
                    Token::Word(label) => Some(label.clone()),
                    _ => None,
                }));
                at = until + 1;
            }
            continue;
        }
        let is_number = word.starts_with(|c: char| c.is_ascii_digit() || c == '.');
        if is_number || next == Some(&Token::Mark('(')) || WORDS.contains(&word.to_lowercase().as_str()) {
            continue;
        }
        // Aggregations have their labels before or behind what they are of.
        if matches!(next, Some(Token::Word(by)) if by == "by" || by == "without") {
            continue;
        }
        let mut matchers = Vec::new();
        if next == Some(&Token::Mark('{')) {
            let until =
                tokens[at..].iter().position(|t| *t == Token::Mark('}')).ok_or("no end of matchers")? + at;
            let mut label = None;
            for token in &tokens[at..until] {
                match (token, label.take()) {
                    (Token::Word(word), None) => label = Some(word.clone()),
                    (Token::Text(value), Some(word)) => matchers.push((word, value.clone())),
                    (Token::Mark(_), kept) => label = kept,
                    (other, _) => return Err(format!("{other:?} among matchers")),
                }
            }
            at = until + 1;
        }
        named.metrics.push((word.clone(), matchers));
    }
    Ok(named)
}

#[test]
fn what_does_not_exist_is_found() {
    let catalogue = Catalogue::read();
    for good in [
        "sum by (cluster, code) (rate(evenkeel_client_errors_total{code=~\"disconnected|timeout\",job=\"x\"}[5m])) > 0",
        "max(evenkeel_hold_bytes) by (instance)",
        "histogram_quantile(0.99, sum by (le) (rate(evenkeel_hold_seconds_bucket[5m])))",
        "evenkeel_upstream_up == 0 unless on (cluster) evenkeel_upgrade_plan_info{phase=\"rolling\"}",
        "up{job=\"evenkeel\"} == 0",
    ] {
        assert_eq!(catalogue.problems(good), Vec::<String>::new());
    }
    for (bad, why) in [
        ("rate(evenkeel_client_error_total[5m])", "no metric evenkeel_client_error_total"),
        ("evenkeel_upstream_up{broker=\"1\"}", "no label broker"),
        ("evenkeel_upgrade_member_phase{phase=\"gone\"}", "never gone"),
        ("evenkeel_hold_seconds", "no metric evenkeel_hold_seconds"),
        ("sum by (member) (evenkeel_hold_bytes)", "no metric here has member"),
        ("sum(evenkeel_hold_bytes", "brackets"),
        ("1 + 2", "names no metric"),
    ] {
        let found = catalogue.problems(bad);
        assert!(found.iter().any(|problem| problem.contains(why)), "{bad}: {found:?}");
    }
}
