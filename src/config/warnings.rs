//! What works and is dangerous: secrets that others can read, credentials that others can use, a list that leads nowhere.
//!
//! Looks at the rights of files, never into them. Imports files of this folder only.

use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::clusters::{Kafka, ListenTls, ZooKeeper};
use super::sasl::{Clients, Mechanism};
use super::types::Config;

/// What works and is dangerous, a sentence each. The rights of files are those of now.
pub fn warnings(config: &Config) -> Vec<String> {
    let mut all = Vec::new();
    let admin = &config.admin;
    for (key, file) in [("token_file", &admin.token_file), ("tls.key", &admin.tls.key)] {
        all.extend(readable(&format!("admin.{key}"), file.as_deref()));
    }
    for kafka in &config.kafka {
        let (name, sasl) = (&kafka.name, &kafka.sasl);
        all.extend(in_the_clear(kafka));
        all.extend(lent(name, &kafka.listen, &kafka.listen_tls, of_kafka(kafka)));
        for (key, file) in [
            ("sasl.password_file", &sasl.password_file),
            ("sasl.token_file", &sasl.token_file),
            ("sasl.client_secret_file", &sasl.client_secret_file),
            ("tls.key", &kafka.tls.key),
            ("listen_tls.key", &kafka.listen_tls.key),
        ] {
            all.extend(readable(&format!("{name}: {key}"), file.as_deref()));
        }
    }
    for ensemble in &config.zookeeper {
        let name = &ensemble.name;
        all.extend(half_followed(ensemble));
        all.extend(lent(name, &ensemble.listen, &ensemble.listen_tls, of_zookeeper(ensemble)));
        for (key, file) in [
            ("sasl.password_file", &ensemble.sasl.password_file),
            ("tls.key", &ensemble.tls.key),
            ("listen_tls.key", &ensemble.listen_tls.key),
        ] {
            all.extend(readable(&format!("{name}: {key}"), file.as_deref()));
        }
    }
    all
}

/// A list that has no `secureClientPort`.
fn half_followed(ensemble: &ZooKeeper) -> Option<String> {
    (ensemble.follow_config && ensemble.tls.enabled).then(|| {
        format!(
            "{}: follow_config with tls.enabled: /zookeeper/config names the servers' clientPort alone; unless that takes encrypted \
             connections, too (client.portUnification), nobody on that list is reached, and servers is gone by",
            ensemble.name
        )
    })
}

/// Secrets that cross a network as they are.
fn in_the_clear(kafka: &Kafka) -> Vec<String> {
    let (name, sasl, mut all) = (&kafka.name, &kafka.sasl, Vec::new());
    let shown = match sasl.mechanism {
        Some(Mechanism::Plain) => Some("the password"),
        Some(Mechanism::OauthBearer) => Some("the token"),
        _ => None,
    };
    if let (Some(shown), Some(by), false) = (shown, sasl.mechanism, kafka.tls.enabled) {
        all.push(format!(
            "{name}: sasl.mechanism {by} without tls.enabled: everyone on the way to the brokers can read {shown}"
        ));
    }
    if let Some(endpoint) = sasl.token_endpoint.as_ref().filter(|endpoint| !endpoint.encrypted) {
        all.push(format!(
            "{name}: sasl.token_endpoint {endpoint} is not https: everyone on the way to it can read the secret and the token"
        ));
    }
    all
}

/// As whom a client's requests are taken that shows no credentials, if there are any that are held.
fn of_kafka(kafka: &Kafka) -> Option<String> {
    match (kafka.sasl.mechanism, kafka.sasl.clients) {
        (Some(_), Clients::Own) => None,
        (Some(_), Clients::Held) => {
            let user = kafka.sasl.username.as_ref();
            Some(user.map_or_else(|| "by the token that is held".to_owned(), |user| format!("as {user:?}")))
        }
        (None, _) => kafka.tls.certificate.as_ref().map(|_| certified()),
    }
}

fn of_zookeeper(ensemble: &ZooKeeper) -> Option<String> {
    let user = ensemble.sasl.held().map(|(user, _)| format!("as {user:?}"));
    user.or_else(|| ensemble.tls.certificate.as_ref().map(|_| certified()))
}

fn certified() -> String {
    "by the certificate in tls.certificate".to_owned()
}

/// Held credentials that others than this host's users may use.
fn lent(name: &str, listen: &[SocketAddr], tls: &ListenTls, whom: Option<String>) -> Option<String> {
    let open: Vec<String> =
        listen.iter().filter(|address| !address.ip().is_loopback()).map(ToString::to_string).collect();
    let whom = whom.filter(|_| !open.is_empty() && tls.client_ca.is_none())?;
    let open = open.join(" and ");
    Some(format!(
        "{name}: listen {open} without listen_tls.client_ca: everyone who can connect there acts {whom}"
    ))
}

/// How: what a Kubernetes Secret brings can't be changed where it is mounted, and root's alone would be of no use to others.
const TAKE: &str = "chmod o-r; for a Kubernetes Secret defaultMode 0440 and an fsGroup";

/// A file of secrets that every user of this host can read.
fn readable(key: &str, file: Option<&Path>) -> Option<String> {
    let file = file?;
    is_open(file).then(|| {
        format!("{key}: every user of this host can read {}; take that from them ({TAKE})", file.display())
    })
}

/// Whether others may read it, and enter each folder on the way to it. What can't be looked at is none of their business either.
fn is_open(file: &Path) -> bool {
    let may = |path: &Path, right: u32| std::fs::metadata(path).is_ok_and(|data| data.mode() & right != 0);
    let real: Option<PathBuf> = file.canonicalize().ok();
    real.is_some_and(|real| may(&real, 0o004) && real.ancestors().skip(1).all(|folder| may(folder, 0o001)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt as _;
    use std::sync::atomic::{AtomicU32, Ordering};

    /// What is said of a cluster of each kind with these keys.
    fn said(kafka: &str, zookeeper: &str) -> Vec<String> {
        let text = format!(
            "[[kafka]]\nname = \"k\"\nbootstrap = [\"b:1\"]\nbroker_ports = \"2-3\"\n{kafka}\n\
             [[zookeeper]]\nname = \"z\"\nservers = [\"s:1\"]\n{zookeeper}\n"
        );
        warnings(&crate::config::parse(&text, "f", []).unwrap())
    }

    #[test]
    fn credentials_that_everyone_on_the_network_could_use_are_told() {
        let tls = "tls.enabled = true\n";
        let scram = format!(
            "{tls}sasl.mechanism = 'SCRAM-SHA-256'\nsasl.username = 'u'\nsasl.password_file = '/nowhere'\n"
        );
        let token = format!("{tls}sasl.mechanism = 'OAUTHBEARER'\nsasl.token_file = '/nowhere'\n");
        let certificate = format!("{tls}tls.certificate = '/nowhere'\ntls.key = '/nowhere'\n");
        let listening = "listen_tls.certificate = '/nowhere'\nlisten_tls.key = '/nowhere'\n";
        let clients = format!("{listening}listen_tls.client_ca = '/nowhere'\n");
        let own = "sasl.clients = 'own'\n";
        let digest = "sasl.username = 'v'\nsasl.password_file = '/nowhere'\n".to_owned();
        let quiet = "listen = '[::1]:9'\n";
        for (keys, whom) in [
            (scram.clone(), Some("as \"u\"")),
            (scram.clone() + listening, Some("as \"u\"")),
            (scram.clone() + &clients, None),
            (scram.clone() + own, None),
            (token, Some("by the token that is held")),
            (certificate.clone(), Some("by the certificate in tls.certificate")),
            (String::new(), None),
        ] {
            let open = format!("listen = ['127.0.0.1:1', '10.0.0.1:1']\n{keys}");
            let line = whom.map(|whom| {
                format!("k: listen 10.0.0.1:1 without listen_tls.client_ca: everyone who can connect there acts {whom}")
            });
            assert_eq!(said(&open, quiet), Vec::from_iter(line), "{keys}");
            assert_eq!(said(&format!("listen = '127.0.0.1:1'\n{keys}"), quiet).len(), 0, "{keys}");
        }
        for (keys, whom) in [
            (digest.clone(), Some("as \"v\"")),
            (digest + &clients, None),
            (certificate, Some("by the certificate in tls.certificate")),
        ] {
            let line = whom.map(|whom| {
                format!("z: listen 10.0.0.1:1 without listen_tls.client_ca: everyone who can connect there acts {whom}")
            });
            let open = format!("listen = '10.0.0.1:1'\n{keys}");
            assert_eq!(said("listen = '127.0.0.1:1'", &open), Vec::from_iter(line), "{keys}");
        }
    }

    #[test]
    fn secrets_that_every_user_of_the_host_can_read_are_told() {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("evenkeel-rights-{}-{number}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let file = folder.join("secret");
        fs::write(&file, "hunter2").unwrap();
        let at = file.display();
        let kafka = format!(
            "listen = '127.0.0.1:1'\ntls.enabled = true\ntls.certificate = '{at}'\ntls.key = '{at}'\nsasl.mechanism = 'PLAIN'\n\
             sasl.username = 'u'\nsasl.password_file = '{at}'\nlisten_tls.certificate = '{at}'\nlisten_tls.key = '{at}'\n"
        );
        let zookeeper = format!(
            "listen = '127.0.0.1:4'\nsasl.username = 'u'\nsasl.password_file = '{at}'\n[admin]\ntoken_file = '{at}'\n"
        );
        let rights = |of: &Path, mode| fs::set_permissions(of, Permissions::from_mode(mode)).unwrap();
        let keys = [
            "admin.token_file",
            "k: sasl.password_file",
            "k: tls.key",
            "k: listen_tls.key",
            "z: sasl.password_file",
        ];
        let why = format!("every user of this host can read {at}; take that from them ({TAKE})");
        let all: Vec<String> = keys.iter().map(|key| format!("{key}: {why}")).collect();
        for (of_folder, of_file, told) in [
            (0o755, 0o644, true),
            (0o711, 0o604, true),
            (0o755, 0o640, false),
            (0o755, 0o400, false),
            (0o750, 0o644, false),
        ] {
            rights(&file, of_file);
            rights(&folder, of_folder);
            let expected = if told { all.clone() } else { Vec::new() };
            assert_eq!(said(&kafka, &zookeeper), expected, "{of_folder:o} {of_file:o}");
        }
        rights(&folder, 0o755);
        fs::remove_file(&file).unwrap();
        assert_eq!(said(&kafka, &zookeeper).len(), 0, "what isn't there is another fault");
        fs::remove_dir_all(&folder).unwrap();
    }
}
