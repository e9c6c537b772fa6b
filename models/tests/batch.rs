//! A row's outcome does not depend on the rows around it, on the order, or on the run (I2).
//! In: 64 rows, some with missing inputs. Out: the same bits in batches of 1, 2, 7, 32 and all.

#![allow(clippy::unwrap_used, reason = "a test may stop at once")]

mod common;

use auscult_models::{Model, Outcome, Predictor, Row};
use auscult_operators::signal::Missing;

fn rows() -> Vec<Row> {
    let mut state = 1_u64;
    let mut next = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as f64 / f64::from(1_u32 << 31)
    };
    let low = [35.0, 72.0, 34.0, 65.0, 42.0, 6.0, 18.0];
    let high = [185.0, 100.0, 41.0, 215.0, 145.0, 44.0, 95.0];
    let mut row = || {
        let mut inputs: Vec<_> = (0..7).map(|i| Ok(low[i] + (high[i] - low[i]) * next())).collect();
        for value in &mut inputs[..6] {
            if next() < 0.2 {
                *value = Err(Missing::Stale);
            }
        }
        Row { inputs }
    };
    (0..64).map(|_| row()).collect()
}

/// Every number by its bits.
fn bits(outcome: &Outcome) -> Vec<u64> {
    match outcome {
        Outcome::Probability(p) => {
            let drivers = p.drivers.iter().map(|d| d.log_odds.to_bits());
            std::iter::once(p.value.to_bits()).chain(drivers).collect()
        }
        other => panic!("{other:?}"),
    }
}

fn in_batches(model: &mut Model, rows: &[Row], size: usize) -> Vec<Vec<u64>> {
    rows.chunks(size).flat_map(|batch| model.predict(batch)).map(|o| bits(&o)).collect()
}

#[test]
fn a_rows_outcome_does_not_depend_on_its_batch() {
    for mut model in [common::shipped(), common::open("good", |_| ()).unwrap()] {
        let mut rows = rows();
        rows.retain(|r| r.inputs[..6].iter().filter(|v| v.is_ok()).count() >= 3);
        let alone = in_batches(&mut model, &rows, 1);
        let distinct: std::collections::BTreeSet<_> = alone.iter().collect();
        assert!(distinct.len() > 40, "the rows must differ for this to mean anything: {}", distinct.len());
        for size in [2, 7, 32, rows.len()] {
            assert_eq!(in_batches(&mut model, &rows, size), alone, "batches of {size}");
        }
        rows.reverse();
        let mut backwards = in_batches(&mut model, &rows, 7);
        backwards.reverse();
        assert_eq!(backwards, alone, "in reverse");
    }
}

#[test]
fn a_bad_row_leaves_its_neighbours_alone() {
    let mut model = common::shipped();
    let good = Row { inputs: [80.0, 97.0, 37.0, 120.0, 80.0, 16.0, 60.0].map(Ok).to_vec() };
    let short = Row { inputs: vec![Ok(80.0)] };
    let blank = Row { inputs: vec![Err(Missing::NoData); 7] };
    let alone = model.predict(std::slice::from_ref(&good)).remove(0);
    let among = model.predict(&[short, good.clone(), blank, good]);
    assert!(matches!(among[0], Outcome::Failed { .. }) && matches!(among[2], Outcome::Refused { .. }));
    assert_eq!((&among[1], &among[3]), (&alone, &alone));
}

#[test]
fn two_openings_and_two_threads_give_the_same_bits() {
    let rows: Vec<_> = rows().into_iter().take(8).collect();
    let mut first = common::shipped();
    let expected = first.predict(&rows);
    let other = |rows: Vec<Row>| std::thread::spawn(move || common::shipped().predict(&rows));
    let threads: Vec<_> = (0..2).map(|_| other(rows.clone())).collect();
    for thread in threads {
        assert_eq!(thread.join().unwrap(), expected);
    }
}
