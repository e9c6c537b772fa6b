//! Pulse, respiration and pressure on nine ward recordings with the monitor's numbers and two annotators' breaths.
//! In: bidmc. Out: errors per minute on standard error, ceilings asserted.
#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "figures of a test")]

#[path = "support/records.rs"]
mod records;
#[path = "support/walk.rs"]
mod walk;

use auscult_operators::{ppg, pressure, quality, respiration};
use records::{Table, read};
use std::path::Path;
use walk::{Wave, walk};

const RECORDS: [&str; 9] = ["01", "03", "04", "15", "24", "28", "32", "43", "47"];

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
    wanted.iter().filter_map(wave).collect()
}

fn mean(x: &[f64]) -> f64 {
    x.iter().sum::<f64>() / x.len().max(1) as f64
}

/// Mean error and share kept, gathered over records.
#[derive(Default)]
struct Score {
    errors: Vec<f64>,
    asked: usize,
}

impl Score {
    fn add(&mut self, value: Option<f64>, truth: f64) {
        self.asked += 1;
        self.errors.extend(value.map(|v| (v - truth).abs()));
    }
    fn mean(&self) -> f64 {
        self.errors.iter().sum::<f64>() / self.errors.len().max(1) as f64
    }
    fn kept(&self) -> f64 {
        self.errors.len() as f64 / self.asked.max(1) as f64
    }
    fn show(&self, name: &str) {
        let within =
            self.errors.iter().filter(|e| **e <= 3.0).count() as f64 / self.errors.len().max(1) as f64;
        let (mae, kept) = (self.mean(), self.kept());
        eprintln!("{name}: mean error {mae:.2} /min, within 3 {within:.3}, kept {kept:.3} of {}", self.asked);
    }
}

#[test]
fn pulse_rate_agrees_with_the_monitor() {
    let Some(root) = records::data("bidmc pulse") else { return };
    let folder = root.join("bidmc");
    let (mut all_pulse, mut all_heart) = (Score::default(), Score::default());
    let (mut by_second, mut windows) = (Score::default(), 0);
    let chain = [quality::SPECS, ppg::SPECS].concat();
    for record in RECORDS {
        let numerics = table(&folder, record, "Numerics");
        let (pulse, heart) = (numerics.column("PULSE").unwrap(), numerics.column("HR").unwrap());
        let mut ours = vec![];
        walk(&waves(&folder, record, &[("PLETH", "ppg")]), &chain, |_, out| {
            ours.push(out.find("pulse_rate").and_then(|r| r.value.ok()));
        });
        // The numbers of the monitor trail its waves: those from the ECG by 2 s, those from the pulse by 8 s, as
        // the best agreement over all records tells. The first 20 s are for filters and windows to fill.
        let of = |truth: &[f64], second: usize| truth.get(second).copied().filter(|t| t.is_finite());
        for (s, value) in ours.iter().enumerate().skip(20) {
            if let Some(t) = of(&heart, s + 2) {
                by_second.add(*value, t);
            }
        }
        for from in (20..450).step_by(30) {
            windows += 1;
            let values: Vec<f64> = ours[from..from + 30].iter().copied().flatten().collect();
            let value = (values.len() >= 15).then(|| mean(&values));
            for (truth, delay, score) in [(&pulse, 8, &mut all_pulse), (&heart, 2, &mut all_heart)] {
                let shown: Vec<f64> = (from..from + 30).filter_map(|s| of(truth, s + delay)).collect();
                if shown.len() >= 15 {
                    score.add(value, mean(&shown));
                }
            }
        }
    }
    by_second.show("bidmc pulse_rate against HR, each second");
    eprintln!("bidmc {windows} windows of 30 s");
    all_pulse.show("bidmc pulse_rate against PULSE");
    all_heart.show("bidmc pulse_rate against HR");
    assert!(by_second.mean() <= 1.0 && all_heart.mean() <= 1.0 && all_pulse.mean() <= 1.0);
    assert!(by_second.kept() > 0.9 && all_pulse.kept() > 0.9);
}

/// Breaths per minute of one annotator in a window: from the first to the last breath inside it.
fn annotated(breaths: &[f64], from_s: f64, to_s: f64) -> Option<f64> {
    let inside: Vec<f64> = breaths.iter().map(|b| b / 125.0).filter(|&t| t >= from_s && t < to_s).collect();
    let (first, last) = (inside.first()?, inside.last()?);
    (inside.len() >= 3).then(|| 60.0 * (inside.len() - 1) as f64 / (last - first))
}

#[test]
fn breaths_agree_with_two_annotators() {
    let Some(root) = records::data("bidmc breaths") else { return };
    let folder = root.join("bidmc");
    let names = ["resp_rate", "resp_rate_impedance", "resp_rate_ppg"];
    let mut all = [Score::default(), Score::default(), Score::default()];
    let mut people = Score::default();
    let chain = [quality::SPECS, ppg::SPECS, respiration::SPECS].concat();
    for record in RECORDS {
        let breaths = table(&folder, record, "Breaths");
        let (one, two) = (breaths.at(0), breaths.at(1));
        let mut scores = [Score::default(), Score::default(), Score::default()];
        walk(&waves(&folder, record, &[("RESP", "resp"), ("PLETH", "ppg")]), &chain, |s, out| {
            let end = (s + 1) as f64;
            if out.find("resp_rate").is_none() || end < 36.0 {
                return;
            }
            let window = |b: &[f64]| annotated(b, end - 32.0, end);
            let (Some(a), Some(b)) = (window(&one), window(&two)) else { return };
            people.add(Some(a), b);
            for ((name, score), all) in names.iter().zip(&mut scores).zip(&mut all) {
                let value = out.find(name).and_then(|r| r.value.ok());
                score.add(value, (a + b) / 2.0);
                all.add(value, (a + b) / 2.0);
            }
        });
        for (name, score) in names.iter().zip(&scores) {
            score.show(&format!("bidmc {record} {name}"));
        }
    }
    people.show("bidmc annotator against annotator");
    for (name, score) in names.iter().zip(&all) {
        score.show(&format!("bidmc {name}"));
    }
    assert!(all[1].mean() <= 1.5 && all[1].kept() >= 0.8);
    assert!(all[0].mean() <= 1.5 && all[0].kept() >= 0.9);
    // The pulse is the weaker witness: it is asked only where impedance fails.
    assert!(all[2].mean() <= 2.5 && all[2].kept() >= 0.2);
}

/// The recordings hold no pressure numbers; the plain statistics of the last ten seconds of the wave stand in.
#[test]
fn pressures_agree_with_the_wave() {
    let Some(root) = records::data("bidmc pressure") else { return };
    let folder = root.join("bidmc");
    let mut scores = [Score::default(), Score::default(), Score::default()];
    let mut pulses = Score::default();
    let chain = [quality::SPECS, pressure::SPECS].concat();
    for record in ["04", "24", "47"] {
        let waves = waves(&folder, record, &[("ABP", "abp")]);
        let raw = waves[0].raw.clone();
        let heart = table(&folder, record, "Numerics").column("HR").unwrap();
        let (mut times, mut own) = (vec![], [Score::default(), Score::default(), Score::default()]);
        walk(&waves, &chain, |s, out| {
            times.extend(out.beats.iter().map(|b| b.time));
            if s < 20 {
                return;
            }
            let end = ((s as usize + 1) * 125).min(raw.len());
            let recent = &raw[end - 1250..end];
            let average = recent.iter().map(|&x| f64::from(x)).sum::<f64>() / 1250.0;
            // Samples that are the highest, or the lowest, of the half second around them.
            let extreme = |sign: f32| {
                let best = |i: &usize| {
                    let around = &recent[i.saturating_sub(31)..(i + 32).min(1250)];
                    around.iter().all(|&x| sign * x <= sign * recent[*i])
                };
                let beyond = |i: &usize| sign * (recent[*i] - average as f32) > 0.0;
                let mut found: Vec<f32> = (31..1219).filter(best).filter(beyond).map(|i| recent[i]).collect();
                found.sort_by(f32::total_cmp);
                f64::from(found.get(found.len() / 2).copied().unwrap_or(f32::NAN))
            };
            let truths = [extreme(1.0), extreme(-1.0), average];
            for (k, name) in ["abp_sys", "abp_dia", "abp_mean"].iter().enumerate() {
                let value = out.find(name).and_then(|r| r.value.ok());
                scores[k].add(value, truths[k]);
                own[k].add(value, truths[k]);
            }
            let now = auscult_operators::signal::EventTime::from_seconds(s - 2);
            times.retain(|&t| (now - t).seconds() < 30.0);
            let count = times.iter().filter(|t| **t < now).count();
            if s > 40 && heart[s as usize].is_finite() {
                pulses.add(Some(2.0 * count as f64), heart[s as usize]);
            }
        });
        for (name, score) in ["sys", "dia", "mean"].iter().zip(&own) {
            score.show(&format!("bidmc {record} abp {name} (mmHg)"));
        }
    }
    pulses.show("bidmc abp pulses in 30 s against HR");
    for (name, score) in ["sys", "dia", "mean"].iter().zip(&scores) {
        score.show(&format!("bidmc abp {name} (mmHg)"));
        assert!(score.mean() < 2.5 && score.kept() > 0.85);
    }
    assert!(pulses.mean() < 4.0);
}
