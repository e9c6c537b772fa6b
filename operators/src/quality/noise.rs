//! Fast noise between beats: the second difference over short pieces of a second.
//! In: raw samples of one second. Out: a low rank of the mean size per piece, in the channel's canonical unit.

use super::limits::Limits;
use crate::filter::dispatch::{Kernel, widest};
use crate::window::rank_in_place;

/// Pieces of 50 ms that a second is cut into, with room for runs that do not divide evenly.
const PIECES: usize = 32;
/// Beyond this nothing means anything in any unit, and sums still fit.
const WILD: f32 = 1e7;

/// Differences that are taken at a time; at the highest rate a piece has 250.
const TOGETHER: usize = 512;

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
        widest(Add { pieces: self, raw, rate, limits });
    }

    #[inline(always)]
    fn take(&mut self, raw: &[f32], rate: f64, limits: &Limits) {
        let step = (limits.noise_step_s * rate).round().max(1.0) as usize;
        let piece = (0.05 * rate).round().max(1.0) as usize;
        let mut calm = true;
        for x in raw {
            calm &= x.abs() < WILD;
        }
        if !calm {
            self.sizes[self.count..].fill(WILD);
            self.count = PIECES;
        }
        // Differences of as many pieces as fit the buffer, then the sum of each piece in order.
        let mut differences = [0.0_f32; TOGETHER];
        let together = (TOGETHER / piece).max(1) * piece;
        let mut from = 0;
        while let Some(ahead) = raw.get(2 * step + from..).filter(|a| !a.is_empty()) {
            let n = ahead.len().min(together).min(TOGETHER);
            let (c, b, a) = (&ahead[..n], &raw[step + from..][..n], &raw[from..][..n]);
            let sizes = &mut differences[..n];
            for i in 0..n {
                sizes[i] = (c[i] - 2.0 * b[i] + a[i]).abs();
            }
            for part in sizes.chunks(piece) {
                if self.count == PIECES || part.len() * 2 < piece {
                    return;
                }
                let mut sum = 0.0;
                for size in part {
                    sum += size;
                }
                self.sizes[self.count] = sum / part.len() as f32;
                self.count += 1;
            }
            from += n;
        }
    }

    /// Beats fill few pieces and noise fills all, so that a low rank of the pieces tells the noise between beats.
    pub fn between_beats(mut self) -> f32 {
        rank_in_place(&mut self.sizes[..self.count], 0.4).unwrap_or(0.0)
    }
}

struct Add<'a> {
    pieces: &'a mut Pieces,
    raw: &'a [f32],
    rate: f64,
    limits: &'a Limits,
}

impl Kernel for Add<'_> {
    type Out = ();
    #[inline(always)]
    fn run(self) {
        self.pieces.take(self.raw, self.rate, self.limits);
    }
}
