//! Connecting to a broker, and making sure that it is the one that was meant.
//!
//! An address can be given to another broker while the old name or address is still remembered somewhere. So before a
//! client's request goes out, one round trip asks what the peer speaks, which cluster it belongs to, and – by asking
//! for the configuration of one node, which every other node refuses – whether it is that node. Where that may not
//! be asked, the peer's own word has to do ([`witness`]).

use super::acls::{Right, is_refusal};
use super::check::Told;
use super::versions::{API_VERSIONS, Versions};
use super::witness::{self, Peer, Word};
use super::{Cluster, Settings};
use crate::kafka::authenticate::{Credentials, Failure, Identity};
use crate::kafka::channel::{Channel, ChannelError, Parts, Question};
use crate::kafka::wire::{self, Struct};
use crate::metrics::ConnectOutcome;
use crate::net::{ConnectError, ConnectOptions, FrameError, Secure, Stream, connect};
use crate::time::now;
use crate::{config, tls};
use std::sync::Arc;
use std::time::{Duration, Instant};

const METADATA: i16 = 3;
const DESCRIBE_CONFIGS: i16 = 32;
/// Versions that every broker from 2.8 to 4.3 speaks, so that all questions can go out at once.
const METADATA_VERSION: i16 = 9;
const DESCRIBE_CONFIGS_VERSION: i16 = 4;
const API_VERSIONS_VERSION: i16 = 3;
/// `INVALID_REQUEST`: what `DescribeConfigs` answers for another broker's id (`ConfigHelper.describeConfigs`).
const INVALID_REQUEST: i16 = 42;
/// For so long a connection with a client's own credentials keeps others waiting at the most.
const OWN_TURN: Duration = Duration::from_millis(500);

/// Why there is no connection to a node.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// The node is not known (yet).
    #[error("node {0} is not known")]
    UnknownNode(i32),
    /// It went down while others were to be connected first.
    #[error("node {0} is down")]
    Down(i32),
    /// No address of it could be connected.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The handshake failed.
    #[error("{address}: {error}")]
    Handshake {
        /// Where.
        address: String,
        /// Why.
        error: ChannelError,
    },
    /// One side wants an encrypted connection, or a certificate, and the other doesn't have it.
    #[error("{address}: {why}")]
    Tls {
        /// Where.
        address: String,
        /// Why.
        why: tls::Why,
    },
    /// The broker doesn't take the credentials, or there are none.
    #[error("{cluster}: {address}: {why}")]
    Sasl {
        /// The cluster.
        cluster: String,
        /// Where.
        address: String,
        /// Why.
        why: Box<Failure>,
    },
    /// What a client has shown itself got no answer: that says nothing of the broker.
    #[error("{address}: no verdict on what a client has shown: {error}")]
    Showing {
        /// Where.
        address: String,
        /// Why.
        error: ChannelError,
    },
    /// Another node, or another cluster's, answers there.
    #[error("{address}: {what}; the connection is dropped and its name resolved anew")]
    WrongNode {
        /// Where.
        address: String,
        /// What is wrong.
        what: String,
    },
}

/// A connection that is known to lead to the node that was meant.
pub struct Dialed {
    /// The stream, nothing pending on it.
    pub stream: Stream,
    /// Who is at its other end.
    pub peer: Peer,
    /// What the node speaks.
    pub versions: Arc<Versions>,
    /// Whose session it is, where brokers ask for that.
    pub identity: Option<Identity>,
    /// When the session has to be renewed.
    pub renew_at: Option<Instant>,
    /// How long the session lasts that the broker has opened; none: as long as the connection.
    pub session: Option<Duration>,
}

/// A connection of our own, with the Metadata answer of its handshake and when that was asked for.
pub(super) struct Opened {
    /// The connection.
    pub channel: Channel,
    /// What the peer speaks.
    pub versions: Arc<Versions>,
    /// Its view of the brokers.
    pub metadata: Struct,
    /// When it was asked for that.
    pub asked: Instant,
    /// Who it is.
    pub peer: Peer,
}

/// Connects to `node` at its present address when its turn has come, checks who answers, and notes its health and versions.
///
/// # Errors
/// See [`DialError`].
pub async fn dial(cluster: &Arc<Cluster>, node: i32, credentials: &Credentials) -> Result<Dialed, DialError> {
    let turn = cluster.ramp_of(node).turn().await;
    if turn.as_ref().is_some_and(|turn| turn.waited) && cluster.read(|view| view.is_down(node)) {
        return Err(DialError::Down(node));
    }
    let opening = open_node_as(cluster, node, credentials);
    let opened = match turn {
        // Who shows what its broker is slow to judge makes nobody else wait for longer.
        Some(turn) => turn.open(is_shown(credentials).then_some(OWN_TURN), opening).await?,
        None => opening.await?,
    };
    let session = opened.channel.session_lasts();
    let Parts { stream, identity, renew_at } = opened.channel.into_parts();
    Ok(Dialed { stream, peer: opened.peer, versions: opened.versions, identity, renew_at, session })
}

/// Connects to `node` without a word, for a client whose exchange only itself can have with a broker. Who answers isn't checked.
///
/// # Errors
/// See [`DialError`].
pub async fn dial_bare(cluster: &Arc<Cluster>, node: i32) -> Result<Dialed, DialError> {
    let known = cluster.read(|view| {
        let node = view.nodes.get(&node)?;
        Some((node.host.clone(), node.port, node.versions.clone()?))
    });
    let (host, port, versions) = known.ok_or(DialError::UnknownNode(node))?;
    let settings = cluster.settings();
    let secure = Secure { tls: &cluster.tls, options: &settings.kafka.tls };
    let connected = connect(&cluster.resolver, &host, port, &ConnectOptions::of(&settings.net), secure).await;
    let connected = connected.map_err(DialError::from);
    let member = cluster.metrics.member(&node.to_string());
    member.connect(connected.as_ref().map_or_else(outcome, |_| ConnectOutcome::Ok));
    let connected = connected?;
    // Nobody asks, and nobody is told.
    let peer = Peer { at: connected.addr, since: now(), proven: true };
    Ok(Dialed { stream: connected.stream, peer, versions, identity: None, renew_at: None, session: None })
}

/// As [`dial`], for a connection of our own.
pub(super) async fn open_node(cluster: &Arc<Cluster>, node: i32) -> Result<Opened, DialError> {
    open_node_as(cluster, node, &cluster.credentials()).await
}

async fn open_node_as(
    cluster: &Arc<Cluster>,
    node: i32,
    credentials: &Credentials,
) -> Result<Opened, DialError> {
    let started = now();
    let address = cluster.read(|view| view.nodes.get(&node).map(|node| (node.host.clone(), node.port)));
    let (host, port) = address.ok_or(DialError::UnknownNode(node))?;
    let member = cluster.metrics.member(&node.to_string());
    let result = open(cluster, &host, port, Some(node), credentials, None).await;
    member.connect(result.as_ref().map_or_else(outcome, |_| ConnectOutcome::Ok));
    match &result {
        Ok(opened) => {
            member.connect_seconds.observe(now().saturating_duration_since(started).as_secs_f64());
            cluster.node_is_up(node, &opened.versions);
        }
        // That a client's own credentials are refused says nothing of the broker.
        Err(DialError::Sasl { .. }) if is_shown(credentials) => {}
        // Nor does a broker that closes on them, is late to judge them, or makes their user wait for its quota. It is asked with our own.
        Err(error @ (DialError::Showing { .. } | DialError::Handshake { .. })) if is_shown(credentials) => {
            tracing::debug!(node, %error, "a client's own exchange with a broker came to nothing");
            cluster.suspect(node);
        }
        Err(error) => {
            cluster.node_is_down(node, error);
            cluster.say_unready(outcome(error));
        }
    }
    result
}

fn is_shown(credentials: &Credentials) -> bool {
    matches!(credentials, Credentials::Shown(..))
}

/// Connects to whatever listens at `host:port` and checks the cluster, and the node if one is expected. `told`: how far it has come, for
/// who wants to know.
pub(super) async fn open(
    cluster: &Arc<Cluster>,
    host: &str,
    port: u16,
    node: Option<i32>,
    credentials: &Credentials,
    mut told: Option<&mut Told>,
) -> Result<Opened, DialError> {
    let settings = cluster.settings();
    let options = ConnectOptions::of(&settings.net);
    let secure = Secure { tls: &cluster.tls, options: &settings.kafka.tls };
    let connected = connect(&cluster.resolver, host, port, &options, secure).await?;
    if let Some(node) = node {
        cluster.metrics.member(&node.to_string()).handshake(connected.stream.handshake());
    }
    if let Some(told) = &mut told {
        told.connected(&connected);
    }
    let mut peer = Peer { at: connected.addr, since: now(), proven: true };
    let address = format!("{host}:{port} ({})", connected.addr);
    let mut channel = Channel::new(connected.stream, settings.net.max_frame, &settings.kafka.client_id);
    let asked = now();
    let mut is_showing = is_shown(credentials);
    let answers = async {
        channel.authenticate(credentials, settings.net.connect_timeout).await?;
        is_showing = false;
        ask(&mut channel, &settings, node).await
    };
    let answers = answers.await;
    if let Some(told) = &mut told {
        told.authenticated(&channel);
    }
    let answers = match answers {
        Ok(answers) => answers,
        Err(ChannelError::Sasl(why)) => {
            return Err(DialError::Sasl {
                cluster: settings.kafka.name.clone(),
                address,
                why: Box::new(why),
            });
        }
        Err(error) if is_showing => return Err(DialError::Showing { address, error }),
        Err(error) if is_silent(&error) && may_be_asked(cluster, &settings) => {
            return Err(why_closed(cluster, &settings, (host, port), address).await);
        }
        Err(error) => return Err(unanswered(error, &settings.kafka.tls, &address, host)),
    };
    let wrong = |what: String| DialError::WrongNode { address: address.clone(), what };
    check_cluster(cluster, &answers.metadata).map_err(wrong)?;
    if let (Some(node), Some(configs)) = (node, &answers.configs) {
        let code = configs.structs("results").next().map_or(0, |result| result.i16("error_code"));
        if let Some(told) = &mut told {
            told.asked(code);
        }
        if matches!(credentials, Credentials::Held(_)) {
            cluster.note_refused(Right::Configs, "DescribeConfigs", code);
        }
        check_node(node, configs).map_err(wrong)?;
        if is_refusal(code) {
            let word = witness::hear(cluster, &mut channel, node).await;
            let word = word.map_err(|error| DialError::Handshake { address: address.clone(), error })?;
            cluster.note_word(node, peer.at, &word, now());
            peer.proven = word == Word::Itself;
            if let Word::Another(what) = word {
                return Err(wrong(what));
            }
        }
    }
    Ok(Opened {
        channel,
        versions: Arc::new(Versions::new(answers.versions)),
        metadata: answers.metadata,
        asked,
        peer,
    })
}

/// Whether a broker has closed a connection and said nothing: what is wrong with its encryption it says.
fn is_silent(error: &ChannelError) -> bool {
    match error {
        ChannelError::Closed => true,
        ChannelError::Io(error) => !tls::is_of_tls(error),
        _ => false,
    }
}

/// Whether a listener may have closed a connection because nobody has said who it is from: one that asks for SASL says no more than that.
fn may_be_asked(cluster: &Cluster, settings: &Settings) -> bool {
    settings.kafka.sasl.mechanism.is_none() && cluster.read(|view| view.cluster_id.is_none())
}

/// Asks the listener, on another connection, whether it was for want of SASL that it closed this one.
async fn why_closed(
    cluster: &Arc<Cluster>,
    settings: &Settings,
    (host, port): (&str, u16),
    address: String,
) -> DialError {
    let options = ConnectOptions::of(&settings.net);
    let secure = Secure { tls: &cluster.tls, options: &settings.kafka.tls };
    let failure = match connect(&cluster.resolver, host, port, &options, secure).await {
        Ok(connected) => {
            let mut channel =
                Channel::new(connected.stream, settings.net.max_frame, &settings.kafka.client_id);
            channel.ask_whether_asked(settings.net.connect_timeout).await
        }
        Err(_) => None,
    };
    match failure {
        Some(why) => {
            cluster.note_asked();
            DialError::Sasl { cluster: settings.kafka.name.clone(), address, why: Box::new(why) }
        }
        None => DialError::Handshake { address, error: ChannelError::Closed },
    }
}

/// Why the first questions on a connection got no answer.
fn unanswered(error: ChannelError, options: &config::Tls, address: &str, host: &str) -> DialError {
    let address = address.to_owned();
    let why = match &error {
        ChannelError::Io(error) | ChannelError::Frame(FrameError::Io(error)) if tls::is_of_tls(error) => {
            tls::explain(error, options, host)
        }
        ChannelError::Frame(FrameError::TooLarge { len, .. })
            if u32::try_from(*len).is_ok_and(|len| tls::is_alert(len.to_be_bytes())) =>
        {
            tls::Why::encrypted_listener()
        }
        _ => return DialError::Handshake { address, error },
    };
    DialError::Tls { address, why }
}

struct Answers {
    versions: Struct,
    metadata: Struct,
    configs: Option<Struct>,
}

async fn ask(channel: &mut Channel, settings: &Settings, node: Option<i32>) -> Result<Answers, ChannelError> {
    let unknown = |key| wire::request(key).map(wire::Message::new).ok_or(ChannelError::Closed);
    let mut versions = unknown(API_VERSIONS)?;
    versions.set_str("client_software_name", "evenkeel");
    versions.set_str("client_software_version", env!("CARGO_PKG_VERSION"));
    let mut metadata = unknown(METADATA)?;
    metadata.set_structs("topics", Vec::new());
    metadata.set_bool("allow_auto_topic_creation", false);
    let mut questions = vec![
        Question { key: API_VERSIONS, version: API_VERSIONS_VERSION, body: &versions },
        Question { key: METADATA, version: METADATA_VERSION, body: &metadata },
    ];
    let configs = node.filter(|_| settings.kafka.verify_node).map(broker_id_of).transpose()?;
    if let Some(body) = &configs {
        questions.push(Question { key: DESCRIBE_CONFIGS, version: DESCRIBE_CONFIGS_VERSION, body });
    }
    let mut answers = channel.ask_all(&questions, settings.net.connect_timeout).await?.into_iter();
    let (Some(versions), Some(metadata)) = (answers.next(), answers.next()) else {
        return Err(ChannelError::Closed);
    };
    Ok(Answers { versions, metadata, configs: answers.next() })
}

fn broker_id_of(node: i32) -> Result<Struct, ChannelError> {
    let mut request = wire::request(DESCRIBE_CONFIGS).map(wire::Message::new).ok_or(ChannelError::Closed)?;
    let mut resource = request.new_struct("resources");
    resource.set_i8("resource_type", 4); // BROKER
    resource.set_str("resource_name", &node.to_string());
    resource.set_strs("configuration_keys", &["broker.id"]);
    request.set_structs("resources", vec![resource]);
    Ok(request)
}

fn check_cluster(cluster: &Cluster, metadata: &Struct) -> Result<(), String> {
    let Some(said) = metadata.str("cluster_id") else { return Ok(()) };
    cluster.update_quietly(|view| match &view.cluster_id {
        None => {
            view.cluster_id = Some(said.to_owned());
            Ok(())
        }
        Some(known) if known == said => Ok(()),
        Some(known) => {
            Err(format!("a broker of another cluster answers here (cluster id {said}, expected {known})"))
        }
    })
}

/// Refused for another node; not authorized (29, 31) leaves the question open.
fn check_node(node: i32, configs: &Struct) -> Result<(), String> {
    match configs.structs("results").next().map(|result| result.i16("error_code")) {
        Some(INVALID_REQUEST) => Err(format!("another broker than node {node} answers here")),
        _ => Ok(()),
    }
}

/// How an attempt that failed counts.
pub(super) fn outcome(error: &DialError) -> ConnectOutcome {
    match error {
        DialError::WrongNode { .. } => ConnectOutcome::WrongNode,
        DialError::Sasl { .. } | DialError::Showing { .. } => ConnectOutcome::Sasl,
        DialError::Tls { .. } => ConnectOutcome::Tls,
        DialError::Connect(error) => error.outcome(),
        DialError::Handshake { error: ChannelError::Timeout(_), .. } => ConnectOutcome::Timeout,
        DialError::Handshake { error: ChannelError::Closed, .. } => ConnectOutcome::Refused,
        _ => ConnectOutcome::Error,
    }
}
