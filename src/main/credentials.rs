//! What lets the commands in at an admin listener.

use std::path::PathBuf;

use clap::Args;

use evenkeel::admin::client;

/// What lets us in.
#[derive(Args, Clone)]
pub(super) struct Credentials {
    /// A file whose first line is the token that is sent.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Certificates of the authorities that issue the listener's (PEM): it is asked by TLS.
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Our own certificate (PEM).
    #[arg(long, value_name = "FILE", requires = "key")]
    certificate: Option<PathBuf>,
    /// Its private key (PEM, not encrypted).
    #[arg(long, value_name = "FILE", requires = "certificate")]
    key: Option<PathBuf>,
}

impl From<Credentials> for client::Credentials {
    fn from(own: Credentials) -> Self {
        let Credentials { token_file, ca, certificate, key } = own;
        Self { token_file, ca, certificate, key, name: None }
    }
}
