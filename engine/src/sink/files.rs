//! Sink `files`: events, scores, features and rejects as JSON lines, for replays.
//! In: effects, in the order of the log. Out: `events.jsonl`, `scores.jsonl`, `features.jsonl`, `rejects.jsonl`; the
//! lines of events and scores are byte for byte the bodies that Kafka would carry.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use crate::effects::Effect;
use crate::error::RunError;

/// JSON lines under one folder.
pub struct Files {
    events: Lines,
    scores: Lines,
    features: Lines,
    rejects: Lines,
}

struct Lines {
    path: PathBuf,
    out: BufWriter<File>,
    count: u64,
}

impl Lines {
    fn create(folder: &Path, name: &str) -> Result<Self, RunError> {
        let path = folder.join(name);
        let file = File::create(&path).map_err(RunError::io("create", &path))?;
        Ok(Self { path, out: BufWriter::new(file), count: 0 })
    }

    fn line(&mut self, body: &impl serde::Serialize) -> Result<(), RunError> {
        self.count += 1;
        serde_json::to_writer(&mut self.out, body)
            .map_err(std::io::Error::from)
            .and_then(|()| self.out.write_all(b"\n"))
            .map_err(RunError::io("write", &self.path))
    }

    fn finish(&mut self) -> Result<u64, RunError> {
        self.out.flush().map_err(RunError::io("write", &self.path))?;
        Ok(self.count)
    }
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
                    for r in readings {
                        let body = serde_json::json!({
                            "patient": patient.expose(), "event_time_us": time.micros(), "name": r.name,
                            "channel": r.channel.map(|c| c.row().name), "time_us": r.time.micros(),
                            "window_s": r.window.seconds(), "value": r.value.ok(), "missing": r.value.err(),
                            "quality": r.quality,
                        });
                        self.features.line(&body)?;
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
        self.rejects.finish()?;
        Ok((self.events.finish()?, self.scores.finish()?))
    }
}
