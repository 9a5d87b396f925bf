//! Kafka's part of the table of metrics.

use super::closed::{ClientSasl, DroppedBy, GuardOutcome, SaslRenewal};
use crate::metrics::catalogue::Extra::{Closed, None as Plain, Seen};
use crate::metrics::catalogue::Kind::{Counter, Gauge, Histogram};
use crate::metrics::catalogue::Scope::{Cluster, Member};
use crate::metrics::catalogue::{Spec, m};
use crate::metrics::closed::ConnectOutcome;

/// From an orderly hand-over to a broker that needs a person.
const UNAVAILABLE: &[f64] = &[0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 15.0, 30.0, 60.0, 300.0];

/// What only a Kafka cluster has.
pub(in crate::metrics) const CATALOGUE: &[Spec] = &[
    m(
        "client_api_version",
        Gauge,
        Cluster,
        Seen(&["api", "version"]),
        "Open client connections that have used this version of this API: what a broker that drops old versions would \
         break (KIP-896). `api` is a name of the protocol, `version` 0 to 30; else `other`.",
    ),
    m(
        "client_versions_dropped",
        Gauge,
        Cluster,
        Closed(&[("by", |_| DroppedBy::LABELS.to_vec())]),
        "Open client connections that have used an API version which a member does not speak, or which Kafka 4.0 \
         dropped (KIP-896): they break with that member, or with an upgrade. `GET /v1/clusters/{c}` names them.",
    ),
    m(
        "upgrade_pin_active",
        Gauge,
        Cluster,
        Plain,
        "1 while clients are offered less than all members share, until those have shared it for `version_quiet`, or \
         the plan that holds it is finalized.",
    ),
    m("kafka_leader_changes_total", Counter, Cluster, Plain, "Partitions seen to have a new leader."),
    m(
        "kafka_injected_batches_total",
        Counter,
        Cluster,
        Plain,
        "Record batches stamped with an injected producer identity.",
    ),
    m(
        "kafka_raised_acks_total",
        Counter,
        Cluster,
        Plain,
        "Produce requests whose acks=1, or acks=0 where that is raised, too, went as acks=all.",
    ),
    m(
        "kafka_offset_guard_total",
        Counter,
        Cluster,
        Closed(&[("outcome", |_| GuardOutcome::LABELS.to_vec())]),
        "Offsets that a broker called out of range, by what the partition's leader says of them. `valid` and `unknown` \
         are kept from the client, which fetches again; the others are passed on.",
    ),
    m(
        "kafka_bootstrap_connect_total",
        Counter,
        Cluster,
        Closed(&[("outcome", |_| ConnectOutcome::LABELS.to_vec())]),
        "Attempts to reach the cluster at one of its `bootstrap` addresses, by how they ended: at the start, and while no broker is up. \
         Outcomes are those of `upstream_connect_total`, which counts from when the node is known.",
    ),
    m(
        "kafka_sasl_renewals_total",
        Counter,
        Cluster,
        Closed(&[("outcome", |_| SaslRenewal::LABELS.to_vec())]),
        "Sessions at brokers that were to be renewed on their connection before they ended (KIP-368). But for `ok` the \
         connection was given up, and what was on it treated as lost with it.",
    ),
    m(
        "kafka_client_sasl_total",
        Counter,
        Cluster,
        Closed(&[("outcome", |_| ClientSasl::LABELS.to_vec())]),
        "SASL exchanges that clients began. `unrepeatable` (SCRAM, GSSAPI with `sasl.clients = \"own\"`): that client's \
         connection ends with its broker's.",
    ),
    m(
        "kafka_leaders",
        Gauge,
        Member,
        Plain,
        "Partitions that the member leads, of the topics that clients use.",
    ),
    m(
        "kafka_unavailable_seconds",
        Histogram(UNAVAILABLE),
        Cluster,
        Plain,
        "For how long a partition in use had no leader that could be reached.",
    ),
];
