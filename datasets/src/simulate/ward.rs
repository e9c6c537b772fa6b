//! A ward: beds with a mix of patients and scripts, so that a demonstration shows something within minutes.
//! In: a seed, the number of beds, a start. Out: beds, or their frames second by second.

use auscult_operators::signal::{EventTime, Frame, PatientId, SourceId};

use super::script::{NAMES, Script, Vitals};
use super::{Draw, Profile, SimulatedBed};

/// One bed in so many is steady, beyond the first ones that show each script once.
const EVENTFUL_PART: f64 = 0.3;

/// Beds `bed-001` and on. The first beds play each script once, in the order of [`NAMES`] without `steady`,
/// each some 20 s after the one before; from there on about a third of the beds play a script drawn by the
/// seed, and play it again every half hour.
///
/// ```
/// use auscult_datasets::simulate::ward;
/// use auscult_operators::signal::EventTime;
/// let beds = ward(1, 12, EventTime::from_seconds(1_000));
/// assert_eq!(beds[2].patient().expose(), "bed-003");
/// assert_eq!(beds[2].profile().script.name, "arrest");
/// ```
pub fn ward(seed: u64, beds: usize, start: EventTime) -> Vec<SimulatedBed> {
    (0..beds).map(|i| bed(seed, i, beds, start)).collect()
}

fn bed(seed: u64, i: usize, beds: usize, start: EventTime) -> SimulatedBed {
    let mut draw = Draw::new(seed, 1_000 + i as u64);
    let shows = NAMES.len() - 1;
    // In a ward of fewer beds than scripts every bed plays one.
    let (name, onset_s) = if i < shows.min(beds) {
        (NAMES[i + 1], 30.0 + 20.0 * i as f64 + draw.between(0.0, 8.0))
    } else if draw.happens(EVENTFUL_PART) {
        (NAMES[1 + draw.below(shows)], draw.between(40.0, 1_200.0))
    } else {
        ("steady", 0.0)
    };
    let script = Script::named(name, onset_s).unwrap_or_else(Script::steady);
    let again_s = onset_s + draw.between(1_700.0, 2_100.0);
    let profile = Profile { script: script.repeating(again_s), ..patient(&mut draw) };
    let source = SourceId(format!("monitor-{:03}", i + 1).into());
    SimulatedBed::new(draw.bits(), profile)
        .named(PatientId::new(&format!("bed-{:03}", i + 1)), source, 1)
        .starting(start)
}

/// A patient drawn from a ward of adults who are not too ill.
fn patient(draw: &mut Draw) -> Profile {
    let systolic = draw.between(112.0, 138.0);
    let usual = Vitals {
        heart_rate: draw.between(62.0, 88.0),
        systolic,
        diastolic: systolic * draw.between(0.58, 0.64),
        resp_rate: draw.between(12.5, 18.0),
        spo2: draw.between(96.0, 99.0),
        temperature: draw.between(36.4, 37.3),
    };
    Profile {
        usual,
        age_years: libm::floor(draw.between(24.0, 89.0)),
        male: draw.happens(0.55),
        on_oxygen: false,
        has_abp: true,
        ectopy: if draw.happens(0.3) { draw.between(0.002, 0.03) } else { 0.0 },
        noise_mv: draw.between(0.006, 0.022),
        charted_every_s: 900,
        script: Script::steady(),
    }
}

/// Frames of a ward, second by second, bed after bed.
///
/// ```
/// use auscult_datasets::simulate::Ward;
/// use auscult_operators::signal::EventTime;
/// let frames: Vec<_> = Ward::new(1, 3, EventTime::from_seconds(1_000)).take(6).collect();
/// assert_eq!(frames[3].time, EventTime::from_seconds(1_001));
/// assert_eq!(frames[3].patient, frames[0].patient);
/// ```
#[derive(Clone, Debug)]
pub struct Ward {
    beds: Vec<SimulatedBed>,
    next: usize,
}

impl Ward {
    /// A ward by [`ward`].
    pub fn new(seed: u64, beds: usize, start: EventTime) -> Self {
        Self { beds: ward(seed, beds, start), next: 0 }
    }
    /// The beds, with their truth.
    pub fn beds(&self) -> &[SimulatedBed] {
        &self.beds
    }
    /// The last frames, one a bed, that say that nothing more comes.
    pub fn end(&mut self) -> Vec<Frame> {
        self.beds.iter_mut().map(SimulatedBed::end).collect()
    }
}

impl Iterator for Ward {
    type Item = Frame;

    fn next(&mut self) -> Option<Frame> {
        // Each bed is asked at most so often without an answer: a ward that is silent for a day is over.
        for _ in 0..self.beds.len().saturating_mul(86_400) {
            let i = self.next;
            self.next = (i + 1) % self.beds.len();
            if let Some(frame) = self.beds[i].next_second() {
                return Some(frame);
            }
        }
        None
    }
}
