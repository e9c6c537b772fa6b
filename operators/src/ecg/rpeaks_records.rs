//! Two leads together against each of them alone, on annotated records.
//! In: development records. Out: failures.

use std::path::Path;

use super::records::{Record, data_folder, read_lead, score};
use super::rpeaks::SPEC;
use crate::signal::{ChannelId, Epoch, EventTime, Hertz, Readings, Run, Values};

/// Sample indices of the beats that `rpeaks` finds in these leads.
fn beats(leads: &[&Record]) -> Vec<i64> {
    let names = ["ecg_ii", "ecg_v1"].map(|n| ChannelId::named(n).unwrap());
    let rate = leads[0].rate;
    let mut op = (SPEC.build)(&(SPEC.defaults)()).unwrap();
    let (mut out, mut found, values) = (Readings::default(), vec![], Values::default());
    let seconds = (leads[0].mv.len() as f64 / rate) as usize + 5;
    for s in 0..seconds {
        let place = |s: usize| ((s as f64 * rate).ceil() as usize).min(leads[0].mv.len());
        let (from, to) = (place(s), place(s + 1));
        let start = EventTime::from_micros((from as f64 / rate * 1e6).round() as i64);
        let runs: Vec<Run<'_>> = leads
            .iter()
            .zip(names)
            .filter(|_| to > from)
            .map(|(lead, channel)| {
                let raw = &lead.mv[from..to];
                Run { channel, rate: Hertz(rate), start, reset: s == 0, raw, clean: raw, bridged: 0 }
            })
            .collect();
        out.clear();
        op.apply(&Epoch { start: EventTime::from_seconds(s as i64), runs: &runs, values: &values }, &mut out);
        found.extend(out.beats.iter().map(|b| (b.time.micros() as f64 * rate / 1e6).round() as i64));
    }
    found
}

fn f1(r: &Record, found: &[i64]) -> f64 {
    let keep = |t: &&i64| !r.flutter.iter().any(|f| (f.0..=f.1).contains(t));
    let reference: Vec<i64> = r.beats.iter().filter(keep).copied().collect();
    let found: Vec<i64> = found.iter().filter(keep).copied().collect();
    let (misses, false_beats, _) = score(&reference, &found, r.rate);
    let hits = 2.0 * (reference.len() - misses) as f64;
    100.0 * hits / (hits + (misses + false_beats) as f64)
}

fn names(folder: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(folder.join("mitdb/RECORDS")).unwrap();
    text.split_whitespace().map(Into::into).collect()
}

/// F1 of both leads against that of the better one alone, flutter left out; and if the poorer lead comes first in the
/// table, which then has to be found out: where both are as sure of themselves it is not.
#[test]
fn two_leads_are_as_good_as_the_better_one() {
    let Some(folder) = data_folder() else {
        return not_run("two_leads_are_as_good_as_the_better_one");
    };
    let (mut better, mut together) = (0.0, 0.0);
    for name in names(&folder) {
        let [one, other] = [0, 1].map(|k| read_lead(&folder.join("mitdb"), &name, k));
        let alone = f1(&one, &beats(&[&one])).max(f1(&one, &beats(&[&other])));
        for (leads, share) in [([&one, &other], 0.1), ([&other, &one], 0.8)] {
            let both = f1(&one, &beats(&leads));
            assert!(
                both >= alone - share,
                "record {name}: {both:.3} % with two leads, {alone:.3} % with one"
            );
            together += 0.5 * both;
        }
        better += alone;
    }
    assert!(together >= better - 0.5, "sum of F1 of all records: {together:.2}, better leads {better:.2}");
}

#[allow(clippy::print_stderr, reason = "says what was not run")]
fn not_run(what: &str) {
    eprintln!("{what}: not run, no development data (set AUSCULT_DATA)");
}
