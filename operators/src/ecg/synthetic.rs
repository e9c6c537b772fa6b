//! Beats whose waves have known ends, for tests: each wave is zero outside its own span.
//! In: a shape, a rate, noise, wander. Out: samples in mV and the times of the R waves (s).

use crate::operator::Operator;
use crate::signal::{
    Beat, BeatKind, ChannelId, Epoch, EventTime, Hertz, Missing, Reading, Readings, Run, Span, Values,
};

/// A beat; times in ms from the R wave, heights in mV.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Onset and end of P, height.
    pub p: (f64, f64, f64),
    /// Onset and end of QRS; depths of Q and S; height of R.
    pub qrs: (f64, f64),
    pub q_r_s: (f64, f64, f64),
    /// Onset, peak and end of T, height.
    pub t: (f64, f64, f64, f64),
    /// ST deviation at J + 60 ms and its slope in mV/s.
    pub st: (f64, f64),
    pub rr_ms: f64,
}

pub const USUAL: Shape = Shape {
    p: (-160.0, -60.0, 0.12),
    qrs: (-40.0, 50.0),
    q_r_s: (-0.1, 1.0, -0.25),
    t: (140.0, 260.0, 360.0, 0.3),
    st: (0.0, 0.0),
    rr_ms: 850.0,
};

fn bump(t: f64, from: f64, peak: f64, to: f64) -> f64 {
    if t <= from || t >= to {
        return 0.0;
    }
    let part = if t < peak { (t - from) / (peak - from) } else { (to - t) / (to - peak) };
    0.5 - 0.5 * libm::cos(std::f64::consts::PI * part)
}

/// The wave through points joined by straight lines.
fn through(t: f64, points: &[(f64, f64)]) -> f64 {
    points
        .windows(2)
        .find(|w| t >= w[0].0 && t < w[1].0)
        .map_or(0.0, |w| w[0].1 + (w[1].1 - w[0].1) * (t - w[0].0) / (w[1].0 - w[0].0))
}

impl Shape {
    /// One beat at `t` ms from its R wave.
    pub fn at(&self, t: f64) -> f64 {
        let (on, off) = self.qrs;
        let (q, r, s) = self.q_r_s;
        let st = |t: f64| self.st.0 + self.st.1 * (t - off - 60.0) / 1e3;
        // Without a Q wave the R wave begins at the onset.
        let knots = [
            (on, 0.0),
            (0.6 * on, if q == 0.0 { 0.4 * r } else { q }),
            (0.0, r),
            (0.5 * off, s),
            (off, st(off)),
            (self.t.0, st(self.t.0)),
            (self.t.1, st(self.t.0)),
        ];
        let complex = through(t, &knots);
        // Past its peak the T wave falls from wherever the ST segment has brought it.
        let fall = if t >= self.t.1 { st(self.t.0) * bump(t, self.t.0, self.t.1, self.t.2) } else { 0.0 };
        complex
            + fall
            + self.p.2 * bump(t, self.p.0, 0.5 * (self.p.0 + self.p.1), self.p.1)
            + self.t.3 * bump(t, self.t.0, self.t.1, self.t.2)
    }
}

/// Numbers of a fixed sequence, roughly normal, of variance one.
pub fn noise(seed: u64) -> impl FnMut() -> f64 {
    let mut x = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut uniform = move || {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        (x >> 11) as f64 / (1u64 << 53) as f64
    };
    move || (0..12).map(|_| uniform()).sum::<f64>() - 6.0
}

/// A lead of `seconds` with beats of a shape, and the times of their R waves. `odd` gives every beat its own shape.
pub fn lead(
    rate: f64,
    seconds: usize,
    shape: impl Fn(usize) -> Shape,
    noise_mv: f64,
    wander: (f64, f64),
) -> (Vec<f32>, Vec<f64>) {
    let mut dice = noise(7);
    let mut beats = vec![];
    let mut time = 0.5;
    while time < seconds as f64 {
        beats.push(time);
        let n = beats.len();
        // A heart that breathes.
        time += shape(n - 1).rr_ms / 1e3 * (1.0 + 0.03 * libm::sin(n as f64 * 1.3));
    }
    let n = (rate * seconds as f64) as usize;
    let mut mv = vec![0.0f64; n];
    for (k, r) in beats.iter().enumerate() {
        let (from, to) = (((r - 0.6) * rate).max(0.0) as usize, (((r + 0.9) * rate) as usize).min(n));
        for (i, x) in mv.iter_mut().enumerate().take(to).skip(from) {
            *x += shape(k).at((i as f64 / rate - r) * 1e3);
        }
    }
    let mv = mv.iter().enumerate().map(|(i, x)| {
        let t = i as f64 / rate;
        (x + noise_mv * dice() + wander.0 * libm::sin(2.0 * std::f64::consts::PI * wander.1 * t)) as f32
    });
    (mv.collect(), beats)
}

/// Runs an operator over leads with given R waves, as `rpeaks` would tell of them, and gives what it says last.
pub fn run(
    op: &mut dyn Operator,
    leads: &[(&str, f64, &[f32])],
    beats: &[f64],
    each: &mut dyn FnMut(i64, &Readings),
) {
    let values = Values::default();
    let seconds = leads[0].2.len() as f64 / leads[0].1;
    let mut told = 0;
    for s in 0..seconds as i64 {
        let start = EventTime::from_seconds(s);
        let runs: Vec<Run<'_>> = leads
            .iter()
            .map(|(name, rate, mv)| {
                let first = |s: i64| (s as f64 * rate).ceil() as usize;
                let raw = &mv[first(s)..first(s + 1).min(mv.len())];
                let start = EventTime::from_micros((first(s) as f64 * 1e6 / rate).round() as i64);
                let channel = ChannelId::named(name).unwrap();
                Run { channel, rate: Hertz(*rate), start, reset: s == 0, raw, clean: raw, bridged: 0 }
            })
            .collect();
        let channel = runs[0].channel;
        let mut out = Readings::default();
        while told < beats.len() && beats[told] + 0.5 < (s + 1) as f64 {
            // R waves stand at samples.
            let time = EventTime::from_micros(
                ((beats[told] * leads[0].1).round() / leads[0].1 * 1e6).round() as i64,
            );
            out.beats.push(Beat { kind: BeatKind::Qrs, channel, time, amplitude: 1.0, confidence: 0.98 });
            told += 1;
        }
        let quality = 1.0;
        let (time, window, value) = (start + Span::EPOCH, Span::EPOCH, Ok::<f64, Missing>(0.1));
        out.push(Reading { name: "qrs_noise", channel: Some(channel), time, window, value, quality });
        op.apply(&Epoch { start, runs: &runs, values: &values }, &mut out);
        each(s, &out);
    }
}
