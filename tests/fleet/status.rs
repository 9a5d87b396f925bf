//! `evenkeel status`, of one sidecar and of a fleet.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use hyper::Method;
use serde_json::{Value, json};

use crate::bed::{Bed, evenkeel, text};

#[test]
fn a_table_json_and_exit_codes() {
    let mut bed = Bed::new(3);
    let all = bed.fleet.addresses();
    let plan = bed.write("fleet.toml", &bed.plan(""));
    let of_all =
        |more: &[&str]| evenkeel().args(["status", "--plan"]).arg(&plan).args(more).output().unwrap();
    let one = evenkeel().args(["status", "--admin", &format!("http://{}", all[0])]).output().unwrap();
    assert_eq!(one.status.code(), Some(0), "{}", text(&one));
    assert!(
        text(&one).starts_with("bed · kafka – · 1 of 1 sidecars answer · 3 connections"),
        "{}",
        text(&one)
    );
    let calm = of_all(&[]);
    assert_eq!(calm.status.code(), Some(0), "{}", text(&calm));
    assert!(
        text(&calm).contains("3 of 3 sidecars answer · 9 connections") && !text(&calm).contains("gate"),
        "{}",
        text(&calm)
    );
    // One member is drained at one of them, under a plan that not all have.
    let order = json!({ "plan_id": "p", "generation": 1, "members": [{ "id": "2" }] });
    for at in &all {
        assert_eq!(bed.ask(*at, Method::PUT, "/v1/clusters/bed/plan", &order).0, 200);
    }
    let drain = json!({ "plan_id": "p", "generation": 1, "wait_s": 60 });
    assert_eq!(bed.ask(all[1], Method::PUT, "/v1/clusters/bed/members/2/drain", &drain).0, 200);
    let moves = of_all(&[]);
    assert_eq!(moves.status.code(), Some(3), "{}", text(&moves));
    for part in
        ["plan p · generation 1 · rolling", "drained 1, serving 2", "gate stop 2: closed", "not_drained: "]
    {
        assert!(text(&moves).contains(part), "{part}\n{}", text(&moves));
    }
    let shown: Value = serde_json::from_slice(&of_all(&["--json"]).stdout).unwrap();
    assert_eq!(shown["clusters"][0]["members"][1]["phases"], json!({ "drained": 1, "serving": 2 }));
    assert!(shown["clusters"][0]["gates"].as_array().unwrap().len() > 4);
    // One of them has lost the plan, and two have different ones: both are told, and gates are closed for it.
    let end = json!({ "plan_id": "p", "generation": 1 });
    assert_eq!(bed.ask(all[0], Method::POST, "/v1/clusters/bed/plan/abort", &end).0, 200);
    let newer = json!({ "plan_id": "p", "generation": 2, "members": [{ "id": "2" }] });
    assert_eq!(bed.ask(all[2], Method::PUT, "/v1/clusters/bed/plan", &newer).0, 200);
    let differ = of_all(&[]);
    let without = format!("! {}: has no plan", all[0]);
    for part in [
        &without,
        "! some have plan p · generation 1",
        "! some have plan p · generation 2",
        "gate finalize: closed",
        "plans_differ: ",
    ] {
        assert!(text(&differ).contains(part), "{part}\n{}", text(&differ));
    }
    bed.fleet.kill(all[2]);
    let silent = of_all(&[]);
    assert_eq!(silent.status.code(), Some(6), "{}", text(&silent));
    assert!(text(&silent).contains(&all[2].to_string()));
    let none = evenkeel().args(["status", "--admin", &all[2].to_string()]).output().unwrap();
    assert_eq!(none.status.code(), Some(1), "{}", text(&none));
    let absent =
        evenkeel().args(["status", "--cluster", "other", "--admin", &all[0].to_string()]).output().unwrap();
    assert_eq!(absent.status.code(), Some(1), "{}", text(&absent));
    assert!(text(&absent).contains("no cluster of the name other"));
    assert_eq!(evenkeel().args(["status", "--admin", "nonsense"]).output().unwrap().status.code(), Some(2));
    assert_eq!(evenkeel().args(["status", "--dns", "no-port"]).output().unwrap().status.code(), Some(2));
}

#[test]
fn a_watch_tells_what_changes() {
    let bed = Bed::new(2);
    let plan = bed.write("fleet.toml", &bed.plan(""));
    let mut command = evenkeel();
    let child =
        command.args(["status", "--watch", "--json", "--plan"]).arg(plan).stdout(Stdio::piped()).spawn();
    let mut child = child.unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let phase = |line: String| {
        let value: Value = serde_json::from_str(&line).unwrap();
        value["clusters"][0]["members"][2]["phase"].clone()
    };
    assert_eq!(phase(lines.next().unwrap().unwrap()), "serving");
    for at in bed.fleet.addresses() {
        let drain = json!({ "wait_s": 60 });
        assert_eq!(bed.ask(at, Method::PUT, "/v1/clusters/bed/members/3/drain", &drain).0, 200);
    }
    // It looks again by itself; a look may fall into the middle.
    let seen = lines.map(|line| phase(line.unwrap())).find(|phase| phase == "drained");
    assert_eq!(seen, Some(json!("drained")));
    child.kill().unwrap();
    child.wait().unwrap();
}
