//! Disks that are full or slow.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::{Fault, Run, options};
use crate::kafka;
use crate::poll;
use crate::site::Options;
use crate::trial::{Engine, Trial};

/// The family.
pub const FAULTS: &[Fault] = &[
    Fault {
        name: "disk_full",
        rows: &["T9"],
        what: "the archive's disk of 128 MiB fills up, and later has space again: the archive goes on by itself",
        proof: "no space left, as the system says; the service says so too",
        run: full,
    },
    Fault {
        name: "disk_slow",
        rows: &["T8"],
        what: "every sync of a file takes 300 ms longer",
        proof: "syncs that strace delayed",
        run: slow,
    },
];

/// A small file system in memory; it goes with the value.
struct Small(TempDir);

impl Small {
    fn mount() -> Result<Self, String> {
        let dir = tempfile::Builder::new().prefix("auscult-disk-").tempdir().expect("temporary folder");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=128m", "tmpfs"]).arg(dir.path());
        let output = mount.output().expect("mount");
        let said = String::from_utf8_lossy(&output.stderr);
        if output.status.success() {
            Ok(Self(dir))
        } else {
            Err(format!("mounting a tmpfs needs root: {said}"))
        }
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    /// Takes all space that is left.
    fn fill(&self) -> PathBuf {
        let path = self.path().join("filler");
        let mut file = std::fs::OpenOptions::new().create(true).append(true).open(&path).expect("open");
        let block = vec![1; 4096];
        while std::io::Write::write_all(&mut file, &block).is_ok() {}
        path
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.path()).status();
    }
}

fn full(run: &mut Run) {
    let disk = match Small::mount() {
        Ok(disk) => disk,
        Err(why) => return run.report.not_run = Some(why),
    };
    let root = disk.path().join("archive");
    let mut trial = Trial::new(&kafka::shared(), &Options { archive: Some(&root), ..options() });
    let mut engine = Engine::new(&trial.site, "ward-1");
    engine.start();
    trial.send(run.load(25, 60), run.seed);
    let mut failed = 0;
    for _ in 0..run.pick(1, 3) {
        assert!(trial.flows(3, Duration::from_secs(60)), "nothing is told\n{}", engine.tail(20));
        let filler = disk.fill();
        let before = engine.log().matches("No space left").count();
        let said = poll(Duration::from_secs(40), || {
            disk.fill();
            (engine.log().matches("No space left").count() > before).then_some(())
        });
        failed += u64::from(said.is_some());
        run.report.expect(engine.alive(), || format!("a full disk ended the service: {}", engine.tail(3)));
        let unready = poll(Duration::from_secs(10), || (!engine.ready(Duration::ZERO)).then_some(()));
        run.report.expect(unready.is_some(), || "a full disk, and it says it is ready".into());
        run.report.expect(!trial.sending() || trial.flows(3, Duration::from_secs(20)), || {
            "nothing is told while the disk is full".into()
        });
        std::fs::remove_file(filler).expect("remove");
        let begun = Instant::now();
        let mended = engine.ready(Duration::from_secs(60));
        run.report.note(format!("space again: ready after {:.1?}", begun.elapsed()));
        run.report.expect(mended, || "there is space again, and the archive does not go on".into());
    }
    run.report.prove("times that no space was left", failed, run.pick(1, 3));
    trial.verdict(&mut [engine], &mut run.report);
}

fn slow(run: &mut Run) {
    let mut trial = Trial::new(&kafka::shared(), &options());
    let mut engine = Engine::new(&trial.site, "ward-1");
    let log = trial.site.folder().join("strace.log");
    let log_path = log.to_string_lossy().into_owned();
    let inject = "--inject=fsync,fdatasync:delay_exit=300000";
    engine.wrap(&["strace", "-D", "-f", "-qq", "-o", &log_path, "-e", "trace=fsync,fdatasync", inject]);
    engine.start();
    trial.send(run.load(15, 60), run.seed);
    let mut most = 0;
    while trial.sending() {
        most = most.max(engine.memory_mib());
        thread::sleep(Duration::from_millis(500));
    }
    let delayed = || {
        let text = std::fs::read_to_string(&log).unwrap_or_default();
        text.lines().filter(|l| l.contains("(DELAYED)")).count() as u64
    };
    run.report.prove("syncs delayed", delayed(), 20);
    run.report.note(format!("most memory seen: {most} MiB"));
    trial.drain(std::slice::from_mut(&mut engine), &mut run.report);
    let (code, took) = engine.stop();
    run.report.note(format!("SIGTERM: exit {code} after {took:.1?}"));
    run.report.expect(code == 0 && took <= Duration::from_secs(10), || "a slow disk holds up SIGTERM".into());
    engine.wrap(&[]);
    engine.start();
    trial.verdict(&mut [engine], &mut run.report);
}
