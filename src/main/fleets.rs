//! The commands that see more than one sidecar: `upgrade`, `upgrade --serve`, `status`.

use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use evenkeel::findings::plain;
use evenkeel::{config, driver, fleet, telemetry};

use super::{Asking, Credentials, complain, open_files, runtime};

#[derive(Args)]
pub(super) struct Upgrade {
    /// The plan; `config/plan.toml` shows every key.
    #[arg(value_name = "PLAN.toml")]
    plan: PathBuf,
    /// The journal; else PLAN.toml.journal.
    #[arg(long, value_name = "FILE")]
    journal: Option<PathBuf>,
    /// Say what would be done, and change nothing.
    #[arg(long)]
    dry_run: bool,
    /// Members that have begun go back to the version before, by the plan's `rollback_command`.
    #[arg(long)]
    rollback: bool,
    /// This member's command did its work, though nobody saw its end.
    #[arg(long, value_name = "MEMBER", conflicts_with = "again")]
    done: Option<String>,
    /// This member's command did nothing: it comes again.
    #[arg(long, value_name = "MEMBER")]
    again: Option<String>,
    /// Do nothing of it, but speak the hook for all of the plan's sidecars: for a controller of your own. Of the file only `cluster`,
    /// `protocol` and `sidecars` are needed; `dead_sidecars` and `bounds.silent_s` count.
    #[arg(long, conflicts_with_all = ["journal", "dry_run", "rollback", "done", "again"])]
    serve: bool,
    /// Where `--serve` listens. Any other address than a loopback one needs --admin-token-file, or --admin-certificate and --admin-ca.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9900", requires = "serve")]
    listen: SocketAddr,
    /// Where `--serve` shows its metrics and probes to everyone, and nothing else.
    #[arg(long, value_name = "ADDRESS", requires = "serve")]
    metrics_listen: Option<SocketAddr>,
    #[command(flatten)]
    door: ServeDoor,
    #[command(flatten)]
    credentials: Credentials,
}

/// Who is let in at the listener of `--serve`.
#[allow(clippy::struct_field_names, reason = "the names of the options")]
#[derive(Args, Clone)]
struct ServeDoor {
    /// The tokens that let controllers in at `--serve`, one a line.
    #[arg(long, value_name = "FILE", requires = "serve")]
    admin_token_file: Option<PathBuf>,
    /// The certificate of `--serve`'s own listener (PEM).
    #[arg(long, value_name = "FILE", requires_all = ["serve", "admin_key"])]
    admin_certificate: Option<PathBuf>,
    /// The private key of --admin-certificate (PEM, not encrypted).
    #[arg(long, value_name = "FILE", requires = "admin_certificate")]
    admin_key: Option<PathBuf>,
    /// The authorities whose clients are let in at `--serve` by their certificates (PEM).
    #[arg(long, value_name = "FILE", requires = "admin_certificate")]
    admin_ca: Option<PathBuf>,
}

impl ServeDoor {
    /// As a configuration says it.
    fn admin(&self, listen: SocketAddr, metrics: Option<SocketAddr>) -> Result<config::Admin, String> {
        if !listen.ip().to_canonical().is_loopback()
            && self.admin_token_file.is_none()
            && self.admin_ca.is_none()
        {
            return Err(format!(
                "--listen {listen} can be reached from elsewhere, and nothing closes it; give --admin-token-file, or \
                 --admin-certificate with --admin-ca, or listen on 127.0.0.1"
            ));
        }
        let own = self.clone();
        Ok(config::Admin {
            listen: vec![listen],
            metrics_listen: metrics.into_iter().collect(),
            token_file: own.admin_token_file,
            tls: config::AdminTls {
                certificate: own.admin_certificate,
                key: own.admin_key,
                ca: own.admin_ca,
            },
            ..config::Admin::default()
        })
    }
}

#[derive(Args)]
pub(super) struct Status {
    /// An admin listener; again for more. Else the one of the configuration, else 127.0.0.1:9901.
    #[arg(long, value_name = "URL")]
    admin: Vec<String>,
    /// Every address of a name is one: NAME:PORT.
    #[arg(long, value_name = "NAME:PORT", conflicts_with = "admin")]
    dns: Option<String>,
    /// The sidecars and the cluster of a plan.
    #[arg(long, value_name = "PLAN.toml", conflicts_with_all = ["admin", "dns"])]
    plan: Option<PathBuf>,
    /// A sidecar's configuration file, for its admin listener and its token.
    #[arg(long, value_name = "FILE", env = "EVENKEEL_CONFIG")]
    config: Option<PathBuf>,
    #[command(flatten)]
    credentials: Credentials,
    /// This cluster alone.
    #[arg(long, value_name = "NAME")]
    cluster: Option<String>,
    /// Go on looking: a live table in a terminal, elsewhere what has changed.
    #[arg(long)]
    watch: bool,
    /// JSON, a line for each look.
    #[arg(long)]
    json: bool,
}

impl Upgrade {
    pub(super) fn run(self) -> ExitCode {
        if self.serve { serve(&self) } else { drive(self) }
    }
}

impl Status {
    pub(super) fn run(self) -> ExitCode {
        look(self)
    }
}

/// Drives a roll. What it does it says itself; how it ended is the last line.
fn drive(upgrade: Upgrade) -> ExitCode {
    let word = upgrade.done.map(|member| (member, true)).or(upgrade.again.map(|member| (member, false)));
    let Upgrade { plan, journal, dry_run, rollback, credentials, .. } = upgrade;
    open_files();
    let options = driver::Options { plan, journal, dry_run, rollback, credentials: credentials.into(), word };
    let halt = match runtime(1) {
        Ok(runtime) => runtime.block_on(driver::run(&options)),
        Err(error) => return complain(&format!("no runtime: {error}")),
    };
    // The terminal may be gone: what counts is in the journal, and the exit code.
    let _ = match halt.exit {
        driver::Exit::Done => writeln!(io::stdout(), "{}", shown(&halt.text)),
        _ => writeln!(io::stderr(), "evenkeel: {}", shown(&halt.text)),
    };
    ExitCode::from(halt.exit.code())
}

/// Lines in which nothing that a sidecar has said steers the terminal.
fn shown(text: &str) -> String {
    text.lines().map(plain).collect::<Vec<_>>().join("\n")
}

fn misused(text: &str) -> ExitCode {
    eprintln!("evenkeel: {text}");
    ExitCode::from(driver::Exit::Usage.code())
}

/// The hook of a whole fleet.
fn serve(upgrade: &Upgrade) -> ExitCode {
    let plan = driver::PlanFile::load_fleet(&upgrade.plan).and_then(|plan| Ok((plan.source()?, plan)));
    let (source, plan) = match plan {
        Ok(plan) => plan,
        Err(text) => return misused(&text),
    };
    let policy = fleet::Policy {
        go_on: plan.dead_sidecars == driver::DeadSidecars::GoOn,
        silent: Duration::from_secs(plan.bounds.silent_s),
    };
    open_files();
    let admin = match upgrade.door.admin(upgrade.listen, upgrade.metrics_listen) {
        Ok(admin) => admin,
        Err(text) => return misused(&text),
    };
    let credentials = plan.credentials(&upgrade.credentials.clone().into());
    if let Some(problem) = credentials.problems().first() {
        return misused(problem);
    }
    let serving = fleet::Serving { admin, cluster: plan.cluster, source, credentials, policy };
    let telemetry = match telemetry::init(telemetry::Format::Text, "info") {
        Ok(telemetry) => telemetry,
        Err(error) => return complain(&format!("log: {error}")),
    };
    let served =
        runtime(1).map_err(|error| error.to_string()).and_then(|own| own.block_on(fleet::serve(serving)));
    telemetry.flush();
    served.map_or_else(|text| complain(&text), |()| ExitCode::SUCCESS)
}

/// What is, as a table.
fn look(status: Status) -> ExitCode {
    let Status { admin, dns, plan, config, credentials, mut cluster, watch, json } = status;
    let mut credentials = credentials.into();
    let source = match (plan, dns, admin.is_empty()) {
        (Some(plan), _, _) => match driver::PlanFile::load_fleet(&plan) {
            Ok(plan) => {
                let source = plan.source();
                credentials = plan.credentials(&credentials);
                cluster = cluster.or(Some(plan.cluster));
                source
            }
            Err(text) => Err(text),
        },
        (None, Some(name), _) => Ok(fleet::Source::Dns(name)),
        (None, None, false) => Ok(fleet::Source::List(admin)),
        (None, None, true) => match Asking::url(None, config.as_deref(), &mut credentials) {
            Ok(url) => Ok(fleet::Source::List(vec![url])),
            Err(code) => return code,
        },
    };
    let source = match source {
        Ok(source) if source.problems().is_empty() => source,
        Ok(source) => return misused(&source.problems().join("; ")),
        Err(text) => return misused(&text),
    };
    if let Some(problem) = credentials.problems().first() {
        return misused(problem);
    }
    open_files();
    let looking = fleet::Looking { source, credentials, cluster, watch, json };
    let shown =
        runtime(1).map_err(|error| error.to_string()).and_then(|own| own.block_on(fleet::show(&looking)));
    shown.map_or_else(|text| complain(&text), ExitCode::from)
}
