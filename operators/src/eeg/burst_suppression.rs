//! Burst suppression ratio: the share of the last minute in which the brain was silent.
//! In: conditioned EEG in microvolts, and what `signal_quality` says of it. Out: per channel a share (0 to 1).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{CHANNELS, Heard, heard};
use crate::operator::{Operator, Output, Spec, StateError, defaults, load_state, params, save_state};
use crate::params::Bound;
use crate::signal::time::US_PER_S;
use crate::signal::{Epoch, Hertz, Kind, Missing, Reading, Readings, Span};
use crate::window::Ring;

/// Parameters of `burst_suppression`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Params {
    /// Time between two readings, counted from midnight of 1 January 1970 (s).
    pub hop_s: u32,
    /// EEG that stays within this of zero is suppressed (uV).
    pub level_uv: f64,
    /// Shorter stretches do not count (s).
    pub least_s: f64,
}

impl Default for Params {
    fn default() -> Self {
        Self { hop_s: 10, level_uv: 5.0, least_s: 0.5 }
    }
}

const HOP: Bound = Bound { name: "hop_s", min: 1.0, max: 60.0, unit: "s" };
const LEVEL: Bound = Bound { name: "level_uv", min: 1.0, max: 20.0, unit: "uV" };
const LEAST: Bound = Bound { name: "least_s", min: 0.1, max: 5.0, unit: "s" };

/// Seconds in the window.
const WINDOW_S: usize = 60;
/// Share of the window that must be heard, and share of that which must be heard well.
const HEARD_MIN: f32 = 0.8;
const WELL_MIN: f32 = 0.5;
/// Slower sampling does not show what a burst is made of.
const RATE_MIN: f64 = 50.0;

/// One channel.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Track {
    rate: Hertz,
    /// Samples of the quiet stretch that goes on.
    quiet: u32,
    /// Per second of the window: time suppressed (s), time heard (s), time heard well (s).
    suppressed: Ring,
    heard: Ring,
    well: Ring,
    silent_s: u32,
}

impl Track {
    fn new(rate: Hertz) -> Self {
        let ring = || Ring::new(WINDOW_S);
        Self { rate, quiet: 0, suppressed: ring(), heard: ring(), well: ring(), silent_s: 0 }
    }

    fn push(&mut self, suppressed: f64, heard: f64, how: Heard) {
        self.suppressed.push(suppressed as f32);
        self.heard.push(heard as f32);
        self.well.push(if how == Heard::Well { heard as f32 } else { 0.0 });
    }

    fn value(&self) -> (Result<f64, Missing>, f32) {
        let sum = |ring: &Ring| ring.iter().map(f64::from).sum::<f64>();
        let (suppressed, heard, well) = (sum(&self.suppressed), sum(&self.heard), sum(&self.well));
        let enough = heard >= f64::from(HEARD_MIN) * WINDOW_S as f64;
        if self.silent_s > 0 {
            return (Err(Missing::Stale), 0.0);
        }
        if self.rate.get() < RATE_MIN {
            return (Err(Missing::TooFew), 0.0);
        }
        if !self.heard.is_full() {
            return (Err(Missing::Learning), 0.0);
        }
        if !enough || well < f64::from(WELL_MIN) * heard {
            return (Err(Missing::LowQuality), 0.0);
        }
        (Ok((suppressed / heard).clamp(0.0, 1.0)), (well / WINDOW_S as f64).clamp(0.0, 1.0) as f32)
    }
}

/// Counts samples of `samples` that lie in stretches of at least `least` samples within `level` of zero; `quiet` is the
/// length of the stretch that goes on. What lay before counts when a stretch becomes long enough.
///
/// ```
/// use auscult_operators::eeg::burst_suppression::suppressed;
/// let mut quiet = 0;
/// assert_eq!(suppressed(&[0.0, 9.0, 1.0, -1.0], 5.0, 3, &mut quiet), 0);
/// assert_eq!(suppressed(&[2.0, 1.0, 50.0, 0.0], 5.0, 3, &mut quiet), 4);
/// ```
pub fn suppressed(samples: &[f32], level: f32, least: u32, quiet: &mut u32) -> u32 {
    let mut count = 0;
    for x in samples {
        *quiet = if x.abs() <= level { quiet.saturating_add(1) } else { 0 };
        if *quiet == least {
            count += least;
        } else if *quiet > least {
            count += 1;
        }
    }
    count
}

struct BurstSuppression {
    params: Params,
    tracks: [Option<Track>; CHANNELS.len()],
}

impl BurstSuppression {
    fn advance(&mut self, i: usize, epoch: &Epoch<'_>, out: &Readings) {
        let Some(rate) = epoch.runs_of(CHANNELS[i]).last().map(|r| r.rate) else {
            if let Some(track) = &mut self.tracks[i] {
                (track.quiet, track.silent_s) = (0, track.silent_s.saturating_add(1));
                track.push(0.0, 0.0, Heard::Not);
            }
            return;
        };
        let track = self.tracks[i].get_or_insert_with(|| Track::new(rate));
        if track.silent_s as usize >= WINDOW_S {
            *track = Track::new(rate);
        }
        (track.rate, track.silent_s) = (rate, 0);
        let how = heard(out, CHANNELS[i]);
        if how == Heard::Not {
            track.quiet = 0;
            track.push(0.0, 0.0, how);
            return;
        }
        let (mut quiet_s, mut all_s) = (0.0, 0.0);
        for run in epoch.runs_of(CHANNELS[i]) {
            if run.reset {
                track.quiet = 0;
            }
            let least = (self.params.least_s * run.rate.get()).ceil().max(1.0) as u32;
            let count = suppressed(run.clean, self.params.level_uv as f32, least, &mut track.quiet);
            quiet_s += f64::from(count) / run.rate.get();
            all_s += run.clean.len() as f64 / run.rate.get();
        }
        track.push(quiet_s, all_s, how);
    }
}

impl Operator for BurstSuppression {
    fn apply(&mut self, epoch: &Epoch<'_>, out: &mut Readings) {
        let end = epoch.end();
        let due = end.micros().div_euclid(US_PER_S).rem_euclid(i64::from(self.params.hop_s.max(1))) == 0;
        for (i, channel) in CHANNELS.into_iter().enumerate() {
            self.advance(i, epoch, out);
            let Some(track) = self.tracks[i].as_ref().filter(|_| due) else { continue };
            let (value, quality) = track.value();
            let (name, channel) = ("burst_suppression_ratio", Some(channel));
            let window = Span::seconds_const(WINDOW_S as i64);
            out.push(Reading { name, channel, time: end, window, value, quality });
        }
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
    name: "burst_suppression",
    summary: "Share of the last minute in which the EEG was suppressed",
    description: "A sample is suppressed if it lies in a stretch of at least least_s in which the conditioned EEG \
        stays within level_uv of zero; the ratio is suppressed time over time heard, in the last minute. Seconds that \
        signal_quality calls flat, saturated or missing are not heard: an EEG flat to the last digit is a loose lead, \
        not a silent brain, which still shows the noise of the amplifier. Noisy seconds are heard, since a burst \
        after silence looks like an artefact; an artefact thus makes the ratio too low, never too high. Nothing is \
        said unless four fifths of the minute are heard, and half of that well. The high-pass at 0.5 Hz of the \
        conditioning makes stretches begin late after large slow waves. Deep anaesthesia, cold, and drugs suppress \
        as injury does. A stretch counts in the second in which it becomes long enough.",
    reads: &[Kind::Eeg],
    writes: &[Output {
        name: "burst_suppression_ratio",
        unit: "1",
        summary: "Time suppressed over time heard in the last minute",
        feeds: "",
    }],
    needs: &["signal_quality"],
    latency: Span::ZERO,
    by_default: false,
    sources: &[
        "Rampil IJ. A primer for EEG signal processing in anesthesia. Anesthesiology 1998;89:980-1002. \
         doi:10.1097/00000542-199810000-00023 (within 5 uV for at least 0.5 s; over at least 60 s)",
    ],
    bounds: &[HOP, LEVEL, LEAST],
    schema: || schemars::schema_for!(Params),
    defaults: defaults::<Params>,
    build: |v| {
        let params: Params = params(v)?;
        HOP.check(f64::from(params.hop_s))?;
        LEVEL.check(params.level_uv)?;
        LEAST.check(params.least_s)?;
        Ok(Box::new(BurstSuppression { params, tracks: [None, None] }))
    },
};

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may stop")]
mod tests {
    use super::*;
    use crate::signal::{EventTime, Run, Values};

    /// Runs seconds of 100 Hz; `state` is the code of `quality_state`. The last reading.
    fn said(seconds: i64, state: impl Fn(i64) -> f64, wave: impl Fn(i64) -> f32) -> Result<f64, Missing> {
        let mut op = (SPEC.build)(&serde_json::json!({})).unwrap();
        let mut last = Err(Missing::NoData);
        for s in 0..seconds {
            let start = EventTime::from_seconds(s);
            let clean: Vec<f32> = (0..100).map(|i| wave(100 * s + i)).collect();
            let (channel, rate, reset) = (CHANNELS[1], Hertz(100.0), s == 0);
            let run = Run { channel, rate, start, reset, raw: &clean, clean: &clean, bridged: 0 };
            let mut out = Readings::default();
            let time = start + Span::EPOCH;
            let (name, window, value) = ("quality_state", Span::EPOCH, Ok(state(s)));
            out.push(Reading { name, channel: Some(channel), time, window, value, quality: 1.0 });
            op.apply(&Epoch { start, runs: &[run], values: &Values::default() }, &mut out);
            if let Some(r) = out.find_on("burst_suppression_ratio", CHANNELS[1]) {
                last = r.value;
            }
        }
        last
    }

    /// Four seconds of silence with 2 uV of noise, then two seconds of 60 uV.
    fn bursts(i: i64) -> f32 {
        let high = if i % 600 < 400 { 2.0 } else { 60.0 };
        if i % 2 == 0 { high } else { -high }
    }

    #[test]
    fn bursts_and_silence_are_told_apart() {
        let ratio = said(120, |_| 0.0, bursts).unwrap();
        assert!((ratio - 4.0 / 6.0).abs() < 1e-3, "{ratio}");
        assert_eq!(said(120, |_| 0.0, |i| if i % 2 == 0 { 20.0 } else { -20.0 }), Ok(0.0));
        assert_eq!(said(120, |_| 0.0, |_| 1.0), Ok(1.0));
        // Every zero crossing is silent, but not for half a second.
        let slow = |i: i64| (libm::sin(i as f64 * 0.063) * 30.0) as f32;
        assert_eq!(said(120, |_| 0.0, slow), Ok(0.0));
    }

    #[test]
    fn bursts_taken_for_artefacts_still_count_as_no_silence() {
        let noisy = |s: i64| if s % 6 == 4 { 1.0 } else { 0.0 };
        assert!((said(120, noisy, bursts).unwrap() - 4.0 / 6.0).abs() < 1e-3);
    }

    #[test]
    fn a_loose_lead_is_no_silence() {
        assert_eq!(said(120, |_| 3.0, |_| 0.0), Err(Missing::LowQuality));
        assert_eq!(said(50, |_| 0.0, bursts), Err(Missing::Learning));
        assert_eq!(said(120, |_| 1.0, bursts), Err(Missing::LowQuality));
    }
}
