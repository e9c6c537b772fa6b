//! Arterial hypotension: how long and how far the mean pressure lay below a limit in the last hour.
//! In: `abp_mean` of `abp_beats` (mmHg). Out: minutes below, and mmHg times minutes below.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::operator::{Operator, Output, Spec, StateError, defaults, load_state, params, save_state};
use crate::params::Bound;
use crate::signal::{Epoch, Readings, Span};
use crate::trend::burden::Burden;

/// Parameters.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Params {
    /// Mean pressure below this counts (mmHg).
    pub limit_mmhg: f64,
}

impl Default for Params {
    fn default() -> Self {
        Self { limit_mmhg: 65.0 }
    }
}

const LIMIT: Bound = Bound { name: "limit_mmhg", min: 30.0, max: 110.0, unit: "mm[Hg]" };

struct AbpHypotension {
    params: Params,
    burden: Burden,
}

impl Operator for AbpHypotension {
    fn apply(&mut self, epoch: &Epoch<'_>, out: &mut Readings) {
        let mean = out.find("abp_mean").and_then(|r| r.value.ok());
        self.burden.add(epoch.end(), mean.map(|m| (self.params.limit_mmhg - m).max(0.0)));
        if self.burden.is_empty() {
            return;
        }
        let (burden, end, window) = (&self.burden, epoch.end(), self.burden.window());
        out.push(burden.graded(burden.minutes()).reading("abp_hypotension_minutes", None, end, window));
        out.push(burden.graded(burden.area()).reading("abp_hypotension_area", None, end, window));
    }

    fn save(&self, out: &mut Vec<u8>) {
        save_state(&self.burden, out);
    }

    fn load(&mut self, bytes: &[u8]) -> Result<(), StateError> {
        self.burden = load_state(SPEC.name, bytes)?;
        Ok(())
    }
}

/// The card.
pub static SPEC: Spec = Spec {
    name: "abp_hypotension",
    summary: "Time and area with a mean arterial pressure below 65 mmHg in the last hour",
    description: "Each second with a mean pressure counts once; seconds without one count neither as low nor as \
        fine. The window of the readings is what has passed since the first pressure, an hour at most, in whole \
        minutes; their quality is the share of it in which the pressure was known. Nothing is said before five \
        minutes are known or if more than half of the time is not. The limit is that of the consensus for the \
        operating theatre and intensive care; a patient with high usual pressure needs a higher one.",
    reads: &[],
    writes: &[
        Output {
            name: "abp_hypotension_minutes",
            unit: "min",
            summary: "Minutes with a mean arterial pressure below the limit in the last hour",
            feeds: "",
        },
        Output {
            name: "abp_hypotension_area",
            unit: "mm[Hg].min",
            summary: "Depth below the limit times minutes in the last hour",
            feeds: "",
        },
    ],
    needs: &["abp_beats"],
    latency: Span::seconds_const(4),
    by_default: false,
    sources: &[
        "Sessler DI et al. Perioperative Quality Initiative consensus statement on intraoperative blood pressure, \
         risk and outcomes for elective surgery. Br J Anaesth 2019;122:563-574. doi:10.1016/j.bja.2019.01.013",
        "Maheshwari K et al. The relationship between ICU hypotension and in-hospital mortality and morbidity in \
         septic patients. Intensive Care Med 2018;44:857-867. doi:10.1007/s00134-018-5218-5 (65 mmHg)",
    ],
    bounds: &[LIMIT],
    schema: || schemars::schema_for!(Params),
    defaults: defaults::<Params>,
    build: |value| {
        let params: Params = params(value)?;
        LIMIT.check(params.limit_mmhg)?;
        Ok(Box::new(AbpHypotension { params, burden: Burden::default() }))
    },
};

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may stop")]
mod tests {
    use super::*;
    use crate::signal::{EventTime, Missing, Reading, Values};

    #[test]
    fn minutes_and_area_follow_the_pressure_and_gaps_do_not_count() {
        let mut operator = (SPEC.build)(&(SPEC.defaults)()).unwrap();
        let (values, mut out) = (Values::default(), Readings::default());
        for s in 0..1200 {
            let start = EventTime::from_seconds(s);
            let value = match s {
                300..360 => Ok(55.0),
                360..420 => Err(Missing::LowQuality),
                420..450 => Ok(61.0),
                _ => Ok(80.0),
            };
            out.clear();
            let (time, window) = (start + Span::EPOCH, Span::seconds_const(10));
            out.push(Reading { name: "abp_mean", channel: None, time, window, value, quality: 1.0 });
            operator.apply(&Epoch { start, runs: &[], values: &values }, &mut out);
        }
        let minutes = out.find("abp_hypotension_minutes").unwrap();
        assert_eq!(minutes.value, Ok(1.5));
        assert_eq!(out.find("abp_hypotension_area").unwrap().value, Ok(12.0));
        assert!((minutes.quality - 0.95).abs() < 1e-3 && minutes.window == Span::seconds_const(1200));
    }
}
