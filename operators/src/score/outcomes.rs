//! Sets of points and of totals: what a score can still become while inputs are missing.
//! In: for each part the points that are possible. Out: every total that is possible, each with or without a
//! part at its red mark; from these the exact bounds of the total and of the level.

/// The greatest total that [`Outcomes`] can hold.
pub const GREATEST_TOTAL: u8 = 63;

/// A set of points, 0 to 63.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct PointSet(u64);

impl PointSet {
    /// No points at all: nothing is possible.
    pub const EMPTY: Self = Self(0);

    /// Exactly these points.
    pub const fn only(points: u8) -> Self {
        Self::EMPTY.with(points)
    }
    /// These points as well. Points above [`GREATEST_TOTAL`] are held as that.
    pub const fn with(self, points: u8) -> Self {
        let bit = if points > GREATEST_TOTAL { GREATEST_TOTAL } else { points };
        Self(self.0 | 1 << bit)
    }
    /// What is in either set.
    pub const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
    /// The points, rising.
    pub fn iter(self) -> impl Iterator<Item = u8> {
        let mut rest = self.0;
        std::iter::from_fn(move || {
            let next = rest.trailing_zeros();
            rest &= rest.wrapping_sub(1);
            u8::try_from(next).ok().filter(|&p| p <= GREATEST_TOTAL)
        })
    }
    /// The fewest points.
    pub fn low(self) -> Option<u8> {
        self.iter().next()
    }
    /// The most points.
    pub fn high(self) -> Option<u8> {
        self.0.checked_ilog2().and_then(|p| u8::try_from(p).ok())
    }
    /// The points if only one value is possible.
    pub fn sure(self) -> Option<u8> {
        if self.0.count_ones() == 1 { self.low() } else { None }
    }
}

/// Every total that is still possible, each remembered with and without a red part (a part whose points alone
/// call for action).
///
/// Alternatives that depend on each other (oxygen changes the points of SpO2) are built apart and joined by
/// [`Outcomes::or`], so the bounds are those of real patients and not sums of bounds.
///
/// ```
/// use auscult_operators::score::outcomes::{Outcomes, PointSet};
/// let known = Outcomes::START.plus(PointSet::only(2), 3);
/// let with_missing = known.plus(PointSet::only(0).with(3), 3);
/// assert_eq!(with_missing.iter().collect::<Vec<_>>(), [(2, false), (5, true)]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcomes {
    plain: u64,
    red: u64,
}

impl Outcomes {
    /// Nothing is possible: the start of a union.
    pub const NONE: Self = Self { plain: 0, red: 0 };
    /// A total of 0, before any part.
    pub const START: Self = Self { plain: 1, red: 0 };

    /// Adds a part that may have any of these points; from `red_at` points on it is red.
    pub fn plus(self, points: PointSet, red_at: u8) -> Self {
        points.iter().fold(Self::NONE, |sum, p| {
            let (plain, red) = (self.plain << p, self.red << p);
            sum.or(if p >= red_at { Self { plain: 0, red: plain | red } } else { Self { plain, red } })
        })
    }
    /// What is possible in either case.
    pub const fn or(self, other: Self) -> Self {
        Self { plain: self.plain | other.plain, red: self.red | other.red }
    }
    /// Each possible total and whether a part is red, rising, plain before red.
    pub fn iter(self) -> impl Iterator<Item = (u8, bool)> {
        PointSet(self.plain | self.red)
            .iter()
            .flat_map(|t| [(t, false), (t, true)])
            .filter(move |&(t, red)| (if red { self.red } else { self.plain }) >> t & 1 == 1)
    }
    /// The lowest and the highest total.
    pub fn range(self) -> Option<(u8, u8)> {
        let all = PointSet(self.plain | self.red);
        Some((all.low()?, all.high()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_know_their_ends_and_whether_they_are_sure() {
        let set = PointSet::only(3).or(PointSet::only(0));
        assert_eq!((set.low(), set.high(), set.sure()), (Some(0), Some(3), None));
        assert_eq!(PointSet::only(2).sure(), Some(2));
        assert_eq!((PointSet::EMPTY.low(), PointSet::EMPTY.sure()), (None, None));
        assert_eq!(PointSet::only(200), PointSet::only(GREATEST_TOTAL));
        let ends = PointSet::only(0).with(GREATEST_TOTAL);
        assert_eq!(ends.iter().collect::<Vec<_>>(), [0, GREATEST_TOTAL]);
        assert_eq!((ends.high(), PointSet::EMPTY.high()), (Some(GREATEST_TOTAL), None));
    }

    #[test]
    fn a_red_part_stays_red_whatever_is_added() {
        let o = Outcomes::START.plus(PointSet::only(3), 3).plus(PointSet::only(0).with(1), 3);
        assert_eq!(o.iter().collect::<Vec<_>>(), [(3, true), (4, true)]);
        assert_eq!(o.range(), Some((3, 4)));
        assert_eq!(Outcomes::NONE.range(), None);
    }

    #[test]
    fn impossible_parts_leave_nothing() {
        assert_eq!(Outcomes::START.plus(PointSet::EMPTY, 3), Outcomes::NONE);
    }
}
