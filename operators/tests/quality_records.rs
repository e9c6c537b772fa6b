//! Signal quality on recordings judged by people, and on a record with known noise.
//! In: challenge2011, nstdb, mitdb, bidmc, challenge2015. Out: figures on standard error, floors asserted.
#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "figures of a test")]

#[path = "support/records.rs"]
mod records;
#[path = "support/walk.rs"]
mod walk;

use auscult_operators::quality::SPECS;
use records::{Table, read, wfdb};
use walk::{Wave, walk};

/// Quality and state of each second of one wave.
fn judge(channel: &str, rate: f64, samples: Vec<f32>) -> Vec<(f64, f64)> {
    let wave = Wave::new(channel, rate, samples);
    let id = wave.channel;
    let mut seen = vec![];
    walk(&[wave], SPECS, |_, out| {
        let of = |name: &str| out.find_on(name, id).unwrap().value.unwrap();
        seen.push((of("signal_quality"), of("quality_state")));
    });
    seen
}

fn mean(x: impl IntoIterator<Item = f64>) -> f64 {
    let (sum, n) = x.into_iter().fold((0.0, 0), |(s, n), v| (s + v, n + 1));
    sum / f64::from(n.max(1))
}

#[test]
fn people_and_quality_agree_on_phone_ecgs() {
    let Some(root) = records::data("challenge2011") else { return };
    let folder = root.join("challenge2011");
    let labels = String::from_utf8(read(&folder, "", "quality_dev.csv").unwrap()).unwrap();
    let (mut good, mut bad) = (vec![], vec![]);
    for line in labels.lines().skip(1) {
        let (record, label) = line.split_once(',').unwrap();
        let text = read(&folder, "set-a_dev.tar.gz", &format!("set-a/{record}.txt")).unwrap();
        let table = Table::parse(&format!("head\n{}", String::from_utf8(text).unwrap()));
        let leads = (1..=12).map(|lead| {
            // Counts of 5 microvolts.
            let samples = table.at(lead).iter().map(|x| (x * 0.005) as f32).collect();
            mean(judge("ecg", 500.0, samples).iter().map(|s| s.0))
        });
        let worst = leads.fold(1.0_f64, f64::min);
        if label.trim() == "acceptable" { good.push(worst) } else { bad.push(worst) }
    }
    let wins = good
        .iter()
        .flat_map(|g| bad.iter().map(move |b| if g > b { 1.0 } else { 0.5 * f64::from(u8::from(g == b)) }));
    let auc = mean(wins);
    let right = good.iter().filter(|&&q| q >= 0.5).count() + bad.iter().filter(|&&q| q < 0.5).count();
    let accuracy = right as f64 / (good.len() + bad.len()) as f64;
    eprintln!("challenge2011: AUC {auc:.3}, accuracy {accuracy:.3} at 0.5; good {good:.2?} bad {bad:.2?}");
    assert!(auc > 0.8 && accuracy > 0.75, "{auc} {accuracy}");
    let judged: Vec<(f64, bool)> =
        good.iter().map(|q| (*q, true)).chain(bad.iter().map(|q| (*q, false))).collect();
    let (_, brier) = reliability("challenge2011, worst of twelve leads", &judged);
    assert!(brier < 0.1, "{brier}");
}

#[test]
fn added_noise_lowers_quality() {
    let Some(root) = records::data("nstdb") else { return };
    let folder = root.join("nstdb");
    let header = String::from_utf8(read(&folder, "", "118e_6.hea").unwrap()).unwrap();
    for signal in wfdb(&header, &read(&folder, "", "118e_6.dat").unwrap()) {
        let seconds = judge("ecg_ii", signal.rate, signal.samples);
        let noisy = |s: usize| s >= 300 && (s - 300) % 240 < 120;
        let of = |want: bool| {
            mean(seconds.iter().enumerate().filter(|(s, _)| noisy(*s) == want).map(|(_, q)| q.0))
        };
        let judged: Vec<(f64, bool)> = seconds.iter().enumerate().map(|(s, q)| (q.0, !noisy(s))).collect();
        let (auc, _) = reliability(&format!("nstdb 118e_6 {}, seconds", signal.name), &judged);
        assert!(auc > 0.9, "{auc}");
        eprintln!("nstdb {}: clean {:.3}, noisy {:.3}", signal.name, of(false), of(true));
        assert!(of(false) > 0.95 && of(true) < of(false) - 0.4);
    }
}

#[test]
fn ward_recordings_are_mostly_good() {
    let Some(root) = records::data("mitdb, bidmc, challenge2015") else { return };
    let folder = root.join("mitdb");
    let mut shares = vec![];
    for name in std::fs::read_dir(&folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()) {
        let Some(record) = name.strip_suffix(".hea") else { continue };
        let header = String::from_utf8(read(&folder, "", &name).unwrap()).unwrap();
        let Some(bytes) = read(&folder, "", &format!("{record}.dat")) else { continue };
        for signal in wfdb(&header, &bytes).into_iter().take(1) {
            let seconds = judge("ecg_ii", signal.rate, signal.samples);
            let share = mean(seconds.iter().map(|q| f64::from(u8::from(q.0 >= 0.5))));
            eprintln!("mitdb {record} {}: good {share:.3}", signal.name);
            shares.push(share);
        }
    }
    eprintln!(
        "mitdb, {} records: share of seconds at 0.5 or better {:.3}",
        shares.len(),
        mean(shares.iter().copied())
    );
    assert!(mean(shares) > 0.98);
}

/// How a quality relates to the truth: AUC, Brier score, and per fifth of the quality the mean quality, the share of
/// good ones and their number.
fn reliability(what: &str, judged: &[(f64, bool)]) -> (f64, f64) {
    let of = |want: bool| judged.iter().filter(move |j| j.1 == want).map(|j| j.0);
    let wins = of(true).flat_map(|g| {
        of(false).map(move |b| if g > b { 1.0 } else { 0.5 * f64::from(u8::from((g - b).abs() < 1e-9)) })
    });
    let auc = mean(wins);
    let brier = mean(judged.iter().map(|j| (j.0 - f64::from(u8::from(j.1))).powi(2)));
    let bins: Vec<String> = (0..5)
        .map(|k| {
            let inside = |j: &&(f64, bool)| ((j.0 * 5.0) as usize).min(4) == k;
            let bin: Vec<&(f64, bool)> = judged.iter().filter(inside).collect();
            let quality = mean(bin.iter().map(|j| j.0));
            let good = mean(bin.iter().map(|j| f64::from(u8::from(j.1))));
            format!("{quality:.2} -> {good:.2} ({})", bin.len())
        })
        .collect();
    eprintln!("{what}: AUC {auc:.3}, Brier {brier:.3}, quality -> share good (number): {}", bins.join(", "));
    (auc, brier)
}

/// Mean quality of a record against its label: `~` is noise. The samples are those of one hand-held lead.
#[test]
fn records_labelled_noise_have_less_quality() {
    let Some(root) = records::data("challenge2017") else { return };
    let folder = root.join("challenge2017");
    let labels = String::from_utf8(read(&folder, "", "REFERENCE-v3_dev.csv").unwrap()).unwrap();
    let mut judged = vec![];
    for line in labels.lines() {
        let Some((record, label)) = line.trim().split_once(',') else { continue };
        let Some(header) = std::fs::read(folder.join(format!("{record}.hea"))).ok() else { continue };
        let Some(bytes) = std::fs::read(folder.join(format!("{record}.mat"))).ok() else { continue };
        let signal = wfdb(&String::from_utf8(header).unwrap(), &bytes).remove(0);
        let seconds = judge("ecg", signal.rate, signal.samples);
        judged.push((mean(seconds.iter().map(|s| s.0)), label != "~"));
    }
    let noise = judged.iter().filter(|j| !j.1).count();
    eprintln!("challenge2017: {} records, {noise} noise", judged.len());
    let (auc, brier) = reliability("challenge2017", &judged);
    // Most of these records pass for good: the recorder has filtered what fast noise is told by.
    assert!(auc > 0.75 && brier < 0.15, "{auc} {brier}");
}

/// A true alarm must not be hidden as a poor signal: the best ECG lead of its last ten seconds stays good.
#[test]
fn true_alarms_keep_their_signal() {
    let Some(root) = records::data("challenge2015") else { return };
    let folder = root.join("challenge2015");
    let alarms = String::from_utf8(read(&folder, "", "ALARMS").unwrap()).unwrap();
    let (mut kept, mut all, mut ppg) = (0, 0, [vec![], vec![]]);
    for line in alarms.lines() {
        let fields: Vec<&str> = line.split(',').collect();
        let Some(header) = read(&folder, "more.tar.gz", &format!("{}.hea", fields[0])) else { continue };
        let bytes = read(&folder, "more.tar.gz", &format!("{}.mat", fields[0])).unwrap();
        let signals = wfdb(&String::from_utf8(header).unwrap(), &bytes);
        let truth = fields[2].trim() == "1";
        let mut best = 0.0_f64;
        for signal in signals {
            let name = signal.name.trim();
            let channel = match name {
                "PLETH" => "ppg",
                "ABP" => "abp",
                "RESP" => "resp",
                _ => "ecg",
            };
            let end = (290.0 * signal.rate) as usize..(300.0 * signal.rate) as usize;
            let from = end.start - (20.0 * signal.rate) as usize;
            let Some(samples) = signal.samples.get(from..end.end) else { continue };
            let seconds = judge(channel, signal.rate, samples.to_vec());
            let quality = mean(seconds[20..].iter().map(|q| q.0));
            if channel == "ecg" {
                best = best.max(quality);
            } else if channel == "ppg" {
                ppg[usize::from(truth)].push(quality);
            }
        }
        if truth {
            all += 1;
            kept += u32::from(best >= 0.5);
        }
    }
    eprintln!("challenge2015: {kept} of {all} true alarms keep a lead of 0.5 or better");
    let [false_ppg, true_ppg] = ppg.map(mean);
    assert!(all >= 30 && kept + 1 >= all, "{kept} of {all}");
    assert!(true_ppg > 0.8 && false_ppg > 0.8);
    eprintln!("challenge2015 PPG: {true_ppg:.2} where the alarm is true, {false_ppg:.2} where false");
}
