//! Fast noise between beats: the second difference over short pieces of a second.
//! In: raw samples of one second. Out: a low rank of the mean size per piece, in the channel's canonical unit.

use super::limits::Limits;
use crate::window::rank_in_place;

/// Pieces of 50 ms that a second is cut into, with room for runs that do not divide evenly.
const PIECES: usize = 32;
/// Beyond this nothing means anything in any unit, and sums still fit.
const WILD: f32 = 1e7;

/// Mean size of the second difference in each piece.
#[derive(Clone, Copy, Debug, Default)]
pub struct Pieces {
    sizes: [f32; PIECES],
    count: usize,
}

impl Pieces {
    /// Adds a contiguous stretch of samples at `rate` per second.
    ///
    /// ```
    /// use auscult_operators::{quality::{limits::limits, noise::Pieces}, signal::Kind};
    /// let mut pieces = Pieces::default();
    /// let mut wave: Vec<f32> = (0..250).map(|i| 0.1 * (i % 2) as f32).collect();
    /// pieces.add(&wave, 250.0, &limits(Kind::Ecg));
    /// assert!(pieces.between_beats() < 0.01, "two samples apart there is no difference");
    /// wave = (0..250).map(|i| 0.1 * (i % 4 / 2) as f32).collect();
    /// pieces = Pieces::default();
    /// pieces.add(&wave, 250.0, &limits(Kind::Ecg));
    /// assert!((pieces.between_beats() - 0.2).abs() < 0.01);
    /// ```
    pub fn add(&mut self, raw: &[f32], rate: f64, limits: &Limits) {
        let step = (limits.noise_step_s * rate).round().max(1.0) as usize;
        let piece = (0.05 * rate).round().max(1.0) as usize;
        let calm = raw.iter().fold(true, |calm, x| calm & (x.abs() < WILD));
        if !calm {
            self.sizes[self.count..].fill(WILD);
            self.count = PIECES;
        }
        let Some(ahead) = raw.get(2 * step..) else { return };
        let rows = ahead.chunks(piece).zip(raw[step..].chunks(piece)).zip(raw.chunks(piece));
        for ((c, b), a) in rows {
            if self.count == PIECES || c.len() * 2 < piece {
                break;
            }
            let mut sum = 0.0;
            for ((c, b), a) in c.iter().zip(b).zip(a) {
                sum += (c - 2.0 * b + a).abs();
            }
            self.sizes[self.count] = sum / c.len() as f32;
            self.count += 1;
        }
    }

    /// Beats fill few pieces and noise fills all, so that a low rank of the pieces tells the noise between beats.
    pub fn between_beats(mut self) -> f32 {
        rank_in_place(&mut self.sizes[..self.count], 0.4).unwrap_or(0.0)
    }
}
