//! The listeners of one cluster: the bootstrap address and a port for each possible broker, on every host that it
//! listens on. All are bound at the start and stay open whatever brokers do.

use super::cluster::{Cluster, Settings};
use super::ports::Ports;
use super::session::{End, Session};
use crate::lifecycle::Drain;
use crate::net::{
    Crowd, Entrance, ListenError, ListenOptions, Place, SocketOptions, Stream, accept, accepted, bind,
};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use tokio::net::{TcpListener, TcpStream};

/// Everything a cluster listens on, bound and not yet served.
pub struct Listeners {
    bootstrap: Vec<TcpListener>,
    brokers: Vec<(u16, TcpListener)>,
    entrance: Entrance,
}

impl Listeners {
    /// Binds the bootstrap addresses, and on each of their hosts the whole range of broker ports.
    ///
    /// `all`: the clients of all clusters.
    ///
    /// # Errors
    /// The first address that can't be bound.
    pub fn bind(settings: &Settings, all: Arc<Crowd>) -> Result<Self, ListenError> {
        let options = ListenOptions { backlog: settings.net.backlog };
        let kafka = &settings.kafka;
        let bootstrap =
            kafka.listen.iter().map(|&address| bind(address, &options)).collect::<Result<_, _>>()?;
        let mut hosts: Vec<IpAddr> = kafka.listen.iter().map(SocketAddr::ip).collect();
        hosts.sort_unstable();
        hosts.dedup();
        let mut brokers = Vec::new();
        for host in hosts {
            for port in kafka.broker_ports.ports() {
                brokers.push((port, bind(SocketAddr::new(host, port), &options)?));
            }
        }
        Ok(Self { bootstrap, brokers, entrance: Entrance::new(all) })
    }

    /// Where the bootstrap listeners are, with the real ports where the configuration said 0.
    pub fn bootstrap_addrs(&self) -> Vec<SocketAddr> {
        self.bootstrap.iter().filter_map(|listener| listener.local_addr().ok()).collect()
    }

    /// Serves clients until the process drains: then no new ones are let in.
    pub fn serve(self, cluster: &Arc<Cluster>, drain: &Drain) {
        for listener in self.bootstrap {
            tokio::spawn(serve(listener, None, Arc::clone(cluster), self.entrance.clone(), drain.clone()));
        }
        for (port, listener) in self.brokers {
            tokio::spawn(serve(
                listener,
                Some(port),
                Arc::clone(cluster),
                self.entrance.clone(),
                drain.clone(),
            ));
        }
    }
}

/// The map of node ids to ports that a cluster's settings ask for.
pub fn ports(settings: &Settings, state_dir: Option<&std::path::Path>) -> Ports {
    let kafka = &settings.kafka;
    let file = state_dir.map(|dir| dir.join(format!("kafka-{}.ports", kafka.name)));
    Ports::new(kafka.broker_ports, &kafka.node_ports, file)
}

async fn serve(
    listener: TcpListener,
    port: Option<u16>,
    cluster: Arc<Cluster>,
    entrance: Entrance,
    drain: Drain,
) {
    let end = drain.signaled();
    tokio::select! {
        () = end => {}
        () = async {
            loop {
                let (stream, peer) = accept(&listener).await;
                let (settings, refused) = (cluster.settings(), &cluster.metrics.client_refused);
                if let Some(places) = entrance.enter(&settings.limits, &settings.kafka.name, refused) {
                    welcome(stream, peer, port, &cluster, places, &drain);
                }
            }
        } => {}
    }
}

fn welcome(
    stream: TcpStream,
    peer: SocketAddr,
    port: Option<u16>,
    cluster: &Arc<Cluster>,
    places: (Place, Place),
    drain: &Drain,
) {
    let settings = cluster.settings();
    let options =
        SocketOptions { keepalive: settings.net.keepalive, user_timeout: settings.net.user_timeout };
    if let Err(error) = accepted(&stream, &options) {
        tracing::debug!(%peer, %error, "a client was gone before it was served");
        return;
    }
    let own = stream.local_addr().map(|address| address.ip());
    let host = match (&settings.kafka.advertise, own) {
        (Some(host), _) => host.clone(),
        (None, Ok(ip)) => ip.to_string(),
        (None, Err(_)) => return,
    };
    let (cluster, drain) = (Arc::clone(cluster), drain.clone());
    let files = settings.kafka.listen_tls.files();
    tokio::spawn(async move {
        let _places = places;
        let stream = match files {
            None => Stream::Tcp(stream),
            Some(files) => {
                // On the heap: what a handshake needs is of no use to the session behind it.
                let handshakes = &cluster.metrics.client_handshakes;
                let entered = Box::pin(cluster.door.enter(stream, peer, files, &drain, handshakes)).await;
                let Some(stream) = entered else { return };
                stream
            }
        };
        match Session::new(Arc::clone(&cluster), stream, port, host, drain).run().await {
            End::Client | End::Drained => tracing::debug!(%peer, "client connection ended"),
            End::Broken(error) => tracing::debug!(%peer, %error, "client connection broke"),
            End::Rejected(reason) => {
                cluster.door.tell_closed(peer, &reason, ": not a Kafka client's bytes");
            }
            End::Closed(reason) => cluster.door.tell_closed(peer, &reason, ""),
            End::Late(late) => late.tell(peer, &cluster.metrics.client_refused),
        }
    });
}
