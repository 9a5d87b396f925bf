//! What a broker is asked of itself: its features, and the groups that it coordinates.

use super::{ANSWER, Broker, Known, Unreached, reach};
use crate::kafka::channel::{ChannelError, Question};
use crate::kafka::cluster::Cluster;
use crate::kafka::cluster::dial::Opened;
use crate::kafka::wire::{self, Struct};
use std::sync::Arc;

const LIST_GROUPS: i16 = 16;
/// The first that names states and can be asked for some alone (KIP-518).
const LIST_GROUPS_VERSION: i16 = 4;
const API_VERSIONS: i16 = 18;
const API_VERSIONS_VERSION: i16 = 3;
const COORDINATOR_LOAD_IN_PROGRESS: i16 = 14;
/// States of classic and of newer groups in which members wait for each other.
const UNSTABLE: [&str; 4] = ["PreparingRebalance", "CompletingRebalance", "Assigning", "Reconciling"];
const FEATURE: &str = "metadata.version";

/// Asks a broker, on the connection that is there or on a new one, which shows that the broker is who it is meant to be.
pub(super) async fn ask(
    cluster: &Arc<Cluster>,
    node: i32,
    opened: Option<Opened>,
) -> Result<(Broker, Opened), Unreached> {
    if let Some(mut opened) = opened
        && let Ok(broker) = asked(&mut opened).await
    {
        return Ok((broker, opened));
    }
    let mut opened = reach(cluster, node).await?;
    match asked(&mut opened).await {
        Ok(broker) => Ok((broker, opened)),
        Err(error) => Err(Unreached::Down(error.to_string())),
    }
}

async fn asked(opened: &mut Opened) -> Result<Broker, ChannelError> {
    let new = |key| wire::request(key).map(wire::Message::new).ok_or(ChannelError::Closed);
    let mut versions = new(API_VERSIONS)?;
    versions.set_str("client_software_name", "evenkeel");
    versions.set_str("client_software_version", env!("CARGO_PKG_VERSION"));
    let mut groups = new(LIST_GROUPS)?;
    groups.set_strs("states_filter", &UNSTABLE);
    let mut questions = vec![Question { key: API_VERSIONS, version: API_VERSIONS_VERSION, body: &versions }];
    let lists = opened.versions.speaks(LIST_GROUPS, LIST_GROUPS_VERSION);
    if lists {
        questions.push(Question { key: LIST_GROUPS, version: LIST_GROUPS_VERSION, body: &groups });
    }
    let mut answers = opened.channel.ask_all(&questions, ANSWER).await?.into_iter();
    let versions = answers.next().ok_or(ChannelError::Closed)?;
    let (level, finalized) = features(&versions);
    let (loading, rebalancing) = match answers.next() {
        Some(answer) => groups_of(&answer),
        None => (false, Err("a broker is too old to tell the states of groups".to_owned())),
    };
    Ok(Broker { level, finalized, loading, rebalancing })
}

/// The highest level of `metadata.version` that a broker supports, and the one that is finalized.
pub(in crate::kafka::cluster) fn features(versions: &Struct) -> (Option<i16>, Option<i16>) {
    let of = |list: &str, level: &str| {
        let mut rows = versions.structs(list);
        rows.find(|row| row.str("name") == Some(FEATURE)).map(|row| row.i16(level))
    };
    (of("supported_features", "max_version"), of("finalized_features", "max_version_level"))
}

/// Whether the coordinator is loading, and its groups that are not stable.
pub(super) fn groups_of(answer: &Struct) -> (bool, Known<Vec<String>>) {
    match answer.i16("error_code") {
        0 => {
            let names = answer.structs("groups").filter(|group| {
                // Brokers that ignore the filter tell of all of them.
                group
                    .str("group_state")
                    .is_some_and(|state| UNSTABLE.iter().any(|s| s.eq_ignore_ascii_case(state)))
            });
            (false, Ok(names.map(|group| group.str("group_id").unwrap_or_default().to_owned()).collect()))
        }
        COORDINATOR_LOAD_IN_PROGRESS => (true, Ok(Vec::new())),
        code => (false, Err(format!("ListGroups: {}", wire::errors::name(code)))),
    }
}
