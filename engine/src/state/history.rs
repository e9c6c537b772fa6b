//! What time it was at which place in the log.
//! In: one point a second of partition time. Out: the latest point at or below an offset: a place from which the log
//! can be read again as if it had been read from its start.

use std::collections::VecDeque;

use auscult_operators::signal::EventTime;

/// Points kept; beyond, every second one is dropped, which only makes a later start a little earlier.
const MOST: usize = 8_192;

/// A place in the log: an offset, and the partition time before the record there, `None` before the first.
pub(crate) type Point = (i64, Option<EventTime>);

/// Points in the order of the log. The first is never after what is still needed.
pub(super) struct History {
    points: VecDeque<Point>,
}

impl History {
    pub(super) fn new(first: Point) -> Self {
        Self { points: VecDeque::from([first]) }
    }

    /// Adds a point, no earlier than the last.
    pub(super) fn push(&mut self, point: Point) {
        if self.points.back().is_some_and(|p| p.0 == point.0) {
            return;
        }
        if self.points.len() >= MOST {
            let mut keep = false;
            self.points.retain(|_| {
                keep = !keep;
                keep
            });
        }
        self.points.push_back(point);
    }

    /// The latest point at or below the offset. What is before it is forgotten: the offset that is asked for only ever
    /// rises.
    pub(super) fn at(&mut self, offset: i64) -> Point {
        while self.points.get(1).is_some_and(|p| p.0 <= offset) {
            self.points.pop_front();
        }
        self.points.front().copied().unwrap_or((0, None))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_point_at_or_below() {
        let t = |s| Some(EventTime::from_seconds(s));
        let mut history = History::new((0, None));
        (1..5).for_each(|n| history.push((10 * n, t(n))));
        assert_eq!(history.at(9), (0, None));
        assert_eq!(history.at(10), (10, t(1)));
        assert_eq!(history.at(39), (30, t(3)));
        // Many points thin out, and the first stays.
        (5..30_000).for_each(|n| history.push((10 * n, t(n))));
        assert!(history.points.len() <= MOST);
        assert_eq!(history.at(35), (30, t(3)));
    }
}
