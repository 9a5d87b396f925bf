//! The Java client programs of `tests/testbed/java`, compiled once into the cache, and the JVM options of everything
//! that runs here.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::cache::{self, CLIENTS_3_9_2, CLIENTS_4_3_1, JarSet};
use crate::{Error, Result};

/// The programs' sources, carried inside this crate so that they work from any folder.
const SOURCES: [(&str, &str); 5] = [
    ("Bed.java", include_str!("../java/Bed.java")),
    ("AdminLoop.java", include_str!("../java/AdminLoop.java")),
    ("ProduceJob.java", include_str!("../java/ProduceJob.java")),
    ("CopyJob.java", include_str!("../java/CopyJob.java")),
    ("ConsumeJob.java", include_str!("../java/ConsumeJob.java")),
];

/// Those that need a newer library than the others.
const NEWER: [(&str, &str); 1] = [("ShareJob.java", include_str!("../java/ShareJob.java"))];

/// Small heaps, one compiler tier, no shared performance files: for many short-lived JVMs on a small machine.
pub(crate) const JVM: [&str; 4] =
    ["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:-UsePerfData", "-Djava.net.preferIPv4Stack=true"];

/// The folder with the compiled programs.
pub fn compiled() -> Result<PathBuf> {
    // A changed source is another entry: no stale class is ever run.
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    for byte in SOURCES.iter().chain(&NEWER).flat_map(|(_, text)| text.bytes()) {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    cache::entry(&format!("helper-{hash:016x}"), |fresh| {
        compile(&SOURCES, &CLIENTS_3_9_2.class_path()?, fresh)?;
        compile(&NEWER, &format!("{}:{}", fresh.display(), CLIENTS_4_3_1.class_path()?), fresh)
    })
}

fn compile(sources: &[(&str, &str)], class_path: &str, into: &Path) -> Result<()> {
    let mut javac = Command::new("javac");
    javac.args(["-nowarn", "--release", "17", "-cp", class_path, "-d"]).arg(into);
    let folder = into.with_extension("src");
    fs::create_dir_all(&folder).map_err(Error::io("creating a source folder"))?;
    for (name, text) in sources {
        let path = folder.join(name);
        fs::write(&path, text).map_err(Error::io("writing a source"))?;
        javac.arg(path);
    }
    cache::run(&mut javac)?;
    let _ = fs::remove_dir_all(&folder);
    Ok(())
}

/// A command that runs the program `job` with the client library `jars`.
pub fn command(job: &str, jars: JarSet) -> Result<Command> {
    let mut command = Command::new("java");
    command
        .args(JVM)
        .args(["-Xmx192m", "-Dorg.slf4j.simpleLogger.defaultLogLevel=error", "-cp"])
        .arg(format!("{}:{}", compiled()?.display(), jars.class_path()?))
        .args(["Bed", job]);
    Ok(command)
}
