//! The command line.
//!
//! Exit codes: 0 done; 1 the configuration is refused or evenkeel can't start; 2 the command line is wrong; 128 and
//! the signal's number when a second signal ended a drain. `upgrade` has more (`driver::Exit`), and so have `status` (`fleet::show`) and
//! `check` (`check`).

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::{Args, Parser, Subcommand, ValueEnum};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::runtime::{Builder, Runtime};

use evenkeel::admin::{client, prestop};
use evenkeel::app::{self, App, Exit, Reload, files};
use evenkeel::config::{self, Config, LogFormat, Problems};
use evenkeel::lifecycle::Signals;
use evenkeel::telemetry;

#[path = "main/check.rs"]
mod check;
#[path = "main/credentials.rs"]
mod credentials;
#[path = "main/fleets.rs"]
mod fleets;

use check::Check;
use credentials::Credentials;
use fleets::{Status, Upgrade};

/// Between two looks at a drain.
const DRAIN_LOOK: Duration = Duration::from_millis(200);

/// A client-side resilience sidecar for Apache Kafka and Apache ZooKeeper: applications connect to it as if it were the
/// cluster.
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
    /// Check a configuration: every problem at once, each with its place. With --connect its clusters, too. Exit codes: 0 all is well, 1
    /// the configuration is refused or a file can't be used, 2 usage, 3 a member can't be reached, or not used.
    Check(Check),
    /// Switch bypass of a cluster on or off in the sidecar that runs: nothing is held, stamped or sent elsewhere while it is
    /// on. Connections follow at their next request; a restart switches it off.
    Bypass(Bypass),
    /// Make the clients of the sidecar that runs leave a member, and wait until none is left there.
    Drain(Drain),
    /// End the drain of a member.
    Undrain(Undrain),
    /// What the containers of brokers and servers run.
    #[command(subcommand)]
    Hook(Hook),
    /// Drive a rolling upgrade: each member drained at every sidecar, its command run, all well again, the cluster's version raised
    /// last. Killed at any point and started again it goes on where it was. Exit codes: 0 done, 1 can't start or write, 2 bad plan
    /// or usage, 3 a gate stayed closed past its bound, 4 a command failed, 5 interrupted, 6 a sidecar is silent, 7 somebody else
    /// orders there, 8 a person has to say what became of a member.
    Upgrade(Upgrade),
    /// Show a sidecar or a fleet: members, phases, sessions, holds, gates with their reasons. Exit codes: 0 all is calm, 1 nobody
    /// answers, 2 usage, 3 something is under way (a member doesn't serve, requests are held), 6 a sidecar is silent.
    Status(Status),
}

#[derive(Subcommand)]
enum Hook {
    /// Before it is stopped, the clients of every sidecar leave a member. Reads `PRESTOP_CLUSTER`, `PRESTOP_SIDECARS`, `PRESTOP_MEMBER`
    /// ({pod} and {ordinal} stand for parts of `POD_NAME`), `PRESTOP_TIMEOUT_S`,
    /// `PRESTOP_TOKEN_FILE`, `PRESTOP_CA`, `PRESTOP_CERTIFICATE`, `PRESTOP_KEY`. Fails open: it ends with 0 in time, and says what it missed.
    Prestop,
    /// Copy this program into a folder that another container sees.
    Install {
        /// The folder.
        folder: PathBuf,
    },
}

#[derive(Args)]
struct Bypass {
    switch: Switch,
    /// The name of the cluster in the configuration.
    cluster: String,
    #[command(flatten)]
    sidecar: Sidecar,
}

#[derive(Args)]
struct Drain {
    /// The name of the cluster in the configuration.
    cluster: String,
    /// The member, as `GET /v1/clusters/CLUSTER` names it.
    member: String,
    /// How long to wait, in seconds; 0 only begins.
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    wait: u64,
    #[command(flatten)]
    sidecar: Sidecar,
}

#[derive(Args)]
struct Undrain {
    /// The name of the cluster in the configuration.
    cluster: String,
    /// The member.
    member: String,
    #[command(flatten)]
    sidecar: Sidecar,
}

/// The sidecar that runs.
#[derive(Args)]
struct Sidecar {
    /// The admin listener of the sidecar; else the one of the configuration, else 127.0.0.1:9901.
    #[arg(long, value_name = "URL")]
    admin: Option<String>,
    /// The sidecar's configuration file, for its admin listener and its token.
    #[arg(long, value_name = "FILE", env = "EVENKEEL_CONFIG")]
    config: Option<PathBuf>,
    #[command(flatten)]
    credentials: Credentials,
}

#[derive(Clone, Copy, ValueEnum)]
enum Switch {
    On,
    Off,
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
        Command::Check(check) => check.run(),
        Command::Bypass(bypass) => switch(&bypass),
        Command::Drain(drain) => leave(&drain),
        Command::Undrain(undrain) => stay(&undrain),
        Command::Hook(Hook::Prestop) => before_stop(),
        Command::Hook(Hook::Install { folder }) => install(&folder),
        Command::Upgrade(upgrade) => upgrade.run(),
        Command::Status(status) => status.run(),
    }
}

/// A runtime and the address of the sidecar that runs, to ask it things.
struct Asking {
    runtime: Runtime,
    url: String,
    client: client::Client,
}

impl Asking {
    fn new(sidecar: &Sidecar) -> Result<Self, ExitCode> {
        let mut credentials = sidecar.credentials.clone().into();
        let url = Self::url(sidecar.admin.as_deref(), sidecar.config.as_deref(), &mut credentials)?;
        if let Some(problem) = credentials.problems().first() {
            return Err(complain(problem));
        }
        let runtime = runtime(1).map_err(|error| complain(&format!("no runtime: {error}")))?;
        Ok(Self { runtime, url, client: client::Client::with(credentials) })
    }

    /// The address, and the token of the configuration that it is from.
    fn url(
        admin: Option<&str>,
        config: Option<&Path>,
        credentials: &mut client::Credentials,
    ) -> Result<String, ExitCode> {
        Ok(match (admin, config) {
            (Some(url), _) => url.to_owned(),
            (None, None) => admin_of(&config::Admin::default()),
            (None, Some(path)) => {
                let admin = load(path).map_err(|problems| refuse(&problems))?.admin;
                // Whoever may read it may do what it is for; who may not is let in as anybody else is.
                let readable = admin.token_file.clone().filter(|file| std::fs::File::open(file).is_ok());
                credentials.token_file = credentials.token_file.take().or(readable);
                admin_of(&admin)
            }
        })
    }

    /// Status and text of the answer; what is not of the class 2xx is complained about.
    fn ask(&self, method: hyper::Method, path: &str) -> Result<(u16, String), ExitCode> {
        match self.runtime.block_on(self.client.ask(&self.url, method, path)) {
            Ok((status, text)) if (200..300).contains(&status) => Ok((status, text)),
            Ok((status, text)) => Err(complain(&format!("{}: {status}: {}", self.url, text.trim()))),
            Err(error) => Err(complain(&error.to_string())),
        }
    }
}

fn complain(text: &str) -> ExitCode {
    eprintln!("evenkeel: {text}");
    ExitCode::FAILURE
}

fn told(result: Result<String, ExitCode>) -> ExitCode {
    match result {
        Ok(text) => {
            println!("{text}");
            ExitCode::SUCCESS
        }
        Err(code) => code,
    }
}

fn switch(bypass: &Bypass) -> ExitCode {
    let (method, state) = match bypass.switch {
        Switch::On => (hyper::Method::PUT, "on"),
        Switch::Off => (hyper::Method::DELETE, "off"),
    };
    let path = format!("/v1/clusters/{}/bypass", bypass.cluster);
    told(Asking::new(&bypass.sidecar).and_then(|asking| {
        asking.ask(method, &path)?;
        Ok(format!("{}: bypass is {state}", bypass.cluster))
    }))
}

/// Begins the drain of a member, and waits for its end: an answer of 200.
fn leave(drain: &Drain) -> ExitCode {
    let path = format!("/v1/clusters/{}/members/{}/drain", drain.cluster, drain.member);
    let until = Instant::now() + Duration::from_secs(drain.wait);
    told(Asking::new(&drain.sidecar).and_then(|asking| {
        loop {
            let (status, text) = asking.ask(hyper::Method::PUT, &path)?;
            if status == 200 {
                return Ok(format!("{}: {} is drained", drain.cluster, drain.member));
            }
            if drain.wait == 0 {
                return Ok(format!("{}: {} is draining", drain.cluster, drain.member));
            }
            if Instant::now() >= until {
                return Err(complain(&format!(
                    "{}: {} is not drained within {} s: {}",
                    drain.cluster,
                    drain.member,
                    drain.wait,
                    text.trim()
                )));
            }
            std::thread::sleep(DRAIN_LOOK);
        }
    }))
}

fn stay(undrain: &Undrain) -> ExitCode {
    let path = format!("/v1/clusters/{}/members/{}/drain", undrain.cluster, undrain.member);
    told(Asking::new(&undrain.sidecar).and_then(|asking| {
        asking.ask(hyper::Method::DELETE, &path)?;
        Ok(format!("{}: {} is not drained", undrain.cluster, undrain.member))
    }))
}

/// Whatever comes of it, the container ends: so this does, too.
fn before_stop() -> ExitCode {
    let leaving = match prestop::Leaving::read(|name| std::env::var(name).ok()) {
        Ok(leaving) => leaving,
        Err(text) => {
            eprintln!("evenkeel: nobody was asked: {text}");
            return ExitCode::SUCCESS;
        }
    };
    match runtime(1) {
        Ok(runtime) => {
            for (listener, left) in runtime.block_on(leaving.wait()) {
                match left {
                    Ok(()) => eprintln!("evenkeel: {listener}: nobody is left"),
                    Err(text) => eprintln!("evenkeel: {listener}: {text}"),
                }
            }
        }
        Err(error) => eprintln!("evenkeel: no runtime: {error}"),
    }
    ExitCode::SUCCESS
}

fn install(folder: &Path) -> ExitCode {
    let to = folder.join("evenkeel");
    match std::env::current_exe().and_then(|own| std::fs::copy(own, &to)) {
        Ok(_) => ExitCode::SUCCESS,
        Err(error) => complain(&format!("{}: {error}", to.display())),
    }
}

/// Where the first admin listener of a configuration is reached from this host.
fn admin_of(admin: &config::Admin) -> String {
    let Some(listen) = admin.listen.first() else { return String::new() };
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    let scheme = if admin.tls.certificate.is_some() { "https" } else { "http" };
    format!("{scheme}://{}", SocketAddr::new(ip, listen.port()))
}

fn run(path: &Path) -> ExitCode {
    match usable(path) {
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
    for warning in config::warnings(&config).into_iter().chain(app::check::warnings(&config)) {
        tracing::warn!("{warning}");
    }
    let files = open_files();
    let runtime = runtime(config.worker_threads).map_err(|error| format!("no runtime: {error}"))?;
    let path = path.to_owned();
    let reload = Reload { load: Some(Arc::new(move || usable(&path))), telemetry: Some(telemetry.clone()) };
    let result = runtime.block_on(async {
        // Before anything else: a signal that comes now must not be lost, nor kill.
        let signals = Signals::from_os().map_err(|error| format!("no signal handlers: {error}"))?;
        tracing::info!(version = env!("CARGO_PKG_VERSION"), open_files = files, "{}", summary(&config));
        let app = App::bind(config).await.map_err(|error| error.to_string())?;
        Ok(app.run(signals, reload).await)
    });
    telemetry.flush();
    result
}

/// Raises the number of files that the process may have open to the most that it is allowed, and answers it: each client's
/// connection takes two or more, and the limit that shells and service managers begin with (1024) is one for programs that
/// can't know better.
fn open_files() -> Option<u64> {
    let limit = getrlimit(Resource::Nofile);
    // It may only be lowered, or isn't there: then it stays as it is.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
    getrlimit(Resource::Nofile).current
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

/// A configuration, with files that can be used.
fn usable(path: &Path) -> Result<Config, Problems> {
    let config = load(path)?;
    files::check(&config, path)?;
    Ok(config)
}

fn refuse(problems: &Problems) -> ExitCode {
    eprintln!("{problems}");
    ExitCode::FAILURE
}

/// What is served, in one line.
fn summary(config: &Config) -> String {
    let kafka = config.kafka.iter().map(|kafka| {
        let (listen, ports) = (on(&kafka.listen), kafka.broker_ports);
        format!("kafka {} on {listen}, brokers on ports {ports}", kafka.name)
    });
    let zookeeper = config.zookeeper.iter().map(|ensemble| {
        let servers: Vec<String> = ensemble.servers.iter().map(ToString::to_string).collect();
        format!("zookeeper {} on {}, servers {}", ensemble.name, on(&ensemble.listen), servers.join(", "))
    });
    kafka.chain(zookeeper).collect::<Vec<_>>().join("; ")
}

fn on(addresses: &[SocketAddr]) -> String {
    addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(" and ")
}
