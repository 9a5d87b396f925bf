//! One row of the operation table at a time: a request of its API, a refusal of it, and a client that tries it.

use crate::bed::Bed;
use crate::client::Client;
use crate::fake::{Act, Fake, Seen, change};
use crate::make::*;
use evenkeel::kafka::operations::{OPERATIONS, Operation, Route};
use evenkeel::kafka::split::shape;
use evenkeel::kafka::wire::schema::{Kind, StructDef};
use evenkeel::kafka::wire::{self, Struct};

/// Errors that tell the client something true about itself: no row spares it these.
pub const NEVER_SPARED: [i16; 6] = [29, 30, 31, 44, 53, 89];
/// `kafka-9` in answers: a broker at an address that clients must not see.
pub const REAL_HOST: &str = "127.0.0.99";

pub fn offered() -> impl Iterator<Item = &'static Operation> {
    OPERATIONS.iter().filter(|row| row.route != Route::Internal)
}

pub fn name(row: &Operation) -> String {
    format!("{} {}", row.key, wire::api_name(row.key))
}

/// The newest version that clients use. `AddPartitionsToTxn` v4+ is between brokers, `ApiVersions` v5 isn't offered.
pub fn newest(key: i16) -> i16 {
    let known = *wire::request(key).unwrap().versions().end();
    match key {
        18 => 4,
        24 => 3,
        _ => known,
    }
}

pub fn kind_of(def: &'static StructDef, field: &str) -> &'static Kind {
    &def.fields.iter().find(|f| f.name == field).unwrap_or_else(|| panic!("no field {field}")).kind
}

/// A request of this API about partition 0 of `t`, or about the group or transactional id `key`.
pub fn body(row: &Operation, key: &str) -> Struct {
    let mut body = request(row.key);
    match (row.key, row.route) {
        (PRODUCE, _) => return produce(-1, &[(0, batch("x", Some(0)))]),
        (FETCH, _) => return fetch(10_000, &[(0, 0)]),
        (METADATA, _) => return metadata(&["t"]),
        (FIND_COORDINATOR, _) => return find_coordinator(newest(row.key), key),
        (9, _) => {
            let mut group = body.new_struct("groups");
            group.set_str("group_id", key);
            body.push_struct("groups", group);
        }
        (_, Route::Leader) => {
            let side = &shape(row.key).unwrap().request;
            let mut topic = body.new_struct(side.topics);
            topic.set_str(side.name, "t");
            topic.push_struct(side.partitions, topic.new_struct(side.partitions));
            body.push_struct(side.topics, topic);
        }
        (_, Route::Group(field) | Route::Transaction(field)) => match kind_of(body.def(), field) {
            Kind::Array(Kind::Struct(_)) => {
                let mut group = body.new_struct(field);
                group.set_str("group_id", key);
                body.push_struct(field, group);
            }
            Kind::Array(_) => body.set_strs(field, &[key]),
            _ => body.set_str(field, key),
        },
        _ => {}
    }
    body
}

pub fn is_error(field: &str) -> bool {
    matches!(field, "error_code" | "partition_error_code")
}

pub fn has_error(def: &'static StructDef) -> bool {
    def.fields.iter().any(|field| match &field.kind {
        Kind::Array(Kind::Struct(inner)) => has_error(inner),
        _ => is_error(field.name),
    })
}

/// `code` wherever an error can stand, with one element in each array that can have one.
pub fn fill(answer: &mut Struct, code: i16) {
    for field in &answer.def().fields {
        match &field.kind {
            Kind::Array(Kind::Struct(inner)) if has_error(inner) => {
                let mut row = answer.new_struct(field.name);
                fill(&mut row, code);
                answer.set_structs(field.name, vec![row]);
            }
            _ if is_error(field.name) => answer.set_i16(field.name, code),
            _ => {}
        }
    }
}

/// An answer of this API with an error.
pub fn refusal(key: i16, code: i16) -> Act {
    match key {
        METADATA => change(move |answer| {
            for topic in answer.structs_mut("topics") {
                topic.set_i16("error_code", code);
                topic.set_structs("partitions", Vec::new());
            }
        }),
        FIND_COORDINATOR => change(move |answer| {
            for row in answer.structs_mut("coordinators") {
                row.set_i16("error_code", code);
                row.set_i32("node_id", -1);
            }
        }),
        _ if shape(key).is_some() => Act::Fail(code),
        _ => change(move |answer| fill(answer, code)),
    }
}

/// Three brokers, all up; 1 leads `t`, coordinates everything, and 3 is the controller.
pub async fn bed_with(cluster: &str) -> Bed {
    let fake = Fake::start(&[1, 2, 3]).await;
    fake.topic("t", &[1]);
    fake.world().controller = 3;
    // Longer than all rows take on a loaded machine.
    let bed = Bed::over(fake, "hold.max = \"60s\"", cluster).await;
    bed.ready().await;
    // What clients work with is known here.
    bed.client().await.ask(METADATA, newest(METADATA), &metadata(&["t"])).await;
    bed
}

/// One row at a time: a client at broker 1, and what brokers have seen since it came.
pub struct Trial<'a> {
    pub bed: &'a Bed,
    pub row: &'static Operation,
    pub client: Client,
    before: usize,
    pub key: String,
}

impl<'a> Trial<'a> {
    pub async fn new(bed: &'a Bed, row: &'static Operation, what: &str) -> Trial<'a> {
        let mut client = bed.client_of(1).await;
        if row.key == FETCH && bed.fake.log("t", 0).is_empty() {
            // Something to read, so that a broker answers at once.
            client.ask(PRODUCE, 9, &produce_text("read me")).await;
        }
        let before = bed.fake.seen(row.key).len();
        Trial { bed, row, client, before, key: format!("k-{}-{what}", row.key) }
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.bed.fake.seen(self.row.key).split_off(self.before)
    }

    /// The brokers that have got it, in order.
    pub fn nodes(&self) -> Vec<i32> {
        self.seen().iter().map(|seen| seen.node).collect()
    }

    pub fn script(&self, act: Act) {
        self.bed.fake.script(1, self.row.key, act);
    }

    /// Broker 2 is where it belongs from now on.
    pub fn belongs_to_2(&self) {
        match self.row.route {
            Route::Leader => self.bed.fake.elect("t", 0, 2),
            Route::Group(_) | Route::Transaction(_) => {
                self.bed.fake.world().coordinators.insert(self.key.clone(), 2);
            }
            _ => {}
        }
    }

    /// Broker 1 leads again, and that is known.
    pub async fn restore(&self) {
        if self.row.route == Route::Leader {
            self.bed.fake.world().topics.get_mut("t").unwrap().partitions[0].log.clear();
            self.bed.fake.elect("t", 0, 1);
            self.bed.client().await.ask(METADATA, newest(METADATA), &metadata(&["t"])).await;
        }
    }

    pub async fn send(&mut self, body: &Struct) {
        self.client.send(self.row.key, newest(self.row.key), body).await;
    }

    pub async fn codes(&mut self, body: &Struct) -> Vec<i16> {
        self.send(body).await;
        codes(&self.client.receive().await)
    }

    /// Asks; no error comes.
    pub async fn succeeds(&mut self, body: &Struct) {
        let found = self.codes(body).await;
        assert!(found.iter().all(|code| *code == 0), "{}: {found:?}", name(self.row));
    }

    /// Asks; this error comes.
    pub async fn gets(&mut self, body: &Struct, code: i16) {
        let found = self.codes(body).await;
        assert!(found.contains(&code), "{}: {found:?} instead of {code}", name(self.row));
    }
}
