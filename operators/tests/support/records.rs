//! Small readers for recordings, for tests only: WFDB formats 16 and 212, CSV, archives.
//! In: the shared data folder (environment variable AUSCULT_DATA). Out: samples in physical units, or nothing
//! with one line that says what was not run.
#![allow(dead_code, reason = "each test file uses its part")]

use std::path::{Path, PathBuf};
use std::process::Command;

/// The data folder, or `None` after saying which test was not run.
#[allow(clippy::print_stderr, reason = "a skipped test has to say so")]
pub fn data(test: &str) -> Option<PathBuf> {
    let given = std::env::var_os("AUSCULT_DATA").map(PathBuf::from);
    let root = given.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data"));
    if root.is_dir() {
        return Some(root);
    }
    eprintln!("not run: {test}: no recordings in {}", root.display());
    None
}

/// A file of a folder, or of the archive beside it, which is unpacked once into the build's temporary folder.
pub fn read(folder: &Path, archive: &str, member: &str) -> Option<Vec<u8>> {
    if let Ok(bytes) = std::fs::read(folder.join(member)) {
        return Some(bytes);
    }
    let unpacked = Path::new(env!("CARGO_TARGET_TMPDIR")).join(archive);
    if !unpacked.is_dir() {
        // Unpacked aside and renamed, so that tests side by side never see half of it.
        let aside = unpacked.with_extension(format!("{}", std::process::id()));
        std::fs::create_dir_all(&aside).ok()?;
        let tar =
            Command::new("tar").arg("xzf").arg(folder.join(archive)).arg("-C").arg(&aside).status().ok()?;
        if tar.success() {
            let _ = std::fs::rename(&aside, &unpacked);
        }
    }
    std::fs::read(unpacked.join(member)).ok()
}

/// Columns of a CSV text by trimmed name; what is not a number is NaN.
pub struct Table {
    names: Vec<String>,
    rows: Vec<Vec<f64>>,
}

impl Table {
    pub fn parse(text: &str) -> Self {
        let mut lines = text.lines();
        let names = lines.next().unwrap_or("").split(',').map(|s| s.trim().to_owned()).collect();
        let number = |s: &str| s.trim().parse().unwrap_or(f64::NAN);
        Self { names, rows: lines.map(|l| l.split(',').map(number).collect()).collect() }
    }
    pub fn column(&self, name: &str) -> Option<Vec<f64>> {
        let at = self.names.iter().position(|n| n == name)?;
        Some(self.rows.iter().map(|r| r.get(at).copied().unwrap_or(f64::NAN)).collect())
    }
    pub fn at(&self, index: usize) -> Vec<f64> {
        self.rows.iter().map(|r| r.get(index).copied().unwrap_or(f64::NAN)).collect()
    }
}

/// One signal of a WFDB record, in physical units.
pub struct Signal {
    pub name: String,
    pub rate: f64,
    pub samples: Vec<f32>,
}

/// Reads a record whose header and samples are given, all signals of one file, format 16 or 212.
pub fn wfdb(header: &str, bytes: &[u8]) -> Vec<Signal> {
    let mut lines = header.lines().filter(|l| !l.starts_with('#') && !l.trim().is_empty());
    let first: Vec<&str> = lines.next().unwrap_or("").split_whitespace().collect();
    let count: usize = first[1].parse().unwrap();
    let rate: f64 = first[2].split('/').next().unwrap().parse().unwrap();
    let rows: Vec<Vec<&str>> = lines.take(count).map(|l| l.split_whitespace().collect()).collect();
    let format = rows[0][1];
    let offset: usize = format.split('+').nth(1).map_or(0, |s| s.parse().unwrap());
    let counts = if format.starts_with("212") { packed(&bytes[offset..]) } else { words(&bytes[offset..]) };
    rows.iter()
        .enumerate()
        .map(|(k, row)| {
            let gain_text = row[2].split('/').next().unwrap();
            let gain: f64 = gain_text.split('(').next().unwrap().parse().unwrap();
            let zero: f64 = row.get(4).map_or(0.0, |s| s.parse().unwrap());
            let inside = gain_text.split('(').nth(1).and_then(|s| s.trim_end_matches(')').parse().ok());
            let baseline: f64 = inside.unwrap_or(zero);
            let gain = if gain == 0.0 { 200.0 } else { gain };
            let samples =
                counts.iter().skip(k).step_by(count).map(|&c| ((f64::from(c) - baseline) / gain) as f32);
            Signal { name: row[8..].join(" "), rate, samples: samples.collect() }
        })
        .collect()
}

fn words(bytes: &[u8]) -> Vec<i32> {
    bytes.chunks_exact(2).map(|b| i32::from(i16::from_le_bytes([b[0], b[1]]))).collect()
}

fn packed(bytes: &[u8]) -> Vec<i32> {
    let signed = |v: i32| if v > 2047 { v - 4096 } else { v };
    let pair = |b: &[u8]| {
        let (a, m, c) = (i32::from(b[0]), i32::from(b[1]), i32::from(b[2]));
        [signed(a | (m & 15) << 8), signed(c | (m >> 4) << 8)]
    };
    bytes.chunks_exact(3).flat_map(pair).collect()
}
