//! How near the process is to its bounds, for its metrics.

use rustix::process::{Resource, getrlimit};

use crate::config::Limits;
use crate::metrics::LimitMetrics;
use crate::net::{self, Crowd};

/// Shows what is now. Reads a folder of the system's: not for a thread that moves bytes.
pub(super) fn show(metrics: &LimitMetrics, limits: &Limits, clients: &Crowd) {
    metrics.connections.set(gauge(clients.count()));
    metrics.connections_limit.set(gauge(limits.connections));
    // The folder itself is open while it is read.
    let open = std::fs::read_dir("/proc/self/fd").map_or(0, |files| files.count().saturating_sub(1));
    metrics.open_files.set(gauge(open));
    let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    metrics.open_files_limit.set(i64::try_from(limit).unwrap_or(i64::MAX));
    metrics.accepts_failed(net::accepts_failed());
}

/// A number for a gauge.
pub(super) fn gauge(value: usize) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
