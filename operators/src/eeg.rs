//! The electroencephalogram: how fast, how loud and how broken the activity of the brain is.
//! In: conditioned EEG (0.5 to 45 Hz, microvolts), and what `signal_quality` says of it. Out: Hz, microvolts, shares.

pub mod aeeg;
pub mod burst_suppression;
pub mod eeg_spectrum;

use crate::operator::Spec;
use crate::signal::{ChannelId, Kind, Readings};

/// The operators of this family, in graph order.
pub static SPECS: &[&Spec] = &[&eeg_spectrum::SPEC, &burst_suppression::SPEC, &aeeg::SPEC];

/// Channels that are followed: the slots of this family's states.
pub const CHANNELS: [ChannelId; 2] = [ChannelId::of("eeg_1"), ChannelId::of("eeg_2")];

/// How far a second of EEG can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// Without fault.
    Well,
    /// Noisy, or a burst after silence: the judge of the signal takes the one for the other.
    Doubtful,
    /// Flat to the last digit, at the rails, missing, or not judged.
    Not,
}

/// What `signal_quality` says of this second of a channel.
///
/// ```
/// use auscult_operators::eeg::{CHANNELS, Heard, heard};
/// use auscult_operators::signal::Readings;
/// assert_eq!(heard(&Readings::default(), CHANNELS[0]), Heard::Not, "what nobody judged is not believed");
/// ```
pub fn heard(out: &Readings, channel: ChannelId) -> Heard {
    debug_assert_eq!(channel.row().kind, Kind::Eeg);
    match out.find_on("quality_state", channel).and_then(|r| r.value.ok()) {
        Some(0.0) => Heard::Well,
        Some(1.0) => Heard::Doubtful,
        _ => Heard::Not,
    }
}
