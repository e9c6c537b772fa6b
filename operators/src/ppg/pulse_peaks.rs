//! Pulse peaks: systolic peaks of the photoplethysmogram, as they come.
//! In: conditioned PPG (band-passed 0.5 to 8 Hz) at any rate. Out: beats of kind `Pulse` with the height above
//! their foot (canonical unit) and a confidence (0 to 1) from how much each resembles the ones before.

mod ahead;

use std::cell::RefCell;

use ahead::{Ahead, Compute, Inside, TOGETHER};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::filter::dispatch::{Far, widest};
use crate::operator::{Operator, Spec, StateError, defaults, load_state, params, save_state};
use crate::params::Bound;
use crate::signal::{Beat, BeatKind, ChannelId, Epoch, EventTime, Kind, Readings, Run, Span};
use crate::window::{MovingMean, Ring, grade, median_in_place, tame};

/// Parameters.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Params {
    /// Width of a systolic peak (s).
    pub peak_window_s: f64,
    /// Width of one beat (s).
    pub beat_window_s: f64,
    /// Share of the mean energy added to the threshold (1).
    pub offset: f64,
    /// Least time between two pulses (s).
    pub refractory_s: f64,
}

impl Default for Params {
    fn default() -> Self {
        Self { peak_window_s: 0.111, beat_window_s: 0.667, offset: 0.02, refractory_s: 0.27 }
    }
}

const PEAK_WINDOW: Bound = Bound { name: "peak_window_s", min: 0.05, max: 0.25, unit: "s" };
const BEAT_WINDOW: Bound = Bound { name: "beat_window_s", min: 0.4, max: 1.2, unit: "s" };
const OFFSET: Bound = Bound { name: "offset", min: 0.0, max: 0.5, unit: "" };
const REFRACTORY: Bound = Bound { name: "refractory_s", min: 0.15, max: 0.6, unit: "s" };

/// Points of a pulse shape, from [`SHAPE_BEFORE_S`] before the peak to [`SHAPE_AFTER_S`] after it.
const SHAPE: usize = 16;
const SHAPE_BEFORE_S: f64 = 0.25;
const SHAPE_AFTER_S: f64 = 0.30;
/// The foot is looked for this long before the peak (s).
const FOOT_S: f64 = 0.4;
/// A block of high energy longer than this is cut (s): no systolic wave lasts so long.
const BLOCK_S: f64 = 0.8;
/// Filters and means need this long after a reset (s).
const SETTLE_S: f64 = 1.5;
/// Beats whose median height judges the next.
const HEIGHTS: usize = 8;

/// One pulse as the detector sees it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pulse {
    /// Samples from the newest one back to the peak, with a fraction.
    pub samples_back: f64,
    /// Height above the foot before it.
    pub height: f32,
    /// 0 to 1.
    pub confidence: f32,
}

/// Streaming detector of one channel.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Detector {
    channel: ChannelId,
    rate: f64,
    signal: Ring,
    narrow: MovingMean,
    wide: MovingMean,
    delayed: Ring,
    energy: f64,
    count: u64,
    block_start: Option<u64>,
    last_peak: Option<u64>,
    interval_s: f32,
    heights: Ring,
    /// Median of the heights, zero before the first pulse.
    usual: f32,
    shape: [f32; SHAPE],
    shape_count: u32,
    strange: u32,
}

thread_local! {
    // Working memory, no state: each block is written before it is read, and need not be cleared for each detector.
    static AHEAD: RefCell<Ahead> = const { RefCell::new(Ahead::EMPTY) };
}

impl Detector {
    /// A detector for one channel at one rate.
    ///
    /// ```
    /// use auscult_operators::ppg::pulse_peaks::{Detector, Params};
    /// use auscult_operators::signal::ChannelId;
    /// let params = Params::default();
    /// let mut detector = Detector::new(ChannelId::named("ppg").unwrap(), 100.0, &params);
    /// let wave = |i: usize| libm::sinf(i as f32 * 0.0754); // 72 /min
    /// let pulses = (0..1000).filter_map(|i| detector.push(wave(i), &params)).count();
    /// assert!((9..=12).contains(&pulses), "{pulses}");
    /// ```
    pub fn new(channel: ChannelId, rate: f64, params: &Params) -> Self {
        let rate = rate.clamp(1.0, 4_000.0);
        let of = |s: f64| (rate * s).round().max(1.0) as usize;
        let (narrow, wide) = (of(params.peak_window_s), of(params.beat_window_s));
        let reach_s = params.beat_window_s / 2.0 + BLOCK_S + FOOT_S;
        Self {
            channel,
            rate,
            signal: Ring::for_span(rate, reach_s + 0.05),
            narrow: MovingMean::new(narrow),
            wide: MovingMean::new(wide),
            // Both means are centred on the same sample: the narrow one is ready earlier by this much.
            delayed: Ring::new((wide / 2).saturating_sub(narrow / 2) + 1),
            energy: 0.0,
            count: 0,
            block_start: None,
            last_peak: None,
            interval_s: 0.8,
            heights: Ring::new(HEIGHTS),
            usual: 0.0,
            shape: [0.0; SHAPE],
            shape_count: 0,
            strange: 0,
        }
    }

    /// Takes in one sample; yields the pulse that it completes.
    pub fn push(&mut self, clean: f32, params: &Params) -> Option<Pulse> {
        let mut found = None;
        self.push_all(&[clean], params, &mut |_, pulse| found = Some(pulse));
        found
    }

    /// Takes in samples; `found` gets each pulse with the place of the sample that completes it.
    pub fn push_all(&mut self, clean: &[f32], params: &Params, found: &mut dyn FnMut(usize, Pulse)) {
        AHEAD.with_borrow_mut(|ahead| {
            for (b, block) in clean.chunks(TOGETHER).enumerate() {
                widest(Compute { detector: self, clean: block, ahead });
                self.take(ahead, block.len(), params, &mut |i, pulse| found(b * TOGETHER + i, pulse));
            }
        });
    }

    /// Goes from one sample at which a block of high energy begins or ends to the next.
    fn take(&mut self, ahead: &Ahead, n: usize, params: &Params, found: &mut dyn FnMut(usize, Pulse)) {
        let lag = (self.rate * params.beat_window_s / 2.0).round() as u64;
        let base = self.count;
        let settled = (self.rate * SETTLE_S - base as f64).ceil().clamp(0.0, n as f64) as usize;
        let mut inside = self.inside(ahead, params);
        let (mut at, mut pushed) = (settled, 0);
        while at < n {
            let wanted = if self.block_start.is_none() { inside } else { !inside };
            at += (wanted >> at).trailing_zeros() as usize;
            if at >= n {
                break;
            }
            let now = base + at as u64;
            let centre = now - lag.min(now);
            match self.block_start.take() {
                None => self.block_start = Some(centre),
                Some(start) => {
                    self.signal.extend(&ahead.signal[pushed..=at]);
                    pushed = at + 1;
                    if let Some(pulse) = self.close_block(start, centre, now, params) {
                        found(at, pulse);
                    }
                    // The usual height may have changed.
                    inside = self.inside(ahead, params);
                }
            }
            at += 1;
        }
        self.signal.extend(&ahead.signal[pushed..n]);
        self.count += n as u64;
    }

    /// A bit for each sample whose energy is high.
    fn inside(&self, ahead: &Ahead, params: &Params) -> u64 {
        // An artefact is forgotten slowly by the mean energy and at once by the median height; a fall in gain the
        // other way round: the lower of the two speaks.
        let height = if self.usual > 0.0 { f64::from(self.usual) } else { f64::INFINITY };
        widest(Inside { ahead, most: 0.25 * height * height, offset: params.offset })
    }

    fn at(&self, index: u64, now: u64) -> Option<f32> {
        now.checked_sub(index).and_then(|back| self.signal.recent(back as usize))
    }

    /// The samples from `from` up to `to`, as far as they are held.
    fn each(&self, from: u64, to: u64, now: u64, mut f: impl FnMut(f32)) {
        // Number of a sample in the ring, whose newest is that of `now`.
        let place = |i: u64| (self.signal.len() as u64 + i).saturating_sub(now + 1) as usize;
        let (older, newer) = self.signal.pieces(place(from), place(to));
        older.iter().for_each(|x| f(*x));
        newer.iter().for_each(|x| f(*x));
    }

    /// A block of high energy has ended: its highest sample is a systolic peak if it is wide, late and high enough.
    fn close_block(&mut self, start: u64, end: u64, now: u64, params: &Params) -> Option<Pulse> {
        let samples = |s: f64| (self.rate * s) as u64;
        let start = start.max(end.saturating_sub(samples(BLOCK_S)));
        if end - start < samples(params.peak_window_s) {
            return None;
        }
        // All of it must be held.
        self.at(start, now)?;
        let (mut i, mut peak, mut top) = (start, start, f32::MIN);
        self.each(start, end, now, |x| {
            if x > top {
                (peak, top) = (i, x);
            }
            i += 1;
        });
        let (foot_from, mut foot) = (peak.saturating_sub(samples(FOOT_S)), top);
        self.each(foot_from, peak, now, |x| foot = if x < foot { x } else { foot });
        let height = top - foot;
        let since_s = self.last_peak.map(|last| (peak.saturating_sub(last)) as f64 / self.rate);
        if since_s.is_some_and(|s| s < params.refractory_s) {
            return None;
        }
        let usual = Some(self.usual).filter(|&u| u > 0.0);
        // A dicrotic wave: early, and lower than the pulses.
        let early = since_s.is_some_and(|s| s < 0.65 * f64::from(self.interval_s));
        if early && usual.is_some_and(|u| height < 0.3 * u) {
            return None;
        }
        if let Some(s) = since_s.filter(|&s| s < 2.5) {
            self.interval_s += (s as f32 - self.interval_s) * 0.2;
        }
        self.last_peak = Some(peak);
        let alike = self.compare(peak, now);
        let steady = usual.map_or(0.5, |u| grade((height / u).max(u / height), 1.6, 4.0));
        self.heights.push(height);
        self.usual = self.median_height();
        let confidence = tame(alike * (0.3 + 0.7 * steady), 0.0, 1.0);
        let samples_back = (now - peak) as f64 - f64::from(self.vertex(peak, now));
        Some(Pulse { samples_back, height, confidence })
    }

    fn median_height(&self) -> f32 {
        let mut heights = [0.0; HEIGHTS];
        let count = self.heights.len().min(HEIGHTS);
        for (to, from) in heights.iter_mut().zip(self.heights.iter()) {
            *to = from;
        }
        median_in_place(&mut heights[..count]).unwrap_or(0.0)
    }

    /// Where between samples the parabola through the peak and its neighbours has its top.
    fn vertex(&self, peak: u64, now: u64) -> f32 {
        let around = (self.at(peak.wrapping_sub(1), now), self.at(peak, now), self.at(peak + 1, now));
        let (Some(a), Some(b), Some(c)) = around else { return 0.0 };
        let bend = a - 2.0 * b + c;
        if bend < 0.0 { (0.5 * (a - c) / bend).clamp(-0.5, 0.5) } else { 0.0 }
    }

    /// How much the pulse resembles the running mean shape, which then takes it in.
    fn compare(&mut self, peak: u64, now: u64) -> f32 {
        let mut shape = [0.0_f32; SHAPE];
        let from = peak as f64 - SHAPE_BEFORE_S * self.rate;
        let step = (SHAPE_BEFORE_S + SHAPE_AFTER_S) * self.rate / (SHAPE - 1) as f64;
        for (k, s) in shape.iter_mut().enumerate() {
            let place = (from + k as f64 * step).max(0.0);
            let i = place as u64;
            let part = (place - i as f64) as f32;
            let Some(a) = self.at(i, now) else { return 0.0 };
            let b = self.at(i + 1, now).unwrap_or(a);
            *s = a + (b - a) * part;
        }
        normalise(&mut shape);
        let alike: f32 = shape.iter().zip(&self.shape).map(|(a, b)| a * b).sum();
        let learning = self.shape_count < 4;
        let fits = learning || alike > 0.6;
        self.strange = if fits { 0 } else { self.strange + 1 };
        if self.strange >= 6 {
            // The pulse has changed its shape for good: learn the new one.
            (self.shape_count, self.strange) = (0, 0);
        }
        if fits {
            self.shape_count = (self.shape_count + 1).min(10);
            let share = 1.0 / self.shape_count as f32;
            for (mean, new) in self.shape.iter_mut().zip(&shape) {
                *mean += (new - *mean) * share;
            }
            normalise(&mut self.shape);
        }
        if learning { 0.5 } else { 1.0 - grade(alike, 0.6, 0.9) }
    }
}

/// Zero mean, unit energy; all zero if the shape is flat.
fn normalise(shape: &mut [f32; SHAPE]) {
    let mean = shape.iter().sum::<f32>() / SHAPE as f32;
    let energy: f32 = shape.iter().map(|s| (s - mean) * (s - mean)).sum();
    let scale = if energy > 0.0 { 1.0 / energy.sqrt() } else { 0.0 };
    for s in shape {
        *s = (*s - mean) * scale;
    }
}

/// The operator.
struct PulsePeaks {
    params: Params,
    detectors: Vec<Detector>,
}

impl PulsePeaks {
    fn run(&mut self, run: &Run<'_>, out: &mut Readings) {
        let rate = run.rate.get();
        let place = self.detectors.binary_search_by_key(&run.channel, |d| d.channel);
        let at = place.unwrap_or_else(|at| at);
        if place.is_err() {
            self.detectors.insert(at, Detector::new(run.channel, rate, &self.params));
        }
        let detector = &mut self.detectors[at];
        if run.reset || detector.rate != rate.clamp(1.0, 4_000.0) {
            *detector = Detector::new(run.channel, rate, &self.params);
        }
        detector.push_all(run.clean, &self.params, &mut |i, pulse| {
            let offset_us = ((i as f64 - pulse.samples_back) * 1e6 / rate).round() as i64;
            out.beats.push(Beat {
                kind: BeatKind::Pulse,
                channel: run.channel,
                time: EventTime::from_micros(run.start.micros() + offset_us),
                amplitude: pulse.height,
                confidence: pulse.confidence,
            });
        });
    }
}

impl Operator for PulsePeaks {
    fn apply(&mut self, epoch: &Epoch<'_>, out: &mut Readings) {
        let before = out.beats.len();
        for run in epoch.runs.iter().filter(|r| r.channel.row().kind == Kind::Ppg && r.rate.get() > 0.0) {
            self.run(run, out);
        }
        out.beats[before..].sort_by_key(|b| b.time);
    }

    fn far(&self, _next: EventTime, to: &mut Far) {
        to.add(&self.detectors[..]);
        for Detector { signal, narrow, wide, delayed, heights, .. } in &self.detectors {
            narrow.far(to);
            wide.far(to);
            delayed.far(to);
            signal.far(to);
            heights.far(to);
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

/// The card.
pub static SPEC: Spec = Spec {
    name: "pulse_peaks",
    summary: "Systolic peaks of the photoplethysmogram, as they come",
    description: "Two moving means of the squared upper half of the conditioned signal: where the one as wide as a \
        systolic peak exceeds the one as wide as a beat, there is a pulse, and its highest sample is the peak. \
        Differs from the paper in running causally (both means centred, half a beat late), in a mean energy that \
        forgets (3 s), in a refractory time, in dropping early low waves as dicrotic, and in a confidence: the \
        correlation with the running mean shape of the pulses before, times how steady the height is. Peaks are \
        those of the conditioned signal, whose filters delay them by some tens of milliseconds. Needs 1.5 s after \
        a gap. Yields beats only, no readings.",
    reads: &[Kind::Ppg],
    writes: &[],
    needs: &[],
    latency: Span::seconds_const(2),
    by_default: true,
    sources: &[
        "Elgendi M, Norton I, Brearley M, Abbott D, Schuurmans D. Systolic peak detection in acceleration \
         photoplethysmograms measured from emergency responders in tropical conditions. PLoS ONE 2013;8:e76585. \
         doi:10.1371/journal.pone.0076585",
        "Orphanidou C, Bonnici T, Charlton P, Clifton D, Vallance D, Tarassenko L. Signal-quality indices for the \
         electrocardiogram and photoplethysmogram. IEEE J Biomed Health Inform 2015;19:832. \
         doi:10.1109/JBHI.2014.2338351 (resemblance to a template)",
    ],
    bounds: &[PEAK_WINDOW, BEAT_WINDOW, OFFSET, REFRACTORY],
    schema: || schemars::schema_for!(Params),
    defaults: defaults::<Params>,
    build: |value| {
        let params: Params = params(value)?;
        PEAK_WINDOW.check(params.peak_window_s)?;
        BEAT_WINDOW.check(params.beat_window_s)?;
        OFFSET.check(params.offset)?;
        REFRACTORY.check(params.refractory_s)?;
        Ok(Box::new(PulsePeaks { params, detectors: Vec::with_capacity(1) }))
    },
};

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// A pulse wave at `rate` Hz and `per_minute`: systolic wave and a dicrotic one, mean about zero.
    fn wave(i: usize, rate: f64, per_minute: f64) -> f32 {
        let turn = (i as f64 / rate * per_minute / 60.0).fract() as f32;
        let bump = |at: f32, width: f32| libm::expf(-((turn - at) / width) * ((turn - at) / width));
        bump(0.3, 0.1) + 0.35 * bump(0.62, 0.1) - 0.25
    }

    /// Times of the peaks found in 30 s, in seconds.
    fn found(rate: f64, per_minute: f64, scale: f32) -> Vec<(f64, f32)> {
        let params = Params::default();
        let mut detector = Detector::new(ChannelId::named("ppg").unwrap(), rate, &params);
        let count = (30.0 * rate) as usize;
        let pulse = |i| Some((i, detector.push(scale * wave(i, rate, per_minute), &params)?));
        (0..count)
            .filter_map(pulse)
            .map(|(i, p)| ((i as f64 - p.samples_back) / rate, p.confidence))
            .collect()
    }

    #[test]
    fn one_pulse_a_beat_at_any_rate_pace_and_scale() {
        for rate in [50.0, 62.5, 125.0, 500.0] {
            for per_minute in [40.0, 72.0, 110.0, 170.0] {
                let peaks = found(rate, per_minute, 1.0);
                let period = 60.0 / per_minute;
                assert!(peaks.len() as f64 >= 27.0 / period - 1.0, "{rate} {per_minute}: {}", peaks.len());
                for pair in peaks.windows(2) {
                    let error = pair[1].0 - pair[0].0 - period;
                    assert!(error.abs() < 0.02, "{rate} Hz, {per_minute} /min: off by {error} s");
                }
                let offset = (peaks[3].0 / period).fract() - 0.3;
                assert!(offset.abs() < 0.05, "{rate} {per_minute}: peak at {offset} of the beat");
                assert!(peaks[6..].iter().all(|p| p.1 > 0.8), "{rate} {per_minute}: {peaks:?}");
            }
        }
        let times = |scale| found(125.0, 72.0, scale).iter().map(|p| p.0).collect::<Vec<_>>();
        assert_eq!(times(1.0), times(1024.0));
    }

    #[test]
    fn pulses_return_soon_after_an_artefact_and_after_a_fall_in_gain() {
        for (spoilt, gain) in [(3e38, 1.0), (50.0, 1.0), (1.0, 0.1)] {
            let params = Params::default();
            let mut detector = Detector::new(ChannelId::named("ppg").unwrap(), 125.0, &params);
            let sample = |i: usize| match i {
                2500..2625 => spoilt * wave(i, 125.0, 72.0),
                2625.. => gain * wave(i, 125.0, 72.0),
                _ => wave(i, 125.0, 72.0),
            };
            let pulses: Vec<usize> =
                (0..5000).filter(|&i| detector.push(sample(i), &params).is_some()).collect();
            let late = pulses.iter().filter(|&&i| i >= 3000).count();
            assert!((18..=20).contains(&late), "{spoilt} {gain}: {late} pulses in the last 16 s");
        }
    }

    #[test]
    fn noise_yields_no_pulses_within_the_refractory_time() {
        let params = Params::default();
        let mut detector = Detector::new(ChannelId::named("ppg").unwrap(), 125.0, &params);
        let noise = |i: usize| libm::sinf(i as f32 * 0.31) + libm::sinf(i as f32 * 0.173 + 1.0);
        let at = |i| detector.push(noise(i), &params).map(|p| i as f64 - p.samples_back);
        let peaks: Vec<f64> = (0..5000).filter_map(at).collect();
        assert!(peaks.len() > 40, "{}", peaks.len());
        assert!(peaks.windows(2).all(|pair| pair[1] - pair[0] > 0.26 * 125.0), "{peaks:?}");
    }

    #[test]
    fn nothing_is_found_in_nothing() {
        assert_eq!(found(125.0, 72.0, 0.0), []);
    }
}
