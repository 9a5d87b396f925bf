//! The operation table, row by row: a request of each API, in its newest version, goes where its row says, spares its
//! client what its row says, meets the verdict of its row when its broker is lost, and shows no address.
//!
//! Every test goes over the whole table, so that a new row is tried as well; one whose behaviour differs from what it says
//! fails.

use crate::fake::{Act, Seen, change};
use crate::make::*;
use crate::trial::*;
use evenkeel::kafka::operations::{Absorb, OPERATIONS, Route, Unknown};
use evenkeel::kafka::wire::{self, Struct};

/// On a good day each goes to the broker that the client chose, once.
#[tokio::test]
async fn each_goes_to_the_clients_choice_first() {
    let bed = bed_with("").await;
    for row in offered() {
        let mut trial = Trial::new(&bed, row, "first").await;
        let body = body(row, &trial.key);
        trial.succeeds(&body).await;
        let expected: &[i32] = if row.route == Route::Local { &[] } else { &[1] };
        assert_eq!(trial.nodes(), expected, "{}", name(row));
        trial.restore().await;
    }
}

/// Refused as misrouted, each goes to where its row says.
#[tokio::test]
async fn each_goes_where_it_belongs() {
    let bed = bed_with("").await;
    for row in offered() {
        let mut trial = Trial::new(&bed, row, "moved").await;
        let body = body(row, &trial.key);
        let (code, place, kind) = match row.route {
            Route::Leader => (6, 2, None),
            Route::Group(_) => (16, 2, Some(0)),
            Route::Transaction(_) => (16, 2, Some(1)),
            Route::Controller => (41, 3, None),
            Route::Local | Route::Any | Route::Node | Route::Internal => continue,
        };
        trial.belongs_to_2();
        trial.script(refusal(row.key, code));
        trial.succeeds(&body).await;
        assert_eq!(trial.nodes(), [1, place], "{}", name(row));
        if let Some(kind) = kind {
            let asked = |seen: &&Seen| {
                let request = wire::decode_request(&seen.frame).unwrap().1;
                request.str("key") == Some(&trial.key) && request.i8("key_type") == kind
            };
            let world = bed.fake.world();
            let own = world.seen.iter().filter(|seen| seen.key == 10 && seen.client_id == "evenkeel");
            assert!(own.filter(asked).count() > 0, "{}: its coordinator was looked up", name(row));
        }
        trial.restore().await;
    }
    bed.balanced().await;
}

/// The client's choice is down: what any broker can answer is answered by another, what is that node's own waits for it.
#[tokio::test]
async fn without_the_clients_choice_another_will_do_or_none() {
    let bed = bed_with("").await;
    bed.fake.down(1).await;
    let mut other = bed.client_of(1).await;
    other.send(16, 0, &request(16)).await;
    bed.until("it is seen to be down", |status| status["members"][0]["state"] == "down").await;
    let mut waiting = Vec::new();
    for row in offered() {
        let mut trial = Trial::new(&bed, row, "down").await;
        let body = body(row, &trial.key);
        match row.route {
            Route::Local | Route::Any => {
                trial.succeeds(&body).await;
                assert_eq!(trial.nodes().is_empty(), row.route == Route::Local, "{}", name(row));
            }
            Route::Node => {
                trial.send(&body).await;
                waiting.push(trial);
                bed.holding(waiting.len() as u64 + 1).await;
            }
            _ => {}
        }
    }
    assert!(waiting.len() > 5);
    bed.fake.up(1).await;
    other.receive().await;
    for mut trial in waiting {
        trial.client.receive().await;
        assert_eq!(trial.nodes().last(), Some(&1), "{}", name(trial.row));
        assert!(!trial.nodes().iter().any(|node| *node != 1), "{}: to that node only", name(trial.row));
    }
    bed.balanced().await;
}

/// Between brokers: not offered, and whoever sends it all the same is disconnected, with nothing passed on.
#[tokio::test]
async fn what_is_between_brokers_is_not_offered() {
    use tokio::io::AsyncWriteExt;
    let bed = bed_with("").await;
    let mut client = bed.client().await;
    let answer = client.ask(18, 4, &request(18)).await;
    let shown: Vec<i16> = answer.structs("api_keys").map(|row| row.i16("api_key")).collect();
    for row in OPERATIONS {
        assert_eq!(shown.contains(&row.key), row.route != Route::Internal, "{}", name(row));
        if row.route == Route::Internal {
            let mut client = bed.client_of(1).await;
            let mut frame = vec![0, 0, 0, 11];
            frame.extend(row.key.to_be_bytes());
            frame.extend([0, 0, 0, 0, 0, 9, 0, 1, b'x']);
            client.stream.write_all(&frame).await.unwrap();
            client.closed().await;
            assert!(bed.fake.seen(row.key).is_empty(), "{}", name(row));
        }
    }
}

/// Each error that a row absorbs is kept from the client, and the request goes again; under the row's condition only.
#[tokio::test]
async fn each_absorbed_error_is_kept_from_the_client() {
    let (bed, injecting) = (bed_with("").await, bed_with("idempotence = \"inject\"").await);
    for row in offered() {
        for &(code, how) in row.absorbs {
            let bed = if how == Absorb::Injected { &injecting } else { &bed };
            let mut trial = Trial::new(bed, row, &code.to_string()).await;
            let mut asked = body(row, &trial.key);
            let what = format!("{}: {code} {how:?}", name(row));
            let mut times = 2;
            match how {
                Absorb::Elsewhere | Absorb::TopicKnown => trial.belongs_to_2(),
                Absorb::Later | Absorb::Sequenced => {}
                Absorb::Injected => asked = produce_text("x"),
                Absorb::AfterReplay => {
                    trial.script(Act::ApplyThenClose);
                    times = 3;
                }
            }
            trial.script(refusal(row.key, code));
            trial.succeeds(&asked).await;
            assert_eq!(trial.nodes().len(), times, "{what}: {:?}", trial.nodes());
            if how == Absorb::Elsewhere && row.route != Route::Any {
                assert_ne!(trial.nodes().last(), Some(&1), "{what}");
            }
            trial.restore().await;
            // Without its condition the error is passed on.
            let otherwise = match how {
                Absorb::Elsewhere | Absorb::Later => continue,
                Absorb::TopicKnown if !matches!(row.key, PRODUCE | METADATA) => continue,
                Absorb::TopicKnown if row.key == PRODUCE => {
                    let mut body = produce(-1, &[(0, batch("x", Some(0)))]);
                    for topic in body.structs_mut("topic_data") {
                        topic.set_uuid("topic_id", [9; 16]);
                    }
                    body
                }
                Absorb::TopicKnown => metadata(&["nobody-knows"]),
                Absorb::Sequenced => produce_text("x"),
                Absorb::Injected | Absorb::AfterReplay => body(row, &trial.key),
            };
            let mut trial = Trial::new(bed, row, &format!("{code}-otherwise")).await;
            trial.script(refusal(row.key, code));
            trial.gets(&otherwise, code).await;
            assert_eq!(trial.nodes(), [1], "{what}");
            trial.restore().await;
        }
    }
    bed.balanced().await;
    injecting.balanced().await;
}

/// What tells the client something true about itself is passed on, whatever the API; so is what no row absorbs.
#[tokio::test]
async fn other_errors_are_passed_on() {
    let bed = bed_with("").await;
    for row in offered().filter(|row| row.route != Route::Local) {
        if !has_error(response(row.key).def()) {
            continue;
        }
        let absorbed_elsewhere = [3, 5, 6, 14, 15, 16, 19, 41, 51, 56, 74, 75, 78, 100];
        let passing = absorbed_elsewhere.into_iter().filter(|code| row.absorbed(*code).is_none());
        for code in NEVER_SPARED.into_iter().chain(passing) {
            let mut trial = Trial::new(&bed, row, &code.to_string()).await;
            trial.script(refusal(row.key, code));
            let body = body(row, &trial.key);
            trial.gets(&body, code).await;
            assert_eq!(trial.nodes(), [1], "{}: {code}", name(row));
        }
        Trial::new(&bed, row, "").await.restore().await;
    }
}

/// A broker takes the request and dies: the client sees the verdict of the row.
#[tokio::test]
async fn each_unknown_outcome_gets_its_verdict() {
    let bed = bed_with("").await;
    for row in offered().filter(|row| row.route != Route::Local) {
        let mut trial = Trial::new(&bed, row, "unknown").await;
        let asked = body(row, &trial.key);
        trial.script(Act::ApplyThenClose);
        match row.unknown {
            Unknown::Replay | Unknown::InOrder => {
                trial.succeeds(&asked).await;
                assert_eq!(trial.nodes(), [1, 1], "{}", name(row));
                let seen = trial.seen();
                assert_eq!(seen[0].frame, seen[1].frame, "{}: byte for byte", name(row));
            }
            Unknown::Sequenced => {
                trial.succeeds(&asked).await;
                assert_eq!(trial.nodes(), [1, 1], "{}", name(row));
                assert_eq!(bed.fake.log("t", 0).len(), 1, "the repeat was recognised");
                let mut bare = Trial::new(&bed, row, "bare").await;
                bare.script(Act::ApplyThenClose);
                bare.gets(&produce_text("bare"), 7).await;
                assert_eq!(bare.nodes(), [1], "{}: not sent again", name(row));
            }
            Unknown::ReplayThen(done) => {
                trial.succeeds(&asked).await;
                assert_eq!(trial.nodes(), [1, 1], "{}", name(row));
                for &code in done {
                    let mut trial = Trial::new(&bed, row, &format!("done-{code}")).await;
                    trial.script(Act::ApplyThenClose);
                    trial.script(refusal(row.key, code));
                    trial.succeeds(&asked).await;
                    assert_eq!(trial.nodes(), [1, 1], "{}: {code} after a replay", name(row));
                    trial.script(refusal(row.key, code));
                    trial.gets(&asked, code).await;
                }
            }
            Unknown::Settle(code) => {
                trial.gets(&asked, code).await;
                assert_eq!(trial.nodes(), [1], "{}: not sent again", name(row));
                trial.succeeds(&asked).await; // its connection is still there
            }
            Unknown::Disconnect => {
                trial.send(&asked).await;
                trial.client.closed().await;
                assert_eq!(trial.nodes(), [1], "{}: not sent again", name(row));
            }
        }
        trial.restore().await;
    }
    bed.balanced().await;
}

/// What only validates has created nothing: "exists already" is its own answer, after a replay too.
#[tokio::test]
async fn a_validation_is_never_turned_into_success() {
    let bed = bed_with("").await;
    for row in offered() {
        let Unknown::ReplayThen(done) = row.unknown else { continue };
        let mut asked = request(row.key);
        if !asked.has("validate_only") {
            continue;
        }
        asked.set_bool("validate_only", true);
        let mut trial = Trial::new(&bed, row, "validate").await;
        trial.script(Act::ApplyThenClose);
        trial.script(refusal(row.key, done[0]));
        trial.gets(&asked, done[0]).await;
        assert_eq!(trial.nodes(), [1, 1], "{}", name(row));
    }
}

/// Commits: one that was refused does not go again behind a later one of its group.
#[tokio::test]
async fn what_keeps_its_order_is_not_sent_behind_a_later_one() {
    let bed = bed_with("").await;
    for row in offered().filter(|row| row.unknown == Unknown::InOrder) {
        let mut trial = Trial::new(&bed, row, "order").await;
        let commit = |offset| {
            let mut body = body(row, &trial.key);
            let mut topic = body.new_struct("topics");
            topic.set_str("name", "t");
            let mut partition = topic.new_struct("partitions");
            partition.set_i64("committed_offset", offset);
            topic.push_struct("partitions", partition);
            body.push_struct("topics", topic);
            body
        };
        let (first, second) = (commit(1), commit(2));
        trial.script(refusal(row.key, 14));
        trial.send(&first).await;
        trial.send(&second).await;
        assert!(codes(&trial.client.receive().await).contains(&14), "{}: its own true error", name(row));
        assert!(codes(&trial.client.receive().await).iter().all(|code| *code == 0), "{}", name(row));
        assert_eq!(trial.nodes(), [1, 1], "{}: each once", name(row));
    }
}

/// Puts a broker at its real address into the answer, where the row says that there can be one.
fn plant(answer: &mut Struct, at: &str) {
    let node = |row: &mut Struct| {
        for field in ["node_id", "broker_id"] {
            if row.has(field) {
                row.set_i32(field, 9);
            }
        }
        let mut place = if row.has("listeners") { row.new_struct("listeners") } else { row.clone() };
        place.set_str("host", REAL_HOST);
        if row.has("listeners") {
            row.set_structs("listeners", vec![place]);
        } else {
            place.set_i32("port", 9092);
            *row = place;
        }
    };
    if at == "." {
        node(answer);
    } else {
        let mut row = answer.new_struct(at);
        node(&mut row);
        answer.push_struct(at, row);
    }
}

/// In every version that can carry an address, the client is shown a door.
#[tokio::test]
async fn each_address_is_rewritten() {
    let bed = bed_with("").await;
    let contains = |frame: &[u8], text: &str| frame.windows(text.len()).any(|part| part == text.as_bytes());
    for row in offered().filter(|row| !row.addresses.is_empty()) {
        for &at in row.addresses {
            let field = if at == "." { "host" } else { at };
            let versions = wire::response(row.key).unwrap().versions();
            let carrying: Vec<i16> = versions.filter(|v| response(row.key).has_in(field, *v)).collect();
            assert!(!carrying.is_empty(), "{}: {at}", name(row));
            for version in carrying {
                let mut trial = Trial::new(&bed, row, "address").await;
                trial.script(change(move |answer| plant(answer, at)));
                let mut body = body(row, &trial.key);
                if row.key == FIND_COORDINATOR {
                    body = find_coordinator(version, &trial.key);
                }
                trial.client.send(row.key, version, &body).await;
                let frame = trial.client.receive_frame().await;
                let seen = trial.seen().pop().unwrap().answer.unwrap();
                assert!(contains(&seen, REAL_HOST), "{} v{version}: the broker said it", name(row));
                assert!(!contains(&frame, REAL_HOST), "{} v{version}: {at}", name(row));
                trial.client.taken(&frame);
                trial.restore().await;
            }
        }
    }
}
