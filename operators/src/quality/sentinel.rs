//! Numbers that devices send in place of a measurement.
//! In: a channel and a value in the unit it was sent in or in the canonical one. Out: whether it stands for "nothing
//! measured".
//!
//! From captures of monitor feeds and the descriptions of device drivers: what a device writes when a sensor is off
//! or a field is empty. Some of them lie inside what a waveform of arbitrary unit can show; there they count only
//! where the signal does not move at all.

use crate::signal::ChannelId;

/// Values that no device measures: invalid marks of decimal fields, ends of 16-, 24- and 32-bit counters, an
/// analogue-to-digital converter at its end, and a temperature of an open probe in Celsius.
pub const SENTINELS: [f64; 15] = [
    -100.0,
    -99.9,
    -99.0,
    -999.0,
    -999.9,
    -9999.0,
    384.5,
    9999.0,
    32_767.0,
    -32_768.0,
    65_535.0,
    8_388_607.0,
    8_388_608.0,
    -8_388_608.0,
    2_147_483_647.0,
];

/// Whether a value is one of [`SENTINELS`], as near as 32 bits can tell.
///
/// ```
/// use auscult_operators::quality::sentinel::is_sentinel;
/// assert!(is_sentinel(-999.0) && is_sentinel(f64::from(-99.9_f32)) && is_sentinel(384.5));
/// assert!(!is_sentinel(0.0) && !is_sentinel(99.9) && !is_sentinel(f64::NAN));
/// ```
pub fn is_sentinel(value: f64) -> bool {
    SENTINELS.iter().any(|s| (value - s).abs() <= s.abs() * 1e-6)
}

/// Whether a number of a monitor or a chart stands for "nothing measured": a sentinel that the channel cannot show.
///
/// ```
/// use auscult_operators::quality::sentinel::stands_for_nothing;
/// use auscult_operators::signal::ChannelId;
/// const TEMPERATURE: ChannelId = ChannelId::of("temperature");
/// const GLUCOSE: ChannelId = ChannelId::of("glucose");
/// assert!(stands_for_nothing(TEMPERATURE, 384.5) && stands_for_nothing(GLUCOSE, -999.0));
/// assert!(!stands_for_nothing(GLUCOSE, 384.5) && !stands_for_nothing(TEMPERATURE, 38.45));
/// ```
pub fn stands_for_nothing(channel: ChannelId, value: f64) -> bool {
    is_sentinel(value) && !channel.row().is_plausible(value)
}
