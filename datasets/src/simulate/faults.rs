//! What networks and devices do to frames: doubled, swapped, late, lost, cut, with a wrong clock.
//! In: frames in time order, a plan, a seed. Out: the frames as they would arrive, and how many met which
//! fate.

use std::collections::BTreeMap;

use auscult_operators::signal::{EventTime, Frame, Span};

use super::Draw;

/// What to do to frames. Everything is off by default.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FaultPlan {
    /// Part of frames that come twice.
    pub duplicate: f64,
    /// Part of frames that come out of order.
    pub reorder: f64,
    /// By how many seconds of event time at most they are out of order.
    pub reorder_s: f64,
    /// Part of frames that come late.
    pub late: f64,
    /// By how many seconds of event time they are late.
    pub late_s: f64,
    /// Part of frames after which a gap begins.
    pub gap: f64,
    /// Length of a gap in seconds of event time: frames in it are lost.
    pub gap_s: f64,
    /// Seconds by which the device's clock is ahead.
    pub skew_s: f64,
    /// Seconds by which the device's clock gains in each second.
    pub drift: f64,
    /// No frame after so many seconds from the first one.
    pub cut_after_s: Option<f64>,
}

impl Default for FaultPlan {
    fn default() -> Self {
        Self {
            duplicate: 0.0,
            reorder: 0.0,
            reorder_s: 2.0,
            late: 0.0,
            late_s: 60.0,
            gap: 0.0,
            gap_s: 10.0,
            skew_s: 0.0,
            drift: 0.0,
            cut_after_s: None,
        }
    }
}

/// How many frames met which fate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FaultCounts {
    /// Frames taken in.
    pub taken: u64,
    /// Frames given out, doubles among them.
    pub given: u64,
    /// Second copies given out or still held.
    pub duplicated: u64,
    /// Frames held back for a while.
    pub reordered: u64,
    /// Frames held back for longer.
    pub late: u64,
    /// Frames lost in gaps or after the cut.
    pub lost: u64,
}

/// Frames with faults. Put one around each patient's frames: gaps and clocks belong to a device.
///
/// ```
/// use auscult_datasets::simulate::{FaultPlan, Faulty, Profile, SimulatedBed};
/// let plan = FaultPlan { duplicate: 1.0, ..FaultPlan::default() };
/// let mut faulty = Faulty::new(SimulatedBed::new(1, Profile::default()).take(3), plan, 9);
/// assert_eq!(faulty.by_ref().count(), 6);
/// assert_eq!(faulty.counts().duplicated, 3);
/// ```
#[derive(Clone, Debug)]
pub struct Faulty<I> {
    frames: I,
    plan: FaultPlan,
    draw: Draw,
    /// Frames held, by the time at which they come and the order in which they were taken.
    held: BTreeMap<(EventTime, u64), Frame>,
    /// Largest event time taken, before the clock's fault.
    now: Option<EventTime>,
    first: Option<EventTime>,
    gap_until: Option<EventTime>,
    order: u64,
    over: bool,
    counts: FaultCounts,
}

impl<I: Iterator<Item = Frame>> Faulty<I> {
    /// Frames with faults drawn by the seed.
    pub fn new(frames: I, plan: FaultPlan, seed: u64) -> Self {
        Self {
            frames,
            plan,
            draw: Draw::new(seed, 3),
            held: BTreeMap::new(),
            now: None,
            first: None,
            gap_until: None,
            order: 0,
            over: false,
            counts: FaultCounts::default(),
        }
    }

    /// Counts so far. Once the iterator has ended, `given = taken + duplicated - lost`.
    pub fn counts(&self) -> FaultCounts {
        self.counts
    }

    fn take(&mut self, mut frame: Frame) {
        self.counts.taken += 1;
        let time = frame.time;
        let first = *self.first.get_or_insert(time);
        self.now = self.now.max(Some(time));
        let plan = self.plan;
        // Every frame draws the same numbers, so that one fault more does not move all others.
        let [twice, swapped, late, gap, by] = std::array::from_fn(|_| self.draw.uniform());
        let cut = plan.cut_after_s.is_some_and(|s| time - first >= Span::from_seconds(s));
        if cut || self.gap_until.is_some_and(|until| time < until) {
            self.counts.lost += 1;
            return;
        }
        if gap < plan.gap {
            self.gap_until = Some(time + Span::EPOCH + Span::from_seconds(plan.gap_s));
        }
        let mut arrival = time;
        if late < plan.late {
            self.counts.late += 1;
            arrival = time + Span::from_seconds(plan.late_s);
        } else if swapped < plan.reorder {
            self.counts.reordered += 1;
            arrival = time + Span::from_seconds(plan.reorder_s * by);
        }
        shift_clock(&mut frame, first, &plan);
        if twice < plan.duplicate {
            self.counts.duplicated += 1;
            self.hold(arrival + Span::from_seconds(plan.reorder_s * by), frame.clone());
        }
        self.hold(arrival, frame);
    }

    fn hold(&mut self, arrival: EventTime, frame: Frame) {
        self.held.insert((arrival, self.order), frame);
        self.order += 1;
    }
}

impl<I: Iterator<Item = Frame>> Iterator for Faulty<I> {
    type Item = Frame;

    fn next(&mut self) -> Option<Frame> {
        loop {
            let due = self.held.first_key_value().is_some_and(|(key, _)| self.over || Some(key.0) < self.now);
            if due || self.over {
                let (_, frame) = self.held.pop_first()?;
                self.counts.given += 1;
                return Some(frame);
            }
            match self.frames.next() {
                Some(frame) => self.take(frame),
                None => self.over = true,
            }
        }
    }
}

/// Moves all times of a frame as a wrong clock would.
fn shift_clock(frame: &mut Frame, first: EventTime, plan: &FaultPlan) {
    let by = Span::from_seconds(plan.skew_s + plan.drift * (frame.time - first).seconds());
    if by == Span::ZERO {
        return;
    }
    frame.time = frame.time + by;
    for wave in &mut frame.waves {
        wave.start = wave.start + by;
    }
    for o in &mut frame.observations {
        o.observed_at = o.observed_at + by;
    }
}
