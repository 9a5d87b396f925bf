//! What client programs of other languages are made with: the machine's tools, Python environments, hashes of sources.
//! Everything that is made goes into the cache.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::{Error, Result, cache};

/// Whether a program of the machine is there; if not, `hint` says what to install.
pub fn needed(program: &str, hint: &str) -> Result<()> {
    match Command::new(program).arg(if program == "go" { "version" } else { "--version" }).output() {
        Ok(output) if output.status.success() => Ok(()),
        _ => Err(Error::Missing(format!("{program} is missing: {hint}"))),
    }
}

/// The folder of the client programs' sources, `tests/clients`.
pub fn client_sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../clients")
}

/// A hash of files: what changed is built anew.
pub fn hash(folder: &Path, files: &[&str]) -> Result<u64> {
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    for file in files {
        for byte in fs::read(folder.join(file)).map_err(Error::io(format!("reading {file}")))? {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
    Ok(hash)
}

/// The interpreter of a Python environment with one package, made on first use as the cache's entry `entry`.
pub fn python(entry: &str, requirement: &str) -> Result<PathBuf> {
    needed("python3", "apt-get install python3 python3-venv")?;
    // An environment has its own path inside, so it can't be made elsewhere and renamed: a mark says that it is whole.
    let folder = cache::folder()?.join(entry);
    cache::entry(&format!("{entry}-made"), |_| {
        eprintln!("testbed: fetching {requirement} (once)");
        let _ = fs::remove_dir_all(&folder);
        cache::run(Command::new("python3").args(["-m", "venv"]).arg(&folder))?;
        cache::run(
            Command::new(folder.join("bin/pip"))
                .args(["install", "--quiet", "--disable-pip-version-check"])
                .arg(requirement),
        )
        .map(drop)
    })?;
    Ok(folder.join("bin/python"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_named_with_what_installs_it() {
        let error = needed("no-such-program-here", "apt-get install it").unwrap_err().to_string();
        assert_eq!(error, "no-such-program-here is missing: apt-get install it");
        needed("cargo", "").unwrap();
    }
}
