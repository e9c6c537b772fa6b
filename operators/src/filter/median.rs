//! The median of the last samples, sample by sample; and Hampel's filter, which replaces what lies too far from it.
//! In: samples in the channel's unit. Out: as many in the same unit.
//!
//! Sources: Härdle and Steiger, Appl Statist 1995;44:258 (two heaps, one of the smaller half and one of the larger: a
//! sample costs the logarithm of the window); Hampel, J Am Stat Assoc 1974;69:383 and Pearson et al., EURASIP J Adv
//! Signal Process 2016:87 (a sample is an outlier if it lies further from the median than some multiple of the median
//! distance, times 1.4826 to be a standard deviation for normal noise).
//!
//! Nothing is computed but means of two samples, so the bits are the same everywhere. Nothing is allocated once the
//! first sample is in. State: eight bytes a sample of the window for the median, eight for Hampel's filter.

use serde::{Deserialize, Serialize};

use super::design::DesignError;

/// The longest window, samples.
pub const MAX_WINDOW: usize = 16_384;

/// The longest window of Hampel's filter: it keeps its samples in order, which costs their number in moves.
pub const MAX_HAMPEL: usize = 255;

/// From a median distance to a standard deviation, for normal noise.
const TO_DEVIATION: f32 = 1.4826;

/// The median of the last `window` samples, or of those that there are so far.
///
/// ```
/// use auscult_operators::filter::{MedianState, RunningMedian};
/// let median = RunningMedian::new(3).unwrap();
/// let (mut state, mut out) = (MedianState::default(), [0f32; 5]);
/// median.filter(&mut state, &[1.0, 3.0, 9.0, 2.0, 2.0], &mut out);
/// assert_eq!(out, [1.0, 2.0, 3.0, 3.0, 2.0]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunningMedian {
    window: usize,
}

/// The last samples of one channel, and two heaps of their places.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct MedianState {
    /// Samples, in a ring.
    values: Vec<f32>,
    /// Places in the ring: first the heap of the smaller half, its largest in front, then that of the larger half, its
    /// smallest in front.
    heap: Vec<u16>,
    /// Where each place of the ring stands among them.
    at: Vec<u16>,
    /// The oldest place, and the sizes of the two heaps.
    oldest: u16,
    sizes: [u16; 2],
}

impl RunningMedian {
    /// One of a window in samples. For an even number the median is the mean of the middle two. It is
    /// `(window - 1) / 2` samples late.
    ///
    /// # Errors
    /// [`DesignError::Taps`] for an empty window, or one of more than [`MAX_WINDOW`].
    pub fn new(window: usize) -> Result<Self, DesignError> {
        let fits = (1..=MAX_WINDOW).contains(&window);
        if fits { Ok(Self { window }) } else { Err(fault(window)) }
    }

    /// How many samples late the output is.
    pub fn latency(&self) -> f64 {
        (self.window - 1) as f64 / 2.0
    }

    /// Runs one channel; `output` must be as long as `input`, the shorter counts. Any cut gives the same bits.
    pub fn filter(&self, state: &mut MedianState, input: &[f32], output: &mut [f32]) {
        if state.values.len() != self.window {
            *state = MedianState {
                values: vec![0.0; self.window],
                heap: vec![0; self.window],
                at: vec![0; self.window],
                ..Default::default()
            };
        }
        for (x, y) in input.iter().zip(output) {
            *y = state.push(*x);
        }
    }
}

fn fault(found: usize) -> DesignError {
    DesignError::Taps { found, need: "a window of at least one sample, and at most the longest" }
}

/// Halfway between two; their sum may be too large.
fn halfway(a: f32, b: f32) -> f32 {
    ((f64::from(a) + f64::from(b)) / 2.0) as f32
}

/// The heap of the smaller half, and that of the larger.
const LOW: usize = 0;
const HIGH: usize = 1;

impl MedianState {
    /// Forgets the signal.
    pub fn reset(&mut self) {
        (self.oldest, self.sizes) = (0, [0, 0]);
    }

    fn push(&mut self, x: f32) -> f32 {
        let window = self.values.len();
        let place = usize::from(self.oldest);
        let full = self.size(LOW) + self.size(HIGH) == window;
        self.values[place] = x;
        self.oldest = if place + 1 == window { 0 } else { self.oldest + 1 };
        if full {
            // The new sample takes the place of the oldest in its heap.
            let spot = usize::from(self.at[place]);
            let side = if spot < self.room() { LOW } else { HIGH };
            self.settle(side, spot - self.start(side));
        } else {
            // The smaller half is never smaller than the larger one.
            let side = if self.size(LOW) > self.size(HIGH) { HIGH } else { LOW };
            let last = self.size(side);
            self.sizes[side] += 1;
            self.put(side, last, place as u16);
            self.settle(side, last);
        }
        self.swap_tops();
        self.median()
    }

    fn median(&self) -> f32 {
        let low = self.value(LOW, 0);
        if self.size(LOW) > self.size(HIGH) { low } else { halfway(low, self.value(HIGH, 0)) }
    }

    /// What of the larger half belongs to the smaller one, and the other way round, is in front of both.
    fn swap_tops(&mut self) {
        if self.size(HIGH) == 0 || self.value(LOW, 0) <= self.value(HIGH, 0) {
            return;
        }
        let (low, high) = (self.heap[self.start(LOW)], self.heap[self.start(HIGH)]);
        self.put(LOW, 0, high);
        self.put(HIGH, 0, low);
        self.sink(LOW, 0);
        self.sink(HIGH, 0);
    }

    fn size(&self, side: usize) -> usize {
        usize::from(self.sizes[side])
    }

    /// Room of the smaller half.
    fn room(&self) -> usize {
        self.values.len().div_ceil(2)
    }

    fn start(&self, side: usize) -> usize {
        if side == LOW { 0 } else { self.room() }
    }

    fn value(&self, side: usize, i: usize) -> f32 {
        self.values[usize::from(self.heap[self.start(side) + i])]
    }

    /// Whether `i` belongs in front of `j`.
    fn before(&self, side: usize, i: usize, j: usize) -> bool {
        let (a, b) = (self.value(side, i), self.value(side, j));
        if side == LOW { a > b } else { a < b }
    }

    fn put(&mut self, side: usize, i: usize, place: u16) {
        let spot = self.start(side) + i;
        self.heap[spot] = place;
        self.at[usize::from(place)] = spot as u16;
    }

    fn swap(&mut self, side: usize, i: usize, j: usize) {
        let start = self.start(side);
        let (a, b) = (self.heap[start + i], self.heap[start + j]);
        self.put(side, i, b);
        self.put(side, j, a);
    }

    /// Moves what stands at `i` to where it belongs in its heap.
    fn settle(&mut self, side: usize, mut i: usize) {
        while i > 0 && self.before(side, i, (i - 1) / 2) {
            self.swap(side, i, (i - 1) / 2);
            i = (i - 1) / 2;
        }
        self.sink(side, i);
    }

    fn sink(&mut self, side: usize, mut i: usize) {
        loop {
            let size = self.size(side);
            let mut front = i;
            for child in [2 * i + 1, 2 * i + 2] {
                if child < size && self.before(side, child, front) {
                    front = child;
                }
            }
            if front == i {
                return;
            }
            self.swap(side, i, front);
            i = front;
        }
    }
}

/// Replaces samples that lie too far from the median of those around them by that median; leaves all others alone.
///
/// ```
/// use auscult_operators::filter::{Hampel, HampelState};
/// let hampel = Hampel::new(5, 3.0).unwrap();
/// let (mut state, mut out) = (HampelState::default(), [0f32; 8]);
/// hampel.filter(&mut state, &[1.0, 2.0, 3.0, 90.0, 2.0, 1.0, 3.0, 2.0], &mut out);
/// assert_eq!(hampel.latency(), 2);
/// assert_eq!(out[2..], [1.0, 2.0, 3.0, 2.0, 2.0, 1.0]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Hampel {
    window: usize,
    deviations: f32,
}

/// The last samples of one channel. A fresh one takes its past from the first sample that it sees.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct HampelState {
    /// In a ring.
    values: Vec<f32>,
    /// The same in order.
    sorted: Vec<f32>,
    oldest: u16,
    primed: bool,
}

impl Hampel {
    /// One of an odd window in samples, and of so many standard deviations; three are usual. Where more than half of
    /// the window is of one value, any other is an outlier.
    ///
    /// # Errors
    /// [`DesignError::Taps`] for a window that is even, below three or above [`MAX_HAMPEL`];
    /// [`DesignError::Quality`] for deviations that are negative or no number.
    pub fn new(window: usize, deviations: f32) -> Result<Self, DesignError> {
        if window.is_multiple_of(2) || !(3..=MAX_HAMPEL).contains(&window) {
            return Err(fault(window));
        }
        let good = deviations >= 0.0 && deviations.is_finite();
        if !good {
            return Err(DesignError::Quality { found: f64::from(deviations) });
        }
        Ok(Self { window, deviations })
    }

    /// How many samples late the output is.
    pub fn latency(&self) -> usize {
        self.window / 2
    }

    /// Runs one channel; `output` must be as long as `input`, the shorter counts. Any cut gives the same bits.
    pub fn filter(&self, state: &mut HampelState, input: &[f32], output: &mut [f32]) {
        let Some(&first) = input.first() else { return };
        if !state.primed || state.values.len() != self.window || state.sorted.len() != self.window {
            state.values.clear();
            state.values.resize(self.window, first);
            state.sorted.clone_from(&state.values);
            (state.oldest, state.primed) = (0, true);
        }
        let half = self.window / 2;
        for (x, y) in input.iter().zip(output) {
            state.push(*x);
            let middle = state.values[(usize::from(state.oldest) + half) % self.window];
            let median = state.sorted[half];
            let limit = self.deviations * TO_DEVIATION * spread(&state.sorted);
            // A distance too large for a single is infinite, and so over any limit that is not.
            *y = if (middle - median).abs() > limit { median } else { middle };
        }
    }
}

impl HampelState {
    /// Forgets the signal.
    pub fn reset(&mut self) {
        self.primed = false;
    }

    /// Takes a sample in for the oldest.
    fn push(&mut self, x: f32) {
        let place = usize::from(self.oldest);
        let old = std::mem::replace(&mut self.values[place], x);
        self.oldest = if place + 1 == self.values.len() { 0 } else { self.oldest + 1 };
        let from = self.sorted.partition_point(|v| *v < old);
        let to = self.sorted.partition_point(|v| *v < x);
        // Between its old and its new place all move up by one.
        let to = if to > from { to - 1 } else { to };
        if from < to {
            self.sorted.copy_within(from + 1..=to, from);
        } else {
            self.sorted.copy_within(to..from, to + 1);
        }
        self.sorted[to] = x;
    }
}

/// The median distance from the median, of an odd number of values in order: halves are searched, not distances
/// sorted.
fn spread(sorted: &[f32]) -> f32 {
    let half = sorted.len() / 2;
    let median = sorted[half];
    let below = |k: usize| median - sorted[half - k];
    let above = |k: usize| sorted[half + k] - median;
    // Distances grow to both sides. Of the half + 1 smallest, the median itself is one, and `k` lie below it.
    let (mut least, mut most) = (0, half);
    while least < most {
        let k = (least + most) / 2;
        // One more from below belongs to them if it is nearer than the last taken from above.
        if below(k + 1) < above(half - k) { least = k + 1 } else { most = k }
    }
    let k = least;
    below(k).max(above(half - k))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that panics has failed")]
mod tests {
    use super::*;

    /// Whole numbers of few values, so that many are equal; now and then huge ones.
    fn samples(n: usize, values: u32) -> Vec<f32> {
        let mut state = 99u32;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            state >> 8
        };
        (0..n)
            .map(|i| match next() % values {
                0 if i % 50 == 7 => 3e38,
                1 if i % 50 == 9 => -3e38,
                v => v as f32 - values as f32 / 2.0,
            })
            .collect()
    }

    fn median_of(part: &[f32]) -> f32 {
        let mut sorted = part.to_vec();
        sorted.sort_by(f32::total_cmp);
        let n = sorted.len();
        if n % 2 == 1 { sorted[n / 2] } else { halfway(sorted[n / 2 - 1], sorted[n / 2]) }
    }

    #[test]
    fn medians_are_those_of_the_definition_for_any_cut() {
        for values in [2, 5, 1_000_000] {
            let x = samples(1200, values);
            for window in [1, 2, 3, 4, 5, 16, 101, 250, 2000] {
                let median = RunningMedian::new(window).unwrap();
                let (mut state, mut out, mut at) = (MedianState::default(), vec![0f32; x.len()], 0);
                for len in [1, 0, 250, 33].into_iter().cycle() {
                    let to = x.len().min(at + len);
                    median.filter(&mut state, &x[at..to], &mut out[at..to]);
                    state = postcard::from_bytes(&postcard::to_stdvec(&state).unwrap()).unwrap();
                    at = to;
                    if at == x.len() {
                        break;
                    }
                }
                for (i, y) in out.iter().enumerate() {
                    let due = median_of(&x[(i + 1).saturating_sub(window)..=i]);
                    assert!(*y == due, "window {window}, sample {i}: {y} for {due}");
                }
                // Forgotten is forgotten.
                state.reset();
                let mut again = vec![0f32; x.len()];
                median.filter(&mut state, &x, &mut again);
                assert_eq!(again, out);
            }
        }
    }

    #[test]
    fn hampel_does_what_its_definition_says_for_any_cut() {
        for values in [2, 7, 1_000_000] {
            let x = samples(900, values);
            for (window, deviations) in [(3, 0.0), (5, 1.0), (7, 3.0), (31, 2.0), (101, 0.7)] {
                let hampel = Hampel::new(window, deviations).unwrap();
                let (mut state, mut out, mut at) = (HampelState::default(), vec![0f32; x.len()], 0);
                for len in [1, 0, 250, 33].into_iter().cycle() {
                    let to = x.len().min(at + len);
                    hampel.filter(&mut state, &x[at..to], &mut out[at..to]);
                    state = postcard::from_bytes(&postcard::to_stdvec(&state).unwrap()).unwrap();
                    at = to;
                    if at == x.len() {
                        break;
                    }
                }
                let mut replaced = 0;
                for (i, y) in out.iter().enumerate().skip(window) {
                    let part = &x[i + 1 - window..=i];
                    let (median, middle) = (median_of(part), part[window / 2]);
                    let distances: Vec<f32> = part.iter().map(|v| (v - median).abs()).collect();
                    let limit = deviations * TO_DEVIATION * median_of(&distances);
                    let due = if (middle - median).abs() > limit { median } else { middle };
                    assert!(*y == due, "window {window}, sample {i}: {y} for {due}");
                    replaced += usize::from(due != middle);
                }
                assert!(replaced > 0, "the check never bites: {window} {deviations} {values}");
            }
        }
    }

    #[test]
    fn faults_are_named() {
        assert!(RunningMedian::new(0).is_err() && RunningMedian::new(MAX_WINDOW + 1).is_err());
        for (window, deviations) in [(1, 3.0), (4, 3.0), (257, 3.0), (5, -1.0), (5, f32::NAN)] {
            assert!(Hampel::new(window, deviations).is_err(), "{window} {deviations}");
        }
        let e = RunningMedian::new(0).unwrap_err();
        assert!(e.to_string().starts_with("0 samples are not what it needs"));
    }
}
