//! The peers' job as a configuration: the walk over plain counts against the job's definition written out here.
//! In: `benches/peers/bands10.toml`, made-up counts. Out: features and probabilities to 1e-6, reject codes.
#![allow(clippy::unwrap_used, reason = "a test may stop at once")]

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use auscult::effects::{Effect, Effects};
use auscult::local::Local;
use auscult::plan::Plan;
use auscult::{check, decode};
use auscult_models::Outcome;
use auscult_operators::filter::{Band, butterworth};
use auscult_operators::signal::{EventTime, Hertz, Span};

const START_S: i64 = 1_700_000_000;

fn text() -> String {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../benches/peers");
    let text = std::fs::read_to_string(folder.join("bands10.toml")).unwrap();
    text.replace(
        "folder = \"models\"",
        &format!("folder = {:?}", folder.join("models").display().to_string()),
    )
}

fn plan() -> Plan {
    let text = text();
    let config = check::read(&text, "bands10.toml").unwrap();
    let mut plan = check::plan(&config, &text, "bands10.toml", true).unwrap();
    (plan.features, plan.predictions, plan.live) = (true, true, false);
    plan
}

fn counts(patient: usize, channel: usize, second: i64) -> Vec<i16> {
    let at = |i: i64| {
        let t = (second * 250 + i) as f64 / 250.0;
        let slow =
            (t * 7.5 + patient as f64).sin() * 120.0 + (t * (40.0 + 3.0 * channel as f64)).cos() * 35.0;
        // Noise that is the same everywhere: no band may be empty.
        let x = (second * 250 + i + 7919 * (patient as i64 + 2 * channel as i64)) as u64;
        let noise = (x.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) % 41;
        (slow + noise as f64 - 20.0 + 300.0) as i16
    };
    (0..250).map(at).collect()
}

fn value(second: i64, rate: u16, counts: &[i16]) -> Vec<u8> {
    let ms = ((START_S + second) * 1000) as u64;
    let mut out = ms.to_le_bytes().to_vec();
    out.extend(rate.to_le_bytes());
    out.extend((counts.len() as u16).to_le_bytes());
    counts.iter().for_each(|c| out.extend(c.to_le_bytes()));
    out
}

/// Root mean square, bands and probability of each whole window of one channel, as the job says.
fn expected(patient: usize, channel: usize, seconds: i64) -> Vec<[f64; 6]> {
    let sections = butterworth(4, Band::BandPass(Hertz(0.5), Hertz(40.0)), Hertz(250.0)).unwrap();
    let mut z = vec![[0.0; 2]; sections.len()];
    let mut y = Vec::new();
    for c in (0..seconds).flat_map(|s| counts(patient, channel, s)) {
        let mut x = f64::from(c) * 0.005;
        for (s, z) in sections.iter().zip(&mut z) {
            let out = s.b[0] * x + z[0];
            *z = [s.b[1] * x - s.a[0] * out + z[1], s.b[2] * x - s.a[1] * out];
            x = out;
        }
        y.push(x);
    }
    y.chunks_exact(2500).map(window).collect()
}

fn window(y: &[f64]) -> [f64; 6] {
    let rms = (y.iter().map(|v| v * v).sum::<f64>() / 2500.0).sqrt();
    let angle = |k: usize| 2.0 * std::f64::consts::PI * (k % 2500) as f64 / 2500.0;
    let tapered: Vec<f64> = y.iter().enumerate().map(|(i, v)| v * (0.5 - 0.5 * angle(i).cos())).collect();
    let power = |k: usize| {
        let part =
            |f: fn(f64) -> f64| tapered.iter().enumerate().map(|(i, v)| v * f(angle(i * k))).sum::<f64>();
        part(f64::cos).powi(2) + part(f64::sin).powi(2)
    };
    let band = |range: std::ops::Range<usize>| range.map(power).sum::<f64>();
    let [a, b, c, d] = [band(5..40), band(40..80), band(80..150), band(150..400)];
    let weighted = [(0.8, rms), (-0.3, a), (0.25, b), (0.15, c), (-0.2, d)].map(|(w, v)| w * (v + 1e-9).ln());
    let p = 1.0 / (1.0 + (0.4 - weighted.iter().sum::<f64>()).exp());
    [rms, a, b, c, d, p]
}

type Told = BTreeMap<(String, &'static str, i64), [f64; 6]>;

fn take(effects: &Effects, told: &mut Told) {
    const NAMES: [&str; 5] =
        ["window_rms", "window_band_1", "window_band_2", "window_band_3", "window_band_4"];
    for (_, effect) in &effects.list {
        match effect {
            Effect::Features(patient, _, readings) => {
                for r in readings {
                    let key = (patient.expose().to_string(), r.channel.unwrap().row().name, r.time.micros());
                    if let (Some(at), Ok(v)) = (NAMES.iter().position(|n| *n == r.name), r.value) {
                        told.entry(key).or_default()[at] = v;
                    }
                }
            }
            Effect::Predictions(patient, time, said) => {
                for p in said {
                    let channel = if &*p.model == "bands10_ecg" { "ecg_ii" } else { "ppg" };
                    if let Outcome::Probability(found) = &p.outcome {
                        assert!(found.drivers.is_empty(), "none were asked for");
                        let key = (patient.expose().to_string(), channel, time.micros());
                        told.entry(key).or_default()[5] = found.value;
                    }
                }
            }
            _ => {}
        }
    }
}

fn walk(seconds: i64, batch: usize, lost: Option<i64>) -> (Told, Local) {
    let plan = Arc::new(plan());
    let (mut local, mut told) = (Local::new(&plan, 1, batch), Told::new());
    for s in (0..seconds).filter(|s| Some(*s) != lost) {
        for patient in 0..3 {
            for (channel, name) in ["ecg", "ppg"].into_iter().enumerate() {
                let value = value(s, 250, &counts(patient, channel, s)).into();
                let time = decode::end(&plan.form, &value).unwrap();
                let key = format!("p{patient}/{name}").into_bytes().into();
                if let Some((_, effects)) = local.append_record(0, time, key, value) {
                    take(&effects, &mut told);
                }
            }
        }
    }
    let end = EventTime::from_seconds(START_S + seconds) + plan.quiet + Span::seconds_const(1);
    for (_, effects) in local.tick(end).into_iter().chain(local.stop()) {
        take(&effects, &mut told);
    }
    (told, local)
}

#[test]
fn every_window_is_that_of_the_definition() {
    let (told, local) = walk(30, 7, None);
    assert_eq!(local.status().accounts.processed, 180);
    assert_eq!(told.len(), 3 * 2 * 3, "three windows of two channels of three patients");
    for (patient, channel, name) in (0..3).flat_map(|p| [(p, 0, "ecg_ii"), (p, 1, "ppg")]) {
        for (w, expected) in expected(patient, channel, 30).iter().enumerate() {
            let end = (START_S + 10 * (w as i64 + 1)) * 1_000_000;
            let found = told[&(format!("p{patient}"), name, end)];
            for (a, b) in found.iter().zip(expected) {
                assert!((a - b).abs() <= 1e-6 * b.abs(), "p{patient} {name} {w}: {found:?} {expected:?}");
            }
        }
    }
}

#[test]
fn however_the_log_is_cut_the_bits_are_the_same() {
    let bits = |batch| format!("{:?}", walk(21, batch, None).0);
    let straight = bits(1000);
    assert!(straight.len() > 1000);
    assert!([1, 2, 5, 64].into_iter().all(|batch| bits(batch) == straight));
}

#[test]
fn a_window_with_a_gap_is_not_told() {
    let (told, _) = walk(30, 50, Some(14));
    let ends: Vec<i64> = told.keys().map(|k| k.2 / 1_000_000 - START_S).filter(|s| *s == 20).collect();
    assert!(ends.is_empty(), "a second of it is missing");
    assert_eq!(told.len(), 3 * 2 * 2);
}

#[test]
fn a_second_record_of_the_same_time_is_a_duplicate() {
    let plan = Arc::new(plan());
    let mut local = Local::new(&plan, 1, 1);
    for _ in 0..2 {
        let value = value(3, 250, &counts(0, 0, 3));
        local.append_record(0, EventTime::from_seconds(START_S + 4), "p0/ecg".into(), value.into());
    }
    let accounts = local.status().accounts;
    assert_eq!((accounts.processed, accounts.duplicate), (1, 1));
}

#[test]
fn what_is_no_counts_is_refused() {
    let good = value(0, 250, &[1, 2, 3]);
    let long = value(0, 1, &[0; 61]);
    let cases: [(&str, Vec<u8>, &str); 9] = [
        ("p/ecg", good[..11].to_vec(), "bad_samples"),
        ("p/ecg", good[..16].to_vec(), "bad_samples"),
        ("p/ecg", value(0, 250, &[]), "bad_samples"),
        ("p/ecg", value(0, 0, &[1]), "bad_rate"),
        ("p/ecg", value(0, 5001, &[1]), "bad_rate"),
        ("p/ecg", long, "bad_span"),
        ("p/abp", good.clone(), "unknown_channel"),
        ("p", good.clone(), "unknown_channel"),
        ("/ecg", good.clone(), "no_patient"),
    ];
    let plan = Arc::new(plan());
    for (key, value, code) in cases {
        let mut local = Local::new(&plan, 1, 1);
        local.append_record(
            0,
            EventTime::from_seconds(START_S),
            key.as_bytes().to_vec().into(),
            value.into(),
        );
        let accounts = local.status().accounts;
        assert_eq!(accounts.rejected_total(), 1, "{key} {code}");
        let shown = format!("{accounts:?}");
        assert!(shown.contains(code), "{code}: {shown}");
    }
    let mut local = Local::new(&plan, 1, 1);
    let early = EventTime::from_seconds(START_S - 400);
    local.append_record(0, early, "p/ecg".into(), good.into());
    assert!(format!("{:?}", local.status().accounts).contains("clock_ahead"));
}

#[test]
fn a_configuration_of_counts_is_checked() {
    for (from, to, expected) in [
        ("channel = \"ecg_ii\"", "channel = \"ecg_9\"", "no waveform is named `ecg_9`"),
        ("channel = \"ppg\"", "channel = \"ecg_ii\"", "stands twice"),
        ("scale = 0.005", "scale = 0.0", "scale 0 and offset 0"),
        ("every_s = 1.0", "every_s = 0.0", "expected 0.001 to 60"),
        ("separator = \"/\"", "separator = \"\"", "at least one character"),
        ("drivers = 0", "drivers = 6", "expected 0 to 5"),
        ("\"news2\"", "\"news3\"", "no operator or score `news3`"),
    ] {
        assert!(text().contains(from), "{from}");
        let text = text().replacen(from, to, 1);
        let config = check::read(&text, "x.toml").unwrap();
        let found =
            check::plan(&config, &text, "x.toml", true).err().map(|f| f.to_string()).unwrap_or_default();
        assert!(found.contains(expected), "{to}: {found}");
    }
}
