//! A roll of thirty sidecars' cluster by the driver: directly, and through the fan-out.

use std::process::Stdio;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use hyper::Method;
use serde_json::{Value, json};
use testbed::{Driven, drive, driven, process};

use crate::bed::{BOUND, Bed, binary, evenkeel, text, until};

const MEMBERS: &str = "plan_id = \"roll\"\nfrom = \"3.9\"\nto = \"4.3\"\nstable_s = 1\nmembers = [{ id = \"1\" }, { id = \"2\" }, { id = \"3\" }]\n\
    bounds = { gate_s = 120, settle_s = 1 }\n";

fn roll(bed: &Bed, plan: &str) -> Driven {
    let cluster = bed.cluster();
    let driven = drive(binary(), &bed.folder, plan, (1, 0, Duration::ZERO), |member| {
        bed.runtime.block_on(cluster.restart(member, "4.3", Duration::from_secs(1)));
        Ok(())
    });
    let driven = driven.unwrap();
    let members: Vec<String> = simulation::MEMBERS.iter().map(|id| (*id).to_owned()).collect();
    assert_eq!(driven.breaches(&members), Vec::<String>::new(), "{}", driven.log);
    let turns: Vec<&str> = driven
        .events
        .iter()
        .filter(|(event, _)| event == "turn")
        .map(|(_, member)| member.as_str())
        .collect();
    assert_eq!(turns, ["2", "3", "1"], "the controller comes last");
    driven
}

#[test]
fn thirty_sidecars_by_the_driver() {
    let bed = Bed::new(30);
    let driven = roll(&bed, &bed.plan(MEMBERS));
    let asked = bed.cluster().gathered.load(Relaxed);
    println!("took {:?}, the cluster was asked {asked} times", driven.took);
}

#[test]
fn thirty_sidecars_by_the_driver_through_the_fan_out() {
    let bed = Bed::new(30);
    let serve = bed.serve("");
    let plan =
        format!("cluster = \"bed\"\nprotocol = \"kafka\"\n{MEMBERS}[sidecars]\nlist = [\"{}\"]\n", serve.at);
    let driven = roll(&bed, &plan);
    println!("took {:?}", driven.took);
    let (_, metrics) = bed.get(serve.at, "/metrics");
    let metrics = metrics.as_str().unwrap().to_owned();
    for line in
        ["evenkeel_fleet_sidecars{state=\"answering\"} 30", "evenkeel_fleet_sidecars{state=\"silent\"} 0"]
    {
        assert!(metrics.contains(line), "{line} is not in\n{metrics}");
    }
}

/// The command at the end fails, then is cut off from its driver, then comes to its end: it is begun once for each try, behind the last
/// member's turn, and sidecars hear of the end behind it.
#[test]
fn the_command_at_the_end_fails_and_then_outlives_its_driver() {
    let bed = Bed::new(3);
    let (cluster, folder) = (bed.cluster(), bed.folder.clone());
    let path = |name: &str| folder.join(name);
    let lines = || std::fs::read_to_string(path("raised")).unwrap_or_default().lines().count();
    let finalize = format!(
        "cd '{}' && echo \"$EVENKEEL_TO of $EVENKEEL_CLUSTER, member <$EVENKEEL_MEMBER>\" >> raised\n\
         [ -e works ] || {{ echo the broker says no; exit 3; }}\n\
         while [ -e works ] && [ ! -e ends ]; do sleep 0.05; done",
        folder.display()
    );
    let plan = bed.plan(&format!("finalize_command = {}\nttl_s = 10\n{MEMBERS}", Value::String(finalize)));
    let versions = |cluster: &simulation::Cluster, member: &str| {
        assert_eq!(lines(), 0, "it is begun before {member} had its turn");
        bed.runtime.block_on(cluster.restart(member, "4.3", Duration::from_secs(1)));
        Ok(())
    };
    let failed = drive(binary(), &folder, &plan, (1, 0, Duration::ZERO), |member| versions(&cluster, member));
    let said = failed.unwrap_err().to_string();
    assert!(
        said.contains("the command for finalize ended with 3. It said last: the broker says no"),
        "{said}"
    );
    assert_eq!((lines(), std::fs::read_to_string(path("asked")).unwrap().lines().count()), (1, 3));
    let phase = |at| {
        let (_, status) = bed.get(at, "/v1/clusters/bed");
        (status["plan"]["plan_id"].clone(), status["last_plan"]["phase"].clone())
    };
    for at in bed.fleet.addresses() {
        assert_eq!(phase(at), (json!("roll"), Value::Null), "its plan lives");
    }

    std::fs::write(path("works"), "").unwrap();
    let mut first = driven::begin(binary(), &folder, &plan).unwrap();
    until("the command to be begun again", || lines() == 2);
    first.kill();
    let mut second = driven::begin(binary(), &folder, &plan).unwrap();
    let started = || {
        let journal = std::fs::read_to_string(path("plan.toml.journal")).unwrap();
        journal.matches("\"event\":\"started\"").count()
    };
    until("another driver to be at work", || started() == 3);
    for at in bed.fleet.addresses() {
        assert_eq!(phase(at), (json!("roll"), Value::Null), "it runs still");
        // Nor is it over because somebody with an old ticket says so.
        let ticket = json!({ "plan_id": "roll", "generation": 0 });
        assert_eq!(bed.ask(at, Method::POST, "/v1/clusters/bed/plan/finalize", &ticket).0, 409);
    }
    // It takes longer than the plan would live without a word.
    let begun = Instant::now();
    until("the plan to have lived for longer than it does by itself", || {
        for at in bed.fleet.addresses() {
            assert_eq!(phase(at), (json!("roll"), Value::Null), "after {:?}", begun.elapsed());
        }
        begun.elapsed() > Duration::from_secs(11)
    });
    std::fs::write(path("ends"), "").unwrap();
    let ended = second.wait(BOUND).unwrap();
    assert_eq!(ended.code(), Some(0), "{}", process::tail(&path("driver.log"), 20));
    for at in bed.fleet.addresses() {
        assert_eq!(phase(at), (Value::Null, json!("finalized")));
    }
    let raised = std::fs::read_to_string(path("raised")).unwrap();
    assert_eq!(raised, "4.3 of bed, member <>\n".repeat(2));
}

#[test]
fn a_dry_run_tries_the_plan_and_leaves_nothing_of_it() {
    let bed = Bed::new(2);
    let plan = bed.write("dry.toml", &bed.plan(&format!("command = \"false\"\n{MEMBERS}")));
    let run = || evenkeel().arg("upgrade").arg(&plan).arg("--dry-run").output().unwrap();
    let said = run();
    assert_eq!(said.status.code(), Some(0), "{}", text(&said));
    // Only a plan says that others are left that the controller waits for.
    for part in ["2: 3.9 to 4.3", "gate stop: it could be drained now", "gate stop: controller_comes_last: "]
    {
        assert!(text(&said).contains(part), "{part}\n{}", text(&said));
    }
    assert!(!text(&said).contains("facts_unknown"), "{}", text(&said));
    for at in bed.fleet.addresses() {
        let (_, status) = bed.get(at, "/v1/clusters/bed");
        assert!(status["plan"].is_null() && status["last_plan"].is_null(), "{status}");
    }
    assert!(!bed.folder.join("dry.toml.journal").exists());
    // Somebody else's plan is left alone, and said.
    let other = json!({ "plan_id": "other", "generation": 5, "members": [{ "id": "1" }] });
    for at in bed.fleet.addresses() {
        assert_eq!(bed.ask(at, Method::PUT, "/v1/clusters/bed/plan", &other).0, 200);
    }
    let said = run();
    assert!(text(&said).contains("plan other lives there"), "{}", text(&said));
    for at in bed.fleet.addresses() {
        assert_eq!(bed.get(at, "/v1/clusters/bed").1["plan"]["plan_id"], "other");
    }
}

#[test]
fn a_dry_run_that_nobody_reads_ends_in_order() {
    let bed = Bed::new(1);
    let plan = bed.write("dry.toml", &bed.plan(&format!("command = \"false\"\n{MEMBERS}")));
    let mut child =
        evenkeel().arg("upgrade").arg(&plan).arg("--dry-run").stdout(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    assert_eq!(child.wait().unwrap().code(), Some(0));
    let (_, status) = bed.get(bed.fleet.addresses()[0], "/v1/clusters/bed");
    assert!(status["plan"].is_null(), "what was tried is taken back: {status}");
}

/// In the middle of a roll a sidecar that was started anew is its driver's to tell, and what has ended stays known.
#[test]
fn a_dry_run_changes_nothing_of_a_roll_that_is_under_way_or_has_just_ended() {
    let bed = Bed::new(2);
    let plan = bed.write("dry.toml", &bed.plan(&format!("command = \"false\"\n{MEMBERS}")));
    let run = || evenkeel().arg("upgrade").arg(&plan).arg("--dry-run").output().unwrap();
    let (has, lacks) = (bed.fleet.addresses()[0], bed.fleet.addresses()[1]);
    let all = json!([{ "id": "1" }, { "id": "2" }, { "id": "3" }]);
    let put = |at, plan_id: &str, generation: u64| {
        let order = json!({ "plan_id": plan_id, "generation": generation, "members": all });
        bed.ask(at, Method::PUT, "/v1/clusters/bed/plan", &order).0
    };
    assert_eq!(put(has, "roll", 1), 200);
    let said = run();
    assert_eq!(said.status.code(), Some(0), "{}", text(&said));
    let wanted = format!("{lacks}: no plan lives there, but elsewhere");
    assert!(text(&said).contains(&wanted), "{}", text(&said));
    assert!(text(&said).contains("controller_comes_last"), "where it lives it is asked: {}", text(&said));
    assert!(!text(&said).contains("facts_unknown"), "{}", text(&said));
    assert_eq!(bed.get(has, "/v1/clusters/bed").1["plan"]["plan_id"], "roll");
    assert!(bed.get(lacks, "/v1/clusters/bed").1["plan"].is_null());

    // One driver's plan has ended at one sidecar, and another plan is tried.
    let ticket = json!({ "plan_id": "roll", "generation": 1 });
    assert_eq!(bed.ask(has, Method::POST, "/v1/clusters/bed/plan/abort", &ticket).0, 200);
    let before = bed.get(has, "/v1/clusters/bed").1["last_plan"].clone();
    assert_eq!(before, json!({ "plan_id": "roll", "generation": 1, "phase": "aborted" }));
    assert_eq!(run().status.code(), Some(0));
    let (_, status) = bed.get(has, "/v1/clusters/bed");
    assert!(status["plan"].is_null() && status["last_plan"] == before, "{status}");

    // A dry run that is killed, or goes on, is in no driver's way; nor is a driver's plan there for another's.
    let tried = json!({ "plan_id": "next.dry-17", "generation": 7, "members": all, "dry_run": true });
    let order = |plan: &Value| bed.ask(has, Method::PUT, "/v1/clusters/bed/plan", plan);
    assert_eq!(order(&tried).0, 200);
    assert_eq!(put(has, "roll", 2), 200);
    let (status, why) = order(&tried);
    assert!(status == 409 && why.to_string().contains("a dry run waits"), "{status} {why}");
}

#[test]
fn what_the_plan_names_and_is_not_there_is_wrong_usage() {
    let bed = Bed::new(1);
    for (name, more) in [
        ("token", "token_file = \"/nowhere/token\"\n"),
        ("ca", "ca = \"/nowhere/ca.pem\"\n"),
        ("config", "[kafka]\nbootstrap = [\"b:1\"]\nconfig = \"/nowhere/evenkeel.toml\"\n"),
    ] {
        let text_of = bed.plan(&format!("command = \"false\"\n{MEMBERS}")) + more;
        let plan = bed.write(&format!("{name}.toml"), &text_of);
        let said = evenkeel().arg("upgrade").arg(&plan).output().unwrap();
        assert_eq!(said.status.code(), Some(2), "{name}: {}", text(&said));
        assert!(text(&said).contains("/nowhere/"), "{}", text(&said));
    }
    let status = bed.write("s.toml", &(bed.plan("") + "token_file = \"/nowhere/token\"\n"));
    let said = evenkeel().arg("status").arg("--plan").arg(&status).output().unwrap();
    assert_eq!(said.status.code(), Some(2), "{}", text(&said));
}
