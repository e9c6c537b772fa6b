//! A walk for tests: channels in, epochs through a chain of operators, readings out.
//! In: whole signals with their rate. Out: what the last epoch said, second by second.
//! The conditioning here is a plain Butterworth band-pass, a stand-in for the kernels of the engine.
#![allow(dead_code, reason = "each test file uses its part")]

use auscult_operators::operator::{Operator, Spec};
use auscult_operators::signal::{ChannelId, Epoch, EventTime, Hertz, Kind, Readings, Run, Values};

/// A whole channel: raw and conditioned.
pub struct Wave {
    pub channel: ChannelId,
    pub rate: f64,
    pub raw: Vec<f32>,
    pub clean: Vec<f32>,
}

impl Wave {
    pub fn new(channel: &str, rate: f64, raw: Vec<f32>) -> Self {
        let channel = ChannelId::named(channel).unwrap();
        let clean = match channel.row().kind {
            Kind::Ppg => band_pass(&raw, rate, 0.5, 8.0),
            Kind::Respiration => band_pass(&raw, rate, 0.05, 1.5),
            _ => raw.clone(),
        };
        Self { channel, rate, raw, clean }
    }
}

/// Second-order Butterworth high-pass, then low-pass, both by the bilinear transform.
pub fn band_pass(x: &[f32], rate: f64, low_hz: f64, high_hz: f64) -> Vec<f32> {
    let high_passed = biquad(x, rate, low_hz, true);
    biquad(&high_passed, rate, high_hz, false)
}

fn biquad(x: &[f32], rate: f64, corner_hz: f64, high_pass: bool) -> Vec<f32> {
    let w = (std::f64::consts::PI * corner_hz / rate).tan();
    let n = 1.0 / (1.0 + std::f64::consts::SQRT_2 * w + w * w);
    let (b0, b1) = if high_pass { (n, -2.0 * n) } else { (w * w * n, 2.0 * w * w * n) };
    let (a1, a2) = (2.0 * (w * w - 1.0) * n, (1.0 - std::f64::consts::SQRT_2 * w + w * w) * n);
    let start = x.first().copied().map_or(0.0, f64::from);
    let rest = if high_pass { 0.0 } else { start };
    let (mut x1, mut x2, mut y1, mut y2) = (start, start, rest, rest);
    x.iter()
        .map(|&v| {
            let x0 = f64::from(v);
            let y0 = b0 * x0 + b1 * x1 + b0 * x2 - a1 * y1 - a2 * y2;
            (x2, x1, y2, y1) = (x1, x0, y1, y0);
            y0 as f32
        })
        .collect()
}

/// Operators with their defaults.
pub fn build(specs: &[&Spec]) -> Vec<Box<dyn Operator>> {
    specs.iter().map(|s| (s.build)(&(s.defaults)()).unwrap()).collect()
}

/// Runs a chain over whole waves from second 0 and shows the readings of each second.
pub fn walk(waves: &[Wave], specs: &[&Spec], mut each: impl FnMut(i64, &Readings)) {
    let mut chain = build(specs);
    let mut out = Readings::default();
    let values = Values::default();
    let seconds = waves.iter().map(|w| (w.raw.len() as f64 / w.rate) as i64).max().unwrap_or(0);
    for s in 0..seconds {
        let start = EventTime::from_seconds(s);
        let runs: Vec<Run<'_>> = waves.iter().filter_map(|w| second(w, s)).collect();
        out.clear();
        for operator in &mut chain {
            operator.apply(&Epoch { start, runs: &runs, values: &values }, &mut out);
        }
        each(s, &out);
    }
}

fn second(wave: &Wave, s: i64) -> Option<Run<'_>> {
    let first = |s: i64| (s as f64 * wave.rate).ceil() as usize;
    let (from, to) = (first(s), first(s + 1));
    let raw = wave.raw.get(from..to)?;
    let start = EventTime::from_micros((from as f64 / wave.rate * 1e6).round() as i64);
    Some(Run {
        channel: wave.channel,
        rate: Hertz(wave.rate),
        start,
        reset: s == 0,
        raw,
        clean: &wave.clean[from..to],
        bridged: 0,
    })
}
