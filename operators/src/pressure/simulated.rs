//! Simulated arterial lines for tests: plain pulses, and what a catheter of second order makes of them.
//! In: times (s), pressures (mmHg). Out: what the operators of the family say at the end.

use crate::signal::{ChannelId, Epoch, EventTime, Hertz, Missing, Readings, Run, Values};

/// A pulse at 75 /min from `dia` up by `height` within 0.1 s, with a dicrotic notch.
pub fn pulse(t: f64, dia: f64, height: f64) -> f64 {
    let turn = (t / 0.8).fract() * 0.8;
    let main = if turn < 0.1 { turn / 0.1 } else { libm::exp(-(turn - 0.1) * 4.0) };
    let notch = 0.06 * libm::exp(-((turn - 0.36) / 0.03) * ((turn - 0.36) / 0.03));
    dia + height * (main + notch)
}

/// A catheter with natural frequency (Hz) and damping (1), stepped at 1 kHz.
pub struct Catheter {
    pub natural_hz: f64,
    pub damping: f64,
}

impl Catheter {
    /// What it makes of a wave, sampled at `rate`, from 0 to `seconds`.
    pub fn sampled(&self, rate: f64, seconds: i64, wave: impl Fn(f64) -> f64) -> Vec<f32> {
        let (w, dt) = (self.natural_hz * std::f64::consts::TAU, 0.001);
        let (mut y, mut v, mut samples) = (wave(0.0), 0.0, vec![]);
        for ms in 0..seconds * 1000 {
            let t = ms as f64 * dt;
            if samples.len() as f64 <= t * rate {
                samples.push(y as f32);
            }
            // Semi-implicit steps stay stable for an underdamped line.
            v += dt * (w * w * (wave(t) - y) - 2.0 * self.damping * w * v);
            y += dt * v;
        }
        samples
    }
}

/// The readings of the last second.
pub struct Said(Readings);

impl Said {
    pub fn value(&self, name: &str) -> Result<f64, Missing> {
        self.0.find(name).map_or(Err(Missing::NoData), |r| r.value)
    }
}

/// The last readings of all operators of the family over samples of `abp`.
pub fn last_of(rate: f64, samples: &[f32]) -> Said {
    let channel = ChannelId::named("abp").unwrap();
    let mut chain: Vec<_> = super::SPECS.iter().map(|s| (s.build)(&(s.defaults)()).unwrap()).collect();
    let (values, mut out) = (Values::default(), Readings::default());
    for (s, raw) in samples.chunks(rate as usize).enumerate() {
        let start = EventTime::from_seconds(s as i64);
        let run = Run { channel, rate: Hertz(rate), start, reset: s == 0, raw, clean: raw, bridged: 0 };
        out.clear();
        chain.iter_mut().for_each(|o| o.apply(&Epoch { start, runs: &[run], values: &values }, &mut out));
    }
    Said(out)
}

/// The same over a wave.
pub fn last(rate: f64, seconds: i64, wave: impl Fn(f64) -> f64) -> Said {
    let count = seconds * rate as i64;
    let samples: Vec<f32> = (0..count).map(|i| wave(i as f64 / rate) as f32).collect();
    last_of(rate, &samples)
}
