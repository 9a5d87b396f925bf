//! What a scripted broker makes of SASL: whom it takes, for how long, and what it does to those who haven't shown who they are.

use crate::fake::Gate;
use crate::make;
use bytes::Bytes;
use evenkeel::kafka::wire::Struct;
use std::time::{Duration, Instant};

/// Whom a broker takes.
#[derive(Clone, Default)]
pub struct Asks {
    pub mechanisms: Vec<String>,
    /// The first messages that it is content with.
    pub takes: Vec<Vec<u8>>,
    /// The first messages on which it closes the connection without a word, as on one that is too long.
    pub closes_on: Vec<Vec<u8>>,
    /// The first messages that it never judges.
    pub silent_on: Vec<Vec<u8>>,
    /// The first messages whose verdict waits here.
    pub slow_on: Vec<(Vec<u8>, Gate)>,
    /// The first messages that it answers with a challenge, so that another follows.
    pub challenges: Vec<Vec<u8>>,
    /// How long a session lasts, as it says; zero: as long as its connection.
    pub lasts: Duration,
}

/// A renewal within so long of another is not begun, as `KafkaChannel.maybeBeginServerReauthentication` has it.
const BETWEEN: Duration = Duration::from_secs(1);
/// It looks away for so long when a session is over: a loaded machine is late, and that is not what is tried here.
const GRACE: Duration = Duration::from_secs(1);

impl Asks {
    pub fn plain(pairs: &[(&str, &str)]) -> Self {
        let takes = pairs.iter().map(|(user, password)| shown(user, password)).collect();
        Self { mechanisms: vec!["PLAIN".to_owned()], takes, ..Self::default() }
    }
}

/// The message of PLAIN.
pub fn shown(user: &str, password: &str) -> Vec<u8> {
    format!("\0{user}\0{password}").into_bytes()
}

/// The message of OAUTHBEARER. What stands before a point is its user; one without is of a nameless one.
pub fn token(name: &str) -> Vec<u8> {
    format!("n,,\x01auth=Bearer {name}\x01\x01").into_bytes()
}

/// Whose a message is.
fn user(message: &[u8]) -> String {
    let text = String::from_utf8_lossy(message);
    match text.strip_prefix("n,,\x01auth=Bearer ") {
        Some(token) => token.split_once('.').map_or("", |(user, _)| user).to_owned(),
        None => text.split('\0').nth(1).unwrap_or_default().to_owned(),
    }
}

/// One connection's state.
#[derive(Default)]
pub struct Asked {
    shaken: bool,
    session: Open,
    /// When a renewal was last begun.
    renewed: Option<Instant>,
    /// Whose it is, once that is known.
    user: Option<String>,
    challenged: bool,
    /// Where the answer waits.
    pub wait: Option<Gate>,
}

/// What a broker takes from a connection.
#[derive(Clone, Copy, Default, PartialEq)]
enum Open {
    /// Nothing: nobody has said who it is from.
    #[default]
    No,
    /// Everything, for as long as it stands.
    Ever,
    /// Everything until then.
    Until(Instant),
}

/// What is done about a request.
pub enum Turn {
    /// It is served.
    Serve,
    /// This is the answer.
    Answer(Box<Struct>),
    /// This is the answer, and the connection ends behind it.
    Last(Box<Struct>),
    /// There is none, ever.
    Silence,
    Close,
}

impl Asked {
    /// As `SaslServerAuthenticator` and `SocketServer` do it.
    pub fn turn(&mut self, asks: Option<&Asks>, key: i16, request: &Struct) -> Turn {
        // A real one says 34 to these; the operation table is tried with what a broker that takes them would say.
        let Some(asks) = asks else { return Turn::Serve };
        match key {
            18 if self.session == Open::No => Turn::Serve,
            17 if self.session != Open::No && self.renewed.is_some_and(|at| at.elapsed() < BETWEEN) => {
                Turn::Answer(Box::new(error(17, 34)))
            }
            17 => {
                if self.session != Open::No {
                    self.renewed = Some(Instant::now());
                }
                let mut answer = make::response(17);
                let names: Vec<&str> = asks.mechanisms.iter().map(String::as_str).collect();
                answer.set_strs("mechanisms", &names);
                self.shaken = names.contains(&request.str("mechanism").unwrap());
                if !self.shaken {
                    answer.set_i16("error_code", 33);
                    return Turn::Last(Box::new(answer));
                }
                Turn::Answer(Box::new(answer))
            }
            36 if self.shaken => {
                self.shaken = false;
                let message = request.bytes_field("auth_bytes").unwrap();
                if asks.closes_on.iter().any(|closes| closes == message) {
                    return Turn::Close;
                }
                if asks.silent_on.iter().any(|silent| silent == message) {
                    return Turn::Silence;
                }
                let slow = asks.slow_on.iter().find(|(slow, _)| slow == message);
                self.wait = slow.map(|(_, gate)| gate.clone());
                if asks.challenges.iter().any(|challenge| challenge == message) {
                    (self.shaken, self.challenged) = (true, true);
                    let mut answer = make::response(36);
                    answer.set_bytes("auth_bytes", Some(Bytes::from_static(b"prove it")));
                    return Turn::Answer(Box::new(answer));
                }
                let refused = |why: &str| {
                    let mut answer = error(36, 58);
                    answer.set_str("error_message", why);
                    Turn::Last(Box::new(answer))
                };
                if !asks.takes.iter().any(|taken| taken == message) {
                    return refused("Authentication failed: who are you?");
                }
                // `ReauthInfo.ensurePrincipalUnchanged`.
                if *self.user.get_or_insert_with(|| user(message)) != user(message) {
                    return refused("Cannot change principals during re-authentication");
                }
                let until = Instant::now() + asks.lasts + GRACE;
                self.session = if asks.lasts.is_zero() { Open::Ever } else { Open::Until(until) };
                let mut answer = make::response(36);
                if self.challenged {
                    answer.set_bytes("auth_bytes", Some(Bytes::from_static(b"v=proof")));
                }
                answer.set_i64("session_lifetime_ms", asks.lasts.as_millis() as i64);
                Turn::Answer(Box::new(answer))
            }
            _ => match self.session {
                Open::Ever => Turn::Serve,
                Open::Until(ends) if Instant::now() < ends => Turn::Serve,
                _ => Turn::Close,
            },
        }
    }
}

fn error(key: i16, code: i16) -> Struct {
    let mut answer = make::response(key);
    answer.set_i16("error_code", code);
    answer
}
