//! The jars of the broker, from Maven Central into the cache, once per version.
//! In: `tests/kafka/pom.xml`. Out: the folder that holds them.
//! Needs java (17 or later) and, the first time, maven.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::cache;

const POM: &str = include_str!("../../kafka/pom.xml");
const INSTALL: &str = "install them: `apt-get install default-jdk-headless maven` (java 17 or later), \
                       or set AUSCULT_TEST_BROKERS to the address of a broker made for tests";

/// The folder of jars of the version that the pom names; fetched when it is not there.
pub(super) fn folder() -> PathBuf {
    require("java", "-version");
    let version = between(POM, "<kafka.version>", "</kafka.version>").expect("the pom names a kafka.version");
    cache::folder(&format!("kafka-{version}"), fetch)
}

fn fetch(aside: &Path) {
    require("mvn", "--version");
    let work = tempfile::tempdir().expect("temporary folder for maven");
    let pom = work.path().join("pom.xml");
    std::fs::write(&pom, POM).expect("write pom.xml");
    let mut mvn = Command::new("mvn");
    mvn.args(["-q", "-B", "-f"]).arg(&pom).args(["dependency:copy-dependencies", "-DincludeScope=runtime"]);
    mvn.arg(format!("-DoutputDirectory={}", aside.display()));
    let output = mvn.output().unwrap_or_else(|e| panic!("cannot run mvn: {e}"));
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "maven cannot fetch the jars of Apache Kafka:\n{said}");
}

fn require(program: &str, version: &str) {
    let works = Command::new(program).arg(version).output().is_ok_and(|output| output.status.success());
    assert!(works, "`{program}` is needed to run a real Kafka broker and does not work here; {INSTALL}");
}

fn between<'a>(text: &'a str, before: &str, after: &str) -> Option<&'a str> {
    text.split_once(before)?.1.split_once(after).map(|(found, _)| found.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pom_names_a_version() {
        let version = between(POM, "<kafka.version>", "</kafka.version>").expect("version");
        assert!(version.starts_with("4."), "{version}");
    }
}
