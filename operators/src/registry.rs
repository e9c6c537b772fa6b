//! Every operator, in graph order: an operator may read what those before it wrote.
//! In: nothing. Out: the cards that configuration, documents and the conformance tests loop over.

use crate::operator::Spec;
use crate::{alarm, ecg, eeg, motion, ppg, pressure, quality, respiration, spectrum, trend, vitals};

/// All operators, in graph order.
pub static OPERATORS: &[&Spec] = &[
    &quality::signal_quality::SPEC,
    &ecg::rpeaks::SPEC,
    &ecg::heart_rate::SPEC,
    &ecg::hrv::SPEC,
    &ppg::motion_level::SPEC,
    &ecg::ecg_intervals::SPEC,
    &ecg::st_level::SPEC,
    &ecg::beat_class::SPEC,
    &ecg::af_episode::SPEC,
    &ecg::rhythm::SPEC,
    &ppg::pulse_peaks::SPEC,
    &ppg::pulse_rate::SPEC,
    &ppg::pulse_variability::SPEC,
    &ppg::pulse_arrival::SPEC,
    &ppg::perfusion_index::SPEC,
    &pressure::abp_beats::SPEC,
    &pressure::abp_upstroke::SPEC,
    &pressure::abp_line::SPEC,
    &pressure::abp_hypotension::SPEC,
    &pressure::shock_index::SPEC,
    &respiration::capnogram::SPEC,
    &respiration::resp_rate_wave::SPEC,
    &eeg::eeg_spectrum::SPEC,
    &eeg::burst_suppression::SPEC,
    &eeg::aeeg::SPEC,
    &respiration::resp_rate_ecg::SPEC,
    &respiration::resp_rate_fused::SPEC,
    &respiration::breaths::SPEC,
    &respiration::apnoea::SPEC,
    &respiration::tidal_pattern::SPEC,
    &pressure::pulse_pressure_variation::SPEC,
    &vitals::desaturation::SPEC,
    &vitals::temperature_burden::SPEC,
    &spectrum::band_power::SPEC,
    &spectrum::window_spectrum::SPEC,
    &alarm::alarm_evidence::SPEC,
    &motion::activity::SPEC,
    &motion::posture::SPEC,
    &motion::fall_suspicion::SPEC,
    &motion::non_wear::SPEC,
    &trend::trend::SPEC,
    &trend::robust_trend::SPEC,
    &trend::baseline::SPEC,
];

/// The operator of that name.
pub fn find(name: &str) -> Option<&'static Spec> {
    OPERATORS.iter().copied().find(|s| s.name == name)
}
