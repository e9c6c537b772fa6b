//! The whole of it: a log, a broker, a folder, processes that come, go, die and come back, and what must hold then.
//! In: a seed. Out: what happened, a hash of every step, and the first promise that was broken, if any.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use auscult::accounts::Accounts;
use auscult::config::Config;
use auscult::effects::Effect;
use auscult::plan::Plan;
use auscult::source::Record;
use auscult::state::Restore;
use auscult::worker::{Event, Worker};
use auscult_datasets::simulate::Draw;

use super::broker::{Broker, Wire};
use super::folder::Folder;
use super::process::{Bug, Phase, Process, Then, archived, patient};
use crate::common::{T0, config, faulty_log, line, plan_of};

/// What happened in one run.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    pub hash: u64,
    /// Event time that was simulated, in seconds.
    pub seconds: f64,
    pub kills: u64,
    pub pauses: u64,
    pub usurped: u64,
    pub rebalances: u64,
    pub unanswered: u64,
    pub fenced: u64,
    pub restored: usize,
    pub files: usize,
    pub outputs: usize,
    /// How often a process was killed in each phase.
    pub killed_in: BTreeMap<String, u64>,
    pub broken: Option<String>,
}

struct World {
    draw: Draw,
    plan: Arc<Plan>,
    bug: Option<Bug>,
    logs: Vec<Vec<Record>>,
    broker: Broker,
    folder: Folder,
    processes: Vec<Process>,
    /// Names of dead processes, and when their supervisor starts them again.
    dead: Vec<(i64, usize)>,
    /// A reader that is there all the time: its position and what it saw, by partition.
    reader: Vec<(usize, Vec<String>)>,
    out: Outcome,
}

const NAMES: usize = 3;

static PLANS: LazyLock<[Arc<Plan>; 3]> = LazyLock::new(|| {
    let few = |every, roll| {
        let mut config: Config = config();
        let keep = ["signal_quality", "rpeaks", "heart_rate"];
        let all = auscult_operators::registry::OPERATORS.iter().map(|o| o.name);
        config.pipeline.disabled = all.filter(|n| !keep.contains(n)).map(Into::into).collect();
        (config.state.every_s, config.archive.roll_s) = (every, roll);
        (config.pipeline.features, config.http.live) = (false, false);
        plan_of(&config)
    };
    let mut whole = config();
    (whole.state.every_s, whole.archive.roll_s, whole.http.live) = (4.0, 6.0, false);
    [few(3.0, 5.0), few(10.0, 7.0), plan_of(&whole)]
});

/// One run.
pub fn run(seed: u64, bug: Option<Bug>) -> Outcome {
    let mut draw = Draw::new(seed, 4242);
    let plan = PLANS[if draw.happens(0.08) { 2 } else { draw.below(2) }].clone();
    let partitions = 1 + draw.below(3);
    let seconds = 14 + draw.below(12);
    let logs: Vec<_> = (0..partitions).map(|p| faulty_log(seed * 10 + p as u64, 2, seconds)).collect();
    let folder = Folder::new(draw.happens(0.7), draw.below(3));
    let processes = (0..1 + draw.below(NAMES)).map(|n| Process::new(n, &plan, bug)).collect();
    let reader = vec![(0, Vec::new()); partitions];
    let (broker, dead, out) = (Broker::new(partitions), Vec::new(), Outcome::default());
    let mut world = World { draw, plan, bug, logs, broker, folder, processes, dead, reader, out };
    world.out.hash = 0xcbf2_9ce4_8422_2325;
    world.live();
    world.out.broken = world.out.broken.take().or_else(|| world.check().err());
    world.out
}

impl World {
    fn note(&mut self, what: u64) {
        self.out.hash = (self.out.hash ^ what).wrapping_mul(0x0100_0000_01b3).rotate_left(17);
    }

    fn live(&mut self) {
        let end = self.logs.iter().filter_map(|l| l.last()).map(since).max().unwrap_or(0);
        // Faults end some time after the last frame; then everything must come to rest.
        let faults_until = end + 8_000_000;
        for step in 0..200_000u64 {
            let by = self.draw.below(60_000) as i64;
            self.broker.pass(by);
            self.arrive();
            if self.broker.now < faults_until {
                self.fault();
            } else if self.at_rest() {
                break;
            }
            self.start_again();
            if self.draw.happens(0.05) {
                self.read();
            }
            if !self.processes.is_empty() {
                let at = self.draw.below(self.processes.len());
                self.advance(at, self.broker.now < faults_until);
            }
            self.note(step ^ (self.broker.now as u64) << 20);
            if step == 199_999 {
                self.out.broken = Some("it never came to rest".into());
            }
        }
        self.broker.pass(20_000_000);
        self.read();
        self.out.seconds = self.broker.now as f64 / 1e6;
        self.out.restored += self.processes.iter().map(|p| p.restored).sum::<usize>();
        (self.out.rebalances, self.out.unanswered, self.out.fenced) =
            (self.broker.rebalances, self.broker.unanswered, self.broker.fenced);
        self.out.files = self.folder.files.len();
    }

    fn arrive(&mut self) {
        for (p, log) in self.logs.iter().enumerate() {
            let there = self.broker.frames[p].len();
            let due = log[there..].iter().take_while(|r| since(r) <= self.broker.now);
            let new: Vec<Record> = due.cloned().collect();
            self.broker.frames[p].extend(new);
        }
    }

    fn advance(&mut self, at: usize, faults: bool) {
        let wire = match self.draw.below(100) {
            0..3 if faults => Wire::AnswerLost,
            3..6 if faults => Wire::RequestLost,
            6..9 if faults => Wire::Late(self.draw.below(4_000_000) as i64),
            _ => Wire::Good,
        };
        let most = 1 + self.draw.below(40);
        let process = &mut self.processes[at];
        if process.paused_until > self.broker.now {
            return;
        }
        let phase = process.phase;
        let then = process.advance(&mut self.broker, &mut self.folder, most, wire);
        let name = process.name as u64;
        self.note(name << 8 | phase as u64);
        if then == Then::Ended {
            self.bury(at, 500_000);
        }
    }

    fn bury(&mut self, at: usize, back_after: i64) {
        let process = self.processes.swap_remove(at);
        self.out.restored += process.restored;
        if !self.processes.iter().any(|p| p.name == process.name) {
            self.dead.push((self.broker.now + back_after, process.name));
        }
    }

    fn fault(&mut self) {
        if self.processes.is_empty() {
            return;
        }
        let at = self.draw.below(self.processes.len());
        let name = self.processes[at].name;
        // Idle processes are the rule: those at work are killed more often.
        let kill = if self.processes[at].phase == Phase::Poll { 5 } else { 12 };
        match self.draw.below(1000) {
            n if n < kill => {
                self.out.kills += 1;
                *self.out.killed_in.entry(format!("{:?}", self.processes[at].phase)).or_default() += 1;
                let back = self.draw.below(9_000_000) as i64;
                self.bury(at, back);
            }
            12..15 => {
                self.out.pauses += 1;
                self.processes[at].paused_until = self.broker.now + self.draw.below(15_000_000) as i64;
            }
            // Somebody starts the same instance a second time, while the first is away.
            15..17 if self.processes[at].paused_until > self.broker.now => {
                self.out.usurped += 1;
                self.processes.push(Process::new(name, &self.plan, self.bug));
            }
            17..19 => self.processes[at].leaving = true,
            19..22 if self.processes.len() < NAMES => {
                let free = (0..NAMES).find(|n| {
                    !self.processes.iter().any(|p| p.name == *n) && !self.dead.iter().any(|d| d.1 == *n)
                });
                if let Some(name) = free {
                    self.processes.push(Process::new(name, &self.plan, self.bug));
                }
            }
            _ => {}
        }
    }

    fn start_again(&mut self) {
        let now = self.broker.now;
        let due: Vec<_> = self.dead.extract_if(.., |d| d.0 <= now).collect();
        for (_, name) in due {
            self.processes.push(Process::new(name, &self.plan, self.bug));
        }
    }

    fn at_rest(&self) -> bool {
        let all_read = |p: usize| self.broker.committed(p, true) == Some(self.logs[p].len() as i64);
        (0..self.logs.len()).all(all_read)
    }

    fn read(&mut self) {
        for (p, (position, seen)) in self.reader.iter_mut().enumerate() {
            let (new, next) = self.broker.read(&self.broker.outputs[p], *position);
            seen.extend(new.into_iter().map(|o| o.2.clone()));
            *position = next;
        }
    }

    /// What must hold at the end, against a worker that read the whole log at once.
    fn check(&mut self) -> Result<(), String> {
        for (p, log) in self.logs.iter().enumerate() {
            let mut oracle = Worker::new(self.plan.clone());
            let effects = oracle.step(Event::Records(log)).list;
            let mut expected: BTreeMap<String, Vec<String>> = BTreeMap::new();
            let mut rows: BTreeMap<&str, Vec<String>> = BTreeMap::new();
            for (offset, effect) in &effects {
                let (kind, body) = line(effect, 0);
                let text = format!("{offset} {kind} {body}");
                if archived(effect) && !matches!(effect, Effect::Roll) && *offset < self.folder.held(p) {
                    rows.entry(kind).or_default().push(text.clone());
                }
                if !matches!(effect, Effect::Roll | Effect::Frame(..) | Effect::Glance(_)) {
                    expected.entry(patient(effect)).or_default().push(text);
                }
            }
            let mut got: BTreeMap<String, Vec<String>> = BTreeMap::new();
            let (told, _) = self.broker.read(&self.broker.outputs[p], 0);
            self.out.outputs += told.len();
            let all: Vec<String> = told.iter().map(|o| o.2.clone()).collect();
            told.into_iter().for_each(|o| got.entry(o.1.clone()).or_default().push(o.2.clone()));
            same(&expected, &got).map_err(|e| format!("partition {p}: {e}"))?;
            if all != self.reader[p].1 {
                return Err(format!("partition {p}: the reader that was there saw something else"));
            }
            self.check_archive(p, rows)?;
            let mut restore = Restore::new(self.plan.clone());
            let (records, _) = self.broker.read(&self.broker.state[p], 0);
            records.into_iter().for_each(|(k, v)| restore.take(k, Some(v)));
            let (mut heir, start, _) = restore.finish(log.len() as i64, self.folder.on);
            heir.step(Event::Records(&log[usize::try_from(start.offset).unwrap()..]));
            let accounts: (&Accounts, &Accounts) = (&heir.accounts, &oracle.accounts);
            if accounts.0 != accounts.1 || heir.accounts.frames_in() + heir.accounts.ticks != log.len() as u64
            {
                return Err(format!("partition {p}: accounts {:?}, expected {:?}", accounts.0, accounts.1));
            }
        }
        Ok(())
    }

    fn check_archive(&self, p: usize, rows: BTreeMap<&str, Vec<String>>) -> Result<(), String> {
        if !self.folder.on {
            return Ok(());
        }
        let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let mut next = 0;
        for ((_, from, to), file) in self.folder.files.range((p, 0, 0)..(p + 1, 0, 0)) {
            if *from != next {
                return Err(format!("archive of partition {p}: a file from {from}, expected {next}"));
            }
            next = to + 1;
            for row in file {
                let kind = row.split(' ').nth(1).unwrap_or_default().to_string();
                found.entry(kind).or_default().push(row.clone());
            }
        }
        let rows = rows.into_iter().map(|(k, v)| (k.to_string(), v)).collect();
        same(&rows, &found).map_err(|e| format!("archive of partition {p}: {e}"))
    }
}

fn since(record: &Record) -> i64 {
    record.timestamp.micros() - T0 * 1_000_000
}

fn same(expected: &BTreeMap<String, Vec<String>>, got: &BTreeMap<String, Vec<String>>) -> Result<(), String> {
    for key in expected.keys().chain(got.keys()) {
        let none = Vec::new();
        let (a, b) = (expected.get(key).unwrap_or(&none), got.get(key).unwrap_or(&none));
        if let Some(i) = (0..a.len().max(b.len())).find(|i| a.get(*i) != b.get(*i)) {
            let (a, b) = (a.get(i).map_or("nothing", |s| s), b.get(i).map_or("nothing", |s| s));
            return Err(format!("output {i}: expected {}, found {}", around(a, b), around(b, a)));
        }
    }
    Ok(())
}

/// The beginning of a text, and where it first differs from another.
fn around(text: &str, other: &str) -> String {
    let part = |from: usize, n: usize| text.chars().skip(from).take(n).collect::<String>();
    match text.chars().zip(other.chars()).position(|(a, b)| a != b) {
        Some(at) if at > 80 => format!("`{} ... {}`", part(0, 50), part(at - 80, 200)),
        _ => format!("`{}`", part(0, 160)),
    }
}
