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
const TOGETHER: usize = 256;

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
            // The pieces of usual rates: a sum of known length is taken apart, and those of several pieces overlap.
            match piece {
                3 => self.pieces::<3>(sizes, piece),
                6 => self.pieces::<6>(sizes, piece),
                13 => self.pieces::<13>(sizes, piece),
                _ => self.pieces::<1>(sizes, piece),
            }
            from += n;
        }
    }

    /// Mean of each piece, the last of which counts if half of it is there. `PIECE` is its length or one.
    #[inline(always)]
    fn pieces<const PIECE: usize>(&mut self, sizes: &[f32], piece: usize) {
        let (whole, mut rest) = sizes.as_chunks::<PIECE>();
        let room = &mut self.sizes[self.count..];
        if PIECE == piece {
            for (mean, part) in room.iter_mut().zip(whole) {
                let mut sum = 0.0;
                for size in part {
                    sum += size;
                }
                *mean = sum / PIECE as f32;
            }
            self.count += room.len().min(whole.len());
        } else {
            rest = sizes;
        }
        for part in rest.chunks(piece) {
            if self.count == PIECES || part.len() * 2 < piece {
                return;
            }
            self.sizes[self.count] = part.iter().sum::<f32>() / part.len() as f32;
            self.count += 1;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quality::limits::limits;
    use crate::signal::Kind;

    #[test]
    fn pieces_are_the_means_of_their_differences_in_order() {
        let raw: Vec<f32> = (0..500).map(|i| ((i * i * 37) % 71) as f32 * 0.013).collect();
        for (rate, kind) in
            [(62.5, Kind::Respiration), (125.0, Kind::Ppg), (250.0, Kind::Ecg), (360.0, Kind::Ecg)]
        {
            let limits = limits(kind);
            let step = (limits.noise_step_s * rate).round().max(1.0) as usize;
            let piece = (0.05 * rate).round() as usize;
            for len in [piece, 61, 255, 256, 257, 400] {
                let difference = |i: usize| (raw[i + 2 * step] - 2.0 * raw[i + step] + raw[i]).abs();
                let all: Vec<f32> = (0..len.saturating_sub(2 * step)).map(difference).collect();
                let whole = all.chunks(piece).filter(|p| 2 * p.len() >= piece).take(PIECES);
                let expected: Vec<f32> =
                    whole.map(|p| p.iter().fold(0.0, |s, x| s + x) / p.len() as f32).collect();
                let mut found = Pieces::default();
                found.add(&raw[..len], rate, &limits);
                assert_eq!(found.sizes[..found.count], expected, "{rate} {len}");
            }
        }
    }
}
