//! Respiration by every witness, alone and fused, on nine ward recordings with two annotators' breaths; breaths one by
//! one, and what the line, the pulse and the heart tell together.
//! In: bidmc. Out: errors on standard error, ceilings asserted; with and without each record.
#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "figures of a test")]

#[path = "support/records.rs"]
mod records;
#[path = "support/walk.rs"]
mod walk;

use auscult_operators::signal::BeatKind;
use auscult_operators::{ecg, ppg, pressure, quality, respiration};
use records::{Table, read};
use std::path::Path;
use walk::{Wave, walk};

const RECORDS: [&str; 9] = ["01", "03", "04", "15", "24", "28", "32", "43", "47"];
const NAMES: [&str; 5] =
    ["resp_rate", "resp_rate_fused", "resp_rate_impedance", "resp_rate_ppg", "resp_rate_ecg"];

fn table(folder: &Path, record: &str, what: &str) -> Table {
    let bytes = read(folder, "bidmc_more.tar.gz", &format!("bidmc_{record}_{what}.csv")).unwrap();
    Table::parse(&String::from_utf8(bytes).unwrap())
}

fn waves(folder: &Path, record: &str, wanted: &[(&str, &str)]) -> Vec<Wave> {
    let signals = table(folder, record, "Signals");
    let wave = |(column, channel): &(&str, &str)| {
        let samples = signals.column(column)?.iter().map(|&x| x as f32).collect();
        Some(Wave::new(channel, 125.0, samples))
    };
    let mut waves: Vec<Wave> = wanted.iter().filter_map(wave).collect();
    waves.sort_by_key(|w| w.channel);
    waves
}

/// Errors of one reading, and how often it was asked for.
#[derive(Clone, Default)]
struct Score {
    errors: Vec<f64>,
    asked: usize,
}

impl Score {
    fn add(&mut self, value: Option<f64>, truth: f64) {
        self.asked += 1;
        self.errors.extend(value.map(|v| (v - truth).abs()));
    }
    fn join(scores: impl Iterator<Item = Score>) -> Score {
        scores.fold(Score::default(), |mut all, s| {
            all.errors.extend(s.errors);
            all.asked += s.asked;
            all
        })
    }
    fn mean(&self) -> f64 {
        self.errors.iter().sum::<f64>() / self.errors.len().max(1) as f64
    }
    fn kept(&self) -> f64 {
        self.errors.len() as f64 / self.asked.max(1) as f64
    }
    fn show(&self, name: &str) {
        eprintln!("{name}: mean error {:.2}, kept {:.3} of {}", self.mean(), self.kept(), self.asked);
    }
}

/// Breaths per minute of one annotator in a window: from the first to the last breath inside it.
fn annotated(breaths: &[f64], from_s: f64, to_s: f64) -> Option<f64> {
    let inside: Vec<f64> = breaths.iter().map(|b| b / 125.0).filter(|&t| t >= from_s && t < to_s).collect();
    let (first, last) = (inside.first()?, inside.last()?);
    (inside.len() >= 3).then(|| 60.0 * (inside.len() - 1) as f64 / (last - first))
}

/// Scores of [`NAMES`] on one record, seen through the given waves.
fn scores(folder: &Path, record: &str, wanted: &[(&str, &str)]) -> Vec<Score> {
    let breaths = table(folder, record, "Breaths");
    let (one, two) = (breaths.at(0), breaths.at(1));
    let chain = [quality::SPECS, ecg::SPECS, ppg::SPECS, respiration::SPECS].concat();
    let mut scores = vec![Score::default(); NAMES.len()];
    walk(&waves(folder, record, wanted), &chain, |s, out| {
        let end = (s + 1) as f64;
        if (s + 1) % 4 != 0 || end < 36.0 {
            return;
        }
        let window = |b: &[f64]| annotated(b, end - 32.0, end);
        let (Some(a), Some(b)) = (window(&one), window(&two)) else { return };
        for (name, score) in NAMES.iter().zip(&mut scores) {
            score.add(out.find(name).and_then(|r| r.value.ok()), (a + b) / 2.0);
        }
    });
    scores
}

#[test]
fn fused_rates_agree_with_two_annotators() {
    let Some(root) = records::data("bidmc fused respiration") else { return };
    let folder = root.join("bidmc");
    let all = [("RESP", "resp"), ("PLETH", "ppg"), ("II", "ecg_ii"), ("V", "ecg_v1")];
    let each: Vec<Vec<Score>> = RECORDS.iter().map(|r| scores(&folder, r, &all)).collect();
    for (record, scores) in RECORDS.iter().zip(&each) {
        let line = NAMES.iter().zip(scores).map(|(n, s)| format!("{n} {:.2} {:.2}", s.mean(), s.kept()));
        eprintln!("bidmc {record}: {}", line.collect::<Vec<_>>().join(", "));
    }
    let of = |k: usize| Score::join(each.iter().map(|s| s[k].clone()));
    for (k, name) in NAMES.iter().enumerate() {
        of(k).show(&format!("bidmc {name}"));
        let worst = (0..RECORDS.len()).map(|out| {
            let rest = each.iter().enumerate().filter(|(i, _)| *i != out);
            Score::join(rest.map(|(_, s)| s[k].clone())).mean()
        });
        eprintln!("bidmc {name} with any one record left out: at most {:.2}", worst.fold(0.0, f64::max));
    }
    let fused = of(1);
    assert!(fused.mean() <= 1.0 && fused.kept() >= 0.93, "{} {}", fused.mean(), fused.kept());
    assert!(each.iter().all(|s| s[1].mean() <= 1.5), "a record above 1.5 /min");
    // Heart and pulse alone, as where the chest has no electrodes.
    let blind: Vec<Vec<Score>> = RECORDS.iter().map(|r| scores(&folder, r, &all[1..])).collect();
    let fused = Score::join(blind.iter().map(|s| s[1].clone()));
    fused.show("bidmc resp_rate_fused without impedance");
    assert!(fused.mean() <= 1.5 && fused.kept() >= 0.25, "{} {}", fused.mean(), fused.kept());
}

/// Share of breaths found within a second and a half of either annotator's, and of those found that neither marked.
#[test]
fn breaths_are_found_one_by_one() {
    let Some(root) = records::data("bidmc breaths one by one") else { return };
    let folder = root.join("bidmc");
    let chain = [quality::SPECS, ecg::SPECS, respiration::SPECS].concat();
    let (mut marked, mut found, mut hit, mut seen, mut apnoea) = (0, 0, 0, 0, 0);
    for record in RECORDS {
        let breaths = table(&folder, record, "Breaths");
        let truth: Vec<f64> = breaths.at(0).iter().map(|b| b / 125.0).filter(|t| t.is_finite()).collect();
        let other: Vec<f64> = breaths.at(1).iter().map(|b| b / 125.0).filter(|t| t.is_finite()).collect();
        let mut ours = vec![];
        let mut alarms = 0;
        walk(&waves(&folder, record, &[("RESP", "resp"), ("II", "ecg_ii")]), &chain, |_, out| {
            let own = out.beats.iter().filter(|b| b.kind == BeatKind::Breath);
            ours.extend(own.map(|b| b.time.micros() as f64 / 1e6));
            alarms += usize::from(out.find("apnoea").is_some_and(|r| r.value == Ok(1.0)));
        });
        let near = |list: &[f64], t: f64| list.iter().any(|x| (x - t).abs() <= 1.5);
        let inside = |t: &&f64| **t > 30.0 && **t < 470.0;
        let m = truth.iter().filter(inside).count();
        let h = truth.iter().filter(inside).filter(|t| near(&ours, **t)).count();
        let f = ours.iter().filter(inside).count();
        let s = ours.iter().filter(inside).filter(|t| near(&truth, **t) || near(&other, **t)).count();
        eprintln!("bidmc {record}: {h} of {m} breaths found, {s} of {f} marked, {alarms} s of apnoea told");
        (marked, found, hit, seen, apnoea) = (marked + m, found + f, hit + h, seen + s, apnoea + alarms);
    }
    eprintln!("bidmc breaths: {hit} of {marked} found, {seen} of {found} marked, {apnoea} s of apnoea");
    assert!(hit as f64 >= 0.93 * f64::from(marked as u32) && seen as f64 >= 0.93 * f64::from(found as u32));
    // Shoulders must not count as breaths of their own.
    assert!(f64::from(found as u32) <= 1.04 * f64::from(marked as u32), "{found} for {marked}");
    // The annotators leave no gap of twenty seconds in these records.
    assert!(apnoea <= 30, "{apnoea} s of apnoea told");
}

/// What there is no reference for must at least stay inside what such patients show, and be there most of the time.
#[test]
fn pressure_and_pulse_measures_are_plausible() {
    let Some(root) = records::data("bidmc pressure measures") else { return };
    let folder = root.join("bidmc");
    let chain = [quality::SPECS, ecg::SPECS, ppg::SPECS, pressure::SPECS, respiration::SPECS].concat();
    let wanted = [
        ("abp_dpdt_max", 200.0, 2500.0),
        ("abp_line_state", 0.0, 4.0),
        ("abp_roughness", 0.01, 0.2),
        ("shock_index", 0.3, 1.5),
        ("pulse_pressure", 15.0, 120.0),
        ("pulse_pressure_variation", 0.0, 40.0),
        ("pulse_arrival_time", 100.0, 500.0),
        ("pulse_rmssd", 0.0, 150.0),
        ("pulse_sdnn", 0.0, 150.0),
        ("since_last_breath", 0.0, 40.0),
        ("tidal_periodicity", 0.0, 1.0),
    ];
    for record in RECORDS {
        let mut values = vec![vec![]; wanted.len()];
        let mut asked = vec![0; wanted.len()];
        let all = [("RESP", "resp"), ("PLETH", "ppg"), ("II", "ecg_ii"), ("ABP", "abp")];
        walk(&waves(&folder, record, &all), &chain, |_, out| {
            for (k, (name, ..)) in wanted.iter().enumerate() {
                if let Some(r) = out.find(name) {
                    asked[k] += 1;
                    values[k].extend(r.value.ok());
                }
            }
        });
        for (k, (name, low, high)) in wanted.iter().enumerate() {
            values[k].sort_by(f64::total_cmp);
            let (n, at) =
                (values[k].len(), |part: f64| values[k][((values[k].len() - 1) as f64 * part) as usize]);
            if n == 0 {
                continue;
            }
            let (first, middle, last) = (at(0.05), at(0.5), at(0.95));
            eprintln!("bidmc {record} {name}: {first:.3} {middle:.3} {last:.3}, {n} of {}", asked[k]);
            assert!(first >= *low && last <= *high, "{record} {name}: {first} to {last}");
        }
    }
}
