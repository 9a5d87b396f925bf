//! The routes, and what each answers.

use std::fmt::Write;
use std::sync::Arc;

use hyper::{Method, StatusCode};
use serde_json::json;

use super::Admin;
use super::ask::Ask;
use super::control::Control;
use super::door::PRESTOP;
use super::openapi;
use super::orders;
use super::response::{Answer, answer, json, not_allowed, problem, text};
use super::ui;
use crate::metrics;

/// The longest path that can be meant.
const MAX_PATH: usize = 1024;

/// Every route: its methods, its path, and what it is for. `/` shows this, and `openapi.json` describes it.
pub(super) const ROUTES: &[(&str, &str, &str)] = &[
    ("GET", "/", "this list"),
    ("GET", "/ui", "what is, as a page for people"),
    ("GET", "/metrics", "metrics, Prometheus text format"),
    ("GET", "/healthz", "200 while the process works"),
    ("GET", "/readyz", "200 when ready, else 503 with one reason a line"),
    ("GET", "/v1/openapi.json", "what all of this takes and answers, OpenAPI 3.1"),
    ("GET", "/v1/clusters", "every cluster, JSON"),
    ("GET", "/v1/clusters/{c}", "one cluster, JSON"),
    ("PUT", "/v1/clusters/{c}/bypass", "nothing is held, stamped or sent elsewhere from now on"),
    ("DELETE", "/v1/clusters/{c}/bypass", "the end of that"),
    ("PUT", "/v1/clusters/{c}/plan", "a rolling upgrade begins, or goes on"),
    ("POST", "/v1/clusters/{c}/plan/finalize", "it is finished: clients are offered what is new"),
    ("POST", "/v1/clusters/{c}/plan/abort", "it is given up, and its drains end"),
    (
        "GET",
        "/v1/clusters/{c}/gate",
        "may the next step be taken: for=stop|next|finalize|rollback, member=ID",
    ),
    ("GET", "/v1/clusters/{c}/gates", "every gate, from what is known now: nobody is asked"),
    (
        "PUT",
        "/v1/clusters/{c}/members/{m}/drain",
        "clients leave the member: 200 when none is left, else 202",
    ),
    ("DELETE", "/v1/clusters/{c}/members/{m}/drain", "the end of that"),
    ("GET", PRESTOP, "drains a member and waits: cluster=, member=, timeout_s="),
    ("POST", "/v1/hooks/flagger", "a gate for Flagger: 200 go, 409 wait"),
];

/// What a path means.
#[derive(Debug, PartialEq, Eq)]
enum Route<'a> {
    Index,
    Page,
    Metrics,
    Health,
    Ready,
    OpenApi,
    Prestop,
    Flagger,
    Clusters,
    /// A cluster, and what of it.
    Of(&'a str, Part<'a>),
}

/// What of a cluster.
#[derive(Debug, PartialEq, Eq)]
enum Part<'a> {
    Status,
    Bypass,
    Plan,
    Finalize,
    Abort,
    Gate,
    Gates,
    Drain(&'a str),
}

impl<'a> Route<'a> {
    fn of(path: &'a str) -> Option<Self> {
        Some(match path {
            "/" => Self::Index,
            "/ui" => Self::Page,
            "/metrics" => Self::Metrics,
            "/healthz" => Self::Health,
            "/readyz" => Self::Ready,
            "/v1/openapi.json" => Self::OpenApi,
            PRESTOP => Self::Prestop,
            "/v1/hooks/flagger" => Self::Flagger,
            "/v1/clusters" => Self::Clusters,
            _ => {
                let rest = path.strip_prefix("/v1/clusters/")?;
                // Names in the configuration need no escapes, so that none are decoded.
                let (name, part) =
                    rest.split_once('/').map_or((rest, None), |(name, part)| (name, Some(part)));
                if name.is_empty() {
                    return None;
                }
                Self::Of(name, Part::of(part)?)
            }
        })
    }
}

impl<'a> Part<'a> {
    fn of(part: Option<&'a str>) -> Option<Self> {
        Some(match part {
            None => Self::Status,
            Some("bypass") => Self::Bypass,
            Some("plan") => Self::Plan,
            Some("plan/finalize") => Self::Finalize,
            Some("plan/abort") => Self::Abort,
            Some("gate") => Self::Gate,
            Some("gates") => Self::Gates,
            Some(other) => {
                let member = other.strip_prefix("members/")?.strip_suffix("/drain")?;
                if member.is_empty() || member.contains('/') {
                    return None;
                }
                Self::Drain(member)
            }
        })
    }
}

/// Answers one request; for HEAD the server leaves the body out.
pub(super) async fn respond(admin: &Arc<Admin>, ask: &Ask) -> Answer {
    if ask.path.len() > MAX_PATH {
        return problem(StatusCode::URI_TOO_LONG, "no route is that long");
    }
    let Some(route) = Route::of(&ask.path) else {
        return problem(StatusCode::NOT_FOUND, "no such route; / lists them");
    };
    let looks = ask.method == Method::GET || ask.method == Method::HEAD;
    match route {
        Route::Flagger => orders::flagger(admin, ask).await,
        Route::Of(name, part) => of_cluster(admin, ask, name, part).await,
        _ if !looks => not_allowed("GET, HEAD"),
        // A HEAD must change nothing.
        Route::Prestop if ask.method != Method::GET => not_allowed("GET"),
        Route::Prestop => orders::prestop(admin, ask).await,
        Route::Index => text(StatusCode::OK, index()),
        Route::Page => ui::page(),
        Route::Metrics => render(admin).await,
        Route::Health => text(StatusCode::OK, "ok\n".to_owned()),
        Route::Ready => ready(admin),
        Route::OpenApi => answer(StatusCode::OK, "application/json", openapi::DOCUMENT.to_owned()),
        Route::Clusters => {
            let mut clusters = Vec::new();
            for cluster in &admin.clusters {
                match cluster.status().await {
                    Ok(said) => clusters.push(said.value),
                    problem => return orders::said(problem),
                }
            }
            json(&json!({ "clusters": clusters }))
        }
    }
}

async fn of_cluster(admin: &Arc<Admin>, ask: &Ask, name: &str, part: Part<'_>) -> Answer {
    let looks = ask.method == Method::GET || ask.method == Method::HEAD;
    if matches!(part, Part::Status | Part::Gate | Part::Gates) && !looks {
        return not_allowed("GET, HEAD");
    }
    let Some(cluster) = admin.cluster(name) else { return no_cluster() };
    match part {
        Part::Status => orders::said(cluster.status().await),
        Part::Bypass => bypass(cluster, ask).await,
        Part::Plan => orders::plan(cluster, ask).await,
        Part::Finalize => orders::end(cluster, ask, true).await,
        Part::Abort => orders::end(cluster, ask, false).await,
        Part::Gate => orders::gate(cluster, ask).await,
        Part::Gates => orders::said(cluster.gates().await),
        Part::Drain(member) => orders::drain(cluster, ask, member).await,
    }
}

impl Admin {
    /// A cluster, by its name in the configuration.
    pub(super) fn cluster(&self, name: &str) -> Option<&dyn Control> {
        self.clusters.iter().find(|cluster| cluster.name() == name).map(AsRef::as_ref)
    }
}

pub(super) fn no_cluster() -> Answer {
    problem(StatusCode::NOT_FOUND, "no cluster of that name; /v1/clusters lists them")
}

/// The switch of one cluster. Idempotent.
async fn bypass(cluster: &dyn Control, ask: &Ask) -> Answer {
    let on = match ask.method {
        Method::PUT => true,
        Method::DELETE => false,
        _ => return not_allowed("PUT, DELETE"),
    };
    orders::said(cluster.set_bypass(on).await)
}

fn index() -> String {
    let mut out = format!("evenkeel {}\n\n", env!("CARGO_PKG_VERSION"));
    for (method, path, purpose) in ROUTES {
        let route = format!("{method} {path}");
        // Writing to a String cannot fail.
        let _ = writeln!(out, "{route:<48}{purpose}");
    }
    out
}

fn ready(admin: &Admin) -> Answer {
    // Read once, so that status and text agree.
    let reasons = admin.readiness.reasons();
    if reasons.is_empty() {
        return text(StatusCode::OK, "ready\n".to_owned());
    }
    text(StatusCode::SERVICE_UNAVAILABLE, reasons.join("\n") + "\n")
}

/// Thousands of lines: written on another thread, since this one moves clients' bytes.
async fn render(admin: &Arc<Admin>) -> Answer {
    let metrics = Arc::clone(&admin.metrics);
    match tokio::task::spawn_blocking(move || metrics.render()).await {
        Ok(body) => answer(StatusCode::OK, metrics::CONTENT_TYPE, body),
        Err(error) => {
            tracing::error!(%error, "the metrics could not be rendered");
            problem(StatusCode::INTERNAL_SERVER_ERROR, "the metrics could not be rendered; the log says why")
        }
    }
}
