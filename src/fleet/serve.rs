//! `evenkeel upgrade --serve`: the hook of a whole fleet on a listener of its own, with the routes of a sidecar's.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;

use super::{FanOut, Fleet, Policy, Source};
use crate::admin::client::Credentials;
use crate::admin::{self, Admin, Control, Door, Limits};
use crate::config;
use crate::lifecycle::{Readiness, Signal, Signals, drain};
use crate::metrics::{FleetMetrics, Metrics};

/// The time for answers that are under way at the end.
const GRACE: Duration = Duration::from_secs(2);
/// Connections of controllers and scrapers.
const CONNECTIONS: usize = 256;

/// What is served.
#[derive(Clone, Debug)]
pub struct Serving {
    /// Where, and who is let in there.
    pub admin: config::Admin,
    /// The cluster, by its name in the sidecars' configuration.
    pub cluster: String,
    /// The sidecars.
    pub source: Source,
    /// How they let us in.
    pub credentials: Credentials,
    /// What becomes of those that say nothing.
    pub policy: Policy,
}

/// Serves until SIGTERM or SIGINT.
///
/// # Errors
/// It can't be begun: why, in one line.
pub async fn serve(serving: Serving) -> Result<(), String> {
    let mut signals = Signals::from_os().map_err(|error| format!("no signal handlers: {error}"))?;
    let door = Arc::new(Door::control(&serving.admin)?);
    let mut listeners = bind("--listen", &serving.admin.listen, &door).await?;
    listeners
        .extend(bind("--metrics-listen", &serving.admin.metrics_listen, &Arc::new(Door::metrics())).await?);
    let metrics = Metrics::new();
    let readiness = Readiness::new();
    let fleet = Fleet::new(serving.source, serving.credentials)?;
    let fan = FanOut::new(serving.cluster.clone(), fleet, serving.policy, FleetMetrics::new(&metrics));
    let fan = Arc::new(fan);
    metrics.before_render({
        let (ready, readiness) = (metrics.ready.clone(), readiness.clone());
        move || ready.set(i64::from(readiness.is_ready()))
    });
    let clusters: Vec<Arc<dyn Control>> = vec![Arc::clone(&fan) as _];
    let admin = Admin::of_fleet(Arc::clone(&metrics), readiness.clone(), clusters);
    let mut block = Some(readiness.block("no look at the sidecars yet"));
    let (trigger, holder) = drain::new();
    let limits = Limits { connections: CONNECTIONS, ..Limits::default() };
    for (listener, address, door) in listeners {
        tokio::spawn(admin::serve(listener, Arc::clone(&admin), door, limits, holder.clone()));
        tracing::info!(%address, cluster = serving.cluster, "the hook of a fleet");
    }
    drop(holder);
    let stopped = async {
        loop {
            match signals.next().await {
                Signal::Reload => tracing::info!("SIGHUP: there is nothing to read again"),
                stop => return stop,
            }
        }
    };
    tokio::select! {
        () = fan.run(|| drop(block.take())) => {}
        stop = stopped => tracing::info!(signal = stop.name(), "stopping; sidecars keep what was ordered"),
    }
    // Whoever still asks gets what is under way, and loses nothing if not.
    let _ = trigger.drain(GRACE).await;
    Ok(())
}

/// The listeners of one option.
async fn bind(
    option: &str,
    addresses: &[SocketAddr],
    door: &Arc<Door>,
) -> Result<Vec<(TcpListener, SocketAddr, Arc<Door>)>, String> {
    let mut bound = Vec::new();
    for listen in addresses {
        let failed = |error: std::io::Error| format!("{option}: cannot listen on {listen}: {error}");
        let listener = TcpListener::bind(listen).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        bound.push((listener, address, Arc::clone(door)));
    }
    Ok(bound)
}
