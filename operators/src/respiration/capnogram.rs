//! Capnogram: what carbon dioxide at the airway tells of each breath.
//! In: raw airway carbon dioxide in mmHg. Out: end-tidal and inspired partial pressure in mmHg, breaths per minute, the
//! quality of the waveform, breaths.

use serde::{Deserialize, Serialize};

use crate::operator::{Operator, Output, Spec, StateError, defaults, load_state, params, save_state};
use crate::params::Bound;
use crate::signal::{
    Beat, BeatKind, ChannelId, Epoch, EventTime, Graded, Kind, Missing, Readings, Run, Span,
};
use crate::window::{grade, median_in_place, tame};

/// Parameters.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Params {
    /// A rise of less than this is no breath (mmHg).
    pub least_mmhg: f64,
    /// Breaths older than this do not count (s).
    pub span_s: f64,
    /// Below this quality there are no numbers (1).
    pub quality_floor: f64,
}

impl Default for Params {
    fn default() -> Self {
        Self { least_mmhg: 6.0, span_s: 45.0, quality_floor: 0.4 }
    }
}

const LEAST: Bound = Bound { name: "least_mmhg", min: 2.0, max: 20.0, unit: "mm[Hg]" };
const SPAN: Bound = Bound { name: "span_s", min: 15.0, max: 120.0, unit: "s" };
const QUALITY_FLOOR: Bound = Bound { name: "quality_floor", min: 0.0, max: 1.0, unit: "" };

/// Most breaths kept, and those whose median counts.
const KEPT: usize = 48;
const RECENT: usize = 5;
/// Expiration begins where the gas has risen by this share of the usual rise, and ends where it has fallen as far.
const SHARE: f32 = 0.5;
/// Shorter expirations, or inspirations, are the heart, a cleft, or noise (s).
const SHORTEST_S: f64 = 0.3;
/// Longer ones are a line that is blocked while gas stands in it (s).
const LONGEST_S: f64 = 30.0;
/// Lower levels than this share of the plateau end it.
const PLATEAU: f32 = 0.85;
/// What a living patient's gas can show (mmHg).
const END_TIDAL: (f32, f32) = (4.0, 130.0);

/// One expiration that is over.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Breath {
    /// When it began.
    time: EventTime,
    /// Highest pressure of it, and lowest of the inspiration before it (mmHg).
    top: f32,
    inspired: f32,
    /// Share of it near the top: a plateau is half of it or more, a leak or a blocked line a third.
    plateau: f32,
    /// Falls and new rises inside it.
    clefts: u8,
}

/// The wave of one channel as it is followed.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Wave {
    channel: ChannelId,
    rate: f64,
    since: EventTime,
    /// Lowest since the last expiration ended, highest since the last one began (mmHg).
    low: f32,
    high: f32,
    /// The usual rise (mmHg).
    rise: f32,
    expiring: bool,
    began: EventTime,
    /// When the level crossed back, if it has not stayed there for long enough yet.
    crossed: Option<EventTime>,
    inspired: f32,
    /// Samples near the top, samples of the expiration.
    near: u32,
    count: u32,
    clefts: u8,
    cleft_low: f32,
    breaths: Vec<Breath>,
    present: bool,
    quality: f32,
}

impl Wave {
    fn new(run: &Run<'_>, least: f32) -> Self {
        let (since, low) = (run.start, f32::MAX);
        Self {
            channel: run.channel,
            rate: run.rate.get(),
            since,
            low,
            high: f32::MIN,
            rise: 2.0 * least,
            expiring: false,
            began: since,
            crossed: None,
            inspired: 0.0,
            near: 0,
            count: 0,
            clefts: 0,
            cleft_low: f32::MAX,
            breaths: Vec::new(),
            present: true,
            quality: 0.0,
        }
    }

    fn take(&mut self, run: &Run<'_>, least: f32, found: &mut dyn FnMut(Breath)) {
        for (i, x) in run.raw.iter().enumerate() {
            let x = tame(*x, -100.0, 1000.0);
            if self.expiring {
                self.expire(x, run, i, least, found);
            } else {
                self.inspire(x, run, i, least);
            }
        }
    }

    /// Waits for the gas to rise, and to stay.
    fn inspire(&mut self, x: f32, run: &Run<'_>, i: usize, least: f32) {
        let level = self.low.min(x) + (SHARE * self.rise).max(least);
        if x < level {
            (self.low, self.crossed) = (self.low.min(x), None);
            return;
        }
        let time = run.time_of(i);
        let crossed = *self.crossed.get_or_insert(time);
        if (time - crossed).seconds() >= SHORTEST_S {
            (self.expiring, self.began, self.crossed) = (true, crossed, None);
            (self.inspired, self.high, self.near, self.count) = (self.low, x, 1, 1);
            (self.clefts, self.cleft_low) = (0, x);
        }
    }

    /// Follows the plateau until the gas falls, and stays.
    fn expire(&mut self, x: f32, run: &Run<'_>, i: usize, least: f32, found: &mut dyn FnMut(Breath)) {
        self.count = self.count.saturating_add(1);
        if f64::from(self.count) > LONGEST_S * self.rate {
            (self.expiring, self.crossed, self.low) = (false, None, x);
            return;
        }
        if x > self.high {
            self.high = x;
        }
        let height = self.high - self.inspired;
        if x >= self.inspired + PLATEAU * height {
            self.near = self.near.saturating_add(1);
            if self.cleft_low < self.high - 0.25 * height {
                self.clefts = self.clefts.saturating_add(1);
            }
            self.cleft_low = x;
        } else if self.near > 0 {
            self.cleft_low = self.cleft_low.min(x);
        }
        if x > self.high - (SHARE * height).max(0.5 * least) {
            self.crossed = None;
            return;
        }
        let time = run.time_of(i);
        let crossed = *self.crossed.get_or_insert(time);
        if (time - crossed).seconds() < SHORTEST_S {
            return;
        }
        (self.expiring, self.crossed, self.low) = (false, None, x);
        self.rise += 0.3 * (height.min(100.0) - self.rise);
        let beyond = (SHORTEST_S * self.rate) as u32;
        let plateau = self.near as f32 / self.count.saturating_sub(beyond).max(1) as f32;
        let (top, inspired, clefts) = (self.high, self.inspired, self.clefts);
        let breath = Breath { time: self.began, top, inspired, plateau: plateau.min(1.0), clefts };
        if self.breaths.len() == KEPT {
            self.breaths.remove(0);
        }
        self.breaths.push(breath);
        found(breath);
    }

    /// How much a breath looks like one drawn from a patient through an open line.
    fn looks(breath: &Breath) -> f32 {
        let shape = 1.0 - grade(breath.plateau, 0.1, 0.45);
        let level = grade(-breath.inspired, 5.0, 15.0) * grade(breath.inspired, 15.0, 40.0);
        let plausible = if (END_TIDAL.0..=END_TIDAL.1).contains(&breath.top) { 1.0 } else { 0.0 };
        shape * level * plausible * grade(f32::from(breath.clefts), 1.0, 6.0)
    }

    /// Numbers as of `now`: end-tidal, inspired, rate, and the quality of the waveform.
    fn answers(&self, now: EventTime, params: &Params) -> [Graded; 4] {
        let oldest = now - Span::from_seconds(params.span_s);
        let recent = || self.breaths.iter().rev().take_while(|b| b.time > oldest);
        let young = now - self.since < Span::from_seconds(params.span_s);
        let few = Graded::missing(if young { Missing::Learning } else { Missing::TooFew });
        if !self.present {
            return [Graded::missing(Missing::NoData); 4];
        }
        let mut columns = [[0.0_f32; RECENT]; 3];
        let mut count = 0;
        for b in recent().take(RECENT) {
            for (column, x) in columns.iter_mut().zip([b.top, b.inspired, Self::looks(b)]) {
                column[count] = x;
            }
            count += 1;
        }
        if count < 2 {
            return [few; 4];
        }
        let [top, inspired, looks] = columns.map(|mut c| median_in_place(&mut c[..count]).unwrap_or(0.0));
        let quality = looks * self.quality;
        let floor = params.quality_floor;
        let of = |x: f32| Graded::of(f64::from(x), quality, floor);
        let (rate, steady) = Self::rate(recent());
        let rate = rate.map_or(few, |r| {
            // A rate from breaths that have stopped is no rate.
            let newest = self.breaths.last().map_or(0.0, |b| (now - b.time).seconds());
            let late = grade((newest * r / 60.0) as f32, 2.0, 4.0);
            // The level does not matter to the count.
            Graded::of(r, self.quality * steady * late * looks.max(0.6), floor)
        });
        [of(top), of(inspired), rate, Graded::of(f64::from(quality), 1.0, 0.0)]
    }

    /// Breaths per minute by the mean of the intervals near their median, newest first, and the share of these.
    fn rate<'a>(breaths: impl Iterator<Item = &'a Breath> + Clone) -> (Option<f64>, f32) {
        let mut spans = [0.0_f32; KEPT];
        let mut count = 0;
        for (b, a) in breaths.clone().zip(breaths.skip(1)) {
            spans[count] = (b.time - a.time).seconds() as f32;
            count += 1;
        }
        let spans = &mut spans[..count];
        let Some(middle) = median_in_place(spans).filter(|m| *m > 0.0 && count >= 2) else {
            return (None, 0.0);
        };
        // The order in which they came must not show in the last bit.
        spans.sort_unstable_by(f32::total_cmp);
        let near = spans.iter().filter(|s| (**s - middle).abs() <= 0.5 * middle);
        let (sum, n) = near.fold((0.0, 0.0_f32), |(sum, n), s| (sum + f64::from(*s), n + 1.0));
        let share = n / spans.len() as f32;
        (Some(60.0 * f64::from(n) / sum), 1.0 - grade(share, 0.4, 0.9))
    }
}

struct Capnogram {
    params: Params,
    wave: Option<Wave>,
}

const NAMES: [&str; 4] = ["co2_end_tidal", "co2_inspired", "resp_rate_co2", "capnogram_quality"];

impl Operator for Capnogram {
    fn apply(&mut self, epoch: &Epoch<'_>, out: &mut Readings) {
        let least = self.params.least_mmhg as f32;
        if let Some(wave) = &mut self.wave {
            wave.present = false;
        }
        let runs = epoch.runs.iter().filter(|r| r.channel.row().kind == Kind::Capnogram);
        for run in runs.filter(|r| r.rate.get() > 0.0 && !r.raw.is_empty()) {
            let goes_on = |w: &Wave| w.channel == run.channel && w.rate == run.rate.get() && !run.reset;
            if !self.wave.as_ref().is_some_and(goes_on) {
                self.wave = Some(Wave::new(run, least));
            }
            let Some(wave) = &mut self.wave else { continue };
            wave.present = true;
            let channel = run.channel;
            wave.take(run, least, &mut |b| {
                let (kind, time, amplitude) = (BeatKind::Breath, b.time, b.top - b.inspired);
                let confidence = (0.3 + 0.7 * Wave::looks(&b)).clamp(0.0, 1.0);
                out.beats.push(Beat { kind, channel, time, amplitude, confidence });
            });
        }
        let Some(wave) = &mut self.wave else { return };
        let heard = out.find_on("signal_quality", wave.channel).map(|r| r.value.unwrap_or(0.0) as f32);
        let quality = heard.unwrap_or(if wave.present { 1.0 } else { 0.0 });
        wave.quality += (quality - wave.quality) * 0.3;
        let window = Span::from_seconds(self.params.span_s);
        for (name, answer) in NAMES.into_iter().zip(wave.answers(epoch.end(), &self.params)) {
            out.push(answer.reading(name, Some(wave.channel), epoch.end(), window));
        }
    }

    fn save(&self, out: &mut Vec<u8>) {
        save_state(&self.wave, out);
    }

    fn load(&mut self, bytes: &[u8]) -> Result<(), StateError> {
        self.wave = load_state(SPEC.name, bytes)?;
        Ok(())
    }
}

/// The card.
pub static SPEC: Spec = Spec {
    name: "capnogram",
    summary: "End-tidal and inspired carbon dioxide, breaths and their rate, quality of the capnogram",
    description: "An expiration begins where the gas has risen by half of the usual rise, at least 6 mmHg, for 0.3 \
        s, and ends where it has fallen as far for 0.3 s: ripples of the heartbeat and clefts do not split it. \
        End-tidal is the highest pressure of the expiration, inspired the lowest of the inspiration before; medians \
        of the last five breaths of 45 s. A breath looks right if a share of it lies near its top, its gas is that \
        of a living patient, and it has few clefts: leaks and a blocked sampling line round the plateau off or \
        flatten the wave. capnogram_quality is that look times the signal quality; below 0.4 the pressures are \
        absent while the rate may still be told. The rate is absent once twice to four times the usual interval has \
        passed without a breath. Inspired gas above some 2 mmHg means rebreathing. The breath's time is the start of \
        expiration; it is told when the expiration is over. Expirations of more than 30 s are not told. Thresholds \
        were set on simulated waves only: none of the development recordings holds a capnogram.",
    reads: &[Kind::Capnogram],
    writes: &[
        Output { name: NAMES[0], unit: "mm[Hg]", summary: "End-tidal carbon dioxide", feeds: "etco2" },
        Output { name: NAMES[1], unit: "mm[Hg]", summary: "Lowest carbon dioxide of inspiration", feeds: "" },
        Output { name: NAMES[2], unit: "/min", summary: "Breaths per minute from carbon dioxide", feeds: "" },
        Output {
            name: NAMES[3],
            unit: "1",
            summary: "How much the capnogram looks like one, 0 to 1",
            feeds: "",
        },
    ],
    needs: &[],
    latency: Span::seconds_const(32),
    by_default: false,
    sources: &[
        "ISO 80601-2-55:2018 (respiratory gas monitors)",
        "Gravenstein JS et al. Capnography. 2nd ed. Cambridge University Press 2011. doi:10.1017/CBO9780511933837",
        "Bhavani-Shankar K et al. Capnometry and anaesthesia. Can J Anaesth 1992;39:617-632. doi:10.1007/BF03008330",
    ],
    bounds: &[LEAST, SPAN, QUALITY_FLOOR],
    schema: || schemars::schema_for!(Params),
    defaults: defaults::<Params>,
    build: |value| {
        let params: Params = params(value)?;
        LEAST.check(params.least_mmhg)?;
        SPAN.check(params.span_s)?;
        QUALITY_FLOOR.check(params.quality_floor)?;
        Ok(Box::new(Capnogram { params, wave: None }))
    },
};

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may stop")]
#[path = "capnogram_tests.rs"]
mod tests;
