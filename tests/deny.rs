//! What the crate depends on: licences, sources, known bad versions, the minimum Rust version. Needs no network.
//!
//! The rules stand in `deny.toml`, in the form of cargo-deny. What only a network can tell (advisories of today, yanked
//! versions) is cargo-deny's part. Licences and minimum versions are those of the crates that this platform builds;
//! sources and bans are checked for every package of `Cargo.lock`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test says what it expects"
)]

use std::fs;
use std::path::Path;
use std::process::Command;

use semver::{Version, VersionReq};
use serde_json::{Value, json};
use toml_edit::{DocumentMut, Item};

struct Ban {
    name: String,
    versions: VersionReq,
    reason: String,
}

struct Rules {
    licences: Vec<String>,
    bans: Vec<Ban>,
}

fn read(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap()
}

fn toml(name: &str) -> DocumentMut {
    read(name).parse().unwrap()
}

fn rules() -> Rules {
    let deny = toml("deny.toml");
    let licences = deny["licenses"]["allow"].as_array().unwrap().iter();
    let bans = deny["bans"]["deny"].as_array().unwrap().iter().map(|ban| {
        let field = |name: &str| {
            let text = ban.as_inline_table().and_then(|ban| ban.get(name)?.as_str());
            text.unwrap_or_else(|| panic!("no {name} in {ban}")).to_owned()
        };
        let spec = field("crate");
        let (name, versions) = spec.split_once(':').unwrap_or((&spec, "*"));
        Ban { name: name.to_owned(), versions: versions.parse().unwrap(), reason: field("reason") }
    });
    Rules { licences: licences.map(|one| one.as_str().unwrap().to_owned()).collect(), bans: bans.collect() }
}

/// Whether an SPDX expression can be satisfied with these licences alone. `/` is an old way to write OR.
fn is_satisfied(expression: &str, allowed: &[String]) -> Result<bool, String> {
    let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let (satisfied, rest) = any_of(&words, allowed)?;
    if rest.is_empty() { Ok(satisfied) } else { Err(format!("{expression}: what does {rest:?} mean?")) }
}

type Parsed<'a, 'w> = Result<(bool, &'w [&'a str]), String>;

fn any_of<'a, 'w>(words: &'w [&'a str], allowed: &[String]) -> Parsed<'a, 'w> {
    let (mut satisfied, mut rest) = all_of(words, allowed)?;
    while let ["OR", more @ ..] = rest {
        let (one, after) = all_of(more, allowed)?;
        (satisfied, rest) = (satisfied | one, after);
    }
    Ok((satisfied, rest))
}

fn all_of<'a, 'w>(words: &'w [&'a str], allowed: &[String]) -> Parsed<'a, 'w> {
    let (mut satisfied, mut rest) = licence(words, allowed)?;
    while let ["AND", more @ ..] = rest {
        let (one, after) = licence(more, allowed)?;
        (satisfied, rest) = (satisfied & one, after);
    }
    Ok((satisfied, rest))
}

fn licence<'a, 'w>(words: &'w [&'a str], allowed: &[String]) -> Parsed<'a, 'w> {
    match words {
        ["(", inner @ ..] => match any_of(inner, allowed)? {
            (satisfied, [")", rest @ ..]) => Ok((satisfied, rest)),
            _ => Err(format!("no ) in {words:?}")),
        },
        [name, "WITH", exception, rest @ ..] => {
            Ok((allowed.contains(&format!("{name} WITH {exception}")), rest))
        }
        [name, rest @ ..] if !matches!(*name, "OR" | "AND" | "WITH" | ")") => {
            Ok((allowed.iter().any(|one| one == name), rest))
        }
        _ => Err(format!("no licence at the beginning of {words:?}")),
    }
}

/// `1.88` counts as `1.88.0`.
fn rust_version(text: &str) -> Version {
    let dots = text.matches('.').count();
    Version::parse(&format!("{text}{}", ".0".repeat(2usize.saturating_sub(dots)))).unwrap()
}

/// Where a package comes from is an index, whichever mirror serves it, and never a repository.
fn source_problem(source: &str) -> Option<String> {
    match source.split_once('+') {
        Some(("registry" | "sparse", index)) if index.trim_end_matches('/').ends_with("crates.io-index") => {
            None
        }
        Some(("git", _)) => Some("comes from a git repository".to_owned()),
        _ => Some(format!("comes from elsewhere than the public index: {source}")),
    }
}

/// What is wrong with what `cargo metadata` says.
fn check(rules: &Rules, metadata: &Value) -> Vec<String> {
    let packages = metadata["packages"].as_array().unwrap();
    let members = metadata["workspace_members"].as_array().unwrap();
    let is_member = |package: &Value| members.contains(&package["id"]);
    let ours = packages.iter().filter(|package| is_member(package));
    let least = ours.filter_map(|package| package["rust_version"].as_str()).map(rust_version).min();
    let least = least.expect("rust-version in Cargo.toml");
    let mut wrong = Vec::new();
    for package in packages {
        let (name, version) = (package["name"].as_str().unwrap(), package["version"].as_str().unwrap());
        let mut report = |what: String| wrong.push(format!("{name} {version}: {what}"));
        match package["license"]
            .as_str()
            .map(|expression| (expression, is_satisfied(expression, &rules.licences)))
        {
            None => report("names no licence".to_owned()),
            Some((_, Ok(true))) => {}
            Some((expression, Ok(false))) => report(format!("its licence is not allowed: {expression}")),
            Some((_, Err(what))) => report(what),
        }
        match package["source"].as_str() {
            Some(source) => source_problem(source).into_iter().for_each(&mut report),
            None if is_member(package) => {}
            None => report("is a path outside of this workspace".to_owned()),
        }
        if let Some(needed) = package["rust_version"].as_str().filter(|text| rust_version(text) > least) {
            report(format!("needs Rust {needed}, and {least} is promised"));
        }
        report_bans(rules, name, version, &mut report);
        let dependencies = package["dependencies"].as_array().into_iter().flatten();
        for dependency in dependencies.filter(|_| is_member(package)) {
            if dependency["req"] == "*" && dependency["path"].is_null() {
                report(format!("depends on any version of {}", dependency["name"]));
            }
        }
    }
    wrong
}

fn report_bans(rules: &Rules, name: &str, version: &str, report: &mut impl FnMut(String)) {
    let version = Version::parse(version).unwrap();
    for ban in rules.bans.iter().filter(|ban| ban.name == name && ban.versions.matches(&version)) {
        report(format!("is banned: {}", ban.reason));
    }
}

/// What is wrong in a `Cargo.lock`: it also names what other platforms need.
fn check_lock(rules: &Rules, lock: &DocumentMut) -> Vec<String> {
    let mut wrong = Vec::new();
    for package in lock["package"].as_array_of_tables().unwrap() {
        let text = |key: &str| package.get(key).and_then(Item::as_str);
        let (name, version) = (text("name").unwrap(), text("version").unwrap());
        let mut report = |what: String| wrong.push(format!("Cargo.lock: {name} {version}: {what}"));
        if let Some(source) = text("source") {
            source_problem(source).into_iter().for_each(&mut report);
            if text("checksum").is_none() {
                report("has no checksum".to_owned());
            }
        }
        report_bans(rules, name, version, &mut report);
    }
    wrong
}

fn metadata() -> Value {
    let rustc = Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into())).arg("-vV").output();
    let about = String::from_utf8(rustc.unwrap().stdout).unwrap();
    let host = about.lines().find_map(|line| line.strip_prefix("host: ")).unwrap();
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--locked", "--offline", "--filter-platform", host])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "Cargo.lock is not up to date, or `cargo fetch` is needed: {error}");
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn every_dependency_is_allowed() {
    let metadata = metadata();
    assert!(metadata["packages"].as_array().unwrap().len() > 100);
    let mut wrong = check(&rules(), &metadata);
    wrong.extend(check_lock(&rules(), &toml("Cargo.lock")));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_ban_says_why() {
    let rules = rules();
    assert!(rules.bans.len() >= 15 && rules.licences.len() >= 5);
    for ban in &rules.bans {
        assert!(ban.reason.len() > 15, "{}: {}", ban.name, ban.reason);
    }
}

/// Clippy refuses what the standard library has only had since a newer Rust, where it knows the promise.
#[test]
fn the_minimum_rust_version_is_one_number_and_clippy_knows_it() {
    let ours = toml("Cargo.toml");
    let promised = ours["package"]["rust-version"].as_str().unwrap().to_owned();
    for manifest in ["Cargo.toml", "tests/testbed/Cargo.toml", "tests/simulation/Cargo.toml"] {
        let manifest_text = toml(manifest);
        assert_eq!(manifest_text["package"]["rust-version"].as_str(), Some(promised.as_str()), "{manifest}");
        let lint = manifest_text["lints"]["clippy"].get("incompatible_msrv").and_then(Item::as_str);
        assert_eq!(lint, Some("warn"), "{manifest}: [lints.clippy] incompatible_msrv");
    }
    assert!(read("deploy/Dockerfile").contains(&format!("ARG RUST_VERSION={promised}\n")));
    assert!(read("tests/setup.sh").contains(&format!("({promised} or newer)")));
    assert!(!read("clippy.toml").contains("msrv"), "it would win over Cargo.toml");
}

#[test]
fn licence_expressions_are_understood() {
    let allowed = ["MIT", "Apache-2.0", "X WITH E"].map(str::to_owned);
    for (expression, satisfied) in [
        ("MIT", true),
        ("GPL-3.0-only", false),
        ("GPL-3.0-only OR MIT", true),
        ("GPL-3.0-only / MIT", true),
        ("MIT/Apache-2.0", true),
        ("MIT AND GPL-3.0-only", false),
        ("MIT AND GPL-3.0-only OR Apache-2.0", true),
        ("(MIT OR GPL-3.0-only) AND Apache-2.0", true),
        ("(MIT OR Apache-2.0) AND GPL-3.0-only", false),
        ("X WITH E", true),
        ("MIT WITH E", false),
    ] {
        assert_eq!(is_satisfied(expression, &allowed), Ok(satisfied), "{expression}");
    }
    for nonsense in ["", "MIT OR", "(MIT", "MIT Apache-2.0", "AND MIT"] {
        assert!(is_satisfied(nonsense, &allowed).is_err(), "{nonsense}");
    }
}

#[test]
fn what_is_not_allowed_is_found() {
    let index = "registry+https://example.net/crates.io-index";
    let good = json!({
        "packages": [
            {"id": "a", "name": "a", "version": "1.0.0", "license": "MIT", "source": null, "rust_version": "1.80",
             "dependencies": [{"name": "b", "req": "^1", "path": null}, {"name": "t", "req": "*", "path": "t"}]},
            {"id": "b", "name": "b", "version": "1.5.0", "license": "MIT", "source": index, "rust_version": "1.80"},
        ],
        "workspace_members": ["a"],
    });
    let bans =
        vec![Ban { name: "b".to_owned(), versions: "<1.5".parse().unwrap(), reason: "holes".to_owned() }];
    let rules = Rules { licences: vec!["MIT".to_owned()], bans };
    assert_eq!(check(&rules, &good), Vec::<String>::new());
    for (pointer, value, what) in [
        ("/packages/1/license", json!("GPL-3.0-only"), "b 1.5.0: its licence is not allowed"),
        ("/packages/1/license", json!(null), "names no licence"),
        ("/packages/1/source", json!("git+https://example.net/b"), "git repository"),
        (
            "/packages/1/source",
            json!("registry+https://example.net/other"),
            "elsewhere than the public index",
        ),
        ("/packages/1/source", json!(null), "outside of this workspace"),
        ("/packages/1/version", json!("1.4.9"), "is banned: holes"),
        ("/packages/1/rust_version", json!("1.80.1"), "needs Rust 1.80.1, and 1.80.0 is promised"),
        ("/packages/0/dependencies/0/req", json!("*"), "depends on any version of \"b\""),
    ] {
        let mut bad = good.clone();
        *bad.pointer_mut(pointer).unwrap() = value;
        let found = check(&rules, &bad);
        assert!(matches!(found.as_slice(), [one] if one.contains(what)), "{pointer}: {found:?}");
    }
    let lock = "[[package]]\nname = \"b\"\nversion = \"1.4.0\"\nsource = \"git+https://example.net/b\"\n";
    let found = check_lock(&rules, &lock.parse().unwrap());
    assert_eq!(found.len(), 3, "the source, the checksum, the ban: {found:?}");
}
