//! What the principal of our own connections may do, as brokers tell it themselves (KIP-430): asked, and not tried out.

use crate::config::{Idempotence, Kafka};
use crate::findings::Finding;
use crate::kafka::channel::{ChannelError, Question};
use crate::kafka::cluster::Cluster;
use crate::kafka::cluster::acls::Right;
use crate::kafka::cluster::dial::Opened;
use crate::kafka::wire::{self, Struct};
use std::sync::Arc;

const METADATA: i16 = 3;
/// From 8 to 10 it tells what one may do with the cluster, too.
const METADATA_VERSION: i16 = 9;
/// `AclOperation`: the bit of each is its code.
const WRITE: i16 = 4;
const DESCRIBE: i16 = 8;
const DESCRIBE_CONFIGS: i16 = 10;
const IDEMPOTENT_WRITE: i16 = 12;

/// What is allowed, of what is asked for.
#[derive(Debug, Default, PartialEq, Eq)]
struct Allowed {
    /// On the cluster; 0 where that may not be known.
    cluster: i32,
    /// Topics that may be described.
    topics: usize,
    /// Those that may be written to.
    written: usize,
}

impl Allowed {
    /// From an answer that was asked about all topics.
    fn new(answer: &Struct) -> Self {
        let described = || answer.structs("topics").filter(|topic| topic.i16("error_code") == 0);
        let written = |topic: &&Struct| has(topic.i32("topic_authorized_operations"), WRITE);
        Self {
            cluster: answer.i32("cluster_authorized_operations"),
            topics: described().count(),
            written: described().filter(written).count(),
        }
    }
}

fn has(operations: i32, operation: i16) -> bool {
    operations != i32::MIN && operations & (1 << operation) != 0
}

/// Asks, and says what is lacking.
pub(super) async fn look(cluster: &Arc<Cluster>, opened: &mut Opened) -> Vec<Finding> {
    let settings = cluster.settings();
    match ask(opened, settings.net.connect_timeout).await {
        Ok(answer) => judge(&Allowed::new(&answer), &settings.kafka),
        Err(error) => {
            let text = format!("what Evenkeel may do isn't known: {error}");
            vec![Finding::warning(
                "rights",
                text,
                "try again; a cluster with very many topics needs a longer net.connect_timeout",
            )]
        }
    }
}

async fn ask(opened: &mut Opened, bound: std::time::Duration) -> Result<Struct, ChannelError> {
    let mut body = wire::request(METADATA).map(wire::Message::new).ok_or(ChannelError::Closed)?;
    body.set_null("topics");
    body.set_bool("allow_auto_topic_creation", false);
    body.set_bool("include_cluster_authorized_operations", true);
    body.set_bool("include_topic_authorized_operations", true);
    opened.channel.ask(Question { key: METADATA, version: METADATA_VERSION, body: &body }, bound).await
}

fn judge(allowed: &Allowed, kafka: &Kafka) -> Vec<Finding> {
    let mut findings = Vec::new();
    let knows = has(allowed.cluster, DESCRIBE);
    if kafka.verify_node && knows && !has(allowed.cluster, DESCRIBE_CONFIGS) {
        let (right, without) = Right::Configs.words();
        let text = format!("lacks {right}: {without}");
        findings.push(Finding::warning("rights", text, grant(kafka, Right::Configs)));
    }
    let produces = has(allowed.cluster, IDEMPOTENT_WRITE) || allowed.written > 0;
    if kafka.idempotence == Idempotence::Inject && knows && !produces {
        let without = Right::Produce.words().1;
        let text = format!(
            "lacks IDEMPOTENT_WRITE on the cluster, and WRITE on every topic that there is: {without}"
        );
        findings.push(Finding::warning("rights", text, grant(kafka, Right::Produce)));
    }
    if allowed.topics == 0 {
        let text = "no topic is seen: there is none, or DESCRIBE on the topics that clients use is lacking";
        findings.push(Finding::warning("rights", text, grant(kafka, Right::Topics)));
    }
    if !knows {
        let text = "lacks DESCRIBE on the cluster: the gates of an upgrade can't know what they need, and other rights on the cluster \
                    aren't told";
        let remedy = acl(kafka, "Describe", "--cluster");
        let remedy = format!("{remedy}; not needed where nothing is upgraded through Evenkeel");
        findings.push(Finding::warning("rights", text, remedy));
    }
    if findings.is_empty() {
        let text = format!("what Evenkeel needs for itself; {} topics are seen", allowed.topics);
        findings.push(Finding::ok("rights", text));
    }
    findings
}

/// The command that gives a right; it runs when the words in capitals are filled in.
pub(super) fn grant(kafka: &Kafka, right: Right) -> String {
    match right {
        Right::Produce => acl(kafka, "IdempotentWrite", "--cluster"),
        Right::Configs => acl(kafka, "DescribeConfigs", "--cluster"),
        Right::Topics => acl(kafka, "Describe", "--topic TOPIC"),
        Right::Groups => acl(kafka, "Describe", "--group GROUP"),
        Right::Transactions => acl(kafka, "Describe", "--transactional-id ID"),
    }
}

fn acl(kafka: &Kafka, operation: &str, on: &str) -> String {
    let principal = match &kafka.sasl.username {
        Some(user) => format!("User:{user}"),
        None => "PRINCIPAL".to_owned(),
    };
    let asks = "kafka-acls.sh --bootstrap-server BROKER --command-config ADMIN.properties";
    format!("{asks} --add --allow-principal {principal} --operation {operation} {on}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(cluster: &[i16], topics: usize, written: usize) -> Vec<String> {
        let cluster = cluster.iter().fold(0, |all, operation| all | 1 << operation);
        let findings = judge(&Allowed { cluster, topics, written }, &Kafka::default());
        findings.into_iter().map(|finding| format!("{} {}", finding.verdict.word(), finding.text)).collect()
    }

    #[test]
    fn each_right_that_is_lacking_is_named_with_what_goes_without_it() {
        let all = [DESCRIBE, DESCRIBE_CONFIGS, IDEMPOTENT_WRITE];
        assert_eq!(told(&all, 3, 0), ["ok what Evenkeel needs for itself; 3 topics are seen"]);
        assert_eq!(told(&[DESCRIBE, DESCRIBE_CONFIGS], 3, 1).len(), 1, "WRITE on a topic is as good");
        for (cluster, topics, written, part) in [
            (&[DESCRIBE, IDEMPOTENT_WRITE][..], 3, 0, "lacks DESCRIBE_CONFIGS on the cluster: whether"),
            (
                &[DESCRIBE, DESCRIBE_CONFIGS],
                3,
                0,
                "lacks IDEMPOTENT_WRITE on the cluster, and WRITE on every",
            ),
            (&all, 0, 0, "no topic is seen"),
            (&[], 3, 0, "lacks DESCRIBE on the cluster: the gates"),
        ] {
            let told = told(cluster, topics, written);
            assert!(matches!(&told[..], [one] if one.starts_with(&format!("warning {part}"))), "{told:#?}");
        }
    }

    #[test]
    fn what_is_not_asked_for_is_not_lacking() {
        let kafka = Kafka { verify_node: false, idempotence: Idempotence::Off, ..Kafka::default() };
        let allowed = Allowed { cluster: 1 << DESCRIBE, topics: 1, written: 0 };
        assert_eq!(judge(&allowed, &kafka)[0].verdict, crate::findings::Verdict::Ok);
    }

    #[test]
    fn an_answer_is_read() {
        let mut answer = wire::response(METADATA).unwrap().new();
        answer.set_i32("cluster_authorized_operations", 1 << DESCRIBE);
        for (code, operations) in [(0, 1 << WRITE), (0, i32::MIN), (29, 1 << WRITE)] {
            let mut topic = answer.new_struct("topics");
            topic.set_i16("error_code", code);
            topic.set_i32("topic_authorized_operations", operations);
            answer.push_struct("topics", topic);
        }
        assert_eq!(Allowed::new(&answer), Allowed { cluster: 256, topics: 2, written: 1 });
        let command = "kafka-acls.sh --bootstrap-server BROKER --command-config ADMIN.properties --add --allow-principal PRINCIPAL \
                       --operation Describe --cluster";
        assert_eq!(acl(&Kafka::default(), "Describe", "--cluster"), command);
    }
}
