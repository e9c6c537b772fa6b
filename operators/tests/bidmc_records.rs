//! Pulse, respiration and pressure on nine ward recordings with the monitor's numbers and two annotators' breaths.
//! In: bidmc. Out: errors per minute on standard error, ceilings asserted.
#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "figures of a test")]

#[path = "support/records.rs"]
mod records;
#[path = "support/walk.rs"]
mod walk;

use auscult_operators::{ppg, quality};
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
        let within = self.errors.iter().filter(|e| **e <= 3.0).count() as f64 / self.errors.len().max(1) as f64;
        let (mae, kept) = (self.mean(), self.kept());
        eprintln!("{name}: mean error {mae:.2} /min, within 3 {within:.3}, kept {kept:.3} of {}", self.asked);
    }
}

#[test]
fn pulse_rate_agrees_with_the_monitor() {
    let Some(root) = records::data("bidmc pulse") else { return };
    let folder = root.join("bidmc");
    let (mut all_pulse, mut all_heart) = (Score::default(), Score::default());
    let chain = [quality::SPECS, ppg::SPECS].concat();
    for record in RECORDS {
        let numerics = table(&folder, record, "Numerics");
        let (pulse, heart) = (numerics.column("PULSE").unwrap(), numerics.column("HR").unwrap());
        let (mut to_pulse, mut to_heart) = (Score::default(), Score::default());
        walk(&waves(&folder, record, &[("PLETH", "ppg")]), &chain, |s, out| {
            let value = out.find("pulse_rate").and_then(|r| r.value.ok());
            // The first 20 s are for filters and windows to fill; the monitor shows its own with some delay.
            let shown = s as usize + 1;
            for (truth, score, all) in [(&pulse, &mut to_pulse, &mut all_pulse), (&heart, &mut to_heart, &mut all_heart)] {
                if let Some(&t) = truth.get(shown).filter(|t| s >= 20 && t.is_finite() && **t > 0.0) {
                    score.add(value, t);
                    all.add(value, t);
                }
            }
        });
        to_pulse.show(&format!("bidmc {record} against PULSE"));
        to_heart.show(&format!("bidmc {record} against HR"));
    }
    all_pulse.show("bidmc pulse_rate against PULSE");
    all_heart.show("bidmc pulse_rate against HR");
    assert!(all_pulse.mean() <= 1.0 && all_pulse.kept() > 0.85);
}
