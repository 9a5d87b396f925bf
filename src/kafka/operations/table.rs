//! The rows of the operation table, by key. Data only.

use super::Absorb::{AfterReplay, Elsewhere, Injected, Later, Sequenced as IfSequenced, TopicKnown};
use super::Operation;
use super::Route::{Any, Controller, Group, Internal, Leader, Local, Node, Transaction};
use super::Unknown::{Disconnect, InOrder, Replay, ReplayThen, Sequenced, Settle};
use super::{Absorb, Route, Unknown};

type Codes = &'static [(i16, Absorb)];

const NONE: Codes = &[];

/// 3 `UNKNOWN_TOPIC_OR_PARTITION`, 5 `LEADER_NOT_AVAILABLE`, 6 `NOT_LEADER_OR_FOLLOWER`, 7 `REQUEST_TIMED_OUT`,
/// 9 `REPLICA_NOT_AVAILABLE`, 19 `NOT_ENOUGH_REPLICAS`, 20 `NOT_ENOUGH_REPLICAS_AFTER_APPEND`,
/// 45 `OUT_OF_ORDER_SEQUENCE_NUMBER`, 47 `INVALID_PRODUCER_EPOCH`, 56 `KAFKA_STORAGE_ERROR`, 59 `UNKNOWN_PRODUCER_ID`, 74 `FENCED_LEADER_EPOCH`,
/// 75 `UNKNOWN_LEADER_EPOCH` (a Produce carries no epoch of the client's), 100 `UNKNOWN_TOPIC_ID`.
const PRODUCE: Codes = &[
    (3, TopicKnown),
    (5, Elsewhere),
    (6, Elsewhere),
    (7, IfSequenced),
    (9, Elsewhere),
    (19, Later),
    (20, IfSequenced),
    (45, Injected),
    (47, Injected),
    (56, Elsewhere),
    (59, Injected),
    (74, Elsewhere),
    (75, Elsewhere),
    (100, TopicKnown),
];

/// 78 `OFFSET_NOT_AVAILABLE`: a new leader that doesn't know its high watermark yet. A Fetch is asked again within its own
/// wait and never held; 1 `OFFSET_OUT_OF_RANGE` is looked into after a change of leader, and passes if it is true.
const LEADER: Codes = &[
    (3, TopicKnown),
    (5, Elsewhere),
    (6, Elsewhere),
    (9, Elsewhere),
    (56, Elsewhere),
    (78, Later),
    (100, TopicKnown),
];

const METADATA: Codes = &[(3, TopicKnown), (5, Later), (100, TopicKnown)];

/// 14 `COORDINATOR_LOAD_IN_PROGRESS`, 15 `COORDINATOR_NOT_AVAILABLE`.
const LOADING: Codes = &[(14, Later), (15, Later)];

/// As above, and 16 `NOT_COORDINATOR`.
const COORDINATOR: Codes = &[(14, Elsewhere), (15, Elsewhere), (16, Elsewhere)];

/// As above, and 7 `REQUEST_TIMED_OUT`: a follower of the offsets' partition was too slow or gone. The commit is in its leader's
/// log, perhaps for good, and its repeat harmless.
const COMMIT: Codes = &[(7, Later), (14, Elsewhere), (15, Elsewhere), (16, Elsewhere)];

/// As of a coordinator, and 51 `CONCURRENT_TRANSACTIONS`, which a repeated `EndTxn` gets a few times before its 0.
const END_TXN: Codes = &[(14, Elsewhere), (15, Elsewhere), (16, Elsewhere), (51, AfterReplay)];

/// 41 `NOT_CONTROLLER`.
const CONTROLLER: Codes = &[(41, Elsewhere)];

/// `COORDINATOR_NOT_AVAILABLE`: the client looks for its coordinator and goes on with the epoch that it has.
const RESUME: Unknown = Settle(15);
/// `SHARE_SESSION_NOT_FOUND`: what a broker that was restarted says; the client opens a new share session.
const SHARE_SESSION: Unknown = Settle(122);
/// `UNKNOWN_SUBSCRIPTION_ID`: the client asks anew what to push.
const SUBSCRIPTION: Unknown = Settle(117);

const ENDPOINTS: &[&str] = &["node_endpoints"];

const fn row(
    key: i16,
    (route, absorbs, unknown): (Route, Codes, Unknown),
    addresses: &'static [&'static str],
    note: &'static str,
) -> Operation {
    Operation { key, route, absorbs, unknown, addresses, note }
}

/// One line each: key, where it goes, what its client is spared, when it is unknown; addresses; why.
macro_rules! rows {
    ($($key:literal, $route:expr, $absorbs:expr, $unknown:expr $(, at $addresses:expr)?; $note:literal)+) => {
        &[$(row($key, ($route, $absorbs, $unknown), rows!(@ $($addresses)?), $note)),+]
    };
    (@) => { &[] };
    (@ $addresses:expr) => { $addresses };
}

/// Every API that brokers of 2.8 to 4.3 offer, by key.
pub static OPERATIONS: &[Operation] = rows! {
    0, Leader, PRODUCE, Sequenced, at ENDPOINTS; "6 with a base offset was appended: unknown. After a replay 46 is success. acks=0 has no answer and no repeat, unless it is raised"
    1, Leader, LEADER, Replay, at ENDPOINTS; "never held: an empty success within max_wait; an incremental session that is lost is told as 70"
    2, Leader, LEADER, Replay; "reads"
    3, Any, METADATA, Replay, at &["brokers"]; "a partition without a leader is shown with the one that it had; waited for where none is known"
    4, Internal, NONE, Disconnect; "the controller to brokers, ZooKeeper mode"
    5, Internal, NONE, Disconnect; "the controller to brokers, ZooKeeper mode"
    6, Internal, NONE, Disconnect; "the controller to brokers, ZooKeeper mode"
    7, Internal, NONE, Disconnect; "a broker to the controller, ZooKeeper mode"
    8, Group("group_id"), COMMIT, InOrder; "the same offsets again change nothing, older ones behind later ones do"
    9, Group("group_id"), COORDINATOR, Replay; "reads; v8+ goes by the first of its groups"
    10, Any, LOADING, Replay, at &[".", "coordinators"]; "a key without a coordinator is shown with the one that it had; waited for where none is known"
    11, Group("group_id"), COORDINATOR, Replay; "without a member id the first attempt leaves a ghost that expires, or 79 follows"
    12, Group("group_id"), COORDINATOR, Replay; "as it came, so member and generation are the same"
    13, Group("group_id"), COORDINATOR, ReplayThen(&[25]); "UNKNOWN_MEMBER_ID then is \"has left\""
    14, Group("group_id"), COORDINATOR, Replay; "as it came, so member and generation are the same"
    15, Group("groups"), COORDINATOR, Replay; "reads; goes by the first of its groups"
    16, Node, LOADING, Replay; "each broker lists its own groups"
    17, Node, NONE, Disconnect; "seen to here where credentials are configured; else a step of an authentication belongs to its connection"
    18, Local, NONE, Replay; "what all members share; capped at v4, since v5 names the node that the client expects"
    19, Controller, CONTROLLER, ReplayThen(&[36]); "TOPIC_ALREADY_EXISTS then is success; not of validate_only"
    20, Controller, CONTROLLER, ReplayThen(&[3, 100]); "UNKNOWN_TOPIC_OR_PARTITION, UNKNOWN_TOPIC_ID then are success"
    21, Leader, LEADER, Replay; "up to an offset, so a repeat changes nothing"
    22, Transaction("transactional_id"), COORDINATOR, Replay; "a new id or epoch; that of the first attempt is never used"
    23, Leader, LEADER, Replay; "reads; 74 and 75 answer the client's own epoch and pass"
    24, Transaction("v3_and_below_transactional_id"), COORDINATOR, Replay; "the same step again gives 0"
    25, Transaction("transactional_id"), COORDINATOR, Replay; "the same step again gives 0"
    26, Transaction("transactional_id"), END_TXN, Replay; "the same end again gives 51 a few times, then 0; v5 the same bumped epoch"
    27, Node, NONE, Disconnect; "an administrator's abort of a hanging transaction; a repeat could end the next one"
    28, Group("group_id"), COMMIT, InOrder; "the same offsets again change nothing, older ones behind later ones do"
    29, Any, NONE, Replay; "reads"
    30, Controller, CONTROLLER, Replay; "the same binding again is no change"
    31, Controller, CONTROLLER, Replay; "the same filter again finds nothing left"
    32, Node, NONE, Replay; "reads; a broker's own configuration is asked of it"
    33, Node, NONE, Replay; "the same whole state again"
    34, Node, NONE, Replay; "the same folders again"
    35, Node, NONE, Replay; "reads, of the node's own folders"
    36, Node, NONE, Disconnect; "seen to here where credentials are configured; else a step of an authentication belongs to its connection"
    37, Controller, CONTROLLER, ReplayThen(&[37]); "INVALID_PARTITIONS then is \"has them already\"; not of validate_only"
    38, Controller, CONTROLLER, Disconnect; "each makes another token"
    39, Controller, CONTROLLER, Replay; "the same period from now"
    40, Controller, CONTROLLER, Disconnect; "a token that is gone can't be told from one that never was"
    41, Any, NONE, Replay; "reads"
    42, Group("groups_names"), COORDINATOR, ReplayThen(&[69]); "GROUP_ID_NOT_FOUND then is success"
    43, Controller, CONTROLLER, ReplayThen(&[84]); "ELECTION_NOT_NEEDED then is success"
    44, Node, NONE, Disconnect; "an appended value would be there twice"
    45, Controller, CONTROLLER, ReplayThen(&[85]); "NO_REASSIGNMENT_IN_PROGRESS then is \"cancelled\""
    46, Controller, CONTROLLER, Replay; "reads"
    47, Group("group_id"), COORDINATOR, Replay; "offsets that are gone stay gone"
    48, Any, NONE, Replay; "reads"
    49, Controller, CONTROLLER, Replay; "sets values"
    50, Any, NONE, Replay; "reads"
    51, Controller, CONTROLLER, ReplayThen(&[91]); "sets values; RESOURCE_NOT_FOUND then is \"deleted\""
    52, Internal, NONE, Disconnect; "between controllers"
    53, Internal, NONE, Disconnect; "between controllers"
    54, Internal, NONE, Disconnect; "between controllers"
    55, Any, NONE, Replay, at &["nodes"]; "reads; controllers that are no brokers are shown without their listeners"
    56, Internal, NONE, Disconnect; "a broker to the controller (AlterIsr before 3.0)"
    57, Controller, CONTROLLER, Disconnect; "a level that is reached can't be told from one that is refused"
    58, Internal, NONE, Disconnect; "a broker forwards a client's request to the controller"
    59, Internal, NONE, Disconnect; "between controllers"
    60, Any, NONE, Replay, at &["brokers"]; "reads; controllers that are no brokers stay as they are"
    61, Node, NONE, Replay; "reads, of the partitions that the node leads"
    62, Internal, NONE, Disconnect; "a broker to the controller"
    63, Internal, NONE, Disconnect; "a broker to the controller"
    64, Controller, CONTROLLER, ReplayThen(&[102]); "BROKER_ID_NOT_REGISTERED then is success"
    65, Transaction("transactional_ids"), COORDINATOR, Replay; "reads; goes by the first of its ids"
    66, Node, LOADING, Replay; "each broker lists its own transactions"
    67, Internal, NONE, Disconnect; "a broker to the controller"
    68, Group("group_id"), COORDINATOR, RESUME; "its epoch may be used up: the client's next heartbeat settles it"
    69, Group("group_ids"), COORDINATOR, Replay; "reads; goes by the first of its groups"
    70, Internal, NONE, Disconnect; "between controllers"
    71, Any, NONE, Replay; "reads"
    72, Any, NONE, SUBSCRIPTION; "pushed twice it would count twice; the client asks for its subscription and goes on"
    73, Internal, NONE, Disconnect; "a broker to the controller"
    74, Any, NONE, Replay; "reads (ListClientMetricsResources before 4.1)"
    75, Any, NONE, Replay; "reads; names nodes by their ids only"
    76, Group("group_id"), COORDINATOR, RESUME; "its epoch may be used up: the client's next heartbeat settles it"
    77, Group("group_ids"), COORDINATOR, Replay; "reads; goes by the first of its groups"
    78, Node, NONE, SHARE_SESSION, at ENDPOINTS; "epochs and acknowledgements inside; 121, 122, 123 pass"
    79, Node, NONE, SHARE_SESSION, at ENDPOINTS; "epochs and acknowledgements inside; 121, 122, 123 pass"
    80, Controller, CONTROLLER, Disconnect; "a voter that was added can't be told from one that is refused"
    81, Controller, CONTROLLER, Disconnect; "a voter that was removed can't be told from one that never was"
    82, Internal, NONE, Disconnect; "between controllers"
    83, Internal, NONE, Disconnect; "a group's coordinator to the share coordinator"
    84, Internal, NONE, Disconnect; "a partition's leader to the share coordinator"
    85, Internal, NONE, Disconnect; "a partition's leader to the share coordinator"
    86, Internal, NONE, Disconnect; "a group's coordinator to the share coordinator"
    87, Internal, NONE, Disconnect; "a group's coordinator to the share coordinator"
    88, Group("group_id"), COORDINATOR, RESUME; "epochs as of 68; the endpoints inside are the applications' own"
    89, Group("group_ids"), COORDINATOR, Replay; "reads; the endpoints inside are the applications' own"
    90, Group("groups"), COORDINATOR, Replay; "reads; goes by the first of its groups"
    91, Group("group_id"), COORDINATOR, Replay; "sets offsets"
    92, Group("group_id"), COORDINATOR, Replay; "offsets that are gone stay gone"
};
