//! A roll of thirty sidecars' cluster by the driver: directly, and through the fan-out.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use testbed::{Driven, drive};

use crate::bed::{Bed, binary};

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
