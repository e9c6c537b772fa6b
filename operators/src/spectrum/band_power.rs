//! Power in the bands that tell signal from noise and states of the brain apart. In: conditioned ECG (mV),
//! PPG (any unit) and EEG (uV) of a window, one channel of each. Out: powers in mV² and uV², and the share of
//! the pulse in the power of the PPG, once per hop.

use std::cell::RefCell;
use std::collections::VecDeque;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::low_welch::LowWelch;
use super::welch::{first_at_least, power_between};
use crate::filter::dispatch::{Far, Kernel, widest};
use crate::operator::{Operator, Output, Spec, StateError, defaults, load_state, params, save_state};
use crate::params::{Bound, ParamError};
use crate::signal::{ChannelId, Epoch, EventTime, Hertz, Kind, Missing, Reading, Readings, Run, Span};
use crate::window::tame;

/// Parameters of `band_power`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Params {
    /// Length of the window, s.
    pub span_s: u32,
    /// Time between windows, s. Windows end at whole multiples of it in event time.
    pub hop_s: u32,
    /// Length of the segments that the spectrum is averaged over, s: its resolution is one over this.
    pub segment_s: f64,
}

impl Default for Params {
    fn default() -> Self {
        Self { span_s: 10, hop_s: 10, segment_s: 4.0 }
    }
}

const SPAN_S: Bound = Bound { name: "span_s", min: 4.0, max: 60.0, unit: "s" };
const HOP_S: Bound = Bound { name: "hop_s", min: 1.0, max: 60.0, unit: "s" };
const SEGMENT_S: Bound = Bound { name: "segment_s", min: 1.0, max: 10.0, unit: "s" };

/// Where the QRS complex has its power, Hz.
const QRS_HZ: (f64, f64) = (5.0, 15.0);
/// All that an ECG is taken to hold, Hz.
const ECG_HZ: (f64, f64) = (0.5, 40.0);
/// Where the fundamental of a pulse is looked for, Hz: 30 to 240 per minute.
const PULSE_HZ: (f64, f64) = (0.5, 4.0);
/// All that a PPG is taken to hold, Hz.
const PPG_HZ: (f64, f64) = (0.5, 8.0);
/// Half the width of the band around the pulse, Hz.
const PULSE_HALF_WIDTH_HZ: f64 = 0.3;
/// Bands of the EEG, Hz.
const EEG_HZ: [(&str, f64, f64); 4] =
    [("eeg_delta", 0.5, 4.0), ("eeg_theta", 4.0, 8.0), ("eeg_alpha", 8.0, 13.0), ("eeg_beta", 13.0, 30.0)];

/// Power between two frequencies.
///
/// # Errors
/// [`Missing::TooFew`] if the rate is too low to show the band.
///
/// ```
/// use auscult_operators::signal::Missing;
/// use auscult_operators::spectrum::band_power::power_of_band;
/// assert_eq!(power_of_band(&[0.0, 1.0, 1.0, 1.0], 1.0, (1.0, 3.0)), Ok(2.0));
/// assert_eq!(power_of_band(&[0.0, 1.0, 1.0, 1.0], 1.0, (1.0, 30.0)), Err(Missing::TooFew));
/// ```
pub fn power_of_band(density: &[f64], step_hz: f64, band_hz: (f64, f64)) -> Result<f64, Missing> {
    let end_hz = density.len().saturating_sub(1) as f64 * step_hz;
    if band_hz.1 > end_hz {
        return Err(Missing::TooFew);
    }
    Ok(power_between(density, step_hz, band_hz.0, band_hz.1))
}

/// Share of the power of a PPG that lies within 0.3 Hz of its strongest frequency between 0.5 and 4 Hz.
///
/// # Errors
/// [`Missing::TooFew`] if the rate is too low, [`Missing::LowQuality`] if there is no power at all.
///
/// ```
/// use auscult_operators::spectrum::band_power::pulse_fraction;
/// let mut density = vec![0.1; 41];
/// density[6] = 3.2; // 1.5 Hz, in steps of 0.25 Hz
/// // Three bins of 3.4 in all, out of thirty with 6.1.
/// assert!((pulse_fraction(&density, 0.25).unwrap() - 3.4 / 6.1).abs() < 1e-12);
/// ```
pub fn pulse_fraction(density: &[f64], step_hz: f64) -> Result<f64, Missing> {
    let total = power_of_band(density, step_hz, PPG_HZ)?;
    if total <= 0.0 {
        return Err(Missing::LowQuality);
    }
    let hz = |k: usize| k as f64 * step_hz;
    let at_least = |hz: f64| first_at_least(density.len(), step_hz, hz);
    let mut peak = None;
    for (k, d) in density.iter().enumerate().take(at_least(PULSE_HZ.1)).skip(at_least(PULSE_HZ.0)) {
        if peak.is_none_or(|(_, best)| *d > best) {
            peak = Some((k, *d));
        }
    }
    let (k, _) = peak.ok_or(Missing::TooFew)?;
    let low = (hz(k) - PULSE_HALF_WIDTH_HZ).max(PPG_HZ.0);
    Ok(power_between(density, step_hz, low, hz(k) + PULSE_HALF_WIDTH_HZ) / total)
}

/// Kinds that are looked at, in the order of their slots.
const KINDS: [Kind; 3] = [Kind::Ecg, Kind::Ppg, Kind::Eeg];

/// Frequency at which the last band of a kind ends, Hz.
const fn highest_hz(kind: Kind) -> f64 {
    match kind {
        Kind::Ecg => ECG_HZ.1,
        Kind::Ppg => PPG_HZ.1,
        _ => EEG_HZ[EEG_HZ.len() - 1].2,
    }
}

/// The last window of one channel. Windows are most of what is remembered of a patient, so samples are kept in 16 bits:
/// in steps of a 32767th of the greatest of their run, which is 90 dB below it.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Slot {
    channel: ChannelId,
    rate: Hertz,
    samples: VecDeque<i16>,
    runs: VecDeque<Kept>,
    end: EventTime,
}

/// A run in the window: samples, how many of them were bridged, and the size of a step.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Kept {
    len: u32,
    bridged: u32,
    step: f32,
}

/// Most samples of a run that have one step: a second at 250 Hz.
const AT_ONCE: usize = 256;
/// Steps up to the greatest sample of a run.
const STEPS: f32 = 32_767.0;

/// Rounds samples to steps and tells the size of one.
struct Round<'a> {
    samples: &'a [f32],
    out: &'a mut [i16],
}

impl Kernel for Round<'_> {
    type Out = f32;
    #[inline(always)]
    fn run(self) -> f32 {
        let size = |x: f32| tame(x, -1e7, 1e7);
        // Floats that are not negative have the order of their bits, and integers are compared side by side.
        let mut greatest = 0;
        for x in self.samples {
            greatest = greatest.max(size(*x).abs().to_bits());
        }
        let greatest = f32::from_bits(greatest);
        let per_unit = if greatest > 0.0 { STEPS / greatest } else { 0.0 };
        // A whole number below 2^22 stands in the low bits of its sum with this one.
        const WHOLE: f32 = 12_582_912.0;
        for (to, x) in self.out.iter_mut().zip(self.samples) {
            *to = (size(*x) * per_unit + WHOLE).to_bits() as i16;
        }
        greatest / STEPS
    }
}

impl Slot {
    fn new(channel: ChannelId, rate: Hertz) -> Self {
        Self { channel, rate, samples: VecDeque::new(), runs: VecDeque::new(), end: EventTime::default() }
    }

    /// Takes in a run and keeps the last `span_s` seconds.
    fn push(&mut self, run: &Run<'_>, span_s: u32) {
        if run.reset || run.rate != self.rate {
            self.rate = run.rate;
            self.samples.clear();
            self.runs.clear();
        }
        let need = self.need(span_s);
        if self.samples.capacity() < need + run.clean.len() {
            // A window, a run and the sample that a run may have more: no doubling.
            self.samples.reserve_exact(need + run.clean.len() + 1 - self.samples.len());
        }
        let mut steps = [0; AT_ONCE];
        for (k, clean) in run.clean.chunks(AT_ONCE).enumerate() {
            let steps = &mut steps[..clean.len()];
            let step = widest(Round { samples: clean, out: steps });
            self.samples.extend(&*steps);
            // What was bridged is told of the first part.
            let bridged = if k == 0 { run.bridged as u32 } else { 0 };
            self.runs.push_back(Kept { len: clean.len() as u32, bridged, step });
        }
        self.end = run.time_of(run.clean.len());
        let surplus = self.samples.len().saturating_sub(need);
        self.samples.drain(..surplus);
        let mut held: usize = self.runs.iter().map(|r| r.len as usize).sum();
        while let Some(first) = self.runs.front().filter(|r| held - r.len as usize >= need) {
            held -= first.len as usize;
            self.runs.pop_front();
        }
    }

    fn need(&self, span_s: u32) -> usize {
        (f64::from(span_s) * self.rate.get()).round() as usize
    }

    /// Share of the samples that were measured rather than bridged.
    fn quality(&self) -> f32 {
        let (all, bridged) = self.runs.iter().fold((0u32, 0u32), |(a, b), r| (a + r.len, b + r.bridged));
        1.0 - bridged as f32 / all.max(1) as f32
    }

    /// The window in the channel's unit.
    fn window(&mut self, out: &mut Vec<f32>) {
        let held: usize = self.runs.iter().map(|r| r.len as usize).sum();
        let mut gone = held.saturating_sub(self.samples.len());
        let mut rest: &[i16] = self.samples.make_contiguous();
        out.clear();
        for run in &self.runs {
            // Of the first run only its end may be held.
            let len = run.len as usize;
            let (now, later) = rest.split_at(len.saturating_sub(gone).min(rest.len()));
            out.extend(now.iter().map(|x| f32::from(*x) * run.step));
            (rest, gone) = (later, gone.saturating_sub(len));
        }
    }
}

/// The operator: a window per kind.
struct BandPower {
    params: Params,
    slots: [Option<Slot>; KINDS.len()],
}

/// Lengths and rates whose tables are kept.
const TABLES_MAX: usize = 16;

/// What a spectrum needs while it is made: tables that depend on length and rate alone, and a buffer.
#[derive(Default)]
struct Workspace {
    welch: Vec<LowWelch>,
    density: Vec<f64>,
    window: Vec<f32>,
}

thread_local! {
    // No state, and the same for every patient: one for each of a ward's beds would be most of a bed's memory.
    static WORKSPACE: RefCell<Workspace> = RefCell::default();
}

impl Workspace {
    fn welch(&mut self, len: usize, rate: Hertz) -> Result<&mut LowWelch, Missing> {
        let known = self.welch.iter().position(|w| w.rate() == rate && w.segment_len() == len);
        let at = match known {
            Some(at) => at,
            None => {
                if self.welch.len() == TABLES_MAX {
                    self.welch.remove(0);
                }
                self.welch.push(LowWelch::new(len, rate));
                self.welch.len() - 1
            }
        };
        self.welch.get_mut(at).ok_or(Missing::TooFew)
    }
}

impl BandPower {
    fn due(&self, now: EventTime) -> bool {
        now.micros().rem_euclid(i64::from(self.params.hop_s) * Span::EPOCH.micros()) == 0
    }

    /// Follows the channel that is held while it delivers, else the first one of the kind that does.
    fn follow(&mut self, epoch: &Epoch<'_>, i: usize) {
        let held = self.slots[i].as_ref().map(|s| s.channel);
        let held = held.filter(|c| epoch.runs_of(*c).next().is_some());
        let first = || epoch.runs.iter().map(|r| r.channel).find(|c| c.row().kind == KINDS[i]);
        let Some(channel) = held.or_else(first) else { return };
        for run in epoch.runs_of(channel) {
            let slot = match &mut self.slots[i] {
                Some(s) if s.channel == channel => s,
                other => other.insert(Slot::new(channel, run.rate)),
            };
            slot.push(run, self.params.span_s);
        }
    }

    /// The density of a slot's window, into the workspace, and the distance between its frequencies in hertz.
    fn spectrum(&mut self, i: usize, now: EventTime, space: &mut Workspace) -> Result<f64, Missing> {
        let slot = self.slots[i].as_mut().ok_or(Missing::NoData)?;
        if slot.end + slot.channel.row().hold < now {
            return Err(Missing::Stale);
        }
        if slot.samples.len() < slot.need(self.params.span_s) {
            return Err(Missing::Learning);
        }
        let wanted = 4 * (self.params.segment_s * slot.rate.get() / 4.0).round().max(1.0) as usize;
        let len = wanted.min(slot.samples.len() / 4 * 4);
        let (mut density, mut window) =
            (std::mem::take(&mut space.density), std::mem::take(&mut space.window));
        slot.window(&mut window);
        let welch = space.welch(len, slot.rate)?;
        let step = welch.step_hz();
        let wanted = first_at_least(welch.bins(), step, highest_hz(KINDS[i])) + 1;
        let made = welch.density(wanted, &window, &mut density);
        (space.density, space.window) = (density, window);
        made.map(|_| step)
    }

    /// Says what the window of one kind holds, or why nothing can be said.
    fn report(&mut self, i: usize, now: EventTime, space: &mut Workspace, out: &mut Readings) {
        let step = self.spectrum(i, now, space);
        let density = space.density.as_slice();
        let band = |hz: (f64, f64)| step.and_then(|s| power_of_band(density, s, hz));
        let slot = self.slots[i].as_ref();
        let (channel, quality) = (slot.map(|s| s.channel), slot.map_or(0.0, Slot::quality));
        let window = Span::seconds_const(i64::from(self.params.span_s));
        let mut push = |name, value: Result<f64, Missing>| {
            let quality = if value.is_ok() { quality } else { 0.0 };
            out.push(Reading { name, channel, time: now, window, value, quality });
        };
        match KINDS[i] {
            Kind::Ecg => {
                push("ecg_power_5_15", band(QRS_HZ));
                // A slow rate shows less of it, but still all that there is.
                push("ecg_power_total", step.map(|s| power_between(density, s, ECG_HZ.0, ECG_HZ.1)));
            }
            Kind::Ppg => push("ppg_power_fraction", step.and_then(|s| pulse_fraction(density, s))),
            _ => EEG_HZ.iter().for_each(|&(name, low, high)| push(name, band((low, high)))),
        }
    }
}

impl Operator for BandPower {
    fn apply(&mut self, epoch: &Epoch<'_>, out: &mut Readings) {
        let now = epoch.end();
        for i in 0..KINDS.len() {
            self.follow(epoch, i);
            if self.due(now) {
                WORKSPACE.with_borrow_mut(|space| self.report(i, now, space, out));
            }
        }
    }

    fn far(&self, next: EventTime, to: &mut Far) {
        let due = self.due(next);
        for Slot { rate, samples, runs, .. } in self.slots.iter().flatten() {
            let (older, newer) = samples.as_slices();
            if due {
                to.add(older);
                to.add(newer);
            }
            let newest = if newer.is_empty() { older } else { newer };
            to.add_after(newest, rate.get() as usize);
            let (older, newer) = runs.as_slices();
            to.add(older);
            to.add(newer);
        }
    }

    fn save(&self, out: &mut Vec<u8>) {
        save_state(&self.slots, out);
    }

    fn load(&mut self, bytes: &[u8]) -> Result<(), StateError> {
        self.slots = load_state(SPEC.name, bytes)?;
        Ok(())
    }
}

fn build(value: &serde_json::Value) -> Result<Box<dyn Operator>, ParamError> {
    let params: Params = params(value)?;
    SPAN_S.check(f64::from(params.span_s))?;
    HOP_S.check(f64::from(params.hop_s))?;
    SEGMENT_S.check(params.segment_s)?;
    Ok(Box::new(BandPower { params, slots: [const { None }; 3] }))
}

/// The card.
pub static SPEC: Spec = Spec {
    name: "band_power",
    summary: "power of ECG, PPG and EEG in bands of frequency",
    description: "Welch's spectrum (Hann window, half overlap) of the conditioned signal over the window, \
        summed over bands. Of each kind one channel is followed: the one held while it delivers, else the \
        first that does. Windows are kept in steps of a 32767th of each second's greatest value. Nothing is said \
        until a whole window without a gap has been seen. The bands see what \
        the conditioning filters let through. ppg_power_fraction follows the relative power of Elgendi with \
        the band set around the strongest frequency from 0.5 to 4 Hz instead of 1 to 2.25 Hz, so that fast \
        pulses count, and with the total from 0.5 Hz, where the conditioning filter begins, instead of 0.",
    reads: &KINDS,
    writes: &[
        Output::new("ecg_power_5_15", "mV2", "power of the ECG from 5 to 15 Hz, where the QRS complex is"),
        Output::new("ecg_power_total", "mV2", "power of the ECG from 0.5 to 40 Hz"),
        Output::new("ppg_power_fraction", "1", "share of the pulse in the power of the PPG from 0.5 to 8 Hz"),
        Output::new("eeg_delta", "uV2", "power of the EEG from 0.5 to 4 Hz"),
        Output::new("eeg_theta", "uV2", "power of the EEG from 4 to 8 Hz"),
        Output::new("eeg_alpha", "uV2", "power of the EEG from 8 to 13 Hz"),
        Output::new("eeg_beta", "uV2", "power of the EEG from 13 to 30 Hz"),
    ],
    needs: &[],
    latency: Span::seconds_const(60),
    by_default: true,
    sources: &[
        "Welch 1967, doi:10.1109/TAU.1967.1161901",
        "Li, Mark, Clifford 2008 (ECG power 5 to 15 Hz), doi:10.1088/0967-3334/29/1/002",
        "Elgendi 2016 (PPG relative power), doi:10.3390/bioengineering3040021",
    ],
    bounds: &[SPAN_S, HOP_S, SEGMENT_S],
    schema: || schemars::schema_for!(Params),
    defaults: defaults::<Params>,
    build,
};

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that panics has failed")]
mod tests {
    use super::*;
    use crate::signal::Values;

    const RATE: f64 = 62.5;

    fn sine(hz: f64, size: f64, from: usize, len: usize) -> Vec<f32> {
        let at = |i: usize| size * libm::sin(2.0 * std::f64::consts::PI * hz * i as f64 / RATE);
        (from..from + len).map(|i| at(i) as f32).collect()
    }

    /// Feeds seconds of a sine wave, 62 or 63 samples each; `silent` seconds have no run and the next one
    /// resets.
    fn feed(
        op: &mut dyn Operator,
        name: &str,
        hz: f64,
        seconds: std::ops::Range<usize>,
        silent: &[usize],
    ) -> Readings {
        let channel = ChannelId::named(name).unwrap();
        let (values, mut all) = (Values::default(), Readings::default());
        for s in seconds {
            let (from, to) = ((s * 125).div_ceil(2), ((s + 1) * 125).div_ceil(2));
            let x = sine(hz, 2.0, from, to - from);
            let start = EventTime::from_micros((from as f64 * 1e6 / RATE) as i64);
            let reset = s == 0 || silent.contains(&(s - 1));
            let rate = Hertz(RATE);
            let run = Run { channel, rate, start, reset, raw: &x, clean: &x, bridged: s % 2 };
            let runs = if silent.contains(&s) { vec![] } else { vec![run] };
            let start = EventTime::from_seconds(s as i64);
            op.apply(&Epoch { start, runs: &runs, values: &values }, &mut all);
        }
        all
    }

    fn values_of(r: &Readings, name: &str) -> Vec<Result<f64, Missing>> {
        r.items.iter().filter(|i| i.name == name).map(|i| i.value).collect()
    }

    #[test]
    fn a_sine_has_its_power_in_its_band() {
        let mut op = build(&serde_json::json!({})).unwrap();
        let r = feed(&mut *op, "ecg_ii", 10.0, 0..20, &[]);
        for name in ["ecg_power_5_15", "ecg_power_total"] {
            let v = values_of(&r, name);
            assert_eq!(v.len(), 2);
            // Amplitude 2: power 2; a window of ten seconds is full at its own end.
            assert!(v.iter().all(|v| (v.unwrap() - 2.0).abs() < 0.02), "{name} {v:?}");
        }
        assert_eq!(values_of(&r, "eeg_beta"), [Err(Missing::NoData); 2]);
        let quality = r.find("ecg_power_total").unwrap().quality;
        assert!((quality - (1.0 - 5.0 / 625.0)).abs() < 1e-4, "five seconds had a bridged sample: {quality}");
        let mut op = build(&serde_json::json!({})).unwrap();
        let r = feed(&mut *op, "eeg_2", 10.0, 0..10, &[]);
        assert!((r.find("eeg_alpha").unwrap().value.unwrap() - 2.0).abs() < 0.02);
        assert!(r.find("eeg_delta").unwrap().value.unwrap() < 1e-3);
        let mut op = build(&serde_json::json!({})).unwrap();
        let r = feed(&mut *op, "ppg", 1.5, 0..10, &[]);
        assert!(r.find("ppg_power_fraction").unwrap().value.unwrap() > 0.9);
    }

    #[test]
    fn a_window_is_kept_to_a_step_of_each_run() {
        let channel = ChannelId::named("ppg").unwrap();
        let mut slot = Slot::new(channel, Hertz(RATE));
        let mut all = Vec::new();
        for (s, size) in [1e-3, 4.0, 1e6, 0.0, 25.0].into_iter().enumerate() {
            let x = sine(7.3, size, s * 300, 300);
            let start = EventTime::from_seconds(s as i64);
            let (rate, reset, bridged) = (Hertz(RATE), s == 0, 0);
            slot.push(&Run { channel, rate, start, reset, raw: &x, clean: &x, bridged }, 20);
            all.extend(x);
        }
        let (mut found, held) = (Vec::new(), &all[all.len() - 1250..]);
        slot.window(&mut found);
        assert_eq!(found.len(), held.len());
        // Parts of 256 and 44 samples have each their own step.
        for (part, (found, held)) in found.rchunks(300).zip(held.rchunks(300)).enumerate() {
            for span in [0..found.len().saturating_sub(44), found.len().saturating_sub(44)..found.len()] {
                let greatest = held[span.clone()].iter().fold(0.0_f32, |a, x| a.max(x.abs()));
                // The oldest part is cut, and what made its step may be gone.
                let step = if part < 4 { greatest / STEPS } else { 1e-3 / STEPS };
                for (x, y) in found[span.clone()].iter().zip(&held[span]) {
                    assert!((x - y).abs() <= 0.51 * step, "{part}: {x} {y}");
                }
            }
        }
    }

    #[test]
    fn rounding_moves_no_power_by_a_hundred_thousandth() {
        // Narrow beats of differing height over little noise: most samples are small beside the greatest.
        let beat =
            |i: usize| libm::exp(-(((i % 203) as f64 - 100.0) / 3.0).powi(2)) * (1.0 + (i / 203 % 3) as f64);
        let noise = |i: usize| 0.02 * (((i * 7919 + 13) % 101) as f64 / 50.0 - 1.0);
        let x: Vec<f32> = (0..2500).map(|i| (beat(i) + noise(i)) as f32).collect();
        let (rate, channel) = (Hertz(250.0), ChannelId::named("ecg_ii").unwrap());
        let mut slot = Slot::new(channel, rate);
        for (s, part) in x.chunks(250).enumerate() {
            let start = EventTime::from_seconds(s as i64);
            slot.push(&Run { channel, rate, start, reset: s == 0, raw: part, clean: part, bridged: 0 }, 10);
        }
        let mut kept = Vec::new();
        slot.window(&mut kept);
        assert_ne!(kept, x);
        let powers = |x: &[f32]| {
            let (mut welch, mut density) = (LowWelch::new(1000, rate), Vec::new());
            welch.density(usize::MAX, x, &mut density).unwrap();
            [QRS_HZ, ECG_HZ, (13.0, 30.0)]
                .map(|(low, high)| power_between(&density, welch.step_hz(), low, high))
        };
        for (kept, exact) in powers(&kept).into_iter().zip(powers(&x)) {
            assert!((kept / exact - 1.0).abs() < 1e-5, "{kept} {exact}");
        }
    }

    #[test]
    fn a_gap_is_told_and_not_bridged() {
        let mut op = build(&serde_json::json!({})).unwrap();
        let r = feed(&mut *op, "ecg_ii", 10.0, 0..40, &[9, 12]);
        let v = values_of(&r, "ecg_power_total");
        assert_eq!(v[0], Err(Missing::Stale));
        assert_eq!(v[1], Err(Missing::Learning));
        assert!(v[2].is_ok() && v[3].is_ok());
    }

    #[test]
    fn saved_anywhere_and_loaded_gives_the_same_bits() {
        let make = || build(&serde_json::json!({ "hop_s": 1, "span_s": 4 })).unwrap();
        let mut whole = make();
        let expected = feed(&mut *whole, "ppg", 1.25, 0..12, &[7]);
        for cut in 1..12 {
            let (mut first, mut second, mut bytes) = (make(), make(), Vec::new());
            let mut got = feed(&mut *first, "ppg", 1.25, 0..cut, &[7]);
            first.save(&mut bytes);
            second.load(&bytes).unwrap();
            let rest = feed(&mut *second, "ppg", 1.25, cut..12, &[7]);
            got.items.extend(rest.items);
            assert_eq!(got, expected, "cut at {cut}");
            assert!(second.load(&bytes[1..]).is_err());
        }
    }

    #[test]
    fn bounds_are_checked() {
        let e = build(&serde_json::json!({ "span_s": 2 })).err().unwrap();
        assert_eq!(e.to_string(), "span_s is 2, outside 4..=60 s");
        assert!(build(&serde_json::json!({ "spans": 2 })).is_err());
    }
}
