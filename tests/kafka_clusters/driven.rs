//! `evenkeel upgrade` takes a cluster from 3.9.2 to 4.3.1 through two sidecars; it is killed once on the way.

use std::time::Duration;

use testbed::{KafkaVersion, Load, Scene, Sidecar, Spec, drive};

use crate::{assert_planned, binary};

#[test]
fn the_driver_upgrades_a_cluster_and_is_killed_once() {
    let mut scene = Scene::start(Spec::new(KafkaVersion::V3_9_2).fast(), binary()).unwrap();
    let bootstrap = scene.cluster.bootstrap();
    let (mut other, front) = Sidecar::kafka(binary(), &bootstrap, "").unwrap();
    other.wait_ready(Duration::from_secs(60)).unwrap();
    let through = [scene.front.listen.to_string(), front.listen.to_string()];
    let producers = [Load::java("one").set("batch.size", "0"), Load::java("two").set("acks", "1")];
    let load = Load::through(&mut scene.cluster, "driven", &through, &producers).unwrap();
    let list = [scene.sidecar.admin(), other.admin()].map(|admin| format!("\"{admin}\"")).join(", ");
    let brokers: Vec<String> = bootstrap.split(',').map(|broker| format!("{broker:?}")).collect();
    let plan = format!(
        "plan_id = \"to-4.3\"\ncluster = \"bed\"\nprotocol = \"kafka\"\nfrom = \"3.9.2\"\nto = \"4.3.1\"\n\
         stable_s = 1\nmove_leaders = true\nraise_features = true\nmembers = [{{ id = \"1\" }}, {{ id = \"2\" }}, {{ id = \"3\" }}]\n\
         [sidecars]\nlist = [{list}]\n[kafka]\nbootstrap = [{}]\n[bounds]\ngate_s = 120\n",
        brokers.join(", ")
    );
    let folder = scene.cluster.folder().join("driver");
    let cluster = &mut scene.cluster;
    let driven = drive(binary(), &folder, &plan, (11, 1, Duration::from_secs(15)), |member| {
        let id = member.parse().unwrap();
        assert!(cluster.admin().feature("metadata.version")? <= 21, "features are raised last");
        cluster.set_version(id, KafkaVersion::V4_3_1)?;
        cluster.stop(id)?;
        cluster.start_node(id)
    });
    let driven = driven.unwrap();
    println!("{}\nkilled {} times, took {:?}", driven.log, driven.kills, driven.took);
    let members: Vec<String> = (1..=3).map(|id| format!("{id}")).collect();
    assert_eq!(driven.breaches(&members), Vec::<String>::new());
    assert_eq!(driven.kills, 1);
    // 3.9 ends at level 21.
    assert!(scene.cluster.admin().feature("metadata.version").unwrap() > 21);
    scene.cluster.wait_ready().unwrap();
    load.go_on().unwrap();
    // The replica orders from before are there again: each broker is preferred for two partitions.
    let topic = scene.cluster.admin().topic("driven").unwrap();
    let preferred = |id: i32| topic.iter().filter(|p| p.replicas.first() == Some(&id)).count();
    assert_eq!([1, 2, 3].map(preferred), [2; 3], "{topic:?}");
    let report = load.finish(&mut scene.cluster).unwrap();
    assert_planned(&report, &scene.sidecar);
    assert_eq!(report.all.errors, 0, "{:?}", report.all.by_class);
}
