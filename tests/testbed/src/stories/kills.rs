//! Brokers are killed one after another under load, and each time it is measured what the kill cost a client that does nothing
//! about it behind Evenkeel, and what it would have cost the best client that there could be.

use std::path::Path;
use std::time::Duration;

use crate::ideal::{Writer, Writing, stall};
use crate::judge::{History, Verdict};
use crate::scene::{PARTITIONS, is, micros};
use crate::{Load, ProducerSpec, Report, Result, Roll, Scene, Spec, judge_producers, wait};

const PATIENCE: Duration = Duration::from_secs(120);
/// The topic of the two writers.
const TOPIC: &str = "stalls";

/// A kill.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kill {
    /// Who.
    pub broker: u8,
    /// The longest stall of a partition for the ideal writer, in microseconds.
    pub ideal_us: i64,
    /// The same for the plain writer through Evenkeel.
    pub plain_us: i64,
}

impl Kill {
    /// What the plain writer waited longer, in microseconds; negative when it was served sooner.
    pub fn share_us(&self) -> i64 {
        self.plain_us - self.ideal_us
    }
}

/// What happened.
#[derive(Debug)]
pub struct Kills {
    /// Each kill, in order.
    pub kills: Vec<Kill>,
    /// The judgement on the load, if there was one.
    pub report: Option<Report>,
    /// The judgement on the two writers.
    pub writers: [Verdict; 2],
    /// The cluster and the sidecar; all clients have ended.
    pub scene: Scene,
}

/// Kills `count` brokers, in turn, each when the cluster is whole again and each broker leads some partitions. `producers` are
/// the load beside the two writers; without any there is no load. `say` hears of each kill.
pub fn kills(
    spec: Spec,
    binary: &Path,
    producers: &[ProducerSpec],
    count: usize,
    mut say: impl FnMut(&str),
) -> Result<Kills> {
    let mut scene = Scene::start(spec, binary)?;
    let through = scene.front.listen.to_string();
    let mut load = match producers {
        [] => None,
        some => Some(Load::start(&mut scene.cluster, "killed", &through, some)?),
    };
    scene.cluster.create_topic(TOPIC, PARTITIONS, 3, &[])?;
    let ids = scene.cluster.ids();
    let brokers = ids.iter().map(|&id| scene.cluster.addr(id)).collect::<Result<Vec<_>>>()?;
    let ideal = Writing::start(&Writer::Ideal(brokers), "ideal", TOPIC, PARTITIONS)?;
    let plain = Writing::start(&Writer::Plain(scene.front.listen), "plain", TOPIC, PARTITIONS)?;
    // Brokers that have just started are slow, and a client that sends each record by itself would begin with a backlog.
    if let Some(load) = &load {
        load.go_on()?;
        wait::poll("nothing held before the first kill", PATIENCE, Duration::from_millis(200), || {
            let held = scene.sidecar.metric_sum("evenkeel_hold_requests", &[])?;
            Ok(is(held, 0.0).then_some(()))
        })?;
    }
    let mut at = Vec::new();
    for (turn, &id) in (1..=count).zip(ids.iter().cycle()) {
        elect(&mut scene)?;
        if let Some(load) = &mut load {
            load.go_on()?;
            load.note_stop();
        }
        both_go_on(&ideal, &plain)?;
        say(&format!("kill {turn} of {count}: broker {id}"));
        at.push((id, micros()));
        scene.cluster.restart(id, Roll::Hard)?;
    }
    if let Some(load) = &load {
        load.go_on()?;
    }
    both_go_on(&ideal, &plain)?;
    let end = micros();
    let histories = [ideal.stop()?, plain.stop()?];
    let log = scene.cluster.admin().read_topic(TOPIC)?;
    let report = load.map(|load| load.finish(&mut scene.cluster)).transpose()?;
    let until = at.iter().skip(1).map(|&(_, next)| next).chain([end]);
    let kills = at.iter().zip(until).map(|(&(broker, at), until)| {
        let [ideal_us, plain_us] = histories.each_ref().map(|history| stall(history, at, until));
        Kill { broker, ideal_us, plain_us }
    });
    let kills = kills.collect();
    let verdict = |history: &History| {
        let own = |value: &str| crate::judge::parse(value).is_some_and(|(id, ..)| id == history.producer);
        let part: Vec<_> = log.iter().filter(|r| r.value.as_deref().is_some_and(own)).cloned().collect();
        judge_producers(std::slice::from_ref(history), &part)
    };
    let writers = histories.each_ref().map(verdict);
    Ok(Kills { kills, report, writers, scene })
}

impl Kills {
    /// What of the two writers is not as it must be. The ideal one counts as well: it is the measure.
    pub fn breaches(&self) -> Vec<String> {
        let mut found = Vec::new();
        for (name, verdict) in ["ideal", "plain"].iter().zip(&self.writers) {
            if !verdict.is_exact() || verdict.errors > 0 {
                found.push(format!(
                    "{name} writer: {} errors {:?}, {} lost, {} repeated, {} out of order",
                    verdict.errors,
                    verdict.by_class,
                    verdict.lost.len(),
                    verdict.repeated.len(),
                    verdict.reordered.len()
                ));
            }
        }
        found
    }

    /// Evenkeel's shares of the stalls in order of size, in microseconds: the median, the one that 95 % don't exceed, the
    /// largest.
    pub fn shares(&self) -> [i64; 3] {
        ranks(self.kills.iter().map(Kill::share_us).collect())
    }
}

/// The median (the lower one), the value that 95 % don't exceed, and the largest.
fn ranks(mut all: Vec<i64>) -> [i64; 3] {
    all.sort_unstable();
    [50, 95, 100].map(|percent| {
        let place = (all.len() * percent).div_ceil(100).saturating_sub(1);
        all.get(place).copied().unwrap_or(0)
    })
}

/// Gives each partition to its preferred leader, so that every broker leads something that the next kill hits.
fn elect(scene: &mut Scene) -> Result<()> {
    wait::poll("preferred leaders", PATIENCE, Duration::from_millis(100), || {
        if scene.cluster.admin().elect_preferred().is_err() {
            return Ok(None);
        }
        let partitions = scene.cluster.admin().topic(TOPIC)?;
        Ok(partitions.iter().all(|p| p.replicas.first() == Some(&p.leader)).then_some(()))
    })
}

/// Waits until both writers had a success in every partition.
fn both_go_on(ideal: &Writing, plain: &Writing) -> Result<()> {
    let from = micros();
    for writing in [ideal, plain] {
        wait::poll("a success in each partition", PATIENCE, Duration::from_millis(100), || {
            let outcomes = writing.history().outcomes;
            let fresh = outcomes.iter().rev().take_while(|o| o.done_us >= from);
            let served: std::collections::BTreeSet<i32> = fresh
                .filter(|o| o.sent_us >= from && o.result.is_ok())
                .map(|outcome| outcome.partition)
                .collect();
            Ok((served.len() == usize::try_from(PARTITIONS).unwrap_or(usize::MAX)).then_some(()))
        })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::ranks;

    #[test]
    fn ranks_of_thirty_and_of_few() {
        assert_eq!(ranks((1..=30).rev().collect()), [15, 29, 30]);
        assert_eq!(ranks(vec![7, -3]), [-3, 7, 7]);
        assert_eq!(ranks(Vec::new()), [0, 0, 0]);
    }
}
