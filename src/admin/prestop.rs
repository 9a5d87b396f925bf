//! `evenkeel hook prestop`: what a broker's or server's container runs before it is stopped, with what its environment says. Every
//! sidecar that is named drains the member; it waits until nobody is there any more, within its bound.
//!
//! It fails open: the container ends whatever comes of it. `deploy/kubernetes/prestop.sh` is the same for images with a shell.

use std::path::PathBuf;
use std::time::Duration;

use hyper::Method;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout_at};

use super::client::{Client, Credentials};
use super::door::PRESTOP;
use crate::time::now;

/// What a hook waits for, if nobody says: less than Kubernetes' own grace period of 30 s.
const WAIT: Duration = Duration::from_secs(25);
/// The longest wait that is taken.
const WAIT_MOST: u64 = 3600;
/// A sidecar is asked again after so long, whatever it said.
const LOOK: Duration = Duration::from_secs(5);
/// Between two attempts at one that gave no answer.
const PAUSE: Duration = Duration::from_millis(500);

/// What is to be left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leaving {
    cluster: String,
    member: String,
    /// `HOST:PORT`, with `https://` where it is encrypted; a name may have several addresses, and each of them is asked.
    listeners: Vec<String>,
    wait: Duration,
    credentials: Credentials,
}

impl Leaving {
    /// Reads the environment: `PRESTOP_CLUSTER`, `PRESTOP_SIDECARS` (separated by commas), `POD_NAME`, `PRESTOP_MEMBER` with `{pod}` and
    /// `{ordinal}` in it (`{ordinal}` by itself, if it isn't set), `PRESTOP_TIMEOUT_S` (25); and for sidecars that ask for more, `PRESTOP_TOKEN_FILE`, `PRESTOP_CA`,
    /// `PRESTOP_CERTIFICATE`, `PRESTOP_KEY`.
    ///
    /// # Errors
    /// What is missing or wrong, in one line.
    pub fn read(env: impl Fn(&str) -> Option<String>) -> Result<Self, String> {
        let given = |name: &str| env(name).filter(|value| !value.is_empty());
        let needed = |name: &str| given(name).ok_or_else(|| format!("{name} is not set"));
        let (cluster, sidecars) = (needed("PRESTOP_CLUSTER")?, needed("PRESTOP_SIDECARS")?);
        let member = given("PRESTOP_MEMBER").unwrap_or_else(|| "{ordinal}".to_owned());
        let pod = given("POD_NAME").unwrap_or_default();
        if pod.is_empty() && (member.contains("{pod}") || member.contains("{ordinal}")) {
            return Err(format!("POD_NAME is not set, and the member is {member}"));
        }
        let ordinal = pod.rsplit_once('-').map_or(pod.as_str(), |(_, ordinal)| ordinal);
        let member = member.replace("{pod}", &pod).replace("{ordinal}", ordinal);
        let plain = |url: &str| url.trim().trim_start_matches("http://").trim_end_matches('/').to_owned();
        let listeners: Vec<String> = sidecars.split(',').map(plain).filter(|one| !one.is_empty()).collect();
        if listeners.is_empty() {
            return Err("PRESTOP_SIDECARS names nobody".to_owned());
        }
        let wait = match given("PRESTOP_TIMEOUT_S").map(|text| text.parse::<u64>()) {
            None => WAIT,
            Some(Ok(seconds)) if (1..=WAIT_MOST).contains(&seconds) => Duration::from_secs(seconds),
            Some(_) => return Err("PRESTOP_TIMEOUT_S: 1 to 3600 are taken".to_owned()),
        };
        let file = |name: &str| given(name).map(PathBuf::from);
        let credentials = Credentials {
            token_file: file("PRESTOP_TOKEN_FILE"),
            ca: file("PRESTOP_CA"),
            certificate: file("PRESTOP_CERTIFICATE"),
            key: file("PRESTOP_KEY"),
            name: None,
        };
        if let Some(problem) = credentials.problems().first() {
            return Err(problem.clone());
        }
        Ok(Self { cluster, member, listeners, wait, credentials })
    }

    /// Asks all of them, and tells of each that was left within the bound, or why not.
    pub async fn wait(&self) -> Vec<(String, Result<(), String>)> {
        let mut asked = JoinSet::new();
        for listener in &self.listeners {
            let (listener, query, credentials) = (listener.clone(), self.query(), self.credentials.clone());
            let until = tokio::time::Instant::from_std(now() + self.wait);
            asked.spawn(async move {
                let left = timeout_at(until, all_of(&listener, &query, credentials)).await;
                let late = || Err("clients are left there, or it gave no answer".to_owned());
                (listener, left.unwrap_or_else(|_| late()))
            });
        }
        // Nothing in there can panic; one that did would have nothing to tell.
        let mut told: Vec<_> = asked.join_all().await;
        told.sort();
        told
    }

    fn query(&self) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.append_pair("cluster", &self.cluster).append_pair("member", &self.member);
        query.append_pair("timeout_s", &LOOK.as_secs().to_string());
        query.finish()
    }
}

/// Every address of one name; a certificate is for the name.
async fn all_of(listener: &str, query: &str, credentials: Credentials) -> Result<(), String> {
    let (scheme, authority) = match listener.split_once("://") {
        Some((scheme, authority)) => (format!("{scheme}://"), authority),
        None => (String::new(), listener),
    };
    let addresses = tokio::net::lookup_host(authority).await.map_err(|error| error.to_string())?;
    let host = authority.rsplit_once(':').map_or(authority, |(host, _)| host);
    let name = Some(host.trim_start_matches('[').trim_end_matches(']').to_owned());
    let client = Client::with(Credentials { name, ..credentials });
    let mut asked = JoinSet::new();
    for address in addresses {
        let (client, url, path) =
            (client.clone(), format!("{scheme}{address}"), format!("{PRESTOP}?{query}"));
        asked.spawn(async move { left(&client, &url, &path).await });
    }
    asked.join_all().await.into_iter().collect()
}

/// Asks until nobody is there.
async fn left(client: &Client, url: &str, path: &str) -> Result<(), String> {
    loop {
        match client.ask(url, Method::GET, path).await {
            Ok((200, _)) => return Ok(()),
            // Some are left. The answer has waited.
            Ok((202, _)) => {}
            Ok((status, text)) => return Err(format!("{url} answers {status}: {}", text.trim())),
            // It is being started again, perhaps.
            Err(error) => {
                tracing::debug!(%error, "a sidecar gave no answer");
                sleep(PAUSE).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<Leaving, String> {
        Leaving::read(|name| pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned()))
    }

    #[test]
    fn the_member_is_told_by_the_pod() {
        let base =
            [("PRESTOP_CLUSTER", "orders"), ("PRESTOP_SIDECARS", "http://127.0.0.1:9901/, [::1]:9901,")];
        let kafka = read(&[&base[..], &[("POD_NAME", "my-kafka-12")]].concat()).unwrap();
        assert_eq!((kafka.member.as_str(), kafka.wait), ("12", WAIT));
        assert_eq!(kafka.listeners, ["127.0.0.1:9901", "[::1]:9901"]);
        assert_eq!(kafka.query(), "cluster=orders&member=12&timeout_s=5");
        let more = [("POD_NAME", "zk-0"), ("PRESTOP_MEMBER", "{pod}.zk:2181"), ("PRESTOP_TIMEOUT_S", "40")];
        let zookeeper = read(&[&base[..], &more].concat()).unwrap();
        assert_eq!((zookeeper.member.as_str(), zookeeper.wait.as_secs()), ("zk-0.zk:2181", 40));
        assert!(zookeeper.query().contains("member=zk-0.zk%3A2181"));
        assert!(read(&[&base[..], &[("PRESTOP_MEMBER", "3")]].concat()).is_ok(), "without a pod");
    }

    #[test]
    fn what_is_missing_is_named() {
        let all = [("PRESTOP_CLUSTER", "orders"), ("PRESTOP_SIDECARS", "a:1"), ("POD_NAME", "kafka-1")];
        assert!(read(&all).is_ok());
        for (name, _) in all {
            let rest: Vec<_> = all.into_iter().filter(|(key, _)| *key != name).collect();
            assert!(read(&rest).unwrap_err().contains(name), "{name}");
        }
        for bad in ["0", "soon", "3601"] {
            assert!(read(&[&all[..], &[("PRESTOP_TIMEOUT_S", bad)]].concat()).unwrap_err().contains("3600"));
        }
        assert!(read(&[all[0], ("PRESTOP_SIDECARS", " , "), all[2]]).is_err());
    }
}
