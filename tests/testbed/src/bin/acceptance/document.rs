//! `docs/acceptance.md`: one section for each proof, replaced when the proof runs again.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use testbed::{Error, Result, cache};

use super::{Finding, Proof};

const HEAD: &str = "# Acceptance\n\n\
    The long proofs on real clusters: `make acceptance` runs them all, `make acceptance ARGS=\"--only NAME\"` one of them.\n\
    Each section is what its last run found; nobody edits them. Where nothing else is said brokers have Kafka's own session time-out (9 s). They listen on\n\
    loopback addresses of one machine, together with the clients and Evenkeel. Clients do not retry.\n\n\
    - **lost**: acknowledged, and not in the log. **repeated**: more than once in the log. **out of order**: behind a later\n  \
    record of the same partition. All are told by reading the whole topic from the brokers afterwards.\n\
    - **unknown**: the application got `REQUEST_TIMED_OUT`, since the record was written to a broker that stopped before it\n  \
    answered, or was appended there while leadership moved. Nobody can know its fate; Evenkeel doesn't pretend to. Applications\n  \
    of librdkafka get it of what Evenkeel has never sent, too, when its bound is reached.\n";

/// Replaces the section of `proof`; sections stand in `order`.
pub(super) fn record(
    order: &[&str],
    proof: &Proof,
    finding: &Finding,
    took: Duration,
    binary: &Path,
) -> Result<()> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs/acceptance.md");
    let old = fs::read_to_string(&path).unwrap_or_default();
    let text = replaced(&old, order, proof.name, &section(proof, finding, took, binary)?);
    fs::write(&path, text).map_err(Error::io(format!("writing {}", path.display())))
}

/// The commit that is tried, and whether files differ from it; the one that is written here says nothing of what was tried.
fn commit() -> Result<String> {
    let mut commit = cache::run(Command::new("git").args(["describe", "--always"]))?.trim().to_owned();
    let others =
        ["status", "--porcelain", "--untracked-files=no", "--", ":/", ":(top,exclude)docs/acceptance.md"];
    if !cache::run(Command::new("git").args(others))?.trim().is_empty() {
        commit.push_str("-dirty");
    }
    Ok(commit)
}

fn section(proof: &Proof, finding: &Finding, took: Duration, binary: &Path) -> Result<String> {
    let date = cache::run(Command::new("date").args(["-u", "+%F %R UTC"]))?;
    let version = cache::run(Command::new(binary).arg("--version"))?;
    // Not everyone who runs this has the history; and of a binary from elsewhere this tree's commit says nothing.
    let commit = match std::env::var_os("TESTBED_BIN") {
        Some(_) => "a binary from elsewhere".to_owned(),
        None => commit().unwrap_or_default(),
    };
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    // What a flush to the disk takes decides much of what servers do.
    let disk = cache::run(Command::new("stat").args(["-f", "-c", "%T"]).arg(std::env::temp_dir()))?;
    let verdict = if finding.breaches.is_empty() { "**passed**" } else { "**FAILED**" };
    let mut text = format!(
        "{}\n\n{verdict} · {} · {} ({}) · {cores} cores, data on {} · {} s\n\n{}\n",
        proof.shows,
        date.trim(),
        version.trim(),
        commit.trim(),
        disk.trim(),
        took.as_secs(),
        finding.figures.trim_end()
    );
    if !finding.breaches.is_empty() {
        text.push_str("\nBroken promises:\n\n");
        for breach in &finding.breaches {
            let _ = writeln!(text, "- {breach}");
        }
    }
    Ok(text)
}

/// The document with one section replaced or added.
fn replaced(old: &str, order: &[&str], name: &str, section: &str) -> String {
    let sections: Vec<(&str, &str)> =
        old.split("\n## ").skip(1).filter_map(|part| part.split_once('\n')).collect();
    let mut text = HEAD.to_owned();
    for &known in order {
        let kept = sections.iter().find(|(heading, _)| *heading == known).map(|(_, body)| *body);
        let body = if known == name { Some(section) } else { kept };
        if let Some(body) = body {
            let _ = write!(text, "\n## {known}\n\n{}\n", body.trim());
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_section_is_replaced_and_the_others_stay() {
        let order = ["one", "two", "three"];
        let mut text = replaced("", &order, "three", "III");
        text = replaced(&text, &order, "one", "I\n\n| a |\n");
        text = replaced(&text, &order, "two", "II");
        text = replaced(&text, &order, "three", "3");
        assert_eq!(text, format!("{HEAD}\n## one\n\nI\n\n| a |\n\n## two\n\nII\n\n## three\n\n3\n"));
        assert_eq!(replaced(&text, &["three"], "three", "3"), format!("{HEAD}\n## three\n\n3\n"));
    }
}
