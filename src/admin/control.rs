//! What the routes of a controller need of a cluster: the hook of one sidecar, or a whole fleet's behind the same routes.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use hyper::StatusCode;
use serde_json::Value;

use crate::upgrade::{Gate, Plan, Refusal, Ticket};

/// What is answered: JSON with its status, of the class 2xx.
#[derive(Clone, Debug, PartialEq)]
pub struct Said {
    /// The status.
    pub status: StatusCode,
    /// The body.
    pub value: Value,
}

impl From<Value> for Said {
    fn from(value: Value) -> Self {
        Self { status: StatusCode::OK, value }
    }
}

/// Why not; becomes `application/problem+json`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The status.
    pub status: StatusCode,
    /// What to do about it.
    pub detail: String,
}

impl Problem {
    /// One of these.
    pub fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self { status, detail: detail.into() }
    }

    /// There is no such member.
    pub fn no_member() -> Self {
        Self::new(StatusCode::NOT_FOUND, "no member of that id; /v1/clusters/{c} lists them")
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let status = match refusal {
            Refusal::Wrong(_) => StatusCode::BAD_REQUEST,
            _ => StatusCode::CONFLICT,
        };
        Self::new(status, refusal.to_string())
    }
}

/// An answer that may take its time.
pub type Told<'a> = Pin<Box<dyn Future<Output = Result<Said, Problem>> + Send + 'a>>;

/// An order to drain a member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DrainOrder {
    /// The plan that orders it; a person has none.
    pub ticket: Option<Ticket>,
    /// How long it lasts without another word.
    pub lasts: Duration,
    /// For how long the answer waits for its end.
    pub wait: Duration,
}

/// One cluster, for whoever orders there. Bodies and queries have been read; every order is idempotent.
pub trait Control: Send + Sync {
    /// Its name in the configuration.
    fn name(&self) -> &str;

    /// `GET /v1/clusters/{c}`.
    fn status(&self) -> Told<'_>;

    /// `GET …/gates`.
    fn gates(&self) -> Told<'_>;

    /// `GET …/gate`.
    fn gate<'a>(&'a self, gate: Gate, member: Option<&'a str>) -> Told<'a>;

    /// `PUT …/plan`.
    fn put(&self, plan: Plan) -> Told<'_>;

    /// `POST …/plan/finalize` or `/abort`.
    fn end(&self, ticket: Ticket, finalize: bool) -> Told<'_>;

    /// `PUT …/members/{m}/drain`: 200 when nobody is left there, else 202.
    fn drain<'a>(&'a self, member: &'a str, order: DrainOrder) -> Told<'a>;

    /// `DELETE …/members/{m}/drain`.
    fn undrain<'a>(&'a self, member: &'a str, ticket: Option<Ticket>) -> Told<'a>;

    /// `PUT` and `DELETE …/bypass`.
    fn set_bypass(&self, on: bool) -> Told<'_>;
}
