//! Spectrum of windows of any conditioned waveform, for models that were trained on such features. In: conditioned
//! samples of the channels named, in their units. Out: per channel and window the root mean square, and per band the
//! plain sum of `|X|^2` of the tapered window, in the channel's unit and its square.

use std::cell::RefCell;
use std::ops::Range;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::windowed::WindowedPower;
use crate::filter::dispatch::Far;
use crate::operator::{Operator, Output, Spec, StateError, defaults, load_state, params, save_state};
use crate::params::{Bound, ParamError};
use crate::signal::{ChannelId, Epoch, EventTime, Hertz, Kind, Missing, Reading, Readings, Run, Span};

/// Parameters of `window_spectrum`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Params {
    /// Waveforms that are looked at, by name; none by default.
    pub channels: Vec<String>,
    /// Length of the window, s.
    pub span_s: u32,
    /// Time between windows, s. Windows end at whole multiples of it in event time.
    pub hop_s: u32,
    /// Taper of the window.
    pub taper: Taper,
    /// At most eight bands, Hz: from the first edge on, up to but not including the second.
    pub bands_hz: Vec<[f64; 2]>,
}

/// What a window is multiplied by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Taper {
    /// Hann, periodic: `scipy.signal.get_window("hann", n)`.
    Hann,
    /// One.
    None,
}

impl Default for Params {
    fn default() -> Self {
        let bands_hz = vec![[0.5, 4.0], [4.0, 8.0], [8.0, 15.0], [15.0, 40.0]];
        Self { channels: Vec::new(), span_s: 10, hop_s: 10, taper: Taper::Hann, bands_hz }
    }
}

const SPAN_S: Bound = Bound { name: "span_s", min: 1.0, max: 60.0, unit: "s" };
const HOP_S: Bound = Bound { name: "hop_s", min: 1.0, max: 60.0, unit: "s" };
const EDGE_HZ: Bound = Bound { name: "bands_hz", min: 0.0, max: 2500.0, unit: "Hz" };

/// Names of the bands, in order.
const BANDS: [&str; 8] = [
    "window_band_1",
    "window_band_2",
    "window_band_3",
    "window_band_4",
    "window_band_5",
    "window_band_6",
    "window_band_7",
    "window_band_8",
];

/// The window of one channel, as far as it has come.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Slot {
    rate: Hertz,
    /// Contiguous samples, the last of which is the newest.
    samples: Vec<f32>,
    /// Of each run in `samples`: how many it gave, and how many of them were bridged.
    runs: Vec<(u32, u32)>,
    end: EventTime,
}

impl Slot {
    fn new() -> Self {
        Self { rate: Hertz(0.0), samples: Vec::new(), runs: Vec::new(), end: EventTime::default() }
    }

    fn push(&mut self, run: &Run<'_>, need: usize) {
        if run.reset || run.rate != self.rate {
            self.rate = run.rate;
            self.samples.clear();
            self.runs.clear();
        }
        if self.samples.capacity() < need + run.clean.len() {
            // A window, and the sample that a run may have more: no doubling.
            self.samples.reserve_exact(need + run.clean.len() + 1 - self.samples.len());
        }
        self.samples.extend_from_slice(run.clean);
        self.runs.push((run.clean.len() as u32, run.bridged as u32));
        self.end = run.time_of(run.clean.len());
        self.keep(need);
    }

    /// Forgets all but the last so many samples.
    fn keep(&mut self, count: usize) {
        let surplus = self.samples.len().saturating_sub(count);
        self.samples.drain(..surplus);
        let (mut held, mut gone) = (self.runs.iter().map(|r| r.0 as usize).sum::<usize>(), 0);
        while let Some(first) = self.runs.get(gone).filter(|r| held - r.0 as usize >= count) {
            held -= first.0 as usize;
            gone += 1;
        }
        self.runs.drain(..gone);
    }

    /// Why there is no whole window that ends now, if there is none.
    fn missing(&self, now: EventTime, need: usize, hold: Span) -> Option<Missing> {
        // The last sample of a whole second lies less than one step before its end.
        let short = (now - self.end).micros() as f64 * self.rate.get() >= 1e6;
        match self.samples.len() {
            0 => Some(Missing::NoData),
            _ if now - self.end > hold => Some(Missing::Stale),
            n if n < need => Some(Missing::Learning),
            _ if short => Some(Missing::TooFew),
            _ => None,
        }
    }

    /// Share of the samples that were measured rather than bridged.
    fn quality(&self) -> f32 {
        let (all, bridged) = self.runs.iter().fold((0u32, 0u32), |(a, b), r| (a + r.0, b + r.1));
        1.0 - bridged as f32 / all.max(1) as f32
    }
}

fn samples_in(seconds: u32, rate: Hertz) -> usize {
    (f64::from(seconds) * rate.get()).round() as usize
}

/// The operator: a window per channel, in the order of configuration.
struct WindowSpectrum {
    params: Params,
    channels: Vec<ChannelId>,
    slots: Vec<Slot>,
}

/// Lengths, tapers and bands whose tables are kept.
const TABLES_MAX: usize = 16;

thread_local! {
    // No state, and the same for every patient: one for each bed would be most of a bed's memory.
    static TABLES: RefCell<Vec<(Taper, WindowedPower)>> = RefCell::default();
}

/// Bands as ranges of coefficients: the first at or above an edge belongs to the band above it.
fn ranges(bands_hz: &[[f64; 2]], len: usize, rate: Hertz) -> impl Iterator<Item = Range<usize>> {
    let at = move |hz: f64| (hz * len as f64 / rate.get() - 1e-9).ceil().max(0.0) as usize;
    bands_hz.iter().map(move |b| at(b[0])..at(b[1]))
}

/// Sums of `|X|^2` over the bands of one window; the sum of squares of its samples before the taper.
fn power(params: &Params, samples: &[f32], rate: Hertz, bands: &mut [f64]) -> Result<f64, Missing> {
    let len = samples.len();
    let half = len / 2 + 1;
    let wanted = || ranges(&params.bands_hz, len, rate).map(|b| b.start.min(half)..b.end.min(half));
    TABLES.with_borrow_mut(|tables| {
        let fits = |t: &(Taper, WindowedPower)| {
            t.0 == params.taper && t.1.taper().len() == len && t.1.bands().iter().cloned().eq(wanted())
        };
        let at = match tables.iter().position(fits) {
            Some(at) => at,
            None => {
                let hann =
                    |i: usize| 0.5 - 0.5 * libm::cos(2.0 * std::f64::consts::PI * i as f64 / len as f64);
                let taper = (0..len).map(|i| if params.taper == Taper::Hann { hann(i) } else { 1.0 });
                let new = WindowedPower::new(taper.collect(), wanted().collect());
                if tables.len() == TABLES_MAX {
                    tables.remove(0);
                }
                tables.push((params.taper, new.map_err(|_| Missing::TooFew)?));
                tables.len() - 1
            }
        };
        Ok(tables[at].1.of(samples, bands))
    })
}

impl WindowSpectrum {
    /// Whether windows end then.
    fn due(&self, now: EventTime) -> bool {
        let hop = i64::from(self.params.hop_s) * Span::EPOCH.micros();
        now.micros().rem_euclid(hop) == 0
    }

    /// Says what the window of one channel holds, or why nothing can be said.
    fn report(&self, channel: ChannelId, slot: &Slot, now: EventTime, out: &mut Readings) {
        let need = samples_in(self.params.span_s, slot.rate);
        let window = Span::seconds_const(i64::from(self.params.span_s));
        let count = self.params.bands_hz.len();
        let mut bands = [0.0; BANDS.len()];
        let bands = &mut bands[..count];
        let squares = match slot.missing(now, need, channel.row().hold) {
            Some(why) => Err(why),
            None => power(&self.params, &slot.samples[slot.samples.len() - need..], slot.rate, bands),
        };
        let quality = if squares.is_ok() { slot.quality() } else { 0.0 };
        let mut push = |name, value: Result<f64, Missing>| {
            // A signal beyond all measure has no power that a number holds.
            let value = value.and_then(|v| if v.is_finite() { Ok(v) } else { Err(Missing::Implausible) });
            let quality = if value.is_ok() { quality } else { 0.0 };
            out.push(Reading { name, channel: Some(channel), time: now, window, value, quality });
        };
        push("window_samples", squares.map(|_| need as f64));
        push("window_rms", squares.map(|s| (s / need as f64).sqrt()));
        for (name, band) in BANDS.iter().zip(bands) {
            push(name, squares.map(|_| *band));
        }
    }
}

impl Operator for WindowSpectrum {
    fn apply(&mut self, epoch: &Epoch<'_>, out: &mut Readings) {
        let now = epoch.end();
        let due = self.due(now);
        for at in 0..self.channels.len() {
            let channel = self.channels[at];
            for run in epoch.runs_of(channel) {
                self.slots[at].push(run, samples_in(self.params.span_s, run.rate));
            }
            if due {
                self.report(channel, &self.slots[at], now, out);
                let slot = &mut self.slots[at];
                slot.keep(samples_in(self.params.span_s.saturating_sub(self.params.hop_s), slot.rate));
            }
        }
    }

    fn far(&self, next: EventTime, to: &mut Far) {
        to.add(&self.slots[..]);
        let due = self.due(next);
        for slot in &self.slots {
            if due {
                to.add(&slot.samples[..]);
            }
            to.add_after(&slot.samples, slot.runs.last().map_or(0, |r| r.0 as usize));
            to.add_after(&slot.runs, 1);
        }
    }

    fn save(&self, out: &mut Vec<u8>) {
        save_state(&self.slots, out);
    }

    fn load(&mut self, bytes: &[u8]) -> Result<(), StateError> {
        let slots: Vec<Slot> = load_state(SPEC.name, bytes)?;
        if slots.len() != self.channels.len() {
            let reason = format!("{} channels, expected {}", slots.len(), self.channels.len());
            return Err(StateError { operator: SPEC.name, reason });
        }
        self.slots = slots;
        Ok(())
    }
}

fn build(value: &serde_json::Value) -> Result<Box<dyn Operator>, ParamError> {
    let params: Params = params(value)?;
    SPAN_S.check(f64::from(params.span_s))?;
    HOP_S.check(f64::from(params.hop_s))?;
    if params.bands_hz.len() > BANDS.len() {
        let (found, most) = (params.bands_hz.len(), BANDS.len());
        return Err(ParamError::Shape(format!("bands_hz has {found} bands, at most {most} are told")));
    }
    for [low, high] in &params.bands_hz {
        EDGE_HZ.check(*low)?;
        EDGE_HZ.check(*high)?;
        if low >= high {
            return Err(ParamError::Shape(format!("bands_hz has a band from {low} to {high} Hz")));
        }
    }
    let mut channels = Vec::new();
    for name in &params.channels {
        match ChannelId::named(name).filter(|c| c.row().kind.is_wave()) {
            Some(channel) if !channels.contains(&channel) => channels.push(channel),
            Some(_) => return Err(ParamError::Shape(format!("channels names {name} twice"))),
            None => return Err(ParamError::Shape(format!("channels: no waveform is named {name}"))),
        }
    }
    let slots = channels.iter().map(|_| Slot::new()).collect();
    Ok(Box::new(WindowSpectrum { params, channels, slots }))
}

/// The card.
pub static SPEC: Spec = Spec {
    name: "window_spectrum",
    summary: "root mean square and band sums of windows of any waveform",
    description: "Takes windows of the conditioned signal of each channel named, multiplies them by the taper, and \
        sums |X|^2 of numpy.fft.rfft over the coefficients of each band: no averaging, no scaling, so that a model \
        trained on such sums in numpy or scipy gets the same numbers (to 1e-6 and better; samples are held in 32 \
        bits, all else in 64). Units are those of the channel. A window with a gap that is not bridged, or cut short, \
        is told as missing with the reason; bridged samples lower its quality. Off until channels are named. The \
        bands see what the conditioning filters let through: see conditioning.band_pass.",
    reads: Kind::WAVES,
    writes: &[
        Output::new("window_samples", "1", "samples in the window"),
        Output::new("window_rms", "{channel}", "root mean square of the window, in the unit of the channel"),
        Output::new(
            "window_band_1",
            "{channel2}",
            "sum of |X|^2 over the first band, in the unit of the channel squared",
        ),
        Output::new("window_band_2", "{channel2}", "the same of the second band"),
        Output::new("window_band_3", "{channel2}", "the same of the third band"),
        Output::new("window_band_4", "{channel2}", "the same of the fourth band"),
        Output::new("window_band_5", "{channel2}", "the same of the fifth band"),
        Output::new("window_band_6", "{channel2}", "the same of the sixth band"),
        Output::new("window_band_7", "{channel2}", "the same of the seventh band"),
        Output::new("window_band_8", "{channel2}", "the same of the eighth band"),
    ],
    needs: &[],
    latency: Span::seconds_const(60),
    by_default: true,
    sources: &[
        "Harris 1978 (windows), doi:10.1109/PROC.1978.10837",
        "Van Loan 1992, Computational Frameworks for the Fast Fourier Transform, doi:10.1137/1.9781611970999",
    ],
    bounds: &[SPAN_S, HOP_S],
    schema: || schemars::schema_for!(Params),
    defaults: defaults::<Params>,
    build,
};

#[cfg(test)]
#[path = "window_spectrum_tests.rs"]
mod tests;
