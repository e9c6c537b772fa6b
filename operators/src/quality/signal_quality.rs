//! Signal quality: how far each waveform can be believed this second, and if not, why.
//! In: raw samples in canonical units, bridged counts, silence. Out: per channel `signal_quality` (0 to 1) and
//! `quality_state` (a code of [`STATES`]).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::limits::{Limits, limits};
use super::noise::Pieces;
use super::sentinel::is_sentinel;
use super::survey::{Extreme, Survey, Surveyed};
use crate::filter::dispatch::{Far, widest};
use crate::operator::{Operator, Output, Spec, StateError, defaults, load_state, params, save_state};
use crate::params::Bound;
use crate::signal::{ChannelId, Epoch, EventTime, Kind, Missing, Reading, Readings, Run, Span};
use crate::window::{grade, median_in_place, rank_in_place, tame};

/// Codes of `quality_state`. `motion` is poor for its wander and leaps rather than for fast noise; `disconnected` has
/// been flat for three seconds or more; `sentinel` rests on a number that devices send in place of a measurement;
/// `wrong_rate` brings more samples than its declared rate allows.
pub const STATES: [&str; 9] =
    ["good", "noisy", "saturated", "flat", "missing", "motion", "disconnected", "sentinel", "wrong_rate"];

const GOOD: u8 = 0;
const NOISY: u8 = 1;
const SATURATED: u8 = 2;
const FLAT: u8 = 3;
const MISSING: u8 = 4;
const MOTION: u8 = 5;
const DISCONNECTED: u8 = 6;
const SENTINEL: u8 = 7;
const WRONG_RATE: u8 = 8;

/// Flat for so long, and nothing is connected (s); where being flat is usual for longer, three times that.
const DISCONNECTED_S: f64 = 3.0;
/// Samples of one second may last so much longer (s): rates and their clocks are not exact.
const OVERLONG_S: f64 = 1.02;

/// Seconds of history kept of each channel.
const HISTORY: usize = 8;

/// Parameters.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Params {
    /// A quality below this makes a channel noisy (1).
    pub noisy_below: f64,
    /// A channel that fell silent is reported as missing for this long, then as without data (s).
    pub silent_hold_s: f64,
    /// A channel silent for this long is forgotten (s).
    pub forget_s: f64,
}

impl Default for Params {
    fn default() -> Self {
        Self { noisy_below: 0.5, silent_hold_s: 60.0, forget_s: 3600.0 }
    }
}

const NOISY_BELOW: Bound = Bound { name: "noisy_below", min: 0.0, max: 1.0, unit: "" };
const SILENT_HOLD: Bound = Bound { name: "silent_hold_s", min: 1.0, max: 3600.0, unit: "s" };
const FORGET: Bound = Bound { name: "forget_s", min: 1.0, max: 86_400.0, unit: "s" };

/// The verdict on one second of one channel.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Verdict {
    /// 0 to 1.
    pub value: f32,
    /// Index into [`STATES`].
    pub state: u8,
}

/// What is remembered of one channel.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Track {
    channel: ChannelId,
    silent_s: u32,
    anchor: f32,
    /// Samples since the last change, the anchor included.
    unchanged: u32,
    seconds: u8,
    low: [f32; HISTORY],
    high: [f32; HISTORY],
    mean: [f32; HISTORY],
}

/// What was measured in one second.
#[derive(Default)]
struct Measures {
    sampled_s: f64,
    bridged_s: f64,
    flat_s: f64,
    railed_s: f64,
    steep_s: f64,
    noise: Pieces,
    low: f32,
    high: f32,
    sum: f64,
    count: u32,
}

impl Track {
    /// Nothing known yet of a channel.
    pub fn new(channel: ChannelId) -> Self {
        let none = [0.0; HISTORY];
        Self {
            channel,
            silent_s: 0,
            anchor: 0.0,
            unchanged: 0,
            seconds: 0,
            low: none,
            high: none,
            mean: none,
        }
    }

    /// Judges one second that has at least one run.
    ///
    /// ```
    /// use auscult_operators::quality::signal_quality::{STATES, Track};
    /// use auscult_operators::signal::{ChannelId, EventTime, Hertz, Run};
    /// let ppg = ChannelId::named("ppg").unwrap();
    /// let raw = [0.5; 100];
    /// let run = Run { channel: ppg, rate: Hertz(100.0), start: EventTime::default(), reset: true, raw: &raw,
    ///     clean: &raw, bridged: 0 };
    /// let verdict = Track::new(ppg).judge([&run].into_iter(), 0.5);
    /// assert_eq!((verdict.value, STATES[usize::from(verdict.state)]), (0.0, "flat"));
    /// ```
    pub fn judge<'a>(&mut self, runs: impl Iterator<Item = &'a Run<'a>>, noisy_below: f32) -> Verdict {
        let limits = limits(self.channel.row().kind);
        let mut seen = Measures::default();
        let mut period_s = 0.0;
        self.silent_s = 0;
        for run in runs.filter(|r| r.rate.get() > 0.0 && !r.raw.is_empty()) {
            if run.reset {
                (self.seconds, self.unchanged) = (0, 0);
                seen =
                    Measures { sampled_s: seen.sampled_s, bridged_s: seen.bridged_s, ..Measures::default() };
            }
            period_s = 1.0 / run.rate.get();
            self.scan(run, &limits, &mut seen);
            seen.noise.add(run.raw, run.rate.get(), &limits);
        }
        // One sample more or less is how rates like 62.5 Hz fall into whole seconds.
        let whole = seen.sampled_s + period_s >= 1.0;
        let coverage = if whole { 1.0 - seen.bridged_s } else { seen.sampled_s - seen.bridged_s };
        if seen.count > 0 && seen.sampled_s >= 0.5 {
            self.remember(&seen);
        }
        let verdict = self.verdict(&limits, &seen, coverage.clamp(0.0, 1.0) as f32, noisy_below);
        self.named(verdict, &limits, seen.sampled_s, period_s)
    }

    /// Gives what lasts, or what only the second as a whole can tell, its own name.
    fn named(&self, verdict: Verdict, limits: &Limits, sampled_s: f64, period_s: f64) -> Verdict {
        if sampled_s - period_s > OVERLONG_S {
            return Verdict { value: 0.0, state: WRONG_RATE };
        }
        let lasting = DISCONNECTED_S.max(3.0 * limits.flat_s);
        let state = match verdict.state {
            FLAT if is_sentinel(f64::from(self.anchor)) => SENTINEL,
            FLAT if f64::from(self.unchanged) * period_s >= lasting => DISCONNECTED,
            state => state,
        };
        Verdict { state, ..verdict }
    }

    /// One pass over the samples: extremes, flat stretches, rails, slopes.
    fn scan(&mut self, run: &Run<'_>, limits: &Limits, seen: &mut Measures) {
        let rate = run.rate.get();
        let period_s = 1.0 / rate;
        let (low, high) = self.channel.row().plausible;
        let range = (low as f32, high as f32);
        let first = tame(run.raw[0], range.0, range.1);
        if seen.count == 0 {
            (seen.low, seen.high) = (first, first);
        }
        let steepest = (f64::from(limits.slope) * period_s) as f32;
        let known = (seen.low, seen.high);
        let s = widest(Survey { raw: run.raw, first, range, steepest, flat_step: limits.flat_step, known });
        let flat = self.flat(run.raw, range, limits, &s, (seen.sampled_s * rate).round() as u32, rate);
        (seen.low, seen.high) = s.extremes;
        seen.sum += s.sum;
        seen.flat_s += f64::from(flat) * period_s;
        let span_s = run.raw.len() as f64 * period_s;
        seen.count += run.raw.len() as u32;
        seen.sampled_s += span_s;
        seen.bridged_s += run.bridged.min(run.raw.len()) as f64 * period_s;
        seen.steep_s += f64::from(s.steep) * period_s;
        seen.railed_s += f64::from(s.beyond) * period_s + self.rails(run.raw, rate, limits, seen);
    }

    /// Samples of flat stretches that end or go on in this run, of which `before` samples of the epoch came earlier.
    ///
    /// A sample is a change if it differs from the last change by more than the flat step. Where it differs by much
    /// more from the sample before, it is one whatever came earlier: only what lies after the last such sample has to
    /// be followed one by one, unless a stretch before it may have been long enough to be flat.
    fn flat(
        &mut self,
        raw: &[f32],
        (low, high): (f32, f32),
        limits: &Limits,
        survey: &Surveyed,
        before: u32,
        rate: f64,
    ) -> u32 {
        let count = (limits.flat_s * rate).ceil().max(2.0) as u32;
        let sample = |i: usize| tame(raw[i], low, high);
        if self.unchanged == 0 {
            self.anchor = sample(0);
        }
        let mut from = 0;
        if let Some((first, last)) = survey.certain {
            let (led, rest) = (self.unchanged.saturating_add(first as u32), (raw.len() - first) as u32);
            if led < count && rest < count {
                (self.anchor, self.unchanged) = (sample(last), 1);
                from = last + 1;
            }
        }
        let (mut anchor, mut unchanged, mut flat) = (self.anchor, self.unchanged, 0);
        for i in from..raw.len() {
            let x = sample(i);
            if (x - anchor).abs() > limits.flat_step {
                (anchor, unchanged) = (x, 1);
                continue;
            }
            unchanged = unchanged.saturating_add(1);
            if unchanged >= count {
                // The stretch proves itself flat late: what it covers of this epoch counts from its start.
                flat += if unchanged == count { unchanged.min(before + i as u32 + 1) } else { 1 };
            }
        }
        (self.anchor, self.unchanged) = (anchor, unchanged);
        flat
    }

    /// Seconds spent on plateaus at the extremes that were entered or left abruptly: an amplifier at its end, not
    /// the round top of a wave in coarse counts.
    fn rails(&self, raw: &[f32], rate: f64, limits: &Limits, seen: &Measures) -> f64 {
        let known = usize::from(self.seconds);
        let low = self.low[..known].iter().fold(seen.low, |a, &b| a.min(b));
        let high = self.high[..known].iter().fold(seen.high, |a, &b| a.max(b));
        let height = high - low;
        if height <= 0.0 {
            return 0.0;
        }
        let (abrupt, near) = (0.03 * height, 0.01 * height);
        let least = (limits.rail_s * rate).ceil().max(4.0) as usize;
        let (top, bottom) = (high - near, low + near);
        if (widest(Extreme { raw, top, bottom }) as usize) < least {
            return 0.0;
        }
        let mut railed = 0;
        let mut from = 0;
        for to in 1..=raw.len() {
            if to < raw.len() && raw[to] == raw[from] {
                continue;
            }
            let x = raw[from];
            if to - from >= least && (x >= top || x <= bottom) {
                let entry = if from > 0 { (x - raw[from - 1]).abs() } else { height };
                let exit = if to < raw.len() { (x - raw[to]).abs() } else { height };
                // At an edge of the run one side is unknown; the other has to show it.
                let inside = from > 0 || to < raw.len();
                let jumped = (from > 0 && entry > abrupt) || (to < raw.len() && exit > abrupt);
                railed += if inside && jumped { to - from } else { 0 };
            }
            from = to;
        }
        railed as f64 / rate
    }

    fn remember(&mut self, seen: &Measures) {
        let mean = (seen.sum / f64::from(seen.count)) as f32;
        for (history, new) in [(&mut self.low, seen.low), (&mut self.high, seen.high), (&mut self.mean, mean)]
        {
            history.copy_within(0..HISTORY - 1, 1);
            history[0] = new;
        }
        self.seconds = (self.seconds + 1).min(HISTORY as u8);
    }

    /// Heights of the remembered seconds, newest first.
    fn heights(&self) -> ([f32; HISTORY], usize) {
        let mut heights = [0.0; HISTORY];
        for (h, (high, low)) in heights.iter_mut().zip(self.high.iter().zip(&self.low)) {
            *h = high - low;
        }
        (heights, usize::from(self.seconds))
    }

    fn verdict(&self, limits: &Limits, seen: &Measures, coverage: f32, noisy_below: f32) -> Verdict {
        let share = |s: f64| (s / seen.sampled_s.max(1e-9)).clamp(0.0, 1.0) as f32;
        let (flat, railed, steep) = (share(seen.flat_s), share(seen.railed_s), share(seen.steep_s));
        let (mut heights, known) = self.heights();
        let now = heights[0];
        // The second highest of the last four seconds: a slow heart leaves seconds without a beat, and one
        // artefact must not make all else look small.
        let recent = known.min(4);
        let height = match heights {
            [a, b, c, d, ..] if recent == 4 => second_of_four([a, b, c, d]),
            mut heights => rank_in_place(&mut heights[..recent], 0.67).unwrap_or(seen.high - seen.low),
        };
        let tallest =
            heights[..recent].iter().fold(limits.noise_floor.max(f32::MIN_POSITIVE), |a, &b| a.max(b));
        let usual = median_in_place(&mut heights[..known]).unwrap_or(height);

        let noise =
            (seen.noise.between_beats() - limits.noise_floor).max(0.0) / height.max(f32::MIN_POSITIVE);
        let means = &self.mean[..recent];
        let wander =
            means.iter().fold(f32::MIN, |a, &b| a.max(b)) - means.iter().fold(f32::MAX, |a, &b| a.min(b));
        let level = self.mean[0];
        let alive = known == 0 || (level >= limits.level.0 && level <= limits.level.1);

        let mut value = coverage * (1.0 - flat);
        value *= grade(noise, limits.noise.0, limits.noise.1);
        value *= grade(steep, 0.03, 0.15);
        value *= grade(railed, 0.05, 0.4);
        // What moves the whole signal, apart from noise upon it.
        let (steady, mut moved) = (value, 1.0);
        if known > 0 {
            moved *= grade(now, limits.height.0, limits.height.1);
            moved *= 0.2 + 0.8 * grade(wander / tallest, limits.wander.0, limits.wander.1);
        }
        if known >= 4 {
            let jump = now / usual.max(limits.noise_floor).max(f32::MIN_POSITIVE);
            moved *= 0.2 + 0.8 * grade(jump, limits.jump.0, limits.jump.1);
        }
        value *= moved;
        value *= if alive { 1.0 } else { 0.2 };
        let value = tame(value, 0.0, 1.0);
        let state = match () {
            _ if coverage < 0.5 => MISSING,
            _ if flat >= 0.5 => FLAT,
            _ if railed >= 0.1 => SATURATED,
            _ if value < noisy_below && moved < steady => MOTION,
            _ if value < noisy_below => NOISY,
            _ => GOOD,
        };
        Verdict { value, state }
    }
}

/// The second highest of four heights, without a sort.
fn second_of_four([a, b, c, d]: [f32; 4]) -> f32 {
    let less = |a: f32, b: f32| if a < b { a } else { b };
    let more = |a: f32, b: f32| if a < b { b } else { a };
    more(less(more(a, b), more(c, d)), more(less(a, b), less(c, d)))
}

/// The operator.
struct SignalQuality {
    params: Params,
    tracks: Vec<Track>,
}

impl SignalQuality {
    fn push(out: &mut Readings, epoch: &Epoch<'_>, channel: ChannelId, verdict: Result<Verdict, Missing>) {
        let quality = if verdict.is_ok() { 1.0 } else { 0.0 };
        let value = verdict.map(|v| f64::from(v.value));
        let state = verdict.map(|v| f64::from(v.state));
        for (name, value) in [("signal_quality", value), ("quality_state", state)] {
            let channel = Some(channel);
            out.push(Reading { name, channel, time: epoch.end(), window: Span::EPOCH, value, quality });
        }
    }
}

impl Operator for SignalQuality {
    fn apply(&mut self, epoch: &Epoch<'_>, out: &mut Readings) {
        for run in epoch.runs.iter().filter(|r| r.channel.row().kind.is_wave() && !r.raw.is_empty()) {
            if let Err(at) = self.tracks.binary_search_by_key(&run.channel, |t| t.channel) {
                self.tracks.insert(at, Track::new(run.channel));
            }
        }
        let Params { noisy_below, silent_hold_s, forget_s } = self.params;
        for track in &mut self.tracks {
            let mut runs = epoch.runs_of(track.channel).filter(|r| !r.raw.is_empty()).peekable();
            let verdict = if runs.peek().is_some() {
                Ok(track.judge(runs, noisy_below as f32))
            } else {
                track.silent_s += 1;
                let held = f64::from(track.silent_s) <= silent_hold_s;
                if held { Ok(Verdict { value: 0.0, state: MISSING }) } else { Err(Missing::NoData) }
            };
            Self::push(out, epoch, track.channel, verdict);
        }
        self.tracks.retain(|t| f64::from(t.silent_s) < forget_s);
    }

    fn far(&self, _next: EventTime, to: &mut Far) {
        to.add(&self.tracks[..]);
    }

    fn save(&self, out: &mut Vec<u8>) {
        save_state(&self.tracks, out);
    }

    fn load(&mut self, bytes: &[u8]) -> Result<(), StateError> {
        self.tracks = load_state(SPEC.name, bytes)?;
        Ok(())
    }
}

/// The card.
pub static SPEC: Spec = Spec {
    name: "signal_quality",
    summary: "How far each waveform can be believed this second, and why not",
    description: "Per channel and second: share of samples received rather than bridged, flat stretches, \
        plateaus at the extremes entered abruptly, slopes no body makes, height against the last seconds, \
        wander of the mean, and noise between beats (second difference over 8 to 120 ms by kind of signal, \
        at a low rank of 50 ms pieces, relative to the height of the signal). The quality is the product of \
        the grades. A flat line counts as a loose lead only without any amplifier noise, so that asystole \
        passes. Electrode motion that looks like a beat cannot be told from one here. Differs from its \
        sources in being causal, in fixed memory, and graded instead of a vote of beat detectors. Codes of \
        quality_state: 0 good, 1 noisy, 2 saturated (also clipped waves), 3 flat, 4 missing, 5 motion \
        (wander and leaps rather than fast noise), 6 disconnected (flat for three seconds or more), 7 \
        sentinel (rests on a number that devices send in place of a measurement), 8 wrong rate (more \
        samples than the declared rate allows; too few look like a gap and are missing). The value is a \
        grade, not a probability: on recordings judged by people, see the tests.",
    reads: Kind::WAVES,
    writes: &[
        Output { name: "signal_quality", unit: "1", summary: "Quality of the channel, 0 to 1", feeds: "" },
        Output {
            name: "quality_state",
            unit: "{code}",
            summary: "0 good, 1 noisy, 2 saturated, 3 flat, 4 missing, 5 motion, 6 loose, 7 sentinel, 8 wrong rate",
            feeds: "",
        },
    ],
    needs: &[],
    latency: Span::ZERO,
    by_default: true,
    sources: &[
        "Clifford GD, Behar J, Li Q, Rezek I. Signal quality indices and data fusion for determining clinical \
         acceptability of electrocardiograms. Physiol Meas 2012;33:1419. doi:10.1088/0967-3334/33/9/1419",
        "Silva I, Moody GB, Celi L. Improving the quality of ECGs collected using mobile phones. Comput Cardiol \
         2011;38:273-276",
        "IEC 60601-2-27:2011, 201.12.1.101: input dynamic range and slope",
    ],
    bounds: &[NOISY_BELOW, SILENT_HOLD, FORGET],
    schema: || schemars::schema_for!(Params),
    defaults: defaults::<Params>,
    build: |value| {
        let params: Params = params(value)?;
        NOISY_BELOW.check(params.noisy_below)?;
        SILENT_HOLD.check(params.silent_hold_s)?;
        FORGET.check(params.forget_s)?;
        Ok(Box::new(SignalQuality { params, tracks: Vec::with_capacity(4) }))
    },
};

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::signal::{EventTime, Hertz, Values};

    /// Value and state of each second at 250 Hz.
    fn seconds(channel: &str, count: i64, sample: impl Fn(i64) -> Option<f32>) -> Vec<(f64, f64)> {
        seconds_after(None, channel, count, sample)
    }

    /// The same, with a gap before second `reset_s`.
    fn seconds_after(
        reset_s: Option<i64>,
        channel: &str,
        count: i64,
        sample: impl Fn(i64) -> Option<f32>,
    ) -> Vec<(f64, f64)> {
        let channel = ChannelId::named(channel).unwrap();
        let mut operator = (SPEC.build)(&(SPEC.defaults)()).unwrap();
        let values = Values::default();
        let mut out = Readings::default();
        let mut seen = vec![];
        for s in 0..count {
            let raw: Vec<f32> = (s * 250..(s + 1) * 250).map_while(&sample).collect();
            let start = EventTime::from_seconds(s);
            let run = Run {
                channel,
                rate: Hertz(250.0),
                start,
                reset: s == 0 || reset_s == Some(s),
                raw: &raw,
                clean: &raw,
                bridged: 0,
            };
            let runs = [run];
            let runs = if raw.is_empty() { &runs[..0] } else { &runs[..] };
            out.clear();
            operator.apply(&Epoch { start, runs, values: &values }, &mut out);
            let of = |name: &str| out.find_on(name, channel).map_or(-2.0, |r| r.value.unwrap_or(-1.0));
            seen.push((of("signal_quality"), of("quality_state")));
        }
        seen
    }

    fn noise(i: i64) -> f32 {
        ((i.wrapping_mul(1_103_515_245).wrapping_add(12_345) >> 8) & 0xffff) as f32 / 32_768.0 - 1.0
    }

    fn beat(i: i64) -> f32 {
        let t = (i % 200) as f32 / 250.0 - 0.3;
        if t.abs() < 0.04 { 1.2 * (1.0 - t.abs() / 0.04) } else { 0.01 * noise(i) }
    }

    #[test]
    fn the_second_of_four_is_that_of_their_ranks() {
        for n in 0..256 {
            let four = [n & 3, n >> 2 & 3, n >> 4 & 3, n >> 6].map(|x| x as f32);
            assert_eq!(Some(second_of_four(four)), rank_in_place(&mut four.clone(), 0.67), "{four:?}");
        }
    }

    #[test]
    fn a_clean_ecg_is_good() {
        for (value, state) in seconds("ecg_ii", 20, |i| Some(beat(i))) {
            assert!(value > 0.9 && state == 0.0, "{value} {state}");
        }
    }

    #[test]
    fn a_dead_lead_is_flat_but_asystole_is_not() {
        let dead = seconds("ecg_ii", 6, |i| Some(if i < 500 { beat(i) } else { 0.1 }));
        assert_eq!((dead[3], dead[5]), ((0.0, 3.0), (0.0, 6.0)));
        let asystole = seconds("ecg_ii", 12, |i| Some(if i < 500 { beat(i) } else { 0.01 * noise(i) }));
        assert!(asystole[3..].iter().all(|&(value, state)| value > 0.8 && state == 0.0), "{asystole:?}");
    }

    #[test]
    fn noise_rails_and_silence_have_their_codes() {
        let noisy = seconds("ecg_ii", 6, |i| Some(beat(i) + 0.6 * noise(i)));
        assert!(noisy[5].0 < 0.5 && noisy[5].1 == 1.0, "{noisy:?}");
        let railed = seconds("ppg", 6, |i| Some((libm::sinf(i as f32 * 0.03) * 3.0).clamp(-1.0, 1.0)));
        assert!(railed[5].0 < 0.5 && railed[5].1 == 2.0, "{railed:?}");
        let gone = seconds("ecg_ii", 70, |i| (i < 1000).then(|| beat(i)));
        assert_eq!((gone[4], gone[63], gone[64]), ((0.0, 4.0), (0.0, 4.0), (-1.0, -1.0)));
        let half = seconds("ecg_ii", 3, |i| (i < 600).then(|| beat(i)));
        assert!(half[2].0 < 0.41 && half[2].1 == 4.0, "{half:?}");
    }

    #[test]
    fn a_jump_in_height_is_noisy_but_not_after_a_gap() {
        let louder = |i: i64| Some(libm::sinf(i as f32 * 0.03) * if i < 2500 { 1.0 } else { 30.0 });
        assert_eq!(seconds("ppg", 11, louder)[10].1, 5.0);
        let after_gap = seconds_after(Some(10), "ppg", 11, louder)[10];
        assert!(after_gap.0 > 0.9 && after_gap.1 == 0.0, "{after_gap:?}");
    }

    #[test]
    fn a_number_in_place_of_a_measurement_is_told_from_a_dead_lead() {
        for (channel, value, state) in
            [("ppg", -999.0, 7.0), ("resp", 32_767.0, 7.0), ("ppg", 0.5, 6.0), ("abp", -32.0, 6.0)]
        {
            let seen = seconds(channel, 9, |_| Some(value));
            assert_eq!(seen[8], (0.0, state), "{channel} {value}");
        }
    }

    #[test]
    fn motion_is_told_from_fast_noise() {
        // A baseline that runs away under clean beats.
        let wander = |i: i64| 4.0 * libm::sinf(i as f32 * 0.006);
        let seen = seconds("ecg_ii", 12, |i| Some(beat(i) + if i < 1000 { 0.0 } else { wander(i) }));
        assert!(seen[5..].iter().any(|s| s.1 == 5.0) && seen[5..].iter().all(|s| s.1 != 1.0), "{seen:?}");
    }

    #[test]
    fn more_samples_than_the_rate_allows_are_no_signal() {
        let ppg = ChannelId::named("ppg").unwrap();
        let raw: Vec<f32> = (0..130).map(|i| libm::sinf(i as f32 * 0.05)).collect();
        let judge = |n: usize| {
            let (start, reset, bridged) = (EventTime::default(), true, 0);
            let raw = &raw[..n];
            let run = Run { channel: ppg, rate: Hertz(100.0), start, reset, raw, clean: raw, bridged };
            Track::new(ppg).judge([&run].into_iter(), 0.5)
        };
        assert_eq!(judge(101).state, GOOD);
        assert_eq!(judge(130), Verdict { value: 0.0, state: WRONG_RATE });
    }

    #[test]
    fn a_channel_is_forgotten_in_the_end() {
        let gone = seconds("ecg_ii", 3610, |i| (i < 250).then(|| beat(i)));
        assert_eq!((gone[3600], gone[3601]), ((-1.0, -1.0), (-2.0, -2.0)));
    }
}
