//! The operation table: for each API that passes, where it goes and what may be done when its outcome is unknown.
//!
//! This is the heart of the Kafka module and is data. Sources: the message descriptions in `kafka-clients` 3.9.2 and
//! 4.3.1 for the keys; what each verdict rests on was seen on real brokers of 2.8.2, 3.9.2 and 4.3.1.

/// Which node a request belongs to when the one that the client chose can't serve it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// Answered here, from what is known of all members.
    Local,
    /// Every broker can answer it.
    Any,
    /// The leaders of the partitions it names; it may be split by leader.
    Leader,
    /// The coordinator of a group, named by this field of the request.
    Group(&'static str),
    /// The coordinator of a transactional id, named by this field; without one, any broker.
    Transaction(&'static str),
    /// The controller in a ZooKeeper-mode cluster; in KRaft any broker, which forwards it.
    Controller,
    /// That node and no other: it asks about, or keeps state in, the node itself.
    Node,
}

/// What is done with a request that was written whole and never answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unknown {
    /// Harmless to repeat: sent again.
    Replay,
    /// Sent again where each batch has a producer id and sequence; else the honest error.
    Sequenced,
    /// Sent again; afterwards, and only then, these errors mean that the first attempt had done it.
    ReplayThen(&'static [i16]),
    /// Not sent again: answered with this error, which lets the client's own protocol settle it.
    Settle(i16),
    /// Nothing true can be said: the client's connection is closed, as its broker's was.
    Disconnect,
}

/// One row of the table.
#[derive(Clone, Copy, Debug)]
pub struct Operation {
    /// The API key.
    pub key: i16,
    /// Where it goes.
    pub route: Route,
    /// The verdict when the outcome is unknown.
    pub unknown: Unknown,
    /// Whether its answer can carry the addresses of nodes, which clients must not see.
    pub addresses: bool,
}

const fn op(key: i16, route: Route, unknown: Unknown) -> Operation {
    Operation { key, route, unknown, addresses: false }
}

const fn addressed(key: i16, route: Route, unknown: Unknown) -> Operation {
    Operation { key, route, unknown, addresses: true }
}

use Route::{Any, Controller, Group, Leader, Local, Node, Transaction};
use Unknown::{Disconnect, Replay, ReplayThen, Sequenced, Settle};

/// `COORDINATOR_NOT_AVAILABLE`: the client looks for its coordinator and goes on with the epoch that it has.
const COORDINATOR: Unknown = Settle(15);
/// `SHARE_SESSION_NOT_FOUND`: what a broker that was restarted says; the client opens a new share session.
const SHARE_SESSION: Unknown = Settle(122);

/// Every API that is offered to clients, by key. Those between brokers (4–7, 27, 52–54, 56, 58, 59, 62, 63, 67, 70,
/// 73, 82–87) are not offered.
pub static OPERATIONS: &[Operation] = &[
    addressed(0, Leader, Sequenced),                              // Produce
    addressed(1, Leader, Replay),                                 // Fetch
    op(2, Leader, Replay),                                        // ListOffsets
    addressed(3, Any, Replay),                                    // Metadata
    op(8, Group("group_id"), Replay),                             // OffsetCommit
    op(9, Group("group_id"), Replay), // OffsetFetch (v8+: the first of its groups)
    addressed(10, Any, Replay),       // FindCoordinator
    op(11, Group("group_id"), Replay), // JoinGroup
    op(12, Group("group_id"), Replay), // Heartbeat
    op(13, Group("group_id"), ReplayThen(&[25])), // LeaveGroup: UNKNOWN_MEMBER_ID is "has left"
    op(14, Group("group_id"), Replay), // SyncGroup
    op(15, Group("groups"), Replay),  // DescribeGroups
    op(16, Node, Replay),             // ListGroups: each broker lists its own
    op(17, Node, Disconnect),         // SaslHandshake
    op(18, Local, Replay),            // ApiVersions
    op(19, Controller, ReplayThen(&[36])), // CreateTopics: TOPIC_ALREADY_EXISTS
    op(20, Controller, ReplayThen(&[3, 100])), // DeleteTopics: UNKNOWN_TOPIC_OR_PARTITION, _ID
    op(21, Leader, Replay),           // DeleteRecords: to an offset, so a repeat changes nothing
    op(22, Transaction("transactional_id"), Replay), // InitProducerId: a new id or epoch, the first is unused
    op(23, Leader, Replay),           // OffsetForLeaderEpoch
    op(24, Transaction("v3_and_below_transactional_id"), Replay), // AddPartitionsToTxn: a repeat of the step gives 0
    op(25, Transaction("transactional_id"), Replay),              // AddOffsetsToTxn
    op(26, Transaction("transactional_id"), Replay),              // EndTxn: 51 a few times, then 0
    op(28, Group("group_id"), Replay),                            // TxnOffsetCommit
    op(29, Any, Replay),                                          // DescribeAcls
    op(30, Controller, Replay), // CreateAcls: the same binding again is no change
    op(31, Controller, Replay), // DeleteAcls
    op(32, Node, Replay),       // DescribeConfigs: a broker's own are asked of it
    op(33, Node, Replay),       // AlterConfigs: the same whole state again
    op(34, Node, Replay),       // AlterReplicaLogDirs
    op(35, Node, Replay),       // DescribeLogDirs
    op(36, Node, Disconnect),   // SaslAuthenticate
    op(37, Controller, ReplayThen(&[37])), // CreatePartitions: INVALID_PARTITIONS, has them already
    op(38, Controller, Disconnect), // CreateDelegationToken: each makes another token
    op(39, Controller, Replay), // RenewDelegationToken
    op(40, Controller, Disconnect), // ExpireDelegationToken
    op(41, Any, Replay),        // DescribeDelegationToken
    op(42, Group("groups_names"), ReplayThen(&[69])), // DeleteGroups: GROUP_ID_NOT_FOUND
    op(43, Controller, ReplayThen(&[84])), // ElectLeaders: ELECTION_NOT_NEEDED
    op(44, Node, Disconnect),   // IncrementalAlterConfigs: appends are not repeatable
    op(45, Controller, ReplayThen(&[85])), // AlterPartitionReassignments: NO_REASSIGNMENT_IN_PROGRESS
    op(46, Controller, Replay), // ListPartitionReassignments
    op(47, Group("group_id"), Replay), // OffsetDelete
    op(48, Any, Replay),        // DescribeClientQuotas
    op(49, Controller, Replay), // AlterClientQuotas: sets values
    op(50, Any, Replay),        // DescribeUserScramCredentials
    op(51, Controller, Disconnect), // AlterUserScramCredentials
    addressed(55, Any, Replay), // DescribeQuorum
    op(57, Controller, Disconnect), // UpdateFeatures
    addressed(60, Any, Replay), // DescribeCluster
    op(61, Node, Replay),       // DescribeProducers: of the partitions it leads
    op(64, Controller, Disconnect), // UnregisterBroker
    op(65, Transaction("transactional_ids"), Replay), // DescribeTransactions
    op(66, Node, Replay),       // ListTransactions: each broker lists its own
    op(68, Group("group_id"), COORDINATOR), // ConsumerGroupHeartbeat: epochs are never made up
    op(69, Group("group_ids"), Replay), // ConsumerGroupDescribe
    op(71, Any, Replay),        // GetTelemetrySubscriptions
    op(72, Any, Disconnect),    // PushTelemetry
    op(74, Any, Replay),        // ListConfigResources
    op(75, Any, Replay),        // DescribeTopicPartitions: node ids only
    op(76, Group("group_id"), COORDINATOR), // ShareGroupHeartbeat
    op(77, Group("group_ids"), Replay), // ShareGroupDescribe
    addressed(78, Node, SHARE_SESSION), // ShareFetch: epochs and acknowledgements inside
    addressed(79, Node, SHARE_SESSION), // ShareAcknowledge
    op(80, Controller, Disconnect), // AddRaftVoter
    op(81, Controller, Disconnect), // RemoveRaftVoter
    op(88, Group("group_id"), COORDINATOR), // StreamsGroupHeartbeat: its endpoints are the applications'
    op(89, Group("group_ids"), Replay), // StreamsGroupDescribe
    op(90, Group("groups"), Replay), // DescribeShareGroupOffsets
    op(91, Group("group_id"), Replay), // AlterShareGroupOffsets
    op(92, Group("group_id"), Replay), // DeleteShareGroupOffsets
];

/// The row of an API key, if clients are offered it.
pub fn operation(key: i16) -> Option<&'static Operation> {
    OPERATIONS.binary_search_by_key(&key, |row| row.key).ok().and_then(|at| OPERATIONS.get(at))
}

/// `CONCURRENT_TRANSACTIONS`, which a repeated `EndTxn` gets a few times before its 0.
pub const CONCURRENT_TRANSACTIONS: i16 = 51;

/// Errors that say "not here": of partition leaders, coordinators and controllers. Absorbed within the hold.
pub fn is_stale_route(route: Route, code: i16) -> bool {
    match route {
        // LEADER_NOT_AVAILABLE, NOT_LEADER_OR_FOLLOWER, REPLICA_NOT_AVAILABLE, KAFKA_STORAGE_ERROR,
        // OFFSET_NOT_AVAILABLE
        Route::Leader => matches!(code, 5 | 6 | 9 | 56 | 78),
        // COORDINATOR_LOAD_IN_PROGRESS, COORDINATOR_NOT_AVAILABLE, NOT_COORDINATOR
        Route::Group(_) | Route::Transaction(_) => matches!(code, 14..=16),
        Route::Controller => code == 41,
        Route::Any => matches!(code, 14 | 15),
        Route::Local | Route::Node => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_sorted_and_found() {
        assert!(OPERATIONS.is_sorted_by_key(|row| row.key));
        for row in OPERATIONS {
            assert_eq!(operation(row.key).map(|found| found.key), Some(row.key));
        }
        for between_brokers in [4, 5, 6, 7, 27, 52, 56, 58, 63, 83, -1, 999] {
            assert!(operation(between_brokers).is_none(), "{between_brokers}");
        }
    }
}
