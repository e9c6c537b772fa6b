//! What a believable second of each kind of waveform looks like: the only place with these numbers.
//! In: a kind of channel. Out: limits in seconds, in the channel's canonical unit, or as ratios.

use crate::signal::Kind;

/// Limits of one kind of waveform. Pairs are (still fine, worthless).
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// A stretch this long without change is flat (s).
    pub flat_s: f64,
    /// Change that still counts as none (canonical unit).
    pub flat_step: f32,
    /// Spacing of the second difference that weighs fast noise (s); it is most sensitive to 1 / (2 spacing).
    pub noise_step_s: f64,
    /// Fast noise that no good amplifier avoids and that never counts (canonical unit).
    pub noise_floor: f32,
    /// Fast noise relative to the height of the signal.
    pub noise: (f32, f32),
    /// A plateau at an extreme this long is a rail (s).
    pub rail_s: f64,
    /// Height of this second relative to the median of the last ones.
    pub jump: (f32, f32),
    /// Wander of the mean over the last seconds, relative to the height of the signal.
    pub wander: (f32, f32),
    /// Steepest change a body makes (canonical unit per second); infinite where the unit is arbitrary.
    pub slope: f32,
    /// Height of one second (canonical unit); infinite where the unit is arbitrary.
    pub height: (f32, f32),
    /// Mean of one second inside which a signal counts as living (canonical unit).
    pub level: (f32, f32),
}

const ANY: (f32, f32) = (f32::NEG_INFINITY, f32::INFINITY);
const NEVER: (f32, f32) = (f32::MAX, f32::INFINITY);

/// A start for kinds whose unit is arbitrary.
const PLAIN: Limits = Limits {
    flat_s: 1.0,
    flat_step: 0.0,
    noise_step_s: 0.024,
    noise_floor: 0.0,
    noise: (0.15, 0.6),
    rail_s: 0.06,
    jump: (3.0, 8.0),
    wander: NEVER,
    slope: f32::INFINITY,
    height: NEVER,
    level: ANY,
};

/// Slopes of 320 mV/s are the steepest that IEC 60601-2-27 asks an ECG monitor to follow. The flat step is kept
/// far below amplifier noise: asystole is not a loose lead. Electrode motion moves the mean of a second; breathing
/// moves it by less than a fifth of the height as a rule.
const ECG: Limits = Limits {
    flat_step: 0.000_5,
    noise_step_s: 0.008,
    noise_floor: 0.02,
    noise: (0.06, 0.35),
    rail_s: 0.024,
    jump: (3.5, 10.0),
    wander: (0.2, 0.8),
    slope: 500.0,
    height: (6.0, 15.0),
    ..PLAIN
};

const PRESSURE: Limits = Limits {
    flat_step: 0.05,
    noise_floor: 0.5,
    noise: (0.08, 0.4),
    jump: (2.5, 6.0),
    slope: 5_000.0,
    height: (180.0, 300.0),
    level: (10.0, 250.0),
    ..PLAIN
};

/// The limits of a kind.
///
/// ```
/// use auscult_operators::{quality::limits::limits, signal::Kind};
/// assert!(limits(Kind::Capnogram).flat_s > limits(Kind::Ecg).flat_s);
/// ```
pub const fn limits(kind: Kind) -> Limits {
    match kind {
        Kind::Ecg => ECG,
        Kind::Ppg => PLAIN,
        Kind::Pressure => PRESSURE,
        Kind::VenousPressure => {
            Limits { level: (-20.0, 80.0), height: (60.0, 150.0), jump: (4.0, 12.0), ..PRESSURE }
        }
        Kind::Respiration => Limits {
            flat_s: 2.0,
            noise_step_s: 0.12,
            noise: (0.3, 1.2),
            rail_s: 0.3,
            jump: (4.0, 12.0),
            ..PLAIN
        },
        // Inspired gas holds no carbon dioxide: the baseline is flat for as long as a breath is held.
        Kind::Capnogram => {
            Limits { flat_s: 30.0, noise_floor: 1.0, rail_s: 3.0, jump: NEVER, level: (-5.0, 120.0), ..PLAIN }
        }
        Kind::Eeg => Limits {
            flat_step: 0.1,
            noise_step_s: 0.008,
            noise_floor: 2.0,
            noise: (0.4, 1.2),
            rail_s: 0.024,
            jump: (6.0, 20.0),
            slope: 50_000.0,
            height: (500.0, 1_500.0),
            ..PLAIN
        },
        // A body at rest yields a constant, and a moving one may yield anything inside the range.
        Kind::Motion | Kind::Numeric | Kind::Laboratory | Kind::Context => {
            Limits { flat_s: 60.0, noise: NEVER, jump: NEVER, ..PLAIN }
        }
    }
}
