//! Frames of recordings or simulated beds in order of arrival: the same for `send` and `replay`.
//! In: recordings, the number of patients, a start time. Out: frames of all patients, merged by the time of their end.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::path::PathBuf;

use auscult_datasets::recording::{Frames, Recording, frames};
use auscult_operators::signal::{EventTime, Frame, PatientId, SourceId, Span};
use clap::Args;

use crate::clock;
use crate::error::RunError;

/// Which recordings, as how many patients, from when.
#[derive(Debug, Args)]
pub(super) struct FeedArgs {
    /// Recordings: WFDB records or headers, CSV, PSV.
    pub records: Vec<PathBuf>,
    /// Patients: the recordings are given out in turn until each patient has one. By default one a recording.
    #[arg(long)]
    pub patients: Option<usize>,
    /// Event time of the first sample: RFC 3339, or `now`. By default the recordings end now.
    #[arg(long)]
    pub start: Option<String>,
    /// Length of a frame, in seconds.
    #[arg(long, default_value_t = 1.0)]
    pub frame_s: f64,
    /// Only so much of each recording, in seconds.
    #[arg(long)]
    pub seconds: Option<f64>,
    /// Name of the source in each frame.
    #[arg(long, default_value = "recording")]
    pub source: String,
}

/// Recordings and who plays them.
pub(super) struct Feed {
    recordings: Vec<Recording>,
    names: Vec<String>,
    /// Patients and the index of the recording each plays.
    pub patients: Vec<(PatientId, usize)>,
    /// Event time of the first sample.
    pub start: EventTime,
    frame_s: f64,
    until: Option<Span>,
    source: String,
}

impl Feed {
    /// Reads the recordings.
    pub(super) fn open(args: &FeedArgs) -> Result<Self, RunError> {
        if args.records.is_empty() {
            return Err(RunError::Usage("no recording given; see --help".into()));
        }
        let mut recordings = Vec::new();
        let mut names = Vec::new();
        for path in &args.records {
            let recording = auscult_datasets::open(path).map_err(|e| RunError::Data(e.to_string()))?;
            for (label, why) in recording.unmapped() {
                let recording = &recording.name;
                tracing::warn!(recording, label, why = %why, "a signal has no channel and is left out");
            }
            names.push(
                path.file_stem().map_or_else(|| recording.name.clone(), |s| s.to_string_lossy().into()),
            );
            recordings.push(recording);
        }
        let n = args.patients.unwrap_or(recordings.len()).max(1);
        let patients = (0..n)
            .map(|i| {
                let name = &names[i % names.len()];
                let id = if n == recordings.len() { name.clone() } else { format!("p{:05}-{name}", i + 1) };
                (PatientId::new(&id), i % recordings.len())
            })
            .collect();
        let until = args.seconds.map(Span::from_seconds);
        let longest = recordings.iter().map(Recording::span).max().unwrap_or(Span::ZERO);
        let span = until.map_or(longest, |u| u.min(longest));
        let start = start_time(args.start.as_deref(), span)?;
        let (frame_s, source) = (args.frame_s, args.source.clone());
        Ok(Self { recordings, names, patients, start, frame_s, until, source })
    }

    /// Which patient plays which recording, as JSON.
    pub(super) fn map(&self) -> serde_json::Value {
        self.patients
            .iter()
            .map(|(id, r)| (id.expose().to_string(), serde_json::Value::from(self.names[*r].clone())))
            .collect()
    }

    /// All frames, merged.
    pub(super) fn frames(&self) -> Merged<'_> {
        let session = u64::try_from(self.start.micros()).unwrap_or(0);
        let mut merged =
            Merged { feeds: Vec::new(), heap: BinaryHeap::new(), until: self.until.map(|u| self.start + u) };
        for (patient, r) in &self.patients {
            let source = SourceId(self.source.clone().into());
            let feed =
                frames(&self.recordings[*r], patient.clone(), source, session, self.start, self.frame_s);
            merged.feeds.push(Player { frames: feed, last: None, ended: false });
            merged.refill(merged.feeds.len() - 1);
        }
        merged
    }

    /// Frames there will be, for a progress bar; an estimate.
    pub(super) fn expected(&self) -> u64 {
        let one = |r: usize| {
            let span = self.recordings[r].span();
            let span = self.until.map_or(span, |u| u.min(span));
            (span.seconds() / self.frame_s).ceil() as u64 + 1
        };
        self.patients.iter().map(|(_, r)| one(*r)).sum()
    }
}

struct Player<'a> {
    frames: Frames<'a>,
    last: Option<Frame>,
    ended: bool,
}

/// Frames of all patients by the time of their end; ties in order of the patients.
pub(super) struct Merged<'a> {
    feeds: Vec<Player<'a>>,
    heap: BinaryHeap<Reverse<(EventTime, usize)>>,
    until: Option<EventTime>,
}

impl Merged<'_> {
    /// Holds the next frame of a patient ready. A recording that is cut short ends like any other: with a frame that
    /// says so.
    fn refill(&mut self, at: usize) {
        let player = &mut self.feeds[at];
        if player.ended {
            return;
        }
        let Some(mut frame) = player.frames.next() else { return };
        if let Some(until) = self.until.filter(|u| frame.time >= *u) {
            player.ended = true;
            frame.time = until;
            frame.waves.clear();
            frame.observations.clear();
            frame.device = Some(auscult_operators::signal::frame::DeviceStatus::Ended);
        }
        self.heap.push(Reverse((frame.end(), at)));
        player.last = Some(frame);
    }
}

impl Iterator for Merged<'_> {
    type Item = Frame;
    fn next(&mut self) -> Option<Frame> {
        let Reverse((_, at)) = self.heap.pop()?;
        let frame = self.feeds[at].last.take();
        self.refill(at);
        frame
    }
}

/// The start that was asked for; by default such that what is played ends now.
pub(super) fn start_time(asked: Option<&str>, span: Span) -> Result<EventTime, RunError> {
    match asked {
        Some("now") => Ok(clock::now().epoch_start()),
        None => Ok((clock::now() - span).epoch_start()),
        Some(text) => {
            text.parse::<jiff::Timestamp>().map(|t| EventTime::from_micros(t.as_microsecond())).map_err(|e| {
                RunError::Usage(format!("--start is `{text}`: {e}; expected 2026-01-31T12:00:00Z or `now`"))
            })
        }
    }
}
