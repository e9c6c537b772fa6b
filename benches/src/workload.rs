//! The one workload of all benches, "ward": simulated beds of one kind, from one seed.
//! In: beds and seconds. Out: per bed and second one frame of two ECG leads at 250 Hz, pleth and arterial pressure at
//! 125 Hz, respiration at 62.5 Hz and eight numerics, decoded and as records of a log.

use std::sync::Arc;

use auscult::check::default_plan;
use auscult::plan::Plan;
use auscult::source::{Record, recording};
use auscult::worker::Placed;
use auscult_datasets::simulate::{SimulatedBed, ward};
use auscult_operators::signal::frame::Observation;
use auscult_operators::signal::{ChannelId, EventTime, Frame, PatientId};

/// Seed of the ward.
pub const SEED: u64 = 7;
/// First event time, in seconds since 1970.
pub const START_S: i64 = 1_700_000_000;
/// Different beds; a larger ward repeats them under other names.
pub const KINDS: usize = 100;

/// What each frame says beside its waves: what the simulated monitor shows less often is repeated every second. The
/// value is that of a monitor which has not shown one yet.
pub const NUMERICS: [(&str, f64); 8] = [
    ("heart_rate", 76.0),
    ("pulse_rate", 76.0),
    ("resp_rate", 15.0),
    ("spo2", 97.0),
    ("abp_sys", 120.0),
    ("abp_dia", 75.0),
    ("abp_mean", 90.0),
    ("temperature", 36.8),
];

/// A ward of a given size.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    /// Beds.
    pub beds: usize,
    /// Seconds.
    pub seconds: usize,
}

/// Whether figures are wanted (`cargo bench`), or only that the bench works (`cargo test`).
pub fn measuring() -> bool {
    std::env::args().any(|a| a == "--bench")
}

/// The size given when measuring, a small one otherwise.
pub fn size(beds: usize, seconds: usize) -> Size {
    if measuring() { Size { beds, seconds } } else { Size { beds: beds.min(4), seconds: seconds.min(12) } }
}

/// The frames of a ward, second by second, each bed one frame a second.
///
/// ```
/// use auscult_benches::workload::{Size, frames, samples};
/// let ward = frames(Size { beds: 3, seconds: 4 });
/// assert_eq!(ward.len(), 12);
/// assert!(ward.iter().all(|f| f.waves.len() == 5 && f.observations.len() >= 8));
/// assert_eq!(samples(&ward), 3 * 4 * 812 + 3 * 2); // 62.5 Hz: 62 and 63 samples in turn
/// ```
pub fn frames(size: Size) -> Vec<Frame> {
    let mut seconds = Seconds::new(size.beds);
    (0..size.seconds).flat_map(|_| seconds.next_second()).collect()
}

/// Samples in frames.
pub fn samples(frames: &[Frame]) -> u64 {
    frames.iter().flat_map(|f| &f.waves).map(|w| w.samples.len() as u64).sum()
}

/// Frames as records of one partition.
pub fn records(frames: &[Frame], first_offset: i64) -> Vec<Record> {
    frames.iter().zip(first_offset..).map(|(f, offset)| recording::record(f, offset)).collect()
}

/// Frames with the places of their records, as if they were decoded.
pub fn placed(frames: Vec<Frame>, first_offset: i64) -> Vec<Placed> {
    let place = |(frame, offset): (Frame, i64)| {
        let timestamp = recording::timestamp(&frame);
        Placed { offset, timestamp, frame: Arc::new(frame) }
    };
    frames.into_iter().zip(first_offset..).map(place).collect()
}

/// The shipped plan without the live view. Telling features and beats costs nothing in a service that does not ask
/// for them, so only the digest of a run asks.
///
/// # Panics
/// If the shipped configuration is at fault, which its own tests find first.
pub fn plan(tell_all: bool) -> Arc<Plan> {
    let mut plan = default_plan().expect("the shipped configuration holds together");
    (plan.live, plan.features, plan.beats) = (false, tell_all, tell_all);
    Arc::new(plan)
}

/// A ward that is drawn second by second, so that a large one need not be held.
pub struct Seconds {
    kinds: Vec<SimulatedBed>,
    beds: usize,
    /// Of each kind of bed what its monitor shows.
    shown: Vec<[f64; NUMERICS.len()]>,
}

impl Seconds {
    /// A ward of so many beds.
    pub fn new(beds: usize) -> Self {
        let kinds = beds.clamp(1, KINDS);
        let shown = vec![NUMERICS.map(|n| n.1); kinds];
        Self { kinds: ward(SEED, kinds, EventTime::from_seconds(START_S)), beds, shown }
    }

    /// One frame of every bed that sends one, drawn as it is asked for.
    pub fn next_second(&mut self) -> impl Iterator<Item = Frame> + use<> {
        let draw = |(bed, shown): (&mut SimulatedBed, &mut [f64; NUMERICS.len()])| {
            let mut frame = bed.next_second()?;
            complete(&mut frame, shown);
            Some(frame)
        };
        let drawn: Vec<Option<Frame>> = self.kinds.iter_mut().zip(&mut self.shown).map(draw).collect();
        (0..self.beds).filter_map(move |i| {
            let mut frame = drawn[i % drawn.len()].clone()?;
            frame.patient = PatientId::new(&format!("bed-{i:05}"));
            Some(frame)
        })
    }
}

/// Repeats what the monitor shows and the frame does not say.
fn complete(frame: &mut Frame, shown: &mut [f64; NUMERICS.len()]) {
    for ((name, _), shown) in NUMERICS.iter().zip(shown) {
        let Some(channel) = ChannelId::named(name) else { continue };
        match frame.observations.iter().find(|o| o.channel == channel) {
            Some(said) => *shown = said.value.unwrap_or(*shown),
            None => frame.observations.push(Observation {
                channel,
                observed_at: frame.time,
                value: Some(*shown),
                quality: 1.0,
            }),
        }
    }
}
