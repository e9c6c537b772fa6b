//! Breaths, apnoea and the tidal pattern on simulated chests and gas.
//! In: impedance and carbon dioxide as functions of time (s). Out: what the operators say second by second.

use crate::respiration::{apnoea, breaths, capnogram, tidal_pattern};
use crate::signal::{BeatKind, ChannelId, Epoch, EventTime, Hertz, Missing, Readings, Run, Values};

const RATE: f64 = 62.5;

/// What is asked of each second.
struct Said {
    breaths: usize,
    since: Result<f64, Missing>,
    since_co2: Result<f64, Missing>,
    apnoea: Result<f64, Missing>,
    cycle: Result<f64, Missing>,
    periodicity: Result<f64, Missing>,
}

fn walk(seconds: i64, chest: Option<&dyn Fn(f64) -> f64>, gas: Option<&dyn Fn(f64) -> f64>) -> Vec<Said> {
    let specs = [&capnogram::SPEC, &breaths::SPEC, &apnoea::SPEC, &tidal_pattern::SPEC];
    let mut chain: Vec<_> = specs.iter().map(|s| (s.build)(&(s.defaults)()).unwrap()).collect();
    let (values, mut out, mut said) = (Values::default(), Readings::default(), vec![]);
    for s in 0..seconds {
        let start = EventTime::from_seconds(s);
        // Whole samples of the grid inside this second.
        let (from, to) = ((s as f64 * RATE).ceil() as i64, ((s + 1) as f64 * RATE).ceil() as i64);
        let sampled =
            |f: &dyn Fn(f64) -> f64| -> Vec<f32> { (from..to).map(|i| f(i as f64 / RATE) as f32).collect() };
        let waves = [("resp", chest.map(sampled)), ("co2", gas.map(sampled))];
        let first = EventTime::from_micros((from as f64 / RATE * 1e6).round() as i64);
        let run = |(name, raw): &'_ (&str, Option<Vec<f32>>)| {
            raw.as_ref().map(|raw| (ChannelId::named(name).unwrap(), raw.clone()))
        };
        let held: Vec<_> = waves.iter().filter_map(run).collect();
        let runs: Vec<Run<'_>> = held
            .iter()
            .map(|(channel, raw)| Run {
                channel: *channel,
                rate: Hertz(RATE),
                start: first,
                reset: s == 0,
                raw,
                clean: raw,
                bridged: 0,
            })
            .collect();
        out.clear();
        chain.iter_mut().for_each(|o| o.apply(&Epoch { start, runs: &runs, values: &values }, &mut out));
        let of = |name: &str| out.find(name).map_or(Err(Missing::NoData), |r| r.value);
        said.push(Said {
            breaths: out.beats.iter().filter(|b| b.kind == BeatKind::Breath).count(),
            since: of("since_last_breath"),
            since_co2: of("since_last_co2"),
            apnoea: of("apnoea"),
            cycle: of("tidal_cycle"),
            periodicity: of("tidal_periodicity"),
        });
    }
    said
}

/// Breathing at `per_minute` with the heart at 80 /min in it.
fn chest(t: f64, per_minute: f64, height: f64) -> f64 {
    let turn = |per_minute: f64| libm::sin(t * per_minute / 60.0 * std::f64::consts::TAU);
    height * turn(per_minute) + 0.06 * turn(80.0)
}

fn gas(t: f64) -> f64 {
    if t.rem_euclid(4.0) < 1.8 { 38.0 } else { 0.0 }
}

#[test]
fn breaths_are_counted_at_any_rate() {
    for per_minute in [6.0, 12.0, 20.0, 40.0] {
        let said = walk(120, Some(&|t| chest(t, per_minute, 1.0)), None);
        let count: usize = said[60..].iter().map(|s| s.breaths).sum();
        assert!((count as f64 - per_minute).abs() <= 1.0, "{per_minute}: {count}");
        assert!(said[60..].iter().all(|s| s.apnoea == Ok(0.0)), "{per_minute}");
    }
}

#[test]
fn a_stopped_chest_is_told_and_its_end_too() {
    let stopped = |t: f64| chest(t, 15.0, if (100.0..150.0).contains(&t) { 0.0 } else { 1.0 });
    let said = walk(200, Some(&stopped), None);
    // The last top before 100 s is at 97 s.
    let first = said.iter().position(|s| s.apnoea == Ok(1.0)).unwrap();
    assert!((116..=122).contains(&first), "{first}");
    assert!(said[145].since.is_ok_and(|s| (s - 49.0).abs() < 3.0), "{:?}", said[145].since);
    assert!(said[165..].iter().all(|s| s.apnoea == Ok(0.0)));
}

#[test]
fn movement_and_dead_sensors_say_nothing() {
    // Tossing about: high waves, too fast for breathing.
    let tossing = |t: f64| {
        let wild = 8.0 * libm::sin(t * 1.37 * std::f64::consts::TAU)
            + 5.0 * libm::sin(t * 0.9 * std::f64::consts::TAU);
        chest(t, 15.0, 1.0) + if t > 100.0 { wild } else { 0.0 }
    };
    let said = walk(140, Some(&tossing), None);
    let absent = said[110..].iter().filter(|s| s.since == Err(Missing::LowQuality)).count();
    assert!(absent > 24, "{absent} of 30");
    let dead = walk(140, Some(&|t| if t > 100.0 { 0.3 } else { chest(t, 15.0, 1.0) }), None);
    assert!(dead[106..].iter().all(|s| s.since == Err(Missing::LowQuality) && s.apnoea.is_err()));
    assert!(walk(60, None, None).iter().all(|s| s.since == Err(Missing::NoData)));
}

#[test]
fn a_closed_airway_is_told_by_the_gas() {
    let none = |t: f64| if t > 100.0 { 0.0 } else { gas(t) };
    let said = walk(140, Some(&|t| chest(t, 15.0, 1.0)), Some(&none));
    assert_eq!((said[90].apnoea, said[139].apnoea), (Ok(0.0), Ok(2.0)));
    assert!(said[139].since.unwrap() < 6.0 && said[139].since_co2.unwrap() > 30.0);
    let alone = walk(140, None, Some(&none));
    assert_eq!((alone[90].apnoea, alone[139].apnoea), (Ok(0.0), Ok(1.0)));
}

#[test]
fn waxing_and_waning_breathing_is_told_by_its_cycle() {
    for cycle in [50.0, 60.0, 80.0] {
        let waning = |t: f64| {
            let depth = 0.5 + 0.6 * libm::sin(t / cycle * std::f64::consts::TAU);
            chest(t, 18.0, depth.max(0.0))
        };
        let said = walk(420, Some(&waning), None);
        let last = said.iter().rev().find(|s| s.cycle.is_ok()).unwrap();
        assert!(last.cycle.is_ok_and(|c| (c - cycle).abs() < 5.0), "{cycle}: {:?}", last.cycle);
        assert!(last.periodicity.unwrap() > 0.5, "{cycle}: {:?}", last.periodicity);
    }
    let steady = walk(420, Some(&|t| chest(t, 18.0, 1.0)), None);
    assert!(steady.iter().all(|s| s.cycle.is_err()));
    let told: Vec<f64> = steady.iter().filter_map(|s| s.periodicity.ok()).collect();
    assert!(!told.is_empty() && told.iter().all(|p| *p < 0.2), "{told:?}");
}
