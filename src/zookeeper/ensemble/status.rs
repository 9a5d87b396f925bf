//! What `GET /v1/clusters/{c}` says of an ensemble.

use super::{Ensemble, Health};
use crate::upstream::DrainState;
use crate::zookeeper::words::{Known, Mode};
use serde_json::{Value, json};

impl Ensemble {
    /// Sets the gauges that are looked at rather than counted.
    pub fn before_render(&self) {
        self.metrics.hold_bytes.set(i64::try_from(self.ledger.bytes()).unwrap_or(i64::MAX));
        let limit = self.settings().zookeeper.reattach_concurrency;
        self.metrics.attach_limit.set(i64::try_from(limit).unwrap_or(i64::MAX));
        let oldest = self.ledger.oldest(crate::time::now());
        self.metrics.hold_oldest_seconds.set(oldest.map_or(0.0, |age| age.as_secs_f64()));
        for (at, sessions) in
            self.read(|servers| servers.all().iter().map(|s| (s.at.clone(), s.sessions)).collect::<Vec<_>>())
        {
            let member = self.metrics.member(&at.to_string());
            member.sessions.set(i64::try_from(sessions).unwrap_or(i64::MAX));
        }
    }

    /// What the ensemble is, as one server: for `srvr`.
    pub fn known(&self) -> Known {
        let best = self.read(|servers| {
            let up = servers.all().iter().filter(|server| server.health == Health::Up);
            up.max_by_key(|server| server.sessions).map(|server| (server.version.clone(), server.mode))
        });
        let (version, mode) = best.unwrap_or_default();
        Known {
            version: version.map(String::from),
            mode,
            zxid: None,
            connections: usize::try_from(self.metrics.client_connections.get()).unwrap_or(0),
            outstanding: usize::try_from(self.metrics.hold_requests.get()).unwrap_or(0),
        }
    }

    /// Servers with their health, what they are and who is on them, and what is held.
    pub fn status_json(&self) -> Value {
        let (settings, now) = (self.settings(), crate::time::now());
        let writing = self.writes_waited_for();
        let members = self.read(|servers| {
            let each = servers.all().iter().map(|server| {
                let state = match server.health {
                    Health::Up => "up",
                    Health::Down(_) => "down",
                    Health::Unknown => "untried",
                };
                let mode = server.mode.map(Mode::name);
                let phase = match (server.health, servers.drain_state(&server.at, writing, now)) {
                    (Health::Down(_), _) => "down",
                    (_, Some(DrainState::Drained)) => "drained",
                    (_, Some(DrainState::Draining { .. })) => "draining",
                    (_, Some(DrainState::Off | DrainState::Expired) | None) => "serving",
                };
                let metrics = self.metrics.member(&server.at.to_string());
                json!({
                    "id": server.at.to_string(),
                    "address": server.at.to_string(),
                    "state": state,
                    "phase": phase,
                    "mode": mode,
                    "version": server.version,
                    "sessions": server.sessions,
                    "connections": metrics.connections.get(),
                    "in_flight": metrics.in_flight.get(),
                })
            });
            each.collect::<Vec<_>>()
        });
        let account = self.ledger.account();
        json!({
            "name": settings.zookeeper.name,
            "protocol": "zookeeper",
            "clients": self.metrics.client_connections.get(),
            "bypass": self.is_bypassed(),
            "members": members,
            "hold": {
                "waiting": account.waiting, "started": account.started, "released": account.released,
                "expired": account.expired, "cancelled": account.cancelled,
                "bytes": self.ledger.bytes(), "limit_bytes": self.ledger.limit(),
            },
        })
    }
}
