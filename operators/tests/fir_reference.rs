//! Filters of finite length and resampling against scipy: worst value, not the mean.
//! In: golden values made by reference/make_fir_reference.py. Out: failures that name the worst place.
#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

use auscult_operators::filter::fir::Fir;
use auscult_operators::filter::fir::equiripple::{Symmetry, Want, equiripple};
use auscult_operators::filter::fir::smooth::savitzky_golay;
use auscult_operators::filter::fir::window::{Window, by_window};
use auscult_operators::filter::{Band, ResampleState, Resampler};
use auscult_operators::signal::Hertz;
use serde::Deserialize;

#[derive(Deserialize)]
struct Reference {
    made: String,
    windows: Vec<Windowed>,
    equiripple: Vec<Equiripple>,
    smoothers: Vec<Smoother>,
    resampled: Vec<Resampled>,
}

#[derive(Deserialize)]
struct Windowed {
    kind: String,
    edges: Vec<f64>,
    rate: f64,
    window: String,
    beta: f64,
    taps: Vec<f64>,
}

#[derive(Deserialize)]
struct Equiripple {
    bands: Vec<f64>,
    gains: Vec<f64>,
    weights: Vec<f64>,
    kind: String,
    rate: f64,
    taps: Vec<f64>,
}

#[derive(Deserialize)]
struct Smoother {
    degree: usize,
    derivative: usize,
    position: usize,
    step_s: f64,
    taps: Vec<f64>,
}

#[derive(Deserialize)]
struct Resampled {
    up: usize,
    down: usize,
    len: usize,
    output: Vec<f64>,
}

fn reference() -> Reference {
    let all: Reference = serde_json::from_str(include_str!("reference/fir_reference.json")).unwrap();
    assert!(all.made.contains("scipy"));
    all
}

/// Worst difference relative to the peak of the expected values.
fn worst(found: &[f64], expected: &[f64]) -> f64 {
    assert_eq!(found.len(), expected.len());
    let peak = expected.iter().fold(0.0f64, |p, v| p.max(v.abs()));
    // A value that is no number must not pass for none.
    let away = |g: &f64, e: &f64| if g.is_finite() { (g - e).abs() } else { f64::INFINITY };
    found.iter().zip(expected).map(|(g, e)| away(g, e)).fold(0.0, f64::max) / peak
}

/// Holds all designs against theirs, and lists those that differ by more than `most`.
fn hold(most: f64, all: impl Iterator<Item = (String, Fir, Vec<f64>)>) {
    let mut bad = Vec::new();
    for (name, found, expected) in all {
        let err = worst(found.taps(), &expected);
        if err > most {
            bad.push(format!("{name} of {}: {err:e}", expected.len()));
        }
        // The comparison must be able to fail.
        let off: Vec<f64> = found.taps().iter().map(|h| h * (1.0 + 2.0 * most)).collect();
        assert!(worst(&off, &expected) > most, "{name}: the check does not bite");
    }
    assert!(bad.is_empty(), "{}", bad.join("\n"));
}

#[test]
fn filters_by_window_equal_those_of_scipy() {
    let all = reference().windows;
    assert!(all.len() > 80);
    hold(
        1e-10,
        all.into_iter().map(|d| {
            let e = |i: usize| Hertz(d.edges[i]);
            let band = match d.kind.as_str() {
                "lowpass" => Band::LowPass(e(0)),
                "highpass" => Band::HighPass(e(0)),
                "bandpass" => Band::BandPass(e(0), e(1)),
                _ => Band::BandStop(e(0), e(1)),
            };
            let window = match d.window.as_str() {
                "boxcar" => Window::Rectangular,
                "hann" => Window::Hann,
                "hamming" => Window::Hamming,
                "blackman" => Window::Blackman,
                _ => Window::Kaiser(d.beta),
            };
            let found = by_window(d.taps.len(), band, window, Hertz(d.rate)).unwrap();
            (format!("{} {} {:?}", d.kind, d.window, d.edges), found, d.taps)
        }),
    );
}

#[test]
fn equiripple_filters_equal_those_of_scipy() {
    let all = reference().equiripple;
    assert!(all.len() >= 30);
    hold(
        1e-6,
        all.into_iter().map(|d| {
            let bands: Vec<Want> = d
                .bands
                .chunks(2)
                .zip(d.gains.iter().zip(&d.weights))
                .map(|(b, (&gain, &weight))| Want { low: Hertz(b[0]), high: Hertz(b[1]), gain, weight })
                .collect();
            let symmetry = match d.kind.as_str() {
                "hilbert" => Symmetry::Odd,
                "differentiator" => Symmetry::Differentiator,
                _ => Symmetry::Even,
            };
            let name = format!("{} {:?}", d.kind, d.bands);
            let found = equiripple(d.taps.len(), &bands, symmetry, Hertz(d.rate));
            (name.clone(), found.unwrap_or_else(|e| panic!("{name}: {e}")), d.taps)
        }),
    );
}

#[test]
fn savitzky_golay_filters_equal_those_of_scipy() {
    let all = reference().smoothers;
    assert!(all.len() > 130);
    hold(
        1e-9,
        all.into_iter().map(|d| {
            let found = savitzky_golay(d.taps.len(), d.degree, d.derivative, d.position, d.step_s).unwrap();
            (format!("degree {} derivative {} at {}", d.degree, d.derivative, d.position), found, d.taps)
        }),
    );
}

/// The signal of the script, to the bit.
fn signal(n: usize) -> Vec<f32> {
    let mut state = 12345u32;
    (0..n as i64)
        .map(|i| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let away = (i % 80 - 40).abs();
            (f64::from(state >> 16) / 65536.0 - 0.5 + away as f64 / 16.0 + 1.0) as f32
        })
        .collect()
}

#[test]
fn resampled_signals_equal_those_of_scipy() {
    for r in reference().resampled {
        let resampler = Resampler::new(r.up, r.down).unwrap();
        let (mut state, mut output) = (ResampleState::default(), Vec::new());
        resampler.resample(&mut state, &signal(r.len), &mut output);
        let (first, skip) = (resampler.skipped(), 10 * r.up.max(r.down) / r.down + 2);
        // scipy takes the signal to be zero before it begins and after it ends: only the inner part is alike.
        let inner = |all: &[f64]| all[2 * skip..all.len() - 2 * skip].to_vec();
        let found: Vec<f64> = output[first..].iter().map(|&y| f64::from(y)).collect();
        let expected = &r.output[..found.len()];
        let err = worst(&inner(&found), &inner(expected));
        assert!(err < 1e-5, "{}/{}: {err:e}", r.up, r.down);
        let late = worst(&inner(&found[1..]), &inner(&expected[..found.len() - 1]));
        assert!(late > 1e-5, "the check does not bite");
    }
}
