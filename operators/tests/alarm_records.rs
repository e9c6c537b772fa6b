//! Alarms of monitors, true and false as experts judged, against what ECG, pulse wave and pressure say together.
//! In: challenge2015, each record up to its alarm. Out: the challenge's score on standard error, floors asserted.
#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "figures of a test")]

#[path = "support/records.rs"]
mod records;
#[path = "support/walk.rs"]
mod walk;

use auscult_operators::{alarm, ecg, ppg, pressure, quality};
use records::{Signal, read, wfdb};
use walk::{Wave, walk};

/// The alarm sounds at this second.
const ALARM_S: i64 = 300;

/// The signals of a record up to its alarm; the first two leads of its ECG stand for any two.
fn waves(signals: Vec<Signal>) -> Vec<Wave> {
    let mut leads = ["ecg_ii", "ecg_v1"].into_iter();
    let mut waves = vec![];
    for signal in signals {
        let channel = match signal.name.trim() {
            "PLETH" => "ppg",
            "ABP" => "abp",
            "RESP" => continue,
            _ => leads.next().unwrap(),
        };
        let until = (ALARM_S as f64 * signal.rate) as usize;
        waves.push(Wave::new(channel, signal.rate, signal.samples[..until].to_vec()));
    }
    waves
}

#[test]
fn false_alarms_are_told_from_true_ones() {
    let Some(root) = records::data("challenge2015 alarms") else { return };
    let folder = root.join("challenge2015");
    let alarms = String::from_utf8(read(&folder, "", "ALARMS").unwrap()).unwrap();
    let chain = [quality::SPECS, ecg::SPECS, ppg::SPECS, pressure::SPECS, alarm::SPECS].concat();
    // True and false alarms, each taken for true and for false.
    let mut counts = [[0; 2]; 2];
    for line in alarms.lines() {
        let [record, kind, truth] = line.split(',').map(str::trim).collect::<Vec<_>>()[..] else {
            panic!("{line}")
        };
        let Some(header) = read(&folder, "more.tar.gz", &format!("{record}.hea")) else { continue };
        let bytes = read(&folder, "more.tar.gz", &format!("{record}.mat")).unwrap();
        let name = match kind {
            "Asystole" => "asystole_evidence",
            "Bradycardia" => "bradycardia_evidence",
            "Tachycardia" => "tachycardia_evidence",
            "Ventricular_Tachycardia" => "vt_evidence",
            "Ventricular_Flutter_Fib" => "vf_evidence",
            _ => panic!("{kind}"),
        };
        let mut evidence = None;
        walk(&waves(wfdb(&String::from_utf8(header).unwrap(), &bytes)), &chain, |second, out| {
            assert!(second < ALARM_S);
            evidence = out.find(name).unwrap().value.ok();
        });
        let real = evidence.is_none_or(|e| e >= 0.5);
        counts[usize::from(truth == "0")][usize::from(!real)] += 1;
        if real != (truth == "1") {
            eprintln!("{record} {kind}: {evidence:?}, judged {truth}");
        }
    }
    let [[hits, misses], [false_alarms, rejected]] = counts;
    let all = hits + misses + false_alarms + rejected;
    let score = 100.0 * f64::from(hits + rejected) / f64::from(all + 4 * misses);
    let rate = 100.0 * f64::from(hits) / f64::from(hits + misses);
    eprintln!("challenge2015: {all} alarms, score {score:.1}, true alarms kept {rate:.1} %, {counts:?}");
    assert!(all >= 90 && score >= 88.0 && rate >= 95.0);
}
