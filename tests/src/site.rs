//! A site under test: one configuration, its topics on a broker, the services and senders that work on them.
//! In: a client, what the configuration varies. Out: handles, metrics, bodies by patient.
//! Every site has a prefix of its own, so that sites of one broker do not meet.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::kafka::{Client, Isolation, Message};
use crate::process::{Running, free_ports};
use crate::{binary, http, poll};

/// How long a service may take to start, or to work off what it was given. Far above what it needs.
pub const LIMIT: Duration = Duration::from_secs(180);

/// Event time of the first sample of every recording of this process, so that each run has the same session and the
/// same bodies. Recent, because a broker deletes what bears old times; across midnight, as some nights will be.
pub fn start() -> &'static str {
    static START: OnceLock<String> = OnceLock::new();
    START.get_or_init(|| {
        let today = jiff::Timestamp::now().as_second() / 86_400 * 86_400;
        jiff::Timestamp::from_second(today - 30).expect("a time of this age").to_string()
    })
}

/// Rules that fire on ordinary recordings.
pub const SENSITIVE: &str = r#"
[[rules]]
name = "rate_high"
kind = "threshold"
harm = "reversible"
onset = "prompt"
category = "physiological"
for_s = 2.0
keep_for_s = 3.0
params = { input = "heart_rate", above = 78.0, clear = 75.0, event = "ecg.rate_high" }

[[rules]]
name = "rate_low"
kind = "threshold"
harm = "minor"
onset = "prompt"
category = "physiological"
for_s = 0.0
keep_for_s = 2.0
latch = true
params = { input = "heart_rate", below = 72.0, event = "ecg.rate_low" }

[[rules]]
name = "news2"
kind = "score_level"
harm = "death"
onset = "delayed"
category = "physiological"
params = { score = "news2", level = "low" }

[[rules]]
name = "signal_lost"
kind = "signal_lost"
harm = "reversible"
onset = "delayed"
category = "technical"

[[rules]]
name = "sepsis_risk"
kind = "model_probability"
harm = "death"
onset = "delayed"
category = "physiological"
params = { model = "sepsis_vitals" }
"#;

/// Bodies in the order of the log, by patient.
pub type Bodies = BTreeMap<String, Vec<String>>;

/// One configuration and its topics.
#[derive(Debug)]
pub struct Site {
    /// The broker's client.
    pub client: Client,
    dir: TempDir,
    prefix: String,
    listen: String,
    archive: PathBuf,
}

/// What a site's configuration may vary.
#[derive(Debug, Clone)]
pub struct Options<'a> {
    /// Partitions of topics that are created.
    pub partitions: i32,
    /// Longest time between two transactions.
    pub commit_ms: u64,
    /// Seconds of log in one file of the archive; none without an archive.
    pub roll_s: Option<u32>,
    /// Whether idle partitions get ticks.
    pub ticks: bool,
    /// Further lines of the table `[kafka]`.
    pub kafka: &'a str,
    /// Lines of librdkafka settings.
    pub properties: &'a str,
    /// Whole further tables.
    pub tables: &'a str,
    /// Where the service meets the brokers, if not where the test does.
    pub brokers: Option<&'a str>,
    /// Replicas of topics that are created.
    pub replication: i32,
    /// Root of the archive, if not in the site's folder.
    pub archive: Option<&'a Path>,
}

impl Default for Options<'_> {
    fn default() -> Self {
        Self {
            partitions: 4,
            commit_ms: 100,
            roll_s: Some(60),
            ticks: true,
            kafka: "",
            properties: "",
            tables: "",
            brokers: None,
            replication: 1,
            archive: None,
        }
    }
}

impl Site {
    /// Writes the configuration; nothing runs yet.
    pub fn new(client: &Client, options: &Options<'_>) -> Self {
        let dir = crate::scratch("auscult-site-");
        let prefix = format!("{}.", client.unique("site"));
        let listen = format!("127.0.0.1:{}", free_ports(1)[0]);
        let archive = options.archive.map_or_else(|| dir.path().join("archive"), Path::to_path_buf);
        let site = Self { client: client.clone(), dir, prefix, listen, archive };
        let Options { partitions, commit_ms, roll_s, ticks, kafka, properties, tables, replication, .. } =
            options;
        let archive = roll_s.map_or(String::new(), |roll| {
            format!("[archive]\ndir = {:?}\nroll_s = {roll}\n", site.archive())
        });
        let text = format!(
            "[kafka]\nbrokers = {:?}\ngroup = {:?}\ninstance = \"ward-1\"\nprefix = {:?}\ncreate_topics = true\n\
             partitions = {partitions}\nreplication = {replication}\ncommit_ms = {commit_ms}\nticks = {ticks}\n\
             {kafka}\n[kafka.properties]\n{properties}\n[http]\nlisten = {:?}\n{archive}{tables}\n",
            options.brokers.unwrap_or(client.bootstrap()),
            site.group(),
            site.prefix,
            site.listen,
        );
        std::fs::write(site.config(), text).expect("write the configuration");
        site
    }

    /// The configuration file.
    pub fn config(&self) -> PathBuf {
        self.dir.path().join("auscult.toml")
    }

    /// The folder of the site: logs, outputs.
    pub fn folder(&self) -> &Path {
        self.dir.path()
    }

    /// Root of the archive.
    pub fn archive(&self) -> PathBuf {
        self.archive.clone()
    }

    /// Waits until nothing more is written to the archive: a busy machine may be behind with it, and a stop does not
    /// wait for long.
    pub fn archived(&self) {
        let size = |f: &PathBuf| std::fs::metadata(f).map_or(0, |m| m.len());
        let state = || files(&self.archive).iter().map(|f| (f.clone(), size(f))).collect::<Vec<_>>();
        let (mut last, mut since) = (state(), Instant::now());
        poll(LIMIT, || {
            let now = state();
            if now != last {
                (last, since) = (now, Instant::now());
            }
            (since.elapsed() > Duration::from_secs(2)).then_some(())
        });
    }

    /// Address of the pages.
    pub fn listen(&self) -> &str {
        &self.listen
    }

    /// A topic with the site's prefix.
    pub fn topic(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    /// The consumer group of its services.
    pub fn group(&self) -> String {
        format!("{}group", self.prefix)
    }

    /// The configuration of one more service of the group; its file, and the address of its pages.
    pub fn member(&self, instance: &str) -> (PathBuf, String) {
        let listen = format!("127.0.0.1:{}", free_ports(1)[0]);
        let text = std::fs::read_to_string(self.config()).expect("the configuration");
        let text = text.replace("\"ward-1\"", &format!("{instance:?}")).replace(&self.listen, &listen);
        let path = self.dir.path().join(format!("{instance}.toml"));
        std::fs::write(&path, text).expect("write the configuration");
        (path, listen)
    }

    /// Starts `auscult run` and waits until its pages answer. Logs go on in one file over restarts.
    pub fn run(&self) -> Running {
        let config = self.config();
        let mut running = binary::spawn(["run", "-c", &config.to_string_lossy()], self.folder(), "run");
        let up = poll(LIMIT, || {
            if let Some(code) = running.exit_code() {
                panic!("auscult run ended with {code} at its start\n{}", running.tail(40));
            }
            http::get(&self.listen, "/livez").ok()
        });
        assert!(up.is_some(), "auscult run does not answer\n{}", running.tail(40));
        running
    }

    /// `auscult send` with the site's configuration, to its end; what it said.
    pub fn send(&self, args: &[&str]) -> String {
        let config = self.config();
        let config = config.to_string_lossy();
        said(&binary::run(["send", "-c", &config].iter().chain(args)), args)
    }

    /// Starts `auscult send` with the site's configuration.
    pub fn start_sending(&self, args: &[&str]) -> Running {
        let config = self.config();
        let config = config.to_string_lossy();
        binary::spawn(["send", "-c", &config].iter().chain(args), self.folder(), "send")
    }

    /// `auscult replay` with the site's configuration into `name` of the site's folder.
    pub fn replay(&self, name: &str, args: &[&str]) -> Replay {
        let out = self.folder().join(name);
        let (config, folder) = (self.config(), out.to_string_lossy().into_owned());
        let config = config.to_string_lossy();
        let said = said(&binary::run(["replay", "-c", &config, "--out", &folder].iter().chain(args)), args);
        Replay { events: lines(&out.join("events.jsonl")), scores: lines(&out.join("scores.jsonl")), said }
    }

    /// Metrics of the running service: `name` or `name{labels}` to value.
    pub fn metrics(&self) -> BTreeMap<String, f64> {
        let page = http::wait_for_ok(&self.listen, "/metrics", LIMIT).text();
        let samples = page.lines().filter(|l| !l.starts_with('#')).filter_map(|l| l.rsplit_once(' '));
        samples.filter_map(|(name, value)| Some((name.to_owned(), value.parse().ok()?))).collect()
    }

    /// Waits until the service has taken in `frames` frames and lags behind nowhere; its metrics then.
    pub fn drained(&self, running: &mut Running, frames: u64) -> BTreeMap<String, f64> {
        let mut last = BTreeMap::new();
        let done = poll(LIMIT, || {
            assert!(running.exit_code().is_none(), "auscult run ended\n{}", running.tail(60));
            last = self.metrics();
            let lag: Vec<f64> = with_prefix(&last, "auscult_partition_lag_records");
            let read = with_prefix(&last, "auscult_frames_total").iter().sum::<f64>();
            (read >= frames as f64 && !lag.is_empty() && lag.iter().all(|n| *n == 0.0)).then_some(())
        });
        assert!(done.is_some(), "{frames} frames not worked off: {last:#?}\n{}", running.tail(40));
        last
    }

    /// Committed messages of a topic of the site.
    pub fn messages(&self, topic: &str) -> Vec<Message> {
        self.client.consume_all(&self.topic(topic), Isolation::ReadCommitted)
    }

    /// Committed bodies of a topic of the site, by patient in the order of the log.
    pub fn bodies(&self, topic: &str) -> Bodies {
        let mut bodies = Bodies::new();
        for message in self.messages(topic) {
            let value = message.value.as_deref().unwrap_or_default();
            bodies.entry(message.key_text()).or_default().push(String::from_utf8_lossy(value).into_owned());
        }
        bodies
    }

    /// Everything the service and the senders wrote to their logs.
    pub fn logs(&self) -> String {
        let read = |name: &str| std::fs::read_to_string(self.folder().join(name)).unwrap_or_default();
        ["run.out", "run.err", "send.out", "send.err"].map(read).concat()
    }
}

/// What a replay gave.
#[derive(Debug)]
pub struct Replay {
    /// Event bodies by patient.
    pub events: Bodies,
    /// Score bodies by patient.
    pub scores: Bodies,
    /// Its last line: the accounts.
    pub said: String,
}

/// Values of all metrics whose name begins so.
pub fn with_prefix(metrics: &BTreeMap<String, f64>, prefix: &str) -> Vec<f64> {
    metrics.iter().filter(|(name, _)| name.starts_with(prefix)).map(|(_, value)| *value).collect()
}

/// Number of bodies.
pub fn count(bodies: &Bodies) -> usize {
    bodies.values().map(Vec::len).sum()
}

/// Fails at the first patient, and there at the first body, in which two runs differ.
pub fn assert_same(what: &str, found: &Bodies, expected: &Bodies) {
    let patients = |b: &Bodies| b.keys().cloned().collect::<Vec<_>>();
    assert_eq!(patients(found), patients(expected), "{what}: patients");
    for (patient, bodies) in expected {
        let other = &found[patient];
        for (at, (a, b)) in other.iter().zip(bodies).enumerate() {
            assert_eq!(a, b, "{what}: {patient}: body {at}");
        }
        assert_eq!(other.len(), bodies.len(), "{what}: {patient}: number of bodies");
    }
}

/// Every file under a folder.
pub fn files(folder: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() { all.extend(files(&path)) } else { all.push(path) }
    }
    all.sort();
    all
}

fn lines(path: &Path) -> Bodies {
    let text = std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let mut bodies = Bodies::new();
    for line in text.lines() {
        let body: serde_json::Value = serde_json::from_str(line).expect("a line of JSON");
        let patient = body["patient"].as_str().expect("a patient").to_owned();
        bodies.entry(patient).or_default().push(line.to_owned());
    }
    bodies
}

fn said(output: &std::process::Output, args: &[&str]) -> String {
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "auscult {args:?}: {}\n{out}\n{err}", output.status);
    out.trim().to_owned()
}
