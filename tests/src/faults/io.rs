//! The Nth call of the service to the file system fails, or kills it: once, and from then on.

use std::path::Path;
use std::time::Duration;

use super::{Fault, Run, options};
use crate::kafka;
use crate::poll;
use crate::trial::{Engine, Trial};

/// The family.
pub const FAULTS: &[Fault] = &[Fault {
    name: "nth_io",
    rows: &["T13"],
    what: "the Nth sync, rename or write fails with EIO or ENOSPC, or is answered by SIGKILL, for rising N",
    proof: "calls into which strace put a fault",
    run: nth,
}];

/// Calls, and what befalls them. `write` is also how logs are written, so that its N says little; and how threads are
/// woken, where the system never says that there is no space: a disk without any is the fault `disk_full`. What is
/// removed are the leavings of the run before, a dozen files at most: there N does not rise.
const WAYS: &[(&str, &str, &str)] = &[
    ("fsync", "signal=SIGKILL", ""),
    ("rename", "signal=SIGKILL", ""),
    ("fsync", "error=EIO", ""),
    ("rename", "error=EIO", ""),
    ("rename", "error=ENOSPC", "+"),
    ("fsync", "error=ENOSPC", "+"),
    ("write", "error=EINTR", ""),
    ("unlink", "error=EIO", ""),
];

fn struck(log: &Path) -> usize {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    text.lines().filter(|l| l.contains("(INJECTED)") || l.contains("SIGKILL")).count()
}

fn nth(run: &mut Run) {
    let (ways, steps) = run.pick((&WAYS[..4], 1), (WAYS, 6));
    let mut trial = Trial::new(&kafka::shared(), &options());
    let mut engine = Engine::new(&trial.site, "ward-1");
    let log = trial.site.folder().join("strace.log");
    let log_path = log.to_string_lossy().into_owned();
    trial.send(run.load(60, 240), run.seed);
    let (mut planned, mut done) = (0, 0);
    for step in 0..steps {
        for (call, how, more) in ways {
            let risen = if *call == "unlink" { 0 } else { step * 3 };
            let n = 1 + risen + run.draw.below(3);
            let inject = format!("--inject={call}:{how}:when={n}{more}");
            let trace = format!("trace={call}");
            let _ = std::fs::remove_file(&log);
            engine.wrap(&["strace", "-D", "-f", "-qq", "-o", &log_path, "-e", &trace, &inject]);
            engine.launch();
            planned += 1;
            let hit = poll(Duration::from_secs(60), || (struck(&log) > 0).then_some(()));
            done += u64::from(hit.is_some());
            run.report.expect(hit.is_some(), || format!("{inject}: not reached"));
            if engine.ended(Duration::from_secs(1)).is_none() {
                let (code, _) = engine.stop();
                run.report.expect(code < 128, || format!("{inject}: ended with {code}\n{}", engine.tail(5)));
            }
        }
    }
    engine.wrap(&[]);
    engine.kill();
    engine.start();
    run.report.prove("calls that failed", done, planned);
    trial.verdict(&mut [engine], &mut run.report);
}
