//! Which sidecars there are: a list, or every address of a DNS name (a headless service's).

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::admin::client::{self, Client, Credentials};
use crate::dns::{DnsOptions, Resolver};

/// Where sidecars are found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// These admin listeners, `HOST:PORT` each.
    List(Vec<String>),
    /// Every address of a name, `NAME:PORT`.
    Dns(String),
}

impl Source {
    /// What is wrong with it.
    pub fn problems(&self) -> Vec<String> {
        match self {
            Self::List(list) if list.is_empty() => vec!["names no sidecar".to_owned()],
            Self::List(list) => {
                let wrong = list.iter().filter(|address| !client::is_address(address));
                wrong
                    .map(|address| format!("{address:?} is no address of an admin listener: HOST:PORT"))
                    .collect()
            }
            Self::Dns(name) if !client::is_address(name) || name.contains("://") => {
                vec![format!("{name:?} is no name with a port: NAME:PORT")]
            }
            Self::Dns(_) => Vec::new(),
        }
    }
}

/// The sidecars that are known, with when each was heard last.
pub struct Fleet {
    /// Asks them.
    pub client: Client,
    source: Source,
    resolver: Resolver,
    known: BTreeMap<String, Known>,
}

#[derive(Clone, Copy, Debug)]
struct Known {
    /// It is named now.
    named: bool,
    /// When it was last heard; at first when it was found.
    heard: Instant,
}

impl Fleet {
    /// Of a source, asked with these credentials.
    ///
    /// # Errors
    /// Names can't be resolved on this host, or a file of the credentials can't be used.
    pub fn new(source: Source, credentials: Credentials) -> Result<Self, String> {
        let (min_ttl, timeout) = (Duration::from_secs(2), Duration::from_secs(2));
        Self::with(source, credentials, DnsOptions { servers: Vec::new(), min_ttl, timeout })
    }

    fn with(source: Source, mut credentials: Credentials, dns: DnsOptions) -> Result<Self, String> {
        if let Some(problem) = credentials.problems().first() {
            return Err(problem.clone());
        }
        if let Source::Dns(name) = &source {
            // Certificates are for the name, since nobody knows the addresses beforehand.
            let host = name.rsplit_once(':').map_or(name.as_str(), |(host, _)| host);
            credentials.name = Some(host.trim_start_matches('[').trim_end_matches(']').to_owned());
        }
        let resolver = Resolver::new(dns, None).map_err(|error| format!("dns: {error}"))?;
        Ok(Self { client: Client::with(credentials), source, resolver, known: BTreeMap::new() })
    }

    /// Some of them, asked in the same way.
    #[must_use]
    pub fn some(&self, sidecars: Vec<String>) -> Self {
        let (client, resolver) = (self.client.clone(), self.resolver.clone());
        Self { client, source: Source::List(sidecars), resolver, known: BTreeMap::new() }
    }

    /// Looks again who there is. One that a name doesn't name any more still counts for as long as it answers: it can have clients.
    ///
    /// # Errors
    /// The name has no address, and never had.
    pub async fn find(&mut self, now: Instant) -> Result<Vec<String>, String> {
        let named = match &self.source {
            Source::List(list) => list.clone(),
            Source::Dns(name) => {
                let (host, port) = name.rsplit_once(':').unwrap_or((name, ""));
                let host = host.trim_start_matches('[').trim_end_matches(']');
                let port: u16 = port.parse().map_err(|_| format!("{name}: no port"))?;
                let found = self.resolver.resolve(host).await.map_err(|error| error.to_string())?;
                found.addrs.iter().map(|ip| SocketAddr::new(*ip, port).to_string()).collect()
            }
        };
        self.take(&named, now);
        Ok(self.known.keys().cloned().collect())
    }

    fn take(&mut self, named: &[String], now: Instant) {
        for known in self.known.values_mut() {
            known.named = false;
        }
        for name in named {
            let fresh = Known { named: true, heard: now };
            self.known.entry(name.clone()).or_insert(fresh).named = true;
        }
    }

    /// A sidecar has answered, or hasn't. One that is not named any more and doesn't answer is gone.
    pub fn note(&mut self, sidecar: &str, answered: bool, now: Instant) {
        let Some(known) = self.known.get_mut(sidecar) else { return };
        if answered {
            known.heard = now;
        } else if !known.named {
            self.known.remove(sidecar);
        }
    }

    /// For how long nothing was heard of a sidecar.
    pub fn silent_for(&self, sidecar: &str, now: Instant) -> Duration {
        self.known.get(sidecar).map_or(Duration::ZERO, |known| now.saturating_duration_since(known.heard))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    #[test]
    fn sources_are_checked() {
        assert!(
            Source::List(vec!["127.0.0.1:9901".to_owned(), "http://h:1".to_owned()]).problems().is_empty()
        );
        assert_eq!(Source::List(vec!["h".to_owned(), "h:1".to_owned(), ":2".to_owned()]).problems().len(), 2);
        assert_eq!(Source::List(Vec::new()).problems().len(), 1);
        assert!(Source::Dns("evenkeel.apps.svc:9901".to_owned()).problems().is_empty());
        assert_eq!(Source::Dns("evenkeel.apps.svc".to_owned()).problems().len(), 1);
        assert_eq!(Source::Dns("http://evenkeel:1".to_owned()).problems().len(), 1);
    }

    #[tokio::test]
    async fn who_is_named_no_more_counts_while_it_answers() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut fleet = Fleet::new(Source::Dns("127.0.0.1:9901".to_owned()), Credentials::default()).unwrap();
        assert_eq!(fleet.find(start).await.unwrap(), ["127.0.0.1:9901"]);
        fleet.take(&["10.0.0.1:1".to_owned(), "10.0.0.2:1".to_owned()], at(1));
        fleet.note("10.0.0.1:1", true, at(5));
        fleet.note("10.0.0.2:1", false, at(5));
        assert_eq!(fleet.silent_for("10.0.0.1:1", at(6)), Duration::from_secs(1));
        assert_eq!(fleet.silent_for("10.0.0.2:1", at(6)), Duration::from_secs(5));
        fleet.take(&["10.0.0.3:1".to_owned()], at(7));
        fleet.note("10.0.0.1:1", true, at(8));
        fleet.note("10.0.0.2:1", false, at(8));
        fleet.note("127.0.0.1:9901", false, at(8));
        let left: Vec<&str> = fleet.known.keys().map(String::as_str).collect();
        assert_eq!(left, ["10.0.0.1:1", "10.0.0.3:1"]);
    }

    /// More of them than fit into a datagram: what is cut off there must not be sidecars that nobody asks.
    #[tokio::test]
    async fn every_address_of_a_name_is_a_sidecar() {
        let dns = testbed::DnsServer::start(0).unwrap();
        let ip = |k: u16| Ipv4Addr::from_bits(0x7f4e_0000 + u32::from(k));
        let at = |k: u16| format!("{}:9901", ip(k));
        let options = DnsOptions {
            servers: vec![dns.addr()],
            min_ttl: Duration::ZERO,
            timeout: Duration::from_secs(30),
        };
        let source = Source::Dns("evenkeel.apps.test:9901".to_owned());
        let mut fleet = Fleet::with(source, Credentials::default(), options).unwrap();
        assert!(fleet.find(Instant::now()).await.unwrap_err().contains("evenkeel.apps.test"));
        for count in [1, 3, 300] {
            // One of them is told twice.
            let mut told: Vec<Ipv4Addr> = (0..count).map(ip).collect();
            told.push(ip(0));
            dns.set_all("evenkeel.apps.test", &told);
            let mut wanted: Vec<String> = (0..count).map(at).collect();
            wanted.sort();
            assert_eq!(fleet.find(Instant::now()).await.unwrap(), wanted);
        }
        // A pod is another one now: both are asked until the first says nothing any more.
        let told: Vec<Ipv4Addr> = (1..=300).map(ip).collect();
        dns.set_all("evenkeel.apps.test", &told);
        let now = Instant::now();
        assert_eq!(fleet.find(now).await.unwrap().len(), 301);
        fleet.note(&at(0), false, now);
        let found = fleet.find(now).await.unwrap();
        assert!(found.len() == 300 && !found.contains(&at(0)) && found.contains(&at(300)));
        // No answer is not an answer without sidecars.
        dns.remove("evenkeel.apps.test");
        assert_eq!(fleet.find(now).await.unwrap().len(), 300);
    }
}
