//! Respiration rate from all witnesses: impedance, carbon dioxide, ECG and pulse, by their quality.
//! In: `resp_rate_impedance`, `resp_rate_co2`, `resp_rate_ecg`, `resp_rate_ppg` of this epoch (/min). Out: one rate, or
//! none where they contradict each other.

use serde::{Deserialize, Serialize};

use crate::operator::{Operator, Output, Spec, StateError, defaults, load_state, params, save_state};
use crate::params::Bound;
use crate::signal::time::US_PER_S;
use crate::signal::{Epoch, Graded, Missing, Readings, Span};
use crate::window::grade;

/// Parameters.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Params {
    /// Time between two readings, counted from midnight of 1 January 1970 (s); as those of the witnesses.
    pub hop_s: f64,
    /// Below this quality there is no rate (1).
    pub quality_floor: f64,
}

impl Default for Params {
    fn default() -> Self {
        Self { hop_s: 4.0, quality_floor: 0.35 }
    }
}

const HOP: Bound = Bound { name: "hop_s", min: 1.0, max: 30.0, unit: "s" };
const QUALITY_FLOOR: Bound = Bound { name: "quality_floor", min: 0.0, max: 1.0, unit: "" };

/// Witnesses, and how much each is believed at its best: gas and chest move with the breath, heart and pulse with
/// other things too.
const WITNESSES: [(&str, f32); 4] =
    [("resp_rate_co2", 1.0), ("resp_rate_impedance", 0.95), ("resp_rate_ecg", 0.8), ("resp_rate_ppg", 0.5)];
/// Rates this close agree fully, and this far not at all (/min).
const AGREE: (f32, f32) = (1.5, 4.0);

/// What is remembered: whether there ever was a witness.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct State {
    ever: bool,
}

/// A rate (/min) and how far to believe it (0 to 1).
type Witness = (f64, f32);

/// The rate that the witnesses agree on, and how far to believe it; `None` without a witness. The one with the most
/// support leads, those near it are averaged, the others cost belief.
///
/// ```
/// use auscult_operators::respiration::resp_rate_fused::fuse;
/// let (rate, quality) = fuse(&[(15.0, 0.5), (15.6, 0.5), (9.0, 0.3)]).unwrap();
/// assert!((rate - 15.3).abs() < 1e-9 && quality > 0.5 && quality < 0.6, "{rate} {quality}");
/// assert_eq!(fuse(&[]), None);
/// ```
pub fn fuse(witnesses: &[Witness]) -> Option<Witness> {
    let near = |a: f64, b: f64| grade((a - b).abs() as f32, AGREE.0, AGREE.1);
    let support = |w: &Witness| witnesses.iter().map(|v| v.1 * near(w.0, v.0)).sum::<f32>();
    let lead = witnesses.iter().fold(None, |best: Option<(&Witness, f32)>, w| {
        let s = support(w);
        if best.is_none_or(|b| s > b.1) { Some((w, s)) } else { best }
    });
    let (lead, _) = lead.filter(|l| l.1 > 0.0)?;
    let (mut sum, mut weight, mut doubt, mut against) = (0.0, 0.0, 1.0_f32, 0.0_f32);
    for w in witnesses {
        let share = near(lead.0, w.0);
        // As if the spread of each fell with its belief: a good one is not spoilt by a poor one beside it.
        let own = f64::from(w.1 * share) * f64::from(w.1 * share);
        sum += own * w.0;
        weight += own;
        // Independent witnesses that agree are wrong together only if each is.
        doubt *= 1.0 - (w.1 * share).clamp(0.0, 1.0);
        against = against.max(w.1 * (1.0 - share));
    }
    Some((sum / weight, (1.0 - doubt - 0.8 * against).clamp(0.0, 1.0)))
}

struct RespRateFused {
    params: Params,
    state: State,
}

impl Operator for RespRateFused {
    fn apply(&mut self, epoch: &Epoch<'_>, out: &mut Readings) {
        let hop = (self.params.hop_s.round() as i64).max(1);
        if epoch.end().micros().div_euclid(US_PER_S).rem_euclid(hop) != 0 {
            return;
        }
        let (mut found, mut count, mut window) = ([(0.0, 0.0); WITNESSES.len()], 0, Span::EPOCH);
        let mut why = Missing::NoData;
        for (name, most) in WITNESSES {
            let Some(reading) = out.find(name).filter(|r| r.time == epoch.end()) else { continue };
            self.state.ever = true;
            match reading.value {
                Ok(rate) => {
                    found[count] = (rate, most * reading.quality);
                    count += 1;
                    window = window.max(reading.window);
                }
                Err(Missing::NoData) => {}
                Err(other) => why = other,
            }
        }
        if !self.state.ever {
            return;
        }
        let answer = fuse(&found[..count]).map_or(Graded::missing(why), |(rate, quality)| {
            Graded::of(rate, quality, self.params.quality_floor)
        });
        out.push(answer.reading("resp_rate_fused", None, epoch.end(), window));
    }

    fn save(&self, out: &mut Vec<u8>) {
        save_state(&self.state, out);
    }

    fn load(&mut self, bytes: &[u8]) -> Result<(), StateError> {
        self.state = load_state(SPEC.name, bytes)?;
        Ok(())
    }
}

/// The card.
pub static SPEC: Spec = Spec {
    name: "resp_rate_fused",
    summary: "Respiration rate from impedance, carbon dioxide, ECG and pulse together",
    description: "Each witness speaks with its quality, times 1 for carbon dioxide, 0.95 for impedance, 0.8 for the \
        ECG and 0.5 for the pulse. The one with the most support leads; those within 1.5 /min count fully, those \
        beyond 4 /min not at all, and the rate is their mean weighted by the squares. Belief grows with each witness \
        that agrees (as of independent ones: ECG and pulse are not quite) and falls by 0.8 of the strongest one \
        against. A single pulse needs a quality of 0.7 to be told, an ECG 0.44. Says nothing of apnoea.",
    reads: &[],
    writes: &[Output {
        name: "resp_rate_fused",
        unit: "/min",
        summary: "Breaths per minute on which the witnesses agree",
        feeds: "resp_rate",
    }],
    needs: &[],
    latency: Span::seconds_const(4),
    by_default: false,
    sources: &[
        "Nemati S, Malhotra A, Clifford GD. Data fusion for improved respiration rate estimation. EURASIP J Adv \
         Signal Process 2010;2010:926305. doi:10.1155/2010/926305",
        "Charlton PH et al. An assessment of algorithms to estimate respiratory rate from the electrocardiogram and \
         photoplethysmogram. Physiol Meas 2016;37:610. doi:10.1088/0967-3334/37/4/610 (fusion)",
    ],
    bounds: &[HOP, QUALITY_FLOOR],
    schema: || schemars::schema_for!(Params),
    defaults: defaults::<Params>,
    build: |value| {
        let params: Params = params(value)?;
        HOP.check(params.hop_s)?;
        QUALITY_FLOOR.check(params.quality_floor)?;
        Ok(Box::new(RespRateFused { params, state: State::default() }))
    },
};

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may stop")]
mod tests {
    use super::*;
    use crate::signal::{EventTime, Reading, Values};

    fn said(witnesses: &[(&'static str, Result<f64, Missing>, f32)]) -> Option<Result<f64, Missing>> {
        let mut operator = (SPEC.build)(&(SPEC.defaults)()).unwrap();
        let (values, mut out) = (Values::default(), Readings::default());
        let start = EventTime::from_seconds(39);
        for &(name, value, quality) in witnesses {
            let (time, window) = (start + Span::EPOCH, Span::seconds_const(32));
            out.push(Reading { name, channel: None, time, window, value, quality });
        }
        operator.apply(&Epoch { start, runs: &[], values: &values }, &mut out);
        out.find("resp_rate_fused").map(|r| r.value)
    }

    #[test]
    fn agreement_wins_and_contradiction_is_absent() {
        let (chest, gas, heart, pulse) =
            ("resp_rate_impedance", "resp_rate_co2", "resp_rate_ecg", "resp_rate_ppg");
        assert_eq!(said(&[]), None);
        assert_eq!(said(&[(chest, Err(Missing::LowQuality), 0.0)]), Some(Err(Missing::LowQuality)));
        assert_eq!(said(&[(chest, Ok(17.0), 0.8)]), Some(Ok(17.0)));
        // A poor chest is outvoted by heart and pulse.
        let voted = said(&[(chest, Ok(29.0), 0.4), (heart, Ok(15.0), 0.8), (pulse, Ok(15.0), 0.8)]);
        assert!(voted.unwrap().is_ok_and(|r| (r - 15.0).abs() < 1e-9), "{voted:?}");
        let torn = said(&[(chest, Ok(29.0), 0.42), (heart, Ok(15.0), 0.66)]);
        assert_eq!(torn, Some(Err(Missing::LowQuality)));
        // One indirect witness of middling quality is not enough.
        assert_eq!(said(&[(pulse, Ok(15.0), 0.5)]), Some(Err(Missing::LowQuality)));
        assert_eq!(said(&[(gas, Ok(12.0), 0.9), (pulse, Ok(6.0), 0.5)]), Some(Ok(12.0)));
    }
}
