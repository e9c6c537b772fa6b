//! kill -9 in the middle of the work, again and again: what is told in the end is what an uninterrupted run tells.
//! In: MIT-BIH by `auscult send`, paced so that the kills fall among the frames. Out: the same events and scores once
//! each, accounts that balance, an archive without holes or doubles.

use std::time::Duration;

use auscult_tests::site::{self, Options, SENSITIVE, Site, assert_same, count};
use auscult_tests::{kafka, poll, python, recordings, walk};
use serde_json::Value;

/// Kills by what the service has told when it is killed: a service just up, one catching up, one in full work.
const AFTER_COMMITS: [u64; 5] = [1, 4, 9, 2, 15];

#[test]
fn killed_five_times_and_nothing_lost_or_doubled() {
    let Some(mitdb) = recordings::folder("mitdb", "killed_five_times_and_nothing_lost_or_doubled") else {
        return;
    };
    let records = recordings::eight(&mitdb);
    let mut args: Vec<&str> = records.iter().map(String::as_str).collect();
    args.extend(["--patients", "13", "--seconds", "100", "--start", site::start()]);
    let options = Options { roll_s: Some(5), tables: SENSITIVE, ..Options::default() };
    let site = Site::new(&kafka::shared(), &options);
    let expected = site.replay("reference", &args);
    assert!(count(&expected.events) > 50, "{}", expected.said);

    let map = site.folder().join("map.json");
    let map_text = map.to_string_lossy().into_owned();
    let mut sending = args.clone();
    sending.extend(["--speed", "4", "--map", &map_text]);
    let mut running = site.run();
    let mut sender = site.start_sending(&sending);
    let mut in_flight = 0;
    for (round, commits) in AFTER_COMMITS.into_iter().enumerate() {
        let reached =
            poll(site::LIMIT, || (site.metrics()["auscult_commits_total"] as u64 >= commits).then_some(()));
        assert!(reached.is_some(), "round {round}: no {commits} commits\n{}", running.tail(30));
        running.kill();
        in_flight += u32::from(sender.exit_code().is_none());
        running = site.run();
    }
    assert!(in_flight >= 3, "only {in_flight} kills fell among the frames");
    assert_eq!(sender.wait(site::LIMIT), 0, "{}", sender.tail(20));
    let said = sender.stdout();
    let sent: u64 = said.trim().rsplit(' ').next().and_then(|n| n.parse().ok()).expect("frames sent: N");
    let metrics = site.drained(&mut running, sent);
    // Since its start the last service has read the whole log: its accounts are those of the log.
    assert_eq!(site::with_prefix(&metrics, "auscult_frames_total").iter().sum::<f64>() as u64, sent);
    assert_eq!(metrics["auscult_frames_total{outcome=\"processed\"}"] as u64, sent);
    assert_eq!(running.terminate(Duration::from_secs(10)), 0, "{}", running.tail(30));

    assert_same("events", &site.bodies("events"), &expected.events);
    assert_same("scores", &site.bodies("scores"), &expected.scores);
    for topic in ["events", "scores"] {
        let out = site.folder().join(format!("{topic}.read")).to_string_lossy().into_owned();
        let name = site.topic(topic);
        let args = ["--brokers", site.client.bootstrap(), "--topic", &name, "--out", &out];
        assert_eq!(python::check("read_committed.py", args)["duplicates"], 0);
    }
    archive_is_whole(&site, &mitdb, &map);
}

fn archive_is_whole(site: &Site, mitdb: &std::path::Path, map: &std::path::Path) {
    let text = std::fs::read_to_string(map).expect("the map");
    let mut mapping: serde_json::Map<String, Value> = serde_json::from_str(&text).expect("JSON");
    mapping.values_mut().for_each(|record| *record = walk::played(mitdb, record));
    std::fs::write(map, Value::Object(mapping).to_string()).expect("write");
    let path = |p: &std::path::Path| p.to_string_lossy().into_owned();
    let root = path(&site.archive());
    let args = [root.clone(), path(mitdb), "--map".into(), path(map), "--seconds".into(), "100".into()];
    let findings = python::check("check_archive_samples.py", args);
    assert!(findings["files"].as_u64().is_some_and(|n| n > 40), "files ended between the kills: {findings}");
    let aside: Vec<_> =
        site::files(&site.archive()).into_iter().filter(|f| f.to_string_lossy().contains(".tmp")).collect();
    assert!(aside.is_empty(), "left aside: {aside:?}");
    // A table without rows is a fault there, and recordings have no numerics: the bodies are compared here.
    for topic in ["events", "scores"] {
        let findings = python::check("check_tables.py", [root.as_str(), "--only", topic]);
        assert_eq!(findings["rows"][topic].as_u64(), Some(count(&site.bodies(topic)) as u64), "{findings}");
    }
}
