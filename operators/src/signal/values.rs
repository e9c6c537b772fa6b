//! The last known value of every quantity of one patient, each with the time until which it may be used.
//! In: observations and derived features. Out: a value that is still valid, or the reason why there is none.

use serde::{Deserialize, Serialize};

use super::{CHANNELS, ChannelId, EventTime, Missing};

/// Where a value came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// Sent by a device, a laboratory or a person.
    Reported,
    /// Computed here from a waveform.
    Derived,
}

/// A value and how long it may be believed.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Observed {
    /// Value in the channel's canonical unit.
    pub value: f64,
    /// When it was observed.
    pub observed_at: EventTime,
    /// From here on the value is absent.
    pub valid_until: EventTime,
    /// 0 to 1.
    pub quality: f32,
    /// Reported or derived.
    pub origin: Origin,
}

/// Last value of every channel of one patient.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(from = "SavedValues", into = "SavedValues")]
pub struct Values {
    /// Of each channel one more than the place of its value among those held, 0 if there is none: most are never seen.
    places: [u8; CHANNELS.len()],
    held: Vec<Observed>,
    /// Quantities that were looked for and not there, and when: what was reported before is no longer true. A newer
    /// report strikes them off.
    absent: Vec<(ChannelId, EventTime)>,
}

/// Values as they are saved, by channel.
#[derive(Serialize, Deserialize)]
struct SavedValues {
    slots: Vec<Option<Observed>>,
    absent: Vec<(ChannelId, EventTime)>,
}

impl From<Values> for SavedValues {
    fn from(values: Values) -> Self {
        Self { slots: ChannelId::all().map(|c| values.last(c)).collect(), absent: values.absent }
    }
}

impl From<SavedValues> for Values {
    fn from(saved: SavedValues) -> Self {
        let mut values = Self { absent: saved.absent, ..Self::default() };
        for (channel, slot) in ChannelId::all().zip(saved.slots) {
            slot.into_iter().for_each(|v| values.put(channel, v));
        }
        values
    }
}

impl PartialEq for Values {
    fn eq(&self, other: &Self) -> bool {
        self.absent == other.absent && ChannelId::all().all(|c| self.last(c) == other.last(c))
    }
}

impl Default for Values {
    fn default() -> Self {
        Self { places: [0; CHANNELS.len()], held: Vec::new(), absent: Vec::new() }
    }
}

impl Values {
    /// Notes where they lie, see [`Far`](crate::filter::dispatch::Far).
    pub fn far(&self, to: &mut crate::filter::dispatch::Far) {
        to.add(&self.held[..]);
        to.add(&self.absent[..]);
    }

    /// Stores an observation unless a newer one is there. A value derived here never replaces a reported one
    /// that is still valid when the derived one was made; a reported one that came when it was no longer valid
    /// never replaces a derived one, nor does one from before the quantity was reported absent.
    pub fn store(&mut self, channel: ChannelId, new: Observed) {
        if new.origin == Origin::Reported {
            if self.absent.iter().any(|a| a.0 == channel && a.1 > new.observed_at) {
                return;
            }
            self.absent.retain(|a| a.0 != channel);
        }
        let keep = self.last(channel).is_some_and(|old| {
            let newer = old.observed_at > new.observed_at;
            let outranks = old.origin == Origin::Reported
                && new.origin == Origin::Derived
                && old.valid_until > new.observed_at;
            let outdated = old.origin == Origin::Derived
                && new.origin == Origin::Reported
                && new.valid_until <= old.observed_at;
            newer && old.origin == new.origin || outranks || outdated
        });
        if !keep {
            self.put(channel, new);
        }
    }

    fn put(&mut self, channel: ChannelId, new: Observed) {
        let Some(place) = self.places.get_mut(channel.index()) else { return };
        match self.held.get_mut(usize::from(*place).wrapping_sub(1)) {
            Some(old) => *old = new,
            None => {
                self.held.push(new);
                *place = self.held.len() as u8;
            }
        }
    }

    fn remove(&mut self, channel: ChannelId) {
        let Some(place) = self.places.get_mut(channel.index()).map(std::mem::take).filter(|p| *p > 0) else {
            return;
        };
        // The last one takes its place.
        let last = self.held.len() as u8;
        self.held.swap_remove(usize::from(place) - 1);
        if let Some(moved) = self.places.iter_mut().find(|p| **p == last) {
            *moved = place;
        }
    }

    /// A channel was looked for at this time and is not there. What was observed before does not count any more, even
    /// if it arrives later; what was observed since stands.
    ///
    /// ```
    /// use auscult_operators::signal::{ChannelId, EventTime, Missing, Observed, Origin, Values};
    /// let spo2 = ChannelId::named("spo2").unwrap();
    /// let t = EventTime::from_seconds;
    /// let seen = |at| Observed {
    ///     value: 97.0, observed_at: t(at), valid_until: t(at + 60), quality: 1.0, origin: Origin::Reported,
    /// };
    /// let mut v = Values::default();
    /// v.clear(spo2, t(5));
    /// v.store(spo2, seen(4));
    /// assert_eq!(v.at(spo2, t(6)), Err(Missing::NoData));
    /// v.store(spo2, seen(6));
    /// v.clear(spo2, t(5));
    /// assert_eq!(v.at(spo2, t(6)).unwrap().value, 97.0);
    /// ```
    pub fn clear(&mut self, channel: ChannelId, looked_at: EventTime) {
        match self.last(channel) {
            Some(v) if v.observed_at > looked_at && v.origin == Origin::Reported => return,
            Some(v) if v.observed_at > looked_at => {}
            _ => self.remove(channel),
        }
        match self.absent.iter_mut().find(|a| a.0 == channel) {
            Some(absent) => absent.1 = absent.1.max(looked_at),
            None => self.absent.push((channel, looked_at)),
        }
    }

    /// The value of a channel as of `now`.
    ///
    /// # Errors
    /// [`Missing::NoData`] if there never was one, [`Missing::Stale`] if it is past its validity,
    /// [`Missing::Implausible`] if it lies outside the channel's plausible range.
    ///
    /// ```
    /// use auscult_operators::signal::{ChannelId, EventTime, Missing, Observed, Origin, Values};
    /// let spo2 = ChannelId::named("spo2").unwrap();
    /// let t = EventTime::from_seconds;
    /// let mut v = Values::default();
    /// assert_eq!(v.at(spo2, t(0)), Err(Missing::NoData));
    /// let (observed_at, valid_until, origin) = (t(0), t(15), Origin::Reported);
    /// v.store(spo2, Observed { value: 97.0, observed_at, valid_until, quality: 1.0, origin });
    /// assert_eq!(v.at(spo2, t(14)).unwrap().value, 97.0);
    /// assert_eq!(v.at(spo2, t(15)), Err(Missing::Stale));
    /// ```
    pub fn at(&self, channel: ChannelId, now: EventTime) -> Result<Observed, Missing> {
        match self.last(channel) {
            None => Err(Missing::NoData),
            Some(v) if now >= v.valid_until => Err(Missing::Stale),
            Some(v) if !channel.row().is_plausible(v.value) => Err(Missing::Implausible),
            Some(v) => Ok(v),
        }
    }

    /// The last value of a channel, valid or not.
    pub fn last(&self, channel: ChannelId) -> Option<Observed> {
        let place = self.places.get(channel.index())?;
        self.held.get(usize::from(*place).wrapping_sub(1)).copied()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may stop")]
mod tests {
    use super::*;

    /// What stands after each store: `r` reported or `d` derived, observed at, valid until; the value is that time.
    #[allow(clippy::type_complexity, reason = "a table of cases")]
    #[test]
    fn precedence() {
        let t = EventTime::from_seconds;
        let channel = ChannelId::named("heart_rate").unwrap();
        let cases: [(&[(char, i64, i64)], f64); 9] = [
            (&[('r', 1, 11), ('r', 2, 12)], 2.0),
            (&[('r', 2, 12), ('r', 1, 11)], 2.0),
            (&[('r', 2, 12), ('r', 2, 12)], 2.0),
            (&[('d', 5, 15), ('d', 4, 14)], 5.0),
            // A reported value goes before a derived one as long as it is valid, and no longer.
            (&[('r', 2, 12), ('d', 11, 21)], 2.0),
            (&[('r', 2, 12), ('d', 12, 22)], 12.0),
            (&[('d', 5, 15), ('r', 4, 14)], 4.0),
            // One that comes when it is no longer valid changes nothing.
            (&[('d', 20, 30), ('r', 10, 20)], 20.0),
            (&[('d', 20, 30), ('r', 11, 21)], 11.0),
        ];
        for (stores, expected) in cases {
            let mut values = Values::default();
            for (origin, at, until) in stores {
                let origin = if *origin == 'r' { Origin::Reported } else { Origin::Derived };
                let (observed_at, valid_until) = (t(*at), t(*until));
                let value = *at as f64;
                values.store(channel, Observed { value, observed_at, valid_until, quality: 1.0, origin });
            }
            assert_eq!(values.last(channel).map(|v| v.value), Some(expected), "{stores:?}");
        }
    }

    #[test]
    fn values_of_many_channels_are_kept_apart_and_survive_saving() {
        let t = EventTime::from_seconds;
        let channels: Vec<ChannelId> = ChannelId::all().collect();
        let (mut values, mut plain) = (Values::default(), vec![None; channels.len()]);
        for step in 0..400_usize {
            let at = step * 37 % channels.len();
            if step % 3 == 1 {
                values.clear(channels[at], t(step as i64));
                plain[at] = None;
            } else {
                let (value, observed_at) = (step as f64, t(step as i64 + 1));
                let (valid_until, origin) = (t(step as i64 + 60), Origin::Reported);
                values
                    .store(channels[at], Observed { value, observed_at, valid_until, quality: 1.0, origin });
                plain[at] = Some(value);
            }
            let held: Vec<Option<f64>> = channels.iter().map(|c| values.last(*c).map(|v| v.value)).collect();
            assert_eq!(held, plain, "after {step}");
        }
        let saved: Values = postcard::from_bytes(&postcard::to_stdvec(&values).unwrap()).unwrap();
        assert_eq!(saved, values);
        values.clear(channels[1], t(1000));
        assert_ne!(saved, values);
    }

    /// What stands after each word: `r` reported or `d` derived at a time, `a` absent as of a time.
    #[allow(clippy::type_complexity, reason = "a table of cases")]
    #[test]
    fn an_absence_stands_against_what_was_observed_before() {
        let t = EventTime::from_seconds;
        let channel = ChannelId::named("heart_rate").unwrap();
        let cases: [(&[(char, i64)], Option<f64>); 10] = [
            (&[('r', 1), ('a', 2)], None),
            (&[('a', 2), ('r', 1)], None),
            (&[('r', 1), ('a', 3), ('r', 2)], None),
            (&[('a', 2), ('r', 2)], Some(2.0)),
            (&[('a', 2), ('r', 3), ('a', 1)], Some(3.0)),
            (&[('a', 2), ('r', 3), ('r', 1)], Some(3.0)),
            // The later of two absences counts, in whatever order they come.
            (&[('a', 5), ('a', 2), ('r', 3)], None),
            // What is derived here has its own evidence.
            (&[('a', 5), ('d', 4)], Some(4.0)),
            (&[('d', 6), ('a', 5)], Some(6.0)),
            (&[('d', 6), ('a', 5), ('r', 4)], Some(6.0)),
        ];
        for (said, expected) in cases {
            let mut values = Values::default();
            for (word, at) in said {
                let origin = if *word == 'r' { Origin::Reported } else { Origin::Derived };
                let (value, observed_at, valid_until) = (*at as f64, t(*at), t(*at + 60));
                match word {
                    'a' => values.clear(channel, t(*at)),
                    _ => values
                        .store(channel, Observed { value, observed_at, valid_until, quality: 1.0, origin }),
                }
            }
            assert_eq!(values.last(channel).map(|v| v.value), expected, "{said:?}");
            assert!(values.absent.len() <= 1, "one word a quantity");
        }
    }
}
