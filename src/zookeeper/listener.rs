//! The listeners of one ensemble. All are bound at the start and stay open whatever servers do.

use super::ensemble::{Ensemble, Settings};
use super::session::{End, Session};
use crate::lifecycle::Drain;
use crate::net::{
    Crowd, Entrance, ListenError, ListenOptions, Place, SocketOptions, Stream, accept, accepted, bind,
};
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::{TcpListener, TcpStream};

/// Everything that an ensemble listens on, bound and not yet served.
pub struct Listeners {
    all: Vec<TcpListener>,
    entrance: Entrance,
}

impl Listeners {
    /// Binds the addresses. `clients`: those of all clusters.
    ///
    /// # Errors
    /// The first one that can't be bound.
    pub fn bind(settings: &Settings, clients: Arc<Crowd>) -> Result<Self, ListenError> {
        let options = ListenOptions { backlog: settings.net.backlog };
        let all = settings.zookeeper.listen.iter().map(|&address| bind(address, &options));
        Ok(Self { all: all.collect::<Result<_, _>>()?, entrance: Entrance::new(clients) })
    }

    /// Where they are, with the real ports where the configuration said 0.
    pub fn addrs(&self) -> Vec<SocketAddr> {
        self.all.iter().filter_map(|listener| listener.local_addr().ok()).collect()
    }

    /// Serves clients until the process drains: then no new ones are let in.
    pub fn serve(self, ensemble: &Arc<Ensemble>, drain: &Drain) {
        for listener in self.all {
            tokio::spawn(serve(listener, Arc::clone(ensemble), self.entrance.clone(), drain.clone()));
        }
    }
}

async fn serve(listener: TcpListener, ensemble: Arc<Ensemble>, entrance: Entrance, drain: Drain) {
    let end = drain.signaled();
    tokio::select! {
        () = end => {}
        () = async {
            loop {
                let (stream, peer) = accept(&listener).await;
                let settings = ensemble.settings();
                let (name, refused) = (&settings.zookeeper.name, &ensemble.metrics.client_refused);
                if let Some(places) = entrance.enter(&settings.limits, name, refused) {
                    welcome(stream, peer, &ensemble, places, &drain);
                }
            }
        } => {}
    }
}

fn welcome(
    stream: TcpStream,
    peer: SocketAddr,
    ensemble: &Arc<Ensemble>,
    places: (Place, Place),
    drain: &Drain,
) {
    let settings = ensemble.settings();
    let options =
        SocketOptions { keepalive: settings.net.keepalive, user_timeout: settings.net.user_timeout };
    if let Err(error) = accepted(&stream, &options) {
        tracing::debug!(%peer, %error, "a client was gone before it was served");
        return;
    }
    let (ensemble, drain) = (Arc::clone(ensemble), drain.clone());
    let files = settings.zookeeper.listen_tls.files();
    tokio::spawn(async move {
        let _places = places;
        let stream = match files {
            None => Stream::Tcp(stream),
            Some(files) => {
                // On the heap: what a handshake needs is of no use to the session behind it.
                let handshakes = &ensemble.metrics.client_handshakes;
                let entered = Box::pin(ensemble.door.enter(stream, peer, files, &drain, handshakes)).await;
                let Some(stream) = entered else { return };
                stream
            }
        };
        match Session::new(Arc::clone(&ensemble), stream, drain).run().await {
            End::Client | End::Drained | End::Word => tracing::debug!(%peer, "client connection ended"),
            End::Broken(error) => tracing::debug!(%peer, %error, "client connection broke"),
            End::Rejected(reason) => {
                ensemble.door.tell_closed(peer, &reason, ": not a ZooKeeper client's bytes");
            }
            End::Closed(reason) => ensemble.door.tell_closed(peer, &reason, ""),
            End::Late(late) => late.tell(peer, &ensemble.metrics.client_refused),
        }
    });
}
