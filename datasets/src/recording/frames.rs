//! A recording as the frames that a device would have sent.
//! In: a recording and who sends it. Out: frames of equal length from the start of the recording, with raw
//! counts and canonical scale; the last one says that the source has ended. Times in microseconds.

use auscult_operators::signal::frame::{DeviceStatus, Observation, Wave};
use auscult_operators::signal::time::US_PER_S;
use auscult_operators::signal::{EventTime, Frame, PatientId, SourceId, Span};

use super::{RecordedWave, Recording};

/// The shortest frame, in microseconds: asking for less gets this.
const SHORTEST_FRAME_US: i64 = 1_000;

/// Frames of a recording, in time order: see [`frames`].
#[derive(Clone, Debug)]
pub struct Frames<'a> {
    recording: &'a Recording,
    patient: PatientId,
    source: SourceId,
    session: u64,
    start: EventTime,
    step_us: i64,
    /// Next frame to look at, counted in steps from the start.
    step: i64,
    next_observation: usize,
    next_sequence: u64,
    ended: bool,
}

/// Cuts a recording into frames of `frame_seconds`, aligned to its start, which is put at `start`.
///
/// Spans in which nothing was recorded yield no frame. Sequence numbers rise by one from 0. After the data
/// comes one frame that says [`DeviceStatus::Ended`]. Signals without a channel are not sent: see
/// [`Recording::unmapped`].
///
/// ```
/// use auscult_datasets::recording::{ChannelMap, Data, RecordedWave, Recording, Stretch, frames};
/// use auscult_operators::signal::{EventTime, Hertz, PatientId, SourceId};
/// let wave = RecordedWave {
///     label: "II".into(), unit: "mV".into(), rate: Hertz(250.0),
///     mapping: ChannelMap::default().wave("II", "mV"),
///     stretches: vec![Stretch {
///         first_sample: 0, gain: 200.0, baseline: 0.0, data: Data::Counts(vec![0; 300], None),
///     }],
/// };
/// let rec = Recording { waves: vec![wave], ..Recording::default() };
/// let (patient, source, start) = (PatientId::new("p"), SourceId("s".into()), EventTime::from_seconds(10));
/// let sent: Vec<_> = frames(&rec, patient, source, 1, start, 1.0).collect();
/// assert_eq!(sent.len(), 3);
/// assert_eq!(sent[1].waves[0].samples.len(), 50);
/// assert_eq!(sent[2].time, EventTime::from_micros(11_200_000));
/// ```
pub fn frames(
    recording: &Recording,
    patient: PatientId,
    source: SourceId,
    session: u64,
    start: EventTime,
    frame_seconds: f64,
) -> Frames<'_> {
    let step_us = Span::from_seconds(frame_seconds).micros().max(SHORTEST_FRAME_US);
    Frames {
        recording,
        patient,
        source,
        session,
        start,
        step_us,
        step: 0,
        next_observation: 0,
        next_sequence: 0,
        ended: false,
    }
}

impl Frames<'_> {
    /// First step at or after the current one in which there is anything.
    fn next_step(&self) -> Option<i64> {
        let from_us = self.step.saturating_mul(self.step_us);
        let waves = self.sent_waves().filter_map(|w| first_sample_time(w, from_us));
        let observation = self.recording.observations.get(self.next_observation).map(|o| o.at.micros());
        waves.chain(observation).min().map(|us| us.div_euclid(self.step_us))
    }

    fn sent_waves(&self) -> impl Iterator<Item = &RecordedWave> {
        self.recording.waves.iter().filter(|w| w.mapping.is_ok())
    }

    fn frame(&mut self, at: Span) -> Frame {
        let sequence = self.next_sequence;
        self.next_sequence += 1;
        Frame {
            patient: self.patient.clone(),
            source: self.source.clone(),
            session: self.session,
            sequence,
            time: self.start + at,
            waves: Vec::new(),
            observations: Vec::new(),
            device: None,
            commands: Vec::new(),
        }
    }

    fn fill(&mut self, frame: &mut Frame, from_us: i64, to_us: i64) {
        for wave in self.recording.waves.iter() {
            let Ok(mapping) = &wave.mapping else { continue };
            let (from, to) = (first_index(wave, from_us), first_index(wave, to_us));
            for stretch in &wave.stretches {
                let (a, b) = (from.max(stretch.first_sample), to.min(stretch.end_sample()));
                if a < b {
                    let inside = |i: u64| (i - stretch.first_sample) as usize;
                    frame.waves.push(Wave {
                        channel: mapping.channel,
                        rate: wave.rate,
                        start: self.start + wave.sample_time(a),
                        samples: stretch.samples(inside(a), inside(b), mapping),
                    });
                }
            }
        }
        while let Some(o) = self.recording.observations.get(self.next_observation) {
            if o.at.micros() >= to_us {
                break;
            }
            frame.observations.push(Observation {
                channel: o.channel,
                observed_at: self.start + o.at,
                value: o.value,
                quality: 1.0,
            });
            self.next_observation += 1;
        }
    }
}

impl Iterator for Frames<'_> {
    type Item = Frame;

    fn next(&mut self) -> Option<Frame> {
        if self.ended {
            return None;
        }
        let Some(step) = self.next_step() else {
            self.ended = true;
            let mut last = self.frame(self.recording.span());
            last.device = Some(DeviceStatus::Ended);
            return Some(last);
        };
        self.step = step.saturating_add(1);
        let from_us = step.saturating_mul(self.step_us);
        let mut frame = self.frame(Span::from_micros(from_us));
        self.fill(&mut frame, from_us, from_us.saturating_add(self.step_us));
        Some(frame)
    }
}

/// Position of the first sample at or after `us`. The guess is one too low at worst; the loop uses the
/// rounded times themselves, so that a sample on the border belongs to exactly one frame.
fn first_index(wave: &RecordedWave, us: i64) -> u64 {
    let guess = (us as f64 * wave.rate.get() / US_PER_S as f64).floor() - 1.0;
    let mut i = guess.max(0.0) as u64;
    while wave.sample_time(i).micros() < us {
        i += 1;
    }
    i
}

/// Time of the first recorded sample at or after `us`.
fn first_sample_time(wave: &RecordedWave, us: i64) -> Option<i64> {
    let from = first_index(wave, us);
    let at = wave.stretches.partition_point(|s| s.end_sample() <= from);
    wave.stretches.get(at).map(|s| wave.sample_time(s.first_sample.max(from)).micros())
}
