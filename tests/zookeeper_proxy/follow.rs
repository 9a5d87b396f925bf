//! Following the ensemble's own list of its servers: what it names need not be reachable from here.

use crate::bed::Bed;
use crate::fake::Fake;
use crate::make::*;
use serde_json::Value;

const KEY: &str = "follow_config = true\n";

/// The servers that are listed, and their states, in order.
fn listed(status: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let members = status["members"].as_array().unwrap().iter();
    let mut all: Vec<_> = members.map(|member| (text(&member["id"]), text(&member["state"]))).collect();
    all.sort();
    all
}

fn is_listed(status: &Value, servers: &[(String, &str)]) -> bool {
    let mut due: Vec<_> = servers.iter().map(|(at, state)| (at.clone(), (*state).to_owned())).collect();
    due.sort();
    listed(status) == due
}

/// Nobody is there: who is configured serves on, for new clients as well, until the list names somebody who is.
#[tokio::test]
async fn a_list_of_servers_that_cannot_be_reached_takes_nobody_away() {
    let nowhere = "127.0.0.1:1";
    let fake = Fake::start(2).await;
    let own = [fake.addr(1).to_string(), fake.addr(2).to_string()];
    fake.world().tree.set_config(&format!("server.1=zk:2888:3888:participant;{nowhere}\nversion=ZXID"));
    let bed = Bed::of(fake, &[1, 2], KEY).await;
    let all = [(nowhere.to_owned(), "down"), (own[0].clone(), "up"), (own[1].clone(), "up")];
    bed.until("both lists", |status| is_listed(status, &all)).await;
    // Evenkeel's own session, which reads the list, is on one of them: sessions go where the fewest are.
    let mut clients = Vec::new();
    for _ in 0..4 {
        let mut client = bed.client().await;
        client.did(GET_DATA, &read("/", false)).await;
        clients.push(client);
    }
    assert!(clients.iter().any(|client| bed.on(client) == 1));
    bed.fake.world().tree.set_config(&format!("server.2=zk:2888:3888;{}\nversion=ZXID", own[1]));
    bed.until("the list alone", |status| is_listed(status, &[(own[1].clone(), "up")])).await;
    bed.until("all have moved", |_| clients.iter().all(|client| bed.on(client) == 2)).await;
    for client in &mut clients {
        client.did(GET_DATA, &read("/", false)).await;
    }
}

/// All that were named are gone: those of the configuration are tried again, until one of the others is back.
#[tokio::test]
async fn when_all_that_are_named_are_gone_the_configured_ones_are_tried_again() {
    let fake = Fake::start(2).await;
    let own = [fake.addr(1).to_string(), fake.addr(2).to_string()];
    fake.world().tree.set_config(&format!("server.2=zk:2888:3888;{}\nversion=ZXID", own[1]));
    let bed = Bed::of(fake, &[1], KEY).await;
    let alone = [(own[1].clone(), "up")];
    bed.until("the list alone", |status| is_listed(status, &alone)).await;
    bed.fake.down(2).await;
    let both = [(own[0].clone(), "up"), (own[1].clone(), "down")];
    bed.until("the configured one as well", |status| is_listed(status, &both)).await;
    let mut client = bed.client().await;
    client.did(GET_DATA, &read("/", false)).await;
    assert_eq!(bed.on(&client), 1);
    bed.fake.up(2).await;
    bed.until("the list alone again", |status| is_listed(status, &alone)).await;
    bed.until("its session has moved", |_| bed.on(&client) == 2).await;
    client.did(GET_DATA, &read("/", false)).await;
}
