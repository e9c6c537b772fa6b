//! NEWS2 against an independent implementation: `python/news2_reference.py`, written from the chart by
//! comparison chains. In: every value of each parameter, all pairs of SpO2, oxygen and scale, and the full
//! cross product of all band edges of all parameters. Out: every row has the same points per part, the same
//! total and the same level.
#![allow(clippy::unwrap_used, reason = "a test may stop")]

use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use auscult_operators::score::table::BandTable;
use auscult_operators::score::{Status, news2};
use auscult_operators::signal::{ChannelId, EventTime, Observed, Origin, Values};

/// Respiration, SpO2, oxygen, scale, systolic, pulse, consciousness, temperature; codes as numbers.
type Row = [f64; 8];

const CHANNELS: [&str; 8] = [
    "resp_rate",
    "spo2",
    "on_oxygen",
    "spo2_scale",
    "nibp_sys",
    "heart_rate",
    "consciousness",
    "temperature",
];
/// A row without a point.
const HEALTHY: Row = [16.0, 98.0, 0.0, 1.0, 120.0, 70.0, 0.0, 37.0];
const TEMPERATURE: usize = 7;

/// Rows of the cross product of band edges: 8 respirations, 13 saturations, oxygen, scale, 8 pressures, 10
/// pulses, 5 codes of consciousness, 8 temperatures.
const EDGE_ROWS: usize = 8 * 13 * 2 * 2 * 8 * 10 * 5 * 8;

/// Every step of a channel's plausible range: whole units, tenths for the temperature.
fn range_of(parameter: usize) -> impl Iterator<Item = f64> {
    let (low, high) = ChannelId::named(CHANNELS[parameter]).unwrap().row().plausible;
    let per_unit = if parameter == TEMPERATURE { 10.0 } else { 1.0 };
    (((low * per_unit) as i64)..=((high * per_unit) as i64)).map(move |s| s as f64 / per_unit)
}

/// The band edges of these tables, in rising order, each once.
fn edges(tables: &[&BandTable]) -> Vec<f64> {
    let bands = tables.iter().flat_map(|t| t.bands.iter().map(|b| (t.resolution, b)));
    let mut steps: Vec<_> = bands.flat_map(|(r, b)| [(r, b.from), (r, b.to)]).collect();
    steps.sort_by_key(|s| s.1);
    steps.dedup_by_key(|s| s.1);
    steps.into_iter().filter_map(|(r, s)| Some(r.value(s?))).collect()
}

/// Each parameter alone, also with fractions around every rounding edge, and all of SpO2 x oxygen x scale.
fn single_rows() -> Vec<Row> {
    let mut rows = Vec::new();
    for parameter in 0..8 {
        let is_code = matches!(parameter, 2 | 3 | 6);
        let step = if parameter == TEMPERATURE { 0.1 } else { 1.0 };
        let (low, high) = ChannelId::named(CHANNELS[parameter]).unwrap().row().plausible;
        for value in range_of(parameter) {
            let offsets: &[f64] =
                if is_code { &[0.0] } else { &[0.0, -0.501, -0.5, -0.499, 0.499, 0.5, 0.501] };
            for offset in offsets {
                let mut row = HEALTHY;
                row[parameter] = value + offset * step;
                if (low..=high).contains(&row[parameter]) {
                    rows.push(row);
                }
            }
        }
    }
    for spo2 in range_of(1) {
        for (oxygen, scale) in [(0.0, 1.0), (0.0, 2.0), (1.0, 1.0), (1.0, 2.0)] {
            let mut row = HEALTHY;
            (row[1], row[2], row[3]) = (spo2, oxygen, scale);
            rows.push(row);
        }
    }
    rows
}

/// The cross product of all band edges.
fn edge_rows() -> impl Iterator<Item = Row> + Clone {
    let axes: [Vec<f64>; 8] = [
        edges(&[&news2::RESPIRATION]),
        edges(&[&news2::SPO2_SCALE_1, &news2::SPO2_SCALE_2_AIR, &news2::SPO2_SCALE_2_OXYGEN]),
        range_of(2).collect(),
        range_of(3).collect(),
        edges(&[&news2::SYSTOLIC]),
        edges(&[&news2::PULSE]),
        range_of(6).collect(),
        edges(&[&news2::TEMPERATURE]),
    ];
    let count: usize = axes.iter().map(Vec::len).product();
    (0..count).map(move |mut n| {
        std::array::from_fn(|i| {
            let value = axes[i][n % axes[i].len()];
            n /= axes[i].len();
            value
        })
    })
}

fn as_csv(r: &Row) -> String {
    let oxygen = ["A", "O"][r[2] as usize];
    let acvpu = ["A", "C", "V", "P", "U"][r[6] as usize];
    format!("{},{},{oxygen},{},{},{},{acvpu},{}\n", r[0], r[1], r[3], r[4], r[5], r[7])
}

/// What the score says of a row, in the words of the reference.
fn scored(row: &Row, values: &mut Values) -> String {
    for (name, &value) in CHANNELS.iter().zip(row) {
        let (at, until) = (EventTime::from_seconds(0), EventTime::from_seconds(10));
        let seen =
            Observed { value, observed_at: at, valid_until: until, quality: 1.0, origin: Origin::Reported };
        values.store(ChannelId::named(name).unwrap(), seen);
    }
    let result = news2::evaluate(values, EventTime::from_seconds(1));
    assert_eq!(result.status, Status::Complete, "{row:?}");
    let points: Vec<String> = result.parts.iter().map(|p| p.points.unwrap().to_string()).collect();
    format!("{},{},{}", points.join(","), result.total.unwrap(), result.level.unwrap().name)
}

/// Sends all rows to the reference and compares line by line; says how many there were, or which row differs
/// first.
fn compare(
    rows: impl Iterator<Item = Row> + Clone + Send,
    score: impl Fn(&Row, &mut Values) -> String,
) -> Result<usize, String> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python/news2_reference.py");
    let mut python = Command::new("python3")
        .arg(script)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python3 was not found: install Python 3 (Debian: apt-get install python3)");
    let mut to_python = BufWriter::new(python.stdin.take().unwrap());
    let mut answers = BufReader::new(python.stdout.take().unwrap()).lines();
    let sent = rows.clone();
    // Two threads, as a full pipe in either direction would stop both programs.
    let outcome = std::thread::scope(|scope| {
        // A failed write needs no word of its own: its answer will be missing below.
        scope.spawn(move || sent.into_iter().try_for_each(|r| to_python.write_all(as_csv(&r).as_bytes())));
        let mut values = Values::default();
        let mut differs = |(n, row): (usize, Row)| {
            let expected = answers.next().and_then(Result::ok).unwrap_or_else(|| "no answer".to_owned());
            let found = score(&row, &mut values);
            (found != expected).then(|| format!("row {n}: {}{found} is not {expected}", as_csv(&row)))
        };
        let mut count = 0;
        let first = rows.enumerate().inspect(|_| count += 1).find_map(&mut differs);
        let left_over = first.is_none() && answers.next().is_some();
        // The writer ends only when its pipe does.
        if first.is_some() {
            python.kill().unwrap();
        }
        match first {
            Some(difference) => Err(difference),
            None if left_over => Err(format!("more than {count} answers")),
            None => Ok(count),
        }
    });
    let status = python.wait().unwrap();
    if outcome.is_ok() {
        assert!(status.success(), "the reference ended with {status}");
    }
    outcome
}

#[test]
fn every_value_of_each_parameter_agrees_with_the_reference() {
    let rows = single_rows();
    assert!(rows.len() > 8_000, "{} rows", rows.len());
    assert_eq!(compare(rows.iter().copied(), scored), Ok(rows.len()));
}

#[test]
fn every_combination_of_band_edges_agrees_with_the_reference() {
    assert_eq!(compare(edge_rows(), scored), Ok(EDGE_ROWS));
}

/// The canary: a chart with one pulse moved over its edge must be noticed, and the row named.
#[test]
fn a_chart_that_differs_in_one_band_is_refused() {
    let wrong = |row: &Row, values: &mut Values| {
        let mut row = *row;
        row[5] = if row[5] == 131.0 { 130.0 } else { row[5] };
        scored(&row, values)
    };
    let error = compare(edge_rows(), wrong).unwrap_err();
    assert!(error.starts_with("row "), "{error}");
    assert!(error.contains(",131,A,"), "{error}");
}
