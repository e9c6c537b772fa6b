//! Whoever reads a command's output may go: the command then ends as other Unix tools do, and never by a panic.
//! In: the real binary, its standard output a pipe that nobody reads, or a full device. Out: exit code 141, or 1 with
//! the reason; the watchdog goes on; on standard error nothing of a panic.

#![allow(clippy::unwrap_used, reason = "a test may stop")]

use std::fs::OpenOptions;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use auscult_tests::process::free_ports;
use auscult_tests::site::LIMIT;
use auscult_tests::{binary, poll};

/// Runs the binary with this as its standard output.
fn run(args: &[&str], out: impl Into<Stdio>) -> Output {
    let mut command = Command::new(binary::auscult());
    command.args(args).stdin(Stdio::null()).stdout(out).stderr(Stdio::piped());
    command.spawn().unwrap().wait_with_output().unwrap()
}

/// The write end of a pipe that nobody reads.
fn nobody() -> std::io::PipeWriter {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    writer
}

/// Commands that speak on standard output; each ends by itself, or would speak before anything else.
fn commands(folder: &Path) -> Vec<Vec<String>> {
    let path = |name: &str| folder.join(name).to_string_lossy().into_owned();
    std::fs::write(folder.join("c.toml"), "").unwrap();
    let samples = binary::workspace().join("datasets/samples");
    let bed = samples.join("bed_Signals.csv").to_string_lossy().into_owned();
    let port = free_ports(1)[0].to_string();
    let told = path("told");
    let lines = [
        "--version".into(),
        "--help".into(),
        "check --help".into(),
        "list".into(),
        "list operators --json".into(),
        "schema risk_event".into(),
        format!("schema --write {}", path("schemas")),
        "init".into(),
        format!("init {}", path("new.toml")),
        format!("check --offline -c {}", path("c.toml")),
        format!("replay {bed} --out {}", path("out")),
        format!("docs --write {}", path("docs")),
        format!("demo --beds 1 --for 30 --port {port}"),
        format!("demo --dir {told} --told"),
    ];
    lines.iter().map(|l: &String| l.split(' ').map(str::to_owned).collect()).collect()
}

/// A folder of which `demo --told` has something to tell.
fn ward(folder: &Path) {
    let ward = folder.join("told").to_string_lossy().into_owned();
    let port = free_ports(1)[0].to_string();
    let args = ["demo", "--dir", &ward, "--beds", "3", "--speed", "20", "--until", "70", "--port", &port];
    let output = binary::run(args);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn nobody_reads() {
    let folder = tempfile::tempdir().unwrap();
    ward(folder.path());
    for args in commands(folder.path()) {
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let output = run(&args, nobody());
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(141), "{args:?}: {said}");
        assert!(!said.contains("panicked") && !said.contains("error:"), "{args:?}: {said}");
    }
    // A replay speaks after its work.
    assert!(folder.path().join("out/scores.jsonl").metadata().unwrap().len() > 0);
}

/// A usage error is one whoever reads; what cannot be written for another reason is a failure, and is said.
#[test]
fn only_a_reader_that_has_gone_is_no_failure() {
    let output = run(&["lsit"], nobody());
    assert_eq!(output.status.code(), Some(2));
    let Ok(full) = OpenOptions::new().write(true).open("/dev/full") else { return };
    let output = run(&["list"], full);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("cannot write standard output") && !said.contains("panicked"), "{said}");
}

/// Whoever watches by the topic, the program or the metrics must not lose the watchdog because nobody reads its lines.
#[test]
fn the_watchdog_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    let brokers = format!("127.0.0.1:{}", free_ports(1)[0]);
    let mut command = Command::new(binary::auscult());
    command.args(["watch", "--brokers", &brokers]).stdin(Stdio::null()).stdout(nobody());
    let mut watchdog = command.stderr(std::fs::File::create(&log).unwrap()).spawn().unwrap();
    // It has something to say once it finds no broker there.
    let said = || std::fs::read_to_string(&log).unwrap().contains("the watch goes on");
    poll(LIMIT, || (said() || watchdog.try_wait().unwrap().is_some()).then_some(()));
    let goes_on = said() && watchdog.try_wait().unwrap().is_none();
    let told = Command::new("kill").args(["-TERM", &watchdog.id().to_string()]).status().unwrap();
    let code = watchdog.wait().unwrap().code();
    let log = std::fs::read_to_string(&log).unwrap();
    assert_eq!((goes_on, told.success(), code), (true, true, Some(0)), "{log}");
    assert!(!log.contains("panicked"), "{log}");
}
