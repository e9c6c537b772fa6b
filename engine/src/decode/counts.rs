//! Records of plain counts: what many acquisition systems write to a topic without a schema.
//! In: a key that names patient and channel, and a value `u64 ms since 1970 | u16 rate in Hz | u16 n | n * i16`, all
//! little-endian. Out: a frame of one waveform, or a reject.

use std::sync::Arc;

use auscult_operators::signal::frame::{PatientId, Samples, SourceId, Wave};
use auscult_operators::signal::{ChannelId, EventTime, Frame, Hertz, Span};

use super::{Reject, check};
use crate::config::Counts;
use crate::limits;
use crate::source::Record;

/// Bytes before the counts.
const HEAD: usize = 12;

/// What key and counts mean.
#[derive(Clone, Debug)]
pub struct CountsForm {
    separator: Box<[u8]>,
    every: Span,
    channels: Vec<Channel>,
}

/// One channel.
#[derive(Clone, Debug)]
struct Channel {
    name: Arc<str>,
    channel: ChannelId,
    scale: f64,
    offset: f64,
    missing: Option<i16>,
}

impl CountsForm {
    /// The form that a configuration describes.
    ///
    /// # Errors
    /// The key at fault below `input.counts`, and what is wrong.
    pub fn new(config: &Counts) -> Result<Self, (String, String)> {
        let bad = |key: &str, reason: String| Err((key.to_string(), reason));
        if config.separator.is_empty() {
            return bad("separator", "expected at least one character".into());
        }
        if !(0.001..=60.0).contains(&config.every_s) {
            return bad("every_s", format!("found {}, expected 0.001 to 60 s", config.every_s));
        }
        let mut channels: Vec<Channel> = Vec::new();
        for (name, c) in &config.channels {
            let Some(id) = ChannelId::named(&c.channel).filter(|i| i.row().kind.is_wave()) else {
                return bad(
                    &format!("channels.{name}.channel"),
                    format!("no waveform is named `{}`", c.channel),
                );
            };
            if channels.iter().any(|o| o.channel == id) {
                return bad(&format!("channels.{name}.channel"), format!("`{}` stands twice", c.channel));
            }
            if !check::is_scale(c.scale, c.offset) {
                let reason = format!("scale {} and offset {} give no sample below 1e9", c.scale, c.offset);
                return bad(&format!("channels.{name}.scale"), reason);
            }
            let (scale, offset, missing) = (c.scale, c.offset, c.missing);
            channels.push(Channel { name: name.as_str().into(), channel: id, scale, offset, missing });
        }
        let separator = config.separator.as_bytes().into();
        Ok(Self { separator, every: Span::from_seconds(config.every_s), channels })
    }

    /// Patient and channel name of a key; the whole key and nothing, if it has no separator.
    pub fn split<'a>(&self, key: &'a [u8]) -> (&'a [u8], &'a [u8]) {
        let n = self.separator.len();
        match key.windows(n).rposition(|w| w == &*self.separator) {
            Some(at) => (&key[..at], &key[at + n..]),
            None => (key, &[]),
        }
    }

    /// The time of the end of a value's last sample: when it can have left its sender. None if it is cut short.
    pub fn end(value: &[u8]) -> Option<EventTime> {
        let (start, rate, n) = head(value)?;
        let us = (n as f64 * 1e6 / f64::from(rate.max(1))).round() as i64;
        start.checked_mul(1000).and_then(|t| t.checked_add(us)).map(EventTime::from_micros)
    }

    /// The frame of a record.
    pub(super) fn frame(&self, record: &Record) -> Result<Frame, Reject> {
        let (patient, name) = self.split(&record.key);
        let patient =
            std::str::from_utf8(patient).map_err(|_| Reject::new("no_patient", "it is not UTF-8"))?;
        check::text("no_patient", patient)?;
        let Some(known) = self.channels.iter().find(|c| c.name.as_bytes() == name) else {
            return Err(Reject::new("unknown_channel", "the key ends in none of input.counts.channels"));
        };
        let Some((start, rate, n)) = head(&record.value) else {
            let found = format!("{} bytes, expected at least {HEAD}", record.value.len());
            return Err(Reject::new("bad_samples", found));
        };
        let counts = &record.value[HEAD..];
        if n == 0 || counts.len() != 2 * n {
            let found = format!("{} bytes of counts, expected two for each of {n}", counts.len());
            return Err(Reject::new("bad_samples", found));
        }
        if rate == 0 || u64::from(rate) > limits::WAVE_RATE_HZ.max {
            return Err(Reject::over("bad_rate", &limits::WAVE_RATE_HZ, rate));
        }
        if n as u64 > limits::FRAME_SPAN_S.max * u64::from(rate) {
            return Err(Reject::over("bad_span", &limits::FRAME_SPAN_S, n / usize::from(rate)));
        }
        let time = check::event_time(start.saturating_mul(1000))?;
        check::ahead(time, record.timestamp)?;
        let (pairs, _) = counts.as_chunks::<2>();
        let counts = pairs.iter().map(|b| i16::from_le_bytes(*b)).collect();
        let Channel { channel, scale, offset, missing, .. } = *known;
        let samples = Samples::Counts { counts, scale, offset, missing };
        let sequence = time.micros().div_euclid(self.every.micros());
        Ok(Frame {
            patient: PatientId::new(patient),
            source: SourceId(known.name.clone()),
            session: 0,
            sequence: u64::try_from(sequence).unwrap_or(0),
            time,
            waves: vec![Wave { channel, rate: Hertz(f64::from(rate)), start: time, samples }],
            observations: Vec::new(),
            device: None,
            commands: Vec::new(),
        })
    }
}

/// Start in milliseconds, rate, number of counts.
fn head(value: &[u8]) -> Option<(i64, u16, usize)> {
    let head: &[u8; HEAD] = value.first_chunk()?;
    let [a, b, c, d, e, f, g, h, r0, r1, n0, n1] = *head;
    let start = i64::try_from(u64::from_le_bytes([a, b, c, d, e, f, g, h])).ok()?;
    Some((start, u16::from_le_bytes([r0, r1]), usize::from(u16::from_le_bytes([n0, n1]))))
}
