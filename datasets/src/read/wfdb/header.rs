//! WFDB headers, by header(5): one record line, then a line a signal or a line a segment, then comments.
//! In: the text of a `.hea` file. Out: a checked [`Header`]; gains in counts per unit, offsets in bytes,
//! times in microseconds.

use std::path::Path;

use auscult_operators::signal::EventTime;
use auscult_operators::signal::time::US_PER_S;

use super::formats;
use crate::read::{Place, ReadError};

/// Counts per millivolt where a header gives none or 0.
pub const DEFAULT_GAIN: f64 = 200.0;
/// Samples per second where a header gives none.
pub const DEFAULT_RATE_HZ: f64 = 250.0;
/// Most signals or segments of one header.
pub const MAX_LINES: usize = 100_000;
/// Most samples of one signal in one frame.
pub const MAX_SAMPLES_PER_FRAME: usize = 10_000;

/// A header.
#[derive(Clone, Debug, PartialEq)]
pub struct Header {
    /// Record name.
    pub name: String,
    /// Frames per second; a signal has `samples_per_frame` times as many samples.
    pub frame_rate: f64,
    /// Frames in the record, if said.
    pub samples: Option<u64>,
    /// Time of day of the first sample, microseconds from midnight.
    pub base_time_us: Option<i64>,
    /// Date of the first sample, days from 1970-01-01.
    pub base_day: Option<i64>,
    /// Signals of a plain record.
    pub signals: Vec<SignalLine>,
    /// Segments of a multi-segment record, empty for a plain one.
    pub segments: Vec<SegmentLine>,
    /// Comments without their `#`.
    pub comments: Vec<String>,
}

/// One signal of a header.
#[derive(Clone, Debug, PartialEq)]
pub struct SignalLine {
    /// Line of the header, counted from 1.
    pub line: usize,
    /// File of samples, beside the header; `~` if there is none.
    pub file: String,
    /// Sample format.
    pub format: u16,
    /// Samples in one frame.
    pub samples_per_frame: usize,
    /// Frames by which the signal comes late in its file.
    pub skew: usize,
    /// Bytes before the first sample.
    pub byte_offset: u64,
    /// Counts per unit.
    pub gain: f64,
    /// Count of value zero.
    pub baseline: f64,
    /// Unit as written.
    pub unit: String,
    /// Bits of the converter, 0 if not said.
    pub resolution_bits: u32,
    /// Count in the middle of the converter's range.
    pub adc_zero: i32,
    /// First sample, if said.
    pub first_value: Option<i32>,
    /// Sum of all samples in 16 bits, if said.
    pub checksum: Option<i16>,
    /// Description.
    pub label: String,
}

/// One segment of a multi-segment header.
#[derive(Clone, Debug, PartialEq)]
pub struct SegmentLine {
    /// Line of the header, counted from 1.
    pub line: usize,
    /// Record name of the segment; `~` is a gap.
    pub name: String,
    /// Frames in the segment.
    pub samples: u64,
}

impl Header {
    /// When the record began, if both the day and the time of day are known. Headers name no time zone; the
    /// times are taken as UTC.
    pub fn start(&self) -> Option<EventTime> {
        let us = self.base_day?.checked_mul(86_400 * US_PER_S)?.checked_add(self.base_time_us?)?;
        Some(EventTime::from_micros(us))
    }
}

/// Reads the text of a header; `file` is for messages.
///
/// # Errors
/// [`ReadError::Line`] at the first line that is not as it should be.
///
/// ```
/// use auscult_datasets::read::wfdb::header::parse;
/// let text = "a 1 360 650000\na.dat 212 200(1024)/uV 11 1024 995 -22131 0 MLII\n# x\n";
/// let h = parse("a.hea".as_ref(), text).unwrap();
/// assert_eq!((h.signals[0].baseline, h.signals[0].unit.as_str()), (1024.0, "uV"));
/// assert_eq!(parse("a.hea".as_ref(), "a x 360\n").unwrap_err().to_string(),
///     "a.hea:1: found \"x\", expected a number of signals");
/// ```
pub fn parse(file: &Path, text: &str) -> Result<Header, ReadError> {
    let place = Place { file };
    let mut header: Option<Header> = None;
    let mut expected = Lines::Signals(0);
    for (i, raw) in text.lines().enumerate() {
        let (line, content) = (i + 1, raw.trim());
        if let Some(comment) = content.strip_prefix('#') {
            if let Some(h) = &mut header {
                h.comments.push(comment.trim().into());
            }
            continue;
        }
        if content.is_empty() {
            continue;
        }
        match &mut header {
            None => {
                let (h, lines) = record_line(place, line, content)?;
                expected = lines;
                header = Some(h);
            }
            Some(h) if h.segments.len() + h.signals.len() >= expected.count() => break,
            Some(h) => match expected {
                Lines::Signals(_) => h.signals.push(signal_line(place, line, content)?),
                Lines::Segments(_) => h.segments.push(segment_line(place, line, content)?),
            },
        }
    }
    let header = header.ok_or_else(|| place.line(1, "no record line", "name, signals, rate, samples"))?;
    let found = header.segments.len() + header.signals.len();
    if found < expected.count() {
        let end = text.lines().count();
        return Err(place.line(
            end,
            format!("{found} signal or segment lines"),
            expected.count().to_string(),
        ));
    }
    Ok(header)
}

/// How many lines of which sort follow the record line.
#[derive(Clone, Copy)]
enum Lines {
    Signals(usize),
    Segments(usize),
}

impl Lines {
    fn count(self) -> usize {
        match self {
            Lines::Signals(n) | Lines::Segments(n) => n,
        }
    }
}

fn record_line(place: Place<'_>, line: usize, content: &str) -> Result<(Header, Lines), ReadError> {
    let mut fields = content.split_whitespace();
    let name = fields.next().unwrap_or("");
    let (name, segments) = match name.split_once('/') {
        Some((name, n)) => (name, Some(number::<usize>(place, line, n, "a number of segments")?)),
        None => (name, None),
    };
    let signals = number::<usize>(place, line, fields.next().unwrap_or("nothing"), "a number of signals")?;
    let lines = segments.map_or(Lines::Signals(signals), Lines::Segments);
    if lines.count() > MAX_LINES {
        return Err(place.line(line, lines.count().to_string(), format!("at most {MAX_LINES} lines")));
    }
    let frame_rate = match fields.next() {
        None => DEFAULT_RATE_HZ,
        Some(f) => {
            let rate = f.split(['/', '(']).next().unwrap_or(f);
            let rate = number::<f64>(place, line, rate, "a sampling rate in Hz")?;
            if !(rate.is_finite() && rate > 0.0 && rate < 1e7) {
                return Err(place.line(line, f, "a sampling rate above 0 and below 10 MHz"));
            }
            rate
        }
    };
    let samples = match fields.next() {
        None => None,
        // 0 means "not said", as in layout headers, which have no samples.
        Some(f) => Some(number::<u64>(place, line, f, "a number of samples")?).filter(|&n| n > 0),
    };
    let base_time_us = match fields.next() {
        None => None,
        Some(f) => Some(time_of_day(f).ok_or_else(|| place.line(line, quoted(f), "a time HH:MM:SS"))?),
    };
    let base_day = match fields.next() {
        None => None,
        Some(f) => Some(day_number(f).ok_or_else(|| place.line(line, quoted(f), "a date DD/MM/YYYY"))?),
    };
    let header = Header {
        name: name.into(),
        frame_rate,
        samples,
        base_time_us,
        base_day,
        signals: Vec::new(),
        segments: Vec::new(),
        comments: Vec::new(),
    };
    Ok((header, lines))
}

fn signal_line(place: Place<'_>, line: usize, content: &str) -> Result<SignalLine, ReadError> {
    let mut rest = content;
    let mut next = || {
        rest = rest.trim_start();
        let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
        let (field, after) = rest.split_at(end);
        rest = after;
        (!field.is_empty()).then_some(field)
    };
    let (file, format_field) = (next().unwrap_or("").to_string(), next().unwrap_or("nothing"));
    let fields: [Option<&str>; 6] = std::array::from_fn(|_| next());
    let label = rest.trim().to_string();
    // A header may come from anywhere: it must not lead the reader to another folder.
    if file.contains(['/', '\\']) || file == ".." || file == "-" {
        return Err(place.line(line, quoted(&file), "the name of a file beside the header"));
    }
    let format = format_of(place, line, format_field, file == "~")?;
    let adc_zero = optional::<i32>(place, line, fields[2], "the ADC zero")?;
    let (gain, baseline, unit) = gain_of(place, line, fields[0].unwrap_or(""))?;
    let adc_zero = adc_zero.unwrap_or(0);
    Ok(SignalLine {
        line,
        file,
        format: format.0,
        samples_per_frame: format.1,
        skew: format.2,
        byte_offset: format.3,
        gain,
        baseline: baseline.unwrap_or(f64::from(adc_zero)),
        unit,
        resolution_bits: optional::<u32>(place, line, fields[1], "the ADC resolution in bits")?.unwrap_or(0),
        adc_zero,
        first_value: optional::<i32>(place, line, fields[3], "the first value")?,
        // Written signed or unsigned; both mean the same 16 bits.
        checksum: optional::<i32>(place, line, fields[4], "a checksum")?.map(|c| c as i16),
        label,
    })
}

/// `format[xsamples][:skew][+offset]`.
fn format_of(
    place: Place<'_>,
    line: usize,
    field: &str,
    layout: bool,
) -> Result<(u16, usize, usize, u64), ReadError> {
    let (field_left, offset) = field.split_once('+').map_or((field, None), |(a, b)| (a, Some(b)));
    let (field_left, skew) = field_left.split_once(':').map_or((field_left, None), |(a, b)| (a, Some(b)));
    let (format, per_frame) = field_left.split_once('x').map_or((field_left, None), |(a, b)| (a, Some(b)));
    let format = number::<u16>(place, line, format, formats::KNOWN)?;
    if !(formats::is_known(format) || layout && format == 0) {
        let hint = "convert the record with WFDB's xform";
        return Err(place.line_hint(line, format!("format {format}"), formats::KNOWN, hint));
    }
    let per_frame = optional::<usize>(place, line, per_frame, "samples per frame")?.unwrap_or(1);
    if per_frame == 0 || per_frame > MAX_SAMPLES_PER_FRAME {
        let expected = format!("1 to {MAX_SAMPLES_PER_FRAME} samples per frame");
        return Err(place.line(line, per_frame.to_string(), expected));
    }
    let skew = optional::<usize>(place, line, skew, "a skew in frames")?.unwrap_or(0);
    Ok((format, per_frame, skew, optional::<u64>(place, line, offset, "a byte offset")?.unwrap_or(0)))
}

/// `gain[(baseline)][/unit]`.
fn gain_of(place: Place<'_>, line: usize, field: &str) -> Result<(f64, Option<f64>, String), ReadError> {
    let (numbers, unit) = field.split_once('/').unwrap_or((field, "mV"));
    let (gain, baseline) = match numbers.split_once('(') {
        Some((gain, b)) => (gain, Some(b.strip_suffix(')').unwrap_or(b))),
        None => (numbers, None),
    };
    let gain = if gain.is_empty() { 0.0 } else { number::<f64>(place, line, gain, "a gain")? };
    if !gain.is_finite() {
        return Err(place.line(line, quoted(field), "a finite gain"));
    }
    let baseline = optional::<f64>(place, line, baseline, "a baseline")?;
    Ok((if gain == 0.0 { DEFAULT_GAIN } else { gain }, baseline, unit.into()))
}

fn segment_line(place: Place<'_>, line: usize, content: &str) -> Result<SegmentLine, ReadError> {
    let mut fields = content.split_whitespace();
    let name = fields.next().unwrap_or("").to_string();
    if name.contains(['/', '\\']) || name == ".." {
        return Err(place.line(line, quoted(&name), "the name of a record beside the header"));
    }
    let samples = number(place, line, fields.next().unwrap_or("nothing"), "a number of samples")?;
    Ok(SegmentLine { line, name, samples })
}

fn quoted(text: &str) -> String {
    format!("{text:?}")
}

fn number<T: std::str::FromStr>(
    place: Place<'_>,
    line: usize,
    text: &str,
    expected: &str,
) -> Result<T, ReadError> {
    text.parse().map_err(|_| place.line(line, quoted(text), expected))
}

fn optional<T: std::str::FromStr>(
    place: Place<'_>,
    line: usize,
    text: Option<&str>,
    expected: &str,
) -> Result<Option<T>, ReadError> {
    text.map(|t| number(place, line, t, expected)).transpose()
}

/// `HH:MM:SS[.fff]`, `MM:SS` or `SS`, in microseconds.
fn time_of_day(text: &str) -> Option<i64> {
    let text = text.trim_matches(['[', ']']);
    let mut seconds = 0.0;
    for part in text.split(':') {
        let value: f64 = part.parse().ok()?;
        if !(0.0..86_400.0).contains(&value) {
            return None;
        }
        seconds = seconds * 60.0 + value;
    }
    (seconds < 2.0 * 86_400.0).then(|| (seconds * US_PER_S as f64).round() as i64)
}

/// `DD/MM/YYYY` in days from 1970-01-01, by the proleptic Gregorian calendar.
fn day_number(text: &str) -> Option<i64> {
    let mut parts = text.trim_matches(['[', ']']).split('/').map(|p| p.parse::<i64>().ok());
    let (day, month, year) = (parts.next()??, parts.next()??, parts.next()??);
    if !((1..=31).contains(&day) && (1..=12).contains(&month) && (0..=9999).contains(&year)) {
        return None;
    }
    // Years from March, so that the leap day comes last.
    let (y, m) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let in_year = (153 * m + 2) / 5 + day - 1;
    Some(y * 365 + y.div_euclid(4) - y.div_euclid(100) + y.div_euclid(400) + in_year - 719_468)
}
