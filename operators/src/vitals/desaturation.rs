//! Desaturation: falls of the oxygen saturation per hour, time below 90 %, and the burden of the falls.
//! In: the valid SpO2 value second by second (%). Out: falls per hour, minutes, per cent times minutes.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::operator::{Operator, Output, Spec, StateError, defaults, load_state, params, save_state};
use crate::params::Bound;
use crate::signal::{ChannelId, Epoch, EventTime, Graded, Missing, Readings, Span};
use crate::trend::burden::Burden;

/// Parameters.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Params {
    /// Saturation below this counts as low (%).
    pub low_percent: f64,
    /// A faster change than this is none of the blood's (%/s).
    pub fastest_per_s: f64,
}

impl Default for Params {
    fn default() -> Self {
        Self { low_percent: 90.0, fastest_per_s: 4.0 }
    }
}

const LOW: Bound = Bound { name: "low_percent", min: 70.0, max: 96.0, unit: "%" };
const FASTEST: Bound = Bound { name: "fastest_per_s", min: 1.0, max: 20.0, unit: "%/s" };

/// The saturation.
const SPO2: ChannelId = ChannelId::of("spo2");
/// Depths of falls that are counted (%).
const DEPTHS: [f32; 2] = [3.0, 4.0];
/// The level before a fall: the highest of the last two minutes, in pieces of ten seconds of which each says its mean.
const PIECES: usize = 12;
const PIECE_S: u8 = 10;
/// A fall is over when the saturation is back within this of the level, or has lasted so long that it is the level.
const BACK: f32 = 1.0;
const LONGEST_S: u16 = 180;
/// A new level after a jump is believed when it has stood for this long (s).
const BELIEVED_S: u8 = 10;
/// Values further apart than this do not show falls (s).
const SPARSE_S: f64 = 15.0;
/// Minutes that are counted over, and the seconds that must be seen for an index.
const MINUTES: usize = 60;
const SEEN_MIN_S: f64 = 1_800.0;

/// A fall in progress.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Fall {
    level: f32,
    seconds: u16,
    /// How many of [`DEPTHS`] it has reached.
    reached: u8,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct State {
    ever: bool,
    /// When the last value was observed, and the last that was believed.
    observed: Option<EventTime>,
    last: Option<(EventTime, f32)>,
    /// A level after a jump, and for how long it has stood.
    other: Option<(f32, u8)>,
    sparse: bool,
    /// Means of the last pieces, and the piece in progress.
    pieces: VecDeque<f32>,
    sum: f32,
    count: u8,
    fall: Option<Fall>,
    /// Falls that began in each minute, newest last, by depth; the number of the newest minute.
    falls: VecDeque<[u8; 2]>,
    minute: i64,
    low: Burden,
    burden: Burden,
}

impl State {
    /// The value of this second if it can be believed.
    fn value(&mut self, epoch: &Epoch<'_>, fastest: f64) -> Result<f32, Missing> {
        let now = epoch.end();
        let found = epoch.values.at(SPO2, now)?;
        self.ever = true;
        if let Some(before) = self.observed.filter(|o| *o < found.observed_at) {
            self.sparse = (found.observed_at - before).seconds() > SPARSE_S;
        }
        self.observed = Some(found.observed_at);
        if found.quality < 0.5 {
            return Err(Missing::LowQuality);
        }
        let value = found.value as f32;
        let fits = |(at, old): (EventTime, f32)| {
            f64::from((value - old).abs()) <= fastest * (now - at).seconds().max(1.0)
        };
        if self.last.is_none_or(fits) {
            (self.last, self.other) = (Some((now, value)), None);
            return Ok(value);
        }
        // A probe that slips reads another level at once; one that stands is the new level.
        let stood = self.other.filter(|o| (o.0 - value).abs() <= 3.0).map_or(0, |o| o.1);
        self.other = Some((value, stood + 1));
        if stood + 1 >= BELIEVED_S {
            (self.last, self.other, self.fall) = (Some((now, value)), None, None);
            self.pieces.clear();
            (self.sum, self.count) = (0.0, 0);
        }
        Err(Missing::Implausible)
    }

    /// The level that a fall starts from.
    fn level(&self) -> Option<f32> {
        self.pieces.iter().copied().fold(None, |high: Option<f32>, x| Some(high.map_or(x, |h| h.max(x))))
    }

    fn follow(&mut self, value: f32) {
        match &mut self.fall {
            Some(fall) => {
                fall.seconds = fall.seconds.saturating_add(1);
                let over = value >= fall.level - BACK || fall.seconds >= LONGEST_S;
                let depth = fall.level - value;
                let reached = DEPTHS.iter().filter(|d| depth >= **d).count() as u8;
                for k in fall.reached..reached {
                    if let Some(minute) = self.falls.back_mut() {
                        minute[usize::from(k)] = minute[usize::from(k)].saturating_add(1);
                    }
                }
                fall.reached = fall.reached.max(reached);
                if over {
                    self.fall = None;
                    self.pieces.clear();
                    (self.sum, self.count) = (0.0, 0);
                }
            }
            None => {
                let level = self.level().filter(|l| l - value >= DEPTHS[0]);
                if let Some(level) = level {
                    self.fall = Some(Fall { level, seconds: 0, reached: 0 });
                    self.follow(value);
                    return;
                }
                self.sum += value;
                self.count += 1;
                if self.count == PIECE_S {
                    if self.pieces.len() == PIECES {
                        self.pieces.pop_front();
                    }
                    self.pieces.push_back(self.sum / f32::from(PIECE_S));
                    (self.sum, self.count) = (0.0, 0);
                }
            }
        }
    }

    /// Opens the minutes up to the one that ends with `end`.
    fn open(&mut self, end: EventTime) {
        let minute = (end.micros() - 1).div_euclid(60_000_000);
        if self.falls.is_empty() || minute < self.minute {
            self.falls.clear();
            self.falls.push_back([0; 2]);
            self.minute = minute;
        }
        for _ in 0..(minute - self.minute).min(MINUTES as i64) {
            if self.falls.len() == MINUTES {
                self.falls.pop_front();
            }
            self.falls.push_back([0; 2]);
        }
        self.minute = minute;
    }

    /// Falls per hour seen.
    fn index(&self, k: usize) -> Graded {
        let seen_s = self.low.seen_s();
        let why = if self.sparse { Missing::TooFew } else { Missing::Learning };
        if self.sparse || seen_s < SEEN_MIN_S {
            return Graded::missing(why);
        }
        let count: u32 = self.falls.iter().map(|m| u32::from(m[k])).sum();
        self.low.graded(f64::from(count) * 3_600.0 / seen_s)
    }
}

struct Desaturation {
    params: Params,
    state: State,
}

const NAMES: [&str; 4] =
    ["desaturation_index_3", "desaturation_index_4", "spo2_low_minutes", "hypoxic_burden"];

impl Operator for Desaturation {
    fn apply(&mut self, epoch: &Epoch<'_>, out: &mut Readings) {
        let state = &mut self.state;
        let end = epoch.end();
        let value = state.value(epoch, self.params.fastest_per_s);
        if !state.ever {
            return;
        }
        state.open(end);
        match value {
            Ok(v) => state.follow(v),
            // What is not seen neither falls nor recovers.
            Err(Missing::Implausible) => {}
            Err(_) => {
                state.fall = None;
                state.last = None;
            }
        }
        let low = value.ok().map(|v| (self.params.low_percent - f64::from(v)).max(0.0));
        state.low.add(end, low);
        let depth = |v: f32| state.fall.map_or(0.0, |f| f64::from((f.level - v).max(0.0)));
        state.burden.add(end, value.ok().map(depth));
        let hours = (state.burden.seen_s() / 3_600.0).max(1e-3);
        let burden = if state.sparse {
            Graded::missing(Missing::TooFew)
        } else {
            state.burden.graded(state.burden.area() / hours)
        };
        let answers = [state.index(0), state.index(1), state.low.graded(state.low.minutes()), burden];
        let window = state.low.window();
        for (name, answer) in NAMES.into_iter().zip(answers) {
            out.push(answer.reading(name, Some(SPO2), end, window));
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

/// The card.
pub static SPEC: Spec = Spec {
    name: "desaturation",
    summary: "Falls of oxygen saturation per hour, time below 90 % and hypoxic burden",
    description: "Second by second over the last hour, of valid values only: a value past its validity is absent, \
        not held, and so is one of a quality below one half or after a change of more than 4 % a second (a probe \
        that slips), until a new level has stood for ten seconds. A fall begins 3 % below the highest ten-second \
        mean of the two minutes before and ends within 1 % of it, or after three minutes; the indices count those \
        that reach 3 % and 4 % per hour seen. hypoxic_burden is the area between that level and the saturation \
        during falls, per hour seen. The indices need half an hour seen and values at least every 15 s; the quality \
        is the share of the time seen. Differs from the AASM, whose falls belong to a breathing event and whose \
        index is per hour of sleep: sleep is not known here. The averaging of the oximeter (2 to 16 s) blunts short \
        falls.",
    reads: &[],
    writes: &[
        Output { name: NAMES[0], unit: "/h", summary: "Falls of 3 % or more per hour", feeds: "" },
        Output { name: NAMES[1], unit: "/h", summary: "Falls of 4 % or more per hour", feeds: "" },
        Output { name: NAMES[2], unit: "min", summary: "Minutes below 90 % in the last hour", feeds: "" },
        Output { name: NAMES[3], unit: "%.min/h", summary: "Area of the falls per hour", feeds: "" },
    ],
    needs: &[],
    latency: Span::ZERO,
    by_default: false,
    sources: &[
        "Berry RB et al. Rules for scoring respiratory events in sleep: update of the 2007 AASM manual. J Clin Sleep \
         Med 2012;8:597-619. doi:10.5664/jcsm.2172 (3 % and 4 %)",
        "Azarbarzin A et al. The hypoxic burden of sleep apnoea predicts cardiovascular disease-related mortality. \
         Eur Heart J 2019;40:1149-1157. doi:10.1093/eurheartj/ehy624",
    ],
    bounds: &[LOW, FASTEST],
    schema: || schemars::schema_for!(Params),
    defaults: defaults::<Params>,
    build: |value| {
        let params: Params = params(value)?;
        LOW.check(params.low_percent)?;
        FASTEST.check(params.fastest_per_s)?;
        Ok(Box::new(Desaturation { params, state: State::default() }))
    },
};

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may stop")]
mod tests {
    use super::*;
    use crate::signal::{Observed, Origin, Values};

    /// The four readings after `seconds` of values, one every `step_s`, each valid for `valid_s`.
    fn last(seconds: i64, step_s: i64, valid_s: i64, spo2: impl Fn(i64) -> f64) -> [Result<f64, Missing>; 4] {
        let mut operator = (SPEC.build)(&(SPEC.defaults)()).unwrap();
        let (mut values, mut out) = (Values::default(), Readings::default());
        for s in 0..seconds {
            let start = EventTime::from_seconds(s);
            if s % step_s == 0 {
                let valid_until = start + Span::seconds_const(valid_s);
                let (value, origin) = (spo2(s), Origin::Reported);
                values.store(SPO2, Observed { value, observed_at: start, valid_until, quality: 1.0, origin });
            }
            out.clear();
            operator.apply(&Epoch { start, runs: &[], values: &values }, &mut out);
        }
        NAMES.map(|n| out.find(n).unwrap().value)
    }

    /// A fall by `depth` over 15 s, back over 15 s, once every three minutes.
    fn falls(depth: f64) -> impl Fn(i64) -> f64 {
        move |s| {
            let at = (s % 180) as f64 - 100.0;
            (96.0 - depth * (1.0 - (at - 15.0).abs() / 15.0).max(0.0)).round()
        }
    }

    #[test]
    fn falls_are_counted_by_depth() {
        for (depth, three, four) in [(2.0, 0.0, 0.0), (3.0, 20.0, 0.0), (5.0, 20.0, 20.0), (9.0, 20.0, 20.0)]
        {
            let said = last(3600, 1, 10, falls(depth));
            assert_eq!((said[0], said[1]), (Ok(three), Ok(four)), "{depth}");
            // A triangle of that depth and half a minute, twenty times: its tails below 3 % do not count.
            let area = said[3].unwrap();
            let most = 20.0 * depth * 0.25;
            assert!(area <= most * 1.1 && (depth < 4.0 || area > 0.6 * most), "{depth}: {area} of {most}");
        }
    }

    #[test]
    fn time_below_the_limit_and_a_new_level() {
        let said = last(1800, 1, 10, |s| if (600..900).contains(&s) { 88.0 } else { 92.0 });
        assert_eq!(said[2], Ok(5.0));
        // A level that stays is one fall, however long.
        let said = last(3600, 1, 10, |s| if s > 600 { 90.0 } else { 96.0 });
        assert!(said[0].is_ok_and(|n| n <= 2.0), "{said:?}");
    }

    #[test]
    fn a_slipped_probe_and_stale_and_sparse_values_make_no_falls() {
        let slipped = last(3600, 1, 10, |s| if (100..106).contains(&(s % 300)) { 55.0 } else { 96.0 });
        assert_eq!((slipped[0], slipped[2]), (Ok(0.0), Ok(0.0)), "{slipped:?}");
        let sparse = last(3600, 60, 60, falls(9.0));
        assert_eq!((sparse[0], sparse[3]), (Err(Missing::TooFew), Err(Missing::TooFew)));
        // Valid for ten seconds of each minute: most of the hour is not known.
        assert_eq!(last(3600, 60, 10, |_| 80.0)[2], Err(Missing::LowQuality));
        assert_eq!(last(900, 1, 10, |_| 96.0)[0], Err(Missing::Learning));
    }
}
