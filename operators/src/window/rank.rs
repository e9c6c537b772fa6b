//! Numbers by rank, and flags as bits: small work over few numbers, many of them side by side.
//! In: a slice that may be reordered. Out: the numbers at some ranks, in the unit they came in.

use crate::filter::dispatch::{Kernel, widest};

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
        0..=8 => widest(Counted::<8> { values, ranks }),
        9..=16 => widest(Counted::<16> { values, ranks }),
        17..=32 => widest(Counted::<32> { values, ranks }),
        _ => ranks.map(|rank| *values.select_nth_unstable_by(rank, f32::total_cmp).1),
    }
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

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
