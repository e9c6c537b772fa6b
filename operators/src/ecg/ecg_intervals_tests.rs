//! Intervals of beats whose waves have known ends.
//! In: shapes, rates, noise. Out: errors in ms against the shapes, with ceilings.

use super::ecg_intervals::SPEC;
use super::synthetic::{Shape, USUAL, lead, run};
use crate::operator::Operator;
use crate::signal::Missing;

fn build() -> Box<dyn Operator> {
    (SPEC.build)(&(SPEC.defaults)()).unwrap()
}

const NAMES: [&str; 6] =
    ["pr_interval", "qrs_duration", "qt_interval", "qtc_bazett", "qtc_fridericia", "qtc_framingham"];

/// What is said after a minute.
fn last(
    rate: f64,
    shape: impl Fn(usize) -> Shape,
    noise_mv: f64,
    wander: (f64, f64),
) -> [Result<f64, Missing>; 6] {
    let (mv, beats) = lead(rate, 60, shape, noise_mv, wander);
    let mut said = [Err(Missing::NoData); 6];
    run(build().as_mut(), &[("ecg_ii", rate, &mv)], &beats, &mut |_, out| {
        said = NAMES.map(|n| out.find(n).unwrap().value);
    });
    said
}

/// Shapes of many a heart: broad and narrow, fast and slow, long QT, inverted T, low P, no Q, rS.
fn shapes() -> Vec<Shape> {
    vec![
        USUAL,
        Shape { qrs: (-30.0, 40.0), q_r_s: (0.0, 1.4, -0.1), ..USUAL },
        Shape {
            p: (-170.0, -72.0, 0.12),
            qrs: (-60.0, 90.0),
            q_r_s: (0.0, 0.9, -0.4),
            t: (160.0, 280.0, 390.0, -0.25),
            ..USUAL
        },
        Shape { p: (-200.0, -90.0, 0.1), t: (150.0, 330.0, 460.0, 0.25), rr_ms: 1100.0, ..USUAL },
        Shape { p: (-130.0, -55.0, 0.1), t: (110.0, 190.0, 260.0, 0.35), rr_ms: 520.0, ..USUAL },
        Shape { p: (-150.0, -70.0, -0.08), q_r_s: (0.0, 0.3, -1.2), ..USUAL },
        Shape { t: (140.0, 250.0, 340.0, 0.6), st: (0.15, 0.5), ..USUAL },
        Shape { q_r_s: (-0.05, 0.5, -0.1), t: (150.0, 250.0, 350.0, 0.15), ..USUAL },
    ]
}

#[test]
fn intervals_are_those_of_the_shapes() {
    let mut faults = vec![];
    for (noise, wander) in [(0.0, (0.0, 0.0)), (0.02, (0.2, 0.25)), (0.04, (0.4, 0.2))] {
        for rate in [125.0, 250.0, 360.0, 500.0] {
            let (mut sums, mut counts) = ([[0.0f64; 2]; 3], [0usize; 3]);
            for shape in shapes() {
                let said = last(rate, |_| shape, noise, wander);
                let truth = [shape.qrs.0 - shape.p.0, shape.qrs.1 - shape.qrs.0, shape.t.2 - shape.qrs.0];
                for i in 0..3 {
                    let Ok(ms) = said[i] else { continue };
                    sums[i][0] += (ms - truth[i]).abs();
                    sums[i][1] += ms - truth[i];
                    counts[i] += 1;
                }
            }
            let error = |i: usize| sums[i][0] / counts[i] as f64;
            let bias = |i: usize| sums[i][1] / counts[i] as f64;
            let figures =
                [0, 1, 2].map(|i| format!("{:.1} ({:+.1}, {})", error(i), bias(i), counts[i])).join(", ");
            let line = format!("{rate} Hz, noise {noise} mV: mean error of PR, QRS, QT in ms: {figures}");
            eprintln!("{line}");
            let enough = counts[1] == 8 && counts[2] >= 7 && counts[0] >= 6;
            if !enough || error(0) > 15.0 || error(1) > 10.0 || error(2) > 15.0 {
                faults.push(line);
            }
        }
    }
    assert!(faults.is_empty(), "{faults:?}");
}

#[test]
fn without_p_waves_there_is_no_pr() {
    for noise in [0.0, 0.03] {
        let said = last(250.0, |_| Shape { p: (-160.0, -60.0, 0.0), ..USUAL }, noise, (0.1, 0.2));
        assert!(said[0].is_err() && said[1].is_ok() && said[2].is_ok(), "{said:?}");
    }
}

#[test]
fn without_t_waves_there_is_no_qt() {
    let said = last(250.0, |_| Shape { t: (140.0, 260.0, 360.0, 0.02), ..USUAL }, 0.01, (0.1, 0.2));
    assert!(said[1].is_ok() && said[2..].iter().all(Result::is_err), "{said:?}");
}

#[test]
fn ectopic_beats_count_for_nothing() {
    let broad = Shape {
        p: (-160.0, -60.0, 0.0),
        qrs: (-70.0, 110.0),
        q_r_s: (0.0, 1.6, 0.5),
        t: (180.0, 320.0, 450.0, -0.5),
        ..USUAL
    };
    let said = last(250.0, |k| if k % 6 == 5 { broad } else { USUAL }, 0.02, (0.1, 0.2));
    let truth = [120.0, 90.0, 400.0];
    for (said, truth) in said.iter().zip(truth) {
        assert!((said.unwrap() - truth).abs() < 16.0, "{said:?} {truth}");
    }
    // Where every other beat is ectopic, no beat is the usual one.
    let said = last(250.0, |k| if k % 2 == 1 { broad } else { USUAL }, 0.02, (0.1, 0.2));
    assert!(said.iter().all(|v| *v == Err(Missing::LowQuality)), "{said:?}");
}

#[test]
fn in_noise_nothing_is_claimed() {
    let said = last(250.0, |_| USUAL, 0.4, (0.0, 0.0));
    assert!(said.iter().all(Result::is_err), "{said:?}");
}

#[test]
fn it_learns_and_goes_stale() {
    let (mv, beats) = lead(250.0, 20, |_| USUAL, 0.01, (0.0, 0.0));
    let mut op = build();
    let mut qt = vec![];
    run(op.as_mut(), &[("ecg_ii", 250.0, &mv)], &beats[..15], &mut |_, out| {
        qt.push(out.find("qt_interval").unwrap().value);
    });
    assert_eq!(qt[3], Err(Missing::Learning));
    assert!(qt[12].is_ok(), "{qt:?}");
    let mut bytes = vec![];
    op.save(&mut bytes);
    eprintln!("ecg_intervals: {} bytes of state at 250 Hz", bytes.len());
    let silent = crate::signal::Epoch {
        start: crate::signal::EventTime::from_seconds(30),
        runs: &[],
        values: &crate::signal::Values::default(),
    };
    let mut out = crate::signal::Readings::default();
    op.apply(&silent, &mut out);
    assert_eq!(out.find("qt_interval").unwrap().value, Err(Missing::Stale));
}
