//! The loads: what clients of an ensemble ask, how often, and over how many connections.

use clap::ValueEnum;

use super::frames::Ask;

/// A kind of load.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Workload {
    /// getData of 100 bytes, one at a time.
    Get,
    /// getData of 1 kB, one at a time.
    GetKb,
    /// setData of 100 bytes, one at a time.
    Set,
    /// getData of 100 bytes, 64 sent together, then their 64 answers.
    GetPiped,
    /// getData of 1 kB, 64 sent together.
    GetKbPiped,
    /// setData of 100 bytes, 64 sent together.
    SetPiped,
    /// 500 connections, each with a session that pings: all of them at once, again and again.
    Pings,
}

impl Workload {
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Get => "getData 100 B, one at a time",
            Self::GetKb => "getData 1 kB, one at a time",
            Self::Set => "setData 100 B, one at a time",
            Self::GetPiped => "getData 100 B, 64 at a time",
            Self::GetKbPiped => "getData 1 kB, 64 at a time",
            Self::SetPiped => "setData 100 B, 64 at a time",
            Self::Pings => "pings of 500 connections",
        }
    }

    /// What is asked.
    pub(crate) fn asks(self) -> Ask {
        match self {
            Self::Get | Self::GetPiped => Ask::Get,
            Self::GetKb | Self::GetKbPiped => Ask::GetKb,
            Self::Set | Self::SetPiped => Ask::Set,
            Self::Pings => Ask::Ping,
        }
    }

    /// Requests of one measurement: enough for the clock's ticks (10 ms) to be a percent or two of what is measured.
    pub(crate) fn requests(self) -> u64 {
        match self {
            Self::Get | Self::GetKb | Self::Set => 40_000,
            Self::GetPiped | Self::GetKbPiped | Self::SetPiped => 384_000,
            Self::Pings => 100_000,
        }
    }

    /// Connections, each with a session of its own.
    pub(crate) fn connections(self) -> usize {
        if self == Self::Pings { 500 } else { 1 }
    }

    /// Requests that are sent together on a connection before their answers are awaited.
    pub(crate) fn burst(self) -> u64 {
        match self {
            Self::GetPiped | Self::GetKbPiped | Self::SetPiped => 64,
            _ => 1,
        }
    }

    /// Whether the time of a single request is measured: where one is under way at a time.
    pub(crate) fn is_timed(self) -> bool {
        self.burst() == 1 && self.connections() == 1
    }
}
