//! Reader of the pipe-separated stays of the PhysioNet/CinC Challenge 2019: one row an hour, 40 variables.
//! In: a `.psv` file. Out: observations in canonical units at each hour from the first row; `SepsisLabel` as
//! a label, apart from what may be seen. `NaN` means not observed, and gives no observation.

use std::path::Path;

use auscult_operators::signal::{ChannelId, Span};

use super::{Place, ReadError, stem, text_of};
use crate::recording::{NotMapped, RecordedLabel, RecordedValue, Recording};

/// The column to be predicted.
pub const LABEL: &str = "SepsisLabel";
/// Seconds from row to row.
const ROW_S: i64 = 3_600;
/// Most rows of a stay: a year.
pub const MAX_ROWS: usize = 8_784;

/// Columns and their channels, in the order of the set. `FiO2` is a fraction there.
const COLUMNS: &[(&str, &str)] = &[
    ("HR", "heart_rate"),
    ("O2Sat", "spo2"),
    ("Temp", "temperature"),
    ("SBP", "nibp_sys"),
    ("MAP", "nibp_mean"),
    ("DBP", "nibp_dia"),
    ("Resp", "resp_rate"),
    ("EtCO2", "etco2"),
    ("BaseExcess", "base_excess"),
    ("HCO3", "bicarbonate"),
    ("FiO2", "fio2"),
    ("pH", "ph"),
    ("PaCO2", "paco2"),
    ("SaO2", "sao2"),
    ("AST", "ast"),
    ("BUN", "bun"),
    ("Alkalinephos", "alkaline_phosphatase"),
    ("Calcium", "calcium"),
    ("Chloride", "chloride"),
    ("Creatinine", "creatinine"),
    ("Bilirubin_direct", "bilirubin_direct"),
    ("Glucose", "glucose"),
    ("Lactate", "lactate"),
    ("Magnesium", "magnesium"),
    ("Phosphate", "phosphate"),
    ("Potassium", "potassium"),
    ("Bilirubin_total", "bilirubin_total"),
    ("TroponinI", "troponin_i"),
    ("Hct", "haematocrit"),
    ("Hgb", "haemoglobin"),
    ("PTT", "ptt"),
    ("WBC", "white_cells"),
    ("Fibrinogen", "fibrinogen"),
    ("Platelets", "platelets"),
    ("Age", "age"),
    ("Gender", "sex_male"),
    ("ICULOS", "icu_hours"),
];

/// What a column is.
enum Column {
    Channel(ChannelId),
    Label,
    Hours(Option<ChannelId>),
    Other,
}

/// The channel of a column of the set; `None` for `Unit1`, `Unit2`, `HospAdmTime` and the label.
///
/// ```
/// use auscult_datasets::read::psv::channel_of;
/// assert_eq!(channel_of("Hct").unwrap().row().name, "haematocrit");
/// assert!(channel_of("SepsisLabel").is_none());
/// ```
pub fn channel_of(column: &str) -> Option<ChannelId> {
    COLUMNS.iter().find(|row| row.0 == column).and_then(|row| ChannelId::named(row.1))
}

/// Reads a stay. Rows are placed by `ICULOS`, which counts hours in intensive care; without it by their
/// number.
///
/// # Errors
/// [`ReadError::Line`] with the line that is not as it should be.
///
/// ```
/// let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("samples/stay.psv");
/// let stay = auscult_datasets::read::psv::read(&file).unwrap();
/// assert_eq!(stay.labels.len(), 3);
/// assert_eq!(stay.unmapped().count(), 3);
/// ```
pub fn read(file: &Path) -> Result<Recording, ReadError> {
    parse(file, &text_of(file, "")?)
}

/// Reads the text of a stay; `file` is for messages and the name.
///
/// # Errors
/// [`ReadError::Line`] with the line that is not as it should be.
pub fn parse(file: &Path, text: &str) -> Result<Recording, ReadError> {
    let place = Place { file };
    let mut recording = Recording { name: stem(file), ..Recording::default() };
    let mut lines = text.lines().enumerate().filter(|(_, l)| !l.trim().is_empty());
    let (_, header) = lines.next().ok_or_else(|| place.line(1, "no header line", "column names"))?;
    let columns: Vec<Column> = header.split('|').map(|name| column_of(name.trim(), &mut recording)).collect();
    if !columns.iter().any(|c| matches!(c, Column::Channel(_))) {
        return Err(place.line(1, format!("columns {header:?}"), "HR|O2Sat|Temp|... as in Challenge 2019"));
    }
    let mut first_hours = None;
    let mut last_at = None;
    for (row, (i, line)) in lines.enumerate() {
        if row >= MAX_ROWS {
            return Err(place.line(i + 1, "one more row", format!("at most {MAX_ROWS}")));
        }
        let cells = cells_of(place, i + 1, line, columns.len())?;
        let hours = columns.iter().zip(&cells).find_map(|(c, v)| v.filter(|_| matches!(c, Column::Hours(_))));
        let at = match hours {
            Some(h) => Span::from_seconds((h - *first_hours.get_or_insert(h)) * ROW_S as f64),
            None => Span::from_micros(Span::seconds_const(ROW_S).micros() * row as i64),
        };
        if last_at.is_some_and(|last| at <= last) {
            let found = format!("{} h from the first row", at.seconds() / ROW_S as f64);
            return Err(place.line_hint(i + 1, found, "later than the row before", "ICULOS must rise"));
        }
        last_at = Some(at);
        add_row(&mut recording, &columns, &cells, at);
    }
    recording.sort();
    Ok(recording)
}

fn column_of(name: &str, recording: &mut Recording) -> Column {
    match (name, channel_of(name)) {
        (LABEL, _) => Column::Label,
        ("ICULOS", hours) => Column::Hours(hours),
        (_, Some(channel)) => Column::Channel(channel),
        _ => {
            recording.unmapped_columns.push((name.into(), NotMapped::UnknownLabel));
            Column::Other
        }
    }
}

fn cells_of(
    place: Place<'_>,
    line: usize,
    text: &str,
    expected: usize,
) -> Result<Vec<Option<f64>>, ReadError> {
    let mut cells = Vec::with_capacity(expected);
    for cell in text.split('|').map(str::trim) {
        cells.push(match cell {
            "NaN" | "nan" | "" => None,
            _ => Some(
                cell.parse()
                    .ok()
                    .filter(|v: &f64| v.is_finite())
                    .ok_or_else(|| place.line(line, format!("{cell:?}"), "a number or NaN"))?,
            ),
        });
    }
    if cells.len() != expected {
        return Err(place.line(line, format!("{} cells", cells.len()), format!("{expected} as in line 1")));
    }
    Ok(cells)
}

fn add_row(recording: &mut Recording, columns: &[Column], cells: &[Option<f64>], at: Span) {
    for (column, value) in columns.iter().zip(cells) {
        let Some(value) = *value else { continue };
        match column {
            Column::Channel(channel) | Column::Hours(Some(channel)) => {
                let value = if channel.row().name == "fio2" { percent(value) } else { value };
                recording.observations.push(RecordedValue { channel: *channel, at, value: Some(value) });
            }
            Column::Label => recording.labels.push(RecordedLabel { name: LABEL.into(), at, value }),
            Column::Hours(None) | Column::Other => {}
        }
    }
}

/// The set gives oxygen as a fraction; some rows hold per cent already.
fn percent(value: f64) -> f64 {
    if value <= 1.0 { value * 100.0 } else { value }
}
