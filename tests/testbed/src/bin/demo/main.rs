//! The main job, for a person: three real brokers are rolled under a client with its retries switched off, directly and
//! through Evenkeel at the same time; then `ZooKeeper` servers under clients with ephemeral nodes and watches. A table of each; the exit
//! status says whether Evenkeel's columns are clean.
//!
//! `DEMO_ONLY=kafka` or `zookeeper` leaves the other out;
//! `DEMO_KAFKA=4.3.1` takes other brokers than 3.9.2; `DEMO_KEEP=1` leaves all running at the end; `DEMO_THROUGH=HOST:PORT`
//! lets the second column go there instead of to an Evenkeel started here.

mod display;
mod phase;
mod zookeeper;

use std::net::Ipv4Addr;
use std::process::ExitCode;
use std::time::Duration;

use testbed::sidecar::{free_addr, free_ports};
use testbed::{Cluster, Error, KafkaVersion, Result, Roll, Sidecar, Spec};

use display::Display;

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("demo: {error}");
            ExitCode::from(2)
        }
    }
}

fn run() -> Result<bool> {
    let only = std::env::var("DEMO_ONLY").unwrap_or_default();
    let mut clean = true;
    if only != "zookeeper" {
        clean &= kafka()?;
    }
    if only != "kafka" {
        clean &= zookeeper::run(&Display::new())?;
    }
    Ok(clean)
}

fn kafka() -> Result<bool> {
    let version: KafkaVersion = match std::env::var("DEMO_KAFKA") {
        Ok(text) => text.parse().map_err(Error::Missing)?,
        Err(_) => KafkaVersion::V3_9_2,
    };
    let display = Display::new();
    display.say(&format!("starting three Kafka {version} brokers (the first time, their jars are fetched)"));
    let mut cluster = Cluster::start(Spec::new(version))?;
    let direct = cluster.bootstrap();
    display.say(&format!("brokers serve at {direct}"));

    let (sidecar, through) = if let Ok(address) = std::env::var("DEMO_THROUGH") {
        (None, address)
    } else {
        let (sidecar, address) = start_sidecar(&direct)?;
        (Some(sidecar), address)
    };
    display.say(&format!("Evenkeel serves at {through}"));

    let mut columns = Vec::new();
    let mut clean = true;
    for (name, how) in [("planned", Roll::Soft), ("kill", Roll::Hard)] {
        let (plain, steady) = phase::run(name, how, &mut cluster, [&direct, &through], &display)?;
        clean &= steady.is_clean(how);
        columns.push((how, plain, steady));
    }
    display::table(version, &columns);
    if clean {
        println!("Evenkeel's column is clean.");
    } else {
        println!("Evenkeel's column is NOT clean.");
        if let Some(sidecar) = &sidecar {
            println!("Its log ends with:\n{}", sidecar.log_tail(20));
        }
    }
    if std::env::var("DEMO_KEEP").is_ok_and(|v| v == "1") {
        println!(
            "\nAll is left running. Point your own client at\n    {through}   through Evenkeel\n    {direct}   directly"
        );
        if let Some(sidecar) = &sidecar {
            println!(
                "    http://{}   Evenkeel's admin page; its log is {}",
                sidecar.admin(),
                sidecar.log().display()
            );
        }
        println!("The brokers' logs are in {}. Control-C ends it all.", cluster.folder().display());
        loop {
            std::thread::park();
        }
    }
    Ok(clean)
}

fn start_sidecar(bootstrap: &str) -> Result<(Sidecar, String)> {
    let listen = free_addr(Ipv4Addr::LOCALHOST)?;
    let first_port = free_ports(Ipv4Addr::LOCALHOST, 100)?;
    let section = Sidecar::kafka_section("demo", listen, bootstrap, first_port);
    let mut sidecar = Sidecar::start(&Sidecar::binary()?, &section)?;
    sidecar.wait_ready(Duration::from_secs(30))?;
    Ok((sidecar, listen.to_string()))
}
