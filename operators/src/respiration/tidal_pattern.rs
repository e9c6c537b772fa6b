//! Tidal pattern: whether the depth of breathing waxes and wanes, as in Cheyne-Stokes respiration.
//! In: breaths of `breaths` with their height. Out: how periodic the depth is (0 to 1), and the cycle in seconds.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::operator::{Operator, Output, Spec, StateError, defaults, load_state, params, save_state};
use crate::params::Bound;
use crate::signal::time::US_PER_S;
use crate::signal::{BeatKind, ChannelId, Epoch, EventTime, Graded, Kind, Missing, Readings, Span};
use crate::window::{grade, rank_in_place, tame};

/// Parameters.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Params {
    /// Shortest cycle (s).
    pub shortest_s: f64,
    /// Longest cycle (s).
    pub longest_s: f64,
    /// Periodicity below which no cycle is told (1).
    pub periodic: f64,
}

impl Default for Params {
    fn default() -> Self {
        Self { shortest_s: 40.0, longest_s: 90.0, periodic: 0.45 }
    }
}

const SHORTEST: Bound = Bound { name: "shortest_s", min: 20.0, max: 60.0, unit: "s" };
const LONGEST: Bound = Bound { name: "longest_s", min: 60.0, max: 120.0, unit: "s" };
const PERIODIC: Bound = Bound { name: "periodic", min: 0.1, max: 0.95, unit: "" };

/// The depth is looked at in steps of two seconds over five minutes, once every ten seconds.
const STEP_S: i64 = 2;
const SLOTS: usize = 150;
const HOP_S: i64 = 10;
/// Breaths settle by then (s): the window ends so long ago.
const SETTLED_S: i64 = 16;
/// A breath speaks for this long; after it there is none.
const SPEAKS_S: f64 = 6.0;
/// Most breaths kept: 60 a minute over the window.
const BREATHS: usize = 320;
/// Fewest breaths in the window.
const LEAST: usize = 25;
/// Most seconds of doubt in the window.
const DOUBT_MOST: u16 = 45;

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct State {
    channel: Option<ChannelId>,
    since: EventTime,
    breaths: VecDeque<(EventTime, f32)>,
    /// Seconds of doubt, fading over the window.
    doubt_s: f32,
}

impl State {
    fn take(&mut self, epoch: &Epoch<'_>, out: &Readings) {
        let mut runs = epoch.runs.iter().filter(|r| r.channel.row().kind == Kind::Respiration);
        if let Some(run) = runs.rfind(|r| r.reset || self.channel.is_none()) {
            *self = Self { channel: Some(run.channel), since: run.start, ..Self::default() };
        }
        let own = |b: &&crate::signal::Beat| b.kind == BeatKind::Breath && Some(b.channel) == self.channel;
        for b in out.beats.iter().filter(own) {
            if b.time >= self.since && self.breaths.back().is_none_or(|last| b.time > last.0) {
                self.breaths.push_back((b.time, tame(b.amplitude, 0.0, 1e7)));
            }
        }
        let oldest = epoch.end() - Span::seconds_const(SETTLED_S + STEP_S * SLOTS as i64 + 8);
        while self.breaths.len() > BREATHS || self.breaths.front().is_some_and(|b| b.0 < oldest) {
            self.breaths.pop_front();
        }
        let doubt = out.find("breath_doubt").is_none_or(|r| r.value.map_or(true, |v| v > 0.5));
        self.doubt_s += f32::from(u8::from(doubt)) - self.doubt_s / (STEP_S as f32 * SLOTS as f32);
    }

    /// The depth of breathing step by step, oldest first: zero where no breath came for long.
    fn depth(&self, until: EventTime, to: &mut [f32; SLOTS]) {
        let mut breaths = self.breaths.iter().peekable();
        let mut last: Option<(EventTime, f32)> = None;
        for (i, slot) in to.iter_mut().enumerate() {
            let end = until - Span::seconds_const(STEP_S * (SLOTS - 1 - i) as i64);
            while let Some(b) = breaths.next_if(|b| b.0 <= end) {
                last = Some(*b);
            }
            *slot = last.filter(|b| (end - b.0).seconds() <= SPEAKS_S).map_or(0.0, |b| b.1);
        }
    }

    /// Periodicity and cycle (s).
    fn pattern(&self, now: EventTime, params: &Params) -> Option<(f32, f64)> {
        let mut depth = [0.0_f32; SLOTS];
        self.depth(now - Span::seconds_const(SETTLED_S), &mut depth);
        let mut sorted = depth;
        let (low, high) = (rank_in_place(&mut sorted, 0.1)?, rank_in_place(&mut sorted, 0.9)?);
        if high <= 0.0 {
            return None;
        }
        let swing = (high - low) / (high + low);
        let mean = depth.iter().sum::<f32>() / SLOTS as f32;
        depth.iter_mut().for_each(|d| *d = (*d - mean) / high);
        let alike = |lag: usize| {
            let (mut ab, mut aa, mut bb) = (0.0_f32, 0.0_f32, 0.0_f32);
            for (a, b) in depth.iter().zip(&depth[lag..]) {
                ab += a * b;
                aa += a * a;
                bb += b * b;
            }
            if aa > 0.0 && bb > 0.0 { ab / (aa * bb).sqrt() } else { 0.0 }
        };
        let lags = (params.shortest_s / STEP_S as f64).round() as usize
            ..=(params.longest_s / STEP_S as f64).round() as usize;
        let mut best: Option<(f32, f64)> = None;
        for lag in lags {
            let (a, b, c) = (alike(lag - 1), alike(lag), alike(lag + 1));
            if b > a && b >= c && best.is_none_or(|best| b > best.0) {
                let bend = a - 2.0 * b + c;
                let shift = if bend < 0.0 { (0.5 * (a - c) / bend).clamp(-0.5, 0.5) } else { 0.0 };
                best = Some((b, STEP_S as f64 * (lag as f64 + f64::from(shift))));
            }
        }
        // Even breathing repeats itself at any lag: only a deep swing is a pattern.
        let deep = 1.0 - grade(swing, 0.25, 0.6);
        Some(best.map_or((0.0, 0.0), |(r, cycle)| (r.max(0.0) * deep, cycle)))
    }
}

struct TidalPattern {
    params: Params,
    state: State,
}

impl Operator for TidalPattern {
    fn apply(&mut self, epoch: &Epoch<'_>, out: &mut Readings) {
        self.state.take(epoch, out);
        let end = epoch.end();
        let due = end.micros().div_euclid(US_PER_S).rem_euclid(HOP_S) == 0;
        if !due || self.state.channel.is_none() {
            return;
        }
        let window = Span::seconds_const(STEP_S * SLOTS as i64);
        let young = end - self.state.since < window + Span::seconds_const(SETTLED_S);
        let silent = !epoch.runs.iter().any(|r| Some(r.channel) == self.state.channel);
        let (periodicity, cycle) = if silent {
            (Graded::missing(Missing::NoData), Graded::missing(Missing::NoData))
        } else if young || self.state.breaths.len() < LEAST {
            let why = if young { Missing::Learning } else { Missing::TooFew };
            (Graded::missing(why), Graded::missing(why))
        } else {
            let sure = grade(self.state.doubt_s, 0.2 * f32::from(DOUBT_MOST), 2.0 * f32::from(DOUBT_MOST));
            match self.state.pattern(end, &self.params) {
                None => (Graded::missing(Missing::TooFew), Graded::missing(Missing::TooFew)),
                Some((r, cycle)) => {
                    let periodicity = Graded::of(f64::from(r), sure, 0.5);
                    let told = f64::from(r) >= self.params.periodic;
                    let cycle = if told {
                        Graded::of(cycle, sure * r, 0.2)
                    } else {
                        Graded::missing(Missing::TooFew)
                    };
                    (periodicity, cycle)
                }
            }
        };
        out.push(periodicity.reading("tidal_periodicity", self.state.channel, end, window));
        out.push(cycle.reading("tidal_cycle", self.state.channel, end, window));
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
    name: "tidal_pattern",
    summary: "Whether the depth of breathing waxes and wanes, and in what cycle",
    description: "The height of the last breath in steps of two seconds over five minutes, zero where none came for \
        six seconds; the highest peak of its autocorrelation between 40 and 90 s, times how deep the swing is (from \
        0.25 to 0.6 between the first and the last decile): tidal_periodicity. From 0.45 on the cycle is told; where \
        breathing is not periodic there is none. The window ends 16 s ago, when its breaths are settled. Impedance \
        follows the depth of one posture: turning over looks like a change of depth. Was set on simulated breathing \
        only. Differs from the AASM rule, which counts central events and cycles by hand, in being a correlation.",
    reads: &[Kind::Respiration],
    writes: &[
        Output {
            name: "tidal_periodicity",
            unit: "1",
            summary: "How periodic the depth of breathing is over five minutes, 0 to 1",
            feeds: "",
        },
        Output { name: "tidal_cycle", unit: "s", summary: "Cycle of waxing and waning breathing", feeds: "" },
    ],
    needs: &["breaths"],
    latency: Span::seconds_const(16),
    by_default: false,
    sources: &[
        "Berry RB et al. Rules for scoring respiratory events in sleep: update of the 2007 AASM manual. J Clin Sleep \
         Med 2012;8:597-619. doi:10.5664/jcsm.2172 (Cheyne-Stokes breathing: cycles of 40 s or more)",
        "Naughton MT. Pathophysiology and treatment of Cheyne-Stokes respiration. Thorax 1998;53:514-518. \
         doi:10.1136/thx.53.6.514",
    ],
    bounds: &[SHORTEST, LONGEST, PERIODIC],
    schema: || schemars::schema_for!(Params),
    defaults: defaults::<Params>,
    build: |value| {
        let params: Params = params(value)?;
        SHORTEST.check(params.shortest_s)?;
        LONGEST.check(params.longest_s)?;
        PERIODIC.check(params.periodic)?;
        Ok(Box::new(TidalPattern { params, state: State::default() }))
    },
};
