//! How likely a peak of slope energy is a QRS complex.
//! In: what was measured of the peak and what is known of the lead, in mV. Out: the natural logarithm of the odds.

use libm::logf;

/// Weights of the log odds: constant, ln(energy / QRS level), ln(noise level / QRS level),
/// ln(time since the last beat / RR), mean energy around / energy. From logistic regressions on the peaks of both
/// leads of the MIT-BIH development records, as they are and with electrode motion at 6 to 18 dB, half by half of the
/// patients, rounded: the figures hardly move when a weight is changed by a tenth.
const WEIGHTS: [f32; 5] = [9.0, 1.7, -1.6, 3.3, -14.8];
/// The same, of ln(bump / that of QRS complexes), for each size of bump.
const BUMP_WEIGHTS: [f32; 3] = [2.6, -2.8, 2.4];
/// A bump counts as at least and at most this share of that of QRS complexes.
const BUMP_SHARE: (f32, f32) = (0.05, 20.0);
/// A peak with more of its own energy around it than this share is noise, whatever else speaks for it.
const AROUND_LIMIT: f32 = 0.65;
/// A peak with less than this share of the QRS level is no beat, however overdue one is: in complete heart block the
/// P waves go on alone and must not pass for QRS complexes.
const LEAST_SHARE: f32 = 0.2;
/// Less slope energy than this is no QRS complex, in mV: it is reached by a deflection of about 0.05 mV.
pub(super) const FLOOR_MV: f32 = 0.012;

/// What speaks for and against a peak.
pub(super) struct Evidence {
    /// Slope energy of the peak, of QRS complexes, and of peaks that were none, in mV.
    pub(super) energy: f32,
    pub(super) qrs_level: f32,
    pub(super) noise_level: f32,
    /// Mean slope energy of the 0.6 s around it, in mV.
    pub(super) around: f32,
    /// Time since the last beat, in RR intervals.
    pub(super) due: f32,
}

impl Evidence {
    /// Whether it is no QRS complex, whatever else speaks for it.
    pub(super) fn is_hopeless(&self) -> bool {
        self.around > AROUND_LIMIT * self.energy || self.energy < LEAST_SHARE * self.qrs_level
    }

    /// Natural logarithm of the odds that this is a QRS complex, bumps left out.
    pub(super) fn log_odds(&self) -> f32 {
        let Self { energy, qrs_level, noise_level, around, due } = *self;
        let level = qrs_level.max(FLOOR_MV);
        WEIGHTS[0]
            + WEIGHTS[1] * logf(energy.max(1e-6) / level)
            + WEIGHTS[2] * logf((noise_level + 1e-4) / level)
            + WEIGHTS[3] * logf(due.clamp(0.1, 2.0))
            + WEIGHTS[4] * around / energy.max(1e-6)
    }
}

/// What the bumps of three sizes, against those of QRS complexes, both in mV, add to the log odds.
pub(super) fn by_bumps(bumps: [f32; 3], levels: [f32; 3]) -> f32 {
    let share = |k: usize| (bumps[k] / levels[k].max(1e-3)).clamp(BUMP_SHARE.0, BUMP_SHARE.1);
    (0..3).map(|k| BUMP_WEIGHTS[k] * logf(share(k))).sum()
}
