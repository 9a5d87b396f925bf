//! Floor 6, `fleet`: the sidecars of a cluster's clients, asked all at once through their admin listeners.
//!
//! Who they are is a list or the addresses of a DNS name ([`Fleet`]); what they say is read here ([`Status`], [`GateSaid`]) and put
//! together ([`merge`]). Sidecars know nothing of each other, so this is the one place that sees all of them. [`serve`] speaks the hook
//! for all of them: the routes are `admin`'s, and what is behind them is a [`FanOut`].
//!
//! May import every lower floor. Must never decide what happens next: that is a controller's, `driver` or another.

mod fan;
mod find;
mod merge;
mod ordered;
mod said;
mod screen;
mod serve;
mod show;
mod status;

use std::sync::Arc;
use std::time::Duration;

use hyper::Method;
use serde_json::Value;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::admin::client::{AskError, Client};

pub use fan::{FanOut, Policy, Unheard};
pub use find::{Fleet, Source};
pub use merge::{FleetReason, Merged, merge};
pub use said::{GateSaid, LastPlan, MemberSaid, PlanSaid, Reason, Status};
pub(crate) use screen::Screen;
pub use serve::{Serving, serve};
pub use show::{Looking, show};

/// Sidecars that are asked at the same time.
const AT_ONCE: usize = 64;
/// The longest that an answer may take if the question doesn't say otherwise. A gate asks its cluster first, for up to 8 s.
pub const PATIENCE: Duration = Duration::from_secs(15);

/// One request to a sidecar.
#[derive(Clone, Debug)]
pub struct Question {
    /// Its method.
    pub method: Method,
    /// Path and query.
    pub path: String,
    /// JSON, if it has a body.
    pub body: Option<Value>,
    /// The longest that the answer may take.
    pub patience: Duration,
}

impl Question {
    /// What changes nothing.
    pub fn get(path: impl Into<String>) -> Self {
        Self { method: Method::GET, path: path.into(), body: None, patience: PATIENCE }
    }

    /// An order with a body.
    pub fn order(method: Method, path: impl Into<String>, body: Value) -> Self {
        Self { method, path: path.into(), body: Some(body), patience: PATIENCE }
    }
}

/// Why a sidecar gave no answer that is of use.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unanswered {
    /// It can't be reached, or doesn't answer in time.
    #[error("{0}")]
    Silent(String),
    /// It refuses: the status and the words of its answer.
    #[error("{status}: {detail}")]
    Refused {
        /// The status.
        status: u16,
        /// The `detail` of its problem, or all of its text.
        detail: String,
    },
    /// Its answer is not what the route answers.
    #[error("an answer that can't be read: {0}")]
    Garbled(String),
}

/// An answer of JSON with its status, of the class 2xx.
pub type Answer = Result<(u16, Value), Unanswered>;

/// Asks one sidecar.
pub async fn ask(client: &Client, sidecar: &str, question: Question) -> Answer {
    let Question { method, path, body, patience } = question;
    let body = body.map(|body| body.to_string());
    match client.order(sidecar, method, &path, body, patience).await {
        Ok((status, text)) if (200..300).contains(&status) => serde_json::from_str(&text)
            .map(|value| (status, value))
            .map_err(|error| Unanswered::Garbled(format!("{sidecar}: {error} in the answer to {path}"))),
        Ok((status, text)) => Err(Unanswered::Refused { status, detail: detail_of(&text) }),
        Err(error @ AskError::Http { .. }) => Err(Unanswered::Garbled(error.to_string())),
        Err(error) => Err(Unanswered::Silent(error.to_string())),
    }
}

/// Asks many at once, so many at a time, and gives the answers in the order of the names.
pub async fn ask_all(client: &Client, sidecars: &[String], question: &Question) -> Vec<(String, Answer)> {
    let slots = Arc::new(Semaphore::new(AT_ONCE));
    let mut asked = JoinSet::new();
    for (index, sidecar) in sidecars.iter().enumerate() {
        let (client, sidecar, question) = (client.clone(), sidecar.clone(), question.clone());
        let slots = Arc::clone(&slots);
        asked.spawn(async move {
            // The semaphore is never closed.
            let _slot = slots.acquire().await;
            (index, ask(&client, &sidecar, question).await)
        });
    }
    let mut answers: Vec<Option<Answer>> = vec![None; sidecars.len()];
    while let Some(done) = asked.join_next().await {
        if let Ok((index, answer)) = done
            && let Some(place) = answers.get_mut(index)
        {
            *place = Some(answer);
        }
    }
    let missing = || Err(Unanswered::Silent("it was not asked".to_owned()));
    sidecars
        .iter()
        .zip(answers)
        .map(|(name, answer)| (name.clone(), answer.unwrap_or_else(missing)))
        .collect()
}

/// The words of a problem document, or the text as it is.
fn detail_of(text: &str) -> String {
    let value: Option<Value> = serde_json::from_str(text).ok();
    let detail = value.as_ref().and_then(|value| value.get("detail")).and_then(Value::as_str);
    detail.unwrap_or(text.trim()).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::SocketAddr;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    /// Answers everything so, after a while.
    async fn stand_in(answer: &'static str) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let mut buffer = [0; 1024];
                    let _ = stream.read(&mut buffer).await;
                    let _ = stream.write_all(answer.as_bytes()).await;
                });
            }
        });
        address
    }

    #[tokio::test]
    async fn all_are_asked_and_each_answer_stands_by_its_name() {
        let good = stand_in("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{\"a\": 1}\n").await;
        let refuses = "HTTP/1.1 409 Conflict\r\nContent-Length: 18\r\n\r\n{\"detail\":\"stale\"}";
        let refuses = stand_in(refuses).await;
        let garbled = stand_in("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\noops").await;
        let dead = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let names: Vec<String> = [good, refuses, garbled, dead].iter().map(ToString::to_string).collect();
        let answers = ask_all(&Client::new(), &names, &Question::get("/")).await;
        assert!(answers.iter().map(|(name, _)| name).eq(&names));
        let mut answers = answers.into_iter().map(|(_, answer)| answer);
        assert_eq!(answers.next().unwrap().unwrap(), (200, serde_json::json!({ "a": 1 })));
        let stale = Unanswered::Refused { status: 409, detail: "stale".to_owned() };
        assert_eq!(answers.next().unwrap().unwrap_err(), stale);
        assert!(matches!(answers.next().unwrap(), Err(Unanswered::Garbled(_))));
        assert!(matches!(answers.next().unwrap(), Err(Unanswered::Silent(_))));
    }
}
