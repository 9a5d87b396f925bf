//! The routes, and what each answers.

use std::fmt::Write;
use std::sync::Arc;

use hyper::{Method, StatusCode};
use serde_json::{Value, json};

use super::ask::Ask;
use super::response::{Answer, answer, json, not_allowed, problem, text};
use super::{Admin, ClusterStatus, MemberDrain};
use crate::metrics;

/// The longest path that can be meant.
const MAX_PATH: usize = 1024;

/// For `/`: every route and what it is for.
const ROUTES: &[(&str, &str)] = &[
    ("GET /", "this list"),
    ("GET /metrics", "metrics, Prometheus text format"),
    ("GET /healthz", "200 while the process works"),
    ("GET /readyz", "200 when ready, else 503 with one reason a line"),
    ("GET /v1/clusters", "every cluster, JSON"),
    ("GET /v1/clusters/{c}", "one cluster, JSON"),
    ("PUT /v1/clusters/{c}/bypass", "nothing is held, stamped or sent elsewhere from now on"),
    ("DELETE /v1/clusters/{c}/bypass", "the end of that"),
    ("PUT /v1/clusters/{c}/members/{m}/drain", "clients leave the member: 200 when none is left, else 202"),
    ("DELETE /v1/clusters/{c}/members/{m}/drain", "the end of that"),
];

/// What a path means.
#[derive(Debug, PartialEq, Eq)]
enum Route<'a> {
    Index,
    Metrics,
    Health,
    Ready,
    Clusters,
    Cluster(&'a str),
    Bypass(&'a str),
    Drain(&'a str, &'a str),
}

impl<'a> Route<'a> {
    fn of(path: &'a str) -> Option<Self> {
        Some(match path {
            "/" => Self::Index,
            "/metrics" => Self::Metrics,
            "/healthz" => Self::Health,
            "/readyz" => Self::Ready,
            "/v1/clusters" => Self::Clusters,
            _ => match path.strip_prefix("/v1/clusters/") {
                // Names in the configuration need no escapes, so that none are decoded.
                Some(name) if !name.is_empty() && !name.contains('/') => Self::Cluster(name),
                Some(rest) => match rest.split_once('/') {
                    Some((name, "bypass")) if !name.is_empty() => Self::Bypass(name),
                    Some((name, rest)) if !name.is_empty() => {
                        let member = rest.strip_prefix("members/")?.strip_suffix("/drain")?;
                        if member.is_empty() || member.contains('/') {
                            return None;
                        }
                        Self::Drain(name, member)
                    }
                    _ => return None,
                },
                None => return None,
            },
        })
    }
}

/// Answers one request; for HEAD the server leaves the body out.
pub(super) async fn respond(admin: &Arc<Admin>, ask: &Ask) -> Answer {
    let (method, path, local) = (&ask.method, ask.path.as_str(), ask.local);
    if path.len() > MAX_PATH {
        return problem(StatusCode::URI_TOO_LONG, "no route is that long");
    }
    let Some(route) = Route::of(path) else {
        return problem(StatusCode::NOT_FOUND, "no such route; / lists them");
    };
    match route {
        Route::Bypass(name) => return bypass(admin, method, name, local),
        Route::Drain(name, member) => return drain(admin, method, name, member, local),
        _ => {}
    }
    if method != Method::GET && method != Method::HEAD {
        return not_allowed("GET, HEAD");
    }
    match route {
        Route::Index => text(StatusCode::OK, index()),
        Route::Metrics => render(admin).await,
        Route::Health => text(StatusCode::OK, "ok\n".to_owned()),
        Route::Ready => ready(admin),
        Route::Clusters => {
            let clusters: Vec<Value> = admin.clusters.iter().map(|cluster| cluster.status()).collect();
            json(&json!({ "clusters": clusters }))
        }
        Route::Cluster(name) | Route::Bypass(name) | Route::Drain(name, _) => match find(admin, name) {
            Some(cluster) => json(&cluster.status()),
            None => no_cluster(),
        },
    }
}

fn find<'a>(admin: &'a Admin, name: &str) -> Option<&'a Arc<dyn ClusterStatus>> {
    admin.clusters.iter().find(|cluster| cluster.name() == name)
}

fn no_cluster() -> Answer {
    problem(StatusCode::NOT_FOUND, "no cluster of that name; /v1/clusters lists them")
}

/// Whether a change is switched on or off. Only from this host, since the listener has no credentials.
fn switch(method: &Method, local: bool) -> Result<bool, Box<Answer>> {
    let on = match *method {
        Method::PUT => true,
        Method::DELETE => false,
        _ => return Err(Box::new(not_allowed("PUT, DELETE"))),
    };
    if local {
        Ok(on)
    } else {
        Err(Box::new(problem(StatusCode::FORBIDDEN, "changes are taken from this host only")))
    }
}

/// The drain of one member. Idempotent.
fn drain(admin: &Admin, method: &Method, name: &str, member: &str, local: bool) -> Answer {
    let on = match switch(method, local) {
        Ok(on) => on,
        Err(refusal) => return *refusal,
    };
    let Some(cluster) = find(admin, name) else { return no_cluster() };
    // A member's id is HOST:PORT; some clients escape the colon.
    let member = member.replace("%3A", ":").replace("%3a", ":");
    let (status, phase, left) = match cluster.drain(&member, on) {
        MemberDrain::Unknown => {
            return problem(StatusCode::NOT_FOUND, "no member of that id; /v1/clusters/{c} lists them");
        }
        MemberDrain::Unsupported => {
            return problem(StatusCode::NOT_IMPLEMENTED, "members of this protocol can't be drained yet");
        }
        MemberDrain::Off => (StatusCode::OK, "serving", None),
        MemberDrain::Draining { left } => (StatusCode::ACCEPTED, "draining", Some(left)),
        MemberDrain::Drained => (StatusCode::OK, "drained", Some(0)),
    };
    let mut answer = json(&json!({ "cluster": name, "member": member, "phase": phase, "sessions": left }));
    *answer.status_mut() = status;
    answer
}

/// The switch of one cluster. Idempotent.
fn bypass(admin: &Admin, method: &Method, name: &str, local: bool) -> Answer {
    let on = match switch(method, local) {
        Ok(on) => on,
        Err(refusal) => return *refusal,
    };
    let Some(cluster) = find(admin, name) else { return no_cluster() };
    cluster.set_bypass(on);
    json(&json!({ "cluster": name, "bypass": on }))
}

fn index() -> String {
    let mut out = format!("evenkeel {}\n\n", env!("CARGO_PKG_VERSION"));
    for (route, purpose) in ROUTES {
        // Writing to a String cannot fail.
        let _ = writeln!(out, "{route:<44}{purpose}");
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
