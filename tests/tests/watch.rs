//! The watchdog and the real service on a real broker: killed, stopped, stuck and cut off is told; a goodbye is not.
//! In: `auscult run` and `auscult watch` as processes, signals, a failpoint. Out: the alarms of two watchdogs, by their
//! output, their topic and the program they run; the times they took, as lines.

#![allow(clippy::print_stdout, reason = "says what it measured")]
#![allow(clippy::unwrap_used, reason = "a test may stop")]

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::time::{Duration, Instant};

use auscult_tests::kafka::{self, Broker};
use auscult_tests::process::{Running, Start, free_ports};
use auscult_tests::site::{LIMIT, Options, Site};
use auscult_tests::{binary, http, poll};
use serde_json::Value;

/// The promise is five seconds; a machine that builds and tests at the same time may need more, and the wait must end.
const NOTICED: Duration = Duration::from_secs(45);

struct Watchdog {
    running: Running,
    listen: String,
}

impl Watchdog {
    fn start(site: &Site, name: &str, further: &[&str]) -> Self {
        let listen = format!("127.0.0.1:{}", free_ports(1)[0]);
        let config = site.config();
        let args = ["watch", "-c", &config.to_string_lossy(), "--name", name, "--listen", &listen];
        let start = Start::new(binary::auscult()).args(args).args(further);
        let watchdog = Self { running: start.spawn(site.folder(), name), listen };
        let hears = poll(LIMIT, || {
            let page = http::get(&watchdog.listen, "/metrics").ok()?.text();
            page.lines().any(|l| l.starts_with("auscult_watch_silence_seconds{")).then_some(())
        });
        assert!(hears.is_some(), "{name} hears nobody\n{}", watchdog.running.tail(30));
        watchdog
    }

    fn said(&self) -> Vec<Value> {
        self.running.stdout().lines().map(|l| serde_json::from_str(l).unwrap()).collect()
    }

    fn rings(&self, kind: &str) -> bool {
        self.said().iter().rfind(|v| v["kind"] == kind).is_some_and(|v| v["state"] == "active")
    }

    /// Waits until an alarm of this kind begins, or ends.
    fn wait(&self, kind: &str, active: bool) {
        let done = poll(NOTICED, || (self.rings(kind) == active).then_some(()));
        assert!(done.is_some(), "{kind} should be {active}\n{}", self.running.tail(30));
    }

    fn count(&self, kind: &str) -> usize {
        self.said().iter().filter(|v| v["kind"] == kind && v["state"] == "active").count()
    }
}

#[allow(clippy::disallowed_methods, reason = "what is measured is wall-clock time")]
fn noticed(watchdog: &Watchdog, fault: &str, kind: &str) {
    let began = Instant::now();
    watchdog.wait(kind, true);
    println!("{fault}: {kind} after {:.1} s", began.elapsed().as_secs_f64());
}

fn script(dir: &Path) -> String {
    let path = dir.join("page-somebody");
    let text = format!("#!/bin/sh\ncat >> {:?}\n", dir.join("paged"));
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path.to_string_lossy().into_owned()
}

fn ready(site: &Site) {
    http::wait_for_ok(site.listen(), "/readyz", LIMIT);
}

#[test]
fn killed_and_stopped_is_told_and_a_goodbye_is_not() {
    let site = Site::new(&kafka::shared(), &Options { partitions: 2, roll_s: None, ..Options::default() });
    let mut running = site.run();
    ready(&site);
    let exec = script(site.folder());
    let mut one = Watchdog::start(&site, "watch-1", &["--exec", &exec]);
    let mut two = Watchdog::start(&site, "watch-2", &[]);

    running.kill();
    noticed(&one, "kill -9", "engine.dead");
    two.wait("engine.dead", true);
    running = site.run();
    one.wait("engine.dead", false);
    two.wait("engine.dead", false);
    ready(&site);

    running.signal("STOP");
    noticed(&one, "SIGSTOP", "engine.dead");
    two.wait("engine.dead", true);
    running.signal("CONT");
    one.wait("engine.dead", false);
    two.wait("engine.dead", false);

    // Told to stop, it says goodbye: nothing rings, for longer than a death would take.
    ready(&site);
    let kinds = ["partition.unowned", "engine.dead", "engine.stuck", "engine.lagging"];
    let quiet = poll(NOTICED, || kinds.iter().all(|k| !one.rings(k)).then_some(()));
    assert!(quiet.is_some(), "{}", one.running.tail(20));
    let before = one.said().len();
    assert_eq!(running.terminate(Duration::from_secs(20)), 0, "{}", running.tail(30));
    std::thread::sleep(Duration::from_secs(8));
    assert_eq!(one.said().len(), before, "{:#?}", &one.said()[before..]);

    for watchdog in [&mut one, &mut two] {
        let livez = http::get(&watchdog.listen, "/livez").unwrap();
        assert_eq!(livez.status, 200);
        assert_eq!(watchdog.running.terminate(Duration::from_secs(20)), 0);
        assert_eq!(watchdog.count("engine.dead"), 2, "{}", watchdog.running.tail(20));
    }
    // Two watchdogs tell one death under one id, and the topic holds what both have said.
    let ids = |said: Vec<Value>| -> BTreeSet<String> {
        said.iter().filter(|v| v["kind"] == "engine.dead").map(|v| v["id"].to_string()).collect()
    };
    assert_eq!(ids(one.said()).len(), 4);
    assert_eq!(ids(one.said()), ids(two.said()));
    let topic: Vec<Value> = site.messages("watch").iter().map(|m| m.json()).collect();
    for said in one.said().iter().chain(&two.said()) {
        assert!(topic.contains(said), "{said} is not in the topic");
    }
    let paged = std::fs::read_to_string(site.folder().join("paged")).unwrap();
    assert_eq!(paged, one.running.stdout(), "the program was given other words");
}

#[test]
fn a_stuck_loop_is_told_apart_from_a_dead_process() {
    let site = Site::new(&kafka::shared(), &Options { partitions: 2, roll_s: None, ..Options::default() });
    let config = site.config().to_string_lossy().into_owned();
    let log = site.folder().join("failpoints");
    let socket = site.folder().join("notify");
    let systemd = UnixDatagram::bind(&socket).unwrap();
    systemd.set_nonblocking(true).unwrap();
    let mut running = Start::new(binary::auscult())
        .args(["run", "-c", &config])
        .env("AUSCULT_FAILPOINTS", "in_step=sleep:25000@3")
        .env("AUSCULT_FAILPOINTS_LOG", &log)
        .env("NOTIFY_SOCKET", &socket)
        .spawn(site.folder(), "run");
    ready(&site);
    let watchdog = Watchdog::start(&site, "watch-1", &[]);
    site.send(&["--simulate", "4", "--for", "30"]);
    let stuck = poll(LIMIT, || log.exists().then_some(()));
    assert!(stuck.is_some(), "the failpoint was not hit\n{}", running.tail(30));
    noticed(&watchdog, "a step of 25 s", "engine.stuck");
    let livez = poll(LIMIT, || http::get(site.listen(), "/livez").ok().filter(|r| r.status == 503));
    assert!(livez.unwrap().text().contains("has not turned for"));
    // The service manager is not told that all is well as long as the loop stands.
    assert!(told(&systemd).contains("READY=1\n"));
    std::thread::sleep(Duration::from_millis(2500));
    assert_eq!(told(&systemd), "");
    watchdog.wait("engine.stuck", false);
    assert_eq!(http::wait_for_ok(site.listen(), "/livez", LIMIT).status, 200);
    assert_eq!(watchdog.count("engine.dead"), 0, "{}", watchdog.running.tail(30));
    assert!(told(&systemd).contains("WATCHDOG=1\n"));
    assert_eq!(running.terminate(Duration::from_secs(30)), 0, "{}", running.tail(30));
    assert!(told(&systemd).contains("STOPPING=1\n"));
}

/// Everything that was told to the service manager since.
fn told(systemd: &UnixDatagram) -> String {
    let mut all = String::new();
    let mut buffer = [0; 4096];
    while let Ok(n) = systemd.recv(&mut buffer) {
        all += &format!("{}\n", String::from_utf8_lossy(&buffer[..n]));
    }
    all
}

#[test]
fn a_broker_that_is_away_is_told_and_nobody_else_is_blamed() {
    let mut broker = Broker::start();
    let site = Site::new(&broker.client(), &Options { partitions: 2, roll_s: None, ..Options::default() });
    let running = site.run();
    ready(&site);
    let watchdog = Watchdog::start(&site, "watch-1", &[]);
    broker.pause();
    noticed(&watchdog, "the broker is paused", "broker.away");
    broker.resume();
    watchdog.wait("broker.away", false);
    let back = poll(LIMIT, || {
        let page = http::get(&watchdog.listen, "/metrics").ok()?.text();
        let silence = page.lines().find(|l| l.starts_with("auscult_watch_silence_seconds{"))?;
        (silence.rsplit_once(' ')?.1.parse::<f64>().ok()? < 2.0).then_some(())
    });
    assert!(back.is_some(), "no heartbeats came back\n{}", running.tail(30));
    assert_eq!(watchdog.count("engine.dead"), 0, "{}", watchdog.running.tail(30));
}
