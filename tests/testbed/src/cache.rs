//! The cache of what is fetched once: jar sets from Maven, compiled helpers, Python environments.
//!
//! It lives in `$TESTBED_CACHE`, else `~/.cache/evenkeel`; never inside the repository. Every entry is made in a
//! temporary folder and renamed, under a lock, so that parallel tests neither fetch twice nor see half an entry.

use std::fmt::Write as _;
use std::fs::{self, File, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::fs::{FlockOperation, flock};

use crate::{Error, Result};

/// A set of jars: a product at a version with all that it needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JarSet {
    /// Its folder in the cache.
    pub name: &'static str,
    /// The roots, as `group:artifact:version`.
    roots: &'static [&'static str],
    /// Jars that are taken without what they depend on: their parent pom is not in Maven's index, so Maven can't tell.
    bare: &'static [&'static str],
}

/// Kafka servers, 2.8.2 (with the `ZooKeeper` server that its release needs).
pub const KAFKA_2_8_2: JarSet = JarSet {
    name: "kafka-2.8.2",
    roots: &["org.apache.kafka:kafka_2.13:2.8.2", "org.slf4j:slf4j-reload4j:1.7.36"],
    bare: &[],
};
/// Kafka servers, 3.9.2.
pub const KAFKA_3_9_2: JarSet = JarSet {
    name: "kafka-3.9.2",
    roots: &[
        "org.apache.kafka:kafka_2.13:3.9.2",
        "org.apache.kafka:kafka-tools:3.9.2",
        "org.slf4j:slf4j-reload4j:1.7.36",
    ],
    bare: &[],
};
/// Kafka servers, 4.3.1.
pub const KAFKA_4_3_1: JarSet = JarSet {
    name: "kafka-4.3.1",
    roots: &[
        "org.apache.kafka:kafka_2.13:4.3.1",
        "org.apache.kafka:kafka-tools:4.3.1",
        "org.apache.logging.log4j:log4j-slf4j-impl:2.25.4",
    ],
    bare: &[],
};
/// The Java client library 3.9.2, for the client programs.
pub const CLIENTS_3_9_2: JarSet = JarSet {
    name: "kafka-clients-3.9.2",
    roots: &["org.apache.kafka:kafka-clients:3.9.2", "org.slf4j:slf4j-simple:1.7.36"],
    bare: &[],
};
/// The Java client library 4.3.1, for the client programs.
pub const CLIENTS_4_3_1: JarSet = JarSet {
    name: "kafka-clients-4.3.1",
    roots: &["org.apache.kafka:kafka-clients:4.3.1", "org.slf4j:slf4j-simple:1.7.36"],
    bare: &[],
};
/// `ZooKeeper` servers, 3.8.6. Their pom leaves the metrics and snappy libraries to whoever runs them.
pub const ZOOKEEPER_3_8_6: JarSet = JarSet {
    name: "zookeeper-3.8.6",
    roots: &[
        "org.apache.zookeeper:zookeeper:3.8.6",
        "io.dropwizard.metrics:metrics-core:4.1.12.1",
        "org.xerial.snappy:snappy-java:1.1.10.5",
    ],
    bare: &[],
};
/// `ZooKeeper` servers, 3.9.5. Here a logging back end is missing as well.
pub const ZOOKEEPER_3_9_5: JarSet = JarSet {
    name: "zookeeper-3.9.5",
    roots: &[
        "org.apache.zookeeper:zookeeper:3.9.5",
        "io.dropwizard.metrics:metrics-core:4.1.12.1",
        "org.xerial.snappy:snappy-java:1.1.10.5",
        "ch.qos.logback:logback-classic:1.3.15",
    ],
    bare: &[],
};
/// What `ZooKeeper` 3.8.6 and 3.9.5 need besides their own two jars, without the native libraries of other platforms.
const ZOOKEEPER_NEEDS: &[&str] = &[
    "org.apache.yetus:audience-annotations:0.12.0",
    "commons-io:commons-io:2.17.0",
    "io.netty:netty-handler:4.1.130.Final",
    "io.netty:netty-transport-native-epoll:4.1.130.Final",
    "org.slf4j:slf4j-api:2.0.13",
    "ch.qos.logback:logback-classic:1.3.15",
    "io.dropwizard.metrics:metrics-core:4.1.12.1",
    "org.xerial.snappy:snappy-java:1.1.10.5",
];
/// `ZooKeeper` servers, 3.8.7.
pub const ZOOKEEPER_3_8_7: JarSet = JarSet {
    name: "zookeeper-3.8.7",
    roots: ZOOKEEPER_NEEDS,
    bare: &["org.apache.zookeeper:zookeeper:3.8.7", "org.apache.zookeeper:zookeeper-jute:3.8.7"],
};
/// `ZooKeeper` servers, 3.9.6.
pub const ZOOKEEPER_3_9_6: JarSet = JarSet {
    name: "zookeeper-3.9.6",
    roots: ZOOKEEPER_NEEDS,
    bare: &["org.apache.zookeeper:zookeeper:3.9.6", "org.apache.zookeeper:zookeeper-jute:3.9.6"],
};
/// Curator's recipes, with the client library that it is built for and the servers' logging.
pub const CURATOR_5_9_0: JarSet = JarSet {
    name: "curator-5.9.0",
    roots: &["org.apache.curator:curator-recipes:5.9.0", "ch.qos.logback:logback-classic:1.3.15"],
    bare: &[],
};

/// Everything that the tests and the demo fetch.
pub const ALL: [JarSet; 10] = [
    KAFKA_2_8_2,
    KAFKA_3_9_2,
    KAFKA_4_3_1,
    CLIENTS_3_9_2,
    CLIENTS_4_3_1,
    ZOOKEEPER_3_8_6,
    ZOOKEEPER_3_8_7,
    ZOOKEEPER_3_9_5,
    ZOOKEEPER_3_9_6,
    CURATOR_5_9_0,
];

/// The cache's folder.
pub fn folder() -> Result<PathBuf> {
    if let Some(set) = std::env::var_os("TESTBED_CACHE").filter(|v| !v.is_empty()) {
        return Ok(PathBuf::from(set));
    }
    std::env::var_os("HOME")
        .filter(|v| !v.is_empty())
        .map(|home| PathBuf::from(home).join(".cache/evenkeel"))
        .ok_or_else(|| {
            Error::Missing(
                "neither TESTBED_CACHE nor HOME is set: nowhere to keep the servers' jars".to_owned(),
            )
        })
}

/// The entry `name` of the cache; `make` fills the (empty) folder that it is given if the entry isn't there yet.
pub fn entry(name: &str, make: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
    let cache = folder()?;
    let wanted = cache.join(name);
    if wanted.is_dir() {
        return Ok(wanted);
    }
    fs::create_dir_all(&cache).map_err(Error::io(format!("creating {}", cache.display())))?;
    let lock_path = cache.join(format!("{name}.lock"));
    let lock: File = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&lock_path)
        .map_err(Error::io(format!("opening {}", lock_path.display())))?;
    flock(&lock, FlockOperation::LockExclusive).map_err(|e| Error::program(name, format!("lock: {e}")))?;
    if wanted.is_dir() {
        return Ok(wanted);
    }
    let fresh = cache.join(format!("{name}.part"));
    let _ = fs::remove_dir_all(&fresh);
    fs::create_dir_all(&fresh).map_err(Error::io(format!("creating {}", fresh.display())))?;
    make(&fresh)?;
    fs::rename(&fresh, &wanted).map_err(Error::io(format!("renaming {}", fresh.display())))?;
    Ok(wanted)
}

impl JarSet {
    /// The folder with the jars, fetched with Maven if need be.
    pub fn fetch(self) -> Result<PathBuf> {
        entry(self.name, |fresh| {
            eprintln!("testbed: fetching {} (once)", self.name);
            // The pom stays outside the entry: what a class path takes in is jars only.
            let project = fresh.with_extension("pom");
            fs::create_dir_all(&project).map_err(Error::io("creating a Maven project"))?;
            let pom = project.join("pom.xml");
            fs::write(&pom, self.pom()).map_err(Error::io("writing a pom"))?;
            run(Command::new("mvn")
                .args(["-q", "-B", "-f"])
                .arg(&pom)
                .args(["dependency:copy-dependencies", "-DincludeScope=runtime"])
                .arg(format!("-DoutputDirectory={}", fresh.display())))?;
            for jar in self.bare {
                run(Command::new("mvn")
                    .args(["-q", "-B", "dependency:copy"])
                    .arg(format!("-Dartifact={jar}"))
                    .arg(format!("-DoutputDirectory={}", fresh.display()))
                    .current_dir(&project))?;
            }
            let _ = fs::remove_dir_all(&project);
            Ok(())
        })
    }

    /// A class path of all its jars.
    pub fn class_path(self) -> Result<String> {
        Ok(format!("{}/*", self.fetch()?.display()))
    }

    fn pom(self) -> String {
        let mut text = String::from(
            "<project xmlns=\"http://maven.apache.org/POM/4.0.0\">\n<modelVersion>4.0.0</modelVersion>\n\
             <groupId>evenkeel</groupId>\n<artifactId>fetch</artifactId>\n<version>1</version>\n\
             <packaging>pom</packaging>\n<dependencies>\n",
        );
        for root in self.roots {
            let mut parts = root.split(':');
            let (group, artifact, version) =
                (parts.next().unwrap_or(""), parts.next().unwrap_or(""), parts.next().unwrap_or(""));
            let _ = writeln!(
                text,
                "<dependency><groupId>{group}</groupId><artifactId>{artifact}</artifactId>\
                 <version>{version}</version></dependency>"
            );
        }
        text.push_str("</dependencies>\n</project>\n");
        text
    }
}

/// Runs a command to its end; an error carries what it printed.
pub fn run(command: &mut Command) -> Result<String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.output().map_err(|source| {
        if source.kind() == std::io::ErrorKind::NotFound {
            Error::Missing(format!("{program} is not installed: run tests/setup.sh"))
        } else {
            Error::Io { what: format!("running {program}"), source }
        }
    })?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(text);
    }
    let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
    Err(Error::program(program, format!("{}\n{text}\n{complaint}", output.status)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pom_names_every_root() {
        let pom = KAFKA_3_9_2.pom();
        assert!(pom.contains("<artifactId>kafka_2.13</artifactId><version>3.9.2</version>"));
        assert!(pom.contains("<artifactId>slf4j-reload4j</artifactId>"));
    }

    #[test]
    fn a_failed_command_says_what_it_printed() {
        let error = run(Command::new("sh").args(["-c", "echo no luck >&2; exit 3"])).unwrap_err();
        assert!(error.to_string().contains("no luck"));
    }
}
