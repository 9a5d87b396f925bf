//! The same for `ZooKeeper`: sessions with ephemeral nodes, watches and writes through a planned and a kill roll, first of
//! clients that connect to the servers themselves, then of clients behind Evenkeel.

use testbed::zookeeper::{Course, Excuse, Load, Row, Through, ZooKeeperLibrary, breaches_of};
use testbed::{EnsembleSpec, Result, Roll, Sidecar, ZooKeeperVersion};

use super::display::Display;

const VERSION: ZooKeeperVersion = ZooKeeperVersion::V3_9_5;

/// What one kind of roll did to clients: directly, and behind Evenkeel.
struct Column {
    direct: Vec<Row>,
    behind: Vec<Row>,
}

/// A line of the table: its heading, and what it shows of a client.
type Line = (&'static str, fn(&Row) -> String);

const LINES: [Line; 7] = [
    ("disconnects", |row| row.sessions.disconnects.to_string()),
    ("sessions expired", |row| row.sessions.expired.to_string()),
    ("ephemeral nodes lost", |row| row.ephemerals.lost.len().to_string()),
    ("watches dropped, events missed", |row| (row.watches.dropped + row.watches.missed.len()).to_string()),
    ("writes refused", |row| row.writes.refused().to_string()),
    ("writes whose outcome is unknown", |row| row.writes.unknown().to_string()),
    ("longest pause of writes", |row| {
        let millis = row.writes.longest_pause_us / 1000;
        format!("{}.{:03} s", millis / 1000, millis % 1000)
    }),
];

/// Runs it and prints its table. Answers whether Evenkeel's column is clean.
pub(super) fn run(display: &Display) -> Result<bool> {
    let binary = Sidecar::binary()?;
    let mut columns = Vec::new();
    let mut breaches = Vec::new();
    for (name, how) in [("planned", Roll::Soft), ("kill", Roll::Hard)] {
        let mut load = Load::new(&[ZooKeeperLibrary::Kazoo, ZooKeeperLibrary::Java(VERSION)]);
        load.trees = false;
        let spec = EnsembleSpec::new(VERSION);
        let announced = how == Roll::Soft;
        let course = Course { spec, load, how, rolls: 1, announced, keys: "", excuse: Excuse::Nothing };
        display.say(&format!("ZooKeeper {VERSION}, three servers, {name} roll: clients that know them"));
        let direct = course.run(Through::Nothing, |_| {})?.rows;
        display.say(&format!(
            "the same behind Evenkeel{}",
            if announced { ", which is told of each stop" } else { "" }
        ));
        let behind = course.run(Through::Evenkeel(&binary), |_| {})?.rows;
        breaches.extend(breaches_of(&behind, 0));
        columns.push(Column { direct, behind });
    }
    print(&columns);
    for breach in &breaches {
        println!("NOT clean: {breach}");
    }
    Ok(breaches.is_empty())
}

fn print(columns: &[Column]) {
    println!("\n{:<52}{:^22}{:^22}", format!("ZooKeeper {VERSION}"), "planned roll", "kill roll");
    println!("{:<52}{:>11}{:>11}{:>11}{:>11}", "", "direct", "Evenkeel", "direct", "Evenkeel");
    let clients = columns.first().map_or(0, |column| column.direct.len());
    for client in 0..clients {
        for (heading, show) in LINES {
            let cells =
                columns.iter().flat_map(|column| [column.direct.get(client), column.behind.get(client)]);
            let cells: Vec<String> = cells.map(|row| row.map_or_else(String::new, show)).collect();
            let title =
                columns.first().and_then(|column| column.direct.get(client)).map_or("", |row| &row.title);
            print!("{:<52}", format!("{title}: {heading}"));
            for cell in cells {
                print!("{cell:>11}");
            }
            println!();
        }
    }
    println!();
}
