//! The capnogram on simulated breaths: plateau, cleft, leak, blocked line, heartbeat ripples, rebreathing, apnoea.
//! In: shapes of one breath in mmHg. Out: what the operator says at the end.

use super::*;
use crate::signal::{Hertz, Values};

/// One breath of `period` seconds at time `t`: 40 % expiration with a plateau at 38 mmHg; rise and fall take 0.15 s.
fn plateau(t: f64, period: f64) -> f64 {
    let turn = t.rem_euclid(period);
    let end = 0.5 * period;
    let (up, down) = ((turn / 0.15).clamp(0.0, 1.0), ((turn - end) / 0.15).clamp(0.0, 1.0));
    let slope = 36.0 + 2.0 * (turn / end).min(1.0);
    slope * (up - down).max(0.0)
}

/// The four readings and the breaths of the last minute of `seconds`.
fn last(seconds: i64, rate: f64, wave: impl Fn(f64) -> f64) -> ([Result<f64, Missing>; 4], usize) {
    let channel = ChannelId::of("co2");
    let mut operator = (SPEC.build)(&(SPEC.defaults)()).unwrap();
    let (values, mut out, mut breaths) = (Values::default(), Readings::default(), 0);
    for s in 0..seconds {
        let start = EventTime::from_seconds(s);
        let raw: Vec<f32> = (0..rate as usize).map(|i| wave(s as f64 + i as f64 / rate) as f32).collect();
        let run =
            Run { channel, rate: Hertz(rate), start, reset: s == 0, raw: &raw, clean: &raw, bridged: 0 };
        out.clear();
        operator.apply(&Epoch { start, runs: &[run], values: &values }, &mut out);
        breaths += if s >= seconds - 60 { out.beats.len() } else { 0 };
    }
    (NAMES.map(|n| out.find(n).unwrap().value), breaths)
}

#[test]
fn a_plateau_is_read_at_any_rate() {
    for rate in [20.0, 50.0, 125.0] {
        for per_minute in [6.0, 12.0, 24.0, 40.0] {
            let (said, breaths) = last(120, rate, |t| plateau(t, 60.0 / per_minute));
            let [top, inspired, rr, quality] = said.map(Result::unwrap);
            assert!((top - 38.0).abs() < 1.0 && inspired.abs() < 0.5, "{rate} {per_minute}: {said:?}");
            assert!((rr - per_minute).abs() < 0.3 && quality > 0.6, "{rate} {per_minute}: {said:?}");
            assert!((breaths as f64 - per_minute).abs() <= 1.0, "{rate} {per_minute}: {breaths}");
        }
    }
}

#[test]
fn ripples_and_clefts_do_not_split_a_breath() {
    let ripple = |t: f64| {
        let falling = t.rem_euclid(5.0) > 2.5;
        plateau(t, 5.0) + if falling { 0.0 } else { 3.0 * libm::sin(t * 1.3 * std::f64::consts::TAU) }
    };
    let (said, breaths) = last(120, 50.0, ripple);
    assert!(
        said[2].is_ok_and(|r| (r - 12.0).abs() < 0.3) && (11..=13).contains(&breaths),
        "{said:?} {breaths}"
    );
    // The patient fights the ventilator: a gasp draws fresh gas for a quarter of a second.
    let cleft = |t: f64| if (1.2..1.45).contains(&t.rem_euclid(5.0)) { 12.0 } else { plateau(t, 5.0) };
    let (said, breaths) = last(120, 50.0, cleft);
    assert!(
        (11..=13).contains(&breaths) && said[2].is_ok_and(|r| (r - 12.0).abs() < 0.3),
        "{said:?} {breaths}"
    );
    assert!(said[0].is_ok_and(|t| (t - 38.0).abs() < 1.0), "{said:?}");
}

#[test]
fn leak_and_blocked_line_are_poor() {
    let good = last(120, 50.0, |t| plateau(t, 5.0)).0[3].unwrap();
    // A leak at the cuff: the plateau is washed out soon after it is reached.
    let leak = |t: f64| {
        let turn = t.rem_euclid(5.0);
        plateau(t, 5.0) * if turn > 0.3 { libm::exp(-(turn - 0.3) * 2.2) } else { 1.0 }
    };
    let leaking = last(120, 50.0, leak).0;
    assert!(leaking[3].unwrap() < 0.6 * good, "{leaking:?}");
    // A blocked line: the gas hardly moves around some middle.
    let blocked = last(120, 50.0, |t| 18.0 + 0.05 * plateau(t, 5.0)).0;
    assert_eq!(blocked, [Err(Missing::TooFew); 4]);
    // Gas that stands in the line is no breath, and breaths after it are seen again.
    let stuck = |t: f64| if (60.0..110.0).contains(&t) { 35.0 } else { plateau(t, 5.0) };
    let (said, breaths) = last(170, 50.0, stuck);
    assert!(
        (11..=13).contains(&breaths) && said[0].is_ok_and(|t| (t - 38.0).abs() < 1.0),
        "{said:?} {breaths}"
    );
}

#[test]
fn rebreathing_is_told() {
    let (said, _) = last(120, 50.0, |t| plateau(t, 5.0).max(7.0));
    assert!(said[1].is_ok_and(|i| (i - 7.0).abs() < 0.5), "{said:?}");
}

#[test]
fn a_rate_does_not_outlive_the_breaths() {
    let (said, _) = last(140, 50.0, |t| if t > 120.0 { 0.0 } else { plateau(t, 4.0) });
    assert_eq!(said[2], Err(Missing::LowQuality), "{said:?}");
    let (said, _) = last(200, 50.0, |t| if t > 120.0 { 0.0 } else { plateau(t, 4.0) });
    assert_eq!(said, [Err(Missing::TooFew); 4]);
}
