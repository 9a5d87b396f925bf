//! The document as a tree in which every node knows where it came from, a line or a variable.
//!
//! `toml_edit` is used here only. Overrides from the environment are put into this tree, so that readers
//! see one tree and problems name the right place. Imports the folder's `problem` only.

use std::collections::BTreeMap;
use std::ops::Range;

use toml_edit::{Document, Item, Table as TomlTable, TableLike, Value as TomlValue};

use super::problem::Place;

/// A value and its origin.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub(super) value: Value,
    pub(super) place: Place,
}

/// What a node holds. `Text` comes from the environment and has no type of its own yet.
#[derive(Debug, Clone)]
pub(super) enum Value {
    String(String),
    Integer(i64),
    Bool(bool),
    Float,
    Date,
    List(Vec<Node>),
    Table(Table),
    Text(String),
}

/// Keys with the place of the key and its node.
pub(super) type Table = BTreeMap<String, Entry>;

/// One key of a table.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) key: Place,
    pub(super) node: Node,
}

impl Value {
    /// The type, for people.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::String(_) | Self::Text(_) => "a string",
            Self::Integer(_) => "an integer",
            Self::Bool(_) => "a boolean",
            Self::Float => "a float",
            Self::Date => "a date or time",
            Self::List(_) => "a list",
            Self::Table(_) => "a table",
        }
    }
}

/// Reads TOML; the error is the place and the words of the parser.
pub(super) fn parse(text: &str) -> Result<Table, (Place, String)> {
    let lines = Lines::new(text);
    match Document::parse(text) {
        Ok(document) => Ok(table(document.as_table(), &lines, &Place::Line(1))),
        Err(error) => {
            let place = lines.place(error.span()).unwrap_or(Place::File);
            Err((place, error.message().trim().replace('\n', ", ")))
        }
    }
}

/// Byte offsets at which lines start.
struct Lines(Vec<usize>);

impl Lines {
    fn new(text: &str) -> Self {
        Self(text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at + 1).collect())
    }

    fn place(&self, span: Option<Range<usize>>) -> Option<Place> {
        let start = span?.start;
        Some(Place::Line(self.0.partition_point(|line| *line <= start) + 1))
    }
}

/// `around` is the place to name when the parser gives none (a table that only dotted keys imply).
fn table(source: &dyn TableLike, lines: &Lines, around: &Place) -> Table {
    let mut entries = Table::new();
    for (name, item) in source.iter() {
        let key = source
            .get_key_value(name)
            .and_then(|(key, _)| lines.place(key.span()))
            .unwrap_or_else(|| around.clone());
        if let Some(node) = item_node(item, lines, &key) {
            entries.insert(name.to_owned(), Entry { key, node });
        }
    }
    entries
}

fn item_node(item: &Item, lines: &Lines, key: &Place) -> Option<Node> {
    let value = match item {
        Item::None => return None,
        Item::Value(value) => return Some(value_node(value, lines, key)),
        Item::Table(inner) => return Some(table_node(inner, lines, key)),
        Item::ArrayOfTables(tables) => {
            Value::List(tables.iter().map(|inner| table_node(inner, lines, key)).collect())
        }
    };
    Some(Node { value, place: lines.place(item.span()).unwrap_or_else(|| key.clone()) })
}

fn table_node(source: &TomlTable, lines: &Lines, key: &Place) -> Node {
    let place = lines.place(source.span()).unwrap_or_else(|| key.clone());
    Node { value: Value::Table(table(source, lines, &place)), place }
}

fn value_node(source: &TomlValue, lines: &Lines, key: &Place) -> Node {
    let place = lines.place(source.span()).unwrap_or_else(|| key.clone());
    let value = match source {
        TomlValue::String(text) => Value::String(text.value().clone()),
        TomlValue::Integer(number) => Value::Integer(*number.value()),
        TomlValue::Boolean(flag) => Value::Bool(*flag.value()),
        TomlValue::Float(_) => Value::Float,
        TomlValue::Datetime(_) => Value::Date,
        TomlValue::Array(items) => {
            Value::List(items.iter().map(|item| value_node(item, lines, &place)).collect())
        }
        TomlValue::InlineTable(inner) => Value::Table(table(inner, lines, &place)),
    };
    Node { value, place }
}
