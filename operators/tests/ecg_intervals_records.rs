//! Intervals and ST on recordings: nobody has marked their waves, so the figures are checked for good sense.
//! In: mitdb. Out: medians and shares on standard error, floors asserted.
#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "figures of a test")]

#[path = "support/records.rs"]
mod records;
#[path = "support/walk.rs"]
mod walk;

use auscult_operators::{ecg, quality};
use records::{read, wfdb};
use walk::{Wave, walk};

const NAMES: [&str; 4] = ["pr_interval", "qrs_duration", "qt_interval", "qtc_fridericia"];

/// Median and spread (10th to 90th percentile) of numbers.
fn spread(values: &mut [f64]) -> (f64, f64) {
    values.sort_by(f64::total_cmp);
    let at = |share: f64| values.get((share * (values.len().max(1) - 1) as f64) as usize).copied();
    let at = |share: f64| at(share).unwrap_or(f64::NAN);
    (at(0.5), at(0.9) - at(0.1))
}

/// Rhythms of an annotation file in MIT format: name and first sample.
fn rhythms(bytes: &[u8]) -> Vec<(String, i64)> {
    let words: Vec<u16> = bytes.chunks_exact(2).map(|b| u16::from_le_bytes([b[0], b[1]])).collect();
    let (mut found, mut time, mut i) = (vec![], 0i64, 0usize);
    while i < words.len() && words[i] != 0 {
        let (code, value) = (words[i] >> 10, i64::from(words[i] & 1023));
        i += 1;
        match code {
            59 => {
                time += i64::from(words[i] as i16) << 16 | i64::from(words[i + 1]);
                i += 2;
            }
            60..=62 => {}
            63 => {
                let text: Vec<u8> = bytes[2 * i..2 * i + value as usize].to_vec();
                let text = String::from_utf8_lossy(&text).trim_end_matches('\0').to_owned();
                if text.starts_with('(') {
                    found.push((text, time));
                }
                i += (value as usize).div_ceil(2);
            }
            _ => time += value,
        }
    }
    found
}

/// In atrial fibrillation there are no P waves: a PR interval there is a wrong number that looks right. What was
/// measured before it began may stand for as long as fifteen beats take.
#[test]
fn in_atrial_fibrillation_there_is_no_pr() {
    let Some(root) = records::data("mitdb PR in atrial fibrillation") else { return };
    let folder = root.join("mitdb");
    let chain = [quality::SPECS, ecg::SPECS].concat();
    let (mut seconds, mut claimed) = (0, 0);
    for record in ["201", "202", "203", "217"] {
        let header = String::from_utf8(read(&folder, "", &format!("{record}.hea")).unwrap()).unwrap();
        let Some(bytes) = read(&folder, "", &format!("{record}.dat")) else { continue };
        let marks = rhythms(&read(&folder, "", &format!("{record}.atr")).unwrap());
        let signal = wfdb(&header, &bytes).remove(0);
        let rate = signal.rate;
        walk(&[Wave::new("ecg_ii", rate, signal.samples)], &chain, |s, out| {
            let now = (s as f64 * rate) as i64;
            let rhythm = marks.iter().rev().find(|m| m.1 <= now);
            let settled = |m: &(String, i64)| m.0 == "(AFIB" && (now - m.1) as f64 > 45.0 * rate;
            if rhythm.is_some_and(settled) {
                seconds += 1;
                claimed += u32::from(out.find("pr_interval").unwrap().value.is_ok());
            }
        });
    }
    eprintln!("mitdb, atrial fibrillation: PR is given in {claimed} of {seconds} s");
    assert!(seconds > 1000 && claimed * 25 < seconds, "{claimed} of {seconds}");
}

#[test]
fn intervals_are_those_of_people() {
    let Some(root) = records::data("mitdb intervals") else { return };
    let folder = root.join("mitdb");
    let chain = [quality::SPECS, ecg::SPECS].concat();
    let mut names: Vec<String> =
        std::fs::read_dir(&folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    let mut medians: [Vec<f64>; 4] = Default::default();
    let mut shares: [Vec<f64>; 4] = Default::default();
    for name in names {
        let Some(record) = name.strip_suffix(".hea") else { continue };
        let header = String::from_utf8(read(&folder, "", &name).unwrap()).unwrap();
        let Some(bytes) = read(&folder, "", &format!("{record}.dat")) else { continue };
        let mut waves = vec![];
        for (signal, channel) in wfdb(&header, &bytes).into_iter().zip(["ecg_ii", "ecg_v1"]) {
            waves.push(Wave::new(channel, signal.rate, signal.samples));
        }
        let mut said: [Vec<f64>; 4] = Default::default();
        let mut seconds = 0;
        walk(&waves, &chain, |s, out| {
            if s < 30 {
                return;
            }
            seconds += 1;
            for (name, said) in NAMES.iter().zip(&mut said) {
                said.extend(out.find(name).unwrap().value.ok());
            }
        });
        let mut line = vec![];
        for (k, said) in said.iter_mut().enumerate() {
            let share = said.len() as f64 / f64::from(seconds);
            let (median, wide) = spread(said);
            line.push(format!("{} {median:.0} ms (80 % within {wide:.0}), {share:.2}", NAMES[k]));
            shares[k].push(share);
            if share > 0.2 {
                medians[k].push(median);
            }
        }
        eprintln!("mitdb {record}: {}", line.join("; "));
    }
    let share = |k: usize| shares[k].iter().sum::<f64>() / shares[k].len() as f64;
    for k in 0..4 {
        let inside = [(100.0, 260.0), (60.0, 160.0), (280.0, 500.0), (340.0, 500.0)][k];
        let sane = medians[k].iter().filter(|m| **m >= inside.0 && **m <= inside.1).count();
        let (all, count, share) = (spread(&mut medians[k]), medians[k].len(), share(k));
        eprintln!(
            "mitdb {}: median {:.0} ms, {sane} of {count} records sane, share {share:.2}",
            NAMES[k], all.0
        );
    }
}
