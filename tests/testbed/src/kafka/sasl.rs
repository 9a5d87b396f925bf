//! Brokers that ask clients who they are: the settings of their listener for clients. Replication and the administrator stay as they
//! are, and may do everything.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::path::PathBuf;

use super::cluster::Cluster;
use super::spec::Spec;
use crate::Result;
use crate::keys::Pair;

/// The mechanisms that there are.
const MECHANISMS: &str = "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512,OAUTHBEARER";
/// The unencrypted listeners, which are trusted, are anonymous.
const SUPER: &str = "User:ANONYMOUS";

/// A listener that asks for SASL.
#[derive(Clone, Debug, Default)]
pub struct Asking {
    /// Users of PLAIN with their passwords. Those of SCRAM are made in the running cluster.
    pub plain: Vec<(String, String)>,
    /// How long a session lasts on a connection (`connections.max.reauth.ms`); none: as long as it.
    pub reauth_ms: Option<u64>,
    /// Whether users may do only what they are allowed (`StandardAuthorizer`).
    pub acls: bool,
}

impl Asking {
    /// Starts a cluster whose listener for clients asks so and is encrypted; `certify` gives each node at its address a
    /// certificate. Waits until it is ready.
    pub fn start(&self, spec: Spec, certify: impl Fn(u8, IpAddr) -> Result<Pair>) -> Result<Cluster> {
        let mut cluster = Cluster::prepare(spec)?;
        for id in cluster.ids() {
            let path = cluster.folder().join(format!("kafka-{id}.pem"));
            certify(id, cluster.addr(id)?.ip())?.store(&path)?;
            self.set(&mut cluster, id, Some(path))?;
            cluster.start_node(id)?;
        }
        cluster.wait_ready()?;
        Ok(cluster)
    }

    /// Gives node `id` such a listener when it is started next. `store`: its key and certificate in one file of PEM, if it is encrypted.
    pub fn set(&self, cluster: &mut Cluster, id: u8, store: Option<PathBuf>) -> Result<()> {
        let protocol = if store.is_some() { "SASL_SSL" } else { "SASL_PLAINTEXT" };
        let map = format!("CLIENT:{protocol},INTERNAL:PLAINTEXT,CONTROLLER:PLAINTEXT");
        let mut all = vec![
            ("listener.security.protocol.map".to_owned(), map),
            ("listener.name.client.sasl.enabled.mechanisms".to_owned(), MECHANISMS.to_owned()),
        ];
        let mut plain = "org.apache.kafka.common.security.plain.PlainLoginModule required".to_owned();
        for (user, password) in &self.plain {
            let _ = write!(plain, " user_{user}=\"{password}\"");
        }
        let scram = "org.apache.kafka.common.security.scram.ScramLoginModule required";
        let bearer = "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required \
                      unsecuredLoginStringClaim_sub=\"broker\"";
        for (mechanism, module) in [
            ("plain", plain.as_str()),
            ("scram-sha-256", scram),
            ("scram-sha-512", scram),
            ("oauthbearer", bearer),
        ] {
            all.push((format!("listener.name.client.{mechanism}.sasl.jaas.config"), format!("{module};")));
        }
        if let Some(store) = store {
            all.push(("listener.name.client.ssl.keystore.type".to_owned(), "PEM".to_owned()));
            all.push(("listener.name.client.ssl.keystore.location".to_owned(), store.display().to_string()));
        }
        if let Some(ms) = self.reauth_ms {
            all.push(("connections.max.reauth.ms".to_owned(), ms.to_string()));
        }
        if self.acls {
            let class = "org.apache.kafka.metadata.authorizer.StandardAuthorizer";
            all.push(("authorizer.class.name".to_owned(), class.to_owned()));
            all.push(("super.users".to_owned(), SUPER.to_owned()));
        }
        all.iter().try_for_each(|(key, value)| cluster.set(id, key, value))
    }
}
