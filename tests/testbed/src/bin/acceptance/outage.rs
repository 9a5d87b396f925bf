//! An outage that lasts longer than anything is held: two of three brokers freeze, so that nothing can be written safely and
//! no leader elected.

use std::fmt::Write as _;
use std::time::Duration;

use testbed::scene::unbalanced;
use testbed::{KafkaVersion, Load, ProducerSpec, Result, Scene, Spec};

use super::{Bench, Finding, rolls};

/// How often it happens.
const TIMES: usize = 2;
/// Longer than the hold's bound (20 s), than what the clients wait for an answer (30 s) and than their produce requests'
/// own time-out.
const LASTS: Duration = Duration::from_secs(50);

pub(super) fn run(bench: &Bench) -> Result<Finding> {
    let mut scene = Scene::start(Spec::new(KafkaVersion::V3_9_2), &bench.binary)?;
    let through = scene.front.listen.to_string();
    let direct = scene.cluster.bootstrap();
    let mut loads = vec![
        Load::start(&mut scene.cluster, "through", &through, &producers(bench, ""))?,
        Load::start(&mut scene.cluster, "direct", &direct, &producers(bench, "-direct"))?,
    ];
    for time in 1..=TIMES {
        bench.say(&format!("brokers 2 and 3 freeze for {LASTS:?}, {time} of {TIMES}"));
        loads.iter_mut().for_each(Load::note_stop);
        for id in [2, 3] {
            scene.cluster.freeze(id)?;
        }
        std::thread::sleep(LASTS);
        for id in [2, 3] {
            scene.cluster.thaw(id)?;
        }
        scene.cluster.wait_ready()?;
        for load in &loads {
            load.go_on_everywhere()?;
        }
        scene.cluster.admin().elect_preferred()?;
    }
    let mut finding = Finding::default();
    for load in loads {
        let topic = load.topic().to_owned();
        let report = load.finish(&mut scene.cluster)?;
        let _ = writeln!(
            finding.figures,
            "{}:\n",
            if topic == "direct" { "Directly" } else { "Through Evenkeel" }
        );
        if topic == "direct" {
            finding.figures.push_str(&rolls::table(&report));
        } else {
            finding.figures.push_str(&rolls::figures(&report, &scene)?);
            finding.figures.push('\n');
            finding.breaches.extend(report.breaches());
        }
    }
    finding.breaches.extend(unbalanced(&scene.sidecar, &scene.cluster.ids())?);
    Ok(finding)
}

fn producers(bench: &Bench, suffix: &str) -> Vec<ProducerSpec> {
    let mut all = rolls::producers(bench);
    for spec in &mut all {
        spec.id.push_str(suffix);
        spec.rate = 50.0;
    }
    all
}
