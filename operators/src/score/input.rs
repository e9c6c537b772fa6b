//! One input of a score: which channels can serve it, and whether what they hold can be used.
//! In: the values of a patient, a point of event time. Out: the first usable value by preference, in the
//! channel's canonical unit, or the reason why there is none and the value that was refused.

use crate::signal::{Channel, ChannelId, EventTime, Missing, Observed, Span, Unit, Values};

/// Values of lower quality are treated as absent.
pub const QUALITY_FLOOR: f32 = 0.5;

/// What an input does in a score.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It has points of its own.
    Scored,
    /// It changes how another input is scored.
    Modifier,
    /// It decides whether the score applies at all.
    Eligibility,
}

/// One input of a score.
#[derive(Debug)]
pub struct ScoreInput {
    /// Name in results.
    pub name: &'static str,
    /// Channels that can serve it, the preferred one first.
    pub channels: &'static [ChannelId],
    /// What it does.
    pub role: Role,
    /// How old a value may be for this score, on top of the validity that the value itself carries; none if
    /// that alone decides.
    pub max_age: Option<Span>,
    /// What it is, in one line.
    pub summary: &'static str,
}

/// A value and the channel that it came from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pick {
    /// Channel.
    pub channel: ChannelId,
    /// What it holds.
    pub seen: Observed,
}

/// No usable value, and the best of those that were refused.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Refused {
    /// Why it cannot be used.
    pub reason: Missing,
    /// The value in question, none if there never was one.
    pub pick: Option<Pick>,
}

/// How much older than a refused reading another channel's may be to stand in for it.
const STAND_IN: Span = Span::seconds_const(60);

impl Refused {
    /// Whether the refused reading is so much newer that the other must not stand in for it.
    fn outdates(&self, other: Observed) -> bool {
        let current = matches!(self.reason, Missing::LowQuality | Missing::Implausible);
        current && self.pick.is_some_and(|p| p.seen.observed_at - other.observed_at > STAND_IN)
    }
}

impl ScoreInput {
    /// The first usable value. If there is none, the reason is that of the most preferred channel which ever
    /// had a value.
    ///
    /// # Errors
    /// [`Refused`] if no channel holds a value that is valid, plausible and of sufficient quality.
    ///
    /// ```
    /// use auscult_operators::score::news2::PULSE_INPUT;
    /// use auscult_operators::signal::{ChannelId, EventTime, Missing, Observed, Origin, Values};
    /// let t = EventTime::from_seconds;
    /// let seen = |value, quality| Observed {
    ///     value, observed_at: t(0), valid_until: t(10), quality, origin: Origin::Reported,
    /// };
    /// let mut values = Values::default();
    /// values.store(ChannelId::named("heart_rate").unwrap(), seen(140.0, 0.2));
    /// assert_eq!(PULSE_INPUT.pick(&values, t(5)).unwrap_err().reason, Missing::LowQuality);
    /// values.store(ChannelId::named("pulse_rate").unwrap(), seen(88.0, 0.9));
    /// assert_eq!(PULSE_INPUT.pick(&values, t(5)).unwrap().seen.value, 88.0);
    /// ```
    pub fn pick(&self, values: &Values, now: EventTime) -> Result<Pick, Refused> {
        let mut refused = Refused { reason: Missing::NoData, pick: None };
        for &channel in self.channels {
            match self.usable(channel, values, now) {
                // A fresh reading that cannot be believed is not talked over by an older one: a cuff pressure of
                // half an hour ago says nothing of an arterial line that has just collapsed.
                Ok(seen) if refused.outdates(seen) => {}
                Ok(seen) => return Ok(Pick { channel, seen }),
                Err(reason) if refused.pick.is_none() => {
                    refused =
                        Refused { reason, pick: values.last(channel).map(|seen| Pick { channel, seen }) };
                }
                Err(_) => {}
            }
        }
        Err(refused)
    }

    /// The row of the preferred channel.
    pub fn first_channel(&self) -> Option<&'static Channel> {
        self.channels.first().map(|c| c.row())
    }

    /// What the channel holds, if it can be used.
    fn usable(&self, channel: ChannelId, values: &Values, now: EventTime) -> Result<Observed, Missing> {
        let seen = values.at(channel, now)?;
        let row = channel.row();
        let (low, high) = row.plausible;
        if self.max_age.is_some_and(|age| now - seen.observed_at > age) {
            return Err(Missing::Stale);
        }
        // Written so that NaN is refused as well.
        let plausible = seen.value >= low && seen.value <= high;
        let is_code = row.unit != Unit::Code || seen.value == libm::trunc(seen.value);
        if !plausible || !is_code {
            return Err(Missing::Implausible);
        }
        if seen.quality >= QUALITY_FLOOR { Ok(seen) } else { Err(Missing::LowQuality) }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may stop")]
mod tests {
    use super::*;
    use crate::signal::Origin;

    static PRESSURE: ScoreInput = ScoreInput {
        name: "systolic",
        channels: &[ChannelId::of("abp_sys"), ChannelId::of("nibp_sys")],
        role: Role::Scored,
        max_age: Some(Span::seconds_const(30)),
        summary: "",
    };
    #[test]
    fn a_collapsed_line_is_not_talked_over_by_an_old_cuff_reading() {
        let cuff = |at: i64| {
            let mut values = holding(&[("abp_sys", 12.0, 1.0)]);
            let seen = |value, at: i64| Observed {
                value,
                observed_at: t(at),
                valid_until: t(at + 3600),
                quality: 1.0,
                origin: Origin::Reported,
            };
            values.store(ChannelId::named("abp_sys").unwrap(), seen(12.0, 1000));
            values.store(ChannelId::named("nibp_sys").unwrap(), seen(137.0, at));
            let unlimited = ScoreInput { max_age: None, ..PRESSURE };
            unlimited.pick(&values, t(1005)).map(|p| p.seen.value).map_err(|r| r.reason)
        };
        assert_eq!(cuff(800), Err(Missing::Implausible));
        assert_eq!(cuff(939), Err(Missing::Implausible));
        assert_eq!(cuff(940), Ok(137.0));
    }

    static FLAG: ScoreInput = ScoreInput {
        name: "oxygen",
        channels: &[ChannelId::of("on_oxygen")],
        role: Role::Scored,
        max_age: None,
        summary: "",
    };

    fn t(s: i64) -> EventTime {
        EventTime::from_seconds(s)
    }

    fn holding(cells: &[(&str, f64, f32)]) -> Values {
        let mut values = Values::default();
        for &(name, value, quality) in cells {
            let seen =
                Observed { value, observed_at: t(0), valid_until: t(100), quality, origin: Origin::Reported };
            values.store(ChannelId::named(name).unwrap(), seen);
        }
        values
    }

    #[test]
    fn each_reason_for_absence() {
        let check = |input: &ScoreInput, cells: &[(&str, f64, f32)], at, expected| {
            let got = input.pick(&holding(cells), t(at)).map(|p| p.seen.value).map_err(|r| r.reason);
            assert_eq!(got, expected, "{cells:?} at {at}");
        };
        check(&PRESSURE, &[], 0, Err(Missing::NoData));
        check(&PRESSURE, &[("abp_sys", 120.0, 1.0)], 30, Ok(120.0));
        check(&PRESSURE, &[("abp_sys", 120.0, 1.0)], 31, Err(Missing::Stale));
        check(&PRESSURE, &[("abp_sys", 19.9, 1.0)], 1, Err(Missing::Implausible));
        check(&PRESSURE, &[("abp_sys", 20.0, 1.0)], 1, Ok(20.0));
        check(&PRESSURE, &[("abp_sys", 350.1, 1.0)], 1, Err(Missing::Implausible));
        check(&PRESSURE, &[("abp_sys", f64::NAN, 1.0)], 1, Err(Missing::Implausible));
        check(&PRESSURE, &[("abp_sys", 120.0, 0.5)], 1, Ok(120.0));
        check(&PRESSURE, &[("abp_sys", 120.0, 0.499)], 1, Err(Missing::LowQuality));
        check(&PRESSURE, &[("abp_sys", 120.0, f32::NAN)], 1, Err(Missing::LowQuality));
        check(&FLAG, &[("on_oxygen", 1.0, 1.0)], 99, Ok(1.0));
        check(&FLAG, &[("on_oxygen", 1.0, 1.0)], 100, Err(Missing::Stale));
        check(&FLAG, &[("on_oxygen", 0.5, 1.0)], 1, Err(Missing::Implausible));
    }

    #[test]
    fn the_preferred_channel_wins_if_it_can_be_used() {
        let check = |cells: &[(&str, f64, f32)], expected| {
            let pick = PRESSURE.pick(&holding(cells), t(1)).map(|p| p.channel.row().name);
            assert_eq!(pick.map_err(|r| (r.reason, r.pick.map(|p| p.channel.row().name))), expected);
        };
        check(&[("nibp_sys", 120.0, 1.0), ("abp_sys", 90.0, 1.0)], Ok("abp_sys"));
        check(&[("nibp_sys", 120.0, 1.0), ("abp_sys", 90.0, 0.1)], Ok("nibp_sys"));
        check(&[("nibp_sys", 0.0, 1.0), ("abp_sys", 90.0, 0.1)], Err((Missing::LowQuality, Some("abp_sys"))));
        check(&[("nibp_sys", 0.0, 1.0)], Err((Missing::Implausible, Some("nibp_sys"))));
    }
}
