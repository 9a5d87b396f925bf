//! Encrypted ports for clients, beside the plain ones.

use std::net::{IpAddr, SocketAddr};

use super::Ensemble;
use crate::Result;
use crate::keys::{Authority, replace};

/// The port of encrypted connections.
const SECURE_PORT: u16 = 2281;

impl Ensemble {
    /// Writes the certificates of all servers and of a client, if the spec asks for encrypted ports.
    pub(super) fn certify(&self) -> Result<()> {
        if !self.spec.secure {
            return Ok(());
        }
        let authority = Authority::new("ensemble")?;
        replace(&self.folder().join("ca.pem"), authority.pem())?;
        for id in self.ids() {
            let at: IpAddr = self.addr(id).ip();
            authority.issue(&format!("zookeeper-{id}.test"), &[at])?.store(&self.store(id))?;
        }
        let client = authority.issue("client.test", &[])?;
        replace(&self.folder().join("client.pem"), &client.certificate)?;
        replace(&self.folder().join("client.key"), &client.key)
    }

    fn store(&self, id: u8) -> std::path::PathBuf {
        self.folder().join(format!("zookeeper-{id}.pem"))
    }

    /// The lines of a server's settings for its encrypted port, which wants a certificate.
    pub(super) fn secure_settings(&self, id: u8) -> String {
        if !self.spec.secure {
            return String::new();
        }
        format!(
            "secureClientPort={SECURE_PORT}\nsecureClientPortAddress={}\n\
             serverCnxnFactory=org.apache.zookeeper.server.NettyServerCnxnFactory\n\
             ssl.keyStore.location={}\nssl.keyStore.type=PEM\nssl.trustStore.location={}\nssl.trustStore.type=PEM\n\
             ssl.clientAuth=need\n",
            self.addr(id).ip(),
            self.store(id).display(),
            self.folder().join("ca.pem").display()
        )
    }

    /// What a sidecar calls server `id`: the address that it connects to.
    pub fn known_as(&self, id: u8) -> SocketAddr {
        let plain = self.addr(id);
        if self.spec.secure { (plain.ip(), SECURE_PORT).into() } else { plain }
    }

    /// Where a sidecar finds the servers, and the keys of its configuration with which it is let in.
    pub fn for_sidecar(&self) -> (String, String) {
        if !self.spec.secure {
            return (self.servers(), self.sasl_keys());
        }
        let all = self.ids().into_iter().map(|id| self.known_as(id).to_string());
        let file = |name: &str| self.folder().join(name).display().to_string();
        let keys = format!(
            "tls.enabled = true\ntls.ca = '{}'\ntls.certificate = '{}'\ntls.key = '{}'\n{}",
            file("ca.pem"),
            file("client.pem"),
            file("client.key"),
            self.sasl_keys()
        );
        (all.collect::<Vec<_>>().join(","), keys)
    }
}
