//! The runner: any cut, any width, any input. In: samples made here. Out: failures that name the width or the cut.
#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

use super::envelope::Envelope;
use super::equiripple::{Symmetry, Want, equiripple};
use super::smooth::savitzky_golay;
use super::window::{Window, by_window, hilbert};
use super::*;
use crate::filter::design::Band;

fn noise(n: usize) -> Vec<f32> {
    let mut state = 7u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / 8_388_608.0 - 1.0
    };
    (0..n).map(|_| next()).collect()
}

fn bits(of: &[f32]) -> Vec<u32> {
    of.iter().map(|v| v.to_bits()).collect()
}

#[test]
fn every_width_and_every_cut_gives_the_same_bits() {
    let x = noise(1500);
    for taps in [1, 2, 7, 16, 101, 1024] {
        let fir = by_window(taps, Band::LowPass(Hertz(20.0)), Window::Hamming, Hertz(250.0)).unwrap();
        let mut whole = vec![0f32; x.len()];
        fir.filter_at(Width::Scalar, &mut FirState::default(), &x, &mut whole);
        for width in Width::available() {
            for cuts in [&[1500][..], &[1, 2, 3, 0, 300], &[250], &[17, 16, 15]] {
                let (mut state, mut out, mut at) = (FirState::default(), vec![0f32; x.len()], 0);
                for len in cuts.iter().cycle() {
                    let to = x.len().min(at + len);
                    fir.filter_at(width, &mut state, &x[at..to], &mut out[at..to]);
                    state = postcard::from_bytes(&postcard::to_stdvec(&state).unwrap()).unwrap();
                    at = to;
                    if at == x.len() {
                        break;
                    }
                }
                assert!(bits(&out) == bits(&whole), "{taps} taps, {width:?}, {cuts:?}");
            }
        }
    }
}

#[test]
fn sums_are_those_of_the_definition() {
    let x = noise(700);
    let fir = by_window(31, Band::BandPass(Hertz(5.0), Hertz(20.0)), Window::Hann, Hertz(250.0)).unwrap();
    let mut out = vec![0f32; x.len()];
    fir.filter(&mut FirState::default(), &x, &mut out);
    for (n, y) in out.iter().enumerate() {
        let mut sum = 0.0;
        for (k, h) in fir.taps().iter().enumerate() {
            sum += h * f64::from(x[n.saturating_sub(k)]);
        }
        assert_eq!(y.to_bits(), (sum as f32).to_bits(), "sample {n}");
    }
}

#[test]
fn huge_samples_stay_finite_and_leave() {
    let fir = by_window(21, Band::HighPass(Hertz(20.0)), Window::Blackman, Hertz(250.0)).unwrap();
    let calm = noise(300);
    let mut wild = calm.clone();
    for (i, x) in wild[50..60].iter_mut().enumerate() {
        *x = if i % 2 == 0 { f32::MAX } else { f32::MIN };
    }
    let (mut a, mut b) = (vec![0f32; 300], vec![0f32; 300]);
    fir.filter(&mut FirState::default(), &calm, &mut a);
    fir.filter(&mut FirState::default(), &wild, &mut b);
    assert!(b.iter().all(|y| y.is_finite()));
    assert_eq!(a[80..], b[80..]);
    assert_ne!(a[55..60], b[55..60]);
    let envelope = Envelope::new(31, Window::Hamming).unwrap();
    envelope.follow(&mut FirState::default(), &wild, &mut b);
    assert!(b.iter().all(|y| y.is_finite() && *y >= 0.0));
}

#[test]
fn an_envelope_follows_a_swelling_tone() {
    let envelope = Envelope::new(101, Window::Hamming).unwrap();
    let swell = |i: f64| 1.0 + 0.5 * libm::sin(i * 0.01);
    let x: Vec<f32> = (0..2000).map(f64::from).map(|i| (swell(i) * libm::sin(i * 0.9)) as f32).collect();
    let mut out = vec![0f32; x.len()];
    envelope.follow(&mut FirState::default(), &x, &mut out);
    for (i, a) in out.iter().enumerate().skip(200) {
        let due = swell((i - envelope.latency()) as f64);
        assert!((f64::from(*a) - due).abs() < 0.01, "{i}: {a} for {due}");
    }
}

#[test]
fn faults_are_named() {
    let rate = Hertz(250.0);
    let low = Band::LowPass(Hertz(20.0));
    assert_eq!(Fir::new(vec![1.0, f64::NAN]), Err(DesignError::Precision));
    assert!(Fir::new(vec![]).is_err() && Fir::new(vec![0.0; 1025]).is_err());
    assert!(by_window(20, Band::HighPass(Hertz(20.0)), Window::Hann, rate).is_err());
    assert!(by_window(20, Band::LowPass(Hertz(125.0)), Window::Hann, rate).is_err());
    assert!(by_window(20, low, Window::Kaiser(f64::NAN), rate).is_err());
    assert!(hilbert(20, Window::Hann).is_err());
    for (window, degree, derivative, position, step) in
        [(6, 2, 0, 3, 1.0), (7, 7, 0, 3, 1.0), (7, 2, 3, 3, 1.0), (7, 2, 1, 7, 1.0), (7, 2, 1, 3, 0.0)]
    {
        assert!(savitzky_golay(window, degree, derivative, position, step).is_err());
    }
    let want = |low, high| Want { low: Hertz(low), high: Hertz(high), gain: 1.0, weight: 1.0 };
    for bands in [&[][..], &[want(10.0, 5.0)], &[want(0.0, 20.0), want(10.0, 30.0)], &[want(0.0, 200.0)]] {
        assert!(equiripple(21, bands, Symmetry::Even, rate).is_err(), "{bands:?}");
    }
}
