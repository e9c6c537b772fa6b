//! Counts of a converter to values, eight at a time. In: 16-bit counts, the value of one count and of count zero, in
//! the channel's unit. Out: values in 32 bits, each worked out in 64 and rounded once: the same bits for every width.

use super::dispatch::{self, Eight, OverEights, Width};

/// Appends `count * scale + offset` for each count.
///
/// ```
/// use auscult_operators::filter::values_of_counts;
/// let mut out = vec![1.0];
/// values_of_counts(&[-3, 0, 200], 0.005, 0.5, &mut out);
/// assert_eq!(out, [1.0, 0.485, 0.5, 1.5]);
/// ```
pub fn values_of_counts(counts: &[i16], scale: f64, offset: f64, out: &mut Vec<f32>) {
    values_of_counts_at(Width::best(), counts, scale, offset, out);
}

fn values_of_counts_at(width: Width, counts: &[i16], scale: f64, offset: f64, out: &mut Vec<f32>) {
    let from = out.len();
    out.resize(from + counts.len(), 0.0);
    dispatch::run_eights(width, &mut Values { counts, scale, offset, out: &mut out[from..] });
}

struct Values<'a> {
    counts: &'a [i16],
    scale: f64,
    offset: f64,
    out: &'a mut [f32],
}

impl OverEights for Values<'_> {
    #[inline(always)]
    fn run<V: Eight>(&mut self) {
        let (scale, offset) = (V::splat(self.scale), V::splat(self.offset));
        let (counts, last_counts) = self.counts.as_chunks();
        let (out, last_out) = self.out.as_chunks_mut();
        for (count, value) in counts.iter().zip(out) {
            V::count(count).mul(scale).add(offset).narrow(value);
        }
        for (count, value) in last_counts.iter().zip(last_out) {
            *value = (f64::from(*count) * self.scale + self.offset) as f32;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_width_gives_the_bits_of_one_count_at_a_time() {
        let counts: Vec<i16> = (0..1003u64).map(|i| (i * i * 7919 % 65_536) as u16 as i16).collect();
        for (scale, offset) in [(0.005, 0.0), (-1.0 / 3.0, 12.345), (1e4, -7e8)] {
            let value = |c: &i16| ((f64::from(*c) * scale + offset) as f32).to_bits();
            for width in Width::available() {
                for len in [0, 1, 7, 8, 9, 250, 1003] {
                    let mut out = vec![0.25; 3];
                    values_of_counts_at(width, &counts[..len], scale, offset, &mut out);
                    assert_eq!(out[..3], [0.25; 3]);
                    let bits: Vec<u32> = out[3..].iter().map(|v| v.to_bits()).collect();
                    assert_eq!(bits, counts[..len].iter().map(value).collect::<Vec<_>>(), "{width:?} {len}");
                }
            }
        }
    }
}
