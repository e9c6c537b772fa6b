//! Respiration rate from waves: from the chest's impedance, else from how breathing moves the pulse wave.
//! In: conditioned impedance, raw PPG, pulses, signal quality. Out: `resp_rate`, `resp_rate_impedance` and
//! `resp_rate_ppg` in /min over the last half minute, every few seconds.

use std::cell::RefCell;
use std::collections::VecDeque;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::breath_count::{MOST, breaths_per_minute};
use crate::filter::dispatch::{Far, Kernel, widest};
use crate::operator::{Operator, Output, Spec, StateError, defaults, load_state, params, save_state};
use crate::params::Bound;
use crate::signal::time::{US_PER_S, nearest};
use crate::signal::{BeatKind, ChannelId, Epoch, EventTime, Kind, Missing, Reading, Readings, Run, Span};
use crate::window::{Decimator, Ring, tame};

/// Parameters.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Params {
    /// Length of the window (s).
    pub window_s: f64,
    /// Time between two readings, counted from midnight of 1 January 1970 (s).
    pub hop_s: f64,
    /// Below this quality a source gives no rate (1).
    pub quality_floor: f64,
}

impl Default for Params {
    fn default() -> Self {
        Self { window_s: 32.0, hop_s: 4.0, quality_floor: 0.4 }
    }
}

const WINDOW: Bound = Bound { name: "window_s", min: 16.0, max: 64.0, unit: "s" };
const HOP: Bound = Bound { name: "hop_s", min: 1.0, max: 30.0, unit: "s" };
const QUALITY_FLOOR: Bound = Bound { name: "quality_floor", min: 0.0, max: 1.0, unit: "" };

/// Rate at which breathing is looked at (Hz): breaths above 60 /min are not looked for.
const SLOW_HZ: f64 = 5.0;
/// Rate of the series made from pulses (Hz).
const PULSE_HZ: f64 = 4.0;
/// Most values of such a series: 64 s, with room for its ends.
const SERIES: usize = 272;
/// Most pulses kept: 64 s at 235 /min.
const PULSES: usize = 250;

/// A slowed-down copy of one wave, without gaps.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Slow {
    channel: ChannelId,
    rate: f64,
    decimator: Decimator,
    samples: Ring,
    quality: Ring,
    present: bool,
    /// Event time of the newest sample.
    newest: EventTime,
}

impl Slow {
    fn new(channel: ChannelId, rate: f64, window_s: f64) -> Self {
        let factor = (rate / SLOW_HZ).round().clamp(1.0, 1e6);
        let samples = Ring::new(((window_s * rate / factor).floor() as usize).clamp(16, MOST));
        let quality = Ring::new(window_s as usize);
        let decimator = Decimator::new(factor as u32);
        Self { channel, rate, decimator, samples, quality, present: true, newest: EventTime::default() }
    }
    fn slow_hz(&self) -> f64 {
        self.rate / (self.rate / SLOW_HZ).round().max(1.0)
    }
    fn take(&mut self, run: &Run<'_>, from: &[f32]) {
        let Self { decimator, samples, newest, .. } = self;
        let mut last = None;
        let mut tamed = [0.0; TOGETHER];
        for (k, part) in from.chunks(TOGETHER).enumerate() {
            let tamed = &mut tamed[..part.len()];
            widest(Tame { part, tamed });
            decimator.push_all(tamed, |i, mean| {
                samples.push(mean);
                last = Some(k * TOGETHER + i);
            });
        }
        *newest = last.map_or(*newest, |i| run.time_of(i));
    }
    fn mean_quality(&self) -> f32 {
        let n = self.quality.len().max(1) as f32;
        self.quality.iter().sum::<f32>() / n
    }
}

/// Samples that are tamed at a time.
const TOGETHER: usize = 128;

/// Makes numbers of samples that arithmetic can stand.
struct Tame<'a> {
    part: &'a [f32],
    tamed: &'a mut [f32],
}

impl Kernel for Tame<'_> {
    type Out = ();
    #[inline(always)]
    fn run(self) {
        for (to, x) in self.tamed.iter_mut().zip(self.part) {
            *to = tame(*x, -1e7, 1e7);
        }
    }
}

/// A pulse: when, and how high above its foot.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Pulse {
    time: EventTime,
    height: f32,
}

/// What is remembered.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct State {
    impedance: Option<Slow>,
    ppg: Option<Slow>,
    pulses: VecDeque<Pulse>,
}

/// Working memory. What is read of it has just been written: it need not be cleared.
struct Space {
    window: [f32; MOST],
    series: [[f32; SERIES]; 3],
}

thread_local! {
    static SPACE: RefCell<Space> =
        const { RefCell::new(Space { window: [0.0; MOST], series: [[0.0; SERIES]; 3] }) };
}

type Answer = Result<(f64, f32), (Missing, f32)>;

/// Feeds one source with the runs of its kind; returns whether it was reset.
fn follow(slow: &mut Option<Slow>, kind: Kind, epoch: &Epoch<'_>, out: &Readings, window_s: f64) -> bool {
    let first = epoch.runs.iter().find(|r| r.channel.row().kind == kind).map(|r| r.channel);
    let Some(channel) = slow.as_ref().map(|s| s.channel).or(first) else { return false };
    let mut reset = false;
    let mut present = false;
    for run in epoch.runs_of(channel).filter(|r| r.rate.get() > 0.0) {
        let rate = run.rate.get();
        present = true;
        if run.reset || slow.as_ref().is_none_or(|s| s.rate != rate) {
            *slow = Some(Slow::new(channel, rate, window_s));
            reset = true;
        }
        if let Some(slow) = slow {
            slow.take(run, if kind == Kind::Respiration { run.clean } else { run.raw });
        }
    }
    if let Some(slow) = slow {
        slow.present = present;
        let heard = out.find_on("signal_quality", channel).map(|r| r.value.unwrap_or(0.0) as f32);
        slow.quality.push(heard.unwrap_or(if present { 1.0 } else { 0.0 }));
    }
    reset
}

impl State {
    fn take(&mut self, epoch: &Epoch<'_>, out: &Readings, params: &Params) {
        follow(&mut self.impedance, Kind::Respiration, epoch, out, params.window_s);
        if follow(&mut self.ppg, Kind::Ppg, epoch, out, params.window_s) {
            self.pulses.clear();
        }
        let Some(ppg) = &self.ppg else { return };
        let since = epoch.end() - Span::from_seconds(params.window_s + 2.0);
        for beat in out.beats.iter().filter(|b| b.kind == BeatKind::Pulse && b.channel == ppg.channel) {
            if self.pulses.back().is_none_or(|last| beat.time > last.time) {
                self.pulses.push_back(Pulse { time: beat.time, height: tame(beat.amplitude, 0.0, 1e7) });
            }
        }
        while self.pulses.len() > PULSES || self.pulses.front().is_some_and(|p| p.time < since) {
            self.pulses.pop_front();
        }
    }

    fn by_impedance(&self, floor: f32) -> Answer {
        let slow = usable(self.impedance.as_ref())?;
        let found = SPACE.with_borrow_mut(|space| {
            let (older, newer) = slow.samples.as_slices();
            let window = &mut space.window[..slow.samples.len()];
            window[..older.len()].copy_from_slice(older);
            window[older.len()..].copy_from_slice(newer);
            breaths_per_minute(window, slow.slow_hz())
        });
        let Some((rate, quality)) = found else { return Err((Missing::LowQuality, 0.0)) };
        believed(rate, quality * slow.mean_quality(), floor)
    }

    /// Three series with one value a pulse, as breathing moves the pulse: its height, its rate, its baseline.
    fn by_ppg(&self, now: EventTime, params: &Params) -> Answer {
        let slow = usable(self.ppg.as_ref())?;
        if self.pulses.len() < 8 {
            return Err((Missing::TooFew, 0.0));
        }
        let mut best: Option<(f64, f32)> = None;
        let (mut weight, mut sum) = (0.0_f64, 0.0);
        let mut rates = [(0.0, 0.0_f32); 3];
        SPACE.with_borrow_mut(|Space { series, .. }| {
            let count = self.series(now, params.window_s, slow, series);
            for (window, answer) in series.iter().zip(&mut rates) {
                let Some((rate, quality)) = breaths_per_minute(&window[..count], PULSE_HZ) else { continue };
                *answer = (rate, quality);
                if best.is_none_or(|b| quality > b.1) {
                    best = Some((rate, quality));
                }
            }
        });
        let Some(best) = best else { return Err((Missing::LowQuality, 0.0)) };
        // Those that agree with the best are averaged; those that do not, cost belief.
        let (mut against, mut alike) = (0.0_f32, 0);
        for &(rate, quality) in rates.iter().filter(|r| r.1 > 0.0) {
            if (rate - best.0).abs() <= 3.0 {
                weight += f64::from(quality);
                sum += f64::from(quality) * rate;
                alike += 1;
            } else {
                against = against.max(quality);
            }
        }
        // An indirect witness: slow sway of the vessels passes for breathing now and then.
        let seconded = [0.0, 0.6, 0.85, 0.95][alike];
        let quality = seconded * (best.1 - 0.4 * against).max(0.0) * slow.mean_quality();
        believed(sum / weight.max(1e-9), quality, params.quality_floor as f32)
    }

    /// Fills the windows with the three series on one even grid and returns how many values each has.
    fn series(&self, now: EventTime, window_s: f64, slow: &Slow, windows: &mut [[f32; SERIES]; 3]) -> usize {
        let mut count = 0;
        let step_us = (1e6 / PULSE_HZ) as i64;
        let mut last: Option<(EventTime, [f32; 3])> = None;
        let mut grid = now - Span::from_seconds(window_s);
        for (before, pulse) in self.pulses.iter().zip(self.pulses.iter().skip(1)) {
            let gap_s = (pulse.time - before.time).seconds();
            let values = [pulse.height, gap_s.min(2.0) as f32, baseline(slow, before.time, pulse.time)];
            if let Some((then, old)) = last {
                let span = (pulse.time - then).micros().max(1) as f32;
                while grid <= pulse.time && count < SERIES {
                    let part = ((grid - then).micros() as f32 / span).clamp(0.0, 1.0);
                    for (window, (value, old)) in windows.iter_mut().zip(values.iter().zip(old)) {
                        window[count] = old + (value - old) * part;
                    }
                    count += 1;
                    grid = EventTime::from_micros(grid.micros() + step_us);
                }
            } else {
                grid = grid.max(pulse.time);
            }
            last = Some((pulse.time, values));
        }
        count
    }
}

/// Mean of the slowed raw wave over one beat.
fn baseline(slow: &Slow, from: EventTime, to: EventTime) -> f32 {
    let hz = slow.slow_hz();
    let back = |t: EventTime| nearest((slow.newest - t).seconds() * hz).max(0) as usize;
    let (older, newer) = (back(from), back(to));
    let beat = (newer..older.max(newer + 1)).filter_map(|i| slow.samples.recent(i));
    let (sum, count) = beat.fold((0.0_f32, 0.0_f32), |(s, n), x| (s + x, n + 1.0));
    if count > 0.0 { sum / count } else { 0.0 }
}

fn usable(slow: Option<&Slow>) -> Result<&Slow, (Missing, f32)> {
    match slow {
        None => Err((Missing::NoData, 0.0)),
        Some(s) if !s.present => Err((Missing::NoData, 0.0)),
        Some(s) if !s.samples.is_full() => Err((Missing::Learning, 0.0)),
        Some(s) => Ok(s),
    }
}

fn believed(rate: f64, quality: f32, floor: f32) -> Answer {
    let quality = tame(quality, 0.0, 1.0);
    if quality < floor { Err((Missing::LowQuality, quality)) } else { Ok((rate, quality)) }
}

/// The operator.
struct RespRateWave {
    params: Params,
    state: State,
}

impl RespRateWave {
    fn due(&self, end: EventTime) -> bool {
        let hop = (self.params.hop_s.round() as i64).max(1);
        end.micros().div_euclid(US_PER_S).rem_euclid(hop) == 0
    }
}

impl Operator for RespRateWave {
    fn apply(&mut self, epoch: &Epoch<'_>, out: &mut Readings) {
        self.state.take(epoch, out, &self.params);
        if !self.due(epoch.end()) || (self.state.impedance.is_none() && self.state.ppg.is_none()) {
            return;
        }
        let impedance = self.state.by_impedance(self.params.quality_floor as f32);
        let ppg = self.state.by_ppg(epoch.end(), &self.params);
        // Impedance is the nearer witness; the pulse speaks where it is absent or poor.
        let (chosen, from_ppg) = match (impedance, ppg) {
            (Ok(_), _) => (impedance, false),
            (Err(_), Ok(_)) => (ppg, true),
            (Err(_), Err(_)) => (if self.state.impedance.is_some() { impedance } else { ppg }, false),
        };
        let channel_of = |slow: &Option<Slow>| slow.as_ref().map(|s| s.channel);
        let (thorax, finger) = (channel_of(&self.state.impedance), channel_of(&self.state.ppg));
        let source = if from_ppg || thorax.is_none() { finger } else { thorax };
        let window = Span::from_seconds(self.params.window_s);
        let mut push = |name, channel, answer: Answer| {
            let (value, quality) = match answer {
                Ok((rate, quality)) => (Ok(rate), quality),
                Err((why, quality)) => (Err(why), quality),
            };
            out.push(Reading { name, channel, time: epoch.end(), window, value, quality });
        };
        if thorax.is_some() {
            push("resp_rate_impedance", thorax, impedance);
        }
        if finger.is_some() {
            push("resp_rate_ppg", finger, ppg);
        }
        push("resp_rate", source, chosen);
    }

    fn far(&self, next: EventTime, to: &mut Far) {
        let due = self.due(next);
        for Slow { samples, quality, .. } in [&self.state.impedance, &self.state.ppg].into_iter().flatten() {
            if due {
                samples.far(to);
                quality.far(to);
            } else {
                samples.far_of_next(2 * SLOW_HZ as usize, to);
                quality.far_of_next(1, to);
            }
        }
        let (older, newer) = self.state.pulses.as_slices();
        if due {
            to.add(older);
            to.add(newer);
        } else {
            older.first().into_iter().chain(newer.last()).chain(older.last()).for_each(|p| to.add(p));
        }
    }

    fn save(&self, out: &mut Vec<u8>) {
        save_state(&self.state, out);
    }

    fn load(&mut self, bytes: &[u8]) -> Result<(), StateError> {
        self.state = load_state(SPEC.name, bytes)?;
        Ok(())
    }
}

/// The card.
pub static SPEC: Spec = Spec {
    name: "resp_rate_wave",
    summary: "Respiration rate from impedance, else from the pulse wave",
    description: "Impedance: the conditioned wave at 5 Hz over 32 s; turning points that rise or fall less than 0.3 \
        of the upper quartile are joined, the rest are breaths, and their mean spacing is the rate. PPG: the \
        height of the pulses, the time between them and the baseline under them, each on a grid of 4 Hz, treated \
        alike; those within 3 /min of the best are averaged by quality. The quality comes from how steady the \
        spacing is, how well the window repeats itself (autocorrelation) and whether both agree, times the signal \
        quality. Impedance counts first, PPG where it is absent or poor. Rates from 4 to 60 /min. \
        The slow sway of the vessels (4 to 9 /min) can pass for breathing in the PPG. Nothing is said of apnoea: \
        a window without breaths is of low quality, not of rate zero. Differs from its sources in the \
        autocorrelation check and in joining the smallest swing first.",
    reads: &[Kind::Respiration, Kind::Ppg],
    writes: &[
        Output {
            name: "resp_rate",
            unit: "/min",
            summary: "Breaths per minute over the last 32 s, from the better source",
            feeds: "resp_rate",
        },
        Output {
            name: "resp_rate_impedance",
            unit: "/min",
            summary: "Breaths per minute from the impedance of the chest",
            feeds: "",
        },
        Output {
            name: "resp_rate_ppg",
            unit: "/min",
            summary: "Breaths per minute from height, rate and baseline of the pulse wave",
            feeds: "",
        },
    ],
    needs: &[],
    latency: Span::seconds_const(4),
    by_default: true,
    sources: &[
        "Schäfer A, Kratky KW. Estimation of breathing rate from respiratory sinus arrhythmia: comparison of \
         various methods. Ann Biomed Eng 2008;36:476. doi:10.1007/s10439-007-9428-1 (counting of waves)",
        "Karlen W, Raman S, Ansermino JM, Dumont GA. Multiparameter respiratory rate estimation from the \
         photoplethysmogram. IEEE Trans Biomed Eng 2013;60:1946. doi:10.1109/TBME.2013.2246160",
        "Charlton PH et al. An assessment of algorithms to estimate respiratory rate from the electrocardiogram \
         and photoplethysmogram. Physiol Meas 2016;37:610. doi:10.1088/0967-3334/37/4/610",
    ],
    bounds: &[WINDOW, HOP, QUALITY_FLOOR],
    schema: || schemars::schema_for!(Params),
    defaults: defaults::<Params>,
    build: |value| {
        let params: Params = params(value)?;
        WINDOW.check(params.window_s)?;
        HOP.check(params.hop_s)?;
        QUALITY_FLOOR.check(params.quality_floor)?;
        Ok(Box::new(RespRateWave { params, state: State::default() }))
    },
};

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::signal::{Beat, Hertz, Values};

    /// What a patient breathing 18 /min shows in one second: which channels are there, and whether from new.
    struct Second {
        impedance: bool,
        ppg: bool,
        reset: bool,
    }

    /// Answers of the last hop: chosen, impedance, PPG.
    fn last(seconds: i64, what: impl Fn(i64) -> Second) -> [Option<Result<f64, Missing>>; 3] {
        let named = |n| ChannelId::named(n).unwrap();
        let mut operator = (SPEC.build)(&(SPEC.defaults)()).unwrap();
        let values = Values::default();
        let mut out = Readings::default();
        let breath = |t: f64| libm::sin(t * 0.3 * std::f64::consts::TAU);
        let mut pulse_s = 0.0;
        for s in 0..seconds {
            let Second { impedance, ppg, reset } = what(s);
            let start = EventTime::from_seconds(s);
            let wave: Vec<f32> = (0..50).map(|i| breath(s as f64 + f64::from(i) / 50.0) as f32).collect();
            let run = |channel| Run {
                channel,
                rate: Hertz(50.0),
                start,
                reset: reset || s == 0,
                raw: &wave,
                clean: &wave,
                bridged: 0,
            };
            out.clear();
            while pulse_s < s as f64 + 1.0 {
                let (kind, channel) = (BeatKind::Pulse, named("ppg"));
                let amplitude = 1.0 + 0.2 * breath(pulse_s) as f32;
                let time = EventTime::from_micros((pulse_s * 1e6) as i64);
                if ppg {
                    out.beats.push(Beat { kind, channel, time, amplitude, confidence: 1.0 });
                }
                pulse_s += 0.8 + 0.03 * breath(pulse_s);
            }
            let both = [run(named("ppg")), run(named("resp"))];
            let runs = &both[usize::from(!ppg)..(1 + usize::from(impedance)).max(usize::from(!ppg))];
            operator.apply(&Epoch { start, runs, values: &values }, &mut out);
        }
        ["resp_rate", "resp_rate_impedance", "resp_rate_ppg"].map(|n| out.find(n).map(|r| r.value))
    }

    fn near(found: Option<Result<f64, Missing>>) -> bool {
        found.is_some_and(|r| r.is_ok_and(|r| (r - 18.0).abs() < 0.5))
    }

    #[test]
    fn both_sources_agree_and_one_stands_in_for_the_other() {
        let all = last(60, |_| Second { impedance: true, ppg: true, reset: false });
        assert!(all.iter().all(|&r| near(r)), "{all:?}");
        let finger = last(60, |s| Second { impedance: s < 50, ppg: true, reset: false });
        assert!(near(finger[0]) && finger[1] == Some(Err(Missing::NoData)) && near(finger[2]), "{finger:?}");
        let chest = last(60, |_| Second { impedance: true, ppg: false, reset: false });
        assert!(near(chest[0]) && near(chest[1]) && chest[2].is_none(), "{chest:?}");
    }

    #[test]
    fn a_gap_means_learning_and_nothing_means_nothing() {
        let cut = last(60, |s| Second { impedance: true, ppg: true, reset: s == 40 });
        assert_eq!(cut, [Some(Err(Missing::Learning)); 3]);
        assert_eq!(last(60, |_| Second { impedance: false, ppg: false, reset: false }), [None; 3]);
    }
}
