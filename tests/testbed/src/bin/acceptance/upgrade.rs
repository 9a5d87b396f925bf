//! A rolling upgrade with clients that were there before it, came in the middle, and came after it.

use std::fmt::Write as _;
use std::net::SocketAddr;

use testbed::scene::unbalanced;
use testbed::told::{Offered, Told};
use testbed::{Error, KafkaVersion, Library, Load, ProducerSpec, Result, Roll, Scene, Spec, cache, wait};

use super::{Bench, Finding, PATIENCE, rolls};

/// Clients that came at one time.
struct Cohort {
    when: &'static str,
    load: Load,
    told: Told,
}

impl Cohort {
    fn start(scene: &mut Scene, when: &'static str, producers: &[ProducerSpec]) -> Result<Self> {
        let through = scene.front.listen.to_string();
        let doors = scene.cluster.ids().into_iter().map(|id| scene.front.broker(id));
        let all: Vec<SocketAddr> = std::iter::once(scene.front.listen).chain(doors).collect();
        // In this order: what the raw clients are told is what there is at this moment.
        let told = Told::start(&all)?;
        let load = Load::start(&mut scene.cluster, when, &through, producers)?;
        Ok(Self { when, load, told })
    }

    fn go_on(&self) -> Result<()> {
        self.load.go_on()?;
        let answers = self.told.answers();
        let gone_on =
            wait::until("answers to the raw clients", PATIENCE, || self.told.answers() > answers + 500);
        gone_on.map_err(|error| Error::program("raw clients", format!("{error}: {:?}", self.told.wrong())))
    }
}

pub(super) fn run(bench: &Bench) -> Result<Finding> {
    let quiet = "version_quiet = \"5s\"";
    let mut scene = Scene::with(Spec::new(KafkaVersion::V3_9_2), &bench.binary, "", quiet)?;
    let newer = |id: &str| Load::java(id).library(Library::Java(cache::CLIENTS_4_3_1));
    let mut cohorts = vec![Cohort::start(&mut scene, "before", &rolls::producers(bench))?];
    let mut finding = Finding::default();
    let dropped = dropped(&scene)?;
    if !dropped.is_empty() {
        finding.breaches.push(format!("clients speak what the upgrade drops: {dropped:?}"));
    }
    for id in scene.cluster.ids() {
        bench.say(&format!("broker {id} becomes 4.3.1"));
        scene.cluster.set_version(id, KafkaVersion::V4_3_1)?;
        restart(&mut scene, &mut cohorts, id)?;
        if id == 1 {
            cohorts.push(Cohort::start(&mut scene, "during", &[newer("java-4.3.1")])?);
        }
    }
    let level = scene.cluster.admin().finalize_upgrade()?;
    bench.say(&format!("metadata.version {level}"));
    scene.cluster.admin().elect_preferred()?;
    for cohort in &cohorts {
        cohort.go_on()?;
    }
    // All brokers speak more by now, and what new clients are offered follows.
    wait::until("the pin to move up", PATIENCE, || pin_moved_up(&scene, &cohorts))?;
    bench.say("new clients are offered what 4.3.1 speaks");
    cohorts.push(Cohort::start(&mut scene, "after", &[newer("java-4.3.1-after")])?);
    finding.breaches.extend(breaches_of_the_pin(&cohorts));
    for id in scene.cluster.ids() {
        bench.say(&format!("broker {id} restarts once more"));
        restart(&mut scene, &mut cohorts, id)?;
    }

    // 3.9 ends at level 21.
    if level <= 21 {
        finding.breaches.push(format!("metadata.version was raised to {level} only"));
    }
    let _ = writeln!(
        finding.figures,
        "Kafka 3.9.2 to 4.3.1, one broker after another, then `metadata.version` {level}, then a roll of the new version. Of each time \
         there are clients of libraries, which negotiate, and raw ones on four connections, which ask once what versions there are and use the \
         newest and the oldest of them for as long as they live.\n"
    );
    for Cohort { when, load, told } in cohorts {
        let heard = told.stop()?;
        let report = load.finish(&mut scene.cluster)?;
        let mut breaches = report.breaches_of_planned();
        breaches.extend(heard.wrong.iter().cloned());
        finding.breaches.extend(breaches.into_iter().map(|breach| format!("{when}: {breach}")));
        let versions: usize = heard.asked.values().map(std::collections::BTreeSet::len).sum();
        let _ = writeln!(
            finding.figures,
            "Came {when} it: raw clients: {} answers of {} APIs at {versions} versions, {} `UNSUPPORTED_VERSION` or lost connections.\n\n{}",
            heard.answers,
            heard.asked.len(),
            heard.wrong.len(),
            rolls::table(&report),
        );
    }
    let told_so =
        scene.sidecar.metric_sum("evenkeel_client_errors_total", &["code=\"UNSUPPORTED_VERSION\""])?;
    let _ = writeln!(finding.figures, "`UNSUPPORTED_VERSION` that Evenkeel gave to any client: {told_so}.");
    if told_so > 0.5 {
        finding.breaches.push(format!("Evenkeel said UNSUPPORTED_VERSION {told_so} times"));
    }
    finding.breaches.extend(unbalanced(&scene.sidecar, &scene.cluster.ids())?);
    Ok(finding)
}

/// The clients that Evenkeel says an upgrade to Kafka 4 would break.
fn dropped(scene: &Scene) -> Result<Vec<serde_json::Value>> {
    let (_, status) = scene.sidecar.get("/v1/clusters/bed")?;
    let status: serde_json::Value =
        serde_json::from_str(&status).map_err(|error| Error::program("status", error.to_string()))?;
    let dropped = status.get("dropped_versions").and_then(serde_json::Value::as_array);
    dropped.cloned().ok_or_else(|| Error::program("status", format!("no dropped_versions in {status}")))
}

/// Whether a client that connects now is offered something newer than the last ones were.
fn pin_moved_up(scene: &Scene, cohorts: &[Cohort]) -> bool {
    let before = cohorts.last().map(|cohort| cohort.told.offered()).unwrap_or_default();
    Told::start(&[scene.front.listen]).is_ok_and(|told| newer(&told.offered(), &before))
}

/// Whether some API of `one` has a newer version than in `other`.
fn newer(one: &Offered, other: &Offered) -> bool {
    one.iter().any(|(key, (_, newest))| other.get(key).is_none_or(|(_, known)| newest > known))
}

/// Clients that come in the middle are offered nothing that those before weren't, and those that come after it are.
fn breaches_of_the_pin(cohorts: &[Cohort]) -> Vec<String> {
    let [before, during, after] = cohorts else { return vec![format!("{} times of coming", cohorts.len())] };
    let [before, during, after] = [before, during, after].map(|cohort| cohort.told.offered());
    let narrower = during.iter().all(|(key, (oldest, newest))| {
        before.get(key).is_some_and(|(known, highest)| oldest >= known && newest <= highest)
    });
    let mut breaches = Vec::new();
    if !narrower || during == before {
        breaches.push(format!("in the middle clients were offered {during:?}, before that {before:?}"));
    }
    if !newer(&after, &before) {
        breaches.push(format!("after it clients were offered {after:?}, before it {before:?}"));
    }
    breaches
}

fn restart(scene: &mut Scene, cohorts: &mut [Cohort], id: u8) -> Result<()> {
    for cohort in cohorts.iter_mut() {
        cohort.load.note_stop();
    }
    scene.cluster.restart(id, Roll::Soft)?;
    cohorts.iter().try_for_each(Cohort::go_on)
}
