//! The command line.
//!
//! Exit codes: 0 done; 1 the configuration is refused or evenkeel can't start; 2 the command line is wrong; 128 and
//! the signal's number when a second signal ended a drain.

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Args, Parser, Subcommand};
use tokio::runtime::{Builder, Runtime};

use evenkeel::app::{App, Exit, Reload};
use evenkeel::config::{self, Config, LogFormat, Problems};
use evenkeel::lifecycle::Signals;
use evenkeel::telemetry;

/// A client-side resilience sidecar for Apache Kafka: applications connect to it as if it were the cluster.
#[derive(Parser)]
#[command(version, arg_required_else_help = true)]
struct CommandLine {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the sidecar until SIGTERM; SIGHUP reads the configuration again.
    Run(File),
    /// Check a configuration: every problem at once, each with its place.
    Check(File),
}

#[derive(Args)]
struct File {
    /// The configuration file. Variables such as `EVENKEEL_KAFKA_0_LISTEN` override its keys.
    #[arg(long, value_name = "FILE", env = "EVENKEEL_CONFIG")]
    config: PathBuf,
}

fn main() -> ExitCode {
    // Wrong usage ends here, with exit code 2.
    match CommandLine::parse().command {
        Command::Run(file) => run(&file.config),
        Command::Check(file) => check(&file.config),
    }
}

fn check(path: &Path) -> ExitCode {
    match load(path) {
        Ok(config) => {
            println!("ok: {}: {}", path.display(), summary(&config));
            ExitCode::SUCCESS
        }
        Err(problems) => refuse(&problems),
    }
}

fn run(path: &Path) -> ExitCode {
    match load(path) {
        Ok(config) => match start(config, path) {
            // Without waiting for what a runtime still does on other threads: everything that counts has ended.
            Ok(exit) => std::process::exit(i32::from(exit.code())),
            Err(text) => {
                eprintln!("evenkeel: {text}");
                ExitCode::FAILURE
            }
        },
        Err(problems) => refuse(&problems),
    }
}

/// Runs everything. Errors: why it can't start, as text.
fn start(config: Config, path: &Path) -> Result<Exit, String> {
    let format = match config.log.format {
        LogFormat::Text => telemetry::Format::Text,
        LogFormat::Json => telemetry::Format::Json,
    };
    let telemetry = telemetry::init(format, &config.log.level).map_err(|error| format!("log: {error}"))?;
    let runtime = runtime(config.worker_threads).map_err(|error| format!("no runtime: {error}"))?;
    let path = path.to_owned();
    let reload = Reload { load: Some(Arc::new(move || load(&path))), telemetry: Some(telemetry.clone()) };
    let result = runtime.block_on(async {
        // Before anything else: a signal that comes now must not be lost, nor kill.
        let signals = Signals::from_os().map_err(|error| format!("no signal handlers: {error}"))?;
        tracing::info!(version = env!("CARGO_PKG_VERSION"), "{}", summary(&config));
        let app = App::bind(config).await.map_err(|error| error.to_string())?;
        Ok(app.run(signals, reload).await)
    });
    telemetry.flush();
    result
}

/// With one worker the thread of `main` is it: tasks and the sockets' readiness share a thread, so that no wake-up
/// crosses from one to another. With more, that many workers beside it.
fn runtime(workers: usize) -> io::Result<Runtime> {
    match workers {
        0 | 1 => Builder::new_current_thread(),
        more => {
            let mut builder = Builder::new_multi_thread();
            builder.worker_threads(more);
            builder
        }
    }
    .enable_all()
    .thread_name("evenkeel")
    .build()
}

fn load(path: &Path) -> Result<Config, Problems> {
    // Names and values that aren't text can only be wrong: they are reported as what is left of them.
    let env = std::env::vars_os()
        .map(|(name, value)| (name.to_string_lossy().into_owned(), value.to_string_lossy().into_owned()));
    config::load(path, env)
}

fn refuse(problems: &Problems) -> ExitCode {
    eprintln!("{problems}");
    ExitCode::FAILURE
}

/// What is served, in one line.
fn summary(config: &Config) -> String {
    let clusters: Vec<String> = config
        .kafka
        .iter()
        .map(|kafka| {
            let listen: Vec<String> = kafka.listen.iter().map(ToString::to_string).collect();
            format!(
                "kafka {} on {}, brokers on ports {}",
                kafka.name,
                listen.join(" and "),
                kafka.broker_ports
            )
        })
        .collect();
    clusters.join("; ")
}
