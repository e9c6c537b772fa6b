//! The motion family on recordings of worn sensors, and on samples that no sensor sends.
//! In: the shared data folder. Out: failures, or one line that says what was not run without data.
#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a test")]

#[path = "support/records.rs"]
mod records;
#[path = "support/walk.rs"]
mod walk;

use auscult_operators::motion::{AXES, SPECS};
use auscult_operators::operator::Spec;
use auscult_operators::quality::signal_quality;
use auscult_operators::signal::{Epoch, EventTime, Hertz, Readings, Run, Values};
use records::data;
use walk::Wave;

fn chain() -> Vec<&'static Spec> {
    std::iter::once(&signal_quality::SPEC).chain(SPECS.iter().copied()).collect()
}

/// Three columns of a text, in g.
fn axes(text: &str, skip: usize, split: char, from: usize, per_g: f32, rate: f64) -> Vec<Wave> {
    let rows = text.lines().filter(|l| !l.starts_with('#')).skip(skip);
    let rows: Vec<Vec<f32>> =
        rows.map(|l| l.split(split).skip(from).filter_map(|v| v.trim().parse().ok()).collect()).collect();
    let column = |k: usize| rows.iter().map(|r| r[k] / per_g).collect();
    ["acc_x", "acc_y", "acc_z"].iter().enumerate().map(|(k, c)| Wave::new(c, rate, column(k))).collect()
}

/// Values of a reading, in order.
fn values(waves: &[Wave], name: &str) -> Vec<f64> {
    let (mut all, mut count) = (vec![], 0);
    walk::walk(waves, &chain(), |_, out| {
        for r in out.items.iter().filter(|r| r.name == name) {
            count += 1;
            all.extend(r.value.ok());
        }
    });
    eprintln!("{name}: {} of {count} readings: {all:.1?}", all.len());
    all
}

/// Mean deviation of the length over five seconds, and mean beyond one, of a minute, in m[g]: from the definition.
fn plain(waves: &[Wave], minute: usize) -> [f64; 2] {
    let per_s = waves[0].rate as usize;
    let at = |i: usize| waves.iter().map(|w| f64::from(w.raw[i]).powi(2)).sum::<f64>().sqrt();
    let all: Vec<f64> = (minute * 60 * per_s..(minute + 1) * 60 * per_s).map(at).collect();
    let pieces = all.chunks(5 * per_s);
    let deviation = |p: &[f64]| {
        let mean = p.iter().sum::<f64>() / p.len() as f64;
        p.iter().map(|a| (a - mean).abs()).sum::<f64>() / p.len() as f64
    };
    let mad = pieces.map(deviation).sum::<f64>() / 12.0;
    [1e3 * mad, 1e3 * all.iter().map(|a| (a - 1.0).max(0.0)).sum::<f64>() / all.len() as f64]
}

#[test]
fn activity_of_worn_sensors_is_that_of_the_definition() {
    let Some(root) = data("activity_of_worn_sensors_is_that_of_the_definition") else { return };
    let read = |name: &str| std::fs::read_to_string(root.join("wearable").join(name)).unwrap();
    let empatica = axes(&read("empatica_e4/ACC.csv"), 2, ',', 0, 64.0, 32.0);
    let garmin = axes(&read("garmin/acc.csv"), 0, ';', 1, 1000.0, 25.0);
    for waves in [empatica, garmin] {
        let (mad, enmo) = (values(&waves, "activity_mad"), values(&waves, "activity_enmo"));
        assert!(mad.len() >= 5 && mad.len() == enmo.len());
        for (minute, (mad, enmo)) in mad.iter().zip(&enmo).enumerate() {
            let expected = plain(&waves, minute);
            assert!((mad - expected[0]).abs() < 0.1, "minute {minute}: {mad} {expected:?}");
            assert!((enmo - expected[1]).abs() < 0.1, "minute {minute}: {enmo} {expected:?}");
        }
        assert!(values(&waves, "fall_suspicion").iter().all(|v| *v == 0.0), "nobody fell");
        assert!(values(&waves, "posture").iter().all(|v| (0.0..=6.0).contains(v)));
        assert!(values(&waves, "non_wear").is_empty(), "too short to say");
    }
}

#[test]
fn hostile_samples_neither_stop_it_nor_yield_what_is_no_number() {
    let mut dice = 7u32;
    let mut next = || {
        dice = dice.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        dice >> 16
    };
    let make = |specs: &[&Spec]| walk::build(specs);
    let mut straight = make(SPECS);
    let values = Values::default();
    for s in 0..4000 {
        let rate = if s % 900 < 450 { 25.0 } else { 32.0 };
        let odd = s % 37 == 5;
        let samples: Vec<Vec<f32>> = (0..3)
            .map(|_| {
                (0..rate as usize)
                    .map(|_| match next() % 40 {
                        0 if odd => 3e38,
                        1 if odd => -3e38,
                        2 => 1e-41,
                        n => 0.6 + n as f32 * 1e-4,
                    })
                    .collect()
            })
            .collect();
        let axes = if s % 53 == 9 { 2 } else { 3 };
        let run = |k: usize| Run {
            channel: AXES[k],
            rate: Hertz(rate),
            start: EventTime::from_seconds(s),
            reset: s == 0 || s % 53 == 10 || s % 450 == 0,
            raw: &samples[k],
            clean: &samples[k],
            bridged: 0,
        };
        let runs: Vec<Run<'_>> = (0..axes).map(run).collect();
        let epoch = Epoch { start: EventTime::from_seconds(s), runs: &runs, values: &values };
        // A second chain takes over the saved state each second and must say the same.
        let mut relay = make(SPECS);
        for (one, other) in straight.iter().zip(&mut relay) {
            let mut bytes = vec![];
            one.save(&mut bytes);
            other.load(&bytes).unwrap();
        }
        let (mut a, mut b) = (Readings::default(), Readings::default());
        straight.iter_mut().for_each(|op| op.apply(&epoch, &mut a));
        relay.iter_mut().for_each(|op| op.apply(&epoch, &mut b));
        assert_eq!(a, b, "second {s}");
        assert!(
            a.items.iter().all(|r| r.value.is_ok_and(f64::is_finite) || r.value.is_err() && r.quality == 0.0)
        );
    }
}
