//! The usual beat of one ECG lead: a running average of its normal beats, free of baseline wander.
//! In: raw runs in mV and the times of QRS complexes. Out: after each normal beat the average on a grid of 4 ms (mV),
//! with its noise and the share of beats that are like it.
//!
//! Each beat waits until the next one is there. Straight lines between the levels before the QRS complexes (where the
//! heart is electrically silent) are taken away, beats are aligned by their QRS complex, and those that do not look
//! like the average (ectopic, noisy) are left out. If several in succession are unlike it, a new average begins.

use serde::{Deserialize, Serialize};

use crate::filter::dispatch::Far;
use crate::signal::{ChannelId, EventTime, Run, Span};
use crate::window::{Decimator, Ring, tame};

/// Time between two points of the grid (s).
pub const STEP_S: f64 = 0.004;
/// Most points of a beat.
pub const POINTS: usize = 288;

/// Rates that are read (Hz): those of the detector of QRS complexes.
const RATES: (f64, f64) = (100.0, 1000.0);
/// Samples are averaged to a rate of at least this (Hz).
const RATE: f64 = 250.0;
/// Samples of the lead that are kept (s): a beat waits for the next one, and that for its own verdict.
const KEPT_S: f64 = 4.0;
/// What no heart exceeds (mV).
const TALLEST: f32 = 50.0;
/// The isoelectric level is sought so long before the R wave, over so long (s).
const LEVEL_S: (f64, f64) = (-0.08, 0.02);
/// So long a beat waits for the next one (s); beats further apart share no line.
const WAIT_S: f64 = 2.0;
/// Beats that can wait at once.
const WAITING: usize = 16;
/// Points before the next R wave from which on a beat is not averaged.
const NEXT_POINTS: f64 = 25.0;
/// Points by which a beat may be moved to fit, either way.
const SHIFT: usize = 3;
/// Where a QRS complex lies around its R wave, in points.
const QRS: (usize, usize) = (20, 30);
/// Least correlation with the average, and how much smaller or larger a normal beat may be.
const ALIKE: f32 = 0.9;
const SCALE: (f32, f32) = (0.6, 1.6);
/// So many beats in succession unlike the average begin a new one.
const STRANGERS: u8 = 6;
/// Least height of a QRS complex: root mean square around its mean (mV).
const FAINT: f32 = 0.02;
/// Beats over which the share of normal ones is told.
const REMEMBERED: u32 = 32;

/// What became of a beat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is part of the average.
    Taken,
    /// It does not look like the average.
    Refused,
    /// The samples around it are not there.
    Cut,
}

/// The usual beat of one lead.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AverageBeat {
    channel: ChannelId,
    /// Rate after averaging, in Hz.
    rate: f64,
    source_rate: f64,
    decimator: Decimator,
    tape: Ring,
    /// Time of the newest number on the tape.
    newest: EventTime,
    waiting: Vec<EventTime>,
    /// Time and isoelectric level of the beat before.
    before: Option<(EventTime, f32)>,
    /// Points before the R wave, and in all.
    lead_in: u16,
    points: u16,
    /// Beats that count in the average.
    weight_beats: u16,
    mean: Vec<f32>,
    taken: u32,
    strangers: u8,
    /// Mean difference of a beat from the average outside its QRS complex (mV).
    residual: f32,
    /// A bit for each of the last beats: whether it was taken.
    history: u32,
    seen: u32,
}

impl AverageBeat {
    /// Nothing seen yet; `None` at a rate that is not read. The beat reaches from `before_s` before the R wave to
    /// `after_s` after it; about `weight_beats` of the last beats count.
    pub fn new(run: &Run<'_>, before_s: f64, after_s: f64, weight_beats: u16) -> Option<Self> {
        let source_rate = run.rate.get();
        if !(RATES.0..=RATES.1).contains(&source_rate) {
            return None;
        }
        let factor = (source_rate / RATE).floor().max(1.0);
        let lead_in = ((before_s / STEP_S) as usize).clamp(QRS.0, POINTS - 1 - QRS.1);
        let points = (lead_in + 1 + (after_s / STEP_S) as usize).clamp(lead_in + 1 + QRS.1, POINTS);
        Some(Self {
            channel: run.channel,
            rate: source_rate / factor,
            source_rate,
            decimator: Decimator::new(factor as u32),
            tape: Ring::for_span(source_rate / factor, KEPT_S),
            newest: run.start,
            waiting: Vec::with_capacity(WAITING),
            before: None,
            lead_in: lead_in as u16,
            points: points as u16,
            weight_beats: weight_beats.max(1),
            mean: Vec::with_capacity(points),
            taken: 0,
            strangers: 0,
            residual: 0.0,
            history: 0,
            seen: 0,
        })
    }

    /// The lead.
    pub fn channel(&self) -> ChannelId {
        self.channel
    }

    /// Whether a run goes on where the tape ends.
    pub fn continues(&self, run: &Run<'_>) -> bool {
        !run.reset && run.rate.get() == self.source_rate && run.channel == self.channel
    }

    /// Time of the newest sample.
    pub fn newest(&self) -> EventTime {
        self.newest
    }

    /// Adds samples.
    pub fn take(&mut self, run: &Run<'_>) {
        let factor = (self.source_rate / self.rate).round();
        let Self { decimator, tape, newest, source_rate, .. } = self;
        // A mean stands in the middle of its samples.
        let back = Span::from_seconds((factor - 1.0) / 2.0 / *source_rate);
        for (i, mv) in run.raw.iter().enumerate() {
            if let Some(mean) = decimator.push(tame(*mv, -TALLEST, TALLEST)) {
                tape.push(mean);
                *newest = run.time_of(i) - back;
            }
        }
    }

    /// Adds a QRS complex, in order of time.
    pub fn beat(&mut self, time: EventTime) {
        if self.waiting.last().is_none_or(|last| time > *last) {
            if self.waiting.len() == WAITING {
                self.waiting.remove(0);
            }
            self.waiting.push(time);
        }
    }

    /// Settles the next beat that has waited long enough, if any.
    pub fn settle(&mut self) -> Option<(EventTime, Fate)> {
        let time = *self.waiting.first()?;
        let next = self.waiting.get(1).copied().filter(|n| (*n - time).seconds() <= WAIT_S);
        let needed_s = (f64::from(self.points - self.lead_in) + SHIFT as f64 + 2.0) * STEP_S;
        let waited_s = (self.newest - time).seconds();
        if waited_s < needed_s || (next.is_none() && waited_s < WAIT_S) {
            return None;
        }
        self.waiting.remove(0);
        let fate = self.fold(time, next);
        let taken = u32::from(fate == Fate::Taken);
        self.history = self.history << 1 | taken;
        self.seen = (self.seen + 1).min(REMEMBERED);
        Some((time, fate))
    }

    /// The average so far, and where its R wave stands.
    pub fn mean(&self) -> (&[f32], usize) {
        (&self.mean, usize::from(self.lead_in))
    }

    /// Beats in the average, as many as count.
    pub fn beats(&self) -> u32 {
        self.taken.min(u32::from(self.weight_beats) * 2)
    }

    /// Share of the last beats that went into the average.
    pub fn share(&self) -> f32 {
        let bits = if self.seen >= 32 { u32::MAX } else { (1 << self.seen) - 1 };
        (self.history & bits).count_ones() as f32 / self.seen.max(1) as f32
    }

    /// Noise that is left in the average (mV): that of one beat over the root of the beats that count.
    pub fn noise(&self) -> f32 {
        self.residual / (self.beats().max(1) as f32).sqrt()
    }

    /// Notes where all of it lies.
    pub fn far(&self, to: &mut Far) {
        self.tape.far(to);
        to.add(&self.mean[..]);
        to.add(&self.waiting[..]);
    }

    /// Whether a state that was loaded can be used.
    pub fn sound(&self) -> bool {
        let sizes = usize::from(self.points) <= POINTS
            && usize::from(self.lead_in) + QRS.1 < usize::from(self.points)
            && usize::from(self.lead_in) >= QRS.0
            && self.waiting.len() <= WAITING
            && (self.mean.is_empty() || self.mean.len() == usize::from(self.points));
        let whole = self.rate >= RATES.0 && self.source_rate <= RATES.1 && self.source_rate >= self.rate;
        sizes && whole && self.weight_beats > 0 && self.mean.iter().all(|x| x.is_finite())
    }

    /// Where on the tape a time lies, counted from the oldest number.
    fn place(&self, time: EventTime) -> f64 {
        (self.tape.len() as f64 - 1.0) - (self.newest - time).seconds() * self.rate
    }

    /// The wave at a place between samples, by a cubic through the four around it.
    fn at(&self, place: f64) -> Option<f32> {
        let whole = place.floor();
        if whole < 1.0 || whole + 2.0 >= self.tape.len() as f64 {
            return None;
        }
        let (i, part) = (whole as usize, (place - whole) as f32);
        let [a, b, c, d] = [-1i64, 0, 1, 2].map(|k| self.tape.get((i as i64 + k) as usize).unwrap_or(0.0));
        let (one, two) = (c - a, 2.0 * a - 5.0 * b + 4.0 * c - d);
        Some(b + 0.5 * part * (one + part * (two + part * (3.0 * (b - c) + d - a))))
    }

    /// The isoelectric level before a beat.
    fn level(&self, time: EventTime) -> Option<f32> {
        let steps = (LEVEL_S.1 / STEP_S) as usize;
        let first = self.place(time) + LEVEL_S.0 * self.rate;
        let mut sum = 0.0;
        for k in 0..=steps {
            sum += self.at(first + k as f64 * STEP_S * self.rate)?;
        }
        Some(sum / (steps + 1) as f32)
    }

    /// Reads a beat off the tape, takes the baseline away, and puts it into the average if it is like it.
    fn fold(&mut self, time: EventTime, next: Option<EventTime>) -> Fate {
        let before = self.before.take().filter(|b| (time - b.0).seconds() <= WAIT_S);
        let mut beat = [0.0f32; POINTS + 2 * SHIFT];
        let n = usize::from(self.points) + 2 * SHIFT;
        let origin = self.place(time) - (f64::from(self.lead_in) + SHIFT as f64) * STEP_S * self.rate;
        for (i, x) in beat[..n].iter_mut().enumerate() {
            let Some(mv) = self.at(origin + i as f64 * STEP_S * self.rate) else { return Fate::Cut };
            *x = mv;
        }
        let Some(level) = self.level(time) else { return Fate::Cut };
        self.before = Some((time, level));
        let per_point = |other: Option<(EventTime, f32)>| {
            let (t, l) = other?;
            let points = ((t - time).seconds() / STEP_S) as f32;
            (points.abs() > 10.0).then(|| (l - level) / points)
        };
        let after = next.and_then(|t| Some((t, self.level(t)?)));
        let (left, right) = (per_point(before), per_point(after));
        // Where there is no beat on one side, the line of the other side goes on.
        let slopes = (left.or(right).unwrap_or(0.0), right.or(left).unwrap_or(0.0));
        let knot = (f64::from(self.lead_in) + SHIFT as f64 + LEVEL_S.0 / STEP_S) as f32;
        for (i, x) in beat[..n].iter_mut().enumerate() {
            let from = i as f32 - knot;
            *x -= level + from * if from < 0.0 { slopes.0 } else { slopes.1 };
        }
        // What lies so close before the next beat is a matter of that one.
        let room = next.map_or(f64::from(self.points), |t| (t - time).seconds() / STEP_S - NEXT_POINTS);
        let last = (room + f64::from(self.lead_in)).clamp(f64::from(self.lead_in), f64::from(self.points));
        self.add(&beat[..n], last as usize)
    }

    fn add(&mut self, beat: &[f32], last: usize) -> Fate {
        let (r, points) = (usize::from(self.lead_in), usize::from(self.points));
        let (from, to) = (r - QRS.0, r + QRS.1);
        if self.mean.is_empty() {
            self.mean.extend_from_slice(&beat[SHIFT..SHIFT + points]);
            (self.taken, self.strangers, self.residual) = (1, 0, 0.0);
            return Fate::Taken;
        }
        let mut best = (0, -1.0, 0.0);
        for shift in 0..=2 * SHIFT {
            let (alike, scale) = alike(&beat[shift + from..shift + to], &self.mean[from..to]);
            if alike > best.1 {
                best = (shift, alike, scale);
            }
        }
        let (shift, likeness, scale) = best;
        if likeness < ALIKE || !(SCALE.0..=SCALE.1).contains(&scale) {
            self.strangers += 1;
            if self.strangers >= STRANGERS {
                self.mean.clear();
                return self.add(beat, last);
            }
            return Fate::Refused;
        }
        self.strangers = 0;
        self.taken = self.taken.saturating_add(1);
        let weight = 1.0 / (self.taken.min(u32::from(self.weight_beats))) as f32;
        let mut apart = 0.0;
        for (i, (mean, x)) in self.mean.iter_mut().zip(&beat[shift..]).take(last.max(to)).enumerate() {
            let difference = x - *mean;
            if i < from {
                apart += difference.abs();
            }
            *mean += weight * difference;
        }
        // The average is not free of noise itself: so much larger the difference is.
        let apart = apart / from.max(1) as f32;
        self.residual += weight.max(0.1) * (apart - self.residual);
        Fate::Taken
    }
}

/// Correlation of a beat with the average, and its size relative to it.
fn alike(beat: &[f32], mean: &[f32]) -> (f32, f32) {
    let n = mean.len() as f32;
    let (x0, y0) = (beat.iter().sum::<f32>() / n, mean.iter().sum::<f32>() / n);
    let (mut xx, mut yy, mut xy) = (0.0f32, 0.0, 0.0);
    for (x, y) in beat.iter().zip(mean) {
        let (x, y) = (x - x0, y - y0);
        xx += x * x;
        yy += y * y;
        xy += x * y;
    }
    if xx < FAINT * FAINT * n || yy < FAINT * FAINT * n {
        return (0.0, 0.0);
    }
    (xy / (xx * yy).sqrt(), xy / yy)
}
