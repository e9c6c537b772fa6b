//! Samples of a simulated bed for one second.
//! In: beats and breaths around that second, the state of the sensors. Out: counts of 16 bits: 2.5 uV
//! (electrocardiogram), 1/1000 (pleth), 1/16 mmHg (pressure), 1 milliohm (impedance).

use super::heart::{Beat, Heart, Shape, fallen};
use super::lungs::Lungs;
use super::script::{Rhythm, State};
use super::shapes::{BEFORE_R_S, Lead, NOISE_POINTS, PULSE_POINTS, Shapes, TABLE_HZ};

/// Samples per second of the electrocardiogram.
pub const ECG_HZ: f64 = 250.0;
/// Samples per second of pleth and arterial pressure.
pub const PULSE_HZ: f64 = 125.0;
/// Samples per second of the impedance.
pub const RESP_HZ: f64 = 62.5;
/// Millivolts per count.
pub const ECG_SCALE: f64 = 0.0025;
/// Pleth units per count.
pub const PPG_SCALE: f64 = 0.001;
/// mmHg per count.
pub const ABP_SCALE: f64 = 0.0625;
/// Ohm per count.
pub const RESP_SCALE: f64 = 0.001;
/// Count for "no sample".
pub const MISSING: i16 = i16::MIN;

/// Samples of the electrocardiogram in one second.
pub const ECG_SAMPLES: usize = 250;
/// Samples of a pulse wave in one second.
pub const PULSE_SAMPLES: usize = 125;
/// Points at which the chest's level is taken in one second, and the one after.
const KNOTS: usize = 25;
/// Seconds by which the pulse reaches the finger after the artery.
const TO_FINGER_S: f64 = 0.06;
/// Longest pulse; in slow hearts the wave rests at its foot after that.
const LONGEST_PULSE_S: f64 = 1.3;

/// Everything that the samples of one second depend on.
#[derive(Clone, Copy, Debug)]
pub struct Second<'a> {
    /// Tables.
    pub shapes: &'a Shapes,
    /// Beats.
    pub heart: &'a Heart,
    /// Breaths.
    pub lungs: &'a Lungs,
    /// Script's state.
    pub state: State,
    /// Number of the second.
    pub second: u64,
    /// Random numbers of this second: where the noise tables are entered.
    pub entry: u64,
    /// Noise of the electrocardiogram, mV.
    pub noise_mv: f32,
    /// Chest's level at the start of each 25th of the second, and at its end.
    pub chest: [f32; KNOTS + 1],
}

impl Second<'_> {
    /// Level of the chest over the second, for [`Second::chest`].
    pub fn chest_of(lungs: &Lungs, shapes: &Shapes, second: u64) -> [f32; KNOTS + 1] {
        std::array::from_fn(|i| lungs.level(second as f64 + i as f64 / KNOTS as f64, shapes))
    }

    /// One lead of the electrocardiogram (0 is II, 1 is V5).
    pub fn ecg(&self, lead: usize, out: &mut Vec<i16>) {
        out.clear();
        if self.state.sensors.lead_off {
            out.resize(ECG_SAMPLES, MISSING);
            return;
        }
        let mut mv = [0f32; ECG_SAMPLES];
        let start = self.second as f64;
        let tables = &self.shapes.leads[lead];
        for beat in self.heart.beats().iter().rev().skip_while(|b| b.at - BEFORE_R_S > start + 1.0) {
            if beat.at < start - 1.2 {
                break;
            }
            add_beat(&mut mv, beat, start, tables);
        }
        self.add_atria_and_chaos(&mut mv, lead);
        let motion = self.state.sensors.motion;
        let noise_mv = if motion { self.noise_mv * 5.0 } else { self.noise_mv };
        let wander = if lead == 0 { 0.10 } else { 0.07 };
        let at = self.entry as usize >> (13 * lead);
        let to_counts = (1.0 / ECG_SCALE) as f32;
        const BLOCK: usize = ECG_SAMPLES / KNOTS;
        for (k, block) in mv.chunks_exact(BLOCK).enumerate() {
            let (from, to) = (self.chest[k] * wander, self.chest[k + 1] * wander);
            for (i, v) in block.iter().enumerate() {
                let noise = self.shapes.noise[(at + k * BLOCK + i) & (NOISE_POINTS - 1)];
                let base = from + (to - from) * (i as f32 / BLOCK as f32);
                out.push(((v + base + noise * noise_mv) * to_counts) as i16);
            }
        }
        if motion {
            let first = self.second as usize * PULSE_SAMPLES;
            for (i, count) in out.iter_mut().enumerate() {
                let slow = self.shapes.slow[(first + i / 2) & (NOISE_POINTS - 1)];
                *count = count.saturating_add((0.35 * slow * to_counts) as i16);
            }
        }
    }

    /// What fibrillating atria or ventricles add.
    fn add_atria_and_chaos(&self, mv: &mut [f32; ECG_SAMPLES], lead: usize) {
        let heights = match self.state.rhythm {
            Rhythm::AtrialFibrillation => [0.05, 0.03, 0.0],
            Rhythm::VentricularFibrillation => [0.32, 0.22, 0.15],
            _ => return,
        };
        let turned = 0.3 * lead as f64;
        for (i, v) in mv.iter_mut().enumerate() {
            let t = self.second as f64 + i as f64 / ECG_HZ;
            let sway = 0.6 * f64::from(self.shapes.sine(0.21 * t));
            *v += heights[0] * self.shapes.sine(5.1 * t + sway + turned)
                + heights[1] * self.shapes.sine(6.7 * t - sway)
                + heights[2] * self.shapes.sine(3.9 * t + 0.5 * sway + turned);
        }
    }

    /// The pleth.
    pub fn ppg(&self, out: &mut Vec<i16>) {
        let off = self.state.sensors.probe_off;
        let to_counts = (1.0 / PPG_SCALE) as f32;
        let mut pulses = Pulses::new(self.heart, self.second as f64, TO_FINGER_S);
        let at = self.entry as usize >> 26;
        let first = self.second as usize * PULSE_SAMPLES;
        out.clear();
        for i in 0..PULSE_SAMPLES {
            let noise = 0.006 * self.shapes.noise[(at + i) & (NOISE_POINTS - 1)];
            let t = self.second as f64 + i as f64 / PULSE_HZ;
            let mut v = noise;
            if !off {
                let chest = self.chest[i / (PULSE_SAMPLES / KNOTS)];
                v += 0.08 * chest
                    + pulses.at(t).map_or(0.0, |p| p.beat.pleth * lookup(&self.shapes.ppg, p.phase));
                if self.state.sensors.motion {
                    v += 1.3 * self.shapes.slow[(first + i) & (NOISE_POINTS - 1)];
                }
            }
            out.push((v * to_counts) as i16);
        }
    }

    /// The arterial pressure.
    pub fn abp(&self, out: &mut Vec<i16>) {
        let to_counts = 1.0 / ABP_SCALE;
        let mut pulses = Pulses::new(self.heart, self.second as f64, 0.0);
        let at = self.entry as usize >> 39;
        out.clear();
        for i in 0..PULSE_SAMPLES {
            let t = self.second as f64 + i as f64 / PULSE_HZ;
            let noise = 0.25 * f64::from(self.shapes.noise[(at + i) & (NOISE_POINTS - 1)]);
            let pressure = pulses
                .at(t)
                .map_or(0.0, |p| p.foot + p.beat.pulse * f64::from(lookup(&self.shapes.abp, p.phase)));
            out.push(((pressure + noise) * to_counts) as i16);
        }
    }

    /// The thoracic impedance, and the number of its first sample: a second holds 62 or 63.
    pub fn resp(&self, out: &mut Vec<i16>) -> u64 {
        let first = (self.second * 125).div_ceil(2);
        let end = ((self.second + 1) * 125).div_ceil(2);
        let at = self.entry as usize >> 45;
        let to_counts = (1.0 / RESP_SCALE) as f32;
        out.clear();
        for i in first..end {
            let level = self.lungs.level(i as f64 / RESP_HZ, self.shapes);
            let noise = 0.012 * self.shapes.noise[(at + i as usize) & (NOISE_POINTS - 1)];
            let slow = if self.state.sensors.motion {
                0.6 * self.shapes.slow[(2 * i as usize) & (NOISE_POINTS - 1)]
            } else {
                0.0
            };
            out.push(((level + noise + slow) * to_counts) as i16);
        }
        first
    }
}

/// Adds one beat's waves to the samples that begin at `start`.
fn add_beat(mv: &mut [f32; ECG_SAMPLES], beat: &Beat, start: f64, lead: &Lead) {
    let table = match beat.shape {
        Shape::Sinus => &lead.pqrs,
        Shape::NoP => &lead.qrs,
        Shape::Broad => &lead.broad,
    };
    add_table(mv, table, beat.at - BEFORE_R_S - start, 1.0);
    if beat.shape != Shape::Broad {
        // The T wave comes sooner in fast hearts: with the root of the interval (Bazett).
        add_table(mv, &lead.t, beat.at - start, 1.0 / libm::sqrt(beat.period.clamp(0.25, 1.6)));
    }
}

/// Adds a table that begins `from` seconds after the first sample and runs `speed` times as fast.
fn add_table(mv: &mut [f32; ECG_SAMPLES], table: &[f32], from: f64, speed: f64) {
    let first = libm::ceil(from * ECG_HZ).max(0.0) as usize;
    let step = TABLE_HZ / ECG_HZ * speed;
    let mut x = (first as f64 / ECG_HZ - from) * TABLE_HZ * speed;
    let last = (table.len() - 1) as f64;
    for v in mv.iter_mut().skip(first) {
        if x >= last {
            break;
        }
        let i = x as usize;
        let part = (x - i as f64) as f32;
        *v += table[i] + (table[i + 1] - table[i]) * part;
        x += step;
    }
}

fn lookup(table: &[f32], phase: f64) -> f32 {
    let x = phase * PULSE_POINTS as f64;
    let i = (x as usize).min(PULSE_POINTS - 1);
    table[i] + (table[i + 1] - table[i]) * (x - i as f64) as f32
}

/// Walks along the pulses with rising time.
struct Pulses<'a> {
    heart: &'a Heart,
    next: usize,
    delay: f64,
}

/// The pulse at one time.
struct Pulse<'a> {
    beat: &'a Beat,
    /// 0 at the foot to 1 at its end.
    phase: f64,
    /// Pressure of the line between feet, mmHg.
    foot: f64,
}

impl<'a> Pulses<'a> {
    fn new(heart: &'a Heart, start: f64, delay: f64) -> Self {
        // Beats lie within seconds of the end of the queue: look from there.
        let beats = heart.beats();
        let later = beats.iter().rev().take_while(|b| b.at + b.transit + delay > start).count();
        Self { heart, next: beats.len() - later, delay }
    }

    fn at(&mut self, t: f64) -> Option<Pulse<'a>> {
        let beats = self.heart.beats();
        while beats.get(self.next).is_some_and(|b| b.at + b.transit + self.delay <= t) {
            self.next += 1;
        }
        let beat = beats.get(self.next.checked_sub(1)?)?;
        let since = t - beat.at - beat.transit - self.delay;
        let phase = (since / beat.period.min(LONGEST_PULSE_S)).min(1.0);
        let foot = match beats.get(self.next) {
            Some(next) if next.at - beat.at < beat.period * 1.01 => {
                beat.foot + (next.foot - beat.foot) * (since / beat.period).min(1.0)
            }
            _ => fallen(beat.foot, since - beat.period),
        };
        Some(Pulse { beat, phase, foot })
    }
}
