//! Load on the real broker: the figures of ten thousand beds, of catching up, of taking over.
//! In: what to measure. Out: a table. Run it with `--release`, on a machine that does nothing else:
//!
//! * `load --beds 10000 --minutes 10`: real time; latency, lag, processor time and memory. Before that another service
//!   and its sender run against the same broker for a minute (`--warm-s 0`: not): one that has just been started
//!   compiles its own program for that long, on the processors that are measured
//! * `load --beds 200 --outage 60`: an hour's outage (in minutes) is caught up with while live frames keep coming
//! * `load --beds 1000 --takeover`: killed and restarted; left to another; killed and taken over by another, with a
//!   session of 2 s and a broker that takes it (`--session-ms 6000`: with the session that brokers take by default)
//! * `load --beds 1000 --away 70`: the broker is stopped for so many seconds
//! * `load --beds 10000 --sender`: what the sender alone costs, and how fast it is

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "a command that measures"
)]

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use auscult_tests::kafka::{Broker, Client};
use auscult_tests::load::{Meter, Reader, Seen, cpu_seconds, memory_mib, now_ms, quantile, spread};
use auscult_tests::process::Running;
use auscult_tests::site::{Options, Site, with_prefix};
use auscult_tests::{binary, http, poll};

/// What is asked for.
struct Asked {
    beds: usize,
    minutes: f64,
    partitions: i32,
    outage_min: Option<u64>,
    away_s: Option<u64>,
    takeover: bool,
    sender: bool,
    archive: bool,
    commit_ms: u64,
    session_ms: u64,
    warm_s: u64,
}

fn asked() -> Asked {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let value = |name: &str| args.iter().position(|a| a == name).and_then(|i| args.get(i + 1)).cloned();
    let number = |name: &str| value(name).map(|v| v.parse::<f64>().unwrap_or_else(|_| panic!("{name}: {v}")));
    let has = |name: &str| args.iter().any(|a| a == name);
    Asked {
        beds: number("--beds").unwrap_or(1000.0) as usize,
        minutes: number("--minutes").unwrap_or(1.0),
        partitions: number("--partitions").unwrap_or(8.0) as i32,
        outage_min: number("--outage").map(|m| m as u64),
        away_s: number("--away").map(|s| s as u64),
        takeover: has("--takeover"),
        sender: has("--sender"),
        archive: !has("--no-archive"),
        commit_ms: number("--commit-ms").unwrap_or(50.0) as u64,
        session_ms: number("--session-ms").unwrap_or(if has("--takeover") { 2000.0 } else { 6000.0 }) as u64,
        warm_s: number("--warm-s").unwrap_or(60.0) as u64,
    }
}

/// Bytes a second that the broker reads and writes to compact the topic of states: unbounded it takes what it gets, in
/// bursts that outputs wait for.
const COMPACTION: (&str, &str) = ("log.cleaner.io.max.bytes.per.second", "40000000");

fn main() {
    let asked = asked();
    let least = asked.session_ms.min(6000).to_string();
    let properties = [("group.min.session.timeout.ms", least.as_str()), COMPACTION];
    let mut broker = Broker::start_long_lived(&properties);
    let load = Load::new(&asked, &broker.client());
    if asked.sender {
        load.sender(&broker);
    } else if asked.takeover {
        load.takeover();
    } else if let Some(minutes) = asked.outage_min {
        load.outage(minutes, &broker);
    } else if let Some(seconds) = asked.away_s {
        load.away(seconds, &mut broker);
    } else {
        if asked.warm_s > 0 {
            Load::new(&asked, &broker.client()).pass(asked.warm_s);
        }
        load.steady(&broker);
    }
}

struct Load<'a> {
    asked: &'a Asked,
    client: Client,
    site: Site,
}

impl<'a> Load<'a> {
    fn new(asked: &'a Asked, client: &Client) -> Self {
        let roll_s = asked.archive.then_some(60);
        let kafka = format!("session_timeout_ms = {}\nleave_on_stop = {}", asked.session_ms, asked.takeover);
        let options = Options {
            partitions: asked.partitions,
            commit_ms: asked.commit_ms,
            roll_s,
            kafka: &kafka,
            ..Options::default()
        };
        let site = Site::new(client, &options);
        // The broker's own time on what is told; the others are made by the service.
        for name in ["events", "scores"] {
            let configs = [("message.timestamp.type", "LogAppendTime")];
            client.create_topic(&site.topic(name), asked.partitions, &configs);
        }
        Self { asked, client: client.clone(), site }
    }

    fn send(&self, seconds: u64, more: &[&str]) -> Running {
        let (beds, seconds) = (self.asked.beds.to_string(), seconds.to_string());
        let args = ["--simulate", &beds, "--for", &seconds, "--open-end"];
        self.site.start_sending(&[&args, more].concat())
    }

    fn reader(&self) -> Reader {
        let topics = [self.site.topic("scores"), self.site.topic("events")];
        let topics: Vec<&str> = topics.iter().map(String::as_str).collect();
        Reader::start(&self.client, &topics, self.asked.partitions, self.asked.beds)
    }

    /// The same load for a while, of which nothing is measured.
    fn pass(self, seconds: u64) {
        let mut running = self.site.run();
        let mut sender = self.send(seconds, &["--speed", "1", "--start", "now"]);
        sender.wait(Duration::from_secs(seconds + 60));
        assert_eq!(running.terminate(Duration::from_secs(15)), 0, "{}", running.tail(20));
    }

    /// Beds in real time.
    fn steady(&self, broker: &Broker) {
        let mut running = self.site.run();
        let reader = self.reader();
        let seconds = (self.asked.minutes * 60.0) as u64;
        let mut sender = self.send(seconds, &["--speed", "1", "--start", "now"]);
        let (mut meter, mut all) = (Meter::default(), Vec::new());
        let pids = [("engine", running.pid()), ("broker", broker.pid()), ("sender", sender.pid())];
        for (name, pid) in pids {
            meter.read(name, pid);
        }
        let cpu = pids.map(|(_, pid)| cpu_seconds(pid));
        let began = Instant::now();
        println!(
            "   s | lag max | in flight | engine MiB | commits | cores: engine broker sender | visible after"
        );
        while sender.exit_code().is_none() {
            std::thread::sleep(Duration::from_secs(15));
            self.line(&mut meter, &pids, began, &reader.take(), &mut all);
            assert!(running.exit_code().is_none(), "the service ended\n{}", running.tail(40));
        }
        let wall = began.elapsed().as_secs_f64();
        let over = now_ms();
        let used: Vec<String> = pids
            .iter()
            .zip(cpu)
            .map(|((name, pid), was)| format!("{name} {:.2}", (cpu_seconds(*pid) - was).max(0.0) / wall))
            .collect();
        let sent: u64 = sender.stdout().trim().rsplit(' ').next().and_then(|n| n.parse().ok()).unwrap_or(0);
        let metrics = self.site.drained(&mut running, sent);
        all.extend(reader.take());
        // The first minute is that of a service to which all beds come at once; after the last second nobody seals.
        let (first, last) = (all.iter().map(|s| s.sealed_ms).min().unwrap_or(0), over - 20_000);
        let from = |warm_ms| move |s: &&Seen| (first + warm_ms..last).contains(&s.sealed_ms);
        let spread_of =
            |late: fn(&Seen) -> i64, warm_ms| spread(all.iter().filter(from(warm_ms)).map(late).collect());
        println!("cores over all: {} (a sender that has ended counts as 0)", used.join(", "));
        for (name, warm_ms) in [("all", 0), ("after the first minute", 60_000)] {
            println!("written after, {name}: {}", spread_of(|s| s.written_ms - s.sealed_ms, warm_ms));
            println!("visible after, {name}: {}", spread_of(|s| s.visible_ms - s.sealed_ms, warm_ms));
        }
        println!("accounts: sent {sent}, {}", accounts(&metrics));
        let begun = Instant::now();
        let code = running.terminate(Duration::from_secs(15));
        println!("told to stop: exit {code} after {:.1} s", begun.elapsed().as_secs_f64());
        print!("{}", sender_says(&sender));
    }

    fn line(
        &self,
        meter: &mut Meter,
        pids: &[(&str, u32)],
        began: Instant,
        seen: &[Seen],
        all: &mut Vec<Seen>,
    ) {
        all.extend(seen);
        let metrics = self.site.metrics();
        let lag = with_prefix(&metrics, "auscult_partition_lag_records").into_iter().fold(0.0, f64::max);
        let used: Vec<(f64, u64)> = pids.iter().map(|(name, pid)| meter.read(name, *pid)).collect();
        let cores: Vec<String> = used.iter().map(|u| format!("{:.2}", u.0)).collect();
        println!(
            "{:4.0} | {lag:7.0} | {:9.0} | {:10} | {:7.0} | {:26} | {}; {}",
            began.elapsed().as_secs_f64(),
            metrics["auscult_in_flight_records"],
            used[0].1,
            metrics["auscult_commits_total"],
            cores.join(" "),
            spread(seen.iter().map(|s| s.visible_ms - s.sealed_ms).collect()),
            slowest_second(seen),
        );
    }

    /// The sender alone: in real time, and as fast as it goes.
    fn sender(&self, broker: &Broker) {
        self.client.create_topic(&self.site.topic("frames"), self.asked.partitions, &[]);
        for (name, more) in [("real time", ["--speed", "1"]), ("unpaced", ["--speed", "max"])] {
            let (begun, cpu) = (Instant::now(), cpu_seconds(broker.pid()));
            let mut sender = self.send(30, &more);
            let mut used = 0.0;
            while sender.exit_code().is_none() {
                used = cpu_seconds(sender.pid()).max(used);
                std::thread::sleep(Duration::from_millis(50));
            }
            let wall = begun.elapsed().as_secs_f64();
            let broker_used = cpu_seconds(broker.pid()) - cpu;
            println!(
                "{name}: 30 s of {} beds in {wall:.1} s; processor seconds: sender {used:.1}, broker {broker_used:.1}",
                self.asked.beds
            );
            print!("{}", sender_says(&sender));
        }
    }

    /// An outage of so many minutes is caught up with, while live frames keep coming.
    fn outage(&self, minutes: u64, broker: &Broker) {
        let mut running = self.site.run();
        assert_eq!(running.terminate(Duration::from_secs(15)), 0);
        let seconds = minutes * 60;
        let mut sender = self.send(seconds, &["--speed", "max"]);
        assert_eq!(sender.wait(Duration::from_secs(1800)), 0, "{}", sender.tail(20));
        println!("outage: {seconds} s of {} beds are in the log", self.asked.beds);
        let reader = self.reader();
        let (began, from_ms) = (Instant::now(), now_ms());
        let mut live = self.send(600, &["--speed", "1", "--start", "now", "--seed", "2"]);
        let mut running = self.site.run();
        let mut meter = Meter::default();
        let pids = [("engine", running.pid()), ("broker", broker.pid()), ("sender", live.pid())];
        let mut all = Vec::new();
        let want = (seconds * self.asked.beds as u64) as f64;
        let caught_up = poll(Duration::from_secs(580), || {
            self.line(&mut meter, &pids, began, &reader.take(), &mut all);
            std::thread::sleep(Duration::from_secs(2));
            let metrics = self.site.metrics();
            let read = with_prefix(&metrics, "auscult_frames_total").iter().sum::<f64>();
            let lag = with_prefix(&metrics, "auscult_partition_lag_records").into_iter().fold(0.0, f64::max);
            (read >= want && lag < 100.0).then(|| began.elapsed().as_secs_f64())
        });
        let took = caught_up.expect("caught up within ten minutes");
        println!("caught up after {took:.1} s: {:.0} times real time", seconds as f64 / took);
        std::thread::sleep(Duration::from_secs(15));
        all.extend(reader.take());
        let new = all.iter().filter(|s| s.sealed_ms > from_ms + 3_000);
        println!(
            "what came meanwhile: visible after {}",
            spread(new.map(|s| s.visible_ms - s.sealed_ms).collect())
        );
        live.terminate(Duration::from_secs(10));
        println!("told to stop: exit {}", running.terminate(Duration::from_secs(15)));
    }

    /// The broker is stopped for so many seconds.
    fn away(&self, seconds: u64, broker: &mut Broker) {
        let mut running = self.site.run();
        let reader = self.reader();
        let mut sender = self.send(seconds + 120, &["--speed", "1", "--start", "now"]);
        std::thread::sleep(Duration::from_secs(40));
        let before = memory_mib(running.pid());
        broker.stop();
        let (mut most, begun) = (before, Instant::now());
        while begun.elapsed() < Duration::from_secs(seconds) {
            std::thread::sleep(Duration::from_millis(500));
            most = most.max(memory_mib(running.pid()));
            let lives = http::get(self.site.listen(), "/livez").map(|r| r.status);
            assert!(matches!(lives, Ok(200)), "not alive without a broker: {lives:?}\n{}", running.tail(20));
        }
        println!("memory: {before} MiB before, {most} MiB at most in {seconds} s without a broker");
        reader.take();
        broker.restart();
        let back = Instant::now();
        let flows = poll(Duration::from_secs(120), || (!reader.take().is_empty()).then(|| back.elapsed()));
        println!("flowing {:.1} s after the broker answers", flows.expect("it flows again").as_secs_f64());
        sender.wait(Duration::from_secs(400));
        let sent: u64 = sender.stdout().trim().rsplit(' ').next().and_then(|n| n.parse().ok()).unwrap_or(0);
        let metrics = self.site.drained(&mut running, sent);
        println!(
            "memory after: {} MiB; accounts: sent {sent}, {}",
            memory_mib(running.pid()),
            accounts(&metrics)
        );
        println!("told to stop: exit {}", running.terminate(Duration::from_secs(15)));
    }

    /// Killed and restarted; left to another; killed and taken over by another.
    fn takeover(&self) {
        let (second_config, second_listen) = self.other();
        let mut first = self.site.run();
        let reader = self.reader();
        let mut sender = self.send(600, &["--speed", "1", "--start", "now"]);
        // Two rounds of snapshots, so that none is still owed.
        std::thread::sleep(Duration::from_secs(130));
        reader.take();
        first.kill();
        let at = now_ms();
        first = self.site.run();
        self.gap("kill -9, restarted at once", &reader, at);
        let config = second_config.to_string_lossy().into_owned();
        let mut second = binary::spawn(["run", "-c", &config], self.site.folder(), "second");
        poll(Duration::from_secs(60), || http::get(&second_listen, "/livez").ok())
            .expect("the second answers");
        std::thread::sleep(Duration::from_secs(30));
        reader.take();
        let at = now_ms();
        let code = first.terminate(Duration::from_secs(15));
        println!("first told to stop: exit {code} after {} ms", now_ms() - at);
        self.gap("left at once, taken over by another", &reader, at);
        first = self.site.run();
        std::thread::sleep(Duration::from_secs(70));
        reader.take();
        let at = now_ms();
        first.kill();
        let what = format!("kill -9, taken over by another (session {} ms)", self.asked.session_ms);
        self.gap(&what, &reader, at);
        sender.kill();
        println!("told to stop: exit {}", second.terminate(Duration::from_secs(15)));
        let logs = std::fs::read_to_string(self.site.folder().join("second.err")).unwrap_or_default();
        logs.lines().filter(|l| l.contains("taken over")).for_each(|l| println!("  {l}"));
    }

    /// Of each partition, how long nothing was visible after `at`; the first and the last to come back.
    fn gap(&self, what: &str, reader: &Reader, at: i64) {
        let mut back = BTreeMap::new();
        let partitions = self.asked.partitions as usize;
        poll(Duration::from_secs(40), || {
            for seen in reader.take() {
                // What was written before is only seen now.
                if seen.written_ms > at + 300 {
                    back.entry(seen.input).or_insert(seen.visible_ms - at);
                }
            }
            (back.len() == partitions).then_some(())
        });
        let (first, last) = (back.values().min(), back.values().max());
        println!(
            "{what}: {} of {partitions} partitions, first new after {first:?} ms, all after {last:?} ms",
            back.len()
        );
    }

    /// The configuration of another process of the same group.
    fn other(&self) -> (std::path::PathBuf, String) {
        let (path, listen) = self.site.member("ward-2");
        let text = std::fs::read_to_string(&path).expect("the configuration");
        std::fs::write(&path, text.replace("archive\"", "archive-2\"")).expect("write the configuration");
        (path, listen)
    }
}

fn accounts(metrics: &BTreeMap<String, f64>) -> String {
    let frames = metrics.iter().filter(|(name, _)| name.starts_with("auscult_frames_total"));
    let parts: Vec<String> = frames.map(|(name, n)| format!("{name} {n}")).collect();
    parts.join(", ").replace("auscult_frames_total", "frames")
}

/// The second of the minute in which outputs took longest, and how long in each partition (medians, ms).
fn slowest_second(seen: &[Seen]) -> String {
    let mut seconds: BTreeMap<i64, Vec<&Seen>> = BTreeMap::new();
    for s in seen {
        seconds.entry(s.sealed_ms / 1000).or_default().push(s);
    }
    let late = |of: &[&Seen]| {
        let mut late: Vec<i64> = of.iter().map(|s| s.visible_ms - s.sealed_ms).collect();
        late.sort_unstable();
        quantile(&late, 0.5)
    };
    // What is told of long ago, such as the end of an alert, says nothing of its second.
    let many = seconds.iter().filter(|s| s.1.len() > 20);
    let Some((second, all)) = many.max_by_key(|s| late(s.1)) else { return String::new() };
    let mut parts: BTreeMap<i32, Vec<&Seen>> = BTreeMap::new();
    all.iter().for_each(|s| parts.entry(s.input).or_default().push(s));
    let parts: Vec<String> = parts.values().map(|of| late(of).to_string()).collect();
    format!("slowest :{:02} {}", second % 60, parts.join(" "))
}

fn sender_says(sender: &Running) -> String {
    let late = sender.stderr();
    late.lines().filter(|l| l.contains("late")).map(|l| format!("{l}\n")).collect()
}
