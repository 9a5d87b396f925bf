//! What is counted, in one place: from what happens to the metrics.

use super::ensemble::Ensemble;
use super::operations::operation;
use super::outcome::Verdict;
use super::wire::opcode;
use crate::metrics::zookeeper::{CloseReason, MoveKind, MoveOutcome, Poison, ReadbackVerdict};
use std::time::Duration;

impl Ensemble {
    /// A client was told an error.
    pub(super) fn count_error(&self, code: i32) {
        self.metrics.client_errors.zookeeper(code).inc();
    }

    /// A request was refused since servers can't decode it, or must not get it.
    pub(super) fn count_poison(&self, code: i32) {
        self.metrics.poison_refused.inc(match code {
            opcode::CREATE => Poison::Create,
            opcode::CREATE2 => Poison::Create2,
            opcode::CREATE_CONTAINER => Poison::CreateContainer,
            opcode::CREATE_TTL => Poison::CreateTtl,
            opcode::DELETE => Poison::Delete,
            opcode::SET_DATA => Poison::SetData,
            opcode::SET_ACL => Poison::SetAcl,
            opcode::MULTI => Poison::Multi,
            opcode::RECONFIG => Poison::Reconfig,
            opcode::CHECK => Poison::Check,
            _ => Poison::Other,
        });
    }

    /// A client's connection is closed by our own decision.
    pub(super) fn count_close(&self, reason: CloseReason) {
        self.metrics.lease_closes.inc(reason);
    }

    /// A session's way to another server has ended; `took`: how long it had none that it could send to.
    pub(super) fn count_move(&self, kind: MoveKind, outcome: MoveOutcome, took: Option<Duration>) {
        self.metrics.session_moves.get(kind).inc(outcome);
        if let Some(took) = took {
            self.metrics.session_move_seconds.get(kind).observe(took.as_secs_f64());
        }
    }

    /// What became of an operation was found out, or not.
    pub(super) fn count_verdict(&self, verdict: &Verdict) {
        self.metrics.readbacks.inc(match verdict {
            Verdict::Applied { .. } => ReadbackVerdict::Applied,
            Verdict::Rejected(_) => ReadbackVerdict::Failed,
            Verdict::Replay => ReadbackVerdict::NotApplied,
            Verdict::Unknown { .. } => ReadbackVerdict::Unknown,
        });
    }

    /// A request was answered after so long; `upstream`: how long the server had it.
    pub(super) fn count_request(&self, code: i32, whole: Duration, upstream: Duration) {
        let times = self.metrics.operation(code);
        times.requests.observe(whole.as_secs_f64());
        times.added.observe(whole.saturating_sub(upstream).as_secs_f64());
    }
}

/// The name of an operation.
pub(super) fn name_of(code: i32) -> &'static str {
    operation(code).map_or("unknown", |row| row.name)
}
