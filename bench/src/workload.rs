//! The loads: what a client asks, how often, and how many requests it keeps in flight.

use clap::ValueEnum;

/// A kind of load. All are one connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Workload {
    /// Produce requests of 100 kB, five in flight: as many as the Java client has.
    Produce,
    /// Fetch, one in flight, answers of 100 kB.
    Fetch,
    /// Fetch, one in flight, answers of 1 MB.
    FetchLarge,
    /// Produce requests with a record of 100 bytes, one at a time.
    Small,
    /// `ListGroups`, one at a time: small both ways, and nothing that a proxy looks into.
    Opaque,
    /// Produce requests with a record of 100 bytes, 64 sent together, then their 64 answers.
    Pipelined,
}

/// What a load's cost is counted in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    /// CPU-seconds for each gigabyte (10⁹ bytes, both directions).
    SecondsPerGigabyte,
    /// CPU microseconds for each request and its answer.
    MicrosPerRequest,
}

impl Workload {
    /// As the command line has it.
    pub(crate) fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }

    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Produce => "Produce, 100 kB requests",
            Self::Fetch => "Fetch, 100 kB answers",
            Self::FetchLarge => "Fetch, 1 MB answers",
            Self::Small => "small Produce, one at a time",
            Self::Opaque => "small ListGroups, one at a time",
            Self::Pipelined => "small Produce, 64 at a time",
        }
    }

    pub(crate) fn unit(self) -> Unit {
        match self {
            Self::Produce | Self::Fetch | Self::FetchLarge => Unit::SecondsPerGigabyte,
            Self::Small | Self::Opaque | Self::Pipelined => Unit::MicrosPerRequest,
        }
    }

    /// Requests of one measurement: enough for the clock's ticks (10 ms) to be a percent or two of what is measured.
    pub(crate) fn requests(self) -> u64 {
        match self {
            Self::Produce | Self::Fetch => 30_000,
            Self::FetchLarge => 3_000,
            Self::Small | Self::Opaque => 60_000,
            Self::Pipelined => 640_000,
        }
    }

    /// Requests that are sent together before their answers are awaited.
    pub(crate) fn burst(self) -> u64 {
        if self == Self::Pipelined { 64 } else { 1 }
    }

    /// Requests that may be unanswered when the next is sent.
    pub(crate) fn in_flight(self) -> u64 {
        match self {
            Self::Produce => 5,
            other => other.burst(),
        }
    }
}

impl Unit {
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::SecondsPerGigabyte => "CPU-s/GB",
            Self::MicrosPerRequest => "CPU µs/request",
        }
    }
}
