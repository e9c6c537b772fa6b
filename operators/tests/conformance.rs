//! The conformance suite: what every row of the registry must keep, and canaries that each check must reject.
//! In: the registry. Out: pass, or the operator, the second and the reading at fault.
#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a test")]

#[path = "conformance/canaries.rs"]
mod canaries;
#[path = "conformance/checks.rs"]
mod checks;
#[path = "conformance/scenario.rs"]
mod scenario;

use auscult_operators::operator::Spec;
use auscult_operators::registry::OPERATORS;
use auscult_operators::signal::Readings;
use proptest::prelude::*;

/// Runs a check over the registry and lists every fault.
fn all(check: impl Fn(&'static Spec) -> Result<(), String>) {
    let faults: Vec<String> = OPERATORS.iter().filter_map(|spec| check(spec).err()).collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn names_are_unique() {
    for (i, a) in OPERATORS.iter().enumerate() {
        assert!(OPERATORS[i + 1..].iter().all(|b| a.name != b.name), "{} stands twice", a.name);
    }
}

#[test]
fn cards_are_complete() {
    all(checks::check_card);
}

#[test]
fn parameters_keep_their_bounds() {
    all(checks::check_params);
}

#[test]
fn broken_states_are_refused() {
    all(|spec| checks::check_broken_state(spec, 3));
}

#[test]
fn states_are_whole() {
    all(|spec| checks::check_save_load(spec, 1, checks::SECONDS));
    // Long enough for windows of five minutes to fill.
    all(|spec| checks::check_save_load(spec, 2, 420));
}

#[test]
fn output_is_sound() {
    all(|spec| checks::check_output(spec, 1, false));
    all(|spec| checks::check_output(spec, 2, true));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 6, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_scenario(seed in any::<u64>()) {
        all(|spec| checks::check_save_load(spec, seed, checks::SECONDS));
        all(|spec| checks::check_output(spec, seed, true));
        all(|spec| checks::check_determinism(spec, seed));
    }
}

#[test]
fn the_suite_rejects_its_canaries() {
    let fails = |answer: Result<(), String>, hint: &str| {
        let why = answer.expect_err(hint);
        assert!(why.contains(hint), "{hint}: {why}");
    };
    fails(checks::check_save_load(&canaries::FORGETS, 1, checks::SECONDS), "handed over each second");
    fails(checks::check_output(&canaries::NOT_A_NUMBER, 1, false), "NaN");
    fails(checks::check_output(&canaries::UNDECLARED, 1, false), "not declared");
    fails(checks::check_output(&canaries::OVERSURE, 1, false), "quality");
    fails(checks::check_output(&canaries::PANICS, 1, true), "panics");
    fails(checks::check_params(&canaries::UNBOUNDED), "outside");
    fails(checks::check_broken_state(&canaries::CREDULOUS, 1), "loads");
    fails(checks::check_card(&canaries::PANICS), "card");
    let seconds = scenario::scenario(1, 5, true);
    assert!(seconds.iter().any(|s| s.samples() > 1000), "the scenario is silent");
}

/// The bed of the performance goal through all usual operators: bytes of saved state.
#[test]
fn a_bed_stays_small() {
    let seconds = scenario::plain_bed(400);
    let usual: Vec<&Spec> = OPERATORS.iter().copied().filter(|s| s.by_default).collect();
    let mut chain: Vec<_> = usual.iter().map(|s| checks::fresh(s).unwrap()).collect();
    let mut readings = 0;
    let mut out = Readings::default();
    for second in &seconds {
        out.clear();
        second.with(|epoch| chain.iter_mut().for_each(|operator| operator.apply(epoch, &mut out)));
        readings += out.items.len();
    }
    let sizes: Vec<usize> = chain
        .iter()
        .map(|operator| {
            let mut bytes = vec![];
            operator.save(&mut bytes);
            bytes.len()
        })
        .collect();
    for (spec, size) in usual.iter().zip(&sizes) {
        eprintln!("{}: {size} bytes of state", spec.name);
    }
    let total: usize = sizes.iter().sum();
    let each = readings as f64 / seconds.len() as f64;
    eprintln!("all: {total} bytes, {each:.1} readings a second");
    assert!(total < 64 * 1024, "{total} bytes of state");
}
