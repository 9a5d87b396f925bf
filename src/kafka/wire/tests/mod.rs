//! Tests of the wire format as a whole: the schema, the interpreter against itself and against another implementation,
//! hostile bytes, and the hand-written scans against the interpreter.

mod fill;
mod header;
mod hostile;
mod interpreter;
mod other;
mod pieces;
mod scans;
mod schema;
mod values;

use super::schema::Message;

/// Both directions of every API that clients use.
fn messages() -> impl Iterator<Item = &'static Message> {
    (0..=92).flat_map(|key| [super::request(key), super::response(key)]).flatten()
}
