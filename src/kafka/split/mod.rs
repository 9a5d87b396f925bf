//! A request about partitions that goes to several leaders: taken apart by partition, sent in parts, and its answers
//! merged into one.
//!
//! Pure: no socket, no clock. A record batch is never split; only partitions that failed are sent again.

mod item;
mod shape;

pub use item::{Again, Item, Judgement, Progress, Refusal};
pub use shape::{Shape, Side, shape};

use crate::kafka::wire::{Message, Struct};
use crate::retry::Verdict;
use std::time::Instant;

/// A request in parts. Its answer is complete when every item is done.
#[derive(Clone, Debug)]
pub struct Split {
    shape: &'static Shape,
    template: Struct,
    items: Vec<Item>,
    answer: Option<Struct>,
    parts: u32,
}

/// A part that is ready to be sent.
#[derive(Debug)]
pub struct Part {
    /// To this node.
    pub node: i32,
    /// Its number within the split.
    pub number: u32,
    /// The request's body.
    pub body: Struct,
    /// How many partitions are in it.
    pub items: usize,
}

impl Split {
    /// Takes a request apart. Every item waits.
    pub fn new(shape: &'static Shape, mut request: Struct, now: Instant) -> Self {
        let mut items = Vec::new();
        for mut topic in request.take_structs(shape.request.topics) {
            let key = shape.request.key(&topic).detached();
            for partition in topic.take_structs(shape.request.partitions) {
                let index = partition.i32(shape.request.index);
                items.push(Item::new(key.clone(), index, partition, now));
            }
        }
        Self { shape, template: request, items, answer: None, parts: 0 }
    }

    /// The request without its topics, for changes that go to every part.
    pub fn template_mut(&mut self) -> &mut Struct {
        &mut self.template
    }

    /// The request without its topics.
    pub fn template(&self) -> &Struct {
        &self.template
    }

    /// The partitions, in the order of the request.
    pub fn items(&self) -> &[Item] {
        &self.items
    }

    /// The partitions alone.
    pub fn into_items(self) -> Vec<Item> {
        self.items
    }

    /// The partitions, to be changed.
    pub fn items_mut(&mut self) -> &mut [Item] {
        &mut self.items
    }

    /// Counts the whole request, which went out before it was split, as one part with every item in it.
    pub fn was_sent_whole(&mut self) -> u32 {
        let number = self.parts;
        self.parts += 1;
        for item in &mut self.items {
            item.progress = Progress::Sent(number);
        }
        number
    }

    /// Takes in the answer to a part: `judge` decides each partition. A partition that the answer leaves out is
    /// decided with `missing`.
    pub fn absorb(
        &mut self,
        part: u32,
        mut answer: Struct,
        judge: &mut impl FnMut(&Item, Struct) -> Judgement,
        missing: &mut impl FnMut(&Item) -> Judgement,
    ) {
        let side = &self.shape.answer;
        for mut topic in answer.take_structs(side.topics) {
            let key = side.key(&topic);
            for partition in topic.take_structs(side.partitions) {
                let index = partition.i32(side.index);
                let sent = Progress::Sent(part);
                let of =
                    |item: &&mut Item| item.progress == sent && item.partition == index && item.topic == key;
                if let Some(item) = self.items.iter_mut().find(of) {
                    let judgement = judge(item, partition);
                    item.decide(judgement);
                }
            }
        }
        for item in self.items.iter_mut().filter(|item| item.progress == Progress::Sent(part)) {
            let judgement = missing(item);
            item.decide(judgement);
        }
        match &mut self.answer {
            None => self.answer = Some(answer),
            Some(first) => merge(first, &mut answer),
        }
    }

    /// The connection that a part was on is gone: `judge` decides each of its partitions.
    pub fn lose(&mut self, part: u32, verdict: Verdict, judge: &mut impl FnMut(&Item, Verdict) -> Judgement) {
        for item in self.items.iter_mut().filter(|item| item.progress == Progress::Sent(part)) {
            item.losses += u32::from(verdict == Verdict::Unknown);
            let judgement = judge(item, verdict);
            item.decide(judgement);
        }
    }

    /// Decides every item that still waits.
    pub fn settle(&mut self, judge: &mut impl FnMut(&Item) -> Judgement) {
        for item in self.items.iter_mut().filter(|item| item.progress == Progress::Waiting) {
            let judgement = judge(item);
            item.decide(judgement);
        }
    }

    /// Decides every item that is not decided yet, on its way or not: a late answer will find nobody.
    pub fn settle_all(&mut self, judge: &mut impl FnMut(&Item) -> Judgement) {
        for item in self.items.iter_mut().filter(|item| !item.is_done()) {
            let judgement = judge(item);
            item.decide(judgement);
        }
    }

    /// Decides one item, which waits, by its place.
    pub fn decide(&mut self, at: usize, answer: Struct) {
        if let Some(item) = self.items.get_mut(at) {
            item.decide(Judgement::Done(answer));
        }
    }

    /// Whether everything is decided.
    pub fn is_done(&self) -> bool {
        self.items.iter().all(|item| matches!(item.progress, Progress::Done(_)))
    }

    /// Whether some item waits to be sent.
    pub fn is_waiting(&self) -> bool {
        self.items.iter().any(|item| item.progress == Progress::Waiting)
    }

    /// Whether some item is on its way.
    pub fn is_out(&self) -> bool {
        self.items.iter().any(|item| matches!(item.progress, Progress::Sent(_)))
    }

    /// The parts that can be sent now: `targets` names the node of each item, in their order, or nothing for one that
    /// goes on waiting. Items of one node go together; they count as sent.
    pub fn dispatch(&mut self, targets: &[Option<i32>]) -> Vec<Part> {
        let mut by_node: Vec<(i32, Vec<usize>)> = Vec::new();
        for (at, (item, target)) in self.items.iter().zip(targets).enumerate() {
            let (Progress::Waiting, Some(node)) = (&item.progress, *target) else { continue };
            match by_node.iter_mut().find(|(known, _)| *known == node) {
                Some((_, members)) => members.push(at),
                None => by_node.push((node, vec![at])),
            }
        }
        by_node.into_iter().map(|(node, members)| self.part(node, &members)).collect()
    }

    fn part(&mut self, node: i32, members: &[usize]) -> Part {
        let number = self.parts;
        self.parts += 1;
        let side = &self.shape.request;
        let mut body = self.template.clone();
        let mut topics: Vec<(super::cluster::TopicKey, Struct)> = Vec::new();
        for &at in members {
            let Some(item) = self.items.get_mut(at) else { continue };
            item.progress = Progress::Sent(number);
            item.sent_to = Some(node);
            if topics.last().is_none_or(|(key, _)| *key != item.topic) {
                let mut topic = body.new_struct(side.topics);
                side.set_key(&mut topic, &item.topic);
                topics.push((item.topic.clone(), topic));
            }
            if let Some((_, topic)) = topics.last_mut() {
                topic.push_struct(side.partitions, item.request.clone());
            }
        }
        body.set_structs(side.topics, topics.into_iter().map(|(_, topic)| topic).collect());
        Part { node, number, body, items: members.len() }
    }

    /// A part could not be put on a link after all: its items wait again.
    pub fn take_back(&mut self, part: u32) {
        for item in self.items.iter_mut().filter(|item| item.progress == Progress::Sent(part)) {
            item.progress = Progress::Waiting;
        }
    }

    /// The merged answer: every item's, in the order of the request. Call it when [`is_done`](Self::is_done).
    pub fn finish(&mut self, message: &'static Message) -> Struct {
        let side = &self.shape.answer;
        let mut answer = self.answer.take().unwrap_or_else(|| message.new());
        let mut topics: Vec<(super::cluster::TopicKey, Struct)> = Vec::new();
        for item in &mut self.items {
            let Progress::Done(partition) = std::mem::replace(&mut item.progress, Progress::Waiting) else {
                continue;
            };
            if topics.last().is_none_or(|(key, _)| *key != item.topic) {
                let mut topic = answer.new_struct(side.topics);
                side.set_key(&mut topic, &item.topic);
                topics.push((item.topic.clone(), topic));
            }
            if let Some((_, topic)) = topics.last_mut() {
                topic.push_struct(side.partitions, *partition);
            }
        }
        answer.set_structs(side.topics, topics.into_iter().map(|(_, topic)| topic).collect());
        answer
    }

    /// The shape of its API.
    pub fn shape(&self) -> &'static Shape {
        self.shape
    }
}

/// What two answers say apart from partitions: who is throttled waits for the longest, and each node that is named has its
/// address.
fn merge(into: &mut Struct, other: &mut Struct) {
    if into.has("throttle_time_ms") {
        into.set_i32("throttle_time_ms", into.i32("throttle_time_ms").max(other.i32("throttle_time_ms")));
    }
    if into.has("node_endpoints") {
        for node in other.take_structs("node_endpoints") {
            if into.structs("node_endpoints").all(|known| known.i32("node_id") != node.i32("node_id")) {
                into.push_struct("node_endpoints", node);
            }
        }
    }
}

/// A partition's answer with this error and the schema's defaults.
pub fn error_for(shape: &'static Shape, message: &'static Message, partition: i32, code: i16) -> Struct {
    let mut answer = message.new().new_struct(shape.answer.topics).new_struct(shape.answer.partitions);
    answer.set_i32(shape.answer.index, partition);
    answer.set_i16("error_code", code);
    if answer.has("base_offset") {
        answer.set_i64("base_offset", -1);
    }
    if shape.key == 1 {
        // An empty success of a Fetch: no records, nothing known of offsets.
        answer.set_i64("high_watermark", -1);
        answer.set_bytes("records", Some(bytes::Bytes::new()));
    }
    answer
}

#[cfg(test)]
mod tests;
