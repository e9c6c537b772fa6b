//! Tests of NEWS2: the printed boundary vectors, levels, missing inputs against brute force, eligibility,
//! JSON.

#![allow(clippy::unwrap_used, reason = "a test may stop")]

use proptest::prelude::*;

use super::*;
use crate::score::Status;
use crate::signal::{ChannelId, Observed, Origin};

/// Channels of a whole row, in the order of [`Row`].
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
const SCALE: usize = 3;
/// A row without a point; `None` leaves the channel out.
type Row = [Option<f64>; 8];
const HEALTHY: Row =
    [Some(16.0), Some(98.0), Some(0.0), Some(1.0), Some(120.0), Some(70.0), Some(0.0), Some(37.0)];

fn t(s: i64) -> EventTime {
    EventTime::from_seconds(s)
}

fn put(values: &mut Values, channel: &str, value: f64, valid_s: i64, quality: f32) {
    let (observed_at, valid_until) = (t(0), t(valid_s));
    let seen = Observed { value, observed_at, valid_until, quality, origin: Origin::Reported };
    values.store(ChannelId::named(channel).unwrap(), seen);
}

fn values_of(row: &Row) -> Values {
    let mut values = Values::default();
    for (channel, value) in CHANNELS.iter().zip(row) {
        if let Some(value) = value {
            put(&mut values, channel, *value, 100, 1.0);
        }
    }
    values
}

fn of_row(row: &Row) -> ScoreResult {
    evaluate(&values_of(row), t(1))
}

/// A healthy row with some channels changed.
fn healthy_but(changes: &[(&str, Option<f64>)]) -> Row {
    let mut row = HEALTHY;
    for (name, value) in changes {
        row[CHANNELS.iter().position(|c| c == name).unwrap()] = *value;
    }
    row
}

fn names(result: &ScoreResult) -> (&str, &str) {
    (result.level_low.unwrap().name, result.level_high.unwrap().name)
}

/// Boundary vectors as published. Columns: part, settings, values, points.
const VECTORS: &str = "
respiration   |                         | 8,9,11,12,20,21,24,25                  | 3,1,1,0,0,2,2,3
spo2          | spo2_scale=1            | 91,92,93,94,95,96                      | 3,2,2,1,1,0
spo2          | spo2_scale=1 on_oxygen=1| 91,92,93,94,95,96,100                  | 3,2,2,1,1,0,0
spo2          | spo2_scale=2            | 83,84,85,86,87,88,92,93,100            | 3,2,2,1,1,0,0,0,0
spo2          | spo2_scale=2 on_oxygen=1| 83,84,85,86,87,88,92,93,94,95,96,97    | 3,2,2,1,1,0,0,1,1,2,2,3
oxygen        |                         | 0,1                                    | 0,2
systolic      |                         | 90,91,100,101,110,111,219,220          | 3,2,2,1,1,0,0,3
pulse         |                         | 40,41,50,51,90,91,110,111,130,131      | 3,1,1,0,0,1,1,2,2,3
consciousness |                         | 0,1,2,3,4                              | 0,3,3,3,3
temperature   |                         | 35.0,35.1,36.0,36.1,38.0,38.1,39.0,39.1 | 3,1,1,0,0,1,1,2
respiration   |                         | 24.4,24.5,8.4,8.5,11.49,11.5,20.5      | 2,3,3,1,1,0,2
spo2          |                         | 91.4,91.5,95.49,95.5                   | 3,2,1,0
systolic      |                         | 90.4,90.5,219.49,219.5                 | 3,2,0,3
pulse         |                         | 40.4,40.5,130.4,130.5                  | 3,1,2,3
temperature   |                         | 35.04,35.05,36.049,36.05,38.05,39.05   | 3,1,1,0,1,2
";

#[test]
fn published_boundary_vectors() {
    let number = |s: &str| s.trim().parse::<f64>().unwrap();
    let mut checked = 0;
    for line in VECTORS.lines().filter(|l| !l.is_empty()) {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let at = SPEC.inputs.iter().find(|i| i.name == cells[0]).unwrap();
        let channel = CHANNELS.iter().find(|c| at.channels.contains(&ChannelId::of(c))).unwrap();
        let settings = cells[1].split_whitespace().map(|s| s.split_once('=').unwrap());
        let settings: Vec<_> = settings.map(|(name, value)| (name, Some(number(value)))).collect();
        let (values, points) = (cells[2].split(','), cells[3].split(','));
        assert_eq!(values.clone().count(), points.clone().count(), "{line}");
        for (value, expected) in values.zip(points) {
            let mut changes = settings.clone();
            changes.push((channel, Some(number(value))));
            let result = of_row(&healthy_but(&changes));
            let part = result.parts.iter().find(|p| p.name == cells[0]).unwrap();
            assert_eq!(part.points, Some(number(expected) as u8), "{} {} at {value}", cells[0], cells[1]);
            checked += 1;
        }
    }
    assert_eq!(checked, 100);
}

/// The tables' own edges, wherever the channel lets the value through, reach the result unchanged.
#[test]
fn every_edge_of_every_table_at_minus_one_zero_plus_one() {
    type Changes = &'static [(&'static str, Option<f64>)];
    let settings: [(&BandTable, &str, Changes); 9] = [
        (&RESPIRATION, "resp_rate", &[]),
        (&SPO2_SCALE_1, "spo2", &[]),
        (&SPO2_SCALE_2_AIR, "spo2", &[("spo2_scale", Some(2.0))]),
        (&SPO2_SCALE_2_OXYGEN, "spo2", &[("spo2_scale", Some(2.0)), ("on_oxygen", Some(1.0))]),
        (&OXYGEN, "on_oxygen", &[]),
        (&SYSTOLIC, "nibp_sys", &[]),
        (&PULSE, "heart_rate", &[]),
        (&CONSCIOUSNESS, "consciousness", &[]),
        (&TEMPERATURE, "temperature", &[]),
    ];
    assert_eq!(settings.len(), SPEC.tables.len());
    for (table, channel, changes) in settings {
        let (low, high) = ChannelId::named(channel).unwrap().row().plausible;
        for b in table.boundary_vectors() {
            let mut changes = changes.to_vec();
            changes.push((channel, Some(b.value)));
            let result = of_row(&healthy_but(&changes));
            let part = result.parts.iter().find(|p| p.channel == Some(channel)).unwrap();
            let expected = (low..=high).contains(&b.value).then_some(b.points);
            assert_eq!(part.points, expected, "{} at {}", table.parameter, b.value);
        }
        // While the value is missing all points of the table count as possible, so each must be reachable.
        let step = 1.0 / table.resolution.per_unit() as f64;
        let steps = (0..).map(|i| low + i as f64 * step).take_while(|v| *v <= high);
        let reached = steps.filter_map(|v| table.points(v)).fold(PointSet::EMPTY, PointSet::with);
        assert_eq!(reached, table.possible(), "{}", table.parameter);
    }
}

#[test]
fn levels_and_the_single_red_part() {
    let check = |changes: &[(&str, f64)], total, level| {
        let changes: Vec<_> = changes.iter().map(|&(n, v)| (n, Some(v))).collect();
        let result = of_row(&healthy_but(&changes));
        assert_eq!(result.status, Status::Complete);
        assert_eq!((result.total, result.low, result.high), (Some(total), Some(total), Some(total)));
        assert_eq!(result.level.unwrap().name, level, "{changes:?}");
        let spec = SPEC.levels.iter().find(|l| l.name == level).unwrap();
        assert_eq!(result.recommendation, spec.response);
    };
    check(&[], 0, "none");
    check(&[("heart_rate", 91.0)], 1, "low");
    check(&[("heart_rate", 111.0), ("resp_rate", 21.0)], 4, "low");
    check(&[("heart_rate", 131.0)], 3, "low_medium");
    check(&[("consciousness", 1.0), ("temperature", 38.5)], 4, "low_medium");
    check(&[("heart_rate", 111.0), ("resp_rate", 21.0), ("temperature", 38.5)], 5, "medium");
    check(&[("heart_rate", 131.0), ("resp_rate", 21.0)], 5, "medium");
    check(&[("heart_rate", 131.0), ("resp_rate", 25.0)], 6, "medium");
    check(&[("heart_rate", 131.0), ("resp_rate", 25.0), ("spo2", 95.0)], 7, "high");
    let worst = [("resp_rate", 30.0), ("spo2", 80.0), ("on_oxygen", 1.0), ("nibp_sys", 60.0)];
    let worst =
        [&worst[..], &[("heart_rate", 150.0), ("consciousness", 4.0), ("temperature", 34.0)]].concat();
    check(&worst, 20, "high");
}

/// Without oxygen's state SpO2 on scale 2 is open too, and the two are bounded together.
#[test]
fn unknown_oxygen_is_bounded_jointly() {
    let unknown = |spo2, scale| {
        of_row(&healthy_but(&[("on_oxygen", None), ("spo2", Some(spo2)), ("spo2_scale", Some(scale))]))
    };
    let bounds = |r: &ScoreResult| (r.low.unwrap(), r.high.unwrap());
    assert_eq!(bounds(&unknown(98.0, 1.0)), (0, 2));
    assert_eq!(bounds(&unknown(90.0, 2.0)), (0, 2));
    let over = unknown(98.0, 2.0);
    assert_eq!(bounds(&over), (0, 5));
    assert_eq!(names(&over), ("none", "medium"));
    assert_eq!((over.level, over.total, &over.missing[..]), (None, None, &["oxygen"][..]));
    let spo2 = &over.parts[1];
    assert_eq!((spo2.value, spo2.points, spo2.low, spo2.high), (Some(98.0), None, 0, 3));
}

#[test]
fn a_level_can_be_certain_while_the_total_is_not() {
    let sick = [("heart_rate", Some(140.0)), ("resp_rate", Some(30.0)), ("nibp_sys", Some(80.0))];
    let result = of_row(&healthy_but(&[&sick[..], &[("temperature", None)]].concat()));
    assert_eq!((result.total, result.low, result.high), (None, Some(9), Some(12)));
    assert_eq!(result.level.unwrap().name, "high");
    let text = "Not known: temperature; the total lies between 9 and 12.";
    assert!(result.recommendation.ends_with(text), "{}", result.recommendation);

    // One red part is certain; with the missing one the total may reach 6.
    let result = of_row(&healthy_but(&[("heart_rate", Some(140.0)), ("temperature", None)]));
    assert_eq!(names(&result), ("low_medium", "medium"));
    assert!(result.recommendation.starts_with("Incomplete: complete the observations now."));
    assert!(result.recommendation.contains("as high as medium"), "{}", result.recommendation);
}

/// The flag is never inferred; a flag that said 2 and cannot be used any more leaves the scale open.
#[test]
fn the_saturation_scale() {
    let check = |spo2: f64, flag: Option<(f64, i64, f32)>, bounds, missing: &[&str], assumption: &str| {
        let mut values = values_of(&healthy_but(&[("spo2", Some(spo2)), ("spo2_scale", None)]));
        put(&mut values, "on_oxygen", 1.0, 100, 1.0);
        if let Some((code, valid_s, quality)) = flag {
            put(&mut values, "spo2_scale", code, valid_s, quality);
        }
        let result = evaluate(&values, t(50));
        assert_eq!((result.low.unwrap(), result.high.unwrap()), bounds, "{spo2} {flag:?}");
        assert_eq!(result.missing, missing, "{spo2} {flag:?}");
        let noted = result.assumptions.iter().copied().filter(|a| a.contains("scale"));
        assert_eq!(noted.collect::<String>(), assumption, "{spo2} {flag:?}");
    };
    let open = "SpO2 scale lapsed, it was not 1 before: scored on both scales";
    check(90.0, Some((1.0, 100, 1.0)), (5, 5), &[], "");
    check(90.0, Some((2.0, 100, 1.0)), (2, 2), &[], "");
    check(90.0, None, (5, 5), &[], "SpO2 scale not given: scale 1");
    check(90.0, Some((1.0, 50, 1.0)), (5, 5), &[], "SpO2 scale lapsed: scale 1");
    check(90.0, Some((2.0, 50, 1.0)), (2, 5), &["spo2_scale"], open);
    check(97.0, Some((2.0, 50, 1.0)), (2, 5), &["spo2_scale"], open);
    check(80.0, Some((2.0, 50, 1.0)), (5, 5), &[], open);
    let poor = "SpO2 scale of poor quality, it was not 1 before: scored on both scales";
    check(97.0, Some((2.0, 100, 0.1)), (2, 5), &["spo2_scale"], poor);
    let odd = "SpO2 scale implausible, it was not 1 before: scored on both scales";
    check(97.0, Some((3.0, 100, 1.0)), (2, 5), &["spo2_scale"], odd);
    // Without SpO2 the open scale changes no bound, but it would as soon as SpO2 comes: both are named.
    let mut values = values_of(&healthy_but(&[("spo2", None), ("spo2_scale", None)]));
    put(&mut values, "spo2_scale", 2.0, 10, 1.0);
    assert_eq!(evaluate(&values, t(9)).missing, ["spo2"]);
    assert_eq!(evaluate(&values, t(10)).missing, ["spo2", "spo2_scale"]);
}

#[test]
fn who_gets_no_score_and_what_is_assumed() {
    let strict = Params { assume_adult: false, assume_not_pregnant: false };
    let check = |age: Option<f64>, pregnant: Option<f64>, params: &Params, expected: &str| {
        let mut values = values_of(&HEALTHY);
        if let Some(age) = age {
            put(&mut values, "age", age, 100, 1.0);
        }
        if let Some(code) = pregnant {
            put(&mut values, "pregnant", code, 100, 1.0);
        }
        let result = assess(&values, t(1), params);
        let said = result.reason.clone().unwrap_or_else(|| result.assumptions.join("; "));
        assert_eq!(said, expected, "{age:?} {pregnant:?}");
        let invalid = result.reason.is_some();
        assert_eq!(result.status, if invalid { Status::Invalid } else { Status::Complete });
        let numbers = (result.total, result.low, result.high, result.level_low.map(|l| l.rank));
        assert_eq!(
            numbers,
            if invalid { (None, None, None, None) } else { (Some(0), Some(0), Some(0), Some(0)) }
        );
        assert_eq!(result.parts.is_empty(), invalid);
    };
    let lax = Params::default();
    check(Some(16.0), Some(0.0), &strict, "");
    check(Some(15.99), Some(0.0), &lax, "age under 16: NEWS2 is for those aged 16 or over");
    check(Some(30.0), Some(1.0), &lax, "pregnant: NEWS2 is not for use in pregnancy");
    check(None, Some(0.0), &lax, "age not given: adult assumed");
    check(Some(40.0), None, &lax, "pregnancy not given: not pregnant assumed");
    check(None, None, &lax, "age not given: adult assumed; pregnancy not given: not pregnant assumed");
    check(Some(200.0), Some(0.0), &lax, "age implausible: adult assumed");
    check(None, Some(0.0), &strict, "age not given: NEWS2 is for those aged 16 or over");
    check(Some(40.0), None, &strict, "pregnancy not given: NEWS2 is not for use in pregnancy");
}

/// Whatever makes a value unusable, the part is missing with that reason and shows no value.
#[test]
fn an_unusable_value_is_absent_and_says_why() {
    let check = |value, valid_s, quality, reason| {
        let mut values = values_of(&healthy_but(&[("heart_rate", None)]));
        put(&mut values, "heart_rate", value, valid_s, quality);
        let result = evaluate(&values, t(50));
        let pulse = &result.parts[4];
        assert_eq!((pulse.missing, pulse.value, pulse.points), (Some(reason), None, None));
        assert_eq!((pulse.low, pulse.high, pulse.age_s), (0, 3, Some(50.0)));
        assert_eq!((result.status, &result.missing[..]), (Status::Partial, &["pulse"][..]));
    };
    check(70.0, 50, 1.0, Missing::Stale);
    check(70.0, 100, 0.49, Missing::LowQuality);
    check(351.0, 100, 1.0, Missing::Implausible);
    check(f64::NAN, 100, 1.0, Missing::Implausible);
    let pulse = &of_row(&healthy_but(&[("heart_rate", None)])).parts[4];
    assert_eq!((pulse.missing, pulse.age_s, pulse.channel), (Some(Missing::NoData), None, None));
}

/// Results are equal if they are the same; they say the same if only values, ages and quality moved on.
#[test]
fn equality_and_saying_the_same() {
    let row = of_row(&HEALTHY);
    assert_eq!(row, of_row(&HEALTHY));
    let later = evaluate(&values_of(&HEALTHY), t(9));
    assert_ne!(row, later);
    assert!(row.says_the_same(&later));
    assert!(row.says_the_same(&of_row(&healthy_but(&[("heart_rate", Some(80.0))]))));
    // The same total from another part is another message, and so is another reason for the same gap.
    let pulse = of_row(&healthy_but(&[("heart_rate", Some(95.0))]));
    assert!(!pulse.says_the_same(&of_row(&healthy_but(&[("temperature", Some(38.5))]))));
    let never = of_row(&healthy_but(&[("heart_rate", None)]));
    assert!(!never.says_the_same(&of_row(&healthy_but(&[("heart_rate", Some(400.0))]))));
}

#[test]
fn json_has_fixed_keys_in_fixed_order() {
    let json = serde_json::to_string(&of_row(&healthy_but(&[("temperature", None)]))).unwrap();
    let head =
        r#"{"score":"news2","table_version":"RCP 2017","status":"partial","total":null,"low":0,"high":3,"#;
    assert!(json.starts_with(head), "{json}");
    let levels =
        r#""level":null,"level_low":{"rank":0,"name":"none"},"level_high":{"rank":2,"name":"low_medium"},"#;
    assert!(json.contains(levels), "{json}");
    let part = concat!(
        r#"{"name":"pulse","value":70.0,"unit":"/min","points":0,"low":0,"high":0,"observed_at_us":0,"#,
        r#""age_s":1.0,"quality":1.0,"origin":"reported","channel":"heart_rate","missing":null}"#,
    );
    assert!(json.contains(part), "{json}");
    let gone = concat!(
        r#"{"name":"temperature","value":null,"unit":"Cel","points":null,"low":0,"high":3,"#,
        r#""observed_at_us":null,"age_s":null,"quality":null,"origin":null,"channel":null,"missing":"no_data"}"#,
    );
    assert!(json.contains(gone), "{json}");
    let tail = concat!(
        r#""missing":["temperature"],"assumptions":["age not given: adult assumed","#,
        r#""pregnancy not given: not pregnant assumed"],"reason":null}"#,
    );
    assert!(json.ends_with(tail), "{json}");
    let schema = serde_json::to_value(schemars::schema_for!(ScoreResult)).unwrap();
    assert!(schema["properties"]["level_low"].is_object());
}

/// Values that stand for all others: every band edge of every table of a channel.
fn edges(channel: usize) -> Vec<f64> {
    let tables: &[&BandTable] = match channel {
        0 => &[&RESPIRATION],
        1 => &[&SPO2_SCALE_1, &SPO2_SCALE_2_AIR, &SPO2_SCALE_2_OXYGEN],
        4 => &[&SYSTOLIC],
        5 => &[&PULSE],
        7 => &[&TEMPERATURE],
        6 => return vec![0.0, 1.0, 2.0, 3.0, 4.0],
        SCALE => return vec![1.0, 2.0],
        _ => return vec![0.0, 1.0],
    };
    let ends = tables.iter().flat_map(|t| t.bands.iter().map(|b| (t.resolution, b)));
    ends.flat_map(|(r, b)| [b.from, b.to].into_iter().flatten().map(move |s| r.value(s))).collect()
}

/// Every whole row that the given one may stand for.
fn completions(row: &Row, mut missing: Vec<usize>, domain: &dyn Fn(usize) -> Vec<f64>, to: &mut Vec<Row>) {
    let Some(next) = missing.pop() else { return to.push(*row) };
    for value in domain(next) {
        let mut row = *row;
        row[next] = Some(value);
        completions(&row, missing.clone(), domain, to);
    }
}

/// Bounds of `result` are those of all complete rows, no wider and no tighter.
fn check_bounds(result: &ScoreResult, rows: &[Row]) {
    let all: Vec<ScoreResult> = rows.iter().map(of_row).collect();
    assert!(all.iter().all(|r| r.status == Status::Complete));
    assert_eq!(result.low, all.iter().map(|r| r.total.unwrap()).min());
    assert_eq!(result.high, all.iter().map(|r| r.total.unwrap()).max());
    assert_eq!(result.level_low, all.iter().map(|r| r.level.unwrap()).min());
    assert_eq!(result.level_high, all.iter().map(|r| r.level.unwrap()).max());
    assert_eq!(result.status == Status::Complete, result.low == result.high);
    assert_eq!(result.level.is_some(), result.level_low == result.level_high);
    assert_eq!(result.total, result.low.filter(|_| result.status == Status::Complete));
    for (i, part) in result.parts.iter().enumerate() {
        let points = || all.iter().map(|r| r.parts[i].points.unwrap());
        assert_eq!((Some(part.low), Some(part.high)), (points().min(), points().max()), "{}", part.name);
        assert_eq!(part.points, Some(part.low).filter(|_| part.low == part.high), "{}", part.name);
    }
}

/// One missing input, whole plausible range of it; the scale among them as a flag that said 2 and lapsed.
#[test]
fn bounds_of_one_missing_input_over_its_whole_range() {
    let whole_range = |channel: usize| {
        let (low, high) = ChannelId::named(CHANNELS[channel]).unwrap().row().plausible;
        let per_unit = if CHANNELS[channel] == "temperature" { 10.0 } else { 1.0 };
        ((low * per_unit) as i64..=(high * per_unit) as i64).map(|s| s as f64 / per_unit).collect::<Vec<_>>()
    };
    for start in [HEALTHY, healthy_but(&[("on_oxygen", Some(1.0)), ("spo2_scale", Some(2.0))])] {
        for channel in 0..8 {
            let mut row = start;
            row[channel] = None;
            let mut rows = Vec::new();
            completions(&row, vec![channel], &whole_range, &mut rows);
            check_bounds(&with_scale_lapsed(&row), &rows);
        }
    }
}

/// The result for a row; if its scale is missing, then because a flag that said 2 has lapsed.
fn with_scale_lapsed(row: &Row) -> ScoreResult {
    let mut values = values_of(row);
    if row[SCALE].is_none() {
        put(&mut values, "spo2_scale", 2.0, 1, 1.0);
    }
    evaluate(&values, t(1))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    /// Up to three missing inputs: bounds against every completion by band edges.
    #[test]
    fn bounds_are_those_of_brute_force(
        picks in proptest::array::uniform8(any::<prop::sample::Index>()),
        missing in proptest::sample::subsequence((0..8_usize).collect::<Vec<_>>(), 0..=3),
    ) {
        let mut row: Row = std::array::from_fn(|i| Some(*picks[i].get(&edges(i))));
        missing.iter().for_each(|&i| row[i] = None);
        let mut rows = Vec::new();
        completions(&row, missing, &edges, &mut rows);
        check_bounds(&with_scale_lapsed(&row), &rows);
    }

    /// No value, however strange, stops the score or escapes its bounds.
    #[test]
    fn strange_values_never_break_it(
        cells in proptest::array::uniform8((any::<f64>(), any::<f32>(), -5_i64..5)),
        now in -5_i64..5,
    ) {
        let mut values = Values::default();
        for (channel, (value, quality, valid_s)) in CHANNELS.iter().zip(cells) {
            put(&mut values, channel, value, valid_s, quality);
        }
        let result = evaluate(&values, t(now));
        prop_assert!(0 <= result.low.unwrap() && result.low <= result.high && result.high.unwrap() <= 20);
        prop_assert!(serde_json::to_string(&result).is_ok());
    }
}
