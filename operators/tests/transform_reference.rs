//! Uneven series, tapers, tapered densities, short-time transforms and spline wavelets against scipy: the worst value.
//! In: golden values made by reference/make_transform_reference.py. Out: failures that name the case.
#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

use auscult_operators::signal::Hertz;
use auscult_operators::spectrum::lomb_scargle::lomb_scargle;
use auscult_operators::spectrum::multitaper::{Multitaper, tapers};
use auscult_operators::spectrum::stft::Stft;
use auscult_operators::spectrum::wavelet::{SCALES, SplineWavelet};
use serde::Deserialize;

#[derive(Deserialize)]
struct Reference {
    made: String,
    uneven: Vec<Uneven>,
    tapers: Vec<Tapers>,
    densities: Vec<Density>,
    pieces: Vec<Pieces>,
    wavelets: Wavelets,
}

#[derive(Deserialize)]
struct Uneven {
    n: usize,
    step_hz: f64,
    power: Vec<f64>,
}

#[derive(Deserialize)]
struct Tapers {
    n: usize,
    nw: f64,
    count: usize,
    every: usize,
    tapers: Vec<Vec<f64>>,
}

#[derive(Deserialize)]
struct Density {
    n: usize,
    nw: f64,
    count: usize,
    rate: f64,
    density: Vec<f64>,
}

#[derive(Deserialize)]
struct Pieces {
    n: usize,
    len: usize,
    hop: usize,
    rate: f64,
    magnitudes: Vec<f64>,
}

#[derive(Deserialize)]
struct Wavelets {
    n: usize,
    rate: f64,
    scales: Vec<Vec<f64>>,
}

fn reference() -> Reference {
    let all: Reference = serde_json::from_str(include_str!("reference/transform_reference.json")).unwrap();
    assert!(all.made.contains("scipy"));
    all
}

fn dice(state: &mut u32) -> u32 {
    *state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
    *state >> 16
}

/// The signal of the script, to the bit.
fn signal(n: usize, rate: f64, period_s: f64, level: f64) -> Vec<f32> {
    let period = (period_s * rate) as i64;
    let width = period / 8 + 1;
    let mut state = 12345u32;
    (0..n as i64)
        .map(|i| {
            let noise = f64::from(dice(&mut state)) / 65536.0 - 0.5;
            let away = (i % period - period / 2).abs();
            let pulse = if away < width { (width - away) as f64 / width as f64 } else { 0.0 };
            (1.5 * pulse + 0.125 * noise + level + i as f64 / n as f64) as f32
        })
        .collect()
}

/// Worst difference relative to the peak of what is expected.
fn worst(got: impl IntoIterator<Item = f64>, expected: &[f64]) -> f64 {
    let peak = expected.iter().fold(0.0f64, |p, v| p.max(v.abs()));
    let (mut worst, mut count) = (0.0f64, 0);
    for (g, e) in got.into_iter().zip(expected) {
        assert!(g.is_finite());
        (worst, count) = (worst.max((g - e).abs()), count + 1);
    }
    assert_eq!(count, expected.len());
    worst / peak
}

#[test]
fn power_of_uneven_series_equals_that_of_scipy() {
    for u in reference().uneven {
        let (mut state, mut t) = (99, 0.0);
        let times: Vec<f64> = (0..u.n)
            .map(|_| {
                t += 0.6 + f64::from(dice(&mut state)) / 131_072.0;
                t
            })
            .collect();
        let mut values: Vec<f64> = signal(u.n, 4.0, 9.0, 0.25).into_iter().map(f64::from).collect();
        let mean = values.iter().sum::<f64>() / u.n as f64;
        values.iter_mut().for_each(|v| *v -= mean);
        let angular: Vec<f64> =
            (1..=u.power.len()).map(|k| 2.0 * std::f64::consts::PI * u.step_hz * k as f64).collect();
        let mut power = vec![0.0; angular.len()];
        lomb_scargle(&times, &values, &angular, &mut power).unwrap();
        assert!(worst(power, &u.power) < 1e-9, "{} values", u.n);
    }
}

#[test]
fn tapers_equal_those_of_scipy() {
    for t in reference().tapers {
        let found = tapers(t.n, t.nw, t.count).unwrap();
        assert_eq!(t.tapers.len(), t.count);
        for (k, (found, expected)) in found.chunks(t.n).zip(&t.tapers).enumerate() {
            let off = worst(found.iter().step_by(t.every).copied(), expected);
            assert!(off < 1e-6, "taper {k} of {} samples: {off}", t.n);
        }
    }
}

#[test]
fn tapered_densities_equal_those_of_scipy() {
    for d in reference().densities {
        let mut estimate = Multitaper::new(d.n, d.nw, d.count, Hertz(d.rate)).unwrap();
        let mut density = vec![0.0; estimate.bins()];
        estimate.density(&signal(d.n, d.rate, 0.8, 0.5), &mut density).unwrap();
        assert!(worst(density, &d.density) < 1e-5, "{} samples", d.n);
    }
}

#[test]
fn short_time_transforms_equal_those_of_scipy() {
    for p in reference().pieces {
        let mut stft = Stft::new(p.len, p.hop, Hertz(p.rate)).unwrap();
        let mut magnitudes = vec![0.0; stft.pieces(p.n) * stft.bins()];
        stft.magnitudes(&signal(p.n, p.rate, 0.8, 0.5), &mut magnitudes).unwrap();
        assert!(worst(magnitudes, &p.magnitudes) < 1e-5, "pieces of {}", p.len);
    }
}

#[test]
fn wavelets_equal_filtering_however_the_signal_is_cut() {
    let w = reference().wavelets;
    let x = signal(w.n, w.rate, 0.8, 0.5);
    for cut in [1, 7, 250, 400] {
        let (mut wavelet, mut work) = (SplineWavelet::default(), vec![]);
        let (mut found, mut part): ([Vec<f32>; SCALES], [Vec<f32>; SCALES]) = Default::default();
        for x in x.chunks(cut) {
            wavelet.transform(x, &mut work, &mut part);
            found.iter_mut().zip(&part).for_each(|(all, part)| all.extend(part));
        }
        for (k, (found, expected)) in found.iter().zip(&w.scales).enumerate() {
            let off = worst(found.iter().copied().map(f64::from), expected);
            assert!(off < 1e-5, "scale {} in pieces of {cut}: {off}", k + 1);
        }
    }
}
