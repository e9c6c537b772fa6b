//! `auscult demo`: a simulated ward through the very same walk, with a live dashboard.
//! In: a number of beds, recordings if any are given. Out: a page on loopback, an archive; runs until stopped. With a
//! folder it goes on where it stood, whatever ended it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use auscult_datasets::simulate::{SimulatedBed, ward};
use auscult_models::ModelIdentity;
use auscult_operators::signal::{EventTime, Frame, Span};
use serde::{Deserialize, Serialize};
use tracing::{info, warn};

use super::check::load;
use super::feed::{Feed, FeedArgs, start_time};
use super::run::stop_flag;
use super::say;
use crate::commands::Desk;
use crate::effects::{Effect, Effects};
use crate::error::RunError;
use crate::journal;
use crate::local::Local;
use crate::shared::Shared;
use crate::sink::archive::Archive;
use crate::{clock, http};

/// Arguments of `auscult demo`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Simulated beds.
    #[arg(long, default_value_t = 32)]
    beds: usize,
    /// How many times real time.
    #[arg(long, default_value_t = 1.0)]
    speed: f64,
    /// Port of the dashboard on loopback.
    #[arg(long, default_value_t = 8642)]
    port: u16,
    /// Stop after so many seconds.
    #[arg(long = "for")]
    for_s: Option<f64>,
    /// Folder of the archive; none by default.
    #[arg(long)]
    archive: Option<PathBuf>,
    /// Seed of the simulation.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Folder of a log that outlives the process: a ward that was stopped or killed goes on where it stood, and nothing
    /// that was told is lost or told twice.
    #[arg(long, conflicts_with = "archive")]
    dir: Option<PathBuf>,
    /// Kilobytes after which a file of that log ends and the next is begun.
    #[arg(long, default_value_t = journal::SEGMENT_BYTES >> 10, requires = "dir")]
    segment_kb: u64,
    /// Print what the log in the folder has told, one JSON line each, and end.
    #[arg(long, requires = "dir")]
    told: bool,
    /// Event time at which the ward begins: RFC 3339, or `now`.
    #[arg(long, default_value = "now")]
    start: String,
    /// Stop after so many seconds of the ward's own time, over all starts.
    #[arg(long)]
    until: Option<u32>,
    /// Recordings to play as further beds.
    records: Vec<PathBuf>,
}

/// Runs it.
pub(super) fn run(args: &Args) -> Result<(), RunError> {
    if !(args.speed > 0.0 && args.speed <= 100.0) {
        return Err(RunError::Usage(format!("--speed is {}, expected 0 to 100", args.speed)));
    }
    if let (true, Some(dir)) = (args.told, &args.dir) {
        return told(dir);
    }
    let (_, plan) = load(None, false)?;
    let plan = Arc::new(plan);
    let shared = Arc::new(Shared::new(&plan, "demo", true));
    let address = http::serve(&format!("127.0.0.1:{}", args.port), shared.clone())?;
    let what = "Decision support for research; not a medical device.";
    say::line(format_args!("Auscult demo: {} simulated beds. {what}", args.beds))?;
    for m in &plan.models {
        let ModelIdentity { name, version, runtime, .. } = &m.identity;
        match &m.unavailable {
            None => say::line(format_args!("model {name} {version} on {runtime}"))?,
            Some(why) => say::line(format_args!("model {name} is not available: {why}"))?,
        }
    }
    say::line(format_args!("dashboard: http://{address}/   (Ctrl-C to stop)"))?;
    let start = start_time(Some(&args.start), Span::ZERO)?;
    let (local, start, second, effects) = match &args.dir {
        None => (Local::new(&plan, 1, usize::MAX), start, 0, Vec::new()),
        Some(dir) => {
            let start = same_ward(dir, args, start)?;
            let (local, resumed) = Local::durable(&plan, 1, dir, args.segment_kb.max(1) << 10)?;
            for (_, why) in &resumed.cuts {
                warn!(code = "journal_cut", why, "what followed the last good commit is computed again");
            }
            let (second, patients, records) = (resumed.source, resumed.restored, resumed.again);
            info!(second, patients, records, "the ward goes on");
            (local, start, u32::try_from(second).unwrap_or(u32::MAX), resumed.effects)
        }
    };
    let mut demo = Demo {
        local,
        durable: args.dir.is_some(),
        start,
        second,
        archive: args.archive.as_ref().map(|dir| Archive::open(dir, "demo", 0)).transpose()?,
        desk: Desk::new("demo", clock::now()),
        shared,
        turns: 0,
    };
    for (_, effects) in effects {
        demo.take(effects)?;
    }
    demo.play(args)
}

/// What makes a ward this one: another one cannot go on with its log.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Identity {
    seed: u64,
    beds: usize,
    records: Vec<PathBuf>,
    start_us: i64,
}

/// The start of the ward in this folder: as given, or as it was.
fn same_ward(dir: &Path, args: &Args, start: EventTime) -> Result<EventTime, RunError> {
    let path = dir.join("ward.json");
    let given =
        |start_us| Identity { seed: args.seed, beds: args.beds, records: args.records.clone(), start_us };
    if !path.exists() {
        std::fs::create_dir_all(dir).map_err(RunError::io("create folder", dir))?;
        let bytes = serde_json::to_vec(&given(start.micros())).unwrap_or_default();
        journal::replace(&path, &bytes).map_err(RunError::io("write", &path))?;
        return Ok(start);
    }
    let bytes = std::fs::read(&path).map_err(RunError::io("read", &path))?;
    let was: Identity = serde_json::from_slice(&bytes)
        .map_err(|e| RunError::Data(format!("{}: {e}; use another folder", path.display())))?;
    if was != given(was.start_us) {
        let (beds, seed) = (was.beds, was.seed);
        return Err(RunError::Usage(format!(
            "{} holds a ward of {beds} beds with seed {seed} and {} recordings: give the same, or another folder",
            dir.display(),
            was.records.len()
        )));
    }
    Ok(EventTime::from_micros(was.start_us))
}

fn told(dir: &Path) -> Result<(), RunError> {
    for (topic, body) in journal::outputs(&dir.join("partition-0"))? {
        let topic = format!("{topic:?}").to_lowercase();
        say::line(format_args!("{topic} {}", String::from_utf8_lossy(&body)))?;
    }
    Ok(())
}

struct Demo {
    local: Local,
    /// Whether the log outlives the process.
    durable: bool,
    start: EventTime,
    /// Seconds of the ward that have passed.
    second: u32,
    archive: Option<Archive>,
    desk: Desk,
    shared: Arc<Shared>,
    turns: u64,
}

impl Demo {
    fn play(&mut self, args: &Args) -> Result<(), RunError> {
        let stop = stop_flag()?;
        let start = self.start;
        let mut beds: Vec<SimulatedBed> = ward(args.seed, args.beds, start);
        let feed = if args.records.is_empty() {
            None
        } else {
            let start = jiff::Timestamp::from_microsecond(start.micros()).unwrap_or_default().to_string();
            Some(Feed::open(&FeedArgs {
                records: args.records.clone(),
                patients: None,
                start: Some(start),
                frame_s: 1.0,
                seconds: None,
                source: "recording".into(),
            })?)
        };
        let mut played = feed.as_ref().map(|f| f.frames().peekable());
        // What a predecessor has played is in its log.
        let there = start + Span::from_seconds(f64::from(self.second));
        for bed in &mut beds {
            (0..self.second).for_each(|_| drop(bed.next_second()));
        }
        while played.as_mut().and_then(|p| p.next_if(|f| f.end() <= there)).is_some() {}
        let began = clock::instant();
        let gone = f64::from(self.second);
        while !stop.load(Ordering::Relaxed) {
            let passed = gone + began.elapsed().as_secs_f64() * args.speed;
            if args.for_s.is_some_and(|f| began.elapsed().as_secs_f64() >= f) {
                break;
            }
            if args.until.is_some_and(|u| self.second >= u) {
                break;
            }
            while f64::from(self.second) < passed && args.until.is_none_or(|u| self.second < u) {
                // The second that has just passed arrives.
                let now = start + Span::from_seconds(f64::from(self.second) + 1.0);
                self.local.source_at(u64::from(self.second));
                for bed in &mut beds {
                    if let Some(frame) = bed.next_second() {
                        self.append(&frame)?;
                    }
                }
                while let Some(frame) = played.as_mut().and_then(|p| p.next_if(|f| f.end() <= now)) {
                    self.append(&frame)?;
                }
                self.commands()?;
                self.let_pass(now)?;
                self.second += 1;
                if self.durable {
                    for (_, effects) in self.local.commit(u64::from(self.second))? {
                        self.take(effects)?;
                    }
                }
            }
            self.turns += 1;
            let mut status = self.local.status();
            status.turns = self.turns;
            status.archive_files = self.archive.as_ref().map_or(0, |a| a.files);
            self.shared.publish(status);
            std::thread::sleep(Duration::from_millis(50));
        }
        for (_, effects) in self.local.stop() {
            self.take(effects)?;
        }
        Ok(())
    }

    fn append(&mut self, frame: &Frame) -> Result<(), RunError> {
        match self.local.append(frame) {
            Some((_, effects)) => self.take(effects),
            None => Ok(()),
        }
    }

    fn commands(&mut self) -> Result<(), RunError> {
        for command in self.shared.asked() {
            let at = self.shared.ward().event_time(&command.patient);
            if let Some(frame) = at.and_then(|t| self.desk.frame(&command, t)) {
                self.append(&frame)?;
            }
        }
        Ok(())
    }

    /// A tick ends the second: beds that sent nothing grow silent all the same.
    fn let_pass(&mut self, now: EventTime) -> Result<(), RunError> {
        for (_, effects) in self.local.tick(now) {
            self.take(effects)?;
        }
        Ok(())
    }

    fn take(&mut self, effects: Effects) -> Result<(), RunError> {
        if let Some(archive) = &mut self.archive {
            archive.take(&effects.list)?;
        }
        let heard = self.local.status().log_time.unwrap_or_default();
        let mut ward = self.shared.ward();
        for (_, effect) in effects.list {
            if let Effect::Glance(glance) = effect {
                ward.take(glance, heard);
            }
        }
        Ok(())
    }
}
