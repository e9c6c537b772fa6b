//! A trial: services under faults, a sender, a reader that is there all the time, and the verdict in the end.
//! In: a broker, a load, what the fault does to them. Out: proofs that the faults happened, and every violation.
//! The measure is an uninterrupted run over a copy of the very log, record by record, in the same partitions.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use auscult_datasets::simulate::Draw;

use crate::checker::{self, Told};
use crate::kafka::{Client, Isolation, Message, Record};
use crate::process::{Running, Start};
use crate::site::{self, LIMIT, Options, Site};
use crate::watcher::Watcher;
use crate::{binary, http, poll, python};

/// Topics of outputs that are compared.
pub const TOLD: [&str; 3] = ["events", "scores", "rejects"];

/// What becomes of a frame, as the metrics name it.
pub const FATES: [&str; 4] = ["processed", "duplicate", "late", "rejected"];

/// What a fault reports.
#[derive(Debug, Default)]
pub struct Report {
    /// What was done and measured, one a line.
    pub notes: Vec<String>,
    /// What must not be; empty if all is well.
    pub violations: Vec<String>,
    /// Why nothing was done, if this machine cannot do it.
    pub not_run: Option<String>,
}

impl Report {
    /// Says what happened.
    pub fn note(&mut self, text: impl Into<String>) {
        self.notes.push(text.into());
    }

    /// Says that a fault happened so often; fewer times than planned is a violation, since nothing was shown then.
    pub fn prove(&mut self, what: &str, count: u64, least: u64) {
        self.notes.push(format!("{what}: {count}"));
        self.expect(count >= least, || format!("the fault did not happen: {what}: {count} of {least}"));
    }

    /// A violation unless it holds.
    pub fn expect(&mut self, holds: bool, otherwise: impl FnOnce() -> String) {
        if !holds {
            self.violations.push(otherwise());
        }
    }
}

/// One service of a site.
#[derive(Debug)]
pub struct Engine {
    /// Its name in the group.
    pub instance: String,
    config: PathBuf,
    listen: String,
    folder: PathBuf,
    envs: Vec<(String, String)>,
    wrapper: Vec<String>,
    /// Its process, while there is one.
    pub running: Option<Running>,
}

impl Engine {
    /// A service of the site; nothing runs yet. The first of a site is `ward-1`.
    pub fn new(site: &Site, instance: &str) -> Self {
        let (config, listen) = site.member(instance);
        let folder = site.folder().to_path_buf();
        Self {
            instance: instance.into(),
            config,
            listen,
            folder,
            envs: vec![],
            wrapper: vec![],
            running: None,
        }
    }

    /// The same service started by hand beside itself: another process that takes its name.
    pub fn twin(&self) -> Self {
        let text = std::fs::read_to_string(&self.config).expect("the configuration");
        let listen = format!("127.0.0.1:{}", crate::process::free_ports(1)[0]);
        let config = self.config.with_extension("twin.toml");
        std::fs::write(&config, text.replace(&self.listen, &listen)).expect("write the configuration");
        let (instance, folder) = (self.instance.clone(), self.folder.clone());
        Self { instance, config, listen, folder, envs: vec![], wrapper: vec![], running: None }
    }

    /// Environment of its next starts.
    pub fn env(&mut self, name: &str, value: &str) {
        self.envs.retain(|e| e.0 != name);
        self.envs.push((name.into(), value.into()));
    }

    /// Its next starts are by this command, which is given the service's own as its last arguments.
    pub fn wrap(&mut self, command: &[&str]) {
        self.wrapper = command.iter().map(|s| (*s).to_owned()).collect();
    }

    /// Starts it, and does not wait.
    pub fn launch(&mut self) {
        let mut words: Vec<String> = self.wrapper.clone();
        words.push(binary::auscult().to_string_lossy().into_owned());
        words.extend(["run".into(), "-c".into(), self.config.to_string_lossy().into_owned()]);
        let start = Start::new(&words[0]).args(&words[1..]);
        let start = self.envs.iter().fold(start, |start, (name, value)| start.env(name, value));
        self.running = Some(start.spawn(&self.folder, &format!("run-{}", self.instance)));
    }

    /// Starts it and waits until its pages answer.
    pub fn start(&mut self) {
        self.launch();
        let up = poll(LIMIT, || {
            assert!(self.alive(), "{} ended at its start\n{}", self.instance, self.tail(40));
            http::get(&self.listen, "/livez").ok()
        });
        assert!(up.is_some(), "{} does not answer\n{}", self.instance, self.tail(40));
    }

    /// Waits until it says that it is ready; whether it did within the limit.
    pub fn ready(&mut self, limit: Duration) -> bool {
        poll(limit, || http::get(&self.listen, "/readyz").ok().filter(|r| r.status == 200)).is_some()
    }

    /// What its page of readiness says.
    pub fn readiness(&self) -> String {
        http::get(&self.listen, "/readyz").map(|r| r.text()).unwrap_or_default()
    }

    /// Whether it runs.
    pub fn alive(&mut self) -> bool {
        self.running.as_mut().is_some_and(|r| r.exit_code().is_none())
    }

    /// SIGKILL; whether it was alive then.
    pub fn kill(&mut self) -> bool {
        let alive = self.alive();
        if let Some(mut running) = self.running.take() {
            running.kill();
        }
        alive
    }

    /// A signal by name.
    pub fn signal(&mut self, name: &str) {
        self.running.as_mut().expect("a running service").signal(name);
    }

    /// SIGTERM; its exit code and how long it took. One that has not ended after a while is killed.
    pub fn stop(&mut self) -> (i32, Duration) {
        let begun = Instant::now();
        let Some(mut running) = self.running.take() else { return (0, Duration::ZERO) };
        running.signal("TERM");
        let code = poll(Duration::from_secs(30), || running.exit_code());
        let took = begun.elapsed();
        let code = code.unwrap_or_else(|| {
            running.kill();
            137
        });
        (code, took)
    }

    /// Its exit code once it has ended by itself, waiting for at most `limit`.
    pub fn ended(&mut self, limit: Duration) -> Option<i32> {
        poll(limit, || self.running.as_mut().and_then(Running::exit_code))
    }

    /// Its metrics; none while it does not answer.
    pub fn metrics(&self) -> BTreeMap<String, f64> {
        let page = http::get(&self.listen, "/metrics").map(|r| r.text()).unwrap_or_default();
        let samples = page.lines().filter(|l| !l.starts_with('#')).filter_map(|l| l.rsplit_once(' '));
        samples.filter_map(|(name, value)| Some((name.to_owned(), value.parse().ok()?))).collect()
    }

    /// Resident memory in MiB.
    pub fn memory_mib(&self) -> u64 {
        let pid = self.running.as_ref().map_or(0, Running::pid);
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:")).unwrap_or("0 kB");
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap_or(0) / 1024
    }

    /// Everything it wrote over all its starts.
    pub fn log(&self) -> String {
        let read = |end: &str| {
            let path = self.folder.join(format!("run-{}.{end}", self.instance));
            std::fs::read(path).map(|b| String::from_utf8_lossy(&b).into_owned()).unwrap_or_default()
        };
        read("out") + &read("err")
    }

    /// The last lines of its log.
    pub fn tail(&self, lines: usize) -> String {
        let log = self.log();
        let all: Vec<&str> = log.lines().collect();
        all[all.len().saturating_sub(lines)..].join("\n")
    }
}

/// What is sent.
#[derive(Debug, Clone, Copy)]
pub struct Load {
    /// Simulated beds.
    pub beds: usize,
    /// Seconds of data.
    pub seconds: u32,
    /// Times real time.
    pub speed: f64,
}

/// A site on trial.
#[derive(Debug)]
pub struct Trial {
    /// Its topics, folder and configuration.
    pub site: Site,
    /// The reader that is there all the time.
    pub watcher: Watcher,
    /// The sender, once it runs.
    pub sender: Option<Running>,
    /// When the first record was sent.
    pub begun: Instant,
    tables: String,
    partitions: i32,
    roll_s: Option<u32>,
    replication: i32,
}

impl Trial {
    /// A site of its own on this broker, read from now on.
    pub fn new(client: &Client, options: &Options<'_>) -> Self {
        let site = Site::new(client, options);
        let topics: Vec<String> = TOLD.iter().map(|t| site.topic(t)).collect();
        let watcher = Watcher::start(client, &topics);
        let Options { partitions, roll_s, replication, .. } = *options;
        let tables = options.tables.to_owned();
        Self { site, watcher, sender: None, begun: Instant::now(), tables, partitions, roll_s, replication }
    }

    /// Starts to send simulated beds whose data end about now, so that no broker finds them old or ahead.
    pub fn send(&mut self, load: Load, seed: u64) {
        let ahead = f64::from(load.seconds) * (1.0 - 1.0 / load.speed.max(1.0));
        let start = jiff::Timestamp::now().as_millisecond() - (ahead * 1000.0) as i64;
        let start = jiff::Timestamp::from_millisecond(start).expect("a time").to_string();
        let [beds, seconds, speed, seed] =
            [load.beds.to_string(), load.seconds.to_string(), load.speed.to_string(), seed.to_string()];
        let args =
            ["--simulate", &beds, "--for", &seconds, "--speed", &speed, "--seed", &seed, "--start", &start];
        let config = self.site.folder().join("send.toml");
        // Faults befall the service; the sender stays on the straight way.
        let text = std::fs::read_to_string(self.site.config()).expect("the configuration");
        let brokers = format!("brokers = {:?}", self.site.client.bootstrap());
        let lines = text.lines().map(|l| if l.starts_with("brokers = ") { brokers.as_str() } else { l });
        std::fs::write(&config, lines.collect::<Vec<_>>().join("\n")).expect("write the configuration");
        let config = config.to_string_lossy().into_owned();
        let words = ["send", "-c", &config].into_iter().chain(args);
        self.begun = Instant::now();
        self.sender = Some(binary::spawn(words, self.site.folder(), "send"));
    }

    /// Whether there is still something to be sent.
    pub fn sending(&mut self) -> bool {
        self.sender.as_mut().is_some_and(|s| s.exit_code().is_none())
    }

    /// Waits until the reader has seen `more` further outputs.
    pub fn flows(&self, more: usize, limit: Duration) -> bool {
        let before = self.watcher.count();
        poll(limit, || (self.watcher.count() >= before + more).then_some(())).is_some()
    }

    /// Waits for the sender's end.
    pub fn drain_sender(&mut self) {
        if let Some(mut sender) = self.sender.take() {
            let code = sender.wait(LIMIT * 4);
            assert!(code == 0, "the sender ended with {code}\n{}", sender.tail(20));
        }
    }

    /// Waits for the sender's end and until the group has committed all that is in the log then.
    /// A service that ends meanwhile is started again, as a supervisor would.
    pub fn drain(&mut self, engines: &mut [Engine], report: &mut Report) {
        self.drain_sender();
        let frames = self.site.topic("frames");
        let ends = self.site.client.end_offsets(&frames, Isolation::ReadCommitted);
        let (mut last, mut restarts) = (Vec::new(), 0);
        let done = poll(LIMIT * 2, || {
            for engine in engines.iter_mut().filter(|e| e.running.is_some()) {
                if !engine.alive() {
                    restarts += 1;
                    engine.launch();
                }
            }
            last = self.committed();
            last.iter().zip(&ends).all(|(c, end)| c >= end).then_some(())
        });
        if restarts > 0 {
            report.note(format!("restarts by the supervisor: {restarts}"));
        }
        report.expect(done.is_some(), || format!("not worked off: committed {last:?} of {ends:?}"));
    }

    /// What the group has committed of each partition of the input.
    pub fn committed(&self) -> Vec<i64> {
        let found = self.site.client.committed(&self.site.group(), &self.site.topic("frames"));
        found.into_iter().map(|o| o.unwrap_or(0)).collect()
    }

    /// Drains, stops the services, and compares all that was told with the uninterrupted run.
    pub fn verdict(mut self, engines: &mut [Engine], report: &mut Report) -> Measure {
        if crate::keep() {
            report.note(format!("kept: {} {}", self.site.client.bootstrap(), self.site.folder().display()));
        }
        self.drain(engines, report);
        let alone = if let [engine] = &*engines { Some(self.accounts(engine)) } else { None };
        self.site.archived();
        for engine in engines.iter_mut().filter(|e| e.running.is_some()) {
            let (code, took) = engine.stop();
            report.expect(code == 0 && took <= Duration::from_secs(10), || {
                format!(
                    "{}: SIGTERM ended it with {code} after {took:?}\n{}",
                    engine.instance,
                    engine.tail(15)
                )
            });
        }
        for engine in engines.iter() {
            let log = engine.log();
            let panic = log.lines().find(|l| l.contains("panicked"));
            report.expect(panic.is_none(), || format!("{}: {}", engine.instance, panic.unwrap_or_default()));
        }
        let measure = Measure::run(&self);
        for topic in TOLD {
            self.compare(topic, &measure, report);
        }
        let frames = FATES.map(|fate| measure.frames(fate));
        report.expect(alone.is_none_or(|a| a == frames), || {
            format!("accounts: {FATES:?} are {alone:?}, of the uninterrupted run {frames:?}")
        });
        if self.roll_s.is_some() {
            let path = |p: &Path| p.to_string_lossy().into_owned();
            let args = [path(&self.site.archive()), path(&measure.site.archive())];
            let output = python::run("check_archive_equal.py", args, "");
            let said = String::from_utf8_lossy(&output.stdout).trim().to_owned();
            report.expect(output.status.success(), || {
                format!("archive: {}", said.chars().take(900).collect::<String>())
            });
            report.note(format!("archive: {}", said.chars().take(120).collect::<String>()));
        }
        measure
    }

    /// Frames by fate, as a service counts that has the whole site to itself.
    fn accounts(&self, engine: &Engine) -> [u64; 4] {
        let log = self.site.client.consume_all(&self.site.topic("frames"), Isolation::ReadCommitted);
        // A tick has no key: it speaks of nobody.
        let sent = log.iter().filter(|m| !m.key_text().is_empty()).count() as u64;
        let mut last = [0; 4];
        // Its pages are behind its commits by a turn.
        poll(Duration::from_secs(30), || {
            let metrics = engine.metrics();
            let count = |fate| metrics.get(&format!("auscult_frames_total{{outcome=\"{fate}\"}}")).copied();
            last = FATES.map(|fate| count(fate).unwrap_or(0.0) as u64);
            (last.iter().sum::<u64>() == sent).then_some(())
        });
        last
    }

    fn compare(&self, topic: &str, measure: &Measure, report: &mut Report) {
        let name = self.site.topic(topic);
        let client = &self.site.client;
        // What a process that died has left open ends by its time limit; only then is the topic what it stays.
        let ends = poll(Duration::from_secs(40), || {
            let stable = client.end_offsets(&name, Isolation::ReadCommitted);
            (stable == client.end_offsets(&name, Isolation::ReadUncommitted)).then_some(stable)
        });
        let Some(ends) = ends else {
            return report.expect(false, || format!("{topic}: a transaction stays open"));
        };
        let expected = Told::all(&measure.site.messages(topic));
        let mut judge = |who: &str, findings: Vec<checker::Finding>| {
            report.expect(findings.is_empty(), || format!("{topic}, {who}: {}", checker::summary(&findings)));
        };
        judge("read afterwards", checker::compare(&expected, &Told::all(&self.site.messages(topic))));
        let uncommitted = client.consume_all(&name, Isolation::ReadUncommitted);
        judge("uncommitted", checker::compare_uncommitted(&expected, &Told::all(&uncommitted)));
        match self.watcher.to_end(&name, &ends) {
            Ok(seen) => judge("read meanwhile", checker::compare(&expected, &Told::all(&seen))),
            Err(why) => report.expect(false, || why),
        }
        let aborted = uncommitted.len() - expected.len().min(uncommitted.len());
        report.note(format!("{topic}: {} told, {aborted} more were aborted", expected.len()));
        // A topic of events that is empty shows nothing.
        report.expect(topic == "rejects" || !expected.is_empty(), || {
            format!("{topic}: nothing was to be told")
        });
    }
}

/// The uninterrupted run.
#[derive(Debug)]
pub struct Measure {
    /// Its topics.
    pub site: Site,
    /// Its metrics in the end.
    pub metrics: BTreeMap<String, f64>,
}

impl Measure {
    /// Copies what the group has taken in, and lets one undisturbed service work on the copy.
    pub fn run(trial: &Trial) -> Self {
        let committed = trial.committed();
        let client = &trial.site.client;
        let log = client.consume_all(&trial.site.topic("frames"), Isolation::ReadCommitted);
        let taken: Vec<Record> =
            log.into_iter().filter(|m| m.offset < committed[m.partition as usize]).map(again).collect();
        let measure = Self::over(trial, &taken);
        let ends = client.end_offsets(&measure.site.topic("frames"), Isolation::ReadCommitted);
        assert_eq!(ends, committed, "the copy has the offsets of the log");
        measure
    }

    /// One undisturbed service over these records, under the options of a trial.
    pub fn over(trial: &Trial, records: &[Record]) -> Self {
        let client = &trial.site.client;
        let options = Options {
            partitions: trial.partitions,
            roll_s: trial.roll_s,
            ticks: false,
            replication: trial.replication,
            tables: &trial.tables,
            ..Options::default()
        };
        let site = Site::new(client, &options);
        let mut running = site.run();
        client.produce_with(&site.topic("frames"), records, &LOUD);
        let ends = client.end_offsets(&site.topic("frames"), Isolation::ReadCommitted);
        let done = poll(LIMIT, || {
            let found = client.committed(&site.group(), &site.topic("frames"));
            found.iter().zip(&ends).all(|(c, end)| *end == 0 || *c == Some(*end)).then_some(())
        });
        assert!(done.is_some(), "the uninterrupted run does not end\n{}", running.tail(30));
        // The pages are behind the loop by one turn at most.
        let balanced = poll(LIMIT, || {
            let metrics = site.metrics();
            let frames = site::with_prefix(&metrics, "auscult_frames_total").iter().sum::<f64>() as i64;
            let ticks = metrics["auscult_ticks_total"] as i64;
            (frames + ticks == ends.iter().sum::<i64>()).then_some(metrics)
        });
        let metrics = balanced.expect("the accounts of the uninterrupted run balance");
        site.archived();
        assert_eq!(running.terminate(Duration::from_secs(30)), 0, "{}", running.tail(30));
        Self { site, metrics }
    }

    /// Frames that met this fate.
    pub fn frames(&self, outcome: &str) -> u64 {
        self.metrics[&format!("auscult_frames_total{{outcome=\"{outcome}\"}}")] as u64
    }

    /// What was told, of patients whose id is chosen.
    pub fn told(&self, topic: &str, choose: impl Fn(&str) -> bool) -> Vec<Told> {
        let mut told = Told::all(&self.site.messages(topic));
        told.retain(|t| choose(&t.patient));
        told
    }
}

/// Past the client's own limits: what lies in a log must fit into its copy.
pub const LOUD: [(&str, &str); 2] = [("message.max.bytes", "200000000"), ("compression.codec", "zstd")];

/// A message of the log as a record to be written elsewhere.
fn again(m: Message) -> Record {
    let Message { partition, key, value, headers, timestamp_ms, .. } = m;
    Record { partition: Some(partition), key, value, headers, timestamp_ms }
}

/// A span of time between two bounds, in seconds.
pub fn between(draw: &mut Draw, low: f64, high: f64) -> Duration {
    Duration::from_secs_f64(draw.between(low, high))
}
