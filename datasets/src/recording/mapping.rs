//! Which channel a signal of a file is, and the way from its unit to the channel's.
//! In: labels and units as files write them. Out: a channel with factor and offset (canonical = value *
//! factor + offset), or the reason why the signal has none; nothing is dropped silently.

use auscult_operators::signal::units::Conversion;
use auscult_operators::signal::{ChannelId, Kind, Unit};

/// A channel and the way from the source's unit to its canonical one: `canonical = value * factor + offset`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Mapping {
    /// Which signal.
    pub channel: ChannelId,
    /// Multiplier.
    pub factor: f64,
    /// Addend, in the canonical unit.
    pub offset: f64,
}

/// Why a signal or column has no channel.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotMapped {
    /// Nothing is known by that name.
    #[error("no channel is known by that label")]
    UnknownLabel,
    /// The unit cannot be turned into the channel's.
    #[error("unit {found:?} cannot be converted to {expected:?} of channel {channel}")]
    Unit {
        /// Unit as written.
        found: String,
        /// Canonical unit of the channel.
        expected: &'static str,
        /// Name of the channel.
        channel: &'static str,
    },
    /// Another signal of the recording took the channel.
    #[error("channel {0} is taken by an earlier signal")]
    Taken(&'static str),
    /// A waveform of a channel that carries single values, or the reverse.
    #[error("channel {0} does not carry this sort of signal")]
    Sort(&'static str),
}

/// Units as WFDB and CSV files write them, and their UCUM codes.
const UNIT_NAMES: &[(&str, &str)] = &[
    ("mmhg", "mm[Hg]"),
    ("bpm", "{beats}/min"),
    ("pm", "/min"),
    ("nu", "1"),
    ("nd", "1"),
    ("", "1"),
    ("degc", "Cel"),
    ("deg c", "Cel"),
    ("c", "Cel"),
    ("degf", "[degF]"),
    ("ohms", "Ohm"),
    ("microvolts", "uV"),
    ("millivolts", "mV"),
    ("percent", "%"),
    ("lpm", "L/min"),
    ("g", "[g]"),
];

/// Names of values from monitors, letters only and lower case, and the channels they are.
const NUMERIC_NAMES: &[(&str, &str)] = &[
    ("hr", "heart_rate"),
    ("heartrate", "heart_rate"),
    ("pulse", "pulse_rate"),
    ("pr", "pulse_rate"),
    ("resp", "resp_rate"),
    ("rr", "resp_rate"),
    ("resprate", "resp_rate"),
    ("awrr", "resp_rate"),
    ("spo", "spo2"),
    ("osat", "spo2"),
    ("nbpsys", "nibp_sys"),
    ("nbpdias", "nibp_dia"),
    ("nbpdia", "nibp_dia"),
    ("nbpmean", "nibp_mean"),
    ("nibpsys", "nibp_sys"),
    ("nibpdias", "nibp_dia"),
    ("nibpdia", "nibp_dia"),
    ("nibpmean", "nibp_mean"),
    ("abpsys", "abp_sys"),
    ("abpdias", "abp_dia"),
    ("abpdia", "abp_dia"),
    ("abpmean", "abp_mean"),
    ("cvp", "cvp_mean"),
    ("cvpmean", "cvp_mean"),
    ("temp", "temperature"),
    ("etco", "etco2"),
    ("fio", "fio2"),
];

/// Beginnings, in capitals, of labels that belong to electrocardiogram leads without a row of their own.
const ECG_LIKE: [&str; 9] = ["ECG", "EKG", "MCL", "MV", "ML", "CM", "CC", "CS", "LEAD"];

/// The UCUM code of a unit as files write it; itself where it already is one.
///
/// ```
/// use auscult_datasets::recording::ucum_of;
/// assert_eq!((ucum_of("mmHg"), ucum_of("bpm"), ucum_of("mV")), ("mm[Hg]", "{beats}/min", "mV"));
/// ```
pub fn ucum_of(unit: &str) -> &str {
    UNIT_NAMES.iter().find(|row| row.0.eq_ignore_ascii_case(unit)).map_or(unit, |row| row.1)
}

/// The channel of single values that a monitor writes under that name: there `RESP` is a rate, not a
/// waveform.
///
/// ```
/// use auscult_datasets::recording::numeric_channel;
/// assert_eq!(numeric_channel("NBP Sys").unwrap().row().name, "nibp_sys");
/// assert_eq!(numeric_channel("RESP").unwrap().row().name, "resp_rate");
/// assert!(numeric_channel("II").is_none());
/// ```
pub fn numeric_channel(label: &str) -> Option<ChannelId> {
    let bare: String = label.chars().filter(char::is_ascii_alphabetic).collect::<String>().to_lowercase();
    let known = NUMERIC_NAMES.iter().find(|row| row.0 == bare).and_then(|row| ChannelId::named(row.1));
    known.or_else(|| ChannelId::from_label(label)).filter(|c| !c.row().kind.is_wave())
}

/// Hands out channels to the signals of one recording, each channel once.
#[derive(Debug, Default)]
pub struct ChannelMap {
    taken: Vec<ChannelId>,
}

impl ChannelMap {
    /// The channel of a waveform. A lead that is not known by its label becomes `ecg`, a second one `ecg_2`.
    ///
    /// # Errors
    /// If there is no channel for it: the reason.
    ///
    /// ```
    /// use auscult_datasets::recording::ChannelMap;
    /// let mut map = ChannelMap::default();
    /// let mut name = |label, unit| map.wave(label, unit).map(|m| m.channel.row().name);
    /// assert_eq!(name("MLII", "mV"), Ok("ecg_ii"));
    /// assert_eq!(name("ECG lead A", "mV"), Ok("ecg"));
    /// assert_eq!(name("MCL1", "mV"), Ok("ecg_2"));
    /// assert!(name("noise1", "mV").is_err());
    /// assert!(name("ABP", "mV").is_err());
    /// ```
    pub fn wave(&mut self, label: &str, unit: &str) -> Result<Mapping, NotMapped> {
        let label = label.trim();
        if let Some(channel) = ChannelId::from_label(label) {
            if !channel.row().kind.is_wave() {
                return Err(NotMapped::Sort(channel.row().name));
            }
            let free = !self.taken.contains(&channel);
            if free || channel.row().kind != Kind::Ecg {
                return self.take(channel, unit);
            }
        } else if !looks_like_ecg(label) {
            return Err(NotMapped::UnknownLabel);
        }
        let spare = ["ecg", "ecg_2"].into_iter().filter_map(ChannelId::named);
        let channel = spare.into_iter().find(|c| !self.taken.contains(c));
        self.take(channel.ok_or(NotMapped::Taken("ecg_2"))?, unit)
    }

    /// The channel of a column of single values.
    ///
    /// # Errors
    /// If there is no channel for it: the reason.
    pub fn numeric(&mut self, label: &str, unit: &str) -> Result<Mapping, NotMapped> {
        self.take(numeric_channel(label.trim()).ok_or(NotMapped::UnknownLabel)?, unit)
    }

    /// Takes a channel for a signal of that unit.
    ///
    /// # Errors
    /// If the channel is taken, or the unit does not lead to the channel's.
    pub fn take(&mut self, channel: ChannelId, unit: &str) -> Result<Mapping, NotMapped> {
        let row = channel.row();
        if self.taken.contains(&channel) {
            return Err(NotMapped::Taken(row.name));
        }
        // The height of a pleth or impedance wave means nothing across devices, so whatever scale they use
        // will do. A file that names no unit at all is taken to be in the usual one.
        let any_scale = matches!(row.kind, Kind::Ppg | Kind::Respiration);
        let as_it_is = Conversion { unit: row.unit, factor: 1.0, offset: 0.0 };
        let conversion = if any_scale || unit.is_empty() || is_same_rate(row.unit, unit) {
            Some(as_it_is)
        } else {
            Unit::from_ucum(ucum_of(unit)).and_then(|c| towards(c, row.unit))
        };
        let c = conversion.ok_or_else(|| NotMapped::Unit {
            found: unit.into(),
            expected: row.unit.ucum(),
            channel: row.name,
        })?;
        self.taken.push(channel);
        Ok(Mapping { channel, factor: c.factor, offset: c.offset })
    }
}

/// The conversion if it leads to that unit. Millivolt and microvolt are both canonical, for heart and brain,
/// and files use either for either.
fn towards(c: Conversion, unit: Unit) -> Option<Conversion> {
    let by = match (c.unit, unit) {
        (from, to) if from == to => 1.0,
        (Unit::Microvolt, Unit::Millivolt) => 1e-3,
        (Unit::Millivolt, Unit::Microvolt) => 1e3,
        _ => return None,
    };
    Some(Conversion { unit, factor: c.factor * by, offset: c.offset * by })
}

/// Rates of breathing are written as `bpm` too.
fn is_same_rate(canonical: Unit, unit: &str) -> bool {
    canonical == Unit::PerMinute
        && ["bpm", "pm", "rpm", "brpm", "/min"].contains(&unit.to_lowercase().as_str())
}

fn looks_like_ecg(label: &str) -> bool {
    let capitals = label.to_ascii_uppercase();
    let chest = capitals.strip_prefix('V').or_else(|| capitals.strip_prefix('D'));
    ECG_LIKE.iter().any(|p| capitals.starts_with(p))
        || chest.is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_digit()))
}
