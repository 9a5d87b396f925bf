//! The repository speaks of itself alone, in files of a size that can be read.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test says what it expects")]

use std::fs;
use std::path::{Path, PathBuf};

/// The aim is 400; a file that grows beyond this holds two ideas.
const LINES_MOST: usize = 450;

/// What a build, a run or an editor leaves behind.
const NOT_OURS: &[&str] = &["target", ".git", ".cache", "demo-out", "proptest-regressions", "__pycache__"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every file of the repository under `folder`, relative to the root.
fn files(folder: &Path, into: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        if NOT_OURS.iter().any(|name| entry.file_name() == *name) {
            continue;
        }
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            files(&entry.path(), into);
        } else if kind.is_file() && entry.path().extension().is_none_or(|extension| extension != "log") {
            into.push(entry.path().strip_prefix(root()).unwrap().to_owned());
        }
    }
}

fn repository() -> Vec<PathBuf> {
    let mut found = Vec::new();
    files(root(), &mut found);
    assert!(found.iter().any(|file| file == Path::new("src/lib.rs")), "{found:?}");
    found
}

fn is_code(file: &Path) -> bool {
    let kinds = ["rs", "java", "py", "sh"];
    file.extension().is_some_and(|extension| kinds.iter().any(|kind| extension == *kind))
}

/// Files with too many lines, of those that people write by hand.
fn too_long<'a>(files: impl Iterator<Item = (&'a Path, usize)>) -> Vec<String> {
    files
        .filter(|(file, lines)| is_code(file) && *lines > LINES_MOST)
        .map(|(file, lines)| format!("{}: {lines} lines, more than {LINES_MOST}", file.display()))
        .collect()
}

/// Paths of the machine that somebody worked on. Put together here, so that this file names none.
fn private_paths(text: &str) -> Vec<(usize, &str)> {
    let folders = [concat!("/ro", "ot/"), concat!("/wo", "rk/"), concat!("/ho", "me/")];
    text.lines()
        .enumerate()
        .filter(|(_, line)| folders.iter().any(|folder| starts_path(line, folder)))
        .map(|(at, line)| (at + 1, line))
        .collect()
}

/// Whether `folder` stands in the line as the beginning of a path, not as a part of a longer one.
fn starts_path(line: &str, folder: &str) -> bool {
    line.match_indices(folder).any(|(at, _)| {
        let before = line.get(..at).and_then(|before| before.chars().next_back());
        !before.is_some_and(|c| c.is_alphanumeric() || matches!(c, '.' | '_' | '-' | '}' | '*'))
    })
}

#[test]
fn no_file_of_code_is_too_long_to_read() {
    let lines: Vec<(PathBuf, usize)> = repository()
        .into_iter()
        .filter(|file| is_code(file))
        .map(|file| {
            let text = fs::read_to_string(root().join(&file)).unwrap();
            (file, text.lines().count())
        })
        .collect();
    let found = too_long(lines.iter().map(|(file, lines)| (file.as_path(), *lines)));
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn no_file_names_a_path_of_somebodys_machine() {
    let mut found = Vec::new();
    for file in repository() {
        // What isn't text has nothing to say.
        let Ok(text) = fs::read_to_string(root().join(&file)) else { continue };
        found.extend(
            private_paths(&text).iter().map(|(line, text)| format!("{}:{line}: {text}", file.display())),
        );
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

/// What stands in the code between the quotes of texts, spaces and escapes aside.
fn texts(code: &str) -> String {
    code.replace("\\\n", " ").split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The words of a member that can't be reached, as the documents have them, are those that are said.
#[test]
fn what_is_said_when_it_does_not_connect_is_said_by_the_code() {
    let document = fs::read_to_string(root().join("docs/security.md")).unwrap();
    let (_, part) = document.split_once("## When it does not connect").unwrap();
    let (part, _) = part.split_once("\n## ").unwrap();
    let rows: Vec<&str> =
        part.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next()).collect();
    assert!(rows.len() > 25, "{rows:#?}");
    let code = repository().into_iter().filter(|file| file.starts_with("src") && is_code(file));
    let code: Vec<String> = code.map(|file| texts(&fs::read_to_string(root().join(file)).unwrap())).collect();
    let unsaid = rows.iter().filter(|row| !code.iter().any(|text| text.contains(row.trim())));
    assert_eq!(unsaid.collect::<Vec<_>>(), Vec::<&&str>::new());
    let labels = part.lines().filter_map(|line| line.strip_prefix("| `")?.split('|').nth(1));
    for label in labels {
        let known = ["dns", "refused", "timeout", "tls", "sasl", "error", "wrong_node"];
        assert!(known.contains(&label.trim().trim_matches('`')), "{label}");
    }
}

#[test]
fn the_checks_find_what_they_are_for() {
    let long = [(Path::new("src/a.rs"), LINES_MOST + 1), (Path::new("src/b.rs"), LINES_MOST)];
    assert_eq!(too_long(long.into_iter()), ["src/a.rs: 451 lines, more than 450"]);
    assert!(too_long([(Path::new("src/kafka/wire/schema.txt"), 5000)].into_iter()).is_empty());
    let bad = format!("fine\nsee {}x.md\nframe{}y\n", concat!("/wo", "rk/"), concat!("/wo", "rk/"));
    assert_eq!(private_paths(&bad).iter().map(|(line, _)| *line).collect::<Vec<_>>(), [2]);
    assert_eq!(private_paths(&format!("HOME={}me/.cargo", concat!("/ro", "ot/"))).len(), 1);
}
