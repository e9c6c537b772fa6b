//! A crowd of beds from a few simulated ones: each second of each template is drawn and encoded once, and patched for
//! every bed that plays it. In: a seed, the number of beds, a start. Out: the bytes of the frame of any bed and second.
//!
//! Ten thousand beds cost a copy of some two kilobytes each a second, so that one sender outruns the engine beside it.

use auscult_datasets::simulate::ward;
use auscult_operators::signal::frame::DeviceStatus;
use auscult_operators::signal::{EventTime, Frame, PatientId, SourceId, Span};
use prost::encoding::{WireType, encode_key, encode_varint};

use crate::decode::{encode, wire};

/// Beds that are drawn; the others play one of these under their own name.
const TEMPLATES: usize = 64;
/// Frames that are drawn at most: they are held in memory, two kilobytes each.
const FRAMES: u64 = 19_200;
/// Seconds that every template lasts at least before it is played again.
const CYCLE_S: u64 = 300;
/// Bytes of the times that are patched: every microsecond from 1988 to 4253 takes as many.
const TIME_BYTES: usize = 8;

/// One second of one template.
struct Second {
    /// The message from its first waveform on.
    tail: Vec<u8>,
    /// Where in the tail times of observation stand, and how long after the template's start each is.
    times: Vec<(usize, i64)>,
    /// Number of the frame within its cycle.
    sequence: u64,
}

/// One bed as drawn.
struct Template {
    /// `None` for seconds in which nothing is sent.
    seconds: Vec<Option<Second>>,
    frames: u64,
}

/// Beds that play the templates.
///
/// ```
/// use auscult::source::crowd::Crowd;
/// use auscult_operators::signal::EventTime;
/// let crowd = Crowd::draw(1, 100, EventTime::from_seconds(1_700_000_000), 10);
/// let mut frame = Vec::new();
/// assert!(crowd.frame(99, 3, &mut frame) && frame.len() > 1_000);
/// assert_eq!(crowd.patient(99), "bed-100");
/// ```
pub struct Crowd {
    start: EventTime,
    templates: Vec<Template>,
    cycle_s: u64,
    /// Of each bed: its name, and the bytes of patient, source and session with which each of its frames begins.
    beds: Vec<(String, Vec<u8>)>,
}

impl Crowd {
    /// Draws the templates of a crowd that lasts so many seconds; beyond what is drawn they are played again.
    /// The same seed, number of beds, start and length give the same bytes on every machine.
    pub fn draw(seed: u64, beds: usize, start: EventTime, seconds: u64) -> Self {
        let start = start.epoch_start();
        let drawn = beds.clamp(1, TEMPLATES);
        let longest = (FRAMES / drawn as u64).max(CYCLE_S);
        // An even number: a respiration at 62.5 Hz stands on the same grid again after two seconds.
        let cycle_s = seconds.min(longest).max(1).next_multiple_of(2);
        let templates = ward(seed, drawn, start).into_iter().map(|mut bed| {
            let mut frames = 0;
            let seconds = (0..cycle_s).map(|_| {
                let frame = bed.next_second()?;
                frames += 1;
                Some(Second::cut(&encode(&frame), start, frames - 1))
            });
            let seconds = seconds.collect();
            Template { seconds, frames }
        });
        let templates = templates.collect();
        Self { start, templates, cycle_s, beds: vec![Default::default(); beds] }.starting(start)
    }

    /// The same crowd at another time, which is put on a whole second. Later crowds are later runs of their sources.
    pub fn starting(mut self, start: EventTime) -> Self {
        self.start = start.epoch_start();
        let session = self.session();
        for (i, bed) in self.beds.iter_mut().enumerate() {
            let patient = patient(i);
            let source = source(i);
            let head = wire::Frame { patient: patient.clone(), source, session, ..Default::default() };
            *bed = (patient, prost::Message::encode_to_vec(&head));
        }
        self
    }

    /// Which of so many beds fall silent for a while: what they play has a gap. [`Crowd::draw`] draws them so from this
    /// seed.
    ///
    /// ```
    /// use auscult::source::crowd::Crowd;
    /// let silent = Crowd::falling_silent(1, 1_000);
    /// assert!(silent.len() == 1_000 && silent.contains(&true) && silent.contains(&false));
    /// ```
    pub fn falling_silent(seed: u64, beds: usize) -> Vec<bool> {
        let drawn = ward(seed, beds.clamp(1, TEMPLATES), EventTime::default());
        (0..beds).map(|bed| drawn[bed % drawn.len()].profile().script.name == "gap").collect()
    }

    fn session(&self) -> u64 {
        u64::try_from(self.start.micros()).unwrap_or(0)
    }

    /// Number of beds.
    pub fn beds(&self) -> usize {
        self.beds.len()
    }

    /// Event time of the first frames.
    pub fn start(&self) -> EventTime {
        self.start
    }

    /// Name of a bed's patient: the key of its records.
    pub fn patient(&self, bed: usize) -> &str {
        self.beds.get(bed).map_or("", |b| &b.0)
    }

    /// When within its second a bed sends: the beds are spread evenly.
    pub fn phase(&self, bed: usize) -> Span {
        Span::from_seconds(bed as f64 / self.beds.len().max(1) as f64)
    }

    /// Writes the message of a bed's second; false if nothing is sent in it.
    pub fn frame(&self, bed: usize, second: u64, out: &mut Vec<u8>) -> bool {
        out.clear();
        let Some((_, head)) = self.beds.get(bed) else { return false };
        let template = &self.templates[bed % self.templates.len()];
        let (cycle, at) = (second / self.cycle_s, second % self.cycle_s);
        let Some(Some(s)) = template.seconds.get(at as usize) else { return false };
        let shift = Span::EPOCH.micros() * (cycle * self.cycle_s) as i64;
        let time = self.start + Span::from_micros(Span::EPOCH.micros() * second as i64);
        out.extend_from_slice(head);
        let sequence = cycle * template.frames + s.sequence;
        if sequence > 0 {
            encode_key(4, WireType::Varint, out);
            encode_varint(sequence, out);
        }
        encode_key(5, WireType::Varint, out);
        encode_varint(time.micros() as u64, out);
        let tail = out.len();
        out.extend_from_slice(&s.tail);
        for (at, after) in &s.times {
            let mut time = &mut out[tail + at..tail + at + TIME_BYTES];
            encode_varint((self.start.micros() + after + shift) as u64, &mut time);
        }
        true
    }

    /// The frame that says that nothing more comes from a bed after so many seconds.
    pub fn end(&self, bed: usize, seconds: u64) -> Frame {
        let template = &self.templates[bed % self.templates.len()];
        let (cycle, at) = (seconds / self.cycle_s, (seconds % self.cycle_s) as usize);
        let sent = template.seconds[..at].iter().flatten().count() as u64;
        Frame {
            patient: PatientId::new(self.patient(bed)),
            source: SourceId(source(bed).into()),
            session: self.session(),
            sequence: cycle * template.frames + sent,
            time: self.start + Span::from_micros(Span::EPOCH.micros() * seconds as i64),
            waves: vec![],
            observations: vec![],
            device: Some(DeviceStatus::Ended),
            commands: vec![],
        }
    }
}

fn patient(bed: usize) -> String {
    format!("bed-{:03}", bed + 1)
}

fn source(bed: usize) -> String {
    format!("monitor-{:03}", bed + 1)
}

impl Second {
    /// Cuts a message after its head, and notes where its times stand.
    fn cut(message: &[u8], start: EventTime, sequence: u64) -> Self {
        let mut at = 0;
        let mut tail_at = message.len();
        let mut times = Vec::new();
        while let Some(field) = Field::read(message, &mut at) {
            if field.number > 5 && tail_at > field.key {
                tail_at = field.key;
            }
            if field.number != 7 {
                continue;
            }
            let mut inside = field.body.start;
            while let Some(f) = Field::read(&message[..field.body.end], &mut inside) {
                if f.number == 5 {
                    debug_assert_eq!(f.body.len(), TIME_BYTES);
                    times.push((f.body.start - tail_at, f.value as i64 - start.micros()));
                }
            }
        }
        Self { tail: message[tail_at..].to_vec(), times, sequence }
    }
}

/// One field of an encoded message.
struct Field {
    number: u64,
    /// Where its key stands.
    key: usize,
    /// Where its content stands, without the length.
    body: std::ops::Range<usize>,
    /// The number, if it is one.
    value: u64,
}

impl Field {
    /// The field at a place, which then moves behind it; `None` at the end of what this engine encodes.
    fn read(bytes: &[u8], at: &mut usize) -> Option<Self> {
        let key = *at;
        let tag = varint(bytes, at)?;
        let start = *at;
        let (body, value) = match tag & 7 {
            0 => {
                let value = varint(bytes, at)?;
                (start..*at, value)
            }
            1 => (start..start + 8, 0),
            2 => {
                let length = varint(bytes, at)? as usize;
                (*at..*at + length, 0)
            }
            5 => (start..start + 4, 0),
            _ => return None,
        };
        *at = body.end;
        Some(Self { number: tag >> 3, key, body, value })
    }
}

fn varint(bytes: &[u8], at: &mut usize) -> Option<u64> {
    let mut rest = bytes.get(*at..)?;
    let before = rest.len();
    let value = prost::encoding::decode_varint(&mut rest).ok()?;
    *at += before - rest.len();
    Some(value)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may stop at once")]
    use super::*;
    use crate::decode::{Decoded, decode};
    use crate::source::Record;

    const START: EventTime = EventTime::from_seconds(1_700_000_000);

    fn decoded(key: &str, message: &[u8]) -> Frame {
        let record = Record {
            offset: 0,
            timestamp: START + Span::from_seconds(100_000.0),
            key: bytes::Bytes::copy_from_slice(key.as_bytes()),
            value: bytes::Bytes::copy_from_slice(message),
            json: false,
        };
        match decode(&record) {
            Decoded::Frame(frame) => Frame::clone(&frame),
            other => panic!("{other:?}"),
        }
    }

    /// A simulated frame as another bed sends it, in a later cycle.
    fn moved(mut frame: Frame, bed: usize, sequence: u64, by: Span) -> Frame {
        frame.patient = PatientId::new(&patient(bed));
        frame.source = SourceId(source(bed).into());
        frame.session = START.micros() as u64;
        frame.sequence += sequence;
        frame.time = frame.time + by;
        frame.waves.iter_mut().for_each(|w| w.start = w.start + by);
        frame.observations.iter_mut().for_each(|o| o.observed_at = o.observed_at + by);
        frame
    }

    #[test]
    fn patched_frames_are_those_of_the_simulator() {
        let (beds, seconds) = (150, 300);
        let elsewhere = START + Span::from_seconds(77.0);
        let crowd = Crowd::draw(5, beds, elsewhere, seconds).starting(START);
        let mut simulated: Vec<Vec<Option<Frame>>> = Vec::new();
        for mut bed in ward(5, TEMPLATES, START) {
            simulated.push((0..seconds).map(|_| bed.next_second()).collect());
        }
        let (mut message, mut silent, mut observed) = (Vec::new(), 0, 0);
        for bed in (0..beds).step_by(3) {
            let template = &simulated[bed % TEMPLATES];
            let frames = template.iter().flatten().count() as u64;
            for second in (0..3 * seconds).step_by(7).chain([1, seconds + 1]) {
                let (cycle, at) = (second / seconds, (second % seconds) as usize);
                assert_eq!(crowd.frame(bed, second, &mut message), template[at].is_some());
                let Some(frame) = template[at].clone() else {
                    silent += 1;
                    continue;
                };
                let by = Span::from_seconds((cycle * seconds) as f64);
                let expected = moved(frame, bed, cycle * frames, by);
                observed += expected.observations.len();
                assert_eq!(decoded(crowd.patient(bed), &message), expected, "bed {bed} second {second}");
                assert_eq!(message, encode(&expected), "the bytes too");
            }
        }
        assert!(silent > 0 && observed > 1_000, "{silent} silent, {observed} observed");
    }

    #[test]
    fn a_run_is_repeatable_and_the_end_goes_on_counting() {
        let crowds = [9, 9, 8].map(|seed| Crowd::draw(seed, 70, START, 4));
        let frame = |c: &Crowd| {
            let mut message = Vec::new();
            assert!(c.frame(66, 11, &mut message));
            message
        };
        assert_eq!(frame(&crowds[0]), frame(&crowds[1]));
        assert_ne!(frame(&crowds[0]), frame(&crowds[2]));
        let last = decoded("bed-067", &frame(&crowds[0]));
        let end = crowds[0].end(66, 12);
        assert_eq!((end.sequence, end.time), (last.sequence + 1, last.time + Span::EPOCH));
        assert_eq!((&end.patient, &end.source, end.session), (&last.patient, &last.source, last.session));
        assert!(crowds[0].phase(69) < Span::EPOCH && crowds[0].phase(0) == Span::ZERO);
    }
}
