//! From what is known of a patient to the row that a model declared.
//! In: the patient's values and readings, the event time. Out: one value or the reason for its absence per input, in
//! the model's order and in the engine's units (the manifest was refused if the model's differ).

use auscult_operators::signal::{ChannelId, EventTime, Missing, Reading, Span, Values};

use crate::manifest::{Input, Manifest};
use crate::predict::Row;

/// How old a reading may be if its input states no `max_age_s`. Channels have their own validity.
pub const READING_AGE: Span = Span::seconds_const(60);

/// Finds the last reading of a name, of one channel if one is named.
pub type Readings<'a> = dyn Fn(&str, Option<ChannelId>) -> Option<Reading> + 'a;

/// The row of one patient as of `now`. A missing value stays missing: what that means is the model's policy, applied
/// when the row is answered.
///
/// ```
/// use auscult_models::{Registry, features::row};
/// use auscult_operators::signal::{ChannelId, EventTime, Missing, Observed, Origin, Values};
/// let registry = Registry::embedded();
/// let manifest = &registry.find("sepsis_vitals").unwrap().manifest;
/// let (spo2, t) = (ChannelId::named("spo2").unwrap(), EventTime::from_seconds);
/// let mut values = Values::default();
/// let (observed_at, valid_until, origin) = (t(0), t(60), Origin::Reported);
/// values.store(spo2, Observed { value: 93.0, observed_at, valid_until, quality: 1.0, origin });
/// let early = row(manifest, &values, &|_, _| None, t(30));
/// assert_eq!(early.inputs[0], Err(Missing::NoData)); // heart rate
/// assert_eq!(early.inputs[1], Ok(93.0));
/// assert_eq!(row(manifest, &values, &|_, _| None, t(60)).inputs[1], Err(Missing::Stale));
/// ```
pub fn row(manifest: &Manifest, values: &Values, readings: &Readings<'_>, now: EventTime) -> Row {
    Row { inputs: manifest.inputs.iter().map(|i| value(i, values, readings, now)).collect() }
}

/// The most recent valid value among the features of an input; of equally recent ones the first. If there is none,
/// the reason is that of the first feature.
fn value(input: &Input, values: &Values, readings: &Readings<'_>, now: EventTime) -> Result<f64, Missing> {
    let mut best: Result<(f64, EventTime), Missing> = Err(Missing::NoData);
    for (n, feature) in input.features().enumerate() {
        let found = one(feature, input, values, readings, now);
        let better = match (&best, &found) {
            (Ok((_, before)), Ok((_, time))) => time > before,
            (Err(_), Ok(_)) => true,
            (_, Err(_)) => n == 0,
        };
        if better {
            best = found;
        }
    }
    best.map(|(value, _)| value)
}

/// The value of one feature and when it was observed.
fn one(
    feature: &str,
    input: &Input,
    values: &Values,
    readings: &Readings<'_>,
    now: EventTime,
) -> Result<(f64, EventTime), Missing> {
    let limit = input.max_age_s.map(Span::from_seconds);
    let (value, quality, time, limit) = match ChannelId::named(feature) {
        Some(channel) => {
            let seen = values.at(channel, now)?;
            (seen.value, seen.quality, seen.observed_at, limit)
        }
        None => {
            let channel = input.channel.as_deref().and_then(ChannelId::named);
            let reading = readings(feature, channel).ok_or(Missing::NoData)?;
            (reading.value?, reading.quality, reading.time, Some(limit.unwrap_or(READING_AGE)))
        }
    };
    if limit.is_some_and(|l| now - time > l) {
        return Err(Missing::Stale);
    }
    // Written so that a quality that is not a number is low.
    let good = quality >= input.min_quality;
    if !good {
        return Err(Missing::LowQuality);
    }
    if value.is_finite() { Ok((value, time)) } else { Err(Missing::Implausible) }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may stop at once")]
mod tests {
    use super::*;
    use crate::Registry;
    use auscult_operators::signal::{Observed, Origin};

    fn manifest(change: impl Fn(&mut Input)) -> Manifest {
        let mut m = Registry::embedded().find("sepsis_vitals").unwrap().manifest.clone();
        m.inputs.truncate(1);
        change(&mut m.inputs[0]);
        m
    }

    fn values(quality: f32, value: f64) -> Values {
        let mut v = Values::default();
        let t = EventTime::from_seconds;
        let heart_rate = ChannelId::named("heart_rate").unwrap();
        let seen =
            Observed { value, observed_at: t(100), valid_until: t(110), quality, origin: Origin::Derived };
        v.store(heart_rate, seen);
        v
    }

    #[test]
    fn age_limit_and_quality_make_a_channel_missing() {
        let at = |m: &Manifest, v: &Values, s| row(m, v, &|_, _| None, EventTime::from_seconds(s)).inputs[0];
        let (plain, v) = (manifest(|_| ()), values(0.5, 80.0));
        assert_eq!(at(&plain, &v, 109), Ok(80.0));
        assert_eq!(at(&plain, &v, 110), Err(Missing::Stale));
        let young = manifest(|i| i.max_age_s = Some(5.0));
        assert_eq!((at(&young, &v, 105), at(&young, &v, 106)), (Ok(80.0), Err(Missing::Stale)));
        let choosy = manifest(|i| i.min_quality = 0.6);
        assert_eq!(at(&choosy, &v, 105), Err(Missing::LowQuality));
        assert_eq!(at(&plain, &values(f32::NAN, 80.0), 105), Err(Missing::LowQuality));
        assert_eq!(at(&plain, &values(1.0, f64::NAN), 105), Err(Missing::Implausible));
    }

    #[test]
    fn of_several_sources_the_most_recent_valid_one_is_taken() {
        let m = manifest(|i| i.or = vec!["pulse_rate".into()]);
        let t = EventTime::from_seconds;
        let with_pulse = |value, at| {
            let (observed_at, valid_until, origin) = (t(at), t(at + 10), Origin::Reported);
            let mut v = values(1.0, 80.0);
            let seen = Observed { value, observed_at, valid_until, quality: 1.0, origin };
            v.store(ChannelId::named("pulse_rate").unwrap(), seen);
            v
        };
        let at = |v: &Values, s| row(&m, v, &|_, _| None, t(s)).inputs[0];
        assert_eq!(at(&with_pulse(78.0, 99), 105), Ok(80.0));
        assert_eq!(at(&with_pulse(78.0, 100), 105), Ok(80.0), "equally recent: the first");
        let later = with_pulse(76.0, 101);
        assert_eq!((at(&later, 105), at(&later, 110)), (Ok(76.0), Ok(76.0)));
        assert_eq!(at(&later, 111), Err(Missing::Stale));
    }

    #[test]
    fn a_reading_keeps_its_reason_and_grows_stale() {
        let m = manifest(|i| {
            i.feature = "rmssd".into();
            i.or.clear();
        });
        let reading = |value| Reading {
            name: "rmssd",
            channel: None,
            time: EventTime::from_seconds(100),
            window: Span::EPOCH,
            value,
            quality: 1.0,
        };
        let at = |value, s| {
            let found = |name: &str, _| (name == "rmssd").then(|| reading(value));
            row(&m, &Values::default(), &found, EventTime::from_seconds(s)).inputs[0]
        };
        assert_eq!(at(Ok(31.0), 160), Ok(31.0));
        assert_eq!(at(Ok(31.0), 161), Err(Missing::Stale));
        assert_eq!(at(Err(Missing::TooFew), 100), Err(Missing::TooFew));
        assert_eq!(
            row(&m, &Values::default(), &|_, _| None, EventTime::default()).inputs[0],
            Err(Missing::NoData)
        );
    }
}
