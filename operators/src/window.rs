//! Sliding windows in fixed memory: rings, running means, decimation, medians.
//! In: one number at a time. Out: the last ones, their mean, or their rank statistics, in the unit they came in.
//! Saved states hold the logical content, oldest first, so equal states save as equal bytes.

use serde::{Deserialize, Serialize};

use crate::filter::dispatch::{Kernel, fetch, widest};

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

    /// Asks for its memory, see [`fetch`].
    pub fn fetch(&self) {
        fetch(&self.values[..]);
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

    /// Asks for its memory, see [`fetch`].
    pub fn fetch(&self) {
        self.ring.fetch();
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
        self.push_all(&[x], |x| x, |_, m| mean = Some(m));
        mean
    }

    /// Adds numbers in order, each as `given` changes it; `done` gets each mean with the place of its last number.
    ///
    /// ```
    /// use auscult_operators::window::Decimator;
    /// let mut means = vec![];
    /// Decimator::new(2).push_all(&[1.0, 3.0, 5.0, 6.0, 7.0], |x| 2.0 * x, |i, m| means.push((i, m)));
    /// assert_eq!(means, [(1, 4.0), (3, 11.0)]);
    /// ```
    #[inline(always)]
    pub fn push_all(&mut self, xs: &[f32], given: impl Fn(f32) -> f32, mut done: impl FnMut(usize, f32)) {
        let mut at = 0;
        while at < xs.len() {
            let missing = self.factor.saturating_sub(self.count).max(1) as usize;
            let now = &xs[at..xs.len().min(at + missing)];
            let mut sum = self.sum;
            for x in now {
                sum += given(*x);
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

/// The number at rank `share` (0 smallest, 1 largest; no interpolation). May reorder the slice; allocates nothing.
///
/// ```
/// use auscult_operators::window::rank_in_place;
/// assert_eq!(rank_in_place(&mut [3.0, 1.0, 2.0, 5.0, 4.0], 0.25), Some(2.0));
/// assert_eq!(rank_in_place(&mut [], 0.5), None);
/// ```
pub fn rank_in_place(values: &mut [f32], share: f32) -> Option<f32> {
    let last = values.len().checked_sub(1)?;
    let at = ((share * last as f32).round().max(0.0) as usize).min(last);
    Some(ranked(values, [at, at])[0])
}

/// The median, for an even count the mean of the two in the middle. May reorder the slice; allocates nothing.
///
/// ```
/// use auscult_operators::window::median_in_place;
/// assert_eq!(median_in_place(&mut [3.0, 1.0, 2.0]), Some(2.0));
/// assert_eq!(median_in_place(&mut [4.0, 1.0, 2.0, 3.0]), Some(2.5));
/// ```
pub fn median_in_place(values: &mut [f32]) -> Option<f32> {
    let last = values.len().checked_sub(1)?;
    let middle = (values.len() / 2).min(last);
    if !values.len().is_multiple_of(2) {
        return Some(ranked(values, [middle, middle])[0]);
    }
    let [lower, upper] = ranked(values, [middle - 1, middle]);
    Some(lower + (upper - lower) / 2.0)
}

/// The numbers at two ranks inside the slice. Of few numbers the rank of each is counted, which takes few branches.
fn ranked(values: &mut [f32], ranks: [usize; 2]) -> [f32; 2] {
    match values.len() {
        0..=8 => of_eight(values, ranks),
        9..=16 => widest(Counted::<16> { values, ranks }),
        17..=32 => widest(Counted::<32> { values, ranks }),
        _ => ranks.map(|rank| *values.select_nth_unstable_by(rank, f32::total_cmp).1),
    }
}

/// Two of at most eight numbers, which go through a sorting network.
fn of_eight(values: &[f32], [first, second]: [usize; 2]) -> [f32; 2] {
    let mut keys = [i32::MAX; 8];
    for (k, x) in keys.iter_mut().zip(values) {
        *k = in_order(*x);
    }
    macro_rules! sort {
        ($($a:literal $b:literal),*) => {
            $((keys[$a], keys[$b]) = (keys[$a].min(keys[$b]), keys[$a].max(keys[$b]));)*
        };
    }
    sort!(0 2, 1 3, 4 6, 5 7, 0 4, 1 5, 2 6, 3 7, 0 1, 2 3, 4 5, 6 7, 2 4, 3 5, 1 4, 3 6, 1 2, 3 4, 5 6);
    [from_order(keys[first & 7]), from_order(keys[second & 7])]
}

/// At most `N` numbers, two of which are looked for.
struct Counted<'a, const N: usize> {
    values: &'a [f32],
    ranks: [usize; 2],
}

impl<const N: usize> Kernel for Counted<'_, N> {
    type Out = [f32; 2];
    #[inline(always)]
    fn run(self) -> [f32; 2] {
        // The order of `total_cmp` as that of integers; places left over come last.
        let mut keys = [i32::MAX; N];
        for (k, x) in keys.iter_mut().zip(self.values) {
            *k = in_order(*x);
        }
        // Of how many numbers each is greater, all of them side by side.
        let mut below = [0_i32; N];
        for other in keys.iter().take(self.values.len()) {
            for i in 0..N {
                below[i] += i32::from(*other < keys[i]);
            }
        }
        let [first, second] = self.ranks;
        let lower = at_rank(&keys, &below, first);
        [lower, if second == first { lower } else { at_rank(&keys, &below, second) }]
    }
}

/// The greatest number that is greater than no more of them than the rank says.
#[inline(always)]
fn at_rank<const N: usize>(keys: &[i32; N], below: &[i32; N], rank: usize) -> f32 {
    let (rank, mut found) = (rank as i32, i32::MIN);
    for i in 0..N {
        let key = if below[i] <= rank { keys[i] } else { i32::MIN };
        found = if key > found { key } else { found };
    }
    from_order(found)
}

/// An integer that has the place of a float in the order of `total_cmp`.
#[inline(always)]
pub(crate) fn in_order(x: f32) -> i32 {
    let bits = x.to_bits() as i32;
    bits ^ (((bits >> 31) as u32) >> 1) as i32
}

/// The float of such a place.
#[inline(always)]
pub(crate) fn from_order(place: i32) -> f32 {
    f32::from_bits((place ^ (((place >> 31) as u32) >> 1) as i32) as u32)
}

/// Flags, each 0 or 1, as the bits of one number, the first as the lowest: a loop that sets bit after bit does not go
/// wide, one that compares into bytes does.
///
/// ```
/// use auscult_operators::window::bits;
/// let mut flags = [0; 64];
/// (flags[1], flags[62]) = (1, 1);
/// assert_eq!(bits(&flags), 1 << 62 | 2);
/// ```
#[inline(always)]
pub fn bits(flags: &[u8; 64]) -> u64 {
    // The product moves byte `i` of eight to bit `56 + i`; no two of its terms meet.
    const TO_THE_TOP: u64 = 0x0102_0408_1020_4080;
    let mut all = 0;
    for (k, eight) in flags.as_chunks::<8>().0.iter().enumerate() {
        all |= (u64::from_le_bytes(*eight).wrapping_mul(TO_THE_TOP) >> 56) << (8 * k);
    }
    all
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

    #[test]
    fn ranks_are_counted_as_they_are_sorted() {
        for n in 1..=40 {
            let x: Vec<f32> =
                (0..n).map(|i| [0.0, -0.0, 2.5, -7.0, 1e9, f32::NAN][(i * 7 + n) % 6]).collect();
            let mut sorted = x.clone();
            sorted.sort_by(f32::total_cmp);
            for rank in 0..n {
                let got = ranked(&mut x.clone(), [rank, n - 1]);
                let expected = [sorted[rank], sorted[n - 1]];
                assert_eq!(got.map(f32::to_bits), expected.map(f32::to_bits), "{n} {rank}");
            }
        }
    }

    #[test]
    fn ranks_match_sorting() {
        let mut x: Vec<f32> = (0..40).map(|i| ((i * 17) % 40) as f32 - 20.0).collect();
        assert_eq!(median_in_place(&mut x), Some(-0.5));
        assert_eq!(rank_in_place(&mut x, 1.0), Some(19.0));
        assert_eq!(rank_in_place(&mut x, 0.0), Some(-20.0));
    }
}
