//! A live run and a replay of the same frames say the same, byte for byte, however the log is partitioned and cut.
//! In: MIT-BIH for recordings, simulated beds whose vital signs complete NEWS2. Out: equal events and scores by patient.
//! Live runs differ in partitions, commit interval and poll size; replays in partitions and batch.

use auscult_tests::kafka;
use auscult_tests::recordings;
use auscult_tests::site::{self, Options, SENSITIVE, Site, assert_same, count};

/// The ways to run live: partitions, commit interval, librdkafka settings.
const LIVE: [(i32, u64, &str); 3] = [
    (1, 10, "\"max.partition.fetch.bytes\" = \"4096\"\n\"fetch.message.max.bytes\" = \"4096\"\n"),
    (2, 1000, ""),
    (4, 100, "\"queued.min.messages\" = \"5\"\n"),
];

fn live(options: &Options<'_>, args: &[&str]) -> (site::Bodies, site::Bodies) {
    let site = Site::new(&kafka::shared(), options);
    let mut running = site.run();
    let said = site.send(args);
    let sent = said.rsplit(' ').next().and_then(|n| n.parse().ok()).expect("frames sent: N");
    site.drained(&mut running, sent);
    assert_eq!(running.terminate(std::time::Duration::from_secs(10)), 0, "{}", running.tail(30));
    (site.bodies("events"), site.bodies("scores"))
}

#[test]
fn live_runs_and_replays_of_recordings_say_the_same() {
    let name = "live_runs_and_replays_of_recordings_say_the_same";
    let Some(mitdb) = recordings::folder("mitdb", name) else { return };
    let records = recordings::eight(&mitdb);
    let mut args: Vec<&str> = records.iter().map(String::as_str).collect();
    args.extend(["--patients", "13", "--seconds", "90", "--start", site::start()]);
    for tables in [SENSITIVE, ""] {
        let options = Options { tables, roll_s: None, ..Options::default() };
        let site = Site::new(&kafka::shared(), &options);
        let expected = site.replay("reference", &args);
        assert!(count(&expected.scores) > 13, "{}", expected.said);
        if !tables.is_empty() {
            let kinds: std::collections::BTreeSet<&str> = expected
                .events
                .values()
                .flatten()
                .filter_map(|b| b.split("\"phase\":\"").nth(1)?.split('"').next())
                .collect();
            assert!(
                count(&expected.events) > 50 && kinds.contains("start") && kinds.contains("end"),
                "{kinds:?}"
            );
        }
        for (partitions, batch) in [("2", "1"), ("4", "7"), ("1", "500"), ("4", "500")] {
            let out = format!("replay-{partitions}-{batch}");
            let mut with = args.clone();
            with.extend(["--partitions", partitions, "--batch", batch]);
            let found = site.replay(&out, &with);
            assert_same(&out, &found.events, &expected.events);
            assert_same(&out, &found.scores, &expected.scores);
        }
        // The shipped rules once; the sensitive ones in every way.
        let ways = if tables.is_empty() { &LIVE[2..] } else { &LIVE[..] };
        for (partitions, commit_ms, properties) in ways.iter().copied() {
            let options =
                Options { partitions, commit_ms, properties, tables, roll_s: None, ..Options::default() };
            let (events, scores) = live(&options, &args);
            let what = format!("live with {partitions} partitions, {commit_ms} ms");
            assert_same(&what, &events, &expected.events);
            assert_same(&what, &scores, &expected.scores);
        }
    }
}

#[test]
fn live_runs_of_simulated_beds_complete_news2_and_say_the_same() {
    let args = ["--simulate", "20", "--for", "120", "--seed", "7", "--start", site::start()];
    let mut first: Option<(site::Bodies, site::Bodies)> = None;
    for (partitions, commit_ms, properties) in LIVE {
        let options = Options {
            partitions,
            commit_ms,
            properties,
            tables: SENSITIVE,
            roll_s: None,
            ..Options::default()
        };
        let found = live(&options, &args);
        let Some((events, scores)) = &first else {
            let complete =
                found.1.values().flatten().filter(|b| b.contains("\"status\":\"complete\"")).count();
            assert!(
                found.1.len() == 20 && complete > 20,
                "{complete} of {} scores are complete",
                count(&found.1)
            );
            first = Some(found);
            continue;
        };
        let what = format!("{partitions} partitions, {commit_ms} ms");
        assert_same(&what, &found.0, events);
        assert_same(&what, &found.1, scores);
    }
}
