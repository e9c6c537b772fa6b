//! SIGKILL at any moment: in full work, at its start, while it catches up.

use std::thread;
use std::time::Instant;

use super::{Fault, Run, options};
use crate::kafka;
use crate::site::LIMIT;
use crate::trial::{Engine, Trial, between};

/// The family.
pub const FAULTS: &[Fault] = &[Fault {
    name: "kills",
    rows: &["T1"],
    what: "the service is killed by SIGKILL at random moments, some before it has started up",
    proof: "kills of a living process; kills while there was work left",
    run: kills,
}];

fn kills(run: &mut Run) {
    let (count, longest) = run.pick((6, 3.0), (50, 5.0));
    let mut trial = Trial::new(&kafka::shared(), &options());
    let mut engine = Engine::new(&trial.site, "ward-1");
    engine.start();
    trial.send(run.load(14, 300), run.seed);
    let (mut killed, mut at_work) = (0, 0);
    for _ in 0..count {
        thread::sleep(between(&mut run.draw, 0.2, longest));
        killed += u64::from(engine.kill());
        at_work += u64::from(trial.sending());
        engine.launch();
    }
    let begun = Instant::now();
    let ready = engine.ready(LIMIT);
    run.report.note(format!("ready {:.1?} after the last start", begun.elapsed()));
    run.report.expect(ready, || format!("not ready again\n{}", engine.tail(5)));
    run.report.prove("kills of a living process", killed, count);
    run.report.prove("kills while there was work left", at_work, count / 2);
    trial.verdict(&mut [engine], &mut run.report);
}
