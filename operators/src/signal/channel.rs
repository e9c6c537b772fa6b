//! The one clinical table: every channel with its code, unit, plausible range and how long a value is held.
//! In: codes, labels and names as sources write them. Out: a channel; nothing else in the code knows these numbers.
//!
//! Codes are the 32-bit MDC codes of ISO/IEEE 11073-10101 (0 where none was confirmed) and LOINC codes.

use serde::{Deserialize, Serialize};

use super::{Span, Unit};

/// Index of a row of [`CHANNELS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ChannelId(u8);

/// What sort of quantity a channel carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Kind {
    /// Electrocardiogram, waveform.
    Ecg,
    /// Photoplethysmogram, waveform.
    Ppg,
    /// Arterial pressure, waveform.
    Pressure,
    /// Venous pressure, waveform.
    VenousPressure,
    /// Thoracic impedance, waveform.
    Respiration,
    /// Airway carbon dioxide, waveform.
    Capnogram,
    /// Electroencephalogram, waveform.
    Eeg,
    /// Acceleration, waveform.
    Motion,
    /// A number from a monitor or a chart.
    Numeric,
    /// A laboratory result.
    Laboratory,
    /// What is known of the patient rather than measured: age, oxygen, consciousness.
    Context,
}

impl Kind {
    /// Every kind that carries evenly spaced samples.
    pub const WAVES: &'static [Kind] = &[
        Kind::Ecg,
        Kind::Ppg,
        Kind::Pressure,
        Kind::VenousPressure,
        Kind::Respiration,
        Kind::Capnogram,
        Kind::Eeg,
        Kind::Motion,
    ];

    /// Whether the channel carries evenly spaced samples.
    pub const fn is_wave(self) -> bool {
        !matches!(self, Kind::Numeric | Kind::Laboratory | Kind::Context)
    }

    /// The kind of waveform that configuration calls so.
    pub fn wave_named(name: &str) -> Option<Self> {
        Some(match name {
            "ecg" => Kind::Ecg,
            "ppg" => Kind::Ppg,
            "pressure" => Kind::Pressure,
            "venous_pressure" => Kind::VenousPressure,
            "respiration" => Kind::Respiration,
            "capnogram" => Kind::Capnogram,
            "eeg" => Kind::Eeg,
            "motion" => Kind::Motion,
            _ => return None,
        })
    }
}

/// One row of the table.
#[derive(Debug)]
pub struct Channel {
    /// Name in configuration, archives and metrics.
    pub name: &'static str,
    /// 32-bit MDC code, 0 where none was confirmed.
    pub mdc: u32,
    /// Label as on a monitor.
    pub label: &'static str,
    /// Further labels accepted, separated by `|`.
    pub aliases: &'static str,
    /// What sort of quantity.
    pub kind: Kind,
    /// Canonical unit.
    pub unit: Unit,
    /// Lowest and highest value that a living patient can show, inclusive.
    pub plausible: (f64, f64),
    /// Waveform: the longest gap that is bridged. Otherwise: how long a value may be used.
    pub hold: Span,
    /// LOINC code, empty where none was confirmed.
    pub loinc: &'static str,
}

impl Channel {
    /// Whether a living patient can show this value.
    pub fn is_plausible(&self, value: f64) -> bool {
        value >= self.plausible.0 && value <= self.plausible.1
    }
}

impl ChannelId {
    /// Position in [`CHANNELS`].
    pub const fn index(self) -> usize {
        self.0 as usize
    }
    /// The row.
    pub fn row(self) -> &'static Channel {
        &CHANNELS[self.index()]
    }
    /// The channel of that name.
    ///
    /// ```
    /// use auscult_operators::signal::ChannelId;
    /// assert_eq!(ChannelId::named("spo2").unwrap().row().loinc, "59408-5");
    /// assert!(ChannelId::named("SpO2").is_none());
    /// ```
    pub fn named(name: &str) -> Option<Self> {
        let mut at = hash(name.as_bytes());
        loop {
            let id = ChannelId(NAMES[at % NAMES.len()]);
            match CHANNELS.get(id.index()) {
                None => return None,
                Some(row) if row.name == name => return Some(id),
                Some(_) => at += 1,
            }
        }
    }
    /// The channel of a name that stands in a constant: one that is not in the table does not compile there.
    ///
    /// # Panics
    /// If it is called for a name that is not in the table: names that come from outside are for
    /// [`ChannelId::named`].
    ///
    /// ```
    /// use auscult_operators::signal::ChannelId;
    /// const SPO2: ChannelId = ChannelId::of("spo2");
    /// assert_eq!(Some(SPO2), ChannelId::named("spo2"));
    /// ```
    pub const fn of(name: &str) -> Self {
        let mut i = 0;
        while i < CHANNELS.len() {
            if same(CHANNELS[i].name.as_bytes(), name.as_bytes()) {
                return ChannelId(i as u8);
            }
            i += 1;
        }
        panic!("no channel of that name")
    }
    /// The channel of that MDC code.
    pub fn from_mdc(mdc: u32) -> Option<Self> {
        Self::position(|c| mdc != 0 && c.mdc == mdc)
    }
    /// The channel of that label, alias or name, without regard to case.
    pub fn from_label(label: &str) -> Option<Self> {
        let same = |s: &str| s.eq_ignore_ascii_case(label);
        Self::position(|c| same(c.label)).or_else(|| {
            Self::position(|c| same(c.name) || c.aliases.split('|').any(|a| !a.is_empty() && same(a)))
        })
    }
    /// All channels, in table order.
    pub fn all() -> impl Iterator<Item = ChannelId> {
        (0..CHANNELS.len()).map(|i| ChannelId(i as u8))
    }
    fn position(test: impl Fn(&Channel) -> bool) -> Option<Self> {
        CHANNELS.iter().position(test).map(|i| ChannelId(i as u8))
    }
}

/// No channel: a free place in [`NAMES`].
const FREE: u8 = u8::MAX;

/// Channels by the hash of their name, each at its place or the next free one. Names are looked up all the time.
static NAMES: [u8; 256] = {
    let mut places = [FREE; 256];
    let mut i = 0;
    while i < CHANNELS.len() {
        let mut at = hash(CHANNELS[i].name.as_bytes());
        while places[at % places.len()] != FREE {
            at += 1;
        }
        places[at % places.len()] = i as u8;
        i += 1;
    }
    places
};

const fn same(a: &[u8], b: &[u8]) -> bool {
    let mut i = 0;
    while i < a.len() && i < b.len() && a[i] == b[i] {
        i += 1;
    }
    i == a.len() && i == b.len()
}

/// FNV-1a.
const fn hash(name: &[u8]) -> usize {
    let (mut hash, mut i) = (0x811c_9dc5_u32, 0);
    while i < name.len() {
        hash = (hash ^ name[i] as u32).wrapping_mul(0x0100_0193);
        i += 1;
    }
    (hash ^ hash >> 16) as usize
}

/// Codes of the `consciousness` channel, in the order of ACVPU.
pub const CONSCIOUSNESS: [&str; 5] = ["alert", "confusion", "voice", "pain", "unresponsive"];

#[allow(clippy::too_many_arguments, reason = "one call is one row of the table")]
const fn row(
    name: &'static str,
    mdc: u32,
    label: &'static str,
    aliases: &'static str,
    kind: Kind,
    unit: Unit,
    plausible: (f64, f64),
    hold: Span,
    loinc: &'static str,
) -> Channel {
    Channel { name, mdc, label, aliases, kind, unit, plausible, hold, loinc }
}

/// Every channel. Columns: name, MDC, label, aliases, kind, unit, plausible range, hold or validity, LOINC.
#[rustfmt::skip]
pub static CHANNELS: &[Channel] = &[
    row("ecg", 131328, "ECG", "ECG1", Kind::Ecg, Unit::Millivolt, (-20.0, 20.0), Span::from_micros(40_000), ""),
    row("ecg_i", 131329, "I", "MLI", Kind::Ecg, Unit::Millivolt, (-20.0, 20.0), Span::from_micros(40_000), ""),
    row("ecg_ii", 131330, "II", "MLII|ECG II", Kind::Ecg, Unit::Millivolt, (-20.0, 20.0), Span::from_micros(40_000), ""),
    row("ecg_iii", 131389, "III", "MLIII", Kind::Ecg, Unit::Millivolt, (-20.0, 20.0), Span::from_micros(40_000), ""),
    row("ecg_avr", 131390, "aVR", "AVR", Kind::Ecg, Unit::Millivolt, (-20.0, 20.0), Span::from_micros(40_000), ""),
    row("ecg_avl", 131391, "aVL", "AVL", Kind::Ecg, Unit::Millivolt, (-20.0, 20.0), Span::from_micros(40_000), ""),
    row("ecg_avf", 131392, "aVF", "AVF", Kind::Ecg, Unit::Millivolt, (-20.0, 20.0), Span::from_micros(40_000), ""),
    row("ecg_v1", 131331, "V1", "V", Kind::Ecg, Unit::Millivolt, (-20.0, 20.0), Span::from_micros(40_000), ""),
    row("ecg_v2", 131332, "V2", "", Kind::Ecg, Unit::Millivolt, (-20.0, 20.0), Span::from_micros(40_000), ""),
    row("ecg_v3", 131333, "V3", "", Kind::Ecg, Unit::Millivolt, (-20.0, 20.0), Span::from_micros(40_000), ""),
    row("ecg_v4", 131334, "V4", "", Kind::Ecg, Unit::Millivolt, (-20.0, 20.0), Span::from_micros(40_000), ""),
    row("ecg_v5", 131335, "V5", "", Kind::Ecg, Unit::Millivolt, (-20.0, 20.0), Span::from_micros(40_000), ""),
    row("ecg_v6", 131336, "V6", "", Kind::Ecg, Unit::Millivolt, (-20.0, 20.0), Span::from_micros(40_000), ""),
    row("ecg_2", 0, "ECG2", "", Kind::Ecg, Unit::Millivolt, (-20.0, 20.0), Span::from_micros(40_000), ""),
    row("ppg", 150452, "PLETH", "PPG|BVP", Kind::Ppg, Unit::One, (-1_000_000.0, 1_000_000.0), Span::from_micros(80_000), ""),
    row("abp", 150036, "ABP", "", Kind::Pressure, Unit::MillimetreOfMercury, (-50.0, 400.0), Span::from_micros(80_000), ""),
    row("art", 150032, "ART", "", Kind::Pressure, Unit::MillimetreOfMercury, (-50.0, 400.0), Span::from_micros(80_000), ""),
    row("cvp", 150084, "CVP", "", Kind::VenousPressure, Unit::MillimetreOfMercury, (-50.0, 150.0), Span::from_micros(80_000), ""),
    row("resp", 151552, "RESP", "IMPEDANCE", Kind::Respiration, Unit::Ohm, (-1_000_000.0, 1_000_000.0), Span::from_micros(160_000), ""),
    row("co2", 151724, "CO2", "", Kind::Capnogram, Unit::MillimetreOfMercury, (-10.0, 200.0), Span::from_micros(160_000), ""),
    row("eeg_1", 0, "EEG1", "", Kind::Eeg, Unit::Microvolt, (-5000.0, 5000.0), Span::from_micros(40_000), ""),
    row("eeg_2", 0, "EEG2", "", Kind::Eeg, Unit::Microvolt, (-5000.0, 5000.0), Span::from_micros(40_000), ""),
    row("acc_x", 0, "ACCX", "", Kind::Motion, Unit::Gravity, (-32.0, 32.0), Span::from_micros(80_000), ""),
    row("acc_y", 0, "ACCY", "", Kind::Motion, Unit::Gravity, (-32.0, 32.0), Span::from_micros(80_000), ""),
    row("acc_z", 0, "ACCZ", "", Kind::Motion, Unit::Gravity, (-32.0, 32.0), Span::from_micros(80_000), ""),
    row("heart_rate", 147842, "HR", "", Kind::Numeric, Unit::PerMinute, (0.0, 350.0), Span::seconds_const(10), "8867-4"),
    row("pulse_rate", 149530, "PULSE", "", Kind::Numeric, Unit::PerMinute, (0.0, 350.0), Span::seconds_const(10), "8867-4"),
    row("resp_rate", 151562, "RR", "RESP RATE", Kind::Numeric, Unit::PerMinute, (0.0, 150.0), Span::seconds_const(60), "9279-1"),
    row("spo2", 150456, "SpO2", "O2Sat", Kind::Numeric, Unit::Percent, (20.0, 100.0), Span::seconds_const(60), "59408-5"),
    row("nibp_sys", 150021, "NIBP SYS", "", Kind::Numeric, Unit::MillimetreOfMercury, (20.0, 350.0), Span::seconds_const(3_600), "8480-6"),
    row("nibp_dia", 150022, "NIBP DIA", "", Kind::Numeric, Unit::MillimetreOfMercury, (5.0, 250.0), Span::seconds_const(3_600), "8462-4"),
    row("nibp_mean", 150023, "NIBP MEAN", "", Kind::Numeric, Unit::MillimetreOfMercury, (10.0, 300.0), Span::seconds_const(3_600), "8478-0"),
    row("abp_sys", 150037, "ABP SYS", "", Kind::Numeric, Unit::MillimetreOfMercury, (20.0, 350.0), Span::seconds_const(10), "8480-6"),
    row("abp_dia", 150038, "ABP DIA", "", Kind::Numeric, Unit::MillimetreOfMercury, (5.0, 250.0), Span::seconds_const(10), "8462-4"),
    row("abp_mean", 150039, "ABP MEAN", "", Kind::Numeric, Unit::MillimetreOfMercury, (10.0, 300.0), Span::seconds_const(10), "8478-0"),
    row("cvp_mean", 150087, "CVP MEAN", "", Kind::Numeric, Unit::MillimetreOfMercury, (-20.0, 100.0), Span::seconds_const(10), ""),
    row("temperature", 150364, "TEMP", "", Kind::Numeric, Unit::Celsius, (20.0, 45.0), Span::seconds_const(14_400), "8310-5"),
    row("etco2", 151728, "EtCO2", "", Kind::Numeric, Unit::MillimetreOfMercury, (0.0, 150.0), Span::seconds_const(60), ""),
    row("fio2", 0, "FiO2", "", Kind::Numeric, Unit::Percent, (15.0, 100.0), Span::seconds_const(14_400), ""),
    row("o2_flow", 0, "O2 FLOW", "", Kind::Numeric, Unit::LitrePerMinute, (0.0, 80.0), Span::seconds_const(14_400), ""),
    row("perfusion_index", 150488, "PI", "", Kind::Numeric, Unit::Percent, (0.0, 100.0), Span::seconds_const(15), ""),
    row("base_excess", 0, "BASE EXCESS", "", Kind::Laboratory, Unit::MilliequivalentPerLitre, (-60.0, 60.0), Span::seconds_const(86_400), ""),
    row("bicarbonate", 0, "BICARBONATE", "", Kind::Laboratory, Unit::MilliequivalentPerLitre, (0.0, 80.0), Span::seconds_const(86_400), ""),
    row("ph", 0, "PH", "", Kind::Laboratory, Unit::One, (6.0, 8.5), Span::seconds_const(86_400), ""),
    row("paco2", 0, "PACO2", "", Kind::Laboratory, Unit::MillimetreOfMercury, (5.0, 250.0), Span::seconds_const(86_400), ""),
    row("pao2", 0, "PAO2", "", Kind::Laboratory, Unit::MillimetreOfMercury, (5.0, 750.0), Span::seconds_const(86_400), ""),
    row("sao2", 0, "SAO2", "", Kind::Laboratory, Unit::Percent, (0.0, 100.0), Span::seconds_const(86_400), ""),
    row("ast", 0, "AST", "", Kind::Laboratory, Unit::UnitPerLitre, (0.0, 100_000.0), Span::seconds_const(86_400), ""),
    row("bun", 0, "BUN", "", Kind::Laboratory, Unit::MilligramPerDecilitre, (0.0, 400.0), Span::seconds_const(86_400), ""),
    row("alkaline_phosphatase", 0, "ALKALINE PHOSPHATASE", "", Kind::Laboratory, Unit::UnitPerLitre, (0.0, 20_000.0), Span::seconds_const(86_400), ""),
    row("calcium", 0, "CALCIUM", "", Kind::Laboratory, Unit::MilligramPerDecilitre, (0.0, 40.0), Span::seconds_const(86_400), ""),
    row("chloride", 0, "CHLORIDE", "", Kind::Laboratory, Unit::MilliequivalentPerLitre, (30.0, 200.0), Span::seconds_const(86_400), ""),
    row("creatinine", 0, "CREATININE", "", Kind::Laboratory, Unit::MilligramPerDecilitre, (0.0, 80.0), Span::seconds_const(86_400), "2160-0"),
    row("bilirubin_direct", 0, "BILIRUBIN DIRECT", "", Kind::Laboratory, Unit::MilligramPerDecilitre, (0.0, 100.0), Span::seconds_const(86_400), ""),
    row("bilirubin_total", 0, "BILIRUBIN TOTAL", "", Kind::Laboratory, Unit::MilligramPerDecilitre, (0.0, 150.0), Span::seconds_const(86_400), "1975-2"),
    row("glucose", 0, "GLUCOSE", "", Kind::Laboratory, Unit::MilligramPerDecilitre, (0.0, 2000.0), Span::seconds_const(86_400), ""),
    row("lactate", 0, "LACTATE", "", Kind::Laboratory, Unit::MillimolePerLitre, (0.0, 50.0), Span::seconds_const(86_400), ""),
    row("magnesium", 0, "MAGNESIUM", "", Kind::Laboratory, Unit::MilligramPerDecilitre, (0.0, 30.0), Span::seconds_const(86_400), ""),
    row("phosphate", 0, "PHOSPHATE", "", Kind::Laboratory, Unit::MilligramPerDecilitre, (0.0, 40.0), Span::seconds_const(86_400), ""),
    row("potassium", 0, "POTASSIUM", "", Kind::Laboratory, Unit::MilliequivalentPerLitre, (0.5, 20.0), Span::seconds_const(86_400), ""),
    row("sodium", 0, "SODIUM", "", Kind::Laboratory, Unit::MilliequivalentPerLitre, (80.0, 220.0), Span::seconds_const(86_400), ""),
    row("troponin_i", 0, "TROPONIN I", "", Kind::Laboratory, Unit::NanogramPerMillilitre, (0.0, 1000.0), Span::seconds_const(86_400), ""),
    row("haematocrit", 0, "HAEMATOCRIT", "", Kind::Laboratory, Unit::Percent, (0.0, 80.0), Span::seconds_const(86_400), ""),
    row("haemoglobin", 0, "HAEMOGLOBIN", "", Kind::Laboratory, Unit::GramPerDecilitre, (0.0, 30.0), Span::seconds_const(86_400), ""),
    row("ptt", 0, "PTT", "", Kind::Laboratory, Unit::Second, (5.0, 400.0), Span::seconds_const(86_400), ""),
    row("white_cells", 0, "WHITE CELLS", "", Kind::Laboratory, Unit::ThousandPerMicrolitre, (0.0, 1000.0), Span::seconds_const(86_400), ""),
    row("fibrinogen", 0, "FIBRINOGEN", "", Kind::Laboratory, Unit::MilligramPerDecilitre, (0.0, 3000.0), Span::seconds_const(86_400), ""),
    row("platelets", 0, "PLATELETS", "", Kind::Laboratory, Unit::ThousandPerMicrolitre, (0.0, 5000.0), Span::seconds_const(86_400), "26515-7"),
    row("age", 0, "AGE", "", Kind::Context, Unit::Year, (0.0, 130.0), Span::seconds_const(3_153_600_000), ""),
    row("pregnant", 0, "PREGNANT", "", Kind::Context, Unit::Code, (0.0, 1.0), Span::seconds_const(2_592_000), ""),
    row("on_oxygen", 0, "ON OXYGEN", "", Kind::Context, Unit::Code, (0.0, 1.0), Span::seconds_const(14_400), ""),
    row("spo2_scale", 0, "SPO2 SCALE", "", Kind::Context, Unit::Code, (1.0, 2.0), Span::seconds_const(2_592_000), ""),
    row("consciousness", 0, "ACVPU", "", Kind::Context, Unit::Code, (0.0, 4.0), Span::seconds_const(14_400), ""),
    row("sex_male", 0, "SEX MALE", "", Kind::Context, Unit::Code, (0.0, 1.0), Span::seconds_const(3_153_600_000), ""),
    row("icu_hours", 0, "ICU HOURS", "", Kind::Context, Unit::Hour, (0.0, 100_000.0), Span::seconds_const(7_200), ""),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_codes_are_unique_and_ranges_ordered() {
        assert!(CHANNELS.len() < 256);
        for (i, a) in CHANNELS.iter().enumerate() {
            assert!(a.plausible.0 < a.plausible.1, "{}", a.name);
            assert!(a.hold > Span::ZERO, "{}", a.name);
            for b in &CHANNELS[i + 1..] {
                assert_ne!(a.name, b.name);
                assert!(a.mdc == 0 || a.mdc != b.mdc, "{} and {} share a code", a.name, b.name);
            }
        }
    }

    #[test]
    fn labels_lead_back() {
        for id in ChannelId::all() {
            assert_eq!(ChannelId::named(id.row().name), Some(id));
            assert_eq!(ChannelId::from_label(id.row().label), Some(id), "{}", id.row().name);
        }
        assert_eq!(ChannelId::from_label("MLII"), ChannelId::named("ecg_ii"));
    }

    #[test]
    fn every_name_is_found_and_no_other() {
        for id in ChannelId::all() {
            assert_eq!(ChannelId::named(id.row().name), Some(id));
            assert_eq!(ChannelId::named(&format!("{}x", id.row().name)), None);
        }
        assert_eq!(ChannelId::named(""), None);
    }
}
