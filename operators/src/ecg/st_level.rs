//! ST level and slope of every ECG lead, on the running average of its normal beats.
//! In: raw samples of all ECG leads, beats of `rpeaks`. Out: per lead `st_level` (mV) at J + 60 ms against the PR
//! segment, and `st_slope` (mV/s) from the J point to there; the reason why there is none.

use serde::{Deserialize, Serialize};

use super::average_beat::{AverageBeat, Fate, STEP_S};
use super::delineation::delineate;
use crate::filter::dispatch::Far;
use crate::operator::{Operator, Output, Spec, StateError, defaults, load_state, params, save_state};
use crate::params::Bound;
use crate::signal::{BeatKind, ChannelId, Epoch, EventTime, Kind, Missing, Reading, Readings, Span};
use crate::window::{Ring, grade};

/// Parameters of `st_level`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Params {
    /// Where ST is measured after the J point at 120 beats a minute and more (ms).
    pub after_j_fast_ms: f64,
    /// The same below 120 beats a minute (ms).
    pub after_j_ms: f64,
    /// Below this quality nothing is given (1).
    pub quality_floor: f64,
    /// Most leads that are watched at once (the first ones in the order of the channel table).
    pub leads_max: u32,
}

impl Default for Params {
    fn default() -> Self {
        Self { after_j_fast_ms: 60.0, after_j_ms: 60.0, quality_floor: 0.5, leads_max: 12 }
    }
}

const AFTER_J_FAST: Bound = Bound { name: "after_j_fast_ms", min: 20.0, max: 100.0, unit: "ms" };
const AFTER_J: Bound = Bound { name: "after_j_ms", min: 20.0, max: 100.0, unit: "ms" };
const QUALITY_FLOOR: Bound = Bound { name: "quality_floor", min: 0.0, max: 1.0, unit: "" };
const LEADS_MAX: Bound = Bound { name: "leads_max", min: 1.0, max: 14.0, unit: "" };

/// From here on a heart is fast (/min): the T wave begins earlier.
const FAST: f64 = 120.0;
/// Reach of a beat before and after its R wave (s): T is needed for nothing here.
const REACH_S: (f64, f64) = (0.3, 0.34);
/// Beats that count in the average, and the least of them.
const AVERAGED: u16 = 12;
const BEATS_MIN: u32 = 8;
/// The level is the mean over so many points either side.
const AROUND: usize = 2;
/// Without a new beat for so long nothing is known any more.
const PAUSE: Span = Span::seconds_const(10);
/// The window that readings name.
const WINDOW: Span = Span::seconds_const(20);
/// Noise of the average that costs no quality, and that leaves none (mV).
const NOISE: (f32, f32) = (0.01, 0.05);
/// Share of beats unlike the average that is usual, and that leaves it worthless.
const STRANGE: (f32, f32) = (0.1, 0.7);
/// J points of the last beats, whose median is used: one beat's QRS does not end elsewhere.
const ENDS: usize = 9;
/// RR intervals kept, and the longest that is one (s).
const INTERVALS: usize = 9;
const RR_MOST_S: f64 = 2.0;

/// What is known of one lead.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Lead {
    beat: AverageBeat,
    /// Ends of the QRS complex, points after the R wave.
    ends: Ring,
    /// Isoelectric level of the average (mV).
    level: f32,
    /// When the last beat went into the average and was measured.
    measured: Option<EventTime>,
    since: EventTime,
}

/// What `st_level` knows of a patient.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct State {
    /// Ordered by channel.
    leads: Vec<Lead>,
    rr: Ring,
    last: Option<EventTime>,
}

impl Default for State {
    fn default() -> Self {
        Self { leads: Vec::new(), rr: Ring::new(INTERVALS), last: None }
    }
}

struct StLevel {
    params: Params,
    state: State,
}

impl Lead {
    fn measure(&mut self, rr_s: f32) {
        while let Some((time, fate)) = self.beat.settle() {
            if fate != Fate::Taken {
                continue;
            }
            if self.beat.beats() == 1 {
                self.ends.clear();
            }
            let (mean, r) = self.beat.mean();
            if let Some(waves) = delineate(mean, r, rr_s, self.beat.noise()) {
                self.ends.push((f64::from(waves.qrs.1) / (STEP_S * 1e3)) as f32);
                self.level = waves.level;
                self.measured = Some(time);
            }
        }
    }

    /// Level in mV and slope in mV/s, with their quality.
    fn st(&self, after_j_ms: f64, end: EventTime, floor: f32) -> Result<(f64, f64, f32), Missing> {
        if self.beat.beats() < BEATS_MIN && end - self.since < WINDOW {
            return Err(Missing::Learning);
        }
        let quality =
            grade(1.0 - self.beat.share(), STRANGE.0, STRANGE.1) * grade(self.beat.noise(), NOISE.0, NOISE.1);
        if self.measured.is_none_or(|m| end - m > PAUSE) || self.beat.beats() < BEATS_MIN {
            return Err(if quality < floor { Missing::LowQuality } else { Missing::TooFew });
        }
        let j = self.ends.median::<ENDS>().ok_or(Missing::TooFew)?;
        if quality < floor {
            return Err(Missing::LowQuality);
        }
        let (mean, r) = self.beat.mean();
        let place = |points: f32| r + points.max(0.0).round() as usize;
        let level = |at: usize| {
            let part = mean.get(at - AROUND..=at + AROUND)?;
            Some(part.iter().sum::<f32>() / part.len() as f32 - self.level)
        };
        // At the J point itself the QRS complex still shows: the slope begins a little later.
        let (from, to) = (place(j) + AROUND + 1, place(j + (after_j_ms / (STEP_S * 1e3)) as f32));
        let (first, st) = (level(from).ok_or(Missing::TooFew)?, level(to).ok_or(Missing::TooFew)?);
        let span_s = (to as f64 - from as f64).max(1.0) * STEP_S;
        Ok((f64::from(st), f64::from(st - first) / span_s, quality.clamp(0.0, 1.0)))
    }

    fn sound(&self) -> bool {
        let ends = self.ends.capacity() == ENDS && self.ends.iter().all(|e| (0.0..1e3).contains(&e));
        self.beat.sound() && ends && self.level.is_finite()
    }
}

impl State {
    fn take(&mut self, epoch: &Epoch<'_>, leads_max: usize) {
        self.leads.retain(|l| epoch.start - l.beat.newest() <= Span::EPOCH);
        for run in epoch.runs.iter().filter(|r| r.channel.row().kind == Kind::Ecg && !r.raw.is_empty()) {
            let at = self.leads.partition_point(|l| l.beat.channel() < run.channel);
            let known = self.leads.get(at).is_some_and(|l| l.beat.channel() == run.channel);
            if !known || !self.leads[at].beat.continues(run) {
                let new = AverageBeat::new(run, REACH_S.0, REACH_S.1, AVERAGED);
                if known {
                    self.leads.remove(at);
                }
                let Some(beat) = new.filter(|_| self.leads.len() < leads_max) else { continue };
                let ends = Ring::new(ENDS);
                self.leads.insert(at, Lead { beat, ends, level: 0.0, measured: None, since: run.start });
            }
            self.leads[at].beat.take(run);
        }
    }

    fn add(&mut self, out: &Readings) {
        for b in out.beats.iter().filter(|b| b.kind == BeatKind::Qrs) {
            if let Some(last) = self.last {
                if b.time <= last {
                    continue;
                }
                let rr_s = (b.time - last).seconds();
                if rr_s <= RR_MOST_S {
                    self.rr.push(rr_s as f32);
                }
            }
            self.last = Some(b.time);
            self.leads.iter_mut().for_each(|l| l.beat.beat(b.time));
        }
        let rr_s = self.rr.median::<INTERVALS>().unwrap_or(1.0);
        self.leads.iter_mut().for_each(|l| l.measure(rr_s));
    }
}

impl Operator for StLevel {
    fn apply(&mut self, epoch: &Epoch<'_>, out: &mut Readings) {
        self.state.take(epoch, self.params.leads_max as usize);
        self.state.add(out);
        let rate = self.state.rr.median::<INTERVALS>().map_or(0.0, |rr_s| 60.0 / f64::from(rr_s.max(1e-3)));
        let after_j_ms = if rate >= FAST { self.params.after_j_fast_ms } else { self.params.after_j_ms };
        let (end, floor) = (epoch.end(), self.params.quality_floor as f32);
        let mut say = |channel: Option<ChannelId>, st: Result<(f64, f64, f32), Missing>| {
            let quality = st.map_or(0.0, |s| s.2);
            for (name, value) in [("st_level", st.map(|s| s.0)), ("st_slope", st.map(|s| s.1))] {
                out.push(Reading { name, channel, time: end, window: WINDOW, value, quality });
            }
        };
        for lead in &self.state.leads {
            say(Some(lead.beat.channel()), lead.st(after_j_ms, end, floor));
        }
        if self.state.leads.is_empty() {
            say(None, Err(Missing::NoData));
        }
    }

    fn far(&self, _next: EventTime, to: &mut Far) {
        to.add(&self.state.leads[..]);
        self.state.leads.iter().for_each(|l| l.beat.far(to));
    }

    fn save(&self, out: &mut Vec<u8>) {
        save_state(&self.state, out);
    }

    fn load(&mut self, bytes: &[u8]) -> Result<(), StateError> {
        let state: State = load_state(SPEC.name, bytes)?;
        let ordered = state.leads.windows(2).all(|w| w[0].beat.channel() < w[1].beat.channel());
        let few = state.leads.len() <= self.params.leads_max as usize && state.rr.capacity() == INTERVALS;
        if !ordered || !few || !state.leads.iter().all(Lead::sound) {
            return Err(StateError { operator: SPEC.name, reason: "lengths do not fit".into() });
        }
        self.state = state;
        Ok(())
    }
}

/// The card.
pub static SPEC: Spec = Spec {
    name: "st_level",
    summary: "ST level and slope of each ECG lead, on its usual beat",
    description: "Each ECG lead of the bed keeps its own running average of normal beats (weight one \
        twelfth) at the times that rpeaks tells; beats that correlate by less than 0.9 with it are left \
        out, and wander of the baseline is taken away by straight lines between the levels before \
        successive QRS complexes. The level is the mean over 20 ms around J + 60 ms against the PR segment, \
        where J is the median end of the last nine averages. The slope runs from 12 ms after J to there. \
        Raw samples are used: a high-pass filter at 0.5 Hz, as monitors have it, bends ST by up to 0.1 mV, \
        and what the device has filtered cannot be mended here. Leads of a pacemaker, of bundle branch \
        block and of a hypertrophied heart show levels that are no ischaemia; what changes counts. One \
        electrode that moves, or a body that turns, shifts levels on all leads at once.",
    reads: &[Kind::Ecg],
    writes: &[
        Output {
            name: "st_level",
            unit: "mV",
            summary: "ST level against the PR segment, by lead",
            feeds: "",
        },
        Output { name: "st_slope", unit: "mV/s", summary: "Slope of the ST segment, by lead", feeds: "" },
    ],
    needs: &["rpeaks"],
    latency: Span::seconds_const(4),
    by_default: false,
    sources: &[
        "IEC 60601-2-27:2011, 201.12.1.101.15 (ST segment measurement: 25 microvolts or 10 %)",
        "ANSI/AAMI EC57:2012, 4.6 (ST measurement)",
        "Jager F et al. Comput Biomed Res 1991;24:443-459 (average beats, J + 60 or 80 ms by heart rate)",
    ],
    bounds: &[AFTER_J_FAST, AFTER_J, QUALITY_FLOOR, LEADS_MAX],
    schema: || schemars::schema_for!(Params),
    defaults: defaults::<Params>,
    build: |v| {
        let params: Params = params(v)?;
        AFTER_J_FAST.check(params.after_j_fast_ms)?;
        AFTER_J.check(params.after_j_ms)?;
        QUALITY_FLOOR.check(params.quality_floor)?;
        LEADS_MAX.check(f64::from(params.leads_max))?;
        Ok(Box::new(StLevel { params, state: State::default() }))
    },
};

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::print_stderr, reason = "a test may stop and tells its figures")]
mod tests {
    use super::*;
    use crate::ecg::synthetic::{Shape, USUAL, lead, run};

    fn build() -> Box<dyn Operator> {
        (SPEC.build)(&(SPEC.defaults)()).unwrap()
    }

    /// Level and slope of two leads after a minute.
    fn last(rate: f64, leads: [Shape; 2], noise: f64, wander: (f64, f64)) -> [[Result<f64, Missing>; 2]; 2] {
        let two = leads.map(|s| lead(rate, 60, |_| s, noise, wander));
        let mut said = [[Err(Missing::NoData); 2]; 2];
        let waves: [(&str, f64, &[f32]); 2] = [("ecg_ii", rate, &two[0].0), ("ecg_v5", rate, &two[1].0)];
        run(build().as_mut(), &waves, &two[0].1, &mut |_, out| {
            said = ["ecg_ii", "ecg_v5"].map(|c| {
                let channel = ChannelId::named(c).unwrap();
                ["st_level", "st_slope"].map(|n| out.find_on(n, channel).unwrap().value)
            });
        });
        said
    }

    #[test]
    fn levels_are_those_of_the_shapes() {
        let (mut worst, mut steepest, mut faults) = (0.0f64, 0.0f64, vec![]);
        for (noise, wander) in
            [(0.0, (0.0, 0.0)), (0.02, (0.3, 0.25)), (0.03, (0.5, 0.15)), (0.01, (0.2, 0.4))]
        {
            for rate in [125.0, 250.0, 360.0, 500.0] {
                for mv in [-0.3, -0.2, -0.1, -0.05, 0.0, 0.05, 0.1, 0.2, 0.5] {
                    let slope = if mv < 0.0 { -0.8 } else { 0.6 };
                    let one = Shape { st: (mv, 0.0), ..USUAL };
                    let broad = Shape { qrs: (-50.0, 65.0), q_r_s: (-0.15, 0.9, -0.6), ..USUAL };
                    let two = Shape { st: (-mv, slope), rr_ms: USUAL.rr_ms, ..broad };
                    let said = last(rate, [one, two], noise, wander);
                    for ([level, sloped], (truth, slope)) in said.into_iter().zip([one.st, two.st]) {
                        let error = (level.unwrap() - truth).abs();
                        let off = (sloped.unwrap() - slope).abs();
                        (worst, steepest) = (worst.max(error), steepest.max(off));
                        let allowed = (0.1 * truth.abs()).max(0.025);
                        if error > allowed || off > 1.0 {
                            faults.push(format!(
                                "{rate} Hz, noise {noise}: {level:?} for {truth}, {sloped:?} for {slope}"
                            ));
                        }
                    }
                }
            }
        }
        eprintln!("st_level: worst error {worst:.3} mV, st_slope {steepest:.2} mV/s");
        assert!(faults.is_empty(), "{}", faults.join("\n"));
    }

    #[test]
    fn ectopic_beats_count_for_nothing_and_noise_is_said() {
        let broad = Shape { qrs: (-70.0, 110.0), q_r_s: (0.0, 1.8, 0.9), st: (-0.6, 0.0), ..USUAL };
        let usual = Shape { st: (0.1, 0.0), ..USUAL };
        let (mv, beats) = lead(250.0, 60, |k| if k % 5 == 4 { broad } else { usual }, 0.02, (0.1, 0.2));
        let (bad, _) = lead(250.0, 60, |_| usual, 0.5, (0.0, 0.2));
        let mut said = vec![];
        run(build().as_mut(), &[("ecg_ii", 250.0, &mv), ("ecg_v2", 250.0, &bad)], &beats, &mut |_, out| {
            let of = |c: &str| out.find_on("st_level", ChannelId::named(c).unwrap()).unwrap().value;
            said.push((of("ecg_ii"), of("ecg_v2")));
        });
        assert_eq!(said[3].0, Err(Missing::Learning));
        let (good, noisy) = said[59];
        assert!((good.unwrap() - 0.1).abs() < 0.025, "{good:?}");
        assert_eq!(noisy, Err(Missing::LowQuality));
    }

    #[test]
    fn a_change_of_st_is_followed_within_half_a_minute() {
        let shape = |k: usize| Shape { st: (if k < 40 { 0.0 } else { -0.2 }, 0.0), ..USUAL };
        let (mv, beats) = lead(250.0, 80, shape, 0.02, (0.1, 0.2));
        let mut said = vec![];
        let mut op = build();
        run(op.as_mut(), &[("ecg_ii", 250.0, &mv)], &beats, &mut |_, out| {
            said.push(out.find("st_level").unwrap().value);
        });
        let at = |s: f64| said[s as usize].unwrap();
        assert!((at(beats[40] - 1.0)).abs() < 0.02 && (at(beats[40] + 32.0) + 0.2).abs() < 0.025);
        let mut bytes = vec![];
        op.save(&mut bytes);
        eprintln!("st_level: {} bytes of state for one lead of 250 Hz", bytes.len());
        assert!((SPEC.build)(&serde_json::json!({ "after_j_ms": 300 })).is_err());
    }
}
