//! Respiration from the ECG alone on nine ward recordings with two annotators' breaths.
//! In: bidmc. Out: errors per minute on standard error, ceilings asserted.
#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "figures of a test")]

#[path = "support/records.rs"]
mod records;
#[path = "support/walk.rs"]
mod walk;

use auscult_operators::{ecg, quality, respiration};
use records::{Table, read};
use walk::{Wave, walk};

const RECORDS: [&str; 9] = ["01", "03", "04", "15", "24", "28", "32", "43", "47"];
const WINDOW_S: f64 = 45.0;

/// Breaths per minute of one annotator in a window: from the first to the last breath inside it.
fn annotated(breaths: &[f64], from_s: f64, to_s: f64) -> Option<f64> {
    let inside: Vec<f64> = breaths.iter().map(|b| b / 125.0).filter(|&t| t >= from_s && t < to_s).collect();
    let (first, last) = (inside.first()?, inside.last()?);
    (inside.len() >= 3).then(|| 60.0 * (inside.len() - 1) as f64 / (last - first))
}

fn figures(name: &str, errors: &[f64], asked: usize) -> (f64, f64) {
    let n = errors.len().max(1) as f64;
    let mean = errors.iter().map(|e| e.abs()).sum::<f64>() / n;
    let bias = errors.iter().sum::<f64>() / n;
    let within = errors.iter().filter(|e| e.abs() <= 3.0).count() as f64 / n;
    let kept = errors.len() as f64 / asked.max(1) as f64;
    eprintln!(
        "{name}: mean error {mean:.2} /min (bias {bias:+.2}), within 3 {within:.3}, kept {kept:.3} of {asked}"
    );
    (mean, kept)
}

#[test]
fn breaths_in_the_ecg_agree_with_two_annotators() {
    let Some(root) = records::data("bidmc breaths in the ECG") else { return };
    let folder = root.join("bidmc");
    let chain = [quality::SPECS, ecg::SPECS, respiration::SPECS].concat();
    let (mut all, mut sure, mut asked) = (vec![], vec![], 0);
    for record in RECORDS {
        let table = |what: &str| {
            let bytes = read(&folder, "bidmc_more.tar.gz", &format!("bidmc_{record}_{what}.csv")).unwrap();
            Table::parse(&String::from_utf8(bytes).unwrap())
        };
        let (signals, breaths) = (table("Signals"), table("Breaths"));
        let (one, two) = (breaths.at(0), breaths.at(1));
        let lead = |(column, channel): (&str, &str)| {
            let samples = signals.column(column)?.iter().map(|&x| x as f32).collect();
            Some(Wave::new(channel, 125.0, samples))
        };
        let waves: Vec<Wave> =
            [("II", "ecg_ii"), ("V", "ecg_v1"), ("AVR", "ecg_avr")].into_iter().filter_map(lead).collect();
        let (mut errors, mut count) = (vec![], 0);
        walk(&waves, &chain, |s, out| {
            let end = s as f64;
            let Some(said) = out.find("resp_rate_ecg").filter(|_| end > WINDOW_S + 5.0) else { return };
            let window = |b: &[f64]| annotated(b, end - WINDOW_S, end);
            let (Some(a), Some(b)) = (window(&one), window(&two)) else { return };
            count += 1;
            if let Ok(rate) = said.value {
                errors.push(rate - (a + b) / 2.0);
                if said.quality >= 0.7 {
                    sure.push(rate - (a + b) / 2.0);
                }
            }
        });
        figures(&format!("bidmc {record} resp_rate_ecg ({} leads)", waves.len()), &errors, count);
        all.extend(errors);
        asked += count;
    }
    let (mean, kept) = figures("bidmc resp_rate_ecg", &all, asked);
    figures("bidmc resp_rate_ecg of quality 0.7 and more", &sure, asked);
    assert!(mean <= 2.5 && kept >= 0.2, "{mean} {kept}");
}
