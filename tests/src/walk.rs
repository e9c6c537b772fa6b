//! The main job from end to end, as a test of a minute and as a measurement of half an hour do it.
//! In: a broker, recordings, how many patients for how long. Out: every promise checked, and the figures.
//! Recordings, hostile messages, doubled frames and simulated beds go in; all that comes out is read by others.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::{Duration, Instant};

use auscult_operators::signal::{EventTime, Span};
use serde_json::{Value, json};

use crate::hostile::Hostile;
use crate::kafka::{Client, Isolation, Message};
use crate::process::Running;
use crate::recordings;
use crate::site::{self, Options, SENSITIVE, Site, with_prefix};
use crate::{binary, http, promtool, python};

/// What is sent.
#[derive(Debug, Clone, Copy)]
pub struct Load {
    /// Patients that the eight recordings are given to.
    pub patients: usize,
    /// So much of each recording; the whole by default.
    pub seconds: Option<u32>,
    /// Seconds of log in one file of the archive.
    pub roll_s: u32,
}

/// Runs the whole job; panics at the first promise that does not hold. The figures, one a line.
pub fn main_job(client: &Client, mitdb: &Path, load: Load) -> Vec<String> {
    let options = Options { roll_s: Some(load.roll_s), tables: SENSITIVE, ..Options::default() };
    let site = Site::new(client, &options);
    let mut running = site.run();
    let mut figures = Vec::new();
    let begun = Instant::now();
    let sent = Sent::send(&site, mitdb, load);
    let metrics = site.drained(&mut running, sent.total());
    let took = begun.elapsed().as_secs_f64();
    figures.push(format!("sent and worked off in {took:.1} s: {} frames", sent.total()));
    pages(&site);
    accounts(&site, &sent, &metrics);
    figures.push(leave(&site, &mut running, &sent));
    dead_letters(&site, &sent.hostile);
    for (topic, schema) in [("events", "risk_event"), ("scores", "score_event")] {
        figures.push(told_once(&site, topic, schema));
    }
    figures.push(archive(&site, mitdb, &sent, load));
    nobody_named(&site, &sent, &metrics);
    figures
}

/// What went in, and what must become of it.
struct Sent {
    map: BTreeMap<String, Value>,
    played: u64,
    doubled: u64,
    simulated: u64,
    hostile: Hostile,
    /// Topics keep their ids too.
    patients: BTreeSet<String>,
}

impl Sent {
    fn send(site: &Site, mitdb: &Path, load: Load) -> Self {
        let (patients, map) = (load.patients.to_string(), site.folder().join("map.json"));
        let records = recordings::eight(mitdb);
        let play = |more: &[&str]| {
            let mut args: Vec<&str> = records.iter().map(String::as_str).collect();
            args.extend(["--patients", &patients, "--start", site::start()]);
            args.extend(more);
            frames_sent(&site.send(&args))
        };
        let map_path = map.to_string_lossy();
        let seconds = load.seconds.map(|s| s.to_string());
        let mut whole = vec!["--map", &*map_path];
        whole.extend(seconds.iter().flat_map(|s| ["--seconds", s.as_str()]));
        let played = play(&whole);
        // The same source, session and sequence once more. Far back they would be late instead.
        let doubled = if seconds.is_some() { play(&["--seconds", "5"]) } else { 0 };
        let start: jiff::Timestamp = site::start().parse().expect("a time");
        let start = EventTime::from_micros(start.as_microsecond());
        let hostile = Hostile::new(start + Span::from_seconds(30.0), 3);
        produce(site, &hostile);
        let simulated = frames_sent(&site.send(&["--simulate", "3", "--for", "90"]));
        let text = std::fs::read_to_string(&map).expect("the map of patients");
        let map: BTreeMap<String, Value> = serde_json::from_str(&text).expect("the map is JSON");
        let mut patients: BTreeSet<String> = map.keys().cloned().collect();
        patients.extend(hostile.patients.iter().cloned());
        Self { map, played, doubled, simulated, hostile, patients }
    }

    fn total(&self) -> u64 {
        self.played + self.doubled + self.simulated + self.hostile.records.len() as u64
    }
}

fn frames_sent(said: &str) -> u64 {
    let count = said.rsplit(' ').next().and_then(|n| n.parse().ok());
    count.unwrap_or_else(|| panic!("auscult send said {said:?}"))
}

/// Past the client's own limits: a sender that means harm has none.
fn produce(site: &Site, hostile: &Hostile) {
    let loud: &[(&str, &str)] = &[("message.max.bytes", "2000000"), ("compression.codec", "zstd")];
    site.client.produce_with(&site.topic("frames"), &hostile.records, loud);
}

fn pages(site: &Site) {
    for path in ["/livez", "/readyz"] {
        assert_eq!(http::get(site.listen(), path).expect("an answer").status, 200, "{path}");
    }
    let page = http::get(site.listen(), "/metrics").expect("an answer").text();
    promtool::check_metrics(&page).unwrap_or_else(|e| panic!("promtool: {e}\n{page}"));
}

/// I5, to the unit: in the metrics, and against what was sent.
fn accounts(site: &Site, sent: &Sent, metrics: &BTreeMap<String, f64>) {
    let outcome = |name: &str| metrics[&format!("auscult_frames_total{{outcome=\"{name}\"}}")] as u64;
    let hostile = &sent.hostile;
    let found = ["processed", "duplicate", "late", "rejected"].map(outcome);
    let expected = [
        sent.played + sent.simulated + hostile.processed,
        sent.doubled + hostile.duplicate,
        hostile.late,
        hostile.rejects_total(),
    ];
    assert_eq!(found, expected, "processed, duplicate, late, rejected");
    for (code, n) in &hostile.rejected {
        assert_eq!(metrics[&format!("auscult_rejects_total{{code=\"{code}\"}}")] as u64, *n, "{code}");
    }
    let ends = site.client.end_offsets(&site.topic("frames"), Isolation::ReadCommitted);
    let ticks = metrics["auscult_ticks_total"] as u64;
    assert!(ends.len() == 4 && ends.iter().all(|end| *end > 0), "{ends:?}");
    let log = ends.iter().sum::<i64>() as u64;
    // A tick may have been appended since the metrics were read.
    assert!(log >= sent.total() + ticks && log <= sent.total() + ticks + 16, "{log} records, {ticks} ticks");
}

/// SIGTERM: within 10 s, with exit 0, the last heartbeat says goodbye and bears the same accounts.
fn leave(site: &Site, running: &mut Running, sent: &Sent) -> String {
    let asked = Instant::now();
    let code = running.terminate(Duration::from_secs(10));
    assert_eq!(code, 0, "{}", running.tail(30));
    let took = asked.elapsed().as_secs_f64();
    let beats: Vec<Value> = site.messages("heartbeat").iter().map(Message::json).collect();
    let last = beats.last().expect("a heartbeat");
    assert_eq!(last["state"], "leaving", "{last}");
    let n = |key: &str| last[key].as_u64().unwrap_or_else(|| panic!("{key} of {last}"));
    assert_eq!(n("frames_in"), sent.total(), "{last}");
    assert_eq!(n("frames_in"), n("processed") + n("duplicate") + n("late") + n("rejected"), "{last}");
    // Before its first turn it says that it is starting.
    let alive = beats[..beats.len() - 1].iter().skip_while(|b| b["state"] == "starting");
    assert!(alive.clone().count() > 0 && alive.clone().all(|b| b["state"] == "running"), "{beats:?}");
    format!("SIGTERM to exit 0: {took:.1} s; {} heartbeats", beats.len())
}

/// Every reject lies in the dead-letter topic once, with its place in the log, and its bytes.
fn dead_letters(site: &Site, hostile: &Hostile) {
    let frames = site.topic("frames");
    let log: BTreeMap<(i32, i64), Message> =
        site.messages("frames").into_iter().map(|m| ((m.partition, m.offset), m)).collect();
    let mut codes: BTreeMap<String, u64> = BTreeMap::new();
    let mut places = BTreeSet::new();
    for message in site.messages("rejects") {
        let header = |name: &str| message.header(name).unwrap_or_else(|| panic!("no header {name}"));
        let number = |name: &str| header(name).parse::<i64>().expect("a number");
        assert_eq!(header("auscult_input_topic"), frames);
        let place = (number("auscult_input_partition") as i32, number("auscult_input_offset"));
        assert!(places.insert(place), "put aside twice: {place:?}");
        let original = &log[&place];
        let (whole, kept) =
            (original.value.clone().unwrap_or_default(), message.value.clone().unwrap_or_default());
        let (key, all) = (message.key_text(), original.key_text());
        assert!(key == all || all.starts_with(&key) && header("auscult_key_bytes") == all.len().to_string());
        let cut = message.header("auscult_value_bytes").map(|n| n.parse::<usize>().expect("a number"));
        match cut {
            None => assert_eq!(kept, whole),
            Some(bytes) => assert!(bytes == whole.len() && kept.len() < bytes && whole.starts_with(&kept)),
        }
        assert!(!header("auscult_reject_detail").contains("hostile-"), "a detail names nobody");
        *codes.entry(header("auscult_reject_code")).or_default() += 1;
    }
    let expected: BTreeMap<String, u64> = hostile.rejected.iter().map(|(c, n)| ((*c).into(), *n)).collect();
    assert_eq!(codes, expected);
}

/// Bodies keep to their schema; a second reader, in Python, sees each id once; headers are CloudEvents binary mode.
fn told_once(site: &Site, topic: &str, schema: &str) -> String {
    let messages = site.messages(topic);
    assert!(!messages.is_empty(), "nothing on {topic}");
    let mut lines = String::new();
    for message in &messages {
        let body = message.json();
        let header = |name: &str| message.header(name).unwrap_or_else(|| panic!("no header {name}"));
        assert_eq!(header("ce_specversion"), "1.0");
        assert_eq!(Value::from(header("ce_id")), body["id"]);
        assert_eq!(header("content-type"), "application/json");
        assert!(header("ce_type").starts_with("org.auscult.") && header("ce_source") == "/auscult/ward-1");
        let time: jiff::Timestamp = header("ce_time").parse().expect("RFC 3339");
        assert_eq!(Value::from(time.as_microsecond()), body["event_time_us"]);
        assert_eq!(Value::from(message.key_text()), body["patient"]);
        lines.push_str(&String::from_utf8_lossy(message.value.as_deref().unwrap_or_default()));
        lines.push('\n');
    }
    let path = |name: String| site.folder().join(name).to_string_lossy().into_owned();
    let (bodies, schemas) = (path(format!("{topic}.jsonl")), path("schemas".into()));
    std::fs::write(&bodies, lines).expect("write");
    assert!(binary::run(["schema", "--write", &schemas]).status.success());
    let schema = format!("{schemas}/{schema}.json");
    let findings = python::check("check_schemas.py", [&schemas, &bodies, "--schema", &schema]);
    assert_eq!(findings["lines"].as_u64(), Some(messages.len() as u64), "{findings}");
    let (name, out) = (site.topic(topic), path(format!("{topic}.read.jsonl")));
    let args = ["--brokers", site.client.bootstrap(), "--topic", &name, "--out", &out];
    let findings = python::check("read_committed.py", args);
    let seen = [&findings["count"], &findings["unique_ids"]].map(Value::as_u64);
    assert_eq!(seen, [Some(messages.len() as u64); 2], "{findings}");
    assert_eq!(findings["without_id"], 0);
    format!("{topic}: {} on Kafka, each once and by its schema", messages.len())
}

/// Four tables that others read; the waveforms are those of the recordings, sample for sample.
fn archive(site: &Site, mitdb: &Path, sent: &Sent, load: Load) -> String {
    let (root, map) = (site.archive(), site.folder().join("archive-map.json"));
    let aside: Vec<_> =
        site::files(&root).into_iter().filter(|f| f.to_string_lossy().contains(".tmp")).collect();
    assert!(aside.is_empty(), "left aside: {aside:?}");
    let strangers = site.messages("frames").into_iter().map(|m| (m.key_text(), Value::Null));
    let mut mapping: BTreeMap<String, Value> = strangers.filter(|(key, _)| !key.is_empty()).collect();
    mapping.extend(sent.map.iter().map(|(patient, record)| (patient.clone(), played(mitdb, record))));
    std::fs::write(&map, json!(mapping).to_string()).expect("write");
    let path = |p: &Path| p.to_string_lossy().into_owned();
    let mut args = vec![path(&root), path(mitdb), "--map".into(), path(&map)];
    args.extend(load.seconds.iter().flat_map(|s| ["--seconds".into(), s.to_string()]));
    let samples = python::check("check_archive_samples.py", &args);
    let tables = python::check("check_tables.py", [path(&root)]);
    for topic in ["events", "scores"] {
        let told = site.messages(topic).len() as u64;
        assert_eq!(tables["rows"][topic].as_u64(), Some(told), "{topic}: {tables}");
    }
    format!(
        "archive: {} samples of {} channels equal; rows {}",
        samples["samples"], samples["channels"], tables["rows"]
    )
}

/// Which signal of a record each channel of the archive is.
pub fn played(mitdb: &Path, record: &Value) -> Value {
    let name = record.as_str().expect("the name of a record");
    let recording = auscult_datasets::open(&mitdb.join(name)).expect("the record");
    let channel = |w: &auscult_datasets::recording::RecordedWave| {
        let mapping = w.mapping.as_ref().ok()?;
        Some((mapping.channel.row().name.to_owned(), Value::from(w.label.clone())))
    };
    let channels: serde_json::Map<String, Value> = recording.waves.iter().filter_map(channel).collect();
    json!({"record": name, "channels": channels})
}

/// I8: neither logs nor metrics ever name a patient.
fn nobody_named(site: &Site, sent: &Sent, metrics: &BTreeMap<String, f64>) {
    let texts = [site.logs(), metrics.keys().cloned().collect::<Vec<_>>().join("\n")];
    let mut ids = sent.patients.clone();
    ids.extend(site.messages("events").iter().map(Message::key_text));
    ids.extend(site.messages("scores").iter().map(Message::key_text));
    assert!(ids.len() > sent.patients.len() && with_prefix(metrics, "auscult_patients").len() == 1);
    for id in ids {
        assert!(texts.iter().all(|t| !t.contains(&id)), "a log or a metric names {id}");
    }
    assert!(
        texts[0].contains("running") && !texts[0].contains('\u{1b}'),
        "the log was read, and is plain text"
    );
}
