//! Shapes that the simulated signals are put together from, computed once: waves of a beat, a pulse, noise.
//! In: nothing. Out: tables in millivolts (heart), in parts of the pulse height, or of deviation 1 (noise).

use std::sync::OnceLock;

use super::Draw;

/// Entries per second of the heart's tables.
pub const TABLE_HZ: f64 = 1_000.0;
/// Seconds before the R wave at which [`Lead::pqrs`] begins.
pub const BEFORE_R_S: f64 = 0.30;
/// Seconds after the R wave at which it ends.
const AFTER_R_S: f64 = 0.40;
/// Seconds after the R wave at which the T wave is over, at 60 beats per minute.
const T_END_S: f64 = 0.60;
/// Entries of a pulse table.
pub const PULSE_POINTS: usize = 512;
/// Entries of a noise table: a power of two.
pub const NOISE_POINTS: usize = 8_192;
/// Entries of the sine table: a power of two.
const SINE_POINTS: usize = 1_024;

/// One lead's tables, in millivolts.
#[derive(Debug)]
pub struct Lead {
    /// P wave and QRS complex, from [`BEFORE_R_S`] before the R wave.
    pub pqrs: Vec<f32>,
    /// The same without P wave.
    pub qrs: Vec<f32>,
    /// T wave, from the R wave on, at 60 beats per minute.
    pub t: Vec<f32>,
    /// A ventricular beat whole, from [`BEFORE_R_S`] before its R wave.
    pub broad: Vec<f32>,
}

/// All tables.
#[derive(Debug)]
pub struct Shapes {
    /// Leads II and V5.
    pub leads: [Lead; 2],
    /// Pulse of the pleth from onset to next onset, 0 to 1.
    pub ppg: Vec<f32>,
    /// Pulse of the arterial pressure from onset to next onset, 0 to 1.
    pub abp: Vec<f32>,
    /// Independent noise of deviation 1.
    pub noise: Vec<f32>,
    /// Slow noise of deviation about 1, the same at both ends.
    pub slow: Vec<f32>,
    sine: Vec<f32>,
}

/// A Gaussian wave: height in mV, time from the R wave in s, width (deviation) before and after its top in s.
type Bump = (f64, f64, f64, f64);

const P: [Bump; 2] = [(0.14, -0.160, 0.024, 0.022), (0.09, -0.160, 0.024, 0.022)];
const QRS: [[Bump; 3]; 2] = [
    [(-0.11, -0.028, 0.008, 0.008), (1.15, 0.0, 0.0105, 0.0105), (-0.22, 0.027, 0.009, 0.010)],
    [(-0.09, -0.028, 0.008, 0.008), (1.50, 0.0, 0.0105, 0.0105), (-0.38, 0.028, 0.010, 0.011)],
];
const T: [Bump; 2] = [(0.30, 0.290, 0.060, 0.038), (0.38, 0.290, 0.060, 0.038)];
const BROAD: [[Bump; 4]; 2] = [
    [
        (0.25, -0.045, 0.020, 0.020),
        (1.65, 0.0, 0.030, 0.035),
        (-0.45, 0.085, 0.025, 0.030),
        (-0.50, 0.250, 0.060, 0.045),
    ],
    [
        (-0.20, -0.045, 0.020, 0.020),
        (-1.30, 0.0, 0.032, 0.036),
        (0.30, 0.090, 0.025, 0.030),
        (0.45, 0.250, 0.060, 0.045),
    ],
];

/// Phase and height of a pulse. The dicrotic notch stands at 0.37 (pressure) and 0.44 (pleth).
const ABP_POINTS: &[(f64, f64)] = &[
    (0.0, 0.0),
    (0.04, 0.14),
    (0.09, 0.70),
    (0.15, 1.0),
    (0.22, 0.90),
    (0.31, 0.62),
    (0.37, 0.46),
    (0.42, 0.53),
    (0.50, 0.46),
    (0.70, 0.22),
    (0.85, 0.09),
    (1.0, 0.0),
];
const PPG_POINTS: &[(f64, f64)] = &[
    (0.0, 0.0),
    (0.05, 0.16),
    (0.11, 0.68),
    (0.19, 1.0),
    (0.28, 0.82),
    (0.38, 0.50),
    (0.44, 0.43),
    (0.51, 0.48),
    (0.62, 0.37),
    (0.80, 0.14),
    (1.0, 0.0),
];

/// The tables, made on first use.
///
/// ```
/// let s = auscult_datasets::simulate::shapes::shapes();
/// assert!(s.leads[0].pqrs.iter().any(|v| *v > 1.0) && s.abp.iter().all(|v| (-0.05..=1.001).contains(v)));
/// ```
pub fn shapes() -> &'static Shapes {
    static SHAPES: OnceLock<Shapes> = OnceLock::new();
    SHAPES.get_or_init(|| Shapes {
        leads: [lead(0), lead(1)],
        ppg: pulse(PPG_POINTS),
        abp: pulse(ABP_POINTS),
        noise: noise(),
        slow: slow_noise(),
        sine: (0..SINE_POINTS)
            .map(|i| libm::sin(std::f64::consts::TAU * i as f64 / SINE_POINTS as f64) as f32)
            .collect(),
    })
}

impl Shapes {
    /// Sine of so many turns.
    pub fn sine(&self, turns: f64) -> f32 {
        let part = turns - libm::floor(turns);
        self.sine[(part * SINE_POINTS as f64) as usize & (SINE_POINTS - 1)]
    }
}

fn lead(i: usize) -> Lead {
    let with_p: Vec<Bump> = QRS[i].into_iter().chain([P[i]]).collect();
    Lead {
        pqrs: table(-BEFORE_R_S, AFTER_R_S, &with_p),
        qrs: table(-BEFORE_R_S, AFTER_R_S, &QRS[i]),
        t: table(0.0, T_END_S, &[T[i]]),
        broad: table(-BEFORE_R_S, T_END_S, &BROAD[i]),
    }
}

/// Sum of bumps, brought to 0 at both ends so that a beat begins and ends without a step.
fn table(from_s: f64, to_s: f64, bumps: &[Bump]) -> Vec<f32> {
    let points = ((to_s - from_s) * TABLE_HZ) as usize + 2;
    let edge = |i: usize| (i.min(points - 1 - i) as f64 / 20.0).min(1.0);
    (0..points)
        .map(|i| {
            let t = from_s + i as f64 / TABLE_HZ;
            let sum: f64 = bumps
                .iter()
                .map(|&(height, at, before, after)| {
                    let x = (t - at) / if t < at { before } else { after };
                    height * libm::exp(-0.5 * x * x)
                })
                .sum();
            (sum * edge(i)) as f32
        })
        .collect()
}

/// A smooth curve through the points: cubic Hermite, flat where the points turn so that it never overshoots.
fn pulse(points: &[(f64, f64)]) -> Vec<f32> {
    let secant = |i: usize| (points[i + 1].1 - points[i].1) / (points[i + 1].0 - points[i].0);
    let slopes: Vec<f64> = (0..points.len())
        .map(|i| {
            if i == 0 || i + 1 == points.len() {
                return 0.0;
            }
            let (a, b) = (secant(i - 1), secant(i));
            if a * b <= 0.0 { 0.0 } else { 2.0 * a * b / (a + b) }
        })
        .collect();
    (0..=PULSE_POINTS)
        .map(|n| {
            let u = n as f64 / PULSE_POINTS as f64;
            let i = points.iter().rposition(|p| p.0 <= u).unwrap_or(0).min(points.len() - 2);
            let ((x0, y0), (x1, y1)) = (points[i], points[i + 1]);
            let (h, s) = (x1 - x0, (u - x0) / (x1 - x0));
            let (s2, s3) = (s * s, s * s * s);
            let y = y0 * (2.0 * s3 - 3.0 * s2 + 1.0)
                + h * slopes[i] * (s3 - 2.0 * s2 + s)
                + y1 * (3.0 * s2 - 2.0 * s3)
                + h * slopes[i + 1] * (s3 - s2);
            y as f32
        })
        .collect()
}

fn noise() -> Vec<f32> {
    let mut draw = Draw::new(0x6e6f_6973, 0);
    (0..NOISE_POINTS).map(|_| draw.normal() as f32).collect()
}

/// A sum of sines with whole numbers of turns over the table, falling with frequency: at 125 Hz, 0.5 to 4 Hz.
fn slow_noise() -> Vec<f32> {
    let mut draw = Draw::new(0x736c_6f77, 0);
    let parts: Vec<(f64, f64, f64)> = (0..24)
        .map(|_| {
            let turns = libm::floor(draw.between(33.0, 260.0));
            (turns, 0.8 * libm::sqrt(33.0 / turns), draw.uniform())
        })
        .collect();
    (0..NOISE_POINTS)
        .map(|i| {
            let x = i as f64 / NOISE_POINTS as f64;
            let sum: f64 = parts
                .iter()
                .map(|&(turns, height, phase)| {
                    height * libm::sin(std::f64::consts::TAU * (turns * x + phase))
                })
                .sum();
            (sum * 0.55) as f32
        })
        .collect()
}
