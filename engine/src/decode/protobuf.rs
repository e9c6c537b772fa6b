//! The protobuf form of a frame, both ways.
//! In: bytes, or a frame. Out: the wire frame, or bytes.

use auscult_operators::signal::frame::{Action, DeviceStatus, Samples, Wave};
use auscult_operators::signal::{EventTime, Frame};
use bytes::Bytes;
use prost::Message;

use super::{Reject, wire};

/// Parses bytes.
pub(super) fn parse(bytes: Bytes) -> Result<wire::Frame, Reject> {
    wire::Frame::decode(bytes).map_err(|e| Reject::new("not_protobuf", e.to_string()))
}

/// Writes a frame as a message value.
///
/// ```
/// use auscult::decode::encode;
/// use auscult_operators::signal::{EventTime, Frame, PatientId, SourceId};
/// let frame = Frame {
///     patient: PatientId::new("p1"), source: SourceId("monitor".into()), session: 1, sequence: 0,
///     time: EventTime::from_seconds(1_600_000_000), waves: vec![], observations: vec![],
///     device: None, commands: vec![],
/// };
/// assert!(encode(&frame).len() > 10);
/// ```
pub fn encode(frame: &Frame) -> Vec<u8> {
    let mut out = wire::Frame {
        patient: frame.patient.expose().into(),
        source: frame.source.0.to_string(),
        session: frame.session,
        sequence: frame.sequence,
        time_us: frame.time.micros(),
        waves: frame.waves.iter().map(|w| wave(w, frame.time)).collect(),
        device: frame.device.map(|d| wire::Device { state: device(d) as i32 }),
        ..Default::default()
    };
    // What is known of the patient goes as observations too: these keep order, times and any value.
    out.observations = frame
        .observations
        .iter()
        .map(|o| wire::Observation {
            mdc: o.channel.row().mdc,
            name: o.channel.row().name.into(),
            unit: o.channel.row().unit.ucum().into(),
            value: o.value,
            observed_at_us: Some(o.observed_at.micros()),
            quality: Some(o.quality),
        })
        .collect();
    out.commands = frame
        .commands
        .iter()
        .map(|c| wire::Command {
            action: match c.action {
                Action::Acknowledge => wire::CommandAction::Acknowledge,
                Action::Pause => wire::CommandAction::Pause,
            } as i32,
            rule: c.rule.clone(),
            actor: c.actor.clone(),
            for_s: c.for_s,
        })
        .collect();
    out.encode_to_vec()
}

/// A tick as a message value.
pub fn encode_tick(time: EventTime) -> Vec<u8> {
    wire::Frame { time_us: time.micros(), tick: Some(wire::Tick {}), ..Default::default() }.encode_to_vec()
}

fn device(status: DeviceStatus) -> wire::DeviceState {
    match status {
        DeviceStatus::Running => wire::DeviceState::Running,
        DeviceStatus::Disconnected => wire::DeviceState::Disconnected,
        DeviceStatus::Standby => wire::DeviceState::Standby,
        DeviceStatus::Ended => wire::DeviceState::Ended,
    }
}

fn wave(w: &Wave, frame_time: EventTime) -> wire::Wave {
    let row = w.channel.row();
    let mut out = wire::Wave {
        mdc: row.mdc,
        label: row.label.into(),
        unit: row.unit.ucum().into(),
        rate_hz: w.rate.get(),
        start_us: (w.start - frame_time).micros(),
        ..Default::default()
    };
    match &w.samples {
        Samples::Counts { counts, scale, offset, missing } => {
            out.counts = counts.iter().flat_map(|c| c.to_le_bytes()).collect::<Vec<u8>>().into();
            (out.scale, out.offset, out.missing_count) = (*scale, *offset, missing.map(i32::from));
        }
        Samples::Values(values) => out.values.clone_from(values),
    }
    out
}
