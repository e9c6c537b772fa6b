//! Amplitude-integrated EEG: between which two heights the activity of the brain swings, piece by piece.
//! In: conditioned EEG in microvolts, and what `signal_quality` says of it. Out: per channel the lower and the upper
//! margin of 15 seconds, in microvolts from peak to peak.

use std::cell::RefCell;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{CHANNELS, Heard, heard};
use crate::filter::{Band, Cascade, CascadeState, butterworth};
use crate::operator::{Operator, Output, Spec, StateError, defaults, load_state, params, save_state};
use crate::params::Bound;
use crate::signal::time::US_PER_S;
use crate::signal::{Epoch, Hertz, Kind, Missing, Reading, Readings, Run, Span};
use crate::window::{rank_in_place, tame};

/// Parameters of `aeeg`. The pieces of 15 seconds are those of the sources, and fixed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Params {
    /// Share of heights below the lower margin, and above the upper one (1).
    pub beyond: f64,
}

impl Default for Params {
    fn default() -> Self {
        Self { beyond: 0.1 }
    }
}

const BEYOND: Bound = Bound { name: "beyond", min: 0.0, max: 0.4, unit: "" };

/// Seconds that share their margins.
const PIECE_S: i64 = 15;
/// Heights per second.
const HEIGHTS_PER_S: f64 = 2.0;
/// Heights of a piece: some more than there can be.
const HEIGHTS: usize = 2 * PIECE_S as usize + 2;
/// Least number of heights, and least share of seconds heard well.
const HEIGHTS_MIN: usize = 24;
const WELL_MIN: f32 = 0.5;
/// The band of the cerebral function monitor (Hz), and the order of its filter.
const BAND_HZ: (f64, f64) = (2.0, 15.0);
const ORDER: usize = 2;
/// Slower sampling does not hold the band.
const RATE_MIN: f64 = 40.0;
/// Samples beyond are cut (uV): no brain shows them, and the filter must not ring for minutes.
const MOST_UV: f32 = 5000.0;
/// Rates whose filter is kept, and samples filtered at once.
const RATES_MAX: usize = 16;
const AT_ONCE: usize = 64;

thread_local! {
    // Filters depend on the rate alone.
    static FILTERS: RefCell<Vec<Cascade>> = const { RefCell::new(Vec::new()) };
}

/// One channel in the piece that is being filled.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Track {
    rate: Hertz,
    filter: CascadeState,
    /// The greatest distance from zero so far, and of how many samples.
    top: f32,
    count: u32,
    heights: Vec<f32>,
    well_s: u8,
    heard_s: u8,
}

impl Track {
    fn new(rate: Hertz) -> Self {
        let heights = Vec::with_capacity(HEIGHTS);
        Self { rate, filter: CascadeState::default(), top: 0.0, count: 0, heights, well_s: 0, heard_s: 0 }
    }

    fn restart(&mut self, rate: Hertz) {
        self.filter.reset();
        (self.rate, self.top, self.count) = (rate, 0.0, 0);
    }

    /// Filters a run; its heights count if `keep`.
    fn push(&mut self, run: &Run<'_>, keep: bool, cascade: &Cascade) {
        let per_height = (run.rate.get() / HEIGHTS_PER_S).round().max(1.0) as u32;
        for samples in run.clean.chunks(AT_ONCE) {
            let (mut x, mut y) = ([0.0f32; AT_ONCE], [0.0f32; AT_ONCE]);
            let n = samples.len();
            x.iter_mut().zip(samples).for_each(|(x, s)| *x = tame(*s, -MOST_UV, MOST_UV));
            cascade.filter(&mut self.filter, &x[..n], &mut y[..n]);
            for v in &y[..n] {
                self.top = self.top.max(v.abs());
                self.count += 1;
                if self.count >= per_height {
                    if keep && self.heights.len() < HEIGHTS {
                        self.heights.push(2.0 * self.top);
                    }
                    (self.top, self.count) = (0.0, 0);
                }
            }
        }
    }

    /// Lower and upper margin and the quality of the piece, which is then over.
    fn close(&mut self, beyond: f32) -> (Result<[f64; 2], Missing>, f32) {
        let (well, heard) = (f32::from(self.well_s), f32::from(self.heard_s));
        let enough = self.heights.len() >= HEIGHTS_MIN && well >= WELL_MIN * heard;
        let why = match heard {
            _ if self.rate.get() < RATE_MIN => Missing::TooFew,
            0.0 => Missing::Stale,
            _ => Missing::LowQuality,
        };
        let margins = |heights: &mut [f32]| {
            let low = rank_in_place(heights, beyond)?;
            let high = rank_in_place(heights, 1.0 - beyond)?;
            Some([f64::from(low), f64::from(high)])
        };
        let value = if enough { margins(&mut self.heights).ok_or(why) } else { Err(why) };
        let quality = if value.is_ok() { (well / PIECE_S as f32).clamp(0.0, 1.0) } else { 0.0 };
        self.heights.clear();
        (self.well_s, self.heard_s) = (0, 0);
        (value, quality)
    }
}

/// Runs `work` with the filter of a rate; says whether there is one.
fn with_filter(rate: Hertz, work: impl FnOnce(&Cascade)) -> bool {
    FILTERS.with_borrow_mut(|known| {
        if let Some(cascade) = known.iter().find(|c| c.rate() == rate) {
            work(cascade);
            return true;
        }
        let band = Band::BandPass(Hertz(BAND_HZ.0), Hertz(BAND_HZ.1));
        let made = butterworth(ORDER, band, rate).and_then(|sections| Cascade::new(sections, rate));
        let Ok(cascade) = made else { return false };
        work(&cascade);
        if known.len() == RATES_MAX {
            known.remove(0);
        }
        known.push(cascade);
        true
    })
}

struct Aeeg {
    params: Params,
    tracks: [Option<Track>; CHANNELS.len()],
}

impl Aeeg {
    fn advance(&mut self, i: usize, epoch: &Epoch<'_>, out: &Readings) {
        let how = heard(out, CHANNELS[i]);
        let mut any = false;
        for run in epoch.runs_of(CHANNELS[i]) {
            any = true;
            let track = self.tracks[i].get_or_insert_with(|| Track::new(run.rate));
            if run.reset || run.rate != track.rate {
                track.restart(run.rate);
            }
            if run.rate.get() >= RATE_MIN {
                with_filter(run.rate, |cascade| track.push(run, how != Heard::Not, cascade));
            }
        }
        if let Some(track) = self.tracks[i].as_mut().filter(|_| any) {
            track.heard_s = track.heard_s.saturating_add(1);
            track.well_s = track.well_s.saturating_add(u8::from(how == Heard::Well));
        }
    }
}

impl Operator for Aeeg {
    fn apply(&mut self, epoch: &Epoch<'_>, out: &mut Readings) {
        let time = epoch.end();
        let due = time.micros().div_euclid(US_PER_S).rem_euclid(PIECE_S) == 0;
        let window = Span::seconds_const(PIECE_S);
        for (i, channel) in CHANNELS.into_iter().enumerate() {
            self.advance(i, epoch, out);
            let Some(track) = self.tracks[i].as_mut().filter(|_| due) else { continue };
            let (margins, quality) = track.close(self.params.beyond as f32);
            for (k, name) in ["aeeg_lower", "aeeg_upper"].into_iter().enumerate() {
                let value = margins.map(|m| m[k]);
                out.push(Reading { name, channel: Some(channel), time, window, value, quality });
            }
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
    name: "aeeg",
    summary: "Lower and upper margin of the amplitude-integrated EEG every 15 seconds",
    description: "The conditioned EEG is filtered from 2 to 15 Hz (Butterworth of second order at each edge), \
        rectified, and its greatest distance from zero taken every half second; twice that is the height from peak \
        to peak. The margins are the tenth and the ninetieth hundredth of the heights of 15 seconds, which end at \
        whole multiples of 15 s. Differs from the cerebral function monitor in that the band is flat, where the \
        monitor raises fast activity by 12 dB per decade, so that margins read lower than on its paper for slow \
        activity that is equal; that the envelope is a peak per half second instead of a smoothed rectifier; and \
        that the scale is linear. Limits made for another device or montage do not hold unchecked. Seconds that are \
        flat, saturated or missing are left out; noisy ones count, as bursts after silence look like artefacts, and \
        lift the upper margin if they are artefacts. Beats of the heart and the ventilator that reach the lead lift \
        the lower margin of a silent EEG.",
    reads: &[Kind::Eeg],
    writes: &[
        Output { name: "aeeg_lower", unit: "uV", summary: "Lower margin, peak to peak", feeds: "" },
        Output { name: "aeeg_upper", unit: "uV", summary: "Upper margin, peak to peak", feeds: "" },
    ],
    needs: &["signal_quality"],
    latency: Span::ZERO,
    by_default: false,
    sources: &[
        "Maynard D, Prior PF, Scott DF. BMJ 1969;4:545-546. doi:10.1136/bmj.4.5682.545-a (the monitor, 2 to 15 Hz)",
        "Hellstroem-Westas L, Rosen I. Semin Fetal Neonatal Med 2006;11:503-511. doi:10.1016/j.siny.2006.07.011 \
         (margins)",
    ],
    bounds: &[BEYOND],
    schema: || schemars::schema_for!(Params),
    defaults: defaults::<Params>,
    build: |v| {
        let params: Params = params(v)?;
        BEYOND.check(params.beyond)?;
        Ok(Box::new(Aeeg { params, tracks: [None, None] }))
    },
};

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may stop")]
mod tests {
    use super::*;
    use crate::signal::{EventTime, Values};

    /// Two minutes at 128 Hz of a wave in microvolts over seconds, judged so; the last margins.
    fn margins(state: f64, wave: impl Fn(f64) -> f64) -> [Result<f64, Missing>; 2] {
        let mut op = (SPEC.build)(&serde_json::json!({})).unwrap();
        let mut last = [Err(Missing::NoData); 2];
        for s in 0..120 {
            let start = EventTime::from_seconds(s);
            let clean: Vec<f32> = (0..128).map(|i| wave(s as f64 + f64::from(i) / 128.0) as f32).collect();
            let (channel, rate, reset) = (CHANNELS[0], Hertz(128.0), s == 0);
            let run = Run { channel, rate, start, reset, raw: &clean, clean: &clean, bridged: 0 };
            let mut out = Readings::default();
            let time = start + Span::EPOCH;
            let (name, window) = ("quality_state", Span::EPOCH);
            out.push(Reading { name, channel: Some(channel), time, window, value: Ok(state), quality: 1.0 });
            op.apply(&Epoch { start, runs: &[run], values: &Values::default() }, &mut out);
            if let Some(r) = out.find("aeeg_lower") {
                last = [r.value, out.find("aeeg_upper").unwrap().value];
            }
        }
        last
    }

    fn sine(hz: f64, t: f64) -> f64 {
        libm::sin(2.0 * std::f64::consts::PI * hz * t)
    }

    #[test]
    fn a_steady_wave_has_both_margins_at_its_height() {
        for value in margins(0.0, |t| 12.0 * sine(6.0, t)).map(Result::unwrap) {
            assert!((value - 24.0).abs() < 0.7, "{value}");
        }
        for value in margins(0.0, |t| 50.0 * sine(40.0, t) + 200.0 * sine(0.3, t)).map(Result::unwrap) {
            assert!(value < 16.0, "outside the band: {value}");
        }
    }

    #[test]
    fn bursts_lift_the_upper_margin_alone() {
        let swing = |t: f64| if t % 5.0 < 1.5 { 40.0 } else { 2.0 };
        let [low, high] = margins(0.0, |t| swing(t) * sine(8.0, t)).map(Result::unwrap);
        assert!(low < 5.0 && (70.0..90.0).contains(&high), "{low} {high}");
    }

    #[test]
    fn what_is_not_heard_is_not_said() {
        assert_eq!(margins(3.0, |_| 0.0), [Err(Missing::LowQuality); 2]);
        assert_eq!(margins(1.0, |t| 900.0 * sine(8.0, t)), [Err(Missing::LowQuality); 2]);
    }
}
