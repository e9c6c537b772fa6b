//! `auscult replay`: the same walk over recordings, as fast as it goes.
//! In: recordings. Out: events, scores, features and rejects as JSON lines, beats as CSV, and the archive.

use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::sync::Arc;

use indicatif::{ProgressBar, ProgressStyle};

use super::check::load;
use super::feed::{Feed, FeedArgs};
use crate::effects::Effect;
use crate::error::RunError;
use crate::local::Local;
use crate::sink::archive::Archive;
use crate::sink::files::Files;

/// Arguments of `auscult replay`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    feed: FeedArgs,
    /// Folder for the outputs.
    #[arg(long)]
    out: PathBuf,
    /// Configuration; the shipped one by default.
    #[arg(short, long)]
    config: Option<PathBuf>,
    /// Partitions of the local log.
    #[arg(long, default_value_t = 1)]
    partitions: usize,
    /// Records handed to a worker at a time.
    #[arg(long, default_value_t = 500)]
    batch: usize,
    /// Write features too.
    #[arg(long)]
    features: bool,
    /// Write the Parquet archive too.
    #[arg(long)]
    archive: bool,
}

/// Runs it.
pub(super) fn run(args: &Args) -> Result<(), RunError> {
    let (_, mut plan) = load(args.config.as_deref(), true)?;
    plan.live = false;
    plan.beats = true;
    plan.features |= args.features;
    let plan = Arc::new(plan);
    let feed = Feed::open(&args.feed)?;
    let mut sinks = Sinks::open(args)?;
    let mut local = Local::new(&plan, args.partitions, args.batch);
    let bar = progress(feed.expected());
    for frame in feed.frames() {
        bar.inc(1);
        if let Some((at, effects)) = local.append(&frame) {
            sinks.take(at, &effects.list)?;
        }
    }
    for (at, effects) in local.stop() {
        sinks.take(at, &effects.list)?;
    }
    bar.finish_and_clear();
    let (events, scores) = sinks.finish()?;
    let status = local.status();
    let a = &status.accounts;
    println!(
        "frames {} = processed {} + duplicate {} + late {} + rejected {}; events {events}; scores {scores}; samples {}",
        a.frames_in(),
        a.processed,
        a.duplicate,
        a.late,
        a.rejected_total(),
        status.samples.taken
    );
    Ok(())
}

struct Sinks {
    files: Files,
    beats: std::io::BufWriter<std::fs::File>,
    beats_path: PathBuf,
    archives: Vec<Archive>,
}

impl Sinks {
    fn open(args: &Args) -> Result<Self, RunError> {
        let files = Files::create(&args.out)?;
        let beats_path = args.out.join("beats.csv");
        let file = std::fs::File::create(&beats_path).map_err(RunError::io("create", &beats_path))?;
        let mut beats = std::io::BufWriter::new(file);
        writeln!(beats, "patient,kind,channel,time_us,amplitude,confidence")
            .map_err(RunError::io("write", &beats_path))?;
        let root = args.out.join("archive");
        let count = if args.archive { args.partitions.max(1) } else { 0 };
        let archives = (0..count).map(|p| Archive::open(&root, "replay", p as i32));
        let archives = archives.collect::<Result<_, _>>()?;
        Ok(Self { files, beats, beats_path, archives })
    }

    fn take(&mut self, partition: usize, effects: &[(i64, Effect)]) -> Result<(), RunError> {
        self.files.take(effects)?;
        for (_, effect) in effects {
            let Effect::Beats(patient, beats) = effect else { continue };
            for b in beats {
                let kind = format!("{:?}", b.kind).to_lowercase();
                let (channel, time) = (b.channel.row().name, b.time.micros());
                writeln!(
                    self.beats,
                    "{},{kind},{channel},{time},{},{}",
                    patient.expose(),
                    b.amplitude,
                    b.confidence
                )
                .map_err(RunError::io("write", &self.beats_path))?;
            }
        }
        if let Some(archive) = self.archives.get_mut(partition) {
            archive.take(effects)?;
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<(u64, u64), RunError> {
        self.beats.flush().map_err(RunError::io("write", &self.beats_path))?;
        self.files.finish()
    }
}

/// A bar on a terminal, nothing elsewhere.
pub(super) fn progress(n: u64) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style =
        ProgressStyle::with_template("{bar:40} {percent:>3} %  {human_pos} frames  {per_sec}  {eta} left");
    ProgressBar::new(n).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}
