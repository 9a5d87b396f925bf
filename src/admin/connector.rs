//! Connections of the client: plain or encrypted, as the address says.

use std::error::Error;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::Uri;
use hyper_util::client::legacy::connect::{Connected, Connection, HttpConnector};
use hyper_util::rt::TokioIo;
use tower_service::Service;

use crate::config::Tls as Options;
use crate::net::Stream;
use crate::tls::Tls;

/// The longest that a connection may take.
const CONNECT: Duration = Duration::from_secs(3);

type Failed = Box<dyn Error + Send + Sync>;

/// See the module. Its clones share what was read of the files.
#[derive(Clone)]
pub(super) struct Connector {
    http: HttpConnector,
    tls: Arc<Tls>,
    options: Arc<Options>,
    name: Option<Arc<str>>,
}

impl Connector {
    /// With the files for encrypted connections, and the name that certificates are for if it isn't that of the address.
    pub(super) fn new(options: Options, name: Option<String>) -> Self {
        let mut http = HttpConnector::new();
        http.set_connect_timeout(Some(CONNECT));
        http.set_nodelay(true);
        http.enforce_http(false);
        Self { http, tls: Arc::new(Tls::new()), options: Arc::new(options), name: name.map(Arc::from) }
    }
}

impl Service<Uri> for Connector {
    type Response = TokioIo<Stream>;
    type Error = Failed;
    type Future = Pin<Box<dyn Future<Output = Result<TokioIo<Stream>, Failed>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failed>> {
        self.http.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let Self { tls, options, name, .. } = self.clone();
        let connecting = self.http.call(uri.clone());
        Box::pin(async move {
            let stream = connecting.await?.into_inner();
            if uri.scheme_str() != Some("https") {
                return Ok(TokioIo::new(Stream::Tcp(stream)));
            }
            let addr = stream.peer_addr()?;
            let host = uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
            let secured = tls.connect(&options, stream, name.as_deref().unwrap_or(host), addr).await?;
            Ok(TokioIo::new(Stream::Tls(secured)))
        })
    }
}

impl Connection for Stream {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}
