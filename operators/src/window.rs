//! Sliding windows in fixed memory: rings, running means, decimation, medians.
//! In: one number at a time. Out: the last ones, their mean, or their rank statistics, in the unit they came in.
//! Saved states hold the logical content, oldest first, so equal states save as equal bytes.

pub mod over_time;
mod rank;
pub mod statistics;
pub mod steepest;

pub use rank::{bits, median_in_place, rank_in_place};
pub(crate) use rank::{from_order, in_order};
use serde::{Deserialize, Serialize};

use crate::filter::dispatch::Far;

/// The longest ring that a saved state may claim, so that a broken state cannot ask for all memory.
pub const MAX_RING: usize = 1 << 20;

/// The last `capacity` numbers.
///
/// ```
/// use auscult_operators::window::Ring;
/// let mut ring = Ring::new(3);
/// for x in [1.0, 2.0, 3.0, 4.0] {
///     ring.push(x);
/// }
/// assert_eq!(ring.iter().collect::<Vec<_>>(), [2.0, 3.0, 4.0]);
/// assert_eq!((ring.recent(0), ring.get(0), ring.get(3)), (Some(4.0), Some(2.0), None));
/// ```
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(try_from = "SavedRing", into = "SavedRing")]
pub struct Ring {
    values: Vec<f32>,
    head: usize,
    capacity: usize,
}

/// A ring as it is saved.
#[derive(Serialize, Deserialize)]
struct SavedRing {
    capacity: u32,
    values: Vec<f32>,
}

impl From<Ring> for SavedRing {
    fn from(ring: Ring) -> Self {
        Self { capacity: ring.capacity as u32, values: ring.iter().collect() }
    }
}

impl TryFrom<SavedRing> for Ring {
    type Error = &'static str;
    fn try_from(saved: SavedRing) -> Result<Self, Self::Error> {
        let capacity = saved.capacity as usize;
        if capacity == 0 || capacity > MAX_RING || saved.values.len() > capacity {
            return Err("a ring of impossible size");
        }
        let mut ring = Self::new(capacity);
        ring.values.extend_from_slice(&saved.values);
        Ok(ring)
    }
}

impl Ring {
    /// An empty ring for `capacity` numbers, at least one and at most [`MAX_RING`].
    pub fn new(capacity: usize) -> Self {
        let capacity = capacity.clamp(1, MAX_RING);
        Self { values: Vec::with_capacity(capacity), head: 0, capacity }
    }

    /// An empty ring for `span_s` seconds at `rate` per second, rounded up.
    pub fn for_span(rate: f64, span_s: f64) -> Self {
        Self::new((rate * span_s).ceil().max(1.0) as usize)
    }

    /// Adds a number and returns the one that fell out.
    #[inline]
    pub fn push(&mut self, x: f32) -> Option<f32> {
        if self.values.len() < self.capacity {
            self.values.push(x);
            return None;
        }
        let old = std::mem::replace(&mut self.values[self.head], x);
        self.head += 1;
        if self.head == self.capacity {
            self.head = 0;
        }
        Some(old)
    }

    /// Adds numbers in order.
    pub fn extend(&mut self, xs: &[f32]) {
        // Of more than can be held only the last ones matter; a ring that was full stays so.
        let mut rest = &xs[xs.len().saturating_sub(self.capacity)..];
        let skipped = xs.len() - rest.len();
        if skipped > 0 {
            self.clear();
        }
        let (grow, over) = rest.split_at(rest.len().min(self.capacity - self.values.len()));
        self.values.extend_from_slice(grow);
        rest = over;
        while !rest.is_empty() {
            let room = &mut self.values[self.head..];
            let (now, later) = rest.split_at(rest.len().min(room.len()));
            room[..now.len()].copy_from_slice(now);
            self.head = if now.len() == room.len() { 0 } else { self.head + now.len() };
            rest = later;
        }
    }

    /// Adds numbers in order and writes the sum of those held after each, of which the last one was `sum`. The sum is
    /// made anew after number `renewed` and then once per turn of the ring; between, it follows what comes and falls
    /// out.
    ///
    /// ```
    /// use auscult_operators::window::Ring;
    /// let (mut ring, mut sums) = (Ring::new(2), [0.0; 4]);
    /// ring.running_sums(&[4.0, 1.0, 2.0, 4.0], 0.0, 1, &mut sums);
    /// assert_eq!(sums, [4.0, 5.0, 3.0, 6.0]);
    /// ```
    #[inline(always)]
    pub fn running_sums(&mut self, xs: &[f32], sum: f64, renewed: usize, sums: &mut [f64]) {
        let n = xs.len().min(sums.len());
        let (xs, sums) = (&xs[..n], &mut sums[..n]);
        match self.capacity {
            1..=128 if n <= PART && self.is_full() => {
                self.sums_in_line::<{ 128 + PART }>(xs, sum, renewed, sums)
            }
            1..=512 if n <= PART && self.is_full() => {
                self.sums_in_line::<{ 512 + PART }>(xs, sum, renewed, sums)
            }
            _ => self.sums_one_by_one(xs, sum, renewed, sums),
        }
    }

    fn sums_one_by_one(&mut self, xs: &[f32], mut sum: f64, mut renewed: usize, sums: &mut [f64]) {
        for (i, (x, out)) in xs.iter().zip(sums).enumerate() {
            let old = self.push(*x).unwrap_or(0.0);
            sum += f64::from(*x) - f64::from(old);
            if i == renewed {
                sum = self.iter().map(f64::from).sum();
                renewed += self.capacity;
            }
            *out = sum;
        }
    }

    /// The same of a full ring, with its content and what comes side by side in one line.
    #[inline(always)]
    fn sums_in_line<const N: usize>(&mut self, xs: &[f32], mut sum: f64, renewed: usize, sums: &mut [f64]) {
        let (n, held) = (xs.len(), self.capacity);
        let mut line = [0.0_f32; N];
        let (older, newer) = self.as_slices();
        line[..older.len()].copy_from_slice(older);
        line[older.len()..held].copy_from_slice(newer);
        line[held..held + n].copy_from_slice(xs);
        let (falling, coming) = (&line[..n], &line[held..held + n]);
        for i in 0..n {
            sums[i] = f64::from(coming[i]) - f64::from(falling[i]);
        }
        let (mut from, mut renewed) = (0, renewed);
        while from < n {
            let to = n.min(renewed.saturating_add(1));
            for out in &mut sums[from..to] {
                sum += *out;
                *out = sum;
            }
            if to == renewed.saturating_add(1) {
                sum = line[to..to + held].iter().copied().map(f64::from).sum();
                sums[to - 1] = sum;
                renewed += held;
            }
            from = to;
        }
        self.extend(xs);
    }

    /// Number `i`, counted from the oldest.
    pub fn get(&self, i: usize) -> Option<f32> {
        if i >= self.values.len() {
            return None;
        }
        let at = self.head + i;
        Some(self.values[if at >= self.values.len() { at - self.values.len() } else { at }])
    }

    /// Number `i`, counted back from the newest.
    pub fn recent(&self, i: usize) -> Option<f32> {
        self.values.len().checked_sub(i + 1).and_then(|k| self.get(k))
    }

    /// The content in two pieces, oldest first.
    pub fn as_slices(&self) -> (&[f32], &[f32]) {
        let (newer, older) = self.values.split_at(self.head);
        (older, newer)
    }

    /// The content, oldest first.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = f32> + '_ {
        let (older, newer) = self.as_slices();
        older.iter().chain(newer).copied()
    }

    /// Those from number `from` up to but not including number `to`, counted from the oldest, in two pieces; what is
    /// not held is left out.
    ///
    /// ```
    /// use auscult_operators::window::Ring;
    /// let mut ring = Ring::new(3);
    /// ring.extend(&[1.0, 2.0, 3.0, 4.0]);
    /// let (older, newer) = ring.pieces(1, 9);
    /// assert_eq!([older, newer].concat(), [3.0, 4.0]);
    /// ```
    pub fn pieces(&self, from: usize, to: usize) -> (&[f32], &[f32]) {
        let (older, newer) = self.as_slices();
        let (split, len) = (older.len(), self.len());
        let (from, to) = (from.min(len), to.min(len).max(from.min(len)));
        let after = |at: usize| at.max(split) - split;
        (&older[from.min(split)..to.min(split)], &newer[after(from)..after(to)])
    }

    /// Notes where all of it lies.
    pub fn far(&self, to: &mut Far) {
        to.add(&self.values[..]);
    }

    /// Notes where the next `count` numbers will stand.
    pub fn far_of_next(&self, count: usize, to: &mut Far) {
        let from = if self.is_full() { self.head } else { self.values.len().saturating_sub(1) };
        let now = count.min(self.values.len() - from);
        to.add(&self.values[from..from + now]);
        to.add(&self.values[..(count - now).min(from)]);
    }

    /// How many numbers are held.
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Whether nothing is held.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// Whether the next number pushes one out.
    pub fn is_full(&self) -> bool {
        self.values.len() == self.capacity
    }

    /// How many numbers can be held.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Forgets the content and keeps the memory.
    pub fn clear(&mut self) {
        self.values.clear();
        self.head = 0;
    }

    /// Median of the oldest `N` numbers held, of all where it holds no more.
    ///
    /// ```
    /// use auscult_operators::window::Ring;
    /// let mut ring = Ring::new(3);
    /// ring.extend(&[9.0, 1.0, 2.0, 4.0]);
    /// assert_eq!(ring.median::<3>(), Some(2.0));
    /// ```
    pub fn median<const N: usize>(&self) -> Option<f32> {
        let mut all = [0.0; N];
        let n = self.len().min(N);
        all.iter_mut().zip(self.iter()).for_each(|(slot, x)| *slot = x);
        median_in_place(&mut all[..n])
    }

    /// Smallest and largest number held.
    pub fn extremes(&self) -> Option<(f32, f32)> {
        let first = self.get(0)?;
        Some(self.iter().fold((first, first), |(lo, hi), x| (lo.min(x), hi.max(x))))
    }
}

/// Mean of the last `capacity` numbers, summed anew once per turn of the ring so that an artefact that has left
/// the window leaves no rounding error behind.
///
/// ```
/// use auscult_operators::window::MovingMean;
/// let mut mean = MovingMean::new(2);
/// assert_eq!([4e6, 1.0, 2.0, 4.0].map(|x| mean.push(x)), [4e6, 2e6 + 0.5, 1.5, 3.0]);
/// ```
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct MovingMean {
    ring: Ring,
    sum: f64,
    until_renewed: u32,
}

impl MovingMean {
    /// An empty window of `capacity` numbers.
    pub fn new(capacity: usize) -> Self {
        let ring = Ring::new(capacity);
        Self { until_renewed: ring.capacity() as u32, ring, sum: 0.0 }
    }

    /// Notes where all of it lies.
    pub fn far(&self, to: &mut Far) {
        self.ring.far(to);
    }

    /// Adds a number and returns the mean of those held.
    pub fn push(&mut self, x: f32) -> f64 {
        let mut mean = [0.0];
        self.push_all(&[x], &mut mean);
        mean[0]
    }

    /// Adds numbers in order and writes the mean after each; as far as `means` reaches.
    ///
    /// ```
    /// use auscult_operators::window::MovingMean;
    /// let mut means = [0.0; 4];
    /// MovingMean::new(2).push_all(&[4e6, 1.0, 2.0, 4.0], &mut means);
    /// assert_eq!(means, [4e6, 2e6 + 0.5, 1.5, 3.0]);
    /// ```
    #[inline(always)]
    pub fn push_all(&mut self, xs: &[f32], means: &mut [f64]) {
        for (xs, means) in xs.chunks(PART).zip(means.chunks_mut(PART)) {
            let n = xs.len().min(means.len());
            self.push_part(&xs[..n], &mut means[..n]);
        }
    }

    #[inline(always)]
    fn push_part(&mut self, xs: &[f32], means: &mut [f64]) {
        let n = xs.len().min(means.len());
        let (before, capacity) = (self.ring.len(), self.ring.capacity());
        let left = (self.until_renewed.max(1) as usize) - 1;
        self.ring.running_sums(xs, self.sum, left, means);
        self.sum = means[..n].last().copied().unwrap_or(self.sum);
        self.until_renewed = if n > left {
            (capacity - (n - left - 1) % capacity) as u32
        } else {
            self.until_renewed - n as u32
        };
        if before == capacity {
            let count = before as f64;
            means.iter_mut().for_each(|m| *m /= count);
        } else {
            for (i, m) in means.iter_mut().enumerate() {
                *m /= (before + i + 1).min(capacity) as f64;
            }
        }
    }
}

/// Numbers that a running sum takes in at once.
const PART: usize = 64;

/// Means of `factor` numbers at a time: the plain way to a lower rate for signals that are already band-limited.
///
/// ```
/// use auscult_operators::window::Decimator;
/// let mut half = Decimator::new(2);
/// assert_eq!([1.0, 3.0, 5.0].map(|x| half.push(x)), [None, Some(2.0), None]);
/// ```
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Decimator {
    factor: u32,
    count: u32,
    sum: f32,
}

impl Decimator {
    /// One mean per `factor` numbers; zero counts as one.
    pub fn new(factor: u32) -> Self {
        Self { factor: factor.max(1), count: 0, sum: 0.0 }
    }

    /// Adds a number; every `factor`-th time returns their mean.
    pub fn push(&mut self, x: f32) -> Option<f32> {
        let mut mean = None;
        self.push_all(&[x], |_, m| mean = Some(m));
        mean
    }

    /// Adds numbers in order; `done` gets each mean with the place of its last number.
    ///
    /// ```
    /// use auscult_operators::window::Decimator;
    /// let mut means = vec![];
    /// Decimator::new(2).push_all(&[1.0, 3.0, 5.0, 6.0, 7.0], |i, m| means.push((i, m)));
    /// assert_eq!(means, [(1, 2.0), (3, 5.5)]);
    /// ```
    #[inline(always)]
    pub fn push_all(&mut self, xs: &[f32], mut done: impl FnMut(usize, f32)) {
        let mut at = 0;
        while at < xs.len() {
            let missing = self.factor.saturating_sub(self.count).max(1) as usize;
            let now = &xs[at..xs.len().min(at + missing)];
            let mut sum = self.sum;
            for x in now {
                sum += *x;
            }
            (self.sum, self.count) = (sum, self.count + now.len() as u32);
            at += now.len();
            if self.count >= self.factor {
                done(at - 1, self.sum / self.count as f32);
                (self.sum, self.count) = (0.0, 0);
            }
        }
    }
}

/// One at or below `good`, zero at or beyond `bad`, a straight line between: how a measure becomes a quality.
///
/// ```
/// use auscult_operators::window::grade;
/// assert_eq!([0.0, 2.0, 3.0, 9.0].map(|x| grade(x, 2.0, 4.0)), [1.0, 1.0, 0.5, 0.0]);
/// assert_eq!(grade(f32::NAN, 2.0, 4.0), 0.0);
/// assert_eq!(grade(1e9, f32::MAX, f32::INFINITY), 1.0);
/// ```
pub fn grade(measure: f32, good: f32, bad: f32) -> f32 {
    if measure <= good {
        return 1.0;
    }
    let share = (bad - measure) / (bad - good);
    if share.is_nan() { 0.0 } else { share.clamp(0.0, 1.0) }
}

/// A number that arithmetic can stand: inside `low..=high`, and zero for NaN.
///
/// ```
/// use auscult_operators::window::tame;
/// assert_eq!([1.0, 3e38, f32::NAN].map(|x| tame(x, -5.0, 5.0)), [1.0, 5.0, 0.0]);
/// ```
#[inline(always)]
pub fn tame(x: f32, low: f32, high: f32) -> f32 {
    let x = if x.is_nan() { 0.0 } else { x };
    // As `clamp`, without its panic, so that loops can go wide.
    let x = if x < low { low } else { x };
    if x > high { high } else { x }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::operator::{load_state, save_state};

    #[test]
    fn a_ring_saved_after_any_push_goes_on_alike() {
        let mut ring = Ring::new(5);
        for i in 0..13 {
            ring.push(i as f32);
            let (mut bytes, mut again) = (vec![], vec![]);
            save_state(&ring, &mut bytes);
            let mut other: Ring = load_state("test", &bytes).unwrap();
            save_state(&other, &mut again);
            assert_eq!(bytes, again);
            assert_eq!(other.push(99.0), ring.clone().push(99.0), "after {i}");
            assert_eq!(other.recent(0), Some(99.0));
        }
        assert_eq!(ring.extremes(), Some((8.0, 12.0)));
    }

    #[test]
    fn a_ring_of_impossible_size_is_refused() {
        for (capacity, values) in [(0, vec![]), (2, vec![1.0; 3]), (u32::MAX, vec![])] {
            assert!(Ring::try_from(SavedRing { capacity, values }).is_err());
        }
    }

    #[test]
    fn means_forget_what_has_left() {
        let mut mean = MovingMean::new(7);
        mean.push(3e38);
        let last = (0..14).map(|_| mean.push(1e-6)).last();
        assert!((last.unwrap() - 1e-6).abs() < 1e-12);
    }

    #[test]
    fn many_at_once_are_as_one_by_one() {
        let x: Vec<f32> = (0..400).map(|i| ((i * i * 31) % 173) as f32 * 0.37 - 20.0).collect();
        for capacity in [1, 2, 7, 64, 83, 150] {
            let (mut ring, mut sum, mut left) = (std::collections::VecDeque::new(), 0.0, capacity);
            let plain: Vec<u64> = x
                .iter()
                .map(|x| {
                    let old = if ring.len() == capacity { ring.pop_front().unwrap() } else { 0.0 };
                    ring.push_back(*x);
                    sum += f64::from(*x) - f64::from(old);
                    left -= 1;
                    if left == 0 {
                        (left, sum) = (capacity, ring.iter().copied().map(f64::from).sum());
                    }
                    f64::to_bits(sum / ring.len() as f64)
                })
                .collect();
            for cut in [1, 3, 62, 125, 400] {
                let (mut mean, mut out) = (MovingMean::new(capacity), vec![0.0; x.len()]);
                x.chunks(cut).zip(out.chunks_mut(cut)).for_each(|(x, out)| mean.push_all(x, out));
                assert_eq!(out.iter().map(|m| m.to_bits()).collect::<Vec<_>>(), plain, "{capacity} {cut}");
            }
        }
    }
}
