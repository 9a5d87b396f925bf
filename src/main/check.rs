//! `check`: whether a configuration can be used, and with `--connect` whether its clusters can.

use std::io::{self, IsTerminal as _, Write as _};
use std::path::Path;
use std::process::ExitCode;

use clap::Args;

use evenkeel::app::check;
use evenkeel::config::{self, Config};
use evenkeel::findings::{Verdict, table};

use super::{File, complain, refuse, runtime, summary, usable};

/// The exit code when something of a cluster can't be reached, or not used.
const UNREACHED: u8 = 3;

#[derive(Args)]
pub(super) struct Check {
    #[command(flatten)]
    file: File,
    /// Reach the members of all clusters as a running sidecar would, and show a table of what was found: DNS, TCP, TLS, SASL, versions,
    /// rights; what failed says why, and what to do about it. Nothing is written there, and no listener is opened here.
    #[arg(long)]
    connect: bool,
}

impl Check {
    pub(super) fn run(&self) -> ExitCode {
        let path = &self.file.config;
        match usable(path) {
            Ok(config) if self.connect => connect(path, &config),
            Ok(config) => {
                for warning in check::warnings(&config) {
                    eprintln!("evenkeel: warning: {warning}");
                }
                println!("{}", sound(path, &config));
                ExitCode::SUCCESS
            }
            Err(problems) => refuse(&problems),
        }
    }
}

/// What is said of a configuration that can be used, its warnings on the side.
fn sound(path: &Path, config: &Config) -> String {
    for warning in config::warnings(config) {
        eprintln!("evenkeel: warning: {warning}");
    }
    format!("ok: {}: {}", path.display(), summary(config))
}

fn connect(path: &Path, config: &Config) -> ExitCode {
    let first = sound(path, config);
    let found = runtime(1).map_err(|error| format!("no runtime: {error}"));
    let found = found.and_then(|own| own.block_on(check::connect(config)).map_err(|error| error.to_string()));
    let found = match found {
        Ok(found) => found,
        Err(text) => return complain(&text),
    };
    let count = |verdict| found.iter().map(|findings| findings.count(verdict)).sum::<usize>();
    let (failed, warnings) = (count(Verdict::Failed), count(Verdict::Warning));
    let stdout = io::stdout();
    let width = stdout.is_terminal().then(|| rustix::termios::tcgetwinsize(&stdout).ok()).flatten();
    let table = table(&found, width.map(|size| size.ws_col.into()));
    // Nobody may be there to read it: what counts is in the exit code, too.
    let _ = writeln!(stdout.lock(), "{first}\n\n{table}\n{failed} failed, {warnings} to look after");
    if failed > 0 { ExitCode::from(UNREACHED) } else { ExitCode::SUCCESS }
}
