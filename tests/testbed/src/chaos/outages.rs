//! When the cluster itself could not take a write, partition by partition: told by asking each broker often, beside
//! Evenkeel. Pure.
//!
//! A broker's answer is a good moment for a partition if it says that it leads it, with enough replicas in sync, and each of
//! those replicas answers as well: with `acks=all` a write waits for all of them. An outage is a time between two good
//! moments that is longer than [`GAP_US`]; a write that comes in it can't be acknowledged before its end.

use std::collections::BTreeMap;

/// The longest time between two good moments that is none: some rounds of questions on a busy machine. Microseconds.
pub const GAP_US: i64 = 700_000;

/// One question to one broker. Times are microseconds since the epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample {
    /// Whom.
    pub node: i32,
    /// When it was asked.
    pub start_us: i64,
    /// When it answered, or was given up.
    pub end_us: i64,
    /// The partitions that it says it leads, with the replicas in sync; `None`: no answer.
    pub leads: Option<Vec<(i32, Vec<i32>)>>,
}

/// The outages of each partition, in order.
pub type Outages = BTreeMap<i32, Vec<(i64, i64)>>;

/// The outages of partitions 0 to `partitions` - 1.
pub fn outages(samples: &[Sample], partitions: u32, min_in_sync: usize) -> Outages {
    let mut answers: BTreeMap<i32, Vec<i64>> = BTreeMap::new();
    for sample in samples.iter().filter(|sample| sample.leads.is_some()) {
        answers.entry(sample.node).or_default().extend([sample.start_us, sample.end_us]);
    }
    for moments in answers.values_mut() {
        moments.sort_unstable();
    }
    let up = |node: &i32, at: i64| answers.get(node).is_some_and(|moments| is_near(moments, at));
    let mut good: BTreeMap<i32, Vec<i64>> = BTreeMap::new();
    for sample in samples {
        for (partition, in_sync) in sample.leads.iter().flatten() {
            if in_sync.len() >= min_in_sync && in_sync.iter().all(|node| up(node, sample.end_us)) {
                good.entry(*partition).or_default().push(sample.end_us);
            }
        }
    }
    let first = samples.iter().map(|sample| sample.start_us).min().unwrap_or(0);
    let last = samples.iter().map(|sample| sample.end_us).max().unwrap_or(0);
    let partitions = i32::try_from(partitions).unwrap_or(i32::MAX);
    (0..partitions)
        .map(|partition| {
            let mut moments = good.remove(&partition).unwrap_or_default();
            moments.extend([first, last]);
            moments.sort_unstable();
            let pairs = moments.iter().zip(moments.iter().skip(1));
            (partition, pairs.filter(|(a, b)| *b - *a > GAP_US).map(|(a, b)| (*a, *b)).collect())
        })
        .collect()
}

/// Whether a broker with these answers was up at a moment: it answered shortly before and after.
fn is_near(moments: &[i64], at: i64) -> bool {
    let next = moments.partition_point(|&moment| moment < at);
    let after = moments.get(next).is_some_and(|moment| moment - at <= GAP_US);
    let before = moments.partition_point(|&moment| moment <= at).checked_sub(1);
    after && before.and_then(|last| moments.get(last)).is_some_and(|moment| at - moment <= GAP_US)
}

/// How much of the time from `from_us` to `to_us` lies in these outages.
pub fn share_us(outages: &[(i64, i64)], from_us: i64, to_us: i64) -> i64 {
    outages.iter().map(|&(start, end)| (end.min(to_us) - start.max(from_us)).max(0)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEP: i64 = 100_000;

    fn sample(node: i32, at: i64, leads: Option<Vec<(i32, Vec<i32>)>>) -> Sample {
        Sample { node, start_us: at * STEP, end_us: at * STEP + 1000, leads }
    }

    /// Node 1 leads partition 0, node 2 follows; what each says at a moment is changed by `change`.
    fn run(change: impl Fn(i32, i64) -> Option<Vec<(i32, Vec<i32>)>>) -> Vec<(i64, i64)> {
        let mut samples = Vec::new();
        for at in 0..100 {
            samples.extend([1, 2].map(|node| sample(node, at, change(node, at))));
        }
        outages(&samples, 1, 2).remove(&0).unwrap()
    }

    fn leads(node: i32) -> Vec<(i32, Vec<i32>)> {
        if node == 1 { vec![(0, vec![1, 2])] } else { Vec::new() }
    }

    #[test]
    fn a_healthy_cluster_has_none() {
        assert_eq!(run(|node, _| Some(leads(node))), []);
    }

    #[test]
    fn a_leader_or_a_follower_that_is_silent_is_one() {
        for silent in [1, 2] {
            let found = run(
                |node, at| if node == silent && (20..50).contains(&at) { None } else { Some(leads(node)) },
            );
            let [(start, end)] = found[..] else { panic!("{found:?}") };
            // A follower counts as there up to a gap before its last answer: the outage is never made longer by that.
            assert!((19 * STEP..=20 * STEP + 1000).contains(&start), "{start}");
            assert!((50 * STEP..=51 * STEP).contains(&end), "{end}");
        }
    }

    #[test]
    fn too_few_in_sync_or_nobody_who_leads_is_one() {
        let few = run(|node, at| {
            if node == 1 && (20..50).contains(&at) { Some(vec![(0, vec![1])]) } else { Some(leads(node)) }
        });
        let none = run(|node, at| if (20..50).contains(&at) { Some(Vec::new()) } else { Some(leads(node)) });
        assert_eq!((few.len(), few.clone()), (1, none));
        let never = outages(&[sample(1, 0, None), sample(1, 90, None)], 2, 2);
        assert_eq!(never[&1], [(0, 90 * STEP + 1000)]);
    }

    #[test]
    fn shares_are_cut_to_the_time_asked_for() {
        let outages = [(10, 20), (30, 50)];
        assert_eq!(share_us(&outages, 0, 100), 30);
        assert_eq!(share_us(&outages, 15, 35), 10);
        assert_eq!(share_us(&outages, 21, 29), 0);
    }
}
