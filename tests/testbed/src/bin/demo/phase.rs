//! One roll of all brokers under two pairs of clients, and the judgement on each pair.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use testbed::{
    Cluster, ConsumerProgram, ConsumerSpec, ConsumerVerdict, ProducerProgram, ProducerSpec, Result, Roll,
    Verdict, judge_consumer, judge_producers,
};

use super::display::Display;

const PARTITIONS: u32 = 6;
/// A client may have to wait for a cluster that a kill left without a controller.
const PATIENCE: Duration = Duration::from_secs(150);

/// What one pair of clients, a producer and a consumer, went through.
pub(crate) struct Column {
    pub(crate) producer: Verdict,
    pub(crate) consumer: ConsumerVerdict,
}

impl Column {
    /// Nothing lost, repeated or out of order, and in a planned roll no error.
    pub(crate) fn is_clean(&self, how: Roll) -> bool {
        let consumer = &self.consumer;
        let exact = self.producer.is_exact()
            && consumer.missed.is_empty()
            && consumer.twice.is_empty()
            && consumer.foreign == 0
            && consumer.backwards == 0;
        let unnoticed = self.producer.errors == 0 && consumer.errors.is_empty();
        exact && (unnoticed || how == Roll::Hard)
    }
}

/// A producer and a consumer with a topic of their own.
pub(crate) struct Pair {
    topic: String,
    producer: ProducerProgram,
    consumer: ConsumerProgram,
}

impl Pair {
    /// Starts one pair for each label and bootstrap: all consumers first, so that the producers start close together.
    fn start(name: &str, wanted: [(&str, &str); 2]) -> Result<[Self; 2]> {
        let reader = |(label, bootstrap): (&str, &str)| {
            let topic = format!("demo-{name}-{label}");
            let group = format!("{topic}-group");
            ConsumerProgram::start(&ConsumerSpec::new(&format!("{label}-reader"), bootstrap, &topic, &group))
        };
        let writer = |(label, bootstrap): (&str, &str), consumer| {
            let topic = format!("demo-{name}-{label}");
            let producer = ProducerProgram::start(&ProducerSpec::new(label, bootstrap, &topic, PARTITIONS))?;
            Ok(Self { topic, producer, consumer })
        };
        let [one, two] = wanted;
        let (first, second) = (reader(one)?, reader(two)?);
        first.wait_assigned(PATIENCE)?;
        second.wait_assigned(PATIENCE)?;
        Ok([writer(one, first)?, writer(two, second)?])
    }

    pub(crate) fn producer(&self) -> &ProducerProgram {
        &self.producer
    }

    /// Ends both, once the consumer has had the time to see all, and reads the topic directly.
    fn judge(self, cluster: &mut Cluster) -> Result<Column> {
        let history = self.producer.stop()?;
        let log = cluster.admin().read_topic(&self.topic)?;
        // What is missing after this wait is judged as missed.
        self.consumer.wait_delivered(log.len(), Duration::from_secs(45));
        let events = self.consumer.stop()?;
        Ok(Column { producer: judge_producers(&[history], &log), consumer: judge_consumer(&[events], &log) })
    }
}

/// Runs a phase; `bootstraps` are the direct and the protected one, and so are the columns.
pub(crate) fn run(
    name: &str,
    how: Roll,
    cluster: &mut Cluster,
    bootstraps: [&str; 2],
    display: &Display,
) -> Result<(Column, Column)> {
    let word = if how == Roll::Soft { "planned roll, SIGTERM" } else { "kill roll, SIGKILL" };
    display.say(&format!("{word}: starting producers and consumers"));
    for label in ["direct", "through"] {
        cluster.create_topic(&format!("demo-{name}-{label}"), PARTITIONS, 3, &[])?;
    }
    // Every broker leads something, so that each stop matters.
    cluster.admin().elect_preferred()?;
    let [direct, through] = bootstraps;
    let [direct, through] = Pair::start(name, [("direct", direct), ("through", through)])?;
    for pair in [&direct, &through] {
        pair.producer.wait_outcomes(400, PATIENCE)?;
    }
    let over = AtomicBool::new(false);
    let rolled = std::thread::scope(|scope| {
        scope.spawn(|| display.follow(&direct, &through, &over));
        let rolled = roll(how, cluster, display)
            .and_then(|()| [&direct, &through].into_iter().try_for_each(recovered));
        over.store(true, Ordering::Release);
        rolled
    });
    rolled?;
    display.say(&format!("{word}: over; reading the topics from the brokers"));
    Ok((direct.judge(cluster)?, through.judge(cluster)?))
}

fn roll(how: Roll, cluster: &mut Cluster, display: &Display) -> Result<()> {
    for id in cluster.ids() {
        let start = Instant::now();
        display.say(&format!("broker {id}: {}", if how == Roll::Soft { "SIGTERM" } else { "SIGKILL" }));
        cluster.restart(id, how)?;
        display.say(&format!("broker {id}: back, all in sync, after {:.1} s", start.elapsed().as_secs_f64()));
    }
    Ok(())
}

/// Waits until a producer has two more seconds' worth of outcomes, the last of them a success.
fn recovered(pair: &Pair) -> Result<()> {
    let now = pair.producer.progress();
    pair.producer.wait_outcomes(now.outcomes + 400, PATIENCE)?;
    testbed::wait::until("a success after the roll", PATIENCE, || {
        pair.producer.progress().last_success_us > now.last_success_us
    })
}
