//! What was read from a recording: waveforms as raw counts, time-stamped values, labels, and what has no
//! channel. In: filled by the readers of [`crate::read`]. Out: the same numbers as frames (see [`frames`]),
//! in canonical units by a scale and an offset; times as spans from the start of the recording.

mod frames;
mod mapping;

pub use frames::{Frames, frames};
pub use mapping::{ChannelMap, Mapping, NotMapped, numeric_channel, ucum_of};

use auscult_operators::signal::frame::Samples;
use auscult_operators::signal::time::US_PER_S;
use auscult_operators::signal::{ChannelId, EventTime, Frame, Hertz, Span};

/// One recording of one patient.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Recording {
    /// Name, as the file says it.
    pub name: String,
    /// When it began, where the source gives both day and time of day.
    pub start: Option<EventTime>,
    /// Evenly spaced signals, including those that no channel was found for.
    pub waves: Vec<RecordedWave>,
    /// Values with their own times, ordered by time.
    pub observations: Vec<RecordedValue>,
    /// What is to be predicted, kept apart from what may be seen: for example `SepsisLabel`.
    pub labels: Vec<RecordedLabel>,
    /// Columns of values that no channel was found for; signals without one stay in `waves`.
    pub unmapped_columns: Vec<(String, NotMapped)>,
    /// Free text of the source: header comments.
    pub notes: Vec<String>,
}

/// One signal of a recording.
#[derive(Clone, Debug, PartialEq)]
pub struct RecordedWave {
    /// Label as the source writes it.
    pub label: String,
    /// Unit as the source writes it; empty where it says none.
    pub unit: String,
    /// Sampling rate.
    pub rate: Hertz,
    /// The channel and the way to its canonical unit, or why there is none.
    pub mapping: Result<Mapping, NotMapped>,
    /// Stretches without a gap between their samples, ordered and not overlapping.
    pub stretches: Vec<Stretch>,
}

/// Consecutive samples under one gain.
#[derive(Clone, Debug, PartialEq)]
pub struct Stretch {
    /// Position of the first sample on the wave's grid, counted from the start of the recording.
    pub first_sample: u64,
    /// Counts per unit.
    pub gain: f64,
    /// Count of value zero.
    pub baseline: f64,
    /// The samples.
    pub data: Data,
}

/// Samples as stored.
#[derive(Clone, Debug, PartialEq)]
pub enum Data {
    /// Converter counts of at most 16 bits, and the count that means "no sample".
    Counts(Vec<i16>, Option<i16>),
    /// Converter counts of more than 16 bits, and the count that means "no sample".
    Wide(Vec<i32>, Option<i32>),
    /// Values in the wave's unit; NaN means "no sample".
    Values(Vec<f32>),
}

/// One value of a recording.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RecordedValue {
    /// Which quantity.
    pub channel: ChannelId,
    /// When, from the start of the recording.
    pub at: Span,
    /// Value in the channel's canonical unit; `None` says that it was looked for and is not there.
    pub value: Option<f64>,
}

/// One entry of what is to be predicted.
#[derive(Clone, Debug, PartialEq)]
pub struct RecordedLabel {
    /// Name of the column.
    pub name: String,
    /// When, from the start of the recording.
    pub at: Span,
    /// Value as written.
    pub value: f64,
}

impl Data {
    /// Number of samples, present or not.
    pub fn len(&self) -> usize {
        match self {
            Data::Counts(c, _) => c.len(),
            Data::Wide(c, _) => c.len(),
            Data::Values(v) => v.len(),
        }
    }
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Stretch {
    /// Position just after the last sample.
    pub fn end_sample(&self) -> u64 {
        self.first_sample + self.data.len() as u64
    }
    /// The value at position `i` of this stretch in the wave's own unit, if there is one.
    ///
    /// ```
    /// use auscult_datasets::recording::{Data, Stretch};
    /// let s = Stretch {
    ///     first_sample: 0, gain: 200.0, baseline: 1024.0,
    ///     data: Data::Counts(vec![1224, -2048], Some(-2048)),
    /// };
    /// assert_eq!((s.value(0), s.value(1), s.value(2)), (Some(1.0), None, None));
    /// ```
    pub fn value(&self, i: usize) -> Option<f64> {
        let physical = |count: f64| (count - self.baseline) / self.gain;
        match &self.data {
            Data::Counts(c, missing) => {
                c.get(i).filter(|&&x| Some(x) != *missing).map(|&x| physical(f64::from(x)))
            }
            Data::Wide(c, missing) => {
                c.get(i).filter(|&&x| Some(x) != *missing).map(|&x| physical(f64::from(x)))
            }
            Data::Values(v) => v.get(i).filter(|x| !x.is_nan()).map(|&x| f64::from(x)),
        }
    }
    /// Samples `from..to` of this stretch in the canonical unit of `mapping`, raw counts kept where they fit.
    fn samples(&self, from: usize, to: usize, mapping: &Mapping) -> Samples {
        let scale = mapping.factor / self.gain;
        let offset = mapping.offset - self.baseline * mapping.factor / self.gain;
        match &self.data {
            Data::Counts(c, missing) => {
                Samples::Counts { counts: c[from..to].to_vec(), scale, offset, missing: *missing }
            }
            Data::Wide(c, missing) => {
                Samples::Values(
                    c[from..to]
                        .iter()
                        .map(|&x| {
                            if Some(x) == *missing {
                                f32::NAN
                            } else {
                                (f64::from(x) * scale + offset) as f32
                            }
                        })
                        .collect(),
                )
            }
            Data::Values(v) => Samples::Values(
                v[from..to]
                    .iter()
                    .map(|&x| (f64::from(x) * mapping.factor + mapping.offset) as f32)
                    .collect(),
            ),
        }
    }
}

impl RecordedWave {
    /// Position just after the last sample.
    pub fn end_sample(&self) -> u64 {
        self.stretches.last().map_or(0, Stretch::end_sample)
    }
    /// Every value from the start of the recording in the wave's own unit; NaN in gaps and where missing.
    pub fn values(&self) -> Vec<f64> {
        let mut all = vec![f64::NAN; self.end_sample() as usize];
        for s in &self.stretches {
            let first = s.first_sample as usize;
            for i in 0..s.data.len() {
                if let Some(v) = s.value(i) {
                    all[first + i] = v;
                }
            }
        }
        all
    }
    /// Time of the sample at that position, from the start of the recording: rounded once, never summed up.
    pub fn sample_time(&self, sample: u64) -> Span {
        Span::from_micros((sample as f64 * US_PER_S as f64 / self.rate.get()).round() as i64)
    }
}

impl Recording {
    /// Length: to the end of the last sample, and to a second after the last observation.
    pub fn span(&self) -> Span {
        let waves = self.waves.iter().map(|w| w.sample_time(w.end_sample()));
        let last = self.observations.iter().map(|o| o.at + Span::EPOCH);
        waves.chain(last).max().unwrap_or(Span::ZERO)
    }
    /// The wave of a channel.
    pub fn wave(&self, channel: ChannelId) -> Option<&RecordedWave> {
        self.waves.iter().find(|w| w.mapping.as_ref().is_ok_and(|m| m.channel == channel))
    }
    /// Everything that was read and will not be in the frames, with the reason.
    pub fn unmapped(&self) -> impl Iterator<Item = (&str, &NotMapped)> {
        let waves = self.waves.iter().filter_map(|w| Some((w.label.as_str(), w.mapping.as_ref().err()?)));
        waves.chain(self.unmapped_columns.iter().map(|(name, why)| (name.as_str(), why)))
    }
    /// Puts the observations in time order, keeping the order of those of one time.
    pub(crate) fn sort(&mut self) {
        self.observations.sort_by_key(|o| o.at);
    }
    /// Gathers the frames of one patient and source back into a recording that starts at `start`.
    /// Samples must lie on their rate's grid from `start`; those before it are left out.
    pub fn from_frames(name: &str, start: EventTime, frames: impl IntoIterator<Item = Frame>) -> Self {
        let mut rec = Self { name: name.into(), start: Some(start), ..Self::default() };
        for frame in frames {
            for wave in frame.waves {
                let at = (wave.start - start).seconds() * wave.rate.get();
                if at > -0.5 {
                    rec.append(wave.channel, wave.rate, at.round() as u64, wave.samples);
                }
            }
            rec.observations.extend(
                frame.observations.iter().filter(|o| o.observed_at >= start).map(|o| RecordedValue {
                    channel: o.channel,
                    at: o.observed_at - start,
                    value: o.value,
                }),
            );
        }
        rec.sort();
        rec
    }

    fn append(&mut self, channel: ChannelId, rate: Hertz, first_sample: u64, samples: Samples) {
        let found = self
            .waves
            .iter()
            .position(|w| w.rate == rate && w.mapping.as_ref().is_ok_and(|m| m.channel == channel));
        let index = found.unwrap_or_else(|| {
            self.waves.push(RecordedWave {
                label: channel.row().label.into(),
                unit: channel.row().unit.ucum().into(),
                rate,
                mapping: Ok(Mapping { channel, factor: 1.0, offset: 0.0 }),
                stretches: Vec::new(),
            });
            self.waves.len() - 1
        });
        let (gain, baseline, data) = match samples {
            Samples::Counts { counts, scale, offset, missing } => {
                (1.0 / scale, -offset / scale, Data::Counts(counts, missing))
            }
            Samples::Values(values) => (1.0, 0.0, Data::Values(values)),
        };
        let stretches = &mut self.waves[index].stretches;
        if let Some(last) = stretches.last_mut()
            && last.end_sample() == first_sample
            && (last.gain, last.baseline) == (gain, baseline)
        {
            match (&mut last.data, &data) {
                (Data::Counts(a, m), Data::Counts(b, n)) if m == n => return a.extend_from_slice(b),
                (Data::Values(a), Data::Values(b)) => return a.extend_from_slice(b),
                _ => {}
            }
        }
        stretches.push(Stretch { first_sample, gain, baseline, data });
    }
}
