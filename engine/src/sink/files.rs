//! Sink `files`: events, scores, features and rejects as JSON lines, for replays.
//! In: effects, in the order of the log. Out: `events.jsonl`, `scores.jsonl`, `features.jsonl`, `predictions.jsonl`,
//! `rejects.jsonl`; the lines of events and scores are byte for byte the bodies that Kafka would carry.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use auscult_models::Outcome;
use auscult_operators::signal::Reading;

use crate::effects::Effect;
use crate::error::RunError;

/// JSON lines under one folder.
pub struct Files {
    events: Lines,
    scores: Lines,
    features: Lines,
    predictions: Lines,
    rejects: Lines,
}

struct Lines {
    path: PathBuf,
    out: BufWriter<File>,
    /// One line: many small pieces are put together here, not in the writer.
    line: Vec<u8>,
    count: u64,
}

impl Lines {
    fn create(folder: &Path, name: &str) -> Result<Self, RunError> {
        let path = folder.join(name);
        let file = File::create(&path).map_err(RunError::io("create", &path))?;
        Ok(Self { path, out: BufWriter::with_capacity(1 << 16, file), line: Vec::new(), count: 0 })
    }

    fn line(&mut self, body: &impl serde::Serialize) -> Result<(), RunError> {
        self.count += 1;
        self.line.clear();
        serde_json::to_writer(&mut self.line, body)
            .map_err(std::io::Error::from)
            .and_then(|()| {
                self.line.push(b'\n');
                self.out.write_all(&self.line)
            })
            .map_err(RunError::io("write", &self.path))
    }

    fn finish(&mut self) -> Result<u64, RunError> {
        self.out.flush().map_err(RunError::io("write", &self.path))?;
        Ok(self.count)
    }
}

/// What the operators said of one patient and epoch, put together by channel, time, window and quality.
#[derive(serde::Serialize)]
struct FeaturesLine<'a> {
    patient: &'a str,
    event_time_us: i64,
    #[serde(serialize_with = "groups")]
    features: &'a [Reading],
}

/// Readings that follow one another and differ in name and value alone.
#[derive(serde::Serialize)]
struct Group<'a> {
    channel: Option<&'static str>,
    time_us: i64,
    window_s: f64,
    quality: f32,
    #[serde(serialize_with = "values", skip_serializing_if = "is_missing")]
    values: &'a [Reading],
    #[serde(serialize_with = "missing", skip_serializing_if = "is_there")]
    missing: &'a [Reading],
}

impl<'a> Group<'a> {
    fn of(list: &'a [Reading]) -> Option<Self> {
        let first = list.first()?;
        Some(Self {
            channel: first.channel.map(|c| c.row().name),
            time_us: first.time.micros(),
            window_s: first.window.seconds(),
            quality: first.quality,
            values: list,
            missing: list,
        })
    }
}

fn is_there(list: &&[Reading]) -> bool {
    list.first().is_none_or(|r| r.value.is_ok())
}

fn is_missing(list: &&[Reading]) -> bool {
    !is_there(list)
}

fn values<S: serde::Serializer>(list: &&[Reading], s: S) -> Result<S::Ok, S::Error> {
    s.collect_map(list.iter().filter_map(|r| Some((r.name, r.value.ok()?))))
}

fn missing<S: serde::Serializer>(list: &&[Reading], s: S) -> Result<S::Ok, S::Error> {
    s.collect_map(list.iter().filter_map(|r| Some((r.name, r.value.err()?))))
}

fn groups<S: serde::Serializer>(readings: &&[Reading], s: S) -> Result<S::Ok, S::Error> {
    let alike = |a: &Reading, b: &Reading| {
        let same = (a.channel, a.time, a.window) == (b.channel, b.time, b.window);
        same && a.quality.to_bits() == b.quality.to_bits() && a.value.is_ok() == b.value.is_ok()
    };
    s.collect_seq(readings.chunk_by(alike).filter_map(Group::of))
}
/// What one model said of one patient at one time.
#[derive(serde::Serialize)]
struct PredictionLine<'a> {
    patient: &'a str,
    event_time_us: i64,
    model: &'a str,
    version: &'a str,
    outcome: &'a Outcome,
}

impl Files {
    /// Creates the files anew.
    ///
    /// # Errors
    /// [`RunError::Io`] if they cannot be created.
    pub fn create(folder: &Path) -> Result<Self, RunError> {
        std::fs::create_dir_all(folder).map_err(RunError::io("create folder", folder))?;
        Ok(Self {
            events: Lines::create(folder, "events.jsonl")?,
            scores: Lines::create(folder, "scores.jsonl")?,
            features: Lines::create(folder, "features.jsonl")?,
            predictions: Lines::create(folder, "predictions.jsonl")?,
            rejects: Lines::create(folder, "rejects.jsonl")?,
        })
    }

    /// Takes in the effects of one step.
    ///
    /// # Errors
    /// [`RunError::Io`] if a file cannot be written.
    pub fn take(&mut self, effects: &[(i64, Effect)]) -> Result<(), RunError> {
        for (offset, effect) in effects {
            match effect {
                Effect::Event(e, _) => self.events.line(e)?,
                Effect::Score(s, _) => self.scores.line(s)?,
                Effect::Aside(_, reject) => {
                    let body =
                        serde_json::json!({"offset": offset, "code": reject.code, "detail": reject.detail});
                    self.rejects.line(&body)?;
                }
                Effect::Features(patient, time, readings) => {
                    self.features.line(&FeaturesLine {
                        patient: patient.expose(),
                        event_time_us: time.micros(),
                        features: readings,
                    })?;
                }
                Effect::Predictions(patient, time, said) => {
                    for p in said {
                        self.predictions.line(&PredictionLine {
                            patient: patient.expose(),
                            event_time_us: time.micros(),
                            model: &p.model,
                            version: &p.version,
                            outcome: &p.outcome,
                        })?;
                    }
                }
                Effect::Frame(..)
                | Effect::Beats(..)
                | Effect::Glance(..)
                | Effect::State(..)
                | Effect::Roll => {}
            }
        }
        Ok(())
    }

    /// Ends the files.
    ///
    /// # Errors
    /// [`RunError::Io`] if a file cannot be written.
    pub fn finish(&mut self) -> Result<(u64, u64), RunError> {
        self.features.finish()?;
        self.predictions.finish()?;
        self.rejects.finish()?;
        Ok((self.events.finish()?, self.scores.finish()?))
    }
}
