//! What one gigabyte and one request cost in CPU time: a bare copy loop (the floor), `HAProxy` in TCP mode, Evenkeel, and
//! Evenkeel with the injection of identities off. And what a killed broker costs beyond what it must ([`stall`]), and
//! what a client waits while its `ZooKeeper` session is moved ([`moves`]).
//!
//! Every part is a process of its own: the load generator ([`load`]), the proxy that is measured ([`contender`]), the
//! broker ([`broker`]). All of them but `HAProxy` and Evenkeel are this binary in another role. What counts is the CPU time
//! of the proxy's process as the kernel accounts for it ([`cpu`]), not the time on the wall.

mod broker;
mod contender;
mod copy;
mod cpu;
mod frames;
mod load;
mod moves;
mod reader;
mod report;
mod run;
mod stall;
mod tls;
mod workload;
mod zookeeper;

use clap::{Parser, Subcommand};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use testbed::Error;
use workload::Workload;

#[derive(Parser)]
#[command(version, about = "What Evenkeel costs in CPU time, beside a bare copy loop and HAProxy")]
struct Arguments {
    #[command(subcommand)]
    role: Role,
}

#[derive(Subcommand)]
enum Role {
    /// Measures all contenders and prints a table.
    Run(Options),
    /// Kills brokers of a real cluster and measures what Evenkeel adds to the shortest possible stall.
    Stall(stall::Options),
    /// Drains servers of real `ZooKeeper` ensembles and measures the pauses that clients see.
    Moves(moves::Options),
    /// Measures proxies in front of a `ZooKeeper` server, `HAProxy` and Envoy among them.
    Zookeeper(zookeeper::Options),
    /// One contender under one load, again and again: for a profiler.
    Profile {
        /// Who is loaded.
        #[arg(long, value_enum, default_value = "evenkeel")]
        contender: contender::Kind,
        /// With what.
        #[arg(long, value_enum)]
        only: Workload,
        /// How often.
        #[arg(long, default_value_t = 10)]
        rounds: u32,
    },
    /// (a part) The bare copy loop.
    Copy { listen: SocketAddr, upstream: SocketAddr },
    /// Measures `HAProxy` and Evenkeel on encrypted connections.
    Tls(tls::Options),
    /// (a part) The broker that answers at once.
    Broker {
        listen: SocketAddr,
        #[arg(long)]
        store: Option<PathBuf>,
    },
    /// (a part) The load generator.
    Load {
        target: SocketAddr,
        workload: Workload,
        requests: u64,
        #[arg(long)]
        ca: Option<PathBuf>,
    },
    /// (a part) The one that connects again and again.
    Connections {
        target: SocketAddr,
        count: u64,
        #[arg(long)]
        ca: Option<PathBuf>,
        #[arg(long)]
        full: bool,
    },
    /// (a part) The `ZooKeeper` server that answers at once.
    ZookeeperServer { listen: SocketAddr },
    /// (a part) The load generator for it.
    ZookeeperLoad { target: SocketAddr, workload: zookeeper::Workload, requests: u64 },
    /// Evenkeel in front of a `ZooKeeper` server under one load, again and again: for a profiler.
    ZookeeperProfile {
        /// Who is loaded.
        #[arg(long, value_enum, default_value = "evenkeel")]
        contender: contender::Kind,
        /// With what.
        #[arg(long, value_enum)]
        only: zookeeper::Workload,
        /// How often.
        #[arg(long, default_value_t = 10)]
        rounds: u32,
    },
}

/// What a run is to do.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct Options {
    /// Rounds over all workloads and contenders; the table has their medians.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// A tenth of the load: for a look while developing, too coarse for figures.
    #[arg(long)]
    quick: bool,
    /// Only these workloads.
    #[arg(long, value_enum)]
    only: Vec<Workload>,
    /// Writes the results there too, as Markdown.
    #[arg(long)]
    output: Option<PathBuf>,
}

fn main() -> ExitCode {
    let result = match Arguments::parse().role {
        Role::Run(options) => run::run(&options),
        Role::Stall(options) => stall::run(&options),
        Role::Moves(options) => moves::run(&options),
        Role::Zookeeper(options) => zookeeper::run(&options),
        Role::ZookeeperServer { listen } => zookeeper::serve(listen),
        Role::ZookeeperLoad { target, workload, requests } => zookeeper::load(target, workload, requests),
        Role::ZookeeperProfile { contender, only, rounds } => zookeeper::profile(contender, only, rounds),
        Role::Profile { contender, only, rounds } => run::profile(contender, only, rounds),
        Role::Copy { listen, upstream } => copy::serve(listen, upstream).map_err(Error::io("copying")),
        Role::Tls(options) => tls::run(&options),
        Role::Broker { listen, store } => broker::serve(listen, store.as_deref()),
        Role::Load { target, workload, requests, ca } => {
            load::load(target, workload, requests, ca.as_deref())
        }
        Role::Connections { target, count, ca, full } => {
            load::connections(target, count, ca.as_deref(), full)
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}
