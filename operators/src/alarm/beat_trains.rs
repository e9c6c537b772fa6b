//! Beats of one signal over the last seconds, and what is usual for it.
//! In: beats with time and height, the quality of their channel (0 to 1). Out: longest pauses in seconds, rates per
//! minute, usual interval and height.

use serde::{Deserialize, Serialize};

use crate::signal::{EventTime, Span};

/// How far back beats are looked at.
pub(super) const WINDOW: Span = Span::seconds_const(16);
/// Most beats kept: the window at 300 a minute, and some.
const BEATS_MAX: usize = 84;
/// Weight of one second in the quality: some eight seconds decide.
const QUALITY_WEIGHT: f32 = 0.125;
/// Weight of one beat in what is usual, and by how much one can differ, as a share of it: an episode of a few beats
/// does not move it.
const USUAL_WEIGHT: f64 = 0.05;
const USUAL_STEP: f64 = 0.3;
/// Beats that have to leave the window before anything is usual.
const USUAL_AFTER: u32 = 8;
/// A longer interval is no interval but a pause (s).
const PAUSE_S: f64 = 3.0;

/// A beat.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Seen {
    pub(super) time: EventTime,
    /// In the channel's unit, whatever its sign.
    pub(super) height: f32,
}

/// Beats of one signal.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Train {
    beats: Vec<Seen>,
    /// Last beat that left the window.
    left: Option<EventTime>,
    left_count: u32,
    interval_s: f64,
    height: f64,
    /// Of the channel, running.
    pub(super) quality: f32,
}

/// What is usual for a signal, as of before the window.
#[derive(Clone, Copy, Debug)]
pub(super) struct Usual {
    pub(super) per_minute: f64,
    pub(super) height: f64,
}

impl Train {
    /// Takes in the beats of an epoch, and the quality of their channel in it, if there is any.
    pub(super) fn follow(&mut self, end: EventTime, beats: impl Iterator<Item = Seen>, quality: Option<f64>) {
        for beat in beats {
            if self.beats.last().is_none_or(|last| beat.time > last.time) {
                if self.beats.len() == BEATS_MAX {
                    self.leave();
                }
                self.beats.push(beat);
            }
        }
        while self.beats.first().is_some_and(|b| b.time < end - WINDOW) {
            self.leave();
        }
        let quality = quality.unwrap_or(0.0) as f32;
        self.quality += QUALITY_WEIGHT * (quality - self.quality);
    }

    /// The oldest beat leaves, and becomes part of what is usual.
    fn leave(&mut self) {
        let gone = self.beats.remove(0);
        let height = f64::from(gone.height.abs().min(1e6));
        let before = self.left.replace(gone.time);
        let Some(interval) = before.map(|b| (gone.time - b).seconds()).filter(|i| *i <= PAUSE_S) else {
            return;
        };
        if self.left_count == 0 {
            (self.interval_s, self.height) = (interval, height);
        }
        // The first ones settle it.
        let weight = USUAL_WEIGHT.max(1.0 / f64::from(self.left_count + 1));
        let near = |usual: f64, x: f64| {
            let step = USUAL_STEP * usual;
            usual + weight * (x - usual).clamp(-step, step)
        };
        self.interval_s = near(self.interval_s, interval);
        self.height = near(self.height, height);
        self.left_count = self.left_count.saturating_add(1);
    }

    /// What is usual, once enough is known.
    pub(super) fn usual(&self) -> Option<Usual> {
        let known = self.left_count >= USUAL_AFTER && self.interval_s > 0.0;
        known.then(|| Usual { per_minute: 60.0 / self.interval_s, height: self.height })
    }

    /// Whether its beats, or their absence, can be believed.
    pub(super) fn can_be_believed(&self) -> bool {
        self.quality >= 0.7 && self.usual().is_some()
    }

    /// Beats after `from` and before `to`.
    pub(super) fn between(&self, from: EventTime, to: EventTime) -> &[Seen] {
        let at = |t: EventTime| self.beats.partition_point(|b| b.time < t);
        let (first, last) = (at(from), at(to));
        &self.beats[first..last.max(first)]
    }

    /// The longest time without a beat between two times, both ends included.
    pub(super) fn longest_pause(&self, from: EventTime, to: EventTime) -> (EventTime, EventTime) {
        let times = self.between(from, to).iter().map(|b| b.time).chain([to]);
        let mut before = from;
        let mut longest = (from, from);
        for time in times {
            if time - before > longest.1 - longest.0 {
                longest = (before, time);
            }
            before = time;
        }
        longest
    }

    /// Of all stretches of so many beats in a row those with the lowest and the highest rate, per minute.
    pub(super) fn rates(&self, beats: usize) -> Option<(Stretch<'_>, Stretch<'_>)> {
        let stretch = |w| Stretch::of(w);
        let mut all = self.beats.windows(beats.max(2)).map(stretch);
        let first = all.next()?;
        Some(all.fold((first, first), |(low, high), s| {
            (
                if s.per_minute < low.per_minute { s } else { low },
                if s.per_minute > high.per_minute { s } else { high },
            )
        }))
    }

    /// Whether a loaded state has the right shape.
    pub(super) fn sound(&self) -> bool {
        self.beats.len() <= BEATS_MAX
            && self.beats.windows(2).all(|w| w[0].time < w[1].time)
            && [self.interval_s, self.height, f64::from(self.quality)].iter().all(|x| x.is_finite())
    }
}

/// Beats in a row.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stretch<'a> {
    pub(super) beats: &'a [Seen],
    pub(super) per_minute: f64,
}

impl<'a> Stretch<'a> {
    fn of(beats: &'a [Seen]) -> Self {
        let span = (beats[beats.len() - 1].time - beats[0].time).seconds();
        Self { beats, per_minute: 60.0 * (beats.len() - 1) as f64 / span.max(1e-3) }
    }

    pub(super) fn first(&self) -> EventTime {
        self.beats[0].time
    }

    pub(super) fn last(&self) -> EventTime {
        self.beats[self.beats.len() - 1].time
    }
}
