//! Reader of WFDB records: PhysioNet's headers, signal files and annotation files.
//! In: a header path or a record name. Out: raw counts per signal with gain and baseline; multi-segment
//! records as stretches on one grid, so that a gap is the absence of a stretch. Checksums are verified.
//!
//! Written from the WFDB Programmer's and Applications Guides: header(5), signal(5), annot(5).

pub mod annotations;
pub mod formats;
pub mod header;

use std::path::{Path, PathBuf};

use auscult_operators::signal::{Hertz, Span};

use self::formats::Counts;
use self::header::{Header, SignalLine};
use super::{Place, ReadError, bytes_of, text_of};
use crate::recording::{ChannelMap, Data, RecordedValue, RecordedWave, Recording, Stretch, numeric_channel};

/// Records slower than this, in samples per second, hold values of a monitor rather than waveforms.
const SLOWEST_WAVE_HZ: f64 = 4.0;

/// Most frames of a record, gaps included: two years at 125 Hz.
pub const MAX_FRAMES: u64 = 1 << 33;

/// The header of a record given by header path or by name without ending.
///
/// ```
/// use auscult_datasets::read::wfdb::header_path;
/// assert_eq!(header_path("mitdb/100".as_ref()), header_path("mitdb/100.hea".as_ref()));
/// ```
pub fn header_path(record: &Path) -> PathBuf {
    if record.extension().is_some_and(|e| e.eq_ignore_ascii_case("hea")) {
        return record.into();
    }
    let mut name = record.as_os_str().to_owned();
    name.push(".hea");
    name.into()
}

/// Reads a record.
///
/// # Errors
/// [`ReadError`]: missing file, malformed line, unknown format, cut file, wrong checksum.
///
/// ```
/// let record = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("samples/ramp16");
/// let rec = auscult_datasets::read::wfdb::read(&record).unwrap();
/// assert_eq!(rec.waves[0].values()[1], (37.0 - 100.0) / 200.0);
/// ```
pub fn read(record: &Path) -> Result<Recording, ReadError> {
    let file = header_path(record);
    let header = read_header(&file)?;
    let mut recording = Recording {
        name: header.name.clone(),
        start: header.start(),
        notes: header.comments.clone(),
        ..Recording::default()
    };
    let mut map = ChannelMap::default();
    if header.segments.is_empty() {
        let mut tracks = Tracks::default();
        add_segment(&mut tracks, &mut map, &file, &header, 0, false)?;
        tracks.finish(&mut recording);
        return Ok(recording);
    }
    let tracks = read_segments(&file, &header, &mut map)?;
    tracks.finish(&mut recording);
    Ok(recording)
}

/// Reads and checks one header.
///
/// # Errors
/// [`ReadError`] with the line.
///
/// ```
/// let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("samples/ramp16.hea");
/// let header = auscult_datasets::read::wfdb::read_header(&file).unwrap();
/// assert_eq!(header.signals.len(), 2);
/// ```
pub fn read_header(file: &Path) -> Result<Header, ReadError> {
    header::parse(file, &text_of(file, "a WFDB record has a .hea file")?)
}

/// Signals gathered so far.
#[derive(Default)]
struct Tracks {
    waves: Vec<RecordedWave>,
}

fn read_segments(file: &Path, header: &Header, map: &mut ChannelMap) -> Result<Tracks, ReadError> {
    let place = Place { file };
    let mut tracks = Tracks::default();
    let mut first_frame = 0u64;
    let variable = header.segments.first().is_some_and(|s| s.samples == 0);
    for segment in &header.segments {
        if segment.name != "~" {
            let part_file = header_path(&file.with_file_name(&segment.name));
            let part = read_header(&part_file)?;
            let rate = header.frame_rate;
            if !part.segments.is_empty() || part.frame_rate != rate {
                let found = format!("segment {} with rate {}", segment.name, part.frame_rate);
                return Err(place.line(segment.line, found, format!("a plain record of rate {rate}")));
            }
            if segment.samples > 0 && part.samples.is_some_and(|n| n != segment.samples) {
                let found = format!("{} samples for segment {}", segment.samples, segment.name);
                let expected = format!("{} as in its header", part.samples.unwrap_or(0));
                return Err(place.line(segment.line, found, expected));
            }
            add_segment(&mut tracks, map, &part_file, &part, first_frame, variable)?;
        }
        first_frame = first_frame.saturating_add(segment.samples);
        if first_frame > MAX_FRAMES {
            return Err(place.line(
                segment.line,
                format!("{first_frame} samples"),
                format!("at most {MAX_FRAMES}"),
            ));
        }
    }
    if header.samples.is_some_and(|n| n != first_frame) {
        let expected = format!("{} as in the record line", header.samples.unwrap_or(0));
        return Err(place.line(1, format!("segments of {first_frame} samples in all"), expected));
    }
    Ok(tracks)
}

/// Reads the signals of one header and appends them to the tracks: by label if the layout varies, by position
/// if it is the same in each segment.
fn add_segment(
    tracks: &mut Tracks,
    map: &mut ChannelMap,
    file: &Path,
    header: &Header,
    first_frame: u64,
    by_label: bool,
) -> Result<(), ReadError> {
    let mut used = Vec::new();
    let counts = read_signals(file, header)?;
    for (position, (line, data)) in header.signals.iter().zip(counts).enumerate() {
        let rate = Hertz(header.frame_rate * line.samples_per_frame as f64);
        let same = |w: &RecordedWave| w.label == line.label && w.rate == rate;
        let found = if by_label {
            (0..tracks.waves.len()).find(|&i| !used.contains(&i) && same(&tracks.waves[i]))
        } else {
            (position < tracks.waves.len()).then_some(position)
        };
        let index = found.unwrap_or_else(|| {
            let numeric = rate.get() < SLOWEST_WAVE_HZ && numeric_channel(&line.label).is_some();
            let mapping = if numeric {
                map.numeric(&line.label, &line.unit)
            } else {
                map.wave(&line.label, &line.unit)
            };
            let (label, unit) = (line.label.clone(), line.unit.clone());
            tracks.waves.push(RecordedWave { label, unit, rate, mapping, stretches: Vec::new() });
            tracks.waves.len() - 1
        });
        used.push(index);
        let wave = &mut tracks.waves[index];
        if wave.unit != line.unit || wave.rate != rate {
            let found = format!("signal {:?} in {} at {} Hz", line.label, line.unit, rate.get());
            let expected = format!("{} at {} Hz as before", wave.unit, wave.rate.get());
            return Err(Place { file }.line(line.line, found, expected));
        }
        if !data.is_empty() {
            let first_sample = first_frame.saturating_mul(line.samples_per_frame as u64);
            append(wave, Stretch { first_sample, gain: line.gain, baseline: line.baseline, data });
        }
    }
    Ok(())
}

/// Joins samples that follow on under the same gain, so that a border between segments leaves no trace.
fn append(wave: &mut RecordedWave, next: Stretch) {
    if let Some(last) = wave.stretches.last_mut()
        && last.end_sample() == next.first_sample
        && (last.gain, last.baseline) == (next.gain, next.baseline)
        && let (Data::Counts(a, m), Data::Counts(b, n)) = (&mut last.data, &next.data)
        && m == n
    {
        a.extend_from_slice(b);
        return;
    }
    wave.stretches.push(next);
}

impl Tracks {
    /// Moves the tracks into the recording: values of monitors as observations, the rest as waves.
    fn finish(self, recording: &mut Recording) {
        for wave in self.waves {
            match &wave.mapping {
                Ok(m) if !m.channel.row().kind.is_wave() => {
                    for stretch in &wave.stretches {
                        recording.observations.extend((0..stretch.data.len()).filter_map(|i| {
                            let value = stretch.value(i)? * m.factor + m.offset;
                            let at: Span = wave.sample_time(stretch.first_sample + i as u64);
                            Some(RecordedValue { channel: m.channel, at, value: Some(value) })
                        }));
                    }
                }
                _ => recording.waves.push(wave),
            }
        }
        recording.sort();
    }
}

/// Reads the samples of every signal of a plain header, in header order. A signal of a layout (`~`) is empty.
fn read_signals(file: &Path, header: &Header) -> Result<Vec<Data>, ReadError> {
    let mut all = Vec::with_capacity(header.signals.len());
    let mut rest = header.signals.as_slice();
    while let Some(first) = rest.first() {
        // Signals of one file stand together in the header and are interleaved in the file.
        let group = rest.iter().take_while(|s| s.file == first.file).count();
        let (signals, others) = rest.split_at(group);
        rest = others;
        if first.file == "~" {
            all.extend(signals.iter().map(|_| Data::Counts(Vec::new(), None)));
        } else {
            all.extend(read_group(file, header, signals)?);
        }
    }
    Ok(all)
}

fn read_group(header_file: &Path, header: &Header, signals: &[SignalLine]) -> Result<Vec<Data>, ReadError> {
    let first = &signals[0];
    let header_place = Place { file: header_file };
    if let Some(other) =
        signals.iter().find(|s| (s.format, s.byte_offset) != (first.format, first.byte_offset))
    {
        let found = format!("format {}+{}", other.format, other.byte_offset);
        let expected = format!("{}+{} like its file's first signal", first.format, first.byte_offset);
        return Err(header_place.line(other.line, found, expected));
    }
    let file = header_file.with_file_name(&first.file);
    let bytes = bytes_of(&file, "the header names this file")?;
    let place = Place { file: &file };
    let bytes = bytes.get(first.byte_offset as usize..).ok_or_else(|| {
        place.bytes(bytes.len() as u64, "end of file", format!("samples from byte {}", first.byte_offset))
    })?;
    let per_frame: usize = signals.iter().map(|s| s.samples_per_frame).sum();
    let frames = match header.samples {
        Some(n) => usize::try_from(n).unwrap_or(usize::MAX),
        None => formats::samples_in(first.format, bytes.len()) / per_frame,
    };
    let total = frames.saturating_mul(per_frame);
    let needed = formats::bytes_for(first.format, total);
    if bytes.len() < needed {
        let end = first.byte_offset + bytes.len() as u64;
        return Err(place.bytes(end, "end of file", format!("{needed} bytes for {total} samples")));
    }
    let stream = formats::decode(first.format, bytes, total);
    let mut at = 0;
    let mut out = Vec::with_capacity(signals.len());
    for line in signals {
        let counts = stream.pick(at, line.samples_per_frame, per_frame);
        at += line.samples_per_frame;
        check_sum(&file, line, &counts)?;
        out.push(counts.skewed(line.skew.saturating_mul(line.samples_per_frame), first.format));
    }
    Ok(out)
}

/// Compares with the header's checksum. Some sets (Challenge 2017) write 0 for "not computed".
fn check_sum(file: &Path, line: &SignalLine, counts: &Counts) -> Result<(), ReadError> {
    let found = counts.checksum();
    match line.checksum {
        Some(expected) if expected != 0 && expected != found => {
            Err(ReadError::Checksum { file: file.into(), signal: line.label.clone(), found, expected })
        }
        _ => Ok(()),
    }
}
