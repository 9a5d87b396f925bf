//! `deploy/roll.sh` before it asks anybody. On real ensembles it is tried by `tests/zookeeper_clusters` and the long proofs.

use std::process::{Command, Output};

fn roll(words: &[&str]) -> Output {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/roll.sh");
    Command::new("bash").arg(script).args(words).output().unwrap()
}

#[test]
fn wrong_usage_is_refused_before_anything_is_done() {
    let good = ["--cluster", "c", "--plan", "p", "--members", "1,2", "--command", "true"];
    let cases: &[(&[&str], &str)] = &[
        (&["--nonsense"], "--nonsense is no option"),
        (&["--cluster"], "--cluster needs a value"),
        (&["--stable", "soon"], "--stable: a number is taken"),
        (&["--members", "1,a b"], "--members: letters, digits"),
        (&["--members", "1,\"2"], "--members: letters, digits"),
        (&["--plan", ""], "--plan: letters, digits"),
        (&["--pin", "high"], "--pin: lowest or off"),
        (&["--command", ""], "--command is missing"),
        (&["--generation", "00"], "--generation: 1 or more"),
    ];
    for (words, why) in cases {
        let output = roll(&[&good[..], words].concat());
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{words:?}: {said}");
        assert!(said.contains(why), "{words:?}: {said}");
    }
}

#[test]
fn help_names_every_option_that_is_taken() {
    let output = roll(&["--help"]);
    assert!(output.status.success());
    let help = String::from_utf8_lossy(&output.stdout).into_owned();
    let text = crate::read("deploy/roll.sh");
    let parsing = text.split("while [ $# -gt 0 ]; do").nth(1).unwrap().split("\ndone").next().unwrap();
    let words = parsing.split(|c: char| c.is_whitespace() || ")|\":".contains(c));
    let options: Vec<&str> = words.filter(|word| word.starts_with("--") && word.len() > 2).collect();
    assert!(options.len() > 15, "{options:?}");
    for option in options.iter().filter(|option| **option != "--help") {
        assert!(help.contains(option), "{option}");
    }
}

#[test]
fn a_sidecar_that_is_not_there_is_named() {
    // Nobody listens on port 1 of this host.
    let output = roll(&[
        "--cluster",
        "c",
        "--plan",
        "p",
        "--members",
        "1",
        "--command",
        "true",
        "--sidecars",
        "http://127.0.0.1:1",
    ]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("http://127.0.0.1:1"), "{said}");
}
