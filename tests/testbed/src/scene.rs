//! What most proofs have in common: a real cluster with Evenkeel in front of it, clients that write and read through it
//! while something happens to the brokers, and the judgement on what they went through.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::judge::{History, parse};
use crate::sidecar::Front;
use crate::{
    Cluster, ConsumerProgram, ConsumerSpec, ConsumerVerdict, Library, ProducerProgram, ProducerSpec, Result,
    Roll, Sidecar, Spec, Verdict, judge_consumer, judge_producers, wait,
};

/// Partitions of a load's topic: enough that each of three brokers leads two.
pub const PARTITIONS: u32 = 6;
/// Outcomes that show that a producer is at work.
const MORE: usize = 200;
/// A client may have to wait for a cluster that a kill left without a controller, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(150);

/// A cluster and the sidecar in front of it.
#[derive(Debug)]
pub struct Scene {
    // The sidecar first: it ends before its cluster.
    /// The sidecar.
    pub sidecar: Sidecar,
    /// Where it listens.
    pub front: Front,
    /// The cluster behind it.
    pub cluster: Cluster,
}

impl Scene {
    /// Starts both and waits until both are ready. `binary` is Evenkeel's.
    pub fn start(spec: Spec, binary: &Path) -> Result<Self> {
        Self::with(spec, binary, "", "")
    }

    /// The same with more configuration of Evenkeel's, which stands before `[[kafka]]`, and keys of the cluster, one on each
    /// line.
    pub fn with(spec: Spec, binary: &Path, more: &str, keys: &str) -> Result<Self> {
        let cluster = Cluster::start(spec)?;
        let (mut sidecar, front) = Sidecar::kafka_with(binary, &cluster.bootstrap(), more, keys)?;
        sidecar.wait_ready(Duration::from_secs(60))?;
        Ok(Self { sidecar, front, cluster })
    }
}

/// Producers and a consumer group at work on a topic of their own.
#[derive(Debug)]
pub struct Load {
    topic: String,
    producers: Vec<ProducerProgram>,
    consumer: ConsumerProgram,
    /// Groups of other libraries, by name.
    others: Vec<(String, ConsumerProgram)>,
    stops: Vec<i64>,
}

impl Load {
    /// Makes the topic, starts a consumer and the producers (their topic and number of partitions are set here), and
    /// waits until all of them are at work. Every broker then leads some of the partitions.
    pub fn start(
        cluster: &mut Cluster,
        topic: &str,
        bootstrap: &str,
        producers: &[ProducerSpec],
    ) -> Result<Self> {
        Self::through(cluster, topic, &[bootstrap.to_owned()], producers)
    }

    /// The same through several sidecars: each producer connects to one of `bootstraps` in turn, and the consumer to the last.
    pub fn through(
        cluster: &mut Cluster,
        topic: &str,
        bootstraps: &[String],
        producers: &[ProducerSpec],
    ) -> Result<Self> {
        Self::of(cluster, topic, bootstraps, producers, &[])
    }

    /// The same with settings for the consumer; those of the producers are in their specs.
    pub fn of(
        cluster: &mut Cluster,
        topic: &str,
        bootstraps: &[String],
        producers: &[ProducerSpec],
        settings: &[(&str, &str)],
    ) -> Result<Self> {
        cluster.create_topic(topic, PARTITIONS, 3, &[])?;
        cluster.admin().elect_preferred()?;
        let group = format!("{topic}-group");
        let last = bootstraps.last().map_or("", String::as_str);
        let reader = ConsumerSpec::new(&format!("{topic}-reader"), last, topic, &group);
        let reader = settings.iter().fold(reader, |reader, (key, value)| reader.set(key, value));
        let consumer = ConsumerProgram::start(&reader)?;
        consumer.wait_assigned(PATIENCE)?;
        let started = producers.iter().zip(bootstraps.iter().cycle()).map(|(spec, bootstrap)| {
            let (bootstrap, topic) = (bootstrap.clone(), topic.to_owned());
            ProducerProgram::start(&ProducerSpec { bootstrap, topic, partitions: PARTITIONS, ..spec.clone() })
        });
        let producers = started.collect::<Result<Vec<_>>>()?;
        let (topic, others) = (topic.to_owned(), Vec::new());
        let load = Self { topic, producers, consumer, others, stops: Vec::new() };
        load.go_on()?;
        Ok(load)
    }

    /// A Java producer with `acks=all`, no retries and no idempotence, 200 records a second.
    pub fn java(id: &str) -> ProducerSpec {
        ProducerSpec::new(id, "", "", PARTITIONS)
    }

    /// One more group reads the topic, with another library; its name is `id` behind the topic's.
    pub fn read_by(&mut self, id: &str, library: Library, bootstrap: &str) -> Result<()> {
        let group = format!("{}-{id}", self.topic);
        let spec = ConsumerSpec::new(&group, bootstrap, &self.topic, &group);
        let consumer = ConsumerProgram::start(&ConsumerSpec { library, ..spec })?;
        consumer.wait_assigned(PATIENCE)?;
        self.others.push((id.to_owned(), consumer));
        Ok(())
    }

    /// The name of its consumer group.
    pub fn group(&self) -> String {
        format!("{}-group", self.topic)
    }

    /// Its topic.
    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// Notes that a broker is about to be stopped: errors from now on are counted for this stop.
    pub fn note_stop(&mut self) {
        self.stops.push(micros());
    }

    /// Restarts all brokers, one after another.
    pub fn roll(&mut self, cluster: &mut Cluster, how: Roll) -> Result<()> {
        for id in cluster.ids() {
            self.note_stop();
            cluster.restart(id, how)?;
        }
        Ok(())
    }

    /// Waits until every producer has some more outcomes (a second's worth at 200 a second), and a new success.
    pub fn go_on(&self) -> Result<()> {
        for producer in &self.producers {
            let now = producer.progress();
            producer.wait_outcomes(now.outcomes + MORE, PATIENCE)?;
            wait::until("another success of a producer", PATIENCE, || {
                producer.progress().last_success_us > now.last_success_us
            })?;
        }
        Ok(())
    }

    /// Waits until every producer had a success in each partition with a record that it sent after this call.
    pub fn go_on_everywhere(&self) -> Result<()> {
        let from = micros();
        for producer in &self.producers {
            wait::until("a success in each partition", PATIENCE, || {
                let outcomes = producer.history().outcomes;
                let fresh = outcomes.iter().filter(|o| o.sent_us >= from && o.result.is_ok());
                let partitions: BTreeSet<i32> = fresh.map(|outcome| outcome.partition).collect();
                partitions.len() >= usize::try_from(PARTITIONS).unwrap_or(usize::MAX)
            })?;
        }
        Ok(())
    }

    /// Ends all clients, once the consumer has had the time to see everything, and judges by what the brokers have.
    pub fn finish(self, cluster: &mut Cluster) -> Result<Report> {
        let histories: Vec<History> =
            self.producers.into_iter().map(ProducerProgram::stop).collect::<Result<_>>()?;
        let log = cluster.admin().read_topic(&self.topic)?;
        let judged = |consumer: ConsumerProgram| -> Result<ConsumerVerdict> {
            // What is missing after this wait is judged as missed.
            consumer.wait_delivered(log.len(), Duration::from_secs(60));
            Ok(judge_consumer(&[consumer.stop()?], &log))
        };
        let consumer = judged(self.consumer)?;
        let others = self.others.into_iter().map(|(id, consumer)| Ok((id, judged(consumer)?)));
        let others = others.collect::<Result<Vec<_>>>()?;
        let all = judge_producers(&histories, &log);
        let each = histories.into_iter().map(|history| {
            let own = |value: &str| parse(value).is_some_and(|(id, ..)| id == history.producer);
            let part: Vec<_> = log.iter().filter(|r| r.value.as_deref().is_some_and(own)).cloned().collect();
            let verdict = judge_producers(std::slice::from_ref(&history), &part);
            Writer { verdict, errors_by_stop: by_stop(&history, &self.stops), history }
        });
        Ok(Report { writers: each.collect(), all, consumer, others, stops: self.stops.len() })
    }
}

/// What one producer went through.
#[derive(Clone, Debug)]
pub struct Writer {
    /// The judgement on it alone.
    pub verdict: Verdict,
    /// Its errors before the first stop, and after each one until the next.
    pub errors_by_stop: Vec<usize>,
    /// Everything it went through.
    pub history: History,
}

/// The judgement on a load.
#[derive(Clone, Debug)]
pub struct Report {
    /// Each producer by itself.
    pub writers: Vec<Writer>,
    /// All producers together.
    pub all: Verdict,
    /// The consumer.
    pub consumer: ConsumerVerdict,
    /// The other groups ([`Load::read_by`]), by name.
    pub others: Vec<(String, ConsumerVerdict)>,
    /// Number of brokers that were stopped.
    pub stops: usize,
}

impl Report {
    /// Every consumer, with what is said before its breaches.
    fn consumers(&self) -> impl Iterator<Item = (String, &ConsumerVerdict)> {
        let others = self.others.iter().map(|(id, verdict)| (format!("{id}: "), verdict));
        std::iter::once((String::new(), &self.consumer)).chain(others)
    }

    /// What is not as it must be after any fault: nothing acknowledged is lost, nothing is there twice or out of order,
    /// and the consumers saw everything.
    pub fn breaches(&self) -> Vec<String> {
        let all = &self.all;
        let mut counts = vec![
            (String::new(), "acknowledged records lost", all.lost.len()),
            (String::new(), "records repeated", all.repeated.len()),
            (String::new(), "records out of order", all.reordered.len()),
            (String::new(), "records that nobody sent", all.foreign),
        ];
        for (who, consumer) in self.consumers() {
            for (what, count) in [
                ("records that the consumer missed", consumer.missed.len()),
                ("records delivered from nowhere", consumer.foreign),
                ("records delivered backwards", consumer.backwards),
            ] {
                counts.push((who.clone(), what, count));
            }
        }
        let some = counts.iter().filter(|(.., count)| *count > 0);
        some.map(|(who, what, count)| format!("{who}{count} {what}")).collect()
    }

    /// What is not as it must be after planned stops: besides [`Report::breaches`], any error, records delivered twice, rebalances.
    pub fn breaches_of_planned(&self) -> Vec<String> {
        let mut found = self.breaches();
        for Writer { verdict, errors_by_stop, history } in &self.writers {
            let id = &history.producer;
            if verdict.errors > 0 {
                let (errors, classes) = (verdict.errors, &verdict.by_class);
                found.push(format!(
                    "{id}: {errors} errors, before and after each stop {errors_by_stop:?}: {classes:?}"
                ));
            }
        }
        for (who, consumer) in self.consumers() {
            for (what, count) in
                [("records delivered twice", consumer.twice.len()), ("rebalances", consumer.rebalances)]
            {
                if count > 0 {
                    found.push(format!("{who}{count} {what}"));
                }
            }
            if !consumer.errors.is_empty() {
                found.push(format!("{who}the consumer's errors: {:?}", consumer.errors));
            }
        }
        found
    }
}

/// What of Evenkeel's own account doesn't add up once all clients have ended: every hold ended in one of the ways there
/// are, nothing is held, every broker is up.
pub fn unbalanced(sidecar: &Sidecar, brokers: &[u8]) -> Result<Vec<String>> {
    let sum = |name: &str, labels: &[&str]| sidecar.metric_sum(&format!("evenkeel_{name}"), labels);
    // What clients left behind is seen to within moments.
    let settled =
        wait::poll("an account at rest", Duration::from_secs(20), Duration::from_millis(50), || {
            let rest = sum("hold_requests", &[])? + sum("hold_bytes", &[])? + sum("client_connections", &[])?;
            let mut up = true;
            for id in brokers {
                up &= is(sum("upstream_up", &[&format!("member=\"{id}\"")])?, 1.0);
            }
            Ok((is(rest, 0.0) && up).then_some(()))
        });
    let mut found = Vec::new();
    if settled.is_err() {
        for name in ["hold_requests", "hold_bytes", "client_connections", "upstream_up"] {
            found.push(format!("at rest {name} is {}", sum(name, &[])?));
        }
    }
    let (started, ended) = (sum("hold_started_total", &[])?, sum("hold_ended_total", &[])?);
    if !is(started, ended + sum("hold_requests", &[])?) {
        found.push(format!("{started} holds were started and {ended} ended"));
    }
    Ok(found)
}

/// Whether two counts are the same.
pub fn is(one: f64, other: f64) -> bool {
    (one - other).abs() < 0.5
}

/// The number of errors before the first stop, and after each one until the next.
fn by_stop(history: &History, stops: &[i64]) -> Vec<usize> {
    let mut counts = vec![0; stops.len() + 1];
    for outcome in history.outcomes.iter().filter(|outcome| outcome.result.is_err()) {
        let after = stops.iter().filter(|&&stop| stop <= outcome.done_us).count();
        if let Some(count) = counts.get_mut(after) {
            *count += 1;
        }
    }
    counts
}

/// Now, in microseconds since the epoch.
pub fn micros() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |now| i64::try_from(now.as_micros()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge::{ClientError, Outcome};

    fn report(errors_by_stop: Vec<usize>) -> Report {
        let errors: usize = errors_by_stop.iter().sum();
        let verdict = Verdict { errors, unknown: errors, ..Verdict::default() };
        let history = History { producer: "p".to_owned(), outcomes: Vec::new() };
        Report {
            stops: errors_by_stop.len() - 1,
            all: verdict.clone(),
            writers: vec![Writer { verdict, errors_by_stop, history }],
            consumer: ConsumerVerdict::default(),
            others: vec![("other".to_owned(), ConsumerVerdict::default())],
        }
    }

    #[test]
    fn a_report_says_what_is_wrong() {
        assert!(report(vec![0, 0, 0]).breaches_of_planned().is_empty());
        assert_eq!(
            report(vec![0, 1, 0]).breaches_of_planned().len(),
            1,
            "an unknown outcome is an error, too"
        );
        assert_eq!(report(vec![1, 0, 0]).breaches_of_planned().len(), 1);
        let wrong: [fn(&mut Report); 13] = [
            |r| r.all.lost.push((String::new(), 0, 0)),
            |r| r.all.repeated.push((String::new(), 0, 0)),
            |r| r.all.reordered.push((String::new(), 0, 0)),
            |r| r.all.foreign = 1,
            |r| r.consumer.missed.push((0, 0)),
            |r| r.consumer.foreign = 1,
            |r| r.consumer.backwards = 1,
            |r| r.others[0].1.missed.push((0, 0)),
            |r| r.others[0].1.twice.push((0, 0)),
            |r| r.consumer.twice.push((0, 0)),
            |r| r.consumer.rebalances = 1,
            |r| r.consumer.errors = std::iter::once(("poll".to_owned(), 1)).collect(),
            |r| r.writers[0].verdict.errors += 1,
        ];
        for (number, spoil) in wrong.iter().enumerate() {
            let mut report = report(vec![0, 0]);
            spoil(&mut report);
            assert_eq!(report.breaches_of_planned().len(), 1, "{number}");
            assert_eq!(report.breaches().len(), usize::from(number < 8), "{number}");
        }
    }

    #[test]
    fn errors_belong_to_the_stop_before_them() {
        let error = ClientError { class: String::new(), message: String::new() };
        let outcome = |done_us, result| Outcome { partition: 0, seq: 0, sent_us: 0, done_us, result };
        let outcomes = vec![
            outcome(5, Err(error.clone())),
            outcome(10, Err(error.clone())),
            outcome(15, Ok(1)),
            outcome(35, Err(error.clone())),
            outcome(36, Err(error)),
        ];
        let history = History { producer: "p".to_owned(), outcomes };
        assert_eq!(by_stop(&history, &[10, 20, 30]), [1, 1, 0, 2]);
    }
}
