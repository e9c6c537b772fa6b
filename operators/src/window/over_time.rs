//! Windows over event time: one after another, sliding, and as long as something goes on.
//! In: event times, in order, with numbers in any unit. Out: the window that a time lies in, the numbers of the last
//! while, counts, times since, and stretches that have ended. A late time is refused, not sorted in.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::signal::{EventTime, Span};

/// The start of the window of length `len` that a time lies in; windows follow one another from 1970 on. A length below
/// one microsecond counts as one.
///
/// ```
/// use auscult_operators::signal::{EventTime, Span};
/// use auscult_operators::window::over_time::tumbling;
/// let (minute, t) = (Span::seconds_const(60), EventTime::from_seconds(125));
/// assert_eq!(tumbling(t, minute), EventTime::from_seconds(120));
/// assert_eq!(tumbling(EventTime::from_seconds(-1), minute), EventTime::from_seconds(-60));
/// ```
pub fn tumbling(time: EventTime, len: Span) -> EventTime {
    EventTime::from_micros(time.micros() - time.micros().rem_euclid(len.micros().max(1)))
}

/// The numbers of the last while, at most so many; of more the oldest go first.
///
/// ```
/// use auscult_operators::signal::{EventTime, Span};
/// use auscult_operators::window::over_time::Sliding;
/// let at = EventTime::from_seconds;
/// let mut last = Sliding::new(Span::seconds_const(60), 100);
/// assert!(last.push(at(0), 1.0) && last.push(at(30), 2.0) && !last.push(at(20), 9.0));
/// last.forget(at(70));
/// assert_eq!((last.count(), last.since(at(70))), (1, Some(Span::seconds_const(40))));
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sliding {
    len: Span,
    most: u32,
    held: VecDeque<(EventTime, f32)>,
}

impl Sliding {
    /// An empty window.
    pub fn new(len: Span, most: u32) -> Self {
        Self { len, most: most.max(1), held: VecDeque::new() }
    }

    /// Adds a number; refuses one that is older than the newest.
    pub fn push(&mut self, time: EventTime, value: f32) -> bool {
        if self.held.back().is_some_and(|(last, _)| *last > time) {
            return false;
        }
        while self.held.len() >= self.most.max(1) as usize {
            self.held.pop_front();
        }
        self.held.push_back((time, value));
        true
    }

    /// Lets go of what is not after `now` less the length of the window.
    pub fn forget(&mut self, now: EventTime) {
        while self.held.front().is_some_and(|(time, _)| *time <= now - self.len) {
            self.held.pop_front();
        }
    }

    /// How many numbers are held.
    pub fn count(&self) -> usize {
        self.held.len()
    }

    /// Time since the newest.
    pub fn since(&self, now: EventTime) -> Option<Span> {
        self.held.back().map(|(time, _)| now - *time)
    }

    /// Times and numbers, oldest first.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (EventTime, f32)> + '_ {
        self.held.iter().copied()
    }
}

/// A stretch of time in which something happened again and again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// First time.
    pub start: EventTime,
    /// Last time.
    pub end: EventTime,
    /// How often.
    pub count: u32,
}

/// Joins times that are no more than `gap` apart.
///
/// ```
/// use auscult_operators::signal::{EventTime, Span};
/// use auscult_operators::window::over_time::Sessions;
/// let at = EventTime::from_seconds;
/// let mut apnoeas = Sessions::new(Span::seconds_const(30));
/// assert_eq!([at(0), at(20), at(50)].map(|t| apnoeas.push(t)), [None; 3]);
/// let over = apnoeas.push(at(90)).unwrap();
/// assert_eq!((over.start, over.end, over.count), (at(0), at(50), 3));
/// assert_eq!(apnoeas.close(at(120)), None);
/// assert_eq!(apnoeas.close(at(121)).unwrap().count, 1);
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sessions {
    gap: Span,
    open: Option<Session>,
}

impl Sessions {
    /// No stretch yet.
    pub fn new(gap: Span) -> Self {
        Self { gap, open: None }
    }

    /// Takes in a time; gives the stretch that it ends, if it does not go on with it. A late time changes nothing.
    pub fn push(&mut self, time: EventTime) -> Option<Session> {
        match &mut self.open {
            Some(open) if time < open.end => None,
            Some(open) if time - open.end <= self.gap => {
                (open.end, open.count) = (time, open.count.saturating_add(1));
                None
            }
            _ => self.open.replace(Session { start: time, end: time, count: 1 }),
        }
    }

    /// Gives the stretch that can no longer go on, as it is now so late.
    pub fn close(&mut self, now: EventTime) -> Option<Session> {
        self.open.take_if(|open| now - open.end > self.gap)
    }

    /// The stretch that goes on.
    pub fn open(&self) -> Option<Session> {
        self.open
    }
}
