//! Class-data archives: what a broker's JVM has learnt about its classes, kept in the cache.
//!
//! A broker's start is mostly class loading. One broker of each version is started once only to write the archive; all
//! later ones start in about half the processor time, which decides how long a roll takes on a small machine. A JVM
//! that an archive doesn't fit ignores it by itself.

use std::fs;
use std::process::Command;
use std::time::Duration;

use super::CLIENT_PORT;
use super::properties::{self, Place};
use super::spec::{KafkaVersion, Spec};
use crate::claim::Claim;
use crate::process::Server;
use crate::{Error, Result, cache, helper, wait};

/// The JVM option that names the archive of a version; none in `ZooKeeper` mode, which is seldom used.
pub(super) fn option(version: KafkaVersion) -> Result<Option<String>> {
    if version.uses_zookeeper() {
        return Ok(None);
    }
    let jars = version.jars();
    let folder = cache::entry(&format!("{}-archive", jars.name), |fresh| {
        let claim = Claim::take()?;
        let (fixed, data) = ([claim.ip(101)], claim.folder().join("data-1"));
        let quorum = [(1, claim.ip(101))];
        let place = Place {
            id: 1,
            version,
            client: claim.ip(1),
            fixed: &fixed,
            quorum: &quorum,
            data: &data,
            own: &[],
        };
        let seed = std::process::id();
        properties::format(version, &properties::uuid(seed, 0), 1, seed, &data)?;
        let settings = claim.folder().join("kafka.properties");
        fs::write(&settings, properties::server(&Spec::new(version).nodes(1), &place))
            .map_err(Error::io("writing broker settings"))?;
        let mut command = Command::new("java");
        command
            .args(helper::JVM)
            .args(["-Xmx256m", "-Xms64m", &properties::logging(version, claim.folder())?])
            .arg(format!("-XX:ArchiveClassesAtExit={}", fresh.join("classes.jsa").display()))
            .args(["-cp", &jars.class_path()?, "kafka.Kafka"])
            .arg(&settings);
        let log = claim.folder().join("kafka.log");
        let mut server = Server::spawn("a broker that trains its JVM", command, &log, Some(&claim))?;
        wait::poll("a broker", Duration::from_secs(90), Duration::from_millis(50), || {
            server.check()?;
            Ok(wait::accepts((place.client, CLIENT_PORT).into()).then_some(()))
        })?;
        // What it archived is written at its end.
        server.stop(Duration::from_secs(120)).map(drop)
    })?;
    let archive = folder.join("classes.jsa");
    Ok(archive.is_file().then(|| format!("-XX:SharedArchiveFile={}", archive.display())))
}
