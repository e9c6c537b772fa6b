//! Temperature: what of it can be believed, and how long and how far it was feverish or too low.
//! In: the valid temperature second by second (°C). Out: the believed temperature, minutes and °C times minutes of
//! fever and of hypothermia in the last hour.

use serde::{Deserialize, Serialize};

use crate::operator::{Operator, Output, Spec, StateError, defaults, load_state, params, save_state};
use crate::params::Bound;
use crate::signal::{ChannelId, Epoch, EventTime, Graded, Missing, Readings, Span};
use crate::trend::burden::Burden;

/// Parameters.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Params {
    /// Fever from here on (°C).
    pub fever_c: f64,
    /// Hypothermia below this (°C).
    pub low_c: f64,
    /// A body changes no faster than this (°C/h).
    pub fastest_c_per_h: f64,
}

impl Default for Params {
    fn default() -> Self {
        Self { fever_c: 38.3, low_c: 36.0, fastest_c_per_h: 4.0 }
    }
}

const FEVER: Bound = Bound { name: "fever_c", min: 37.0, max: 40.0, unit: "Cel" };
const LOW: Bound = Bound { name: "low_c", min: 32.0, max: 36.5, unit: "Cel" };
const FASTEST: Bound = Bound { name: "fastest_c_per_h", min: 1.0, max: 20.0, unit: "Cel/h" };

/// The temperature.
const TEMPERATURE: ChannelId = ChannelId::of("temperature");
/// Two sites, or two thermometers, differ by so much (°C).
const SITES_C: f64 = 0.5;
/// A level that another one contradicts is believed when it was observed again this long after (s).
const BELIEVED_S: f64 = 300.0;

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct State {
    ever: bool,
    /// The last believed value and when it was observed.
    last: Option<(EventTime, f64)>,
    /// A value that does not follow from it, and since when such are seen.
    other: Option<(EventTime, f64)>,
    fever: Burden,
    low: Burden,
}

impl State {
    fn value(&mut self, epoch: &Epoch<'_>, fastest: f64) -> Graded {
        let found = match epoch.values.at(TEMPERATURE, epoch.end()) {
            Err(why) => {
                self.ever |= why != Missing::NoData;
                return Graded::missing(why);
            }
            Ok(found) => found,
        };
        self.ever = true;
        let (at, value) = (found.observed_at, found.value);
        let fits = |(then, old): (EventTime, f64), spread: f64| {
            (value - old).abs() <= spread + fastest * (at - then).seconds().abs() / 3_600.0
        };
        let stood = self.other.is_some_and(|o| fits(o, 0.3) && (at - o.0).seconds() >= BELIEVED_S);
        if self.last.is_none_or(|l| fits(l, SITES_C)) || stood {
            (self.last, self.other) = (Some((at, value)), None);
            return Graded::of(value, found.quality, 0.5);
        }
        if self.other.is_none_or(|o| !fits(o, 0.3)) {
            self.other = Some((at, value));
        }
        Graded::missing(Missing::Implausible)
    }
}

struct TemperatureBurden {
    params: Params,
    state: State,
}

const NAMES: [&str; 5] =
    ["temperature_believed", "fever_minutes", "fever_burden", "hypothermia_minutes", "hypothermia_burden"];

impl Operator for TemperatureBurden {
    fn apply(&mut self, epoch: &Epoch<'_>, out: &mut Readings) {
        let (state, end) = (&mut self.state, epoch.end());
        let value = state.value(epoch, self.params.fastest_c_per_h);
        if !state.ever {
            return;
        }
        let known = value.value.ok();
        state.fever.add(end, known.map(|v| beyond(v - self.params.fever_c)));
        state.low.add(end, known.map(|v| beyond(self.params.low_c - v)));
        let State { fever, low, .. } = state;
        let answers = [
            value,
            fever.graded(fever.minutes()),
            fever.graded(fever.area()),
            low.graded(low.minutes()),
            low.graded(low.area()),
        ];
        let window = fever.window();
        for (k, (name, answer)) in NAMES.into_iter().zip(answers).enumerate() {
            let window = if k == 0 { Span::EPOCH } else { window };
            out.push(answer.reading(name, Some(TEMPERATURE), end, window));
        }
    }

    fn save(&self, out: &mut Vec<u8>) {
        save_state(&self.state, out);
    }

    fn load(&mut self, bytes: &[u8]) -> Result<(), StateError> {
        self.state = load_state(SPEC.name, bytes)?;
        Ok(())
    }
}

/// How far beyond; exactly at the limit counts as beyond by next to nothing, so that fever begins at its limit.
fn beyond(by: f64) -> f64 {
    if by == 0.0 { f64::MIN_POSITIVE } else { by.max(0.0) }
}

/// The card.
pub static SPEC: Spec = Spec {
    name: "temperature_burden",
    summary: "Believed temperature, and time and area of fever and hypothermia in the last hour",
    description: "A value is believed if it lies within 0.5 °C plus 4 °C an hour of the last believed one; another \
        level is believed when it was observed again five minutes after it first was (a probe moved to another site, \
        a patient cooled on purpose). Until then the temperature is absent as implausible: a probe that falls out \
        reads the room. Values past their validity are absent. Fever is from 38.3 °C on, hypothermia up to 36.0 °C; \
        each second of a valid value counts, also where one value stands for hours: the burden is only as fine as \
        the measurements. Nothing is said before five minutes, or if less than half of the time is known.",
    reads: &[],
    writes: &[
        Output { name: NAMES[0], unit: "Cel", summary: "Temperature, if it can be believed", feeds: "" },
        Output { name: NAMES[1], unit: "min", summary: "Minutes of fever in the last hour", feeds: "" },
        Output { name: NAMES[2], unit: "Cel.min", summary: "°C above the limit times minutes", feeds: "" },
        Output { name: NAMES[3], unit: "min", summary: "Minutes of hypothermia in the last hour", feeds: "" },
        Output { name: NAMES[4], unit: "Cel.min", summary: "°C below the limit times minutes", feeds: "" },
    ],
    needs: &[],
    latency: Span::ZERO,
    by_default: false,
    sources: &[
        "O'Grady NP et al. Guidelines for evaluation of new fever in critically ill adult patients. Crit Care Med \
         2008;36:1330-1349. doi:10.1097/CCM.0b013e318169eda9 (38.3 °C)",
        "Bone RC et al. Definitions for sepsis and organ failure. Chest 1992;101:1644-1655. \
         doi:10.1378/chest.101.6.1644 (36 °C)",
    ],
    bounds: &[FEVER, LOW, FASTEST],
    schema: || schemars::schema_for!(Params),
    defaults: defaults::<Params>,
    build: |value| {
        let params: Params = params(value)?;
        FEVER.check(params.fever_c)?;
        LOW.check(params.low_c)?;
        FASTEST.check(params.fastest_c_per_h)?;
        Ok(Box::new(TemperatureBurden { params, state: State::default() }))
    },
};

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may stop")]
mod tests {
    use super::*;
    use crate::signal::{Observed, Origin, Values};

    /// The readings at the end of each minute; a value each minute that counts for two.
    fn minutes(count: i64, temperature: impl Fn(i64) -> Option<f64>) -> Vec<[Result<f64, Missing>; 5]> {
        let mut operator = (SPEC.build)(&(SPEC.defaults)()).unwrap();
        let (mut values, mut out, mut said) = (Values::default(), Readings::default(), vec![]);
        for s in 0..count * 60 {
            let start = EventTime::from_seconds(s);
            if let Some(value) = temperature(s / 60).filter(|_| s % 60 == 0) {
                let (valid_until, origin) = (start + Span::seconds_const(120), Origin::Reported);
                let seen = Observed { value, observed_at: start, valid_until, quality: 1.0, origin };
                values.store(TEMPERATURE, seen);
            }
            out.clear();
            operator.apply(&Epoch { start, runs: &[], values: &values }, &mut out);
            if s % 60 == 59 {
                said.push(NAMES.map(|n| out.find(n).unwrap().value));
            }
        }
        said
    }

    #[test]
    fn burdens_follow_the_temperature() {
        let said = minutes(60, |m| Some(if m >= 40 { 38.3 + 0.05 * (m - 40) as f64 } else { 38.0 }));
        assert_eq!(said[59][1], Ok(20.0));
        // Steps of 0.05 °C a minute: 0.05 times the sum of 0 to 19.
        assert!((said[59][2].unwrap() - 9.5).abs() < 1e-3, "{:?}", said[59]);
        let cold = minutes(20, |_| Some(35.0));
        assert_eq!((cold[19][1], cold[19][3], cold[19][4]), (Ok(0.0), Ok(20.0), Ok(20.0)));
    }

    #[test]
    fn a_fallen_probe_and_a_stale_value_are_absent_and_a_new_site_is_learned() {
        let fallen = minutes(30, |m| Some(if (10..14).contains(&m) { 27.0 } else { 37.0 }));
        assert_eq!((fallen[9][0], fallen[12][0]), (Ok(37.0), Err(Missing::Implausible)));
        assert_eq!((fallen[20][0], fallen[29][3]), (Ok(37.0), Ok(0.0)));
        let moved = minutes(30, |m| Some(if m >= 10 { 35.6 } else { 37.0 }));
        assert_eq!((moved[11][0], moved[20][0]), (Err(Missing::Implausible), Ok(35.6)));
        let stale = minutes(30, |m| (m < 10).then_some(37.0));
        assert_eq!(stale[15][0], Err(Missing::Stale));
    }
}
