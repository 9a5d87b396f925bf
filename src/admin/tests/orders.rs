//! A controller's orders over HTTP; each answer is held against the `OpenAPI` document.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::fake::MEMBERS;
use super::*;
use crate::admin::{openapi, routes::ROUTES};

fn document() -> Value {
    serde_json::from_str(openapi::DOCUMENT).unwrap()
}

/// What of a value is not as its schema says: types, enumerations, required and unknown fields.
fn mismatches(document: &Value, schema: &Value, value: &Value, at: &str) -> Vec<String> {
    if let Some(name) = schema["$ref"].as_str() {
        let schema =
            document.pointer(name.trim_start_matches('#')).unwrap_or_else(|| panic!("no schema {name}"));
        return mismatches(document, schema, value, at);
    }
    if let Some(choices) = schema["oneOf"].as_array() {
        let fits = choices.iter().filter(|choice| mismatches(document, choice, value, at).is_empty()).count();
        return if fits == 1 { Vec::new() } else { vec![format!("{at}: {fits} of the choices fit {value}")] };
    }
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    let is = |wanted: &Value| wanted == kind || (wanted == "number" && kind == "integer");
    let allowed = schema["type"].as_array().map_or_else(|| is(&schema["type"]), |all| all.iter().any(is));
    if !allowed {
        return vec![format!("{at}: {kind} instead of {}", schema["type"])];
    }
    let mut found = Vec::new();
    if let Some(choices) = schema["enum"].as_array()
        && !choices.contains(value)
    {
        found.push(format!("{at}: {value} is none of {}", schema["enum"]));
    }
    for (index, item) in value.as_array().into_iter().flatten().enumerate() {
        found.extend(mismatches(document, &schema["items"], item, &format!("{at}[{index}]")));
    }
    if let Some(fields) = value.as_object() {
        for name in schema["required"].as_array().into_iter().flatten() {
            if !fields.contains_key(name.as_str().unwrap()) {
                found.push(format!("{at}: {name} is missing"));
            }
        }
        for (name, value) in fields {
            match &schema["properties"][name] {
                Value::Null if schema["additionalProperties"] == json!(false) => {
                    found.push(format!("{at}: {name} is not described"));
                }
                Value::Null => {}
                inner => found.extend(mismatches(document, inner, value, &format!("{at}.{name}"))),
            }
        }
    }
    found
}

/// One request, with a body unless it is null; status and answer, which is as it is described for its route.
pub(super) async fn order(server: &Server, method: &str, path: &str, body: Value) -> (u16, Value) {
    let text = if body.is_null() { String::new() } else { body.to_string() };
    let kind = if body.is_null() { "" } else { JSON };
    let (status, answer) = send(server.address, method, path, kind, &text).await;
    let (document, plain) = (document(), path.split('?').next().unwrap());
    let template = ROUTES.iter().map(|(_, template, _)| *template).find(|template| fits(template, plain));
    if let Some(template) = template {
        let described = &document["paths"][template][method.to_lowercase()]["responses"][status.to_string()];
        assert!(
            described.is_object(),
            "{method} {template} answers {status}, which is not described: {answer}"
        );
        for (kind, content) in described["content"].as_object().into_iter().flatten() {
            if kind.ends_with("json") {
                let found = mismatches(&document, &content["schema"], &answer, "answer");
                assert!(found.is_empty(), "{method} {path}: {found:?}\n{answer}");
            }
        }
    }
    (status, answer)
}

/// Whether a path is one of a template's.
fn fits(template: &str, path: &str) -> bool {
    let (template, path): (Vec<&str>, Vec<&str>) = (template.split('/').collect(), path.split('/').collect());
    template.len() == path.len()
        && template.iter().zip(&path).all(|(one, other)| one == other || one.starts_with('{'))
}

const PLAN: &str = "/v1/clusters/orders/plan";

pub(super) fn plan(generation: u64) -> Value {
    let members = MEMBERS.map(|id| json!({ "id": id, "from": "3.8.7", "to": "3.9.6" }));
    json!({ "plan_id": "p", "generation": generation, "members": members, "stable_s": 0 })
}

fn ticket(generation: u64) -> Value {
    json!({ "plan_id": "p", "generation": generation })
}

fn drain_of(member: &str) -> String {
    format!("/v1/clusters/orders/members/{member}/drain")
}

#[tokio::test]
async fn the_document_and_the_routes_say_the_same() {
    let server = start(Limits::default()).await;
    let document = document();
    let described: BTreeSet<(String, String)> = document["paths"]
        .as_object()
        .unwrap()
        .iter()
        .flat_map(|(path, methods)| {
            methods.as_object().unwrap().keys().map(|method| (method.to_uppercase(), path.clone()))
        })
        .collect();
    let routes: BTreeSet<(String, String)> =
        ROUTES.iter().map(|(method, path, _)| ((*method).to_owned(), (*path).to_owned())).collect();
    assert_eq!(described, routes);
    for (method, template, _) in ROUTES {
        let path = template.replace("{c}", "orders").replace("{m}", "zk-1:2181");
        let (status, _) = send(server.address, method, &path, "", "").await;
        assert!(![404, 405].contains(&status), "{method} {path} answers {status}");
        for other in ["PUT", "POST", "DELETE", "GET"] {
            let listed = ROUTES.iter().any(|(method, path, _)| method == &other && path == template);
            if !listed {
                assert_eq!(send(server.address, other, &path, "", "").await.0, 405, "{other} {path}");
            }
        }
    }
    let (status, _, body) = ask(server.address, "GET", "/v1/openapi.json").await;
    assert_eq!((status, serde_json::from_str::<Value>(&body).unwrap()), (200, document));
}

#[test]
fn the_check_of_answers_finds_what_it_is_for() {
    let document = document();
    let schema = json!({ "$ref": "#/components/schemas/Reason" });
    let wrong = |value: Value| mismatches(&document, &schema, &value, "it").len();
    assert_eq!(wrong(json!({ "code": "a", "detail": "b" })), 0);
    assert_eq!(wrong(json!({ "code": 1, "detail": "b" })), 1);
    assert_eq!(wrong(json!({ "code": "a" })), 1);
    assert_eq!(wrong(json!({ "code": "a", "detail": "b", "more": 1 })), 1);
    assert_eq!(wrong(json!([])), 1);
}

#[tokio::test]
async fn a_drain_says_how_far_it_has_come() {
    let server = start(Limits::default()).await;
    for (method, member, sessions, status, phase, left) in [
        ("PUT", "zk-1:2181", 2, 202, "draining", json!(2)),
        ("PUT", "zk-1%3A2181", 2, 202, "draining", json!(2)),
        ("PUT", "zk-2:2181", 0, 200, "drained", json!(0)),
        ("DELETE", "zk-1:2181", 0, 200, "serving", Value::Null),
    ] {
        server.orders.sessions.store(sessions, Relaxed);
        let (got, body) = order(&server, method, &drain_of(member), Value::Null).await;
        assert_eq!((got, &body["phase"], &body["sessions"]), (status, &json!(phase), &left));
        let leaders = if method == "PUT" { json!(4) } else { Value::Null };
        assert_eq!(body["leaders_seen"], leaders, "what it leads still is told with the order");
    }
    assert_eq!(
        server.orders.drains.lock().unwrap().values().collect::<Vec<_>>(),
        [&Duration::from_secs(600)]
    );
    server.orders.sessions.store(usize::MAX, Relaxed);
    assert_eq!(order(&server, "PUT", &drain_of("zk-2:2181"), Value::Null).await.0, 409, "it has expired");
    assert_eq!(order(&server, "PUT", &drain_of("nobody:1"), Value::Null).await.0, 404);
    assert_eq!(ask(server.address, "GET", &drain_of("zk-1:2181")).await.0, 405, "a look changes nothing");
    assert_eq!(ask(server.address, "PUT", &drain_of("a/b")).await.0, 404);
    for body in [
        json!({ "plan_id": "p" }),
        json!({ "wait_s": 241 }),
        json!({ "deadline_s": 0 }),
        json!({ "wait": 1 }),
    ] {
        let (status, answer) = order(&server, "PUT", &drain_of("zk-1:2181"), body.clone()).await;
        assert_eq!(status, 400, "{body}");
        let field = body.as_object().unwrap().keys().next().unwrap().clone();
        assert!(answer["detail"].as_str().unwrap().contains(&field), "{answer}");
    }
}

/// As many members as a plan may have, with the longest names: only a plan is as long as that.
#[tokio::test]
async fn the_largest_plan_is_taken() {
    let server = start(Limits::default()).await;
    let (long, version) = ("x".repeat(128), format!("4{}", ".3".repeat(63)));
    let member = |index: usize| {
        let id = format!("{index:0>128}");
        json!({ "id": id, "address": long, "zone": long, "from": version, "to": version })
    };
    let members: Vec<Value> = (0..1000).map(member).collect();
    let plan =
        json!({ "plan_id": long, "generation": u64::MAX, "members": members, "reason": "y".repeat(1000) });
    assert!(plan.to_string().len() > 600 * 1024);
    let (status, answer) = order(&server, "PUT", PLAN, plan).await;
    let told = answer.to_string();
    assert_eq!(status, 200, "{}", told.get(..200).unwrap_or(&told));
    let longer = json!({ "plan_id": "z".repeat(1024 * 1024) });
    let (status, answer) = order(&server, "PUT", PLAN, longer).await;
    assert!(status == 413 && answer["detail"].as_str().unwrap().contains("1 MiB"), "{answer}");
    let drain = json!({ "plan_id": "z".repeat(64 * 1024) });
    assert_eq!(order(&server, "PUT", &drain_of("zk-1:2181"), drain).await.0, 413);
}

#[tokio::test]
async fn a_drain_can_be_waited_for() {
    let server = start(Limits::default()).await;
    server.orders.sessions.store(3, Relaxed);
    let start = Instant::now();
    let body = json!({ "wait_s": 1, "deadline_s": 30 });
    let (status, answer) = order(&server, "PUT", &drain_of("zk-1:2181"), body).await;
    assert_eq!((status, &answer["phase"]), (202, &json!("draining")), "the time is over");
    assert!(start.elapsed() >= Duration::from_secs(1));
    assert_eq!(server.orders.drains.lock().unwrap()["zk-1:2181"], Duration::from_secs(30));
    let orders = Arc::clone(&server.orders);
    let leave = tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(200)).await;
        orders.sessions.store(0, Relaxed);
    });
    let (status, _) = order(&server, "PUT", &drain_of("zk-1:2181"), json!({ "wait_s": 60 })).await;
    assert_eq!(status, 200);
    leave.await.unwrap();
}

#[tokio::test]
async fn a_plan_lives_and_its_orders_need_its_ticket() {
    let server = start(Limits::default()).await;
    assert_eq!(order(&server, "PUT", &drain_of("zk-1:2181"), ticket(1)).await.0, 409, "no plan lives");
    let (status, answer) = order(&server, "PUT", PLAN, plan(2)).await;
    assert_eq!((status, &answer["result"]), (200, &json!("begun")));
    assert_eq!(order(&server, "PUT", PLAN, plan(2)).await.1["result"], "renewed");
    assert_eq!(order(&server, "PUT", PLAN, plan(1)).await.0, 409, "stale");
    assert_eq!(order(&server, "PUT", "/v1/clusters/nobody/plan", plan(1)).await.0, 404);
    let mut wrong = plan(3);
    wrong["membres"] = json!([]);
    let (status, answer) = order(&server, "PUT", PLAN, wrong).await;
    assert!(status == 400 && answer["detail"].as_str().unwrap().contains("membres"), "{answer}");
    let (status, answer) =
        order(&server, "PUT", PLAN, json!({ "plan_id": "", "generation": 3, "members": [] })).await;
    assert!(status == 400 && answer["detail"].as_str().unwrap().contains("members: 1"), "{answer}");
    assert_eq!(order(&server, "PUT", PLAN, Value::Null).await.0, 400);
    assert_eq!(order(&server, "PUT", &drain_of("zk-1:2181"), ticket(1)).await.0, 409);
    assert_eq!(order(&server, "PUT", &drain_of("zk-1:2181"), ticket(2)).await.0, 200);
    let shown = order(&server, "GET", "/v1/clusters/orders", Value::Null).await.1;
    assert_eq!((&shown["plan"]["plan_id"], &shown["members"][0]["version"]), (&json!("p"), &json!("3.8.7")));
    order(&server, "GET", "/v1/clusters", Value::Null).await;
    let (status, answer) = order(&server, "POST", &format!("{PLAN}/finalize"), ticket(2)).await;
    assert!(status == 409 && answer["detail"].as_str().unwrap().contains("not_at_target"), "{answer}");
    "3.9.6".clone_into(&mut server.orders.version.lock().unwrap());
    for _ in 0..2 {
        let (status, answer) = order(&server, "POST", &format!("{PLAN}/finalize"), ticket(2)).await;
        assert_eq!((status, &answer["phase"]), (200, &json!("finalized")));
    }
    assert!(server.orders.drains.lock().unwrap().is_empty(), "its drains end with it");
    assert_eq!(*server.orders.pin.lock().unwrap(), ["held", "lifted"]);
    assert_eq!(order(&server, "PUT", PLAN, plan(2)).await.0, 409, "it is over");
    assert_eq!(order(&server, "PUT", PLAN, plan(3)).await.0, 200);
    for _ in 0..2 {
        assert_eq!(order(&server, "POST", &format!("{PLAN}/abort"), ticket(3)).await.0, 200);
    }
    assert_eq!(order(&server, "POST", &format!("{PLAN}/abort"), Value::Null).await.0, 400);
    let shown = order(&server, "GET", "/v1/clusters/orders", Value::Null).await.1;
    assert_eq!((&shown["plan"], &shown["last_plan"]["phase"]), (&Value::Null, &json!("aborted")));
}

#[tokio::test]
async fn gates_are_answered_with_and_without_a_plan() {
    let server = start(Limits::default()).await;
    let gate = |query: &str| format!("/v1/clusters/orders/gate?{query}");
    let (status, answer) = order(&server, "GET", &gate("for=stop&member=zk-2%3A2181"), Value::Null).await;
    assert_eq!(
        (status, &answer["ok"], &answer["ok_to_drain"]),
        (200, &json!(false), &json!(true)),
        "{answer}"
    );
    assert_eq!((&answer["reasons"][0]["code"], &answer["generation"]), (&json!("not_drained"), &Value::Null));
    order(&server, "PUT", PLAN, plan(7)).await;
    order(&server, "PUT", &drain_of("zk-2:2181"), ticket(7)).await;
    let (_, answer) = order(&server, "GET", &gate("for=stop&member=zk-2:2181"), Value::Null).await;
    assert_eq!((&answer["ok"], &answer["generation"]), (&json!(true), &json!(7)), "{answer}");
    let (_, answer) = order(&server, "GET", &gate("for=next&member=zk-2:2181"), Value::Null).await;
    assert_eq!(answer["reasons"][0]["code"], "not_at_target", "{answer}");
    assert_eq!(order(&server, "GET", &gate("for=finalize"), Value::Null).await.1["ok"], false);
    assert_eq!(order(&server, "GET", &gate("for=rollback"), Value::Null).await.1["ok"], true);
    for (query, status) in
        [("", 400), ("for=go", 400), ("for=stop", 400), ("for=next", 400), ("for=stop&member=x", 404)]
    {
        assert_eq!(order(&server, "GET", &gate(query), Value::Null).await.0, status, "{query}");
    }
}

#[tokio::test]
async fn a_kubelet_can_drain_and_wait() {
    let server = start(Limits::default()).await;
    let path = |query: &str| format!("/v1/hooks/prestop?{query}");
    let (status, answer) = order(&server, "GET", &path("cluster=orders&member=zk-1:2181"), Value::Null).await;
    assert_eq!((status, &answer["phase"]), (200, &json!("drained")));
    server.orders.sessions.store(1, Relaxed);
    let late = path("cluster=orders&member=zk-2:2181&timeout_s=0");
    assert_eq!(order(&server, "GET", &late, Value::Null).await.0, 202);
    for (query, status) in [
        ("cluster=orders", 400),
        ("cluster=orders&member=zk-1:2181&timeout_s=9999", 400),
        ("cluster=nobody&member=1", 404),
        ("cluster=orders&member=nobody", 404),
    ] {
        assert_eq!(order(&server, "GET", &path(query), Value::Null).await.0, status, "{query}");
    }
    assert_eq!(ask(server.address, "HEAD", &late).await.0, 405, "a HEAD changes nothing");
}

#[tokio::test]
async fn flagger_waits_for_a_gate() {
    let server = start(Limits::default()).await;
    let payload = |gate: &str, member: &str| {
        json!({ "name": "zk", "namespace": "default", "phase": "Progressing", "checksum": "x",
                "metadata": { "cluster": "orders", "gate": gate, "member": member } })
    };
    let path = "/v1/hooks/flagger";
    assert_eq!(order(&server, "POST", path, payload("stop", "zk-2:2181")).await.0, 409);
    order(&server, "PUT", &drain_of("zk-2:2181"), Value::Null).await;
    assert_eq!(order(&server, "POST", path, payload("stop", "zk-2:2181")).await.0, 200);
    assert_eq!(order(&server, "POST", path, payload("go", "zk-2:2181")).await.0, 400);
    assert_eq!(order(&server, "POST", path, payload("stop", "nobody")).await.0, 404);
    assert_eq!(order(&server, "POST", path, json!({ "name": "zk" })).await.0, 400);
    assert_eq!(order(&server, "POST", path, Value::Null).await.0, 400);
}

/// A controller that dies leaves nothing blocked.
#[tokio::test(start_paused = true)]
async fn what_nobody_renews_ends() {
    let orders = Orders::new();
    let clusters: Vec<Arc<dyn ClusterStatus>> = vec![Arc::clone(&orders) as _];
    let admin = Admin::new(Metrics::new(), Readiness::new(), clusters);
    let _tasks = admin.watch();
    let ask = |method: hyper::Method, path: &str, body: Value| ask::Ask {
        method,
        path: path.to_owned(),
        query: String::new(),
        body: body.to_string().into(),
    };
    let put = |body| ask(hyper::Method::PUT, PLAN, body);
    let mut short = plan(1);
    short["ttl_s"] = json!(30);
    assert_eq!(routes::respond(&admin, &put(short)).await.status(), 200);
    let drain = ask(hyper::Method::PUT, &drain_of("zk-1:2181"), ticket(1));
    assert_eq!(routes::respond(&admin, &drain).await.status(), 200);
    tokio::time::sleep(Duration::from_secs(29)).await;
    assert_eq!(orders.drains.lock().unwrap().len(), 1);
    let gathered = orders.gathered.load(Relaxed);
    assert!((3..=11).contains(&gathered), "asked every few seconds while the plan lives: {gathered}");
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(orders.drains.lock().unwrap().is_empty());
    assert_eq!(*orders.pin.lock().unwrap(), ["held", "free"]);
    let gathered = orders.gathered.load(Relaxed);
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert!(orders.gathered.load(Relaxed) <= gathered + 1, "nobody is asked once no plan lives");
}
