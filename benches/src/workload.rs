//! The one workload of all benches, "ward": simulated beds of one kind, from one seed.
//! In: beds and seconds. Out: per bed and second one frame of two ECG leads at 250 Hz, pleth and arterial pressure at
//! 125 Hz, respiration at 62.5 Hz and numerics, decoded and as records of a log.

use std::sync::Arc;

use auscult::check::default_plan;
use auscult::plan::Plan;
use auscult::source::{Record, recording};
use auscult_datasets::simulate::Ward;
use auscult_operators::signal::{EventTime, Frame, PatientId};

/// Seed of the ward.
pub const SEED: u64 = 7;
/// First event time, in seconds since 1970.
pub const START_S: i64 = 1_700_000_000;
/// Different beds; a larger ward repeats them under other names.
pub const KINDS: usize = 100;

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
/// assert!(ward.iter().all(|f| f.waves.len() == 5));
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
    ward: Ward,
    kinds: usize,
    beds: usize,
}

impl Seconds {
    /// A ward of so many beds.
    pub fn new(beds: usize) -> Self {
        let kinds = beds.clamp(1, KINDS);
        Self { ward: Ward::new(SEED, kinds, EventTime::from_seconds(START_S)), kinds, beds }
    }

    /// One frame of every bed.
    pub fn next_second(&mut self) -> Vec<Frame> {
        let drawn: Vec<Frame> = self.ward.by_ref().take(self.kinds).collect();
        let named = |i: usize| {
            let mut frame = drawn[i % self.kinds].clone();
            frame.patient = PatientId::new(&format!("bed-{i:05}"));
            frame
        };
        (0..self.beds).map(named).collect()
    }
}
