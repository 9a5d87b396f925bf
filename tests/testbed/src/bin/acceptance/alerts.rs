//! Prometheus' own tool reads the rules, the dashboard's queries and a scrape of a sidecar, and tries the alerts on stories.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use testbed::{Ensemble, EnsembleSpec, Error, Result, Sidecar, ZooKeeperVersion};

use super::{Bench, Finding, PATIENCE};

pub(super) fn run(bench: &Bench) -> Result<Finding> {
    let version = Command::new("promtool").arg("--version").output();
    let missing = "no promtool: apt-get install --no-install-recommends prometheus".to_owned();
    let version = version.map_err(|_| Error::Missing(missing))?;
    let version = String::from_utf8_lossy(&version.stdout).lines().next().unwrap_or_default().to_owned();
    let deploy = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy");
    let rules = deploy.join("prometheus");
    let queries = queries(&deploy.join("grafana/evenkeel.json"))?;
    let mut finding = Finding { figures: format!("{version}\n\n"), breaches: Vec::new() };
    let mut tried = |what: &str, words: &[&str], input: Option<String>| -> Result<()> {
        bench.say(what);
        let said = promtool(&rules, words, input)?;
        let kept = said.is_ok();
        let _ = writeln!(
            finding.figures,
            "- `promtool {}` ({what}): {}",
            words.join(" "),
            if kept { "well" } else { "FAILED" }
        );
        if let Err(text) = said {
            finding.breaches.push(format!("{what}: {text}"));
        }
        Ok(())
    };
    tried("the rules", &["check", "rules", "alerts.yml", "recording.yml"], None)?;
    tried("stories, and what the alerts say of them", &["test", "rules", "tests.yml"], None)?;
    let path = queries.display().to_string();
    let read = tried("the dashboard's queries", &["check", "rules", &path], None);
    let _ = fs::remove_file(&queries);
    read?;
    let ensemble = Ensemble::with(EnsembleSpec::new(ZooKeeperVersion::V3_9_5).servers(1))?;
    let (mut sidecar, _) = Sidecar::zookeeper(&bench.binary, &ensemble.servers(), "", "")?;
    sidecar.wait_ready(PATIENCE)?;
    let (_, scrape) = sidecar.get("/metrics")?;
    tried("a scrape", &["check", "metrics"], Some(scrape))?;
    finding.figures = finding.figures.replace(&path, "QUERIES");
    Ok(finding)
}

/// The dashboard's queries as rules, in a file.
fn queries(dashboard: &Path) -> Result<PathBuf> {
    let text = fs::read_to_string(dashboard).map_err(Error::io("reading the dashboard"))?;
    let dashboard: Value =
        serde_json::from_str(&text).map_err(|error| Error::program("dashboard", error.to_string()))?;
    let panels = dashboard.get("panels").and_then(Value::as_array).into_iter().flatten();
    let targets = panels.filter_map(|panel| panel.get("targets")?.as_array()).flatten();
    let queries = targets.filter_map(|target| target.get("expr")?.as_str());
    let rules: Vec<Value> = queries
        .map(|query| query.replace("$__rate_interval", "5m").replace("$__range", "1h"))
        .enumerate()
        .map(|(at, query)| json!({ "record": format!("dashboard:query:{at}"), "expr": query }))
        .collect();
    let file = std::env::temp_dir().join(format!("evenkeel-queries-{}.yml", std::process::id()));
    // JSON is YAML.
    let text = json!({ "groups": [{ "name": "dashboard", "rules": rules }] }).to_string();
    fs::write(&file, text).map_err(Error::io("writing queries"))?;
    Ok(file)
}

/// What it says, if it is against something.
fn promtool(folder: &Path, words: &[&str], input: Option<String>) -> Result<std::result::Result<(), String>> {
    let mut command = Command::new("promtool");
    command
        .args(words)
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().map_err(Error::io("starting promtool"))?;
    if let (Some(mut to), Some(input)) = (child.stdin.take(), input) {
        std::io::Write::write_all(&mut to, input.as_bytes()).map_err(Error::io("speaking to promtool"))?;
    }
    let output = child.wait_with_output().map_err(Error::io("waiting for promtool"))?;
    let said = [output.stdout, output.stderr].concat();
    Ok(if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&said).into_owned()) })
}
