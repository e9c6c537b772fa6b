//! Tests of `window_spectrum`.
//! In: seconds of sine waves. Out: readings against figures worked out by hand.
#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

use super::*;
use crate::signal::Values;

const RATE: f64 = 62.5;

fn operator(channels: &[&str], hop_s: u32) -> Box<dyn Operator> {
    let bands = [[0.5, 4.0], [4.0, 8.0], [8.0, 40.0]];
    let params = serde_json::json!({"channels": channels, "span_s": 4, "hop_s": hop_s, "taper": "none",
        "bands_hz": bands});
    (SPEC.build)(&params).unwrap()
}

/// Feeds seconds of 2 sin(2 pi 5 Hz t), 62 or 63 samples each; a silent second has no run and the next one resets.
fn feed(op: &mut dyn Operator, seconds: Range<usize>, silent: &[usize]) -> Vec<Reading> {
    let channel = ChannelId::named("ppg").unwrap();
    let (values, mut all) = (Values::default(), Readings::default());
    for s in seconds {
        let (from, to) = ((s * 125).div_ceil(2), ((s + 1) * 125).div_ceil(2));
        let at = |i: usize| 2.0 * libm::sin(2.0 * std::f64::consts::PI * 5.0 * i as f64 / RATE);
        let x: Vec<f32> = (from..to).map(|i| at(i) as f32).collect();
        let start = EventTime::from_micros((from as f64 * 1e6 / RATE) as i64);
        let reset = s == 0 || silent.contains(&(s - 1));
        let run = Run { channel, rate: Hertz(RATE), start, reset, raw: &x, clean: &x, bridged: s % 2 };
        let runs = if silent.contains(&s) { vec![] } else { vec![run] };
        op.apply(&Epoch { start: EventTime::from_seconds(s as i64), runs: &runs, values: &values }, &mut all);
    }
    all.items
}

fn values(readings: &[Reading], name: &str) -> Vec<Result<f64, Missing>> {
    readings.iter().filter(|r| r.name == name).map(|r| r.value).collect()
}

#[test]
fn a_sine_has_its_power_in_its_band() {
    let said = feed(operator(&["ppg"], 4).as_mut(), 0..8, &[]);
    assert_eq!(said.len(), 10, "two windows of five readings");
    // 250 samples of amplitude 2 at a whole number of periods: |X| = 2 * 250 / 2 at one coefficient.
    for (name, expected) in [
        ("window_samples", 250.0),
        ("window_rms", 2f64.sqrt()),
        ("window_band_1", 0.0),
        ("window_band_2", 62_500.0),
        ("window_band_3", 0.0),
    ] {
        for found in values(&said, name) {
            assert!((found.unwrap() - expected).abs() < 1e-6 * expected.max(1.0), "{name} {found:?}");
        }
    }
    assert!(said.iter().all(|r| r.window == Span::seconds_const(4) && r.time.micros() % 4_000_000 == 0));
    // Two samples of 250 were bridged.
    assert!((said[0].quality - (1.0 - 2.0 / 250.0)).abs() < 1e-6);
}

#[test]
fn windows_slide_and_gaps_are_told() {
    let ok = |r: &[Reading]| values(r, "window_rms").iter().map(Result::is_ok).collect::<Vec<_>>();
    assert_eq!(ok(&feed(operator(&["ppg"], 2).as_mut(), 0..8, &[])), [false, true, true, true]);
    let said = feed(operator(&["ppg"], 4).as_mut(), 0..16, &[5, 11]);
    assert_eq!(ok(&said), [true, false, false, true]);
    let why = values(&said, "window_band_2");
    assert_eq!(why[1], Err(Missing::Learning));
    assert!(why[2].is_err() && said.iter().filter(|r| r.value.is_err()).all(|r| r.quality == 0.0));
    assert!(feed(operator(&[], 4).as_mut(), 0..8, &[]).is_empty());
    assert_eq!(
        values(&feed(operator(&["ecg_ii"], 4).as_mut(), 0..4, &[]), "window_rms"),
        [Err(Missing::NoData)]
    );
}

#[test]
fn saved_anywhere_and_loaded_gives_the_same_bits() {
    let text = |r: &[Reading]| format!("{r:?}");
    for hop in [3, 4] {
        let straight = feed(operator(&["ppg"], hop).as_mut(), 0..16, &[6]);
        for cut in 1..16 {
            let (mut one, mut other) = (operator(&["ppg"], hop), operator(&["ppg"], hop));
            let mut said = feed(one.as_mut(), 0..cut, &[6]);
            let mut state = Vec::new();
            one.save(&mut state);
            other.load(&state).unwrap();
            said.extend(feed(other.as_mut(), cut..16, &[6]));
            assert_eq!(text(&said), text(&straight), "cut after {cut} s, hop {hop}");
            assert!(operator(&["ppg", "ecg_ii"], hop).load(&state).is_err());
            assert!(other.load(&state[..state.len() - 1]).is_err());
        }
    }
}

#[test]
fn parameters_that_mean_nothing_are_refused() {
    for (params, why) in [
        (serde_json::json!({"channels": ["heart_rate"]}), "no waveform is named heart_rate"),
        (serde_json::json!({"channels": ["ppg", "ppg"]}), "twice"),
        (serde_json::json!({"bands_hz": [[4.0, 4.0]]}), "from 4 to 4"),
        (serde_json::json!({"bands_hz": [[-1.0, 4.0]]}), "bands_hz is -1"),
        (serde_json::json!({"bands_hz": vec![[1.0, 2.0]; 9]}), "9 bands"),
    ] {
        let found = (SPEC.build)(&params).err().unwrap().to_string();
        assert!(found.contains(why), "{found}");
    }
}
