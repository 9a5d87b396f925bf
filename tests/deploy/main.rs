//! What stands in `deploy/` for other programs: it is well formed, and names only metrics, labels, values and routes that exist.
//! What those programs make of it is tried in the long proofs.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test says what it expects"
)]

mod adapters;
mod dashboard;
mod flagger;
mod forgetful;
mod hooked;
mod promql;
mod rolled;
mod rules;
mod script;

use std::fs;
use std::path::Path;

use yaml_rust2::{Yaml, YamlLoader};

fn read(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// The documents of a YAML file.
fn yaml(name: &str) -> Vec<Yaml> {
    YamlLoader::load_from_str(&read(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}
