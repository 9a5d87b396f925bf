//! Rolls of an ensemble under load, from beginning to end, with or without Evenkeel.

use std::path::Path;

use super::judge::Excuse;
use super::story::{LOG, Load, PATIENCE, Row, Running};
use super::{Ensemble, EnsembleSpec};
use crate::{Error, Result, Roll, Sidecar};

/// Through what clients reach the servers.
#[derive(Clone, Copy, Debug)]
pub enum Through<'a> {
    /// They know the servers' own addresses.
    Nothing,
    /// They know only Evenkeel's, which is this binary.
    Evenkeel(&'a Path),
}

/// Rolls of an ensemble under load.
#[derive(Clone, Debug)]
pub struct Course {
    /// The ensemble.
    pub spec: EnsembleSpec,
    /// The clients.
    pub load: Load,
    /// How servers are stopped.
    pub how: Roll,
    /// How often each of them.
    pub rolls: usize,
    /// Whether Evenkeel is told before: its clients leave each server first (see `PUT …/drain`).
    pub announced: bool,
    /// Keys of Evenkeel's `[[zookeeper]]`, one on each line.
    pub keys: &'static str,
    /// What the stop of a leader excuses behind Evenkeel.
    pub excuse: Excuse,
}

/// What became of a [`Course`].
#[derive(Debug)]
pub struct Ending {
    /// What each client went through.
    pub rows: Vec<Row>,
    /// The sidecar, still running; its clients have ended.
    pub sidecar: Option<Sidecar>,
    /// The ensemble, whole.
    pub ensemble: Ensemble,
}

impl Ending {
    /// How many connections of clients Evenkeel says that it closed on purpose, for this reason
    /// (`evenkeel_zookeeper_lease_closes_total`).
    pub fn closed(&self, reason: &str) -> Result<usize> {
        let Some(sidecar) = &self.sidecar else { return Ok(0) };
        let label = format!("reason=\"{reason}\"");
        let sum = sidecar.metric_sum("evenkeel_zookeeper_lease_closes_total", &[&label])?;
        format!("{sum}").parse().map_err(|_| Error::program("evenkeel", format!("{sum} closed connections")))
    }
}

impl Course {
    /// Goes through it from beginning to end. `say` hears of each roll.
    pub fn run(&self, through: Through<'_>, mut say: impl FnMut(&str)) -> Result<Ending> {
        let mut ensemble = Ensemble::with(self.spec)?;
        let (to_servers, tls) = ensemble.for_sidecar();
        let keys = format!("tick_time = \"{}ms\"\n{tls}{}", self.spec.tick_ms, self.keys);
        let (sidecar, servers) = match through {
            Through::Nothing => (None, ensemble.servers()),
            Through::Evenkeel(binary) => {
                let (mut sidecar, listen) = Sidecar::zookeeper(binary, &to_servers, LOG, &keys)?;
                sidecar.wait_ready(PATIENCE)?;
                (Some(sidecar), listen.to_string())
            }
        };
        let mut running = Running::start(&ensemble, &self.load, &servers)?;
        if sidecar.is_some() {
            running.excuse(self.excuse);
        }
        for roll in 1..=self.rolls {
            say(&format!("roll {roll} of {}, {:?}", self.rolls, self.how));
            match &sidecar {
                Some(sidecar) if self.announced => running.roll_drained(&mut ensemble, self.how, sidecar)?,
                _ => running.roll(&mut ensemble, self.how)?,
            }
        }
        Ok(Ending { rows: running.finish()?, sidecar, ensemble })
    }
}
