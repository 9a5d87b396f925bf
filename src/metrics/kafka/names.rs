//! The closed lists of Kafka names that may become label values: API names and error names.
//!
//! Data only. An API or an error that isn't listed counts as `other`, so that no peer can make a label value.
//! Sources: `common/message/*Request.json` (API keys) and `Errors.java` (codes) of Apache Kafka 4.x; tests compare
//! both tables with an independent implementation.

use crate::metrics::protocol::OTHER;

/// One Kafka API: its key on the wire, its name, and whether its time is measured by itself.
pub(in crate::metrics) struct Api {
    /// The API key of the request header.
    pub(in crate::metrics) key: i16,
    /// The name as the protocol's message descriptions have it.
    pub(in crate::metrics) name: &'static str,
    /// Whether `request_seconds` and `added_seconds` have a series of its own for it. Only for what
    /// applications send while they work: each costs some thirty lines of every scrape.
    pub(in crate::metrics) timed: bool,
}

const fn timed(key: i16, name: &'static str) -> Api {
    Api { key, name, timed: true }
}

const fn rare(key: i16, name: &'static str) -> Api {
    Api { key, name, timed: false }
}

/// Every API that a client may send, by key.
pub(in crate::metrics) const APIS: &[Api] = &[
    timed(0, "Produce"),
    timed(1, "Fetch"),
    timed(2, "ListOffsets"),
    timed(3, "Metadata"),
    timed(8, "OffsetCommit"),
    timed(9, "OffsetFetch"),
    timed(10, "FindCoordinator"),
    timed(11, "JoinGroup"),
    timed(12, "Heartbeat"),
    timed(13, "LeaveGroup"),
    timed(14, "SyncGroup"),
    rare(15, "DescribeGroups"),
    rare(16, "ListGroups"),
    rare(17, "SaslHandshake"),
    timed(18, "ApiVersions"),
    timed(19, "CreateTopics"),
    timed(20, "DeleteTopics"),
    rare(21, "DeleteRecords"),
    timed(22, "InitProducerId"),
    timed(23, "OffsetForLeaderEpoch"),
    timed(24, "AddPartitionsToTxn"),
    timed(25, "AddOffsetsToTxn"),
    timed(26, "EndTxn"),
    rare(27, "WriteTxnMarkers"),
    timed(28, "TxnOffsetCommit"),
    rare(29, "DescribeAcls"),
    rare(30, "CreateAcls"),
    rare(31, "DeleteAcls"),
    timed(32, "DescribeConfigs"),
    rare(33, "AlterConfigs"),
    rare(34, "AlterReplicaLogDirs"),
    rare(35, "DescribeLogDirs"),
    timed(36, "SaslAuthenticate"),
    rare(37, "CreatePartitions"),
    rare(38, "CreateDelegationToken"),
    rare(39, "RenewDelegationToken"),
    rare(40, "ExpireDelegationToken"),
    rare(41, "DescribeDelegationToken"),
    rare(42, "DeleteGroups"),
    rare(43, "ElectLeaders"),
    rare(44, "IncrementalAlterConfigs"),
    rare(45, "AlterPartitionReassignments"),
    rare(46, "ListPartitionReassignments"),
    rare(47, "OffsetDelete"),
    rare(48, "DescribeClientQuotas"),
    rare(49, "AlterClientQuotas"),
    rare(50, "DescribeUserScramCredentials"),
    rare(51, "AlterUserScramCredentials"),
    rare(55, "DescribeQuorum"),
    rare(57, "UpdateFeatures"),
    timed(60, "DescribeCluster"),
    rare(61, "DescribeProducers"),
    rare(64, "UnregisterBroker"),
    rare(65, "DescribeTransactions"),
    rare(66, "ListTransactions"),
    timed(68, "ConsumerGroupHeartbeat"),
    rare(69, "ConsumerGroupDescribe"),
    rare(71, "GetTelemetrySubscriptions"),
    rare(72, "PushTelemetry"),
    rare(74, "ListConfigResources"),
    rare(75, "DescribeTopicPartitions"),
    rare(76, "ShareGroupHeartbeat"),
    rare(77, "ShareGroupDescribe"),
    timed(78, "ShareFetch"),
    timed(79, "ShareAcknowledge"),
    rare(80, "AddRaftVoter"),
    rare(81, "RemoveRaftVoter"),
    rare(88, "StreamsGroupHeartbeat"),
    rare(89, "StreamsGroupDescribe"),
    rare(90, "DescribeShareGroupOffsets"),
    rare(91, "AlterShareGroupOffsets"),
    rare(92, "DeleteShareGroupOffsets"),
];

/// How many keys a table indexed by API key has to cover.
pub(super) const API_KEYS: usize = 93;

/// The name of an API key, `other` for one that isn't listed.
pub fn api_name(key: i16) -> &'static str {
    APIS.iter().find(|api| api.key == key).map_or(OTHER, |api| api.name)
}

/// Error codes that are counted by name: what a roll, a move or a limit of a cluster produces, and what is
/// passed on to clients. In capitals as Kafka writes them.
pub(in crate::metrics) const ERRORS: &[(i32, &str)] = &[
    (-1, "UNKNOWN_SERVER_ERROR"),
    (1, "OFFSET_OUT_OF_RANGE"),
    (2, "CORRUPT_MESSAGE"),
    (3, "UNKNOWN_TOPIC_OR_PARTITION"),
    (5, "LEADER_NOT_AVAILABLE"),
    (6, "NOT_LEADER_OR_FOLLOWER"),
    (7, "REQUEST_TIMED_OUT"),
    (8, "BROKER_NOT_AVAILABLE"),
    (9, "REPLICA_NOT_AVAILABLE"),
    (10, "MESSAGE_TOO_LARGE"),
    (13, "NETWORK_EXCEPTION"),
    (14, "COORDINATOR_LOAD_IN_PROGRESS"),
    (15, "COORDINATOR_NOT_AVAILABLE"),
    (16, "NOT_COORDINATOR"),
    (19, "NOT_ENOUGH_REPLICAS"),
    (20, "NOT_ENOUGH_REPLICAS_AFTER_APPEND"),
    (22, "ILLEGAL_GENERATION"),
    (25, "UNKNOWN_MEMBER_ID"),
    (27, "REBALANCE_IN_PROGRESS"),
    (29, "TOPIC_AUTHORIZATION_FAILED"),
    (30, "GROUP_AUTHORIZATION_FAILED"),
    (31, "CLUSTER_AUTHORIZATION_FAILED"),
    (35, "UNSUPPORTED_VERSION"),
    (36, "TOPIC_ALREADY_EXISTS"),
    (41, "NOT_CONTROLLER"),
    (44, "POLICY_VIOLATION"),
    (45, "OUT_OF_ORDER_SEQUENCE_NUMBER"),
    (46, "DUPLICATE_SEQUENCE_NUMBER"),
    (47, "INVALID_PRODUCER_EPOCH"),
    (48, "INVALID_TXN_STATE"),
    (51, "CONCURRENT_TRANSACTIONS"),
    (56, "KAFKA_STORAGE_ERROR"),
    (58, "SASL_AUTHENTICATION_FAILED"),
    (59, "UNKNOWN_PRODUCER_ID"),
    (70, "FETCH_SESSION_ID_NOT_FOUND"),
    (71, "INVALID_FETCH_SESSION_EPOCH"),
    (74, "FENCED_LEADER_EPOCH"),
    (75, "UNKNOWN_LEADER_EPOCH"),
    (78, "OFFSET_NOT_AVAILABLE"),
    (79, "MEMBER_ID_REQUIRED"),
    (82, "FENCED_INSTANCE_ID"),
    (88, "UNSTABLE_OFFSET_COMMIT"),
    (89, "THROTTLING_QUOTA_EXCEEDED"),
    (90, "PRODUCER_FENCED"),
    (100, "UNKNOWN_TOPIC_ID"),
    (103, "INCONSISTENT_TOPIC_ID"),
    (104, "INCONSISTENT_CLUSTER_ID"),
    (106, "FETCH_SESSION_TOPIC_ID_ERROR"),
    (110, "FENCED_MEMBER_EPOCH"),
    (113, "STALE_MEMBER_EPOCH"),
    (120, "TRANSACTION_ABORTABLE"),
    (121, "INVALID_RECORD_STATE"),
    (122, "SHARE_SESSION_NOT_FOUND"),
    (123, "INVALID_SHARE_SESSION_EPOCH"),
];

#[cfg(test)]
mod tests {
    use super::*;
    use kafka_protocol::ResponseError;
    use kafka_protocol::messages::ApiKey;

    /// `NOT_LEADER_OR_FOLLOWER` as `NotLeaderOrFollower`.
    fn camel(name: &str) -> String {
        name.split('_').map(|word| word[..1].to_owned() + &word[1..].to_lowercase()).collect()
    }

    #[test]
    fn error_codes_have_the_names_that_another_implementation_gives_them() {
        for (code, name) in ERRORS {
            let Some(theirs) = ResponseError::try_from_code(i16::try_from(*code).unwrap()) else {
                panic!("{code} {name} is no error at all");
            };
            let theirs = format!("{theirs:?}");
            // Compared without case: where a word ends is a matter of taste.
            assert_eq!(camel(name).to_lowercase(), theirs.to_lowercase(), "{code}");
        }
    }

    #[test]
    fn api_keys_have_the_names_that_another_implementation_gives_them() {
        let mut compared = 0;
        for api in APIS {
            // An API may be newer than the other implementation.
            let Ok(theirs) = ApiKey::try_from(api.key) else { continue };
            assert_eq!(format!("{theirs:?}"), api.name, "{}", api.key);
            compared += 1;
        }
        assert!(compared > 60, "only {compared} of {} were compared", APIS.len());
        assert_eq!(api_name(0), "Produce");
        assert_eq!(api_name(4), OTHER);
        assert_eq!(api_name(-1), OTHER);
    }

    #[test]
    fn tables_are_ascending_and_fit() {
        assert!(APIS.windows(2).all(|pair| pair[0].key < pair[1].key));
        assert!(ERRORS.windows(2).all(|pair| pair[0].0 < pair[1].0));
        assert!(APIS.iter().all(|api| usize::try_from(api.key).unwrap() < API_KEYS));
    }
}
