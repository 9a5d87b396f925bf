//! The one table of keys. What is a key, what it may hold, whether it must be there and whether it can
//! change live is said here once; the reader, the suggestions, the names of environment variables and
//! the comparison of two configurations all follow this table.
//!
//! A key's path is the path of its field in `types`. A new key is a field, its default, a row here and an
//! entry in `config/full.toml`; tests fail when one of them is forgotten. Imports files of this folder only.

use std::time::Duration;

use super::clusters::{Kafka, ZooKeeper};
use super::read::{self, Field};
use super::report::Report;
use super::types::Config;

/// What is said of a key, whoever its owner is.
#[derive(Debug)]
pub(super) struct Row {
    /// `hold.max`, or inside a cluster `broker_ports`.
    pub(super) path: &'static str,
    /// Whether it must be written.
    pub(super) need: Need,
    /// A right value as TOML; that of a key with a default is the default.
    pub(super) example: &'static str,
    /// Whether and when a change takes effect.
    pub(super) live: Live,
}

/// One key of the owner `T`: the whole configuration, or one cluster.
pub(super) struct Key<T: 'static> {
    /// What is said of it.
    pub(super) row: Row,
    /// Reads the value into its field; a value that is wrong is reported and leaves the field alone.
    pub(super) read: fn(&mut T, &Field<'_>, &mut Report),
    /// Whether two owners agree on it.
    pub(super) same: fn(&T, &T) -> bool,
    /// Copies it from the second owner to the first.
    pub(super) copy: fn(&mut T, &T),
}

/// Whether a key must be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Need {
    Required,
    Default,
    Optional,
}

/// When a changed key takes effect after a reload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Live {
    /// At once.
    Now,
    /// When a member is connected to next.
    NextConnect,
    /// When a client connects next.
    NextClient,
    /// Not before a restart: a socket is bound with it, or what was built with it can't be rebuilt.
    Restart,
}

impl Live {
    pub(super) fn is_live(self) -> bool {
        self != Self::Restart
    }

    pub(super) fn note(self) -> &'static str {
        match self {
            Self::Now => "in effect now",
            Self::NextConnect => "in effect for the next connections to members",
            Self::NextClient => "in effect for the next client connections",
            Self::Restart => "in effect after a restart",
        }
    }
}

impl Row {
    /// `hold.max` as in a variable's name: `HOLD_MAX`.
    pub(super) fn variable(&self) -> String {
        self.path.to_ascii_uppercase().replace('.', "_")
    }

    /// The table that holds it, `hold` or `admin.tls`; none for a key that stands directly in its owner.
    pub(super) fn table(&self) -> Option<&'static str> {
        Some(self.path.rsplit_once('.')?.0)
    }

    /// The last part of the path.
    pub(super) fn name(&self) -> &'static str {
        self.path.rsplit('.').next().unwrap_or(self.path)
    }

    /// Whether its value is a table whose entries can be overridden one by one.
    pub(super) fn is_map(&self) -> bool {
        self.example.starts_with('{')
    }
}

macro_rules! key {
    ($table:ident . $inner:ident . $field:ident, $($rest:tt)*) => {
        key!(
            @ concat!(stringify!($table), ".", stringify!($inner), ".", stringify!($field)),
            [$table.$inner.$field], $($rest)*
        )
    };
    ($table:ident . $field:ident, $($rest:tt)*) => {
        key!(@ concat!(stringify!($table), ".", stringify!($field)), [$table.$field], $($rest)*)
    };
    ($field:ident, $($rest:tt)*) => {
        key!(@ stringify!($field), [$field], $($rest)*)
    };
    (@ $path:expr, [$($field:tt)+], $need:ident, $example:literal, $live:ident,
     |$f:ident, $r:ident| $read:expr) => {
        Key {
            row: Row { path: $path, need: Need::$need, example: $example, live: Live::$live },
            read: |into, $f, $r| {
                if let Some(value) = $read {
                    into.$($field)+ = value;
                }
            },
            same: |a, b| a.$($field)+ == b.$($field)+,
            copy: |into, from| into.$($field)+.clone_from(&from.$($field)+),
        }
    };
}

const ZERO: Duration = Duration::ZERO;
const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
/// Longer is a mistake in every key but `member_retention`, and far from what overflows a clock.
const DAY: Duration = Duration::from_secs(24 * 3600);
const MONTH: Duration = Duration::from_secs(30 * 24 * 3600);
/// What Linux takes for `TCP_KEEPIDLE`.
const KEEPALIVE_MOST: Duration = Duration::from_secs(32767);
/// Less than a round trip to another zone and back under load would never let a session attach.
const ATTACH_LEAST: Duration = Duration::from_millis(50);
/// RFC 8305, section 8: the delay must not be under 10 ms.
const STAGGER_LEAST: Duration = Duration::from_millis(10);
/// A frame's length is an `i32` on the wire.
const FRAME_MOST: u64 = 0x7fff_ffff;
/// What a client sends to get a session must pass.
const JUTE_LEAST: u64 = 1024;
const MEMORY_MOST: u64 = 1 << 40;

/// The keys outside of clusters.
pub(super) const ROOT: &[Key<Config>] = &[
    key!(state_dir, Optional, r#""/var/lib/evenkeel""#, Restart, |f, r| read::folder(f, r).map(Some)),
    key!(worker_threads, Default, "1", Restart, |f, r| read::count(f, r, 1, 1024)),
    key!(admin.listen, Default, r#""127.0.0.1:9901""#, Restart, |f, r| read::listen(f, r)),
    key!(admin.metrics_listen, Default, "[]", Restart, |f, r| read::listen_or_not(f, r)),
    key!(admin.token_file, Optional, r#""/etc/evenkeel/admin-tokens""#, Restart, |f, r| {
        read::file(f, r).map(Some)
    }),
    key!(admin.trust_loopback, Default, "true", Restart, |f, r| read::flag(f, r)),
    key!(admin.hosts, Default, "[]", Restart, |f, r| read::host_names(f, r)),
    key!(admin.tls.certificate, Optional, r#""/etc/evenkeel/admin.pem""#, Restart, |f, r| {
        read::file(f, r).map(Some)
    }),
    key!(admin.tls.key, Optional, r#""/etc/evenkeel/admin.key""#, Restart, |f, r| read::file(f, r).map(Some)),
    key!(admin.tls.ca, Optional, r#""/etc/evenkeel/controllers.pem""#, Restart, |f, r| {
        read::file(f, r).map(Some)
    }),
    key!(log.format, Default, r#""text""#, Restart, |f, r| read::log_format(f, r)),
    key!(log.level, Default, r#""info""#, Now, |f, r| read::log_level(f, r)),
    key!(dns.servers, Default, "[]", Restart, |f, r| read::name_servers(f, r)),
    key!(dns.min_ttl, Default, r#""1s""#, Now, |f, r| read::duration(f, r, ZERO, DAY)),
    key!(dns.timeout, Default, r#""2s""#, Now, |f, r| read::duration(f, r, MS, HOUR)),
    key!(net.connect_timeout, Default, r#""3s""#, NextConnect, |f, r| read::duration(f, r, MS, HOUR)),
    key!(net.connect_stagger, Default, r#""250ms""#, NextConnect, |f, r| {
        read::duration(f, r, STAGGER_LEAST, HOUR)
    }),
    key!(net.keepalive, Default, r#""10s""#, NextConnect, |f, r| {
        read::duration(f, r, SECOND, KEEPALIVE_MOST)
    }),
    key!(net.user_timeout, Default, r#""20s""#, NextConnect, |f, r| read::duration(f, r, MS, DAY)),
    key!(net.backlog, Default, "1024", Restart, |f, r| read::count(f, r, 1, 65535)),
    key!(net.max_frame, Default, r#""100MiB""#, Restart, |f, r| read::size(f, r, 1, FRAME_MOST)),
    key!(net.write_queue, Default, r#""1MiB""#, Restart, |f, r| read::size(f, r, 1, MEMORY_MOST)),
    key!(limits.connections, Default, "20000", Now, |f, r| read::count(f, r, 1, 10_000_000)),
    key!(limits.cluster_connections, Default, "20000", Now, |f, r| read::count(f, r, 1, 10_000_000)),
    key!(limits.first_request, Default, r#""30s""#, NextClient, |f, r| read::duration(f, r, ZERO, DAY)),
    key!(limits.stall, Default, r#""10m""#, NextClient, |f, r| read::duration(f, r, ZERO, DAY)),
    key!(limits.idle, Default, r#""0s""#, NextClient, |f, r| read::duration(f, r, ZERO, MONTH)),
    key!(hold.max, Default, r#""20s""#, Now, |f, r| read::duration(f, r, ZERO, DAY)),
    key!(hold.bytes, Default, r#""64MiB""#, Now, |f, r| read::size(f, r, 1, MEMORY_MOST)),
    key!(hold.connection_bytes, Default, r#""16MiB""#, Now, |f, r| read::size(f, r, 1, MEMORY_MOST)),
    key!(hold.requests, Default, "1000", Now, |f, r| read::count(f, r, 1, 1_000_000)),
    key!(retry.min, Default, r#""50ms""#, Now, |f, r| read::duration(f, r, MS, HOUR)),
    key!(retry.max, Default, r#""1s""#, Now, |f, r| read::duration(f, r, MS, HOUR)),
    key!(retry.budget, Default, "20", Now, |f, r| read::count(f, r, 1, 1_000_000)),
    key!(shutdown.grace, Default, r#""10s""#, Now, |f, r| read::duration(f, r, ZERO, DAY)),
];

/// The keys of one `[[kafka]]`.
pub(super) const KAFKA: &[Key<Kafka>] = &[
    key!(name, Required, r#""orders""#, Restart, |f, r| read::cluster_name(f, r)),
    key!(listen, Required, r#""127.0.0.1:9092""#, Restart, |f, r| read::listen(f, r)),
    key!(bootstrap, Required, r#"["kafka-1.example.net:9092"]"#, Now, |f, r| read::servers(f, r)),
    key!(broker_ports, Required, r#""19092-19191""#, Restart, |f, r| read::port_range(f, r)),
    key!(node_ports, Default, "{}", Restart, |f, r| read::node_ports(f, r)),
    key!(advertise, Optional, r#""sidecar.example.net""#, Now, |f, r| {
        read::advertised_host(f, r).map(Some)
    }),
    key!(client_id, Default, r#""evenkeel""#, Restart, |f, r| read::text(f, r)),
    key!(metadata_refresh, Default, r#""30s""#, Now, |f, r| read::duration(f, r, MS, DAY)),
    key!(leader_poll, Default, r#""20ms""#, Now, |f, r| read::duration(f, r, MS, HOUR)),
    key!(member_retention, Default, r#""10m""#, Now, |f, r| read::duration(f, r, ZERO, MONTH)),
    key!(version_quiet, Default, r#""10m""#, Now, |f, r| read::duration(f, r, ZERO, DAY)),
    key!(verify_node, Default, "true", Restart, |f, r| read::flag(f, r)),
    key!(zone, Optional, r#""eu-west-1a""#, NextClient, |f, r| read::text(f, r).map(Some)),
    key!(idempotence, Default, r#""inject""#, NextClient, |f, r| read::idempotence(f, r)),
    key!(raise_acks, Default, r#""acks1""#, NextClient, |f, r| read::raise_acks(f, r)),
    key!(tls.enabled, Default, "false", NextConnect, |f, r| read::flag(f, r)),
    key!(tls.ca, Optional, r#""/etc/evenkeel/ca.pem""#, NextConnect, |f, r| read::file(f, r).map(Some)),
    key!(tls.certificate, Optional, r#""/etc/evenkeel/client.pem""#, NextConnect, |f, r| {
        read::file(f, r).map(Some)
    }),
    key!(tls.key, Optional, r#""/etc/evenkeel/client.key""#, NextConnect, |f, r| read::file(f, r).map(Some)),
    key!(sasl.mechanism, Optional, r#""SCRAM-SHA-512""#, NextConnect, |f, r| read::mechanism(f, r).map(Some)),
    key!(sasl.username, Optional, r#""evenkeel""#, NextConnect, |f, r| read::text(f, r).map(Some)),
    key!(sasl.password_file, Optional, r#""/etc/evenkeel/password""#, NextConnect, |f, r| {
        read::file(f, r).map(Some)
    }),
    key!(sasl.token_file, Optional, r#""/var/run/evenkeel/token""#, NextConnect, |f, r| {
        read::file(f, r).map(Some)
    }),
    key!(
        sasl.token_endpoint,
        Optional,
        r#""https://login.example.net/oauth2/token""#,
        NextConnect,
        |f, r| { read::url(f, r).map(Some) }
    ),
    key!(sasl.token_ca, Optional, r#""/etc/evenkeel/login-ca.pem""#, NextConnect, |f, r| {
        read::file(f, r).map(Some)
    }),
    key!(sasl.client_id, Optional, r#""evenkeel""#, NextConnect, |f, r| read::text(f, r).map(Some)),
    key!(sasl.client_secret_file, Optional, r#""/etc/evenkeel/client-secret""#, NextConnect, |f, r| {
        read::file(f, r).map(Some)
    }),
    key!(sasl.scope, Optional, r#""kafka""#, NextConnect, |f, r| read::text(f, r).map(Some)),
    key!(sasl.clients, Default, r#""held""#, NextClient, |f, r| read::sasl_clients(f, r)),
    key!(listen_tls.certificate, Optional, r#""/etc/evenkeel/listen.pem""#, NextClient, |f, r| {
        read::file(f, r).map(Some)
    }),
    key!(listen_tls.key, Optional, r#""/etc/evenkeel/listen.key""#, NextClient, |f, r| {
        read::file(f, r).map(Some)
    }),
    key!(listen_tls.client_ca, Optional, r#""/etc/evenkeel/clients.pem""#, NextClient, |f, r| {
        read::file(f, r).map(Some)
    }),
];

/// The keys of one `[[zookeeper]]`.
pub(super) const ZOOKEEPER: &[Key<ZooKeeper>] = &[
    key!(name, Required, r#""coord""#, Restart, |f, r| read::cluster_name(f, r)),
    key!(listen, Required, r#""127.0.0.1:2181""#, Restart, |f, r| read::listen(f, r)),
    key!(servers, Required, r#"["zk-1.example.net:2181"]"#, Now, |f, r| read::servers(f, r)),
    key!(tick_time, Default, r#""2s""#, Now, |f, r| read::duration(f, r, MS, HOUR)),
    key!(lease, Default, r#""direct""#, NextClient, |f, r| read::lease(f, r)),
    key!(session.min_upstream_timeout, Optional, r#""30s""#, NextClient, |f, r| {
        read::duration(f, r, MS, DAY).map(Some)
    }),
    key!(jute_maxbuffer, Default, r#""1MiB""#, NextClient, |f, r| read::size(f, r, JUTE_LEAST, FRAME_MOST)),
    key!(persistent_watches, Default, r#""close""#, Now, |f, r| read::persistent_watches(f, r)),
    key!(unknown_outcome, Default, r#""error""#, Now, |f, r| read::unknown_outcome(f, r)),
    key!(four_letter_words, Default, "[]", Now, |f, r| read::four_letter_words(f, r)),
    key!(follow_config, Default, "false", Now, |f, r| read::flag(f, r)),
    key!(advertise, Optional, r#""sidecar.example.net""#, NextClient, |f, r| {
        read::advertised_host(f, r).map(Some)
    }),
    key!(attach_timeout, Default, r#""1s""#, Now, |f, r| read::duration(f, r, ATTACH_LEAST, MINUTE)),
    key!(reattach_concurrency, Default, "64", Now, |f, r| read::count(f, r, 1, 100_000)),
    key!(tls.enabled, Default, "false", NextConnect, |f, r| read::flag(f, r)),
    key!(tls.ca, Optional, r#""/etc/evenkeel/ca.pem""#, NextConnect, |f, r| read::file(f, r).map(Some)),
    key!(tls.certificate, Optional, r#""/etc/evenkeel/client.pem""#, NextConnect, |f, r| {
        read::file(f, r).map(Some)
    }),
    key!(tls.key, Optional, r#""/etc/evenkeel/client.key""#, NextConnect, |f, r| read::file(f, r).map(Some)),
    key!(listen_tls.certificate, Optional, r#""/etc/evenkeel/listen.pem""#, NextClient, |f, r| {
        read::file(f, r).map(Some)
    }),
    key!(listen_tls.key, Optional, r#""/etc/evenkeel/listen.key""#, NextClient, |f, r| {
        read::file(f, r).map(Some)
    }),
    key!(listen_tls.client_ca, Optional, r#""/etc/evenkeel/clients.pem""#, NextClient, |f, r| {
        read::file(f, r).map(Some)
    }),
    key!(sasl.username, Optional, r#""evenkeel""#, NextConnect, |f, r| read::text(f, r).map(Some)),
    key!(sasl.password_file, Optional, r#""/etc/evenkeel/password""#, NextConnect, |f, r| {
        read::file(f, r).map(Some)
    }),
];

/// What is said of each key of a table of keys, in its order.
pub(super) fn rows<T>(keys: &'static [Key<T>]) -> Vec<&'static Row> {
    keys.iter().map(|key| &key.row).collect()
}

/// The tables that hold keys of `rows`, in their order: `admin`, `admin.tls`, `log`, …
pub(super) fn tables(rows: &[&'static Row]) -> Vec<&'static str> {
    let mut tables: Vec<&str> = rows.iter().filter_map(|row| row.table()).collect();
    tables.dedup();
    tables
}
