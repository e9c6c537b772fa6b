//! What operators yield: features, and beats.
//! In: pushed by operators in graph order. Out: named numbers with unit, window, time and quality, or the
//! reason why there is none.

use serde::{Deserialize, Serialize};

use super::{ChannelId, EventTime, Span};

/// Why a number is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Missing {
    /// Nothing was ever received for it.
    NoData,
    /// The last value is past its validity.
    Stale,
    /// The signal is too poor.
    LowQuality,
    /// The value lies outside what a living patient can show.
    Implausible,
    /// Not enough signal yet since the start or the last gap.
    Learning,
    /// There were too few beats or samples in the window.
    TooFew,
}

/// A feature of one patient: a named number, or the reason for its absence.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reading {
    /// Name, as in the operator's card.
    pub name: &'static str,
    /// Channel it was computed from, where one alone was used.
    pub channel: Option<ChannelId>,
    /// End of the window.
    pub time: EventTime,
    /// Length of the window.
    pub window: Span,
    /// Value in the unit of the card.
    pub value: Result<f64, Missing>,
    /// 0 to 1.
    pub quality: f32,
}

/// What kind of beat was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum BeatKind {
    /// QRS complex in an ECG; the time is that of the R wave.
    Qrs,
    /// Pulse in a PPG or pressure wave; the time is that of the systolic peak.
    Pulse,
    /// Breath; the time is that of the end of inspiration.
    Breath,
}

/// One beat, pulse or breath.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Beat {
    /// What was found.
    pub kind: BeatKind,
    /// Channel it was found in.
    pub channel: ChannelId,
    /// When.
    pub time: EventTime,
    /// Height in the channel's canonical unit.
    pub amplitude: f32,
    /// 0 to 1.
    pub confidence: f32,
}

/// What a QRS complex means, in the classes of ANSI/AAMI EC57.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum BeatClass {
    /// Conducted from above at its time, bundle branch block included.
    Normal,
    /// Supraventricular ectopic.
    Supraventricular,
    /// Ventricular ectopic.
    Ventricular,
    /// Paced.
    Paced,
    /// Cannot be told: too early, too noisy, or without its surroundings.
    Unclassified,
}

/// The class of a beat that was written earlier, in this epoch or one before.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClassedBeat {
    /// Channel of the beat.
    pub channel: ChannelId,
    /// Time of the beat.
    pub time: EventTime,
    /// What it is.
    pub class: BeatClass,
    /// 0 to 1; 0 if unclassified.
    pub confidence: f32,
}

/// All that the operators said of one epoch, in graph order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Readings {
    /// Features.
    pub items: Vec<Reading>,
    /// Beats, ordered by the operator that found them, then by time.
    pub beats: Vec<Beat>,
    /// Classes of QRS complexes, by time; each beat is classed at most once.
    pub classes: Vec<ClassedBeat>,
}

impl Readings {
    /// Forgets everything but keeps the memory.
    pub fn clear(&mut self) {
        self.items.clear();
        self.beats.clear();
        self.classes.clear();
    }
    /// Adds a reading.
    pub fn push(&mut self, reading: Reading) {
        self.items.push(reading);
    }
    /// The last reading of that name, whatever its channel.
    pub fn find(&self, name: &str) -> Option<&Reading> {
        self.items.iter().rev().find(|r| same(r.name, name))
    }
    /// The last reading of that name for that channel.
    pub fn find_on(&self, name: &str, channel: ChannelId) -> Option<&Reading> {
        self.items.iter().rev().find(|r| r.channel == Some(channel) && same(r.name, name))
    }
}

/// Names are compared all the time, and most of them are the very same text.
fn same(a: &str, b: &str) -> bool {
    std::ptr::eq(a, b) || a == b
}
