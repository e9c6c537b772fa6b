//! Rhythms that need someone at once: asystole, pauses, extreme rates, runs of ventricular beats, fibrillation.
//! In: QRS beats, their classes, the time without a beat, and the samples of the lead in mV. Out: per rhythm 0 or 1, a
//! pause in seconds, or the reason why it cannot be said.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::operator::{Operator, Output, Spec, StateError, defaults, load_state, params, save_state};
use crate::params::{Bound, ParamError};
use crate::signal::{
    BeatClass, BeatKind, ChannelId, ClassedBeat, Epoch, EventTime, Kind, Missing, Reading, Readings, Run,
    Span,
};

/// Parameters of `rhythm`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Params {
    /// Seconds without a QRS complex that are an asystole.
    pub asystole_s: f64,
}

impl Default for Params {
    fn default() -> Self {
        Self { asystole_s: 4.0 }
    }
}

const ASYSTOLE_S: Bound = Bound { name: "asystole_s", min: 2.0, max: 10.0, unit: "s" };

/// Beats of a bradycardia below 40, and of a tachycardia above 140 a minute.
const SLOW: (usize, f64) = (5, 40.0);
const FAST: (usize, f64) = (17, 140.0);
/// Ventricular beats of a tachycardia and above which rate, of an accelerated idioventricular rhythm the least rate.
const VENTRICULAR: (usize, f64) = (5, 100.0);
const IDIOVENTRICULAR_RATE: f64 = 50.0;
/// Beats of a pattern that repeats three times: every second, every third beat ventricular.
const REPEATS: usize = 3;
/// A shorter interval is no pause, and pauses are told for so long.
const PAUSE_S: f64 = 2.0;
const PAUSE_TOLD: Span = Span::seconds_const(60);
/// A run of beats is spoken of as long as its last beat is no older.
const FRESH: Span = Span::seconds_const(10);
/// Seconds of fibrillatory waves that are fibrillation.
const FIBRILLATION_S: u32 = 4;
/// Beats and classes that are kept.
const KEPT: usize = 20;
/// The lead is thinned to about this rate, and so many seconds of it are judged at a time.
const KEPT_HZ: f64 = 60.0;
const JUDGED_S: f64 = 4.0;
/// A wave that leaks less through a filter of half its own period is fibrillatory, if it is no smaller than this (mV).
const LEAK: f32 = 0.5;
const LEAST_MV: f32 = 0.05;
/// The period of fibrillatory waves, in seconds.
const PERIOD_S: (f32, f32) = (0.1, 0.4);
/// A lead that moves less in a second is dead, in mV; what lies beyond the second is cut off.
const DEAD_MV: f32 = 0.001;
const LIMIT_MV: f32 = 32.0;

/// Some seconds of the lead, thinned.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Lead {
    channel: ChannelId,
    rate: f64,
    every: u32,
    sum: f32,
    filled: u32,
    values: VecDeque<f32>,
    /// Lowest and highest sample of this second.
    range: (f32, f32),
}

/// What `rhythm` knows of a patient.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct State {
    lead: Option<Lead>,
    /// Times of the last beats.
    beats: VecDeque<EventTime>,
    classes: VecDeque<ClassedBeat>,
    /// The end of the last pause and its length in seconds.
    pause: Option<(EventTime, f64)>,
    /// Seconds in a row that look fibrillatory.
    fibrillatory: u32,
    ever: bool,
}

struct Rhythm {
    params: Params,
    state: State,
}

/// How much of a wave is left when it is added to itself half a period later: near 0 for a sine, near 1 for QRS
/// complexes with rest between. `None` if its period lies outside that of fibrillation, or it is too small.
///
/// ```
/// use auscult_operators::ecg::rhythm::leakage;
/// let wave: Vec<f32> = (0..240).map(|i| (i as f32 * 0.5).sin()).collect();
/// assert!(leakage(&wave, 60.0).unwrap() < 0.2);
/// let beats: Vec<f32> = (0..240).map(|i| if i % 45 < 2 { 1.0 } else { 0.0 }).collect();
/// assert!(leakage(&beats, 60.0).is_none_or(|l| l > 0.6));
/// ```
pub fn leakage(wave: &[f32], rate: f32) -> Option<f32> {
    let n = wave.len();
    if n < 8 {
        return None;
    }
    let mean = wave.iter().sum::<f32>() / n as f32;
    let size: f32 = wave.iter().map(|x| (x - mean).abs()).sum();
    let change: f32 = wave.windows(2).map(|w| (w[1] - w[0]).abs()).sum();
    let period = core::f32::consts::TAU * size / change.max(1e-6);
    let fits = (PERIOD_S.0 * rate..=PERIOD_S.1 * rate).contains(&period);
    if !fits || size < LEAST_MV * n as f32 {
        return None;
    }
    let half = ((0.5 * period + 0.5) as usize).clamp(1, n / 2);
    let (mut left, mut all) = (0.0f32, 0.0f32);
    for (a, b) in wave.iter().zip(&wave[half..]) {
        let (a, b) = (a - mean, b - mean);
        left += (a + b).abs();
        all += a.abs() + b.abs();
    }
    Some(left / all.max(1e-6))
}

impl Lead {
    fn new(run: &Run<'_>) -> Self {
        let every = ((run.rate.get() / KEPT_HZ + 0.5) as u32).max(1);
        let size = Self::size(run.rate.get(), every);
        let values = VecDeque::with_capacity(size);
        Self { channel: run.channel, rate: run.rate.get(), every, sum: 0.0, filled: 0, values, range: NONE }
    }

    fn size(rate: f64, every: u32) -> usize {
        (JUDGED_S * rate / f64::from(every)) as usize + 1
    }

    fn push(&mut self, raw: &[f32]) {
        let size = Self::size(self.rate, self.every);
        for x in raw {
            let x = x.clamp(-LIMIT_MV, LIMIT_MV);
            self.range = (self.range.0.min(x), self.range.1.max(x));
            self.sum += x;
            self.filled += 1;
            if self.filled >= self.every {
                if self.values.len() == size {
                    self.values.pop_front();
                }
                self.values.push_back(self.sum / self.every as f32);
                (self.sum, self.filled) = (0.0, 0);
            }
        }
    }

    fn fibrillatory(&mut self) -> bool {
        let full = self.values.len() == Self::size(self.rate, self.every);
        let rate = (self.rate / f64::from(self.every)) as f32;
        full && leakage(self.values.make_contiguous(), rate).is_some_and(|l| l < LEAK)
    }

    fn alive(&self) -> bool {
        self.range.1 - self.range.0 >= DEAD_MV
    }

    fn sound(&self) -> bool {
        (1.0..=4000.0).contains(&self.rate)
            && self.every == ((self.rate / KEPT_HZ + 0.5) as u32).max(1)
            && self.values.len() <= Self::size(self.rate, self.every)
            && self.filled < self.every
            && self.values.iter().chain([&self.sum]).all(|x| x.is_finite())
    }
}

/// No sample yet.
const NONE: (f32, f32) = (LIMIT_MV, -LIMIT_MV);

impl State {
    fn follow(&mut self, epoch: &Epoch<'_>, chosen: Option<ChannelId>) {
        let goes_on = chosen.is_some_and(|c| {
            let same = self.lead.as_ref().is_some_and(|l| l.channel == c);
            same && epoch.runs_of(c).next().is_some()
        });
        if !goes_on {
            // Beats go on from lead to lead; the samples do not.
            self.lead = None;
            self.fibrillatory = 0;
        }
        if let Some(l) = &mut self.lead {
            l.range = NONE;
        }
        let Some(channel) = chosen else {
            *self = Self { ever: self.ever, ..Self::default() };
            return;
        };
        for run in epoch.runs_of(channel) {
            if run.reset || self.lead.as_ref().is_none_or(|l| l.rate != run.rate.get()) {
                let other_lead = self.lead.is_none() && !run.reset;
                if !other_lead {
                    *self = Self::default();
                }
                self.lead = Some(Lead::new(run));
            }
            if let Some(l) = &mut self.lead {
                l.push(run.raw);
            }
        }
        self.ever = true;
    }

    fn add(&mut self, out: &Readings) {
        for b in out.beats.iter().filter(|b| b.kind == BeatKind::Qrs) {
            if self.beats.back().is_some_and(|l| *l >= b.time) {
                continue;
            }
            let rr = self.beats.back().map(|l| (b.time - *l).seconds());
            if let Some(rr) = rr.filter(|r| *r >= PAUSE_S) {
                self.pause = Some((b.time, rr));
            }
            if self.beats.len() == KEPT {
                self.beats.pop_front();
            }
            self.beats.push_back(b.time);
        }
        for c in &out.classes {
            if self.classes.back().is_some_and(|l| l.time >= c.time) {
                continue;
            }
            if self.classes.len() == KEPT {
                self.classes.pop_front();
            }
            self.classes.push_back(*c);
        }
    }

    /// Mean rate of the last `n` beats, if there are so many and the last one is fresh.
    fn rate(&self, n: usize, end: EventTime) -> Option<f64> {
        let last = *self.beats.back().filter(|l| end - **l <= FRESH)?;
        let first = *self.beats.get(self.beats.len().checked_sub(n)?)?;
        Some(60.0 * (n - 1) as f64 / (last - first).seconds().max(0.1))
    }

    /// Rate of the fastest five beats in a row that are a ventricular run that ended no longer ago than is fresh: beats
    /// that are taken for supraventricular count in it, since within a run it is mostly their earliness that is seen.
    fn run_rate(&self, end: EventTime) -> Option<f64> {
        let n = VENTRICULAR.0;
        let mut best: Option<f64> = None;
        for i in n..=self.classes.len() {
            let run = (i - n..i).map(|k| self.classes[k]);
            let last = self.classes[i - 1].time;
            let early = |c: &ClassedBeat| c.class == BeatClass::Supraventricular;
            let ventricular = run.clone().filter(|c| c.class == BeatClass::Ventricular).count();
            let all = ventricular > 0 && ventricular + run.clone().filter(early).count() == n;
            if all && end - last <= FRESH {
                let rate = 60.0 * (n - 1) as f64 / (last - self.classes[i - n].time).seconds().max(0.1);
                best = Some(best.map_or(rate, |b: f64| b.max(rate)));
            }
        }
        best
    }

    /// Whether the last beats are every `n`th one ventricular, the last one or one of the `n - 1` before it.
    fn pattern(&self, n: usize) -> bool {
        let len = n * REPEATS;
        let Some(from) = self.classes.len().checked_sub(len) else { return false };
        let is = |k: usize| self.classes[from + k].class == BeatClass::Ventricular;
        (0..n).any(|phase| (0..len).all(|k| is(k) == (k % n == phase)))
    }

    fn sound(&self) -> bool {
        self.beats.len() <= KEPT && self.classes.len() <= KEPT && self.lead.iter().all(Lead::sound)
    }
}

type Graded = (&'static str, Result<f64, Missing>, f32);

impl Rhythm {
    fn new(value: &serde_json::Value) -> Result<Self, ParamError> {
        let params: Params = params(value)?;
        ASYSTOLE_S.check(params.asystole_s)?;
        Ok(Self { params, state: State::default() })
    }

    /// What follows from the beats alone.
    fn of_beats(&self, out: &Readings, end: EventTime, hindrance: Option<Missing>) -> [Graded; 4] {
        let s = &self.state;
        let since = out.find("since_last_qrs");
        let quality = since.map_or(0.0, |r| r.quality);
        let fibrillating = s.fibrillatory > 0;
        let without = since.map_or(Err(Missing::NoData), |r| r.value);
        let asystole = match (hindrance, without) {
            (Some(why), _) | (None, Err(why)) => Err(why),
            (None, Ok(t)) => Ok(f64::from(u8::from(t >= self.params.asystole_s && !fibrillating))),
        };
        let open = without.ok().filter(|t| *t >= PAUSE_S && !fibrillating && !s.beats.is_empty());
        let ended = s.pause.filter(|p| end - p.0 <= PAUSE_TOLD).map_or(0.0, |p| p.1);
        let pause = hindrance.map_or(Ok(open.unwrap_or(0.0).max(ended)), Err);
        // Too few beats are not a rate that is well.
        let rated = |rate: Option<f64>, extreme: fn(f64) -> bool| match (hindrance, rate) {
            (Some(why), _) => Err(why),
            (None, None) => Err(Missing::TooFew),
            (None, Some(r)) => Ok(f64::from(u8::from(extreme(r)))),
        };
        let slow = rated(s.rate(SLOW.0, end), |r| r < SLOW.1);
        let fast = rated(s.rate(FAST.0, end), |r| r > FAST.1);
        [
            ("asystole", asystole, quality),
            ("pause", pause, quality),
            ("extreme_bradycardia", slow, quality),
            ("extreme_tachycardia", fast, quality),
        ]
    }

    /// What follows from the classes of beats, and from the samples.
    fn of_classes(&self, out: &Readings, end: EventTime, hindrance: Option<Missing>) -> [Graded; 5] {
        let s = &self.state;
        let known = s.classes.iter().filter(|c| c.class != BeatClass::Unclassified);
        let sure = known.map(|c| c.confidence).sum::<f32>() / s.classes.len().max(1) as f32;
        let fresh = s.classes.back().is_some_and(|c| end - c.time <= FRESH);
        let flag = |yes: bool| match hindrance {
            Some(why) => Err(why),
            None if s.classes.len() < VENTRICULAR.0 => Err(Missing::Learning),
            None if !fresh => Err(Missing::TooFew),
            None if sure < 0.3 => Err(Missing::LowQuality),
            None => Ok(f64::from(u8::from(yes))),
        };
        let rate = s.run_rate(end);
        let fast = rate.is_some_and(|r| r > VENTRICULAR.1);
        let slow = rate.is_some_and(|r| r >= IDIOVENTRICULAR_RATE) && !fast;
        let fibrillation = match (hindrance, out.find("flutter_index").map(|r| r.quality)) {
            (Some(why), _) => (Err(why), 0.0),
            (None, quality) => {
                (Ok(f64::from(u8::from(s.fibrillatory >= FIBRILLATION_S))), quality.unwrap_or(0.5))
            }
        };
        [
            ("ventricular_tachycardia", flag(fast), sure),
            ("idioventricular_rhythm", flag(slow), sure),
            ("bigeminy", flag(s.pattern(2)), sure),
            ("trigeminy", flag(s.pattern(3)), sure),
            ("ventricular_fibrillation", fibrillation.0, fibrillation.1),
        ]
    }
}

impl Operator for Rhythm {
    fn apply(&mut self, epoch: &Epoch<'_>, out: &mut Readings) {
        let end = epoch.end();
        let chosen = out.find("flutter_index").and_then(|r| r.channel);
        self.state.follow(epoch, chosen);
        self.state.add(out);
        let flutter = out.find("flutter_index").and_then(|r| r.value.ok()).is_some_and(|f| f > 0.5);
        let s = &mut self.state;
        let leaks = s.lead.as_mut().is_some_and(Lead::fibrillatory);
        s.fibrillatory = if flutter || leaks { s.fibrillatory.saturating_add(1) } else { 0 };
        let hindrance = match &s.lead {
            None => Some(if s.ever { Missing::Stale } else { Missing::NoData }),
            Some(l) if !l.alive() => Some(Missing::LowQuality),
            Some(_) => None,
        };
        let channel = s.lead.as_ref().map(|l| l.channel);
        let (beats, classes) = (self.of_beats(out, end, hindrance), self.of_classes(out, end, hindrance));
        for (name, value, quality) in beats.into_iter().chain(classes) {
            let quality = if value.is_ok() { quality.clamp(0.0, 1.0) } else { 0.0 };
            out.push(Reading { name, channel, time: end, window: FRESH, value, quality });
        }
    }

    fn save(&self, out: &mut Vec<u8>) {
        save_state(&self.state, out);
    }

    fn load(&mut self, bytes: &[u8]) -> Result<(), StateError> {
        let state: State = load_state(SPEC.name, bytes)?;
        if !state.sound() {
            return Err(StateError { operator: SPEC.name, reason: "lengths do not fit".into() });
        }
        self.state = state;
        Ok(())
    }
}

/// The card.
pub static SPEC: Spec = Spec {
    name: "rhythm",
    summary: "Asystole, pauses, extreme rates, ventricular runs and patterns, ventricular fibrillation",
    description: "The definitions are those of the PhysioNet Challenge 2015: asystole is four seconds without a QRS \
        complex (not while the waves are fibrillatory, nor on a lead that does not move, nor where noise could hide \
        beats); extreme bradycardia is a mean rate below 40 over five beats, extreme tachycardia above 140 over 17; \
        ventricular tachycardia is five beats in a row above 100 a minute that are ventricular, or some of them \
        ventricular and the others taken for supraventricular, and remains for ten seconds after the run; from 50 to \
        100 it is an idioventricular rhythm. Bigeminy and trigeminy are three repeats. Fibrillation or flutter is \
        four seconds in a row in which the waves of the lead are smooth and restless (flutter_index) or the last \
        four seconds leak little through a filter of half their own period. Everything begins anew with a gap. \
        Limits: what beat_class limits say holds here; fast ventricular tachycardia may be called fibrillation, and \
        regular artefacts may; fine fibrillation below 0.05 mV is not seen; pacing spikes are not looked for.",
    reads: &[Kind::Ecg],
    writes: &[
        Output::new("asystole", "1", "Whether no QRS complex has come for four seconds: 0 or 1"),
        Output::new(
            "pause",
            "s",
            "Longest of the pause going on and the last one in a minute, from 2 s; 0 if none",
        ),
        Output::new("extreme_bradycardia", "1", "Below 40 a minute over five beats: 0 or 1"),
        Output::new("extreme_tachycardia", "1", "Above 140 a minute over 17 beats: 0 or 1"),
        Output::new("ventricular_tachycardia", "1", "Five ventricular beats above 100 a minute: 0 or 1"),
        Output::new("idioventricular_rhythm", "1", "Five ventricular beats at 50 to 100 a minute: 0 or 1"),
        Output::new("bigeminy", "1", "Every second beat ventricular, three times: 0 or 1"),
        Output::new("trigeminy", "1", "Every third beat ventricular, three times: 0 or 1"),
        Output::new("ventricular_fibrillation", "1", "Four seconds of fibrillatory or flutter waves: 0 or 1"),
    ],
    needs: &["rpeaks", "heart_rate", "beat_class"],
    latency: Span::seconds_const(6),
    by_default: false,
    sources: &[
        "Clifford GD et al. Comput Cardiol 2015;42:273-276 (definitions of the five alarms)",
        "Kuo S, Dillman R. Comput Cardiol 1978:347-349 (leakage of the fibrillation filter)",
        "Amann A, Tratnig R, Unterkofler K. Biomed Eng Online 2005;4:60. doi:10.1186/1475-925X-4-60 (its comparison)",
    ],
    bounds: &[ASYSTOLE_S],
    schema: || schemars::schema_for!(Params),
    defaults: defaults::<Params>,
    build: |v| Ok(Box::new(Rhythm::new(v)?)),
};

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may stop")]
mod tests {
    use super::*;
    use crate::signal::{Beat, Hertz, Values};

    /// Beats (seconds, class) told second by second; what stands at the end.
    fn told(beats: &[(f64, BeatClass)], seconds: i64, moves: bool) -> Readings {
        let channel = ChannelId::named("ecg_ii").unwrap();
        let mut operator = (SPEC.build)(&(SPEC.defaults)()).unwrap();
        let (mut out, values) = (Readings::default(), Values::default());
        for s in 0..seconds {
            let start = EventTime::from_seconds(s);
            // A spike each second: alive, and no wave of fibrillation.
            let raw: Vec<f32> = (0..250).map(|i| if moves && i < 10 { 1.0 } else { 0.0 }).collect();
            let run =
                Run { channel, rate: Hertz(250.0), start, reset: s == 0, raw: &raw, clean: &raw, bridged: 0 };
            out.clear();
            let reading = |name, value| Reading {
                name,
                channel: Some(channel),
                time: start + Span::EPOCH,
                window: Span::EPOCH,
                value: Ok(value),
                quality: 1.0,
            };
            let last = beats.iter().map(|b| b.0).filter(|t| *t < s as f64 + 1.0).fold(0.0, f64::max);
            out.push(reading("flutter_index", 0.0));
            out.push(reading("since_last_qrs", s as f64 + 1.0 - last));
            for &(t, class) in beats.iter().filter(|b| b.0 >= s as f64 && b.0 < s as f64 + 1.0) {
                let (time, confidence) = (EventTime::from_micros((t * 1e6) as i64), 1.0);
                out.beats.push(Beat { kind: BeatKind::Qrs, channel, time, amplitude: 1.0, confidence });
                out.classes.push(ClassedBeat { channel, time, class, confidence });
            }
            operator.apply(&Epoch { start, runs: &[run], values: &values }, &mut out);
        }
        out
    }

    type Beats = Vec<(f64, BeatClass)>;

    fn every(rr: f64, n: usize, class: impl Fn(usize) -> BeatClass) -> Beats {
        (0..n).map(|k| (0.5 + rr * k as f64, class(k))).collect()
    }

    #[test]
    fn each_rhythm_is_called_and_no_other() {
        use BeatClass::{Normal as N, Ventricular as V};
        let normal = |_: usize| N;
        // (beats, seconds, what is 1); a pause counts if there is one.
        let cases: [(Beats, i64, &[&str]); 8] = [
            (every(0.8, 25, normal), 20, &[]),
            (every(0.8, 20, normal), 22, &["asystole", "pause"]),
            (every(1.6, 12, normal), 19, &["extreme_bradycardia"]),
            (every(0.4, 50, normal), 20, &["extreme_tachycardia"]),
            (every(0.5, 40, |k| if k >= 34 { V } else { N }), 20, &["ventricular_tachycardia"]),
            (every(0.8, 25, |k| if k >= 19 { V } else { N }), 20, &["idioventricular_rhythm"]),
            (every(0.8, 25, |k| if k % 2 == 0 { V } else { N }), 20, &["bigeminy"]),
            (every(0.8, 25, |k| if k % 3 == 1 { V } else { N }), 20, &["trigeminy"]),
        ];
        for (beats, seconds, expected) in cases {
            let out = told(&beats, seconds, true);
            let called: Vec<&str> =
                out.items[2..].iter().filter(|r| r.value.is_ok_and(|v| v > 0.0)).map(|r| r.name).collect();
            assert_eq!(called, expected, "{beats:?}");
            let fast = out.find("extreme_tachycardia").unwrap().value;
            assert_eq!(fast == Err(Missing::TooFew), beats.len() < FAST.0, "{fast:?}");
        }
    }

    #[test]
    fn a_dead_lead_is_no_asystole() {
        let out = told(&every(0.8, 10, |_| BeatClass::Normal), 20, false);
        assert_eq!(out.find("asystole").unwrap().value, Err(Missing::LowQuality));
    }
}
