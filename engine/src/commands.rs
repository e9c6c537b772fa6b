//! Commands of people on their way into the log.
//! In: a request from the dashboard. Out: a frame like any other, so that a replay sees it too.

use auscult_operators::signal::frame::{Action, Command};
use auscult_operators::signal::{EventTime, Frame, PatientId, SourceId};

use crate::shared::WardCommand;

/// Numbers the commands that this instance lets in.
pub struct Desk {
    source: SourceId,
    session: u64,
    sequence: u64,
}

impl Desk {
    /// A desk of its own numbering.
    pub fn new(instance: &str, now: EventTime) -> Self {
        let session = u64::try_from(now.micros()).unwrap_or(0);
        Self { source: SourceId(format!("desk-{instance}").into()), session, sequence: 0 }
    }

    /// The frame of a command at the patient's own event time; `None` if the action is not known.
    pub fn frame(&mut self, command: &WardCommand, at: EventTime) -> Option<Frame> {
        let action = match command.action.as_str() {
            "acknowledge" => Action::Acknowledge,
            "pause" => Action::Pause,
            _ => return None,
        };
        let sequence = self.sequence;
        self.sequence += 1;
        Some(Frame {
            patient: PatientId::new(&command.patient),
            source: self.source.clone(),
            session: self.session,
            sequence,
            time: at,
            waves: vec![],
            observations: vec![],
            device: None,
            commands: vec![Command {
                action,
                rule: command.rule.clone(),
                actor: "dashboard".into(),
                for_s: command.for_s,
            }],
        })
    }
}
