//! What the lost connection carried is found out: the fence, the questions, the verdicts; then watches are set again and
//! requests go on.
//!
//! From the fence's answer on every write of the old connection is decided: applied already, or refused for ever, since the
//! session has moved. Before it no look at a node means anything (390 rounds of kill, freeze and leader loss on 3.8.7 and
//! 3.9.6 without a violation; without the fence 3 of 45).

use super::leases::OWN_XID;
use super::slot::{Reply, State};
use super::upstream::{Own, Who};
use super::{Moment, Phase, Session};
use crate::config::UnknownOutcome;
use crate::metrics::zookeeper::{CloseReason, FenceOutcome, MoveOutcome, ReplayVerdict, UnknownAction};
use crate::zookeeper::operations::Loss;
use crate::zookeeper::outcome::{Evidence, Pending, Read, Rivals, Step, Verdict, decide};
use crate::zookeeper::wire::{Op, ReplyHeader, Request, build, errors, reply, reply_body, xid};
use bytes::Bytes;
use std::time::Instant;

/// How far it has come.
pub(super) struct Settling {
    /// The slots that are asked about, oldest first.
    asked: Vec<u64>,
    /// What was read back so far.
    evidence: Evidence,
    /// What is being read, and how many answers are due.
    reads: Vec<Read>,
    due: usize,
    /// When the session was attached again.
    started: Instant,
}

impl Session {
    /// The session is attached again.
    pub(super) fn settle(&mut self, at: Moment) {
        let undecided: Vec<u64> = (self.base..)
            .zip(&self.slots)
            .filter(|(_, slot)| matches!(slot.state, State::Unknown) && slot.loss() != Loss::Reattach)
            .map(|(number, _)| number)
            .collect();
        let Some(mut upstream) = self.upstream.take() else { return };
        self.authenticate(&mut upstream, at);
        if !undecided.is_empty() {
            upstream.ask(build::fence(OWN_XID), OWN_XID, Own::Fence, at.boot);
        }
        self.upstream = Some(upstream);
        let settling = Settling {
            asked: undecided,
            evidence: Evidence::new(),
            reads: Vec::new(),
            due: 0,
            started: at.now,
        };
        let nothing = settling.asked.is_empty();
        self.phase = Phase::Settling(Box::new(settling));
        if nothing {
            self.resume(at);
        }
    }

    /// The answer to something of our own.
    pub(super) fn on_own(&mut self, own: Own, header: ReplyHeader, frame: &Bytes, at: Moment) {
        match own {
            Own::Ping | Own::Sync | Own::First => {}
            Own::Auth if header.err == 0 => {}
            Own::Auth => self.close("the server refused an authentication that had succeeded before"),
            Own::Fence => self.fenced(header, frame, at),
            Own::ReadBack(number) => self.read_back(number, header, frame, at),
            Own::Watches if header.err != 0 => {
                self.close(format!("the server did not take the watches: error {}", header.err));
            }
            Own::Watches => self.watches_moved(header, at),
            Own::CatchUp => self.caught_up(at),
        }
    }

    fn fenced(&mut self, header: ReplyHeader, frame: &Bytes, at: Moment) {
        if header.err != 0 || !reply::is_fence_answer(reply_body(frame)) {
            self.ensemble.metrics.fences.inc(FenceOutcome::Refused);
            return self.lost_with("the fence did not hold", Some(Who::Own(Own::Fence)), at);
        }
        self.progressed(at);
        self.ensemble.metrics.fences.inc(FenceOutcome::Stands);
        self.inherits = false;
        self.look(at);
    }

    fn read_back(&mut self, number: usize, header: ReplyHeader, frame: &Bytes, at: Moment) {
        let Phase::Settling(settling) = &mut self.phase else { return };
        if let Some(read) = settling.reads.get(number) {
            settling.evidence.learn(read.clone(), header.err, reply_body(frame));
        }
        settling.due = settling.due.saturating_sub(1);
        if settling.due == 0 {
            self.look(at);
        }
    }

    /// The verdicts, or what must be read first.
    fn look(&mut self, at: Moment) {
        let Some(session) = self.identity.as_ref().map(|identity| identity.session) else { return };
        let Phase::Settling(settling) = &mut self.phase else { return };
        let (base, slots) = (self.base, &self.slots);
        let slot = |number: &u64| slots.get(usize::try_from(number.checked_sub(base)?).ok()?);
        let pending = settling.asked.iter().filter_map(|number| {
            let slot = slot(number)?;
            // It was decoded before it was sent.
            let request = Request::decode(slot.code, slot.payload()).ok()?;
            Some(Pending { request, z0: slot.z0, inherits: slot.inherits })
        });
        let pending: Vec<Pending<'_>> = pending.collect();
        match decide(&pending, session, Rivals::default(), &mut settling.evidence) {
            Step::Read(reads) => {
                settling.due = reads.len();
                let Some(upstream) = &mut self.upstream else { return };
                for (number, read) in reads.iter().enumerate() {
                    upstream.ask(read.frame(OWN_XID), OWN_XID, Own::ReadBack(number), at.boot);
                }
                settling.reads = reads;
            }
            Step::Decided(verdicts) => {
                let asked = std::mem::take(&mut settling.asked);
                for (number, verdict) in asked.into_iter().zip(verdicts) {
                    self.verdict(number, verdict);
                }
                self.resume(at);
            }
        }
    }

    fn verdict(&mut self, number: u64, verdict: Verdict) {
        let (zxid, ensemble) = (self.zxid, std::sync::Arc::clone(&self.ensemble));
        self.ensemble.count_verdict(&verdict);
        if let Verdict::Applied { zxid: own, .. } = verdict {
            // The next server must not be behind what the client is told here. But watches are still to tell what came before.
            self.zxid = self.zxid.max(own);
        }
        let Some(slot) = self.slot_mut(number) else { return };
        slot.state = match verdict {
            Verdict::Applied { body, zxid: own } => {
                State::Done(Reply::Made(build::reply(slot.xid, own.max(zxid), 0, &body)))
            }
            Verdict::Rejected(code) => {
                ensemble.count_error(code);
                State::Done(Reply::Made(build::error_reply(slot.xid, zxid, code)))
            }
            Verdict::Replay => {
                ensemble.metrics.replays.inc(ReplayVerdict::Verified);
                State::Waiting
            }
            Verdict::Unknown { likely } => return self.unknown(number, likely),
        };
    }

    /// Nobody can tell what became of it: the client is told so, in its protocol's words.
    fn unknown(&mut self, number: u64, likely: bool) {
        let Some(identity) = &self.identity else { return };
        let told =
            identity.copes && self.ensemble.settings().zookeeper.unknown_outcome == UnknownOutcome::Error;
        let (session, zxid) = (identity.session, self.zxid);
        let cluster = self.ensemble.settings().zookeeper.name.clone();
        let Some(slot) = self.slot_mut(number) else { return };
        let path = Request::decode(slot.code, slot.payload()).ok().and_then(path_of);
        tracing::warn!(
            target: "evenkeel::unknown_outcome",
            protocol = "zookeeper",
            cluster,
            session = format_args!("{session:#x}"),
            operation = slot.name(),
            path = path.as_deref(),
            xid = slot.xid,
            last_zxid = format_args!("{:#x}", slot.z0),
            told = if told { "CONNECTION_LOSS" } else { "closed" },
            likely_applied = likely,
            "the outcome of an operation can't be known"
        );
        slot.state = State::Done(if told {
            Reply::Made(build::error_reply(slot.xid, zxid, errors::CONNECTION_LOSS))
        } else {
            let reason = "the outcome of an operation can't be known".to_owned();
            Reply::Close(reason, Some(CloseReason::UnknownOutcome))
        });
        let action = if told { UnknownAction::Error } else { UnknownAction::Closed };
        self.ensemble.metrics.unknown_outcomes.inc(action);
        if told {
            self.ensemble.count_error(errors::CONNECTION_LOSS);
        }
    }

    /// Watches are set again, and requests go on.
    fn resume(&mut self, at: Moment) {
        let started = match &self.phase {
            Phase::Settling(settling) => settling.started,
            _ => at.now,
        };
        let frames = self.watches.rearm(self.told);
        self.ensemble.metrics.watches_rearmed.inc_by(self.watches.len() as u64);
        if let Some(upstream) = &mut self.upstream {
            for frame in frames {
                upstream.ask(frame, xid::SET_WATCHES, Own::Watches, at.boot);
            }
        }
        // A closeSession that was cut off goes again: the session is still there.
        for slot in &mut self.slots {
            if matches!(slot.state, State::Unknown) && slot.loss() == Loss::Reattach {
                slot.state = State::Waiting;
            }
        }
        self.phase = Phase::Serving;
        self.next = self.base;
        let took = at.now.saturating_duration_since(started);
        self.end_move(MoveOutcome::Moved, Some(took));
    }
}

/// The path that a write is about; of a multi the first one.
fn path_of(request: Request<'_>) -> Option<String> {
    let path = match request {
        Request::Create(create) => create.path,
        Request::Delete { path, .. } | Request::SetData { path, .. } | Request::SetAcl { path, .. } => path,
        Request::Multi(multi) => multi.iter().find_map(|op| match op {
            Op::Create(create) => create.path,
            Op::Delete { path, .. } | Op::SetData { path, .. } | Op::Check { path, .. } => path,
            _ => None,
        }),
        _ => None,
    };
    path.map(|path| path.lossy().into_owned())
}
