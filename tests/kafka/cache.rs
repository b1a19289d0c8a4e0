//! The jars of a Kafka release: fetched once by Maven, as the machine has it set up, and kept outside of the build's
//! folders. A folder of the cache is there whole or not at all, however many processes fetch and whenever one dies.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::trouble::Trouble;

const POM: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/kafka/pom/pom.xml");

/// The folder with the jars of `version`.
pub(crate) fn jars(version: &str) -> Result<PathBuf, Trouble> {
    let pom = fs::read(POM).map_err(|e| format!("{POM}: {e}"))?;
    // Another list of jars is another folder, so that an older checkout and a newer one can share a cache.
    let whole = root()?.join(version).join(format!("{:08x}", crc32c::crc32c(&pom)));
    if whole.is_dir() {
        return Ok(whole);
    }
    let part = Part(whole.with_extension(format!("part-{:016x}", fastrand::u64(..))));
    eprintln!("fetching Kafka {version} into {}", whole.display());
    // Once more if it fails: a repository that answers one request badly is no reason to fail a whole run.
    fetch(version, &part.0).or_else(|_| fetch(version, &part.0))?;
    match fs::rename(&part.0, &whole) {
        Ok(()) => Ok(whole),
        Err(_) if whole.is_dir() => Ok(whole), // another process was faster
        Err(error) => {
            Err(format!("renaming {} to {}: {error}", part.0.display(), whole.display()).into())
        }
    }
}

fn root() -> Result<PathBuf, Trouble> {
    if let Some(folder) = std::env::var_os("MILENA_KAFKA_CACHE") {
        return Ok(folder.into());
    }
    let home = std::env::home_dir()
        .ok_or("no home folder: set MILENA_KAFKA_CACHE to one for Kafka's jars")?;
    Ok(home.join(".cache/milena/kafka"))
}

fn fetch(version: &str, folder: &Path) -> Result<(), Trouble> {
    fs::create_dir_all(folder).map_err(|e| format!("creating {}: {e}", folder.display()))?;
    // Told to update, Maven asks again for what it has once not found.
    let output = Command::new("mvn")
        .args([
            "--quiet",
            "--batch-mode",
            "--update-snapshots",
            "--file",
            POM,
            "dependency:copy-dependencies",
        ])
        .arg(format!("-Dkafka.version={version}"))
        .arg(format!("-DoutputDirectory={}", folder.display()))
        .stdin(Stdio::null())
        .output()
        .map_err(|e| format!("running mvn: {e}; tests against real Kafka need Maven"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stdout);
        return Err(
            format!("mvn could not fetch Kafka {version} ({}):\n{said}", output.status).into()
        );
    }
    let broker = folder.join(format!("kafka_2.13-{version}.jar"));
    if broker.is_file() {
        Ok(())
    } else {
        Err(format!("mvn fetched no {}", broker.display()).into())
    }
}

/// A folder that is being filled; what is left of it goes when it is dropped.
struct Part(PathBuf);

impl Drop for Part {
    fn drop(&mut self) {
        // It is not there any more when it was renamed.
        let _ = fs::remove_dir_all(&self.0);
    }
}
