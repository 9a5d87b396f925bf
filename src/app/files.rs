//! Whether the files that a configuration names can be used: all of them are looked at, and each one that can't is a problem of its key.

use std::path::Path;

use crate::admin::Door;
use crate::config::{Config, ListenTls, Problems, Tls};
use crate::zookeeper::sasl as zookeeper_sasl;
use crate::{sasl, tls};

/// Key and reason.
type Fault = (String, String);

/// Looks at all files that `config`, read from `file`, names.
///
/// # Errors
/// Each file that can't be used, with its key.
pub fn check(config: &Config, file: &Path) -> Result<(), Problems> {
    let mut all = Door::faults(&config.admin);
    for (index, cluster) in config.kafka.iter().enumerate() {
        let table = format!("kafka[{index}]");
        encryption(&table, &cluster.tls, &cluster.listen_tls, &mut all);
        let of_sasl = sasl::faults(&cluster.sasl).into_iter();
        all.extend(of_sasl.map(|(key, why)| (format!("{table}.sasl.{key}"), why)));
    }
    for (index, ensemble) in config.zookeeper.iter().enumerate() {
        let table = format!("zookeeper[{index}]");
        encryption(&table, &ensemble.tls, &ensemble.listen_tls, &mut all);
        let of_sasl = zookeeper_sasl::check(&ensemble.sasl).err();
        all.extend(of_sasl.map(|why| (format!("{table}.sasl.password_file"), why)));
    }
    Problems::of_files(&file.display().to_string(), all).map_or(Ok(()), Err)
}

fn encryption(table: &str, members: &Tls, listeners: &ListenTls, all: &mut Vec<Fault>) {
    if members.enabled {
        let found = tls::faults(members).into_iter();
        all.extend(found.map(|(key, error)| (format!("{table}.tls.{key}"), error.to_string())));
    }
    if let Some(files) = listeners.files() {
        let key = |key| if key == "ca" { "client_ca" } else { key };
        let found = tls::listener_faults(&files).into_iter();
        all.extend(
            found.map(|(name, error)| (format!("{table}.listen_tls.{}", key(name)), error.to_string())),
        );
    }
}
