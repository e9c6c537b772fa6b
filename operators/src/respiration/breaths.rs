//! Breaths from the chest's impedance, one by one, as they come.
//! In: conditioned impedance (0.05 to 1.5 Hz) at any rate, heart rate. Out: beats of kind `Breath` at the end of
//! inspiration with their height (canonical unit), and whether breaths could be hidden or feigned.

use serde::{Deserialize, Serialize};

use crate::operator::{Operator, Output, Spec, StateError, defaults, load_state, params, save_state};
use crate::params::Bound;
use crate::signal::{
    Beat, BeatKind, ChannelId, Epoch, EventTime, Graded, Kind, Missing, Readings, Run, Span,
};
use crate::window::{Decimator, Ring, median_in_place, tame};

/// Parameters.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Params {
    /// Share of the usual height below which a wave is no breath (1).
    pub least_share: f64,
    /// More waves a minute than this are no breathing (/min).
    pub most_per_minute: f64,
}

impl Default for Params {
    fn default() -> Self {
        Self { least_share: 0.18, most_per_minute: 70.0 }
    }
}

const LEAST_SHARE: Bound = Bound { name: "least_share", min: 0.1, max: 0.6, unit: "" };
const MOST_PER_MINUTE: Bound = Bound { name: "most_per_minute", min: 40.0, max: 150.0, unit: "/min" };

/// Rate at which waves are followed (Hz).
const SLOW_HZ: f64 = 12.5;
/// Breaths whose median height is the usual one, and the fewest.
const HEIGHTS: usize = 16;
const HEIGHTS_MIN: usize = 4;
/// A wave this many times the usual height is movement.
const MOVEMENT: f32 = 5.0;
/// Doubt lasts this long (s).
const DOUBT_S: u16 = 5;
/// Waves this near to the heart's period and below this share of the usual height are the heart's.
const HEART: (f64, f32) = (0.18, 0.5);
/// Waves this soon, as a share of the usual time between breaths, and this low are shoulders of the one before.
const EARLY: (f32, f32) = (0.6, 0.6);
/// After this long without a breath the usual height fades, so that a lasting change of gain is learned (s).
const FADE_AFTER_S: u16 = 120;
const FADE: f32 = 0.97;
/// A breath is told at the latest this long after the end of its inspiration.
const LATENCY: Span = Span::seconds_const(15);

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Chest {
    channel: ChannelId,
    rate: f64,
    slow: Decimator,
    rising: bool,
    /// The last extreme and its time, and the one before.
    extreme: (EventTime, f32),
    bottom: f32,
    heights: Ring,
    usual: f32,
    /// The last wave that swung far enough, be it breath or not.
    last_wave: Option<EventTime>,
    /// The last breath, and the usual time between two (s).
    last_breath: Option<EventTime>,
    interval_s: f32,
    /// Seconds of doubt left, seconds without a breath, seconds since the start: few are enough.
    doubt_s: u16,
    without_s: u16,
    seconds: u16,
    /// Whether nothing has moved in this second.
    dead: bool,
}

impl Chest {
    fn new(run: &Run<'_>) -> Self {
        let rate = run.rate.get();
        Self {
            channel: run.channel,
            rate,
            slow: Decimator::new((rate / SLOW_HZ).round().clamp(1.0, 1e4) as u32),
            rising: true,
            extreme: (run.start, f32::MIN),
            bottom: 0.0,
            heights: Ring::new(HEIGHTS),
            usual: 0.0,
            last_wave: None,
            last_breath: None,
            interval_s: 0.0,
            doubt_s: 0,
            without_s: 0,
            seconds: 0,
            dead: true,
        }
    }

    /// How far a wave must swing back to be one.
    fn least(&self, params: &Params) -> f32 {
        (params.least_share as f32 * self.usual).max(1e-6)
    }

    fn take(&mut self, run: &Run<'_>, params: &Params, heart_s: Option<f64>, found: &mut dyn FnMut(Beat)) {
        // A living chest never stands still to the last bit.
        self.dead &= run.raw.iter().all(|x| *x == run.raw[0]);
        let mut slow = self.slow.clone();
        slow.push_all(run.clean, |i, mean| {
            self.step(run.time_of(i), tame(mean, -1e7, 1e7), params, heart_s, found);
        });
        self.slow = slow;
    }

    fn step(
        &mut self,
        now: EventTime,
        x: f32,
        params: &Params,
        heart_s: Option<f64>,
        found: &mut dyn FnMut(Beat),
    ) {
        let (at, extreme) = self.extreme;
        let back = if self.rising { extreme - x } else { x - extreme };
        if back <= 0.0 || extreme == f32::MIN {
            self.extreme = (now, x);
            return;
        }
        if back < self.least(params) {
            return;
        }
        if self.rising {
            self.wave(at, now, extreme - self.bottom, params, heart_s, found);
        } else {
            self.bottom = extreme;
        }
        (self.rising, self.extreme) = (!self.rising, (now, x));
    }

    /// A wave is complete: `top` is the end of its inspiration.
    fn wave(
        &mut self,
        top: EventTime,
        now: EventTime,
        height: f32,
        params: &Params,
        heart_s: Option<f64>,
        found: &mut dyn FnMut(Beat),
    ) {
        let since_s = self.last_wave.map(|last| (top - last).seconds());
        self.last_wave = Some(top);
        let fast = since_s.is_some_and(|s| s * params.most_per_minute < 60.0);
        let learned = self.heights.len() >= HEIGHTS_MIN;
        let huge = learned && height > MOVEMENT * self.usual;
        let heart = heart_s.zip(since_s).is_some_and(|(h, s)| (s - h).abs() <= HEART.0 * h);
        if huge || fast && height > 0.5 * self.usual {
            self.doubt_s = DOUBT_S;
        }
        if learned && heart && height < HEART.1 * self.usual || fast || now - top > LATENCY {
            return;
        }
        let pause_s = self.last_breath.map_or(f32::MAX, |last| (top - last).seconds() as f32);
        if learned && pause_s < EARLY.0 * self.interval_s && height < EARLY.1 * self.usual {
            return;
        }
        if pause_s < 20.0 {
            let weight = if self.interval_s > 0.0 { 0.15 } else { 1.0 };
            self.interval_s += weight * (pause_s - self.interval_s);
        }
        self.last_breath = Some(top);
        if !huge {
            self.heights.push(height);
            let (mut all, n) = ([0.0; HEIGHTS], self.heights.len());
            all.iter_mut().zip(self.heights.iter()).for_each(|(to, x)| *to = x);
            self.usual = median_in_place(&mut all[..n]).unwrap_or(height);
        }
        self.without_s = 0;
        let confidence = if !learned || self.doubt_s > 0 { 0.4 } else { 0.9 };
        found(Beat {
            kind: BeatKind::Breath,
            channel: self.channel,
            time: top,
            amplitude: height,
            confidence,
        });
    }

    /// Ends a second; whether breaths can be told in it, or why not.
    fn doubt(&mut self, code: Option<f64>) -> Graded {
        let dead = std::mem::replace(&mut self.dead, true) || code.is_some_and(|c| c >= 2.0);
        if dead {
            self.doubt_s = DOUBT_S;
        }
        self.seconds = self.seconds.saturating_add(1);
        self.without_s = self.without_s.saturating_add(1);
        if self.without_s > FADE_AFTER_S {
            self.usual *= FADE;
        }
        let doubted = self.doubt_s > 0;
        self.doubt_s = self.doubt_s.saturating_sub(1);
        if self.heights.len() < HEIGHTS_MIN {
            return Graded::missing(if self.seconds < 60 { Missing::Learning } else { Missing::TooFew });
        }
        Graded::of(f64::from(u8::from(doubted)), 0.9, 0.0)
    }
}

struct Breaths {
    params: Params,
    chest: Option<Chest>,
}

impl Operator for Breaths {
    fn apply(&mut self, epoch: &Epoch<'_>, out: &mut Readings) {
        let heart_s =
            out.find("heart_rate").and_then(|r| r.value.ok()).filter(|h| *h > 0.0).map(|h| 60.0 / h);
        let first = epoch.runs.iter().find(|r| r.channel.row().kind == Kind::Respiration).map(|r| r.channel);
        let Some(channel) = self.chest.as_ref().map(|c| c.channel).or(first) else { return };
        let before = out.beats.len();
        let mut present = false;
        for run in epoch.runs_of(channel).filter(|r| r.rate.get() > 0.0 && !r.clean.is_empty()) {
            if run.reset || self.chest.as_ref().is_none_or(|c| c.rate != run.rate.get()) {
                self.chest = Some(Chest::new(run));
            }
            present = true;
            if let Some(chest) = &mut self.chest {
                chest.take(run, &self.params, heart_s, &mut |b| out.beats.push(b));
            }
        }
        out.beats[before..].sort_by_key(|b| b.time);
        let Some(chest) = &mut self.chest else { return };
        let code = out.find_on("quality_state", channel).and_then(|r| r.value.ok());
        let answer = if present { chest.doubt(code) } else { Graded::missing(Missing::NoData) };
        out.push(answer.reading("breath_doubt", Some(channel), epoch.end(), Span::seconds_const(5)));
    }

    fn save(&self, out: &mut Vec<u8>) {
        save_state(&self.chest, out);
    }

    fn load(&mut self, bytes: &[u8]) -> Result<(), StateError> {
        self.chest = load_state(SPEC.name, bytes)?;
        Ok(())
    }
}

/// The card.
pub static SPEC: Spec = Spec {
    name: "breaths",
    summary: "Breaths from the chest's impedance, one by one",
    description: "The conditioned wave at 12.5 Hz; a wave that rises and falls by 18 % of the usual height (median \
        of the last 16 breaths) is a breath, told when it has fallen so far, 15 s after its top at the latest. Waves \
        at the heart's period below half of the usual height are the heart's, waves sooner than 60 % of the usual \
        time and lower than 60 % of the usual height are shoulders of the one before, and waves at more than 70 /min \
        are none. breath_doubt is 1 for five seconds after movement (waves five times the usual height or high and \
        too fast) or a dead, saturated or flat sensor: breaths may then be hidden or feigned. After two minutes \
        without a breath the usual height fades, so that a change of gain is learned; a chest that moves against a \
        closed airway breathes here, only carbon dioxide tells.",
    reads: &[Kind::Respiration],
    writes: &[Output {
        name: "breath_doubt",
        unit: "{code}",
        summary: "1 where breaths could be hidden or feigned, else 0",
        feeds: "",
    }],
    needs: &[],
    latency: Span::seconds_const(15),
    by_default: false,
    sources: &[
        "Berry RB et al. Rules for scoring respiratory events in sleep: update of the 2007 AASM manual. J Clin Sleep \
         Med 2012;8:597-619. doi:10.5664/jcsm.2172 (apnoea: amplitude falls by 90 %)",
        "Lee H et al. A new algorithm for detecting central apnea in neonates. Physiol Meas 2012;33:1-17. \
         doi:10.1088/0967-3334/33/1/1 (the heart in the impedance)",
    ],
    bounds: &[LEAST_SHARE, MOST_PER_MINUTE],
    schema: || schemars::schema_for!(Params),
    defaults: defaults::<Params>,
    build: |value| {
        let params: Params = params(value)?;
        LEAST_SHARE.check(params.least_share)?;
        MOST_PER_MINUTE.check(params.most_per_minute)?;
        Ok(Box::new(Breaths { params, chest: None }))
    },
};
