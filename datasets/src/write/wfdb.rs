//! Writer of WFDB records: annotation files in the MIT form, signal files in format 16, and their headers.
//! In: annotations in samples; recordings with raw counts. Out: bytes by annot(5), signal(5) and header(5).

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use auscult_operators::signal::EventTime;
use auscult_operators::signal::time::US_PER_S;

use super::WriteError;
use crate::read::wfdb::annotations::{AUX, Annotation, Annotations, CHN, NOTE, NUM, RESOLUTION, SKIP, SUB};
use crate::recording::{Data, RecordedWave, Recording, Stretch};

/// Count for "no sample" in format 16.
const MISSING: i16 = i16::MIN;

/// Writes an annotation file, for example `100.auscult`, over any file of that name.
///
/// # Errors
/// [`WriteError`] if annotations are out of order or too far apart, a text is too long, or the file system
/// refuses.
///
/// ```
/// use auscult_datasets::read::wfdb::annotations::{Annotation, Annotations, read};
/// use auscult_datasets::write::wfdb::write_annotations;
/// let folder = tempfile::tempdir().unwrap();
/// let file = folder.path().join("100.auscult");
/// let found = Annotations { resolution_hz: None, items: vec![Annotation::new(77, 'N').unwrap()] };
/// write_annotations(&file, &found).unwrap();
/// assert_eq!(read(&file).unwrap(), found);
/// ```
pub fn write_annotations(file: &Path, annotations: &Annotations) -> Result<(), WriteError> {
    let bytes = annotation_bytes(annotations).map_err(|fault| WriteError::Content {
        file: file.into(),
        found: fault.0,
        expected: fault.1.into(),
    })?;
    write_file(file, &bytes)
}

/// What cannot be written, and what can.
#[derive(Debug)]
struct Fault(String, &'static str);

fn annotation_bytes(annotations: &Annotations) -> Result<Vec<u8>, Fault> {
    let mut out = Encoder::default();
    if let Some(rate) = annotations.resolution_hz {
        let text = format!("{RESOLUTION}{rate}");
        out.put(&Annotation { sample: 0, code: NOTE, subtype: 0, channel: 0, number: 0, text })?;
    }
    for a in &annotations.items {
        out.put(a)?;
    }
    out.word(0, 0);
    Ok(out.bytes)
}

#[derive(Default)]
struct Encoder {
    bytes: Vec<u8>,
    time: i64,
    channel: u8,
    number: i8,
}

impl Encoder {
    fn word(&mut self, code: u16, low: u16) {
        self.bytes.extend_from_slice(&(code << 10 | low).to_le_bytes());
    }

    /// Order of the words: interval, annotation, then what differs from before: number, subtype, channel,
    /// text. Negative numbers fill the 10 bits with their sign, as in the files of the MIT-BIH database.
    fn put(&mut self, a: &Annotation) -> Result<(), Fault> {
        if !(1..=49).contains(&a.code) {
            return Err(Fault(format!("annotation code {}", a.code), "1 to 49"));
        }
        let mut ahead = a.sample.saturating_sub(self.time);
        if ahead < 0 {
            let found = format!("an annotation at {} after one at {}", a.sample, self.time);
            return Err(Fault(found, "annotations in order of their samples"));
        }
        if ahead > 1023 {
            let long = i32::try_from(ahead)
                .map_err(|_| Fault(format!("{ahead} samples apart"), "less than 2^31"))?;
            self.word(SKIP, 0);
            self.bytes.extend_from_slice(&((long >> 16) as u16).to_le_bytes());
            self.bytes.extend_from_slice(&(long as u16).to_le_bytes());
            ahead = 0;
        }
        self.time = a.sample;
        self.word(u16::from(a.code), ahead as u16);
        if a.number != self.number {
            self.number = a.number;
            self.word(NUM, a.number as u16 & 0x3ff);
        }
        if a.subtype != 0 {
            self.word(SUB, a.subtype as u16 & 0x3ff);
        }
        if a.channel != self.channel {
            self.channel = a.channel;
            self.word(CHN, u16::from(a.channel));
        }
        if !a.text.is_empty() {
            let bytes: Option<Vec<u8>> = a.text.chars().map(|c| u8::try_from(u32::from(c)).ok()).collect();
            let bytes = bytes.filter(|b| b.len() <= 255);
            let bytes = bytes.ok_or_else(|| {
                Fault(format!("a text of {} characters", a.text.chars().count()), "at most 255 of Latin-1")
            })?;
            self.word(AUX, bytes.len() as u16);
            self.bytes.extend_from_slice(&bytes);
            if bytes.len() % 2 == 1 {
                self.bytes.push(0);
            }
        }
        Ok(())
    }
}

/// Writes `folder/name.hea` and `folder/name.dat` in format 16: every wave whose rate is a whole multiple of
/// the slowest one. Raw counts are kept where a wave has one gain throughout; values, and counts under
/// several gains, are scaled anew to use the 16 bits. Gaps become missing samples.
///
/// # Errors
/// [`WriteError`] if there is no wave, rates do not fit together, or the file system refuses.
///
/// ```
/// use auscult_datasets::{open, write::wfdb::write_record};
/// let samples = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("samples");
/// let folder = tempfile::tempdir().unwrap();
/// let read = open(&samples.join("ramp212")).unwrap();
/// write_record(folder.path(), "again", &read).unwrap();
/// let again = open(&folder.path().join("again")).unwrap();
/// assert_eq!(again.waves[0].stretches[0].value(1), read.waves[0].stretches[0].value(1));
/// ```
pub fn write_record(folder: &Path, name: &str, recording: &Recording) -> Result<(), WriteError> {
    let header_file = folder.join(format!("{name}.hea"));
    let fault = |found: String, expected: &str| WriteError::Content {
        file: header_file.clone(),
        found,
        expected: expected.into(),
    };
    if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-') {
        return Err(fault(format!("record name {name:?}"), "letters, digits, _ and -"));
    }
    let slowest = recording.waves.iter().map(|w| w.rate.get()).min_by(f64::total_cmp);
    let frame_rate = slowest.ok_or_else(|| fault("no wave".into(), "at least one"))?;
    let mut tracks = Vec::with_capacity(recording.waves.len());
    for wave in &recording.waves {
        let per_frame = (wave.rate.get() / frame_rate).round();
        if (wave.rate.get() - per_frame * frame_rate).abs() > 1e-9 * wave.rate.get() {
            return Err(fault(
                format!("{:?} at {} Hz beside {frame_rate} Hz", wave.label, wave.rate.get()),
                "whole multiples of the slowest rate",
            ));
        }
        tracks.push(Track::new(wave, per_frame as usize));
    }
    let frames = tracks.iter().map(|t| t.counts.len().div_ceil(t.per_frame)).max().unwrap_or(0);
    for t in &mut tracks {
        t.counts.resize(frames * t.per_frame, MISSING);
    }
    let mut bytes = Vec::with_capacity(tracks.iter().map(|t| t.counts.len() * 2).sum());
    for frame in 0..frames {
        for t in &tracks {
            for count in &t.counts[frame * t.per_frame..(frame + 1) * t.per_frame] {
                bytes.extend_from_slice(&count.to_le_bytes());
            }
        }
    }
    write_file(&folder.join(format!("{name}.dat")), &bytes)?;
    write_file(&header_file, header_text(name, recording, &tracks, frame_rate, frames).as_bytes())
}

/// One signal as it will be written.
struct Track {
    label: String,
    unit: String,
    per_frame: usize,
    gain: f64,
    baseline: i64,
    counts: Vec<i16>,
}

impl Track {
    fn new(wave: &RecordedWave, per_frame: usize) -> Self {
        let mut counts = vec![MISSING; wave.end_sample() as usize];
        let (gain, baseline) = raw_scale(wave).unwrap_or_else(|| full_scale(wave));
        for s in &wave.stretches {
            let first = s.first_sample as usize;
            match &s.data {
                Data::Counts(c, missing) if is_raw(s, gain, baseline) => {
                    for (to, &from) in counts[first..].iter_mut().zip(c) {
                        *to = if Some(from) == *missing { MISSING } else { from };
                    }
                }
                _ => {
                    for (i, to) in counts[first..first + s.data.len()].iter_mut().enumerate() {
                        if let Some(v) = s.value(i) {
                            *to = (v * gain + baseline).round().clamp(-32_767.0, 32_767.0) as i16;
                        }
                    }
                }
            }
        }
        let unit = if wave.unit.is_empty() { "NU".into() } else { wfdb_unit(&wave.unit) };
        Self { label: wave.label.clone(), unit, per_frame, gain, baseline: baseline.round() as i64, counts }
    }

    fn checksum(&self) -> i16 {
        self.counts.iter().fold(0i16, |sum, &c| sum.wrapping_add(c))
    }
}

fn is_raw(s: &Stretch, gain: f64, baseline: f64) -> bool {
    (s.gain, s.baseline) == (gain, baseline)
}

/// Gain and baseline of a wave of counts that has the same ones throughout. Headers hold whole baselines
/// only.
fn raw_scale(wave: &RecordedWave) -> Option<(f64, f64)> {
    let first = wave.stretches.first()?;
    let same = wave.stretches.iter().all(|s| {
        matches!(&s.data, Data::Counts(c, m) if m.is_none_or(|m| m == MISSING) || !c.contains(&MISSING))
            && is_raw(s, first.gain, first.baseline)
    });
    (same && (first.baseline - first.baseline.round()).abs() < 1e-6).then_some((first.gain, first.baseline))
}

/// Gain and baseline that spread the values over 30,000 counts to either side.
fn full_scale(wave: &RecordedWave) -> (f64, f64) {
    let values = wave.stretches.iter().flat_map(|s| (0..s.data.len()).filter_map(|i| s.value(i)));
    let (low, high) = values.fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| (l.min(v), h.max(v)));
    if !(low.is_finite() && high.is_finite()) {
        return (200.0, 0.0);
    }
    let half = ((high - low) / 2.0).max(1e-6 * high.abs().max(1.0));
    // Six digits, so that the header can be read by people too; the counts are made with the same number.
    let gain: f64 = format!("{:.5e}", 30_000.0 / half).parse().unwrap_or(200.0);
    (gain, (-(low + high) / 2.0 * gain).round())
}

/// Units as other WFDB tools know them.
fn wfdb_unit(unit: &str) -> String {
    match unit {
        "mm[Hg]" => "mmHg".into(),
        "1" => "NU".into(),
        other => other.split_whitespace().collect::<Vec<_>>().join("_"),
    }
}

fn header_text(name: &str, recording: &Recording, tracks: &[Track], rate: f64, frames: usize) -> String {
    let mut text = format!("{name} {} {rate} {frames}", tracks.len());
    if let Some(start) = recording.start {
        text.push_str(&base_time(start));
    }
    text.push('\n');
    for t in tracks {
        let per_frame = if t.per_frame == 1 { String::new() } else { format!("x{}", t.per_frame) };
        let first = t.counts.first().copied().unwrap_or(0);
        let label = t.label.replace(['\n', '\r'], " ");
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "{name}.dat 16{per_frame} {}({})/{} 16 0 {first} {} 0 {label}",
            t.gain,
            t.baseline,
            t.unit,
            t.checksum()
        );
    }
    for note in &recording.notes {
        let _ = writeln!(text, "# {}", note.replace(['\n', '\r'], " "));
    }
    text
}

/// ` HH:MM:SS.mmm DD/MM/YYYY`, by the proleptic Gregorian calendar. Microseconds are written only if there
/// are any.
fn base_time(start: EventTime) -> String {
    let us = start.micros();
    let (day, in_day) = (us.div_euclid(86_400 * US_PER_S), us.rem_euclid(86_400 * US_PER_S));
    let (seconds, fraction) = (in_day / US_PER_S, in_day % US_PER_S);
    let shifted = day + 719_468;
    let era = shifted.div_euclid(146_097);
    let of_era = shifted.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let in_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let m = (5 * in_year + 2) / 153;
    let month = if m < 10 { m + 3 } else { m - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let date = format!("{:02}/{month:02}/{year:04}", in_year - (153 * m + 2) / 5 + 1);
    let digits =
        if fraction % 1_000 == 0 { format!("{:03}", fraction / 1_000) } else { format!("{fraction:06}") };
    format!(" {:02}:{:02}:{:02}.{digits} {date}", seconds / 3_600, seconds / 60 % 60, seconds % 60)
}

fn write_file(file: &Path, bytes: &[u8]) -> Result<(), WriteError> {
    std::fs::write(file, bytes).map_err(|source| WriteError::File { file: PathBuf::from(file), source })
}
