//! The page: it is well formed, it is let run nothing but its own, and what it asks for exists. In a browser it is tried by the long proofs.

use std::collections::{BTreeMap, BTreeSet};

use html5gum::{DefaultEmitter, HtmlString, Token, Tokenizer};

use super::orders::{order, plan};
use super::*;
use crate::admin::{routes::ROUTES, ui::PAGE};

/// Elements that have no end.
const VOID: [&str; 4] = ["meta", "link", "br", "input"];

fn text(of: &HtmlString) -> String {
    String::from_utf8(of.to_vec()).unwrap()
}

/// An element with its attributes, and the elements around it.
struct Element {
    name: String,
    attributes: BTreeMap<String, String>,
    inside: Vec<String>,
}

/// Reads a page. What its parser complains about, or is not closed where it should be, is no page.
fn elements(page: &str) -> Result<Vec<Element>, String> {
    let mut emitter = DefaultEmitter::default();
    // What stands in a script is no markup.
    emitter.naively_switch_states(true);
    let (mut all, mut open) = (Vec::new(), Vec::new());
    for token in Tokenizer::new_with_emitter(page, emitter) {
        match token.unwrap() {
            Token::Error(error) => return Err(format!("{error:?}")),
            Token::StartTag(tag) => {
                let name = text(&tag.name);
                let attributes =
                    tag.attributes.iter().map(|(name, value)| (text(name), text(&value.value))).collect();
                all.push(Element { name: name.clone(), attributes, inside: open.clone() });
                if !VOID.contains(&name.as_str()) {
                    open.push(name);
                }
            }
            Token::EndTag(tag) => {
                let (name, last) = (text(&tag.name), open.pop());
                if last.as_ref() != Some(&name) {
                    return Err(format!("{name} ends inside of {last:?}"));
                }
            }
            _ => {}
        }
    }
    if open.is_empty() { Ok(all) } else { Err(format!("{open:?} have no end")) }
}

#[test]
fn the_page_is_well_formed() {
    assert!(elements("<!doctype html><p>a</p>").is_ok());
    for bad in [
        "<!doctype html><p>a",
        "<!doctype html><p><b>a</p></b>",
        "<!doctype html><p id=1 id=2>a</p>",
        "<p>a<</p>",
    ] {
        assert!(elements(bad).is_err(), "{bad}");
    }
    assert!(PAGE.starts_with("<!doctype html>"));
    let all = elements(PAGE).unwrap();
    let one = |name: &str| {
        let found: Vec<&Element> = all.iter().filter(|element| element.name == name).collect();
        assert_eq!(found.len(), 1, "{name}");
        found[0]
    };
    assert!(one("html").attributes.contains_key("lang"));
    assert!(one("title").inside.contains(&"head".to_owned()));
    for name in ["main", "h1", "header", "noscript", "script", "style"] {
        one(name);
    }
    // What the script looks for is there, once.
    let ids: Vec<&String> = all.iter().filter_map(|element| element.attributes.get("id")).collect();
    let set: BTreeSet<&str> = ids.iter().map(|id| id.as_str()).collect();
    assert_eq!(ids.len(), set.len(), "{ids:?}");
    let sought: BTreeSet<&str> =
        PAGE.split("by(\"").skip(1).map(|rest| rest.split('"').next().unwrap()).collect();
    assert!(sought.len() > 3 && sought.is_subset(&set), "{sought:?} of {set:?}");
}

#[test]
fn the_page_has_no_other_file_and_writes_no_markup() {
    for element in elements(PAGE).unwrap() {
        for (name, value) in &element.attributes {
            assert!(
                !name.starts_with("on") && name != "style",
                "{} {name}: the policy refuses it",
                element.name
            );
            if ["src", "href", "action"].contains(&name.as_str()) {
                let own = value.starts_with('/') && !value.starts_with("//");
                assert!(own || value == "data:,", "{} {name}={value}", element.name);
            }
        }
        if ["script", "style"].contains(&element.name.as_str()) {
            assert_eq!(element.attributes.keys().map(String::as_str).collect::<Vec<_>>(), ["nonce"]);
        }
    }
    for word in ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "://", "import "]
    {
        assert!(!PAGE.contains(word), "{word}");
    }
}

#[test]
fn the_page_asks_for_routes_that_exist() {
    let script = PAGE.split("<script nonce=\"NONCE\">").nth(1).unwrap();
    let asked: Vec<String> = script
        .split("ask(\"")
        .skip(1)
        .map(|rest| {
            // "/v1/clusters/" + cluster.name + "/gates"
            let call = rest.split("))").next().unwrap().split(')').next().unwrap();
            call.replace("\" + cluster.name + \"", "{c}").trim_end_matches('"').to_owned()
        })
        .collect();
    assert_eq!(asked, ["/v1/clusters", "/v1/clusters/{c}/gates"]);
    let links = elements(PAGE).unwrap().into_iter().filter(|element| element.name == "a");
    let links = links.filter_map(|element| element.attributes.get("href").cloned());
    for path in asked.into_iter().chain(links) {
        assert!(ROUTES.iter().any(|(method, route, _)| *method == "GET" && *route == path), "{path}");
    }
}

#[tokio::test]
async fn its_policy_lets_only_its_own_script_run() {
    let server = start(Limits::default()).await;
    let mut nonces = BTreeSet::new();
    for _ in 0..3 {
        let (status, head, body) = ask(server.address, "GET", "/ui").await;
        assert_eq!(status, 200);
        assert!(head.contains("content-type: text/html; charset=utf-8"), "{head}");
        assert!(head.contains("x-content-type-options: nosniff"), "{head}");
        let policy = head.lines().find_map(|line| line.strip_prefix("content-security-policy: ")).unwrap();
        assert!(policy.starts_with("default-src 'none'; "), "{policy}");
        assert!(!policy.contains("unsafe") && !policy.contains('*'), "{policy}");
        for part in ["connect-src 'self'", "frame-ancestors 'none'", "base-uri 'none'", "form-action 'none'"]
        {
            assert!(policy.contains(part), "{policy}");
        }
        let nonce = policy.split("script-src 'nonce-").nth(1).unwrap().split('\'').next().unwrap();
        assert_eq!(nonce.len(), 32);
        assert!(body.contains(&format!("<script nonce=\"{nonce}\">")) && !body.contains("NONCE"));
        nonces.insert(nonce.to_owned());
    }
    assert_eq!(nonces.len(), 3, "each answer has its own");
    assert_eq!(ask(server.address, "PUT", "/ui").await.0, 405);
}

#[tokio::test]
async fn all_gates_are_told_without_asking_the_cluster() {
    let server = start(Limits::default()).await;
    let path = "/v1/clusters/orders/gates";
    let (status, answer) = order(&server, "GET", path, Value::Null).await;
    assert_eq!((status, &answer["plan_id"]), (200, &Value::Null));
    assert_eq!(order(&server, "PUT", "/v1/clusters/orders/plan", plan(1)).await.0, 200);
    let (_, answer) = order(&server, "GET", path, Value::Null).await;
    assert_eq!((&answer["plan_id"], &answer["generation"]), (&json!("p"), &json!(1)));
    let gates = answer["gates"].as_array().unwrap();
    let told: Vec<String> = gates.iter().map(|gate| format!("{} {}", gate["gate"], gate["member"])).collect();
    assert_eq!(told.len(), 2 * fake::MEMBERS.len() + 2, "{told:?}");
    assert!(gates[0]["ok_to_drain"].is_boolean() && gates[1].get("ok_to_drain").is_none());
    assert_eq!(order(&server, "GET", "/v1/clusters/nobody/gates", Value::Null).await.0, 404);
}

#[tokio::test]
async fn the_status_has_the_last_hour() {
    let server = start(Limits::default()).await;
    let (_, status) = order(&server, "GET", "/v1/clusters/orders", Value::Null).await;
    for (kind, count) in [("shown", 2), ("masked", 7)] {
        let minutes = status["last_hour"][kind].as_array().unwrap();
        assert_eq!((minutes.len(), &minutes[59]), (60, &json!(count)), "{kind}");
    }
}
