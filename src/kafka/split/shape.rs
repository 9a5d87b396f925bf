//! How requests about partitions are laid out: the names of the fields that splitting and merging need.

use crate::kafka::cluster::TopicKey;
use crate::kafka::wire::Struct;

/// One side of an API: where its topics are, what they are called, and where their partitions are.
#[derive(Debug)]
pub struct Side {
    /// The array of topics.
    pub topics: &'static str,
    /// A topic's name.
    pub name: &'static str,
    /// A topic's id, in versions that have one.
    pub id: Option<&'static str>,
    /// The array of partitions of a topic.
    pub partitions: &'static str,
    /// A partition's number.
    pub index: &'static str,
}

impl Side {
    /// The topic that a topic structure of this side stands for.
    pub fn key(&self, topic: &Struct) -> TopicKey {
        match self.id.map(|id| topic.uuid(id)) {
            Some(id) if id != [0; 16] => TopicKey::Id(id),
            _ => TopicKey::Name(topic.bytes_field(self.name).cloned().unwrap_or_default()),
        }
    }

    /// Names `topic` in a topic structure of this side.
    pub fn set_key(&self, topic: &mut Struct, key: &TopicKey) {
        match (key, self.id) {
            (TopicKey::Name(name), _) => topic.set_bytes(self.name, Some(name.clone())),
            (TopicKey::Id(id), Some(field)) => topic.set_uuid(field, *id),
            (TopicKey::Id(_), None) => {}
        }
    }
}

/// The layout of one API that goes to partition leaders.
#[derive(Debug)]
pub struct Shape {
    /// Its key.
    pub key: i16,
    /// The request.
    pub request: Side,
    /// The answer.
    pub answer: Side,
}

const fn side(
    topics: &'static str,
    name: &'static str,
    id: Option<&'static str>,
    partitions: &'static str,
    index: &'static str,
) -> Side {
    Side { topics, name, id, partitions, index }
}

const ID: Option<&str> = Some("topic_id");

static SHAPES: [Shape; 5] = [
    Shape {
        key: 0,
        request: side("topic_data", "name", ID, "partition_data", "index"),
        answer: side("responses", "name", ID, "partition_responses", "index"),
    },
    Shape {
        key: 1,
        request: side("topics", "topic", ID, "partitions", "partition"),
        answer: side("responses", "topic", ID, "partitions", "partition_index"),
    },
    Shape {
        key: 2,
        request: side("topics", "name", None, "partitions", "partition_index"),
        answer: side("topics", "name", None, "partitions", "partition_index"),
    },
    Shape {
        key: 21,
        request: side("topics", "name", None, "partitions", "partition_index"),
        answer: side("topics", "name", None, "partitions", "partition_index"),
    },
    Shape {
        key: 23,
        request: side("topics", "topic", None, "partitions", "partition"),
        answer: side("topics", "topic", None, "partitions", "partition"),
    },
];

/// The shape of an API, if it goes to partition leaders.
pub fn shape(key: i16) -> Option<&'static Shape> {
    SHAPES.iter().find(|shape| shape.key == key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kafka::operations::{OPERATIONS, Route};
    use crate::kafka::wire;

    #[test]
    fn every_api_for_leaders_has_a_shape_whose_fields_exist() {
        for row in OPERATIONS.iter().filter(|row| row.route == Route::Leader) {
            let shape = shape(row.key).unwrap_or_else(|| panic!("no shape for {}", row.key));
            for (message, side) in
                [(wire::request(row.key), &shape.request), (wire::response(row.key), &shape.answer)]
            {
                let whole = message.unwrap().new();
                let topic = whole.new_struct(side.topics);
                assert!(topic.has(side.name));
                assert!(side.id.is_none_or(|id| topic.has(id)));
                assert!(topic.new_struct(side.partitions).has(side.index));
            }
            let answer = wire::response(row.key).unwrap().new();
            let partition = answer.new_struct(shape.answer.topics).new_struct(shape.answer.partitions);
            assert!(partition.has("error_code"));
        }
    }
}
