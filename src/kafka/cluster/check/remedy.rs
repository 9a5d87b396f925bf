//! What to do about a broker that can't be reached: one line for each way in which that fails.

use crate::config::{Kafka, Mechanism};
use crate::kafka::authenticate::Failure;
use crate::kafka::channel::ChannelError;
use crate::kafka::cluster::dial::DialError;
use crate::net::{ConnectError, ConnectStage};
use crate::sasl::SaslError;

/// `node`: the broker that was meant, at an address that it has advertised itself; none for a bootstrap address.
pub(super) fn remedy(error: &DialError, kafka: &Kafka, node: Option<i32>, host: &str) -> String {
    match error {
        DialError::Connect(error) => connect(error, node),
        DialError::Tls { why, .. } => why.remedy().to_owned(),
        DialError::Sasl { why, .. } => sasl(why, kafka),
        DialError::Handshake { error, .. } | DialError::Showing { error, .. } => handshake(error, kafka),
        DialError::WrongNode { .. } => match node {
            Some(node) => format!(
                "mend the listener that node {node} advertises (advertised.listeners), or what {host} resolves to: it leads elsewhere"
            ),
            None => {
                "let bootstrap name brokers of one cluster alone; another cluster has a [[kafka]] of its own"
                    .to_owned()
            }
        },
        DialError::UnknownNode(_) | DialError::Down(_) => "try again".to_owned(),
    }
}

fn connect(error: &ConnectError, node: Option<i32>) -> String {
    match (node, error.stage().0) {
        (Some(node), ConnectStage::Dns | ConnectStage::Tcp) => format!(
            "node {node} advertises this address (advertised.listeners) for the listener that bootstrap names, and every client is sent \
             there: mend it on the broker, or let this host resolve and reach it; {}",
            error.remedy()
        ),
        _ => error.remedy(),
    }
}

fn handshake(error: &ChannelError, kafka: &Kafka) -> String {
    let tls = if kafka.tls.enabled {
        "tls.enabled is right"
    } else {
        "tls.enabled is set if the listener wants it"
    };
    match error {
        ChannelError::Timeout(_) => format!(
            "it takes connections and doesn't answer as a broker: is this the port of a Kafka listener for clients, is the broker at work, \
             and see that {tls}"
        ),
        ChannelError::Closed | ChannelError::Io(_) => format!(
            "is this the port of a Kafka listener for clients (not of a controller)? See that {tls}, and look into the broker's own log: it \
             says why it closes connections"
        ),
        _ => format!(
            "is this the port of a Kafka listener for clients? Something else answers there; see that {tls}"
        ),
    }
}

fn sasl(why: &Failure, kafka: &Kafka) -> String {
    let sasl = &kafka.sasl;
    let file = |path: &Option<std::path::PathBuf>, key: &str| {
        path.as_ref().map_or_else(|| format!("the file of {key}"), |path| path.display().to_string())
    };
    match why {
        Failure::Credentials(SaslError::Token { endpoint, .. }) => format!(
            "see that {endpoint} can be reached from here, and that sasl.client_id and {} are right",
            file(&sasl.client_secret_file, "sasl.client_secret_file")
        ),
        Failure::Credentials(SaslError::File { path, .. }) => {
            format!("mend {}: Evenkeel's user must be able to read it", path.display())
        }
        Failure::Credentials(_) => "set what sasl.mechanism needs".to_owned(),
        Failure::Refused { .. } if sasl.mechanism == Some(Mechanism::OauthBearer) => {
            let source = match &sasl.token_file {
                Some(path) => format!("the token in {}", path.display()),
                None => "what the token endpoint hands out (sasl.scope)".to_owned(),
            };
            format!("renew {source}: the brokers check its issuer, audience and end")
        }
        Failure::Refused { .. } => format!(
            "set sasl.username and the password in {} to what the brokers know for {}, or add the user there",
            file(&sasl.password_file, "sasl.password_file"),
            sasl.mechanism.map_or("it", Mechanism::name)
        ),
        Failure::NotOffered { offered, .. } => {
            format!(
                "set sasl.mechanism to one that this listener takes ({offered}), or name another listener"
            )
        }
        Failure::NotAsked { .. } => {
            "remove sasl.mechanism and what belongs to it, or name the port of the listener that asks"
                .to_owned()
        }
        Failure::Asked { offered } => format!(
            "set sasl.mechanism ({offered}) with sasl.username and sasl.password_file, or a token: clients' own are of no use without it"
        ),
        Failure::Exchange { error: SaslError::Impostor, .. } => {
            "is this the right cluster? Something answers there that doesn't know the user's password"
                .to_owned()
        }
        Failure::Exchange { error: SaslError::Iterations(_), .. } => {
            "set the user's password anew on the brokers, with iterations in these bounds".to_owned()
        }
        Failure::Exchange { .. } | Failure::Wire { .. } => {
            "is this the port of a Kafka listener for clients? What it answers is no SASL".to_owned()
        }
    }
}
