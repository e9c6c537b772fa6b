//! NEWS2, the National Early Warning Score of the Royal College of Physicians, edition of December 2017.
//! In: breaths /min, SpO2 %, oxygen and its scale, systolic mmHg, pulse /min, ACVPU code, temperature Cel.
//! Out: 0 to 20 points, one of five levels and the response, or bounds of both while inputs are missing.
//!
//! Fractions: the chart is written for whole numbers and tenths of a degree, so a value is rounded first,
//! half away from zero. 24.4 breaths/min is read as 24 and has 2 points; 24.5 is read as 25 and has 3.
//!
//! SpO2 scale: scale 2 is for patients with a prescribed target of 88 to 92 %. It is used only on an explicit
//! flag and is never inferred. Without a flag scale 1 holds, as the chart says, and the result notes it. A
//! flag that said 2 and has lapsed (or is of poor quality, or no code at all) leaves the scale open: neither
//! scale is the safe one (at 97 % on oxygen scale 1 hides 3 points, at 89 % scale 2 hides 3), so both are
//! scored and the result is bounded, and complete where they agree.
//!
//! Population: known to be under 16, or known to be pregnant, gives no score but the reason. If age or
//! pregnancy is not known, [`Params`] decides; what was assumed stands in the result.
//!
//! Pressure and pulse: an arterial line is preferred to the cuff, whose last reading may be an hour old and
//! hide a fall of pressure; the ECG's heart rate is preferred to the pulse rate.

use super::input::{Pick, Refused, Role, ScoreInput};
use super::outcomes::{Outcomes, PointSet};
use super::table::{Band, BandTable, Resolution};
use super::{LevelSpec, Params, Part, ScoreResult, ScoreSpec};
use crate::signal::{ChannelId, EventTime, Missing, Values};

/// From this age on, in years, the chart applies.
pub const LEAST_AGE: f64 = 16.0;

const fn whole(parameter: &'static str, unit: &'static str, bands: &'static [Band]) -> BandTable {
    BandTable { parameter, unit, resolution: Resolution::Whole, bands }
}

/// Respiration rate.
#[rustfmt::skip]
pub static RESPIRATION: BandTable = whole("respiration", "/min", &[
    Band::up_to(8, 3), Band::between(9, 11, 1), Band::between(12, 20, 0), Band::between(21, 24, 2),
    Band::at_least(25, 3),
]);

/// SpO2, scale 1.
#[rustfmt::skip]
pub static SPO2_SCALE_1: BandTable = whole("spo2 (scale 1)", "%", &[
    Band::up_to(91, 3), Band::between(92, 93, 2), Band::between(94, 95, 1), Band::at_least(96, 0),
]);

/// SpO2, scale 2, breathing air.
#[rustfmt::skip]
pub static SPO2_SCALE_2_AIR: BandTable = whole("spo2 (scale 2, air)", "%", &[
    Band::up_to(83, 3), Band::between(84, 85, 2), Band::between(86, 87, 1), Band::at_least(88, 0),
]);

/// SpO2, scale 2, on oxygen: too much is counted as well.
#[rustfmt::skip]
pub static SPO2_SCALE_2_OXYGEN: BandTable = whole("spo2 (scale 2, oxygen)", "%", &[
    Band::up_to(83, 3), Band::between(84, 85, 2), Band::between(86, 87, 1), Band::between(88, 92, 0),
    Band::between(93, 94, 1), Band::between(95, 96, 2), Band::at_least(97, 3),
]);

/// Air (0) or oxygen (1).
pub static OXYGEN: BandTable = whole("oxygen", "{code}", &[Band::up_to(0, 0), Band::at_least(1, 2)]);

/// Systolic blood pressure.
#[rustfmt::skip]
pub static SYSTOLIC: BandTable = whole("systolic", "mm[Hg]", &[
    Band::up_to(90, 3), Band::between(91, 100, 2), Band::between(101, 110, 1), Band::between(111, 219, 0),
    Band::at_least(220, 3),
]);

/// Pulse.
#[rustfmt::skip]
pub static PULSE: BandTable = whole("pulse", "/min", &[
    Band::up_to(40, 3), Band::between(41, 50, 1), Band::between(51, 90, 0), Band::between(91, 110, 1),
    Band::between(111, 130, 2), Band::at_least(131, 3),
]);

/// Consciousness: alert (0), or new confusion, voice, pain, unresponsive (1 to 4).
pub static CONSCIOUSNESS: BandTable =
    whole("consciousness", "{code}", &[Band::up_to(0, 0), Band::at_least(1, 3)]);

/// Temperature, in tenths of a degree.
pub static TEMPERATURE: BandTable = BandTable {
    parameter: "temperature",
    unit: "Cel",
    resolution: Resolution::Tenth,
    bands: &[
        Band::up_to(350, 3),
        Band::between(351, 360, 1),
        Band::between(361, 380, 0),
        Band::between(381, 390, 1),
        Band::at_least(391, 2),
    ],
};

const fn input(
    name: &'static str,
    channels: &'static [ChannelId],
    role: Role,
    summary: &'static str,
) -> ScoreInput {
    ScoreInput { name, channels, role, max_age: None, summary }
}

/// Where the respiration rate comes from.
pub static RESPIRATION_INPUT: ScoreInput =
    input("respiration", &[ChannelId::of("resp_rate")], Role::Scored, "breaths per minute");
/// Where SpO2 comes from.
pub static SPO2_INPUT: ScoreInput =
    input("spo2", &[ChannelId::of("spo2")], Role::Scored, "oxygen saturation by pulse oximeter");
/// Where air or oxygen comes from.
pub static OXYGEN_INPUT: ScoreInput = input(
    "oxygen",
    &[ChannelId::of("on_oxygen")],
    Role::Scored,
    "breathing air (0) or supplemental oxygen (1)",
);
/// Where the systolic pressure comes from.
pub static SYSTOLIC_INPUT: ScoreInput = input(
    "systolic",
    &[ChannelId::of("abp_sys"), ChannelId::of("nibp_sys")],
    Role::Scored,
    "systolic blood pressure",
);
/// Where the pulse comes from.
pub static PULSE_INPUT: ScoreInput = input(
    "pulse",
    &[ChannelId::of("heart_rate"), ChannelId::of("pulse_rate")],
    Role::Scored,
    "beats per minute",
);
/// Where consciousness comes from.
pub static CONSCIOUSNESS_INPUT: ScoreInput = input(
    "consciousness",
    &[ChannelId::of("consciousness")],
    Role::Scored,
    "ACVPU code; confusion is new until known to be old",
);
/// Where the temperature comes from.
pub static TEMPERATURE_INPUT: ScoreInput =
    input("temperature", &[ChannelId::of("temperature")], Role::Scored, "body temperature");
/// Where the SpO2 scale comes from.
pub static SCALE_INPUT: ScoreInput = input(
    "spo2_scale",
    &[ChannelId::of("spo2_scale")],
    Role::Modifier,
    "2 if a target of 88 to 92 % is prescribed, else 1",
);
/// Where the age comes from.
pub static AGE_INPUT: ScoreInput = input("age", &[ChannelId::of("age")], Role::Eligibility, "age in years");
/// Where pregnancy comes from.
pub static PREGNANCY_INPUT: ScoreInput =
    input("pregnancy", &[ChannelId::of("pregnant")], Role::Eligibility, "pregnant (1) or not (0)");

/// A single part with so many points is a red score.
const RED: u8 = 3;

/// Rank of the level for a total and for whether a part is red; a rank is a place among [`SPEC`]'s levels.
///
/// ```
/// use auscult_operators::score::news2::rank;
/// assert_eq!([rank(0, false), rank(4, false), rank(3, true), rank(5, false)], [0, 1, 2, 3]);
/// assert_eq!(rank(7, false), 4);
/// assert_eq!(rank(5, true), 3); // a red part does not lower what the total calls for
/// ```
pub fn rank(total: u8, red: bool) -> usize {
    match total {
        7.. => 4,
        5..=6 => 3,
        _ if red => 2,
        1..=4 => 1,
        0 => 0,
    }
}

/// NEWS2 as of `now`, with the default parameters.
///
/// ```
/// use auscult_operators::score::news2;
/// use auscult_operators::signal::{EventTime, Values};
/// let result = news2::evaluate(&Values::default(), EventTime::from_seconds(0));
/// assert_eq!((result.total, result.low, result.high), (None, Some(0), Some(20)));
/// ```
pub fn evaluate(values: &Values, now: EventTime) -> ScoreResult {
    assess(values, now, &Params::default()).advised(&SPEC)
}

/// NEWS2 as of `now`, without words on what to do.
///
/// ```
/// use auscult_operators::score::{Params, Status, news2};
/// use auscult_operators::signal::{EventTime, Values};
/// let (values, now) = (Values::default(), EventTime::from_seconds(0));
/// let result = news2::assess(&values, now, &Params::default());
/// assert!(result.recommendation.is_empty());
/// assert_eq!(result.advised(&news2::SPEC), news2::evaluate(&values, now));
/// let strict = Params { assume_adult: false, ..Params::default() };
/// let result = news2::assess(&values, now, &strict);
/// assert_eq!(result.status, Status::Invalid);
/// assert_eq!(result.reason.unwrap(), "age not given: NEWS2 is for those aged 16 or over");
/// ```
pub fn assess(values: &Values, now: EventTime, params: &Params) -> ScoreResult {
    let mut assumptions = Vec::new();
    if let Err(reason) = eligible(values, now, params, &mut assumptions) {
        return ScoreResult::invalid(&SPEC, reason, assumptions);
    }
    let scales = scales(values, now, &mut assumptions);
    let saturation = SPO2_INPUT.pick(values, now);
    let oxygen = OXYGEN_INPUT.pick(values, now);
    let oxygen_states: &[bool] = match &oxygen {
        Ok(pick) if pick.seen.value > 0.0 => &[true],
        Ok(_) => &[false],
        Err(_) => &[false, true],
    };

    let part = |input: &'static ScoreInput, table: &BandTable| {
        let found = input.pick(values, now);
        let possible = points(table, &found);
        (Part::new(input, &found, now, possible), possible)
    };
    let respiration = part(&RESPIRATION_INPUT, &RESPIRATION);
    let systolic = part(&SYSTOLIC_INPUT, &SYSTOLIC);
    let pulse = part(&PULSE_INPUT, &PULSE);
    let consciousness = part(&CONSCIOUSNESS_INPUT, &CONSCIOUSNESS);
    let temperature = part(&TEMPERATURE_INPUT, &TEMPERATURE);
    let others = [&respiration, &systolic, &pulse, &consciousness, &temperature]
        .into_iter()
        .fold(Outcomes::START, |sum, (_, possible)| sum.plus(*possible, RED));

    // Oxygen has points of its own and decides those of SpO2, so each state is followed to its own totals.
    let (mut outcomes, mut of_oxygen, mut of_spo2) = (Outcomes::NONE, PointSet::EMPTY, PointSet::EMPTY);
    let mut scale_matters = false;
    for &on_oxygen in oxygen_states {
        let support = OXYGEN.points_at(i64::from(on_oxygen)).map_or(OXYGEN.possible(), PointSet::only);
        let with_support = others.plus(support, RED);
        of_oxygen = of_oxygen.or(support);
        let by_scale = scales.iter().map(|&scale| points(scale_table(scale, on_oxygen), &saturation));
        scale_matters |= by_scale.clone().any(|p| Some(p) != by_scale.clone().next());
        for possible in by_scale {
            of_spo2 = of_spo2.or(possible);
            outcomes = outcomes.or(with_support.plus(possible, RED));
        }
    }
    let parts = vec![
        respiration.0,
        Part::new(&SPO2_INPUT, &saturation, now, of_spo2),
        Part::new(&OXYGEN_INPUT, &oxygen, now, of_oxygen),
        systolic.0,
        pulse.0,
        consciousness.0,
        temperature.0,
    ];
    let mut missing: Vec<_> = parts.iter().filter(|p| p.missing.is_some()).map(|p| p.name).collect();
    if scale_matters || scales.len() > 1 && saturation.is_err() {
        missing.push(SCALE_INPUT.name);
    }
    ScoreResult::conclude(&SPEC, parts, outcomes, missing, assumptions)
}

/// A sentence about a reason, one of a few that stand in the program: a score is made every second.
macro_rules! worded {
    ($reason:expr, $before:literal $(, $after:literal)?) => {
        match $reason {
            Missing::Stale => concat!($before, "lapsed" $(, $after)?),
            Missing::LowQuality => concat!($before, "of poor quality" $(, $after)?),
            Missing::Implausible => concat!($before, "implausible" $(, $after)?),
            Missing::NoData | Missing::Learning | Missing::TooFew => concat!($before, "not given" $(, $after)?),
        }
    };
}

/// Points of what was found; all points of the table if nothing was.
fn points(table: &BandTable, found: &Result<Pick, Refused>) -> PointSet {
    found
        .as_ref()
        .ok()
        .and_then(|pick| table.points(pick.seen.value))
        .map_or_else(|| table.possible(), PointSet::only)
}

/// The SpO2 scales of the chart.
#[derive(Clone, Copy, PartialEq)]
enum Scale {
    One,
    Two,
}

fn scale_table(scale: Scale, on_oxygen: bool) -> &'static BandTable {
    match (scale, on_oxygen) {
        (Scale::One, _) => &SPO2_SCALE_1,
        (Scale::Two, false) => &SPO2_SCALE_2_AIR,
        (Scale::Two, true) => &SPO2_SCALE_2_OXYGEN,
    }
}

/// The scales that may hold for this patient; why both may is told at the head of this file.
fn scales(values: &Values, now: EventTime, assumptions: &mut Vec<&'static str>) -> &'static [Scale] {
    let refused = match SCALE_INPUT.pick(values, now) {
        Ok(pick) if pick.seen.value > 1.0 => return &[Scale::Two],
        Ok(_) => return &[Scale::One],
        Err(refused) => refused,
    };
    let said = refused.pick.map(|p| p.seen.value);
    if said.is_none_or(|code| code == 1.0) {
        assumptions.push(worded!(refused.reason, "SpO2 scale ", ": scale 1"));
        return &[Scale::One];
    }
    let both = worded!(refused.reason, "SpO2 scale ", ", it was not 1 before: scored on both scales");
    assumptions.push(both);
    &[Scale::One, Scale::Two]
}

/// Whether the chart is made for this patient; the reason if it is not.
fn eligible(
    values: &Values,
    now: EventTime,
    params: &Params,
    assumptions: &mut Vec<&'static str>,
) -> Result<(), String> {
    let adults = || format!("NEWS2 is for those aged {LEAST_AGE} or over");
    const NOT_PREGNANT: &str = "NEWS2 is not for use in pregnancy";
    match AGE_INPUT.pick(values, now) {
        Ok(pick) if pick.seen.value < LEAST_AGE => {
            return Err(format!("age under {LEAST_AGE}: {}", adults()));
        }
        Ok(_) => {}
        Err(refused) => {
            if !params.assume_adult {
                return Err(format!("{}: {}", worded!(refused.reason, "age "), adults()));
            }
            assumptions.push(worded!(refused.reason, "age ", ": adult assumed"));
        }
    }
    match PREGNANCY_INPUT.pick(values, now) {
        Ok(pick) if pick.seen.value > 0.0 => return Err(format!("pregnant: {NOT_PREGNANT}")),
        Ok(_) => {}
        Err(refused) => {
            if !params.assume_not_pregnant {
                return Err(format!("{}: {NOT_PREGNANT}", worded!(refused.reason, "pregnancy ")));
            }
            assumptions.push(worded!(refused.reason, "pregnancy ", ": not pregnant assumed"));
        }
    }
    Ok(())
}

/// The card.
pub static SPEC: ScoreSpec = ScoreSpec {
    name: "news2",
    title: "NEWS2",
    table_version: "RCP 2017",
    summary: "National Early Warning Score 2: acute illness of adults from seven bedside observations.",
    description: "Adds the points of seven observations (0 to 20). Levels follow the total; a single \
        observation with 3 points lifts a total below 5 to low-medium. SpO2 is scored on scale 1 unless an \
        explicit, valid flag says scale 2; a flag that said 2 and has lapsed leaves the scale open and both \
        are scored. While an observation is missing, stale, of too poor quality or outside its plausible \
        range, the result gives exact bounds of total and level over all values it could have. Differs from \
        the chart: it is evaluated continuously, on monitor values too, where the chart is filled in at the \
        bedside; an arterial line is preferred to the cuff and the ECG's heart rate to the pulse. Confusion \
        must be sent as such: it counts as new until it is known to be old. The score supports clinical \
        judgement and does not replace it.",
    fractions: "Rounded to the chart before banding, half away from zero: temperature to 0.1 Cel, all else \
        to whole numbers (24.4 breaths/min is read as 24: 2 points, 24.5 as 25: 3 points).",
    #[rustfmt::skip]
    inputs: &[
        &RESPIRATION_INPUT, &SPO2_INPUT, &OXYGEN_INPUT, &SYSTOLIC_INPUT, &PULSE_INPUT, &CONSCIOUSNESS_INPUT,
        &TEMPERATURE_INPUT, &SCALE_INPUT, &AGE_INPUT, &PREGNANCY_INPUT,
    ],
    #[rustfmt::skip]
    tables: &[
        &RESPIRATION, &SPO2_SCALE_1, &SPO2_SCALE_2_AIR, &SPO2_SCALE_2_OXYGEN, &OXYGEN, &SYSTOLIC, &PULSE,
        &CONSCIOUSNESS, &TEMPERATURE,
    ],
    population: "Aged 16 or over and not pregnant. Scale 2 only where a clinician has prescribed a \
        saturation of 88 to 92 % (hypercapnic respiratory failure).",
    range: (0, 20),
    red_at: RED,
    levels: &[
        LevelSpec {
            name: "none",
            when: "total 0",
            response: "Go on with routine observations, at least every 12 hours.",
        },
        LevelSpec {
            name: "low",
            when: "total 1 to 4",
            response: "Observe at least every 4 to 6 hours. A registered nurse assesses the patient and \
                decides whether to observe more often or to escalate.",
        },
        LevelSpec {
            name: "low_medium",
            when: "3 points in a single observation, total below 5",
            response: "Observe at least hourly. The nurse informs the team in charge of the patient for an \
                urgent review on the ward, which decides whether to escalate.",
        },
        LevelSpec {
            name: "medium",
            when: "total 5 or 6",
            response: "Observe at least hourly. Inform the team in charge at once and ask for an urgent \
                assessment by a clinician or team competent in acute illness; care where monitoring is at \
                hand.",
        },
        LevelSpec {
            name: "high",
            when: "total 7 or more",
            response: "Monitor vital signs continuously. Inform the team in charge at once, at senior level, \
                and call for an emergency assessment by a team with critical care and airway skills; \
                consider moving the patient to level 2 or 3 care.",
        },
    ],
    rank,
    sources: &[
        "Royal College of Physicians. National Early Warning Score (NEWS) 2: standardising the assessment \
         of acute-illness severity in the NHS. London: RCP, December 2017. Chart 1 (scoring), chart 2 \
         (thresholds and triggers), chart 4 (clinical response)",
    ],
    evaluate,
    assess,
};

#[cfg(test)]
mod tests;
