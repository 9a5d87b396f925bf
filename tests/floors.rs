//! The floors of the house: a file imports only lower floors, its own folder, and the neighbours that are written here.
//!
//! Reads every file under `src/` and finds paths that begin with `crate`, `super`, `self` or `evenkeel`, in `use`
//! declarations (nested trees too) and anywhere else in the code. `ARCHITECTURE.md` gives the reasons for the floors.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test says what it expects"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Lowest first. A name is a folder or a file of `src/`; those that don't exist yet have their place all the same.
const FLOORS: &[&[&str]] = &[
    &["config", "files", "findings", "metrics", "telemetry", "lifecycle", "time"],
    &["net", "dns", "tls", "sasl"],
    &["upstream", "retry", "hold"],
    &["kafka", "zookeeper"],
    &["admin", "upgrade"],
    &["fleet", "driver"],
    &["app", "main", "lib"],
];

/// Within a floor: who may import whom. The protocols' floor has no entry, ever.
const NEIGHBOURS: &[(&str, &str)] = &[
    ("net", "dns"),       // a connect resolves its name anew
    ("net", "tls"),       // a stream is plain or encrypted
    ("sasl", "net"),      // tokens are got over HTTP
    ("sasl", "dns"),      // through the resolver that everyone uses
    ("sasl", "tls"),      // https
    ("admin", "upgrade"), // routes show and change the plan
    ("driver", "fleet"),  // a roll is driven through the sidecars that there are
    ("main", "app"),
    ("main", "lib"),
];

/// Names that a protocol must never share a floor's neighbourhood with.
const PROTOCOLS: &[&str] = &["kafka", "zookeeper"];

fn floor(unit: &str) -> Option<usize> {
    FLOORS.iter().position(|floor| floor.contains(&unit))
}

/// What is wrong with `unit` importing `other`, if anything is.
fn judge(unit: &str, other: &str) -> Option<String> {
    let Some(own) = floor(unit) else {
        return Some(format!("{unit} is on no floor: give it one in tests/floors.rs and ARCHITECTURE.md"));
    };
    if other.is_empty() {
        // `use crate as x`, `crate::*`: everything at once, for which only the top has the view.
        return (own + 1 < FLOORS.len()).then(|| format!("{unit} imports the whole crate"));
    }
    let Some(its) = floor(other) else {
        return Some(format!("{unit} imports {other}, which is on no floor"));
    };
    if unit == other || its < own || NEIGHBOURS.contains(&(unit, other)) {
        None
    } else if its > own {
        Some(format!("{unit} imports upward: {other}"))
    } else if PROTOCOLS.contains(&unit) {
        Some(format!("one protocol imports another: {unit} imports {other}"))
    } else {
        Some(format!("{unit} imports its neighbour {other}, which is not on the list"))
    }
}

/// A piece of Rust text that matters here.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    Word(String),
    /// `::`
    Colons,
    Mark(char),
}

/// Cuts Rust text into tokens, without comments, text, characters and lifetimes.
fn tokens(text: &str) -> Vec<Token> {
    let chars: Vec<char> = text.chars().collect();
    let at = |index: usize| chars.get(index).copied().unwrap_or('\0');
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let mut found = Vec::new();
    let mut i = 0;
    while i < chars.len() {
        match at(i) {
            '/' if at(i + 1) == '/' => {
                while i < chars.len() && at(i) != '\n' {
                    i += 1;
                }
            }
            '/' if at(i + 1) == '*' => {
                let mut depth = 0;
                loop {
                    match (at(i), at(i + 1)) {
                        ('/', '*') => (depth, i) = (depth + 1, i + 2),
                        ('*', '/') => (depth, i) = (depth - 1, i + 2),
                        _ => i += 1,
                    }
                    if depth == 0 || i >= chars.len() {
                        break;
                    }
                }
            }
            '"' => i = after_text(&chars, i),
            // A character ends with a quote; a lifetime doesn't.
            '\'' if at(i + 1) == '\\' => {
                i += 3;
                while i < chars.len() && at(i) != '\'' {
                    i += 1;
                }
                i += 1;
            }
            '\'' if at(i + 2) == '\'' => i += 3,
            ':' if at(i + 1) == ':' => {
                found.push(Token::Colons);
                i += 2;
            }
            c if is_word(c) => {
                let start = i;
                while is_word(at(i)) {
                    i += 1;
                }
                let word: String = chars[start..i].iter().collect();
                let hashes = chars[i..].iter().take_while(|c| **c == '#').count();
                if matches!(word.as_str(), "r" | "br" | "cr") && at(i + hashes) == '"' {
                    i = after_raw_text(&chars, i + hashes + 1, hashes);
                } else if word == "r" && hashes == 1 {
                    i += 1; // a raw identifier: its word comes next
                } else {
                    found.push(Token::Word(word));
                }
            }
            c => {
                if !c.is_whitespace() {
                    found.push(Token::Mark(c));
                }
                i += 1;
            }
        }
    }
    found
}

fn after_text(chars: &[char], quote: usize) -> usize {
    let mut i = quote + 1;
    while i < chars.len() && chars[i] != '"' {
        i += if chars[i] == '\\' { 2 } else { 1 };
    }
    i + 1
}

fn after_raw_text(chars: &[char], from: usize, hashes: usize) -> usize {
    let mut i = from;
    while i < chars.len() {
        let closing = chars[i + 1..].iter().take_while(|c| **c == '#').count();
        if chars[i] == '"' && closing >= hashes {
            return i + 1 + hashes;
        }
        i += 1;
    }
    i
}

/// The names behind the crate's root in every path of a file that stands in module `module`; an empty one for the root
/// itself.
fn imports(module: &[String], text: &str) -> BTreeSet<String> {
    let tokens = tokens(text);
    let mut found = BTreeSet::new();
    // Inline modules make `super` one longer: each with the depth of braces at which it ends.
    let (mut depth, mut inline) = (0usize, Vec::<(usize, String)>::new());
    let mut i = 0;
    while i < tokens.len() {
        match &tokens[i] {
            Token::Mark('{') => {
                if let [.., Token::Word(keyword), Token::Word(name)] = &tokens[..i]
                    && keyword == "mod"
                {
                    inline.push((depth, name.clone()));
                }
                depth += 1;
            }
            Token::Mark('}') => {
                depth = depth.saturating_sub(1);
                inline.pop_if(|(ends, _)| *ends == depth);
            }
            Token::Word(word) if matches!(word.as_str(), "crate" | "super" | "self" | "evenkeel") => {
                let before = i.checked_sub(1).map(|before| &tokens[before]);
                let begins = before != Some(&Token::Colons);
                let in_use = matches!(before, Some(Token::Word(keyword)) if keyword == "use");
                let goes_on = tokens.get(i + 1) == Some(&Token::Colons);
                let renamed =
                    in_use && matches!(tokens.get(i + 1), Some(Token::Word(keyword)) if keyword == "as");
                if begins && (goes_on || renamed) {
                    let mut here = module.to_vec();
                    here.extend(inline.iter().map(|(_, name)| name.clone()));
                    let mut leaves = Vec::new();
                    i = expand(&tokens, i, &mut Vec::new(), &mut leaves);
                    found.extend(leaves.iter().map(|leaf| root_of(&here, leaf)));
                    continue;
                }
            }
            _ => {}
        }
        i += 1;
    }
    found
}

/// Follows a path or a use-tree from `i`; every leaf goes to `leaves`. Answers where it ends.
fn expand(tokens: &[Token], mut i: usize, path: &mut Vec<String>, leaves: &mut Vec<Vec<String>>) -> usize {
    let length = path.len();
    loop {
        match tokens.get(i) {
            Some(Token::Word(word)) => path.push(word.clone()),
            Some(Token::Mark('*')) => path.push("*".to_owned()),
            Some(Token::Mark('{')) => {
                i += 1;
                while !matches!(tokens.get(i), None | Some(Token::Mark('}'))) {
                    i = expand(tokens, i, path, leaves);
                    // To the next branch: past a comma, or `as` and a name.
                    while !matches!(tokens.get(i), None | Some(Token::Mark(',' | '}'))) {
                        i += 1;
                    }
                    if tokens.get(i) == Some(&Token::Mark(',')) {
                        i += 1;
                    }
                }
                path.truncate(length);
                return i + 1;
            }
            // Turbofish: `crate::x::<T>`.
            _ => break,
        }
        i += 1;
        if tokens.get(i) != Some(&Token::Colons) {
            break;
        }
        i += 1;
    }
    leaves.push(path.clone());
    path.truncate(length);
    i
}

/// The first name behind the root that `path` leads to from `module`; empty for the root itself.
fn root_of(module: &[String], path: &[String]) -> String {
    let mut at: Vec<String> = module.to_vec();
    let mut rest = path.iter();
    for word in rest.by_ref() {
        match word.as_str() {
            "crate" | "evenkeel" => at.clear(),
            "super" => drop(at.pop()),
            "self" => {}
            "*" => break,
            name => {
                at.push(name.to_owned());
                break;
            }
        }
    }
    at.first().cloned().unwrap_or_default()
}

/// The module that a file of `src/` is.
fn module_of(file: &Path) -> Vec<String> {
    let mut parts: Vec<String> =
        file.with_extension("").iter().map(|part| part.to_string_lossy().into_owned()).collect();
    if parts.last().is_some_and(|last| last == "mod")
        || matches!(parts.as_slice(), [one] if one == "lib" || one == "main")
    {
        parts.pop();
    }
    parts
}

/// What is wrong in one file.
fn problems(file: &Path, text: &str) -> Vec<String> {
    let module = module_of(file);
    let unit = module.first().cloned().unwrap_or_else(|| file.with_extension("").display().to_string());
    let found = imports(&module, text);
    let wrong = found.iter().filter_map(|other| judge(&unit, other));
    wrong.map(|what| format!("src/{}: {what}", file.display())).collect()
}

fn files(folder: &Path, into: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, into);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            into.push(path);
        }
    }
}

fn sources() -> BTreeMap<PathBuf, String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    files(&root, &mut found);
    found
        .into_iter()
        .map(|path| (path.strip_prefix(&root).unwrap().to_owned(), std::fs::read_to_string(&path).unwrap()))
        .collect()
}

#[test]
fn every_file_imports_only_what_its_floor_allows() {
    let sources = sources();
    assert!(sources.len() > 50, "the sources were not found: {}", sources.len());
    let wrong: Vec<String> = sources.iter().flat_map(|(file, text)| problems(file, text)).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Whether `to` can be reached from `from` along the list; a cycle on the way ends with the number of its entries.
fn reaches(list: &[(&str, &str)], from: &str, to: &str, steps: usize) -> bool {
    steps > 0 && list.iter().any(|(a, b)| *a == from && (*b == to || reaches(list, b, to, steps - 1)))
}

#[test]
fn the_list_of_neighbours_is_within_floors_and_has_no_cycle_and_no_protocol() {
    for (from, to) in NEIGHBOURS {
        assert_eq!(floor(from), floor(to), "{from} → {to} is not within a floor");
        assert!(!PROTOCOLS.contains(from), "{from} may import no other protocol");
        assert!(!reaches(NEIGHBOURS, from, from, NEIGHBOURS.len()), "{from} comes back to itself");
    }
    let names: Vec<&str> = FLOORS.iter().flat_map(|floor| floor.iter().copied()).collect();
    assert_eq!(names.len(), names.iter().collect::<BTreeSet<_>>().len(), "a name is on two floors");
    let cycle = [("c", "a"), ("a", "b"), ("b", "a")];
    assert!(reaches(&cycle, "a", "a", 3) && reaches(&cycle, "b", "b", 3) && !reaches(&cycle, "c", "c", 3));
}

#[test]
fn the_list_of_neighbours_names_nothing_that_is_not_used() {
    let mut used = BTreeSet::new();
    let mut units = BTreeSet::new();
    for (file, text) in sources() {
        let module = module_of(&file);
        let unit = module.first().cloned().unwrap_or_else(|| file.with_extension("").display().to_string());
        used.extend(imports(&module, &text).into_iter().map(|other| (unit.clone(), other)));
        units.insert(unit);
    }
    for (from, to) in NEIGHBOURS.iter().filter(|(_, to)| *to != "lib") {
        let exist = units.contains(*from) && units.contains(*to);
        let is_used = used.contains(&((*from).to_owned(), (*to).to_owned()));
        assert!(!exist || is_used, "{from} doesn't import {to} any more: take it off the list");
    }
}

#[track_caller]
fn refused(file: &str, text: &str, what: &str) {
    let found = problems(Path::new(file), text);
    assert!(found.iter().any(|problem| problem.contains(what)), "{file}: {text}: {found:?}");
}

#[test]
fn an_upward_import_is_found_however_it_is_written() {
    for text in [
        "use crate::kafka::wire;",
        "use crate::{time::now, kafka::{self, wire as w}};",
        "fn f() { crate::kafka::wire::request(1); }",
        "use evenkeel::kafka::Cluster;",
        "use super::super::kafka::wire;",
        "mod tests { use super::super::super::kafka; }",
        "pub(in crate::net) fn f(_: &'static str, c: char) -> bool { c == '\"' || crate::kafka::x('\\'') }",
        "const A: &str = r#\"\"#; use crate::kafka::wire;",
        "macro_rules! m { () => { $crate::kafka::f() } }",
        "use crate::time::{now}; type T = Option<crate::kafka::Cluster>;",
    ] {
        refused("net/frame.rs", text, "net imports upward: kafka");
    }
    refused("kafka/mod.rs", "use crate::app::App;", "kafka imports upward: app");
    refused("time.rs", "use super::net;", "time imports upward: net");
}

#[test]
fn a_protocol_that_imports_another_is_found() {
    refused("kafka/session/mod.rs", "use crate::zookeeper::lease;", "one protocol imports another");
    refused("zookeeper/mod.rs", "use super::kafka::wire;", "one protocol imports another");
}

#[test]
fn an_unlisted_neighbour_an_unknown_folder_and_the_whole_crate_are_found() {
    refused("dns/mod.rs", "use crate::net::Stream;", "neighbour net");
    refused("metrics/mod.rs", "use crate::config::Config;", "neighbour config");
    refused("gadgets/mod.rs", "use crate::config;", "on no floor");
    refused("net/mod.rs", "use crate::gadgets;", "on no floor");
    for text in
        ["use crate as everything;", "use crate::*;", "use crate::{self as everything};", "use super::*;"]
    {
        refused("net/mod.rs", text, "the whole crate");
    }
}

#[test]
fn what_is_allowed_passes() {
    for (file, text) in [
        (
            "kafka/session/mod.rs",
            "use crate::net::{Stream, frame::*}; use super::super::retry; use link::Link;",
        ),
        (
            "net/connect.rs",
            "use crate::dns::Resolver; /* crate::kafka */ // crate::kafka\nfn f() { \"crate::app\"; }",
        ),
        (
            "net/frame.rs",
            "mod tests { use super::*; mod deep { use super::super::x; } } use super::stream::Stream;",
        ),
        ("net/frame.rs", "pub(crate) fn f<'a>(x: &'a self::X) -> self::Y { self.x() }"),
        ("app.rs", "use crate::{admin::{self, Admin}, config, kafka::service};"),
        ("main.rs", "use evenkeel::app::App; use evenkeel::config;"),
    ] {
        assert_eq!(problems(Path::new(file), text), Vec::<String>::new(), "{file}: {text}");
    }
}
