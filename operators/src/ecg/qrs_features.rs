//! Slope energy of one ECG lead, sample by sample: the signal in which QRS complexes are looked for and found.
//! In: millivolts at 100 to 1000 Hz. Out: slope energy in mV (peaks on QRS complexes, any polarity), its mean over
//! any span of the last second, and the place and height of the R wave.
//!
//! The samples are summed into a ring of integers, so every moving average is the difference of two entries: it
//! costs the same at any length, is exact, and never drifts. The slope is that of a 20 ms average over 20 ms, less
//! the slope of the 120 ms around it, which takes out T waves and wander (a band-pass of about 8 to 25 Hz, without a
//! phase shift). Its magnitude averaged over 120 ms is the slope energy.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::qrs_flutter::share;
use crate::filter::dispatch::{Far, Kernel, widest};
use crate::signal::Hertz;
use crate::window::{bits, tame};

/// Length of the first moving average, which takes out mains interference, in seconds.
const SMOOTH_S: f64 = 0.020;
/// Distance over which the slope is taken, in seconds.
const SLOPE_S: f64 = 0.020;
/// Distance over which the slower slope is taken that is subtracted, in seconds.
const WIDE_S: f64 = 0.120;
/// Length of the average of the slope's magnitude: a QRS complex fits in, in seconds.
const ENERGY_S: f64 = 0.120;
/// How much of the past the rings hold, in seconds.
pub(super) const HISTORY_S: f64 = 1.02;
/// Half the widths of the middle and of the whole of a bump, for three sizes from a narrow wave of a QRS complex to one
/// wider than any, in seconds; and half the span in which the greatest is looked for.
const BUMPS_S: [(f64, f64); 3] = [(0.014, 0.039), (0.022, 0.061), (0.039, 0.100)];
const BUMP_SEARCH_S: f64 = 0.070;
/// Most entries that bumps are made of, at the highest rate.
const BUMP_LINE: usize = 342;
/// Half the span in which the R wave is looked for around the peak of slope energy, in seconds.
const SEARCH_S: f64 = 0.080;
/// Most samples that the R wave is looked for among, and most that are summed for each, at the highest rate.
const SEARCHED: usize = 161;
const WIDEST: usize = 13;
/// Half the span whose mean is the baseline of the R wave, in seconds.
const BASELINE_S: f64 = 0.200;
/// An earlier deflection counts if it has this share of the height of the main one, with a valley below the second
/// share between them.
const LOBE_SHARE: f32 = 0.7;
const VALLEY_SHARE: f32 = 0.6;
/// Steps per millivolt: 0.24 µV, a twentieth of the step of a usual converter.
const STEPS: f32 = 4096.0;
/// Beyond this the signal is cut off, in mV: no ECG, and integers must not overflow at 1000 Hz.
const LIMIT_MV: f32 = 32.0;
/// The highest rate, in hertz.
const RATE_MAX: f64 = 1000.0;
/// Samples that are computed ahead at a time.
pub(super) const BLOCK: usize = 64;
/// Most samples that a slope or an energy looks back, at the highest rate.
const REACH: usize = 160;

/// Fixed lengths in samples, derived from the rate alone.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Lengths {
    smooth: i64,
    slope: i64,
    wide: i64,
    energy: i64,
}

/// The state of the features of one lead.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Features {
    rate: f64,
    len: Lengths,
    /// Weight of the wide slope in 1/1024.
    wide_weight: i32,
    /// mV of slope energy for each unit of the sum.
    scale: f32,
    /// Samples taken in.
    count: i64,
    first: i32,
    /// Running sum of the samples, wrapping.
    sums: Vec<i32>,
    /// Running sum of the slope's magnitude, wrapping.
    energies: Vec<u32>,
}

/// What the rings will hold for the next samples, computed in long loops: integers, so no cut shows in a bit.
pub(super) struct Ahead {
    sums: [i32; REACH + BLOCK],
    energies: [u32; REACH + BLOCK],
    /// Slope energy in mV.
    pub(super) values: [f32; BLOCK],
    /// Magnitude of the slow slope in mV.
    pub(super) changes: [f32; BLOCK],
    /// The shares of these, see [`share`].
    pub(super) shares: [f32; BLOCK],
    /// A bit for each sample whose energy lies above, or below, that of the sample before.
    pub(super) rises: u64,
    pub(super) falls: u64,
    reach: usize,
}

impl Ahead {
    /// Nothing computed yet.
    pub(super) const EMPTY: Self = {
        let (sums, energies) = ([0; REACH + BLOCK], [0; REACH + BLOCK]);
        let none = [0.0; BLOCK];
        let (values, changes, shares) = (none, none, none);
        Self { sums, energies, values, changes, shares, rises: 0, falls: 0, reach: 0 }
    };
}

/// Computes the next samples, at most [`BLOCK`] of them, without taking them in.
pub(super) struct Compute<'a> {
    pub(super) features: &'a mut Features,
    pub(super) mv: &'a [f32],
    /// Slope energy of the sample before.
    pub(super) previous: f32,
    /// Width and distance of the slow slope, which together reach no further than the slope does.
    pub(super) slow: (i64, i64),
    pub(super) ahead: &'a mut Ahead,
}

impl Kernel for Compute<'_> {
    type Out = ();
    #[inline(always)]
    fn run(self) {
        let Self { features, mv, previous, slow: (width, distance), ahead } = self;
        let len = mv.len().min(BLOCK);
        features.compute(mv, ahead);
        ahead.compare(previous, len);
        ahead.change(width as usize, distance as usize);
    }
}

impl Ahead {
    /// Notes where the energy rises and where it falls.
    #[inline(always)]
    fn compare(&mut self, previous: f32, len: usize) {
        let mut line = [previous; BLOCK + 1];
        line[1..].copy_from_slice(&self.values);
        let (mut rises, mut falls) = ([0; BLOCK], [0; BLOCK]);
        for i in 0..BLOCK {
            rises[i] = u8::from(line[i + 1] > line[i]);
            falls[i] = u8::from(line[i + 1] < line[i]);
        }
        let there = u64::MAX >> (BLOCK - len.clamp(1, BLOCK));
        (self.rises, self.falls) = (bits(&rises) & there, bits(&falls) & there);
    }

    /// Magnitude of the change of the mean of `width` samples over `distance` samples up to each one ahead.
    #[inline(always)]
    fn change(&mut self, width: usize, distance: usize) {
        let back = |n: usize| self.sums[self.reach - n.min(self.reach)..].first_chunk::<BLOCK>();
        let rows = (back(0), back(width), back(distance), back(distance + width));
        let (Some(a), Some(b), Some(c), Some(d)) = rows else { return };
        let scale = STEPS * width as f32;
        for i in 0..BLOCK {
            let change = a[i].wrapping_sub(b[i]).wrapping_sub(c[i].wrapping_sub(d[i]));
            self.changes[i] = (change as f32 / scale).abs();
            self.shares[i] = share(self.changes[i]);
        }
    }
}

/// Where a QRS complex has its main deflection.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Deflection {
    /// Index of the sample.
    pub index: i64,
    /// Height above the mean of its surroundings, in mV, signed.
    pub height: f32,
    /// Greatest height of the other sign nearby, in mV, not negative.
    pub opposite: f32,
}

impl Features {
    /// For one rate.
    ///
    /// ```
    /// use auscult_operators::{ecg::qrs_features::Features, signal::Hertz};
    /// let mut f = Features::new(Hertz(250.0));
    /// let quiet = (0..250).map(|_| f.push(0.3)).fold(0.0, f32::max);
    /// let step = (0..50).map(|_| f.push(1.3)).fold(0.0, f32::max);
    /// assert_eq!(quiet, 0.0);
    /// assert!(step > 0.1);
    /// ```
    pub fn new(rate: Hertz) -> Self {
        let rate = rate.get().min(RATE_MAX);
        let samples = |s: f64| ((s * rate + 0.5) as i64).max(1);
        let len = Lengths {
            smooth: samples(SMOOTH_S),
            slope: samples(SLOPE_S),
            wide: samples(WIDE_S),
            energy: samples(ENERGY_S),
        };
        let size = (samples(HISTORY_S) as usize).next_power_of_two();
        Self {
            rate,
            len,
            wide_weight: (len.slope * 1024 / len.wide) as i32,
            scale: 1.0 / (STEPS * len.smooth as f32),
            count: 0,
            first: 0,
            sums: vec![0; size],
            energies: vec![0; size],
        }
    }

    /// Whether a loaded state is one that [`Features::new`] could have led to.
    pub fn sound(&self) -> bool {
        let new = Self::new(Hertz(self.rate));
        self.count >= 0
            && (self.len, self.wide_weight, self.scale) == (new.len, new.wide_weight, new.scale)
            && (self.sums.len(), self.energies.len()) == (new.sums.len(), new.energies.len())
    }

    /// Samples taken in so far.
    pub fn count(&self) -> i64 {
        self.count
    }

    /// How far the peak of slope energy lies behind the middle of its QRS complex, in samples.
    pub fn delay(&self) -> i64 {
        (self.len.smooth + self.len.wide + self.len.energy - 2) / 2
    }

    /// Takes in a sample in mV and gives the slope energy in mV.
    pub fn push(&mut self, mv: f32) -> f32 {
        let mut ahead = Ahead::EMPTY;
        self.compute(&[mv], &mut ahead);
        self.take(&ahead, 0..1);
        ahead.values[0]
    }

    #[inline(always)]
    fn compute(&mut self, mv: &[f32], a: &mut Ahead) {
        let len = mv.len().min(BLOCK);
        let of = |n: i64| n as usize;
        let Lengths { smooth, slope, wide, energy } = self.len;
        let (smooth, slope, wide, energy) = (of(smooth), of(slope), of(wide), of(energy));
        let reach = wide + smooth;
        a.reach = reach;
        last(&self.sums, self.count, &mut a.sums[..reach]);
        last(&self.energies, self.count, &mut a.energies[..reach]);
        let steps = &mut a.sums[reach..reach + len];
        if self.count == 0 {
            self.first = mv.first().map_or(0, |x| in_steps(*x));
        }
        let first = self.first;
        for i in 0..len {
            steps[i] = in_steps(mv[i]) - first;
        }
        let mut sum = a.sums[reach - 1];
        for step in &mut a.sums[reach..reach + len] {
            sum = sum.wrapping_add(*step);
            *step = sum;
        }
        self.slopes(a, (smooth, slope, wide), len);
        let mut total = a.energies[reach - 1];
        for slope in &mut a.energies[reach..reach + len] {
            total = total.wrapping_add(*slope);
            *slope = total;
        }
        let (now, then) = (&a.energies[reach..reach + len], &a.energies[reach - energy..][..len]);
        let values = &mut a.values[..len];
        for i in 0..len {
            values[i] = now[i].wrapping_sub(then[i]) as f32 * self.scale / energy as f32;
        }
    }

    /// Magnitude of the slope at each sample ahead; that of sample `n` is the slope at `n - (smooth + wide) / 2`, in
    /// steps summed over the smoothing length.
    #[inline(always)]
    fn slopes(&self, a: &mut Ahead, (smooth, slope, wide): (usize, usize, usize), len: usize) {
        let back = |n: usize| &a.sums[a.reach - n..][..len];
        let middle = (wide - slope) / 2;
        let (k0, k1) = (back(middle), back(middle + smooth));
        let (k2, k3) = (back(middle + slope), back(middle + slope + smooth));
        let (n0, n1, n2, n3) = (back(0), back(smooth), back(wide), back(wide + smooth));
        let out = &mut a.energies[a.reach..][..len];
        for i in 0..len {
            let narrow = k0[i].wrapping_sub(k1[i]).wrapping_sub(k2[i].wrapping_sub(k3[i]));
            let slow = n0[i].wrapping_sub(n1[i]).wrapping_sub(n2[i].wrapping_sub(n3[i]));
            out[i] = (narrow - (((slow >> 3) * self.wide_weight) >> 7)).unsigned_abs();
        }
    }

    /// Notes where its memory lies that the next second reads, see [`Far`].
    pub(super) fn far(&self, to: &mut Far) {
        let Lengths { smooth, wide, .. } = self.len;
        let size = self.sums.len();
        let behind = (smooth + wide) as usize;
        let count = (self.rate as usize + behind).min(size);
        let from = (self.count - behind as i64) as usize & (size - 1);
        let now = count.min(size - from);
        for span in [from..from + now, 0..count - now] {
            to.add(&self.sums[span.clone()]);
            to.add(&self.energies[span]);
        }
    }

    /// Takes in samples of those computed ahead, in order.
    pub(super) fn take(&mut self, ahead: &Ahead, span: Range<usize>) {
        let mask = self.sums.len() - 1;
        let mut from = ahead.reach + span.start;
        let end = ahead.reach + span.end;
        while from < end {
            let at = self.count as usize & mask;
            let n = (end - from).min(self.sums.len() - at);
            self.sums[at..at + n].copy_from_slice(&ahead.sums[from..from + n]);
            self.energies[at..at + n].copy_from_slice(&ahead.energies[from..from + n]);
            (self.count, from) = (self.count + n as i64, from + n);
        }
    }

    /// Mean slope energy of the samples after `from` up to `to`, in mV; both within the last second.
    pub fn mean_energy(&self, from: i64, to: i64) -> f32 {
        let sum = self.energy_sum(to).wrapping_sub(self.energy_sum(from));
        sum as f32 * self.scale / (to - from).max(1) as f32
    }

    /// The main deflection of the QRS complex whose slope energy peaked at `peak`, not before `earliest`.
    /// `polarity` (-1 to 1) is what earlier beats favour.
    pub fn deflection(&self, peak: i64, earliest: i64, polarity: f32) -> Deflection {
        let samples = |s: f64| (s * self.rate) as i64;
        let last = self.count - 1;
        let half = samples(0.006);
        let middle = peak - self.delay();
        let from = (middle - samples(SEARCH_S)).max(earliest).min(last - half);
        let to = (middle + samples(SEARCH_S)).min(last - half).max(from);
        let around = (middle - samples(BASELINE_S), (middle + samples(BASELINE_S)).min(last));
        let base =
            self.sum(around.1).wrapping_sub(self.sum(around.0)) as f32 / (around.1 - around.0).max(1) as f32;
        let mut sums = [0; SEARCHED];
        let sums = &mut sums[..((to - from + 1) as usize).min(SEARCHED)];
        self.sums_around(from, half, sums);
        let (low, high) = widest(Extremes(sums));
        let width = (2 * half + 1) as f32;
        let up = ((high as f32 / width - base) / STEPS).max(0.0);
        let down = ((base - low as f32 / width) / STEPS).max(0.0);
        let upward = up * (1.0 + polarity) >= down * (1.0 - polarity);
        let (main, sign, height, opposite) =
            if upward { (high, 1.0, up, down) } else { (low, -1.0, down, up) };
        let main = from + sums.iter().position(|s| *s == main).unwrap_or_default() as i64;
        let height_at = |i: i64| sign * (sums[(i - from) as usize] as f32 / width - base) / STEPS;
        let index = first_lobe(from, main, height, height_at);
        Deflection { index, height: sign * height, opposite }
    }

    /// The greatest bump of each size near the middle of a peak, in mV: the mean of its middle less that of its sides.
    /// What slopes as a QRS complex does, but is lower or wider, shows here.
    pub fn bumps(&self, middle: i64) -> [f32; BUMPS_S.len()] {
        let samples = |s: f64| (s * self.rate) as usize;
        let sizes = BUMPS_S.map(|(inner, outer)| (samples(inner), samples(outer)));
        let reach = sizes[BUMPS_S.len() - 1].1;
        let last = self.count - 1;
        let first = middle - (samples(BUMP_SEARCH_S) + reach) as i64 - 1;
        let to = (first + 2 * (samples(BUMP_SEARCH_S) + reach) as i64 + 2).min(last + 1);
        let mut line = [0; BUMP_LINE];
        let line = &mut line[..((to - first).max(0) as usize).min(BUMP_LINE)];
        self.copy_sums(first, line);
        widest(Bumps { line, reach, sizes })
    }

    /// Sums of the samples up to `half` before and after each one from `from` on.
    fn sums_around(&self, from: i64, half: i64, out: &mut [i32]) {
        let width = 2 * half as usize + 1;
        let mut line = [0; SEARCHED + WIDEST];
        let line = &mut line[..out.len() + width.min(WIDEST)];
        self.copy_sums(from - half - 1, line);
        for (out, (before, to)) in out.iter_mut().zip(line.iter().zip(&line[width..])) {
            *out = to.wrapping_sub(*before);
        }
    }

    /// Copies sums from that of sample `first` on; those of before the first sample are zero.
    fn copy_sums(&self, first: i64, line: &mut [i32]) {
        let first = first as usize & (self.sums.len() - 1);
        let (now, later) = line.split_at_mut(line.len().min(self.sums.len() - first));
        now.copy_from_slice(&self.sums[first..first + now.len()]);
        later.copy_from_slice(&self.sums[..later.len()]);
    }

    #[inline]
    fn sum(&self, i: i64) -> i32 {
        self.sums[i as usize & (self.sums.len() - 1)]
    }

    #[inline]
    fn energy_sum(&self, i: i64) -> u32 {
        self.energies[i as usize & (self.energies.len() - 1)]
    }
}

/// The greatest bumps in a line of sums.
struct Bumps<'a> {
    line: &'a [i32],
    /// Entries on either side that the bumps reach to.
    reach: usize,
    sizes: [(usize, usize); BUMPS_S.len()],
}

impl Kernel for Bumps<'_> {
    type Out = [f32; BUMPS_S.len()];
    #[inline(always)]
    fn run(self) -> Self::Out {
        let Self { line, reach, sizes } = self;
        let n = line.len().saturating_sub(2 * reach + 1);
        sizes.map(|(inner, outer)| {
            let from = |at: usize| &line[at..at + n];
            let (far_before, before) = (from(reach - outer), from(reach - inner));
            let (after, far_after) = (from(reach + 1 + inner), from(reach + 1 + outer));
            let (middle, sides) = (1.0 / (2 * inner + 1) as f32, 0.5 / (outer - inner).max(1) as f32);
            // Floats that are not negative have the order of their bits, and integers go side by side.
            let mut most = 0;
            for i in 0..n {
                let within = after[i].wrapping_sub(before[i]) as f32;
                let whole = far_after[i].wrapping_sub(far_before[i]) as f32;
                most = most.max((within * middle - (whole - within) * sides).abs().to_bits());
            }
            f32::from_bits(most) / STEPS
        })
    }
}

/// The least and the greatest of some numbers.
struct Extremes<'a>(&'a [i32]);

impl Kernel for Extremes<'_> {
    type Out = (i32, i32);
    #[inline(always)]
    fn run(self) -> (i32, i32) {
        self.0.iter().fold((i32::MAX, i32::MIN), |(low, high), x| (low.min(*x), high.max(*x)))
    }
}

/// Millivolts in whole steps, towards zero; no number is zero.
#[inline(always)]
fn in_steps(mv: f32) -> i32 {
    // A whole number below 2^22 stands in the low bits of its sum with this one: a conversion goes one by one.
    const WHOLE: f32 = 12_582_912.0;
    ((tame(mv, -LIMIT_MV, LIMIT_MV) * STEPS).trunc() + WHOLE).to_bits() as i32 - WHOLE.to_bits() as i32
}

/// The last entries of a ring of a power of two into which `count` were written.
#[inline(always)]
fn last<T: Copy>(ring: &[T], count: i64, out: &mut [T]) {
    let from = (count - out.len() as i64) as usize & (ring.len() - 1);
    let (now, later) = out.split_at_mut(out.len().min(ring.len() - from));
    now.copy_from_slice(&ring[from..from + now.len()]);
    later.copy_from_slice(&ring[..later.len()]);
}

/// Of two nearly equal deflections of the same sign with a valley between them, the first one: the fiducial mark
/// must not jump from beat to beat. `main` is the greater one, of that `height`.
fn first_lobe(from: i64, main: i64, height: f32, height_at: impl Fn(i64) -> f32) -> i64 {
    let mut lobe: Option<(i64, f32)> = None;
    for i in from..main {
        let h = height_at(i);
        if h >= LOBE_SHARE * height && lobe.is_none_or(|(_, best)| h > best) {
            lobe = Some((i, h));
        }
        if let Some((index, _)) = lobe
            && h < VALLEY_SHARE * height
        {
            return index;
        }
    }
    main
}
