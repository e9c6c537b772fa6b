//! What the canceller takes, and what it leaves. In: a simulated ECG and hum of many frequencies, in millivolts.
//! Out: failures that name the frequency, the rate and the figure.
#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

use super::*;

/// A simulated ECG in millivolts at `t` seconds: waves as bells at their usual times; R is `r_s` wide.
fn ecg(t: f64, period_s: f64, r_s: f64) -> f64 {
    // Every third beat comes a little early, so that no line of the ECG lies on the mains.
    let beat = libm::floor(t / period_s);
    let early = if beat as i64 % 3 == 0 { 0.013 } else { 0.0 };
    let t = t - beat * period_s + early;
    let waves = [
        (0.12, 0.20, 0.025),
        (-0.12, 0.365, 0.008),
        (1.3, 0.39, r_s),
        (-0.3, 0.415, 0.008),
        (0.35, 0.65, 0.05),
    ];
    waves.iter().map(|(a, at, w)| a * libm::exp(-0.5 * ((t - at) / w) * ((t - at) / w))).sum()
}

fn run(rate: f64, x: impl Fn(f64) -> f64, seconds: f64, nominal: f64) -> (Vec<f64>, f64) {
    let c = MainsCanceller::new(Hertz(nominal), Hertz(rate)).unwrap();
    let input: Vec<f32> = (0..(seconds * rate) as i64).map(|i| x(i as f64 / rate) as f32).collect();
    let (mut state, mut out) = (MainsState::default(), vec![0f32; input.len()]);
    c.filter(&mut state, &input, &mut out);
    (out.iter().map(|&y| f64::from(y)).collect(), c.frequency(&state).get())
}

/// RMS of the difference of `out` from `x` from `from_s` on.
fn rms(out: &[f64], rate: f64, from_s: f64, x: impl Fn(f64) -> f64) -> f64 {
    let first = (from_s * rate) as usize;
    let sum: f64 = (first..out.len()).map(|i| (out[i] - x(i as f64 / rate)).powi(2)).sum();
    (sum / (out.len() - first) as f64).sqrt()
}

#[test]
fn a_clean_ecg_stays_intact() {
    for (rate, period, r_s) in [
        (250.0, 0.8, 0.010),
        (360.0, 1.03, 0.012),
        (500.0, 0.61, 0.008),
        (1000.0, 0.8, 0.006),
        (128.0, 0.9, 0.01),
    ] {
        let clean = |t: f64| 4.0 + ecg(t, period, r_s);
        let (out, _) = run(rate, clean, 40.0, 50.0);
        let err = rms(&out, rate, 5.0, clean);
        assert!(err < 0.010, "{rate} Hz: {err} mV");
        // No single sample of a QRS complex moves by more than a hundredth of the R wave either.
        let worst =
            (0..out.len()).skip((5.0 * rate) as usize).map(|i| (out[i] - clean(i as f64 / rate)).abs());
        let worst = worst.fold(0.0, f64::max);
        assert!(worst < 0.03, "{rate} Hz: {worst} mV");
    }
}

#[test]
fn hum_of_any_mains_is_gone_within_seconds() {
    for (rate, nominal) in [(250.0, 50.0), (500.0, 50.0), (360.0, 60.0), (1000.0, 60.0), (128.0, 50.0)] {
        for offset in [-1.0, -0.5, -0.2, 0.0, 0.1, 0.5, 1.0] {
            let clean = |t: f64| ecg(t, 0.83, 0.01);
            let hum = |t: f64| libm::sin(std::f64::consts::TAU * (nominal + offset) * t + 1.0);
            let (out, found) = run(rate, |t| clean(t) + hum(t), 12.0, nominal);
            // 1 mV of amplitude is 0.707 mV RMS; thirty decibels down is a thirtieth of it.
            let left = 20.0 * libm::log10(rms(&out, rate, 4.0, clean) / 0.5f64.sqrt());
            assert!(left < -30.0, "{rate} Hz, {nominal} {offset:+} Hz: {left} dB, found {found}");
            assert!((found - nominal - offset).abs() < 0.05, "{found} for {nominal} {offset:+}");
        }
    }
}

#[test]
fn a_drifting_hum_with_harmonics_is_followed() {
    let clean = |t: f64| ecg(t, 0.83, 0.01);
    // From 49.7 to 50.3 Hz within a minute, with a third harmonic.
    let angle = |t: f64| std::f64::consts::TAU * (49.7 * t + 0.005 * t * t);
    let hum =
        |t: f64| libm::sin(angle(t)) + 0.2 * libm::cos(3.0 * angle(t)) + 0.1 * libm::cos(2.0 * angle(t));
    let (out, _) = run(500.0, |t| clean(t) + hum(t), 60.0, 50.0);
    let left = 20.0 * libm::log10(rms(&out, 500.0, 4.0, clean) / 0.525f64.sqrt());
    assert!(left < -30.0, "{left} dB");
}

#[test]
fn spikes_of_a_pacemaker_do_not_ring() {
    for (rate, spike_mv) in [(250.0, 2.0), (500.0, 20.0), (1000.0, 100.0)] {
        // One sample before each beat of a period that is no multiple of the mains'.
        let period = libm::round(0.837 * rate) / rate;
        let clean = |t: f64| {
            let i = libm::round(t * rate) as i64 % libm::round(period * rate) as i64;
            ecg(t, period, 0.02) + if i == libm::round(0.2 * rate) as i64 { spike_mv } else { 0.0 }
        };
        let (out, _) = run(rate, clean, 40.0, 50.0);
        let err = rms(&out, rate, 5.0, clean);
        assert!(err < 0.010, "{rate} Hz, spikes of {spike_mv} mV: {err} mV");
    }
}

#[test]
fn hum_that_comes_later_goes_too() {
    let clean = |t: f64| ecg(t, 0.83, 0.01);
    let hum = |t: f64| if t > 10.0 { libm::sin(std::f64::consts::TAU * 49.6 * t) } else { 0.0 };
    let (out, _) = run(250.0, |t| clean(t) + hum(t), 22.0, 50.0);
    let left = 20.0 * libm::log10(rms(&out, 250.0, 16.0, clean) / 0.5f64.sqrt());
    assert!(left < -30.0, "{left} dB");
}

#[test]
fn any_cut_gives_the_same_bits_and_nothing_breaks_it() {
    let c = MainsCanceller::new(Hertz(50.0), Hertz(250.0)).unwrap();
    let mut x: Vec<f32> = (0..3000).map(|i| ecg(f64::from(i) / 250.0, 0.8, 0.01) as f32).collect();
    x[700] = 3e38;
    x[701] = -3e38;
    x[1500..1800].fill(1e-42);
    let (mut whole, mut cut) = (vec![0f32; x.len()], vec![0f32; x.len()]);
    c.filter(&mut MainsState::default(), &x, &mut whole);
    let (mut state, mut at) = (MainsState::default(), 0);
    for len in [1, 0, 7, 250, 249].into_iter().cycle() {
        let to = x.len().min(at + len);
        c.filter(&mut state, &x[at..to], &mut cut[at..to]);
        let bytes = postcard::to_stdvec(&state).unwrap();
        state = postcard::from_bytes(&bytes).unwrap();
        at = to;
        if at == x.len() {
            break;
        }
    }
    assert!(whole.iter().zip(&cut).all(|(a, b)| a.to_bits() == b.to_bits() && a.is_finite()));
    assert!(MainsCanceller::new(Hertz(50.0), Hertz(100.0)).is_err());
    assert!(MainsCanceller::new(Hertz(f64::NAN), Hertz(500.0)).is_err());
}
