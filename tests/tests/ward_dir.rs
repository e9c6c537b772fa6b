//! `auscult demo --dir`: a ward killed at every named point, at random, and by a full disk tells what an unbroken ward
//! tells.
//! In: the real binary, failpoints, SIGKILL, a small tmpfs. Out: the same lines, each once.

#![allow(clippy::unwrap_used, reason = "a test may stop")]

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use auscult_tests::process::{Running, Start, free_ports, random_bytes};
use auscult_tests::{binary, poll};

const LIMIT: Duration = Duration::from_secs(180);
const UNTIL: &str = "90";
const SMALL: &str = "48";

/// With small segments some are written anew; with large ones a small disk is soon full.
fn start(dir: &Path, ward: &Path, faults: &str, segment_kb: &str) -> Running {
    let port = free_ports(1)[0].to_string();
    let ward = ward.to_string_lossy();
    let args = [
        "demo",
        "--dir",
        &ward,
        "--beds",
        "5",
        "--speed",
        "20",
        "--until",
        UNTIL,
        "--port",
        &port,
        "--start",
        "2026-01-31T12:00:00Z",
        "--segment-kb",
        segment_kb,
    ];
    let start = Start::new(binary::auscult()).args(args).env("AUSCULT_FAILPOINTS", faults);
    start.env("AUSCULT_FAILPOINTS_LOG", dir.join("faults")).spawn(dir, "demo")
}

fn told(ward: &Path) -> Vec<String> {
    let output = binary::run(["demo", "--dir", &ward.to_string_lossy(), "--told"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

fn expected() -> Vec<String> {
    let dir = tempfile::tempdir().unwrap();
    let ward = dir.path().join("ward");
    let mut unbroken = start(dir.path(), &ward, "", SMALL);
    assert_eq!(unbroken.wait(LIMIT), 0, "{}", unbroken.tail(20));
    let told = told(&ward);
    assert!(told.len() > 20, "the ward tells little: {}", told.len());
    told
}

fn assert_same(found: &[String], expected: &[String]) {
    let differs = found.iter().zip(expected).position(|(a, b)| a != b);
    assert_eq!((differs, found.len()), (None, expected.len()));
}

#[test]
fn killed_anywhere_the_ward_goes_on_exactly() {
    let expected = expected();
    let dir = tempfile::tempdir().unwrap();
    let ward = dir.path().join("ward");
    // The first three die while they note which ward it is, the others while they write, compact and restore.
    let points = [
        "state_written=abort@1",
        "state_synced=abort@1",
        "state_renamed=abort@1",
        "state_written=abort@9",
        "state_synced=abort@7",
        "after_commit=abort@8",
        "in_snapshot=abort@3",
        // While a segment is written anew.
        "state_renamed=abort@1",
        "in_restore=abort@2",
        "in_catch_up=abort@1",
    ];
    for point in points {
        let mut running = start(dir.path(), &ward, point, SMALL);
        let code = running.wait(LIMIT);
        // A ward that has come to its end before its point is no use as a test; one that ends well shows it.
        assert_eq!(code, 128 + 6, "{point}\n{}", running.tail(20));
    }
    let faults = std::fs::read_to_string(dir.path().join("faults")).unwrap();
    assert_eq!(faults.lines().count(), points.len(), "{faults}");
    // And at any time.
    for _ in 0..4 {
        let mut running = start(dir.path(), &ward, "", SMALL);
        running.wait_for_line("dashboard", LIMIT);
        std::thread::sleep(Duration::from_millis(u64::from(random_bytes()[0]) * 4));
        running.kill();
    }
    let mut last = start(dir.path(), &ward, "", SMALL);
    assert_eq!(last.wait(LIMIT), 0, "{}", last.tail(20));
    assert_same(&told(&ward), &expected);

    // Another ward cannot go on with it.
    let port = free_ports(1)[0].to_string();
    let other =
        binary::run(["demo", "--dir", &ward.to_string_lossy(), "--beds", "6", "--port", &port, "--for", "1"]);
    assert_eq!(other.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&other.stderr).contains("5 beds"));
}

/// A small disk in memory; unmounted at the end. `None` where that is not allowed.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn mount(size: &str) -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let options = format!("size={size}");
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(dir.path()).output();
        mounted.is_ok_and(|m| m.status.success()).then(|| Self(dir))
    }

    fn grow(&self, size: &str) {
        let options = format!("remount,size={size}");
        let grown = Command::new("mount").args(["-o", &options]).arg(self.0.path()).status().unwrap();
        assert!(grown.success());
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0.path()).status();
    }
}

#[test]
fn a_full_disk_keeps_what_is_committed() {
    let Some(disk) = SmallDisk::mount("1m") else {
        println!("a_full_disk_keeps_what_is_committed: not run, a file system cannot be mounted here");
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let ward = disk.0.path().join("ward");
    let mut full = start(dir.path(), &ward, "", "4096");
    assert_eq!(full.wait(LIMIT), 1, "{}", full.tail(20));
    assert!(full.stderr().contains("what was committed before is kept"), "{}", full.tail(20));
    let kept = told(&ward);
    let expected = expected();
    assert!(!kept.is_empty() && kept.len() < expected.len(), "{} lines", kept.len());
    assert_same(&kept, &expected[..kept.len()]);
    disk.grow("256m");
    let mut last = start(dir.path(), &ward, "", "4096");
    assert_eq!(last.wait(LIMIT), 0, "{}", last.tail(20));
    assert_same(&told(&ward), &expected);
    let left = poll(Duration::from_secs(1), || (!ward.join("ward.aside").exists()).then_some(()));
    assert!(left.is_some());
}
