//! Reader of evenly sampled CSV files: one time column, one column a signal, as BIDMC's `*_Signals.csv`.
//! In: a CSV file with a header line. Out: waves of f32 values with the rate found from the time column; a
//! file slower than 4 Hz gives observations instead. A sibling `*_Numerics.csv` is read along.

use std::path::Path;

use auscult_operators::signal::{Hertz, Span};

use super::{Place, ReadError, stem, text_of};
use crate::recording::{
    ChannelMap, Data, Mapping, NotMapped, RecordedValue, RecordedWave, Recording, Stretch,
};

/// Rates below this, in samples per second, are values of a monitor rather than waveforms.
const SLOWEST_WAVE_HZ: f64 = 4.0;
/// Most columns of a file.
pub const MAX_COLUMNS: usize = 1_024;

/// Reads a CSV file.
///
/// Empty cells and `NaN` are missing samples. Times may be in seconds (`Time [s]`) or milliseconds (`Time
/// [ms]`) and must be even: no row may be off its place by more than a tenth of a sample plus half of the
/// last digit.
///
/// # Errors
/// [`ReadError::Line`] with the line that is not as it should be.
///
/// ```
/// let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("samples/bed_Signals.csv");
/// let rec = auscult_datasets::read::csv::read(&file).unwrap();
/// assert_eq!(rec.waves[0].rate.get(), 125.0);
/// assert!(!rec.observations.is_empty(), "read from the sibling bed_Numerics.csv");
/// ```
pub fn read(file: &Path) -> Result<Recording, ReadError> {
    let mut recording = Recording { name: stem(file), ..Recording::default() };
    let mut map = ChannelMap::default();
    read_into(&mut recording, &mut map, file)?;
    if let Some(base) = stem(file).strip_suffix("_Signals") {
        let sibling = file.with_file_name(format!("{base}_Numerics.csv"));
        recording.name = base.into();
        if sibling.is_file() {
            read_into(&mut recording, &mut map, &sibling)?;
        }
    }
    recording.sort();
    Ok(recording)
}

/// Reads the text of one file; `file` is for messages and the name.
///
/// # Errors
/// [`ReadError::Line`] with the line that is not as it should be.
///
/// ```
/// use auscult_datasets::read::csv::parse;
/// let rec = parse("a.csv".as_ref(), "Time [ms],II [uV]\n0,500\n4,\n8,510\n").unwrap();
/// assert_eq!(rec.waves[0].rate.get(), 250.0);
/// assert_eq!(rec.waves[0].stretches[0].value(1), None);
/// ```
pub fn parse(file: &Path, text: &str) -> Result<Recording, ReadError> {
    let mut recording = Recording { name: stem(file), ..Recording::default() };
    parse_into(&mut recording, &mut ChannelMap::default(), file, text)?;
    recording.sort();
    Ok(recording)
}

/// A file taken apart.
struct Table {
    labels: Vec<(String, String)>,
    rate: Hertz,
    columns: Vec<Vec<f32>>,
}

fn read_into(recording: &mut Recording, map: &mut ChannelMap, file: &Path) -> Result<(), ReadError> {
    parse_into(recording, map, file, &text_of(file, "")?)
}

fn parse_into(
    recording: &mut Recording,
    map: &mut ChannelMap,
    file: &Path,
    text: &str,
) -> Result<(), ReadError> {
    let table = table_of(Place { file }, text)?;
    for ((label, unit), values) in table.labels.into_iter().zip(table.columns) {
        if table.rate.get() >= SLOWEST_WAVE_HZ {
            let mapping = map.wave(&label, &unit);
            let stretch = Stretch { first_sample: 0, gain: 1.0, baseline: 0.0, data: Data::Values(values) };
            recording.waves.push(RecordedWave {
                label,
                unit,
                rate: table.rate,
                mapping,
                stretches: vec![stretch],
            });
        } else {
            add_values(recording, map.numeric(&label, &unit), label, table.rate, &values);
        }
    }
    Ok(())
}

fn add_values(
    recording: &mut Recording,
    mapping: Result<Mapping, NotMapped>,
    label: String,
    rate: Hertz,
    values: &[f32],
) {
    let m = match mapping {
        Ok(m) => m,
        Err(why) => return recording.unmapped_columns.push((label, why)),
    };
    recording.observations.extend(values.iter().enumerate().filter(|(_, v)| !v.is_nan()).map(|(i, &v)| {
        RecordedValue {
            channel: m.channel,
            at: Span::from_seconds(i as f64 / rate.get()),
            value: Some(f64::from(v) * m.factor + m.offset),
        }
    }));
}

fn table_of(place: Place<'_>, text: &str) -> Result<Table, ReadError> {
    let mut lines = text.lines().enumerate().filter(|(_, l)| !l.trim().is_empty() && !l.starts_with('#'));
    let (header_line, header) =
        lines.next().ok_or_else(|| place.line(1, "no header line", "column names"))?;
    let header_line = header_line + 1;
    let names: Vec<(String, String)> = header.split(',').map(name_and_unit).collect();
    if names.len() > MAX_COLUMNS {
        return Err(place.line(
            header_line,
            format!("{} columns", names.len()),
            format!("at most {MAX_COLUMNS}"),
        ));
    }
    let time = names.iter().position(|n| n.0.to_ascii_lowercase().starts_with("time")).ok_or_else(|| {
        let hint = "name the time column \"Time [s]\"";
        place.line_hint(header_line, format!("columns {header:?}"), "one that begins with \"time\"", hint)
    })?;
    let per_second = match names[time].1.as_str() {
        "" | "s" | "sec" | "seconds" => 1.0,
        "ms" => 1e3,
        "us" => 1e6,
        other => {
            let found = format!("time in {other:?}");
            return Err(place.line(header_line, found, "s, ms or us"));
        }
    };
    let mut times = Times { place, per_second, rows: Vec::new(), decimals: 0, significant: 1 };
    let mut columns = vec![Vec::new(); names.len()];
    for (i, line) in lines {
        let line_number = i + 1;
        let mut count = 0;
        for (c, cell) in line.split(',').enumerate() {
            let cell = cell.trim();
            count += 1;
            if c == time {
                times.push(line_number, cell)?;
            } else if let Some(column) = columns.get_mut(c) {
                column.push(value_of(place, line_number, cell)?);
            }
        }
        if count != names.len() {
            return Err(place.line(
                line_number,
                format!("{count} cells"),
                format!("{} as in line {header_line}", names.len()),
            ));
        }
    }
    let rate = times.rate()?;
    let mut labels = names;
    labels.remove(time);
    columns.remove(time);
    Ok(Table { labels, rate, columns })
}

/// `Name [unit]` taken apart.
fn name_and_unit(cell: &str) -> (String, String) {
    let cell = cell.trim().trim_matches('"').trim_start_matches('\u{feff}');
    match cell.split_once('[') {
        Some((name, unit)) => (name.trim().into(), unit.trim_end_matches(']').trim().into()),
        None => (cell.into(), String::new()),
    }
}

fn value_of(place: Place<'_>, line: usize, cell: &str) -> Result<f32, ReadError> {
    if cell.is_empty() || cell.eq_ignore_ascii_case("nan") || cell == "-" {
        return Ok(f32::NAN);
    }
    cell.parse()
        .ok()
        .filter(|v: &f32| v.is_finite())
        .ok_or_else(|| place.line(line, format!("{cell:?}"), "a number, or nothing where there is no sample"))
}

/// The time column.
struct Times<'a> {
    place: Place<'a>,
    per_second: f64,
    /// Line and time in seconds.
    rows: Vec<(usize, f64)>,
    /// Most decimals and most significant digits of any time.
    decimals: usize,
    significant: usize,
}

impl Times<'_> {
    fn push(&mut self, line: usize, cell: &str) -> Result<(), ReadError> {
        let time: f64 = cell
            .parse()
            .ok()
            .filter(|t: &f64| t.is_finite())
            .ok_or_else(|| self.place.line(line, format!("{cell:?}"), "a time"))?;
        self.decimals = self.decimals.max(cell.split_once('.').map_or(0, |(_, d)| d.len()));
        let digits = cell.trim_start_matches(['-', '0', '.']).bytes().filter(u8::is_ascii_digit).count();
        self.significant = self.significant.max(digits);
        self.rows.push((line, time / self.per_second));
        Ok(())
    }

    /// What the last written digit of a time stands for, in seconds. Some files write a fixed number of
    /// decimals, some (BIDMC) a fixed number of significant digits, so that late times are coarser than early
    /// ones.
    fn digit(&self, time: f64) -> f64 {
        let written = (time.abs() * self.per_second).max(1e-9);
        let significant = libm::floor(libm::log10(written)) + 1.0 - self.significant as f64;
        libm::pow(10.0, significant.max(-(self.decimals as f64))) / self.per_second
    }

    /// The rate, if every row is in its place.
    fn rate(&self) -> Result<Hertz, ReadError> {
        let rows = &self.rows;
        let (Some(first), Some(last)) = (rows.first(), rows.last()) else {
            return Err(self.place.line(1, "no rows", "at least two"));
        };
        let span = last.1 - first.1;
        if rows.len() < 2 || span <= 0.0 {
            return Err(self.place.line(
                last.0,
                format!("{} rows over {span} s", rows.len()),
                "rising times",
            ));
        }
        let measured = (rows.len() - 1) as f64 / span;
        // Times are written with few digits: take the nearest rate of three digits if it is within their
        // reach.
        let reach = measured * (self.digit(last.1) + 1e-9) / span + 1e-9;
        let magnitude = libm::pow(10.0, 2.0 - libm::floor(libm::log10(measured)));
        let round = (measured * magnitude).round() / magnitude;
        let rate = if (round - measured).abs() <= reach { round } else { measured };
        // A gap or a doubled row shifts all that follow by a whole sample; writing rounds by half a digit.
        for (i, (line, time)) in rows.iter().enumerate() {
            let due = first.1 + i as f64 / rate;
            let allowed = 0.1 / rate + 0.5 * self.digit(*time) + 1e-9;
            if (time - due).abs() > allowed {
                let hint = "the rows must be evenly spaced; write missing samples as empty cells";
                return Err(self.place.line_hint(
                    *line,
                    format!("time {time} s"),
                    format!("{due:.6} s within {allowed:.6} s at {rate} Hz"),
                    hint,
                ));
            }
        }
        Ok(Hertz(rate))
    }
}
