//! The checks between a wire frame and a frame that may be computed on.
//! In: a wire frame, the record key, the broker time. Out: a frame in canonical units, or a reject.

use auscult_operators::signal::frame::{
    Action, Command, DeviceStatus, Observation, PatientId, Samples, SourceId, Wave,
};
use auscult_operators::signal::units::Conversion;
use auscult_operators::signal::{ChannelId, EventTime, Frame, Hertz, Span, Unit};

use super::{Reject, wire};
use crate::limits::{self, Limit};

/// 2000-01-01 and 2100-01-01, in seconds since 1970.
const TIME_RANGE_S: (i64, i64) = (946_684_800, 4_102_444_800);

/// Largest absolute value of a sample; beyond it the sample counts as missing.
const SAMPLE_ABS_MAX: f32 = 1e9;

/// Checks a wire frame and converts it.
pub(super) fn frame(wire: wire::Frame, key: &[u8], broker_time: EventTime) -> Result<Frame, Reject> {
    text("no_patient", &wire.patient)?;
    text("no_source", &wire.source)?;
    if key != wire.patient.as_bytes() {
        return Err(Reject::new("key_mismatch", "the record key is not the patient id of the frame"));
    }
    count(&limits::FRAME_WAVES, wire.waves.len())?;
    count(&limits::FRAME_OBSERVATIONS, wire.observations.len())?;
    count(&limits::FRAME_COMMANDS, wire.commands.len())?;
    let time = event_time(wire.time_us)?;
    ahead(time, broker_time)?;
    let waves = exactly(wire.waves, |w| wave(w, time))?;
    let mut observations = exactly(wire.observations, |o| observation(&o, time))?;
    if let Some(c) = &wire.context {
        context(c, time, &mut observations)?;
    }
    let device = wire.device.map(|d| device(d.state)).transpose()?;
    let commands = exactly(wire.commands, command)?;
    if waves.is_empty() && observations.is_empty() && device.is_none() && commands.is_empty() {
        return Err(Reject::new("empty_frame", "no waveform, observation, device state or command"));
    }
    Ok(Frame {
        patient: PatientId::new(&wire.patient),
        source: SourceId(wire.source.into()),
        session: wire.session,
        sequence: wire.sequence,
        time,
        waves,
        observations,
        device,
        commands,
    })
}

/// Each item checked, in a list without room to spare: frames of thousands of beds wait for seconds, and a list made in
/// the memory of the one before it would keep all of that.
fn exactly<T, U>(items: Vec<T>, check: impl Fn(T) -> Result<U, Reject>) -> Result<Vec<U>, Reject> {
    let mut out = Vec::with_capacity(items.len());
    for item in items {
        out.push(check(item)?);
    }
    Ok(out)
}

/// A clock far ahead of the broker's is wrong.
pub(super) fn ahead(time: EventTime, broker_time: EventTime) -> Result<(), Reject> {
    let ahead = time - broker_time;
    if ahead > Span::seconds_const(limits::AHEAD_S.max as i64) {
        return Err(Reject::over("clock_ahead", &limits::AHEAD_S, ahead.seconds()));
    }
    Ok(())
}

/// Whether counts of this scale and offset are numbers that samples may be.
pub(super) fn is_scale(scale: f64, offset: f64) -> bool {
    let extreme = scale.abs() * 32_768.0 + offset.abs();
    scale.is_normal() && offset.is_finite() && extreme <= f64::from(SAMPLE_ABS_MAX)
}

pub(super) fn text(code: &'static str, s: &str) -> Result<(), Reject> {
    match s.len() {
        0 => Err(Reject::new(code, "it is empty")),
        n if n as u64 > limits::TEXT_BYTES.max => Err(Reject::over(code, &limits::TEXT_BYTES, n)),
        _ => Ok(()),
    }
}

fn count(limit: &Limit, found: usize) -> Result<(), Reject> {
    if found as u64 > limit.max { Err(Reject::over("too_many", limit, found)) } else { Ok(()) }
}

pub(super) fn event_time(us: i64) -> Result<EventTime, Reject> {
    let s = us.div_euclid(1_000_000);
    if s < TIME_RANGE_S.0 || s >= TIME_RANGE_S.1 {
        return Err(Reject::new(
            "bad_time",
            format!("found {s} s since 1970, expected the years 2000 to 2100"),
        ));
    }
    Ok(EventTime::from_micros(us))
}

fn channel(mdc: u32, name: &str, wave: bool) -> Result<ChannelId, Reject> {
    // A text that is not in the table may be anything, even a name: it is not repeated.
    let known = ChannelId::from_mdc(mdc).or_else(|| {
        ChannelId::named(name).or_else(|| ChannelId::from_label(name)).filter(|_| !name.is_empty())
    });
    let id = known.ok_or_else(|| Reject::new("unknown_channel", format!("MDC code {mdc}")))?;
    if id.row().kind.is_wave() != wave {
        return Err(Reject::new("wrong_kind", format!("channel {} as a {}", id.row().name, kind_word(wave))));
    }
    Ok(id)
}

/// A number for a message: 300 digits would say no more.
fn shown(x: f64) -> f64 {
    x.clamp(-1e9, 1e9)
}

fn kind_word(wave: bool) -> &'static str {
    if wave { "waveform" } else { "number" }
}

fn conversion(channel: ChannelId, ucum: &str) -> Result<Conversion, Reject> {
    let wanted = channel.row().unit;
    let same = |c: &Conversion| c.unit == wanted;
    // Waveforms of arbitrary scale (impedance, plethysmogram) come in volts or ratios as the device likes.
    let arbitrary = matches!(wanted, Unit::One | Unit::Ohm);
    match Unit::from_ucum(ucum) {
        Some(c) if same(&c) => Ok(c),
        Some(c) if wanted == Unit::Microvolt && c.unit == Unit::Millivolt => {
            Ok(Conversion { unit: wanted, factor: c.factor * 1000.0, offset: 0.0 })
        }
        Some(c) if wanted == Unit::Millivolt && c.unit == Unit::Microvolt => {
            Ok(Conversion { unit: wanted, factor: c.factor / 1000.0, offset: 0.0 })
        }
        Some(_) if arbitrary && channel.row().kind.is_wave() => {
            Ok(Conversion { unit: wanted, factor: 1.0, offset: 0.0 })
        }
        _ => {
            let detail = format!("channel {} is in {}", channel.row().name, wanted.ucum());
            Err(Reject::new("unit_mismatch", detail))
        }
    }
}

fn wave(w: wire::Wave, frame_time: EventTime) -> Result<Wave, Reject> {
    let channel = channel(w.mdc, &w.label, true)?;
    let unit = conversion(channel, &w.unit)?;
    let name = channel.row().name;
    if !(w.rate_hz > 0.0 && w.rate_hz <= limits::WAVE_RATE_HZ.max as f64) {
        return Err(Reject::over("bad_rate", &limits::WAVE_RATE_HZ, shown(w.rate_hz)));
    }
    let samples = samples(&w, unit, name)?;
    count(&limits::WAVE_SAMPLES, samples.len())?;
    if samples.is_empty() {
        return Err(Reject::new("bad_samples", format!("channel {name} has no samples")));
    }
    let span_s = samples.len() as f64 / w.rate_hz;
    let span_max = limits::FRAME_SPAN_S.max as i64 * 1_000_000;
    if span_s * 1e6 > span_max as f64 || w.start_us < 0 || w.start_us > span_max {
        return Err(Reject::over("bad_span", &limits::FRAME_SPAN_S, shown(span_s)));
    }
    let start = frame_time + Span::from_micros(w.start_us);
    Ok(Wave { channel, rate: Hertz(w.rate_hz), start, samples })
}

fn samples(w: &wire::Wave, unit: Conversion, name: &str) -> Result<Samples, Reject> {
    if w.counts.is_empty() == w.values.is_empty() {
        return Err(Reject::new("bad_samples", format!("channel {name} needs either counts or values")));
    }
    if w.counts.is_empty() {
        let convert =
            |v: f32| if v.is_finite() { (f64::from(v) * unit.factor + unit.offset) as f32 } else { v };
        let values = w
            .values
            .iter()
            .map(|v| Some(convert(*v)).filter(|x| x.abs() <= SAMPLE_ABS_MAX).unwrap_or(f32::NAN));
        return Ok(Samples::Values(values.collect()));
    }
    if !w.counts.len().is_multiple_of(2) {
        return Err(Reject::new(
            "bad_samples",
            format!("channel {name} has {} bytes of counts", w.counts.len()),
        ));
    }
    let scale = w.scale * unit.factor;
    let offset = w.offset * unit.factor + unit.offset;
    if !is_scale(scale, offset) {
        return Err(Reject::new(
            "bad_scale",
            format!("channel {name}: scale {:e} offset {:e}", w.scale, w.offset),
        ));
    }
    let missing = match w.missing_count.map(i16::try_from) {
        None => None,
        Some(Ok(m)) => Some(m),
        Some(Err(_)) => {
            return Err(Reject::new("bad_value", format!("channel {name}: missing_count is not 16 bits")));
        }
    };
    let counts = w.counts.chunks_exact(2).map(|b| i16::from_le_bytes([b[0], b[1]])).collect();
    Ok(Samples::Counts { counts, scale, offset, missing })
}

fn observation(o: &wire::Observation, frame_time: EventTime) -> Result<Observation, Reject> {
    let channel = channel(o.mdc, &o.name, false)?;
    let unit = conversion(channel, &o.unit)?;
    let name = channel.row().name;
    let observed_at = observed_at(o.observed_at_us, frame_time, name)?;
    if o.value.is_some_and(|v| !v.is_finite()) {
        return Err(Reject::new(
            "bad_value",
            format!("{name} is not a finite number: leave the value out instead"),
        ));
    }
    let quality = o.quality.unwrap_or(1.0);
    if !(0.0..=1.0).contains(&quality) {
        return Err(Reject::new("bad_value", format!("quality of {name} is {quality}, expected 0 to 1")));
    }
    Ok(Observation { channel, observed_at, value: o.value.map(|v| v * unit.factor + unit.offset), quality })
}

fn observed_at(us: Option<i64>, frame_time: EventTime, name: &str) -> Result<EventTime, Reject> {
    let at = us.map_or(Ok(frame_time), event_time)?;
    if at > frame_time + Span::seconds_const(limits::FRAME_SPAN_S.max as i64) {
        return Err(Reject::new("bad_time", format!("{name} was observed after its frame")));
    }
    Ok(at)
}

fn context(c: &wire::Context, frame_time: EventTime, out: &mut Vec<Observation>) -> Result<(), Reject> {
    let observed_at = observed_at(c.observed_at_us, frame_time, "context")?;
    if c.spo2_scale.is_some_and(|s| s != 1 && s != 2) {
        return Err(Reject::new("bad_value", "spo2_scale is neither 1 nor 2"));
    }
    if c.consciousness.is_some_and(|v| wire::Consciousness::try_from(v).is_err()) {
        return Err(Reject::new("bad_value", "consciousness is outside its list of codes"));
    }
    if c.age_years.is_some_and(|a| !(0.0..=130.0).contains(&a)) {
        return Err(Reject::new("bad_value", "age_years is outside 0 to 130"));
    }
    let flag = |b: Option<bool>| b.map(|b| f64::from(u8::from(b)));
    for (name, value) in [
        ("age", c.age_years),
        ("pregnant", flag(c.pregnant)),
        ("on_oxygen", flag(c.on_oxygen)),
        ("spo2_scale", c.spo2_scale.map(f64::from)),
        ("consciousness", c.consciousness.map(f64::from)),
        ("sex_male", flag(c.sex_male)),
    ] {
        if let (Some(value), Some(channel)) = (value, ChannelId::named(name)) {
            out.push(Observation { channel, observed_at, value: Some(value), quality: 1.0 });
        }
    }
    Ok(())
}

fn device(state: i32) -> Result<DeviceStatus, Reject> {
    match wire::DeviceState::try_from(state) {
        Ok(wire::DeviceState::Running) => Ok(DeviceStatus::Running),
        Ok(wire::DeviceState::Disconnected) => Ok(DeviceStatus::Disconnected),
        Ok(wire::DeviceState::Standby) => Ok(DeviceStatus::Standby),
        Ok(wire::DeviceState::Ended) => Ok(DeviceStatus::Ended),
        Err(_) => Err(Reject::new("bad_value", format!("device state {state} is outside its list of codes"))),
    }
}

fn command(c: wire::Command) -> Result<Command, Reject> {
    text("bad_command", &c.rule)?;
    text("bad_command", &c.actor)?;
    let action = match wire::CommandAction::try_from(c.action) {
        Ok(wire::CommandAction::Acknowledge) => Action::Acknowledge,
        Ok(wire::CommandAction::Pause) => Action::Pause,
        Err(_) => return Err(Reject::new("bad_command", format!("action {} is not known", c.action))),
    };
    if action == Action::Pause && !(c.for_s > 0.0 && c.for_s <= limits::PAUSE_S.max as f64) {
        return Err(Reject::over("bad_command", &limits::PAUSE_S, shown(c.for_s)));
    }
    Ok(Command { action, rule: c.rule, actor: c.actor, for_s: c.for_s })
}
