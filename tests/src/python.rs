//! Third-party readers in Python (pyarrow, DuckDB, wfdb, scipy, confluent-kafka, onnxruntime): the checkers of
//! `tests/python/`. In: a script, arguments, standard input. Out: its status and output; the last line is JSON.
//! They run in a virtual environment of the cache, named by the hash of `requirements.txt`.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

use sha2::{Digest, Sha256};

use crate::{binary, cache};

const REQUIREMENTS: &str = include_str!("../python/requirements.txt");

/// The interpreter of the virtual environment; the first call creates it (some 600 MB of wheels).
pub fn interpreter() -> &'static Path {
    static FOUND: OnceLock<PathBuf> = OnceLock::new();
    FOUND.get_or_init(|| {
        let hash = Sha256::digest(REQUIREMENTS.as_bytes());
        let hash: String = hash.iter().take(6).map(|b| format!("{b:02x}")).collect();
        cache::folder(&format!("python-{hash}"), create).join("bin/python")
    })
}

fn create(aside: &Path) {
    step(
        Command::new("python3").args(["-m", "venv"]).arg(aside),
        "install Python 3.11 or later with venv (`apt-get install python3-venv`)",
    );
    let requirements = aside.join("requirements.txt");
    std::fs::write(&requirements, REQUIREMENTS).expect("write requirements.txt");
    // By `python -m pip`, never by `bin/pip`: its first line names the folder before it was renamed.
    let pip = ["-m", "pip", "install", "--quiet", "--no-input", "--only-binary", ":all:", "-r"];
    step(
        Command::new(aside.join("bin/python")).args(pip).arg(&requirements),
        "give pip access to a package index, or fill AUSCULT_CACHE on another machine",
    );
}

fn step(command: &mut Command, hint: &str) {
    let output = command.output().unwrap_or_else(|e| panic!("cannot run {command:?}: {e}; {hint}"));
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?} failed; {hint}\n{out}\n{err}");
}

/// Runs a script of `tests/python/` to its end, whatever its status.
pub fn run<S: AsRef<OsStr>>(script: &str, args: impl IntoIterator<Item = S>, input: &str) -> Output {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("python").join(script);
    assert!(path.is_file(), "no such script: {}", path.display());
    binary::finish(Command::new(interpreter()).arg("-B").arg(path).args(args), input.as_bytes())
}

/// Runs a script that must succeed; its findings, the JSON of the last line it printed.
pub fn check<S: AsRef<OsStr>>(script: &str, args: impl IntoIterator<Item = S>) -> serde_json::Value {
    let output = run(script, args, "");
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{script} found faults ({}):\n{out}\n{err}", output.status);
    let last = out.lines().last().unwrap_or_default();
    serde_json::from_str(last).unwrap_or_else(|e| panic!("{script} printed no JSON ({e}):\n{out}\n{err}"))
}
