//! Designs, filters, transforms and densities against scipy and numpy: worst value, not the mean.
//! In: golden values made by reference/make_filter_reference.py. Out: failures that name the worst place.
#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test that panics has failed, and says what it ran"
)]

use auscult_operators::filter::lanes::{LANES, filter_many_at};
use auscult_operators::filter::{
    Band, Cascade, CascadeState, Conditioning, Job, Section, Width, butterworth, cascade_for, notch,
};
use auscult_operators::signal::{Hertz, Kind};
use auscult_operators::spectrum::{RealFft, Welch, fft::Bin};
use serde::Deserialize;

#[derive(Deserialize)]
struct Filters {
    made: String,
    designs: Vec<Design>,
    filters: Vec<Filtered>,
}

#[derive(Deserialize)]
struct Design {
    kind: String,
    order: usize,
    edges: Vec<f64>,
    #[serde(default)]
    quality: f64,
    rate: f64,
    sos: Vec<[f64; 6]>,
}

#[derive(Deserialize)]
struct Filtered {
    kind: String,
    rate: f64,
    mains_hz: f64,
    period_s: f64,
    level: f64,
    output: Vec<f64>,
}

#[derive(Deserialize)]
struct Spectra {
    transforms: Vec<Transform>,
    densities: Vec<Density>,
}

#[derive(Deserialize)]
struct Transform {
    len: usize,
    re: Vec<f64>,
    im: Vec<f64>,
}

#[derive(Deserialize)]
struct Density {
    len: usize,
    segment: usize,
    rate: f64,
    density: Vec<f64>,
}

fn filters() -> Filters {
    serde_json::from_str(include_str!("reference/filter_reference.json")).unwrap()
}

fn spectra() -> Spectra {
    serde_json::from_str(include_str!("reference/spectrum_reference.json")).unwrap()
}

/// The signal of the script, to the bit.
fn signal(n: usize, rate: f64, period_s: f64, level: f64) -> Vec<f32> {
    let period = (period_s * rate) as i64;
    let width = period / 8 + 1;
    let mut state = 12345u32;
    (0..n as i64)
        .map(|i| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let noise = f64::from(state >> 16) / 65536.0 - 0.5;
            let away = (i % period - period / 2).abs();
            let pulse = if away < width { (width - away) as f64 / width as f64 } else { 0.0 };
            (1.5 * pulse + 0.125 * noise + level + i as f64 / n as f64) as f32
        })
        .collect()
}

/// Worst difference relative to the peak of the expected values.
fn worst(got: impl IntoIterator<Item = f64>, expected: &[f64]) -> f64 {
    let peak = expected.iter().fold(0.0f64, |p, v| p.max(v.abs()));
    got.into_iter().zip(expected).map(|(g, e)| (g - e).abs()).fold(0.0, f64::max) / peak
}

fn design(d: &Design) -> Vec<Section> {
    let (rate, e) = (Hertz(d.rate), |i: usize| Hertz(d.edges[i]));
    let band = match d.kind.as_str() {
        "lowpass" => Band::LowPass(e(0)),
        "highpass" => Band::HighPass(e(0)),
        "bandpass" => Band::BandPass(e(0), e(1)),
        "bandstop" => Band::BandStop(e(0), e(1)),
        _ => return vec![notch(e(0), d.quality, rate).unwrap()],
    };
    butterworth(d.order, band, rate).unwrap()
}

#[test]
fn sections_equal_those_of_scipy() {
    let reference = filters();
    assert!(reference.made.contains("scipy"));
    assert!(reference.designs.len() > 80);
    for d in &reference.designs {
        let found = design(d);
        let name = format!("{} {} {:?} at {}", d.kind, d.order, d.edges, d.rate);
        assert_eq!(found.len(), d.sos.len(), "{name}");
        for (s, e) in found.iter().zip(&d.sos) {
            let row = [s.b[0], s.b[1], s.b[2], 1.0, s.a[0], s.a[1]];
            for (i, (g, e)) in row.iter().zip(e).enumerate() {
                // Gains of high orders are tiny: relative to themselves, or to one for the rest.
                let scale = if i == 0 { e.abs() } else { e.abs().max(1.0) };
                assert!((g - e).abs() <= 1e-12 * scale, "{name}: {row:?} against {e}");
            }
        }
    }
}

fn cascade(f: &Filtered) -> Cascade {
    let kind = match f.kind.as_str() {
        "ecg" => Kind::Ecg,
        "ppg" => Kind::Ppg,
        "pressure" => Kind::Pressure,
        "respiration" => Kind::Respiration,
        _ => Kind::Eeg,
    };
    cascade_for(kind, Hertz(f.rate), &Conditioning { mains_hz: f.mains_hz, ..Default::default() }).unwrap()
}

/// The tolerance of filtered samples: worst sample relative to the peak of the reference output.
const FILTER_TOLERANCE: f64 = 1e-5;

#[test]
fn filtered_samples_equal_those_of_scipy() {
    for f in &filters().filters {
        let x = signal(f.output.len(), f.rate, f.period_s, f.level);
        let (mut state, mut y) = (CascadeState::default(), vec![0f32; x.len()]);
        cascade(f).filter(&mut state, &x, &mut y);
        let err = worst(y.iter().map(|&v| f64::from(v)), &f.output);
        assert!(err < FILTER_TOLERANCE, "{} at {}: {err:e}", f.kind, f.rate);
        // The comparison must be able to fail: one sample late is another signal.
        let late = worst(y[1..].iter().map(|&v| f64::from(v)), &f.output);
        assert!(late > FILTER_TOLERANCE, "{} at {}: the check does not bite", f.kind, f.rate);
    }
}

/// Runs channels in groups of `group`, cut into epochs of varying length, with instructions of a width.
fn run_grouped(
    c: &Cascade,
    inputs: &[Vec<f32>],
    width: Width,
    group: usize,
) -> (Vec<Vec<f32>>, Vec<CascadeState>) {
    let mut outputs: Vec<Vec<f32>> = inputs.iter().map(|x| vec![0.0; x.len()]).collect();
    let mut states = vec![CascadeState::default(); inputs.len()];
    for first in (0..inputs.len()).step_by(group) {
        let members = first..inputs.len().min(first + group);
        let mut done = vec![0; members.len()];
        for turn in 0.. {
            let mut jobs = Vec::new();
            let lanes = inputs[members.clone()].iter().zip(&mut outputs[members.clone()]);
            for (k, ((x, y), state)) in lanes.zip(&mut states[members.clone()]).enumerate() {
                // 62 and 63 as at 62.5 Hz, now and then a long, a short or an empty one.
                let len = [62, 63, 62, 130, 7, 0, 8, 1][(turn + k * k) % 8].min(x.len() - done[k]);
                let span = done[k]..done[k] + len;
                jobs.push(Job { input: &x[span.clone()], output: &mut y[span], state });
                done[k] += len;
            }
            filter_many_at(width, c, &mut jobs);
            if done.iter().zip(&inputs[members.clone()]).all(|(d, x)| *d == x.len()) {
                break;
            }
        }
    }
    (outputs, states)
}

fn bits(of: &[Vec<f32>]) -> Vec<Vec<u32>> {
    of.iter().map(|y| y.iter().map(|v| v.to_bits()).collect()).collect()
}

#[test]
fn bits_depend_neither_on_width_nor_on_company() {
    let widths: Vec<Width> = Width::available().collect();
    eprintln!("widths run: {widths:?} of {:?}", Width::ALL);
    let mut cascades: Vec<Cascade> = filters().filters.iter().map(cascade).collect();
    // More sections than one pass holds, of both precisions.
    let rate = Hertz(250.0);
    let low = butterworth(16, Band::LowPass(Hertz(40.0)), rate).unwrap();
    cascades.push(Cascade::new(low, rate).unwrap());
    let slow = butterworth(7, Band::HighPass(Hertz(5.0)), rate).unwrap();
    cascades.push(Cascade::new(slow, rate).unwrap());
    for c in &cascades {
        let inputs: Vec<Vec<f32>> = (0..LANES * 2 + 5)
            .map(|k| signal(300 + 7 * k, 125.0, 0.5 + 0.01 * k as f64, k as f64 - 3.0))
            .collect();
        let mut outputs: Vec<Vec<f32>> = inputs.iter().map(|x| vec![0.0; x.len()]).collect();
        for (x, y) in inputs.iter().zip(&mut outputs) {
            // As a whole, or in epochs, is the same too: but for silence taken for zero between them.
            c.filter(&mut CascadeState::default(), x, y);
        }
        let expected = bits(&outputs);
        let (_, expected_states) = run_grouped(c, &inputs, Width::Scalar, 1);
        for &width in &widths {
            for group in [1, 2, 3, 5, 16, 37] {
                let (y, states) = run_grouped(c, &inputs, width, group);
                assert!(bits(&y) == expected, "{width:?} in groups of {group}, {:?}", c.precisions());
                assert_eq!(states, expected_states, "{width:?} in groups of {group}");
            }
        }
    }
}

#[test]
fn a_poisoned_or_missing_neighbour_changes_nothing() {
    let c = cascade(&filters().filters[0]);
    let x = signal(200, 360.0, 0.8, 0.0);
    let mut alone = vec![0f32; 200];
    c.filter(&mut CascadeState::default(), &x, &mut alone);
    for width in Width::available() {
        let bad = [f32::NAN; 150];
        let (mut y, mut rest) = (vec![0f32; 200], [[0f32; 150]; 5]);
        let mut states = [CascadeState::default(); 6];
        let (first, others) = states.split_first_mut().unwrap();
        let mut jobs: Vec<Job<'_>> =
            rest.iter_mut().zip(others).map(|(o, state)| Job { input: &bad, output: o, state }).collect();
        jobs.push(Job { input: &x, output: &mut y, state: first });
        filter_many_at(width, &c, &mut jobs);
        assert_eq!(y, alone, "{width:?}");
    }
}

#[test]
fn a_state_travels_through_bytes() {
    let c = cascade(&filters().filters[1]);
    let x = signal(500, 500.0, 0.8, -4.0);
    let (mut whole, mut cut) = (vec![0f32; 500], vec![0f32; 500]);
    c.filter(&mut CascadeState::default(), &x, &mut whole);
    let mut state = CascadeState::default();
    c.filter(&mut state, &x[..123], &mut cut[..123]);
    let bytes = postcard::to_stdvec(&state).unwrap();
    let mut state: CascadeState = postcard::from_bytes(&bytes).unwrap();
    c.filter(&mut state, &x[123..], &mut cut[123..]);
    assert_eq!(whole, cut);
    state.reset();
    assert_eq!(state, CascadeState::default());
}

#[test]
fn transforms_equal_those_of_numpy() {
    for t in &spectra().transforms {
        let x: Vec<f64> = signal(t.len, 250.0, 0.8, 0.0).iter().map(|&v| f64::from(v)).collect();
        let mut bins = vec![Bin::default(); t.len / 2 + 1];
        RealFft::new(t.len).unwrap().forward(&x, &mut bins);
        let expected: Vec<f64> = t.re.iter().chain(&t.im).copied().collect();
        let err = worst(bins.iter().map(|b| b.re).chain(bins.iter().map(|b| b.im)), &expected);
        assert!(err < 1e-11, "{}: {err:e}", t.len);
    }
}

#[test]
fn densities_equal_those_of_scipy() {
    for d in &spectra().densities {
        let x = signal(d.len, d.rate, 0.8, 0.5);
        let mut welch = Welch::new(d.segment, Hertz(d.rate)).unwrap();
        let mut density = vec![0.0; welch.bins()];
        welch.density(&x, &mut density).unwrap();
        assert_eq!(density.len(), d.density.len());
        // Each bin relative to itself; the first holds only what rounding leaves of the mean.
        for (k, (g, e)) in density.iter().zip(&d.density).enumerate().skip(1) {
            assert!((g - e).abs() <= 1e-9 * e, "{} bin {k}: {g:e} against {e:e}", d.len);
        }
    }
}
