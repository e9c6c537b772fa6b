//! Tests of policies and failures, with networks written here.
//! In: the shipped manifest, changed. Out: outcomes.

use super::*;
use crate::Registry;

/// Odds that grow by the sum of what is there over 100; or a fixed answer.
struct Sum(Option<f64>);

impl Network for Sum {
    fn run(&mut self, columns: &[f64]) -> Result<f64, Failure> {
        let sum: f64 = columns.iter().filter(|v| !v.is_nan()).sum();
        Ok(self.0.unwrap_or(1.0 / (1.0 + libm::exp(-sum / 100.0))))
    }
}

fn manifest(count: usize, change: impl Fn(&mut Manifest)) -> Manifest {
    let mut m = Registry::embedded().find("sepsis_vitals").unwrap().manifest.clone();
    m.inputs.truncate(count);
    m.at_least = 0;
    m.inputs.iter_mut().for_each(|i| i.reference = 0.0);
    change(&mut m);
    m
}

fn one(m: Manifest, fixed: Option<f64>, inputs: &[Result<f64, Missing>]) -> Outcome {
    let mut model = Model::new(m, "test", Box::new(Sum(None))).unwrap();
    model.network = Box::new(Sum(fixed));
    model.predict(&[Row { inputs: inputs.to_vec() }]).remove(0)
}

fn value(outcome: Outcome) -> f64 {
    match outcome {
        Outcome::Probability(p) => p.value,
        other => panic!("{other:?}"),
    }
}

const GONE: Result<f64, Missing> = Err(Missing::Stale);

#[test]
fn a_missing_input_is_absent_filled_or_refused_as_the_manifest_says() {
    let policy = |p, fill, flag| {
        manifest(2, |m| {
            m.inputs[0].missing = p;
            m.inputs[0].fill = fill;
            m.inputs[0].flag = flag;
        })
    };
    let absent = policy(MissingPolicy::Absent, None, false);
    let filled = policy(MissingPolicy::Fill, Some(30.0), false);
    let flagged = policy(MissingPolicy::Fill, Some(30.0), true);
    let columns = |manifest, inputs| {
        let mut out = Vec::new();
        columns(manifest, &Row { inputs }, &mut out);
        out
    };
    assert!(columns(&absent, vec![GONE, Ok(2.0)])[0].is_nan());
    assert_eq!(columns(&flagged, vec![GONE, Ok(2.0)]), [30.0, 1.0, 2.0]);
    assert_eq!(columns(&flagged, vec![Ok(7.0), Ok(2.0)]), [7.0, 0.0, 2.0]);
    assert_eq!(value(one(absent, None, &[GONE, Ok(20.0)])), 0.5498);
    assert_eq!(value(one(filled, None, &[GONE, Ok(20.0)])), 0.6225);
    let refused = one(policy(MissingPolicy::Refuse, None, false), None, &[GONE, Ok(20.0)]);
    let missing_inputs = vec![MissingInput { feature: "heart_rate".into(), why: Missing::Stale }];
    assert_eq!(refused, Outcome::Refused { reason: Refusal::RequiredMissing, missing_inputs });
}

#[test]
fn a_nan_among_the_inputs_is_missing_and_too_few_are_refused() {
    let m = manifest(2, |m| m.at_least = 1);
    let refused = one(m.clone(), None, &[Ok(f64::NAN), GONE]);
    let Outcome::Refused { reason: Refusal::TooFewInputs, missing_inputs } = refused else {
        panic!("{refused:?}")
    };
    assert_eq!(missing_inputs[0], MissingInput { feature: "heart_rate".into(), why: Missing::Implausible });
    assert_eq!(missing_inputs.len(), 2);
    assert!(
        matches!(one(m, None, &[Ok(80.0), GONE]), Outcome::Probability(p) if p.missing_inputs.len() == 1)
    );
    let context_only = manifest(7, |m| m.at_least = 1);
    let age = [GONE, GONE, GONE, GONE, GONE, GONE, Ok(60.0)];
    assert!(matches!(one(context_only, None, &age), Outcome::Refused { reason: Refusal::TooFewInputs, .. }));
}

#[test]
fn an_answer_that_is_no_probability_fails() {
    for (fixed, expected) in [
        (f64::NAN, Failure::NotFinite),
        (f64::INFINITY, Failure::NotFinite),
        (1.01, Failure::OutsideUnit(1.01)),
        (-0.2, Failure::OutsideUnit(-0.2)),
    ] {
        assert_eq!(one(manifest(1, |_| ()), Some(fixed), &[Ok(1.0)]), Outcome::Failed { reason: expected });
        assert!(Model::new(manifest(1, |_| ()), "test", Box::new(Sum(Some(fixed)))).is_err());
    }
    assert_eq!(value(one(manifest(1, |_| ()), Some(1.000_000_1), &[Ok(1.0)])), 1.0);
    let short = one(manifest(2, |_| ()), None, &[Ok(1.0)]);
    assert_eq!(short, Outcome::Failed { reason: Failure::Row { found: 1, expected: 2 } });
}

#[test]
fn drivers_are_the_five_strongest_in_order_and_ties_keep_the_manifests_order() {
    let inputs = [Ok(10.0), Ok(-40.0), Ok(0.0), Ok(10.0), Ok(1.0), Ok(2.0), Ok(3.0)];
    let Outcome::Probability(p) = one(manifest(7, |_| ()), None, &inputs) else { panic!() };
    let told: Vec<_> = p.drivers.iter().map(|d| (d.feature.as_str(), d.log_odds)).collect();
    let expected =
        [("spo2", -0.4), ("heart_rate", 0.1), ("nibp_sys", 0.1), ("age", 0.03), ("resp_rate", 0.02)];
    assert_eq!(told, expected);

    let mut silent = Model::new(manifest(7, |_| ()), "test", Box::new(Sum(None))).unwrap().with_drivers(0);
    let Outcome::Probability(q) = silent.predict(&[Row { inputs: inputs.to_vec() }]).remove(0) else {
        panic!()
    };
    assert_eq!((q.value, q.drivers), (p.value, vec![]));
}

#[test]
fn an_absent_input_can_be_a_driver() {
    let m = manifest(2, |m| m.inputs[0].reference = 50.0);
    let Outcome::Probability(p) = one(m, None, &[GONE, Ok(0.0)]) else { panic!() };
    assert_eq!((p.drivers[0].value, p.drivers[0].log_odds), (None, -0.5));
}

#[test]
fn calibration_is_applied_before_rounding() {
    let m = manifest(1, |m| m.calibration = Some(Calibration { a: 1.0, b: -1.0 }));
    assert_eq!(value(one(m, None, &[Ok(100.0)])), 0.5);
}

/// Odds as [`Sum`], but of rows asked together each also hears the one before.
struct Leaky;

impl Network for Leaky {
    fn run(&mut self, columns: &[f64]) -> Result<f64, Failure> {
        Sum(None).run(columns)
    }
    fn run_rows(&mut self, columns: &[f64], out: &mut [f64]) -> Result<(), Failure> {
        let width = columns.len() / out.len();
        let mut before = 0.0;
        for (row, out) in columns.chunks(width).zip(out) {
            *out = 0.9 * self.run(row)? + before;
            before = 0.1 * *out;
        }
        Ok(())
    }
}

#[test]
fn a_network_that_mixes_rows_is_asked_row_by_row() {
    let m = || manifest(3, |m| m.inputs[1].reference = 70.0);
    let rows = [Row { inputs: vec![Ok(10.0), GONE, Ok(-5.0)] }];
    let told = |network: Box<dyn Network>| Model::new(m(), "test", network).unwrap().predict(&rows);
    assert_eq!(told(Box::new(Leaky)), told(Box::new(Sum(None))));
}
