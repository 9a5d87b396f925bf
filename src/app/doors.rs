//! The listeners of the admin API, each with who is let in there.

use std::sync::Arc;

use tokio::net::TcpListener;

use super::AppError;
use crate::admin::Door;
use crate::config;

/// Binds what the admin listener listens on, each with who is let in there.
pub(super) async fn listeners(admin: &config::Admin) -> Result<Vec<(TcpListener, Arc<Door>)>, AppError> {
    let (control, open) = (Door::control(admin).map_err(AppError::Admin)?, Door::metrics());
    let mut bound = Vec::new();
    let all =
        [("admin.listen", &admin.listen, control), ("admin.metrics_listen", &admin.metrics_listen, open)];
    for (key, addresses, door) in all {
        let door = Arc::new(door);
        for &address in addresses {
            let failed = |source| AppError::Listen { key: key.to_owned(), address, source };
            bound.push((TcpListener::bind(address).await.map_err(failed)?, Arc::clone(&door)));
        }
    }
    let others = admin.listen.iter().any(|address| !address.ip().to_canonical().is_loopback());
    if others && admin.token_file.is_some() && admin.tls.certificate.is_none() {
        tracing::warn!("admin: tokens cross the network in the clear; admin.tls encrypts them");
    }
    Ok(bound)
}
