//! Beats of a simulated patient, ahead of time.
//! In: the script's state over time. Out: beats with time in seconds, interval, shape, and the pressures
//! (mmHg) of their pulses.

use std::collections::VecDeque;

use super::Draw;
use super::script::{Rhythm, State};

/// Beats kept after they are over, in seconds: enough for a mean over eight slow beats.
const KEEP_S: f64 = 40.0;
/// Pressure to which an arrested circulation falls, mmHg.
pub const STANDSTILL_MMHG: f64 = 14.0;
/// Time constant of that fall, seconds.
pub const FALL_S: f64 = 5.0;
/// A monitor calls the rate 0 after so many seconds without a beat.
const SILENCE_S: f64 = 4.0;

/// Shape of a beat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// P wave, QRS, T.
    Sinus,
    /// QRS and T only.
    NoP,
    /// Broad, of ventricular origin.
    Broad,
}

/// One beat.
#[derive(Clone, Copy, Debug)]
pub struct Beat {
    /// R wave, seconds.
    pub at: f64,
    /// To the next beat if none is dropped, seconds.
    pub period: f64,
    /// Shape in the electrocardiogram.
    pub shape: Shape,
    /// Pressure at the foot of its pulse, mmHg.
    pub foot: f64,
    /// Height of its pulse, mmHg.
    pub pulse: f64,
    /// Height of its pleth pulse, about 1.
    pub pleth: f32,
    /// Seconds from R wave to the foot of the arterial pulse.
    pub transit: f64,
}

/// The heart.
#[derive(Clone, Debug)]
pub struct Heart {
    beats: VecDeque<Beat>,
    cursor: f64,
    draw: Draw,
    /// Part of beats that come early from the ventricle.
    ectopy: f64,
    /// The next beat comes early, broad; then a pause.
    early: bool,
}

impl Heart {
    /// A heart that has been beating since before time 0.
    pub fn new(draw: Draw, ectopy: f64) -> Self {
        Self { beats: VecDeque::with_capacity(256), cursor: -2.5, draw, ectopy, early: false }
    }

    /// Beats in time order.
    pub fn beats(&self) -> &VecDeque<Beat> {
        &self.beats
    }

    /// Adds beats until after `until`. `state` is the script's, `breath` the phase-like level of the chest.
    pub fn advance(
        &mut self,
        now: f64,
        until: f64,
        state: impl Fn(f64) -> State,
        breath: impl Fn(f64) -> f32,
    ) {
        while self.cursor <= until {
            let s = state(self.cursor);
            match s.rhythm {
                Rhythm::Asystole | Rhythm::VentricularFibrillation => self.cursor += 0.25,
                rhythm => {
                    let beat = self.beat(rhythm, &s, breath(self.cursor));
                    self.beats.push_back(beat);
                    self.cursor += beat.period;
                }
            }
        }
        // The last one before now stays: what is left of its pulse still shows in an arrest.
        while self.beats.len() > 1 && self.beats[0].at < now - KEEP_S && self.beats[1].at < now - 1.0 {
            self.beats.pop_front();
        }
    }

    fn beat(&mut self, rhythm: Rhythm, s: &State, breath: f32) -> Beat {
        let usual = 60.0 / s.vitals.heart_rate;
        let breath = f64::from(breath) - 0.5;
        let (mut shape, mut period, mut strength) = (Shape::Sinus, usual, 1.0);
        match rhythm {
            Rhythm::VentricularTachycardia => {
                shape = Shape::Broad;
                period = usual * (1.0 + 0.01 * self.draw.normal());
            }
            Rhythm::AtrialFibrillation => {
                shape = Shape::NoP;
                period = usual * self.draw.between(0.62, 1.38);
                strength = self.draw.between(0.75, 1.1);
            }
            _ => {
                // The heart speeds up while breathing in; the effect fades at high rates.
                let sway = 0.09 * (usual / 0.8).min(1.2);
                period *= 1.0 - sway * breath + 0.008 * self.draw.normal();
                if self.early {
                    self.early = false;
                    (shape, period, strength) = (Shape::Broad, usual * 1.4, 0.5);
                } else if self.draw.happens(self.ectopy) {
                    self.early = true;
                    period *= 0.62;
                }
            }
        }
        let height = (s.vitals.systolic - s.vitals.diastolic) * strength * (1.0 + 0.05 * breath);
        Beat {
            at: self.cursor,
            period,
            shape,
            foot: self.foot(s.vitals.diastolic),
            pulse: height + 0.8 * self.draw.normal(),
            pleth: (strength * libm::sqrt((height / 45.0).clamp(0.02, 2.0)) * (1.0 - 0.06 * breath)) as f32,
            // A higher pressure travels faster.
            transit: (0.160 - 0.0004 * (s.vitals.systolic - 120.0)).clamp(0.10, 0.24),
        }
    }

    /// The foot of the next pulse: near the diastolic pressure, but not at once after an arrest.
    fn foot(&mut self, diastolic: f64) -> f64 {
        let Some(last) = self.beats.back() else { return diastolic };
        let over = self.cursor - last.at - last.period;
        if over > 0.3 {
            return fallen(last.foot, over);
        }
        last.foot + (diastolic - last.foot) * 0.35 + 0.5 * self.draw.normal()
    }

    /// Beats per minute as a monitor says: over the last eight intervals, 0 in an arrest.
    pub fn measured_rate(&self, t: f64) -> f64 {
        let mut past = self.beats.iter().rev().skip_while(|b| b.at > t);
        let Some(last) = past.next().filter(|b| t - b.at <= SILENCE_S) else { return 0.0 };
        let (mut count, mut first) = (0, last.at);
        for b in past.take(8) {
            if first - b.at > SILENCE_S {
                break;
            }
            (count, first) = (count + 1, b.at);
        }
        if count == 0 { 60.0 / last.period } else { 60.0 * f64::from(count) / (last.at - first) }
    }

    /// Systolic, diastolic and mean pressure as a monitor says, from the last four pulses; without pulses,
    /// the pressure that is left three times.
    pub fn measured_pressure(&self, t: f64) -> Option<(f64, f64, f64)> {
        let past = self.beats.iter().rev().skip_while(|b| b.at + b.transit > t);
        let last = past.clone().next()?;
        let over = t - last.at - last.period;
        if over > SILENCE_S {
            let left = fallen(last.foot, over);
            return Some((left, left, left));
        }
        let (n, foot, pulse) =
            past.take(4).fold((0.0, 0.0, 0.0), |(n, f, p), b| (n + 1.0, f + b.foot, p + b.pulse));
        let (foot, pulse) = (foot / n, pulse / n);
        // The mean of the pulse's shape lies near 0.38 of its height.
        Some((foot + pulse, foot, foot + 0.38 * pulse))
    }
}

/// Pressure `seconds` after the heart has stopped at `from` mmHg.
pub fn fallen(from: f64, seconds: f64) -> f64 {
    STANDSTILL_MMHG + (from - STANDSTILL_MMHG) * libm::exp(-seconds.max(0.0) / FALL_S)
}
