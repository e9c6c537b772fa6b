//! How fast the activity of the brain is, and how alike its two sides are. In: conditioned EEG in microvolts of up to
//! two channels, and what `signal_quality` says of it. Out: per channel the frequencies below which 95 % and half of
//! the power lie (Hz); of both channels their difference relative to their sum (-1 to 1).

use std::cell::RefCell;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{CHANNELS, Heard, heard};
use crate::filter::dispatch::Far;
use crate::operator::{Operator, Output, Spec, StateError, defaults, load_state, params, save_state};
use crate::params::Bound;
use crate::signal::time::US_PER_S;
use crate::signal::{ChannelId, Epoch, EventTime, Hertz, Kind, Missing, Reading, Readings, Run, Span};
use crate::spectrum::RealFft;
use crate::spectrum::fft::Bin;
use crate::window::tame;

/// Parameters of `eeg_spectrum`. The window of 30 seconds is fixed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Params {
    /// Share of the power below the spectral edge (1).
    pub edge: f64,
    /// Least number of segments of two seconds, of at most 30, that must be without fault (1).
    pub segments_min: u32,
}

impl Default for Params {
    fn default() -> Self {
        Self { edge: 0.95, segments_min: 15 }
    }
}

const EDGE: Bound = Bound { name: "edge", min: 0.5, max: 0.99, unit: "" };
const SEGMENTS_MIN: Bound = Bound { name: "segments_min", min: 5.0, max: 25.0, unit: "" };

/// Time between two readings, and how many such parts make the window.
const PART_S: i64 = 10;
const PARTS: usize = 3;
/// Frequencies are half a hertz apart: segments last two seconds.
const STEP_HZ: f64 = 0.5;
/// Frequencies that count, 0.5 to 30 Hz, and those of the alpha rhythm, 8 to 13 Hz, by place.
const BINS: usize = 60;
const ALPHA: std::ops::Range<usize> = 15..26;
/// Slower sampling does not hold the band.
const RATE_MIN: f64 = 64.0;
/// Samples beyond are cut (uV): no brain shows them.
const MOST_UV: f32 = 5000.0;
/// Below this there is nothing to compare (uV squared): amplifiers make as much.
const POWER_MIN_UV2: f64 = 0.01;
/// Lengths whose tables are kept.
const TABLES_MAX: usize = 16;

/// Sums of the power of ten seconds at each frequency, and of how many segments.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Part {
    power: Vec<f32>,
    segments: u32,
}

/// One channel.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Track {
    rate: Hertz,
    /// The last second, if it was whole and without fault.
    before: Vec<f32>,
    /// The part that is being filled, and those before it.
    parts: [Part; PARTS],
    last: EventTime,
    since: EventTime,
}

/// Tables of one length of segment.
struct Table {
    fft: RealFft,
    window: Vec<f64>,
    scale: f64,
}

/// Tables and memory, the same for every patient.
#[derive(Default)]
struct Workspace {
    tables: Vec<Table>,
    tapered: Vec<f64>,
    bins: Vec<Bin>,
}

thread_local! {
    static WORKSPACE: RefCell<Workspace> = RefCell::default();
}

impl Workspace {
    fn table(&mut self, len: usize, rate: Hertz) -> Option<&Table> {
        if let Some(at) = self.tables.iter().position(|t| t.window.len() == len) {
            return self.tables.get(at);
        }
        let fft = RealFft::new(len).ok()?;
        let hann = |i: usize| 0.5 - 0.5 * libm::cos(2.0 * std::f64::consts::PI * i as f64 / len as f64);
        let window: Vec<f64> = (0..len).map(hann).collect();
        let scale = 2.0 / (rate.get() * window.iter().map(|w| w * w).sum::<f64>());
        if self.tables.len() == TABLES_MAX {
            self.tables.remove(0);
        }
        self.tables.push(Table { fft, window, scale });
        self.tables.last()
    }

    /// Adds the density of two adjoining seconds to a part.
    fn add(&mut self, rate: Hertz, halves: [&[f32]; 2], part: &mut Part) {
        let len = (halves[0].len() + halves[1].len()) & !1;
        if self.table(len, rate).is_none() {
            return;
        }
        let Workspace { tables, tapered, bins } = self;
        let Some(Table { fft, window, scale }) = tables.iter_mut().find(|t| t.window.len() == len) else {
            return;
        };
        let samples =
            || halves[0].iter().chain(halves[1]).take(len).map(|x| f64::from(tame(*x, -MOST_UV, MOST_UV)));
        let mean = samples().sum::<f64>() / len as f64;
        tapered.clear();
        tapered.extend(samples().zip(&*window).map(|(x, w)| (x - mean) * w));
        bins.resize(fft.bins(), Bin::default());
        fft.forward(tapered, bins);
        part.power.resize(BINS, 0.0);
        for (sum, b) in part.power.iter_mut().zip(&bins[1..]) {
            *sum += (b.norm_sqr() * *scale) as f32;
        }
        part.segments += 1;
    }
}

/// The frequency below which a share of the power lies; each density stands for the half hertz around its frequency,
/// the first for 0.5 Hz. `None` without power.
///
/// ```
/// use auscult_operators::eeg::eeg_spectrum::edge_hz;
/// let mut power = [0.0; 60];
/// power[19] = 1.0; // 10 Hz
/// assert_eq!(edge_hz(&power, 0.5), Some(10.0));
/// assert_eq!(edge_hz(&[0.0; 60], 0.5), None);
/// ```
pub fn edge_hz(power: &[f64], share: f64) -> Option<f64> {
    let total: f64 = power.iter().sum();
    if !(total > 0.0 && total.is_finite()) {
        return None;
    }
    let mut below = 0.0;
    for (k, p) in power.iter().enumerate() {
        let reached = share * total - below;
        if *p > 0.0 && reached <= *p {
            return Some(STEP_HZ * (k as f64 + 0.5 + reached / p));
        }
        below += p;
    }
    Some(STEP_HZ * (power.len() as f64 + 0.5))
}

/// What thirty seconds of one channel hold.
type Spectrum = Result<[f64; BINS], Missing>;

impl Track {
    fn new(rate: Hertz, since: EventTime) -> Self {
        Self { rate, before: Vec::new(), parts: Default::default(), last: since, since }
    }

    /// Takes in a second: with the one before it a segment, if both are whole and without fault.
    fn push(&mut self, runs: &[Run<'_>], how: Heard, space: &mut Workspace) {
        let whole = match runs {
            [run] if how == Heard::Well && run.bridged == 0 => {
                let expected = run.rate.get();
                (run.clean.len() as f64 - expected).abs() < 1.0 && expected >= RATE_MIN
            }
            _ => false,
        };
        let [run] = runs else {
            self.before.clear();
            return;
        };
        if !whole || run.reset || run.rate != self.rate {
            self.before.clear();
        }
        self.rate = run.rate;
        if whole {
            if !self.before.is_empty() {
                space.add(run.rate, [&self.before, run.clean], &mut self.parts[0]);
            }
            self.before.clear();
            self.before.extend_from_slice(run.clean);
        }
    }

    /// Mean density of the window at each frequency.
    fn spectrum(&self, now: EventTime, least: u32) -> Spectrum {
        let segments: u32 = self.parts.iter().map(|p| p.segments).sum();
        if now - self.last > Span::EPOCH {
            return Err(Missing::Stale);
        }
        if self.rate.get() < RATE_MIN {
            return Err(Missing::TooFew);
        }
        if segments < least {
            let young = now - self.since < Span::seconds_const(PART_S * PARTS as i64);
            return Err(if young { Missing::Learning } else { Missing::LowQuality });
        }
        let mut power = [0.0; BINS];
        for part in &self.parts {
            power.iter_mut().zip(&part.power).for_each(|(sum, p)| *sum += f64::from(*p));
        }
        power.iter_mut().for_each(|p| *p /= f64::from(segments));
        if power.iter().sum::<f64>() * STEP_HZ < POWER_MIN_UV2 {
            return Err(Missing::LowQuality);
        }
        Ok(power)
    }

    fn quality(&self) -> f32 {
        let segments: u32 = self.parts.iter().map(|p| p.segments).sum();
        (segments as f32 / (PART_S * PARTS as i64) as f32).min(1.0)
    }

    fn next_part(&mut self) {
        self.parts.rotate_right(1);
        self.parts[0].segments = 0;
        self.parts[0].power.iter_mut().for_each(|p| *p = 0.0);
    }
}

/// First less second over their sum.
fn asymmetry(one: Spectrum, other: Spectrum, bins: std::ops::Range<usize>) -> Result<f64, Missing> {
    let of = |s: Spectrum| s.map(|power| power[bins.clone()].iter().sum::<f64>());
    let (one, other) = (of(one)?, of(other)?);
    if one + other > 0.0 { Ok((one - other) / (one + other)) } else { Err(Missing::LowQuality) }
}

struct EegSpectrum {
    params: Params,
    tracks: [Option<Track>; CHANNELS.len()],
}

impl EegSpectrum {
    fn advance(&mut self, i: usize, epoch: &Epoch<'_>, how: Heard) {
        let from = epoch.runs.iter().position(|r| r.channel == CHANNELS[i]);
        let Some(from) = from else {
            self.tracks[i].iter_mut().for_each(|t| t.before.clear());
            return;
        };
        let runs = &epoch.runs[from..];
        let runs = &runs[..runs.iter().take_while(|r| r.channel == CHANNELS[i]).count()];
        let track = self.tracks[i].get_or_insert_with(|| Track::new(runs[0].rate, epoch.start));
        if epoch.start - track.last > Span::seconds_const(PART_S * PARTS as i64) {
            *track = Track::new(runs[0].rate, epoch.start);
        }
        track.last = epoch.end();
        WORKSPACE.with_borrow_mut(|space| track.push(runs, how, space));
    }

    fn report(&self, time: EventTime, out: &mut Readings) {
        let window = Span::seconds_const(PART_S * PARTS as i64);
        let mut push = |name, channel: Option<ChannelId>, value: Result<f64, Missing>, quality: f32| {
            let quality = if value.is_ok() { quality } else { 0.0 };
            out.push(Reading { name, channel, time, window, value, quality });
        };
        let of = |i: usize| match &self.tracks[i] {
            Some(t) => (t.spectrum(time, self.params.segments_min), t.quality()),
            None => (Err(Missing::NoData), 0.0),
        };
        let both = [of(0), of(1)];
        for (i, (spectrum, quality)) in both.iter().enumerate().filter(|(i, _)| self.tracks[*i].is_some()) {
            let edge = |share| {
                spectrum.as_ref().map_err(|e| *e).and_then(|p| edge_hz(p, share).ok_or(Missing::LowQuality))
            };
            push("eeg_spectral_edge", Some(CHANNELS[i]), edge(self.params.edge), *quality);
            push("eeg_median_frequency", Some(CHANNELS[i]), edge(0.5), *quality);
        }
        if self.tracks.iter().all(Option::is_some) {
            let [(one, a), (other, b)] = both;
            push("eeg_asymmetry", None, asymmetry(one, other, 0..BINS), a.min(b));
            push("eeg_asymmetry_alpha", None, asymmetry(one, other, ALPHA), a.min(b));
        }
    }
}

impl Operator for EegSpectrum {
    fn apply(&mut self, epoch: &Epoch<'_>, out: &mut Readings) {
        for (i, channel) in CHANNELS.into_iter().enumerate() {
            self.advance(i, epoch, heard(out, channel));
        }
        let end = epoch.end();
        if end.micros().div_euclid(US_PER_S).rem_euclid(PART_S) == 0 {
            self.report(end, out);
            self.tracks.iter_mut().flatten().for_each(Track::next_part);
        }
    }

    fn far(&self, _next: EventTime, to: &mut Far) {
        for track in self.tracks.iter().flatten() {
            to.add(&track.before[..]);
            track.parts.iter().for_each(|p| to.add(&p.power[..]));
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
    name: "eeg_spectrum",
    summary: "Spectral edge and median frequency of the EEG, and asymmetry of its two channels",
    description: "Segments of two seconds that begin a second apart (Hann window, mean taken away) are averaged over \
        the last 30 s, every 10 s; only those whose two seconds signal_quality finds without fault and that no gap \
        touches take part. Edge and median are those of the power from 0.5 to 30 Hz, with a straight line inside \
        each half hertz. Asymmetry is the power of eeg_1 less that of eeg_2 over their sum, from 0.5 to 30 Hz and \
        from 8 to 13 Hz; it speaks of the sides of the head only if the two channels lie over them alike, and an \
        electrode of poor contact is as asymmetric as a stroke. In burst suppression the edge is that of the bursts. \
        Muscle lifts the edge, eyes and slow drift lower the median. Bands of power are given by band_power, of one \
        channel.",
    reads: &[Kind::Eeg],
    writes: &[
        Output::new(
            "eeg_spectral_edge",
            "Hz",
            "Frequency below which 95 % of the power from 0.5 to 30 Hz lies",
        ),
        Output::new(
            "eeg_median_frequency",
            "Hz",
            "Frequency below which half of the power from 0.5 to 30 Hz lies",
        ),
        Output::new("eeg_asymmetry", "1", "Power of eeg_1 less that of eeg_2 over their sum, 0.5 to 30 Hz"),
        Output::new(
            "eeg_asymmetry_alpha",
            "1",
            "Power of eeg_1 less that of eeg_2 over their sum, 8 to 13 Hz",
        ),
    ],
    needs: &["signal_quality"],
    latency: Span::ZERO,
    by_default: false,
    sources: &[
        "Rampil IJ. A primer for EEG signal processing in anesthesia. Anesthesiology 1998;89:980-1002. \
         doi:10.1097/00000542-199810000-00023 (spectral edge, median frequency)",
        "van Putten MJAM, Tavy DLJ. Stroke 2004;35:2489-2492. doi:10.1161/01.STR.0000144649.49861.1d \
         (relative difference of two sides)",
    ],
    bounds: &[EDGE, SEGMENTS_MIN],
    schema: || schemars::schema_for!(Params),
    defaults: defaults::<Params>,
    build: |v| {
        let params: Params = params(v)?;
        EDGE.check(params.edge)?;
        SEGMENTS_MIN.check(f64::from(params.segments_min))?;
        Ok(Box::new(EegSpectrum { params, tracks: [None, None] }))
    },
};

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may stop")]
mod tests {
    use super::*;
    use crate::signal::Values;

    /// A minute of both channels at a rate, each a wave in microvolts over seconds; what is said last.
    fn said(rate: f64, state: f64, waves: [&dyn Fn(f64) -> f64; 2]) -> Readings {
        let mut op = (SPEC.build)(&serde_json::json!({})).unwrap();
        let mut last = Readings::default();
        for s in 0..60 {
            let start = EventTime::from_seconds(s);
            let first = |s: i64| (s as f64 * rate).ceil() as i64;
            let samples = |wave: &dyn Fn(f64) -> f64| -> Vec<f32> {
                (first(s)..first(s + 1)).map(|i| wave(i as f64 / rate) as f32).collect()
            };
            let clean = waves.map(samples);
            let run = |i: usize| {
                let (raw, channel, reset) = (&clean[i][..], CHANNELS[i], s == 0);
                Run { channel, rate: Hertz(rate), start, reset, raw, clean: raw, bridged: 0 }
            };
            last.clear();
            for channel in CHANNELS {
                let (name, window, value) = ("quality_state", Span::EPOCH, Ok(state));
                let time = start + Span::EPOCH;
                last.push(Reading { name, channel: Some(channel), time, window, value, quality: 1.0 });
            }
            op.apply(&Epoch { start, runs: &[run(0), run(1)], values: &Values::default() }, &mut last);
        }
        last
    }

    fn sine(hz: f64, t: f64) -> f64 {
        libm::sin(2.0 * std::f64::consts::PI * hz * t)
    }

    #[test]
    fn frequencies_and_sides_are_those_of_the_waves() {
        for rate in [100.0, 125.5, 256.0] {
            // Nine tenths of the power at 4 Hz and a tenth at 20 Hz; the other side twice as high.
            let one = |t: f64| 30.0 * sine(4.0, t) + 10.0 * sine(20.0, t);
            let other = |t: f64| 2.0 * one(t);
            let out = said(rate, 0.0, [&one, &other]);
            let of = |name, channel| out.find_on(name, channel).unwrap().value.unwrap();
            for channel in CHANNELS {
                assert!((of("eeg_spectral_edge", channel) - 20.0).abs() < 0.6);
                assert!((of("eeg_median_frequency", channel) - 4.0).abs() < 0.3);
            }
            let value = |name| out.find(name).unwrap().value.unwrap();
            assert!((value("eeg_asymmetry") + 0.6).abs() < 1e-3, "{}", value("eeg_asymmetry"));
        }
    }

    #[test]
    fn alpha_on_one_side_is_seen_in_its_band() {
        let slow = |t: f64| 20.0 * sine(2.0, t);
        let alpha = |t: f64| slow(t) + 10.0 * sine(10.0, t);
        let out = said(256.0, 0.0, [&alpha, &slow]);
        assert!(out.find("eeg_asymmetry_alpha").unwrap().value.unwrap() > 0.95);
        assert!((out.find("eeg_asymmetry").unwrap().value.unwrap() - 50.0 / 450.0).abs() < 0.01);
    }

    #[test]
    fn artefact_slow_sampling_and_silence_give_nothing() {
        let wave = |t: f64| 20.0 * sine(9.0, t);
        for (rate, state, why) in [(128.0, 1.0, Missing::LowQuality), (50.0, 0.0, Missing::TooFew)] {
            let out = said(rate, state, [&wave, &wave]);
            for r in out.items.iter().filter(|r| r.name.starts_with("eeg_")) {
                assert_eq!((r.value, r.quality), (Err(why), 0.0), "{}", r.name);
            }
        }
        let out = said(128.0, 0.0, [&|_| 0.0, &|_| 0.0]);
        assert_eq!(out.find("eeg_asymmetry").unwrap().value, Err(Missing::LowQuality));
    }
}
