//! Tells ventricular flutter and fibrillation from QRS complexes by the last two seconds of slow slopes.
//! In: the magnitude of the slow slope every 10 ms, and each beat found with its slope energy. Out: an index from
//! 0 to 1, above one half while the waves found are no QRS complexes.
//!
//! In flutter the lead never rests and its steepest parts are slow: the slope energy of a wave is a small part of
//! the slow slope's peak. A wave is called smooth if it is so and the two seconds before held little rest; the
//! index is the running share of smooth waves, so a short run of ventricular beats does not reach one half.

use serde::{Deserialize, Serialize};

/// Blocks of 50 ms that make two seconds.
const BLOCKS: usize = 40;
/// Slopes in one block.
const PER_BLOCK: u32 = 5;
/// A wave is slow if its slope energy is less than this share of the peak of the slow slope.
const SLOW_SHARE: f32 = 0.26;
/// A block is at rest if its steepest slope is less than this share of the peak.
const REST_SHARE: f32 = 0.3;
/// Blocks at rest that a smooth two seconds may hold.
const REST_BLOCKS: usize = 12;
/// Mean slope over its peak that a smooth two seconds at least has (0.64 for a sine, 0.1 to 0.3 with QRS).
const FULLNESS: f32 = 0.33;
/// Weight of one wave in the running share.
const WEIGHT: f32 = 0.25;

/// Mean and greatest slow slope of 50 ms, in mV.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Block {
    mean: f32,
    peak: f32,
}

/// Watches one lead.
///
/// ```
/// use auscult_operators::ecg::qrs_flutter::FlutterWatch;
/// let mut watch = FlutterWatch::default();
/// for i in 0..1000 {
///     watch.slope((i as f32 * 0.25).sin().abs());
///     if i % 25 == 0 {
///         watch.wave(0.1);
///     }
/// }
/// assert!(watch.index() > 0.9);
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FlutterWatch {
    blocks: Vec<Block>,
    next: u8,
    open: Block,
    filled: u32,
    index: f32,
}

impl Default for FlutterWatch {
    fn default() -> Self {
        Self {
            blocks: vec![Block::default(); BLOCKS],
            next: 0,
            open: Block::default(),
            filled: 0,
            index: 0.0,
        }
    }
}

impl FlutterWatch {
    /// Takes in the magnitude of the slow slope, every 10 ms, in mV.
    #[inline]
    pub fn slope(&mut self, magnitude: f32) {
        self.take(magnitude, share(magnitude));
    }

    #[inline]
    fn take(&mut self, magnitude: f32, share: f32) {
        self.open.mean += share;
        self.open.peak = self.open.peak.max(magnitude);
        self.filled += 1;
        if self.filled == PER_BLOCK {
            self.close();
        }
    }

    /// Takes in every so many of these magnitudes, the first one included, and their [`share`]s.
    pub fn slopes(&mut self, magnitudes: &[f32], shares: &[f32], every: usize) {
        let n = magnitudes.len().min(shares.len());
        let (magnitudes, shares) = (&magnitudes[..n], &shares[..n]);
        let mut at = 0;
        while at < n {
            // A whole block at a time where none is open, for the lengths of usual rates.
            let rows = (&magnitudes[at..], &shares[at..]);
            let whole = match every {
                _ if self.filled > 0 => None,
                1 => whole::<1, 5>(rows),
                2 => whole::<2, 9>(rows),
                5 => whole::<5, 21>(rows),
                _ => None,
            };
            if let Some(block) = whole {
                self.open = block;
                self.close();
                at += PER_BLOCK as usize * every;
            } else {
                self.take(magnitudes[at], shares[at]);
                at += every;
            }
        }
    }

    fn close(&mut self) {
        self.blocks[self.next as usize] = self.open;
        self.next = if self.next as usize + 1 == BLOCKS { 0 } else { self.next + 1 };
        (self.open, self.filled) = (Block::default(), 0);
    }

    /// Takes in a wave that was taken for a QRS complex, by its slope energy in mV.
    pub fn wave(&mut self, energy: f32) {
        let smooth = f32::from(u8::from(self.smooth(energy)));
        self.index += WEIGHT * (smooth - self.index);
    }

    /// Notes where its memory lies, see [`Far`].
    pub(super) fn far(&self, to: &mut crate::filter::dispatch::Far) {
        to.add(&self.blocks[..]);
    }

    /// Running share of smooth waves, 0 to 1: flutter above one half.
    pub fn index(&self) -> f32 {
        self.index
    }

    /// Whether a loaded state has the right shape.
    pub fn sound(&self) -> bool {
        self.blocks.len() == BLOCKS && (self.next as usize) < BLOCKS && self.filled < PER_BLOCK
    }

    fn smooth(&self, energy: f32) -> bool {
        // No peak is above the highest: most QRS complexes are told by that alone.
        let highest = self.blocks.iter().fold(0.0f32, |most, b| if b.peak > most { b.peak } else { most });
        energy < SLOW_SHARE * highest && self.smooth_by_ranks(energy)
    }

    fn smooth_by_ranks(&self, energy: f32) -> bool {
        // The fourth highest block stands for the peak, so that one artefact does not.
        let mut top = [0.0f32; 4];
        for b in &self.blocks {
            let mut rest = b.peak;
            if rest <= top[3] {
                continue;
            }
            for t in &mut top {
                if rest > *t {
                    std::mem::swap(&mut rest, t);
                }
            }
        }
        let peak = top[3];
        let mean = self.blocks.iter().map(|b| b.mean).sum::<f32>() / BLOCKS as f32;
        let resting = self.blocks.iter().filter(|b| b.peak < REST_SHARE * peak).count();
        energy < SLOW_SHARE * peak && mean > FULLNESS * peak && resting < REST_BLOCKS
    }
}

/// What a slope adds to the mean of its block. A division takes long: it is made of many at once.
#[inline(always)]
pub fn share(magnitude: f32) -> f32 {
    magnitude / PER_BLOCK as f32
}

/// A block of every `EVERY`-th slope, the last of which is number `LEN - 1`, if so many are there.
#[inline(always)]
fn whole<const EVERY: usize, const LEN: usize>((slopes, shares): (&[f32], &[f32])) -> Option<Block> {
    let (slopes, shares) = (slopes.first_chunk::<LEN>()?, shares.first_chunk::<LEN>()?);
    let mut block = Block::default();
    for k in 0..PER_BLOCK as usize {
        let m = slopes[k * EVERY];
        block.mean += shares[k * EVERY];
        block.peak = if m > block.peak { m } else { block.peak };
    }
    Some(block)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_slopes_are_as_one_by_one() {
        let all: Vec<f32> = (0..997).map(|i| ((i * i * 31) % 173) as f32 * 0.01).collect();
        for every in [1, 2, 3, 10] {
            for cut in [1, 4, 9, 10, 64, 997] {
                let (mut one, mut many) = (FlutterWatch::default(), FlutterWatch::default());
                for part in all.chunks(cut) {
                    part.iter().step_by(every).for_each(|m| one.slope(*m));
                    let shares: Vec<f32> = part.iter().map(|m| share(*m)).collect();
                    many.slopes(part, &shares, every);
                }
                one.wave(0.1);
                many.wave(0.1);
                assert_eq!(one, many, "every {every}, cut at {cut}");
            }
        }
    }
}
