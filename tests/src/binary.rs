//! The `auscult` binary under test, freshly built with the profile and into the target folder of the running test.
//! In: arguments. Out: a finished run (status, stdout, stderr) or a running process that dies with the test.
//! `AUSCULT_BIN` names a binary that was built elsewhere; then nothing is built.

use std::ffi::OsStr;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

use crate::process::{Running, Start};

/// The workspace root.
pub fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the tests crate lies in the workspace")
}

/// Path of the binary; the first call of a process builds it (cargo finds nothing to do when it is fresh).
pub fn auscult() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| match std::env::var_os("AUSCULT_BIN") {
        Some(path) => PathBuf::from(path),
        None => build(),
    })
}

fn build() -> PathBuf {
    let exe = std::env::current_exe().expect("path of the running test");
    // <target>/<profile>/deps/<test>; a doc test runs from elsewhere and then cargo's own choice of folder holds.
    let target = exe.ancestors().find(|dir| dir.join("CACHEDIR.TAG").is_file() || dir.ends_with("target"));
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(workspace()).stdin(Stdio::null());
    // The whole workspace is named so that features unify as in `cargo test --workspace` and nothing compiles twice.
    cargo.args(["build", "--workspace", "--bin", "auscult", "--locked"]);
    cargo.arg("--message-format=json-render-diagnostics");
    if !cfg!(debug_assertions) {
        cargo.arg("--release");
    }
    if let Some(target) = target {
        cargo.env("CARGO_TARGET_DIR", target);
    }
    let output = cargo.output().unwrap_or_else(|e| panic!("cannot run cargo to build auscult: {e}"));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "cannot build the auscult binary:\n{stderr}");
    executable(&String::from_utf8_lossy(&output.stdout))
        .unwrap_or_else(|| panic!("cargo built no executable `auscult`:\n{stderr}"))
}

fn executable(messages: &str) -> Option<PathBuf> {
    let parsed = messages.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let mut built = parsed.filter(|m| m["reason"] == "compiler-artifact" && m["target"]["name"] == "auscult");
    built.find_map(|m| m["executable"].as_str().map(PathBuf::from))
}

/// Runs the binary to its end.
pub fn run<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>) -> Output {
    finish(Command::new(auscult()).args(args), &[])
}

/// Starts the binary; its output goes to `auscult.out` and `auscult.err` (or another `name`) in `dir`.
pub fn spawn<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>, dir: &Path, name: &str) -> Running {
    Start::new(auscult()).args(args).spawn(dir, name)
}

/// Runs a command to its end with `input` on its standard input.
pub(crate) fn finish(command: &mut Command, input: &[u8]) -> Output {
    let shown = format!("{command:?}");
    let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = piped.spawn().unwrap_or_else(|e| panic!("cannot start {shown}: {e}"));
    let mut stdin = child.stdin.take().expect("standard input is a pipe");
    std::thread::scope(|scope| {
        // A child that ends without reading closes the pipe; its status says more than our write error.
        scope.spawn(move || drop(stdin.write_all(input)));
        child.wait_with_output().unwrap_or_else(|e| panic!("cannot wait for {shown}: {e}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn executable_is_found_among_messages() {
        let lib = r#"{"reason":"compiler-artifact","target":{"name":"auscult"},"executable":null}"#;
        let other = r#"{"reason":"compiler-artifact","target":{"name":"x"},"executable":"/t/x"}"#;
        let bin = r#"{"reason":"compiler-artifact","target":{"name":"auscult"},"executable":"/t/auscult"}"#;
        assert_eq!(executable(&[lib, other, "noise"].join("\n")), None);
        assert_eq!(executable(&[lib, other, bin].join("\n")), Some(PathBuf::from("/t/auscult")));
    }

    #[test]
    fn finish_feeds_and_reads() {
        let output = finish(&mut Command::new("cat"), b"through");
        assert_eq!(output.stdout, b"through");
    }
}
