//! The status page in a real browser, while a server of a real ensemble is drained, stopped and started again; and that of a fleet.

use std::fmt::Write as _;

use serde_json::{Value, json};
use testbed::browser::Page;
use testbed::zookeeper::{Load, Running, ZooKeeperLibrary};
use testbed::{Controller, Ensemble, EnsembleSpec, Result, Sidecar, ZooKeeperVersion};

use super::fleets::Serve;
use super::{Bench, Finding, PATIENCE};

/// The words of the phase of a member.
fn phase(member: &str) -> String {
    format!("document.querySelector('tr[data-member=\"{member}\"] .word')?.textContent")
}

/// Whether the row of a gate says this.
fn gate(name: &str, text: &str) -> String {
    format!("document.querySelector('tr[data-gate=\"{name}\"]')?.innerText.includes('{text}') ?? false")
}

pub(super) fn run(bench: &Bench) -> Result<Finding> {
    let mut ensemble = Ensemble::with(EnsembleSpec::new(ZooKeeperVersion::V3_9_5))?;
    let tick = format!("tick_time = \"{}ms\"\n", ensemble.spec().tick_ms);
    let (mut sidecar, listen) = Sidecar::zookeeper(&bench.binary, &ensemble.servers(), "", &tick)?;
    sidecar.wait_ready(PATIENCE)?;
    let mut load = Load::new(&[ZooKeeperLibrary::Kazoo]);
    load.trees = false;
    let mut running = Running::start(&ensemble, &load, &listen.to_string())?;
    let mut told = Vec::new();

    let mut page = Page::open(&format!("http://{}/ui", sidecar.admin()))?;
    page.until("the cluster", "document.querySelectorAll('section[data-cluster=\"bed\"]').length === 1")?;
    page.until("members", "document.querySelectorAll('tr[data-member]').length === 3")?;
    page.until("no upgrade", "document.body.innerText.includes('None is under way.')")?;
    let sessions =
        "[...document.querySelectorAll('tr[data-member]')].map(row => Number(row.cells[2].textContent))";
    page.until("a session", &format!("{sessions}.reduce((one, other) => one + other, 0) >= 1"))?;
    told.push("three members, the client's session, no upgrade");

    let leader = ensemble.leader().unwrap_or(1);
    let id = ensemble.ids().into_iter().find(|id| *id != leader).unwrap_or(1);
    let name = |id: u8| ensemble.addr(id).to_string();
    let (member, leads) = (name(id), name(leader));
    let all: Vec<String> = ensemble.ids().into_iter().map(name).collect();
    let controller = Controller::begin(&sidecar, &all)?;
    page.until("the plan", "document.body.innerText.includes('bed, generation 1, rolling')")?;
    page.until("the gates", &gate(&format!("stop {member}"), "closed until it is drained"))?;
    page.until("a reason", &gate(&format!("stop {leads}"), "leader_comes_last"))?;
    told.push("the plan, and the gates with their reasons");

    controller.drain(&member)?;
    page.until("a drained member", &format!("{} === 'drained'", phase(&member)))?;
    page.until("an open gate", &gate(&format!("stop {member}"), "open"))?;
    ensemble.stop(id)?;
    page.until("a member that is down", &format!("{} === 'down'", phase(&member)))?;
    page.until("a closed gate", &gate(&format!("next {member}"), "member_unreachable"))?;
    ensemble.start_server(id)?;
    ensemble.wait_ready()?;
    page.until("a member that serves", &format!("{} === 'serving'", phase(&member)))?;
    running.changed()?;
    told.push("one member drained, down, and serving again, in words");

    // What has no words of its own would be shown so.
    page.until("words for everything", "!document.body.innerText.includes('[object')")?;
    // Errors of the last hour: the client looks for nodes that aren't there.
    page.until(
        "errors",
        "Number(document.querySelector('[data-hour]').textContent.match(/saw (\\d+)/)[1]) > 0",
    )?;
    told.push("errors of the last hour");
    let mut breaches = keyboard(&mut page)?;
    told.push("everything reached by the keyboard; what was opened stays open");
    breaches.extend(without_colour(&mut page)?);
    told.push("every state told in words, with the colours taken away");

    // What is shown is said to be old when nobody answers any more.
    sidecar.signal(rustix::process::Signal::STOP)?;
    page.until("trouble", "!document.getElementById('trouble').hidden")?;
    sidecar.signal(rustix::process::Signal::CONT)?;
    page.until("no trouble", "document.getElementById('trouble').hidden")?;
    told.push("trouble while the sidecar is stopped, and none when it goes on");

    // The browser says itself that a request was given up; nothing else is to be complained about.
    let complaints = page.complaints()?;
    let real = complaints.iter().filter(|text| !text.contains("net::ERR"));
    breaches.extend(real.map(|text| format!("the browser complains: {text}")));
    if let Some(folder) = std::env::var_os("TESTBED_PICTURES") {
        let file = std::path::Path::new(&folder).join("ui.base64");
        std::fs::write(&file, page.picture()?).map_err(testbed::Error::io("writing a picture"))?;
    }
    told.extend(of_a_fleet(bench, &ensemble, &sidecar)?);
    let agent = page.call("Browser.getVersion", &json!({}))?;
    let agent = agent.get("product").and_then(Value::as_str).unwrap_or_default().to_owned();
    drop(running.finish()?);
    let mut figures = format!("{agent}, without a window. Seen on the page:\n\n");
    for line in told {
        let _ = writeln!(figures, "- {line}");
    }
    Ok(Finding { figures, breaches })
}

/// The page of a fleet whose second sidecar has not got the plan, and then says nothing.
fn of_a_fleet(bench: &Bench, ensemble: &Ensemble, first: &Sidecar) -> Result<Vec<&'static str>> {
    let (mut second, _) = Sidecar::zookeeper(&bench.binary, &ensemble.servers(), "", "")?;
    second.wait_ready(PATIENCE)?;
    let sidecars = format!("[sidecars]\nlist = [\"{}\", \"{}\"]\n", first.admin(), second.admin());
    let plan = format!("cluster = \"bed\"\nprotocol = \"zookeeper\"\n{sidecars}");
    let serve = Serve::start(bench, &ensemble.folder().join("serve"), &plan)?;
    let mut page = Page::open(&format!("http://{}/ui", serve.at()))?;
    page.until("both", "document.querySelector('[data-fleet]')?.textContent === '2 of 2 answer.'")?;
    let of_second =
        format!("document.querySelector('tr[data-sidecar=\"{}\"] .word')?.textContent", second.admin());
    page.until("who lacks the plan", &format!("{of_second} === 'without the plan'"))?;
    page.until("the plan of the other", "document.body.innerText.includes('Sidecars differ.')")?;
    page.until("why gates are closed", &gate("finalize", "plans_differ"))?;
    second.signal(rustix::process::Signal::STOP)?;
    page.until("who is silent", &format!("{of_second} === 'silent'"))?;
    page.until("why gates are closed", &gate("finalize", "sidecar_silent"))?;
    page.until("no trouble", "document.getElementById('trouble').hidden")?;
    page.until("words for everything", "!document.body.innerText.includes('[object')")?;
    second.signal(rustix::process::Signal::CONT)?;
    page.until("both again", "document.querySelector('[data-fleet]')?.textContent === '2 of 2 answer.'")?;
    Ok(vec!["of a fleet: who lacks the plan, who says nothing, and that gates are closed for both"])
}

/// Tab goes through all that can be used; Enter opens; what is open stays when the page is drawn again.
fn keyboard(page: &mut Page) -> Result<Vec<String>> {
    let mut breaches = Vec::new();
    page.value("document.body.focus()")?;
    let mut seen = Vec::new();
    for _ in 0..20 {
        page.press("Tab")?;
        let at = page.text("document.activeElement.id || document.activeElement.getAttribute('aria-label') || document.activeElement.tagName")?;
        // Tab begins anew at the end; a second Enter would close it.
        if at == "hours-bed" && !seen.contains(&at) {
            page.press("Enter")?;
        }
        seen.push(at);
    }
    for place in ["pause", "Members", "hours-bed"] {
        if !seen.iter().any(|at| at == place) {
            breaches.push(format!("the keyboard never comes to {place}: {seen:?}"));
        }
    }
    page.until("the hour in steps", "document.getElementById('hour-bed').open")?;
    let when = "document.getElementById('when').textContent";
    let before = page.text(when)?;
    page.until("another look", &format!("{when} !== '{before}'"))?;
    if page.value("document.getElementById('hour-bed').open")? != json!(true) {
        breaches.push("what was opened is closed again".to_owned());
    }
    page.value("document.getElementById('pause').focus()")?;
    page.press("Enter")?;
    page.until("a pause", "document.getElementById('pause').getAttribute('aria-pressed') === 'true'")?;
    page.press("Space")?;
    page.until("no pause", "document.getElementById('pause').getAttribute('aria-pressed') === 'false'")?;
    Ok(breaches)
}

/// Every mark has a word in it, also where the system's own few colours are all there are.
fn without_colour(page: &mut Page) -> Result<Vec<String>> {
    let features = json!({ "features": [{ "name": "forced-colors", "value": "active" }] });
    page.call("Emulation.setEmulatedMedia", &features)?;
    let words = page.value("[...document.querySelectorAll('.word')].map(node => node.innerText.trim())")?;
    let words = words.as_array().cloned().unwrap_or_default();
    let mut breaches = Vec::new();
    if words.len() < 6 || words.iter().any(|word| word.as_str().is_none_or(str::is_empty)) {
        breaches.push(format!("marks without words: {words:?}"));
    }
    page.call("Emulation.setEmulatedMedia", &json!({ "features": [] }))?;
    Ok(breaches)
}
