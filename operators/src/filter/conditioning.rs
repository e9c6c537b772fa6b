//! Which filter makes a channel's `clean` samples out of its raw ones.
//! In: the kind of channel, its rate and the cut-off frequencies, all in hertz. Out: a cascade, or none where
//! clean is raw.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::cascade::{Cascade, MAX_SECTIONS, Precision};
use super::design::{
    Band, DesignError, MAX_LOSS_DB, MIN_LOSS_DB, Section, butterworth, chebyshev1, chebyshev2, elliptic,
    notch,
};
use crate::params::{Bound, ParamError};
use crate::signal::{Hertz, Kind};

/// Upper edges are kept below this fraction of the rate, and a mains frequency above it is left alone.
pub const USABLE: f64 = 0.45;

/// Quality factor of the mains notch.
pub const NOTCH_QUALITY: f64 = 30.0;

/// Cut-off frequencies of the conditioning chains.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Conditioning {
    /// Frequency of the mains, 50 or 60 Hz.
    pub mains_hz: f64,
    /// High-pass edge of ECG, Hz (second order).
    pub ecg_low_hz: f64,
    /// Low-pass edge of ECG, Hz (fourth order).
    pub ecg_high_hz: f64,
    /// Lower edge of PPG, Hz (second-order band-pass).
    pub ppg_low_hz: f64,
    /// Upper edge of PPG, Hz.
    pub ppg_high_hz: f64,
    /// Low-pass edge of arterial pressure, Hz (fourth order).
    pub pressure_high_hz: f64,
    /// Lower edge of respiration, Hz (second-order band-pass).
    pub respiration_low_hz: f64,
    /// Upper edge of respiration, Hz.
    pub respiration_high_hz: f64,
    /// Lower edge of EEG, Hz (second-order band-pass).
    pub eeg_low_hz: f64,
    /// Upper edge of EEG, Hz.
    pub eeg_high_hz: f64,
    /// A band-pass of one's own in place of the chain above, by kind of channel: `ecg`, `ppg`, `pressure`,
    /// `venous_pressure`, `respiration`, `capnogram`, `eeg` or `motion`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub band_pass: BTreeMap<String, BandPass>,
}

/// A band-pass for one kind of channel: Butterworth's, unless `family` says otherwise. A channel for whose rate there
/// is no such filter is left as it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BandPass {
    /// Order, 1 to 8: the filter has twice as many poles, and this many sections.
    pub order: usize,
    /// Lower edge, Hz.
    pub low_hz: f64,
    /// Upper edge, Hz; a channel whose rate is not above twice this is left as it is.
    pub high_hz: f64,
    /// What the filter is like, and what its edges mean.
    #[serde(default, skip_serializing_if = "is_default")]
    pub family: Family,
    /// Loss that is allowed within the band, dB: for `chebyshev1` and `elliptic`, and only for them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ripple_db: Option<f64>,
    /// Loss outside of the band, dB: for `chebyshev2` and `elliptic`, and only for them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attenuation_db: Option<f64>,
    /// Which sections run in double precision.
    #[serde(default)]
    pub precision: Sections,
    /// What the filter takes the past before the first sample to have been.
    #[serde(default)]
    pub start: Start,
}

/// What a filter is like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Family {
    /// Flat within the band; half the power is lost at the edges.
    #[default]
    Butterworth,
    /// Steeper: `ripple_db` is lost within the band at most, and at its edges.
    Chebyshev1,
    /// Flat within the band; from the edges on outwards all of `attenuation_db` is lost.
    Chebyshev2,
    /// The steepest: `ripple_db` is lost within the band at most, and at its edges, `attenuation_db` outside at least.
    Elliptic,
}

fn is_default(family: &Family) -> bool {
    *family == Family::default()
}

/// Which sections run in double precision.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Sections {
    /// Those that need it.
    #[default]
    Needed,
    /// All.
    Double,
}

/// What a filter takes the past before the first sample to have been.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Start {
    /// Always that sample: no start transient.
    #[default]
    Level,
    /// Zero, as `scipy.signal.sosfilt` does.
    Zero,
}

impl Default for Conditioning {
    fn default() -> Self {
        Self {
            mains_hz: 50.0,
            ecg_low_hz: 0.5,
            ecg_high_hz: 40.0,
            ppg_low_hz: 0.5,
            ppg_high_hz: 8.0,
            pressure_high_hz: 20.0,
            respiration_low_hz: 0.05,
            respiration_high_hz: 1.5,
            eeg_low_hz: 0.5,
            eeg_high_hz: 45.0,
            band_pass: BTreeMap::new(),
        }
    }
}

const fn hz(name: &'static str, min: f64, max: f64) -> Bound {
    Bound { name, min, max, unit: "Hz" }
}

/// Bounds of [`Conditioning`], in the order of its fields.
pub static BOUNDS: &[Bound] = &[
    hz("mains_hz", 50.0, 60.0),
    hz("ecg_low_hz", 0.05, 5.0),
    hz("ecg_high_hz", 15.0, 150.0),
    hz("ppg_low_hz", 0.05, 1.0),
    hz("ppg_high_hz", 3.0, 20.0),
    hz("pressure_high_hz", 8.0, 40.0),
    hz("respiration_low_hz", 0.01, 0.2),
    hz("respiration_high_hz", 0.5, 5.0),
    hz("eeg_low_hz", 0.1, 2.0),
    hz("eeg_high_hz", 20.0, 100.0),
];

const BAND_PASS_ORDER: Bound =
    Bound { name: "band_pass.order", min: 1.0, max: MAX_SECTIONS as f64, unit: "" };
const BAND_PASS_LOW: Bound = hz("band_pass.low_hz", 0.01, 1000.0);
const BAND_PASS_HIGH: Bound = hz("band_pass.high_hz", 0.01, 2000.0);
const BAND_PASS_RIPPLE: Bound = Bound { name: "band_pass.ripple_db", min: 0.01, max: 6.0, unit: "dB" };
const BAND_PASS_ATTENUATION: Bound =
    Bound { name: "band_pass.attenuation_db", min: 10.0, max: 120.0, unit: "dB" };

// What a user may ask for can be designed.
const _: () = assert!(BAND_PASS_RIPPLE.min >= MIN_LOSS_DB && BAND_PASS_ATTENUATION.max <= MAX_LOSS_DB);
const _: () = assert!(BAND_PASS_RIPPLE.max < BAND_PASS_ATTENUATION.min);

impl Conditioning {
    /// Lets parameters inside their bounds through.
    ///
    /// # Errors
    /// [`ParamError`] for the first that is not; mains must be 50 or 60.
    ///
    /// ```
    /// use auscult_operators::filter::Conditioning;
    /// assert!(Conditioning::default().check().is_ok());
    /// let e = Conditioning { mains_hz: 55.0, ..Default::default() }.check().unwrap_err();
    /// assert_eq!(e.to_string(), "mains_hz is 55, neither 50 nor 60 Hz");
    /// ```
    pub fn check(&self) -> Result<(), ParamError> {
        let found = [
            self.mains_hz,
            self.ecg_low_hz,
            self.ecg_high_hz,
            self.ppg_low_hz,
            self.ppg_high_hz,
            self.pressure_high_hz,
            self.respiration_low_hz,
            self.respiration_high_hz,
            self.eeg_low_hz,
            self.eeg_high_hz,
        ];
        for (bound, value) in BOUNDS.iter().zip(found) {
            bound.check(value)?;
        }
        if self.mains_hz != 50.0 && self.mains_hz != 60.0 {
            return Err(ParamError::Shape(format!("mains_hz is {}, neither 50 nor 60 Hz", self.mains_hz)));
        }
        for (kind, band) in &self.band_pass {
            if Kind::wave_named(kind).is_none() {
                return Err(ParamError::Shape(format!("band_pass.{kind} is no kind of waveform")));
            }
            BAND_PASS_ORDER.check(band.order as f64)?;
            BAND_PASS_LOW.check(band.low_hz)?;
            BAND_PASS_HIGH.check(band.high_hz)?;
            if band.low_hz >= band.high_hz {
                let found = format!("band_pass.{kind} goes from {} to {} Hz", band.low_hz, band.high_hz);
                return Err(ParamError::Shape(found));
            }
            band.check_losses(kind)?;
        }
        Ok(())
    }
}

impl BandPass {
    /// A family has its losses, and no others: one that would do nothing is a mistake.
    fn check_losses(&self, kind: &str) -> Result<(), ParamError> {
        let ripples = matches!(self.family, Family::Chebyshev1 | Family::Elliptic);
        let attenuates = matches!(self.family, Family::Chebyshev2 | Family::Elliptic);
        for (bound, found, needed) in [
            (&BAND_PASS_RIPPLE, self.ripple_db, ripples),
            (&BAND_PASS_ATTENUATION, self.attenuation_db, attenuates),
        ] {
            match found {
                Some(value) if needed => {
                    bound.check(value)?;
                }
                None if !needed => {}
                _ => {
                    let so = if needed { "needs" } else { "has no" };
                    let name = bound.name.trim_start_matches("band_pass.");
                    let found = format!("band_pass.{kind} of family {:?} {so} {name}", self.family);
                    return Err(ParamError::Shape(found.to_lowercase()));
                }
            }
        }
        Ok(())
    }

    fn sections(&self, rate: Hertz) -> Result<Vec<Section>, DesignError> {
        let band = Band::BandPass(Hertz(self.low_hz), Hertz(self.high_hz));
        // A loss that is not there is zero, which no filter has.
        let (ripple, attenuation) = (self.ripple_db.unwrap_or(0.0), self.attenuation_db.unwrap_or(0.0));
        match self.family {
            Family::Butterworth => butterworth(self.order, band, rate),
            Family::Chebyshev1 => chebyshev1(self.order, ripple, band, rate),
            Family::Chebyshev2 => chebyshev2(self.order, attenuation, band, rate),
            Family::Elliptic => elliptic(self.order, ripple, attenuation, band, rate),
        }
    }

    fn cascade(&self, rate: Hertz) -> Option<Cascade> {
        let sections = self.sections(rate).ok()?;
        let cascade = match self.precision {
            Sections::Needed => Cascade::new(sections, rate),
            Sections::Double => Cascade::with_precision(sections, rate, |_| Precision::Double),
        };
        let cascade = cascade.ok()?;
        Some(if self.start == Start::Zero { cascade.from_zero() } else { cascade })
    }
}

/// The cascade of a kind of channel at a rate; `None` where clean is raw: other kinds, and rates too low for
/// the chain's lower edge.
///
/// ```
/// use auscult_operators::filter::{Conditioning, cascade_for};
/// use auscult_operators::signal::{Hertz, Kind};
/// let ecg = cascade_for(Kind::Ecg, Hertz(250.0), &Conditioning::default()).unwrap();
/// assert_eq!(ecg.sections().len(), 4);
/// assert!(cascade_for(Kind::Motion, Hertz(50.0), &Conditioning::default()).is_none());
/// ```
pub fn cascade_for(kind: Kind, rate: Hertz, params: &Conditioning) -> Option<Cascade> {
    let p = params;
    if let Some((_, band)) = p.band_pass.iter().find(|(k, _)| Kind::wave_named(k) == Some(kind)) {
        return band.cascade(rate);
    }
    let sections = match kind {
        Kind::Ecg => ecg(rate, p)?,
        Kind::Ppg => band(p.ppg_low_hz, p.ppg_high_hz, rate)?,
        Kind::Pressure => butterworth(4, Band::LowPass(clamp(p.pressure_high_hz, rate)), rate).ok()?,
        Kind::Respiration => band(p.respiration_low_hz, p.respiration_high_hz, rate)?,
        Kind::Eeg => band(p.eeg_low_hz, p.eeg_high_hz, rate)?,
        _ => return None,
    };
    Cascade::new(sections, rate).ok()
}

fn clamp(edge_hz: f64, rate: Hertz) -> Hertz {
    Hertz(edge_hz.min(USABLE * rate.get()))
}

fn band(low_hz: f64, high_hz: f64, rate: Hertz) -> Option<Vec<Section>> {
    butterworth(2, Band::BandPass(Hertz(low_hz), clamp(high_hz, rate)), rate).ok()
}

/// Baseline away, mains away, muscle away.
fn ecg(rate: Hertz, p: &Conditioning) -> Option<Vec<Section>> {
    let high = clamp(p.ecg_high_hz, rate);
    if high.get() <= p.ecg_low_hz {
        return None;
    }
    let mut sections = butterworth(2, Band::HighPass(Hertz(p.ecg_low_hz)), rate).ok()?;
    if p.mains_hz <= USABLE * rate.get() {
        sections.push(notch(Hertz(p.mains_hz), NOTCH_QUALITY, rate).ok()?);
    }
    sections.extend(butterworth(4, Band::LowPass(high), rate).ok()?);
    Some(sections)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that panics has failed")]
mod tests {
    use super::*;
    use crate::filter::design::magnitude;

    #[test]
    fn ecg_chain_does_what_it_says() {
        let p = Conditioning::default();
        for rate in [125.0, 250.0, 257.0, 300.0, 360.0, 500.0, 1000.0].map(Hertz) {
            let c = cascade_for(Kind::Ecg, rate, &p).unwrap();
            let gain = |f: f64| magnitude(c.sections(), Hertz(f), rate);
            assert!(gain(0.0) < 1e-9 && (gain(8.0) - 1.0).abs() < 0.01, "{rate:?}");
            assert!((gain(0.5) - 0.5f64.sqrt()).abs() < 0.01, "{rate:?}");
            assert!(gain(50.0) < 1e-9, "{rate:?}: {}", gain(50.0));
        }
        // 50 Hz cannot be told from an alias at 100 Hz: no notch, and the low-pass is kept below half the
        // rate.
        assert_eq!(cascade_for(Kind::Ecg, Hertz(100.0), &p).unwrap().sections().len(), 3);
        assert_eq!(cascade_for(Kind::Ecg, Hertz(62.5), &p).unwrap().sections().len(), 3);
        assert!(cascade_for(Kind::Ecg, Hertz(1.0), &p).is_none());
    }

    #[test]
    fn a_band_of_ones_own_goes_before_the_chain() {
        let text = r#"{"band_pass": {"ecg": {"order": 4, "low_hz": 0.5, "high_hz": 40.0, "precision": "double",
            "start": "zero"}}}"#;
        let p: Conditioning = serde_json::from_str(text).unwrap();
        assert!(p.check().is_ok());
        let own = cascade_for(Kind::Ecg, Hertz(250.0), &p).unwrap();
        assert_eq!(own.precisions(), [Precision::Double; 4]);
        // The impulse response begins with the product of the first coefficients: nothing was primed.
        let (mut state, mut out) = (Default::default(), [0.0f32; 1]);
        own.filter(&mut state, &[1.0], &mut out);
        let first: f64 = own.sections().iter().map(|s| s.b[0]).product();
        assert!((f64::from(out[0]) - first).abs() < 1e-9, "{out:?} {first}");
        assert!(cascade_for(Kind::Ecg, Hertz(75.0), &p).is_none());
        assert_eq!(
            cascade_for(Kind::Ppg, Hertz(250.0), &p),
            cascade_for(Kind::Ppg, Hertz(250.0), &Conditioning::default())
        );
        for (from, to, why) in [
            ("\"ecg\"", "\"heart\"", "no kind"),
            ("4", "9", "band_pass.order is 9"),
            ("40.0", "0.5", "goes from"),
            ("0.5", "-1", "band_pass.low_hz is -1"),
        ] {
            let p: Conditioning = serde_json::from_str(&text.replacen(from, to, 1)).unwrap();
            assert!(p.check().unwrap_err().to_string().contains(why), "{why}");
        }
    }

    #[test]
    fn a_band_may_be_of_another_family() {
        let rate = Hertz(250.0);
        let with = |more: &str| -> Conditioning {
            let text = r#"{"band_pass": {"ecg": {"order": 4, "low_hz": 0.5, "high_hz": 40.0 MORE}}}"#;
            serde_json::from_str(&text.replace("MORE", more)).unwrap()
        };
        let gain = |p: &Conditioning, f: f64| {
            let c = cascade_for(Kind::Ecg, rate, p).unwrap();
            assert_eq!(c.sections().len(), 4);
            -20.0 * libm::log10(magnitude(c.sections(), Hertz(f), rate))
        };
        // Losses in decibels at the upper edge, beyond it, and within the band.
        for (more, at_edge, beyond, within) in [
            ("", 3.01, 20.0, 0.01),
            (r#", "family": "butterworth""#, 3.01, 20.0, 0.01),
            (r#", "family": "chebyshev1", "ripple_db": 0.5"#, 0.5, 30.0, 0.51),
            (r#", "family": "chebyshev2", "attenuation_db": 50"#, 50.0, 49.99, 3.0),
            (r#", "family": "elliptic", "ripple_db": 0.5, "attenuation_db": 40"#, 0.5, 39.99, 0.51),
        ] {
            let p = with(more);
            assert!(p.check().is_ok(), "{more}");
            assert!((gain(&p, 40.0) - at_edge).abs() < 0.01, "{more}: {}", gain(&p, 40.0));
            assert!(gain(&p, 75.0) > beyond, "{more}: {}", gain(&p, 75.0));
            assert!((-1e-9..within).contains(&gain(&p, 8.0)), "{more}: {}", gain(&p, 8.0));
            let again: Conditioning = serde_json::from_str(&serde_json::to_string(&p).unwrap()).unwrap();
            assert_eq!(again, p);
        }
        // A file that names no family is written as it was.
        assert!(!serde_json::to_string(&with("")).unwrap().contains("family"));
        for (more, why) in [
            (r#", "family": "chebyshev2""#, "needs attenuation_db"),
            (r#", "family": "elliptic", "attenuation_db": 40"#, "needs ripple_db"),
            (r#", "family": "chebyshev2", "attenuation_db": 40, "ripple_db": 1"#, "has no ripple_db"),
            (r#", "ripple_db": 1"#, "has no ripple_db"),
            (r#", "family": "chebyshev1""#, "needs ripple_db"),
            (r#", "family": "elliptic", "ripple_db": 7, "attenuation_db": 40"#, "ripple_db is 7"),
            (r#", "family": "chebyshev2", "attenuation_db": 500"#, "attenuation_db is 500"),
        ] {
            let e = with(more).check().unwrap_err().to_string();
            assert!(e.contains(why), "{more}: {e}");
        }
        let wrong = r#"{"order": 2, "low_hz": 1, "high_hz": 2, "family": "bessel"}"#;
        assert!(serde_json::from_str::<BandPass>(wrong).is_err());
    }

    #[test]
    fn every_kind_at_every_usual_rate() {
        let p = Conditioning::default();
        for kind in [Kind::Ecg, Kind::Ppg, Kind::Pressure, Kind::Respiration, Kind::Eeg] {
            for rate in [25.0, 62.5, 64.0, 125.0, 250.0, 256.0, 360.0, 500.0, 1000.0].map(Hertz) {
                assert!(cascade_for(kind, rate, &p).is_some(), "{kind:?} {rate:?}");
            }
        }
        for kind in [Kind::VenousPressure, Kind::Capnogram, Kind::Motion, Kind::Numeric] {
            assert!(cascade_for(kind, Hertz(125.0), &p).is_none());
        }
    }
}
