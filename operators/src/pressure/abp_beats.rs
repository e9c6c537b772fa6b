//! Arterial pressure beats: systolic, diastolic and mean pressure of the last beats.
//! In: raw arterial pressure in mmHg at any rate. Out: `abp_sys`, `abp_dia`, `abp_mean` in mmHg, or the reason
//! why there is none; pulses at the systolic peaks.

mod ahead;

use std::ops::Range;

use ahead::{Ahead, Compute, TOGETHER};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::filter::dispatch::{Far, widest};
use crate::operator::{Operator, Output, Spec, StateError, defaults, load_state, params, save_state};
use crate::params::Bound;
use crate::signal::{
    Beat, BeatKind, ChannelId, Epoch, EventTime, Kind, Missing, Reading, Readings, Run, Span,
};
use crate::window::{Ring, grade, median_in_place, tame};

/// Parameters.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Params {
    /// Beats whose median is told.
    pub beats: f64,
    /// Beats older than this do not count (s).
    pub span_s: f64,
    /// Below this quality there is no pressure (1).
    pub quality_floor: f64,
    /// A beat with less pulse pressure than this is none (mmHg).
    pub least_pulse_mmhg: f64,
}

impl Default for Params {
    fn default() -> Self {
        Self { beats: 5.0, span_s: 10.0, quality_floor: 0.5, least_pulse_mmhg: 8.0 }
    }
}

const BEATS: Bound = Bound { name: "beats", min: 3.0, max: 16.0, unit: "beats" };
const SPAN: Bound = Bound { name: "span_s", min: 4.0, max: 30.0, unit: "s" };
const QUALITY_FLOOR: Bound = Bound { name: "quality_floor", min: 0.0, max: 1.0, unit: "" };
const LEAST_PULSE: Bound = Bound { name: "least_pulse_mmhg", min: 2.0, max: 30.0, unit: "mm[Hg]" };

/// Most beats kept.
const KEPT: usize = 16;
/// Length of the slope sum (s), as in the paper.
const SLOPE_S: f64 = 0.128;
/// Least time between two beats (s).
const REFRACTORY_S: f64 = 0.25;
/// The systolic peak comes this soon after the upstroke was noticed (s).
const PEAK_S: f64 = 0.25;
/// Without a beat for this long the threshold starts falling (s).
const PATIENCE_S: f64 = 2.0;
/// The longest beat whose mean is taken (s).
const LONGEST_S: f64 = 3.0;

/// One beat of pressure.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct PressureBeat {
    /// Time of the systolic peak.
    pub time: EventTime,
    /// Systolic pressure (mmHg).
    pub sys: f32,
    /// Diastolic pressure before the upstroke (mmHg).
    pub dia: f32,
    /// Mean over the whole beat, from foot to foot (mmHg).
    pub mean: f32,
    /// Whether it looks like a beat rather than an artefact.
    pub good: bool,
}

/// What is known of the beat in progress, in samples since the reset.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Upstroke {
    noticed: u64,
    foot: u64,
    dia: f32,
    peak: u64,
    sys: f32,
    peak_time: EventTime,
}

/// Streaming detector of one channel.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Detector {
    channel: ChannelId,
    rate: f64,
    count: u64,
    slopes: Ring,
    signal: Ring,
    slope_sum: f64,
    smooth: f32,
    threshold: f32,
    /// Running sum of the pressure since the foot of the beat in progress, to be its mean at the next foot.
    sum: f64,
    sum_count: u32,
    steepest_fall: f32,
    now: Option<Upstroke>,
    beats: Vec<PressureBeat>,
    present: bool,
    quality: f32,
    since: EventTime,
}

impl Detector {
    /// A detector for one channel at one rate.
    ///
    /// ```
    /// use auscult_operators::pressure::abp_beats::{Detector, Params};
    /// use auscult_operators::signal::{ChannelId, EventTime};
    /// let mut detector = Detector::new(ChannelId::named("abp").unwrap(), 100.0, EventTime::default());
    /// let wave = |i: i64| 80.0 + 40.0 * (1.0 - (i % 80) as f32 / 80.0) * ((i % 80) as f32 / 8.0).min(1.0);
    /// let beats = (0..1000).filter_map(|i| {
    ///     detector.push(wave(i), || EventTime::from_micros(i * 10_000), &Params::default())
    /// });
    /// let last = beats.last().unwrap();
    /// assert!((last.sys - 116.0).abs() < 2.0 && (last.dia - 80.0).abs() < 2.0 && last.good, "{last:?}");
    /// ```
    pub fn new(channel: ChannelId, rate: f64, since: EventTime) -> Self {
        let rate = rate.clamp(1.0, 4_000.0);
        Self {
            channel,
            rate,
            count: 0,
            slopes: Ring::for_span(rate, SLOPE_S),
            // From the next foot back: the foot search looks into it.
            signal: Ring::for_span(rate, 0.4),
            slope_sum: 0.0,
            smooth: 0.0,
            threshold: 4.0,
            sum: 0.0,
            sum_count: 0,
            steepest_fall: 0.0,
            now: None,
            beats: Vec::with_capacity(KEPT),
            present: true,
            quality: 0.0,
            since,
        }
    }

    /// Takes in one sample; yields the beat that its upstroke completes, which is the one before. The time is asked
    /// for only where it is needed.
    pub fn push(&mut self, raw: f32, time: impl Fn() -> EventTime, params: &Params) -> Option<PressureBeat> {
        let mut found = None;
        self.push_all(&[raw], &|_| time(), params, &mut |beat| found = Some(beat));
        found
    }

    /// Takes in samples, the times of which are asked for by their place; `found` gets the beats that they complete.
    pub fn push_all(
        &mut self,
        raw: &[f32],
        time: &dyn Fn(usize) -> EventTime,
        params: &Params,
        found: &mut dyn FnMut(PressureBeat),
    ) {
        let mut ahead = Ahead::default();
        for (b, block) in raw.chunks(TOGETHER).enumerate() {
            widest(Compute { detector: self, raw: block, ahead: &mut ahead });
            self.take(&ahead, block.len(), &|i| time(b * TOGETHER + i), params, found);
        }
    }

    /// Goes through samples computed ahead: one by one while an upstroke is followed or none has come for long, else
    /// straight to the next upstroke.
    fn take(
        &mut self,
        ahead: &Ahead,
        n: usize,
        time: &dyn Fn(usize) -> EventTime,
        params: &Params,
        found: &mut dyn FnMut(PressureBeat),
    ) {
        let base = self.count;
        let least = 0.4 * params.least_pulse_mmhg as f32;
        let (followed, patient) = (most_within(PEAK_S, self.rate), most_within(PATIENCE_S, self.rate));
        let (mut at, mut taken) = (0, 0);
        while at < n {
            let here = base + at as u64;
            let since = self.now.map_or(u64::MAX, |u| here - u.noticed);
            if since <= followed {
                let to = n.min(at + (followed - since) as usize + 1);
                self.follow_peak(ahead, at..to, time);
                // Only the last of them may be the next upstroke, if it comes no sooner than it may.
                let last = to - 1;
                let since_s = (since + (last - at) as u64) as f64 / self.rate;
                let next =
                    since_s >= REFRACTORY_S && ahead.slope[last] >= self.threshold && ahead.rise[last] > 0.0;
                at = if next { last } else { to };
                if !next {
                    continue;
                }
            } else if since <= patient {
                let to = n.min(at + (patient - since) as usize + 1);
                let rows = ahead.slope[at..to].iter().zip(&ahead.rise[at..to]);
                let next = rows.take_while(|(sum, rise)| **sum < self.threshold || **rise <= 0.0).count();
                at += next;
                if at == to {
                    continue;
                }
            } else {
                self.threshold = (self.threshold * (1.0 - 0.5 / self.rate as f32)).max(least);
                if ahead.slope[at] < self.threshold || ahead.rise[at] <= 0.0 {
                    at += 1;
                    continue;
                }
            }
            self.note(ahead, taken..at + 1);
            let here = base + at as u64;
            if let Some(beat) = self.close(here, params) {
                found(beat);
            }
            self.open(here, time(at));
            (at, taken) = (at + 1, at + 1);
        }
        self.note(ahead, taken..n);
        self.count += n as u64;
    }

    /// Adds samples to what is known of the beat in progress.
    fn note(&mut self, ahead: &Ahead, span: Range<usize>) {
        self.sum_count += span.len() as u32;
        for x in &ahead.pressure[span.clone()] {
            self.sum += f64::from(*x);
        }
        for rise in &ahead.rise[span.clone()] {
            self.steepest_fall = if *rise < self.steepest_fall { *rise } else { self.steepest_fall };
        }
        self.signal.extend(&ahead.smooth[span.clone()]);
        self.smooth = ahead.smooth[span].last().copied().unwrap_or(self.smooth);
    }

    /// The systolic peak is the highest sample soon after the upstroke was noticed.
    fn follow_peak(&mut self, ahead: &Ahead, span: Range<usize>, time: &dyn Fn(usize) -> EventTime) {
        let Some(up) = &mut self.now else { return };
        let (from, base) = (span.start, self.count);
        let share = |times: f32| (times / (self.rate as f32 * PEAK_S as f32)).min(1.0);
        let (quick, slow, mut threshold) = (share(4.0), share(1.0), self.threshold);
        let (mut peak, mut sys) = (up.peak, up.sys);
        for (i, (smooth, slope)) in ahead.smooth[span.clone()].iter().zip(&ahead.slope[span]).enumerate() {
            let here = base + (from + i) as u64;
            if *smooth > sys {
                (peak, sys) = (here, *smooth);
            }
            if here - peak <= 1 {
                // Follows this upstroke's own slope sum: 60 % of it is the next threshold, smoothed over beats.
                let goal = 0.6 * slope;
                threshold += (goal - threshold) * if goal > threshold { quick } else { slow };
            }
        }
        if peak != up.peak {
            up.peak_time = time((peak - base) as usize);
        }
        (up.peak, up.sys, self.threshold) = (peak, sys, threshold);
    }

    /// Lowest sample just before an upstroke: the foot, as samples back and pressure.
    fn foot(&self) -> (u64, f32) {
        let reach = (self.rate * (SLOPE_S + 0.1)) as usize;
        let mut best = (0, self.smooth);
        let len = self.signal.len();
        let (older, newer) = self.signal.pieces(len.saturating_sub(reach), len);
        for (back, x) in newer.iter().rev().chain(older.iter().rev()).enumerate() {
            if *x < best.1 {
                best = (back as u64, *x);
            }
        }
        best
    }

    fn open(&mut self, here: u64, time: EventTime) {
        let (back, dia) = self.foot();
        let foot = here - back.min(here);
        self.now = Some(Upstroke { noticed: here, foot, dia, peak: here, sys: self.smooth, peak_time: time });
        // The part of the sum that already belongs to the new beat.
        self.sum = (0..back as usize).filter_map(|i| self.signal.recent(i)).map(f64::from).sum();
        self.sum_count = back as u32;
        self.steepest_fall = 0.0;
    }

    fn close(&mut self, here: u64, params: &Params) -> Option<PressureBeat> {
        let up = self.now?;
        let (back, _) = self.foot();
        let own = |i: usize| self.signal.recent(i).map_or(0.0, f64::from);
        let after: f64 = (0..back as usize).map(own).sum();
        let count = self.sum_count.saturating_sub(back as u32);
        let length_s = (here - back.min(here)).saturating_sub(up.foot) as f64 / self.rate;
        if count == 0 || length_s > LONGEST_S {
            return None;
        }
        let mean = ((self.sum - after) / f64::from(count)) as f32;
        let good = self.is_good(&up, mean, length_s, params);
        let beat = PressureBeat { time: up.peak_time, sys: up.sys, dia: up.dia, mean, good };
        if self.beats.len() == KEPT {
            self.beats.remove(0);
        }
        self.beats.push(beat);
        Some(beat)
    }

    /// Limits after Sun et al., opened downwards so that shock is not taken for an artefact.
    fn is_good(&self, up: &Upstroke, mean: f32, length_s: f64, params: &Params) -> bool {
        let pulse = up.sys - up.dia;
        let fall = -self.steepest_fall * self.rate as f32;
        let steady = self.beats.iter().rev().find(|b| b.good).is_none_or(|last| {
            let recent = (up.peak_time - last.time).seconds() < 5.0;
            !recent || ((up.sys - last.sys).abs() < 40.0 && (up.dia - last.dia).abs() < 30.0)
        });
        (20.0..=300.0).contains(&up.sys)
            && (5.0..=200.0).contains(&up.dia)
            && pulse >= params.least_pulse_mmhg as f32
            && mean > up.dia
            && mean < up.sys
            && (0.25..=LONGEST_S).contains(&length_s)
            // Pressure does not fall that fast unless the line is touched (mm[Hg] a second).
            && fall < 1_500.0
            && steady
    }

    /// Medians of the last good beats and their quality.
    fn answer(&self, now: EventTime, params: &Params) -> Result<([f32; 3], f32), (Missing, f32)> {
        if !self.present {
            return Err((Missing::NoData, 0.0));
        }
        let oldest = now - Span::from_seconds(params.span_s);
        let most = params.beats.round() as usize;
        let recent = || self.beats.iter().rev().filter(|b| b.time > oldest);
        let (all, good) =
            recent().fold((0.0_f32, 0.0_f32), |(a, g), b| (a + 1.0, g + f32::from(u8::from(b.good))));
        let mut columns = [[0.0_f32; KEPT]; 3];
        let mut count = 0;
        for beat in recent().filter(|b| b.good).take(most.min(KEPT)) {
            for (column, x) in columns.iter_mut().zip([beat.sys, beat.dia, beat.mean]) {
                column[count] = x;
            }
            count += 1;
        }
        let settled = now - self.since >= Span::from_seconds(params.span_s);
        if all < 3.0 {
            return Err((if settled { Missing::TooFew } else { Missing::Learning }, 0.0));
        }
        let quality = tame(self.quality * (1.0 - grade(good / all, 0.3, 0.9)), 0.0, 1.0);
        if count < 3 || f64::from(quality) < params.quality_floor {
            return Err((Missing::LowQuality, quality));
        }
        Ok((columns.map(|mut c| median_in_place(&mut c[..count]).unwrap_or(0.0)), quality))
    }
}

/// Most samples that lie within a time.
fn most_within(span_s: f64, rate: f64) -> u64 {
    let guess = (span_s * rate) as u64;
    // The quotient is rounded: it decides.
    let within = |n: u64| n as f64 / rate <= span_s;
    if within(guess + 1) { guess + 1 } else { guess - u64::from(!within(guess)).min(guess) }
}

/// The operator.
struct AbpBeats {
    params: Params,
    detectors: Vec<Detector>,
}

impl AbpBeats {
    fn run(&mut self, run: &Run<'_>, out: &mut Readings) {
        let rate = run.rate.get();
        let place = self.detectors.binary_search_by_key(&run.channel, |d| d.channel);
        let at = place.unwrap_or_else(|at| at);
        if place.is_err() {
            self.detectors.insert(at, Detector::new(run.channel, rate, run.start));
        }
        let detector = &mut self.detectors[at];
        if run.reset || detector.rate != rate.clamp(1.0, 4_000.0) {
            *detector = Detector::new(run.channel, rate, run.start);
        }
        detector.present = true;
        detector.push_all(run.raw, &|i| run.time_of(i), &self.params, &mut |beat| {
            let (kind, channel) = (BeatKind::Pulse, run.channel);
            let (time, amplitude) = (beat.time, beat.sys - beat.dia);
            let confidence = if beat.good { 0.9 } else { 0.2 };
            out.beats.push(Beat { kind, channel, time, amplitude, confidence });
        });
    }
}

impl Operator for AbpBeats {
    fn apply(&mut self, epoch: &Epoch<'_>, out: &mut Readings) {
        for detector in &mut self.detectors {
            detector.present = false;
        }
        let before = out.beats.len();
        for run in epoch.runs.iter().filter(|r| r.channel.row().kind == Kind::Pressure && r.rate.get() > 0.0)
        {
            self.run(run, out);
        }
        out.beats[before..].sort_by_key(|b| b.time);
        for detector in &mut self.detectors {
            let heard =
                out.find_on("signal_quality", detector.channel).map(|r| r.value.unwrap_or(0.0) as f32);
            let quality = heard.unwrap_or(if detector.present { 1.0 } else { 0.0 });
            detector.quality += (quality - detector.quality) * 0.3;
        }
        // One line speaks for the patient: the first in table order that has an answer.
        let answers = || self.detectors.iter().map(|d| (d, d.answer(epoch.end(), &self.params)));
        let Some((detector, answer)) = answers().find(|(_, a)| a.is_ok()).or_else(|| answers().next()) else {
            return;
        };
        for (k, name) in ["abp_sys", "abp_dia", "abp_mean"].into_iter().enumerate() {
            let (value, quality) = match answer {
                Ok((pressures, quality)) => (Ok(f64::from(pressures[k])), quality),
                Err((why, quality)) => (Err(why), quality),
            };
            out.push(Reading {
                name,
                channel: Some(detector.channel),
                time: epoch.end(),
                window: Span::from_seconds(self.params.span_s),
                value,
                quality,
            });
        }
    }

    fn far(&self, _next: EventTime, to: &mut Far) {
        to.add(&self.detectors[..]);
        for Detector { slopes, signal, beats, .. } in &self.detectors {
            slopes.far(to);
            signal.far(to);
            to.add(&beats[..]);
        }
    }

    fn save(&self, out: &mut Vec<u8>) {
        save_state(&self.detectors, out);
    }

    fn load(&mut self, bytes: &[u8]) -> Result<(), StateError> {
        self.detectors = load_state(SPEC.name, bytes)?;
        Ok(())
    }
}

const fn output(name: &'static str, summary: &'static str) -> Output {
    Output { name, unit: "mm[Hg]", summary, feeds: name }
}

/// The card.
pub static SPEC: Spec = Spec {
    name: "abp_beats",
    summary: "Systolic, diastolic and mean arterial pressure, beat by beat",
    description: "An upstroke is where the sum of the rises over 128 ms exceeds 60 % of that of the beats before; \
        diastole is the lowest pressure before it, systole the highest within 0.25 s after it, the mean runs from \
        foot to foot. A beat is good if its pressures, its length and its steepest fall are possible and near \
        those of the beat before; flushes, blood draws and movement fail this. Medians of the last 5 good beats \
        within 10 s; the quality is the signal quality times the share of good beats. A damped line reads low \
        systolic and high diastolic pressure without being noticed until the pulse pressure falls below the \
        least; the mean stays right. Differs from the papers in a threshold that falls after 2 s without a beat \
        and in limits opened downwards, so that shock is not taken for an artefact. Where there are two lines, the \
        first in table order with an answer speaks.",
    reads: &[Kind::Pressure],
    writes: &[
        output("abp_sys", "Systolic arterial pressure, median of the last beats"),
        output("abp_dia", "Diastolic arterial pressure, median of the last beats"),
        output("abp_mean", "Mean arterial pressure, median of the last beats"),
    ],
    needs: &[],
    latency: Span::seconds_const(4),
    by_default: true,
    sources: &[
        "Zong W, Heldt T, Moody GB, Mark RG. An open-source algorithm to detect onset of arterial blood pressure \
         pulses. Comput Cardiol 2003;30:259. doi:10.1109/CIC.2003.1291140",
        "Sun JX, Reisner AT, Mark RG. A signal abnormality index for arterial blood pressure waveforms. Comput \
         Cardiol 2006;33:13-16",
    ],
    bounds: &[BEATS, SPAN, QUALITY_FLOOR, LEAST_PULSE],
    schema: || schemars::schema_for!(Params),
    defaults: defaults::<Params>,
    build: |value| {
        let params: Params = params(value)?;
        BEATS.check(params.beats)?;
        SPAN.check(params.span_s)?;
        QUALITY_FLOOR.check(params.quality_floor)?;
        LEAST_PULSE.check(params.least_pulse_mmhg)?;
        Ok(Box::new(AbpBeats { params, detectors: Vec::with_capacity(1) }))
    },
};

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::signal::{Hertz, Values};

    /// Systole 120, diastole 75 at 72 /min, with a dicrotic notch.
    fn pulse(t: f64) -> f32 {
        let turn = (t * 1.2).fract() as f32;
        let main = if turn < 0.12 { turn / 0.12 } else { libm::expf(-(turn - 0.12) * 3.2) };
        let notch = 0.08 * libm::expf(-((turn - 0.42) / 0.04) * ((turn - 0.42) / 0.04));
        75.0 + 45.0 * (main + notch)
    }

    /// The last readings after `seconds` of a wave: values, then the number of pulses.
    fn last(rate: f64, seconds: i64, wave: impl Fn(f64) -> f32) -> (Vec<Result<f64, Missing>>, usize) {
        let channel = ChannelId::named("abp").unwrap();
        let mut operator = (SPEC.build)(&(SPEC.defaults)()).unwrap();
        let values = Values::default();
        let mut out = Readings::default();
        let mut pulses = 0;
        for s in 0..seconds {
            let start = EventTime::from_seconds(s);
            let raw: Vec<f32> = (0..rate as usize).map(|i| wave(s as f64 + i as f64 / rate)).collect();
            let run =
                Run { channel, rate: Hertz(rate), start, reset: s == 0, raw: &raw, clean: &raw, bridged: 0 };
            out.clear();
            operator.apply(&Epoch { start, runs: &[run], values: &values }, &mut out);
            pulses += out.beats.len();
        }
        (["abp_sys", "abp_dia", "abp_mean"].map(|n| out.find(n).unwrap().value).to_vec(), pulses)
    }

    #[test]
    fn pressures_of_a_plain_pulse_at_any_rate() {
        let exact = (0..1000).map(|i| f64::from(pulse(f64::from(i) / 1200.0))).sum::<f64>() / 1000.0;
        for rate in [50.0, 125.0, 250.0] {
            let (values, pulses) = last(rate, 30, pulse);
            for (value, (truth, within)) in values.iter().zip([(120.0, 5.0), (76.5, 2.0), (exact, 1.5)]) {
                assert!((value.unwrap() - truth).abs() < within, "{rate}: {values:?} for {truth}");
            }
            assert!((33..=36).contains(&pulses), "{rate}: {pulses}");
        }
    }

    #[test]
    fn a_flush_and_a_dead_line_are_absent() {
        let flushed = last(125.0, 30, |t| if t > 20.0 { 300.0 } else { pulse(t) }).0;
        assert_eq!(flushed, vec![Err(Missing::TooFew); 3]);
        let shaken = last(125.0, 30, |t| pulse(t) + 90.0 * ((t * 40.0) as i64 % 3) as f32).0;
        assert!(shaken.iter().all(Result::is_err), "{shaken:?}");
        assert_eq!(last(125.0, 5, |_| 80.0).0, vec![Err(Missing::Learning); 3]);
    }

    #[test]
    fn a_line_that_is_touched_is_absent() {
        // Falls by 35 mmHg within 8 ms in the middle of each beat.
        let dip = |t: f64| if (0.5..0.54).contains(&(t * 1.2).fract()) { 35.0 } else { 0.0 };
        let (touched, pulses) = last(125.0, 30, |t| pulse(t) - dip(t));
        assert!(
            pulses > 20 && touched.iter().all(|v| *v == Err(Missing::LowQuality)),
            "{pulses} {touched:?}"
        );
    }

    #[test]
    fn a_sudden_fall_of_the_pulse_is_followed() {
        let (values, _) =
            last(125.0, 40, |t| if t < 20.0 { pulse(t) } else { 50.0 + (pulse(t) - 75.0) / 4.0 });
        assert!((values[0].unwrap() - 61.0).abs() < 2.0, "{values:?}");
    }

    #[test]
    fn shock_is_told() {
        let (values, _) = last(125.0, 30, |t| 30.0 + (pulse(t) - 75.0) / 3.0);
        assert!(
            (values[0].unwrap() - 45.0).abs() < 3.0 && (values[1].unwrap() - 30.5).abs() < 2.0,
            "{values:?}"
        );
    }
}
