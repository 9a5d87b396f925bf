//! Malformed requests: what they do to an ensemble, and that Evenkeel keeps them from it.

use std::fmt::Write as _;

use testbed::zookeeper::{Due, Malformed, Met, shielded, stopped};
use testbed::{Ensemble, Result, Sidecar, ZooKeeperVersion};

use super::{Bench, Finding, PATIENCE};

const VERSION: ZooKeeperVersion = ZooKeeperVersion::V3_9_5;

pub(super) fn run(bench: &Bench) -> Result<Finding> {
    let requests = Malformed::all();
    let mut alone = Ensemble::start(VERSION, 3)?;
    let direct = stopped(&mut alone, &requests, |text| bench.say(text))?;
    drop(alone);
    let poisons = direct.iter().filter(|row| row.stopped).count();
    let mut breaches = Vec::new();
    if poisons == 0 {
        breaches.push("directly nothing stopped the ensemble: then this proof shows nothing".to_owned());
    }
    let mut figures = format!(
        "ZooKeeper {VERSION}, three servers. Of {} requests that no client makes, {poisons} stop all writes of an ensemble when they \
         reach one of its followers: another client's setData has no answer within 3 s, until the leader is killed. After {} of those \
         no server serves any more.\n\n",
        requests.len(),
        direct.iter().filter(|row| row.ended).count(),
    );
    if bench.direct {
        for (request, row) in requests.iter().zip(&direct) {
            let _ = writeln!(figures, "{}, {}: {row:?}", request.operation, request.wrong);
        }
        return Ok(Finding { figures, breaches });
    }
    let ensemble = Ensemble::start(VERSION, 3)?;
    let (mut sidecar, listen) =
        Sidecar::zookeeper(&bench.binary, &ensemble.servers(), "", "tick_time = \"500ms\"")?;
    sidecar.wait_ready(PATIENCE)?;
    let behind = shielded(listen, &ensemble, &requests)?;
    figures += "| operation | what is wrong with it | directly: its client | other clients' writes | through Evenkeel: its client | \
                another client's write |\n|---|---|---|---|---|---:|\n";
    let mut refused = 0;
    for ((request, direct), behind) in requests.iter().zip(&direct).zip(&behind) {
        breaches.extend(behind.breach(request));
        if direct.stopped && request.due == Due::Servers {
            breaches
                .push(format!("{}, {}: poison that Evenkeel lets through", request.operation, request.wrong));
        }
        refused += u32::from(matches!(request.due, Due::Refused | Due::Unimplemented));
        let _ = writeln!(
            figures,
            "| {} | {} | {} | {} | {} | {:.1} ms |",
            request.operation,
            request.wrong,
            said(direct.met, false),
            match (direct.stopped, direct.ended) {
                (_, true) => "**stop**: no server serves any more",
                (true, false) => "**stop**",
                (false, false) => "go on",
            },
            said(behind.met, behind.closed),
            behind.took.as_secs_f64() * 1000.0
        );
    }
    let counted = sidecar.metric_sum("evenkeel_zookeeper_poison_refused_total", &[])?;
    if counted < f64::from(refused) {
        breaches.push(format!("{refused} requests refused, {counted} counted"));
    }
    let _ = writeln!(
        figures,
        "\nThrough Evenkeel each other client's write was made; {counted} requests were refused by its count."
    );
    Ok(Finding { figures, breaches })
}

fn said(met: Met, closed: bool) -> String {
    match met {
        Met::Code(code) => {
            let code = if code < 0 { format!("−{}", code.unsigned_abs()) } else { code.to_string() };
            format!("{code}{}", if closed { ", then closed" } else { "" })
        }
        Met::Closed => "closed".to_owned(),
        Met::Silence => "no answer".to_owned(),
    }
}
