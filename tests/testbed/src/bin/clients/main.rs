//! The client matrix: many libraries write and read through rolls of all brokers, directly and through Evenkeel, and what
//! each saw becomes a row of `docs/clients.md`.
//!
//! `--list` names the groups that share a roll; `--only GROUP`, `--client NAME` and `--kafka VERSION` (each again for more)
//! pick some. The exit
//! status is 1 when a client behind Evenkeel saw what the product promises to spare it.

mod document;
mod library;
mod run;

use std::process::ExitCode;
use std::time::Instant;

use library::{GROUPS, Group, Row};
use run::{Cell, Seen, Via};
use testbed::{KafkaVersion, Result, Roll, Sidecar};

/// The versions of Kafka that have tables.
const VERSIONS: [KafkaVersion; 2] = [KafkaVersion::V3_9_2, KafkaVersion::V4_3_1];

fn main() -> ExitCode {
    let (mut only, mut versions, mut clients) = (Vec::new(), Vec::new(), Vec::new());
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        match (word.as_str(), words.next()) {
            ("--list", None) => {
                for group in &GROUPS {
                    let rows: Vec<String> = group
                        .rows
                        .iter()
                        .map(|row| format!("{} ({})", row.client(), row.settings()))
                        .collect();
                    println!("{:24} {}", group.name, rows.join("; "));
                }
                return ExitCode::SUCCESS;
            }
            ("--only", Some(name)) if GROUPS.iter().any(|group| group.name == name) => only.push(name),
            ("--kafka", Some(version)) if VERSIONS.iter().any(|v| v.as_str() == version) => {
                versions.extend(VERSIONS.iter().copied().filter(|v| v.as_str() == version));
            }
            ("--client", Some(name)) => clients.push(name.to_lowercase()),
            _ => {
                eprintln!(
                    "clients: --list, --only GROUP, --client NAME, --kafka 3.9.2 or 4.3.1 (each again for more); groups are those of --list"
                );
                return ExitCode::from(2);
            }
        }
    }
    if versions.is_empty() {
        versions = VERSIONS.to_vec();
    }
    let groups: Vec<&Group> =
        GROUPS.iter().filter(|g| only.is_empty() || only.iter().any(|name| name == g.name)).collect();
    match run(&groups, &clients, &versions) {
        Ok(0) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("clients: {error}");
            ExitCode::from(2)
        }
    }
}

/// Runs groups on versions; gives the number of broken promises.
fn run(groups: &[&Group], clients: &[String], versions: &[KafkaVersion]) -> Result<usize> {
    let binary = Sidecar::binary()?;
    let start = Instant::now();
    let say = |text: &str| println!("[{:6.1} s] {text}", start.elapsed().as_secs_f64());
    let mut broken = 0;
    for &version in versions {
        for group in groups {
            let wanted = |row: &&Row| {
                clients.is_empty() || clients.iter().any(|name| row.client().to_lowercase().starts_with(name))
            };
            let rows: Vec<Row> = group.rows.iter().filter(wanted).copied().collect();
            if rows.is_empty() {
                continue;
            }
            say(&format!("Kafka {version}, {}", group.name));
            let found = run::run(&binary, version, &rows, &say)?;
            for (how, cells) in [Roll::Soft, Roll::Hard].into_iter().zip(found) {
                println!("\nKafka {version}, {how:?}");
                for cell in &cells {
                    println!("{}", document::row(cell, ""));
                    for breach in breaches(cell, how) {
                        println!("  broken: {breach}");
                        broken += 1;
                    }
                }
                document::record(version, how, &cells)?;
            }
        }
    }
    say(&format!("{broken} broken promises"));
    Ok(broken)
}

/// What a client behind Evenkeel must not see. After a kill errors are told truthfully, and shown in the table.
fn breaches(cell: &Cell, how: Roll) -> Vec<String> {
    let (Via::Evenkeel, Ok(Seen { producer, consumer, stuck })) = (cell.via, &cell.seen) else {
        return Vec::new();
    };
    // Who asks for no acknowledgement is told nothing, by anybody, and nobody can repeat anything for it.
    let of_acknowledged = |count: usize| if cell.row.acks == "0" { 0 } else { count };
    let always = [
        ("acknowledged records lost", of_acknowledged(producer.lost.len())),
        ("records repeated", producer.repeated.len()),
        ("records out of order", of_acknowledged(producer.reordered.len())),
        ("records that nobody sent", producer.foreign),
        ("records that the consumer missed", consumer.missed.len()),
        ("records delivered from nowhere", consumer.foreign),
        ("records delivered backwards", consumer.backwards),
        ("clients that did not end", stuck.len()),
    ];
    let planned = [
        ("errors", producer.errors),
        ("records delivered twice", consumer.twice.len()),
        ("rebalances", consumer.rebalances),
        ("errors of the consumer", consumer.errors.len()),
    ];
    let counts = always.iter().chain(if how == Roll::Soft { &planned[..] } else { &[] });
    counts.filter(|(_, count)| *count > 0).map(|(what, count)| format!("{count} {what}")).collect()
}
