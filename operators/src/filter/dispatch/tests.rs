//! Every width says the same, of all operators and to the bit.
//! In: made-up channels of five kinds. Out: what the operators say and keep, compared between widths.
#![allow(clippy::unwrap_used, reason = "a test may stop")]

use std::cell::Cell;

use super::*;
use crate::registry::OPERATORS;
use crate::signal::{ChannelId, Epoch, EventTime, Hertz, Readings, Run, Values};

thread_local! {
    /// The width that kernels are to run with in this test.
    pub(super) static FORCED: Cell<Option<Width>> = const { Cell::new(None) };
}

/// Sample `i` of a channel: something like a beat every 0.8 s or a breath every 4 s, with a little noise.
fn sample(channel: &str, rate: f64, i: i64) -> f32 {
    let t = i as f64 / rate;
    let noise = ((i * 7919 + 13) % 101) as f64 / 101.0 - 0.5;
    let beat = 1.0 - ((t / 0.8).fract() - 0.4).abs() / 0.03;
    let wave = libm::sin(t * std::f64::consts::TAU / 0.8) + 0.4 * libm::sin(t * std::f64::consts::TAU / 0.4);
    let value = match channel {
        "abp" => 90.0 + 20.0 * wave + 0.3 * noise,
        "ppg" => wave + 0.02 * noise,
        "resp" => libm::sin(t * std::f64::consts::TAU / 4.0) + 0.05 * noise,
        _ => beat.max(0.0) + 0.01 * noise,
    };
    value as f32
}

/// What all operators say of three quarters of a minute, and their states after it.
fn told(width: Width) -> String {
    FORCED.set(Some(width));
    let mut all = String::new();
    let mut operators: Vec<_> = OPERATORS.iter().map(|s| (s.build)(&(s.defaults)()).unwrap()).collect();
    let channels = [("ecg_ii", 250.0), ("ecg_v5", 360.0), ("ppg", 125.0), ("abp", 125.0), ("resp", 62.5)];
    let values = Values::default();
    for second in 0..45_i64 {
        let data: Vec<_> = channels
            .iter()
            .map(|(name, rate)| {
                let at = |s: i64| (s as f64 * rate).ceil() as i64;
                let samples: Vec<f32> =
                    (at(second)..at(second + 1)).map(|i| sample(name, *rate, i)).collect();
                let start = EventTime::from_micros((at(second) as f64 * 1e6 / rate) as i64);
                (ChannelId::named(name).unwrap(), Hertz(*rate), start, samples)
            })
            .collect();
        let mut runs: Vec<Run<'_>> = data
            .iter()
            .map(|(channel, rate, start, x)| Run {
                channel: *channel,
                rate: *rate,
                start: *start,
                reset: second == 0,
                raw: x,
                clean: x,
                bridged: 0,
            })
            .collect();
        runs.sort_by_key(|r| r.channel);
        let mut out = Readings::default();
        for operator in &mut operators {
            let start = EventTime::from_seconds(second);
            operator.apply(&Epoch { start, runs: &runs, values: &values }, &mut out);
        }
        all += &format!("{out:?}\n");
    }
    let mut state = Vec::new();
    operators.iter().for_each(|o| o.save(&mut state));
    FORCED.set(None);
    all + &format!("{state:?}")
}

#[test]
fn every_width_says_the_same_to_the_bit() {
    let scalar = told(Width::Scalar);
    for name in ["heart_rate", "pulse_rate", "abp_sys", "resp_rate", "ecg_power_5_15"] {
        let found = scalar.lines().any(|l| l.contains(&format!("name: \"{name}\"")) && l.contains("Ok("));
        assert!(found, "{name} is not among what is compared");
    }
    for width in Width::available() {
        assert!(told(width) == scalar, "{width:?} differs");
    }
}
