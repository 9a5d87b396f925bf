//! The configuration: read from a TOML file and the environment, checked whole, then plain data.
//!
//! Floor 1 (base): may be imported by everyone, imports nothing of this crate. Never reads the process's
//! environment by itself, never logs, never keeps anything between two calls.
//!
//! The way of a configuration: text and variables become one tree (`tree`, `env`), the tree is read by
//! the tables of keys (`keys`, `parse`, `read`), rules between keys are checked (`validate`, `sockets`), and
//! either a [`Config`] comes out or every problem at once ([`Problems`]).

mod address;
mod admin;
mod clusters;
mod env;
mod keys;
mod kinds;
mod parse;
mod problem;
mod read;
mod reload;
mod report;
mod sasl;
mod secret;
mod sockets;
mod suggest;
#[cfg(test)]
mod tests;
mod tree;
mod types;
mod units;
mod unknown;
mod validate;
mod warnings;

use std::path::Path;

use report::Report;

pub use clusters::{
    HostPort, Idempotence, Kafka, LeaseMode, ListenTls, PersistentWatches, PortRange, RaiseAcks, Tls,
    UnknownOutcome, ZooKeeper, ZooKeeperSasl, ZooKeeperSession,
};
pub use problem::{Place, Problem, Problems};
pub use reload::{Change, changes, merge_live};
pub use sasl::{Clients as SaslClients, Endpoint, Mechanism, Sasl};
pub use secret::Secret;
pub use types::{Admin, AdminTls, Config, Dns, HOLD_MAX, Hold, Limits, Log, LogFormat, Net, Retry, Shutdown};
pub use units::problem_of_a_name;
pub use warnings::warnings;

/// Loads a configuration from a file, with the overrides found in `env` (pairs of name and value, of which
/// only those that begin with `EVENKEEL_` are looked at; `std::env::vars` panics when any variable is not
/// UTF-8, so collect them from `vars_os`).
pub fn load(path: &Path, env: impl IntoIterator<Item = (String, String)>) -> Result<Config, Problems> {
    let file = path.display().to_string();
    match std::fs::read(path).map(String::from_utf8) {
        Ok(Ok(text)) => self::parse(&text, &file, env),
        Ok(Err(_)) => Err(whole_file(&file, "is not UTF-8 text; save it as UTF-8")),
        Err(error) => Err(whole_file(&file, &format!("can't be read: {error}"))),
    }
}

/// Reads a configuration from text; `file` is its name in problems. Every problem is found in one go,
/// except that text which is not TOML has only its first mistake named.
pub fn parse(
    text: &str,
    file: &str,
    env: impl IntoIterator<Item = (String, String)>,
) -> Result<Config, Problems> {
    let mut report = Report::new(file);
    let mut tree = match tree::parse(text) {
        Ok(tree) => tree,
        Err((place, wrong)) => {
            report.add(&place, "", format!("is not TOML: {wrong}"));
            return report.finish(Config::default());
        }
    };
    env::apply(&mut tree, env, &mut report);
    let config = parse::config(&tree, &mut report);
    validate::check(&config, &mut report);
    report.finish(config)
}

fn whole_file(file: &str, text: &str) -> Problems {
    let place = Place::File;
    Problems::new(vec![Problem { file: file.to_owned(), place, path: String::new(), text: text.to_owned() }])
}
