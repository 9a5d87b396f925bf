//! The hook of a fleet: what one order does at all sidecars, and what their answers become.

use hyper::Method;
use serde_json::{Value, json};
use std::time::Duration;

use crate::bed::{Bed, until};

const C: &str = "/v1/clusters/bed";

fn plan(generation: u64) -> Value {
    let members: Vec<Value> =
        simulation::MEMBERS.iter().map(|id| json!({ "id": id, "from": "3.9", "to": "4.3" })).collect();
    json!({ "plan_id": "p", "generation": generation, "members": members, "stable_s": 0 })
}

fn ticket(generation: u64) -> Value {
    json!({ "plan_id": "p", "generation": generation })
}

fn codes(gate: &Value, list: &str) -> Vec<String> {
    gate[list].as_array().unwrap().iter().map(|reason| reason["code"].as_str().unwrap().to_owned()).collect()
}

/// Every field is described, and none is missing.
fn assert_described(document: &Value, schema: &str, value: &Value) {
    let schema = &document["components"]["schemas"][schema];
    for field in value.as_object().unwrap().keys() {
        assert!(
            schema["properties"].get(field).is_some() || schema["additionalProperties"] != false,
            "{field}: {value}"
        );
    }
    for field in schema["required"].as_array().unwrap() {
        assert!(value.get(field.as_str().unwrap()).is_some(), "{field} is missing: {value}");
    }
}

fn phase(bed: &Bed, at: std::net::SocketAddr, member: usize) -> Value {
    bed.get(at, C).1["members"][member]["phase"].clone()
}

#[test]
fn an_order_goes_to_all_and_a_gate_is_open_when_it_is_open_at_all() {
    let bed = Bed::new(5);
    let serve = bed.serve("");
    let (_, document) = bed.get(serve.at, "/v1/openapi.json");
    let (status, told) = bed.ask(serve.at, Method::PUT, &format!("{C}/plan"), &plan(2));
    assert_described(&document, "PlanAnswer", &told);
    assert_eq!((status, &told["result"]), (200, &json!("begun")), "{told}");
    let all = bed.fleet.addresses();
    for at in &all {
        assert_eq!(bed.get(*at, C).1["plan"]["generation"], 2);
    }
    let (_, shown) = bed.get(serve.at, C);
    assert_eq!((&shown["sidecars"]["answering"], &shown["plan"]["plan_id"]), (&json!(5), &json!("p")));
    assert_eq!(shown["clients"], 15);
    assert_described(&document, "Cluster", &shown);
    // Nobody is drained yet: that is all that is missing.
    let (status, gate) = bed.get(serve.at, &format!("{C}/gate?for=stop&member=2"));
    assert_eq!((status, &gate["ok"], &gate["ok_to_drain"]), (200, &json!(false), &json!(true)), "{gate}");
    assert_eq!(
        (codes(&gate, "reasons"), &gate["reasons"][0]["count"]),
        (vec!["not_drained".to_owned()], &json!(5))
    );
    assert_eq!((&gate["plan_id"], &gate["generation"]), (&json!("p"), &json!(2)));
    assert_described(&document, "Gate", &gate);
    assert_described(&document, "Reason", &gate["reasons"][0]);
    let order = json!({ "plan_id": "p", "generation": 2, "wait_s": 60 });
    let (status, told) = bed.ask(serve.at, Method::PUT, &format!("{C}/members/2/drain"), &order);
    assert_eq!((status, &told["phase"], &told["sessions"]), (200, &json!("drained"), &json!(0)), "{told}");
    assert_described(&document, "Drain", &told);
    for at in &all {
        assert_eq!(phase(&bed, *at, 1), "drained");
    }
    let (_, gate) = bed.get(serve.at, &format!("{C}/gate?for=stop&member=2"));
    assert_eq!(gate["ok"], true, "{gate}");
    // One sidecar knows better: its reason closes the gate, and it is named.
    bed.ask(all[3], Method::DELETE, &format!("{C}/members/2/drain"), &ticket(2));
    let (_, gate) = bed.get(serve.at, &format!("{C}/gate?for=stop&member=2"));
    assert_eq!(
        (&gate["ok"], &gate["reasons"][0]["sidecars"]),
        (&json!(false), &json!([all[3].to_string()])),
        "{gate}"
    );
    let (_, gates) = bed.get(serve.at, &format!("{C}/gates"));
    assert_described(&document, "Gates", &gates);
    let stop = gates["gates"]
        .as_array()
        .unwrap()
        .iter()
        .find(|gate| gate["gate"] == "stop" && gate["member"] == "2")
        .unwrap();
    assert_eq!(stop["ok"], false, "{stop}");
    let (status, _) = bed.ask(serve.at, Method::DELETE, &format!("{C}/members/2/drain"), &ticket(2));
    assert_eq!((status, phase(&bed, all[0], 1)), (200, json!("serving")));
    // Stale orders, unknown members and clusters, and what makes no sense: as one sidecar says it.
    for (method, path, body, wanted) in [
        (Method::PUT, "/plan", plan(1), 409),
        (Method::PUT, "/members/2/drain", ticket(1), 409),
        (Method::POST, "/plan/abort", ticket(3), 409),
        (Method::POST, "/plan/finalize", ticket(2), 409),
        (Method::PUT, "/members/9/drain", Value::Null, 404),
        (Method::PUT, "/plan", json!({ "plan_id": "p", "generation": 3, "members": [] }), 400),
        (Method::PUT, "/plan", json!({ "members": 3 }), 400),
        (Method::GET, "/gate?for=stop&member=9", Value::Null, 404),
        (Method::GET, "/gate?for=stop", Value::Null, 400),
        (Method::POST, "/gate?for=stop", Value::Null, 405),
    ] {
        let (status, told) = bed.ask(serve.at, method.clone(), &format!("{C}{path}"), &body);
        assert_eq!((status, &told["status"]), (wanted, &json!(wanted)), "{method} {path}: {told}");
    }
    assert_eq!(bed.get(serve.at, "/v1/clusters/none").0, 404);
    let (status, told) = bed.ask(serve.at, Method::POST, &format!("{C}/plan/abort"), &ticket(2));
    assert_eq!((status, &told["phase"]), (200, &json!("aborted")));
    assert_eq!(bed.get(all[4], C).1["plan"], Value::Null);
    assert_described(&document, "PlanEnd", &told);
}

#[test]
fn a_silent_sidecar_closes_gates_and_the_policy_decides_what_becomes_of_it() {
    let mut bed = Bed::new(3);
    let strict = bed.serve("");
    let plan_text = "dead_sidecars = \"go_on\"\nbounds = { silent_s = 2 }\n";
    assert_eq!(bed.ask(strict.at, Method::PUT, &format!("{C}/plan"), &plan(1)).0, 200);
    let dead = bed.fleet.addresses()[1];
    bed.fleet.kill(dead);
    let gate = format!("{C}/gate?for=stop&member=2");
    until("the gate to name it", || {
        codes(&bed.get(strict.at, &gate).1, "reasons").contains(&"sidecar_silent".to_owned())
    });
    let (status, told) = bed.ask(strict.at, Method::PUT, &format!("{C}/plan"), &plan(1));
    assert_eq!(status, 503, "{told}");
    assert!(told["detail"].as_str().unwrap().contains(&dead.to_string()), "{told}");
    // The list of this one has no dead sidecar any more, so that it is told of it by hand.
    let text = bed.plan(plan_text).replace("list = [", &format!("list = [\"{dead}\", "));
    let path = bed.write("lenient.toml", &text);
    let at = testbed::sidecar::free_addr(std::net::Ipv4Addr::LOCALHOST).unwrap();
    let mut command = crate::bed::evenkeel();
    command.arg("upgrade").arg(path).args(["--serve", "--listen", &at.to_string()]);
    let lenient =
        crate::bed::Serve { child: command.stdout(std::process::Stdio::null()).spawn().unwrap(), at };
    until("it to answer", || std::net::TcpStream::connect(lenient.at).is_ok());
    until("the gate to go on without it", || {
        let (status, gate) = bed.get(lenient.at, &gate);
        status == 200
            && codes(&gate, "costs").contains(&"sidecar_left_out".to_owned())
            && gate["ok_to_drain"] == true
    });
    let (status, told) = bed.ask(lenient.at, Method::PUT, &format!("{C}/plan"), &plan(1));
    assert_eq!(status, 200, "{told}");
    let (_, shown) = bed.get(lenient.at, C);
    assert_eq!(shown["sidecars"]["silent"][0]["left_out"], true, "{shown}");
}

#[test]
fn who_comes_back_without_a_memory_is_told_what_was_ordered() {
    let mut bed = Bed::new(3);
    let serve = bed.serve("");
    assert_eq!(bed.ask(serve.at, Method::PUT, &format!("{C}/plan"), &plan(1)).0, 200);
    let order = json!({ "plan_id": "p", "generation": 1, "wait_s": 60 });
    assert_eq!(bed.ask(serve.at, Method::PUT, &format!("{C}/members/3/drain"), &order).0, 200);
    let again = bed.fleet.addresses()[0];
    bed.runtime.block_on(bed.fleet.revive(again)).unwrap();
    until("it to have the plan and the drain", || {
        let (_, status) = bed.get(again, C);
        status["plan"]["generation"] == 1 && status["members"][2]["phase"] == "drained"
    });
    // The member's turn is over: who comes later must not drain it again.
    bed.runtime.block_on(bed.fleet.cluster.restart("3", "4.3", Duration::from_secs(1)));
    until("all to have it back", || bed.fleet.addresses().iter().all(|at| phase(&bed, *at, 2) == "serving"));
    until("the fan-out to have seen it", || phase(&bed, serve.at, 2) == "serving");
    bed.runtime.block_on(bed.fleet.revive(again)).unwrap();
    until("it to have the plan", || bed.get(again, C).1["plan"]["generation"] == 1);
    let (_, metrics) = bed.get(serve.at, "/metrics");
    let caught_up = |text: &str| {
        text.lines()
            .find_map(|line| line.strip_prefix("evenkeel_fleet_caught_up_total ")?.parse::<u32>().ok())
    };
    assert_eq!(caught_up(metrics.as_str().unwrap()), Some(3), "the plan twice, the drain once");
    assert_eq!(phase(&bed, again, 2), "serving");
    // Another order of the plan reaches one that was started just now, at once.
    bed.runtime.block_on(bed.fleet.revive(again)).unwrap();
    let order = json!({ "plan_id": "p", "generation": 1, "wait_s": 60 });
    let (status, told) = bed.ask(serve.at, Method::PUT, &format!("{C}/members/2/drain"), &order);
    assert_eq!((status, phase(&bed, again, 1)), (200, json!("drained")), "{told}");
}

#[test]
fn wrong_usage_and_a_port_in_use_are_told() {
    let bed = Bed::new(1);
    let run = |text: &str, more: &[&str]| {
        let plan = bed.write("wrong.toml", text);
        crate::bed::evenkeel().arg("upgrade").arg(plan).args(more).output().unwrap()
    };
    let nobody = run("cluster = \"bed\"\nprotocol = \"kafka\"\nsidecars = {}\n", &["--serve"]);
    assert_eq!(nobody.status.code(), Some(2), "{}", crate::bed::text(&nobody));
    assert!(crate::bed::text(&nobody).contains("sidecars: list or dns"));
    assert_eq!(run(&bed.plan(""), &["--serve", "--dry-run"]).status.code(), Some(2));
    assert_eq!(run(&bed.plan(""), &["--listen", "127.0.0.1:0"]).status.code(), Some(2), "without --serve");
    let taken = bed.fleet.addresses()[0].to_string();
    let taken = run(&bed.plan(""), &["--serve", "--listen", &taken]);
    assert_eq!(taken.status.code(), Some(1));
    assert!(crate::bed::text(&taken).contains("--listen: cannot listen on"), "{}", crate::bed::text(&taken));
}
