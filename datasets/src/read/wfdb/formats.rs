//! Sample formats of WFDB signal files, by signal(5).
//! In: bytes. Out: converter counts, interleaved as in the file or picked apart by signal; each format's own
//! count for "no sample" is kept.

use crate::recording::Data;

/// Formats that are read, for messages.
pub const KNOWN: &str = "one of 16, 24, 32, 61, 80, 160, 212";

/// Whether a format is one of those read.
pub fn is_known(format: u16) -> bool {
    matches!(format, 16 | 24 | 32 | 61 | 80 | 160 | 212)
}

/// Counts of at most 16 bits, or wider.
#[derive(Clone, Debug, PartialEq)]
pub enum Counts {
    /// At most 16 bits.
    Narrow(Vec<i16>),
    /// 24 or 32 bits.
    Wide(Vec<i32>),
}

/// Bytes that `samples` samples take.
///
/// ```
/// use auscult_datasets::read::wfdb::formats::bytes_for;
/// assert_eq!((bytes_for(212, 3), bytes_for(16, 3), bytes_for(24, 3)), (5, 6, 9));
/// ```
pub fn bytes_for(format: u16, samples: usize) -> usize {
    match format {
        // Two samples in three bytes; a last odd one takes two.
        212 => (samples / 2).saturating_mul(3) + 2 * (samples % 2),
        80 => samples,
        24 => samples.saturating_mul(3),
        32 => samples.saturating_mul(4),
        _ => samples.saturating_mul(2),
    }
}

/// Whole samples in so many bytes.
pub fn samples_in(format: u16, bytes: usize) -> usize {
    match format {
        212 => bytes / 3 * 2 + usize::from(bytes % 3 == 2),
        80 => bytes,
        24 => bytes / 3,
        32 => bytes / 4,
        _ => bytes / 2,
    }
}

/// The count that means "no sample" in a format of at most 16 bits.
fn missing_narrow(format: u16) -> i16 {
    match format {
        212 => -2048,
        80 => -128,
        _ => i16::MIN,
    }
}

/// The count that means "no sample" in a format of more than 16 bits.
fn missing_wide(format: u16) -> i32 {
    if format == 24 { -(1 << 23) } else { i32::MIN }
}

/// Decodes `samples` samples; the caller has made sure that there are enough bytes.
pub fn decode(format: u16, bytes: &[u8], samples: usize) -> Counts {
    let pairs = bytes.chunks_exact(2).map(|b| [b[0], b[1]]);
    match format {
        212 => Counts::Narrow(decode_212(bytes, samples)),
        80 => Counts::Narrow(bytes.iter().take(samples).map(|&b| i16::from(b) - 128).collect()),
        61 => Counts::Narrow(pairs.take(samples).map(i16::from_be_bytes).collect()),
        // Offset binary: the top bit turned over gives two's complement.
        160 => Counts::Narrow(pairs.take(samples).map(|b| (u16::from_le_bytes(b) ^ 0x8000) as i16).collect()),
        24 => {
            let triples = bytes.chunks_exact(3).take(samples);
            Counts::Wide(triples.map(|b| i32::from_le_bytes([0, b[0], b[1], b[2]]) >> 8).collect())
        }
        32 => {
            let fours = bytes.chunks_exact(4).take(samples);
            Counts::Wide(fours.map(|b| i32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect())
        }
        _ => Counts::Narrow(pairs.take(samples).map(i16::from_le_bytes).collect()),
    }
}

/// Format 212: 12-bit two's complement, the high nibbles of a pair in the middle byte.
fn decode_212(bytes: &[u8], samples: usize) -> Vec<i16> {
    let mut out = Vec::with_capacity(samples + 1);
    let whole = bytes.chunks_exact(3);
    let rest = whole.remainder();
    let twelve = |low: u8, high: u8| ((u16::from(high) << 12 | u16::from(low) << 4) as i16) >> 4;
    for b in whole.take(samples.div_ceil(2)) {
        out.push(twelve(b[0], b[1] & 0x0f));
        out.push(twelve(b[2], b[1] >> 4));
    }
    if out.len() < samples && rest.len() == 2 {
        out.push(twelve(rest[0], rest[1] & 0x0f));
    }
    out.truncate(samples);
    out
}

impl Counts {
    /// The samples of one signal: `run` at `at` of every `stride`.
    pub fn pick(&self, at: usize, run: usize, stride: usize) -> Counts {
        fn each<T: Copy>(all: &[T], at: usize, run: usize, stride: usize) -> Vec<T> {
            all.chunks_exact(stride).flat_map(|frame| frame[at..at + run].iter().copied()).collect()
        }
        match self {
            Counts::Narrow(c) => Counts::Narrow(each(c, at, run, stride)),
            Counts::Wide(c) => Counts::Wide(each(c, at, run, stride)),
        }
    }
    /// Sum of all samples in 16 bits.
    pub fn checksum(&self) -> i16 {
        match self {
            Counts::Narrow(c) => c.iter().fold(0i16, |sum, &x| sum.wrapping_add(x)),
            Counts::Wide(c) => c.iter().fold(0i32, |sum, &x| sum.wrapping_add(x)) as i16,
        }
    }
    /// Takes off the first `skew` samples, which belong to the time before the record; the end is missing.
    pub fn skewed(self, skew: usize, format: u16) -> Data {
        fn shift<T: Copy>(mut c: Vec<T>, skew: usize, missing: T) -> Vec<T> {
            let skew = skew.min(c.len());
            c.rotate_left(skew);
            let end = c.len() - skew;
            c[end..].fill(missing);
            c
        }
        match self {
            Counts::Narrow(c) => {
                let missing = missing_narrow(format);
                Data::Counts(shift(c, skew, missing), Some(missing))
            }
            Counts::Wide(c) => {
                let missing = missing_wide(format);
                Data::Wide(shift(c, skew, missing), Some(missing))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(format: u16, bytes: &[u8], expected: &[i32]) {
        assert_eq!(samples_in(format, bytes.len()), expected.len());
        assert_eq!(bytes_for(format, expected.len()), bytes.len());
        let found: Vec<i32> = match decode(format, bytes, expected.len()) {
            Counts::Narrow(c) => c.into_iter().map(i32::from).collect(),
            Counts::Wide(c) => c,
        };
        assert_eq!(found, expected, "format {format}");
    }

    #[test]
    fn formats_by_hand() {
        check(212, &[0xe3, 0x33, 0xf3], &[995, 1011]);
        check(212, &[0x00, 0x78, 0xff, 0xff, 0x0f], &[-2048, 2047, -1]);
        check(16, &[0x34, 0x12, 0x00, 0x80], &[0x1234, -32768]);
        check(61, &[0x12, 0x34, 0x80, 0x00], &[0x1234, -32768]);
        check(160, &[0x00, 0x80, 0x00, 0x00, 0xff, 0xff], &[0, -32768, 32767]);
        check(80, &[128, 0, 255], &[0, -128, 127]);
        check(24, &[0xff, 0xff, 0xff, 0x00, 0x00, 0x80], &[-1, -(1 << 23)]);
        check(32, &[0xfe, 0xff, 0xff, 0xff], &[-2]);
    }

    #[test]
    fn skew_moves_left_and_leaves_missing() {
        let data = Counts::Narrow(vec![1, 2, 3]).skewed(2, 212);
        assert_eq!(data, Data::Counts(vec![3, -2048, -2048], Some(-2048)));
    }
}
