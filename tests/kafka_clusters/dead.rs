//! Who orders dies, and who is ordered: a driver is killed in the middle of a member's turn and does not come back, and a sidecar is. All of
//! them are real processes, and so are the clients.

#![allow(clippy::indexing_slicing, reason = "a test says what it expects")]

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use testbed::{KafkaVersion, Load, Roll, Scene, Sidecar, Spec, drive, driven, process, wait};

use crate::{assert_planned, binary};

const CLUSTER: &str = "/v1/clusters/bed";
const PATIENCE: Duration = Duration::from_secs(120);
/// Of the plan: the least that is taken.
const TTL: Duration = Duration::from_secs(10);
/// For so long a sidecar may be silent.
const SILENT: Duration = Duration::from_secs(4);

fn status(sidecar: &Sidecar) -> Value {
    sidecar.order("GET", CLUSTER, &Value::Null).unwrap().1
}

fn phases(status: &Value) -> Vec<&str> {
    let members = status["members"].as_array().unwrap();
    members.iter().map(|member| member["phase"].as_str().unwrap()).collect()
}

/// Whether an order is refused because of its ticket, and says so.
fn is_stale(sidecar: &Sidecar, method: &str, path: &str, order: &Value) -> bool {
    let (status, answer) = sidecar.order(method, &format!("{CLUSTER}{path}"), order).unwrap();
    let detail = answer["detail"].as_str().unwrap_or_default();
    assert!(detail.contains('2') && detail.contains('1'), "it names both generations: {answer}");
    status == 409
}

#[test]
fn a_driver_dies_for_good_and_then_a_sidecar() {
    let mut scene = Scene::start(Spec::new(KafkaVersion::V3_9_2).fast(), binary()).unwrap();
    // Nobody's client is behind this one.
    let (mut mortal, _) = Sidecar::kafka(binary(), &scene.cluster.bootstrap(), "").unwrap();
    mortal.wait_ready(PATIENCE).unwrap();
    let through = scene.front.listen.to_string();
    let producers = [Load::java("one").set("batch.size", "0")];
    let load = Load::start(&mut scene.cluster, "left", &through, &producers).unwrap();
    let plan = |dead: &str| {
        format!(
            "plan_id = \"left\"\ngeneration = 2\ncluster = \"bed\"\nprotocol = \"kafka\"\nstable_s = 1\nttl_s = {}\n\
             dead_sidecars = \"{dead}\"\nmembers = [{{ id = \"1\" }}, {{ id = \"2\" }}, {{ id = \"3\" }}]\n\
             [sidecars]\nlist = [\"{}\", \"{}\"]\n[bounds]\ngate_s = 120\nsettle_s = 1\nsilent_s = {}\n",
            TTL.as_secs(),
            scene.sidecar.admin(),
            mortal.admin(),
            SILENT.as_secs()
        )
    };
    let (stop, go_on) = (plan("stop"), plan("go_on"));
    let folder = scene.cluster.folder().join("driver");
    let asked = folder.join("asked");

    // It has drained the first member at both, its command has begun, and it renews the plan meanwhile.
    let mut driver = driven::begin(binary(), &folder, &stop).unwrap();
    wait::until("a command", PATIENCE, || asked.exists()).unwrap();
    for sidecar in [&scene.sidecar, &mortal] {
        assert!(phases(&status(sidecar)).contains(&"drained"), "{:#}", status(sidecar));
        let ticket = json!({ "plan_id": "left", "generation": 1 });
        let earlier = json!({ "plan_id": "left", "generation": 1, "members": [{ "id": "1" }] });
        for (method, path, order) in [
            ("PUT", "/plan", &earlier),
            ("PUT", "/members/3/drain", &ticket),
            ("DELETE", "/members/1/drain", &ticket),
            ("POST", "/plan/abort", &ticket),
            ("POST", "/plan/finalize", &ticket),
        ] {
            assert!(is_stale(sidecar, method, path, order), "{method} {path}");
        }
        let after = status(sidecar);
        assert!(after["plan"]["generation"] == 2 && phases(&after).contains(&"drained"), "{after:#}");
    }
    driver.kill();
    let killed = Instant::now();

    // Nobody speaks for it any more. The plan ends with its time to live, and with it the drain: clients use that member again.
    for sidecar in [&scene.sidecar, &mortal] {
        wait::until("the end of a plan", PATIENCE, || {
            let status = status(sidecar);
            status["plan"].is_null() && phases(&status) == ["serving"; 3]
        })
        .unwrap();
        let last = status(sidecar)["last_plan"].clone();
        assert_eq!((&last["generation"], &last["phase"]), (&json!(2), &json!("expired")), "{last}");
    }
    println!("the plan ended {:?} after its driver", killed.elapsed());
    assert!(killed.elapsed() < TTL + Duration::from_secs(5), "{:?}", killed.elapsed());
    load.go_on_everywhere().unwrap();

    // The next driver sees the command to its end. One sidecar is dead: it waits for as long as the plan says, names it and stops.
    mortal.kill();
    let started = Instant::now();
    let mut driver = driven::begin(binary(), &folder, &stop).unwrap();
    let (first, command) = driven::asked(&folder, 0).unwrap();
    scene.cluster.restart(first.parse().unwrap(), Roll::Soft).unwrap();
    driven::tell(&folder, &command, 0).unwrap();
    let ended = driver.wait(PATIENCE).unwrap();
    assert!(started.elapsed() >= SILENT, "{:?}", started.elapsed());
    let said = process::tail(&folder.join("driver.log"), 3);
    assert_eq!(ended.code(), Some(6), "{said}");
    assert!(said.contains(&format!("sidecar {}", mortal.admin())), "it is named: {said}");

    // With the other policy it goes on without it to the end.
    let cluster = &mut scene.cluster;
    let rolled = drive(binary(), &folder, &go_on, (1, 0, Duration::ZERO), |member| {
        let id = member.parse().unwrap();
        cluster.stop(id)?;
        cluster.start_node(id)
    });
    let rolled = rolled.unwrap();
    println!("{}", rolled.log);
    let others: Vec<String> = (1..=3).map(|id| format!("{id}")).filter(|id| *id != first).collect();
    assert_eq!(rolled.breaches(&others), Vec::<String>::new(), "{}", rolled.log);
    assert!(!rolled.restarts.contains_key(&first), "{first} was restarted again: {}", rolled.log);
    assert_eq!(rolled.events.iter().filter(|(event, _)| event == "gone_on_without").count(), 1);
    assert!(rolled.log.contains(&mortal.admin().to_string()), "{}", rolled.log);
    scene.cluster.wait_ready().unwrap();
    load.go_on_everywhere().unwrap();
    let report = load.finish(&mut scene.cluster).unwrap();
    assert_planned(&report, &scene.sidecar);
    assert_eq!(report.all.errors, 0, "{:?}", report.all.by_class);
}
