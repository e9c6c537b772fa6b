//! Annotated records for tests: a reader of WFDB formats 212 and 16 and of MIT annotations, and EC57 matching.
//! In: a record of the development data. Out: samples in mV, beats, spans of flutter; misses and false beats.

use std::path::{Path, PathBuf};

#[path = "../../tests/support/annotations.rs"]
mod annotations;

/// One lead of one record.
pub struct Record {
    pub name: String,
    pub rate: f64,
    pub mv: Vec<f32>,
    /// Sample indices of the annotated beats.
    pub beats: Vec<i64>,
    /// First and last sample of each span of ventricular flutter or fibrillation.
    pub flutter: Vec<(i64, i64)>,
}

/// Where the development data are: `AUSCULT_DATA`, or beside the workspace.
pub fn data_folder() -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data");
    let folder = std::env::var_os("AUSCULT_DATA").map_or(beside, PathBuf::from);
    folder.join("mitdb/RECORDS").exists().then_some(folder)
}

/// Reads the first lead of a record.
pub fn read(folder: &Path, name: &str) -> Record {
    read_lead(folder, name, 0)
}

/// Reads one lead of a record.
pub fn read_lead(folder: &Path, name: &str, lead: usize) -> Record {
    let header = std::fs::read_to_string(folder.join(format!("{name}.hea"))).unwrap();
    let lines: Vec<Vec<&str>> = header.lines().map(|l| l.split_whitespace().collect()).collect();
    let (leads, rate, count) =
        (number(lines[0][1]) as usize, number(lines[0][2]), number(lines[0][3]) as usize);
    let spec = &lines[1 + lead];
    let gain = number(spec[2].split('(').next().unwrap());
    let zero = spec[2].split_once('(').map_or(spec[4], |(_, z)| z.trim_end_matches(')'));
    let bytes = std::fs::read(folder.join(spec[0])).unwrap();
    let counts: fn(&[u8], usize) -> i32 = if spec[1] == "212" { format_212 } else { format_16 };
    let mv = (0..count)
        .map(|i| ((f64::from(counts(&bytes, i * leads + lead)) - number(zero)) / gain) as f32)
        .collect();
    let (beats, flutter) =
        annotated(&std::fs::read(folder.join(format!("{name}.atr"))).unwrap(), count as i64);
    Record { name: name.into(), rate, mv, beats, flutter }
}

/// Misses, false beats and matches of `found` within 150 ms, one to one, nearest first (EC57 4.3.2).
pub fn score(reference: &[i64], found: &[i64], rate: f64) -> (usize, usize, Vec<i64>) {
    let window = (0.15 * rate) as i64;
    let mut used = vec![false; found.len()];
    let mut offsets = Vec::new();
    for (i, r) in reference.iter().enumerate() {
        let nearer_next = |t: i64| reference.get(i + 1).is_some_and(|n| (t - n).abs() < (t - r).abs());
        let from = found.partition_point(|t| *t < r - window);
        let best = (from..found.len())
            .take_while(|&k| found[k] <= r + window)
            .filter(|&k| !used[k] && !nearer_next(found[k]))
            .min_by_key(|&k| (found[k] - r).abs());
        if let Some(k) = best {
            used[k] = true;
            offsets.push(found[k] - r);
        }
    }
    (reference.len() - offsets.len(), found.len() - offsets.len(), offsets)
}

fn number(text: &str) -> f64 {
    text.parse().unwrap()
}

fn format_212(bytes: &[u8], i: usize) -> i32 {
    let at = i / 2 * 3;
    let (low, high) = if i.is_multiple_of(2) {
        (bytes[at], bytes[at + 1] & 15)
    } else {
        (bytes[at + 2], bytes[at + 1] >> 4)
    };
    ((i32::from(low) | i32::from(high) << 8) << 20) >> 20
}

fn format_16(bytes: &[u8], i: usize) -> i32 {
    i32::from(i16::from_le_bytes([bytes[2 * i], bytes[2 * i + 1]]))
}

/// Beats and flutter of an annotation file in MIT format.
fn annotated(bytes: &[u8], end: i64) -> (Vec<i64>, Vec<(i64, i64)>) {
    let (mut beats, mut flutter, mut open) = (Vec::new(), Vec::new(), None);
    for a in annotations::annotations(bytes) {
        match a.symbol {
            '[' => open = Some(a.sample),
            ']' => flutter.extend(open.take().map(|o| (o, a.sample))),
            symbol => beats.extend(annotations::class(symbol).map(|_| a.sample)),
        }
    }
    flutter.extend(open.map(|o| (o, end)));
    (beats, flutter)
}

#[test]
fn matching_is_one_to_one() {
    // (reference, found) -> (misses, false beats) at 100 Hz: the window is 15 samples.
    for (reference, found, expected) in [
        (vec![100, 200], vec![101, 199], (0, 0)),
        (vec![100, 200], vec![101, 105, 199], (0, 1)),
        (vec![100, 200], vec![116], (2, 1)),
        (vec![100, 120], vec![112], (1, 0)),
    ] {
        let (misses, false_beats, _) = score(&reference, &found, 100.0);
        assert_eq!((misses, false_beats), expected, "{reference:?} {found:?}");
    }
}
