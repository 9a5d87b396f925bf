//! Clients that connect to the servers themselves: what they see of a roll, and that nobody is lied to.

use testbed::zookeeper::{Course, Load, Row, Through, ZooKeeperLibrary, table};
use testbed::{EnsembleSpec, Roll, ZooKeeperVersion};

/// Without Evenkeel a roll is noticed; what writes were told is true all the same, and so is each event.
fn assert_honest_and_interrupted(rows: &[Row]) {
    let lies: Vec<String> = rows.iter().flat_map(Row::lies).collect();
    println!("{}", table(rows));
    for row in rows {
        for text in row.watches.missed.iter().chain(&row.watches.mistaken) {
            println!("{}: {text}", row.title);
        }
    }
    assert!(lies.is_empty(), "{lies:#?}\n{}", table(rows));
    for row in rows {
        assert!(
            row.sessions.disconnects > 0,
            "a roll that {} didn't notice is none\n{}",
            row.title,
            table(rows)
        );
        assert!(row.writes.done > 50 && row.watches.told > 10, "{}", table(rows));
        assert!(row.tree.as_ref().is_none_or(|tree| tree.due > 20), "{}", table(rows));
        assert!(row.stuck.is_empty(), "{}: {:?}\n{}", row.title, row.stuck, table(rows));
    }
}

fn rolled(version: ZooKeeperVersion, how: Roll) {
    let load = Load::new(&ZooKeeperLibrary::here(version, |text| println!("{text}")));
    let course = Course {
        spec: EnsembleSpec::new(version),
        load,
        how,
        rolls: 1,
        announced: false,
        keys: "",
        excuse: testbed::zookeeper::Excuse::Nothing,
    };
    assert_honest_and_interrupted(&course.run(Through::Nothing, |_| {}).unwrap().rows);
}

#[test]
fn clients_see_a_soft_roll_of_3_8() {
    rolled(ZooKeeperVersion::V3_8_6, Roll::Soft);
}

#[test]
fn clients_see_a_hard_roll_of_3_9() {
    rolled(ZooKeeperVersion::V3_9_5, Roll::Hard);
}
